"""
Many workers that share credentials through Redis, on a virtual clock. A benchmark runs it with a thousand of them.

The rules are those of the library: due times, followers, leases. Redis is the double of the tests, which equals the
scripts there. Budgets, encryption and sockets are left out, and so is everything that depends on the machine. No
message arrives: followers find out by looking, which takes more operations.

Each worker keeps all identities fresh, so ten million pairs of a worker and an identity may be due in an hour. A pair
costs no task unless it has to wait: its due time is a number in the list of a moment.
"""

import asyncio
import random
from array import array
from collections.abc import AsyncIterator
from typing import Any

import attrs
from fleet.redis_double import DoubleCommands, RedisDouble
from fleet.simulation import Clock

from sts_async.credentials._schedule import Moment, advisory_window, after_success
from sts_async.fleet._due_times import DueTime, DueTimes, due_window, following
from sts_async.fleet.caches._redis_access import RedisAccess
from sts_async.fleet.caches._redis_commands import Message, RedisFailed
from sts_async.fleet.caches._redis_leases import Lease, RedisLeases
from sts_async.fleet.caches._shares import beat_seconds
from sts_async.shapes import Credentials

LIFETIME = 3600.0  # s
START_SECONDS = 60.0  # s in which a worker that starts asks for all identities, as its budget allows
STS_SECONDS = 0.1  # s that a call takes
MOMENT = 0.05  # s: what is due in one moment is done together
LEASE_SECONDS = 35.0
NEVER = 2**32 - 1
NOTHING = (None, 0.0)

CREDENTIALS = Credentials(access_key_id="ASIAEXAMPLE", secret_access_key="EXAMPLE", session_token="EXAMPLE")


@attrs.frozen
class Issued:
    """
    Credentials of an identity, as they are stored.

    Attributes:
        version: How many the identity has had, with these.
        ends: When they end, as a virtual time, as all times here.
        last: When a worker refreshes them at the latest.
        fresh_until: Until when a worker takes them.
        refresh_after: When the worker that fetched them refreshes them.
        first: When the first of the others looks for new ones, if it got these before *refresh_after*.
        spread: Time in which all of these others do so.
    """

    version: int
    ends: float
    last: float
    fresh_until: float
    refresh_after: float
    first: float
    spread: float


@attrs.frozen
class Outcome:
    """
    What a simulation has counted.

    Attributes:
        calls: Calls of STS.
        refreshes: How often a worker got new credentials of an identity.
        operations: Operations on Redis for these, without the beats.
        beats: Beats of the workers, each one operation.
        ended: How often a worker had only credentials that had ended.
    """

    calls: int
    refreshes: int
    operations: int
    beats: int
    ended: int


class WithoutMessages(DoubleCommands):
    """Operations of a worker that receives no message."""

    async def messages(self) -> AsyncIterator[Message]:
        raise RedisFailed("no messages")
        yield


