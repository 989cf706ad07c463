"""Credentials of IAM Identity Center, from a server on this host. Botocore reads the same files and sends the same."""

import asyncio
import json
import logging
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import SSOTokenLoadError, UnauthorizedSSOTokenError
from support import Clocks, RawServer, http

from sts_async._engine.loop import Engine
from sts_async.credentials.sso import SSOProvider
from sts_async.errors import (
    ConfigurationError,
    ConnectError,
    CredentialsError,
    InvalidEndpoint,
    InvalidRegion,
    LoginRequired,
    RedirectRefused,
)
from sts_async.testing import LocalSSO, Refuse, Reset, Throttle, Truncate, Unavailable

Start = Callable[..., Awaitable[RawServer]]
Provide = Callable[..., SSOProvider]

ROLE: dict[str, Any] = {"account_id": "123456789012", "role_name": "ReadOnly", "region": "us-east-1"}
URL = "https://demo.awsapps.com/start"
COMMAND = "run: aws sso login --sso-session corp"


@pytest.fixture
async def server(clocks: Clocks) -> AsyncIterator[LocalSSO]:
    async with LocalSSO(clock=lambda: clocks.wall) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / ".aws/sso/cache"


@pytest.fixture
def provide(server: LocalSSO, tmp_path: Path) -> Provide:
    def make(**options: Any) -> SSOProvider:
        environ = {"HOME": str(tmp_path), **server.environ, **options.pop("environ", {})}
        named = {} if "start_url" in options else {"session_name": "corp"}
        return SSOProvider(**{**ROLE, **named, "environ": environ, **options})

    return make


def asked(server: LocalSSO) -> list[str]:
    """Return the paths of the requests, in order."""
    return [record.path.rpartition("/")[2] for record in server.requests]


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def change(path: Path, **changes: Any) -> None:
    """Change members of a token file; a member whose value is None is removed."""
    merged = {name: value for name, value in {**read(path), **changes}.items() if value is not None}
    path.write_text(json.dumps(merged))


# -- With a token that is valid -------------------------------------------------------------------------------------


async def test_credentials_of_a_role_are_provided(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide
) -> None:
    server.login(cache, session="corp")
    credentials = await provide().provide_credentials(context)

    assert credentials.access_key_id.startswith("ASIA")
    assert credentials.expiration == datetime.fromtimestamp(context.wall_clock() + 3600, UTC)
    assert [(record.method, record.path, record.token) for record in server.requests] == [
        ("GET", "/federation/credentials", "valid")
    ]


async def test_a_token_without_session_is_used(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide
) -> None:
    """The legacy form, with a file that is named after the start URL."""
    server.login(cache, start_url=URL)
    provider = provide(start_url=URL)

    assert await provider.provide_credentials(context)
    assert provider.name == f"SSO at {URL}"


async def test_the_request_follows_the_api_model(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, raw_server: Start
) -> None:
    """Query values are encoded as in RFC 3986. The token is in a header and nowhere else."""
    raw = await raw_server(http("{}"))
    token = read(server.login(cache, session="corp"))["accessToken"]
    with pytest.raises(CredentialsError, match="the answer of the access portal: roleCredentials is missing"):
        await provide(role_name="a b+c/d&é=~", environ={"AWS_ENDPOINT_URL_SSO": raw.url}).fetch(context)
    head, _, _ = raw.requests[0].partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")

    assert first == (
        "GET /federation/credentials?role_name=a%20b%2Bc%2Fd%26%C3%A9%3D~&account_id=123456789012 HTTP/1.1"
    )
    assert f"x-amz-sso_bearer_token: {token}" in headers
    assert "accept: application/json" in [header.lower() for header in headers]
    assert not [header for header in headers if header.lower().startswith("authorization")]


async def test_credentials_are_cached(context: Engine, server: LocalSSO, cache: Path, provide: Provide) -> None:
    server.login(cache, session="corp")
    provider = provide()
    found = [await provider.provide_credentials(context) for _ in range(3)]

    assert found[0] is found[1] is found[2]
    assert asked(server) == ["credentials"]


