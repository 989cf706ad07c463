"""Bytes that answer no request: they end their connection, and are given to no caller (RFC 9112, section 9.2)."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trustme
from patience import PATIENCE, soon, turns, until
from support import ANSWER, KEYS, RawServer, http

from sts_async import STSClient
from sts_async._http.connector import MAX_HEAD, Use, Watch
from sts_async._http.transport import AiohttpTransport
from sts_async._protocol.http_messages import HttpRequest
from sts_async._shape.secret import SecretBytes

Start = Callable[..., Awaitable[RawServer]]
OWN, STRAY = http(b"own"), http(b"stray")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nown\r\n0\r\n\r\n"
PIECES = [
    pytest.param([OWN + STRAY], [], id="in one piece with the answer before"),
    pytest.param([OWN[:-1], OWN[-1:] + STRAY], [], id="in one piece with its last byte"),
    pytest.param([OWN[:20], OWN[20:] + STRAY[:30]], [STRAY[30:]], id="in part"),
    pytest.param([OWN + b"\r\n"], [], id="an empty line in one piece with the answer"),
    pytest.param([OWN + STRAY[:1]], [], id="a letter"),
    pytest.param([OWN[:-1], OWN[-1:] + STRAY[:20]], [], id="half of a head behind the last byte"),
    pytest.param([CHUNKED + b"\r\n"], [], id="an empty line behind the last chunk"),
    pytest.param([CHUNKED[:-3], CHUNKED[-3:] + STRAY[:20]], [], id="half of a head behind the last chunk"),
    pytest.param([OWN], [STRAY], id="on an idle connection"),
    pytest.param([OWN], [STRAY[:10], STRAY[10:]], id="on an idle connection, in two pieces"),
    pytest.param([OWN], [b"\r\n"], id="an empty line"),
]


async def quiet() -> None:
    """Have the event loop look at its sockets some times."""
    await turns()


@pytest.mark.parametrize(("answer", "later"), PIECES)
async def test_a_stray_answer_is_not_given_to_the_next_request(
    raw_server: Start, answer: list[bytes], later: list[bytes]
) -> None:
    """B2: the next request goes over a new connection, and gets its own answer."""

    written = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        pieces = answer if server.connections == 1 else [OWN]
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await quiet()
        if server.connections == 1:
            for piece in later:
                writer.write(piece)
                await writer.drain()
                await quiet()
        written.set()
        await reader.read()

    server = await raw_server(handler=handle)
    transport = AiohttpTransport()
    bodies = []
    for _ in range(2):
        bodies.append((await transport.send(HttpRequest("GET", server.url, {}))).body)
        await soon(written.wait())
        await quiet()
    await transport.aclose()

    assert bodies == [b"own", b"own"]
    assert server.connections == 2


@pytest.mark.parametrize(
    "pieces", [[OWN], [OWN[:10], OWN[10:]], [OWN[:-2], OWN[-2:]], [CHUNKED], [CHUNKED[:-2], CHUNKED[-2:]]]
)
async def test_a_connection_is_used_again_after_an_answer_and_not_a_byte_more(
    raw_server: Start, pieces: list[bytes]
) -> None:
    """B2: however the answer is cut."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read_request(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await quiet()

    server = await raw_server(handler=handle)
    transport = AiohttpTransport()
    bodies = [(await transport.send(HttpRequest("GET", server.url, {}))).body for _ in range(3)]
    await transport.aclose()

    assert bodies == [b"own"] * 3
    assert server.connections == 1


class BlockingServer:
    """A server in a thread: on its first connection it writes a stray answer when it is told to, and says when."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.go_astray = threading.Event()
        self.gone_astray = threading.Event()
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._answer, args=(connection, self.connections), daemon=True).start()

    def _answer(self, connection: socket.socket, number: int) -> None:
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        with contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(OWN)
            if number == 1:
                self.go_astray.wait(PATIENCE)
                connection.sendall(STRAY)
                self.gone_astray.set()
            connection.recv(65536)
        connection.close()

    def stop(self) -> None:
        self._listening.close()


AUTHORITY = trustme.CA()


@pytest.fixture(params=["http", "https"])
def blocking(request: pytest.FixtureRequest) -> Iterator[tuple[BlockingServer, str]]:
    context = None
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    server = BlockingServer(context)
    yield server, f"{request.param}://127.0.0.1:{server.port}/"
    server.stop()


class Trusting:
    """What a transport asks for its authorities, with those of a test."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    async def load(self) -> ssl.SSLContext:
        return self._context


