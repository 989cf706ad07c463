"""
The settings for the services that sources call: SSO, its OIDC service, and AWS sign-in.

If no local service replaces them, a proxy on this host records the hosts that a client calls, and refuses the requests.
"""

import ast
import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
import trustme
from support import ANSWER, KEYS, ROLE, SEEN_SECRETS, Clocks, RawServer, http

import sts_async
from sts_async import Config, STSClient, credentials
from sts_async._config import services
from sts_async._engine.build import endpoint_of
from sts_async._engine.context import ClientContext
from sts_async._protocol import endpoints
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._protocol.urls import CONTAINER, INSTANCE, address_of, is_within
from sts_async._shape.secret import SecretBytes
from sts_async.credentials import DefaultChain, LoginProvider, ProfileProvider, SSOProvider
from sts_async.errors import (
    ConfigurationError,
    ConnectError,
    InvalidConfigFile,
    InvalidEndpoint,
    InvalidRegion,
    STSError,
)
from sts_async.testing import LocalSignIn, LocalSSO, LocalSTS

Start = Callable[..., Awaitable[RawServer]]

PACKAGE = Path(sts_async.__file__).parent
ARN = "arn:aws:iam::123456789012:user/me"
SESSION = "[sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://demo.awsapps.com/start\n"
SSO_KEYS = "sso_account_id = 123456789012\nsso_role_name = ReadOnly\n"
SSO = f"sso_session = corp\n{SSO_KEYS}"
LOGIN = f"login_session = {ARN}\n"
AS_ROLE = f"role_arn = {ROLE}\nsource_profile = source\n"
PUBLIC = (ARN, "123456789012", "ReadOnly")  # of what stands in profiles
ROLE_OF_SSO: dict[str, Any] = {"account_id": "123456789012", "role_name": "ReadOnly", "region": "us-east-1"}
VARIABLES = {one.variable: one.name for one in services.SERVICES}
PLAIN = {
    "sso": "portal.sso.us-east-1.amazonaws.com",
    "sso_oidc": "oidc.us-east-1.amazonaws.com",
    "signin": "us-east-1.signin.aws.amazon.com",
}
FIPS = {
    "sso": "portal.sso-fips.us-east-1.amazonaws.com",
    "sso_oidc": "oidc-fips.us-east-1.amazonaws.com",
    "signin": "signin-fips.us-east-1.amazonaws.com",
}
DUALSTACK = {
    "sso": "portal.sso.us-east-1.api.aws",
    "sso_oidc": "oidc.us-east-1.api.aws",
    "signin": "signin.us-east-1.api.aws",
}


@attrs.define
class Machine:
    """A home directory with logins, and an environment that points to a proxy."""

    home: Path
    monkeypatch: pytest.MonkeyPatch
    proxy: RawServer

    def variables(self, **variables: str) -> None:
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def config(self, text: str) -> None:
        path = self.home / ".aws/config"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{SESSION}{text}")

    def logged_in(self, *, sso_seconds: float = 3600, region: str | None = None) -> None:
        """Write the files of both logins. The file of `aws login`, and an expired one of SSO, must be refreshed."""
        LocalSSO().login(self.home / ".aws/sso/cache", session="corp", seconds=sso_seconds)
        LocalSignIn().login(self.home / ".aws/login/cache", login_session=ARN, seconds=-5, region=region)

    def profile_of(self, service: str, *keys: str, name: str = "default") -> str:
        """Return a profile whose credentials need this service first."""
        self.logged_in(sso_seconds=-5 if service == "sso_oidc" else 3600)
        heading = name if name == "default" else f"profile {name}"
        return f"[{heading}]\nregion = us-east-1\n{LOGIN if service == 'signin' else SSO}{''.join(keys)}"

    async def asked(self, **options: Any) -> set[str]:
        """Return the hosts that a client calls, until the refusal of the proxy ends its search for credentials."""
        self.proxy.requests.clear()
        config = attrs.evolve(options.pop("config", Config()), proxy=self.proxy.url, max_attempts=1)
        async with STSClient(config=config, **options) as sts:
            with pytest.raises(ConnectError):
                await sts.get_credentials()
        return {request.split()[1].decode().removesuffix(":443") for request in self.proxy.requests}

    async def refused(self, expected: type[STSError], **options: Any) -> str:
        """Return the message of an error that is raised before anything is sent."""
        self.proxy.requests.clear()
        config = attrs.evolve(options.pop("config", Config()), proxy=self.proxy.url, max_attempts=1)
        async with STSClient(config=config, **options) as sts:
            with pytest.raises(expected) as caught:
                await sts.get_credentials()
        assert self.proxy.requests == []
        return str(caught.value)


