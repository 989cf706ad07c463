"""Roles at a server that checks trust, external ids and MFA; and the encoding of every member."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import KEYS, ROLE, Answering, engine_of, form_of, request_of, shown_as

from sts_async import errors
from sts_async._engine.loop import Engine
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async.credentials import _schedule
from sts_async.credentials.assume_role import AssumeRoleProvider
from sts_async.operations import ASSUME_ROLE, GET_CALLER_IDENTITY
from sts_async.retries import StandardRetries
from sts_async.shapes import (
    AssumeRoleRequest,
    Credentials,
    GetCallerIdentityRequest,
    PolicyDescriptorType,
    ProvidedContext,
    Tag,
)
from sts_async.testing import LocalSTS, Refuse, Role, Skew, Throttle

Lend = Callable[..., Engine]


@pytest.fixture
async def server(clocks: Any) -> AsyncIterator[LocalSTS]:
    async with LocalSTS(clock=lambda: clocks.wall) as server:
        yield server


@pytest.fixture
def context(server: LocalSTS, lend: Lend) -> Engine:
    return lend(f"{server.url}/")


def calls(server: LocalSTS) -> int:
    return sum(served.operation == "AssumeRole" for served in server.requests)


async def whoami(context: Engine, provider: AssumeRoleProvider) -> str:
    """Return the ARN of the identity that *provider* provides."""
    return (await context.signed_by(provider).invoke(GET_CALLER_IDENTITY, GetCallerIdentityRequest())).arn


class Codes:
    """A function that returns the codes of an MFA device in turn and repeats the last one."""

    def __init__(self, *codes: str) -> None:
        self.codes = codes
        self.asked: list[str] = []

    async def __call__(self, serial_number: str) -> str:
        self.asked.append(serial_number)
        return self.codes[min(len(self.asked), len(self.codes)) - 1]


# -- a role -------------------------------------------------------------------------------------------------------


async def test_a_role_is_assumed_once_and_cached(server: LocalSTS, context: Engine) -> None:
    provider = AssumeRoleProvider(role_arn=ROLE, source=server.credentials, role_session_name="me")

    arns = [await whoami(context, provider) for _ in range(3)]

    assert arns == ["arn:aws:sts::123456789012:assumed-role/demo/me"] * 3
    assert calls(server) == 1


async def test_a_client_accepts_a_role_as_its_credentials() -> None:
    async with LocalSTS() as server:
        provider = AssumeRoleProvider(role_arn=ROLE, source=server.credentials, role_session_name="me")
        async with server.client(credentials=provider) as sts:
            identity = await sts.get_caller_identity()

    assert identity.arn == "arn:aws:sts::123456789012:assumed-role/demo/me"


async def test_each_provider_has_its_own_session_name(server: LocalSTS, context: Engine) -> None:
    """The names differ in CloudTrail. A provider keeps its name over refreshes."""
    one, other = (AssumeRoleProvider(role_arn=ROLE, source=server.credentials) for _ in range(2))

    arns = [await whoami(context, provider) for provider in (one, other)]
    arns.append((await one.fetch(context)).access_key_id and await whoami(context, one))

    names = [arn.rpartition("/")[2] for arn in arns]
    assert all(re.fullmatch("sts-async-[0-9a-f]{16}", name) for name in names)
    assert names[0] == names[2] != names[1]


async def test_roles_are_chained(server: LocalSTS, context: Engine) -> None:
    """Each role trusts only the role before it."""
    arns = [f"arn:aws:iam::{account:012d}:role/step" for account in (1, 2, 3)]
    server.declare(Role(arns[0]), Role(arns[1], trusts=arns[0]), Role(arns[2], trusts=arns[1]))
    provider: Any = server.credentials
    for arn in arns:
        provider = AssumeRoleProvider(role_arn=arn, source=provider, role_session_name="me")

    assert await whoami(context, provider) == "arn:aws:sts::000000000003:assumed-role/step/me"
    assert calls(server) == 3


async def test_without_a_source_the_default_chain_signs(
    server: LocalSTS, context: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.credentials.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.credentials.secret_access_key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    assert ":assumed-role/demo/me" in await whoami(context, AssumeRoleProvider(role_arn=ROLE, role_session_name="me"))


async def test_a_default_chain_without_credentials_is_a_failure_of_the_role(
    context: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what the chain looked for."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(errors.CredentialsError, match=r"has no credentials: .*AWS_ACCESS_KEY_ID") as caught:
        await AssumeRoleProvider(role_arn=ROLE).provide_credentials(context)

    assert type(caught.value) is errors.CredentialsError


async def test_credentials_are_refreshed_before_they_expire(server: LocalSTS, context: Engine, clocks: Any) -> None:
    """It is refreshed in the background in its last 15 minutes, and before a call in its last minute."""
    provider = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)
    first = await provider.provide_credentials(context)
    clocks.advance(3600 - 30)

    second = await provider.provide_credentials(context)

    assert second != first
    assert calls(server) == 2


# -- many callers, and failures -----------------------------------------------------------------------------------


async def test_ten_thousand_callers_cause_one_call(server: LocalSTS, context: Engine) -> None:
    """F45."""
    provider = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)

    everybody = await asyncio.gather(*(provider.provide_credentials(context) for _ in range(10_000)))

    assert calls(server) == 1
    assert len(set(map(id, everybody))) == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [(Refuse("AccessDenied", status=403), errors.ServiceError), (Throttle(), errors.ThrottlingError)],
    ids=["final", "passing"],
)
async def test_each_of_ten_thousand_callers_gets_its_own_copy_of_the_error(
    fault: Any, expected: type[errors.ServiceError], server: LocalSTS, context: Engine
) -> None:
    """F45, F18: the errors are equal, and no caller gets the traceback of another."""
    server.faults.add(fault)
    provider = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)

    failed = await asyncio.gather(
        *(provider.provide_credentials(context) for _ in range(10_000)), return_exceptions=True
    )

    assert calls(server) == 1
    assert {type(error) for error in failed} == {expected}
    assert len(set(map(id, failed))) == 10_000


async def test_a_refusal_is_cached_for_seconds_and_then_tried_again(
    server: LocalSTS, context: Engine, clocks: Any
) -> None:
    """F18: there is no storm of calls, and a corrected policy takes effect."""
    server.faults.add(Refuse("AccessDenied", status=403))
    provider = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)

    for _ in range(3):
        with pytest.raises(errors.ServiceError, match="AccessDenied"):
            await provider.provide_credentials(context)
    assert calls(server) == 1
    clocks.advance(10)
    await provider.provide_credentials(context)

    assert calls(server) == 2


async def test_credentials_that_arrive_expired_do_not_replace_the_cached_ones(
    server: LocalSTS, context: Engine, clocks: Any
) -> None:
    """F49: a server with a slow clock issues expired credentials."""
    provider = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)
    server.faults.add(Skew(-7200))
    with pytest.raises(errors.STSError):
        await provider.provide_credentials(context)
    first = await provider.provide_credentials(context)
    clocks.advance(3600 - 30)
    server.faults.add(Skew(-7200))

    assert await provider.provide_credentials(context) == first


async def test_a_source_whose_session_has_ended_is_refreshed_within_the_call(server: LocalSTS, context: Engine) -> None:
    """F16: the service knows first."""
    source = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)
    provider = AssumeRoleProvider(role_arn=ROLE, source=source, role_session_name="me")
    server.expire(await source.provide_credentials(context))

    assert await whoami(context, provider) == "arn:aws:sts::123456789012:assumed-role/demo/me"
    assert [served.code for served in server.requests] == [None, "ExpiredToken", None, None, None]


async def test_every_provider_gets_its_own_role(server: LocalSTS, context: Engine) -> None:
    """T42: this holds in any order of calls."""
    providers = {
        f"arn:aws:sts::{number:012d}:assumed-role/r{number}/s{number}": AssumeRoleProvider(
            role_arn=f"arn:aws:iam::{number:012d}:role/r{number}",
            role_session_name=f"s{number}",
            source=server.credentials,
        )
        for number in range(300)
    }
    asked = [*providers] * 2
    random.Random(7).shuffle(asked)

    found = await asyncio.gather(*(providers[arn].provide_credentials(context) for arn in asked))

    holders = [server.principal(credentials) for credentials in found]
    assert [holder.arn for holder in holders if holder] == asked
    assert calls(server) == 300


# -- MFA ----------------------------------------------------------------------------------------------------------


def with_mfa(server: LocalSTS, codes: Any, **options: Any) -> AssumeRoleProvider:
    server.declare(Role(ROLE, mfa_required=True))
    return AssumeRoleProvider(
        **{
            "role_arn": ROLE,
            "source": server.credentials,
            "role_session_name": "me",
            "serial_number": server.user.mfa_serial,
            "mfa_code": codes,
            **options,
        }
    )


async def test_mfa_code_is_called_with_the_serial_number(server: LocalSTS, context: Engine) -> None:
    codes = Codes("123456")

    assert ":assumed-role/demo/me" in await whoami(context, with_mfa(server, codes))
    assert codes.asked == [server.user.mfa_serial]


async def test_a_throttled_call_is_repeated_with_a_new_code(server: LocalSTS, lend: Lend, clocks: Any) -> None:
    """T46: the client's own retry policy would have sent the same code again."""
    server.declare(Role(ROLE))
    sent: list[bytes] = []
    context = lend(f"{server.url}/", retries=StandardRetries(max_attempts=5))
    context.shared.transport = Watched(context.shared.transport, sent)
    codes = Codes("111111", "222222", "123456")
    server.faults.add(Throttle(times=2))

    await with_mfa(server, codes).provide_credentials(context)

    assert [re.findall(rb"TokenCode=(\d+)", body) for body in sent] == [[b"111111"], [b"222222"], [b"123456"]]
    assert clocks.slept == [0.5, 1.0]


