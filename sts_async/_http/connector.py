"""
aiohttp connections with guards for signed requests.

HTTP/1.1 does not number requests and responses: bytes that arrive on a connection are the response to its last request.
An unsolicited response that is read later would give one caller the credentials of another. So guards check each
connection:

- Bytes that arrive while no request is outstanding end the connection.
- A pooled connection is reused only if its last response ended exactly and its socket has no bytes to read. One poll
  asks the socket itself, because the event loop may not have read yet what the system has received.
- A request that the service accepts once, such as one with an MFA code, gets a new connection.

A `Use` records one request over one connection. With it, the transport distinguishes a stale pooled connection, where
another attempt is free of charge, from a connection that ended within a response. The connector also knows its sockets:
after a fork, they belong to the parent, and the child must neither use nor close them. `transport` limits their number.
"""

import asyncio
import contextlib
import functools
import os
import re
import select
import socket
import weakref
from contextvars import ContextVar
from typing import Any

import aiohttp

from .._runtime.name_lookups import LOOK_UPS
from .._runtime.requirements import require

require("aiohttp", aiohttp.__version__)

from aiohttp.abc import AbstractResolver, ResolveResult  # noqa: E402 - much older versions lack it
from aiohttp.client_proto import ResponseHandler  # noqa: E402

from .aiohttp_names import CONNECTOR, PROTOCOL, require_names, unsupported  # noqa: E402

LAST_CHUNK = b"0\r\n\r\n"
MAX_HEAD = 64 * 1024  # bytes of a head that are kept until it is complete; aiohttp refuses much shorter ones


class Use:
    """
    One request over one connection. The transport creates it, and the connector fills it in.

    Every request creates one, so the initial values are class attributes.

    Attributes:
        fresh: Whether the request needs a new connection.
        reused: Whether an earlier request used the connection; None while there is no connection.
        answered: Whether a byte of the response has arrived.
        ended: Whether the response was read or abandoned. Bytes that arrive later are unsolicited.
        missing: Bytes of the response that are still missing; None while its head is incomplete, or if it is chunked.
        ending: The last bytes of a chunked response.
    """

    fresh = False
    reused: bool | None = None
    answered = False
    ended = False
    missing: int | None = None
    ending = b""
    _head: bytes | None = b""  # the head of the response, while it is incomplete; None if it is too long

    def count(self, data: bytes) -> None:
        """Count bytes of the response."""
        self.answered = True
        if self.missing is not None:
            self.missing -= len(data)
            return
        if self.ending:
            self.ending = (self.ending + data)[-len(LAST_CHUNK) :]
            return
        if self._head is None:
            return
        searched = max(len(self._head) - 3, 0)
        head = self._head + data if self._head else data
        ends = head.find(b"\r\n\r\n", searched)
        if ends < 0:
            # Without an end of the head, `missing` and `ending` stay empty, so the connection is not used again.
            self._head = head if len(head) <= MAX_HEAD else None
            return
        self._head = b""
        length = _content_length().search(head, 0, ends)
        if length is not None:
            self.missing = int(length[1]) - (len(head) - ends - 4)
        else:
            self.ending = head[-len(LAST_CHUNK) :]

    def end(self) -> None:
        """Record that the connection is in the pool again, or closed."""
        self.ended = True
        self._head = None  # it may be part of a response with credentials


@functools.cache
def _content_length() -> re.Pattern[bytes]:
    # Every response needs it. This cache is faster than the one of `re`.
    return re.compile(rb"(?i)\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*(?=\r\n|\Z)")


current: ContextVar[Use | None] = ContextVar("use", default=None)
"""The request that the current task sends. aiohttp's session has no other way to pass it to the connector."""


class Protocol(ResponseHandler):
    """
    A connection that records whether it was used before, and whether a response has started.

    Bytes that arrive while no request is outstanding end it. Source: RFC 9112, section 9.2.
    """

    use: Use | None = None
    _watch: "Watch | None" = None

    def data_received(self, data: bytes) -> None:
        use = self.use
        if use is None or not data:  # the response to CONNECT, or a call by aiohttp itself without data
            super().data_received(data)
            return
        if use.ended:
            self.end()
            return
        use.count(data)
        super().data_received(data)
        if use.ended and self.should_close:  # the response was followed by further bytes
            self.end()

    def end(self) -> None:
        """Close the connection, which also removes it from the pool."""
        if self.transport is not None:
            self.transport.abort()

    def is_quiet(self) -> bool:
        """Return True if the connection is open and no byte has arrived since its last response."""
        sending, use = self.transport, self.use
        if sending is None or self.should_close:
            return False
        # The last response must have ended exactly: the parser would continue with further bytes in the next response.
        if use is not None and use.missing != 0 and use.ending != LAST_CHUNK:
            return False
        watch = self._watch
        if watch is None or watch.transport is not sending:
            watch = self._watch = Watch(sending)
        return watch.is_quiet()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._watch = None  # the descriptor may soon belong to another connection
        super().connection_lost(exc)


