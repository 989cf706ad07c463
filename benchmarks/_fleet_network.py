"""
The rows of `bench_fleet.py` that are measured over sockets, against `_fleet_server.py`.

Each function takes the name of a contender and the options, and returns the figures of its column.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import _contenders
import _fleet_peers
import _fleet_server
import _loopback
from _rounds import Figures

AT_ONCE = 50
ADMITTED = 1000.0  # requests a second that a server with a limit admits
NO_LIMIT = 100_000.0  # requests a second, more than a process can send
DELAY = 0.01  # s that the server takes for an answer, in the rows with few roles
LIFE = 5.0  # s for which the credentials of `live` are valid
USES = 300  # requests a second that are signed with them
PAGE = 4096  # bytes
PROCESSES = 8


def scaled(number: int, options: argparse.Namespace, *, least: int = 20) -> int:
    """Return *number* for a full run, and a part of it for a quick run."""
    return max(round(number * float(options.scale)), min(least, number))


def resident() -> int:
    """Return the bytes of this process in memory, without garbage."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


def lateness(gaps: list[float]) -> tuple[float, float]:
    """Return by how many milliseconds the event loop was late: the 99th percentile, and the maximum."""
    late = [(gap - _loopback.BEAT) * 1e3 for gap in gaps]
    return statistics.quantiles(late, n=100)[-1], max(late)


@contextlib.asynccontextmanager
async def turns() -> AsyncIterator[list[float]]:
    """Give a list that fills with the milliseconds of CPU of this thread between two wake-ups of a task."""
    spent: list[float] = []

    async def beat() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(_loopback.BEAT)
            now = time.thread_time()
            spent.append((now - last) * 1e3)
            last = now

    task = asyncio.create_task(beat())
    await asyncio.sleep(0)
    yield spent
    await asyncio.sleep(2 * _loopback.BEAT)
    task.cancel()


async def at_once(get: _fleet_peers.Get, count: int) -> None:
    """Get the credentials of *count* roles, `AT_ONCE` at a time."""
    numbers = iter(range(1, count + 1))

    async def worker() -> None:
        for number in numbers:
            await get(number)

    await asyncio.gather(*[worker() for _ in range(AT_ONCE)])


@contextlib.asynccontextmanager
async def started(name: str, url: str, budget: float) -> AsyncIterator[Callable[[int], Awaitable[object]]]:
    """Fetch a first role, then yield a function that fetches a number of roles."""
    if name == "fleet":
        from sts_async.fleet import CredentialsFleet

        async with (
            _contenders.sts_client(url, AT_ONCE) as sts,
            CredentialsFleet(sts, concurrency=AT_ONCE, requests_per_second=budget) as fleet,
        ):

            async def warm_up(count: int) -> object:
                fleet.add(*map(_fleet_peers.request, range(1, count + 1)))
                await fleet.warm_up()
                return fleet.snapshot().fresh

            await fleet.get(_fleet_peers.request(0))
            yield warm_up
        return
    async with _fleet_peers.PEERS[name](url, AT_ONCE) as get:
        await get(0)

        async def all_of(count: int) -> object:
            await at_once(get, count)
            return count

        yield all_of


async def cold(name: str, options: argparse.Namespace) -> Figures:
    """Many roles, cold: with a server that admits all requests, and for the fleet also with one that throttles."""
    count = scaled(10_000, options)
    found = {f"{figure}, no limit": value for figure, value in (await _cold(name, count, 0.0, NO_LIMIT)).items()}
    if name == "fleet":
        for budget in (ADMITTED, 2 * ADMITTED):
            figures = await _cold(name, count, ADMITTED, budget)
            for figure in ("answers per second", "requests refused, %"):
                found[f"{figure}, STS admits {ADMITTED:,.0f}, budget {budget:,.0f}"] = figures[figure]
    return found


async def _cold(name: str, count: int, rate: float, budget: float) -> Figures:
    with _fleet_server.server(rate=rate) as server:
        async with started(name, server.url, budget) as fetch:
            server.reset()
            before = resident()
            async with _loopback.beating() as gaps, turns() as spent:
                begun = time.process_time()
                await fetch(count)
                cpu = time.process_time() - begun
            bytes_each = (resident() - before) / count
            counts = server.counts()
    p99, most = lateness(gaps)
    assert counts["roles"] == count, counts
    sent = counts["answers"] + counts["refusals"]
    return {
        "CPU of each, µs": [cpu / count * 1e6],
        "answers per second": [counts["answers"] / counts["seconds"]],
        "kB of memory for each": [bytes_each / 1e3],
        "CPU of a turn of the event loop, p99, ms": [statistics.quantiles(spent, n=100)[-1]],
        "event loop late, p99, ms": [p99],
        "event loop late, at most, ms": [most],
        "requests for each": [sent / count],
        "requests refused, %": [100 * counts["refusals"] / sent],
    }


