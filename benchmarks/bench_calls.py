"""
Client CPU per warm `assume_role`: bare aiohttp, the least that signs and parses, this library and its peers.

    python benchmarks/bench_calls.py [--calls 3000] [--rounds 5] [--in-flight 1,32,256] [--only floor,sts_async]
                                     [--interpreter aws-sdk-sts=/path/to/another/python]

The contenders take turns, a fresh process for each turn, against one server in a process of its own. What is counted
is the CPU time of the contender's process, after a warm-up, with the garbage collector on. Times depend on the host;
the ratios hardly do. A contender that is not installed is left out. Timing never makes this fail: it prints.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

import _contenders
import _loopback
import _rounds
from _rounds import Ratio

FLOOR = "practical-floor"
LIMITS = {1: 1.20, 32: 1.20, 256: 1.05}  # of sts_async to the practical floor, by how many calls are in flight
WARM_UP = 500  # calls


async def measure(name: str, url: str, *, calls: int, in_flight: int) -> float:
    """Return the CPU microseconds of this process for each of *calls* warm calls."""
    async with _contenders.CONTENDERS[name](url, in_flight) as call:
        learned = str(await call(0))
        if _loopback.ACCESS_KEY_ID not in learned:
            raise RuntimeError(f"{name} did not read the answer")
        await work(call, WARM_UP, in_flight)
        start = time.process_time()
        await work(call, calls, in_flight)
        return (time.process_time() - start) / calls * 1e6


async def work(call: _contenders.Call, calls: int, in_flight: int) -> None:
    """Make *calls* calls, *in_flight* at a time."""
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            await call(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(worker())


def contend(options: argparse.Namespace) -> None:
    """Be one contender for one turn: print what was measured, or why nothing was."""
    _loopback.pin(options.core)
    try:
        found = asyncio.run(measure(options.be, options.url, calls=options.calls, in_flight=int(options.in_flight)))
    except ImportError as error:
        print(json.dumps({"skipped": str(error)}))
    else:
        print(json.dumps({"us": found}))


def compete(
    names: Sequence[str], *, rounds: int, calls: int, in_flight: int, interpreters: Mapping[str, str]
) -> dict[str, list[float]]:
    """Return the microseconds per call of each contender, a number for each round."""
    pair = _loopback.cores()
    mine, servers = pair or (None, None)
    pinned = ["--core", mine] if pair else []
    measured: dict[str, list[float]] = {name: [] for name in names}
    with _loopback.server(core=servers) as url:
        for turn in range(rounds):
            for name in [*names[turn % len(names) :], *names[: turn % len(names)]]:
                if name not in measured:
                    continue
                arguments = ["--calls", calls, "--in-flight", in_flight, "--url", url, *pinned]
                interpreter = interpreters.get(name, sys.executable)
                found = json.loads(_loopback.run(__file__, "--be", name, *arguments, interpreter=interpreter))
                if "skipped" in found:
                    print(f"{name} is left out: {found['skipped']}", file=sys.stderr)
                    del measured[name]
                else:
                    measured[name].append(found["us"])
    return measured


def report(measured: dict[str, list[float]], in_flight: int) -> None:
    """Print the table. A ratio is the median over the rounds of the ratio within a round."""
    print(f"\n{in_flight} in flight")
    print(f"{'contender':<18}{'us/call':>9}{'min':>8}   {'/ floor':<20}{'/ practical floor':<20}")
    for name, figures in measured.items():
        ratios = "".join(
            f"{str(Ratio.of(figures, measured[base])) if base in measured else '-':<20}" for base in ("floor", FLOOR)
        )
        print(f"{name:<18}{statistics.median(figures):>9.0f}{min(figures):>8.0f}   {ratios}")
    if {"sts_async", FLOOR} <= measured.keys():
        limit = f" (limit {LIMITS[in_flight]:.2f})" if in_flight in LIMITS else ""
        print(f"sts_async / practical floor = {Ratio.of(measured['sts_async'], measured[FLOOR])}{limit}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Client CPU per warm assume_role, side by side.")
    parser.add_argument("--calls", type=int, default=3000, help="calls for each contender in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--in-flight", default="1,32,256", help="how many calls at once, comma-separated")
    parser.add_argument("--only", help=f"comma-separated, out of {','.join(_contenders.CONTENDERS)}")
    parser.add_argument("--interpreter", action="append", default=[], metavar="CONTENDER=PYTHON")
    parser.add_argument("--be", choices=_contenders.CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        contend(options)
        return
    print(f"{_rounds.versions()}; {options.rounds} x {options.calls} calls", end=", ")
    print("pinned" if _loopback.cores() else "not pinned")
    names = [name for name in _contenders.CONTENDERS if not options.only or name in options.only.split(",")]
    interpreters = dict(pair.split("=", 1) for pair in options.interpreter)
    for in_flight in map(int, options.in_flight.split(",")):
        shape = {"rounds": options.rounds, "calls": options.calls, "in_flight": in_flight}
        report(compete(names, interpreters=interpreters, **shape), in_flight)


if __name__ == "__main__":
    main()
