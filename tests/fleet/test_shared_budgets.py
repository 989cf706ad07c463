"""The budgets of many workers that share one limit: together never more, and soon where the work is."""

import asyncio
import itertools
import random
from collections.abc import Callable

import pytest
from fleet.caches.shares_double import SharesDouble, Worker
from fleet.fleets import Service, open_fleet, role
from fleet.redis_server import RedisServer, needs_redis, redis, shared_redis

from sts_async import EncryptionKeys, RedisCache
from sts_async.fleet._budget import MIN_RATE, RECOVERY_SECONDS, Budget, Budgets, Lane
from sts_async.fleet._budgeted_retries import ASK_AGAIN, BudgetedRetries
from sts_async.fleet._queues import Queued, ReadyQueue
from sts_async.fleet.caches._shares import RESERVED, WHOLE, beat_seconds, need_of
from sts_async.retries import NoRetries
from sts_async.testing import VirtualClock

__all__ = ["redis", "shared_redis"]

LIMIT = 200.0
STEP = 0.05  # s
SCOPE = "x"  # that of `Worker`


class Sender(Worker):
    """
    A worker with requests that wait, and the budget that admits them.

    Attributes:
        waiting: Number of requests that wait.
        sent: Number of requests that were sent.
    """

    def __init__(self, name: str, server: SharesDouble, *, expected: int) -> None:
        super().__init__(name, server, expected=expected)
        self.waiting = 0
        self.sent = 0
        self.budgets = Budgets(LIMIT)
        self._told = 0.0
        self._set(now=0.0)
        self.budget = self.budgets.named(SCOPE, self.budgets.new(), now=0.0)

    def tell(self, *, now: float) -> None:
        demand = self.budgets.take_demand(lambda budget: self.waiting)
        seconds = max(now - self._told, beat_seconds(1))
        self.need, self._told = need_of(demand[SCOPE], seconds=seconds, limit=LIMIT), now
        self.beat()
        self._set(now=now)

    def _set(self, *, now: float) -> None:
        shares = {scope: max(part, 1) / WHOLE for scope, part in self.shares.parts.items()}
        self.budgets.set_shares(shares, others=max(self.shares.other_parts, 1) / WHOLE, now=now)

    def send(self, *, now: float) -> int:
        """Send what the budget admits now, and return the number."""
        number = 0
        while number < self.waiting and self.budget.wait(now=now) == 0:
            self.budget.take()
            number += 1
        self.waiting -= number
        self.sent += number
        return number


