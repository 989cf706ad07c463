"""
The rows of `bench_shared.py` that are measured on virtual clocks, without sockets: see `_fleet_virtual.py`.

Redis and the beats of the workers are the doubles of the tests.
"""

import argparse
import asyncio
import logging
import sys
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from _fleet_network import scaled
from _fleet_virtual import HOUR
from _rounds import Figures

WORKERS = 8
BUDGET = 20.0  # requests a second of the account, for all workers
START = 120.0  # s in which all are fetched for the first time
AWAY = 600.0  # s for which Redis is away, in the middle
USE_SECONDS = 5.0  # s between two looks at all credentials
STEP = 0.25  # s between two looks at the state of Redis
KEYS = b"1" * 32


class Unused:
    """A client of Redis that is never asked, because the commands are those of a double."""

    async def execute_command(self, *_: object) -> object:
        raise NotImplementedError


class DoubleShares:
    """
    The beats of the workers on a `SharesDouble`, which is away when the commands of its worker are.

    Args:
        access: The way of the worker to Redis.
        shares: The shares of all workers.
    """

    def __init__(self, access: Any, *, shares: Any) -> None:
        self._access = access
        self._shares = shares

    async def _begin(self) -> Any:
        return await self._access.ask(self._access.commands._begin(), digest="")

    async def beat(self, worker: str, **told: Any) -> Any:
        server = await self._begin()
        self._shares.now = round(server.clock.time() * 1000)
        return self._shares.beat(worker, **told)

    async def leave(self, worker: str) -> None:
        await self._begin()
        self._shares.leave(worker)


@contextmanager
def doubles(redis: Any) -> Iterator[None]:
    """Let each `RedisCache` that is made use *redis*, a `RedisDouble`."""
    from fleet.caches.shares_double import SharesDouble

    from sts_async.fleet.caches import redis as module

    shares = SharesDouble()
    replaced = {
        "RedisCommands": lambda client, **options: redis.commands(),
        "RedisShares": lambda access, **options: DoubleShares(access, shares=shares),
    }
    with mock.patch.multiple(module, **{name: double for name, double in replaced.items() if hasattr(module, name)}):
        yield


class Workers:
    """
    Fleets in one event loop, each as if it were a process of its own.

    Attributes:
        clock: Their clock.
        redis: Their Redis.
        sts: Their STS.
        caches: Their caches.
        ended: How often a caller got credentials that had ended, though it could have had others.
        missing: How often a caller got none.
        uses: How often a caller asked.
    """

    def __init__(self, count: int, identities: int, *, lifetime: float = HOUR, budget: float = BUDGET) -> None:
        from fleet import simulation
        from fleet.redis_double import RedisDouble

        self.clock = simulation.Clock()
        self.redis = RedisDouble(self.clock)
        self.sts = simulation.StandIn(self.clock, lifetime=lifetime)
        self._simulation = simulation
        self._count, self._identities, self._budget = count, identities, budget
        self._stack = AsyncExitStack()
        self._fleets: list[Any] = []
        self.caches: list[Any] = []
        self.ended = self.missing = self.uses = 0

    async def __aenter__(self) -> "Workers":
        from sts_async.fleet import CredentialsFleet, EncryptionKeys, RedisCache

        self.requests = [self._simulation.request_for(number) for number in range(self._identities)]
        with doubles(self.redis):
            for _ in range(self._count):
                cache = RedisCache(
                    Unused(),
                    keys=EncryptionKeys({"k1": KEYS}),
                    expected_workers=self._count,
                    clock=self.clock,
                )
                sts = await self._stack.enter_async_context(self._simulation.client(self.clock, self.sts))
                fleet = CredentialsFleet(sts, cache=cache, requests_per_second=self._budget)
                await self.passing(self._stack.enter_async_context(fleet))
                self._fleets.append(fleet)
                self.caches.append(cache)
        for fleet in self._fleets:
            fleet.add(*self.requests)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.passing(self._stack.aclose())

    async def passing(self, work: Any) -> None:
        """Let the time pass until *work* is done. Only the start of a client also waits for a thread."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await self.clock.run(STEP)
            await asyncio.sleep(0.001)
        await task

    async def run(self, seconds: float, *, look: float = USE_SECONDS) -> None:
        """Let the time pass. Callers use all credentials at each look."""
        ends = self.clock.monotonic() + seconds
        while self.clock.monotonic() < ends:
            await self.clock.run(min(look, ends - self.clock.monotonic()))
            self.use_all()

    def use_all(self) -> None:
        now = self.clock.true
        for fleet in self._fleets:
            for request in self.requests:
                found = fleet.peek(request)
                self.uses += 1
                if found is None:
                    self.missing += 1
                elif found.expiration.timestamp() <= now:
                    self.ended += 1

    def most_requests(self, window: float) -> int:
        """Return the most requests that STS got in any window of so many seconds."""
        times = self.sts.requests
        return max(number + 1 - bisect_left(times, time - window) for number, time in enumerate(times))


def allowed(window: float) -> float:
    """Return the requests that budgets allow in a window: a second's may be saved up, and one for each worker."""
    return (window + 1) * BUDGET + WORKERS


async def away(name: str, options: argparse.Namespace) -> Figures:
    """Redis is away in the middle."""
    logging.disable(logging.NOTSET)
    identities, half = scaled(1_000, options), HOUR - AWAY / 2
    async with Workers(WORKERS, identities) as workers:
        await workers.clock.run(START)
        await workers.run(half - START)
        begun = len(workers.sts.requests)
        workers.redis.fail("the connection was refused")
        await workers.run(AWAY)
        alone = len(workers.sts.requests) - begun
        workers.redis.away = None
        back = workers.clock.monotonic()
        while not all(cache.available for cache in workers.caches) and workers.clock.monotonic() < back + 60:
            await workers.run(STEP)
        rejoined = workers.clock.monotonic() - back
        await workers.run(half - rejoined)
        requests, used, missing = len(workers.sts.requests), workers.uses, workers.missing
        most = {window: workers.most_requests(window) for window in (1, 10, 60)}
    return {
        "requests signed with ended credentials": [workers.ended],
        "callers without credentials": [missing],
        "callers": [used],
        **{
            f"most requests in {window} s, over the budget": [found / window / BUDGET] for window, found in most.items()
        },
        "the same, over what budgets allow, at most": [max(most[window] / allowed(window) for window in most)],
        "all workers use Redis again after, s": [rejoined],
        "calls of STS for each identity, in 2 h": [requests / identities],
        "calls while Redis is away": [alone],
        "calls before": [begun],
    }


async def many(name: str, options: argparse.Namespace) -> Figures:
    """A thousand workers. The simulation has an event loop of its own."""
    import _shared_simulation as simulation

    workers, identities = scaled(simulation.WORKERS, options), scaled(simulation.IDENTITIES, options)
    return await asyncio.to_thread(simulation.simulated, workers=workers, identities=identities)
