"""Connections of aiohttp that take notes: what came over them, which sockets they have, who looks names up."""

import contextlib
import socket
import weakref
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from ._resolver import LOOK_UPS


class Use:
    """
    One request over one connection.

    Attributes:
        again: Whether the connection had served before.
        answered: Whether anything has come since.
    """

    __slots__ = ("again", "answered")

    def __init__(self, *, again: bool) -> None:
        self.again = again
        self.answered = False


in_use: ContextVar[Use | None] = ContextVar("use", default=None)
"""What the current task sends over a connection; None while it has none."""

fresh: ContextVar[bool] = ContextVar("fresh", default=False)
"""Whether the current task wants a connection that has not served before."""


class Protocol(ResponseHandler):
    """Notes what aiohttp keeps to itself: whether the connection has served before, and whether an answer began."""

    use: Use | None = None

    def data_received(self, data: bytes) -> None:
        if self.use is not None:
            self.use.answered = True
        super().data_received(data)


class Connector(aiohttp.TCPConnector):
    """Makes connections that take notes, and knows their sockets."""

    def __init__(self, *, probes: bool, **options: Any) -> None:
        super().__init__(socket_factory=self._new_socket, **options)
        self._factory: Any = partial(Protocol, loop=self._loop)
        self._probes = probes
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._let_go = False

    def __del__(self, *arguments: Any) -> None:
        if not self._let_go:  # else closing would take the connections from an event loop that may yet run
            super().__del__(*arguments)

    def _new_socket(self, address: "aiohttp.connector.AddrInfoType") -> socket.socket:
        made = socket.socket(*address[:3])
        if self._probes:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._sockets.add(made)
        return made

    def let_go(self) -> None:
        """Be nobody's: what is open is not closed, now or at the end."""
        self._let_go = True

    def hang_up(self) -> None:
        """End the connections from outside of the event loop that they belong to, which does not run."""
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            if self._loop.is_closed():
                one.close()

    async def connect(self, *arguments: Any, **more: Any) -> "aiohttp.connector.Connection":
        connection = await super().connect(*arguments, **more)
        while fresh.get() and isinstance(connection.protocol, Protocol) and connection.protocol.use is not None:
            connection.close()  # it may have died, too
            connection = await super().connect(*arguments, **more)
        protocol = connection.protocol
        if isinstance(protocol, Protocol):
            protocol.use = Use(again=protocol.use is not None)
            in_use.set(protocol.use)
        return connection


class Resolver(AbstractResolver):
    """Looks names up in threads of our own."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await LOOK_UPS.addresses(host, port, family=family, seconds=self._seconds)
        digits = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(
                hostname=host,
                host=address.host,
                port=address.port,
                family=address.family,
                proto=address.protocol,
                flags=digits,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Do nothing: the threads end by themselves."""
