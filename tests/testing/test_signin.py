"""LocalSignIn, with botocore's login provider as client, and with proofs made by hand where it does not reach."""

import asyncio
import base64
import hashlib
import json
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import botocore.exceptions
import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async import Credentials
from sts_async.testing import LocalSignIn, LocalSTS, Refuse, Throttle, Unavailable
from sts_async.testing.refusals import Refusal
from sts_async.testing.signin import CLIENT_ID, read_proof, thumbprint

pytest.importorskip("joserfc")
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ARN = "arn:aws:iam::123456789012:user/me"
Boto = Callable[[], Awaitable[Any]]


@pytest.fixture
async def signin(clock: Any) -> AsyncIterator[LocalSignIn]:
    async with LocalSignIn(clock=clock) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / ".aws/login/cache"


# -- botocore -----------------------------------------------------------------------------------------------------


@pytest.fixture
def boto(
    signin: LocalSignIn, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, foreign_logs_are_off: None
) -> Boto:
    """Fetches, with botocore in a thread, the credentials of a profile that logged in."""
    pytest.importorskip("awscrt", reason="botocore refreshes a login with awscrt only")
    (tmp_path / "config").write_text(f"[default]\nlogin_session = {ARN}\nregion = eu-west-1\n")
    environ = {
        **signin.environ,
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_LOGIN_CACHE_DIRECTORY": str(cache),
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    class Session(botocore.session.Session):  # type: ignore[misc]
        def create_client(self, *args: Any, **options: Any) -> Any:
            made.append(super().create_client(*args, **options))
            return made[-1]

    made: list[Any] = []

    def fetch() -> Any:
        try:
            return Session().get_credentials().get_frozen_credentials()
        finally:
            for client in made:
                client.close()

    async def in_thread() -> Any:
        return await asyncio.to_thread(fetch)

    return in_thread


async def test_botocore_uses_a_login_while_it_lasts(signin: LocalSignIn, boto: Boto, cache: Path) -> None:
    path = signin.login(cache, login_session=ARN)
    found = await boto()

    assert found.access_key == json.loads(path.read_text())["accessToken"]["accessKeyId"]
    assert found.account_id == "123456789012"
    assert not signin.requests


async def test_botocore_refreshes_a_login(signin: LocalSignIn, server: LocalSTS, boto: Boto, cache: Path) -> None:
    """The proof is botocore's own, the key the one of the file."""
    path = signin.login(cache, login_session=ARN, seconds=-1)
    signin.credentials = lambda: server.issue("arn:aws:iam::123456789012:role/me", seconds=900)
    before = json.loads(path.read_text())
    found = await boto()
    after = json.loads(path.read_text())
    credentials = Credentials(
        access_key_id=found.access_key, secret_access_key=found.secret_key, session_token=found.token
    )
    async with server.client(credentials=credentials) as sts:
        identity = await sts.get_caller_identity()

    assert identity.arn == "arn:aws:sts::123456789012:assumed-role/me/local"
    assert before["refreshToken"] != after["refreshToken"]
    assert after["accessToken"].keys() == before["accessToken"].keys()
    assert [(record.token, record.status) for record in signin.requests] == [("valid", 200)]


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("TOKEN_EXPIRED", 401, botocore.exceptions.LoginRefreshRequired),
        ("USER_CREDENTIALS_CHANGED", 403, botocore.exceptions.LoginRefreshRequired),
        ("INSUFFICIENT_PERMISSIONS", 403, botocore.exceptions.LoginInsufficientPermissions),
    ],
)
@pytest.mark.parametrize("by_fault", [True, False])
async def test_botocore_recognizes_final_errors(
    signin: LocalSignIn, boto: Boto, cache: Path, code: str, status: int, error: type[Exception], by_fault: bool
) -> None:
    signin.login(cache, login_session=ARN, seconds=-1)
    if by_fault:
        signin.faults.add(Refuse(code))
    else:
        signin.error = code
    with pytest.raises(error):
        await boto()

    assert [(record.token, record.status, record.code) for record in signin.requests] == [("valid", status, code)]


