"""Credentials of ``aws login``, from a server on this host. Botocore reads the same files and sends the same."""

import asyncio
import base64
import builtins
import itertools
import json
import logging
import stat
import sys
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import LoginRefreshRequired, LoginTokenLoadError
from botocore.loaders import Loader
from packaging.requirements import Requirement
from support import Clocks, RawServer, http

from sts_async._engine.loop import Engine
from sts_async._protocol.http_messages import HttpRequest
from sts_async._runtime import files
from sts_async._shape.secret import Secret
from sts_async.credentials import login
from sts_async.credentials._tokens import login_file_name
from sts_async.credentials.login import LoginProvider
from sts_async.errors import (
    ConfigurationError,
    ConnectError,
    CredentialsError,
    InvalidEndpoint,
    InvalidRegion,
    LoginRequired,
    RedirectRefused,
)
from sts_async.testing import LocalSignIn, Refuse, Throttle, Unavailable

SIGNIN_SHAPES = Loader().load_service_model("signin", "service-2")["shapes"]

Start = Callable[..., Awaitable[RawServer]]
Provide = Callable[..., LoginProvider]

ARN = "arn:aws:iam::123456789012:user/me"
ISSUED = {
    "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
    "secretAccessKey": "SENTINEL-secret",
    "sessionToken": "SENTINEL-session",
}


@pytest.fixture
async def server(clocks: Clocks) -> AsyncIterator[LocalSignIn]:
    pytest.importorskip("joserfc", reason="a login is refreshed with the package joserfc only")
    async with LocalSignIn(clock=lambda: clocks.wall) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / ".aws/login/cache"


@pytest.fixture
def provide(request: pytest.FixtureRequest, tmp_path: Path) -> Provide:
    """Return a function that creates a provider, which calls the server if the test has one."""
    here = request.getfixturevalue("server").environ if "server" in request.fixturenames else {}

    def make(**options: Any) -> LoginProvider:
        environ = {"HOME": str(tmp_path), **here, **options.pop("environ", {})}
        return LoginProvider(**{"login_session": ARN, "region": "eu-west-1", "environ": environ, **options})

    return make


