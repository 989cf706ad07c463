"""
Tables of figures with goals: medians of rounds, in columns for each contender, and whether ours reached its goals.

A benchmark describes its rows as `Measurement` and calls `main`. A row is one table.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import _loopback
import _rounds
from _rounds import Figures, Measurement

QUICK = 0.02  # part of each row


class Goal(NamedTuple):
    """The limit of a figure of ours: its maximum, or its minimum if *at_least* is True."""

    limit: float
    at_least: bool = False

    def reached(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


Goals = Mapping[tuple[str, str], Goal]
"""The goals of figures, by the row and the figure."""


def shown(values: Sequence[float], *, spread: bool = False) -> str:
    """Return the median of the rounds for the table; if *spread*, with the quartiles if they differ from it."""
    median = number(statistics.median(values))
    if spread and len(values) > 1:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        if (number(low), number(high)) != (median, median):
            return f"{median} ({number(low)}-{number(high)})"
    return median


def number(value: float) -> str:
    """Return a number with its significant digits."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(row: str, title: str, measured: dict[str, list[Figures]], *, ours: str, goals: Goals) -> None:
    """Print the figures of a row as a table."""
    print(f"\n### {title}\n")
    print(f"| | {' | '.join(measured)} | goal | reached |")
    print(f"|---|{'---|' * len(measured)}---|---|")
    for figure in dict.fromkeys(figure for rounds in measured.values() for figure in rounds[0]):
        columns = {
            name: [found[figure][0] for found in rounds] if figure in rounds[0] else []
            for name, rounds in measured.items()
        }
        cells = [shown(values, spread=name == ours) if values else "" for name, values in columns.items()]
        goal, reached = goals.get((row, figure)), columns.get(ours)
        words = ["", ""]
        if goal is not None and reached:
            is_reached = goal.reached(statistics.median(reached))
            words = [f"{'≥' if goal.at_least else '≤'} {goal.limit:g}", "yes" if is_reached else "no"]
        print(f"| {' | '.join([figure, *cells, *words])} |", flush=True)


def main(
    parser: argparse.ArgumentParser,
    rows: dict[str, Measurement],
    *,
    ours: str,
    goals: Goals,
    one_round: Sequence[str] = (),
    derive: Callable[[str, dict[str, list[Figures]]], None] = lambda row, measured: None,
) -> None:
    """
    Measure rows, or be one contender.

    Args:
        parser: Of the benchmark's own options.
        rows: By the name that ``--only`` takes.
        ours: The contender that has goals.
        goals: Its goals.
        one_round: Rows that have one round.
        derive: Adds figures to a row that compare others.
    """
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help=f"comma-separated, out of {','.join(rows)}")
    parser.add_argument("--contenders", help="comma-separated; all of them if it is missing")
    parser.add_argument("--quick", action="store_true", help="a part of each row")
    parser.add_argument("--json", action="store_true", help="print the medians as JSON at the end")
    parser.add_argument("--seed", type=int, default=1, help="of random numbers")
    parser.add_argument("--interpreter", action="append", default=[], metavar="CONTENDER=PYTHON")
    parser.add_argument("--scale", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--be", help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=rows, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        _rounds.contend(rows[options.measure], options)
        return
    chosen = [row for row in rows if not options.only or row in options.only.split(",")]
    if not chosen:
        parser.error(f"--only takes names out of {','.join(rows)}")
    shared = {"scale": options.scale or (QUICK if options.quick else 1.0), "passed": ["scale", "seed"]}
    running = argparse.Namespace(**{**vars(options), **shared, "only": options.contenders})
    print(f"{_rounds.versions()}; medians of {options.rounds} rounds, quartiles in brackets", end=", ")
    print("those on one thread pinned" if _loopback.cores() else "not pinned")
    medians: dict[str, dict[str, dict[str, float]]] = {}
    for row in chosen:
        running.rounds = 1 if row in one_round else options.rounds
        measured = _rounds.compete(row, rows[row], running)
        derive(row, measured)
        table(row, rows[row].title, measured, ours=ours, goals=goals)
        medians[row] = {
            name: {figure: statistics.median(found[figure][0] for found in rounds) for figure in rounds[0]}
            for name, rounds in measured.items()
        }
    if options.json:
        print(json.dumps(medians))
