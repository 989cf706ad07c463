"""What the tests of bridges share: views of a client and of a fleet, and time that passes while they are used."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from documents import DOCUMENTS
from patience import soon, turns, until

from sts_async import AssumeRoleRequest, STSClient
from sts_async._runtime.other_loops import run_in
from sts_async.bridges import CredentialsView
from sts_async.bridges._view import LOOP
from sts_async.fleet import CredentialsFleet
from sts_async.protocols import CredentialsProvider
from sts_async.testing import LocalSTS, VirtualClock

ARN = "arn:aws:iam::123456789012:role/demo"
ROLE = AssumeRoleRequest(role_arn=ARN, role_session_name="me")
HOUR = 3600
ROWS = re.findall(r"^\| (\w[\w-]+)(?: ([\d.]+))? \| `(.+)` \|$", DOCUMENTS["sts_async/bridges/README.md"], re.MULTILINE)
"""The lines of the table: a library, its oldest version or "", and code."""


_IDLE: list[Callable[[], bool]] = []


@contextmanager
def idle_if(condition: Callable[[], bool]) -> Iterator[None]:
    """Have `for_hours` wait for *condition* before time passes."""
    _IDLE.append(condition)
    try:
        yield
    finally:
        _IDLE.remove(condition)


@asynccontextmanager
async def of_client(server: LocalSTS, clock: VirtualClock) -> AsyncIterator[STSClient]:
    async with server.client(clock=clock) as sts:
        with idle_if(lambda: not sts._life._tasks._running):
            yield sts.role(ARN)


@asynccontextmanager
async def of_fleet(server: LocalSTS, clock: VirtualClock) -> AsyncIterator[CredentialsProvider]:
    async with server.client(clock=clock) as sts, CredentialsFleet(sts) as fleet:
        fleet.add(ROLE)
        await fleet.warm_up()
        with idle_if(lambda: not (fleet.snapshot().refreshing or fleet.snapshot().queued)):
            yield fleet.provider(ROLE)


each_kind = pytest.mark.parametrize("kind", [of_client, of_fleet], ids=["client", "fleet"])
"""The two kinds of credentials that bridges take."""


@asynccontextmanager
async def by_client(server: LocalSTS, clock: VirtualClock) -> AsyncIterator[CredentialsView]:
    async with of_client(server, clock) as sts:
        yield CredentialsView(sts)


@asynccontextmanager
async def by_fleet(server: LocalSTS, clock: VirtualClock) -> AsyncIterator[CredentialsView]:
    async with server.client(clock=clock) as sts, CredentialsFleet(sts) as fleet:
        yield CredentialsView(fleet.provider(ROLE))


each_source = pytest.mark.parametrize("source", [by_client, by_fleet], ids=["client", "fleet"])
"""Views of both, with nothing in memory."""


def assumed(server: LocalSTS) -> int:
    """Return how often the role was assumed."""
    return [request.operation for request in server.requests].count("AssumeRole")


async def for_hours(hours: int, clock: VirtualClock, call: Callable[[], Any]) -> None:
    """
    Do *call* every ten minutes of a virtual time: in a thread, or in this event loop if it is a coroutine.

    Refreshes in the background end before the time passes. Otherwise their signatures would be too old for the service
    on a busy machine.
    """
    for _ in range(hours * 6):
        await soon(call() if asyncio.iscoroutinefunction(call) else asyncio.to_thread(call))
        await run_in(LOOP.loop(), turns)
        await turns()
        await until(lambda: all(idle() for idle in _IDLE))
        clock.advance(600)


class Tokens:
    """
    The tokens that have arrived at a server of a test, as URLs.

    Attributes:
        expired: The access keys that had expired when they arrived.
        keys: The access keys, each once.
    """

    def __init__(self, server: LocalSTS, clock: VirtualClock) -> None:
        self._server = server
        self._clock = clock
        self.urls: list[str] = []
        self.expired: list[str] = []
        self.keys: list[str] = []

    def add(self, url: str) -> None:
        query = dict(parse_qsl(urlsplit(url).query))
        key = query["X-Amz-Credential"].split("/")[0]
        owner = self._server._directory.holder(key)
        assert owner is not None
        assert query["X-Amz-Security-Token"] == owner.credentials.session_token
        ends = owner.credentials.expiration
        assert ends is not None
        self.urls.append(url)
        if ends.timestamp() <= self._clock.time():
            self.expired.append(key)
        if key not in self.keys:
            self.keys.append(key)


def decoded(token: str) -> str:
    """Return the URL in base64url without padding."""
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