@pytest.fixture
def no_joserfc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a machine on which the package is not installed."""
    real = builtins.__import__

    def refuse(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "joserfc":
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)


def put(cache: Path, *, seconds: float, clocks: Clocks, **changes: Any) -> Path:
    """Write a token file that needs no server, and return its path; a member whose value is None is left out."""
    ends = datetime.fromtimestamp(clocks.wall + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "accessToken": {**ISSUED, "accountId": "123456789012", "expiresAt": ends},
        "clientId": "arn:aws:signin:::devtools/same-device",
        "refreshToken": "SENTINEL-refresh",
        "dpopKey": "SENTINEL-key",
        **changes,
    }
    path = cache / login_file_name(ARN)
    files.write_private(path, json.dumps({k: v for k, v in document.items() if v is not None}).encode())
    return path


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- Without a refresh ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_joserfc")
async def test_credentials_that_are_not_due_need_no_package(
    context: Engine, cache: Path, provide: Provide, clocks: Clocks
) -> None:
    put(cache, seconds=301, clocks=clocks, refreshToken=None, dpopKey=None)
    credentials = await provide().provide_credentials(context)

    assert credentials.access_key_id == "ASIAIOSFODNN7EXAMPLE"
    assert credentials.secret_access_key == "SENTINEL-secret"
    assert credentials.session_token == "SENTINEL-session"
    assert credentials.expiration == datetime.fromtimestamp(clocks.wall + 301, UTC)


def test_the_package_is_imported_when_it_is_used() -> None:
    """Importing the module does not need it."""
    assert not {"jws", "ECKey", "joserfc", "cryptography"} & vars(sys.modules["sts_async.credentials.login"]).keys()


async def test_spaces_around_the_session_name_are_removed(
    context: Engine, cache: Path, provide: Provide, clocks: Clocks
) -> None:
    put(cache, seconds=900, clocks=clocks)
    provider = provide(login_session=f" {ARN}\n")

    assert await provider.fetch(context)
    assert provider.name == f"login session '{ARN}'"
    assert repr(provider) == f"LoginProvider(login_session='{ARN}', region='eu-west-1')"


@pytest.mark.parametrize("given", ["argument", "variable", "variable in home"])
async def test_the_directory_of_token_files_can_be_set(
    context: Engine, tmp_path: Path, provide: Provide, clocks: Clocks, given: str
) -> None:
    put(tmp_path / "other", seconds=900, clocks=clocks)
    options: dict[str, dict[str, Any]] = {
        "argument": {"cache_directory": tmp_path / "other"},
        "variable": {"environ": {"AWS_LOGIN_CACHE_DIRECTORY": str(tmp_path / "other")}},
        "variable in home": {"environ": {"AWS_LOGIN_CACHE_DIRECTORY": "~/other"}},
    }

    assert await provide(**options[given]).fetch(context)


# -- Refresh --------------------------------------------------------------------------------------------------------


async def test_credentials_that_are_about_to_expire_are_refreshed(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, clocks: Clocks
) -> None:
    """The server verifies the proof, its key and the refresh token."""
    path = server.login(cache, login_session=ARN, seconds=900)
    before = read(path)
    provider = provide()
    first = await provider.fetch(context)
    clocks.advance(600)
    second = await provider.fetch(context)
    third = await provider.fetch(context)
    after = read(path)

    assert first.access_key_id == before["accessToken"]["accessKeyId"]
    assert second == third != first
    assert second.expiration == datetime.fromtimestamp(clocks.wall + 900, UTC)
    assert [(record.method, record.path, record.status) for record in server.requests] == [("POST", "/v1/token", 200)]
    assert {name for name in before if before[name] != after[name]} == {"accessToken", "refreshToken"}
    assert after["accessToken"].keys() == before["accessToken"].keys()
    assert after["accessToken"]["accountId"] == "123456789012"
    assert mode(path) == 0o600


async def test_refreshes_continue_until_the_login_expires(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, clocks: Clocks
) -> None:
    server.login(cache, login_session=ARN)
    provider = provide()
    seen = set()
    for _ in range(5):
        seen.add((await provider.provide_credentials(context)).access_key_id)
        clocks.advance(901)

    assert len(seen) == 5


async def test_concurrent_sources_refresh_once(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide
) -> None:
    """F39."""
    server.login(cache, login_session=ARN, seconds=-5)
    found = await asyncio.gather(*(provide().fetch(context) for _ in range(20)))

    assert len({credentials.access_key_id for credentials in found}) == 1
    assert len(server.requests) == 1


async def test_each_attempt_has_a_new_proof(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, raw_server: Start
) -> None:
    """RFC 9449: a service may refuse a proof that was used before."""
    answer = {"accessToken": ISSUED, "expiresIn": 900, "refreshToken": "SENTINEL-next"}
    raw = await raw_server(http("", status=503), http(json.dumps(answer)))
    path = server.login(cache, login_session=ARN, seconds=-5)
    before = read(path)
    await provide(environ={"AWS_ENDPOINT_URL_SIGNIN": f"{raw.url}base/"}).fetch(context)
    heads, bodies = zip(*(request.split(b"\r\n\r\n") for request in raw.requests), strict=True)
    proofs = {line for head in heads for line in head.split(b"\r\n") if line.lower().startswith(b"dpop:")}

    assert len(proofs) == 2
    assert {head.split(b"\r\n")[0] for head in heads} == {b"POST /base/v1/token HTTP/1.1"}
    assert b"content-type: application/json" in heads[0].lower()
    assert [json.loads(body) for body in bodies] == [
        {"clientId": before["clientId"], "grantType": "refresh_token", "refreshToken": before["refreshToken"]}
    ] * 2


@pytest.mark.parametrize("fault", [Unavailable(times=3), Throttle(times=3), Refuse("INVALID_REQUEST")])
async def test_valid_credentials_stay_in_use_if_their_refresh_fails(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, clocks: Clocks, fault: Any, caplog: Any
) -> None:
    server.login(cache, login_session=ARN, seconds=60)
    server.faults.add(fault)
    provider = provide()
    first = await provider.fetch(context)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    clocks.advance(31)

    assert len(warnings) == 1
    assert "the token could not be refreshed; using it until it expires: AWS sign-in answered" in warnings[0]
    assert await provider.fetch(context) != first


async def test_a_failed_refresh_of_expired_credentials_is_an_error(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide
) -> None:
    server.login(cache, login_session=ARN, seconds=-5)
    server.faults.add(Unavailable(times=3))
    with pytest.raises(CredentialsError, match=r"AWS sign-in answered .*503.*, 3 times") as caught:
        await provide().provide_credentials(context)
    with pytest.raises(ConnectError):
        await provide(environ={"AWS_ENDPOINT_URL_SIGNIN": "http://127.0.0.1:9"}).fetch(context)

    assert caught.value.recoverable


@pytest.mark.parametrize("code", ["TOKEN_EXPIRED", "USER_CREDENTIALS_CHANGED", "INSUFFICIENT_PERMISSIONS"])
@pytest.mark.parametrize("seconds", [60, -5])
async def test_a_final_refusal_requires_a_login(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, code: str, seconds: float
) -> None:
    """F40: this holds for valid credentials too, because the refusal may be about them."""
    server.login(cache, login_session=ARN, seconds=seconds)
    server.error = code
    with pytest.raises(LoginRequired, match=r"AWS sign-in answered AccessDeniedException .*; run: aws login"):
        await provide().provide_credentials(context)

    assert len(server.requests) == 1


async def test_an_expired_login_requires_a_login(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, clocks: Clocks
) -> None:
    """F40."""
    server.login(cache, login_session=ARN)
    provider = provide()
    await provider.provide_credentials(context)
    clocks.advance(13 * 3600)
    with pytest.raises(LoginRequired, match="the login has expired"):
        await provider.provide_credentials(context)


@pytest.mark.parametrize("name", ["refreshToken", "clientId", "dpopKey"])
async def test_expired_credentials_that_cannot_be_refreshed_require_a_login(
    context: Engine, cache: Path, provide: Provide, clocks: Clocks, name: str
) -> None:
    put(cache, seconds=60, clocks=clocks, **{name: None})
    provider = provide()
    valid = await provider.fetch(context)
    clocks.advance(60)
    with pytest.raises(LoginRequired, match=f"the token cannot be refreshed: it has no {name}; run: aws login"):
        await provider.fetch(context)

    assert valid


# -- Where, and how long ----------------------------------------------------------------------------------------------


class Stop(Exception):
    """Raised instead of sending a request."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the URLs that a provider would call; nothing is sent."""
    urls: list[str] = []

    async def exchange(context: Engine, request: HttpRequest, **_: Any) -> None:
        urls.append(request.url)
        raise Stop

    monkeypatch.setattr(login, "exchange", exchange)
    return urls