class Watched:
    """A transport that records the bodies that another one sends."""

    def __init__(self, inner: Any, sent: list[bytes]) -> None:
        self._inner = inner
        self._sent = sent

    async def send(self, request: HttpRequest) -> HttpResponse:
        self._sent.append(bytes(request.body))
        response: HttpResponse = await self._inner.send(request)
        return response


async def test_a_person_is_asked_three_times_at_most(server: LocalSTS, context: Engine) -> None:
    """T46."""
    codes = Codes("111111", "222222", "333333", "444444")
    server.faults.add(Throttle(times=9))

    with pytest.raises(errors.ThrottlingError):
        await with_mfa(server, codes).provide_credentials(context)

    assert len(codes.asked) == calls(server) == 3


async def test_no_code_is_sent_twice(server: LocalSTS, context: Engine) -> None:
    """T46: a device shows the same code for 30 s. The error says why there was no second attempt."""
    server.faults.add(Throttle(times=9))

    with pytest.raises(errors.ThrottlingError) as caught:
        await with_mfa(server, Codes("123456")).provide_credentials(context)

    assert calls(server) == 1
    assert "mfa_code returned a code that had already been sent" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "failure",
    [Refuse("AccessDenied", status=403), Refuse("InternalFailure", status=500)],
    ids=lambda refuse: refuse.code,
)
async def test_any_other_failure_with_a_code_is_final(failure: Refuse, server: LocalSTS, lend: Lend) -> None:
    """T46: the code may have been used up."""
    codes = Codes("123456")
    server.faults.add(failure)

    with pytest.raises(errors.ServiceError, match=failure.code):
        await with_mfa(server, codes).provide_credentials(lend(f"{server.url}/", retries=StandardRetries()))

    assert len(codes.asked) == calls(server) == 1


