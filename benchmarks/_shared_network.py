"""
The rows of `bench_shared.py` that are measured over sockets, against `_fleet_server.py` and a redis-server.

Each function takes the name of a contender and the options, and returns the figures of its column.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import secrets
import signal
import statistics
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import _contenders
import _fleet_peers
import _fleet_server
import _loopback
import _shared_redis
from _fleet_network import AT_ONCE, DELAY, NO_LIMIT, PROCESSES, scaled
from _rounds import Figures
from _shared_process import NAMESPACE

SIGNALS = 10  # SIGKILLs, and as many SIGSTOPs
LEASE = 3.0  # s, in the row with signals; the default is 35 s
STS_SECONDS = 0.3  # that a call takes in this row, so that a signal meets some calls
SPAN = 25.0  # s in which the identities of this row are due, one after the other


class Workers:
    """
    Processes that share credentials: see `_shared_process.py`.

    Attributes:
        pids: The process of each number.
        done: What each number has told, in the process that it has now.
        stopped: When a process was stopped and continued, as monotonic times, by number.
    """

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._told = asyncio.Condition()
        self._ready: set[int] = set()
        self._starting: dict[int, asyncio.Event] = {}
        self.pids: dict[int, int] = {}
        self.done: dict[int, dict[str, Any]] = {}
        self.stopped: dict[int, list[tuple[float, float]]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, **options: Any) -> AsyncIterator[Self]:
        """Start the program, then `PROCESSES` processes that are ready."""
        command = [sys.executable, str(Path(__file__).with_name("_shared_process.py")), json.dumps(options)]
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        child = await asyncio.create_subprocess_exec(*command, **pipes, env=_loopback.environment())
        workers = cls(child)
        listening = asyncio.create_task(workers._listen())
        try:
            for number in range(PROCESSES):
                workers._send(f"start {number}")
            await workers._until(lambda: len(workers._ready) == PROCESSES)
            yield workers
        finally:
            child.stdin.close()
            await child.wait()
            await listening

    async def go(self) -> float:
        """Let all processes begin, and return the seconds until all are done."""
        begun = time.perf_counter()
        self._send("go")
        await self.all_done()
        return time.perf_counter() - begun

    async def all_done(self) -> None:
        await self._until(lambda: len(self.done) == PROCESSES)

    async def replace(self, number: int) -> None:
        """Kill the process of a number, and start another one."""
        pid = self.pids.pop(number)
        self.done.pop(number, None)
        self.stopped.pop(number, None)
        os.kill(pid, signal.SIGKILL)
        self._send(f"start {number}")
        await self._until(lambda: number in self.pids)

    async def stop(self, number: int, seconds: float) -> None:
        """Suspend the process of a number."""
        began = time.monotonic()
        os.kill(self.pids[number], signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(self.pids[number], signal.SIGCONT)
        self.stopped.setdefault(number, []).append((began, time.monotonic()))

    def longest_wait(self) -> float:
        """Return the longest wait of a call, without the time in which its process was suspended."""
        waits = (self._awake(number, *wait) for number, told in self.done.items() for wait in told["waits"])
        return max(waits, default=0.0)

    def _awake(self, number: int, began: float, ended: float) -> float:
        stopped = self.stopped.get(number, [])
        return ended - began - sum(max(0.0, min(ended, last) - max(began, first)) for first, last in stopped)

    def _send(self, text: str) -> None:
        self._child.stdin.write(f"{text}\n".encode())

    async def _until(self, condition: Any) -> None:
        async with self._told:
            await self._told.wait_for(lambda: condition() or self._child.returncode is not None)
        if self._child.returncode is not None:
            raise RuntimeError("the program of the processes has ended")

    async def _listen(self) -> None:
        while line := await self._child.stdout.readline():
            word, *rest = line.split()
            async with self._told:
                match word:
                    case b"started":
                        self.pids[int(rest[0])] = int(rest[1])
                    case b"ready":
                        self._ready.add(int(rest[0]))
                    case _:
                        told = json.loads(line)
                        self.done[told["number"]] = told
                self._told.notify_all()


def new_keys() -> str:
    return f"k1 {b64encode(secrets.token_bytes(32)).decode()}"


@contextlib.asynccontextmanager
async def place_of(name: str) -> AsyncIterator[tuple[str, Any]]:
    """Give the place of a cache, and a client of Redis."""
    if name == "redis":
        async with _shared_redis.redis_server() as found:
            yield found
    else:
        with tempfile.TemporaryDirectory() as directory:
            yield directory, None


async def cold(name: str, options: argparse.Namespace) -> Figures:
    """Processes that start together with no credentials."""
    count = scaled(200, options)
    async with place_of(name) as (place, client):
        with _fleet_server.server(delay=DELAY, pinned=False) as server:
            described = {"url": server.url, "cache": name, "place": place, "keys": new_keys(), "count": count}
            async with Workers.started(**described, lease=35.0, pause=0.0, attempt_timeout=10.0) as workers:
                before = await _shared_redis.used(client) if client else (0, 0.0)
                taken = await workers.go()
                counts = server.counts()
                fewest = min(told["roles"] for told in workers.done.values())
                found: Figures = {
                    "calls of STS": [counts["requests"]],
                    "seconds until all have all": [taken],
                    "identities of the process with the fewest": [fewest],
                }
                if client:
                    refreshes = PROCESSES * count
                    after = await _shared_redis.used(client)
                    sent, cpu = after[0] - before[0], after[1] - before[1]
                    digests = await _shared_redis.digests_in(client)
                    found |= {
                        "operations on Redis for each identity and process": [sent / refreshes],
                        "CPU of Redis for each of them, µs": [cpu / refreshes * 1e6],
                        "bytes of an identity in Redis": [await _shared_redis.memory_of(client, digests)],
                    }
    return found


class Watch:
    """
    What is published on Redis, in the order in which it is published.

    Attributes:
        published: Number of values.
        backwards: Number of values over a newer one: the fence is lower, or the credentials end earlier.
    """

    def __init__(self, client: Any, keys: str, url: str, count: int) -> None:
        from sts_async.fleet import CacheKey, EncryptionKeys
        from sts_async.fleet.caches._encrypted_entries import EncryptedEntries

        self._client = client
        self._entries = EncryptedEntries(EncryptionKeys.from_text(keys))
        cache_keys = [
            CacheKey(request=_fleet_peers.request(number), source=NAMESPACE, endpoint=url) for number in range(count)
        ]
        self._keys = {key.digest: key for key in cache_keys}
        self._newest: dict[str, tuple[int, datetime]] = {}
        self.published = self.backwards = 0

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[Self]:
        """Watch, and look at all values at the end."""
        subscriber = self._client.pubsub()
        await subscriber.subscribe(f"{_shared_redis.PREFIX}:leases")
        task = asyncio.create_task(self._listen(subscriber))
        try:
            yield self
            for digest, (fence, _) in list(self._newest.items()):
                await self._look(digest, fence)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await subscriber.aclose()

    async def _listen(self, subscriber: Any) -> None:
        async for message in subscriber.listen():
            digest, _, fence = message["data"].decode().partition(" ") if message["type"] == "message" else ("", "", "")
            if fence:
                self.published += 1
                await self._look(digest, int(fence))

    async def _look(self, digest: str, fence: int) -> None:
        """Compare the value of an identity with the newest one that was here before."""
        value = await self._client.get(f"{_shared_redis.PREFIX}:{{{digest}}}:value")
        end = self._entries.decrypt(self._keys[digest], value).credentials.expiration
        newest = self._newest.get(digest, (fence, end))
        self.backwards += fence < newest[0] or end < newest[1]
        self._newest[digest] = max(fence, newest[0]), max(end, newest[1])


async def signals(name: str, options: argparse.Namespace) -> Figures:
    """As `cold`, with identities that are due one after the other, while processes are killed and suspended."""
    count, span = scaled(200, options), scaled(SPAN, options, least=6)
    sent = scaled(SIGNALS, options, least=2)
    chosen, keys = random.Random(options.seed), new_keys()
    plan = sorted((chosen.uniform(0.02, 0.95) * span, kind) for kind in ("kill", "stop") for _ in range(sent))
    suspended: set[int] = set()

    async with place_of("redis") as (place, client):
        with _fleet_server.server(delay=STS_SECONDS, pinned=False) as server:
            described = {"url": server.url, "cache": "redis", "place": place, "keys": keys, "count": count}
            pause = span / count
            async with (
                Workers.started(**described, lease=LEASE, pause=pause, attempt_timeout=1.0) as workers,
                Watch(client, keys, server.url, count).watching() as watch,
                asyncio.TaskGroup() as group,
            ):

                async def suspend(number: int) -> None:
                    await workers.stop(number, LEASE + chosen.uniform(1.0, 2.0))
                    suspended.discard(number)

                group.create_task(workers.go())
                stops: list[asyncio.Task[None]] = []
                begun = time.monotonic()
                for at, kind in plan:
                    await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
                    number = chosen.choice([number for number in range(PROCESSES) if number not in suspended])
                    if kind == "kill":
                        await workers.replace(number)
                    else:
                        suspended.add(number)
                        stops.append(group.create_task(suspend(number)))
                await asyncio.wait(stops)
                await workers.all_done()
                counts, longest, done = server.counts(), workers.longest_wait(), list(workers.done.values())
    late = sum(told["refused"].get("late", 0) for told in done)
    return {
        "calls of STS": [counts["requests"]],
        "values published": [watch.published],
        "values published over newer ones": [watch.backwards],
        "values that came late and were refused": [late],
        "longest wait of a call, s": [longest],
        "calls that failed": [sum(told["failures"] for told in done)],
        "identities of the process with the fewest": [min(told["roles"] for told in done)],
    }


async def warm(name: str, options: argparse.Namespace) -> Figures:
    """A warm `get` in fleets with and without the cache, in turns."""
    from sts_async.fleet import CredentialsFleet, EncryptionKeys, RedisCache

    roles, calls, turns = scaled(1_000, options), scaled(20_000, options, least=200), 10
    requests = [_fleet_peers.request(number) for number in range(roles)]
    async with _shared_redis.redis_server() as (place, client), contextlib.AsyncExitStack() as stack:
        with _fleet_server.server() as server:
            cache = RedisCache(place, keys=EncryptionKeys.from_text(new_keys()))
            fleets = []
            for each in (cache, None):
                sts = await stack.enter_async_context(_contenders.sts_client(server.url, AT_ONCE))
                fleet = CredentialsFleet(sts, cache=each, cache_namespace=NAMESPACE, requests_per_second=NO_LIMIT)
                await stack.enter_async_context(fleet)
                fleet.add(*requests)
                await fleet.warm_up()
                fleets.append(fleet)
            spent: list[list[float]] = [[], []]
            chosen = [requests[number % roles] for number in range(calls)]
            reads = 0
            for turn in range(turns):
                before = await _shared_redis.operations(client, _shared_redis.READ)
                for fleet, times in list(zip(fleets, spent, strict=True))[:: -1 if turn % 2 else 1]:
                    begun = time.process_time()
                    for request in chosen:
                        await fleet.get(request)
                    times.append((time.process_time() - begun) / calls * 1e6)
                reads += await _shared_redis.operations(client, _shared_redis.READ) - before
            await stack.aclose()
    ratios = [mine / without for mine, without in zip(*spent, strict=True)]
    return {
        "get with RedisCache, µs": [statistics.median(spent[0])],
        "get without a cache, µs": [statistics.median(spent[1])],
        "with over without": [statistics.median(ratios)],
        "reads of Redis in all these calls": [reads],
    }


async def reading(name: str, options: argparse.Namespace) -> Figures:
    """CPU of reading one value: decrypt, parse and check it, for a new `CacheKey`, as in a fleet."""
    from sts_async.fleet import CachedCredentials, CacheKey, EncryptionKeys, RedisCache
    from sts_async.shapes import TemporaryCredentials

    times, now = scaled(5_000, options, least=200), datetime.now(UTC)
    text, place = new_keys(), "redis://127.0.0.1:1/0"  # nothing connects
    cache = RedisCache(place, keys=EncryptionKeys.from_text(text))
    issued = TemporaryCredentials(
        access_key_id=_loopback.ACCESS_KEY_ID,
        secret_access_key=_loopback.SECRET_ACCESS_KEY,
        session_token=_loopback.SESSION_TOKEN,
        expiration=now + timedelta(hours=1),
    )
    cached = CachedCredentials(credentials=issued, issued=now, refresh_after=now + timedelta(minutes=50))

    def key_of(number: int) -> CacheKey:
        return CacheKey(request=_fleet_peers.request(number), source=NAMESPACE, endpoint="https://sts.amazonaws.com/")

    spent: dict[str, list[float]] = {"digest of a key, µs": [], "read one value, µs": [], "write one value, µs": []}
    for number in range(times):
        key = key_of(number)
        moments = [time.thread_time()]
        digest = key.digest
        moments.append(time.thread_time())
        value = cache._entries.encrypt(key, cached)
        moments.append(time.thread_time())
        cache._opened(key, digest, value).seconds_left(now=now)
        moments.append(time.thread_time())
        digested, written, read = ((last - first) * 1e6 for first, last in itertools.pairwise(moments))
        for times_of, took in zip(spent.values(), (digested, read, written), strict=True):
            times_of.append(took)
    size = len(value)
    return {**{figure: [statistics.median(values)] for figure, values in spent.items()}, "bytes of a value": [size]}
