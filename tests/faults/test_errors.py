"""F11-F15, F18-F20: errors that are documents, in all their forms; what is tried again, when, and what is not."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from faults.faulty import GOOD, NAMESPACE, REQUEST_ID, Act, Received, document, refuses, says
from faults.matrix import (
    AMPLE,
    Fails,
    Row,
    Succeeds,
    assume_role,
    assume_role_with_web_identity,
    hold,
    longest,
    matrix,
    names,
    play,
    played,
    recovers,
    serving,
)
from support import ANSWER, KEYS, ROLE, RawServer, http, put_into

from sts_async import STSClient, errors
from sts_async.errors import THROTTLING_CODES, ServiceError
from sts_async.retries import StandardRetries

FIELDS = "<Type>Sender</Type><Code>AccessDenied</Code>"
MESSAGE = f"{FIELDS}<Message>Not you</Message>"
ID = f"<RequestId>{REQUEST_ID}</RequestId>"
XMLNS = f'xmlns="{NAMESPACE}"'
VARIANTS: Mapping[str, tuple[str, str, str]] = {
    # name: document, headers, message
    "as STS": (f"<ErrorResponse {XMLNS}><Error>{MESSAGE}</Error>{ID}</ErrorResponse>", "", "Not you"),
    "no name space": (f"<ErrorResponse><Error>{MESSAGE}</Error>{ID}</ErrorResponse>", "", "Not you"),
    "Errors": (f"<ErrorResponse {XMLNS}><Errors><Error>{MESSAGE}</Error></Errors>{ID}</ErrorResponse>", "", "Not you"),
    "Response, Errors, RequestID": (
        f"<Response><Errors><Error>{MESSAGE}</Error></Errors><RequestID>{REQUEST_ID}</RequestID></Response>",
        "",
        "Not you",
    ),
    "bare": (f"<Error>{MESSAGE}{ID}</Error>", "", "Not you"),
    "id within Error": (f"<ErrorResponse><Error>{MESSAGE}{ID}</Error></ErrorResponse>", "", "Not you"),
    "id within ResponseMetadata": (
        f"<ErrorResponse><Error>{MESSAGE}</Error><ResponseMetadata>{ID}</ResponseMetadata></ErrorResponse>",
        "",
        "Not you",
    ),
    "id in x-amzn-requestid": (
        f"<ErrorResponse><Error>{MESSAGE}</Error></ErrorResponse>",
        f"x-amzn-RequestId: {REQUEST_ID}\r\n",
        "Not you",
    ),
    "id in x-amz-request-id": (f"<Error>{MESSAGE}</Error>", f"x-amz-request-id: {REQUEST_ID}\r\n", "Not you"),
    "empty message": (f"<ErrorResponse {XMLNS}><Error>{FIELDS}<Message/></Error>{ID}</ErrorResponse>", "", ""),
    "no message": (f"<ErrorResponse {XMLNS}><Error>{FIELDS}</Error>{ID}</ErrorResponse>", "", ""),
    "a declaration, comments and white space": (
        f'<?xml version="1.0"?>\n<!-- x -->\n<ErrorResponse {XMLNS}>\n <Error>\n  {MESSAGE}\n </Error>\n {ID}\n'
        "</ErrorResponse>\n",
        "",
        "Not you",
    ),
    "as text/html": (
        f"<ErrorResponse><Error>{MESSAGE}</Error>{ID}</ErrorResponse>",
        "Content-Type: text/html\r\n",
        "Not you",
    ),
}


def refused(code: str, *, error: type[ServiceError] = ServiceError, **attributes: Any) -> Fails:
    """Return the fate of a call that is refused for good."""
    return Fails(error, attempts=1, **{"code": code, "retryable": False, "throttled": False, **attributes})


@matrix(
    *(
        Row(
            f"F11, F18 {name}",
            [says(text, status=403, headers=headers), GOOD],
            refused("AccessDenied", status=403, request_id=REQUEST_ID, message=message, fault="client"),
        )
        for name, (text, headers, message) in VARIANTS.items()
    ),
    Row("F18 AccessDenied", [refuses("AccessDenied", status=403), GOOD], refused("AccessDenied", recoverable=False)),
    Row(
        "F19 SignatureDoesNotMatch",
        [refuses("SignatureDoesNotMatch", status=403), GOOD],
        refused("SignatureDoesNotMatch", request_id=REQUEST_ID),
    ),
    Row(
        "F17 ExpiredTokenException of the token that a caller passes",
        [refuses("ExpiredTokenException"), GOOD],
        refused("ExpiredTokenException", error=errors.ExpiredTokenException, recoverable=False),
        call=assume_role_with_web_identity,
    ),
    Row(
        "A2 InvalidContextAssertion of an assertion that a caller passes",
        [refuses("InvalidContextAssertion"), GOOD],
        refused("InvalidContextAssertion", error=errors.InvalidContextAssertionException, recoverable=False),
    ),
    Row(
        "A6 429 with a code of the model",
        [refuses("MalformedPolicyDocument", status=429), GOOD],
        refused("MalformedPolicyDocument", error=errors.MalformedPolicyDocumentException, status=429),
    ),
    Row(
        "F17 InvalidIdentityToken of the token that a caller passes",
        [refuses("InvalidIdentityToken"), GOOD],
        refused("InvalidIdentityToken", error=errors.InvalidIdentityTokenException, recoverable=False),
        call=assume_role_with_web_identity,
    ),
)
async def test_a_refusal_that_is_final_is_not_sent_again(row: Row, callers: int) -> None:
    """F18, F19."""
    await play(row, callers=callers)


WITHOUT_BODY = {status: says("", status=status, headers="") for status in (500, 502, 503, 504)}
PAGE = "<html><body><h1>SENTINEL-page</h1></body></html>"
VERIFIED = says(document("AssumeRoleWithWebIdentity"))


@matrix(
    *(recovers(f"F12 {status} without a body, once", act) for status, act in WITHOUT_BODY.items()),
    *(
        recovers(f"F12 {status} and a page, once", says(PAGE, status=status, headers="Content-Type: text/html\r\n"))
        for status in (500, 502, 503, 504)
    ),
    recovers("F12 500 InternalFailure, once", refuses("InternalFailure", status=500)),
    recovers("F12 503 ServiceUnavailable, once", refuses("ServiceUnavailable", status=503)),
    *(
        Row(
            f"F12 {status} without a body, always",
            [WITHOUT_BODY[status]],
            Fails(ServiceError, attempts=3, retryable=True, throttled=False, status=status, code=str(status)),
        )
        for status in (500, 503)
    ),
    Row(
        "F12 502 and a page, always",
        [says(PAGE, status=502, headers="Content-Type: text/html\r\n")],
        Fails(ServiceError, attempts=3, retryable=True, status=502, code="502", fault="server"),
        says=["text/html", f"{len(PAGE)} bytes"],
    ),
    Row(
        "F15 IDPCommunicationError, once",
        [refuses("IDPCommunicationError"), VERIFIED],
        Succeeds(attempts=2),
        call=assume_role_with_web_identity,
    ),
    Row(
        "F15 IDPCommunicationError, always",
        [refuses("IDPCommunicationError")],
        Fails(errors.IDPCommunicationErrorException, attempts=3, retryable=True, throttled=False, status=400),
        call=assume_role_with_web_identity,
    ),
    Row(
        "F15, F17 InvalidIdentityToken for want of the provider's key, once",
        [refuses("InvalidIdentityToken", message="Couldn't retrieve verification key from your provider"), VERIFIED],
        Succeeds(attempts=2),
        call=assume_role_with_web_identity,
    ),
)
async def test_a_refusal_that_may_pass(row: Row, callers: int) -> None:
    await play(row, callers=callers)


# -- throttling -------------------------------------------------------------------------------------------------------


def slow_down(act: Act, name: str) -> Row:
    """Return the row of a service that asks to slow down once, for which the pause is of at most a second."""
    return recovers(name, act, within=longest(2, each=0.5, throttled=True))


@matrix(
    slow_down(says("", status=429, headers=""), "F13 429 without a body"),
    slow_down(refuses("Throttling", message="Rate exceeded"), "F13 400 Throttling"),
)
async def test_throttling_passes(row: Row, callers: int) -> None:
    await play(row, callers=callers)


async def test_every_code_that_means_slow_down_is_tried_again_and_says_so() -> None:
    """F13: each caller gets a code of its own, and then another try."""
    codes = dict(zip(names(len(THROTTLING_CODES)), sorted(THROTTLING_CODES), strict=True))
    policy = StandardRetries(max_attempts=2, quota=AMPLE)

    def script(received: Received) -> Act:
        return refuses(codes[received.caller], status=(400, 403, 503)[int(received.caller[-1]) % 3])

    async with serving(script, retries=policy) as (client, _):
        calls = await played(client, assume_role, codes)

    for call in calls:
        fate = Fails(errors.ThrottlingError, attempts=2, code=codes[call.caller], throttled=True, retryable=True)
        hold(Row("F13", [], fate, within=longest(2, each=0.5, throttled=True)), [call])


async def test_throttling_has_a_price_of_its_own() -> None:
    """F13: 5 tokens for a retry."""
    policy = StandardRetries(max_attempts=2)
    throttling = refuses("Throttling", message="Rate exceeded")
    async with serving(lambda received: throttling, retries=policy) as (client, _):
        calls = await played(client, assume_role, names(1))

    fate = Fails(errors.ThrottlingError, attempts=2, code="Throttling", status=400)
    hold(Row("F13", [], fate, within=longest(2, each=0.1, throttled=True)), calls)
    assert policy.quota == 500 - 5


def hinting(value: str, *, header: str = "x-amz-retry-after") -> Act:
    """Return the act of failing with a hint when to come again."""
    return refuses("InternalFailure", status=500, headers=f"{header}: {value}\r\n")


@matrix(
    *(
        recovers(f"F14 {value!r}", hinting(value), within=0.05)
        for value in ("-1", "9e99", "soon", "", "99999999999999999999", "\xb2", "NaN")
    ),
    recovers("F14 Retry-After in seconds", hinting("3600", header="Retry-After"), within=0.05),
    recovers("F14 a hint in milliseconds", hinting("300"), within=0.35, after=0.3),
    Row(
        "F14 a hint that the deadline does not leave time for",
        [hinting("999999999"), GOOD],
        Fails(ServiceError, attempts=1, code="InternalFailure", retryable=True, retry_after=999_999.999),
        options={"deadline": 2},
        within=0.5,
    ),
)
async def test_a_hint_when_to_come_again(row: Row, callers: int) -> None:
    await play(row, callers=callers)


async def test_an_absurd_hint_costs_five_seconds_at_most(raw_server: Callable[..., Awaitable[RawServer]]) -> None:
    """F14: and what a pause without a hint would have taken; nobody waits for it here."""
    refused = http("<ErrorResponse/>", status=503, headers="x-amz-retry-after: 999999999\r\n")
    server, slept = await raw_server(refused, http(ANSWER)), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with STSClient(endpoint_url=server.url, region="eu-west-1", credentials=KEYS) as sts:
        await sts._life.ready()
        put_into(sts, sleep=sleep)
        await sts.assume_role(role_arn=ROLE, role_session_name="me")

    assert [5 <= seconds <= 5.05 for seconds in slept] == [True]


# -- clocks -----------------------------------------------------------------------------------------------------------


def dated(minutes: float, *, code: str | None = None) -> Callable[[], Act]:
    """Return what answers, or refuses with *code*, at a service whose clock is that far ahead."""

    def act() -> Act:
        date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
        if code is None:
            return says(document(), headers=f"Date: {date}\r\n")
        return refuses(code, status=403, headers=f"Date: {date}\r\n", message="Signature expired")

    return act


SKEWED = {
    "RequestTimeTooSkewed": 20,
    "RequestExpired": 20,
    "RequestInTheFuture": -20,
    "InvalidSignatureException": -20,
    "SignatureDoesNotMatch": 20,
    "AccessDeniedException": -20,
}
"""Codes that a wrong clock explains, and by how many minutes the service's is ahead."""


@matrix(
    *(
        Row(f"F20 {code}, {minutes:+} min", [dated(minutes, code=code), dated(minutes)], Succeeds(attempts=2))
        for code, minutes in SKEWED.items()
    ),
    Row(
        "F20 a clock that is right",
        [dated(0, code="SignatureDoesNotMatch"), GOOD],
        refused("SignatureDoesNotMatch"),
    ),
    Row(
        "F20 a clock that is a year ahead",
        [dated(525_600, code="SignatureDoesNotMatch"), GOOD],
        refused("SignatureDoesNotMatch"),
    ),
)
async def test_a_clock_that_is_off(row: Row, callers: int) -> None:
    """What is sent again bears the service's time; T23: within a day."""
    server = await play(row, callers=callers)

    for requests in server.received.values():
        if len(requests) == 2:
            first, second = (datetime.strptime(r.header("x-amz-date"), "%Y%m%dT%H%M%S%z") for r in requests)
            assert abs(abs(second - first) - timedelta(minutes=20)) < timedelta(seconds=30)
