"""
A fleet of identities on a virtual clock, each asked for once a second, through hours in which their source fails.

An hour of 1,000 identities is 3.6 million callers, and most of them get what the one before got: what a caller does
changes only at the moments that an identity holds. So only the callers at such a moment are played, and each stands
for those behind it; `Fleet.run(..., every_second=True)` plays all, to show that it makes no difference.
"""

import asyncio
import heapq
import logging
import math
import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sts_async._engine.loop import new_engine
from sts_async.credentials import RefreshingProvider
from sts_async.credentials._schedule import CacheState, Moment, Step, next_step
from sts_async.errors import STSError
from sts_async.protocols import ProviderContext
from sts_async.shapes import Credentials

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class Line(NamedTuple):
    """A line of the log: when, of which identity, how bad, and the text."""

    second: float
    name: str
    level: int
    text: str


class Identity(RefreshingProvider):
    """One of a fleet. Its source does what the fleet's does."""

    def __init__(self, fleet: "Fleet", number: int) -> None:
        super().__init__()
        self.fleet = fleet
        self.number = number
        self.name = f"role {number}"
        self.failures: list[tuple[int, int]] = []  # from which second on callers failed, and how many

    async def fetch(self, context: ProviderContext) -> Credentials:
        self.fleet.attempts.append((self.fleet.now, self.number))
        if self.fleet.error is not None:
            raise self.fleet.error
        return Credentials(
            access_key_id=f"ASIA{len(self.fleet.attempts):016}",
            secret_access_key="x",
            expiration=datetime.fromtimestamp(START + self.fleet.now + self.fleet.lifetime, UTC),
        )

    @property
    def state(self) -> CacheState:
        return self._caches.all()[-1].state

    @property
    def fresh(self) -> bool:
        """Whether its credentials are good for longer than a minute, and the last fetch succeeded."""
        return (
            self._caches.all()[-1].state.failing_since is None
            and self._caches.all()[-1].state.mandatory.monotonic > self.fleet.now
        )


class Fleet(logging.Handler):
    """
    Identities that are asked for once a second, all at the same moment.

    Args:
        size: How many.
        lifetime: Seconds for which their credentials are good.
        seed: Of all randomness.

    Attributes:
        now: Seconds since the beginning.
        error: What their source fails with, or None while it works.
        attempts: The second and the identity of each fetch.
        lines: What the library logged.
    """

    def __init__(self, size: int, *, lifetime: float = 3600.0, seed: int = 1) -> None:
        super().__init__(logging.INFO)
        self.now = 0
        self.lifetime = lifetime
        self.error: STSError | None = None
        self.attempts: list[tuple[int, int]] = []
        self.lines: list[Line] = []
        self.identities = [Identity(self, number) for number in range(size)]
        self._queue = [(0, number) for number in range(size)]
        absent: Any = None
        self._context = new_engine(
            endpoint=None,
            transport=absent,
            credentials=absent,
            retries=absent,
            wall_clock=lambda: START + self.now,
            monotonic=lambda: float(self.now),
            jitter=random.Random(seed).random,
        ).context

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.lines.append(Line(self.now, text.partition(":")[0], record.levelno, text))

    async def run(self, seconds: int, *, error: STSError | None = None, every_second: bool = False) -> None:
        """Have *seconds* go by, during which the source fails with *error*."""
        begun, ends = self.now, self.now + seconds
        self.error = error
        logger = logging.getLogger("sts_async")
        level, propagates = logger.level, logger.propagate
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        # Those who come first in this span may find that the source has changed.
        self._queue = sorted((max(begun, second), number) for second, number in self._queue)
        try:
            while self._queue and self._queue[0][0] < ends:
                await self._second(ends, every_second=every_second)
        finally:
            logger.removeHandler(self)
            logger.setLevel(level)
            logger.propagate = propagates
        self.now = ends

    async def _second(self, ends: int, *, every_second: bool) -> None:
        self.now = self._queue[0][0]
        asked: list[tuple[int, bool]] = []
        while self._queue and self._queue[0][0] == self.now:
            _, number = heapq.heappop(self._queue)
            try:
                await self.identities[number].provide_credentials(self._context)
            except STSError:
                asked.append((number, False))
            else:
                asked.append((number, True))
        while self._context.tasks._running:
            await asyncio.sleep(0)
        for number, served in asked:
            identity = self.identities[number]
            following = self.now + 1 if every_second else _next(identity.state, self.now)
            if not served:
                identity.failures.append((self.now, min(following, ends) - self.now))
            heapq.heappush(self._queue, (min(following, ends), number))

    def failed_callers(self, *, since: int = 0) -> int:
        """Return how many callers got an error."""
        return sum(callers for one in self.identities for second, callers in one.failures if second >= since)

    def attempts_between(self, begins: float, ends: float) -> list[int]:
        """Return the seconds of the attempts in a span."""
        return [second for second, _ in self.attempts if begins <= second < ends]

    def most_attempts_in_an_hour(self, begins: int, ends: int) -> float:
        """Return the attempts of an identity, on average, in the worst hour of a span; hours begin every 5 minutes."""
        hours = range(begins, max(ends - 3600, begins) + 1, 300)
        return max(len(self.attempts_between(hour, hour + 3600)) for hour in hours) / len(self.identities)

    def most_lines(self, begins: float, ends: float) -> int:
        """Return how many lines the identity with the most of them had in a span."""
        counts = Counter(line.name for line in self.lines if begins <= line.second < ends)
        return max(counts.values(), default=0)


def slots(seconds: Iterable[int], begins: int, ends: int, *, width: int = 10) -> list[int]:
    """Return how many of *seconds* are in each slot of a span."""
    counts = Counter((second - begins) // width for second in seconds if begins <= second < ends)
    return [counts[slot] for slot in range((ends - begins) // width)]


def _next(state: CacheState, second: int) -> int:
    """Return the next second at which a caller may do something else than the one before."""
    at = Moment(START + second + 1, second + 1.0)
    if next_step(state, now=at) in (Step.REFRESH, Step.REFRESH_IN_BACKGROUND):
        return second + 1
    moments = (state.advisory, state.mandatory, state.paused_until)
    later = [moment.monotonic for moment in moments if second + 1 < moment.monotonic < math.inf]
    return math.ceil(min(later, default=second + 86_400.0))