async def test_no_code_is_asked_for_if_the_source_fails(server: LocalSTS, context: Engine) -> None:
    """The source is asked first."""
    codes = Codes("123456")

    async def nothing() -> Credentials:
        raise errors.CredentialsNotFound("nothing here")

    with pytest.raises(errors.CredentialsError, match="nothing here"):
        await with_mfa(server, codes, source=nothing).provide_credentials(context)

    assert codes.asked == []


async def test_a_code_is_never_asked_for_in_the_background(server: LocalSTS, context: Engine, clocks: Any) -> None:
    """T46: a person is asked only when a call needs credentials that are about to expire."""
    codes = Codes("123456")
    provider = with_mfa(server, codes)
    first = await provider.provide_credentials(context)
    clocks.advance(3600 - 61)

    assert provider.schedule is _schedule.ATTENDED
    assert await provider.provide_credentials(context) is first
    assert len(codes.asked) == 1
    clocks.advance(2)
    await provider.provide_credentials(context)

    assert len(codes.asked) == 2


async def test_many_callers_ask_a_person_once(server: LocalSTS, context: Engine) -> None:
    """F45: this also holds if the code is wrong."""
    codes = Codes("000000", "123456")
    provider = with_mfa(server, codes)

    failed = await asyncio.gather(*(provider.provide_credentials(context) for _ in range(100)), return_exceptions=True)

    assert len(codes.asked) == 1
    assert {type(error) for error in failed} == {errors.ServiceError}


async def test_an_invalid_code_is_not_sent(server: LocalSTS, context: Engine) -> None:
    with pytest.raises(errors.ParamValidationError, match="token_code must have a length of 6"):
        await with_mfa(server, Codes("12345")).provide_credentials(context)

    assert calls(server) == 0


@pytest.mark.parametrize("options", [{"serial_number": "GAHT12345678"}, {"mfa_code": Codes("123456")}], ids=shown_as)
def test_a_device_requires_a_function_for_its_codes(options: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError, match="serial_number and mfa_code must be passed together"):
        AssumeRoleProvider(role_arn=ROLE, source=KEYS, **options)


# -- allowed accounts ---------------------------------------------------------------------------------------------


