"""What the tests of the endpoint share: an open endpoint, and raw requests to it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
from fleet.fleets import Service, open_fleet, role
from patience import soon

from sts_async.agent import CredentialsEndpoint, serve
from sts_async.fleet import CredentialsFleet
from sts_async.testing import LocalSTS, VirtualClock

DEMO = role()


@asynccontextmanager
async def open_endpoint(
    of: LocalSTS | Service, clock: VirtualClock, identities: Mapping[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[CredentialsFleet, CredentialsEndpoint]]:
    """Open a client, a fleet and an endpoint."""
    async with (
        open_fleet(of, clock) as fleet,
        serve(fleet, {"demo": DEMO} if identities is None else identities, **options) as endpoint,
    ):
        yield fleet, endpoint


@attrs.frozen
class Answered:
    """An answer: its status, its headers by lower-case name, and its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.body)
        return found


async def exchange(port: int, data: bytes, *, end: bool = False) -> list[Answered]:
    """
    Send bytes to the endpoint over a connection of their own, and return the answers until it is closed.

    With *end*, the sending side is closed first: for bytes after which the server may wait for more.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        received = await soon(reader.read())
    finally:
        writer.close()
        await writer.wait_closed()
    return list(_answers_in(received))


def _answers_in(received: bytes) -> Any:
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        yield Answered(int(first.split()[1]), headers, received[:length])
        received = received[length:]


def request(
    endpoint: CredentialsEndpoint,
    *lines: str,
    method: str = "GET",
    path: str = "/role/demo",
    host: str | None = None,
    token: str | None = "",
    body: str = "",
    close: bool = True,
) -> bytes:
    """Return a request; *token* is that of the path if it is empty."""
    if token == "":
        token = endpoint.token_file("demo").read_text()
    head = [f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{endpoint.port}'}", "Accept: application/json"]
    head += ["Connection: close"] if close else []
    head += [] if token is None else [f"Authorization: {token}"]
    return "\r\n".join([*head, *lines, "", body]).encode("latin-1")


async def ask(endpoint: CredentialsEndpoint, *lines: str, **parts: Any) -> Answered:
    """Return the answer to one request."""
    (answered,) = await exchange(endpoint.port, request(endpoint, *lines, **parts))
    return answered