@pytest.mark.parametrize(
    ("fault", "code"), [(Throttle(), "TooManyRequestsError"), (Unavailable(), "InternalServerException")]
)
async def test_botocore_recognizes_other_errors(
    signin: LocalSignIn, boto: Boto, cache: Path, fault: Any, code: str
) -> None:
    signin.login(cache, login_session=ARN, seconds=-1)
    signin.faults.add(fault)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        await boto()

    assert caught.value.response["Error"]["Code"] == code
    assert (await boto()).access_key.startswith("ASIA")


# -- proofs by hand -----------------------------------------------------------------------------------------------


def encoded(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def jwk_of(key: Any) -> dict[str, str]:
    point = key.public_key().public_numbers()
    size = (key.key_size + 7) // 8
    x, y = (encoded(number.to_bytes(size, "big")) for number in (point.x, point.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def prove(key: Any, header: dict[str, Any], claims: Any) -> str:
    signed = f"{encoded(header)}.{encoded(claims)}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


Refresh = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@pytest.fixture
def refresh(signin: LocalSignIn, cache: Path, clock: Any) -> Refresh:
    """Logs in and refreshes by hand; any part of the request can be another one."""
    file = json.loads(signin.login(cache, login_session=ARN).read_text())
    own = serialization.load_pem_private_key(file["dpopKey"].encode(), None)
    numbers = iter(range(100))

    async def send(
        *,
        header: dict[str, Any] | None = None,
        claims: dict[str, Any] | None = None,
        proof: str | None = None,
        key: Any = own,
        path: str = "/v1/token",
        method: str = "POST",
        **form: Any,
    ) -> tuple[int, dict[str, Any]]:
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk_of(key), **(header or {})}
        usual = {"htm": "POST", "htu": f"{signin.url}/v1/token", "iat": int(clock()), "jti": f"id-{next(numbers)}"}
        proof = prove(key, header, {**usual, **(claims or {})}) if proof is None else proof
        body = {"clientId": CLIENT_ID, "grantType": "refresh_token", "refreshToken": file["refreshToken"], **form}
        headers = {"DPoP": proof} if proof else {}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, signin.url + path, json=body, headers=headers) as response,
        ):
            return response.status, await response.json()

    return send


async def test_a_refresh_gives_credentials_and_the_next_token(signin: LocalSignIn, refresh: Refresh) -> None:
    """A refresh token is taken again: the service says that a refresh can be repeated."""
    status, first = await refresh()
    again = await refresh()
    following = await refresh(refreshToken=first["refreshToken"])

    assert (status, again[0], following[0]) == (200, 200, 200)
    assert first.keys() == {"accessToken", "tokenType", "expiresIn", "refreshToken"}
    assert first["accessToken"].keys() == {"accessKeyId", "secretAccessKey", "sessionToken"}
    assert (first["tokenType"], first["expiresIn"]) == ("aws_sigv4", 900)
    assert first["refreshToken"] not in repr(signin.requests)


@pytest.mark.parametrize(
    "changes",
    [
        {"proof": ""},
        {"proof": "a.b.c"},
        {"proof": "a.b"},
        {"proof": "e30.e30.e30"},
        {"proof": f"{encoded([1])}.e30.e30"},
        {"proof": f"{encoded(b'[' * 3000)}.e30.e30"},
        {"header": {"typ": "JWT"}},
        {"header": {"alg": "none"}},
        {"header": {"jwk": {}}},
        {"header": {"jwk": "x"}},
        {"header": {"jwk": {"kty": "EC", "crv": "P-256", "x": 1, "y": 2}}},
        {"header": {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}},
        {"header": {"jwk": {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}}},
        {"header": {"jwk": jwk_of(ec.generate_private_key(ec.SECP256R1()))}},
        {"header": {"jwk": {**jwk_of(ec.generate_private_key(ec.SECP256R1())), "d": "AA"}}},
        {"claims": {"htm": "GET"}},
        {"claims": {"htu": "http://127.0.0.1/v1/token"}},
        {"claims": {"iat": None}},
        {"claims": {"iat": 10**400}},
        {"claims": {"iat": float("nan")}},
        {"claims": {"jti": ""}},
        {"claims": {"jti": 5}},
        {"key": ec.generate_private_key(ec.SECP256R1())},
        {"clientId": "other"},
        {"grantType": "authorization_code"},
        {"refreshToken": ""},
    ],
    ids=lambda changes: repr(changes)[:40],
)
async def test_an_invalid_proof_is_refused(refresh: Refresh, changes: dict[str, Any]) -> None:
    status, body = await refresh(**changes)

    assert (status, body["error"]) == (400, "INVALID_REQUEST")
    assert (await refresh())[0] == 200


