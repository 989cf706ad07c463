"""The coroutines sign with the credentials, the time and the region of a client, a view or a fleet."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import attrs
import pytest
from patience import PATIENCE, soon
from tokens.cases import AT, CASES, DB, REGION, TEMPORARY, Case, each_case, shown, url_in

from sts_async import (
    AssumeRoleRequest,
    ClientClosedError,
    Config,
    ConfigurationError,
    CredentialsNotFound,
    InvalidRegion,
    StaticProvider,
    STSClient,
    tokens,
)
from sts_async.fleet import CredentialsFleet
from sts_async.testing import LocalSTS, VirtualClock

ROLE = "arn:aws:iam::123456789012:role/demo"
REQUEST = AssumeRoleRequest(role_arn=ROLE, role_session_name="me")


@pytest.fixture
async def sts() -> AsyncIterator[STSClient]:
    """A client without a server, at the time of the golden vectors."""
    clock = VirtualClock(AT.timestamp())
    async with STSClient(credentials=StaticProvider(TEMPORARY), region=REGION, clock=clock) as sts:
        yield sts


def key_in(token: tokens.Token) -> str:
    """Return the access key id that signed a token in host form."""
    (found,) = parse_qs(token.value.partition("?")[2])["X-Amz-Credential"]
    return found.partition("/")[0]


@each_case
async def test_a_coroutine_returns_what_its_function_signs(case: Case, sts: STSClient) -> None:
    """The time is that of the client's clock, and the region that of the client, if none is given."""
    given = {name: value for name, value in case.arguments.items() if name != "region"}

    ours = await case.coroutine(sts, **given)
    expected = case.sign(TEMPORARY, **case.arguments, at=AT)

    assert ours.expiration == expected.expiration
    if isinstance(ours, tokens.VaultLogin):
        assert ours.reveal() == expected.reveal()
    else:
        assert ours == expected


@pytest.mark.parametrize("name", [name for name in CASES if name != "vault"])
async def test_a_region_that_is_given_goes_before_that_of_the_client(name: str, sts: STSClient) -> None:
    case = CASES[name]
    host = {"host": "db.example.com"} if "host" in case.arguments else {}
    given = {**case.arguments, **host, "region": "ap-south-1"}

    token = await case.coroutine(sts, **given)

    assert token == case.sign(TEMPORARY, **given, at=AT)


async def test_the_region_in_the_host_goes_before_that_of_the_client(sts: STSClient) -> None:
    """One client can open databases of several regions."""
    host = "db.abc.us-west-2.rds.amazonaws.com"

    token = await tokens.rds_token(sts, host=host, port=5432, user="app")
    named = await tokens.rds_token(sts, host="db.example.com", port=5432, user="app")

    assert "%2Fus-west-2%2Frds-db%2F" in token.value
    assert f"%2F{REGION}%2Frds-db%2F" in named.value


@pytest.mark.parametrize("name", CASES)
async def test_an_empty_region_is_not_that_of_the_client(name: str, sts: STSClient) -> None:
    """It comes from a variable that is not set, and the client's region can be another one."""
    case = CASES[name]

    with pytest.raises(InvalidRegion):
        await case.coroutine(sts, **{**case.arguments, "region": ""})
    with pytest.raises(InvalidRegion):
        await tokens.console_url(sts, region="")


async def test_without_any_region_a_token_is_refused() -> None:
    async with STSClient(credentials=StaticProvider(TEMPORARY), clock=VirtualClock(AT.timestamp())) as sts:
        with pytest.raises(ConfigurationError, match="no region: pass region, or use a client with a region"):
            await tokens.msk_token(sts)
        assert (await tokens.msk_token(sts, region=REGION)).value


async def test_the_fips_option_of_the_client_holds_for_eks() -> None:
    config = Config(use_fips_endpoint=True)
    async with STSClient(credentials=StaticProvider(TEMPORARY), region="us-east-1", config=config) as sts:
        by_option = await tokens.eks_token(sts, cluster="c")
        given = await tokens.eks_token(sts, cluster="c", use_fips=False)

    assert url_in(by_option.value, "k8s-aws-v1.").startswith("https://sts-fips.us-east-1.amazonaws.com/")
    assert url_in(given.value, "k8s-aws-v1.").startswith("https://sts.us-east-1.amazonaws.com/")


async def test_a_view_signs_as_its_role_and_a_fleet_as_its_identity() -> None:
    """T42: each token is signed with the keys that it was asked for."""
    async with LocalSTS() as server, server.client() as sts, CredentialsFleet(sts) as fleet:
        role, provider = sts.role(ROLE), fleet.provider(REQUEST)
        wanted = {"host": "db.example.com", "port": 1, "user": "app"}
        by_user, by_role, by_fleet = [await tokens.rds_token(source, **wanted) for source in (sts, role, provider)]
        issued = await fleet.get(REQUEST)

        assert key_in(by_user) == server.credentials.access_key_id
        assert key_in(by_role) == (await role.get_credentials()).access_key_id
        assert key_in(by_fleet) == issued.access_key_id
        assert len({key_in(by_user), key_in(by_role), key_in(by_fleet)}) == 3
        assert f"%2F{sts.region}%2Frds-db%2F" in by_fleet.value