class Simulation:
    """
    Workers, identities, and the moments at which their pairs are due.

    Args:
        workers: Number of workers.
        identities: Number of identities.
        seconds: Time that passes.
        restarted: Number of workers that end and start again, half-way through the life of the first credentials.
        seed: Of all random numbers.
    """

    def __init__(self, workers: int, identities: int, *, seconds: float, restarted: int, seed: int = 1) -> None:
        self._workers, self._identities, self._seconds, self._restarted = workers, identities, seconds, restarted
        self._random = random.Random(seed)
        self._clock = Clock()
        self._redis = RedisDouble(self._clock)
        self._commands = WithoutMessages(self._redis)
        self._digests = [f"{number:064x}" for number in range(identities)]
        self._names = [(digest, "value") for digest in self._digests]  # of the values in the double
        self._ends = [[float("inf")] for _ in range(identities)]  # of all versions of each identity; 0 is none
        pairs = workers * identities
        self._held = array("I", bytes(4 * pairs))  # the version that a worker has; 0 for none
        self._planned = array("I", bytes(4 * pairs))  # the moment in which a pair is due
        self._moments: dict[int, array[int]] = {}
        self._due_times = [DueTimes() for _ in range(workers)]
        self._counted: dict[int, DueTime] = {}
        self._leases: dict[int, tuple[RedisAccess, RedisLeases]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = self._refreshes = self._ended = 0

    async def run(self) -> Outcome:
        """Let the time pass, and return what was counted."""
        for worker in range(self._workers):
            self._start(worker)
        restart = round(LIFETIME / 2 / MOMENT)
        for moment in range(round(self._seconds / MOMENT)):
            if moment != restart and moment not in self._moments:
                continue
            await self._clock.run(max(0.0, moment * MOMENT - self._clock.monotonic()))
            if moment == restart:
                for worker in self._random.sample(range(self._workers), self._restarted):
                    self._start(worker)
            self._refresh_due(moment)
        await self._clock.run(LEASE_SECONDS)
        for task in self._tasks:
            task.result()
        for access, leases in self._leases.values():
            await leases.aclose()
            await access.aclose()
        beats = round(self._seconds / beat_seconds(self._workers)) * self._workers
        return Outcome(self._calls, self._refreshes, self._redis.operations, beats, self._ended)

    def _start(self, worker: int) -> None:
        """Start a worker without credentials. What it planned before is forgotten."""
        now, jitter, begins = self._clock.monotonic(), self._random.random, worker * self._identities
        pairs = range(begins, begins + self._identities)
        due = array("I", (int((now + START_SECONDS * jitter()) / MOMENT) + 1 for _ in pairs))
        self._planned[pairs.start : pairs.stop] = due
        self._held[pairs.start : pairs.stop] = array("I", bytes(4 * len(pairs)))
        for pair in [pair for pair in self._counted if pair in pairs]:
            self._stop_counting(pair, worker)
        for moment in set(due):
            self._moments.setdefault(moment, array("I"))
        for pair, moment in zip(pairs, due, strict=True):
            self._moments[moment].append(pair)

    def _plan(self, pair: int, at: float) -> None:
        moment = int(at / MOMENT) + 1
        self._planned[pair] = moment
        self._moments.setdefault(moment, array("I")).append(pair)

    def _stop_counting(self, pair: int, worker: int) -> None:
        due = self._counted.pop(pair, None)
        if due is not None:
            self._due_times[worker].remove(due)

    def _refresh_due(self, moment: int) -> None:
        """Refresh all pairs that are due. This loop takes most of the time, so it does itself what it could call."""
        pairs = self._moments.pop(moment, None)
        if pairs is None:
            return
        now, jitter = self._clock.monotonic(), self._random.random
        identities, names, get, moments = self._identities, self._names, self._redis.keys.get, self._moments
        held, planned, counted, ends = self._held, self._planned, self._counted, self._ends
        refreshes = 0
        for pair in pairs:
            if planned[pair] != moment:
                continue
            worker, identity = divmod(pair, identities)
            if pair in counted:
                self._stop_counting(pair, worker)
            found: Any = get(names[identity], NOTHING)[0]
            version = held[pair]
            if found is not None and found.version > version and found.fresh_until > now:
                if now >= ends[identity][version]:
                    self._ended += 1
                held[pair] = found.version
                refreshes += 1
                at = found.first + jitter() * found.spread if now < found.refresh_after else self._follow(found)
                planned[pair] = then = int(at / MOMENT) + 1
                if then in moments:
                    moments[then].append(pair)
                else:
                    moments[then] = array("I", [pair])
            else:
                planned[pair] = NEVER
                self._tasks.add(asyncio.ensure_future(self._fetch(worker, identity)))
        self._refreshes += refreshes
        self._redis.operations += len(pairs)

    async def _fetch(self, worker: int, identity: int) -> None:
        """Refresh a pair as a fleet does after it found no new credentials."""
        pair, digest = worker * self._identities + identity, self._digests[identity]
        if worker not in self._leases:
            access = RedisAccess(self._commands, clock=self._clock, changed=lambda change: None)  # type: ignore[arg-type]
            self._leases[worker] = access, RedisLeases(access, clock=self._clock, seconds=LEASE_SECONDS)
        _, leases = self._leases[worker]
        lease = await leases.take(digest)
        try:
            found: object = await self._commands.read(digest)
            now = self._clock.monotonic()
            if isinstance(found, Issued) and found.version > self._held[pair] and found.fresh_until > now:
                self._note(pair, found)
                self._plan(pair, self._follow(found))
            else:
                await self._call(pair, lease, leases)
        finally:
            if lease is not None:
                await leases.give_back(lease)

    def _follow(self, issued: Issued) -> float:
        """Return when a worker refreshes credentials that another one has fetched."""
        jitter = self._random.random()
        return following(issued.refresh_after, now=self._clock.monotonic(), last=issued.last, jitter=jitter)

    async def _call(self, pair: int, lease: Lease | None, leases: RedisLeases) -> None:
        worker, identity = divmod(pair, self._identities)
        self._calls += 1
        await self._clock.sleep(STS_SECONDS)
        now = self._clock.monotonic()
        time = Moment(now, now)
        state = after_success(CREDENTIALS, lifetime=LIFETIME, now=time)
        first, last = due_window(state, ahead=False, now=now)
        due = self._due_times[worker].choose(
            now=now, advisory=first, mandatory=last, ends=state.ends.monotonic, jitter=self._random.random()
        )
        issued = Issued(
            version=len(self._ends[identity]),
            ends=state.ends.monotonic,
            last=last,
            fresh_until=state.ends.monotonic - advisory_window(LIFETIME),
            refresh_after=due.at,
            first=following(due.at, now=now, last=last, jitter=0.0),
            spread=following(due.at, now=now, last=last, jitter=1.0) - following(due.at, now=now, last=last, jitter=0),
        )
        self._ends[identity].append(issued.ends)
        self._note(pair, issued)
        self._counted[pair] = due
        self._plan(pair, due.at)
        if lease is not None:
            value: bytes = issued  # type: ignore[assignment]
            await leases.publish(lease, value, milliseconds=round(LIFETIME * 1000))

    def _note(self, pair: int, issued: Issued) -> None:
        """Note that a worker has new credentials of an identity."""
        self._ended += self._clock.monotonic() >= self._ends[pair % self._identities][self._held[pair]]
        self._held[pair] = issued.version
        self._refreshes += 1


def simulate(workers: int, identities: int, *, seconds: float, restarted: int) -> Outcome:
    """Return what is counted: see `Simulation`."""
    return asyncio.run(Simulation(workers, identities, seconds=seconds, restarted=restarted).run())
