"""A clock that a test controls, for clients and servers: an outage of six hours takes a second."""

import asyncio
import contextvars
import heapq
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

ROUNDING = 1e-9  # seconds: a sum of seconds this close before a timer reaches it
MAX_CANCELLED = 64  # cancelled timers that the queue may have in addition to as many as there are others


class TellsTime(Protocol):
    """An object that returns the time, such as a `VirtualClock`."""

    def time(self) -> float:
        """Return seconds since 1970."""
        ...


TimeSource = Callable[[], float] | TellsTime
"""A clock for the servers of this package: a function that returns seconds since 1970, or an object with `time`."""


def time_function(clock: TimeSource) -> Callable[[], float]:
    """
    Return the function of *clock* that returns the time.

    Raises:
        ValueError: *clock* is neither a function nor an object with a method `time`.
    """
    function: Any = getattr(clock, "time", clock)
    if not callable(function) or isinstance(clock, type):
        raise ValueError(
            "clock must be an object with a method `time`, such as VirtualClock(), or a function that returns seconds "
            f"since 1970, not {clock.__name__ if isinstance(clock, type) else 'a ' + type(clock).__name__}"
        )
    return function  # type: ignore[no-any-return]


class VirtualClock:
    """
    A clock that moves only when a test advances it or a task sleeps on it.

        clock = VirtualClock()
        async with LocalSTS(clock=clock) as server:
            role = AssumeRoleProvider(role_arn="arn:aws:iam::123456789012:role/demo", source=server.credentials)
            async with server.client(credentials=role, clock=clock) as sts:
                before = await sts.get_credentials()
                server.faults.add(Unavailable(operation="AssumeRole", times=None))
                for _ in range(6 * 60):
                    clock.advance(60)
                    assert await sts.get_credentials() == before  # cached credentials stay in use
                server.faults.clear()
                clock.advance(600)
                await sts.get_credentials()  # starts a refresh in the background
                assert await sts.get_credentials() != before

    `sleep` advances the clock immediately, so the delay before a retry takes no time. If several tasks sleep, the first
    one advances the clock, and the others advance it only by the rest. Deadlines of calls, and time limits of fetches
    of credentials, use the clock of the event loop, so they also end a call that hangs in a test.

    `call_later` starts a timer, as that of an event loop does. Timers are due by `monotonic`, so `set` runs none.
    `advance` schedules the callbacks of all timers that it reaches, and they see the time after it. `sleep` stops at
    each timer and lets its callback run, so the callback sees the time at which it was due, and can start a new timer.

    Args:
        start: Seconds since 1970; None for the time of this host.
    """

    def __init__(self, start: float | None = None) -> None:
        self._wall = time.time() if start is None else start
        self._monotonic = 0.0
        self._lock = threading.Lock()  # for the timers: loops of several threads can have some
        self._timers: dict[int, VirtualTimer] = {}  # that are not due, by number
        self._queue: list[tuple[float, int]] = []  # a heap of due times and numbers; also of timers that were cancelled
        self._started = 0  # timers; their numbers make those that are due together run in order

    def time(self) -> float:
        """Return seconds since 1970."""
        return self._wall

    def monotonic(self) -> float:
        """Return seconds since the clock was created. `set` does not change this time."""
        return self._monotonic

    @property
    def next_timer(self) -> float | None:
        """When the next timer is due, by `monotonic`; None without timers."""
        with self._lock:
            self._drop_cancelled()
            return self._queue[0][0] if self._queue else None

    async def sleep(self, seconds: float) -> None:
        """
        Let other tasks run once, then advance the clock to *seconds* after now, unless it has passed this time.

        The clock stops at each timer on the way, and the callback runs before the clock goes on.
        """
        wanted = self._monotonic + seconds
        await asyncio.sleep(0)
        while self._monotonic < wanted:
            due = self.next_timer
            if due is None or due > wanted:
                self.advance(wanted - self._monotonic)
                return
            self.advance(due - self._monotonic)
            await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """
        Advance both clocks by *seconds*, and schedule the callbacks of the timers that are due then.

        Raises:
            ValueError: *seconds* is negative. Only `set` can move the wall clock back.
        """
        if seconds < 0:
            raise ValueError("advance takes seconds of at least 0; set(...) moves the wall clock back")
        monotonic, due = self._monotonic + seconds, self.next_timer
        if due is not None and monotonic < due <= monotonic + ROUNDING:
            monotonic = due
        self._wall += seconds
        self._monotonic = monotonic
        for timer in self._reached():
            timer._schedule()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> "VirtualTimer":
        """
        Call *callback* in the running event loop when `monotonic` has moved by *seconds*; if not positive, at once.

        Another thread can advance the clock. A timer of a closed event loop is dropped when it is due.

        Raises:
            RuntimeError: No event loop runs in this thread.
        """
        timer = VirtualTimer(self, callback)
        if not seconds > 0:
            timer._schedule()
            return timer
        with self._lock:
            self._started += 1
            timer._number = self._started
            self._timers[timer._number] = timer
            heapq.heappush(self._queue, (self._monotonic + seconds, timer._number))
        return timer

    def set(self, time: float) -> None:
        """
        Set the wall clock to *time*, in seconds since 1970, as NTP would.

        `monotonic` does not change, so no timer becomes due.
        """
        self._wall = time

    def __repr__(self) -> str:
        return f"VirtualClock({self._wall!r})"

    def _reached(self) -> "list[VirtualTimer]":
        """Remove the timers that are due, and return them in the order in which they are due."""
        reached = list[VirtualTimer]()
        with self._lock:
            while self._queue and self._queue[0][0] <= self._monotonic:
                timer = self._timers.pop(heapq.heappop(self._queue)[1], None)
                if timer is not None:
                    reached.append(timer)
        return reached

    def _forget(self, number: int) -> None:
        """Remove a cancelled timer; its line of the queue stays until there are too many of them."""
        with self._lock:
            self._timers.pop(number, None)
            if len(self._queue) > 2 * len(self._timers) + MAX_CANCELLED:
                self._queue = [line for line in self._queue if line[1] in self._timers]
                heapq.heapify(self._queue)

    def _drop_cancelled(self) -> None:
        """Remove cancelled timers from the head of the queue. The caller has the lock."""
        while self._queue and self._queue[0][1] not in self._timers:
            heapq.heappop(self._queue)


class VirtualTimer:
    """A timer of a `VirtualClock`, made by `VirtualClock.call_later`."""

    def __init__(self, clock: VirtualClock, callback: Callable[[], object]) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._callback: Callable[[], object] | None = callback
        self._number = 0

    def cancel(self) -> None:
        """Cancel the timer. If the callback was called or the timer was cancelled, do nothing."""
        if self._callback is not None:
            self._callback = None
            self._clock._forget(self._number)

    def _schedule(self) -> None:
        """Have the event loop call the callback in its next turn, unless the timer is cancelled until then."""
        try:
            # Also in its own thread: `call_soon` would need to know that this loop runs here.
            self._loop.call_soon_threadsafe(self._run, context=self._context)
        except RuntimeError:  # the loop is closed
            self._callback = None

    def _run(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