def test_a_role_of_an_allowed_account_is_accepted() -> None:
    for arn in (ROLE, "arn:aws-cn:iam::123456789012:role/path/of/demo"):
        AssumeRoleProvider(role_arn=arn, source=KEYS, allowed_accounts=["210987654321", "123456789012"])


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::210987654321:role/demo",
        "arn:aws:iam::123:role/some-name",
        "arn:aws:s3:::123456789012:role/x",
        "arn:aws:iam::123456789012:user/demo",
        "arn:aws:iam::123456789012:role/demo\n",
        "arn:aws:iam::123456789012:role/",
        " arn:aws:iam::123456789012:role/demo",
        "arn:aws:iam::210987654321:role/arn:aws:iam::123456789012:role/demo",
        "arn:aws:iam::\u0661\u0662\u0663456789012:role/demo",
    ],
    ids=ascii,
)
def test_a_role_of_another_account_is_refused(arn: str) -> None:
    """T43: an ARN that a tenant chose must not lead outside the tenant's own accounts."""
    with pytest.raises(errors.ConfigurationError):
        AssumeRoleProvider(role_arn=arn, source=KEYS, allowed_accounts={"123456789012"})


@pytest.mark.parametrize("arn", ["arn:aws:iam::123:role/x", "arn:aws:s3:::b", f"{ROLE}\0"], ids=ascii)
def test_invalid_arns_are_refused_without_allowed_accounts_too(arn: str) -> None:
    """T43."""
    with pytest.raises((errors.ParamValidationError, errors.ConfigurationError)):
        AssumeRoleProvider(role_arn=arn, source=KEYS, allowed_accounts=["123"] if "123:" in arn else None)


@pytest.mark.parametrize(
    "accounts", ["123456789012", ["123"], ["12345678901\u0662"], [123456789012], 123456789012], ids=ascii
)
def test_accounts_are_a_collection_of_account_ids(accounts: Any) -> None:
    """T43: a str is a collection of digits, each of which would be "in" it."""
    with pytest.raises(errors.ConfigurationError, match="collection of account ids"):
        AssumeRoleProvider(role_arn=ROLE, source=KEYS, allowed_accounts=accounts)


def test_an_empty_collection_of_accounts_allows_no_account() -> None:
    """T43: an empty collection does not mean any account."""
    with pytest.raises(errors.ConfigurationError, match="not one of allowed_accounts"):
        AssumeRoleProvider(role_arn=ROLE, source=KEYS, allowed_accounts=())


# -- every member on the wire -------------------------------------------------------------------------------------

NAMES = st.text("abcXYZ09_+=,.@-", min_size=2, max_size=20)
TAG_TEXT = st.text("ab \u00e9\u4e2d_.:/=+-@", min_size=1, max_size=8)
ARNS = st.builds("arn:aws:iam::{:012d}:role/{}".format, st.integers(0, 10**12 - 1), NAMES)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "role_arn": ARNS,
    "role_session_name": NAMES,
    "policy_arns": st.lists(st.builds(PolicyDescriptorType, arn=ARNS), max_size=3),
    "policy": st.none() | st.dictionaries(TAG_TEXT.filter(str.isascii), st.integers(), max_size=3),
    "duration_seconds": st.none() | st.integers(900, 43_200),
    "tags": st.lists(st.builds(Tag, key=TAG_TEXT, value=TAG_TEXT), max_size=3),
    "transitive_tag_keys": st.lists(TAG_TEXT, max_size=3),
    "external_id": st.none() | NAMES,
    "serial_number": st.builds("serial{:06d}".format, st.integers(0, 999_999)),
    "source_identity": st.none() | NAMES,
    "provided_contexts": st.lists(
        st.builds(ProvidedContext, provider_arn=ARNS, context_assertion=st.text("ab.-", min_size=4, max_size=9)),
        max_size=3,
    ),
    "minimum_session_token_size": st.none() | st.integers(0, 4096),
}
WIRE = {member.name: member.wire for member in AssumeRoleRequest.__members__}


async def on_the_wire(members: dict[str, Any]) -> dict[str, str]:
    return form_of(await request_of(AssumeRoleProvider(**members, source=KEYS, mfa_code=Codes("123456"))))


@given(members=st.fixed_dictionaries(VALUES), data=st.data())
async def test_providers_with_different_arguments_send_different_requests(
    members: dict[str, Any], data: st.DataObject
) -> None:
    """T42: this holds for each member."""
    name = data.draw(st.sampled_from([*VALUES]))
    other = data.draw(VALUES[name].filter(lambda value: (value or None) != (members[name] or None)))

    before, after = await on_the_wire(members), await on_the_wire({**members, name: other})

    differing = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert differing
    assert {key.partition(".")[0] for key in differing} == {WIRE[name]}


@given(members=st.fixed_dictionaries(VALUES))
async def test_a_provider_sends_the_same_request_as_the_operation(members: dict[str, Any]) -> None:
    """The provider adds nothing, and leaves nothing out."""
    transport = Answering()
    await engine_of(transport).invoke(ASSUME_ROLE, AssumeRoleRequest(**members, token_code="123456"))

    assert await on_the_wire(members) == form_of(transport.sent[0])
