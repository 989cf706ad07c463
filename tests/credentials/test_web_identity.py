"""Roles for web identity tokens: a token file that other programs replace, and a server that reads the token."""

import asyncio
import base64
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import soon
from support import ROLE, Answering, form_of, request_of, shown_as

from sts_async import errors
from sts_async._engine.loop import Engine
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async.credentials._sts_providers import NoSigner
from sts_async.credentials.web_identity import MAX_BYTES, WebIdentityProvider, _is_incomplete
from sts_async.shapes import PolicyDescriptorType
from sts_async.testing import LocalSTS, Refuse, Unavailable

Lend = Callable[..., Engine]


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def jwt(*, expires_at: float, subject: str = "system:serviceaccount:SENTINEL:app") -> str:
    """Return a token with the claims that AWS requires."""
    claims = {"iss": "https://idp.test", "sub": subject, "aud": "sts.amazonaws.com", "exp": expires_at}
    return f"{part({'alg': 'RS256'})}.{part(claims)}.SENTINEL"


def put(path: Path, text: str | None) -> None:
    """Write *text* to the file, or remove the file."""
    if text is None:
        path.unlink()
    else:
        path.write_text(text)


@pytest.fixture
async def server(clocks: Any) -> AsyncIterator[LocalSTS]:
    async with LocalSTS(clock=lambda: clocks.wall) as server:
        yield server


@pytest.fixture
def context(server: LocalSTS, lend: Lend) -> Engine:
    return lend(f"{server.url}/", credentials=NoSigner())


@pytest.fixture
def token_file(tmp_path: Path, clocks: Any) -> Path:
    """A file with a token that is valid for a day."""
    path = tmp_path / "token"
    path.write_text(jwt(expires_at=clocks.wall + 86_400))
    return path


