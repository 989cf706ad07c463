"""
Name lookups in threads of their own.

The default threads of the event loop belong to the program. A lookup that hangs must not occupy them.
"""

import asyncio
import socket
from typing import Any, NamedTuple

from .threads import NoThread, Workers

THREADS = 8  # per process: so many lookups can hang before further ones have to wait


class Address(NamedTuple):
    """
    One address of a host.

    Attributes:
        host: Numeric address; a link-local IPv6 address includes its zone.
        port: The port of the lookup.
        family: ``AF_INET`` or ``AF_INET6``.
        protocol: Protocol number for a stream socket.
    """

    host: str
    port: int
    family: int
    protocol: int


class NotLookedUp(socket.gaierror):
    """The lookup did not complete in time. The name may still have addresses."""


class LookUps(Workers):
    """Look names up in at most *threads* threads. A thread ends when no lookup is queued."""

    def __init__(self, *, threads: int = THREADS) -> None:
        super().__init__(threads=threads, name="sts-async-resolver")

    async def addresses(self, host: str, port: int, *, family: int = socket.AF_UNSPEC, seconds: float) -> list[Address]:
        """
        Return the addresses of a host, in the order that the system returns them.

        Args:
            host: The name to look up.
            port: Returned with each address.
            family: ``AF_INET``, ``AF_INET6``, or ``AF_UNSPEC`` for both.
            seconds: Time limit in seconds, including the wait for a thread.

        Raises:
            NotLookedUp: The lookup did not complete in time, or no thread can be started.
            OSError: The name has no addresses, or the system cannot look it up.
            UnicodeError: The name is not valid in IDNA.
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
        # Without a network interface, AI_ADDRCONFIG excludes the loopback addresses as well.
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    # A system without IPv6 returns AF_INET6 addresses with fewer than 4 parts.
    return [
        Address(_numeric_host(kind, socket_address), port, kind, protocol)
        for kind, _, protocol, _, socket_address in found
        if kind == socket.AF_INET or (kind == socket.AF_INET6 and len(socket_address) == 4)
    ]


def _numeric_host(family: int, socket_address: tuple[Any, ...]) -> str:
    if family == socket.AF_INET6 and socket_address[3]:
        # A link-local address needs its zone, which only getnameinfo adds.
        return socket.getnameinfo(socket_address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return str(socket_address[0])


LOOK_UPS = LookUps()
"""The name lookups of this process."""
