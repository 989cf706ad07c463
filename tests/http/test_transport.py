"""The wire, over real sockets: what is sent, what is refused, and what each fault of the network is called."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
import trustme
from patience import until
from support import ANSWER, RawServer, http

from sts_async import errors
from sts_async._http.errors import failure_of
from sts_async._http.transport import AiohttpTransport
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._shape.secret import Secret, SecretBytes

Start = Callable[..., Awaitable[RawServer]]


def post(url: str, body: bytes = b"a=1") -> HttpRequest:
    return HttpRequest("POST", url, {"x-token": Secret("SENTINEL-token")}, SecretBytes(body))


async def send(url: str, **options: float) -> HttpResponse:
    transport = AiohttpTransport(**options)  # type: ignore[arg-type]
    try:
        return await transport.send(post(url))
    finally:
        await transport.aclose()


async def test_status_headers_and_body_arrive_as_they_were_sent(raw_server: Start) -> None:
    server = await raw_server(http("<a>\xe9</a>", status=418, headers="X-Amzn-RequestId: r\r\n"))

    response = await send(server.url)

    assert (response.status, response.headers["x-amzn-requestid"], response.body) == (418, "r", "<a>\xe9</a>".encode())
    assert server.requests[0].startswith(b"POST / HTTP/1.1\r\n")
    assert server.requests[0].endswith(b"\r\n\r\na=1")


async def test_the_url_goes_out_as_it_was_signed(raw_server: Start) -> None:
    """Yarl would turn %2F, %7E and %2a into the characters they stand for, and the signature would not match."""
    server = await raw_server(http("x"))

    await send(f"{server.url}?a=%2F%7E%2a%20b")

    assert server.requests[0].startswith(b"POST /?a=%2F%7E%2a%20b HTTP/1.1\r\n")


async def test_a_connection_is_used_again(raw_server: Start) -> None:
    server = await raw_server(http("x"))
    transport = AiohttpTransport()

    for _ in range(5):
        await transport.send(post(server.url))
    await transport.aclose()

    assert (server.connections, len(server.requests)) == (1, 5)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(raw_server: Start, status: int) -> None:
    """T4: a redirect would take the session token to another host."""
    elsewhere = await raw_server(http("x"))
    server = await raw_server(http("", status=status, headers=f"Location: {elsewhere.url}\r\n"))

    response = await send(server.url)

    assert response.status == status
    assert elsewhere.connections == 0


async def test_cookies_are_not_kept(raw_server: Start) -> None:
    server = await raw_server(http("x", headers="Set-Cookie: a=b\r\n"))
    transport = AiohttpTransport()

    for _ in range(2):
        await transport.send(post(server.url))
    await transport.aclose()

    assert b"cookie" not in server.requests[1].lower()


async def test_netrc_and_proxy_variables_are_not_read(
    raw_server: Start, monkeypatch: pytest.MonkeyPatch, write_file: Callable[[str, str], object]
) -> None:
    """T25, T27: netrc would put Basic authorization in place of ours, a proxy would see loopback traffic."""
    server = await raw_server(http("x"))
    monkeypatch.setenv("NETRC", str(write_file("netrc", "default login a password b\n")))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    await send(server.url)

    assert b"authorization" not in server.requests[0].lower()


async def test_a_compressed_body_is_not_decompressed(raw_server: Start) -> None:
    """T10: 400 KB of gzip can be 400 MB of zeros."""
    server = await raw_server(http(b"\x1f\x8b not gzip", headers="Content-Encoding: gzip\r\n"))

    response = await send(server.url)

    assert response.body == b"\x1f\x8b not gzip"


async def test_an_endless_body_is_cut_off_at_the_cap(raw_server: Start) -> None:
    """T11: the answer may be read up to the cap and one buffer more, and the connection is then dropped."""
    sent = 0

    async def for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            sent += 0x1000
            await writer.drain()

    server = await raw_server(handler=for_ever)

    with pytest.raises(errors.ResponseTooLarge, match="exceeds 65536 bytes"):
        await send(server.url, max_response_bytes=1 << 16)

    assert sent < 1 << 25


async def test_nobody_listening_is_a_connect_error() -> None:
    """F1: nothing was sent, so it can be tried again."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(errors.ConnectError, match=f"no connection to 127.0.0.1:{port}: ECONNREFUSED") as caught:
        await send(f"http://127.0.0.1:{port}/")

    assert caught.value.retryable


