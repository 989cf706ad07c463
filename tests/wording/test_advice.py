"""C18: advice in a message helps. Each test provokes a message, does what it says, and sees that work."""

import ast
import asyncio
import gc
import pickle
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import attrs
import pytest
from prometheus_client import CollectorRegistry
from support import KEYS, ROLE

import sts_async
from sts_async import Config, STSClient, sigv4
from sts_async._wording import option_names
from sts_async.credentials import (
    AssumeRoleProvider,
    CachingProvider,
    DefaultChain,
    EnvironmentProvider,
    IMDSProvider,
    ProcessProvider,
    ProfileProvider,
    SSOProvider,
    StaticProvider,
)
from sts_async.errors import ConfigurationError, CredentialsError, CredentialsExpired, CredentialsNotFound
from sts_async.fleet import CredentialsFleet
from sts_async.observers import PrometheusObserver
from sts_async.shapes import AssumeRoleRequest, Credentials, GetCallerIdentityRequest
from sts_async.testing import Answer, LocalIMDS, LocalSTS, VirtualClock

PACKAGE = Path(sts_async.__file__).parent
TESTS = Path(__file__).parents[1]
Test = TypeVar("Test", bound=Callable[..., Any])
FOLLOWED: dict[str, str] = {}
"""Advice in messages, with the test here that follows it."""


def advises(text: str) -> Callable[[Test], Test]:
    """Return a decorator for a test that follows an advice."""

    def register(test: Test) -> Test:
        FOLLOWED[text] = test.__name__
        return test

    return register


@pytest.fixture
async def server() -> AsyncIterator[LocalSTS]:
    async with LocalSTS() as running:
        yield running


def expired(**changed: Any) -> Credentials:
    ends = datetime.now(UTC) - timedelta(hours=1)
    return Credentials(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="SENTINEL", expiration=ends, **changed)


async def refusal(sts: STSClient, kind: type[Exception]) -> str:
    """Return the message of the error that a call raises."""
    with pytest.raises(kind) as caught:
        async with sts:
            await sts.presign(GetCallerIdentityRequest())
    return str(caught.value)


