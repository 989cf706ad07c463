"""
A day of a fleet, on the clocks of `simulation`: an outage, throttled hours, a wrong clock, a suspended machine.

With a caller per identity and second, 10,000 identities would have 864 million callers. Most of them would get the same
as the previous caller. An answer can become wrong only when credentials expire, so callers ask at these moments.
Further callers ask at random moments.
"""

import asyncio
import heapq
import logging
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import attrs
from fleet.simulation import START, Clock, StandIn, client, request_for

from sts_async import Credentials
from sts_async.errors import STSError
from sts_async.fleet import CredentialsFleet

MINUTE, HOUR = 60.0, 3600.0
PAUSE = 600.0  # s, the longest time between two attempts while the service cannot be reached
ASK_EVERY = 20.0  # s between two callers at random moments
SLOT = 60.0  # s in which requests are counted
STEADY = 50 * MINUTE  # s that credentials of an hour are used for, on average
SHARE = 2.0  # what the service admits in throttled hours, as a multiple of the mean rate


class Times(NamedTuple):
    """When the events of the day happen, in hours."""

    throttled: Sequence[tuple[float, float]] = ((3, 4), (18, 19))
    outage: tuple[float, float] = (10, 16)
    wall_clock: Sequence[tuple[float, float, float]] = ((5, 5.75, 20 * MINUTE), (6.5, 7.25, -20 * MINUTE))
    suspended: Sequence[tuple[float, float]] = ((8.5, 0.4), (20, 2))
    steady: tuple[float, float] = (1, 3)
    ends: float = 24


class Seen(NamedTuple):
    """
    A caller that got expired credentials, or an error.

    Attributes:
        at: Hours since the beginning of the day.
        number: The number of the role.
        error: The error; None if the caller got credentials.
    """

    at: float
    number: int
    error: str | None


@attrs.define
class Outcome:
    """
    The outcome of a day. A rate is in requests per second, and a peak is the rate of the busiest minute.

    Attributes:
        size: The number of identities.
        requests: Number of all requests.
        issued: Number of credentials that were issued.
        callers: Number of callers.
        ended: Callers that got expired credentials, although the service had been available for `PAUSE`.
        failed: Callers that got an error, although the service had been available for `PAUSE`.
        ended_in_outage: Number of callers that got expired credentials during the outage and `PAUSE` after it.
        attempts: Requests per hour and identity in the outage.
        lines: Log lines of one identity in the outage, at most.
        all_lines: Log lines per identity in the outage.
        recovered_after: Seconds from the end of the outage until all had new credentials; None if they never had.
        steady_mean: Rate in hours without events.
        steady_peak: Peak of these hours.
        outage_mean: Rate in the outage.
        outage_peak: Peak in the outage.
        recovery_mean: Rate in the ten minutes after the outage.
        recovery_peak: Peak in these ten minutes.
        day_peak: Peak of the day, without its first minute and the minutes after the clock jumped.
        refused: Number of requests that were throttled.
        skewed: Number of requests whose signature had a wrong time.
        tasks: Number of tasks at the end of the day, minus those at its start.
        timers: Number of timers at the end of the day.
    """

    size: int
    requests: int = 0
    issued: int = 0
    callers: int = 0
    ended: list[Seen] = attrs.field(factory=list)
    failed: list[Seen] = attrs.field(factory=list)
    ended_in_outage: int = 0
    attempts: float = 0.0
    lines: int = 0
    all_lines: float = 0.0
    recovered_after: float | None = None
    steady_mean: float = 0.0
    steady_peak: float = 0.0
    outage_mean: float = 0.0
    outage_peak: float = 0.0
    recovery_mean: float = 0.0
    recovery_peak: float = 0.0
    day_peak: float = 0.0
    refused: int = 0
    skewed: int = 0
    tasks: int = 0
    timers: int = 0