class Acting:
    """A transport that calls a function after each request, as if another program acted at that moment."""

    def __init__(self, inner: Any, *acts: Callable[[], Any]) -> None:
        self._inner = inner
        self._acts = [*acts]

    async def send(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = await self._inner.send(request)
        if self._acts:
            self._acts.pop(0)()
        return response


# -- the call -----------------------------------------------------------------------------------------------------


async def test_a_role_for_the_token_in_a_file(server: LocalSTS, context: Engine, token_file: Path) -> None:
    """The request is not signed, and the client's own source, which would raise, is not asked."""
    provider = WebIdentityProvider(role_arn=ROLE, token_file=token_file, role_session_name="me")

    credentials = [await provider.provide_credentials(context) for _ in range(3)]

    holder = server.principal(credentials[0])
    assert holder is not None
    assert holder.arn == "arn:aws:sts::123456789012:assumed-role/demo/me"
    assert [(served.operation, served.principal) for served in server.requests] == [("AssumeRoleWithWebIdentity", None)]


async def test_a_client_accepts_a_web_identity_as_its_credentials(tmp_path: Path) -> None:
    async with LocalSTS() as server:
        path = tmp_path / "token"
        path.write_text(jwt(expires_at=1e10))
        provider = WebIdentityProvider(role_arn=ROLE, token_file=str(path), role_session_name="me")
        async with server.client(credentials=provider) as sts:
            identity = await sts.get_caller_identity()

    assert identity.arn == "arn:aws:sts::123456789012:assumed-role/demo/me"


async def test_a_function_provides_the_token(server: LocalSTS, context: Engine, clocks: Any) -> None:
    """It is called for each fetch, and the token is not kept."""
    asked = []

    async def token() -> str:
        asked.append(clocks.wall)
        return jwt(expires_at=clocks.wall + 60)

    provider = WebIdentityProvider(role_arn=ROLE, token=token)
    await provider.provide_credentials(context)
    clocks.advance(3600 - 30)
    await provider.provide_credentials(context)

    assert len(asked) == len(server.requests) == 2


async def test_an_opaque_token_needs_no_dots(server: LocalSTS, context: Engine, token_file: Path) -> None:
    """OAuth 2.0 providers issue tokens of any form."""
    put(token_file, "SENTINEL-opaque")
    provider = WebIdentityProvider(role_arn=ROLE, token_file=token_file, provider_id="www.amazon.com")

    await provider.provide_credentials(context)

    assert [served.code for served in server.requests] == [None]


@pytest.mark.parametrize("token", ["SENTINEL-opaque", "SENTINEL.part", "a.b.SENTINEL.d.e", "Atza|SENTINEL", "FyJ.SENT"])
async def test_a_token_of_another_form_is_sent_unchanged(lend: Lend, token_file: Path, token: str) -> None:
    """C15: only a JSON web token shows that it is incomplete."""
    answering = Answering()
    put(token_file, f"{token}\n")
    await WebIdentityProvider(role_arn=ROLE, token_file=token_file).provide_credentials(lend(transport=answering))

    assert form_of(answering.sent[0])["WebIdentityToken"] == token


async def test_a_byte_order_mark_is_not_part_of_a_token(lend: Lend, token_file: Path) -> None:
    """C9: Windows editors write one, also in config files."""
    answering = Answering()
    put(token_file, "\ufeffSENTINEL-opaque\r\n")
    await WebIdentityProvider(role_arn=ROLE, token_file=token_file).provide_credentials(lend(transport=answering))

    assert form_of(answering.sent[0])["WebIdentityToken"] == "SENTINEL-opaque"


@given(st.data())
def test_an_incomplete_json_web_token_is_recognized(data: st.DataObject) -> None:
    """C15, F35: up to the second dot, a half-written file is not taken for an opaque token."""
    whole = jwt(expires_at=1e10)
    length = data.draw(st.integers(1, len(whole)))

    assert _is_incomplete(whole[:length]) == (length <= whole.rindex(".") + 1)


async def test_ten_thousand_callers_cause_one_read_and_one_call(
    server: LocalSTS, context: Engine, token_file: Path
) -> None:
    """F45."""
    provider = WebIdentityProvider(role_arn=ROLE, token_file=token_file)

    await asyncio.gather(*(provider.provide_credentials(context) for _ in range(10_000)))

    assert len(server.requests) == 1


# -- the file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("eyJ.SENTINEL-half", "holds an incomplete JSON web token"),
    ],
    ids=repr,
)
async def test_a_file_that_stays_incomplete_is_read_four_times_and_named(
    text: str | None, message: str, server: LocalSTS, context: Engine, token_file: Path, clocks: Any
) -> None:
    """F35: 50 ms apart. The error shows the path and no part of the contents."""
    put(token_file, text)

    with pytest.raises(errors.CredentialsError, match=re.escape(f"'{token_file}' {message}")) as caught:
        await WebIdentityProvider(role_arn=ROLE, token_file=token_file).provide_credentials(context)

    assert type(caught.value) is errors.CredentialsError
    assert clocks.slept == [0.05, 0.05, 0.05]
    assert not server.requests


@pytest.mark.parametrize("text", [None, "", "eyJ.SENTINEL-half"], ids=repr)
async def test_a_file_that_is_being_replaced_is_read_again(
    text: str | None, server: LocalSTS, lend: Lend, token_file: Path, clocks: Any
) -> None:
    """F35: it is missing, empty or half written for a moment."""
    whole = jwt(expires_at=clocks.wall + 600)
    put(token_file, text)

    async def sleep(seconds: float) -> None:
        clocks.slept.append(seconds)
        if len(clocks.slept) == 3:
            put(token_file, f"{whole}\n")

    await WebIdentityProvider(role_arn=ROLE, token_file=token_file).fetch(lend(f"{server.url}/", sleep=sleep))

    assert [served.code for served in server.requests] == [None]