async def test_an_unknown_host_is_a_connect_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """F24: the look-up itself is replaced, so that the test asks no name server."""

    def ignorant(*address: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", ignorant)
    with pytest.raises(errors.ConnectError, match=r"no address is known for sts\.invalid"):
        await send("http://sts.invalid/")


def reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize(
    "prefix",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        http("x", length=100),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",
    ],
    ids=["no byte", "half a head", "half a body", "half a chunk"],
)
@pytest.mark.parametrize("how", [reset, lambda writer: writer.close()], ids=["reset", "closed"])
async def test_a_connection_that_ends_early_is_lost(
    raw_server: Start, prefix: bytes, how: Callable[[asyncio.StreamWriter], None]
) -> None:
    """F2, F4: part of an answer is no answer."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\na=1")
        writer.write(prefix)
        await writer.drain()
        how(writer)

    server = await raw_server(handler=cut)

    with pytest.raises(errors.ConnectionLost, match="ended before the whole answer had come") as caught:
        await send(server.url)

    assert caught.value.retryable


@pytest.mark.parametrize("prefix", [b"", b"HTTP/1.1 200 OK\r\n", http("x", length=9)], ids=["silent", "head", "body"])
async def test_an_answer_that_does_not_come_whole_is_a_timeout(raw_server: Start, prefix: bytes) -> None:
    """F21: whatever the server does slowly, an attempt ends."""

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(prefix)
        await asyncio.Event().wait()

    server = await raw_server(handler=stall)

    with pytest.raises(errors.AttemptTimeout) as caught:
        await send(server.url, attempt_timeout=0.05)

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.retryable


async def test_endless_100_continue_is_a_timeout(raw_server: Start) -> None:
    """F22."""

    async def continue_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0)

    server = await raw_server(handler=continue_for_ever)

    with pytest.raises((errors.AttemptTimeout, errors.ResponseParseError)):
        await send(server.url, attempt_timeout=0.1)


async def test_a_server_that_never_finishes_the_handshake_is_a_connect_timeout(raw_server: Start) -> None:
    """F27: a listener that accepts and says nothing."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    server = await raw_server(handler=silent)

    with pytest.raises(errors.ConnectTimeout) as caught:
        await send(server.url.replace("http:", "https:"), connect_timeout=0.05)

    assert isinstance(caught.value, TimeoutError)


async def test_an_answer_that_is_not_http_is_named_so(raw_server: Start) -> None:
    server = await raw_server(b"SSH-2.0-OpenSSH_9.2 SENTINEL\r\n\r\n")

    with pytest.raises(errors.ResponseParseError, match="is not HTTP that can be read"):
        await send(server.url)


async def test_an_unknown_certificate_authority_is_a_tls_error_that_is_not_retried() -> None:
    """F26: another try would meet the same certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]

    with pytest.raises(errors.TLSError, match=r"TLS with 127\.0\.0\.1:\d+ failed: ") as caught:
        await send(f"https://127.0.0.1:{port}/")
    server.close()
    await server.wait_closed()

    assert not caught.value.retryable


async def test_a_server_that_closes_each_connection_works(raw_server: Start) -> None:
    """F63: HTTP/1.0 and `Connection: close`."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\na=1")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + ANSWER.encode())
        await writer.drain()
        writer.close()

    server = await raw_server(handler=once)
    transport = AiohttpTransport()

    bodies = [(await transport.send(post(server.url))).body for _ in range(3)]
    await transport.aclose()

    assert bodies == [ANSWER.encode()] * 3
    assert server.connections == 3


async def test_callers_are_served_in_the_order_they_came(raw_server: Start) -> None:
    """aiohttp's own queue starves callers; the gate in front of it does not."""
    server = await raw_server(http("x"))
    transport = AiohttpTransport(max_connections=1)
    order: list[int] = []

    async def call(number: int) -> None:
        await transport.send(post(server.url, f"n={number}".encode()))
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(call(number))
    await transport.aclose()

    assert order == list(range(20))
    assert [int(request.rpartition(b"=")[2]) for request in server.requests] == order