class Group:
    """
    Workers that share the limit, each of which beats at its own moment of a second.

    Attributes:
        sent: The number of requests of all workers in each step.
    """

    def __init__(self, number: int, *, expected: int, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.server = SharesDouble()
        self.begins = self.server.now
        self.steps = 0
        self.sent: list[int] = []
        self.workers: list[Sender] = []
        self.beats: dict[int, list[Sender]] = {}  # by the step of each second
        self.expected = expected
        for _ in range(number):
            self.join()

    @property
    def now(self) -> float:
        return self.steps * STEP

    def join(self) -> Sender:
        """Let a worker join. It beats at once, as a fleet does before it starts."""
        worker = Sender(f"worker {len(self.workers)}", self.server, expected=self.expected)
        self.workers.append(worker)
        worker.tell(now=self.now)
        self.beats.setdefault(self.random.randrange(round(1 / STEP)), []).append(worker)
        return worker

    def run(self, seconds: float, arrive: Callable[[], object] = lambda: None) -> None:
        for _ in range(round(seconds / STEP)):
            self.steps += 1
            self.server.now = self.begins + round(self.now * 1000)
            if self.steps % round(1 / STEP) == 0:
                arrive()
            for worker in self.beats.get(self.steps % round(1 / STEP), ()):
                worker.tell(now=self.now)
            self.sent.append(sum(worker.send(now=self.now) for worker in self.workers))


def busiest(sent: list[int], seconds: float) -> int:
    """Return the requests in the busiest *seconds*. These begin and end anywhere, so one more step belongs to them."""
    sums = [0, *itertools.accumulate(sent)]
    steps = min(round(seconds / STEP) + 1, len(sent))
    return max(after - before for before, after in zip(sums, sums[steps:], strict=False))


@pytest.mark.parametrize("expected", [1, 50])
def test_fifty_workers_stay_under_one_limit_whatever_they_need(expected: int) -> None:
    """Their work shifts each second, from nothing to far more than the limit. Some are new, some leave."""
    group = Group(50, expected=expected)

    def arrive() -> None:
        for worker in group.random.sample(group.workers, 5):
            worker.waiting = group.random.choice([0, 0, 1, 30, 500])

    group.run(20, arrive)
    for worker in [group.join() for _ in range(10)]:
        worker.waiting = 500
    group.run(20, arrive)

    bursts = LIMIT + len(group.workers)  # a second of the limit, and a token of each worker
    for seconds in (0.5, 1, 2, 5, 10, 40):
        assert busiest(group.sent, seconds) <= (seconds + STEP) * LIMIT + bursts
    # They use it, although the share of a worker whose work has ended is unused until its next beat.
    assert sum(group.sent) > 0.7 * 40 * LIMIT


def test_the_limit_goes_where_the_work_is_within_two_beats() -> None:
    """One of fifty workers has work, then another one has: it does not wait for its part of an equal division."""
    group = Group(50, expected=50)
    group.run(3)
    first, second = group.workers[:2]
    first.waiting = 100_000
    group.run(6)
    before, second.waiting, first.waiting = second.sent, 100_000, 0
    group.run(2 + STEP)
    reached = second.budget.limit
    group.run(6)

    assert reached > 0.9 * LIMIT
    assert second.sent - before > 5 * 0.9 * LIMIT


def test_an_idle_worker_among_busy_ones_gets_its_part_within_two_beats() -> None:
    group = Group(10, expected=10)
    *busy, idle = group.workers
    for worker in busy:
        worker.waiting = 100_000
    group.run(5)
    idle.waiting = 100_000
    group.run(2 + STEP)

    assert idle.budget.limit == pytest.approx(LIMIT / 10, rel=0.05)


def test_a_worker_alone_has_the_whole_limit_within_two_beats() -> None:
    group = Group(1, expected=50)
    (worker,) = group.workers
    worker.waiting = 100_000
    group.run(2)

    assert worker.budget.limit == LIMIT


def test_throttling_slows_down_a_worker_with_a_share_and_all_of_them_together() -> None:
    """The others of an account can leave less than the limit. Fifty workers become as slow as one alone would be."""
    group = Group(50, expected=50)
    for worker in group.workers:
        worker.waiting = 10**6
    group.run(10)
    rates = [sum(worker.budget.rate for worker in group.workers)]
    for _ in range(10):
        for worker in group.workers:
            worker.budget.throttle(now=group.now)
        rates.append(sum(worker.budget.rate for worker in group.workers))
        group.run(1.0 + STEP)
        group.sent.clear()

    assert rates[0] == pytest.approx(LIMIT, rel=0.01)
    assert rates[1] == pytest.approx(LIMIT / 2, rel=0.01)
    # Each halving is followed by a second of growth by a sixtieth of the limit.
    assert rates[-1] < 3 * LIMIT / RECOVERY_SECONDS
    assert all(worker.budget.rate >= MIN_RATE * worker.budget.share for worker in group.workers)
    group.run(RECOVERY_SECONDS + 2)
    assert sum(worker.budget.rate for worker in group.workers) == pytest.approx(LIMIT, rel=0.01)
    assert busiest(group.sent, 10) <= (10 + STEP) * LIMIT + LIMIT + 50


def test_a_lane_whose_account_is_not_known_yet_has_the_common_share() -> None:
    """Fleets make lanes before their cache has told a share, and each could begin with the tokens of a whole limit."""
    budgets = Budgets(LIMIT)
    lane = budgets.new()
    budgets.set_shares({}, others=0.01, now=0.0)

    assert (lane.limit, lane.tokens) == (2.0, 2.0)
    assert budgets.named(SCOPE, lane, now=0.0) is lane
    budgets.set_shares({SCOPE: 0.5}, others=0.01, now=0.0)
    assert lane.limit == 100.0


def test_a_request_that_waits_for_a_token_notices_a_larger_share() -> None:
    """A retry, for example: with the smallest share it would wait for months."""
    budgets = Budgets(LIMIT)
    budgets.set_shares({}, others=1 / WHOLE, now=0.0)
    policy = BudgetedRetries(NoRetries(), budgets, Lane(budgets.new()))

    async def admit(now: float) -> float:
        return policy.admit(scope=SCOPE, now=now)

    waits = [asyncio.run(admit(now)) for now in (0.0, 0.0)]
    budgets.set_shares({}, others=1.0, now=0.5)
    waits.append(asyncio.run(admit(ASK_AGAIN)))

    assert waits == [0.0, ASK_AGAIN, 0.0]


def test_entries_that_wait_for_a_token_notice_a_larger_share() -> None:
    queue, budget, entries = ReadyQueue(), Budget(LIMIT, share=0.001), [Queued(), Queued()]
    lane = Lane(budget)
    for entry in entries:
        queue.put(entry, lane, urgent=False, order=0.0)

    assert (queue.take(0.0), queue.take(0.0), queue.waiting_for(budget)) == (entries[0], None, 1)
    assert queue.next_time() == pytest.approx(1 / budget.rate)
    budget.set_share(1.0, now=0.1)
    queue.wake()
    assert queue.take(0.2) is entries[1]


@needs_redis
async def test_fleets_that_share_redis_divide_their_budget(
    watched: None, redis: RedisServer, clock: VirtualClock
) -> None:
    """From the first request on: each has its part of the reserve of an account that no worker has used before."""

    def cache() -> RedisCache:
        keys = EncryptionKeys({"k": b"1" * 32})
        return RedisCache(redis.url, keys=keys, clock=clock, timeout=60.0, expected_workers=2)

    service = Service(clock)
    async with (
        open_fleet(service, clock, cache=cache()) as one,
        open_fleet(service, clock, cache=cache()) as other,
    ):
        for number, fleet in enumerate((one, other)):
            await fleet.get(role(number))
        limits = [use.limit for fleet in (one, other) for use in fleet.snapshot().budgets]

    assert limits == [LIMIT * RESERVED / 2 / WHOLE] * 2