class Watch:
    """
    Checks one socket for bytes without reading them. The poll object is made once.

    Attributes:
        transport: The transport that the socket belongs to.
    """

    __slots__ = ("_descriptor", "_poll", "_socket", "transport")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._socket = transport.get_extra_info("socket")
        self._descriptor = -1 if self._socket is None else self._socket.fileno()
        self._poll: Any = None
        if self._descriptor >= 0 and hasattr(select, "poll"):  # Windows lacks it, and its `select` takes any descriptor
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            self._poll = poll.poll

    def is_quiet(self) -> bool:
        """Return True if a read would wait. Otherwise there are bytes, or the connection has ended."""
        # The poll object knows only the number of the descriptor. After a close, another file may have this number.
        if self._descriptor < 0 or self._socket.fileno() != self._descriptor:
            return False
        if self._poll is None:
            return not select.select([self._descriptor], [], [], 0)[0]
        return not self._poll(0)


class Connector(aiohttp.TCPConnector):
    """Makes guarded connections, and keeps a list of their sockets."""

    def __init__(self, *, probes: bool, **options: Any) -> None:
        self._disowned = False
        self._probes = probes
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        super().__init__(socket_factory=self._new_socket, **options)
        require_names(self, CONNECTOR)
        require_names(ResponseHandler, PROTOCOL)
        self._factory: Any = functools.partial(Protocol, loop=self._loop)

    def __del__(self, *arguments: Any) -> None:
        if not self._disowned:  # otherwise closing would take the connections from an event loop that may still run
            super().__del__(*arguments)

    def _new_socket(self, address: "aiohttp.connector.AddrInfoType") -> socket.socket:
        made = socket.socket(*address[:3])
        if self._probes:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._sockets.add(made)
        return made

    def disown(self) -> None:
        """Disown the connector after a fork: its sockets belong to the parent and must not be closed here."""
        self._disowned = True

    def leave_to_parent(self) -> None:
        """
        Replace each connection by a dead socket, in a forked child.

        The fork copies the event loop, and both loops watch the same connections through one selector. Without the
        replacement, a connection that the child closes would be lost for the parent's selector.
        """
        self.disown()
        dead, other = socket.socketpair()
        with dead, other:
            for one in [one for one in self._sockets if one.fileno() >= 0]:
                with contextlib.suppress(OSError):
                    os.dup2(dead.fileno(), one.fileno(), inheritable=False)

    def shutdown_sockets(self) -> None:
        """Shut down the connections of an event loop that no longer runs."""
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            if self._loop.is_closed():
                one.close()

    async def connect(self, *arguments: Any, **more: Any) -> "aiohttp.connector.Connection":
        """
        Return a connection without outstanding bytes: a pooled one, or a new one if the current `Use` is fresh.

        A new connection for a fresh request replaces a pooled one, so that the pool does not grow beyond its limit.

        Raises:
            ConfigurationError: The connection has no guard, because this aiohttp version makes it in another way.
        """
        use, aside, replaced = current.get(), [], False
        if use is None or use.reused is not None:  # a second connection for one request: aiohttp itself repeats a GET
            fresh = use is not None and use.fresh
            use = Use()
            use.fresh = fresh
            current.set(use)
        try:
            while True:
                connection = await super().connect(*arguments, **more)
                protocol = connection.protocol
                if not isinstance(protocol, Protocol):
                    connection.close()
                    raise unsupported(f"it connects with a {type(protocol).__name__}")
                if protocol.use is None:
                    break
                if not protocol.is_quiet():
                    connection.close()
                elif use.fresh and not replaced:
                    replaced = True
                    connection.close()
                elif use.fresh:
                    aside.append(connection)
                else:
                    break
        finally:
            for one in aside:
                one.release()
        use.reused = protocol.use is not None
        protocol.use = use
        connection.add_callback(use.end)
        return connection


class Resolver(AbstractResolver):
    """Resolves names in threads of this library."""

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
