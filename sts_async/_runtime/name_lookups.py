"""
Look-ups of names, in threads of their own.

In the event loop's own threads, look-ups that hang would keep from their work whoever else uses those.
"""

import asyncio
import socket
from typing import Any, NamedTuple

from .threads import NoThread, Workers

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


class NotLookedUp(socket.gaierror):
    """A name was not looked up in time; it may well have addresses."""


class LookUps(Workers):
    """Look-ups in at most *threads* threads, which live as long as there is something to look up."""

    def __init__(self, *, threads: int = THREADS) -> None:
        super().__init__(threads=threads, name="sts-async-resolver")

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
        try:
            look_up = self.submit(lambda: _addresses(host, port, family))
            try:
                async with asyncio.timeout(seconds):
                    return await look_up.result()
            finally:
                self.withdraw(look_up)
        except (TimeoutError, NoThread):
            pass
        raise NotLookedUp(socket.EAI_AGAIN, "the name was not looked up in time")


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
