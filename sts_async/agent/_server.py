"""
The HTTP server of the endpoint: aiohttp's, with limits, and without logging or repeating malformed requests.

aiohttp logs the bytes of a malformed request, and repeats them in its response. They can contain a token. Also, it
waits without an end for the first request of a connection.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp import web

from .._runtime.requirements import require
from ._documents import FAILED, Refusal, malformed

require("aiohttp", aiohttp.__version__)

MAX_CONNECTIONS = 1000  # at once; further ones are closed
REQUEST_SECONDS = 5.0  # s for the first request of a connection
IDLE_SECONDS = 30.0  # s for each further request
MAX_LINE = 4096  # bytes of the request line and of a header: a token has 43
MAX_HEADERS = 64

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = logging.getLogger("sts_async")


def refused(refusal: Refusal, *, close: bool = False) -> web.Response:
    """Return the response with a refusal. With *close*, it closes the connection."""
    headers = {"Cache-Control": "no-store", "Server": "sts-async"}
    if refusal.status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = "GET"
    response = web.Response(status=refusal.status, body=refusal.body, content_type="application/json", headers=headers)
    if close:
        response.force_close()
    return response


class Server(web.Server):
    """
    A server for a bounded number of connections.

    Args:
        handler: Returns the response to a request.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler)
        self._transports: set[asyncio.WriteTransport] = set()
        self._ended = False

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        options: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,
            "keepalive_timeout": IDLE_SECONDS,
            "lingering_time": 0.0,  # a request with a body is refused, so the rest of the body is not read
            "max_line_size": MAX_LINE,
            "max_field_size": MAX_LINE,
            "max_headers": MAX_HEADERS,
        }
        return _Connection(self, loop=asyncio.get_running_loop(), **options)

    def admit(self, transport: asyncio.WriteTransport) -> bool:
        """Count a new connection. Return False if it must be closed."""
        if self._ended or len(self._transports) >= MAX_CONNECTIONS:
            return False
        self._transports.add(transport)
        return True

    def leave(self, transport: Any) -> None:
        """Count a connection no longer."""
        self._transports.discard(transport)

    def abort_connections(self) -> None:
        """Abort all connections, including later ones."""
        self._ended = True
        for transport in list(self._transports):
            transport.abort()


class _Connection(web.RequestHandler):
    __slots__ = ("_first", "_own", "_owner")

    def __init__(self, server: Server, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(server, loop=loop, **options)
        self._owner = server
        self._own: asyncio.BaseTransport | None = None
        self._first: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(transport, asyncio.WriteTransport):
            if self._owner.admit(transport):
                self._own = transport
                self._first = asyncio.get_running_loop().call_later(REQUEST_SECONDS, transport.abort)
            else:
                transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.begin()
        self._owner.leave(self._own)
        self._own = None
        super().connection_lost(exc)

    def begin(self) -> None:
        """Note that the first request has come."""
        if self._first is not None:
            self._first.cancel()
            self._first = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the response to a malformed request, or after an error *exc* of the handler."""
        del message  # it quotes the request
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response has been sent")
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            # Not its text: it is an unexpected error, which can quote anything.
            log.error("the credentials endpoint failed to answer: %s", type(exc).__name__)
            return refused(FAILED, close=True)
        return refused(malformed(status), close=True)


def begin(request: web.BaseRequest) -> None:
    """Note that a request of a connection has come, so that the connection is not closed as idle."""
    if isinstance(request.protocol, _Connection):
        request.protocol.begin()
