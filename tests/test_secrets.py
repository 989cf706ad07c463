"""
Nothing secret is shown: not in errors, not in tracebacks that show local variables, not in logs.

Logs and error texts are watched over the whole suite, in ``conftest.py``; here are the tracebacks.
"""

import asyncio
import pickle
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from patience import until
from reporters import REPORTERS
from support import ANSWER, KEYS, ROLE, RawServer, http

import sts_async
from sts_async import Config, Credentials, NoRetries, STSClient
from sts_async.credentials import DefaultChain, StaticProvider
from sts_async.errors import ConfigurationError, STSError
from sts_async.shapes import GetDelegatedAccessTokenRequest
from sts_async.sigv4 import Signer

Start = Callable[..., Awaitable[RawServer]]
PACKAGE = str(Path(sts_async.__file__).parent)


def shown(error: BaseException) -> str:
    """Return everything a crash reporter could show of *error*, but the frames of the tests themselves."""
    parts: list[str] = []
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        pending += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        captured = traceback.TracebackException.from_exception(one, capture_locals=True)
        frames = [frame for frame in captured.stack if "/tests/" not in frame.filename]
        parts += [str(one), repr(one), repr(one.args), repr(vars(one)), *map(str, getattr(one, "__notes__", ()))]
        parts += [f"{frame.filename} {frame.name} {frame.line} {frame.locals}" for frame in frames]
        parts += [reporter.show(one) for reporter in REPORTERS.values() if reporter.installed]
    return "\n".join(parts)


async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(http(ANSWER, length=5000))
    await asyncio.Event().wait()


ANSWERS = {
    "service error": http("<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", status=403),
    "not XML": http(ANSWER[:-40]),
    "unreadable expiration": http(ANSWER.replace("2026-01-01T01:00:00Z", "SENTINEL-expiration")),
    "no expiration": http(ANSWER.replace("Expiration", "Other")),
    "two credentials": http(ANSWER.replace("</AssumeRoleResult>", "<Credentials/></AssumeRoleResult>")),
    "wrong root": http(ANSWER.replace("AssumeRole", "SENTINEL-other")),
    "redirect": http("", status=307, headers="Location: https://a:SENTINEL@elsewhere/?SENTINEL\r\n"),
    "not HTTP": b"SENTINEL\r\n\r\n",
    "bad header": b"HTTP/1.1 200 OK\r\nSENTINEL\x00: x\r\n\r\n",
    "too large": http(ANSWER + " " * 5000),
}
ALL_SECRETS: dict[str, dict[str, str]] = {
    "assume_role": {"role_arn": ROLE, "role_session_name": "me", "token_code": "314159"},
    "assume_role_with_saml": {"role_arn": ROLE, "principal_arn": ROLE, "saml_assertion": "SENTINEL-saml"},
    "assume_role_with_web_identity": {
        "role_arn": ROLE,
        "role_session_name": "me",
        "web_identity_token": "SENTINEL-jwt",
    },
    "decode_authorization_message": {"encoded_message": "SENTINEL-encoded"},
    "get_delegated_access_token": {"trade_in_token": "SENTINEL-trade"},
    "get_session_token": {"serial_number": "123456789", "token_code": "314159"},
}


async def failure(sts: STSClient, name: str = "assume_role", **changes: str) -> STSError:
    with pytest.raises(STSError) as caught:
        await getattr(sts, name)(**{**ALL_SECRETS[name], **changes})
    return caught.value


def assert_nothing_is_shown(error: BaseException) -> None:
    text = shown(error)
    assert PACKAGE.rpartition("/")[2] in text  # there are frames to look at
    assert "SENTINEL" not in text
    assert "314159" not in text


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("name", ALL_SECRETS)
async def test_an_answer_that_fails_shows_no_secret(raw_server: Start, kind: str, name: str) -> None:
    """T15, T16: at each point where an answer can fail, for each operation that carries a secret."""
    server = await raw_server(ANSWERS[kind].replace(b"AssumeRole", name.title().replace("_", "").encode()))
    config = Config(max_response_bytes=4096)

    async with STSClient(region="eu-west-1", endpoint_url=server.url, credentials=KEYS, config=config) as sts:
        error = await failure(sts, name)

    assert_nothing_is_shown(error)