async def test_a_file_that_is_missing_later_leaves_the_cached_credentials_in_use(
    server: LocalSTS, context: Engine, token_file: Path, clocks: Any
) -> None:
    """F35: only the first fetch fails."""
    provider = WebIdentityProvider(role_arn=ROLE, token_file=token_file)
    first = await provider.provide_credentials(context)
    put(token_file, None)
    clocks.advance(3600 - 30)

    assert await provider.provide_credentials(context) is first
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["large", "directory", "fifo", "below a file"])
async def test_an_unsuitable_token_file_is_refused_at_once(
    kind: str, context: Engine, tmp_path: Path, clocks: Any
) -> None:
    """F35: a file of a megabyte, a directory, or a FIFO without a writer."""
    path = tmp_path / kind
    match kind:
        case "large":
            path.write_text("SENTINEL." * (MAX_BYTES // 8))
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case _:
            path = path / "below" / "a" / "file"
            (tmp_path / kind).write_text("")

    with pytest.raises(errors.CredentialsError, match=re.escape(f"no web identity token: '{path}': ")):
        await soon(WebIdentityProvider(role_arn=ROLE, token_file=path).provide_credentials(context))

    assert clocks.slept == []


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "\u2028", "\udfff"], ids=ascii)
async def test_the_path_is_shown_on_one_line(context: Engine, tmp_path: Path, name: str) -> None:
    """T45, T38: the path may come from the environment."""
    with pytest.raises(errors.CredentialsError, match="no web identity token: '") as caught:
        await WebIdentityProvider(role_arn=ROLE, token_file=tmp_path / name).provide_credentials(context)

    assert str(caught.value).isprintable()


async def test_a_token_that_is_too_long_is_not_sent(server: LocalSTS, context: Engine, token_file: Path) -> None:
    put(token_file, "SENTINEL.x." + "y" * 20_000)

    with pytest.raises(errors.ParamValidationError, match="web_identity_token must have a length of 4 to 20000"):
        await WebIdentityProvider(role_arn=ROLE, token_file=token_file).provide_credentials(context)

    assert not server.requests


async def test_every_fetch_reads_a_whole_token_while_kubernetes_replaces_the_directory(
    server: LocalSTS, lend: Lend, tmp_path: Path, clocks: Any
) -> None:
    """F35: ``token -> ..data/token``, and ``..data`` is replaced again and again."""
    for name in ("..one", "..two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(jwt(expires_at=clocks.wall + 600, subject=name))
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "token").symlink_to("..data/token")
    stop = threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            for name in ("..two", "..one"):
                (tmp_path / "..new").symlink_to(name)
                (tmp_path / "..new").rename(tmp_path / "..data")

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        provider = WebIdentityProvider(role_arn=ROLE, token_file=tmp_path / "token")
        for _ in range(30):
            await provider.fetch(lend(f"{server.url}/"))
    finally:
        stop.set()
        thread.join()

    assert {served.code for served in server.requests} == {None}


