"""LocalSSO, with botocore's SSO provider as client, and by hand where it does not reach."""

import asyncio
import hashlib
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import botocore.credentials
import botocore.exceptions
import botocore.session
import botocore.tokens
import pytest

from sts_async import Credentials
from sts_async.testing import Answer, LocalSSO, LocalSTS, Refuse, Throttle, Unavailable

CONFIG = """
[profile corp]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Admin

[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://demo.awsapps.com/start

[profile legacy]
sso_region = eu-west-1
sso_start_url = https://demo.awsapps.com/start
sso_account_id = 123456789012
sso_role_name = Admin
"""
SESSION = "corp"
START_URL = "https://demo.awsapps.com/start"
Boto = Callable[..., Awaitable[Any]]


@pytest.fixture
async def sso(clock: Any) -> AsyncIterator[LocalSSO]:
    async with LocalSSO(clock=clock, region="eu-west-1") as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / ".aws/sso/cache"


@pytest.fixture
def boto(
    sso: LocalSSO, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, foreign_logs_are_off: None
) -> Boto:
    """Fetches, with botocore in a thread, the credentials of a profile."""
    (tmp_path / "config").write_text(CONFIG)
    environ = {**sso.environ, "AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_MAX_ATTEMPTS": "1"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for provider in (botocore.credentials.SSOProvider, botocore.tokens.SSOTokenProvider):
        monkeypatch.setattr(provider, "_SSO_TOKEN_CACHE_DIR", str(cache))  # else that of the HOME at import

    class Session(botocore.session.Session):  # type: ignore[misc]
        def create_client(self, *args: Any, **options: Any) -> Any:
            made.append(super().create_client(*args, **options))
            return made[-1]

    made: list[Any] = []

    def fetch(profile: str) -> Any:
        try:
            return Session(profile=profile).get_credentials().get_frozen_credentials()
        finally:
            for client in made:
                client.close()

    async def in_thread(profile: str = "corp") -> Any:
        return await asyncio.to_thread(fetch, profile)

    return in_thread


async def send(server: LocalSSO, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any], str]:
    async with aiohttp.ClientSession() as session, session.request(method, server.url + path, **options) as response:
        return response.status, await response.json(content_type=None), response.headers.get("x-amzn-ErrorType", "")


async def role_credentials(server: LocalSSO, token: str | None, *, account: str = "1", role: str = "r") -> Any:
    query = f"?role_name={role}&account_id={account}"
    headers = {} if token is None else {"x-amz-sso_bearer_token": token}
    return await send(server, "GET", f"/federation/credentials{query}", headers=headers)


async def create_token(server: LocalSSO, file: dict[str, Any], **changes: Any) -> Any:
    form = {name: file[name] for name in ("clientId", "clientSecret", "refreshToken")}
    return await send(server, "POST", "/token", json={**form, "grantType": "refresh_token", **changes})


# -- botocore -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["corp", "legacy"])
async def test_botocore_exchanges_the_token_of_a_login(
    sso: LocalSSO, server: LocalSTS, boto: Boto, cache: Path, profile: str
) -> None:
    sso.credentials = lambda: server.issue("arn:aws:iam::123456789012:role/Admin")
    if profile == "corp":
        sso.login(cache, session=SESSION)
    else:
        sso.login(cache, start_url=START_URL)
    found = await boto(profile)
    credentials = Credentials(
        access_key_id=found.access_key, secret_access_key=found.secret_key, session_token=found.token
    )
    async with server.client(credentials=credentials) as sts:
        identity = await sts.get_caller_identity()

    assert identity.arn == "arn:aws:sts::123456789012:assumed-role/Admin/local"
    assert [(record.path, record.token) for record in sso.requests] == [("/federation/credentials", "valid")]


@pytest.mark.parametrize("seconds", [-60, 300])
async def test_botocore_refreshes_a_token_that_ends(sso: LocalSSO, boto: Boto, cache: Path, seconds: int) -> None:
    """F40: and the file has the next refresh token afterwards, with which it goes on."""
    sso.token_lifetime = 600
    path = sso.login(cache, session=SESSION, seconds=seconds)
    before = json.loads(path.read_text())
    await boto()
    after = json.loads(path.read_text())
    await boto()

    assert before.keys() == after.keys()
    assert before["refreshToken"] != after["refreshToken"]
    assert before["clientSecret"] == after["clientSecret"]
    assert [(record.path, record.token) for record in sso.requests] == [
        ("/token", "valid"),
        ("/federation/credentials", "valid"),
    ] * 2