@pytest.fixture
async def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw_server: Start) -> AsyncIterator[Machine]:
    pytest.importorskip("joserfc", reason="a login is refreshed with the package joserfc only")
    monkeypatch.setenv("HOME", str(tmp_path))
    yield Machine(tmp_path, monkeypatch, await raw_server(http("", status=502)))
    # All values of a profile are watched as if they were secret. These are named in messages on purpose.
    SEEN_SECRETS.difference_update([text for text in SEEN_SECRETS if endpoints.is_region(text) or text in PUBLIC])


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """Return running local services that replace STS and the three sign-in services."""
    pytest.importorskip("joserfc", reason="a login is refreshed with the package joserfc only")
    async with LocalSTS() as sts, LocalSSO() as sso, LocalSignIn() as signin:
        for server, name in ((sso, "sso"), (signin, "signin")):
            server.credentials = sts.issue(ROLE, session_name=name)
        yield {"sts": sts, "sso": sso, "sso_oidc": sso, "signin": signin}


BY_SERVICE = pytest.mark.parametrize("service", ["sso", "sso_oidc", "signin"])


# -- Configured URLs ------------------------------------------------------------------------------------------------


@BY_SERVICE
@pytest.mark.parametrize("chained", [False, True], ids=["a profile", "the source of a role"])
async def test_the_services_section_of_a_profile_is_followed(
    machine: Machine, local: dict[str, Any], service: str, chained: bool
) -> None:
    """C4: the bearer token does not go to the public portal."""
    sso_seconds = -5 if service == "sso_oidc" else 3600
    local["sso"].login(machine.home / ".aws/sso/cache", session="corp", seconds=sso_seconds)
    local["signin"].login(machine.home / ".aws/login/cache", login_session=ARN, seconds=-5)
    keys = LOGIN if service == "signin" else SSO
    role = f"[default]\nregion = us-east-1\n{AS_ROLE}" if chained else ""
    urls = "".join(f"{name} =\n  endpoint_url = {server.url}\n" for name, server in local.items() if name != "sts")
    heading = "profile source" if chained else "default"
    machine.config(f"{role}[{heading}]\nregion = us-east-1\nservices = here\n{keys}[services here]\n{urls}")
    machine.variables(AWS_ENDPOINT_URL_STS=local["sts"].url)
    async with STSClient() as sts:
        arn = (await sts.get_caller_identity()).arn

    assert arn.endswith("/signin" if service == "signin" else "/sso") or chained
    asked = [record.path.rpartition("/")[2] for record in local[service].requests]
    assert asked == {"sso": ["credentials"], "sso_oidc": ["token", "credentials"], "signin": ["token"]}[service]


