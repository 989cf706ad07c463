"""
How contenders take turns: a fresh process for each contender, measurement and round, and then a table of medians.

A benchmark describes its measurements with `Measurement` and calls `main`. The process that it starts for a contender
runs the same file again, with ``--be``.
"""

import argparse
import asyncio
import json
import logging
import platform
import statistics
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib import metadata
from typing import NamedTuple

import _loopback

Figures = dict[str, list[float]]  # the figures of each row
LIBRARIES = ("aiohttp", "attrs", "cattrs", "lxml", "aiobotocore", "botocore", "aws-sdk-sts", "capo-sts")


class Ratio(NamedTuple):
    """
    How one contender compares with another: the median over the rounds, each of which gives one ratio.

    A round measures both within seconds, so whatever else the host does meets both.

    Attributes:
        median: Of the ratios.
        low: Their lower quartile.
        high: Their upper quartile.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float], base: Sequence[float]) -> "Ratio":
        """Return how *figures* compare with those of *base*, which were measured in the same rounds."""
        ratios = [mine / theirs for mine, theirs in zip(figures, base, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        return cls(statistics.median(ratios), low, high)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


class Measurement(NamedTuple):
    """
    One table.

    Attributes:
        title: Its heading; ``{callers}`` and other options can stand in it.
        measure: Takes the name of a contender and the options, and returns the rows of its column.
        contenders: Their names.
        pinned: Whether the contender is kept on one core: for those with no thread or process beside the event loop.
    """

    title: str
    measure: Callable[[str, argparse.Namespace], Awaitable[Figures]]
    contenders: Sequence[str]
    pinned: bool = True


class Target(NamedTuple):
    """What this library is to reach: at most, or *at_least*, so much of one figure of a row."""

    measurement: str
    row: str
    figure: int
    limit: float
    unit: str
    at_least: bool = False


def contend(measurement: Measurement, options: argparse.Namespace) -> None:
    """Be one contender: print one measurement as JSON."""
    _loopback.pin(options.core)
    logging.disable()

    async def measure() -> Figures:
        return await measurement.measure(options.be, options)

    try:
        print(json.dumps(asyncio.run(measure())))
    except ImportError as error:
        print(json.dumps({"skipped": str(error)}))


def compete(name: str, measurement: Measurement, options: argparse.Namespace) -> dict[str, list[Figures]]:
    """Return what each contender measured, in each round."""
    interpreters = dict(pair.split("=", 1) for pair in options.interpreter)
    cores = _loopback.cores()
    pinned = ["--core", cores[0]] if cores and measurement.pinned else []
    passed = [text for option in options.passed for text in (f"--{option}", getattr(options, option))]
    names = [name for name in measurement.contenders if not options.only or name in options.only.split(",")]
    measured: dict[str, list[Figures]] = {name: [] for name in names}
    for turn in range(options.rounds):
        for contender in names[turn % len(names) :] + names[: turn % len(names)]:
            if contender not in measured:
                continue
            arguments = [sys.argv[0], "--be", contender, "--measure", name, *passed, *pinned]
            found = json.loads(_loopback.run(*arguments, interpreter=interpreters.get(contender, sys.executable)))
            if "skipped" in found:
                print(f"{contender} is left out: {found['skipped']}")
                del measured[contender]
            else:
                measured[contender].append(found)
    return measured


def report(title: str, measured: dict[str, list[Figures]], targets: Sequence[Target]) -> None:
    """Print a table of medians, and which targets are met."""
    print(f"\n{title}")
    if not measured:
        return
    print(" " * 32 + "".join(f"{name:>24}" for name in measured))
    for row in next(iter(measured.values()))[0]:
        cells = [" / ".join(map(shown, medians(rounds, row))) for rounds in measured.values()]
        print(f"{row:<32}" + "".join(f"{text:>24}" for text in cells), flush=True)
    for _, row, figure, limit, unit, at_least in targets if "sts_async" in measured else ():
        reached = medians(measured["sts_async"], row)[figure]
        verdict = "met" if (reached >= limit if at_least else reached <= limit) else "NOT MET"
        bound = "at least" if at_least else "at most"
        print(f"  target {verdict}: {row}: {shown(reached)} {unit} ({bound} {limit:,.0f})")


def medians(rounds: list[Figures], row: str) -> list[float]:
    """Return the median of each figure of a row over the rounds."""
    return [statistics.median(column) for column in zip(*(figures[row] for figures in rounds), strict=True)]


def shown(number: float) -> str:
    """Return a number as a table shows it."""
    return f"{number:.0f}" if number == int(number) or abs(number) >= 100 else f"{number:.1f}"


def versions() -> str:
    """Return the versions of Python and of the libraries that this interpreter has."""
    found = [f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def main(
    parser: argparse.ArgumentParser,
    measurements: dict[str, Measurement],
    *,
    targets: Sequence[Target | tuple[object, ...]] = (),
    passed: Sequence[str] = (),
) -> None:
    """
    Measure all, or be one contender.

    Args:
        parser: Of the benchmark's own options.
        measurements: By the name that ``--measure`` takes.
        targets: What this library is to reach.
        passed: Options of the benchmark that its contenders get too.
    """
    contenders = dict.fromkeys(name for measurement in measurements.values() for name in measurement.contenders)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help=f"comma-separated, out of {','.join(contenders)}")
    parser.add_argument("--measure", choices=measurements, help="this alone")
    parser.add_argument("--interpreter", action="append", default=[], metavar="CONTENDER=PYTHON")
    parser.add_argument("--be", choices=contenders, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    parser.set_defaults(passed=passed)
    options = parser.parse_args()
    if options.be:
        contend(measurements[options.measure], options)
        return
    print(f"{versions()}; medians of {options.rounds} rounds", end=", ")
    print("those on one thread pinned" if _loopback.cores() else "not pinned")
    for name in [options.measure] if options.measure else measurements:
        measured = compete(name, measurements[name], options)
        of_these = [target for target in map(Target._make, targets) if target.measurement == name]
        report(measurements[name].title.format_map(vars(options)), measured, of_these)
