"""
Work that many wait for and one does, and the tasks that a client has begun.

A flight is a task of its own: whoever waits for it can be cancelled without ending it, and whoever comes later joins.
"""

import asyncio
import contextlib
import copy
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from ._limits import TASKS_GRACE
from .errors import ClientClosedError, STSError

T = TypeVar("T")


class Tasks:
    """Tasks that are ended together, in whichever event loops they run."""

    __slots__ = ("_closed", "_running", "flights")

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False
        self.flights: set[_Flight[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """
        Begin *work* in the running event loop.

        Raises:
            ClientClosedError: All were ended.
        """
        if self._closed:
            work.close()
            raise ClientClosedError
        task = asyncio.get_running_loop().create_task(work)
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
        for flight in list(self.flights):  # of a task that did not end, nobody waits for the end
            if flight.task.get_loop() is here:
                flight.land()


class _Failed:
    """An exception, as a value: raised anew for everybody who waited."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def throw(self) -> BaseException:
        return again(self.error) if isinstance(self.error, STSError) else self.error.with_traceback(None)


class _Flight(Generic[T]):
    """One piece of work, under way."""

    __slots__ = ("begun_by", "task", "waiting")

    def __init__(self, task: "asyncio.Task[T | _Failed]", begun_by: Tasks) -> None:
        self.task = task
        self.begun_by = begun_by
        self.waiting: dict[asyncio.Future[None], None] = {}
        task.add_done_callback(self.land)

    def land(self, task: object = None) -> None:
        """Have those who wait look at what has become of the task."""
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> T:
        """Return what the work returned, or raise what it raised, as a new exception for each who waits."""
        if not self.task.done():
            waiter = asyncio.get_running_loop().create_future()
            self.waiting[waiter] = None
            try:
                await waiter
            finally:
                del self.waiting[waiter]
        if self.task.cancelled() or not self.task.done():
            raise ClientClosedError("the client that was to get it is closed")
        landed = self.task.result()
        if isinstance(landed, _Failed):
            raise landed.throw()
        return landed


class Flights(Generic[T]):
    """At most one flight in each event loop."""

    __slots__ = ("_under_way",)

    def __init__(self) -> None:
        self._under_way: dict[asyncio.AbstractEventLoop, _Flight[T]] = {}

    def join(self, tasks: Tasks, work: Callable[[], Coroutine[Any, Any, T]]) -> _Flight[T]:
        """Return the flight that is under way in this event loop, or begin one among *tasks*."""
        loop = asyncio.get_running_loop()
        flight = self._under_way.get(loop)
        if flight is None or flight.task.done():
            flight = _Flight(tasks.spawn(_caught(work)), tasks)
            self._under_way[loop] = flight
            tasks.flights.add(flight)
            flight.task.add_done_callback(lambda _: self._forget(loop, flight))
            for ended in [other for other in list(self._under_way) if other.is_closed()]:
                self._forget(ended, self._under_way[ended])
        return flight

    def _forget(self, loop: asyncio.AbstractEventLoop, flight: _Flight[T]) -> None:
        flight.begun_by.flights.discard(flight)
        if self._under_way.get(loop) is flight:
            del self._under_way[loop]

    async def get(self, tasks: Tasks, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what one flight brings for everybody who asks meanwhile, or raise its error."""
        while True:
            flight = self.join(tasks, work)
            try:
                return await flight.wait()
            except ClientClosedError:
                if flight.begun_by is tasks:
                    raise
                # Another client began it, and was closed: then we do it.


async def _caught(work: Callable[[], Coroutine[Any, Any, T]]) -> "T | _Failed":
    try:
        return await work()
    except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - raised by everybody who waits
        return _Failed(error)


def again(error: STSError) -> STSError:
    """Return an equal error without the traceback of an earlier raise."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    if hasattr(error, "__notes__"):
        copied.__notes__ = list(error.__notes__)
    return copied
