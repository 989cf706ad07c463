"""
How long callers wait when there are more of them than connections.

    python benchmarks/bench_fairness.py [--callers 256] [--connections 10] [--calls 20] [--delay-ms 1] [--rounds 3]

aiohttp's connector wakes queued callers in an order that starves some of them. A gate in front of it, which admits as
many callers as there are connections and in the order in which they came, does not. Each caller makes one call after
the other; what is shown is the latency of a call, over all callers.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator, Collection

import _contenders
import _loopback
from _rounds import Ratio


@contextlib.asynccontextmanager
async def bare(url: str, connections: int) -> AsyncIterator[_contenders.Call]:
    """aiohttp, whose connector is the only queue."""
    async with _contenders.lean_session(connections) as session:

        async def call(number: int) -> object:
            async with session.post(url, data=b"Action=AssumeRole") as response:
                return await response.read()

        yield call


def gated(contender: _contenders.Contender) -> _contenders.Contender:
    """Return a contender behind a semaphore, which is first come, first served."""

    @contextlib.asynccontextmanager
    async def enter(url: str, connections: int) -> AsyncIterator[_contenders.Call]:
        gate = asyncio.Semaphore(connections)
        async with contender(url, connections) as through:

            async def call(number: int) -> object:
                async with gate:
                    return await through(number)

            yield call

    return enter


LIMIT = 1.15  # of the p99 of sts_async to that of the floor
FLOOR = "and signing and parsing"
CONTENDERS: dict[str, _contenders.Contender] = {
    "bare aiohttp": bare,
    "behind a FIFO gate": gated(bare),
    FLOOR: gated(_contenders.practical_floor),
    "sts_async": _contenders.sts_async,
}


async def measure(name: str, options: argparse.Namespace) -> list[float]:
    """Return the milliseconds that each call took."""
    taken: list[float] = []
    async with CONTENDERS[name](options.url, options.connections) as call:

        async def caller(number: int, calls: int, into: list[float]) -> None:
            for _ in range(calls):
                start = time.perf_counter()
                await call(number)
                into.append((time.perf_counter() - start) * 1e3)

        for calls, into in ((2, []), (options.calls, taken)):  # a warm-up first
            async with asyncio.TaskGroup() as group:
                for number in range(options.callers):
                    group.create_task(caller(number, calls, into))
    return taken


def compete(
    names: Collection[str], *, rounds: int, callers: int, connections: int, calls: int, delay_ms: float
) -> dict[str, list[list[float]]]:
    """Return the latencies of each contender, a list for each round; each turn is a fresh process."""
    mine, servers = _loopback.cores() or (None, None)
    pinned = [] if mine is None else ["--core", mine]
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    shape = ["--callers", callers, "--connections", connections, "--calls", calls]
    with _loopback.server(core=servers, delay=delay_ms / 1e3) as url:
        for _ in range(rounds):
            for name, latencies in found.items():
                latencies.append(json.loads(_loopback.run(__file__, "--be", name, "--url", url, *shape, *pinned)))
    return found


def p99s(rounds: list[list[float]]) -> list[float]:
    """Return the 99th percentile of each round."""
    return [statistics.quantiles(taken, n=100)[98] for taken in rounds]


def main() -> None:
    parser = argparse.ArgumentParser(description="Latency of callers that outnumber the connections.")
    parser.add_argument("--callers", type=int, default=256)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--calls", type=int, default=20, help="calls for each caller in each round")
    parser.add_argument("--delay-ms", type=float, default=1.0, help="what the server waits before each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--be", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        _loopback.pin(options.core)
        print(json.dumps(asyncio.run(measure(options.be, options))))
        return
    shape = {name: getattr(options, name) for name in ("rounds", "callers", "connections", "calls", "delay_ms")}
    found = compete(CONTENDERS, **shape)
    print(f"{options.callers} callers, {options.connections} connections; medians of {options.rounds} rounds, in ms")
    print(f"{'':<26}{'p50':>9}{'p99':>9}{'worst':>9}")
    for name, rounds in found.items():
        p50 = statistics.median(map(statistics.median, rounds))
        worst = statistics.median(map(max, rounds))
        print(f"{name:<26}{p50:>9.1f}{statistics.median(p99s(rounds)):>9.1f}{worst:>9.1f}")
    ratio = Ratio.of(p99s(found["sts_async"]), p99s(found[FLOOR]))
    print(f"\np99 of sts_async / of {FLOOR} = {ratio} (limit {LIMIT:.2f})")


if __name__ == "__main__":
    main()
