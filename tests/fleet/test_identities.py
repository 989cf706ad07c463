"""T42, T43, T46: which values are identities, which are the same, and whose credentials each of them gets."""

import asyncio
import random
from typing import Any

import attrs
import pytest
from fleet.fleets import ACCOUNT, Service, Source, number_of, open_fleet, outcome_of, pass_time, role, settled
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import soon
from support import KEYS, Answering, form_of

from sts_async import (
    AssumeRoleRequest,
    AssumeRoleWithSAMLRequest,
    AssumeRoleWithWebIdentityRequest,
    AssumeRootRequest,
    GetCallerIdentityRequest,
    GetFederationTokenRequest,
    GetSessionTokenRequest,
    STSClient,
)
from sts_async.credentials import StaticProvider
from sts_async.errors import ConfigurationError, ParamValidationError
from sts_async.fleet import ChainedRequest, CredentialsFleet, FileCache
from sts_async.fleet.identities import ISSUING, check_identity, describe
from sts_async.shapes import Credentials, GetScopedCredentialsRequest, PolicyDescriptorType, ProvidedContext, Tag
from sts_async.testing import LocalSTS, VirtualClock

ARN = f"arn:aws:iam::{ACCOUNT}:role/role-0"
POLICY = '{"Version":"2012-10-17","Statement":[]}'


def policy(name: str) -> PolicyDescriptorType:
    return PolicyDescriptorType(arn=f"arn:aws:iam::aws:policy/{name}")


def web_identity(role_arn: str = ARN) -> AssumeRoleWithWebIdentityRequest:
    return AssumeRoleWithWebIdentityRequest(
        role_arn=role_arn, role_session_name="me", web_identity_token="SENTINEL-token"
    )


def root(account: str = ACCOUNT) -> AssumeRootRequest:
    return AssumeRootRequest(target_principal=account, task_policy_arn=policy("root-task/IAMAuditRootUserCredentials"))


# -- each member counts --------------------------------------------------------------------------------------------

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "role_arn": st.integers(0, 3).map(lambda number: role(number).role_arn),
    "role_session_name": st.sampled_from(["me", "you", "ME"]),
    "policy": st.sampled_from([None, POLICY, POLICY + " "]),
    "policy_arns": st.sampled_from([[], [policy("a")], [policy("b")], [policy("b"), policy("a")]]),
    "duration_seconds": st.sampled_from([None, 900, 3600]),
    "tags": st.sampled_from([[], [Tag(key="a", value="b")], [Tag(key="a", value="c")], [Tag(key="b", value="b")]]),
    "transitive_tag_keys": st.sampled_from([[], ["a"], ["b"]]),
    "external_id": st.sampled_from([None, "customer-1", "customer-2"]),
    "source_identity": st.sampled_from([None, "ann", "bob"]),
    "provided_contexts": st.sampled_from([[], [ProvidedContext(context_assertion="assertion")]]),
    "minimum_session_token_size": st.sampled_from([None, 1000, 2000]),
}
"""Some values of each member of AssumeRole, without those of MFA."""

REQUESTS = st.builds(AssumeRoleRequest, **VALUES)


@settings(max_examples=100)
@given(one=REQUESTS, other=REQUESTS, chained=st.booleans())
def test_requests_that_differ_in_any_member_are_different_identities(
    one: AssumeRoleRequest, other: AssumeRoleRequest, chained: bool
) -> None:
    """T42: and equal requests are one identity, wherever they were made."""
    keys: list[Any] = [one, other]
    if chained:
        keys = [ChainedRequest(request, source=role(9)) for request in keys]
    equal = attrs.asdict(one, recurse=True) == attrs.asdict(other, recurse=True)

    assert (keys[0] == keys[1]) is equal
    assert len({*keys}) == (1 if equal else 2)
    assert hash(attrs.evolve(keys[0])) == hash(keys[0])


@settings(max_examples=100)
@given(request=REQUESTS, name=st.sampled_from(sorted(VALUES)), data=st.data())
def test_one_different_member_is_enough_for_another_identity(
    request: AssumeRoleRequest, name: str, data: st.DataObject
) -> None:
    """T42."""
    others = VALUES[name].map(lambda value: attrs.evolve(request, **{name: value})).filter(request.__ne__)
    chains = [ChainedRequest(request, source=role(number)) for number in (8, 9)]

    assert len({request, data.draw(others), *chains}) == 4