@pytest.mark.parametrize(("seconds", "status"), [(-301, 400), (-300, 200), (300, 200), (301, 400)])
async def test_a_proof_is_from_now(refresh: Refresh, clock: Any, seconds: int, status: int) -> None:
    assert (await refresh(claims={"iat": clock() + seconds}))[0] == status


async def test_a_proof_is_taken_once(refresh: Refresh) -> None:
    """RFC 9449, section 11.1: otherwise, anyone who saw the proof could repeat it."""
    first = await refresh(claims={"jti": "same"})
    second = await refresh(claims={"jti": "same"})

    assert (first[0], second[0]) == (200, 400)


async def test_a_login_ends(signin: LocalSignIn, refresh: Refresh, clock: Any) -> None:
    clock.move(43_199.5)
    before = await refresh()
    clock.move(0.5)
    after = await refresh()
    following = await refresh(refreshToken=before[1]["refreshToken"])
    signin.log_out()
    out = await refresh(refreshToken=before[1]["refreshToken"])

    assert (before[0], following[0]) == (200, 200)
    assert (after[0], after[1]["error"]) == (401, "TOKEN_EXPIRED")
    assert (out[0], out[1]["error"]) == (401, "TOKEN_EXPIRED")
    assert [record.token for record in signin.requests] == ["valid", "expired", "valid", "invalid"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/token"), ("POST", "/"), ("POST", "/v1/authorize")])
async def test_other_paths_are_not_there(refresh: Refresh, method: str, path: str) -> None:
    found = await refresh(method=method, path=path)

    assert (found[0], found[1]["error"]) == (404, "RESOURCE_NOT_FOUND")


PROOF_KEY = ec.generate_private_key(ec.SECP256R1())
PROOF = prove(PROOF_KEY, {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk_of(PROOF_KEY)}, {"jti": "a", "iat": 5})


def test_a_proof_says_who_made_it() -> None:
    assert read_proof(PROOF) == (jwk_of(PROOF_KEY), {"jti": "a", "iat": 5})


@given(at=st.integers(0, len(PROOF) - 2), to=st.characters())
def test_a_proof_with_an_invalid_character_is_refused(at: int, to: str) -> None:
    """But in the last place, where base64 has bits to spare."""
    changed = PROOF[:at] + to + PROOF[at + 1 :]
    if changed != PROOF:
        with pytest.raises(Refusal):
            read_proof(changed)


@given(st.text())
def test_any_text_is_read_without_a_failure(text: str) -> None:
    with pytest.raises(Refusal):
        read_proof(text)


def test_a_thumbprint_matches_the_standard() -> None:
    """RFC 9449, section 6.1: the key of its examples, and what an access token says of it."""
    jwk = {
        "kty": "EC",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        "crv": "P-256",
    }

    assert thumbprint(jwk) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


# -- the file -----------------------------------------------------------------------------------------------------


def test_the_file_is_as_the_command_leaves_it(cache: Path, clock: Any) -> None:
    signin = LocalSignIn(clock=clock)
    path = signin.login(cache, login_session=f" {ARN}\n", seconds=60)
    found = json.loads(path.read_text())
    other = json.loads(signin.login(cache, login_session="other").read_text())

    assert path == cache / f"{hashlib.sha256(ARN.encode()).hexdigest()}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len([*cache.iterdir()]) == 2
    assert found.keys() == {
        "accessToken",
        "tokenType",
        "clientId",
        "refreshToken",
        "idToken",
        "dpopKey",
    }
    assert found["accessToken"].keys() == {"accessKeyId", "secretAccessKey", "sessionToken", "accountId", "expiresAt"}
    assert found["tokenType"] == "aws_sigv4"
    assert found["dpopKey"].startswith("-----BEGIN EC PRIVATE KEY-----")
    assert found["dpopKey"] != other["dpopKey"]


def test_without_joserfc_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "joserfc"]:
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ImportError, match=r"pip install 'sts-async\[login\]'"):
        LocalSignIn()
