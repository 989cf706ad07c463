"""
Many identities kept fresh: `CredentialsFleet`, compared with the ways in which programs do it without a fleet.

    python benchmarks/bench_fleet.py [--rounds 3] [--only small,warm] [--quick] [--json]

The contenders take turns. Each turn of each row has a new process, and the server has a process and a core of its own.
Figures are medians over the rounds; those of the fleet have quartiles in brackets. Rows that count, or that compare two
figures of one process, have one round. A contender that is not installed is left out. A slow run is not an error: the
program prints which goals are reached.

fleet: a `CredentialsFleet`. providers: an `AssumeRoleProvider` for each role, used through a view of one client.
aiobotocore: an `AioSession` for each role, with `AioAssumeRoleCredentialFetcher`, which makes a client for each fetch.
aiobotocore-1: `AioRefreshableCredentials` for each role, whose fetches share one client that the program made.
boto3: a session and a client for each role, in 50 threads.

On a busy machine, the event loop is also late because it waits for a CPU. So the CPU of its turns is shown, too.

--quick measures a part of each row in one or two minutes, to show that the program works. Its figures mean nothing.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import _fleet_network as network
import _fleet_virtual as virtual
import _loopback
import _rounds
from _rounds import Figures, Measurement

FLEET = "fleet"
QUICK = 0.02  # part of each row
ROWS = {
    "cold": Measurement(
        "10,000 identities, cold start, 50 requests at once", network.cold, (FLEET, "providers", "aiobotocore-1")
    ),
    "refreshes": Measurement("A refresh on the virtual clock", virtual.refreshes, (FLEET,)),
    "on-demand": Measurement("100,000 on demand, of which 1 % is in use", virtual.on_demand, (FLEET,)),
    "few": Measurement(
        "200 identities, cold, 50 at once, an STS that takes 10 ms",
        network.few,
        (FLEET, "providers", "aiobotocore", "aiobotocore-1", "boto3"),
    ),
    "warm": Measurement("A warm call, CPU in µs", network.warm, (FLEET, "providers", "aiobotocore", "aiobotocore-1")),
    "day": Measurement("24 virtual hours, 10,000 identities, 6 h of them without STS", virtual.day, (FLEET,)),
    "live": Measurement("1,000 identities for 60 s, whose credentials end after 5 s", network.live, (FLEET,)),
    "processes": Measurement(
        "8 processes share a directory, 200 identities", network.processes, (FLEET, "aiobotocore-1"), pinned=False
    ),
}
ONE_ROUND = ("refreshes", "on-demand", "day", "live")


class Goal(NamedTuple):
    """The limit of a figure of the fleet: its maximum, or its minimum if *at_least* is True."""

    limit: float
    at_least: bool = False

    def reached(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


GOALS = {
    ("cold", "answers per second, STS admits 1,000, budget 1,000"): Goal(900, at_least=True),
    ("cold", "kB of memory for each, no limit"): Goal(6.0),
    ("cold", "CPU of a turn of the event loop, p99, ms, no limit"): Goal(20.0),
    ("cold", "event loop late, p99, ms, no limit"): Goal(20.0),
    ("refreshes", "CPU of a refresh, large over small"): Goal(1.3),
    ("on-demand", "identities held over the bound"): Goal(1.0),
    ("on-demand", "MB of memory, all seen, over half"): Goal(1.1),
    ("on-demand", "tasks left"): Goal(0),
    ("on-demand", "three idle hours: requests, for each identity that was in use"): Goal(1),
    ("on-demand", "three idle hours: identities held at the end"): Goal(0),
    ("few", "aiobotocore's seconds over the fleet's"): Goal(15, at_least=True),
    ("few", "connections"): Goal(50),
    ("few", "CPU of a turn of the event loop, at most, ms"): Goal(20),
    ("few", "event loop late, at most, ms"): Goal(20),
    ("warm", "get"): Goal(2.0),
    ("warm", "peek"): Goal(1.0),
    ("day", "served after the end, though a refresh was possible"): Goal(0),
    ("day", "callers that failed, though a refresh was possible"): Goal(0),
    ("day", "outage: requests an hour and identity"): Goal(12),
    ("day", "outage: log lines of an identity, at most"): Goal(2),
    ("day", "outage: log lines for each identity"): Goal(2),
    ("day", "all fresh after the outage, s"): Goal(600),
    ("day", "peak minute over mean, steady"): Goal(2),
    ("day", "peak minute over mean, in the outage"): Goal(2),
    ("day", "peak minute over mean, in the 10 min after"): Goal(2),
    ("live", "requests signed with ended credentials"): Goal(0),
    ("live", "requests that failed"): Goal(0),
    ("processes", "calls of STS"): Goal(200),
}


def derive(row: str, measured: dict[str, list[Figures]]) -> None:
    """Add the figures that compare two others of the same round."""
    for peer in ("aiobotocore", "aiobotocore-1", "boto3") if row == "few" else ():
        for mine, theirs in zip(measured.get(FLEET, []), measured.get(peer, []), strict=False):
            mine[f"{peer}'s seconds over the fleet's"] = [theirs["seconds"][0] / mine["seconds"][0]]


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


def table(row: str, measured: dict[str, list[Figures]]) -> None:
    """Print the figures of a row as a table."""
    print(f"\n### {ROWS[row].title}\n")
    print(f"| | {' | '.join(measured)} | goal | reached |")
    print(f"|---|{'---|' * len(measured)}---|---|")
    for figure in dict.fromkeys(figure for rounds in measured.values() for figure in rounds[0]):
        columns = {
            name: [found[figure][0] for found in rounds] if figure in rounds[0] else []
            for name, rounds in measured.items()
        }
        cells = [shown(values, spread=name == FLEET) if values else "" for name, values in columns.items()]
        goal, ours = GOALS.get((row, figure)), columns.get(FLEET)
        words = ["", ""]
        if goal is not None and ours:
            reached = goal.reached(statistics.median(ours))
            words = [f"{'≥' if goal.at_least else '≤'} {goal.limit:g}", "yes" if reached else "no"]
        print(f"| {' | '.join([figure, *cells, *words])} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Many identities kept fresh.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help=f"comma-separated, out of {','.join(ROWS)}")
    parser.add_argument("--contenders", help="comma-separated; all of them if it is missing")
    parser.add_argument("--quick", action="store_true", help="a part of each row")
    parser.add_argument("--json", action="store_true", help="print the medians as JSON at the end")
    parser.add_argument("--seed", type=int, default=1, help="of the day")
    parser.add_argument("--interpreter", action="append", default=[], metavar="CONTENDER=PYTHON")
    parser.add_argument("--scale", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--be", help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        _rounds.contend(ROWS[options.measure], options)
        return
    chosen = [row for row in ROWS if not options.only or row in options.only.split(",")]
    if not chosen:
        parser.error(f"--only takes names out of {','.join(ROWS)}")
    shared = {"scale": options.scale or (QUICK if options.quick else 1.0), "passed": ["scale", "seed"]}
    running = argparse.Namespace(**{**vars(options), **shared, "only": options.contenders})
    print(f"{_rounds.versions()}; medians of {options.rounds} rounds, quartiles in brackets", end=", ")
    print("those on one thread pinned" if _loopback.cores() else "not pinned")
    medians: dict[str, dict[str, dict[str, float]]] = {}
    for row in chosen:
        running.rounds = 1 if row in ONE_ROUND else options.rounds
        measured = _rounds.compete(row, ROWS[row], running)
        derive(row, measured)
        table(row, measured)
        medians[row] = {
            name: {figure: statistics.median(found[figure][0] for found in rounds) for figure in rounds[0]}
            for name, rounds in measured.items()
        }
    if options.json:
        print(json.dumps(medians))


if __name__ == "__main__":
    main()
