"""Leases on Redis: one process fetches, the others follow, and a holder that dies is replaced."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from fleet.redis_double import RedisDouble
from patience import soon, turns

from sts_async.fleet.caches._availability import MAX_PAUSE, Change
from sts_async.fleet.caches._redis_access import RedisAccess
from sts_async.fleet.caches._redis_commands import NotTaken, RedisFailed
from sts_async.fleet.caches._redis_leases import IDLE_SECONDS, LOOK_SECONDS, MAX_FAILURES, Lease, RedisLeases
from sts_async.testing import VirtualClock

ONE, OTHER = "1" * 64, "2" * 64
SECONDS = 35.0  # of a lease
DAY = 86_400_000  # ms


@attrs.define(eq=False)
class Worker:
    """One process: its commands, its access and its leases."""

    clock: VirtualClock
    commands: Any
    access: RedisAccess
    leases: RedisLeases
    changes: list[Change]

    async def fetch(self, digest: str = ONE) -> str:
        """Take the lease, and publish; return what happened."""
        lease = await self.leases.take(digest)
        if lease is None:
            return "followed"
        accepted = await self.leases.publish(lease, b"v", milliseconds=DAY)
        await self.leases.give_back(lease)
        return "published" if accepted else "refused"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1e9)


@pytest.fixture
def server(clock: VirtualClock) -> RedisDouble:
    return RedisDouble(clock)


@asynccontextmanager
async def worker_of(server: RedisDouble) -> AsyncIterator[Worker]:
    changes: list[Change] = []
    commands: Any = server.commands()
    clock: Any = server.clock
    access = RedisAccess(commands, clock=clock, changed=changes.append)
    leases = RedisLeases(access, clock=clock, seconds=SECONDS)
    try:
        yield Worker(clock, commands, access, leases, changes)
    finally:
        await leases.aclose()
        await access.aclose()


@pytest.fixture
async def holder(server: RedisDouble) -> AsyncIterator[Worker]:
    async with worker_of(server) as worker:
        yield worker


@pytest.fixture
async def follower(server: RedisDouble) -> AsyncIterator[Worker]:
    async with worker_of(server) as worker:
        yield worker


async def taken(worker: Worker, digest: str = ONE) -> Lease:
    lease = await soon(worker.leases.take(digest))
    assert lease is not None
    return lease


async def pass_time(clock: VirtualClock, seconds: float) -> None:
    """Advance the clock from timer to timer, and let all tasks do what is due."""
    await turns(20)
    ends = clock.monotonic() + seconds
    while (due := clock.next_timer) is not None and due <= ends:
        clock.advance(max(due - clock.monotonic(), 0.0))
        await turns(20)
    clock.advance(max(ends - clock.monotonic(), 0.0))
    await turns(20)


async def is_held(server: RedisDouble, digest: str = ONE) -> bool:
    return server.get(digest, "lease") is not None


# -- Following ----------------------------------------------------------------------------------------------------


async def test_followers_are_woken_by_a_publication_and_take_no_lease(server: RedisDouble, holder: Worker) -> None:
    """They would otherwise take it one after the other, to find the same credentials."""
    lease = await taken(holder)
    async with worker_of(server) as one, worker_of(server) as other:
        waiting = [asyncio.create_task(worker.leases.take(ONE)) for worker in (one, other) for _ in range(3)]
        await turns(20)
        before = server.operations
        assert await holder.leases.publish(lease, b"v", milliseconds=DAY)
        await turns(20)

        assert [task.result() for task in waiting] == [None] * 6
        assert server.operations == before + 1
        assert server.clock.monotonic() == 0


async def test_one_follower_fetches_if_the_holder_gives_up(
    server: RedisDouble, holder: Worker, follower: Worker
) -> None:
    lease = await taken(holder)
    waiting = [asyncio.create_task(follower.fetch()) for _ in range(3)]
    await turns(20)
    await holder.leases.give_back(lease)

    assert sorted(await soon(asyncio.gather(*waiting))) == ["followed", "followed", "published"]


async def test_a_follower_does_not_wait_for_many_fetches_that_fail(server: RedisDouble, holder: Worker) -> None:
    """F45: STS refuses. The last of a thousand workers would learn that only after minutes."""
    done: list[str] = []

    async def fail(worker: Worker) -> None:
        lease = await worker.leases.take(ONE)
        await turns(30)
        if lease is not None:
            await worker.leases.give_back(lease)
        done.append("alone" if lease is None else "with a lease")

    async with worker_of(server) as other:
        await soon(asyncio.gather(*(fail(worker) for worker in (holder, other) for _ in range(50))))

    assert done.count("with a lease") <= MAX_FAILURES + 1
    assert len(done) == 100
    assert server.clock.monotonic() == 0


async def test_a_lost_message_costs_a_second(server: RedisDouble, holder: Worker, follower: Worker) -> None:
    lease = await taken(holder)
    waiting = asyncio.create_task(follower.leases.take(ONE))
    await turns(20)
    server.waiting.clear()
    await holder.leases.publish(lease, b"v", milliseconds=DAY)
    await pass_time(holder.clock, LOOK_SECONDS)

    assert waiting.done()
    assert waiting.result() is None


async def test_a_follower_that_begins_to_listen_looks_again(
    server: RedisDouble, holder: Worker, follower: Worker
) -> None:
    """The lease may have been given back after its first look, and before its subscription."""
    lease = await taken(holder)
    waiting = asyncio.create_task(follower.fetch())
    while not (await is_held(server) and follower.leases._followers):
        await asyncio.sleep(0)
    server.delete(ONE, "lease")
    await turns(20)

    assert waiting.result() == "published"
    assert holder.clock.monotonic() == 0
    lease.is_over = True


async def test_a_holder_that_dies_is_replaced_when_its_lease_ends(server: RedisDouble, follower: Worker) -> None:
    await server.commands().take(ONE, owner="dead", milliseconds=round(SECONDS * 1000))
    waiting = asyncio.create_task(follower.fetch())
    await pass_time(follower.clock, SECONDS - 0.2)
    assert not waiting.done()
    await pass_time(follower.clock, 0.3)

    assert waiting.result() == "published"


async def test_a_follower_waits_for_the_time_of_a_lease(server: RedisDouble, holder: Worker, follower: Worker) -> None:
    """No worker is longer without credentials than the time of a lease, however slow the holder is."""
    await taken(holder)
    waiting = asyncio.create_task(follower.leases.take(ONE))
    await pass_time(holder.clock, SECONDS - 0.1)
    assert not waiting.done()
    await pass_time(holder.clock, 0.2)

    assert waiting.result() is None
    assert await is_held(server)


async def test_identities_do_not_wait_for_each_other(holder: Worker, follower: Worker) -> None:
    await taken(holder)

    assert await soon(follower.fetch(OTHER)) == "published"


async def test_the_subscription_ends_with_the_last_follower(
    server: RedisDouble, holder: Worker, follower: Worker
) -> None:
    lease = await taken(holder)
    waiting = asyncio.create_task(follower.leases.take(ONE))
    await turns(20)
    assert len(server.waiting) == 1
    await holder.leases.publish(lease, b"v", milliseconds=DAY)
    await waiting
    await pass_time(holder.clock, IDLE_SECONDS / 2)
    assert len(server.waiting) == 1
    await pass_time(holder.clock, IDLE_SECONDS)
    assert len(server.waiting) == 0
    await taken(holder)
    again = asyncio.create_task(follower.leases.take(ONE))
    await turns(20)
    assert len(server.waiting) == 1
    again.cancel()


# -- Holding ------------------------------------------------------------------------------------------------------


async def test_a_lease_is_renewed_while_its_holder_works(server: RedisDouble, holder: Worker) -> None:
    lease = await taken(holder)
    for _ in range(10):
        await pass_time(holder.clock, SECONDS / 2)
        assert await is_held(server)
    assert await holder.leases.publish(lease, b"v", milliseconds=DAY)

    assert not await is_held(server)
    assert server.operations <= 2 + 10 * 3


async def test_the_lease_of_a_process_that_was_suspended_is_lost_and_its_credentials_are_refused(
    server: RedisDouble, holder: Worker, follower: Worker
) -> None:
    """It publishes nothing over the newer credentials."""
    lease = await taken(holder)
    server.delete(ONE, "lease")
    assert await follower.fetch() == "published"
    server.set(ONE, "value", b"new", DAY)
    await pass_time(holder.clock, SECONDS)

    assert not await holder.leases.publish(lease, b"old", milliseconds=DAY)
    await holder.leases.give_back(lease)
    assert server.get(ONE, "value") == b"new"


@pytest.mark.parametrize("suspensions", range(12))
async def test_a_caller_that_is_cancelled_leaves_no_lease(
    server: RedisDouble, holder: Worker, suspensions: int
) -> None:
    """F42, F58: at every suspension. Else all others would wait until the lease ends."""

    async def work() -> None:
        lease = await holder.leases.take(ONE)
        try:
            await turns(3)
        finally:
            if lease is not None:
                await holder.leases.give_back(lease)

    task = asyncio.create_task(work())
    await turns(suspensions)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await turns(20)

    assert not await is_held(server)
    assert holder.leases._held == set()


async def test_a_lease_that_ends_with_its_process_is_given_back(server: RedisDouble) -> None:
    async with worker_of(server) as worker:
        await taken(worker)

    assert not await is_held(server)


# -- Outages ------------------------------------------------------------------------------------------------------


async def test_an_outage_is_one_change_and_no_one_waits(server: RedisDouble, holder: Worker) -> None:
    server.away = "gone"
    assert await asyncio.gather(*(holder.leases.take(ONE) for _ in range(20))) == [None] * 20
    assert holder.changes == [Change("gone", 0.0)]
    server.away = None
    assert await holder.leases.take(ONE) is None, "it is not asked before a probe"
    assert server.operations == 0
    await pass_time(holder.clock, 1.5)

    assert [change.reason for change in holder.changes] == ["gone", None]
    assert await holder.fetch() == "published"


async def test_redis_is_used_again_within_5_s_after_an_outage(server: RedisDouble, holder: Worker) -> None:
    """Although no call is made."""
    for seconds in (1, 7, 60, 601):
        server.away = "gone"
        await holder.leases.take(ONE)
        await pass_time(holder.clock, seconds)
        server.away = None
        await pass_time(holder.clock, MAX_PAUSE + 0.5)
        assert holder.access.reason is None


async def test_a_follower_goes_on_alone_when_redis_fails(server: RedisDouble, holder: Worker, follower: Worker) -> None:
    await taken(holder)
    waiting = asyncio.create_task(follower.leases.take(ONE))
    await turns(20)
    server.fail("gone")
    await pass_time(holder.clock, LOOK_SECONDS)

    assert waiting.result() is None
    server.away = None


async def test_what_could_not_be_published_is_published_after_the_outage(
    server: RedisDouble, holder: Worker, follower: Worker
) -> None:
    """Else the others would wait until the lease ends, and fetch once more."""
    lease = await taken(holder)
    holder.commands.away = "cut"
    assert not await holder.leases.publish(lease, b"v", milliseconds=DAY)
    await holder.leases.give_back(lease)
    waiting = asyncio.create_task(follower.leases.take(ONE))
    await turns(20)
    holder.commands.away = None
    await pass_time(holder.clock, 1.5)

    assert waiting.result() is None
    assert server.get(ONE, "value") == b"v"
    assert not await is_held(server)
    assert server.keys[ONE, "value"][1] == DAY / 1000


async def test_a_lease_that_could_not_be_given_back_is_given_back_after_the_outage(
    server: RedisDouble, holder: Worker
) -> None:
    lease = await taken(holder)
    server.away = "gone"
    await holder.leases.give_back(lease)
    await pass_time(holder.clock, 3)
    assert await is_held(server)
    server.away = None
    await pass_time(holder.clock, 5)

    assert not await is_held(server)


async def test_a_lease_that_ended_in_an_outage_is_not_settled(server: RedisDouble, holder: Worker) -> None:
    lease = await taken(holder)
    server.away = "gone"
    await holder.leases.publish(lease, b"v", milliseconds=DAY)
    await holder.leases.give_back(lease)
    await pass_time(holder.clock, SECONDS + 1)
    server.away = None
    await pass_time(holder.clock, 5)

    assert server.get(ONE, "value") is None
    assert server.operations == 2, "take and probe"


async def test_an_answer_that_came_too_late_leaves_no_lease(
    server: RedisDouble, holder: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server gave the lease, and the caller no longer waited."""
    take = holder.commands.take

    async def late(*args: Any, **named: Any) -> Any:
        await take(*args, **named)
        raise RedisFailed("no answer within 0.25 s", is_timeout=True)

    monkeypatch.setattr(holder.commands, "take", late)
    assert await holder.leases.take(ONE) is None
    assert await is_held(server)
    await pass_time(holder.clock, 1.5)

    assert not await is_held(server)
    assert holder.changes == [], "one late answer is no outage"


