"""Requests that cannot be read: the stand-ins answer 400, and neither log nor repeat a byte of them."""

import asyncio
import contextlib
import logging
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sts_async.testing import LocalContainer, LocalIMDS, LocalSignIn, LocalSSO, LocalSTS
from sts_async.testing.base import LocalServer

KINDS = [LocalSTS, LocalContainer, LocalIMDS, LocalSSO, LocalSignIn]
SENTINEL = b"SENTINEL-71aa"
HOST = b"Host: h\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"

UNREADABLE = {
    "no HTTP": SENTINEL + b"\r\n\r\n",
    "a bad request line": b"GET /" + SENTINEL + b" HTTQ/9.9\r\n" + HOST + b"\r\n",
    "a request line of two words": b"GET /" + SENTINEL + b"\r\n" + HOST + b"\r\n",
    "a target with a control character": b"GET /\x01" + SENTINEL + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target that is no URL": b"GET http://[" + SENTINEL + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a bad method": b"G(T" + SENTINEL + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a lower-case method": b"get" + SENTINEL + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SENTINEL,
    "a header without a colon": b"GET / HTTP/1.1\r\n" + HOST + SENTINEL + b"\r\n\r\n",
    "a header with a bad name": b"GET / HTTP/1.1\r\n" + HOST + SENTINEL + b" x: 1\r\n\r\n",
    "a header with a NUL": b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: " + SENTINEL + b"\0\r\n\r\n",
    "a header with a bare return": b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: a\r" + SENTINEL + b"\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\n" + HOST + b"X-A: " + SENTINEL * 2000 + b"\r\n\r\n",
    "a long request line": b"GET /" + SENTINEL * 2000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "too many headers": b"GET / HTTP/1.1\r\n"
    + HOST
    + b"".join(b"X-%d: %b\r\n" % (n, SENTINEL) for n in range(40_000))
    + b"\r\n",
    "a bad length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + SENTINEL + b"\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2" + b"\r\n\r\n" + SENTINEL,
    "length and chunks": CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n" + SENTINEL,
    "a bad chunk size": CHUNKED + SENTINEL + b"\r\n\r\n",
    "a second chunk with a bad size": CHUNKED + b"1\r\na\r\n" + SENTINEL + b"\r\n\r\n",
    "a chunk without its end": CHUNKED + b"1\r\n" + SENTINEL + b"\r\n0\r\n\r\n",
    "a bad trailer": CHUNKED + b"0\r\n" + SENTINEL + b"\r\n\r\n",
    "the greeting of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SENTINEL + b"\r\n\r\n",
}
READABLE = {
    "an absurd method": (b"XSENTINEL", b"/", b""),
    "a path": (b"GET", b"/SENTINEL/%zz", b""),
    "an absolute URL": (b"GET", b"http://SENTINEL@h/SENTINEL?SENTINEL", b""),
    "an asterisk": (b"OPTIONS", b"*", b""),
    "a tunnel": (b"CONNECT", b"SENTINEL:443", b""),
    "a query": (b"POST", b"/?Action=%FFSENTINEL", b""),
    "a query of one word": (b"POST", b"/?SENTINEL", b""),
    "an unknown operation": (b"POST", b"/?Action=SENTINEL-71aa+x&Version=SENTINEL", b""),
    "a body of bytes": (b"POST", b"/", b"\xff\xfeSENTINEL"),
    "a body of XML": (b"POST", b"/", b"<SENTINEL/>"),
    "a parameter twice": (b"POST", b"/", b"SENTINEL=1&SENTINEL=2"),
    "a value and a structure": (b"POST", b"/", b"SENTINEL=1&SENTINEL.a=2"),
    "many parts": (b"POST", b"/", b"SENTINEL." * 20_000 + b"=1"),
    "a list without numbers": (
        b"POST",
        b"/",
        b"Action=GetWebIdentityToken&Version=2011-06-15&Audience.member.SENTINEL=1&SigningAlgorithm.x=SENTINEL",
    ),
    "bad JSON for OIDC": (b"POST", b"/token", b'{"clientId": "SENTINEL'),
    "JSON that is no object, for OIDC": (b"POST", b"/token", b'["SENTINEL"]'),
    "deep JSON": (b"POST", b"/token", b"[" * 100_000 + b'"SENTINEL"'),
    "JSON of other types": (b"POST", b"/token", b'{"clientId": ["SENTINEL"], "grantType": {"SENTINEL": 1}}'),
    "a large number": (b"POST", b"/token", b'{"clientId": ' + b"9" * 5000 + b"}"),
    "for sign-in": (b"POST", b"/v1/token", b'{"tokenInput": "SENTINEL"}'),
    "a lifetime": (b"PUT", b"/latest/api/token", b"SENTINEL"),
    "a role": (b"GET", b"/latest/meta-data/iam/security-credentials/SENTINEL", b""),
    "a portal": (b"GET", b"/federation/credentials?role_name=SENTINEL&account_id=SENTINEL", b""),
    "credentials": (b"GET", b"/credentials?SENTINEL", b""),
}


