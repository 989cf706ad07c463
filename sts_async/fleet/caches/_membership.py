"""The beats of one fleet: in each, it tells Redis what it needs, and gets its shares of the limits."""

import asyncio
import contextlib
import heapq
import secrets
from typing import Any

from ...protocols import Clock
from ._redis_commands import RedisFailed
from ._redis_shares import RedisShares
from ._shares import BEAT_SECONDS, MAX_SCOPES, WHOLE, Shares, beat_seconds, need_of
from .protocol import CacheUser


class Membership:
    """
    One fleet among the workers that share the limits of their accounts.

    A beat follows each second, or more rarely if there are more than 100 workers.

    Args:
        members: All workers, on the server.
        user: The fleet.
        clock: The clock of the cache.
        expected_workers: Number of workers that are expected before the first answer, at least 1.
    """

    def __init__(self, members: RedisShares, user: CacheUser, *, clock: Clock, expected_workers: int) -> None:
        self._members = members
        self._user = user
        self._clock = clock
        self._shares = Shares(expected_workers)
        self._set: tuple[dict[str, float], float] | None = None  # the shares that the fleet has
        self._name = secrets.token_hex(8)
        self._told: float | None = None  # when the needs were told, monotonic
        self._task: asyncio.Task[None] | None = None

    @property
    def workers(self) -> int:
        """The number of workers, as far as it is known."""
        return self._shares.workers

    async def join(self) -> None:
        """Set the first shares of the fleet, and begin the beats in the running event loop. It never raises."""
        self._set_shares()
        await self._beat()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def leave(self) -> None:
        """End the beats. The shares of the fleet are free at once. It never raises."""
        if self._told is None:
            return
        self._told = None
        task, self._task = self._task, None
        if task is not None:  # otherwise `join` was cancelled
            task.cancel()
            await asyncio.wait([task])
        with contextlib.suppress(RedisFailed):  # then the server forgets it after some beats
            await self._members.leave(self._name)

    async def _run(self) -> None:
        while True:
            await self._pause(beat_seconds(self._shares.workers))
            await self._beat()

    async def _pause(self, seconds: float) -> None:
        # `Clock.sleep` of a virtual clock moves the clock, and a beat in the background must not do that.
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        call_later: Any = getattr(self._clock, "call_later", loop.call_later)
        timer = call_later(seconds, lambda: None if ended.done() else ended.set_result(None))
        try:
            await ended
        finally:
            timer.cancel()

    async def _beat(self) -> None:
        now = self._clock.monotonic()
        seconds = BEAT_SECONDS if self._told is None else max(now - self._told, BEAT_SECONDS)
        self._told = now
        demand = self._user.demand()
        limit = self._user.requests_per_second
        needs = {
            scope: need_of(demand[scope], seconds=seconds, limit=limit)
            for scope in heapq.nlargest(MAX_SCOPES, demand, key=demand.__getitem__)
        }
        used = {scope: self._shares.part_of(scope) for scope in needs}
        try:
            answer = await self._members.beat(self._name, workers=self._shares.workers, needs=needs, used=used)
        except RedisFailed:
            self._shares.failed()
        else:
            self._shares.answered(answer)
        self._set_shares()

    def _set_shares(self) -> None:
        shares = {scope: _share(part) for scope, part in self._shares.parts.items()}
        found = shares, _share(self._shares.other_parts)
        if found != self._set:
            self._set = found
            self._user.set_shares(shares, others=found[1])


def _share(part: int) -> float:
    """Return a share, which is greater than 0: a worker without a part has to wait for its next beat."""
    return max(part, 1) / WHOLE
