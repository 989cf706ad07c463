"""The loop of a call, on a transport that answers from a script and a clock that only moves when it is slept on."""

import gc
import logging
import weakref
from typing import Any

import attrs
import pytest
from support import ANSWER, KEYS, ROLE

from sts_async import errors
from sts_async._engine.loop import METADATA_KEPT, Engine, new_engine
from sts_async._protocol.endpoints import Endpoint
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._shape.secret import SecretBytes
from sts_async.credentials import StaticProvider
from sts_async.operations import (
    ASSUME_ROLE,
    ASSUME_ROLE_WITH_WEB_IDENTITY,
    GET_ACCESS_KEY_INFO,
    GET_CALLER_IDENTITY,
    GET_SESSION_TOKEN,
)
from sts_async.retries import NoRetries, StandardRetries
from sts_async.shapes import (
    AssumeRoleRequest,
    AssumeRoleWithWebIdentityRequest,
    Credentials,
    GetAccessKeyInfoRequest,
    GetCallerIdentityRequest,
    GetSessionTokenRequest,
    ProvidedContext,
)

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
ENDPOINT = Endpoint(
    url="https://sts.eu-west-1.amazonaws.com/", host="sts.eu-west-1.amazonaws.com", signing_region="eu-west-1"
)
REQUEST = AssumeRoleRequest(role_arn=ROLE, role_session_name="me")


def answer(body: str = ANSWER, status: int = 200) -> HttpResponse:
    return HttpResponse(status, {"content-type": "text/xml"}, SecretBytes(body.encode()))


def refusal(code: str, status: int = 400) -> HttpResponse:
    return answer(
        f"<ErrorResponse><Error><Code>{code}</Code></Error><RequestId>r-1</RequestId></ErrorResponse>", status
    )


