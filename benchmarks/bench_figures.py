"""
The figures that this library is held to, in one table: calls, fairness, cold start, import, and counts.

    python benchmarks/bench_figures.py [--rounds 5] [--calls 3000] [--interpreter aws-sdk-sts=/path/to/another/python]

Each figure is a ratio or a count, so it hardly depends on the host. A ratio is the median over the rounds of the ratio
within a round, with the quartiles in brackets; contenders take turns, a fresh process for each. How each is measured
stands in the benchmark of its own that is named in the last column. A peer that is not installed is left out. Timing
never makes this fail: it prints which limits are met.
"""

import argparse
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import _loopback
import _rounds
import bench_calls
import bench_cold
import bench_fairness
import bench_import
from _rounds import Ratio

PEERS = {"aiobotocore": 5.0, "aws-sdk-sts": 5.0, "capo-sts": 2.7}  # least ratio of their CPU to ours
PEERS_IN_FLIGHT = 32
COUNTS = {
    ("warm call", "calls"): 60,
    ("warm call", "files"): 12,
    ("warm call", "frames"): 3,
    ("cold refresh", "calls"): 450,
}


class Figure(NamedTuple):
    """
    A line of the table.

    Attributes:
        text: What was measured.
        shown: The figure as the table shows it.
        value: The figure that is compared with the limit.
        limit: The most that it may be, or the least.
        at_least: Whether the limit is the least.
        source: The benchmark that measures it.
    """

    text: str
    shown: str
    value: float
    limit: float
    source: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else round(self.value, 2) <= self.limit


def of_ratio(text: str, ratio: Ratio, limit: float, source: str, *, at_least: bool = False) -> Figure:
    return Figure(text, str(ratio), ratio.median, limit, source, at_least)


def calls(options: argparse.Namespace) -> Iterator[Figure]:
    interpreters = dict(pair.split("=", 1) for pair in options.interpreter)
    for in_flight, limit in bench_calls.LIMITS.items():
        names = [bench_calls.FLOOR, "sts_async", *(PEERS if in_flight == PEERS_IN_FLIGHT else ())]
        shape = {"rounds": options.rounds, "calls": options.calls, "in_flight": in_flight}
        found = bench_calls.compete(names, interpreters=interpreters, **shape)
        ratio = Ratio.of(found["sts_async"], found[bench_calls.FLOOR])
        yield of_ratio(
            f"CPU of a warm call over the practical floor, {in_flight} in flight", ratio, limit, "bench_calls"
        )
        for peer, least in PEERS.items():
            if peer in found:
                ratio = Ratio.of(found[peer], found["sts_async"])
                text = f"CPU of {peer} over ours, {in_flight} in flight"
                yield of_ratio(text, ratio, least, "bench_calls", at_least=True)


def fairness(options: argparse.Namespace) -> Iterator[Figure]:
    names = (bench_fairness.FLOOR, "sts_async")
    found = bench_fairness.compete(names, rounds=options.rounds, callers=256, connections=10, calls=20, delay_ms=1.0)
    floor, ours = (bench_fairness.p99s(found[name]) for name in names)
    text = "p99 of 256 callers on 10 connections, over the practical floor behind a FIFO gate"
    yield of_ratio(text, Ratio.of(ours, floor), bench_fairness.LIMIT, "bench_fairness")


def cold(options: argparse.Namespace) -> Iterator[Figure]:
    taken = bench_cold.compete(5 * options.rounds, (bench_cold.FLOOR, "sts_async"))
    ratio = Ratio.of(taken["sts_async"], taken[bench_cold.FLOOR])
    text = "CPU of a process from its start to its first answer, over aiohttp, signing and lxml"
    yield of_ratio(text, ratio, bench_cold.LIMIT, "bench_cold")


def imports(options: argparse.Namespace) -> Iterator[Figure]:
    taken = bench_import.time_imports(5 * options.rounds)
    ratio = Ratio.of(taken[bench_import.ALL], taken[bench_import.BASE])
    text = "CPU of importing what a program needs, over the four dependencies"
    yield of_ratio(text, ratio, bench_import.LIMIT, "bench_import")


def counts(options: argparse.Namespace) -> Iterator[Figure]:
    found = json.loads(_loopback.run(str(_loopback.HERE / "bench_counts.py"), "--json"))
    words = {"calls": "calls of its own functions", "files": "files of its own entered", "frames": "frames to aiohttp"}
    for (measurement, what), limit in COUNTS.items():
        value = found[measurement][what]
        yield Figure(f"{measurement}: {words[what]}", str(value), value, limit, "bench_counts")


PARTS: Mapping[str, Callable[[argparse.Namespace], Iterator[Figure]]] = {
    "calls": calls,
    "fairness": fairness,
    "cold": cold,
    "imports": imports,
    "counts": counts,
}


def versions(options: argparse.Namespace) -> Iterator[str]:
    """Yield a line for each interpreter: its version, and those of the libraries that it has."""
    yield f"{_rounds.versions()}"
    program = "import _rounds; print(_rounds.versions())"
    for name, _, interpreter in (pair.partition("=") for pair in options.interpreter):
        command = [interpreter, "-c", program]
        done = subprocess.run(command, cwd=_loopback.HERE, stdout=subprocess.PIPE, text=True, check=True)
        yield f"{name}: {done.stdout.strip()}"


def main() -> None:
    parser = argparse.ArgumentParser(description="The figures that this library is held to.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=3000, help="calls for each contender in each round")
    parser.add_argument("--only", help=f"comma-separated, out of {','.join(PARTS)}")
    parser.add_argument("--interpreter", action="append", default=[], metavar="CONTENDER=PYTHON")
    options = parser.parse_args()
    print(*versions(options), sep="\n")
    print(f"\nmedians of {options.rounds} rounds, five times as many for processes; quartiles in brackets\n")
    print("| figure | measured | limit | met | benchmark |\n|---|---|---|---|---|")
    for name, part in PARTS.items():
        for figure in part(options) if not options.only or name in options.only.split(",") else ():
            bound = f"{'>=' if figure.at_least else '<='} {figure.limit:g}"
            met = "yes" if figure.met else "no"
            print(f"| {figure.text} | {figure.shown} | {bound} | {met} | `{figure.source}` |", flush=True)


if __name__ == "__main__":
    main()