def signin_url_of_botocore(region: str) -> str:
    """Return the URL that botocore's client would call for this region, by the rules of the service."""
    loader = Loader()
    rules = loader.load_service_model("signin", "endpoint-rule-set-1")
    provider = EndpointProvider(rules, loader.load_data("partitions"))
    url: str = provider.resolve_endpoint(Region=region, UseFIPS=False, UseDualStack=False).url
    return f"{url}/v1/token"


@pytest.mark.parametrize(
    ("signed_in", "configured", "region"),
    [
        ("us-east-2", "eu-west-1", "us-east-2"),
        ("us-east-2", None, "us-east-2"),
        ("cn-north-1", "eu-west-1", "cn-north-1"),
        (None, "eu-west-1", "eu-west-1"),
        ("", "eu-west-1", "eu-west-1"),
    ],
)
async def test_the_region_of_the_login_takes_precedence(
    context: Engine,
    cache: Path,
    provide: Provide,
    clocks: Clocks,
    asked: list[str],
    signed_in: str | None,
    configured: str | None,
    region: str,
) -> None:
    """A7: the refresh token is valid only there. Files of older logins have no region."""
    put(cache, seconds=-5, clocks=clocks, signInRegion=signed_in)
    with pytest.raises(Stop):
        await provide(region=configured).fetch(context)

    assert asked == [signin_url_of_botocore(region)]


async def test_without_a_region_the_credentials_are_used_until_a_refresh_is_due(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, clocks: Clocks
) -> None:
    """A7: the error says where to set a region, and the test follows the advice."""
    server.login(cache, login_session=ARN, seconds=900)
    assert await provide(region=None).fetch(context)

    clocks.advance(901)
    with pytest.raises(ConfigurationError, match=r"pass region=\.\.\., or run: aws login$"):
        await provide(region=None).fetch(context)
    assert await provide(region="eu-west-1").fetch(context)


async def test_a_login_with_a_region_needs_no_other_region(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide
) -> None:
    """A7: this holds after a refresh too, because the member is kept."""
    server.lifetime = 60
    path = server.login(cache, login_session=ARN, seconds=-5, region="us-east-2")
    for _ in range(2):
        assert await provide(region=None).fetch(context)

    assert read(path)["signInRegion"] == "us-east-2"
    assert [record.status for record in server.requests] == [200, 200]