async def test_a_process_that_ends_in_an_outage_gives_its_leases_back(server: RedisDouble) -> None:
    """It tries once. Redis may be available again, or not have been away."""
    async with worker_of(server) as worker:
        await taken(worker)
        lease = await taken(worker, OTHER)
        server.away = "gone"
        await worker.leases.publish(lease, b"v", milliseconds=DAY)
        await worker.leases.give_back(lease)
        server.away = None

    assert not await is_held(server)
    assert not await is_held(server, OTHER)
    assert server.get(OTHER, "value") == b"v"


async def test_renewals_go_on_after_an_outage(server: RedisDouble, holder: Worker) -> None:
    lease = await taken(holder)
    await pass_time(holder.clock, 10)
    server.away = "gone"
    await pass_time(holder.clock, 5)
    server.away = None
    await pass_time(holder.clock, 40)

    assert await is_held(server)
    await holder.leases.give_back(lease)


async def test_data_of_another_program_is_no_outage(holder: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def foreign(*args: Any, **named: Any) -> Any:
        raise RedisFailed("it answers with the error WRONGTYPE", is_outage=False)

    monkeypatch.setattr(holder.commands, "take", foreign)

    assert await holder.leases.take(ONE) is None
    assert holder.changes == []


async def test_a_lease_without_an_end_is_not_one_of_ours(server: RedisDouble, follower: Worker) -> None:
    """Another program has written the key. A follower fetches without a lease in the end."""

    async def held(*args: Any, **named: Any) -> NotTaken:
        return NotTaken(-1, 0)

    follower.commands.take = held
    waiting = asyncio.create_task(follower.leases.take(ONE))
    await pass_time(follower.clock, SECONDS + LOOK_SECONDS)

    assert waiting.result() is None