async def test_a_cancelled_caller_leaves_its_place_to_the_next(raw_server: Start) -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read_request(reader)
            await release.wait()
            writer.write(http("x"))

    server = await raw_server(handler=slow)
    transport = AiohttpTransport(max_connections=1)
    first, second, third = (asyncio.create_task(transport.send(post(server.url))) for _ in range(3))
    while not server.requests:
        await asyncio.sleep(0)

    second.cancel()
    first.cancel()
    release.set()
    response = await third
    await transport.aclose()

    assert response.status == 200
    assert first.cancelled()
    assert second.cancelled()


async def test_a_session_that_was_given_is_used_and_not_closed(raw_server: Start) -> None:
    server = await raw_server(http("x"))
    async with aiohttp.ClientSession(headers={"x-mine": "1"}) as session:
        transport = AiohttpTransport(session=session)

        await transport.send(post(server.url))
        await transport.aclose()

        assert b"x-mine: 1" in server.requests[0]
        assert not session.closed


async def test_a_given_session_that_is_closed_is_named_so(raw_server: Start) -> None:
    server = await raw_server(http("x"))
    session = aiohttp.ClientSession()
    transport = AiohttpTransport(session=session)
    await session.close()

    with pytest.raises(errors.ClientClosedError, match="the aiohttp session is closed"):
        await transport.send(post(server.url))


async def test_a_given_session_that_adds_authorization_is_refused(raw_server: Start) -> None:
    """aiohttp refuses two of them with a ValueError; a header of ours would else be lost."""
    server = await raw_server(http("x"))
    async with aiohttp.ClientSession() as session:
        transport = AiohttpTransport(session=session)
        request = HttpRequest("POST", server.url, {"bad": "SENTINEL\r\nX: 1"})

        with pytest.raises(errors.ConfigurationError, match="refused to send the request: ValueError"):
            await transport.send(request)

    assert server.requests == []


async def test_use_after_close_is_a_typed_error() -> None:
    """F56: closing twice is allowed, sending is not."""
    transport = AiohttpTransport()
    await transport.aclose()
    await transport.aclose()

    with pytest.raises(errors.ClientClosedError):
        await transport.send(post("http://127.0.0.1/"))


def test_a_transport_outlives_its_event_loop() -> None:
    """Every loop gets a session of its own; what belonged to a loop that has ended is let go."""
    transport = AiohttpTransport()
    statuses = []

    async def one_loop(*, last: bool) -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\na=1")
            writer.write(http("x", headers="Connection: close\r\n"))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        statuses.append((await transport.send(post(url))).status)
        if last:
            await transport.aclose()
        server.close()

    asyncio.run(one_loop(last=False))
    asyncio.run(one_loop(last=True))

    assert statuses == [200, 200]


async def test_a_given_session_serves_one_event_loop(raw_server: Start) -> None:
    """F53: in another loop aiohttp would fail in ways that say nothing."""
    server = await raw_server(http("x"))
    async with aiohttp.ClientSession() as session:
        transport = AiohttpTransport(session=session)
        await transport.send(post(server.url))

        def elsewhere() -> None:
            asyncio.run(transport.send(post(server.url)))

        with pytest.raises(errors.ConfigurationError, match="belongs to another event loop"):
            await asyncio.to_thread(elsewhere)


def test_callers_in_a_new_loop_find_one_session_when_others_have_ended() -> None:
    """F53: what is let go is let go once, and nobody's session is made twice."""
    transport = AiohttpTransport()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\na=1")
        writer.write(http("x", headers="Connection: close\r\n"))
        await writer.drain()
        writer.close()

    async def one_loop(*, last: bool = False) -> list[int]:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        answers = await asyncio.gather(*(transport.send(post(url)) for _ in range(5)))
        assert len(transport._parts) == 1
        if last:
            await transport.aclose()
        server.close()
        return [response.status for response in answers]

    for _ in range(3):
        asyncio.run(one_loop())

    assert asyncio.run(one_loop(last=True)) == [200] * 5


