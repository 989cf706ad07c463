"""What every test of faults gets: an event loop in debug mode, and a watch over what the test leaves behind."""

import asyncio.constants
import linecache
import os
import sys
from collections.abc import AsyncIterator

import pytest
from faults.leaks import Leaks

from sts_async.testing import LocalSTS

FRAMES = 1


@pytest.fixture(scope="session", autouse=True)
def _opened_once() -> None:
    """Open what stays open for the life of a process, so that it is no leak of the first test."""
    os.urandom(1)


@pytest.fixture(autouse=True)
def _short_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Keep a few frames of where tasks, handles and requests began, in place of all of pytest's.

    In debug mode, asyncio and aiohttp note that stack for everything they make, which is most of what a test costs.
    Each time, they would ask the disk whether the file of each frame has changed.
    """
    monkeypatch.setattr(linecache, "checkcache", lambda filename=None: None)
    monkeypatch.setattr(sys, "tracebacklimit", FRAMES, raising=False)
    monkeypatch.setattr(asyncio.constants, "DEBUG_STACK_DEPTH", FRAMES)


@pytest.fixture(autouse=True)
async def _nothing_is_left(_short_stacks: None) -> AsyncIterator[None]:
    """
    Fail every test after which something is left: a task, a file descriptor, a thread of the library's, or a word in
    the log or to the event loop of an error that nobody looked at, or of something that nobody closed.

    What is garbage by then says so in a ResourceWarning, which is an error of the test as well.
    """
    leaks = Leaks()
    yield
    assert await leaks.found() == []


@pytest.fixture
async def server(_nothing_is_left: None) -> AsyncIterator[LocalSTS]:
    """Return an STS that runs."""
    async with LocalSTS() as running:
        yield running
