"""`LeanRequest` sends what aiohttp's own request sends, and leaves to aiohttp what is not a small signed call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from support import RawServer, http

from sts_async._http import request as module
from sts_async._http.request import MAX_BODY, LeanRequest, request_class
from sts_async._http.transport import AiohttpTransport
from sts_async._protocol.http_messages import HttpRequest
from sts_async._shape.secret import Secret, SecretBytes
from sts_async.errors import ConnectionLost

Start = Callable[..., Awaitable[RawServer]]
HEADERS = {"content-type": "application/x-www-form-urlencoded", "x-amz-security-token": Secret("SENTINEL-token")}


@pytest.fixture(autouse=True)
def forget_the_class() -> Any:
    """Have each test compare the classes again."""
    request_class.cache_clear()
    yield
    request_class.cache_clear()


async def sent_by(kind: type[aiohttp.ClientRequest], server: RawServer, request: HttpRequest) -> bytes:
    """Return the bytes of *request* when it is sent by a session with this class of requests."""
    module.request_class.cache_clear()
    original = module.LeanRequest
    module.LeanRequest = kind  # type: ignore[misc,assignment]
    transport = AiohttpTransport()
    try:
        await transport.send(request)
    finally:
        module.LeanRequest = original  # type: ignore[misc]
        await transport.aclose()
    return server.requests.pop()


async def test_the_installed_aiohttp_has_the_attributes_that_lean_requests_set() -> None:
    """If this fails, aiohttp has changed: calls are correct, but slower, until `LeanRequest` sets what is new."""
    assert request_class() is LeanRequest


@pytest.mark.parametrize("size", [1, 1000, MAX_BODY, MAX_BODY + 1])
@pytest.mark.parametrize("query", ["", "?a=%2F%7E%2a"])
async def test_both_classes_send_the_same_bytes(raw_server: Start, size: int, query: str) -> None:
    """The oracle is aiohttp itself."""
    server = await raw_server(http("x"))
    request = HttpRequest("POST", server.url + query, HEADERS, SecretBytes(b"a" * size))

    lean = await sent_by(LeanRequest, server, request)

    assert lean == await sent_by(aiohttp.ClientRequest, server, request)
    assert lean.endswith(b"a" * size)


async def test_a_request_without_a_body_is_left_to_aiohttp(raw_server: Start) -> None:
    """Metadata services are asked with GET and PUT."""
    server = await raw_server(http("x"))
    for method in ("GET", "PUT"):
        request = HttpRequest(method, server.url, {"x-a": "1"})

        assert await sent_by(LeanRequest, server, request) == await sent_by(aiohttp.ClientRequest, server, request)


async def test_a_small_request_starts_no_task(raw_server: Start) -> None:
    """A task for each body is what a lean request saves."""
    server = await raw_server(http("x"))
    transport = AiohttpTransport()
    request = HttpRequest("POST", server.url, HEADERS, SecretBytes(b"a=1"))
    await transport.send(request)
    loop, started = asyncio.get_running_loop(), []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        started.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(factory)
    await transport.send(request)
    loop.set_task_factory(None)
    await transport.aclose()

    assert started == []


async def test_another_aiohttp_is_used_with_its_own_class(monkeypatch: pytest.MonkeyPatch, raw_server: Start) -> None:
    """An attribute that is new there would be missing here, and nobody knows where aiohttp reads it."""

    class Newer(aiohttp.ClientRequest):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.new_attribute = True

    monkeypatch.setattr(aiohttp, "ClientRequest", Newer)
    server = await raw_server(http("x"))
    transport = AiohttpTransport()
    response = await transport.send(HttpRequest("POST", server.url, HEADERS, SecretBytes(b"a=1")))
    await transport.aclose()

    assert response.body == b"x"
    assert request_class() is Newer


async def test_a_class_that_takes_other_arguments_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """An aiohttp that makes its requests in another way makes them by itself."""

    class Newer(aiohttp.ClientRequest):
        def __init__(self, message: object) -> None:
            """Take everything in one."""

    monkeypatch.setattr(aiohttp, "ClientRequest", Newer)

    assert request_class() is Newer


async def test_a_session_that_a_program_traces_sees_its_events(
    monkeypatch: pytest.MonkeyPatch, raw_server: Start
) -> None:
    """Tracing tools add a trace to each session that is made."""
    seen = list[str]()
    trace = aiohttp.TraceConfig()

    async def note(session: Any, context: Any, event: Any) -> None:
        seen.append(type(event).__name__)

    for signal in (trace.on_request_start, trace.on_request_chunk_sent, trace.on_request_end):
        signal.append(note)
    original = aiohttp.ClientSession.__init__

    def traced(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **{**options, "trace_configs": [trace]})

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", traced)
    server = await raw_server(http("x"))
    transport = AiohttpTransport()
    await transport.send(HttpRequest("POST", server.url, HEADERS, SecretBytes(b"a=1")))
    await transport.aclose()

    assert seen == ["TraceRequestStartParams", "TraceRequestChunkSentParams", "TraceRequestEndParams"]


async def test_a_header_with_a_line_break_is_not_sent(raw_server: Start) -> None:
    """T3: aiohttp's writer checks each header, here too."""
    server = await raw_server(http("x"))
    transport = AiohttpTransport()
    with pytest.raises(Exception, match="refused to send the request") as caught:
        await transport.send(HttpRequest("POST", server.url, {"x-a": "1\r\nx-b: 2"}, SecretBytes(b"a=1")))
    await transport.aclose()

    assert type(caught.value).__name__ == "ConfigurationError"
    assert server.requests == []