@pytest.mark.parametrize("changes", [{"startUrl": "https://other.awsapps.com/start"}, {"region": "eu-west-1"}], ids=str)
async def test_a_token_of_another_portal_is_not_sent(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, changes: dict[str, str]
) -> None:
    """T40: the error names the file and the command."""
    path = server.login(cache, session="corp")
    change(path, **changes)
    with pytest.raises(LoginRequired, match=f"the token file '{path}': .* is not the one that was .*; {COMMAND}"):
        await provide(start_url=URL, session_name="corp").fetch(context)

    assert asked(server) == []


async def test_the_directory_of_token_files_can_be_set(
    context: Engine, server: LocalSSO, tmp_path: Path, provide: Provide
) -> None:
    server.login(tmp_path / "other", session="corp")

    assert await provide(cache_directory=tmp_path / "other").fetch(context)


async def test_the_home_directory_of_the_process_is_used(
    context: Engine, server: LocalSSO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is read for each fetch."""
    provider = SSOProvider(**ROLE, session_name="corp")
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    server.login(Path(os.environ["HOME"], ".aws/sso/cache"), session="corp")

    assert await provider.fetch(context)


# -- Refresh --------------------------------------------------------------------------------------------------------


async def test_a_token_is_refreshed_in_its_last_five_minutes(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, clocks: Clocks
) -> None:
    path = server.login(cache, session="corp", seconds=600)
    change(path, ofSomebodyElse={"a": 1})
    before = read(path)
    provider = provide()
    await provider.fetch(context)
    clocks.advance(300)
    await provider.fetch(context)
    await provider.fetch(context)
    after = read(path)

    assert asked(server) == ["credentials", "token", "credentials", "credentials"]
    assert {name for name in before if before[name] != after[name]} == {"accessToken", "refreshToken", "expiresAt"}
    assert after["expiresAt"] == "2026-01-01T01:05:00Z"
    assert after.keys() == before.keys()


async def test_an_expired_token_is_refreshed(context: Engine, server: LocalSSO, cache: Path, provide: Provide) -> None:
    server.login(cache, session="corp", seconds=-5)

    assert await provide().fetch(context)


async def test_each_refresh_rotates_the_token(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, clocks: Clocks
) -> None:
    """F39: two sources share a file in turns, and the server accepts a refresh token once."""
    server.login(cache, session="corp")
    two = provide(), provide(role_name="Admin")
    for turn in range(6):
        clocks.advance(3600)
        await two[turn % 2].fetch(context)

    assert asked(server).count("token") == 6


async def test_concurrent_sources_refresh_once(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide
) -> None:
    """F39."""
    server.login(cache, session="corp", seconds=60)
    providers = [provide(role_name=f"role-{number}") for number in range(20)]
    found = await asyncio.gather(*(provider.provide_credentials(context) for provider in providers))

    assert len({credentials.access_key_id for credentials in found}) == 20
    assert asked(server).count("token") == 1


@pytest.mark.parametrize(
    "fault",
    [
        Refuse("InvalidGrantException"),
        Refuse("InvalidRequestException"),
        Unavailable(times=3),
        Throttle(times=3),
        Reset(times=3),
    ],
    ids=lambda fault: getattr(fault, "code", "reset"),
)
async def test_a_valid_token_stays_in_use_if_its_refresh_fails(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, fault: Any, caplog: Any
) -> None:
    server.login(cache, session="corp", seconds=60)
    server.faults.add(fault)
    credentials = await provide().provide_credentials(context)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    assert credentials.access_key_id
    assert asked(server)[-1] == "credentials"
    assert len(warnings) == 1
    assert warnings[0].startswith("SSO session 'corp': the token could not be refreshed; using it until it expires: ")


@pytest.mark.parametrize("code", ["InvalidGrantException", "InvalidClientException", "ExpiredTokenException"])
async def test_a_refused_refresh_of_an_expired_token_requires_a_login(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, code: str
) -> None:
    """F40."""
    server.login(cache, session="corp", seconds=-5)
    server.faults.add(Refuse(code))
    with pytest.raises(LoginRequired, match=rf"SSO session 'corp' has expired: .* answered {code} .*; {COMMAND}"):
        await provide().provide_credentials(context)

    assert asked(server) == ["token"]


async def test_a_temporary_failure_does_not_require_a_login(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide
) -> None:
    """The next attempt may succeed, so cached credentials stay in use."""
    server.login(cache, session="corp", seconds=-5)
    provider = provide()
    server.faults.add(Unavailable(times=3), Refuse("InvalidRequestException"))
    with pytest.raises(CredentialsError, match=r"answered ServiceUnavailable \(HTTP 503\), 3 times") as first:
        await provider.fetch(context)
    with pytest.raises(CredentialsError, match="answered InvalidRequestException") as second:
        await provider.fetch(context)
    with pytest.raises(ConnectError) as third:
        await provide(environ={"AWS_ENDPOINT_URL_SSO_OIDC": "http://127.0.0.1:9"}).fetch(context)

    assert [caught.value.recoverable for caught in (first, second, third)] == [True] * 3
    assert await provider.fetch(context)


async def test_a_lost_response_loses_the_refresh_token(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide
) -> None:
    """F39: the service has used up the old refresh token, and the client cannot know the next one."""
    server.login(cache, session="corp", seconds=-5)
    server.faults.add(Reset())
    with pytest.raises(LoginRequired, match="answered InvalidGrantException"):
        await provide().fetch(context)

    assert asked(server) == ["token", "token"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"refreshToken": None}, "it has no refreshToken"),
        ({"registrationExpiresAt": "2025-12-31T23:59:59Z"}, "the client registration has expired"),
    ],
)
async def test_an_expired_token_that_cannot_be_refreshed_requires_a_login(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, clocks: Clocks, changes: Any, reason: str
) -> None:
    """F40."""
    change(server.login(cache, session="corp", seconds=60), **changes)
    provider = provide()
    valid = await provider.fetch(context)
    clocks.advance(60)
    with pytest.raises(LoginRequired, match=f"the token cannot be refreshed: {reason}; {COMMAND}"):
        await provider.fetch(context)

    assert valid
    assert asked(server) == ["credentials"]


async def test_a_token_without_session_is_not_refreshed(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, clocks: Clocks, caplog: Any
) -> None:
    server.login(cache, start_url=URL, seconds=60)
    provider = provide(start_url=URL)
    valid = await provider.fetch(context)
    clocks.advance(60)
    with pytest.raises(LoginRequired, match="run: aws sso login --profile"):
        await provider.fetch(context)

    assert valid
    assert not caplog.records


async def test_a_token_file_that_cannot_be_written_does_not_stop_the_source(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F38: the next refresh uses the rotated token."""
    monkeypatch.setattr(
        "sts_async.credentials._token_file._write", lambda *_, **__: OSError(28, "No space left on device")
    )
    server.login(cache, session="corp", seconds=-5)
    provider = provide()
    first = await provider.fetch(context)
    clocks.advance(3600)

    assert await provider.fetch(context) != first
    assert asked(server).count("token") == 2


# -- Refusals -------------------------------------------------------------------------------------------------------


async def test_without_a_token_file_the_error_names_the_command(context: Engine, provide: Provide) -> None:
    """F40."""
    with pytest.raises(LoginRequired, match=f"there is no token file .*ee0bfd25.*; {COMMAND}$"):
        await provide().provide_credentials(context)
    with pytest.raises(LoginRequired, match="run: aws sso login --sso-session 'my corp'"):
        await provide(session_name="my corp").provide_credentials(context)


async def test_a_token_that_the_portal_refuses_requires_a_login(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide
) -> None:
    server.login(cache, session="corp")
    server.log_out()
    with pytest.raises(LoginRequired, match=rf"answered UnauthorizedException \(HTTP 401\); {COMMAND}"):
        await provide().provide_credentials(context)


async def test_a_role_that_is_not_assigned_is_an_error(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide
) -> None:
    server.login(cache, session="corp")
    server.roles = [("123456789012", "Other")]
    with pytest.raises(CredentialsError, match=r"answered ForbiddenException .* account 123456789012") as caught:
        await provide().provide_credentials(context)

    assert not isinstance(caught.value, LoginRequired)


@pytest.mark.parametrize("fault", [Unavailable(times=2), Throttle(times=2), Truncate(5, times=2), Reset(times=2)])
async def test_an_unavailable_portal_is_retried(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, clocks: Clocks, fault: Any
) -> None:
    server.login(cache, session="corp")
    server.faults.add(fault)

    assert await provide().fetch(context)
    assert clocks.slept


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL_SSO_OIDC"])
async def test_a_redirect_is_refused_and_no_token_sent(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, raw_server: Start, variable: str
) -> None:
    """T4."""
    other = await raw_server(http("{}"))
    redirecting = await raw_server(http("", status=307, headers=f"Location: {other.url}\r\n"))
    server.login(cache, session="corp", seconds=-5 if variable.endswith("OIDC") else 3600)
    with pytest.raises(RedirectRefused, match=r"HTTP 307 redirect to host '127.0.0.1': not followed"):
        await provide(environ={variable: redirecting.url}).fetch(context)

    assert (redirecting.connections, other.connections) == (1, 0)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"region": "evil.com#"}, InvalidRegion),
        ({"account_id": "12345"}, ConfigurationError),
        ({"account_id": "1234567890\uff11\uff12"}, ConfigurationError),
        ({"role_name": ""}, ConfigurationError),
        ({"role_name": "a\ud800"}, ConfigurationError),
        ({"session_name": "a\nb"}, ConfigurationError),
        ({"session_name": None}, ConfigurationError),
        ({"session_name": None, "start_url": " "}, ConfigurationError),
    ],
)
def test_invalid_arguments_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    """T2."""
    with pytest.raises(error):
        SSOProvider(**{**ROLE, "session_name": "corp", **options})


