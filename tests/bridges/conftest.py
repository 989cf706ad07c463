"""What every test of a bridge gets: a clock, an STS, and a server that verifies signatures."""

from collections.abc import AsyncIterator, Iterator

import pytest
from bridges.signed_server import SignedServer
from bridges.sources import Tokens

from sts_async.testing import LocalSTS, VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def server(clock: VirtualClock) -> AsyncIterator[LocalSTS]:
    async with LocalSTS(clock=clock) as server:
        yield server


@pytest.fixture
def tokens(server: LocalSTS, clock: VirtualClock) -> Tokens:
    return Tokens(server, clock)


@pytest.fixture
def service(server: LocalSTS) -> Iterator[SignedServer]:
    with SignedServer(server) as service:
        yield service