async def exchanged(server: LocalServer[Any], sent: bytes, *, others: int | None = None) -> bytes:
    """Return what the server answers until it closes the connection, or until it has answered some *others*."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    answer = bytearray()

    async def collect() -> None:
        with contextlib.suppress(ConnectionError):  # it had said all before it had read all
            while part := await reader.read(65_536):
                answer.extend(part)

    collecting = asyncio.create_task(collect())
    writer.write(sent)
    if others is None:
        await collecting
    for _ in range(others or 0):
        await exchanged(server, b"GET /healthy HTTP/1.0\r\n\r\n")
    collecting.cancel()
    writer.close()
    return bytes(answer)


@pytest.fixture
def debug(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_that_cannot_be_read_is_neither_logged_nor_repeated(
    kind: type[LocalServer[Any]], sent: bytes, debug: pytest.LogCaptureFixture
) -> None:
    """G15."""
    async with kind() as server:
        answer = await exchanged(server, sent)
        after = await exchanged(server, b"GET /healthy HTTP/1.0\r\n\r\n")

    assert re.match(rb"HTTP/[01]\.[019] 4", answer)
    assert b"SENTINEL" not in answer
    assert "SENTINEL" not in debug.text
    assert not [record for record in debug.records if record.levelno > logging.DEBUG]
    assert after.startswith(b"HTTP/1.")


async def test_the_answer_says_its_status_and_ends_the_connection() -> None:
    """G15."""
    async with LocalSTS() as server:
        head, _, body = (await exchanged(server, SENTINEL + b"\r\n\r\n")).partition(b"\r\n\r\n")

    assert body == b"400 Bad Request\n"
    assert head.startswith(b"HTTP/1.0 400 Bad Request\r\n")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", [None, b"/token", b"/v1/token", b"/"])
async def test_a_request_that_does_not_parse_is_refused_without_a_word_of_it(
    kind: type[LocalServer[Any]], path: bytes | None, debug: pytest.LogCaptureFixture
) -> None:
    """G15: no traceback, no 500, and nothing of it in the answer, the log or the records."""
    async with kind() as server:
        for name, (method, its_own, body) in READABLE.items():
            target = its_own if path is None else path
            answer = await exchanged(
                server,
                b"%b %b HTTP/1.1\r\n%bConnection: close\r\nContent-Length: %d\r\n\r\n%b"
                % (method, target, HOST, len(body), body),
            )

            assert b"SENTINEL" not in answer, name
            assert re.match(rb"HTTP/1\.[01] [24]", answer), name
            assert "SENTINEL" not in debug.text, name
            if b"SENTINEL" not in method + target.partition(b"?")[0]:
                assert "SENTINEL" not in repr(list(server.requests)[-1:]), name


@given(sent=st.binary(max_size=300), begins=st.sampled_from([b"", b"GET / HTTP/1.1\r\n", CHUNKED, CHUNKED + b"5\r\n"]))
@settings(max_examples=40)
def test_bytes_of_any_kind_are_answered_without_a_record_above_debug(sent: bytes, begins: bytes) -> None:
    """G15."""
    seen: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = seen.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)

    async def run() -> bytes:
        async with LocalSTS() as server:
            return await exchanged(server, begins + sent, others=2)

    try:
        answer = asyncio.run(run())
    finally:
        logging.getLogger().removeHandler(handler)

    assert not answer or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403", b"HTTP/1.1 200", b"HTTP/1.0 400"))
    assert [record for record in seen if record.levelno > logging.DEBUG] == []


async def test_an_error_of_the_programs_own_is_logged_and_not_repeated(debug: pytest.LogCaptureFixture) -> None:
    """The author of a function for credentials must see its error."""

    def fails() -> Any:
        raise RuntimeError("no credentials today")

    asyncio.get_running_loop().set_debug(True)
    try:
        async with LocalContainer(credentials=fails) as server:
            answer = await exchanged(server, b"GET /credentials HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
    finally:
        asyncio.get_running_loop().set_debug(False)

    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"500 Internal Server Error\n")
    assert "RuntimeError: no credentials today" in debug.text