@pytest.mark.parametrize("name", ALL_SECRETS)
async def test_a_connection_that_fails_shows_no_secret(raw_server: Start, name: str) -> None:
    """T16: refused, cut off in the middle of an answer, and too slow."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(ANSWER, length=5000))

    for handler in (cut, stall):
        server = await raw_server(handler=handler)
        options = {"region": "eu-west-1", "endpoint_url": server.url, "credentials": KEYS, "retries": NoRetries()}
        async with STSClient(**options, config=Config(attempt_timeout=0.2)) as sts:  # type: ignore[arg-type]
            assert_nothing_is_shown(await failure(sts, name))
    await server.stop()
    async with STSClient(region="eu-west-1", endpoint_url=server.url, credentials=KEYS, retries=NoRetries()) as sts:
        assert_nothing_is_shown(await failure(sts, name))


@pytest.mark.parametrize("name", ALL_SECRETS)
async def test_a_cancelled_call_shows_no_secret(raw_server: Start, name: str) -> None:
    """T16: the traceback of a cancelled task goes through aiohttp's frames, which hold the request."""
    server = await raw_server(handler=stall)
    async with STSClient(region="eu-west-1", endpoint_url=server.url, credentials=KEYS) as sts:
        call = asyncio.create_task(getattr(sts, name)(**ALL_SECRETS[name]))
        await until(lambda: server.connections)
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await call

    assert_nothing_is_shown(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"session_token": "SENTINEL\r\nX-Evil: 1"},
        {"session_token": "SENTINEL-é"},
        {"secret_access_key": "SENTINEL-\udc80"},
        {"access_key_id": ""},
        {"secret_access_key": ""},
    ],
    ids=str,
)
async def test_credentials_that_cannot_sign_show_no_secret(keys: dict[str, str]) -> None:
    """T5, T16."""
    given = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "SENTINEL-secret", **keys}
    credentials = Credentials(**given)  # type: ignore[arg-type]
    async with STSClient(region="eu-west-1", endpoint_url="http://127.0.0.1:9/", credentials=credentials) as sts:
        error = await failure(sts)

    assert_nothing_is_shown(error)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("assume_role", {"token_code": "SENTINEL"}),
        ("assume_role_with_saml", {"saml_assertion": "SENTINEL" * 20_000}),
        ("assume_role_with_saml", {"saml_assertion": "SENTINEL\udc80"}),
        ("assume_role_with_web_identity", {"web_identity_token": "SENTINEL" * 4000}),
        ("decode_authorization_message", {"encoded_message": "SENTINEL" * 2000}),
    ],
)
@pytest.mark.parametrize("validate", [True, False])
async def test_a_request_that_is_refused_shows_no_secret(name: str, changes: dict[str, str], *, validate: bool) -> None:
    """T15, T16: also when only the encoding refuses it."""
    config = Config(validate_parameters=validate)
    options = {"region": "eu-west-1", "endpoint_url": "http://127.0.0.1:9/", "retries": NoRetries()}
    async with STSClient(**options, credentials=KEYS, config=config) as sts:  # type: ignore[arg-type]
        error = await failure(sts, name, **changes)

    assert_nothing_is_shown(error)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_MAX_ATTEMPTS", "x"),
        ("AWS_USE_FIPS_ENDPOINT", "x"),
        ("AWS_STS_REGIONAL_ENDPOINTS", "x"),
        ("AWS_REGION", "x y"),
        ("AWS_ENDPOINT_URL", "ftp://h"),
    ],
)
async def test_a_variable_that_is_refused_does_not_show_the_others(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """T16: the environment has keys in it."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SENTINEL")
    monkeypatch.setenv(variable, value)

    with pytest.raises(STSError) as caught:
        await STSClient().get_caller_identity()

    assert_nothing_is_shown(caught.value)


async def test_half_set_variables_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """T16, T47."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SENTINEL")
    async with STSClient(region="eu-west-1", endpoint_url="http://127.0.0.1:9/") as sts:
        assert_nothing_is_shown(await failure(sts))


@pytest.mark.parametrize("policy", [{"a": object()}, {"a": {1, 2}}], ids=["object", "set"])
async def test_a_policy_that_json_cannot_express_is_named_and_shows_nothing(policy: object) -> None:
    """T16: the error must not come from where the token is made a member."""
    async with STSClient(region="eu-west-1", endpoint_url="http://127.0.0.1:9/", credentials=KEYS) as sts:
        error = await failure(sts, "assume_role_with_web_identity", policy=policy)  # type: ignore[arg-type]

    assert "policy must be JSON text or a mapping" in str(error)
    assert_nothing_is_shown(error)


def test_a_secret_given_as_bytes_is_hidden_too() -> None:
    """T14: by mistake, but the mistake must not be printed."""
    wrong: Any = b"SENTINEL"
    request = GetDelegatedAccessTokenRequest(trade_in_token=wrong)

    assert "SENTINEL" not in f"{request} {request!r} {[request]}"
    with pytest.raises(ConfigurationError, match="must be text, not a bytes") as caught:
        Credentials(access_key_id="AKIA", secret_access_key=wrong)
    assert "SENTINEL" not in repr(caught.value)


async def test_what_holds_secrets_does_not_pickle() -> None:
    """T18: it says what does."""
    sts = STSClient(region="eu-west-1", credentials=KEYS)
    await sts._life.ready()
    signer = Signer(KEYS, method="GET", url="https://h/", headers={}, service="sts", region="eu-west-1")

    for thing in (sts, sts._life.engine, sts._life.transport, signer, StaticProvider(KEYS), DefaultChain()):
        with pytest.raises(TypeError, match=f"a {type(thing).__name__} cannot be pickled: pass its Credentials"):
            pickle.dumps(thing)
