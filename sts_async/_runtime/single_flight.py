"""
Work that many wait for and one task does, and the tasks that a client has begun.

A flight is a task of its own. Cancelling a caller that waits for it does not end it, and later callers join it. It
belongs to no caller: it sees none of a caller's context variables, and its time is bounded by itself alone.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

from ..errors import ClientClosedError, DeadlineExceeded, STSError
from .defaults import TASKS_GRACE
from .outcome import Outcome, copy_without_traceback

T = TypeVar("T")


class BackgroundTasks:
    """Tasks that are ended together, in whichever event loops they run: those of one client."""

    __slots__ = ("_closed", "_flights", "_running")

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._flights: set[_Flight[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """
        Begin *work* in the running event loop, in an empty context: what a caller has set for itself stays there.

        Raises:
            ClientClosedError: All were ended.
        """
        if self._closed:
            work.close()
            raise ClientClosedError
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def aclose(self, *, grace: float = TASKS_GRACE) -> None:
        """Cancel all, and wait until those of the running event loop have ended, at most *grace* seconds."""
        self._closed = True
        here = asyncio.get_running_loop()
        ending = []
        for task in list(self._running):
            loop = task.get_loop()
            if task is asyncio.current_task():  # a source that closes its own client
                continue
            if loop is here:
                task.cancel()
                ending.append(task)
            else:
                with contextlib.suppress(RuntimeError):  # that loop is closed
                    loop.call_soon_threadsafe(task.cancel)
        if ending:
            await asyncio.wait(ending, timeout=grace)
        # A task that ignores cancellation may never end: release its waiters now.
        for flight in list(self._flights):
            if flight.task.get_loop() is here:
                flight.resolve()


class _Flight(Generic[T]):
    """One piece of work, under way."""

    __slots__ = ("_timer", "begun_by", "late", "task", "waiting")

    def __init__(self, task: "asyncio.Task[Outcome[T]]", begun_by: BackgroundTasks) -> None:
        self.task = task
        self.begun_by = begun_by
        self.late: STSError | None = None
        self.waiting: dict[asyncio.Future[None], None] = {}
        self._timer: asyncio.TimerHandle | None = None
        task.add_done_callback(self.resolve)

    def end_after(self, seconds: float, late: Callable[[float], STSError]) -> None:
        """Give up the work after *seconds*, even if it does not let itself be cancelled."""

        def give_up() -> None:
            self.late = late(seconds)
            self.task.cancel()
            self.resolve()

        self._timer = self.task.get_loop().call_later(seconds, give_up)

    @property
    def over(self) -> bool:
        """Whether later callers must begin another flight."""
        return self.late is not None or self.task.done()

    def resolve(self, task: object = None) -> None:
        """Wake all waiters; each reads the task's result."""
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> T:
        """Return what the work returned, or raise what it raised, as a new exception for each who waits."""
        if self.late is None and not self.task.done():
            waiter = asyncio.get_running_loop().create_future()
            self.waiting[waiter] = None
            try:
                await waiter
            finally:
                del self.waiting[waiter]
        if self.late is not None:
            raise copy_without_traceback(self.late)
        if self.task.cancelled() or not self.task.done():
            raise ClientClosedError("the client that started this work was closed")
        return self.task.result().for_another().unwrap()


def _given_up(seconds: float) -> STSError:
    return DeadlineExceeded(f"the client's background work timed out after {seconds:g} s")


class SingleFlight(Generic[T]):
    """
    At most one flight in each event loop, for each key.

    Args:
        late: Returns the error for those who wait for a flight that is given up after some seconds.
    """

    __slots__ = ("_late", "_under_way")

    def __init__(self, *, late: Callable[[float], STSError] = _given_up) -> None:
        self._late = late
        self._under_way: dict[tuple[asyncio.AbstractEventLoop, object], _Flight[T]] = {}

    def join(
        self,
        tasks: BackgroundTasks,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        key: object = None,
        seconds: float | None = None,
    ) -> _Flight[T]:
        """
        Return the flight that is under way in this event loop, or begin one among *tasks*.

        Args:
            tasks: Those of the client.
            work: Called when a flight begins.
            key: What tells this work from other work.
            seconds: After which the flight is given up, so that the next caller begins another; None for work that
                bounds itself.
        """
        loop = asyncio.get_running_loop()
        place = (loop, key)
        flight = self._under_way.get(place)
        if flight is None or flight.over:
            flight = _Flight(tasks.spawn(Outcome.capture_async(work)), tasks)
            if seconds is not None:
                flight.end_after(seconds, self._late)
            self._under_way[place] = flight
            tasks._flights.add(flight)
            flight.task.add_done_callback(partial(self._forget, place, flight))
            for other in list(self._under_way):
                if other[0].is_closed():
                    self._forget(other, self._under_way[other])
        return flight

    def _forget(self, place: tuple[asyncio.AbstractEventLoop, object], flight: _Flight[T], task: object = None) -> None:
        flight.begun_by._flights.discard(flight)
        if self._under_way.get(place) is flight:
            del self._under_way[place]

    async def get(
        self,
        tasks: BackgroundTasks,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        key: object = None,
        seconds: float | None = None,
    ) -> T:
        """Join the running flight, or start one, and return its result or raise its error."""
        while True:
            flight = self.join(tasks, work, key=key, seconds=seconds)
            try:
                return await flight.wait()
            except ClientClosedError:
                if flight.begun_by is tasks:
                    raise
                # Another client started it and was closed: start our own.