async def test_the_file_is_read_in_a_thread(context: Engine, token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that hangs must not block the event loop."""
    seen: set[int] = set()
    opened = os.open

    def watched(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path) == str(token_file):
            seen.add(threading.get_ident())
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", watched)
    await WebIdentityProvider(role_arn=ROLE, token_file=token_file).fetch(context)

    assert len(seen) == 1
    assert threading.get_ident() not in seen


# -- a token that is refused --------------------------------------------------------------------------------------


async def test_a_refused_token_is_read_again_and_a_new_one_sent(
    server: LocalSTS, lend: Lend, token_file: Path, clocks: Any
) -> None:
    """F17: the file was replaced between reading and sending."""
    put(token_file, jwt(expires_at=clocks.wall - 1))
    context = lend(f"{server.url}/")
    context.shared.transport = Acting(
        context.shared.transport, lambda: token_file.write_text(jwt(expires_at=clocks.wall + 600))
    )

    await WebIdentityProvider(role_arn=ROLE, token_file=token_file).provide_credentials(context)

    assert [served.code for served in server.requests] == ["ExpiredTokenException", None]


@pytest.mark.parametrize("code", ["ExpiredTokenException", "InvalidIdentityToken"])
async def test_a_refused_token_that_is_not_replaced_is_an_error_with_advice(
    code: str, server: LocalSTS, context: Engine, token_file: Path
) -> None:
    """F17."""
    server.faults.add(Refuse(code, times=9))

    with pytest.raises(errors.ServiceError) as caught:
        await WebIdentityProvider(role_arn=ROLE, token_file=token_file).provide_credentials(context)

    assert caught.value.code == code
    assert caught.value.__notes__ == [
        f"'{token_file}' still holds the token that was refused: the program that writes it must renew the token"
    ]
    assert len(server.requests) == 1


async def test_a_second_refused_token_is_final(server: LocalSTS, lend: Lend, token_file: Path, clocks: Any) -> None:
    """F17: there is one more attempt, even if the file changes again."""
    server.faults.add(Refuse("InvalidIdentityToken", times=9))
    context = lend(f"{server.url}/")
    acts = [lambda number=number: token_file.write_text(jwt(expires_at=clocks.wall + number)) for number in range(1, 9)]
    context.shared.transport = Acting(context.shared.transport, *acts)

    with pytest.raises(errors.InvalidIdentityTokenException):
        await WebIdentityProvider(role_arn=ROLE, token_file=token_file).provide_credentials(context)

    assert len(server.requests) == 2


async def test_no_advice_if_the_token_is_not_the_cause(server: LocalSTS, context: Engine, token_file: Path) -> None:
    """F17: STS could not fetch the key of the identity provider that verifies tokens."""
    server.faults.add(Refuse("InvalidIdentityToken", message="Couldn't retrieve verification key from your provider"))

    with pytest.raises(errors.InvalidIdentityTokenException) as caught:
        await WebIdentityProvider(role_arn=ROLE, token_file=token_file).provide_credentials(context)

    assert caught.value.retryable
    assert not hasattr(caught.value, "__notes__")


async def test_a_function_is_not_called_again_for_a_refused_token(
    server: LocalSTS, context: Engine, clocks: Any
) -> None:
    """It may ask a person, and its token is new already."""
    asked = []

    async def token() -> str:
        asked.append(clocks.wall)
        return jwt(expires_at=clocks.wall - 1)

    with pytest.raises(errors.ExpiredTokenException):
        await WebIdentityProvider(role_arn=ROLE, token=token).provide_credentials(context)

    assert len(asked) == len(server.requests) == 1


# -- made wrong ---------------------------------------------------------------------------------------------------


async def token() -> str:
    return "SENTINEL.x.y"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either token_file or token"),
        ({"token_file": "x", "token": token}, "either token_file or token"),
        ({"token_file": ""}, "path of a file"),
        ({"token_file": "a\0b"}, "path of a file"),
        ({"token_file": b"x"}, "path of a file"),
        ({"token_file": 3}, "path of a file"),
        ({"token": "SENTINEL.x.y"}, "must be a coroutine function, not a str"),
    ],
    ids=lambda value: shown_as(value).replace("SENTINEL", ""),
)
def test_either_a_file_or_a_function_is_required(options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=message):
        WebIdentityProvider(role_arn=ROLE, **options)


# -- the environment ----------------------------------------------------------------------------------------------


def environment(token_file: object, **more: str) -> dict[str, str]:
    return {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token_file), "AWS_ROLE_ARN": ROLE, **more}


async def test_role_file_and_session_name_come_from_the_environment(
    server: LocalSTS, context: Engine, token_file: Path
) -> None:
    environ = environment(token_file, AWS_ROLE_SESSION_NAME="me")
    provider = WebIdentityProvider.from_environment(environ)

    credentials = await provider.provide_credentials(context)

    holder = server.principal(credentials)
    assert holder is not None
    assert holder.arn == "arn:aws:sts::123456789012:assumed-role/demo/me"
    assert await provider.provide_credentials(context) is credentials


async def test_the_default_environment_is_that_of_the_process(
    server: LocalSTS, context: Engine, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read for each fetch, so it may be set after the provider was made."""
    provider = WebIdentityProvider.from_environment()
    with pytest.raises(errors.CredentialsNotFound):
        await provider.provide_credentials(context)
    for name, value in environment(token_file).items():
        monkeypatch.setenv(name, value)

    holders = []
    for _ in range(2):
        holders.append(server.principal(await provider.fetch(context)))  # noqa: PERF401 - one after the other

    names = [holder.arn.rpartition("/")[2] for holder in holders if holder]
    assert re.fullmatch("sts-async-[0-9a-f]{16}", names[0])
    assert names[0] == names[1]


@pytest.mark.parametrize("path", [None, "", "  "], ids=repr)
async def test_without_a_token_file_the_source_is_not_configured(path: str | None, context: Engine) -> None:
    """A chain continues: a role alone does not mean a web identity."""
    environ = environment(path)
    if path is None:
        del environ["AWS_WEB_IDENTITY_TOKEN_FILE"]

    with pytest.raises(errors.CredentialsNotFound, match=r"^AWS_WEB_IDENTITY_TOKEN_FILE is not set$"):
        await WebIdentityProvider.from_environment(environ).provide_credentials(context)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"AWS_ROLE_ARN": " "}, "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not"),
        ({"AWS_ROLE_ARN": "short"}, "AWS_ROLE_ARN or AWS_ROLE_SESSION_NAME cannot be used: .*role_arn must"),
        ({"AWS_ROLE_SESSION_NAME": "a b"}, "cannot be used: .*role_session_name must"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent/token"}, "'/nonexistent/token' does not exist"),
    ],
    ids=str,
)
async def test_an_incomplete_environment_is_a_failure(
    changed: dict[str, str], message: str, context: Engine, token_file: Path
) -> None:
    """A chain stops: otherwise it would silently use another identity, such as that of the node."""
    environ = {**environment(token_file), **changed}

    with pytest.raises(errors.CredentialsError, match=message) as caught:
        await WebIdentityProvider.from_environment(environ).provide_credentials(context)

    assert type(caught.value) is errors.CredentialsError