async def test_closing_is_bounded(raw_server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """F55: a session that does not end is left behind after the grace."""
    server = await raw_server(http("x"))
    transport = AiohttpTransport()
    await transport.send(post(server.url))
    session = next(iter(transport._parts.values())).session
    close = session.close
    monkeypatch.setattr(session, "close", asyncio.Event().wait)

    await transport.aclose(grace=0.01)
    await close()

    assert session.closed


@pytest.mark.parametrize("given", [True, False], ids=["given session", "own session"])
async def test_closing_ends_what_is_under_way_and_what_waits(raw_server: Start, *, given: bool) -> None:
    """F55: callers get a typed error at once, also when the session is not ours to close."""

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        await asyncio.Event().wait()

    server = await raw_server(handler=stall)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        transport = AiohttpTransport(session=session if given else None, max_connections=1, attempt_timeout=60)
        calls = [asyncio.create_task(transport.send(post(server.url))) for _ in range(3)]
        await until(lambda: server.requests)

        await transport.aclose()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [errors.ClientClosedError] * 3
    assert len(server.requests) == 1


async def test_a_transport_in_two_threads_is_closed_from_one(raw_server: Start) -> None:
    """F53: what belongs to the other thread's loop is closed there."""
    server = await raw_server(http("x"))
    transport = AiohttpTransport()
    await transport.send(post(server.url))
    used, done = asyncio.Event(), asyncio.Event()
    here = asyncio.get_running_loop()

    async def elsewhere() -> bool:
        await transport.send(post(server.url))
        session = transport._parts[asyncio.get_running_loop()].session
        here.call_soon_threadsafe(used.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(done.wait(), here))
        return session.closed

    other = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    await used.wait()
    await transport.aclose()
    done.set()

    assert await other
    assert server.connections == 2


async def test_a_given_session_of_another_loop_is_named_at_its_first_use() -> None:
    """F53."""

    async def make() -> aiohttp.ClientSession:
        session = aiohttp.ClientSession()
        await session.close()
        return session

    session = await asyncio.to_thread(asyncio.run, make())
    transport = AiohttpTransport(session=session)

    with pytest.raises(errors.ConfigurationError, match="belongs to another event loop"):
        await transport.send(post("http://127.0.0.1:9/"))


async def test_a_given_session_does_not_turn_refusals_into_its_own_errors(raw_server: Start) -> None:
    """With `raise_for_status` aiohttp would throw the service's error away."""
    server = await raw_server(http("refused", status=403))
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        response = await AiohttpTransport(session=session).send(post(server.url))

    assert (response.status, response.body) == (403, b"refused")


def test_an_alert_after_the_handshake_is_a_tls_error() -> None:
    """F26: under TLS 1.3 a server refuses a client's certificate, or its absence, in place of the answer."""
    alert = aiohttp.ClientOSError()
    alert.__cause__ = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")

    failure = failure_of(alert, post("https://127.0.0.1:1/"), None)  # type: ignore[arg-type]

    assert type(failure) is errors.TLSError
    assert not failure.retryable


async def test_a_transport_that_is_closed_while_a_loop_begins_to_use_it_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F56: another thread may close it between the look and the leap."""
    transport = AiohttpTransport()
    made: list[aiohttp.ClientSession] = []

    def closing() -> aiohttp.ClientSession:
        made.append(session := new_session())
        transport._closed = True
        return session

    new_session = transport._new_session
    monkeypatch.setattr(transport, "_new_session", closing)
    with pytest.raises(errors.ClientClosedError):
        await transport.send(post("http://127.0.0.1:9/"))

    assert [session.closed for session in made] == [True]


async def test_a_get_that_aiohttp_sends_again_by_itself_is_answered(raw_server: Start) -> None:
    """The server ends a pooled connection while it has the request; the answer over the next one is read."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = server.connections == 1
        await server.read_request(reader)
        writer.write(http("x"))
        await server.read_request(reader)
        if not first:
            writer.write(http("x"))

    server = await raw_server(handler=handle)
    transport = AiohttpTransport()
    answers = [await transport.send(HttpRequest("GET", server.url, {})) for _ in range(3)]
    await transport.aclose()

    assert [answer.body for answer in answers] == [b"x"] * 3
    assert [answer.reused for answer in answers] == [False, False, True]
    assert (server.connections, len(server.requests)) == (2, 4)