async def test_botocore_recognizes_that_the_login_has_ended(sso: LocalSSO, boto: Boto, cache: Path) -> None:
    """F40: what both services say then is understood."""
    sso.login(cache, session=SESSION)
    sso.log_out()
    with pytest.raises(botocore.exceptions.UnauthorizedSSOTokenError):
        await boto()
    sso.login(cache, session=SESSION, seconds=-1)
    sso.log_out()
    with pytest.raises(botocore.exceptions.TokenRetrievalError):
        await boto()

    assert [(record.code, record.token) for record in sso.requests] == [
        ("UnauthorizedException", "invalid"),
        ("InvalidGrantException", "invalid"),
    ]


async def test_botocore_sees_a_registration_that_has_ended(sso: LocalSSO, boto: Boto, cache: Path) -> None:
    """F40: it asks for nothing then."""
    sso.login(cache, session=SESSION, seconds=-1, registration_seconds=-1)
    with pytest.raises(botocore.exceptions.TokenRetrievalError):
        await boto()

    assert not sso.requests


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Refuse("ResourceNotFoundException"), "ResourceNotFoundException"),
        (Throttle(), "TooManyRequestsException"),
        (Refuse("ForbiddenException"), "ForbiddenException"),
        (Unavailable(), "ServiceUnavailable"),
    ],
    ids=repr,
)
async def test_botocore_knows_the_errors_of_the_portal(
    sso: LocalSSO, boto: Boto, cache: Path, fault: Any, code: str
) -> None:
    sso.login(cache, session=SESSION)
    sso.faults.add(fault)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        await boto()

    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"]


# -- the file -----------------------------------------------------------------------------------------------------


def test_the_file_is_as_the_command_leaves_it(cache: Path, clock: Any) -> None:
    sso = LocalSSO(clock=clock)
    path = sso.login(cache, session=SESSION, seconds=60)
    found = json.loads(path.read_text())
    legacy = sso.login(cache, start_url=START_URL)

    assert path == cache / f"{hashlib.sha1(SESSION.encode()).hexdigest()}.json"
    assert legacy == cache / f"{hashlib.sha1(START_URL.encode()).hexdigest()}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {*cache.iterdir()} == {path, legacy}
    assert found.keys() == {
        "startUrl",
        "region",
        "accessToken",
        "expiresAt",
        "clientId",
        "clientSecret",
        "registrationExpiresAt",
        "refreshToken",
    }
    assert json.loads(legacy.read_text()).keys() == {"startUrl", "region", "accessToken", "expiresAt"}
    assert found["startUrl"] == START_URL