async def test_cached_credentials_are_served_during_an_outage(
    server: LocalSTS, context: Engine, token_file: Path, clocks: Any
) -> None:
    provider = WebIdentityProvider.from_environment(environment(token_file))
    first = await provider.provide_credentials(context)
    server.faults.add(Unavailable(times=9))
    clocks.advance(7200)

    assert await provider.provide_credentials(context) is first


def test_the_repr_names_the_role() -> None:
    provider = WebIdentityProvider.from_environment({})

    assert repr(provider) == "WebIdentityProvider.from_environment()"
    assert provider.name == "web identity of the environment"  # type: ignore[attr-defined]


# -- every member on the wire -------------------------------------------------------------------------------------


@given(
    name=st.text("abcXYZ09_+=,.@-", min_size=2, max_size=20),
    provider_id=st.none() | st.text("ab.", min_size=4, max_size=9),
    policy=st.none() | st.text("{}ab", min_size=1, max_size=9),
    arns=st.lists(st.builds("arn:aws:iam::aws:policy/{:05d}".format, st.integers(0, 99_999)), max_size=3),
    seconds=st.none() | st.integers(900, 43_200),
    size=st.none() | st.integers(0, 4096),
    text=st.text("ab.-", min_size=4, max_size=9),
)
async def test_every_member_reaches_the_wire(
    name: str,
    provider_id: str | None,
    policy: str | None,
    arns: list[str],
    seconds: int | None,
    size: int | None,
    text: str,
) -> None:
    """T42."""

    async def given_token() -> str:
        return text

    provider = WebIdentityProvider(
        role_arn=ROLE,
        token=given_token,
        role_session_name=name,
        provider_id=provider_id,
        policy=policy,
        policy_arns=[PolicyDescriptorType(arn=arn) for arn in arns],
        duration_seconds=seconds,
        minimum_session_token_size=size,
    )
    request = await request_of(provider)

    expected: dict[str, Any] = {
        "RoleArn": ROLE,
        "RoleSessionName": name,
        "WebIdentityToken": text,
        "ProviderId": provider_id,
        "Policy": policy,
        "DurationSeconds": seconds,
        "MinimumSessionTokenSize": size,
        **{f"PolicyArns.member.{number}.arn": arn for number, arn in enumerate(arns, 1)},
    }
    assert form_of(request) == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        **{key: str(value) for key, value in expected.items() if value is not None},
    }
    assert "authorization" not in request.headers
