"""A clock that a test controls, for clients and servers: an outage of six hours takes a second."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol


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

    Args:
        start: Seconds since 1970; None for the time of this host.
    """

    def __init__(self, start: float | None = None) -> None:
        self._wall = time.time() if start is None else start
        self._monotonic = 0.0

    def time(self) -> float:
        """Return seconds since 1970."""
        return self._wall

    def monotonic(self) -> float:
        """Return seconds since the clock was created. `set` does not change this time."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run once, then advance the clock to *seconds* after now, unless it has passed this time."""
        wanted = self._monotonic + seconds
        await asyncio.sleep(0)
        if self._monotonic < wanted:
            self.advance(wanted - self._monotonic)

    def advance(self, seconds: float) -> None:
        """
        Advance both clocks by *seconds*.

        Raises:
            ValueError: *seconds* is negative. Only `set` can move the wall clock back.
        """
        if seconds < 0:
            raise ValueError("advance takes seconds of at least 0; set(...) moves the wall clock back")
        self._wall += seconds
        self._monotonic += seconds

    def set(self, time: float) -> None:
        """Set the wall clock to *time*, in seconds since 1970, as NTP would. `monotonic` does not change."""
        self._wall = time

    def __repr__(self) -> str:
        return f"VirtualClock({self._wall!r})"
