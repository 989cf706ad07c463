"""
aiohttp's HTTP server, without logging or echoing malformed requests.

aiohttp logs such a request with its bytes, and repeats them in its answer. They may hold a token.
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
    A server that answers a request that is not HTTP with 400, and an error of *handler* with 500.

    An error of *handler* is logged; it is the program's own, such as one of a function that returns credentials.
    """

    def __init__(self, handler: Handler) -> None:
        # handler_cancellation: a `Delay` whose client has gone is not waited for
        super().__init__(handler, handler_cancellation=True)
        self._transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()
        self._ended = False

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        options: dict[str, Any] = {"access_log": None, "auto_decompress": False}  # requests are recorded, not logged
        return _Connection(self, loop=asyncio.get_running_loop(), **options)

    def add(self, transport: asyncio.WriteTransport) -> None:
        """Know a new connection."""
        self._transports.add(transport)
        if self._ended:
            transport.abort()

    def abort_connections(self) -> None:
        """End all connections, even if they are closing already, and those that are made later."""
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
        """Return the answer to what cannot be read, or to a request whose handler failed with *exc*."""
        del message  # it quotes the request
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log_exception("Error handling a request", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer has been sent")
        return refused(status)


def refused(status: int) -> web.Response:
    """Return an answer that says its status and no more, and ends the connection."""
    response = web.Response(status=status, text=f"{status} {HTTPStatus(status).phrase}\n")
    response.force_close()
    return response


async def body_of(request: web.BaseRequest) -> bytes | None:
    """Return the body of a request, or None when it is none: in chunks without their sizes, or cut off."""
    try:
        return await request.read()
    except (web.RequestPayloadError, ValueError):  # without a context: they quote the request
        return None