def test_the_table_of_members_is_complete() -> None:
    """T42: a new member of AssumeRole needs a line in `VALUES`."""
    mfa = {"serial_number", "token_code"}

    assert {field.name for field in attrs.fields(AssumeRoleRequest) if field.init} == {*VALUES, *mfa}


async def test_each_identity_gets_the_credentials_of_its_own_role(server: LocalSTS, clock: VirtualClock) -> None:
    """T42: 1,000 roles in random order, each several times. The server tells who owns the credentials."""
    wanted = [role(number % 500, session=f"session-{number % 2}") for number in range(1_000)]
    random.Random(7).shuffle(wanted)
    async with open_fleet(server, clock, requests_per_second=1e6) as fleet:
        found = await soon(asyncio.gather(*(fleet.get(one) for one in wanted)))
        again = [fleet.peek(one) for one in wanted]

    owners = [server.principal(credentials) for credentials in found]
    assert [owner and (owner.role_arn, owner.arn.rpartition("/")[2]) for owner in owners] == [
        (one.role_arn, one.role_session_name) for one in wanted
    ]
    assert again == found
    assert len(server.requests) == len(set(wanted)) == 500


@settings(max_examples=15)
@given(order=st.lists(st.integers(0, 11), min_size=1, max_size=40), bound=st.integers(1, 4))
def test_no_eviction_and_no_failure_mixes_up_identities(order: list[int], bound: int) -> None:
    """T42: with the bound exceeded all the time, and with roles that are refused."""

    async def run() -> None:
        clock = VirtualClock(start=1_767_225_600.0)
        service = Service(clock)
        service.refusals = {role(number).role_arn: "AccessDenied" for number in (3, 7)}
        async with open_fleet(service, clock, max_on_demand=bound) as fleet:
            found = await asyncio.gather(
                *(outcome_of(lambda number=number: fleet.get(role(number))) for number in order)
            )
        for number, outcome in zip(order, found, strict=True):
            if isinstance(outcome, Credentials):
                assert service.order[number_of(outcome)] == role(number).role_arn
            else:
                assert number in (3, 7)

    asyncio.run(run())


# -- all kinds -----------------------------------------------------------------------------------------------------

ALL_KINDS: list[Any] = [
    role(),
    web_identity(),
    AssumeRoleWithSAMLRequest(
        role_arn=ARN, principal_arn=f"arn:aws:iam::{ACCOUNT}:saml-provider/x", saml_assertion="SENTINEL-saml"
    ),
    root(),
    GetFederationTokenRequest(name="bob"),
    GetScopedCredentialsRequest(),
    GetSessionTokenRequest(),
]


async def test_every_operation_that_issues_credentials_is_an_identity(watched: None, clock: VirtualClock) -> None:
    assert {type(one) for one in ALL_KINDS} == {operation.request for operation in ISSUING}
    transport = Answering()
    options = {"transport": transport, "endpoint_url": "http://127.0.0.1:9/", "region": "us-east-1"}
    async with STSClient(credentials=KEYS, clock=clock, **options) as sts, CredentialsFleet(sts) as fleet:  # type: ignore[arg-type]
        fleet.add(*ALL_KINDS, StaticProvider(KEYS))
        await soon(fleet.warm_up())

        assert [fleet.failing(), fleet.snapshot().fresh] == [[], len(ALL_KINDS) + 1]
        assert all(fleet.peek(one) for one in ALL_KINDS)
        actions = {form_of(request)["Action"] for request in transport.sent}
        assert actions == {operation.name for operation in ISSUING}


@attrs.define
class Unhashable:
    """A provider that is compared by value, and can change."""

    async def provide_credentials(self, context: object, /) -> Credentials:
        raise AssertionError("it was asked")


