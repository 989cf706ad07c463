"""A clock that a test moves, for clients and servers alike: six hours of an outage take a second."""

import asyncio
import time


class VirtualClock:
    """
    Time that passes only when a test says so, or when somebody sleeps on it.

        clock = VirtualClock()
        async with LocalSTS(clock=clock.time) as server, server.client(clock=clock) as sts:
            server.faults.add(Unavailable(times=1000))
            for _ in range(6 * 60):
                clock.advance(60)
                await sts.get_caller_identity()

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