@BY_SERVICE
async def test_urls_come_from_variables_then_the_profile_then_the_selected_profile(
    machine: Machine, service: str
) -> None:
    """C4: the test adds the places from the last to the first, and each takes precedence over those before."""
    source = machine.profile_of(service, name="source")
    chain = f"[default]\nregion = us-east-1\n{AS_ROLE}"
    steps: list[Callable[[], None]] = [
        lambda: machine.config(f"{chain}endpoint_url = https://a.example\n{source}"),
        lambda: machine.config(
            f"{chain}services = s\nendpoint_url = https://a.example\n{source}"
            f"[services s]\n{service} =\n  endpoint_url = https://b.example\n"
        ),
        lambda: machine.config(f"{chain}endpoint_url = https://a.example\n{source}endpoint_url = https://c.example\n"),
        lambda: machine.config(
            f"{chain}endpoint_url = https://a.example\n{source}services = s\nendpoint_url = https://c.example\n"
            f"[services s]\n{service} =\n  endpoint_url = https://d.example\n"
        ),
        lambda: machine.variables(AWS_ENDPOINT_URL="https://e.example"),
        lambda: machine.variables(**{f"AWS_ENDPOINT_URL_{service.upper()}": "https://f.example"}),
    ]
    found = []
    for step in steps:
        step()
        found += await machine.asked()
    assert found == [f"{letter}.example" for letter in "abcdef"]

    ignoring = Config(ignore_configured_endpoint_urls=True)
    assert await machine.asked(config=ignoring) == {PLAIN[service]}
    machine.variables(AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true")
    assert await machine.asked() == {PLAIN[service]}


@BY_SERVICE
async def test_the_url_of_sts_in_code_applies_to_no_other_service(machine: Machine, service: str) -> None:
    """C4."""
    machine.config(machine.profile_of(service))

    assert await machine.asked(endpoint_url="https://sts.example") == {PLAIN[service]}


async def test_later_calls_follow_a_changed_url(
    machine: Machine, lend: Callable[..., ClientContext], clocks: Clocks
) -> None:
    """C4: a change of other settings of the profile does not replace the source."""
    machine.config(machine.profile_of("sso", "endpoint_url = https://a.example\n"))
    sent = Recorder()
    context, provider = lend(transport=sent), ProfileProvider()

    async def provide() -> credentials.RefreshingProvider:
        clocks.advance(10)
        for _ in range(2):  # the files are looked at in the background
            with contextlib.suppress(STSError):
                await provider.provide_credentials(context)
            while context.tasks._running:
                await asyncio.sleep(0)
        assert provider._current is not None
        return provider._current.provider  # type: ignore[return-value]

    first = await provide()
    machine.config(machine.profile_of("sso", "output = json\nendpoint_url = https://a.example\n"))
    assert await provide() is first
    machine.config(machine.profile_of("sso", "endpoint_url = https://b.example\n"))
    assert await provide() is not first
    assert sent.hosts[-1] == "b.example"


# -- FIPS and dual-stack --------------------------------------------------------------------------------------------


@BY_SERVICE
@pytest.mark.parametrize("place", ["code", "variable", "profile", "profile in force"])
@pytest.mark.parametrize(("flag", "hosts"), [("use_fips_endpoint", FIPS), ("use_dualstack_endpoint", DUALSTACK)])
async def test_a_flag_selects_the_host_of_every_service(
    machine: Machine, service: str, place: str, flag: str, hosts: dict[str, str]
) -> None:
    """C16."""
    key = f"{flag} = true\n"
    force = f"[default]\nregion = us-east-1\n{AS_ROLE}{key if place == 'profile in force' else ''}"
    machine.config(force + machine.profile_of(service, key if place == "profile" else "", name="source"))
    if place == "variable":
        machine.variables(**{f"AWS_{flag.upper()}": "true"})
    config = Config(**{flag: True}) if place == "code" else Config()  # type: ignore[arg-type]

    assert await machine.asked(config=config) == {hosts[service]}


@BY_SERVICE
@pytest.mark.parametrize("place", ["its own option", "client", "variable", "profile of the client"])
async def test_a_flag_reaches_a_source_created_in_code(machine: Machine, service: str, place: str) -> None:
    """C16: the options of a client also hold for sources that are passed to it."""
    machine.profile_of(service)
    on = Config(use_fips_endpoint=True)
    own = {"config": on} if place == "its own option" else {}
    source: SSOProvider | LoginProvider
    if service == "signin":
        source = LoginProvider(login_session=ARN, region="us-east-1", **own)
    else:
        source = SSOProvider(**ROLE_OF_SSO, session_name="corp", **own)
    if place == "variable":
        machine.variables(AWS_USE_FIPS_ENDPOINT="true")
    machine.config("[default]\nuse_fips_endpoint = true\n" if place.startswith("profile") else "")
    config = on if place == "client" else Config()

    assert await machine.asked(region="us-east-1", credentials=source, config=config) == {FIPS[service]}
    off = Config(use_fips_endpoint=False)
    if place != "its own option":
        assert await machine.asked(region="us-east-1", credentials=source, config=off) == {PLAIN[service]}


async def test_an_invalid_flag_is_an_error(machine: Machine) -> None:
    """C5, C16: as for STS. The test follows each part of the advice."""
    machine.profile_of("sso")
    machine.variables(AWS_PROFILE="gone")

    def options() -> dict[str, Any]:  # a source remembers a failure for some seconds
        source = SSOProvider(**ROLE_OF_SSO, session_name="corp")
        return {"region": "us-east-1", "endpoint_url": "https://sts.example", "credentials": source}

    given: dict[str, Any] = {}
    for name in ("ignore_configured_endpoint_urls", "use_fips_endpoint", "use_dualstack_endpoint"):
        message = await machine.refused(InvalidConfigFile, **options(), config=Config(**given))
        assert message.endswith(f"; correct that first ({name} could be set there: pass {name}=...)")
        given[name] = False

    assert await machine.asked(**options(), config=Config(**given)) == {PLAIN["sso"]}


async def test_a_flag_reaches_the_source_of_a_view(machine: Machine) -> None:
    """C16: this includes a role that the view assumes."""
    machine.profile_of("sso")
    machine.config("")
    source = SSOProvider(**ROLE_OF_SSO, session_name="corp")
    config = Config(use_fips_endpoint=True, proxy=machine.proxy.url, max_attempts=1)
    async with STSClient(region="us-east-1", config=config, credentials=KEYS) as sts:
        view = sts.with_options(credentials=source)
        role = view.with_options(credentials=credentials.AssumeRoleProvider(role_arn=ROLE))
        for client in (view, role):
            machine.proxy.requests.clear()
            with pytest.raises(ConnectError):
                await client.get_credentials()
            assert {request.split()[1] for request in machine.proxy.requests} == {f"{FIPS['sso']}:443".encode()}


@BY_SERVICE
async def test_a_configured_url_with_a_flag_is_an_error_as_for_sts(machine: Machine, service: str) -> None:
    """C16, C18: the test follows each part of the advice."""
    variable = f"AWS_ENDPOINT_URL_{service.upper()}"
    machine.config(machine.profile_of(service))
    machine.variables(**{variable: "https://a.example", "AWS_USE_FIPS_ENDPOINT": "true"})
    message = await machine.refused(ConfigurationError)

    assert message.startswith(f"{variable} cannot be combined with FIPS or dual-stack for ")
    assert ", and AWS_USE_FIPS_ENDPOINT is set: " in message
    assert await machine.asked(config=Config(ignore_configured_endpoint_urls=True)) == {FIPS[service]}
    machine.variables(AWS_USE_FIPS_ENDPOINT="false")
    assert await machine.asked() == {"a.example"}
    machine.variables(AWS_USE_FIPS_ENDPOINT="true", AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true")
    assert await machine.asked() == {FIPS[service]}


async def test_the_error_of_an_unknown_host_mentions_the_flag(machine: Machine) -> None:
    """C16: not every host that the rules of AWS produce exists."""
    machine.config(machine.profile_of("signin", "use_fips_endpoint = true\n"))
    config = Config(proxy=machine.proxy.url, max_attempts=1)
    async with STSClient(config=config) as sts:
        with pytest.raises(ConnectError) as caught:
            await sts.get_credentials()

    assert "; profile 'default', key use_fips_endpoint (" in str(caught.value)
    assert str(caught.value).endswith(") selects this FIPS host, which may not exist in us-east-1")
    assert {request.split()[1] for request in machine.proxy.requests} == {f"{FIPS['signin']}:443".encode()}


# -- Advice ---------------------------------------------------------------------------------------------------------


@BY_SERVICE
@pytest.mark.parametrize("source", ["profile", "by hand"])
async def test_the_advice_to_allow_http_helps(machine: Machine, raw_server: Start, service: str, source: str) -> None:
    """C18: the option belongs to the client, or to the source itself."""
    machine.config(machine.profile_of(service))
    machine.variables(AWS_ENDPOINT_URL="http://host.example:4566")
    allowing = Config(allow_http=True)

    def options(config: Config | None = None) -> dict[str, Any]:
        if source == "profile":
            return {"endpoint_url": "https://sts.example"}
        if service == "signin":
            return {"credentials": LoginProvider(login_session=ARN, region="us-east-1", config=config)}
        return {"credentials": SSOProvider(**ROLE_OF_SSO, session_name="corp", config=config)}

    common = {"region": "us-east-1", "endpoint_url": "https://sts.example"}
    message = await machine.refused(InvalidEndpoint, **{**options(), **common})
    assert message == (
        "AWS_ENDPOINT_URL: http://host.example is unencrypted and would expose credentials: use https, or pass "
        "allow_http=True"
    )
    for config, given in ((allowing, options()), (Config(), options(allowing))):
        if (source, config) != ("profile", Config()):
            with contextlib.suppress(STSError):
                await machine.asked(config=config, **{**given, **common})
            (first, *_) = {request.split()[1] for request in machine.proxy.requests}
            assert first.startswith(b"http://host.example:4566/")
    machine.variables(AWS_ENDPOINT_URL="https://host.example:4566")
    assert await machine.asked(**{**options(), **common}) == {"host.example:4566"}


@pytest.mark.parametrize("provider", [SSOProvider, LoginProvider])
def test_the_options_of_a_source_must_be_a_config(provider: Any) -> None:
    options = {**ROLE_OF_SSO, "session_name": "corp"} if provider is SSOProvider else {"login_session": ARN}
    with pytest.raises(ConfigurationError, match="config must be a Config, not a dict"):
        provider(**options, config={"use_fips_endpoint": True})


@pytest.mark.parametrize("kind", ["session", "legacy", "login"])
async def test_the_advised_command_logs_in_with_the_profile(machine: Machine, local: dict[str, Any], kind: str) -> None:
    """C18: a login of another profile would not help. The test creates the file that the command would write."""
    url = "https://demo.awsapps.com/start"
    legacy = f"sso_start_url = {url}\nsso_region = us-east-1\n{SSO_KEYS}"
    keys = {"session": SSO, "legacy": legacy, "login": LOGIN}[kind]
    machine.config(f"[profile source]\nregion = us-east-1\n{keys}[default]\nregion = us-east-1\n{AS_ROLE}")
    urls = {name: local[service].url for name, service in VARIABLES.items()}
    machine.variables(**urls)
    sso_cache, login_cache = machine.home / ".aws/sso/cache", machine.home / ".aws/login/cache"
    command, follow = {
        "session": ("aws sso login --sso-session corp", lambda: local["sso"].login(sso_cache, session="corp")),
        "legacy": ("aws sso login --profile source", lambda: local["sso"].login(sso_cache, start_url=url)),
        "login": ("aws login --profile source", lambda: local["signin"].login(login_cache, login_session=ARN)),
    }[kind]
    async with STSClient() as sts:
        with pytest.raises(STSError, match=f"run: {command}$"):
            await sts.get_caller_identity()
    follow()
    async with STSClient() as sts:
        assert await sts.get_caller_identity()


async def test_the_advice_about_a_region_helps(machine: Machine) -> None:
    """C18: for a login from a profile, and for one in code."""
    machine.logged_in()
    machine.config(f"[default]\n{LOGIN}")
    sts = {"endpoint_url": "https://sts.example"}
    advice = "set region in profile 'default' or AWS_REGION, or run: aws login --profile default"
    assert advice in await machine.refused(ConfigurationError, **sts)

    machine.variables(AWS_REGION="us-east-2")
    assert await machine.asked(**sts) == {"us-east-2.signin.aws.amazon.com"}
    machine.monkeypatch.delenv("AWS_REGION")
    machine.config(f"[default]\nregion = us-west-2\n{LOGIN}")
    assert await machine.asked(**sts) == {"us-west-2.signin.aws.amazon.com"}
    by_hand = LoginProvider(login_session=ARN)
    message = await machine.refused(ConfigurationError, **sts, credentials=by_hand)
    assert message.endswith("pass region=..., or run: aws login")
    by_hand = LoginProvider(login_session=ARN, region="eu-north-1")
    assert await machine.asked(**sts, credentials=by_hand) == {"eu-north-1.signin.aws.amazon.com"}


# -- Regions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "signed_in", "variable", "code", "region"),
    [
        ("us-east-2", None, None, None, "us-east-2"),
        ("us-east-2", None, "ap-south-1", None, "us-east-2"),
        ("us-east-2", None, None, "ap-south-1", "us-east-2"),
        ("us-east-2", "us-west-2", "ap-south-1", "ap-south-2", "us-west-2"),
        (None, None, None, None, "eu-west-1"),
        (None, None, "ap-south-1", None, "ap-south-1"),
        (None, None, "ap-south-1", "ap-south-2", "ap-south-2"),
    ],
)
async def test_a_login_is_renewed_in_the_region_of_its_own_profile(
    machine: Machine, source: str | None, signed_in: str | None, variable: str | None, code: str | None, region: str
) -> None:
    """
    C3: its refresh token is valid only there. The region in the token file takes precedence. If neither has a region,
    the region of the client is used.
    """
    own = "" if source is None else f"region = {source}\n"
    machine.config(f"[profile demo]\nregion = eu-west-1\n{AS_ROLE}[profile source]\n{own}{LOGIN}")
    machine.logged_in(region=signed_in)
    if variable is not None:
        machine.variables(AWS_REGION=variable)

    assert await machine.asked(profile="demo", region=code) == {f"{region}.signin.aws.amazon.com"}


async def test_the_error_of_an_invalid_region_names_its_place(machine: Machine) -> None:
    machine.config(f"[default]\nregion = eu-west-1\n{AS_ROLE}[profile source]\nregion = us east\n{LOGIN}")
    machine.logged_in()

    assert "profile 'source', key region (" in await machine.refused(InvalidRegion)


async def test_sts_is_called_by_the_settings_of_the_selected_profile(
    machine: Machine, lend: Callable[..., ClientContext], tmp_path: Path
) -> None:
    """C3: as in botocore. A source profile has no region of its own for STS, and SSO has a key of its own."""
    (tmp_path / "token").write_text("a.b.c")
    machine.config(
        f"[default]\nregion = eu-west-1\n{AS_ROLE}"
        f"[profile source]\nregion = us-east-2\nrole_arn = {ROLE}\nweb_identity_token_file = {tmp_path}/token\n"
        f"[profile sso]\nregion = us-east-2\n{AS_ROLE.replace('= source', '= corp')}"
        f"[profile corp]\nregion = us-west-2\n{SSO}"
    )
    machine.logged_in()
    assert await machine.asked() == {"sts.eu-west-1.amazonaws.com"}
    assert await machine.asked(profile="sso") == {PLAIN["sso"]}


# -- The transport is the client's ----------------------------------------------------------------------------------


@BY_SERVICE
async def test_certificates_are_checked_against_the_bundle_of_the_client(
    machine: Machine, service: str, tmp_path: Path
) -> None:
    """C4: the portal has a private certificate authority."""
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http("{}", status=400, headers="Connection: close\r\n"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    machine.config(machine.profile_of(service, f"endpoint_url = {url}\n"))
    async with server:
        async with STSClient() as sts:
            with pytest.raises(STSError):
                await sts.get_credentials()
        assert seen == []
        machine.variables(AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
        async with STSClient() as sts:
            with pytest.raises(STSError, match="answered"):
                await sts.get_credentials()
    assert len(seen) == 1


@BY_SERVICE
async def test_each_request_is_sent_by_the_transport_of_the_client(machine: Machine, service: str) -> None:
    """C4: its proxies, time limits and certificates apply without further settings."""
    machine.config(machine.profile_of(service))
    sent = Recorder()
    async with STSClient(config=Config(connect_timeout=0.5)) as sts:
        assert sts._life.engine is not None
        shared = sts._life.engine.context.shared
        transport, shared.transport = shared.transport, sent
        assert await sts.get_credentials()

    assert {PLAIN[service]} <= {*sent.hosts} <= {*PLAIN.values()}
    assert transport._timeout.sock_connect == 0.5  # type: ignore[attr-defined]


# -- No service is forgotten ----------------------------------------------------------------------------------------

IN_A_YEAR = "2037-01-01T00:00:00Z"
DOCUMENT = {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "t", "Expiration": IN_A_YEAR, "Code": "Success"}
ISSUED = {"accessKeyId": "ASIA", "secretAccessKey": "s", "sessionToken": "t"}
ANSWERS: dict[str, str] = {
    "/token": json.dumps({"accessToken": "a", "expiresIn": 3600, "refreshToken": "r"}),
    "/federation/credentials": json.dumps({"roleCredentials": {**ISSUED, "expiration": 2_114_380_800_000}}),
    "/v1/token": json.dumps({"accessToken": ISSUED, "expiresIn": 900, "refreshToken": "r"}),
    "/latest/api/token": "token",
    "/v2/credentials": json.dumps(DOCUMENT),
}


@attrs.define
class Recorder:
    """A transport that answers as each service, and records the hosts."""

    hosts: list[str] = attrs.field(factory=list)

    async def send(self, request: HttpRequest) -> HttpResponse:
        place = urlsplit(request.url)
        self.hosts.append(place.hostname or "")
        return HttpResponse(200, {"content-type": "text/xml"}, SecretBytes(self._answer(request, place.path).encode()))

    def _answer(self, request: HttpRequest, path: str) -> str:
        if path == "/":
            action = request.body.decode().partition("Action=")[2].partition("&")[0]
            return ANSWER.replace("AssumeRole", action, 4).replace("2026-01-01T01:00:00Z", IN_A_YEAR)
        if path.startswith("/latest/meta-data"):
            return "demo" if path.endswith("/") else json.dumps(DOCUMENT)
        return ANSWERS[path]


async def a_token() -> str:
    return "a.b.c"


async def a_code(serial_number: str) -> str:
    return "123456"


def config_of(machine: Machine) -> Config:
    return Config(config_file=str(machine.home / ".aws/config"))


SOURCES: dict[str, Callable[[Machine], Any]] = {
    "AssumeRoleProvider": lambda _: credentials.AssumeRoleProvider(
        role_arn=ROLE, source=SSOProvider(**ROLE_OF_SSO, session_name="corp")
    ),
    "CachingProvider": lambda _: credentials.CachingProvider(SSOProvider(**ROLE_OF_SSO, session_name="corp")),
    "ContainerProvider": lambda _: credentials.ContainerProvider(
        environ={"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials"}
    ),
    "DefaultChain": lambda machine: DefaultChain(config_of(machine)),
    "EnvironmentProvider": lambda _: credentials.EnvironmentProvider(
        {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}
    ),
    "FederationTokenProvider": lambda _: credentials.FederationTokenProvider(source=KEYS, name="me"),
    "IMDSProvider": lambda _: credentials.IMDSProvider(),
    "LoginProvider": lambda _: LoginProvider(login_session=ARN, region="us-east-1"),
    "ProcessProvider": lambda _: credentials.ProcessProvider(
        f"printf '{json.dumps({**DOCUMENT, 'SessionToken': 't', 'Version': 1})}'"
    ),
    "ProfileProvider": lambda _: ProfileProvider("login"),
    "ProviderChain": lambda _: credentials.ProviderChain(SSOProvider(**ROLE_OF_SSO, session_name="corp")),
    "SAMLProvider": lambda _: credentials.SAMLProvider(
        role_arn=ROLE, principal_arn="arn:aws:iam::123456789012:saml-provider/demo", assertion=a_token
    ),
    "SSOProvider": lambda _: SSOProvider(**ROLE_OF_SSO, session_name="corp"),
    "SessionTokenProvider": lambda _: credentials.SessionTokenProvider(source=KEYS),
    "StaticProvider": lambda _: credentials.StaticProvider(KEYS),
    "WebIdentityProvider": lambda _: credentials.WebIdentityProvider(role_arn=ROLE, token=a_token),
}


def test_every_source_is_in_the_table() -> None:
    """C16: so a new source is tested too."""
    made = {name for name in credentials.__all__ if hasattr(getattr(credentials, name), "provide_credentials")}

    assert made - {"RefreshingProvider"} == {*SOURCES}


def is_of_this_host(host: str) -> bool:
    """Return True for this host and for link-local addresses: a metadata service or an agent."""
    return address_of(host) is not None and is_within(host, (*CONTAINER, *INSTANCE))


def is_promised(host: str, flag: str) -> bool:
    """Return True for a host with FIPS, or with IPv6."""
    return "-fips" in host if flag == "use_fips_endpoint" else host.endswith(".api.aws")


@pytest.mark.parametrize("flag", ["use_fips_endpoint", "use_dualstack_endpoint"])
async def test_no_source_calls_a_host_that_a_flag_excludes(
    machine: Machine, lend: Callable[..., ClientContext], flag: str
) -> None:
    """C16: each source is used by a client that has the flag."""
    profiles = (
        f"[default]\nregion = us-east-1\n{AS_ROLE}[profile source]\n{SSO}[profile login]\nregion = us-east-1\n{LOGIN}"
    )
    config = Config(region="us-east-1", **{flag: True})  # type: ignore[arg-type]
    asked: dict[str, list[str]] = {}
    for name, make in SOURCES.items():
        machine.config(profiles)
        machine.logged_in(sso_seconds=-5)
        sent = Recorder()
        context = lend(
            transport=sent,
            endpoint=endpoint_of(await config.resolve({"HOME": str(machine.home)})),
            given=config,
            wall_clock=time.time,
        )
        assert await make(machine).provide_credentials(context), name
        asked[name] = sent.hosts
    hosts = {host for found in asked.values() for host in found}
    wrong = {name: [host for host in found if not is_promised(host, flag)] for name, found in asked.items()}

    assert {name: found for name, found in wrong.items() if not all(map(is_of_this_host, found))} == {}
    chosen = {services.host_of(one, "us-east-1", **{_short(flag): True}) for one in services.SERVICES}
    assert {host for host in hosts if not is_of_this_host(host)} == chosen  # all of them were asked


def _short(flag: str) -> str:
    return flag.removeprefix("use_").removesuffix("_endpoint")


def trees() -> Mapping[str, ast.Module]:
    """Return the syntax trees of the library without its test kit."""
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if "testing" not in path.parts]
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in paths}


def test_all_modules_that_make_requests_are_known() -> None:
    """C16: the test above covers each of them, and `tests/tokens/test_console.py` the console."""
    makers = {
        name
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "HttpRequest"
    }

    sources = {f"credentials/{name}.py" for name in ("container", "imds", "login", "sso")}
    assert makers == sources | {"_engine/loop.py", "tokens/console.py"}


def test_hosts_of_aws_are_in_two_tables_only() -> None:
    """C16: no other string constant names a host, so no module can build a host that ignores the rules."""
    domains = {suffix.removeprefix(".") for suffix in endpoints.AWS_DOMAINS} | {*services.SIGNIN_DOMAINS.values()}
    found = {
        name
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value
        if any(domain in node.value for domain in domains)
    }

    no_hosts = {"operations.py", "credentials/imds.py"}  # an XML name space, and the principal of a trust policy
    no_hosts |= {"tokens/_arguments.py", "bridges/_signing.py"}  # examples in messages
    fixed = {"tokens/msk.py", "tokens/bedrock.py"}  # signed and never called: each is the same in all partitions
    assert found == {"_protocol/endpoints.py", "_config/services.py"} | no_hosts | fixed