MFA = "arn:aws:iam::123456789012:mfa/me"
NO_IDENTITIES: list[tuple[Any, str]] = [
    (GetCallerIdentityRequest(), "GetCallerIdentityRequest issues no credentials"),
    ("SENTINEL-text", "not a str"),
    (None, "not None"),
    ({"AccessKeyId": "SENTINEL"}, "not a dict"),
    ([], "not a list"),
    (Source, "not the class Source"),
    (Unhashable(), "cannot be hashed"),
    (ChainedRequest(web_identity(), source=role()), "is not signed"),
    (ChainedRequest(role(), source=None), "not None"),  # type: ignore[arg-type]
    (ChainedRequest(role(), source="SENTINEL"), "not a str"),  # type: ignore[arg-type]
    (ChainedRequest("SENTINEL", source=role()), "str issues no credentials"),  # type: ignore[arg-type]
    (role(token_code="123456", serial_number=MFA), "token_code"),
    (role(serial_number=MFA), "serial_number"),
    (GetSessionTokenRequest(token_code="123456", serial_number=MFA), "token_code"),
    (GetSessionTokenRequest(serial_number=MFA), "serial_number"),
]


@pytest.mark.parametrize("value", [None, "SENTINEL", [role()], {"RoleArn": "SENTINEL"}])
async def test_values_that_are_no_identity_cannot_be_removed(server: LocalSTS, clock: VirtualClock, value: Any) -> None:
    """A list in place of its items would silently keep all of them. An identity that is not there is ignored."""
    async with open_fleet(server, clock) as fleet:
        fleet.remove(role())
        with pytest.raises(ConfigurationError, match="an identity must be a request such as AssumeRoleRequest"):
            fleet.remove(value)


@pytest.mark.parametrize("cache", ["SENTINEL", FileCache])
async def test_a_cache_that_is_none_is_refused(server: LocalSTS, cache: Any) -> None:
    """At once, and not by a log line of the first fetch."""
    async with server.client() as sts:
        with pytest.raises(ConfigurationError, match="cache must be a FileCache or another CredentialsCache"):
            CredentialsFleet(sts, cache=cache)


@pytest.mark.parametrize(("identity", "text"), NO_IDENTITIES, ids=lambda value: type(value).__name__)
async def test_a_value_that_is_no_identity_is_refused_by_each_call(
    server: LocalSTS, clock: VirtualClock, identity: Any, text: str
) -> None:
    """T46: also a request with an MFA code. The error shows no value, and nothing is sent."""
    async with open_fleet(server, clock) as fleet:
        errors = [await outcome_of(lambda: fleet.get(identity))]
        for call in (fleet.add, fleet.provider, fleet.pause):
            with pytest.raises(ConfigurationError) as caught:
                call(identity)
            errors.append(caught.value)
        errors += [outcome async for _, outcome in fleet.each([identity])]
        assert fleet.peek(identity) is None
        assert (fleet.snapshot().kept, fleet.snapshot().on_demand) == (0, 0)

    assert [type(error) for error in errors] == [ConfigurationError] * 5
    for error in errors:
        assert text in str(error)
        assert "SENTINEL" not in str(error)
        assert "123456" not in str(error)
    assert len(server.requests) == 0


async def test_a_chain_has_at_most_sixteen_identities(server: LocalSTS, clock: VirtualClock) -> None:
    chain: Any = role(0)
    for number in range(1, 16):
        chain = ChainedRequest(role(number), source=chain)
    async with open_fleet(server, clock) as fleet:
        assert isinstance(await soon(fleet.get(chain)), Credentials)
        assert fleet.snapshot().on_demand == 16
    with pytest.raises(ConfigurationError, match="more than 16 identities are chained"):
        ChainedRequest(role(16), source=chain)


async def test_an_invalid_request_is_refused_before_it_is_sent(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock) as fleet:
        for request in (role(session="no spaces please"), role(duration_seconds="SENTINEL"), role(external_id="?")):
            with pytest.raises(ParamValidationError) as caught:
                await fleet.get(request)
            assert "SENTINEL" not in str(caught.value)
        assert fleet.snapshot().on_demand == 0

    assert len(server.requests) == 0