async def test_a_token_file_cannot_choose_the_host(
    context: Engine, cache: Path, provide: Provide, clocks: Clocks, asked: list[str]
) -> None:
    """A7, T2: the region in the file is checked like any other."""
    put(cache, seconds=-5, clocks=clocks, signInRegion="evil.com#")
    with pytest.raises(InvalidRegion):
        await provide().fetch(context)

    assert asked == []


async def test_the_longest_tokens_of_the_model_are_sent_and_kept(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, raw_server: Start
) -> None:
    """A7: a refresh token has up to 12,288 characters, and an id token up to 4,096."""
    longest = {name: SIGNIN_SHAPES[name]["max"] for name in ("RefreshToken", "IdToken")}
    answer = {"accessToken": ISSUED, "expiresIn": 900, "refreshToken": "n" * longest["RefreshToken"]}
    raw = await raw_server(http(json.dumps(answer)))
    path = server.login(cache, login_session=ARN, seconds=-5)
    put_in = {"refreshToken": "o" * longest["RefreshToken"], "idToken": "i" * longest["IdToken"]}
    files.write_private(path, json.dumps({**read(path), **put_in}).encode())
    assert await provide(environ={"AWS_ENDPOINT_URL_SIGNIN": raw.url}).fetch(context)

    assert longest["RefreshToken"] == 12_288
    assert b"o" * longest["RefreshToken"] in raw.requests[0]
    assert read(path)["refreshToken"] == answer["refreshToken"]


# -- The key --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_joserfc")
async def test_a_refresh_without_the_package_names_the_package(
    context: Engine, cache: Path, provide: Provide, clocks: Clocks
) -> None:
    put(cache, seconds=-5, clocks=clocks)
    with pytest.raises(CredentialsError, match=r"pip install 'sts-async\[login\]'") as caught:
        await provide().provide_credentials(context)

    assert not isinstance(caught.value, LoginRequired)
    advised = Requirement(str(caught.value).rpartition("pip install ")[2].strip("'"))
    brought = [Requirement(text) for text in metadata.requires(advised.name) or ()]
    assert {"joserfc", "cryptography"} <= {
        one.name for one in brought if one.marker is not None and one.marker.evaluate({"extra": "login"})
    }
    assert advised.extras == {"login"}


@pytest.mark.parametrize(
    "kind", ["none", "another curve", "no curve of JWK", "RSA", "public", "with a password", "not ASCII"]
)
async def test_an_invalid_key_requires_a_login(
    context: Engine, cache: Path, provide: Provide, clocks: Clocks, kind: str
) -> None:
    """F37, T16."""
    key = pem(kind)
    put(cache, seconds=-5, clocks=clocks, dpopKey=key)
    with pytest.raises(LoginRequired, match="dpopKey in the token file is not a P-256 key in PEM") as caught:
        await provide().fetch(context)

    assert_no_secret(caught.value, "SENTINEL", key.splitlines()[1])


