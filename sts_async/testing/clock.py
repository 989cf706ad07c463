"""A clock that a test moves, for clients and servers alike: six hours of an outage take a second."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol


class TellsTime(Protocol):
    """An object that tells the time, such as a `VirtualClock`."""

    def time(self) -> float:
        """Return seconds since 1970."""
        ...


TimeSource = Callable[[], float] | TellsTime
"""What the servers of this package accept as a clock."""


def time_function(clock: TimeSource) -> Callable[[], float]:
    """
    Return the function that tells the time of *clock*.

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
                    assert await sts.get_credentials() == before  # the last ones stay in use
                server.faults.clear()
                clock.advance(600)
                await sts.get_credentials()  # starts a refresh in the background
                assert await sts.get_credentials() != before

    Sleeping moves the clock at once, so a pause before a retry takes no time. Of several tasks that sleep, the first
    one moves it, and the others need only what is left. The deadlines of calls, and the bounds on fetching
    credentials, are kept on the event loop's own clock: they end what hangs in a test, too.

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
        """Return seconds since the clock was made, which `set` does not change."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Move the clock to *seconds* from now, unless it is there already when other tasks have had their turn."""
        wanted = self._monotonic + seconds
        await asyncio.sleep(0)
        if self._monotonic < wanted:
            self.advance(wanted - self._monotonic)

    def advance(self, seconds: float) -> None:
        """
        Let *seconds* pass.

        Raises:
            ValueError: They are negative: time does not run back. `set` moves the wall clock alone.
        """
        if seconds < 0:
            raise ValueError("advance takes seconds of at least 0; set(...) moves the wall clock back")
        self._wall += seconds
        self._monotonic += seconds

    def set(self, time: float) -> None:
        """Set the wall clock to *time*, in seconds since 1970, as NTP or a person would; `monotonic` goes on."""
        self._wall = time

    def __repr__(self) -> str:
        return f"VirtualClock({self._wall!r})"