async def few(name: str, options: argparse.Namespace) -> Figures:
    """200 roles, cold, 50 at once."""
    count = scaled(200, options)
    with _fleet_server.server(delay=DELAY) as server:
        async with _fleet_peers.PEERS[name](server.url, AT_ONCE) as get:
            await get(0)
            server.reset()
            before = resident()
            async with _loopback.beating() as gaps, turns() as spent:
                begun = time.perf_counter()
                await at_once(get, count)
                taken = time.perf_counter() - begun
            bytes_each = (resident() - before) / count
            counts = server.counts()
    assert counts["roles"] == count, counts
    return {
        "seconds": [taken],
        "connections": [counts["connections"]],
        "CPU of a turn of the event loop, at most, ms": [max(spent)],
        "event loop late, at most, ms": [lateness(gaps)[1]],
        "kB of memory for each": [bytes_each / 1e3],
        "requests": [counts["answers"]],
    }


async def warm(name: str, options: argparse.Namespace) -> Figures:
    """Credentials in memory: CPU of a call, in microseconds. A peer has only 20 roles, because more take it long."""
    roles = scaled(1_000, options) if name == "fleet" else 20
    calls = scaled(200_000, options, least=1_000)
    numbers = [number % roles + 1 for number in range(calls)]
    with _fleet_server.server() as server:
        if name != "fleet":
            async with _fleet_peers.PEERS[name](server.url, AT_ONCE) as get:
                await at_once(get, roles)
                begun = time.process_time()
                for number in numbers:
                    await get(number)
                return {"get": [(time.process_time() - begun) / calls * 1e6]}

        from sts_async.fleet import CredentialsFleet

        async with (
            _contenders.sts_client(server.url, AT_ONCE) as sts,
            CredentialsFleet(sts, requests_per_second=NO_LIMIT) as fleet,
        ):
            kept = [_fleet_peers.request(number) for number in range(1, roles + 1)]
            fleet.add(*kept)
            await fleet.warm_up()
            requests = [kept[number - 1] for number in numbers]
            found: Figures = {}
            begun = time.process_time()
            for request in requests:
                await fleet.get(request)
            found["get"] = [(time.process_time() - begun) / calls * 1e6]
            begun = time.process_time()
            for request in requests:
                fleet.peek(request)
            found["peek"] = [(time.process_time() - begun) / calls * 1e6]
            begun = time.process_time()
            for number in numbers:
                fleet.peek(_fleet_peers.request(number))
            found["peek, with a new request object"] = [(time.process_time() - begun) / calls * 1e6]
            return found


async def live(name: str, options: argparse.Namespace) -> Figures:
    """Credentials that end after `LIFE` seconds, while requests are signed with them."""
    from sts_async.errors import STSError
    from sts_async.fleet import CredentialsFleet

    count, seconds = scaled(1_000, options), scaled(60, options, least=12)
    chosen = random.Random(1)
    uses = errors = 0
    with _fleet_server.server(life=LIFE) as server:
        async with (
            _contenders.sts_client(server.url, AT_ONCE) as sts,
            CredentialsFleet(sts, requests_per_second=NO_LIMIT) as fleet,
        ):
            requests = [_fleet_peers.request(number) for number in range(1, count + 1)]
            fleet.add(*requests)
            await fleet.warm_up()
            views = [sts.with_options(credentials=fleet.provider(request)) for request in requests]
            server.reset()
            ends = time.monotonic() + seconds

            async def use() -> None:
                nonlocal uses, errors
                while time.monotonic() < ends:
                    try:
                        await chosen.choice(views).get_caller_identity()
                        uses += 1
                    except STSError:
                        errors += 1
                    await asyncio.sleep(AT_ONCE / 2 / USES)

            await asyncio.gather(*[use() for _ in range(AT_ONCE // 2)])
            counts = server.counts()
    return {
        "requests signed with ended credentials": [counts["ended"]],
        "requests that failed": [errors],
        "requests signed with the credentials": [uses],
        "refreshes": [counts["issued"]],
        "roles refreshed": [counts["roles"]],
    }


async def processes(name: str, options: argparse.Namespace) -> Figures:
    """Processes that share a directory of credentials and start together."""
    count = scaled(200, options)
    program = str(Path(__file__).with_name("_fleet_process.py"))
    with _fleet_server.server(delay=DELAY, pinned=False) as server, tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, program, name, server.url, directory, str(count)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": _loopback.environment()}
        children = [await asyncio.create_subprocess_exec(*command, **pipes) for _ in range(PROCESSES)]
        for child in children:
            await child.stdout.readline()
        begun = time.perf_counter()
        outputs = await asyncio.gather(*[child.communicate(b"go\n") for child in children])
        taken = time.perf_counter() - begun
        found = [json.loads(out) for out, _ in outputs]
        if "skipped" in found[0]:
            raise ImportError(found[0]["skipped"])
        counts = server.counts()
    assert counts["roles"] == count, counts
    return {
        "calls of STS": [counts["issued"]],
        "seconds until all have all": [taken],
        "roles of the process with the fewest": [min(one["roles"] for one in found)],
    }