async def test_an_endpoint_that_is_not_encrypted_is_refused(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide
) -> None:
    """T3."""
    server.login(cache, session="corp")
    with pytest.raises(InvalidEndpoint, match="AWS_ENDPOINT_URL_SSO: "):
        await provide(environ={"AWS_ENDPOINT_URL_SSO": "http://sso.example"}).fetch(context)


async def test_without_a_home_directory_there_is_an_error(context: Engine, provide: Provide) -> None:
    """F38."""
    with pytest.raises(ConfigurationError, match="HOME"):
        await provide(environ={"HOME": ""}).fetch(context)


ANSWERS = {
    "not JSON": "SENTINEL",
    "no credentials": '{"roleCredentials": "SENTINEL"}',
    "null": '{"roleCredentials": {"accessKeyId": "SENTINEL", "secretAccessKey": null}}',
    "expiration": (
        '{"roleCredentials": {"accessKeyId": "A", "secretAccessKey": "SENTINEL", "sessionToken": "SENTINEL",'
        ' "expiration": "SENTINEL"}}'
    ),
    "too large": " " * 70_000 + "SENTINEL",
}


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL_SSO_OIDC"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("status", [200, 403])
async def test_an_invalid_response_is_not_shown(
    context: Engine,
    server: LocalSSO,
    cache: Path,
    provide: Provide,
    raw_server: Start,
    variable: str,
    answer: str,
    status: int,
) -> None:
    """T15, T16: the request is not shown either, in tracebacks with local variables."""
    raw = await raw_server(http(answer, status=status))
    secrets = read(server.login(cache, session="corp", seconds=-5 if variable.endswith("OIDC") else 3600))
    with pytest.raises(CredentialsError) as caught:
        await provide(environ={variable: raw.url}).fetch(context)
    shown = frames(caught.value)

    assert "sso.py" in shown
    assert not [name for name in ("accessToken", "refreshToken", "clientSecret") if secrets[name] in shown]