async def test_what_the_system_has_received_and_the_event_loop_has_not_seen_is_astray_too(
    blocking: tuple[BlockingServer, str],
) -> None:
    """B2: the loop was busy when it came, and the next request is sent before the loop looks at its sockets."""
    server, url = blocking
    trusting = ssl.create_default_context()
    AUTHORITY.configure_trust(trusting)
    transport = AiohttpTransport(trust=Trusting(trusting))
    first = await transport.send(HttpRequest("GET", url, {}))
    server.go_astray.set()
    assert server.gone_astray.wait(PATIENCE)  # the event loop waits too
    second = await transport.send(HttpRequest("GET", url, {}))
    await transport.aclose()

    assert (first.body, second.body) == (b"own", b"own")
    assert server.connections == 2


async def test_what_sources_ask_for_goes_over_the_same_connections(raw_server: Start) -> None:
    """B2: the answers of every source come the way of those of STS; no other module sends (`test_layering`)."""
    server = await raw_server(http(b"own"), http(b"own"))
    async with STSClient(endpoint_url=server.url, region="eu-west-1", credentials=KEYS) as sts:
        engine = await sts._life.ready()

        assert engine.context.shared.transport is sts._life.transport
        assert (await engine.context.send(HttpRequest("GET", server.url, {}))).body == b"own"


async def test_a_connection_is_not_quiet_once_its_descriptor_is_another_files() -> None:
    """B2: what looks at a socket is kept with the connection, and knows only the number of the descriptor."""
    own, peer = socket.socketpair()
    own.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=own)
    watch, number = Watch(transport), own.fileno()
    quiet_at_first = watch.is_quiet()
    transport.close()
    while own.fileno() >= 0:
        await asyncio.sleep(0)
    others = [socket.socketpair() for _ in range(5)]
    taken = {end.fileno() for pair in others for end in pair}
    quiet_at_last = watch.is_quiet()
    for end in (peer, *(end for pair in others for end in pair)):
        end.close()
    assert quiet_at_first
    assert number in taken
    assert not quiet_at_last


def test_a_head_without_an_end_is_bounded_and_searched_once() -> None:
    """aiohttp also reads heads with bare line feeds. Time must not grow with the square of their length."""
    use = Use()
    for _ in range(3 * MAX_HEAD // 64):
        use.count(b"x" * 63 + b"\n")

    assert use._head is None
    assert (use.missing, use.ending) == (None, b"")


def test_a_head_in_small_pieces_is_found() -> None:
    """The end of a head may be cut anywhere."""
    answer = http(b"body")
    for size in range(1, len(answer) + 1):
        use = Use()
        for begin in range(0, len(answer), size):
            use.count(answer[begin : begin + size])

        assert use.missing == 0


def test_a_finished_request_keeps_nothing_of_the_response() -> None:
    """T20: a pooled connection must not keep credentials."""
    use = Use()
    use.count(b"HTTP/1.1 200 OK\n\nSENTINEL")
    use.end()

    assert use._head is None


async def test_requests_over_new_connections_do_not_grow_the_pool(raw_server: Start) -> None:
    """A new connection replaces a pooled one: the limit of connections holds for requests with MFA codes, too."""
    opened = 0
    closed = 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened, closed
        opened += 1
        try:
            while True:
                await server.read_request(reader)
                writer.write(http(ANSWER))
        except asyncio.IncompleteReadError:
            closed += 1

    server = await raw_server(handler=counting)
    transport = AiohttpTransport(max_connections=2)
    try:
        for _ in range(10):
            await transport.send(HttpRequest("POST", server.url, {}, SecretBytes(b"a=1"), fresh=True))
        await until(lambda: opened - closed <= 2)
        assert opened == 10
    finally:
        await transport.aclose()
