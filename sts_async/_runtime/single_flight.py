"""
Single flight: one task does the work, and many callers wait for it. Also the background tasks of a client.

When ten thousand callers need new credentials at once, one of them must fetch them. The obvious ways fail:

- A lock around the fetch lets one caller in. But when that caller is cancelled, its fetch is cancelled too, and the
  next caller starts again. Under a stream of cancelled callers, no fetch ever completes.
- One shared future, awaited by all, is cancelled by the first caller that is cancelled.

So the work runs in a task that belongs to no caller, called a flight. The task has an empty context, so it sees no
context variables of the caller that started it. Its time limit is its own. Each caller waits on a future of its own:
cancelling the caller cancels only that future. The flight continues, and later callers join it.

A result is not kept: a caller that arrives after the end starts a new flight. A failure is a value in the task, and
each waiter raises a copy of it. Otherwise all waiters would share one traceback, which would grow with each raise.

A task belongs to one event loop. So each event loop has its own flights, and a flight of one loop is never awaited in
another.
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
    """The background tasks of one client. They are cancelled together, in every event loop that they run in."""

    __slots__ = ("_closed", "_flights", "_running")

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._flights: set[_Flight[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """
        Start *work* as a task of the running event loop. The task sees no context variables of the caller.

        Raises:
            ClientClosedError: `aclose` was called before.
        """
        if self._closed:
            work.close()
            raise ClientClosedError
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def aclose(self, *, grace: float = TASKS_GRACE) -> None:
        """
        Cancel all tasks. Wait until the tasks of the running event loop have ended, for at most *grace* seconds.

        Tasks of other event loops are cancelled, but not waited for.
        """
        self._closed = True
        current_loop = asyncio.get_running_loop()
        ending = []
        for task in list(self._running):
            loop = task.get_loop()
            # A source may close its own client. It must not wait for itself.
            if task is asyncio.current_task():
                continue
            if loop is current_loop:
                task.cancel()
                ending.append(task)
            else:
                # A closed event loop raises RuntimeError, and none of its tasks runs any more.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(task.cancel)
        if ending:
            await asyncio.wait(ending, timeout=grace)
        # A task that ignores cancellation may never end: release its waiters now.
        for flight in list(self._flights):
            if flight.task.get_loop() is current_loop:
                flight.resolve()


class _Flight(Generic[T]):
    """
    One running piece of work, and the callers that wait for it.

    Attributes:
        task: The task that does the work.
        started_by: The background tasks that *task* belongs to.
        timeout_error: The error for all waiters after the time limit has passed; None before.
        waiters: One future for each caller that waits, in order of arrival.
    """

    __slots__ = ("_timer", "started_by", "task", "timeout_error", "waiters")

    def __init__(self, task: "asyncio.Task[Outcome[T]]", started_by: BackgroundTasks) -> None:
        self.task = task
        self.started_by = started_by
        self.timeout_error: STSError | None = None
        self.waiters: dict[asyncio.Future[None], None] = {}
        self._timer: asyncio.TimerHandle | None = None
        task.add_done_callback(self.resolve)

    def abandon_after(self, seconds: float, make_timeout_error: Callable[[float], STSError]) -> None:
        """Abandon the work after *seconds*: cancel the task, and wake all waiters even if it ignores cancellation."""

        def abandon() -> None:
            self.timeout_error = make_timeout_error(seconds)
            self.task.cancel()
            self.resolve()

        self._timer = self.task.get_loop().call_later(seconds, abandon)

    @property
    def ended(self) -> bool:
        """Whether later callers must start a new flight."""
        return self.timeout_error is not None or self.task.done()

    def resolve(self, task: object = None) -> None:
        """Wake all waiters; each reads the task's result."""
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> T:
        """
        Wait for the work, and return its result.

        Raises:
            ClientClosedError: The client that started the work was closed.
            Exception: The work raised it, or it timed out. Each waiter gets its own copy.
        """
        if not self.ended:
            waiter = asyncio.get_running_loop().create_future()
            self.waiters[waiter] = None
            try:
                await waiter
            finally:
                del self.waiters[waiter]
        if self.timeout_error is not None:
            raise copy_without_traceback(self.timeout_error)
        if self.task.cancelled() or not self.task.done():
            raise ClientClosedError("the client that started this work was closed")
        return self.task.result().for_another().unwrap()


def _default_timeout_error(seconds: float) -> STSError:
    return DeadlineExceeded(f"the client's background work timed out after {seconds:g} s")


class SingleFlight(Generic[T]):
    """
    At most one running flight for each key, in each event loop.

    Args:
        make_timeout_error: Returns the error for waiters of a flight that timed out; its argument is the limit in
            seconds.
    """

    __slots__ = ("_make_timeout_error", "_running")

    def __init__(self, *, make_timeout_error: Callable[[float], STSError] = _default_timeout_error) -> None:
        self._make_timeout_error = make_timeout_error
        self._running: dict[tuple[asyncio.AbstractEventLoop, object], _Flight[T]] = {}

    def join(
        self,
        tasks: BackgroundTasks,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        key: object = None,
        seconds: float | None = None,
    ) -> _Flight[T]:
        """
        Return the running flight of this event loop and *key*. If there is none, start one.

        Args:
            tasks: The background tasks of the client. A new flight belongs to them.
            work: Called once when a flight starts.
            key: Identifies the work. Callers with the same key share a flight.
            seconds: Time limit of a new flight, after which the next caller starts another; None for work that has its
                own limit.

        Raises:
            ClientClosedError: *tasks* are closed.
        """
        loop = asyncio.get_running_loop()
        slot = (loop, key)
        flight = self._running.get(slot)
        if flight is None or flight.ended:
            flight = _Flight(tasks.spawn(Outcome.capture_async(work)), tasks)
            if seconds is not None:
                flight.abandon_after(seconds, self._make_timeout_error)
            self._running[slot] = flight
            tasks._flights.add(flight)
            flight.task.add_done_callback(partial(self._forget, slot, flight))
            # The tasks of a closed event loop never end, so nothing else removes their flights.
            for other in list(self._running):
                if other[0].is_closed():
                    self._forget(other, self._running[other])
        return flight

    def _forget(self, slot: tuple[asyncio.AbstractEventLoop, object], flight: _Flight[T], task: object = None) -> None:
        flight.started_by._flights.discard(flight)
        if self._running.get(slot) is flight:
            del self._running[slot]

    async def get(
        self,
        tasks: BackgroundTasks,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        key: object = None,
        seconds: float | None = None,
    ) -> T:
        """Join the running flight, or start one. Return its result, or raise its error. See `join`."""
        while True:
            flight = self.join(tasks, work, key=key, seconds=seconds)
            try:
                return await flight.wait()
            except ClientClosedError:
                if flight.started_by is tasks:
                    raise
                # Another client started this flight and was closed: start a new one with *tasks*.