def frames(error: BaseException) -> str:
    """Return the text that a crash reporter could show of an error, without the frames of the tests."""
    captured = traceback.TracebackException.from_exception(error, capture_locals=True)
    stack = [frame for frame in captured.stack if "/tests/" not in frame.filename]
    assert error.__context__ is None
    return "\n".join(f"{frame.filename} {frame.locals}" for frame in stack)


def test_the_repr_names_the_role_and_shows_no_secret(provide: Provide) -> None:
    assert repr(provide()) == "SSOProvider(SSO session 'corp', account_id='123456789012', role_name='ReadOnly')"


# -- botocore -------------------------------------------------------------------------------------------------------


@pytest.fixture
def boto(
    server: LocalSSO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clocks: Clocks
) -> Callable[..., Awaitable[Any]]:
    """Fetches the frozen credentials of a profile with botocore, in a thread."""
    clocks.wall = float(int(datetime.now(UTC).timestamp()))  # botocore's clock cannot be set
    (tmp_path / "config").write_text(
        f"[sso-session corp]\nsso_start_url = {URL}\nsso_region = us-east-1\n"
        "[profile session]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = ReadOnly\n"
        f"[profile legacy]\nsso_start_url = {URL}\nsso_region = us-east-1\n"
        "sso_account_id = 123456789012\nsso_role_name = ReadOnly\n"
    )
    cache = str(tmp_path / ".aws/sso/cache")
    monkeypatch.setattr("botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", cache)
    monkeypatch.setattr("botocore.tokens.SSOTokenProvider._SSO_TOKEN_CACHE_DIR", cache)
    for name, value in {**server.environ, "AWS_CONFIG_FILE": str(tmp_path / "config")}.items():
        monkeypatch.setenv(name, value)
    made: list[Any] = []

    class Session(botocore.session.Session):  # type: ignore[misc]
        def create_client(self, *args: Any, **options: Any) -> Any:
            made.append(super().create_client(*args, **options))
            return made[-1]

    def fetch(profile: str) -> Any:
        try:
            return Session(profile=profile).get_credentials().get_frozen_credentials()
        finally:
            for client in made:
                client.close()

    return lambda profile="session": asyncio.to_thread(fetch, profile)


