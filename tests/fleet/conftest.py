"""Fixtures of the fleet tests: a virtual clock, an STS that runs, and a check that a test leaves nothing behind."""

from collections.abc import AsyncIterator

import pytest
from faults.conftest import _opened_once, _short_stacks
from faults.leaks import Leaks

from sts_async.testing import LocalSTS, VirtualClock

__all__ = ["_opened_once", "_short_stacks"]


@pytest.fixture
async def watched(_short_stacks: None) -> AsyncIterator[None]:
    """Fail a test that leaves a task, a descriptor, a thread of the library or an error that was never retrieved."""
    leaks = Leaks()
    yield
    assert await leaks.found() == []


@pytest.fixture
def clock() -> VirtualClock:
    """Return a clock that moves only when the test moves it."""
    return VirtualClock(start=1_767_225_600.0)  # 2026-01-01T00:00:00Z


@pytest.fixture
async def server(watched: None, clock: VirtualClock) -> AsyncIterator[LocalSTS]:
    """Return an STS that runs on the virtual clock."""
    async with LocalSTS(clock=clock) as running:
        yield running