async def test_the_error_about_one_of_several_identities_says_which(server: LocalSTS, clock: VirtualClock) -> None:
    """In a note: the message names no role, because a user may have chosen it. A text that is no ARN is not shown."""
    wrong: dict[Any, str] = {
        role(2, session="no spaces please"): f"identity 3 of 4, role {role(2).role_arn}.",
        role(3, account="999999999999"): f"identity 3 of 4, role {role(3, account='999999999999').role_arn}.",
        ChainedRequest(role(4, external_id="?"), source=role(1)): f"identity 3 of 4, role {role(4).role_arn}.",
        AssumeRoleRequest(role_arn="SENTINEL", role_session_name="me"): "identity 3 of 4.",
    }
    async with open_fleet(server, clock, allowed_accounts=[ACCOUNT]) as fleet:
        for identity, text in [*wrong.items(), ({"key": "SENTINEL"}, "identity 3 of 4.")]:
            for several, notes in (
                ([identity], []),
                ([role(1), role(5), identity, role(6)], [f"This is about {text}"]),
            ):
                with pytest.raises((ConfigurationError, ParamValidationError)) as caught:
                    fleet.add(*several)
                assert getattr(caught.value, "__notes__", []) == notes
                assert "role/role-" not in str(caught.value)
        assert fleet.snapshot().kept == 0


# -- accounts ------------------------------------------------------------------------------------------------------

FOREIGN = "999999999999"
BAD_ARNS = [
    "arn:aws:iam::123:role/x",
    "arn:aws:s3:::bucket/role/x",
    "arn:aws:iam::123456789012:user/x",
    "arn:aws:iam::123456789012:role/x\n",
    "arn:aws:iam::123456789012:role/x\x00",
    "arn:aws:iam::123456789012:role/x\r\nX-Header: 1",
    "arn:aws:iam::\uff11\uff12\uff13456789012:role/x",  # digits that are not of ASCII
    " arn:aws:iam::123456789012:role/x",
    "arn:aws:iam:us-east-1:123456789012:role/x",
    "arn:aws:iam::123456789012:role/" + "x" * 3000,
    "*",
]


@pytest.mark.parametrize("arn", BAD_ARNS, ids=ascii)
async def test_a_text_that_is_not_the_arn_of_a_role_is_refused_by_each_call(
    server: LocalSTS, clock: VirtualClock, arn: str
) -> None:
    """T43."""
    request = AssumeRoleRequest(role_arn=arn, role_session_name="me")
    hub = ChainedRequest(role(), source=request)
    async with open_fleet(server, clock, allowed_accounts=[ACCOUNT]) as fleet:
        for identity in (request, ChainedRequest(request, source=role()), hub):
            with pytest.raises((ConfigurationError, ParamValidationError)):
                await fleet.get(identity)
            for call in (fleet.add, fleet.provider):
                with pytest.raises((ConfigurationError, ParamValidationError)):
                    call(identity)
            ((_, outcome),) = [found async for found in fleet.each([identity])]
            assert isinstance(outcome, ConfigurationError | ParamValidationError)

    assert len(server.requests) == 0


@pytest.mark.parametrize(
    "identity",
    [
        role(account=FOREIGN),
        ChainedRequest(role(account=FOREIGN), source=role()),
        ChainedRequest(role(), source=role(account=FOREIGN)),
        root(FOREIGN),
        web_identity(role(account=FOREIGN).role_arn),
    ],
    ids=["role", "chained", "source", "root", "web identity"],
)
async def test_an_account_that_is_not_allowed_is_refused_by_each_call(
    server: LocalSTS, clock: VirtualClock, identity: Any
) -> None:
    """T43: the error does not name the account, because a user may have chosen it."""
    async with open_fleet(server, clock, allowed_accounts={ACCOUNT}) as fleet:
        with pytest.raises(ConfigurationError, match="allowed_accounts") as caught:
            await fleet.get(identity)
        for call in (fleet.add, fleet.provider, fleet.pause):
            with pytest.raises(ConfigurationError, match="allowed_accounts"):
                call(identity)
        ((_, outcome),) = [found async for found in fleet.each([identity])]
        assert isinstance(outcome, ConfigurationError)
        assert isinstance(await fleet.get(role()), Credentials)

    assert FOREIGN not in str(caught.value)
    assert len(server.requests) == 1


