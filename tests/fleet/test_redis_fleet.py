"""Fleets that share Redis: one request for each identity, and callers that are served whatever happens to Redis."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from fleet.caches import shares_double
from fleet.fleets import HOUR, Service, open_fleet, outcome_of, role, roles, settled
from fleet.redis_double import DoubleCache, RedisDouble
from fleet.redis_server import RedisServer, needs_redis, redis, shared_redis
from patience import soon, turns

from sts_async import CredentialsFleet, EncryptionKeys, RedisCache
from sts_async.errors import ServiceError
from sts_async.fleet import ChainedRequest
from sts_async.fleet.caches import _membership, _shares
from sts_async.testing import LocalSTS, VirtualClock

__all__ = ["redis", "shared_redis"]


@pytest.fixture
def server(clock: VirtualClock) -> RedisDouble:
    return RedisDouble(clock)


@pytest.fixture(autouse=True)
def _rare_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a beat each minute and not each second: hours would take long, and budgets are tested elsewhere."""
    for module in (_membership, _shares, shares_double):
        monkeypatch.setattr(module, "BEAT_SECONDS", 60.0)


@asynccontextmanager
async def fleets_of(
    count: int, service: Any, server: RedisDouble, clock: VirtualClock, **options: Any
) -> AsyncIterator[list[CredentialsFleet]]:
    """Open the fleets of some workers."""
    async with AsyncExitStack() as stack:
        caches = [DoubleCache(server) for _ in range(count)]
        opened = [stack.enter_async_context(open_fleet(service, clock, cache=cache, **options)) for cache in caches]
        yield [await fleet for fleet in opened]


async def pass_time(fleets: list[CredentialsFleet], clock: VirtualClock, seconds: float) -> None:
    """Advance the clock from timer to timer, for all fleets."""
    ends = clock.monotonic() + seconds
    while True:
        await turns(10)
        for fleet in fleets:
            await settled_or_following(fleet)
        due = clock.next_timer
        if due is None or due > ends:
            break
        clock.advance(max(due - clock.monotonic(), 0.0))
    clock.advance(max(ends - clock.monotonic(), 0.0))
    await turns(10)


async def settled_or_following(fleet: CredentialsFleet) -> None:
    """Let a fleet go on, unless it only waits for another one or for the clock."""
    for _ in range(40):
        refresher = fleet._refresher
        assert refresher is not None
        if not (refresher._woken or any(pool.running for pool in refresher.pools)):
            return
        await asyncio.sleep(0)


async def test_workers_make_one_request_for_each_identity(
    watched: None, server: RedisDouble, clock: VirtualClock
) -> None:
    """F39, F46: all at once, with an identity that signs for others."""
    service = Service(clock)
    chained = [ChainedRequest(role(number), source=role(0)) for number in range(1, 10)]
    async with fleets_of(8, service, server, clock) as fleets:
        for fleet in fleets:
            fleet.add(*chained)
        await pass_time(fleets, clock, 10)
        held = [[fleet.peek(identity) for identity in chained] for fleet in fleets]

    assert service.sent == Counter({role(number).role_arn: 1 for number in range(10)})
    assert all(one == held[0] for one in held)


async def test_waiters_of_all_workers_get_the_credentials_of_one_request(
    watched: None, server: RedisDouble, clock: VirtualClock
) -> None:
    """F42, F43, F44, F45: although most of them are cancelled, and those of the worker that fetches as well."""
    service = Service(clock, gate=asyncio.Event())
    async with fleets_of(3, service, server, clock) as fleets:
        waiting = [asyncio.create_task(fleet.get(role())) for fleet in fleets for _ in range(300)]
        await turns(60)
        for task in waiting[::2] + waiting[:300]:
            task.cancel()
        await turns(20)
        assert service.gate is not None
        service.gate.set()
        found = await soon(asyncio.gather(*waiting, return_exceptions=True))
        served = {str(one.access_key_id) for one in found if not isinstance(one, BaseException)}

    assert service.sent.total() == 1
    assert len(served) == 1
    assert sum(isinstance(one, asyncio.CancelledError) for one in found) == 600


