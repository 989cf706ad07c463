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
from collections.abc import AsyncIterator

import _contenders
import _loopback


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


CONTENDERS: dict[str, _contenders.Contender] = {
    "bare aiohttp": bare,
    "behind a FIFO gate": gated(bare),
    "and signing and parsing": gated(_contenders.practical_floor),
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


def compete(options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Return the latencies of each contender, a list for each round; each turn is a fresh process."""
    mine, servers = _loopback.cores() or (None, None)
    pinned = [] if mine is None else ["--core", mine]
    found: dict[str, list[list[float]]] = {name: [] for name in CONTENDERS}
    shape = ["--callers", options.callers, "--connections", options.connections, "--calls", options.calls]
    with _loopback.server(core=servers, delay=options.delay_ms / 1e3) as url:
        for _ in range(options.rounds):
            for name, rounds in found.items():
                rounds.append(json.loads(_loopback.run(__file__, "--be", name, "--url", url, *shape, *pinned)))
    return found


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
    print(f"{options.callers} callers, {options.connections} connections; medians of {options.rounds} rounds, in ms")
    print(f"{'':<26}{'p50':>9}{'p99':>9}{'worst':>9}")
    for name, rounds in compete(options).items():
        cuts = [statistics.quantiles(taken, n=100) for taken in rounds]
        p50, p99 = (statistics.median(cut[at] for cut in cuts) for at in (49, 98))
        print(f"{name:<26}{p50:>9.1f}{p99:>9.1f}{statistics.median(map(max, rounds)):>9.1f}")


if __name__ == "__main__":
    main()
