"""
A bounded set of workers: here, a worker is a task that refreshes one identity. In `caches`, it is a whole fleet.

There is no task for an identity that waits, and no task at all while nothing is due. A worker that ends with an
unexpected error is counted.

Few workers start in one turn of the event loop. If a worker took the next identity when it was done, all requests would
stay in step. Fifty responses would arrive together, and one turn of the event loop would decode all of them and sign
fifty requests. With few starts in a turn, the requests spread out, at the same rate.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .._runtime.single_flight import BackgroundTasks
from ._entries import Entry
from ._queues import ReadyQueue

MAX_AT_ONCE = 200  # identities that are handled in one turn of the event loop
STARTS_IN_A_TURN = 4  # fetches that a pool starts in one turn of the event loop

log = logging.getLogger("sts_async")

CallLater = Callable[[float, Callable[[], None]], Any]
"""Calls a function after some seconds, and returns an object with a method ``cancel``."""

_WORKS_FOR: ContextVar["WorkerPool | None"] = ContextVar("sts_async_fleet_pool", default=None)


@contextmanager
def place_given_up() -> Iterator[None]:
    """
    Let another worker start while this one, or a task that its provider started, waits for a further identity.

    Otherwise many providers that wait for one another would take all places, and none of them could end. Outside of a
    worker, nothing changes.
    """
    pool = _WORKS_FOR.get()
    if pool is None:
        yield
        return
    pool._size += 1
    pool._idle()
    try:
        yield
    finally:
        pool._size -= 1


@contextmanager
def place_given_up_after(seconds: float, call_later: CallLater, and_then: Callable[[], None]) -> Iterator[None]:
    """
    Let another worker start if the block takes longer than some seconds.

    Args:
        seconds: The time that the block may take.
        call_later: Starts a timer: `asyncio.AbstractEventLoop.call_later` or that of a virtual clock.
        and_then: Called when the place is given up.
    """
    pool = _WORKS_FOR.get()
    given_up = 0

    def give_up() -> None:
        nonlocal given_up
        if pool is not None:
            given_up = 1
            pool._size += 1
        and_then()
        if pool is not None:
            pool._idle()

    timer = call_later(seconds, give_up)
    try:
        yield
    finally:
        timer.cancel()
        if pool is not None:
            pool._size -= given_up


class WorkerPool:
    """
    The workers for one kind of identities, and the queue that they take from.

    Args:
        size: Maximum number of workers.
        tasks: The tasks of the fleet.
        now: Returns monotonic seconds.
        can_start: Returns True if an entry can be refreshed now. Otherwise it returns to a queue when it can.
        refresh: The coroutine function that refreshes an entry.
        abandoned: Called with an entry whose worker ended with an unexpected error.
        idle: Called when a worker has ended.

    Attributes:
        ready: The entries that wait.
        running: Number of workers.
        restarts: Number of workers that ended with an unexpected error.
    """

    def __init__(
        self,
        *,
        size: int,
        tasks: BackgroundTasks,
        now: Callable[[], float],
        can_start: Callable[[Entry], bool],
        refresh: Callable[[Entry], Awaitable[None]],
        abandoned: Callable[[Entry], None],
        idle: Callable[[], None],
    ) -> None:
        self._size = size
        self._tasks = tasks
        self._now = now
        self._can_start = can_start
        self._refresh = refresh
        self._abandoned = abandoned
        self._idle = idle
        self.ready = ReadyQueue()
        self.running = 0
        self.restarts = 0
        self._closed = False

    def close(self) -> None:
        """Let no worker take another entry. A provider that ignores its cancellation may end later."""
        self._closed = True

    def dispatch(self) -> bool:
        """Start workers for entries that can be taken. Return True if it should be called again in the next turn."""
        for _ in range(STARTS_IN_A_TURN):
            if self.running >= self._size:
                return False
            entry = self._take()
            if entry is None:
                return False
            self.running += 1
            self._tasks.spawn(self._work(entry)).add_done_callback(self._ended)
        return True

    def _take(self) -> Entry | None:
        for _ in range(MAX_AT_ONCE):
            entry: Entry | None = None if self._closed else self.ready.take(self._now())
            if entry is None:
                return None
            if self._can_start(entry):
                # The task begins in a later turn. A caller in this turn waits for its fetch, and starts no second one.
                entry.refreshing = True
                return entry
            entry.refund()
        return None

    async def _work(self, entry: Entry) -> None:
        _WORKS_FOR.set(self)
        finished = False
        try:
            await self._refresh(entry)
            finished = True
        finally:
            entry.refund()
            if not finished:
                self._abandoned(entry)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.running -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            self.restarts += 1
            log.error("a refresh task of the fleet ended with %s and was replaced", type(error).__name__)
        self._idle()

    def next_time(self) -> float:
        """Return the earliest time at which a worker may take an entry; infinite if none waits or all are busy."""
        return self.ready.next_time() if self.running < self._size else math.inf