async def test_a_refusal_is_an_error_in_each_worker(watched: None, server: RedisDouble, clock: VirtualClock) -> None:
    """F45: each asks for itself, because a cache has no errors. No lease stays."""
    service = Service(clock, refusals={role().role_arn: "AccessDenied"})
    async with fleets_of(4, service, server, clock) as fleets:
        errors = await soon(asyncio.gather(*(outcome_of(lambda fleet=fleet: fleet.get(role())) for fleet in fleets)))

    assert all(isinstance(error, ServiceError) for error in errors)
    assert len({id(error) for error in errors}) == 4
    assert service.sent.total() == 4
    assert {part for _, part in server.keys} <= {"fence"}


@pytest.mark.slow
async def test_workers_refresh_together(watched: None, server: RedisDouble, clock: VirtualClock) -> None:
    """F46: four workers make as many requests as one."""
    sent = []
    for count in (1, 4):
        service = Service(clock)
        server.flush()
        async with fleets_of(count, service, server, clock) as fleets:
            for fleet in fleets:
                fleet.add(*roles(5))
            for _ in range(12):
                await pass_time(fleets, clock, HOUR / 4)
                for fleet in fleets:
                    assert fleet.snapshot().fresh == 5
        sent.append(service.sent.total())

    assert sent[1] <= sent[0] * 1.05


@pytest.mark.slow
async def test_workers_without_redis_go_on_alone(watched: None, server: RedisDouble, clock: VirtualClock) -> None:
    """F47, F48: ten minutes without Redis in two hours. Nothing ends, and Redis is used again within 5 s."""
    service = Service(clock)
    events: list[Any] = []
    async with fleets_of(4, service, server, clock, client={"observers": [events.append]}) as fleets:
        for fleet in fleets:
            fleet.add(*(role(number, duration_seconds=900) for number in range(6)))
        await pass_time(fleets, clock, HOUR)
        before = service.sent.total()
        server.fail("the connection was lost")
        await pass_time(fleets, clock, 600)
        alone = service.sent.total() - before
        server.away = None
        server.flush()
        await pass_time(fleets, clock, 5)
        caches: list[Any] = [fleet._fetcher.cache for fleet in fleets]
        assert all(cache.available for cache in caches)
        before = service.sent.total()
        for _ in range(10):
            await pass_time(fleets, clock, 300)
            for fleet in fleets:
                assert fleet.snapshot().fresh == 6
        together = service.sent.total() - before

    changes = [event for event in events if type(event).__name__ == "CacheStateChanged"]
    assert [change.available for change in changes] == [False] * 4 + [True] * 4
    assert 6 < alone <= 4 * 6 * 2
    assert together <= 6 * (3000 / 500) + 24, "the last fetches alone end at different times"


async def test_credentials_that_have_ended_are_neither_stored_nor_loaded(
    watched: None, server: RedisDouble, clock: VirtualClock
) -> None:
    """F49: STS gives credentials of the past, and the machine's clock is right."""
    late = VirtualClock(clock.time() - 2 * HOUR)
    service = Service(late)
    async with fleets_of(2, service, server, clock) as fleets:
        errors = [await soon(outcome_of(lambda fleet=fleet: fleet.get(role()))) for fleet in fleets]

    assert all(isinstance(error, Exception) for error in errors)
    assert {part for _, part in server.keys} <= {"fence"}


@needs_redis
async def test_fleets_share_a_real_redis(watched: None, redis: RedisServer) -> None:
    """F39: over sockets, with an STS that runs."""
    keys = EncryptionKeys({"k": b"1" * 32})
    async with LocalSTS() as sts, AsyncExitStack() as stack:
        fleets = []
        for _ in range(3):
            cache = RedisCache(redis.url, keys=keys, timeout=60)
            client = await stack.enter_async_context(sts.client())
            fleets.append(await stack.enter_async_context(CredentialsFleet(client, cache=cache)))
        for fleet in fleets:
            fleet.add(*roles(8))
        await soon(asyncio.gather(*(fleet.warm_up() for fleet in fleets)))
        held = [[fleet.peek(one) for one in roles(8)] for fleet in fleets]
        for fleet in fleets:
            await settled(fleet)

    assert len(sts.requests) == 8
    assert held[0] == held[1] == held[2]
