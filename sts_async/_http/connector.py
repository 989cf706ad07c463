"""
aiohttp connections that record whether they were reused and whether a response has begun. They close themselves when
unsolicited bytes arrive.
"""

import asyncio
import contextlib
import os
import re
import select
import socket
import weakref
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp

from .._runtime.name_lookups import LOOK_UPS
from .._runtime.requirements import require

require("aiohttp", aiohttp.__version__)

from aiohttp.abc import AbstractResolver, ResolveResult  # noqa: E402 - much older versions lack it
from aiohttp.client_proto import ResponseHandler  # noqa: E402

LAST_CHUNK = b"0\r\n\r\n"
_CONTENT_LENGTH = rb"(?i)\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*(?=\r\n|\Z)"


class Use:
    """
    One request over one connection.

    Attributes:
        again: Whether the connection had served before.
        answered: Whether anything has come since.
        over: Whether the answer has been read, or given up: whatever comes now answers nothing.
    """

    __slots__ = ("_ending", "_head", "_missing", "again", "answered", "over")

    def __init__(self, *, again: bool) -> None:
        self.again = again
        self.answered = False
        self.over = False
        self._head = b""  # what has come of it, until it is whole
        self._missing: int | None = None  # bytes until the answer is whole; None while its head is not, or in chunks
        self._ending = b""  # of an answer in chunks

    @property
    def ended_exactly(self) -> bool:
        """
        Whether the bytes that have come are one whole answer, and not one more.

        The parser keeps the beginning of another message to itself, and would go on with it in the next answer.
        """
        return self._missing == 0 or self._ending == LAST_CHUNK

    def came(self, data: bytes) -> None:
        """Count what has come of the answer."""
        self.answered = True
        if self._missing is not None:
            self._missing -= len(data)
        elif self._ending:
            self._ending = (self._ending + data)[-len(LAST_CHUNK) :]
        else:
            self._read_head(self._head + data)

    def _read_head(self, head: bytes) -> None:
        ends = head.find(b"\r\n\r\n")
        if ends < 0:
            self._head = head
            return
        self._head = b""
        length = re.compile(_CONTENT_LENGTH).search(head, 0, ends)
        if length is not None:
            self._missing = int(length[1]) - (len(head) - ends - 4)
        else:
            self._ending = head[-len(LAST_CHUNK) :]

    def end(self) -> None:
        """Record that the connection is back in the pool, or closed."""
        self.over = True


in_use: ContextVar[Use | None] = ContextVar("use", default=None)
"""What the current task sends over a connection; None while it has none."""

fresh: ContextVar[bool] = ContextVar("fresh", default=False)
"""Whether the current task wants a connection that has not served before."""


class Protocol(ResponseHandler):
    """
    A connection that notes whether it has served before, and whether an answer began.

    HTTP/1.1 does not say which request an answer belongs to. So bytes that come while no request is outstanding end
    the connection: read later, they would pass for the answer to the next caller's request (RFC 9112, section 9.2).
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
        if sending is None or self.should_close or (use is not None and not use.ended_exactly):
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
        """Return a connection on which nothing is outstanding: one of the pool, or a new one where `fresh` is set."""
        aside = []
        try:
            while True:
                connection = await super().connect(*arguments, **more)
                protocol = connection.protocol
                if not isinstance(protocol, Protocol):
                    return connection
                again = protocol.use is not None
                if again and not protocol.is_quiet():
                    connection.close()
                elif again and fresh.get():
                    aside.append(connection)
                else:
                    break
        finally:
            for one in aside:
                one.release()
        protocol.use = use = Use(again=again)
        connection.add_callback(use.end)
        in_use.set(use)
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