@pytest.mark.parametrize("form", ["SEC 1", "PKCS 8"])
async def test_both_forms_of_a_key_are_read(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, form: str
) -> None:
    """SDKs write one form or the other."""
    from cryptography.hazmat.primitives import serialization

    path = server.login(cache, login_session=ARN, seconds=-5)
    document = read(path)
    key = serialization.load_pem_private_key(document["dpopKey"].encode(), password=None)
    forms = serialization.PrivateFormat
    text = key.private_bytes(
        serialization.Encoding.PEM,
        forms.PKCS8 if form == "PKCS 8" else forms.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    path.write_text(json.dumps({**document, "dpopKey": text.strip()}))

    assert await provide().fetch(context)


def test_a_proof_equals_the_one_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    RFC 9449; each byte is equal, except for the signature, which the public key verifies.

    The x coordinate of this key begins with a zero byte. Older versions of joserfc omitted this byte.
    """
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    credentials = pytest.importorskip("botocore.credentials")
    key = next(
        found
        for number in itertools.count(1)
        if (found := ec.derive_private_key(number, ec.SECP256R1())).public_key().public_numbers().x < 1 << 248
    )
    public = key.public_key()
    x, y = (number.to_bytes(32, "big") for number in (public.public_numbers().x, public.public_numbers().y))
    url = "https://eu-west-1.signin.aws.amazon.com/v1/token"

    class Key:
        def get_public_coords(self) -> tuple[bytes, bytes]:
            return x, y

        def sign(self, digest: bytes) -> bytes:
            return b""

        @staticmethod
        def decode_der_signature_to_padded_pair(signature: bytes, pad_to: int) -> bytes:
            return signature

    monkeypatch.setattr(credentials, "EC", Key)
    monkeypatch.setattr(uuid, "uuid4", lambda: "an-id")
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    theirs = credentials._build_dpop_header(Key(), url, uid="an-id", ts=1_767_225_600)
    ours = login._proof(Secret(text.decode()), method="POST", url=url, at=1_767_225_600.9)
    message, _, signed = str.__str__(ours).rpartition(".")
    numbers = base64.urlsafe_b64decode(signed + "==")

    assert f"{message}." == theirs
    assert len(numbers) == 64
    assert repr(ours) == "'***'"
    public.verify(
        encode_dss_signature(int.from_bytes(numbers[:32], "big"), int.from_bytes(numbers[32:], "big")),
        message.encode(),
        ec.ECDSA(hashes.SHA256()),
    )


def pem(kind: str) -> str:
    """Return a key in PEM that is not a usable P-256 key."""
    if kind in ("none", "not ASCII"):
        return "-----BEGIN EC PRIVATE KEY-----\nSENTINEL\n" + ("é" if kind == "not ASCII" else "")
    pytest.importorskip("cryptography", reason="it makes the keys")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    curves = {"public": ec.SECP256R1(), "no curve of JWK": ec.BrainpoolP256R1()}
    key = rsa.generate_private_key(65537, 2048) if kind == "RSA" else None
    key = key or ec.generate_private_key(curves.get(kind, ec.SECP384R1()))
    if kind == "public":
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    hidden = serialization.BestAvailableEncryption(b"x") if kind == "with a password" else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden).decode()


# -- Refusals -------------------------------------------------------------------------------------------------------


async def test_without_a_token_file_the_error_names_the_command(context: Engine, provide: Provide) -> None:
    """F40."""
    with pytest.raises(LoginRequired, match=r"there is no token file .*\.json'; run: aws login$"):
        await provide().provide_credentials(context)


async def test_a_redirect_is_refused_and_no_token_sent(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, raw_server: Start
) -> None:
    """T4."""
    other = await raw_server(http("{}"))
    redirecting = await raw_server(http("", status=308, headers=f"Location: {other.url}\r\n"))
    server.login(cache, login_session=ARN, seconds=-5)
    with pytest.raises(RedirectRefused, match=r"AWS sign-in answered HTTP 308 redirect to host '127.0.0.1'"):
        await provide(environ={"AWS_ENDPOINT_URL_SIGNIN": redirecting.url}).fetch(context)

    assert (redirecting.connections, other.connections) == (1, 0)


@pytest.mark.parametrize("options", [{"login_session": " "}, {"login_session": "a\nb"}, {"login_session": "\ud800"}])
def test_an_invalid_session_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        LoginProvider(**{"region": "eu-west-1", **options})


def test_a_region_cannot_choose_the_host() -> None:
    """T2."""
    with pytest.raises(InvalidRegion):
        LoginProvider(login_session=ARN, region="evil.com#")


async def test_an_endpoint_that_is_not_encrypted_is_refused(
    context: Engine, cache: Path, provide: Provide, clocks: Clocks
) -> None:
    """T3."""
    put(cache, seconds=-5, clocks=clocks)
    with pytest.raises(InvalidEndpoint, match="AWS_ENDPOINT_URL: "):
        await provide(environ={"AWS_ENDPOINT_URL": "http://signin.example"}).fetch(context)


@pytest.mark.parametrize(
    "answer",
    [
        "SENTINEL",
        '{"accessToken": "SENTINEL", "expiresIn": 900}',
        json.dumps({"accessToken": {**ISSUED, "sessionToken": None}, "expiresIn": 900}),
        json.dumps({"accessToken": ISSUED, "expiresIn": "SENTINEL"}),
        json.dumps({"accessToken": ISSUED, "expiresIn": 900, "refreshToken": ["SENTINEL"]}),
    ],
)
@pytest.mark.parametrize("status", [200, 403])
async def test_an_invalid_response_is_not_shown(
    context: Engine,
    server: LocalSignIn,
    cache: Path,
    provide: Provide,
    raw_server: Start,
    answer: str,
    status: int,
) -> None:
    """T15, T16: the request is not shown either, in tracebacks with local variables."""
    raw = await raw_server(http(answer, status=status))
    before = read(server.login(cache, login_session=ARN, seconds=-5))
    with pytest.raises(CredentialsError) as caught:
        await provide(environ={"AWS_ENDPOINT_URL_SIGNIN": raw.url}).fetch(context)

    assert not isinstance(caught.value, LoginRequired)
    assert_no_secret(caught.value, "SENTINEL", before["refreshToken"], before["dpopKey"].splitlines()[1])


def assert_no_secret(error: BaseException, *values: str) -> None:
    """Check that a crash reporter could show no secret of an error, outside of the frames of the tests."""
    captured = traceback.TracebackException.from_exception(error, capture_locals=True)
    stack = [frame for frame in captured.stack if "/tests/" not in frame.filename]
    shown = "\n".join(f"{frame.filename} {frame.locals}" for frame in stack)

    assert "login.py" in shown
    assert error.__context__ is None
    assert not [value for value in values if value in shown]


# -- botocore -------------------------------------------------------------------------------------------------------


@pytest.fixture
def boto(
    server: LocalSignIn, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clocks: Clocks
) -> Callable[[], Awaitable[Any]]:
    """Fetches the frozen credentials of a profile that has logged in with botocore, in a thread."""
    pytest.importorskip("awscrt", reason="botocore refreshes a login with awscrt only")
    clocks.wall = float(int(datetime.now(UTC).timestamp()))  # botocore's clock cannot be set
    (tmp_path / "config").write_text(f"[default]\nlogin_session = {ARN}\nregion = eu-west-1\n")
    environ = {
        **server.environ,
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_LOGIN_CACHE_DIRECTORY": str(cache),
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    made: list[Any] = []

    class Session(botocore.session.Session):  # type: ignore[misc]
        def create_client(self, *args: Any, **options: Any) -> Any:
            made.append(super().create_client(*args, **options))
            return made[-1]

    def fetch() -> Any:
        try:
            return Session().get_credentials().get_frozen_credentials()
        finally:
            for client in made:
                client.close()

    return lambda: asyncio.to_thread(fetch)


async def test_botocore_finds_the_same_credentials_in_the_same_file(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, boto: Callable[[], Awaitable[Any]]
) -> None:
    server.login(cache, login_session=ARN, seconds=1800)
    ours = await provide().fetch(context)

    assert await boto() == (ours.access_key_id, ours.secret_access_key, ours.session_token, "123456789012")
    assert not server.requests


async def test_botocore_and_the_library_use_each_others_refreshed_tokens(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, boto: Callable[[], Awaitable[Any]]
) -> None:
    """Both send the same requests, and write the same members to the file."""
    server.lifetime = 1800
    path = server.login(cache, login_session=ARN, seconds=-5)
    members = read(path)
    ours = await provide().fetch(context)
    after_ours = read(path)
    theirs = await boto()
    path.unlink()
    server.login(cache, login_session=ARN, seconds=-5)
    from_boto = await boto()
    ours_again = await provide().fetch(context)

    assert theirs.access_key == ours.access_key_id
    assert from_boto.access_key == ours_again.access_key_id
    assert members.keys() == after_ours.keys() == read(path).keys()
    assert members["accessToken"].keys() == after_ours["accessToken"].keys() == read(path)["accessToken"].keys()
    assert [(record.path, record.status) for record in server.requests] == [("/v1/token", 200)] * 2


async def test_botocore_refuses_the_same_files(
    context: Engine, server: LocalSignIn, cache: Path, provide: Provide, boto: Callable[[], Awaitable[Any]]
) -> None:
    """F40."""
    with pytest.raises(LoginTokenLoadError):
        await boto()
    with pytest.raises(LoginRequired):
        await provide().fetch(context)
    server.login(cache, login_session=ARN, seconds=-5)
    server.error = "TOKEN_EXPIRED"
    with pytest.raises(LoginRefreshRequired):
        await boto()
    with pytest.raises(LoginRequired):
        await provide().fetch(context)


async def test_a_login_of_another_account_is_not_used(
    context: Engine, cache: Path, provide: Provide, clocks: Clocks
) -> None:
    """T40: the error names the file and the command."""
    path = put(cache, seconds=900, clocks=clocks)
    change = {**read(path)["accessToken"], "accountId": "210987654321"}
    put(cache, seconds=900, clocks=clocks, accessToken=change)
    with pytest.raises(LoginRequired, match=f"the token file '{path}': accountId is not the one that was"):
        await provide().fetch(context)