@attrs.define
class Scripted:
    """A transport that gives its outcomes in turn, the last for ever, and a clock that sleeping moves."""

    outcomes: list[HttpResponse | Exception]
    now: float = START
    sent: list[HttpRequest] = attrs.field(factory=list)
    slept: list[float] = attrs.field(factory=list)

    async def send(self, request: HttpRequest) -> HttpResponse:
        _ = request.headers  # signed now
        self.sent.append(request)
        outcome = self.outcomes[min(len(self.sent), len(self.outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def engine(transport: Scripted, **options: Any) -> Engine:
    defaults: dict[str, Any] = {
        "endpoint": ENDPOINT,
        "credentials": StaticProvider(KEYS),
        "retries": StandardRetries(),
        "wall_clock": lambda: transport.now,
        "monotonic": lambda: transport.now,
        "sleep": transport.sleep,
        "jitter": lambda: 0.5,
    }
    return new_engine(transport=transport, **{**defaults, **options})


async def test_a_call_is_sent_once_signed_and_read() -> None:
    transport = Scripted([answer()])

    response = await engine(transport).invoke(ASSUME_ROLE, REQUEST)

    (sent,) = transport.sent
    assert response.credentials.access_key_id == "ASIAIOSFODNN7EXAMPLE"
    assert response.metadata.attempts == 1
    assert (sent.method, sent.url) == ("POST", ENDPOINT.url)
    assert sent.headers["x-amz-date"] == "20260101T000000Z"
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token" in sent.headers["authorization"]


async def test_every_attempt_is_signed_anew_over_the_same_body() -> None:
    """T22: a signature is never used twice."""
    transport = Scripted([errors.ConnectionLost("x"), refusal("Throttling"), answer()])
    calls = engine(transport, retries=StandardRetries(max_attempts=3), jitter=lambda: 1.0)
    transport.now += 0.5

    response = await calls.invoke(ASSUME_ROLE, REQUEST)

    assert response.metadata.attempts == 3
    assert transport.slept == [0.05, 2.0]
    assert len({sent.body for sent in transport.sent}) == 1
    assert [sent.headers["x-amz-date"] for sent in transport.sent] == [
        "20260101T000000Z",
        "20260101T000000Z",
        "20260101T000002Z",
    ]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (errors.ConnectError("x"), errors.ConnectError),
        (errors.AttemptTimeout("x"), errors.AttemptTimeout),
        (refusal("Throttling"), errors.ThrottlingError),
        (refusal("IDPCommunicationError"), errors.IDPCommunicationErrorException),
        (answer("", 503), errors.ServiceError),
        (answer(ANSWER[:400]), errors.ResponseParseError),
    ],
)
async def test_what_may_pass_is_tried_again_until_the_attempts_are_used_up(
    outcome: HttpResponse | Exception, expected: type[errors.STSError]
) -> None:
    """F1, F5, F12, F13, F15."""
    transport = Scripted([outcome])

    with pytest.raises(expected) as caught:
        await engine(transport).invoke(ASSUME_ROLE, REQUEST)

    assert caught.value.attempts == len(transport.sent) == 3


@pytest.mark.parametrize(
    "outcome",
    [
        errors.TLSError("x"),
        refusal("AccessDenied", 403),
        refusal("SignatureDoesNotMatch", 403),
        refusal("MalformedPolicyDocument"),
        refusal("InvalidIdentityToken"),
        answer("<ListAllMyBucketsResult/>"),
        answer("", 301),
    ],
)
async def test_what_will_not_pass_is_raised_at_once(outcome: HttpResponse | Exception) -> None:
    """F8, F18, F19, F26, T4."""
    transport = Scripted([outcome])

    with pytest.raises(errors.STSError) as caught:
        await engine(transport).invoke(ASSUME_ROLE, REQUEST)

    assert caught.value.attempts == len(transport.sent) == 1


async def test_a_policy_may_hold_a_request_back() -> None:
    """The seam of a limiter: asked again after each wait, before every send."""

    class Limiter(NoRetries):
        waits = [0.0, 1.5, 0.25]

        def admit(self, *, scope: str, now: float) -> float:
            return self.waits.pop()

    transport = Scripted([answer()])

    await engine(transport, retries=Limiter()).invoke(ASSUME_ROLE, REQUEST)

    assert transport.slept == [1.5]
    assert Limiter.waits == []


async def test_every_violation_is_reported_and_nothing_is_sent() -> None:
    transport = Scripted([answer()])
    request = AssumeRoleRequest(role_arn="x", role_session_name="a b", token_code="SENTINEL")

    with pytest.raises(errors.ParamValidationError) as caught:
        await engine(transport).invoke(ASSUME_ROLE, request)

    assert isinstance(caught.value, ValueError)
    assert caught.value.shape == "AssumeRoleRequest"
    assert [line.split()[0] for line in caught.value.violations] == [
        "role_arn",
        "role_session_name",
        "token_code",
        "token_code",
    ]
    assert transport.sent == []


async def test_without_validation_the_service_judges() -> None:
    transport = Scripted([refusal("ValidationError")])

    with pytest.raises(errors.ServiceError, match="ValidationError"):
        await engine(transport, validate=False).invoke(
            ASSUME_ROLE, AssumeRoleRequest(role_arn="x", role_session_name="a b")
        )

    assert b"RoleSessionName=a%20b" in transport.sent[0].body


async def test_an_unsigned_operation_asks_for_no_credentials() -> None:
    """A chain that asks itself for credentials would wait for itself."""

    class Forbidden:
        async def provide_credentials(self, transport: object) -> Credentials:
            raise AssertionError("asked for credentials")

    transport = Scripted([refusal("ExpiredTokenException")])
    request = AssumeRoleWithWebIdentityRequest(role_arn=ROLE, role_session_name="me", web_identity_token="SENTINEL-jwt")

    with pytest.raises(errors.ExpiredTokenException):
        await engine(transport, credentials=Forbidden()).invoke(ASSUME_ROLE_WITH_WEB_IDENTITY, request)

    assert "authorization" not in transport.sent[0].headers


async def test_each_attempt_asks_for_credentials_again_and_lends_what_is_the_client_s_own() -> None:
    given: list[object] = []

    class Rotating:
        async def provide_credentials(self, transport: object) -> Credentials:
            given.append(transport)
            return Credentials(access_key_id=f"AKIA{len(given):016}", secret_access_key="SENTINEL")

    transport = Scripted([errors.ConnectionLost("x"), answer()])

    own = engine(transport, credentials=Rotating())
    await own.invoke(ASSUME_ROLE, REQUEST)

    assert given == [own.context] * 2
    assert ["AKIA0000000000000001" in sent.headers["authorization"] for sent in transport.sent] == [True, False]


async def test_a_request_is_dated_when_its_credentials_are_there() -> None:
    """A provider may take long, and a signature that is 15 minutes old is refused."""
    transport = Scripted([answer()])

    class Slow:
        async def provide_credentials(self, lent: object) -> Credentials:
            await transport.sleep(1000)
            return KEYS

    await engine(transport, credentials=Slow()).invoke(ASSUME_ROLE, REQUEST)

    assert transport.sent[0].headers["x-amz-date"] == "20260101T001640Z"


async def test_credentials_that_fail_later_say_how_often_the_request_was_sent() -> None:
    class Dwindling:
        left = [KEYS]

        async def provide_credentials(self, lent: object) -> Credentials:
            if not self.left:
                raise errors.CredentialsNotFound("no more")
            return self.left.pop()

    transport = Scripted([refusal("Throttling")])

    with pytest.raises(errors.CredentialsNotFound) as caught:
        await engine(transport, credentials=Dwindling()).invoke(ASSUME_ROLE, REQUEST)

    assert caught.value.attempts == len(transport.sent) == 1


@pytest.mark.parametrize("given", [{"aws_secret_access_key": "SENTINEL"}, None], ids=["dict", "NoneType"])
async def test_a_provider_that_gives_something_else_is_named(given: Any) -> None:
    """And nothing is sent, least of all a request without a signature."""

    class Careless:
        async def provide_credentials(self, transport: object) -> Any:
            return given

    transport = Scripted([answer()])
    reason = rf"Careless\.provide_credentials returned (a {type(given).__name__}|None), not Credentials"

    with pytest.raises(errors.CredentialsError, match=reason):
        await engine(transport, credentials=Careless()).invoke(ASSUME_ROLE, REQUEST)

    assert transport.sent == []


@pytest.mark.parametrize("token", ["a\r\nX-Evil: SENTINEL", "a\0SENTINEL", "SENTINEL\x01", "SENTINEL é"])
async def test_a_token_that_no_header_can_carry_is_refused_before_anything_is_sent(token: str) -> None:
    """T5."""
    transport = Scripted([answer()])
    keys = Credentials(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="x", session_token=token)

    with pytest.raises(errors.CredentialsError, match="session_token of the credentials contains characters"):
        await engine(transport, credentials=StaticProvider(keys)).invoke(
            GET_CALLER_IDENTITY, GetCallerIdentityRequest()
        )

    assert transport.sent == []


async def test_an_endpoint_without_region_serves_unsigned_operations_only() -> None:
    endpoint = Endpoint(url="https://sts.example/", host="sts.example", signing_region=None)
    transport = Scripted([refusal("ExpiredTokenException")])
    calls = engine(transport, endpoint=endpoint)
    request = AssumeRoleWithWebIdentityRequest(role_arn=ROLE, role_session_name="me", web_identity_token="SENTINEL-jwt")

    with pytest.raises(errors.ExpiredTokenException):
        await calls.invoke(ASSUME_ROLE_WITH_WEB_IDENTITY, request)
    with pytest.raises(errors.ConfigurationError, match="needs a region"):
        await calls.invoke(GET_CALLER_IDENTITY, GetCallerIdentityRequest())


async def test_metadata_is_found_by_an_equal_request() -> None:
    calls = engine(Scripted([answer()]))

    response = await calls.invoke(ASSUME_ROLE, REQUEST)

    assert calls.metadata_of(ASSUME_ROLE, AssumeRoleRequest(role_arn=ROLE, role_session_name="me")) is response.metadata
    assert calls.metadata_of(ASSUME_ROLE, AssumeRoleRequest(role_arn=ROLE, role_session_name="you")) is None
    assert response.metadata.request_id == "c6104cbe-af31-11e0-8154-cbc7ccf896c7"


async def test_the_metadata_of_the_last_fifty_answers_is_kept() -> None:
    """As many as the 2015 Java client kept; an answer that comes again counts as new."""
    result = "<GetAccessKeyInfoResult><Account>1</Account></GetAccessKeyInfoResult>"
    body = f"<GetAccessKeyInfoResponse>{result}</GetAccessKeyInfoResponse>"
    calls = engine(Scripted([answer(body)]))
    requests = [GetAccessKeyInfoRequest(access_key_id=f"{n:020}") for n in range(METADATA_KEPT + 1)]

    for request in [*requests[:-1], requests[0], requests[-1]]:
        await calls.invoke(GET_ACCESS_KEY_INFO, request)

    assert [n for n, r in enumerate(requests) if calls.metadata_of(GET_ACCESS_KEY_INFO, r) is None] == [1]


async def test_nothing_of_a_request_is_kept_after_the_call() -> None:
    """T20: the cache of metadata knows requests by a digest, so no token code stays in memory for it."""
    calls = engine(Scripted([answer(ANSWER.replace("AssumeRole", "GetSessionToken"))]))
    request = GetSessionTokenRequest(serial_number="123456789", token_code="314159")
    watched = weakref.ref(request)

    await calls.invoke(GET_SESSION_TOKEN, request)
    del request
    gc.collect()

    assert watched() is None


async def test_attempts_are_logged_without_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    """T17: operation, attempt, status and request id; the watch over all tests looks for secrets."""
    transport = Scripted([refusal("Throttling"), answer()])

    with caplog.at_level(logging.DEBUG, logger="sts_async"):
        await engine(transport).invoke(ASSUME_ROLE, REQUEST)

    assert caplog.messages == [
        "AssumeRole, attempt 1: Throttling (HTTP 400, request r-1)",
        "AssumeRole, attempt 2: HTTP 200, request c6104cbe-af31-11e0-8154-cbc7ccf896c7",
    ]


async def test_a_lifetime_beyond_what_was_asked_is_not_believed() -> None:
    """F50: year 9999 would never be refreshed."""
    transport = Scripted([answer(ANSWER.replace("2026-01-01T01", "9999-12-31T23"))])

    response = await engine(transport).invoke(ASSUME_ROLE, attrs.evolve(REQUEST, duration_seconds=900))

    assert response.credentials.expiration.timestamp() == START + 900


async def test_a_presigned_url_is_the_operation_as_a_get() -> None:
    calls = engine(Scripted([]))

    url = await calls.presign(GET_CALLER_IDENTITY, GetCallerIdentityRequest(), expires=60)

    assert str(url) == "https://sts.eu-west-1.amazonaws.com/?***"
    assert url.reveal().startswith(
        "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm="
    )


@pytest.mark.parametrize(
    ("operation", "request_", "reason"),
    [
        (GET_SESSION_TOKEN, GetSessionTokenRequest(serial_number="123456789", token_code="314159"), "with a secret"),
        (
            ASSUME_ROLE_WITH_WEB_IDENTITY,
            AssumeRoleWithWebIdentityRequest(role_arn=ROLE, role_session_name="me", web_identity_token="SENTINEL"),
            "with a secret",
        ),
        (
            ASSUME_ROLE,
            AssumeRoleRequest(
                role_arn=ROLE,
                role_session_name="me",
                provided_contexts=[ProvidedContext(provider_arn=ROLE, context_assertion="SENTINEL")],
            ),
            "with a secret",
        ),
    ],
)
async def test_a_request_with_a_secret_is_not_presigned(operation: Any, request_: Any, reason: str) -> None:
    """T21: URLs end up in logs."""
    with pytest.raises(errors.ConfigurationError, match=reason):
        await engine(Scripted([])).presign(operation, request_, expires=60)


@pytest.mark.parametrize("expires", [0, -1, 604_801])
async def test_a_presigned_url_lives_a_second_to_seven_days(expires: int) -> None:
    """T21."""
    with pytest.raises(errors.ConfigurationError, match=r"1 to 604800 \(seconds\)"):
        await engine(Scripted([])).presign(GET_CALLER_IDENTITY, GetCallerIdentityRequest(), expires=expires)


async def test_a_request_is_checked_before_it_is_presigned() -> None:
    with pytest.raises(errors.ParamValidationError, match="access_key_id must have a length"):
        await engine(Scripted([])).presign(GET_ACCESS_KEY_INFO, GetAccessKeyInfoRequest(access_key_id="x"), expires=60)
