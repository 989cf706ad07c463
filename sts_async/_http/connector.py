"""
aiohttp connections with guards for signed requests.

HTTP/1.1 numbers neither requests nor responses: bytes that arrive on a connection are the answer to its last request.
A stray answer that is read later would give one caller the credentials of another. So each connection is guarded:

- Bytes that arrive while no request is outstanding end the connection.
- A pooled connection serves again only if its last answer ended exactly and its socket is silent. One poll looks at
  the socket itself, because the event loop may not have read yet what the system has received.
- A request that is good for once, such as one with an MFA code, gets a new connection.

A `Use` records one request over one connection. From it, the transport tells a pooled connection that had died, where
another attempt is free, from a connection that ended within an answer. The connector also knows its sockets: after a
fork, they belong to the parent, and the child must neither use nor close them.
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


class Use:
    """
    One request over one connection. The transport makes it, and the connector fills it in.

    Every request makes one, so the initial values stand in the class.

    Attributes:
        fresh: Whether the request needs a connection that has not served before.
        again: Whether the connection had served before; None while there is no connection.
        answered: Whether anything has come since.
        over: Whether the answer has been read, or given up: whatever comes now answers nothing.
        missing: Bytes until the answer is whole; None while its head is not whole, or if it comes in chunks.
        ending: The last bytes of an answer in chunks.
    """

    fresh = False
    again: bool | None = None
    answered = False
    over = False
    missing: int | None = None
    ending = b""
    _head = b""  # what has come of it, until it is whole

    def came(self, data: bytes) -> None:
        """Count what has come of the answer."""
        self.answered = True
        if self.missing is not None:
            self.missing -= len(data)
            return
        if self.ending:
            self.ending = (self.ending + data)[-len(LAST_CHUNK) :]
            return
        head = self._head + data if self._head else data
        ends = head.find(b"\r\n\r\n")
        if ends < 0:
            self._head = head
            return
        self._head = b""
        length = _content_length().search(head, 0, ends)
        if length is not None:
            self.missing = int(length[1]) - (len(head) - ends - 4)
        else:
            self.ending = head[-len(LAST_CHUNK) :]

    def end(self) -> None:
        """Record that the connection is back in the pool, or closed."""
        self.over = True


@functools.cache
def _content_length() -> re.Pattern[bytes]:
    # Each answer needs it, and finds it here sooner than `re` does in its own cache.
    return re.compile(rb"(?i)\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*(?=\r\n|\Z)")


current: ContextVar[Use | None] = ContextVar("use", default=None)
"""The request that the current task sends. aiohttp's session passes nothing of a request on to its connector."""


class Protocol(ResponseHandler):
    """
    A connection that records whether it has served before, and whether an answer began.

    Bytes that arrive while no request is outstanding end it. Source: RFC 9112, section 9.2.
    """

    use: Use | None = None
    _watch: "Watch | None" = None

    def data_received(self, data: bytes) -> None:
        use = self.use
        if use is None or not data:  # what a proxy answers to CONNECT; or aiohttp itself, which goes on with its parser
            super().data_received(data)
            return
        if use.over:
            self.end()
            return
        use.came(data)
        super().data_received(data)
        if use.over and self.should_close:  # more came than the answer that was asked for
            self.end()

    def end(self) -> None:
        """Close the connection, which takes it out of the pool."""
        if self.transport is not None:
            self.transport.abort()

    def is_quiet(self) -> bool:
        """Say whether the connection is open, and nothing has come since its last answer, not even to the system."""
        sending, use = self.transport, self.use
        if sending is None or self.should_close:
            return False
        # One whole answer, and not one byte more: the parser would go on with the rest in the next answer.
        if use is not None and use.missing != 0 and use.ending != LAST_CHUNK:
            return False
        watch = self._watch
        if watch is None or watch.transport is not sending:
            watch = self._watch = Watch(sending)
        return watch.is_quiet()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._watch = None  # its descriptor may soon be another connection's
        super().connection_lost(exc)


class Watch:
    """
    Looks at one socket without reading, with what that takes made once.

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
        """Say whether a read would wait. If not, there are bytes, or the connection has ended."""
        # The poll object knows only the number of the descriptor. After a close, the number is another file's.
        if self._descriptor < 0 or self._socket.fileno() != self._descriptor:
            return False
        if self._poll is None:
            return not select.select([self._descriptor], [], [], 0)[0]
        return not self._poll(0)


class Connector(aiohttp.TCPConnector):
    """Makes connections that take notes, and knows their sockets."""

    def __init__(self, *, probes: bool, **options: Any) -> None:
        self._let_go = False
        self._probes = probes
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        super().__init__(socket_factory=self._new_socket, **options)
        require_names(self, CONNECTOR)
        require_names(ResponseHandler, PROTOCOL)
        self._factory: Any = functools.partial(Protocol, loop=self._loop)

    def __del__(self, *arguments: Any) -> None:
        if not self._let_go:  # else closing would take the connections from an event loop that may yet run
            super().__del__(*arguments)

    def _new_socket(self, address: "aiohttp.connector.AddrInfoType") -> socket.socket:
        made = socket.socket(*address[:3])
        if self._probes:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._sockets.add(made)
        return made

    def disown(self) -> None:
        """Disown the connector after a fork: its sockets belong to the parent and must not be closed here."""
        self._let_go = True

    def leave_to_parent(self) -> None:
        """
        Put a dead socket in the place of each connection, in a process that was forked.

        The event loop was copied with the process, and both watch the same connections through one selector. When the
        copied loop ends and closes a connection, the parent's loop would no longer be told of its answer.
        """
        self.disown()
        dead, other = socket.socketpair()
        with dead, other:
            for one in [one for one in self._sockets if one.fileno() >= 0]:
                with contextlib.suppress(OSError):
                    os.dup2(dead.fileno(), one.fileno(), inheritable=False)

    def shutdown_sockets(self) -> None:
        """End the connections from outside of the event loop that they belong to, which does not run."""
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            if self._loop.is_closed():
                one.close()

    async def connect(self, *arguments: Any, **more: Any) -> "aiohttp.connector.Connection":
        """
        Return a connection without outstanding bytes: a pooled one, or a new one if the current `Use` is fresh.

        Raises:
            ConfigurationError: The connection has no guard, because this aiohttp version makes it in another way.
        """
        use, aside = current.get(), []
        if use is None or use.again is not None:  # aiohttp sends a GET again by itself
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
                elif use.fresh:
                    aside.append(connection)
                else:
                    break
        finally:
            for one in aside:
                one.release()
        use.again = protocol.use is not None
        protocol.use = use
        connection.add_callback(use.end)
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