class Lines(logging.Handler):
    """Counts the lines of the log by role."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(logging.INFO)
        self._clock = clock
        self.found: list[tuple[float, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        role = re.search(r"r-\d{6}", text)
        self.found.append((self._clock.true, role.group() if role else "", text))

    def between(self, begins: float, ends: float) -> Counter[str]:
        """Return the number of lines for each role in a span."""
        return Counter(role for at, role, _ in self.found if begins <= at < ends)


class Day:
    """
    A day.

    Args:
        size: The number of identities.
        seed: Of all random numbers. The library draws its own from `random`, which is seeded too.
        times: When the events happen.
    """

    def __init__(self, size: int, *, seed: int = 1, times: Times | None = None) -> None:
        self.clock = Clock()
        self.sts = StandIn(self.clock)
        self.sts.on_issue = self._on_issue
        self.lines = Lines(self.clock)
        self.outcome = Outcome(size)
        self._times = times or Times()
        self._random = random.Random(seed)
        self._seed = seed
        self._requests = [request_for(number) for number in range(size)]
        self._ends: list[tuple[float, int]] = []
        self._not_recovered: set[int] = set()
        self._callers: set[asyncio.Task[None]] = set()
        self._fleet: CredentialsFleet

    async def run(self) -> Outcome:
        """Run the day, and return its outcome."""
        logger = logging.getLogger("sts_async")
        level, propagates, state = logger.level, logger.propagate, random.getstate()
        logger.addHandler(self.lines)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        random.seed(self._seed)
        tasks = len(asyncio.all_tasks())
        try:
            async with client(self.clock, self.sts) as sts, CredentialsFleet(sts) as self._fleet:
                self._fleet.add(*self._requests)
                for at, event in self._events():
                    await self._until(at)
                    event()
                await self._until(START + self._times.ends * HOUR)
                await self.clock.run(0)
                self.outcome.tasks = len(asyncio.all_tasks()) - tasks - len(self._callers)
                self.outcome.timers = self.clock.timers
        finally:
            for task in self._callers:
                task.cancel()
            random.setstate(state)
            logger.removeHandler(self.lines)
            logger.setLevel(level)
            logger.propagate = propagates
        self._summarize()
        return self.outcome

    def _events(self) -> list[tuple[float, Callable[[], object]]]:
        times = self._times
        admitted = SHARE * self.outcome.size / STEADY

        def set_to(thing: Any, name: str, value: object) -> Callable[[], None]:
            return lambda: setattr(thing, name, value)

        events = [(times.outage[0], set_to(self.sts, "down", True)), (times.outage[1], self._end_outage)]
        for begins, ends in times.throttled:
            events += [(begins, set_to(self.sts, "rate", admitted)), (ends, set_to(self.sts, "rate", None))]
        for begins, ends, error in times.wall_clock:
            events += [(begins, set_to(self.clock, "error", error)), (ends, set_to(self.clock, "error", 0.0))]
        for begins, hours in times.suspended:
            events.append((begins, lambda hours=hours: self.clock.suspend(hours * HOUR)))
        seconds = [(START + hour * HOUR, event) for hour, event in events if hour < times.ends]
        return sorted(seconds, key=lambda planned: planned[0])

    def _end_outage(self) -> None:
        self.sts.down = False
        self._not_recovered = set(range(self.outcome.size))

    async def _until(self, moment: float) -> None:
        """Advance the time to *moment* of the service's clock, and let callers ask in the meantime."""
        next_random = self.clock.true + ASK_EVERY
        while self.clock.true < moment:
            # A caller comes a second after an end: the text of an end has whole seconds.
            next_end = self._ends[0][0] + 1.0 if self._ends else moment
            following = min(moment, next_random, max(next_end, self.clock.true))
            await self.clock.run(following - self.clock.true)
            if self.clock.true >= next_random:
                next_random = self.clock.true + self._random.expovariate(1 / ASK_EVERY)
                self._ask(self._random.randrange(self.outcome.size))
            while self._ends and self._ends[0][0] + 1.0 <= self.clock.true:
                ends, number = heapq.heappop(self._ends)
                if self.sts.issued[number].ends == ends:
                    self._ask(number)

    def _on_issue(self, number: int) -> None:
        self.outcome.issued += 1
        heapq.heappush(self._ends, (self.sts.issued[number].ends, number))
        if self._not_recovered:
            self._not_recovered.discard(number)
            if not self._not_recovered:
                self.outcome.recovered_after = self.clock.true - START - self._times.outage[1] * HOUR

    def _ask(self, number: int) -> None:
        """Peek at the credentials of a role, and start a caller that gets them."""
        self._check(number, self._fleet.peek(self._requests[number]))
        task = asyncio.create_task(self._get(number))
        self._callers.add(task)
        task.add_done_callback(self._callers.discard)

    async def _get(self, number: int) -> None:
        try:
            credentials = await self._fleet.get(self._requests[number])
        except STSError as error:
            if not self._in_outage():
                self.outcome.failed.append(self._seen(number, str(error)))
        else:
            self._check(number, credentials)

    def _check(self, number: int, credentials: Credentials | None) -> None:
        self.outcome.callers += 1
        if credentials is None or credentials.expiration is None:
            return
        if credentials.expiration.timestamp() <= self.clock.true:
            if self._in_outage():
                self.outcome.ended_in_outage += 1
            else:
                self.outcome.ended.append(self._seen(number, None))

    def _seen(self, number: int, error: str | None) -> Seen:
        return Seen((self.clock.true - START) / HOUR, number, error)

    def _in_outage(self) -> bool:
        begins, ends = self._times.outage
        return begins * HOUR <= self.clock.true - START < ends * HOUR + PAUSE

    def _summarize(self) -> None:
        times, outcome, requests = self._times, self.outcome, self.sts.requests
        begins, ends = (START + hour * HOUR for hour in times.outage)
        outcome.requests, outcome.refused, outcome.skewed = len(requests), self.sts.refused, self.sts.skewed
        lines = self.lines.between(begins, ends)
        outcome.lines = max((count for role, count in lines.items() if role), default=0)
        outcome.all_lines = lines.total() / outcome.size
        outcome.steady_mean, outcome.steady_peak = self._rates(*(START + hour * HOUR for hour in times.steady))
        outcome.outage_mean, outcome.outage_peak = self._rates(begins, ends)
        outcome.recovery_mean, outcome.recovery_peak = self._rates(ends, ends + PAUSE)
        outcome.attempts = outcome.outage_mean * HOUR / outcome.size
        jumps = [0.0, *(at for begins, ends, _ in times.wall_clock for at in (begins, ends))]
        jumps += [begins + hours for begins, hours in times.suspended]
        quiet = pairwise(sorted([*jumps, times.ends]))
        outcome.day_peak = max(self._rates(START + a * HOUR + PAUSE, START + b * HOUR)[1] for a, b in quiet)

    def _rates(self, begins: float, ends: float) -> tuple[float, float]:
        """Return the mean rate of a span, and that of its busiest minute."""
        slots = Counter(int((at - begins) // SLOT) for at in self.sts.requests if begins <= at < ends)
        return slots.total() / (ends - begins), max(slots.values(), default=0) / SLOT