@pytest.mark.parametrize("profile", ["session", "legacy"])
async def test_botocore_finds_the_same_credentials_in_the_same_file(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, boto: Callable[..., Awaitable[Any]], profile: str
) -> None:
    named = {"session": "corp"} if profile == "session" else {"start_url": URL}
    server.login(cache, **named)  # type: ignore[arg-type]
    ours = await provide(**({} if profile == "session" else named)).fetch(context)
    server.credentials = ours
    theirs = await boto(profile)

    assert theirs == (ours.access_key_id, ours.secret_access_key, ours.session_token, "123456789012")
    assert [(record.method, record.path, record.token) for record in server.requests] == [
        ("GET", "/federation/credentials", "valid")
    ] * 2


async def test_botocore_and_the_library_use_each_others_refreshed_tokens(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, boto: Callable[..., Awaitable[Any]]
) -> None:
    """The server accepts a refresh token once, so each must read the token that the other has written."""
    path = server.login(cache, session="corp", seconds=60)
    members = read(path).keys()
    provider = provide()
    server.token_lifetime = 60  # due at once
    await provider.fetch(context)
    change_of_ours = read(path)
    await boto()
    await provider.fetch(context)
    server.token_lifetime = 3600
    await boto()
    await provider.fetch(context)

    assert asked(server).count("token") == 3
    assert read(path).keys() == change_of_ours.keys() == members


async def test_botocore_refuses_the_same_files(
    context: Engine, server: LocalSSO, cache: Path, provide: Provide, boto: Callable[..., Awaitable[Any]]
) -> None:
    """F40."""
    with pytest.raises(SSOTokenLoadError):
        await boto()
    with pytest.raises(LoginRequired):
        await provide().fetch(context)
    server.login(cache, start_url=URL, seconds=-5)
    with pytest.raises(UnauthorizedSSOTokenError):
        await boto("legacy")
    with pytest.raises(LoginRequired):
        await provide(start_url=URL).fetch(context)
    server.login(cache, session="corp")
    server.log_out()
    with pytest.raises(UnauthorizedSSOTokenError):
        await boto()
    with pytest.raises(LoginRequired):
        await provide().fetch(context)