@pytest.mark.parametrize("names", [{}, {"session": "a", "start_url": "b"}])
def test_a_login_is_for_a_session_or_a_start_url(cache: Path, names: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either"):
        LocalSSO().login(cache, **names)  # type: ignore[arg-type]
    assert not cache.exists()


# -- the portal ---------------------------------------------------------------------------------------------------


async def test_an_access_token_ends_by_the_clock(sso: LocalSSO, cache: Path, clock: Any) -> None:
    token = json.loads(sso.login(cache, session=SESSION, seconds=60).read_text())["accessToken"]
    clock.move(59.5)
    before = await role_credentials(sso, token)
    clock.move(0.5)
    after = await role_credentials(sso, token)
    others = [await role_credentials(sso, other) for other in (None, "", "SENTINEL-other")]

    assert before[0] == 200
    assert before[1]["roleCredentials"].keys() == {"accessKeyId", "secretAccessKey", "sessionToken", "expiration"}
    assert before[1]["roleCredentials"]["expiration"] == (clock() + 3599) * 1000
    assert after[0] == 401
    assert after[2] == "UnauthorizedException"
    assert [other[0] for other in others] == [401, 401, 401]
    assert [record.token for record in sso.requests] == ["valid", "expired", "absent", "absent", "invalid"]
    assert token not in repr(sso.requests)


async def test_credentials_that_do_not_end_end_after_the_lifetime(sso: LocalSSO, cache: Path, clock: Any) -> None:
    """The answer has to say when."""
    sso.credentials = Credentials(access_key_id="A", secret_access_key="s")
    token = json.loads(sso.login(cache, session=SESSION).read_text())["accessToken"]
    _, found, _ = await role_credentials(sso, token)

    assert found["roleCredentials"]["expiration"] == (clock() + 3600) * 1000


async def test_only_the_roles_that_the_user_has_are_given(sso: LocalSSO, cache: Path) -> None:
    sso.roles = [("111122223333", "Admin"), ("123456789012", "Reader")]
    token = json.loads(sso.login(cache, session=SESSION).read_text())["accessToken"]
    pairs = [("111122223333", "Admin"), ("123456789012", "Admin"), ("", "Reader"), ("123456789012", "")]
    found = [await role_credentials(sso, token, account=account, role=role) for account, role in pairs]

    assert [status for status, *_ in found] == [200, 403, 400, 400]


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/token"), ("POST", "/federation/credentials")])
async def test_other_paths_are_not_there(sso: LocalSSO, method: str, path: str) -> None:
    status, _, kind = await send(sso, method, path)

    assert (status, kind) == (404, "ResourceNotFoundException")


# -- OIDC ---------------------------------------------------------------------------------------------------------


async def test_a_refresh_token_is_taken_once(sso: LocalSSO, cache: Path) -> None:
    """F40: a client that lost the response needs a new login."""
    file = json.loads(sso.login(cache, session=SESSION).read_text())
    first = await create_token(sso, file)
    again = await create_token(sso, file)
    second = await create_token(sso, file, refreshToken=first[1]["refreshToken"])

    assert first[1].keys() == {"accessToken", "tokenType", "expiresIn", "refreshToken"}
    assert (first[1]["tokenType"], first[1]["expiresIn"]) == ("Bearer", 3600)
    assert again[0] == 400
    assert (again[1]["error"], again[2]) == ("invalid_grant", "InvalidGrantException")
    assert second[0] == 200
    assert (await role_credentials(sso, second[1]["accessToken"]))[0] == 200


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"clientSecret": "SENTINEL-other"}, 401, "invalid_client"),
        ({"clientId": "other"}, 401, "invalid_client"),
        ({"clientSecret": ""}, 400, "invalid_request"),
        ({"clientId": 1}, 400, "invalid_request"),
        ({"grantType": "authorization_code"}, 400, "unsupported_grant_type"),
        ({"refreshToken": "SENTINEL-other"}, 400, "invalid_grant"),
        ({"refreshToken": None}, 400, "invalid_grant"),
    ],
)
async def test_what_is_no_refresh_is_refused_and_costs_nothing(
    sso: LocalSSO, cache: Path, changes: dict[str, Any], status: int, error: str
) -> None:
    file = json.loads(sso.login(cache, session=SESSION).read_text())
    refused = await create_token(sso, file, **changes)

    assert (refused[0], refused[1]["error"]) == (status, error)
    assert refused[1]["error_description"]
    assert (await create_token(sso, file))[0] == 200


async def test_a_client_is_registered_for_a_time(sso: LocalSSO, cache: Path, clock: Any) -> None:
    file = json.loads(sso.login(cache, session=SESSION, registration_seconds=60).read_text())
    clock.move(60)

    assert (await create_token(sso, file))[1]["error"] == "invalid_client"


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b"{" * 100_000, b'{"clientId": {}}'])
async def test_a_body_that_is_no_form_is_refused(sso: LocalSSO, body: bytes) -> None:
    assert (await send(sso, "POST", "/token", data=body))[1]["error"] == "invalid_request"


async def test_a_fault_chooses_between_portal_and_oidc(sso: LocalSSO, cache: Path) -> None:
    file = json.loads(sso.login(cache, session=SESSION).read_text())
    sso.faults.add(Refuse("SlowDownException", path="/token"), Answer(500, "{}", path="/federation"))
    slowed = await create_token(sso, file)
    broken = await role_credentials(sso, file["accessToken"])

    assert (slowed[0], slowed[1]["error"]) == (400, "slow_down")
    assert broken[:2] == (500, {})
    assert not sso.faults
