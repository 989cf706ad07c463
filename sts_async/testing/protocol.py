"""
aiohttp's HTTP server, without logging or echoing malformed requests.

aiohttp logs the bytes of a malformed request, and repeats them in its response. They can contain a token.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Server(web.Server):
    """
    A server that returns 400 for a request that is not HTTP, and 500 for an error of *handler*.

    An error of *handler* is logged. It comes from the program, such as from its function for credentials.
    """

    def __init__(self, handler: Handler) -> None:
        # handler_cancellation ends a `Delay` when the client closes the connection.
        super().__init__(handler, handler_cancellation=True)
        self._transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()
        self._ended = False

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        options: dict[str, Any] = {"access_log": None, "auto_decompress": False}  # requests are recorded, not logged
        return _Connection(self, loop=asyncio.get_running_loop(), **options)

    def add(self, transport: asyncio.WriteTransport) -> None:
        """Add a new connection."""
        self._transports.add(transport)
        if self._ended:
            transport.abort()

    def abort_connections(self) -> None:
        """Abort all connections, including closing ones and later ones."""
        self._ended = True
        for transport in list(self._transports):
            transport.abort()


class _Connection(web.RequestHandler):
    __slots__ = ("_owner",)

    def __init__(self, server: Server, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(server, loop=loop, **options)
        self._owner = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(transport, asyncio.WriteTransport):
            self._owner.add(transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the response to a malformed request, or after an error *exc* of the handler."""
        del message  # it quotes the request
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log_exception("Error handling a request", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response has been sent")
        return refused(status)


def refused(status: int) -> web.Response:
    """Return a response with only its status as text, which closes the connection."""
    response = web.Response(status=status, text=f"{status} {HTTPStatus(status).phrase}\n")
    response.force_close()
    return response


async def body_of(request: web.BaseRequest) -> bytes | None:
    """Return the body of a request, or None if it is malformed or incomplete."""
    try:
        return await request.read()
    except (web.RequestPayloadError, ValueError):  # these errors quote the request, so they are not raised
        return None