async def test_a_token_of_a_short_session_ends_with_it() -> None:
    """F49: the end is that of the credentials in use, and a later token is signed with newer ones."""
    clock = VirtualClock()
    async with LocalSTS(clock=clock) as server, server.client(clock=clock) as sts:
        role = sts.role(ROLE, duration_seconds=900)
        await role.get_credentials()
        clock.advance(240)
        token = await tokens.rds_token(role, host=DB, port=1, user="app")
        first = await role.get_credentials()
        clock.advance(900)
        renewed = await tokens.rds_token(role, host=DB, port=1, user="app")

        assert token.expiration == first.expiration
        assert key_in(renewed) != key_in(token)
        assert renewed.expiration > token.expiration


async def test_a_token_is_signed_in_any_event_loop() -> None:
    """F53: drivers of databases have loops of their own, in other threads."""
    async with LocalSTS() as server, server.client() as sts, CredentialsFleet(sts) as fleet:
        found: list[tokens.Token] = []

        def elsewhere() -> None:
            sources = (sts.role(ROLE), fleet.provider(REQUEST))
            found.extend(asyncio.run(tokens.rds_token(source, host=DB, port=1, user="app")) for source in sources)

        thread = threading.Thread(target=elsewhere, daemon=True)
        thread.start()
        await soon(asyncio.to_thread(thread.join, PATIENCE))

        assert [token.value.startswith(f"{DB}:1/?Action=connect") for token in found] == [True, True]


COROUTINES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    **{name: (case.coroutine, case.arguments) for name, case in CASES.items()},
    "console": (tokens.console_url, {}),
    "web identity": (tokens.web_identity_token, {"audience": "api"}),
}


def test_each_coroutine_is_a_case() -> None:
    """A new one is compared with its function, and refuses what the others refuse."""
    found = {name for name in tokens.__all__ if asyncio.iscoroutinefunction(getattr(tokens, name))}

    assert {function.__name__ for function, _ in COROUTINES.values()} == found
    assert {f"sign_{function.__name__}" for function, _ in COROUTINES.values()} & {*tokens.__all__} == {
        case.sign.__name__ for case in CASES.values()
    }


@pytest.mark.parametrize(("function", "arguments"), COROUTINES.values(), ids=COROUTINES)
@pytest.mark.parametrize(
    "source",
    [TEMPORARY, StaticProvider(TEMPORARY), "SENTINEL-key", {"key": "SENTINEL-key"}, None, STSClient],
    ids=["credentials", "a provider", "text", "dict", "None", "a class"],
)
async def test_another_source_is_refused_with_what_to_pass_instead(
    source: Any, function: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    """A provider alone has no connections and no clock."""
    with pytest.raises(ConfigurationError, match=r"sts\.with_options\(credentials=provider\)") as caught:
        await function(source, **arguments)

    assert "SENTINEL" not in shown(caught)


@pytest.mark.parametrize(("function", "arguments"), COROUTINES.values(), ids=COROUTINES)
async def test_a_closed_client_or_fleet_makes_no_token(function: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """F56: with an error, and without a wait."""
    async with LocalSTS() as server, server.client() as open_sts:
        fleet = CredentialsFleet(open_sts)
        async with server.client() as sts, fleet:
            provider = fleet.provider(REQUEST)
        for source in (sts, sts.role(ROLE), provider):
            with pytest.raises(ClientClosedError):
                await soon(function(source, **arguments))

        assert not server.requests


async def test_a_client_without_credentials_raises_the_error_of_its_source() -> None:
    async with LocalSTS() as server, server.client(credentials=None) as sts:
        view = sts.with_options(credentials=NoCredentials())
        with pytest.raises(CredentialsNotFound, match="nothing here"):
            await tokens.rds_token(view, host=DB, port=1, user="app")


class NoCredentials:
    """A provider that finds nothing."""

    async def provide_credentials(self, context: Any) -> Any:
        raise CredentialsNotFound("nothing here")


@pytest.mark.parametrize(("length", "logged"), [(2400, 0), (4000, 1)])
async def test_a_token_of_eks_that_old_servers_refuse_is_logged(
    length: int, logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    """They answer with a plain 401. STS issues session tokens of up to 4,096 bytes."""
    keys = attrs.evolve(TEMPORARY, session_token="x" * length, expiration=AT + timedelta(hours=1))
    clock = VirtualClock(AT.timestamp())
    async with STSClient(credentials=StaticProvider(keys), region=REGION, clock=clock) as sts:
        with caplog.at_level(logging.WARNING, logger="sts_async"):
            token = await tokens.eks_token(sts, cluster="c")

    lines = [record.getMessage() for record in caplog.records]
    assert (len(token.value) > 4096) == bool(logged)
    assert (
        lines
        == [f"The EKS token has {len(token.value)} bytes. Servers with a limit of 4096 bytes answer it with 401."]
        * logged
    )