async def test_credentials_of_a_provider_for_an_account_that_is_not_allowed_are_refused(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """T43: the account of a provider is known only after its fetch."""

    class Foreign(Source):
        async def fetch(self, context: Any) -> Credentials:
            return attrs.evolve(await super().fetch(context), account_id=FOREIGN)

    source = Foreign(clock)
    async with open_fleet(server, clock, allowed_accounts=[ACCOUNT]) as fleet:
        with pytest.raises(ConfigurationError, match="allowed_accounts"):
            await fleet.get(source)
        assert fleet.peek(source) is None
    async with open_fleet(server, clock) as fleet:
        ((_, outcome),) = [found async for found in fleet.each([source], allowed_accounts=[ACCOUNT])]
        assert isinstance(outcome, ConfigurationError)
        assert isinstance(await fleet.get(source), Credentials)


async def test_an_account_without_a_limit_and_a_server_other_than_aws(server: LocalSTS, clock: VirtualClock) -> None:
    """With `strict_arns=False`, any text is sent as the ARN."""
    odd = AssumeRoleRequest(role_arn="urn:some-server:role:x", role_session_name="me")
    async with open_fleet(server, clock, strict_arns=False) as fleet:
        fleet.provider(odd)
        await outcome_of(lambda: fleet.get(odd))
        assert isinstance(await fleet.get(role(account=FOREIGN)), Credentials)

    assert len(server.requests) == 2


# -- providers of other fleets -------------------------------------------------------------------------------------


async def test_a_provider_of_another_fleet_keeps_the_client_of_that_fleet(clock: VirtualClock, watched: None) -> None:
    """T42: its requests are signed by the other client."""
    one, other = Service(clock), Service(clock)
    async with open_fleet(one, clock) as mine, open_fleet(other, clock) as theirs:
        provider = theirs.provider(role())
        for call in (mine.get(provider), mine.get(ChainedRequest(role(1), source=provider))):
            assert isinstance(await soon(call), Credentials)
        assert mine.peek(role()) is None
        await settled(mine)

    assert other.order == [role().role_arn]
    assert one.order == [role(1).role_arn]


async def test_a_provider_of_the_same_fleet_is_its_identity_also_as_a_source(
    clock: VirtualClock, watched: None
) -> None:
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        for _ in range(3):
            provider = fleet.provider(role())
            fleet.add(ChainedRequest(role(1), source=provider), provider)
            await fleet.get(ChainedRequest(role(1), source=provider))
        assert (fleet.snapshot().kept, fleet.snapshot().on_demand) == (2, 0)
        fleet.remove(ChainedRequest(role(1), source=provider), provider)
        assert (fleet.snapshot().kept, fleet.snapshot().on_demand) == (0, 0)
        await pass_time(fleet, clock, 60)

    assert service.order == [role().role_arn, role(1).role_arn]


def test_a_description_names_the_identity_and_shows_no_secret() -> None:
    chain = ChainedRequest(role(1), source=role(0))
    described = {
        describe(chain): "role-1' (session 'me') through role 'arn:aws:iam::123456789012:role/role-0' (session 'me')",
        describe(GetFederationTokenRequest(name="bob\n")): r"federated user 'bob\n'",
        describe(GetSessionTokenRequest()): "GetSessionToken",
        describe(root()): "root of '123456789012'",
        describe(web_identity()): "role-0' (session 'me')",
    }
    for text, part in described.items():
        assert part in text
        assert "SENTINEL" not in text
        assert "\n" not in text


@pytest.mark.parametrize(
    "arn",
    ["arn:aws:iam::9999:role/admin", "ARN:aws:iam::999999999999:role/admin", "urn:rgw:iam::999999999999:role/admin"],
)
def test_an_arn_that_does_not_show_its_account_is_not_allowed_where_accounts_are_limited(arn: str) -> None:
    """T43: such an ARN passes without `strict_arns`, and a server may read it as a role of any account."""
    request = AssumeRoleRequest(role_arn=arn, role_session_name="me")
    check_identity(request, strict_arns=False)
    with pytest.raises(ConfigurationError, match="allowed_accounts"):
        check_identity(request, strict_arns=False, allowed_accounts=frozenset(["123456789012"]))
