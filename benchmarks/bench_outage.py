"""
What a fleet of identities does to its service, to its callers and to the log in hours of failure.

    python benchmarks/bench_outage.py [--identities 1000] [--hours 6] [--lifetime 3600] [--seed 1]

The clock is virtual, so all of it takes a minute or two, and the figures are the same on every machine. Each identity
is asked for once a second. All are fetched together, work for three hours, fail for some hours, and work again. The
simulation is that of the tests (`tests/outage.py`).
"""

import argparse
import asyncio
import logging
import platform
import sys
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from outage import Fleet, slots

from sts_async.errors import ConnectError, LoginRequired, ServiceError, STSError

HOUR = 3600
BACKOFF = 600  # s, the longest pause
OUTAGES: dict[str, tuple[STSError, bool]] = {  # what it fails with, and whether it worked before
    "no connection": (ConnectError("refused"), True),
    "AccessDenied": (ServiceError("no", code="AccessDenied", status=403), True),
    "AccessDenied, from the beginning": (ServiceError("no", code="AccessDenied", status=403), False),
    "a login is needed": (LoginRequired("log in"), True),
}


class Figures(NamedTuple):
    """What came of an outage; see `ROWS`."""

    failed_early: int
    failed: float
    attempts: float
    worst_hour: float
    lines: int
    outage_peak: float
    recovered_after: int
    recovery_lines: int
    recovery_peak: float


ROWS = {
    "failed_early": "callers that failed while the credentials were valid",
    "failed": "callers that failed, %",
    "attempts": "attempts an hour and identity",
    "worst_hour": "  in the worst hour",
    "lines": "log lines of an identity, at most",
    "outage_peak": "attempts in 10 s, peak against mean",
    "recovered_after": "all fresh again after, s",
    "recovery_lines": "log lines of an identity then, at most",
    "recovery_peak": "attempts in 10 s then, peak against the outage's mean",
}


async def measure(error: STSError, *, worked: bool, options: argparse.Namespace) -> Figures:
    """Play one outage."""
    fleet = Fleet(options.identities, lifetime=options.lifetime, seed=options.seed)
    begins = 3 * HOUR if worked else 0
    ends = begins + round(options.hours * HOUR)
    await fleet.run(begins)
    valid_until = [identity.state.mandatory.monotonic for identity in fleet.identities]
    await fleet.run(ends - begins, error=error)
    outage = slots(fleet.attempts_between(begins, ends), begins, ends)
    failed = fleet.failed_callers()
    firsts = [(valid, identity.failures) for valid, identity in zip(valid_until, fleet.identities, strict=True)]
    early = sum(second < valid for valid, failures in firsts for second, _ in failures if worked)
    recovered = 0
    while not all(identity.fresh for identity in fleet.identities):
        await fleet.run(1)
        recovered += 1
    await fleet.run(max(BACKOFF - recovered, 0))
    recovery = slots(fleet.attempts_between(ends, ends + BACKOFF), ends, ends + BACKOFF)
    mean = sum(outage) / len(outage)
    return Figures(
        failed_early=early,
        failed=100 * failed / options.identities / (ends - begins),
        attempts=mean * HOUR / 10 / options.identities,
        worst_hour=fleet.most_attempts_in_an_hour(begins, ends),
        lines=fleet.most_lines(begins, ends),
        outage_peak=max(outage) / mean,
        recovered_after=recovered,
        recovery_lines=fleet.most_lines(ends, ends + BACKOFF),
        recovery_peak=max(recovery) / mean,
    )


async def spread(options: argparse.Namespace) -> str:
    """Say how far the first refreshes of identities that were fetched together are from each other."""
    fleet = Fleet(options.identities, lifetime=options.lifetime, seed=options.seed)
    await fleet.run(round(options.lifetime))
    seconds = fleet.attempts_between(1, options.lifetime)
    first, last = min(seconds), max(seconds)
    each = slots(seconds, first, last + 10)
    return (
        f"first refreshes: from {first} to {last} s, "
        f"in 10 s {sum(each) / len(each):.1f} on average and {max(each)} at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="A fleet of identities in hours of failure, on a virtual clock.")
    parser.add_argument("--identities", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=6.0, help="of failure")
    parser.add_argument("--lifetime", type=float, default=3600.0, help="of credentials, in seconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.lastResort = None
    begun = time.process_time()
    print(
        f"Python {platform.python_version()}, {options.identities:,} identities with a caller a second, "
        f"credentials for {options.lifetime:.0f} s, {options.hours:g} h of failure, seed {options.seed}"
    )
    print(asyncio.run(spread(options)))
    columns = {
        name: asyncio.run(measure(error, worked=worked, options=options)) for name, (error, worked) in OUTAGES.items()
    }
    print("\n" + " " * 54 + "".join(f"{name:>34}" for name in columns))
    for field, row in ROWS.items():
        print(f"{row:<54}" + "".join(f"{shown(getattr(column, field)):>34}" for column in columns.values()))
    print(f"\n{time.process_time() - begun:.0f} s of CPU")


def shown(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:.1f}"


if __name__ == "__main__":
    main()
