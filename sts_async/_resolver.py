"""
Look-ups of names, in threads of their own.

In the event loop's own threads, look-ups that hang would keep from their work whoever else uses those.
"""

import asyncio
import contextlib
import os
import socket
import threading
from collections import OrderedDict
from typing import Any, NamedTuple

THREADS = 8  # of one process; as many look-ups can hang before others have to wait for one of them


class Address(NamedTuple):
    """
    An address that a name stands for.

    Attributes:
        host: In digits, with its zone where it needs one.
        port: As it was given.
        family: ``AF_INET`` or ``AF_INET6``.
        protocol: That of a stream.
    """

    host: str
    port: int
    family: int
    protocol: int


class _LookUp:
    __slots__ = ("_found", "_host", "_loop", "_port", "family")

    def __init__(self, host: str, port: int, family: int) -> None:
        self._host, self._port, self.family = host, port, family
        self._loop = asyncio.get_running_loop()
        self._found: asyncio.Future[list[Address]] = self._loop.create_future()

    async def wait(self) -> list[Address]:
        return await self._found

    def run(self) -> None:
        """Look up, in the thread that calls, and tell the event loop."""
        try:
            outcome: list[Address] | Exception = _addresses(self._host, self._port, self.family)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            outcome = error
        with contextlib.suppress(RuntimeError):  # that loop is closed
            self._loop.call_soon_threadsafe(self._land, outcome)

    def _land(self, outcome: list[Address] | Exception) -> None:
        if self._found.done():
            return
        if isinstance(outcome, Exception):
            self._found.set_exception(outcome)
        else:
            self._found.set_result(outcome)


class LookUps:
    """
    Look-ups in at most *threads* threads, which live as long as there is something to look up.

    They are daemons: a look-up that hangs does not keep the process from ending.
    """

    def __init__(self, *, threads: int = THREADS) -> None:
        self._most = threads
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget all threads, as a process that was forked must: it has none of them."""
        self._lock = threading.Lock()
        # Not a dict: finding its first key takes longer with each key that was deleted before that one.
        self._waiting: OrderedDict[_LookUp, None] = OrderedDict()
        self.running = 0

    async def addresses(self, host: str, port: int, *, family: int = socket.AF_UNSPEC, seconds: float) -> list[Address]:
        """
        Return the addresses of a host, in the order of the system.

        Args:
            host: A name.
            port: Given back with each of them.
            family: ``AF_INET``, ``AF_INET6``, or ``AF_UNSPEC`` for both.
            seconds: How long it may take, the wait for a thread included.

        Raises:
            OSError: There are none, or none in time.
        """
        look_up = _LookUp(host, port, family)
        try:
            if self._begin(look_up):
                async with asyncio.timeout(seconds):
                    return await look_up.wait()
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiting.pop(look_up, None)
        raise socket.gaierror(socket.EAI_AGAIN, "the name was not looked up in time")

    def _begin(self, look_up: _LookUp) -> bool:
        """Give it to a thread, now or in its turn; return False when the system has no more threads."""
        with self._lock:
            if self.running >= self._most:
                self._waiting[look_up] = None
                return True
            self.running += 1
        try:
            threading.Thread(target=self._work, args=(look_up,), name="sts-async-resolver", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self.running -= 1
            return False
        return True

    def _work(self, look_up: _LookUp | None) -> None:
        while look_up is not None:
            look_up.run()
            with self._lock:
                if self._waiting:
                    look_up, _ = self._waiting.popitem(last=False)
                else:
                    look_up = None
                    self.running -= 1


def _addresses(host: str, port: int, family: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
    except socket.gaierror:
        if host.rstrip(".").lower() != "localhost":
            raise
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)  # it has addresses that nobody configured
    return [
        Address(_digits(kind, where), port, kind, protocol)
        for kind, _, protocol, _, where in found
        if kind == socket.AF_INET or (kind == socket.AF_INET6 and len(where) == 4)
    ]


def _digits(family: int, where: tuple[Any, ...]) -> str:
    if family == socket.AF_INET6 and where[3]:  # an address that is valid on one link only
        return socket.getnameinfo(where, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return str(where[0])


LOOK_UPS = LookUps()
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LOOK_UPS.start_afresh)
