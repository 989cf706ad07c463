"""The beats of one fleet: what it tells, what it learns, and how it goes on alone."""

import asyncio
from collections.abc import Mapping

import pytest
from fleet.caches.shares_double import SharesDouble
from fleet.redis_server import RedisServer, needs_redis, redis, shared_redis
from patience import turns

from sts_async.events import Event
from sts_async.fleet.caches._membership import Membership
from sts_async.fleet.caches._redis_commands import RedisCommands, RedisFailed
from sts_async.fleet.caches._redis_shares import RedisShares
from sts_async.fleet.caches._shares import (
    BEAT_SECONDS,
    GROW_AFTER,
    MAX_SCOPES,
    RESERVED,
    SHRINK_AFTER,
    WHOLE,
    Answer,
    beat_seconds,
)
from sts_async.fleet.caches.protocol import CacheUser
from sts_async.testing import VirtualClock

__all__ = ["redis", "shared_redis"]

LIMIT = 200.0


class Members:
    """
    The workers on a server in the process, on a virtual clock.

    Attributes:
        double: What the scripts do.
        away: Whether each beat fails.
        times: When the beats were sent.
        told: The needs of the last beat.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.double = SharesDouble()
        self.away = False
        self.times: list[float] = []
        self.told: dict[str, int] = {}

    async def beat(self, worker: str, *, workers: int, needs: Mapping[str, int], used: Mapping[str, int]) -> Answer:
        self.times.append(self.clock.monotonic())
        self.told = dict(needs)
        self._fail()
        self.double.now = 10**9 + round(self.clock.monotonic() * 1000)
        return self.double.beat(worker, workers=workers, needs=dict(needs), used=dict(used))

    async def leave(self, worker: str) -> None:
        self._fail()
        self.double.leave(worker)

    def _fail(self) -> None:
        if self.away:
            raise RedisFailed("no connection")


class User(CacheUser):
    """
    A fleet.

    Attributes:
        requests: What it tells in its next beats.
        shares: The shares that it has by scope, and that of other scopes.
        settings: The number of times that its shares were set.
    """

    def __init__(self, **requests: float) -> None:
        self.requests_per_second = LIMIT
        self.requests: Mapping[str, float] = requests
        self.shares: Mapping[str, float] = {}
        self.others = 1.0
        self.settings = 0

    def demand(self) -> Mapping[str, float]:
        return self.requests

    def set_shares(self, shares: Mapping[str, float], *, others: float) -> None:
        self.shares, self.others = shares, others
        self.settings += 1

    def notify(self, event: Event) -> None: ...


@pytest.fixture
def members(clock: VirtualClock) -> Members:
    return Members(clock)


def membership(members: Members, user: User, *, expected_workers: int = 1) -> Membership:
    return Membership(
        members,  # type: ignore[arg-type]
        user,
        clock=members.clock,
        expected_workers=expected_workers,
    )


async def pass_time(clock: VirtualClock, seconds: float) -> None:
    await turns()
    for _ in range(round(seconds)):
        clock.advance(1.0)
        await turns()


async def test_a_fleet_has_its_shares_before_it_starts(members: Members) -> None:
    """Otherwise its first requests would use the whole limit."""
    user = User(x=0.0)
    other = membership(members, User(x=10.0))
    await other.join()
    alone = membership(members, user)
    await alone.join()

    assert (user.shares, user.others) == ({"x": 1 / WHOLE}, RESERVED / 2 / WHOLE)
    await pass_time(members.clock, 2)
    assert user.shares["x"] > 0.4
    await other.leave()
    await alone.leave()


async def test_the_beats_end_with_the_fleet(watched: None, members: Members) -> None:
    user = User(x=1.0)
    worker = membership(members, user)
    await worker.join()
    await pass_time(members.clock, 3)
    await worker.leave()
    await pass_time(members.clock, 3)

    assert members.times == [0, 1, 2, 3]
    assert members.double.members == {}
    await worker.leave()  # nothing is left to do


async def test_a_steady_fleet_is_not_disturbed(members: Members) -> None:
    """Each change of shares wakes the queues."""
    user = User(x=1.0)
    worker = membership(members, user)
    await worker.join()
    await pass_time(members.clock, 2)
    before = user.settings
    await pass_time(members.clock, 5)

    assert user.settings == before
    await worker.leave()


async def test_beats_are_rare_among_many_workers(members: Members) -> None:
    for number in range(300):
        members.double.beat(f"other {number}", workers=300, needs={}, used={})
    worker = membership(members, User(x=1.0))
    await worker.join()
    await pass_time(members.clock, 7)

    assert worker.workers == 301
    assert beat_seconds(301) == pytest.approx(3.01)
    assert members.times == [0, 4]  # the first whole second after it
    await worker.leave()


async def test_a_need_is_a_rate(members: Members) -> None:
    """A beat that comes late tells more requests, which is no higher rate."""
    user = User(x=LIMIT / 2)
    worker = membership(members, user)
    await worker.join()
    assert members.told == {"x": WHOLE // 2}
    await turns()
    members.clock.advance(4.0)
    await turns()

    assert members.told == {"x": WHOLE // 8}
    await worker.leave()


async def test_a_beat_tells_the_accounts_with_the_most_requests(members: Members) -> None:
    """Some keys contain no account, so that each new key is a scope: a script must not take longer for them."""
    user = User(**{f"account-{number}": float(number) for number in range(2 * MAX_SCOPES)})
    worker = membership(members, user)
    await worker.join()

    assert set(members.told) == {f"account-{number}" for number in range(MAX_SCOPES, 2 * MAX_SCOPES)}
    await worker.leave()


async def test_without_the_server_a_worker_has_an_equal_part(members: Members) -> None:
    """F48: all workers notice it within one beat, so those with much shrink before the others grow."""
    busy, idle = User(x=10 * LIMIT), User(x=0.0)
    workers = [membership(members, user) for user in (busy, idle)]
    for worker in workers:
        await worker.join()
    await pass_time(members.clock, 3)
    members.away = True
    sums, shares = [], []
    for _ in range(GROW_AFTER + 1):
        await pass_time(members.clock, BEAT_SECONDS)
        shares.append((busy.shares.get("x", busy.others), idle.shares.get("x", idle.others)))
        sums.append(sum(shares[-1]))

    assert max(sums) <= 1
    assert shares[SHRINK_AFTER - 2] == shares[0] == pytest.approx((0.95, 0.05))
    assert shares[SHRINK_AFTER - 1] == pytest.approx((0.5, 0.05))
    assert shares[-1] == (0.5, 0.5)
    members.away = False
    await pass_time(members.clock, 4)
    assert (busy.shares["x"], idle.shares["x"]) == pytest.approx((0.95, 0.05))
    for worker in workers:
        await worker.leave()


async def test_a_worker_that_never_found_the_server_uses_what_was_expected(members: Members) -> None:
    members.away = True
    user = User(x=10 * LIMIT)
    worker = membership(members, user, expected_workers=8)
    await worker.join()
    await pass_time(members.clock, 10)

    assert (user.shares, user.others) == ({}, 1 / 8)
    await worker.leave()


@needs_redis
async def test_two_fleets_share_a_limit_on_a_real_server(redis: RedisServer, clock: VirtualClock) -> None:
    async with redis.client() as client:
        members = RedisShares(RedisCommands(client, prefix="p", timeout=5.0), prefix="p")
        users = [User(x=0.0), User(x=10 * LIMIT)]
        fleets = [Membership(members, user, clock=clock, expected_workers=2) for user in users]
        for fleet in fleets:
            await fleet.join()
        sums = [sum(user.shares["x"] for user in users)]
        await asyncio.gather(*(fleet.leave() for fleet in fleets))
        keys = await client.hgetall("p:{workers}:shares")

    assert [user.shares["x"] for user in users] == [0.5, 0.5]  # until all have told what they use
    assert sums == [1.0]
    assert b"worker" not in b"".join(keys)