async def test_a_peer_that_reads_nothing_is_waited_for_by_aiohttp(raw_server: Start) -> None:
    """The write buffer is full: the request is written in a task, as aiohttp does, and the attempt has its limit."""
    server = await raw_server(http("x"))
    transport = AiohttpTransport()
    paused = list[bool]()

    class Paused(LeanRequest):
        async def send(self, conn: Any) -> aiohttp.ClientResponse:
            conn.protocol.pause_writing()
            asyncio.get_running_loop().call_soon(conn.protocol.resume_writing)
            paused.append(conn.protocol.writing_paused)
            return await super().send(conn)

    session_class = module.LeanRequest
    module.LeanRequest = Paused  # type: ignore[misc]
    try:
        response = await transport.send(HttpRequest("POST", server.url, HEADERS, SecretBytes(b"a=1")))
    finally:
        module.LeanRequest = session_class  # type: ignore[misc]
        await transport.aclose()

    assert (response.body, paused) == (b"x", [True])
    assert server.requests[0].endswith(b"\r\n\r\na=1")


async def test_a_connection_that_ends_while_it_is_written_to_is_lost(raw_server: Start) -> None:
    """The error is the one of any lost connection."""
    server = await raw_server(http("x"))
    transport = AiohttpTransport()

    class Closing(LeanRequest):
        async def send(self, conn: Any) -> aiohttp.ClientResponse:
            conn.protocol.transport.abort()
            return await super().send(conn)

    session_class = module.LeanRequest
    module.LeanRequest = Closing  # type: ignore[misc]
    try:
        with pytest.raises(ConnectionLost):
            await transport.send(HttpRequest("POST", server.url, HEADERS, SecretBytes(b"a=1")))
    finally:
        module.LeanRequest = session_class  # type: ignore[misc]
        await transport.aclose()


async def test_a_release_of_aiohttp_that_was_not_tested_keeps_its_own_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A release that comes out after this one may mean something else by the same attributes."""
    request_class.cache_clear()
    monkeypatch.setattr(aiohttp, "__version__", "3.15.0")
    try:
        assert request_class() is aiohttp.ClientRequest
    finally:
        request_class.cache_clear()


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
async def test_a_request_that_aiohttp_repeats_keeps_its_body(raw_server: Start, method: str) -> None:
    """aiohttp repeats such requests by itself when a pooled connection has ended, and takes their body again."""
    connections = 0

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await server.read_request(reader)
        if connections == 1:
            writer.write(http(b"first"))
            await writer.drain()
            await server.read_request(reader)
            writer.close()
        else:
            writer.write(http(b"again"))

    server = await raw_server(handler=closing)
    transport = AiohttpTransport()
    try:
        await transport.send(HttpRequest("POST", server.url, HEADERS, SecretBytes(b"warm-up")))
        await transport.send(HttpRequest(method, server.url, HEADERS, SecretBytes(b"payload-1")))
    finally:
        await transport.aclose()

    assert [request.endswith(b"payload-1") for request in server.requests] == [False, True, True]


@pytest.mark.parametrize("name", ["Host", "Transfer-Encoding"])
async def test_headers_that_frame_a_request_are_left_to_aiohttp(name: str) -> None:
    """Two Host lines, or two rules for the length of a body, let a proxy and a server read two different requests."""
    made: Any = module._example(LeanRequest, header=name)

    assert made._small_body is None
    assert made.headers.getall("Host") == [made.headers["Host"]]


async def test_a_debug_loop_sends_lean_requests_too() -> None:
    """Otherwise a suite in debug mode would test other code, and a first loop in debug mode would slow the process."""
    asyncio.get_running_loop().set_debug(True)

    assert request_class() is LeanRequest