# -- regions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["region=", "AWS_REGION", "AWS_DEFAULT_REGION", "the profile"])
@advises("no region: pass region=..., set AWS_REGION or AWS_DEFAULT_REGION, or set region in the profile")
async def test_a_region_can_be_given_in_each_way_that_is_named(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """C18; for `--region` see `test_cli`."""
    assert "or set region in the profile" in await refusal(STSClient(credentials=KEYS), ConfigurationError)
    options: dict[str, Any] = {}
    if way == "region=":
        options["region"] = "eu-west-3"
    elif way == "the profile":
        (tmp_path / "config").write_text("[default]\nregion = eu-west-3\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    else:
        monkeypatch.setenv(way, "eu-west-3")
    async with STSClient(credentials=KEYS, **options) as sts:
        url = await sts.presign(GetCallerIdentityRequest())

    assert url.reveal().startswith("https://sts.eu-west-3.amazonaws.com/")


@pytest.mark.parametrize("way", ["region=", "AWS_REGION"])
@advises("a signed operation needs a region as well as endpoint_url: pass region=... or set AWS_REGION")
async def test_an_endpoint_url_can_be_completed_by_a_region(
    way: str, server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C18."""
    given: dict[str, Any] = {"endpoint_url": server.url, "credentials": server.credentials}
    assert "a signed operation needs a region" in await refusal(STSClient(**given), ConfigurationError)
    if way == "region=":
        given["region"] = "eu-west-3"
    else:
        monkeypatch.setenv("AWS_REGION", "eu-west-3")
    async with STSClient(**given) as sts:
        assert (await sts.get_caller_identity()).account


@advises("use a region of the role's partition")
async def test_a_role_of_another_partition_is_asked_for_in_a_region_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """C18: the request is then sent, here to a server that is not there."""

    def role() -> AssumeRoleProvider:
        return AssumeRoleProvider(role_arn="arn:aws-cn:iam::123456789012:role/demo", source=KEYS)

    message = await refusal(STSClient(region="eu-west-1", credentials=role()), ConfigurationError)
    asked: list[str] = []

    def unknown(host: str, *_: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    async with STSClient(region="cn-north-1", credentials=role(), config=Config(max_attempts=1)) as sts:
        with pytest.raises(sts_async.errors.ConnectError):
            await sts.get_credentials()

    assert "use a region of the role's partition" in message
    assert {*asked} == {"sts.cn-north-1.amazonaws.com.cn"}


# -- the way to the service ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{"endpoint_url": "https://sts.shop.example"}, {"allow_http": True}], ids=str)
@advises("is unencrypted and would expose credentials: use https, or pass allow_http=True")
async def test_an_endpoint_can_be_made_acceptable_in_both_ways(given: dict[str, Any]) -> None:
    """C18."""
    options: dict[str, Any] = {"region": "us-east-1", "endpoint_url": "http://sts.shop.example"}
    with pytest.raises(ConfigurationError, match="use https, or pass allow_http=True"):
        STSClient(credentials=KEYS, config=Config(**options))
    async with STSClient(credentials=KEYS, config=Config(**{**options, **given})) as sts:
        url = await sts.presign(GetCallerIdentityRequest())

    assert url.reveal().startswith(f"{given.get('endpoint_url', 'http://sts.shop.example')}/?Action=")


@advises("SOCKS is not supported. Add {} to NO_PROXY to connect directly.")
async def test_a_host_in_no_proxy_is_reached_without_the_proxy(
    server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C18: with the host as the message writes it."""
    port = int(server.url.rstrip("/").rpartition(":")[2])
    found = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: found)
    monkeypatch.setenv("HTTP_PROXY", "socks5h://127.0.0.1:1")
    options = Config(endpoint_url=f"http://sts.shop.example:{port}", region="us-east-1", allow_http=True)
    async with STSClient(credentials=server.credentials, config=options) as sts:
        with pytest.raises(ConfigurationError) as caught:
            await sts.get_caller_identity()
    advised = re.search(r"Add (\S+) to NO_PROXY to connect directly\.", str(caught.value))
    assert advised is not None
    monkeypatch.setenv("NO_PROXY", advised[1])
    async with STSClient(credentials=server.credentials, config=options) as sts:
        assert (await sts.get_caller_identity()).account


@pytest.mark.parametrize("given", [False, True], ids=["give none", "or one each"])
@advises("the session that was given belongs to another event loop: give none, or one each")
def test_a_second_event_loop_gets_no_session_or_its_own(given: bool) -> None:
    """C18."""

    async def one(session: Any, server: LocalSTS) -> str:
        options = {"endpoint_url": server.url, "region": "us-east-1", "credentials": server.credentials}
        async with STSClient(**options, session=session) as sts:
            return (await sts.get_caller_identity()).account

    async def first() -> Any:
        return aiohttp.ClientSession()

    async def second(session: Any) -> str:
        async with LocalSTS() as server:
            with pytest.raises(ConfigurationError, match="give none, or one each"):
                await one(session, server)
            if not given:
                return await one(None, server)
            async with aiohttp.ClientSession() as own:
                return await one(own, server)

    with asyncio.Runner() as runner, asyncio.Runner() as other:
        session = runner.run(first())
        assert other.run(second(session))
        runner.run(session.close())


# -- clients -------------------------------------------------------------------------------------------------------


@advises("use `async with`: an STSClient is opened and closed in an event loop")
async def test_a_client_is_opened_with_async_with(server: LocalSTS) -> None:
    """C18."""
    sts = server.client()
    with pytest.raises(TypeError, match="use `async with`"), sts:  # type: ignore[attr-defined]
        pass
    async with sts:
        assert (await sts.get_caller_identity()).account


@advises("clock must be an object with time, monotonic and sleep, such as testing.VirtualClock()")
async def test_a_virtual_clock_is_a_clock(server: LocalSTS) -> None:
    """C18."""
    with pytest.raises(ConfigurationError, match=r"such as testing\.VirtualClock\(\)"):
        STSClient(clock=datetime.now)  # type: ignore[arg-type]
    async with server.client(clock=VirtualClock()) as sts:
        assert (await sts.get_caller_identity()).account


@advises("cannot be pickled: pass {}, and make one there")
async def test_the_config_and_credentials_of_a_client_can_be_pickled(server: LocalSTS) -> None:
    """C18."""
    config = Config(endpoint_url=server.url, region="us-east-1")
    sts = STSClient(config=config, credentials=server.credentials)
    with pytest.raises(TypeError, match="pass its Credentials or Config, and make one there"):
        pickle.dumps(sts)
    there, keys = pickle.loads(pickle.dumps((config, server.credentials)))
    async with STSClient(config=there, credentials=keys) as made:
        assert (await made.get_caller_identity()).account


@advises("share one PrometheusObserver between all clients, or give each observer its own registry or namespace")
def test_an_observer_for_prometheus_is_shared_or_has_its_own_names() -> None:
    """C18: one observer is given to any number of clients."""
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry=registry)
    with pytest.raises(ConfigurationError, match="share one PrometheusObserver between all clients"):
        PrometheusObserver(registry=registry)
    for made in (
        PrometheusObserver(registry=CollectorRegistry()),
        PrometheusObserver(registry=registry, namespace="x"),
    ):
        assert made is not observer
    assert all(STSClient(region="us-east-1", observers=[observer]) for _ in range(2))


@advises("unclosed {}, made at {}:{}: use `async with STSClient(...) as sts`, or await sts.aclose()")
@pytest.mark.parametrize("way", ["async with", "aclose"])
async def test_a_client_that_is_closed_in_each_way_warns_of_nothing(
    way: str, server: LocalSTS, recwarn: pytest.WarningsRecorder
) -> None:
    """C18: as a client warns that is not."""
    sts = server.client()
    await sts.get_caller_identity()
    advised = r"use `async with STSClient\(\.\.\.\) as sts`, or await sts\.aclose"
    with pytest.warns(ResourceWarning, match=advised):  # noqa: PT031 - the last reference goes within
        del sts
        gc.collect()
    closed = server.client()
    if way == "async with":
        async with closed as sts:
            await sts.get_caller_identity()
        del sts
    else:
        await closed.get_caller_identity()
        await closed.aclose()
    del closed
    gc.collect()

    assert recwarn.list == []


# -- credentials ---------------------------------------------------------------------------------------------------


@advises("pass new ones, or a provider that refreshes")
async def test_static_credentials_that_expired_are_replaced_in_both_ways(server: LocalSTS) -> None:
    """C18."""
    with pytest.raises(CredentialsExpired, match="pass new ones, or a provider that refreshes"):
        await identity_of(server, expired())

    async def fetch() -> Credentials:
        return server.credentials

    for given in (server.credentials, StaticProvider(server.credentials), CachingProvider(fetch)):
        assert await identity_of(server, given)


async def identity_of(server: LocalSTS, credentials: Any) -> str:
    async with server.client(credentials=credentials) as sts:
        return (await sts.get_caller_identity()).account


def keys_for_environment(server: LocalSTS, expiration: str = "") -> dict[str, str]:
    keys = server.credentials
    ends = {"AWS_CREDENTIAL_EXPIRATION": expiration} if expiration else {}
    secret = str.__str__(keys.secret_access_key)
    return {"AWS_ACCESS_KEY_ID": keys.access_key_id, "AWS_SECRET_ACCESS_KEY": secret, **ends}


@advises("set new ones, and their AWS_CREDENTIAL_EXPIRATION")
async def test_keys_of_the_environment_that_expired_are_replaced_there(server: LocalSTS) -> None:
    """C18: by a running program, too, or by what it reads its environment from."""
    environ = keys_for_environment(server, "2020-01-01T00:00:00Z")
    provider = EnvironmentProvider(environ)
    with pytest.raises(CredentialsExpired, match="set new ones, and their AWS_CREDENTIAL_EXPIRATION"):
        await identity_of(server, provider)
    environ |= keys_for_environment(server, (datetime.now(UTC) + timedelta(hours=1)).isoformat())

    assert await identity_of(server, provider)


@pytest.mark.parametrize("both", [True, False], ids=["both", "neither"])
@advises("is set and {} is not: set both or neither")
async def test_half_of_the_keys_in_the_environment_is_completed_or_removed(server: LocalSTS, *, both: bool) -> None:
    """C18: without them, another source is asked."""
    environ = keys_for_environment(server)
    half = {"AWS_ACCESS_KEY_ID": environ["AWS_ACCESS_KEY_ID"]}
    with pytest.raises(CredentialsError, match="set both or neither"):
        await identity_of(server, EnvironmentProvider(half))
    chain = sts_async.ProviderChain(EnvironmentProvider(environ if both else {}), server.credentials)

    assert await identity_of(server, chain)


@pytest.mark.parametrize("way", ["imds_v1_fallback", "AWS_EC2_METADATA_V1_DISABLED"])
@advises("and IMDSv1 is used only with imds_v1_fallback=True or AWS_EC2_METADATA_V1_DISABLED=false")
async def test_version_1_of_the_metadata_service_is_asked_in_both_ways(
    way: str, monkeypatch: pytest.MonkeyPatch, server: LocalSTS
) -> None:
    """C18."""
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    async with LocalIMDS(role="web", credentials=server.issue(ROLE), v1=True) as imds:
        for name, value in imds.environ.items():
            monkeypatch.setenv(name, value)
        imds.faults.add(Answer(403, b"", path="/latest/api/token", times=None))
        with pytest.raises(CredentialsNotFound, match=f"only with .*{way}="):
            await identity_of(server, IMDSProvider())
        given = Config(endpoint_url=server.url, region="us-east-1")
        if way == "imds_v1_fallback":
            given = attrs.evolve(given, imds_v1_fallback=True)
        else:
            monkeypatch.setenv(way, "false")
        async with STSClient(config=given) as sts:
            assert (await sts.get_caller_identity()).account


@pytest.mark.parametrize("provider", [DefaultChain, ProfileProvider])
@advises("pass mfa_code=..., a coroutine function that takes the serial number and returns the code, to DefaultChain")
async def test_a_profile_with_mfa_takes_its_code_from_the_function_that_is_passed(
    provider: Any, server: LocalSTS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """C18."""
    keys = keys_for_environment(server)
    (tmp_path / "config").write_text(
        f"[default]\nrole_arn = {ROLE}\nsource_profile = keys\nmfa_serial = {server.user.mfa_serial}\n"
        f"[profile keys]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    asked: list[str] = []

    async def mfa_code(serial_number: str) -> str:
        asked.append(serial_number)
        return "123456"

    with pytest.raises(CredentialsError, match="needs a code of its MFA device: pass mfa_code="):
        await identity_of(server, provider())
    assert await identity_of(server, provider(mfa_code=mfa_code))
    assert asked == [server.user.mfa_serial]


@pytest.mark.parametrize("way", ["STS_ASYNC_SHOW_PROCESS_STDERR", "show_process_stderr"])
@advises(
    "to see what it wrote to standard error, which may hold secrets, set STS_ASYNC_SHOW_PROCESS_STDERR=true or "
    "show_process_stderr=True"
)
async def test_the_standard_error_of_a_process_is_shown_in_both_ways(
    way: str, server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C11, C18."""
    command = "sh -c 'echo no ticket >&2; exit 1'"
    with pytest.raises(CredentialsError) as caught:
        await identity_of(server, ProcessProvider(command))
    assert (f"{way}=" in str(caught.value), "ticket" in str(caught.value)) == (True, False)
    options: dict[str, Any] = {}
    if way == "show_process_stderr":
        options[way] = True
    else:
        monkeypatch.setenv(way, "true")

    with pytest.raises(CredentialsError, match="it wrote to standard error: no ticket"):
        await identity_of(server, ProcessProvider(command, **options))


@advises("pass session_name, the name of an sso-session, or start_url")
def test_a_source_of_the_portal_is_made_with_either_name() -> None:
    """C18."""
    role = {"account_id": "123456789012", "role_name": "dev", "region": "us-east-1"}
    with pytest.raises(ConfigurationError, match="pass session_name, the name of an sso-session, or start_url"):
        SSOProvider(**role)

    assert SSOProvider(**role, session_name="corp")
    assert SSOProvider(**role, start_url="https://demo.awsapps.com/start")


@advises("give strict_arns=False for a server that is not of AWS")
async def test_a_role_of_another_server_is_accepted_with_the_option_that_is_named(server: LocalSTS) -> None:
    """C18: the ARN is sent as it is, and it is for the server to judge."""
    arn = "urn:ecs:iam::ns1:role/demo-of-a-store"
    with pytest.raises(ConfigurationError, match="give strict_arns=False for a server that is not of AWS"):
        AssumeRoleProvider(role_arn=arn, source=KEYS)
    role = AssumeRoleProvider(role_arn=arn, source=server.credentials, strict_arns=False)
    with pytest.raises(sts_async.ServiceError):
        await identity_of(server, role)

    assert [(one.operation, one.status) for one in server.requests] == [("AssumeRole", 400)]


# -- signatures ----------------------------------------------------------------------------------------------------


@advises("at, the time of signing, must be an aware datetime: use datetime.now(UTC)")
def test_a_signature_is_made_for_the_time_that_is_named() -> None:
    """C18."""
    given: dict[str, Any] = {"method": "GET", "url": "https://sts.amazonaws.com/", "headers": {}, "service": "sts"}
    with pytest.raises(ConfigurationError, match=r"use datetime\.now\(UTC\)"):
        sigv4.sign(KEYS, **given, region="us-east-1", at=datetime.now())

    assert "authorization" in sigv4.sign(KEYS, **given, region="us-east-1", at=datetime.now(UTC))


@advises("header x-amz-content-sha256 and payload_hash differ: pass only one")
def test_of_two_hashes_of_a_payload_either_can_be_passed() -> None:
    """C18."""
    given: dict[str, Any] = {"method": "GET", "url": "https://bucket.s3.amazonaws.com/key", "service": "s3"}
    given |= {"region": "us-east-1", "at": datetime.now(UTC)}
    header, other = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, "0" * 64
    with pytest.raises(ConfigurationError, match="pass only one"):
        sigv4.sign(KEYS, **given, headers=header, payload_hash=other)
    by_header = sigv4.sign(KEYS, **given, headers=header)
    by_argument = sigv4.sign(KEYS, **given, headers={}, payload_hash=other)

    assert by_header["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert by_argument["x-amz-content-sha256"] == other


# -- all of it -----------------------------------------------------------------------------------------------------

ADVICE = re.compile(r"\b(run:|set |pass |use |give |add |install|instead\b)", re.IGNORECASE)
APART = {"testing"}
"""The kit, whose own tests follow its advice."""
ENDPOINTS, SERVICES = "protocol/test_endpoints.py", "credentials/test_services.py"
PSEUDO_REGION = (ENDPOINTS, "test_an_invalid_region_is_an_error_with_a_correction")
EXCLUDED = (SERVICES, "test_a_configured_url_with_a_flag_is_an_error_as_for_sts")
REDIS_OPTIONS = ("cli/test_cache_options.py", "test_processes_share_redis_and_show_no_password")
LOGIN = (SERVICES, "test_the_advised_command_logs_in_with_the_profile")
REGION_OF_LOGIN = (SERVICES, "test_the_advice_about_a_region_helps")


@advises("the fleet is not open yet: use `async with CredentialsFleet(...)`")
async def test_a_fleet_is_opened_by_async_with(server: LocalSTS) -> None:
    """C18."""
    role = AssumeRoleRequest(role_arn="arn:aws:iam::123456789012:role/demo", role_session_name="me")
    async with server.client() as sts:
        fleet = CredentialsFleet(sts)
        with pytest.raises(sts_async.ClientClosedError, match="use `async with CredentialsFleet"):
            await fleet.get(role)
        async with fleet:
            assert await fleet.get(role)


@pytest.mark.parametrize("member", ["token_code", "serial_number"])
@advises("cannot be refreshed, because an MFA code is valid once: pass a provider with mfa_code=...")
@advises("needs an MFA code for each request: pass a provider with mfa_code=...")
async def test_an_identity_with_mfa_is_a_provider(member: str, server: LocalSTS) -> None:
    """C18, T46."""
    device, code = "arn:aws:iam::123456789012:mfa/developer", "123456"
    role: dict[str, Any] = {"role_arn": "arn:aws:iam::123456789012:role/demo", "role_session_name": "me"}
    given = {"serial_number": device} | ({"token_code": code} if member == "token_code" else {})

    async def mfa_code(serial_number: str) -> str:
        return code

    async with server.client() as sts, CredentialsFleet(sts) as fleet:
        with pytest.raises(ConfigurationError, match=r"provider with mfa_code=\.\.\., such as AssumeRoleProvider"):
            await fleet.get(AssumeRoleRequest(**role, **given))
        assert await fleet.get(AssumeRoleProvider(**role, serial_number=device, mfa_code=mfa_code))


ELSEWHERE = {
    "run: python -m pip install '": (
        "bridges/test_table.py",
        "test_a_library_that_is_missing_or_too_old_is_named_with_its_version",
    ),
    " is installed; ": (
        "bridges/test_table.py",
        "test_a_library_that_is_missing_or_too_old_is_named_with_its_version",
    ),
    ", which is not installed; ": (
        "bridges/test_table.py",
        "test_a_library_that_is_missing_or_too_old_is_named_with_its_version",
    ),
    " to send it without TLS": ("bridges/test_aiohttp.py", "test_plain_http_to_another_host_can_be_allowed"),
    "the signing region is not known: pass region=": (
        "bridges/test_aiohttp.py",
        "test_a_region_can_be_given_to_the_bridge",
    ),
    "no region: pass region, or use a client with a region": (
        "tokens/test_sources.py",
        "test_without_any_region_a_token_is_refused",
    ),
    " is a whole partition: use a region such as us-east-1": (
        "tokens/test_arguments.py",
        "test_a_region_is_one_plain_region",
    ),
    ": omit region, or pass ": ("tokens/test_arguments.py", "test_a_region_that_contradicts_the_host_is_refused"),
    "For another provider, pass sts.with_options(credentials=provider)": (
        "tokens/test_sources.py",
        "test_another_source_is_refused_with_what_to_pass_instead",
    ),
    "the console needs temporary credentials: assume a role with sts.role(...)": (
        "tokens/test_console.py",
        "test_keys_of_a_user_are_refused_with_what_to_do",
    ),
    ": pass the region of the console that it belongs to": (
        "tokens/test_console.py",
        "test_an_invalid_argument_sends_nothing",
    ),
    "set apiVersion of the exec plugin in the kubeconfig file": (
        "tokens/test_exec_credential.py",
        "test_another_version_is_refused_with_where_to_set_it",
    ),
    "Install an older aiohttp, or a newer sts_async": (
        "http/test_aiohttp_names.py",
        "test_a_connector_without_a_name_stops_the_first_call",
    ),
    ', or give {}={"a": "b"}': ("shape/test_constraints.py", "test_the_form_that_a_refused_item_names_is_taken"),
    ', or give {}=["arn:..."]': ("shape/test_constraints.py", "test_the_form_that_a_refused_item_names_is_taken"),
    ": pass response.credentials": (
        "credentials/test_source.py",
        "test_a_response_instead_of_its_credentials_is_refused_with_advice",
    ),
    "None: is the variable set that it comes from?": (
        "test_shapes.py",
        "test_a_key_of_an_unset_variable_is_refused_at_once",
    ),
    "Run: python -m pip install": (
        "runtime/test_requirements.py",
        "test_the_command_in_the_message_asks_for_what_the_package_declares",
    ),
    "pip install 'sts-async[opentelemetry]'": (
        "observers/test_package.py",
        "test_a_missing_package_is_an_error_with_the_command_to_install_it",
    ),
    "pip install 'sts-async[prometheus]'": (
        "observers/test_package.py",
        "test_a_missing_package_is_an_error_with_the_command_to_install_it",
    ),
    "pip install 'sts-async[redis]'": (
        "fleet/caches/test_encrypted_entries.py",
        "test_a_missing_package_is_named_with_the_command_to_install_it",
    ),
    "use EncryptionKeys.from_text for text, or EncryptionKeys.from_file for a file": (
        "fleet/caches/test_encryption_keys.py",
        "test_the_advice_about_keys_that_are_no_mapping_helps",
    ),
    "pass keys=EncryptionKeys.from_file(path)": (
        "fleet/caches/test_redis.py",
        "test_the_advice_about_missing_keys_helps",
    ),
    "pass a client of redis.asyncio instead": (
        "fleet/caches/test_redis_connections.py",
        "test_a_client_of_the_program_has_any_option",
    ),
    "pass a URL instead": (
        "fleet/caches/test_redis_connections.py",
        "test_a_client_of_the_program_serves_one_event_loop_and_a_url_serves_all",
    ),
    "pip install 'sts-async[login]'": (
        "credentials/test_login.py",
        "test_a_refresh_without_the_package_names_the_package",
    ),
    "to use AWS's {} host, {}; to use the URL unchanged, set {} to false": EXCLUDED,
    "set ignore_configured_endpoint_urls=True or AWS_{}=true": EXCLUDED,
    "give no {}": (ENDPOINTS, "test_a_custom_endpoint_excludes_fips_and_dual_stack"),
    "is a whole partition, and {} there are regional: use a region such as {}": PSEUDO_REGION,
    "is not a region: set the region to {} (region=..., AWS_REGION, or region in the profile), and set {} or {}=true": (
        PSEUDO_REGION
    ),
    "to ignore this file, set {}={}": (
        "config/test_unreachable_files.py",
        "test_keys_of_the_default_profile_do_not_replace_a_role_in_an_unreadable_file",
    ),
    "could be set there: pass {}": ("config/test_needs.py", "test_the_advice_of_such_an_error_helps"),
    "if you trust it, set STS_ASYNC_TRUST_TOKEN_FILES=true or trust_token_files=True": (
        "credentials/test_profile_sources.py",
        "test_a_token_file_of_a_profile_that_others_may_write_can_be_trusted",
    ),
    "; run: {}": LOGIN,
    "a region is needed to refresh: {}, or run: {}": REGION_OF_LOGIN,
    "pass region=...": REGION_OF_LOGIN,
    "set region in profile {} or AWS_REGION": REGION_OF_LOGIN,
    "there is no terminal for a prompt: pass --mfa-code CODE, or --mfa-code - with the code on standard input": (
        "cli/test_terminal.py",
        "test_without_a_terminal_one_line_says_how_to_give_the_code_and_that_works",
    ),
    "standard input is already used by another option: use file://PATH for {}": (
        "cli/test_advice.py",
        "test_a_second_value_is_read_from_a_file_instead_of_standard_input",
    ),
    "before the credentials endpoint: set AWS_SHARED_CREDENTIALS_FILE={} and AWS_CONFIG_FILE to a file whose": (
        "agent/test_environ.py",
        "test_the_advice_of_the_warning_helps",
    ),
    "the endpoint is not open: use `async with serve(...)`": (
        "agent/test_lifecycle.py",
        "test_nothing_listens_before_the_credentials_are_there",
    ),
    "Serve the credentials of a file of roles on 127.0.0.1": (
        "cli/test_endpoint.py",
        "test_all_identities_that_can_be_used_are_served_until_a_signal",
    ),
    "the console needs temporary credentials: pass --role-arn ARN": (
        "cli/test_tokens.py",
        "test_keys_of_a_user_need_a_role",
    ),
    "is for a cache on Redis: give its URL with --cache or in STS_ASYNC_CACHE": REDIS_OPTIONS,
    "a cache on Redis needs keys: pass --cache-key-file FILE or set STS_ASYNC_CACHE_KEYS": REDIS_OPTIONS,
    "Other users can see a password on the command line: set the variable STS_ASYNC_CACHE instead": REDIS_OPTIONS,
    "To replace a key: add the new line below the old one in all processes": (
        "fleet/caches/test_encrypted_entries.py",
        "test_neighbouring_steps_of_a_rotation_read_each_other",
    ),
    "give this line a name of its own": ("fleet/test_roles_file.py", "test_the_advice_about_a_name_helps"),
    "is not unique: use {}": (
        "fleet/test_roles_file.py",
        "test_a_short_name_that_several_identities_share_is_no_name",
    ),
    "to sign the requests with this role, set AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE": (
        "cli/test_fleet.py",
        "test_the_advice_about_web_identity_tokens_helps",
    ),
    "cmd.exe cannot quote: use another --format": (
        "cli/test_export_forms.py",
        "test_a_value_that_cmd_cannot_quote_fits_another_form",
    ),
    "Pass secrets\nin one of these ways": ("cli/test_cli.py", "test_a_value_is_read_from_standard_input"),
}
"""Advice that another test covers, or that needs a package index."""
WHOLE = {"give no {}", "pass region=..."}
"""Texts of the table that are too short to be looked for within others."""
NO_ADVICE = {
    "%r: %s; the credentials are fetched instead",
    "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not: set AWS_ROLE_ARN to the role to assume",
    "URL of STS, instead of the region's endpoint",
    *('set "{0}={1}"', 'set "{0}="', "set -gx {0} {1}", "set -e {0}"),  # commands of shells
}


def is_apart(path: Path) -> bool:
    name = path.relative_to(PACKAGE).as_posix()
    return name in APART or name.partition("/")[0] in APART


Constants = Mapping[str, str]


def constants_of(tree: ast.Module) -> dict[str, str]:
    """Return the texts that a module gives names to."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def filled_in(node: ast.expr, constants: Constants) -> str:
    """Return what a part of a message is for a program in Python, or ``{}`` if only a run tells."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.FormattedValue):
        return filled_in(node.value, constants) if node.conversion == -1 and node.format_spec is None else "{}"
    if isinstance(node, ast.Name):
        return constants.get(node.id, "{}")
    if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("option_names.") in ("setting", "option"):
        given = [filled_in(argument, constants) for argument in node.args]
        if "{}" not in given:
            return str(getattr(option_names, ast.unparse(node.func).removeprefix("option_names."))(*given))
    return "{}"


def text_of(node: ast.expr, constants: Constants) -> str:
    """Return a text of a message, with ``{}`` for what is filled in when it is made."""
    if isinstance(node, ast.JoinedStr):
        return "".join(filled_in(part, constants) for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def texts_in(tree: ast.Module, constants: Constants) -> list[str]:
    """Return the texts of a module that are no docstrings, with their parts joined."""
    skipped = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    skipped |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        text_of(node, constants) for node in ast.walk(tree) if isinstance(node, ast.expr) and id(node) not in skipped
    ]


@cache
def texts() -> list[str]:
    """Return the texts of the package, those apart left out."""
    trees = [ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py")) if not is_apart(path)]
    constants = {name: text for tree in trees for name, text in constants_of(tree).items()}
    return [text for tree in trees for text in texts_in(tree, constants | constants_of(tree)) if " " in text]


def is_in(part: str, text: str) -> bool:
    return part == text if part in WHOLE else part in text


def test_each_advice_is_followed_in_a_test() -> None:
    """C18: new advice needs a test with `advises` here, or its place in `ELSEWHERE`."""
    advice = [text for text in texts() if ADVICE.search(text) and text not in NO_ADVICE]

    assert len(advice) >= 15
    assert [text for text in advice if not any(is_in(part, text) for part in [*FOLLOWED, *ELSEWHERE])] == []


def test_no_test_is_about_advice_that_no_longer_exists() -> None:
    """C18."""
    assert [part for part in [*FOLLOWED, *ELSEWHERE] if not any(is_in(part, text) for text in texts())] == []


def test_each_test_elsewhere_exists() -> None:
    """C18."""
    for file, name in ELSEWHERE.values():
        assert f"def {name}(" in (TESTS / file).read_text()


def test_advice_in_a_new_message_is_found() -> None:
    """C18."""
    source = 'def f():\n    """Use x."""\n    raise ValueError(f"{a} is wrong: " "use " f"{b}")\n'

    assert [text for text in texts_in(ast.parse(source), {}) if ADVICE.search(text)] == ["{} is wrong: use {}"]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("f\"pass {setting('region')}\"", "pass region=..."),
        ("f\"pass {option_names.setting('allow_http', 'True')}\"", "pass allow_http=True"),
        ('f"give no {option(URL)}"', "give no endpoint_url"),
        ('f"set {URL}"', "set endpoint_url"),
        ('f"pass {setting(name)}"', "pass {}"),
        ('f"set {URL!r} or {len(URL)}"', "set {} or {}"),
    ],
)
def test_advice_is_found_in_the_terms_of_a_program(message: str, text: str) -> None:
    """C18: options are named as `_wording.option_names` does without a command line."""
    tree = ast.parse(f'URL = "endpoint_url"\nraise ValueError({message})\n')

    assert [found for found in texts_in(tree, constants_of(tree)) if ADVICE.search(found)] == [text]
