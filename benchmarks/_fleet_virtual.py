"""
The rows of `bench_fleet.py` that are measured on virtual clocks, without sockets.

The clocks and the STS are those of the tests: `tests/fleet/simulation.py`, and `tests/fleet/day.py` for the day. So the
CPU of a refresh here includes signing, parsing, and about 40 microseconds of this STS.
"""

import argparse
import asyncio
import gc
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from _fleet_network import resident, scaled
from _rounds import Figures

SMALL, LARGE = 1_000, 100_000
BUDGET = 100_000.0  # requests a second: the budget is not measured here
GROUP = 50  # roles that a caller asks for, one after the other
HOUR = 3600.0


async def refreshes(name: str, options: argparse.Namespace) -> Figures:
    """CPU of a refresh, in microseconds, in fleets of two sizes, and bytes of an identity."""
    found: Figures = {}
    small, large = scaled(SMALL, options), scaled(LARGE, options)
    for size in (small, large):
        cost, memory = await _refresh_cost(size, refreshes=large)
        label = "1,000" if size == small else "100,000"
        found[f"CPU of a refresh, µs, of {label}"] = [cost]
        if size == large:
            found[f"kB of memory for each, of {label}"] = [memory / 1e3]
    costs = [value for row, (value,) in found.items() if row.startswith("CPU")]
    found["CPU of a refresh, large over small"] = [costs[1] / costs[0]]
    return found


async def _refresh_cost(size: int, *, refreshes: int) -> tuple[float, float]:
    from fleet import simulation

    from sts_async.fleet import CredentialsFleet

    clock = simulation.Clock()
    sts = simulation.StandIn(clock, remembers=False)
    async with (
        simulation.client(clock, sts) as client,
        CredentialsFleet(client, requests_per_second=BUDGET) as fleet,
    ):
        await _fetched(fleet.get(simulation.request_for(0)), clock)
        before = resident()
        fleet.add(*map(simulation.request_for, range(1, size + 1)))
        while fleet.snapshot().waiting:
            await clock.run(1.0)
        memory = (resident() - before) / size
        await clock.run(HOUR)
        answers, begun = sts.answers, time.process_time()
        while sts.answers < answers + refreshes:
            await clock.run(HOUR / 10)
        cost = (time.process_time() - begun) / (sts.answers - answers)
        assert fleet.snapshot().fresh >= size
    return cost * 1e6, memory


async def _fetched(work: object, clock: object) -> None:
    """Advance the clocks until *work* is done. Only the start of a client also waits for a thread."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await clock.run(1.0)
        await asyncio.sleep(0.001)
    await task


async def on_demand(name: str, options: argparse.Namespace) -> Figures:
    """Memory after many roles were used once. One in a hundred stays in use, and the bound is twice their number."""
    from fleet import simulation

    from sts_async.fleet import CredentialsFleet

    seen = scaled(100_000, options, least=2_000)
    in_use = seen // 100
    bound = 2 * in_use
    clock = simulation.Clock()
    sts = simulation.StandIn(clock, remembers=False)
    memory: dict[int, int] = {}
    async with (
        simulation.client(clock, sts) as client,
        CredentialsFleet(client, requests_per_second=BUDGET, max_on_demand=bound) as fleet,
    ):
        await _fetched(fleet.get(simulation.request_for(0)), clock)
        tasks, before = len(asyncio.all_tasks()), resident()

        async def ask(numbers: range) -> None:
            for number in numbers:
                await fleet.get(simulation.request_for(number))

        async def go_through(first: int, last: int) -> None:
            asking = [asyncio.create_task(ask(range(at, min(at + GROUP, last)))) for at in range(first, last, GROUP)]
            while not all(task.done() for task in asking):
                await clock.run(0.1)
            await asyncio.gather(*asking)

        for first in range(1, seen + 1, in_use):
            await go_through(first, min(first + in_use, seen + 1))
            await go_through(1, in_use + 1)
            if first + in_use - 1 in (bound, seen // 2, seen):
                memory[first + in_use - 1] = resident() - before
        held, answers = fleet.snapshot().on_demand, sts.answers
        left = len(asyncio.all_tasks()) - tasks
        await clock.run(3 * HOUR)  # no caller uses an identity in this time
        return {
            "MB of memory, as many seen as the bound": [memory[bound] / 1e6],
            "MB of memory, half seen": [memory[seen // 2] / 1e6],
            "MB of memory, all seen": [memory[seen] / 1e6],
            "MB of memory, all seen, over half": [memory[seen] / memory[seen // 2]],
            "identities held over the bound": [held / bound],
            "requests for each role": [answers / (seen + 1)],
            "tasks left": [left],
            "three idle hours: requests, for each identity that was in use": [(sts.answers - answers) / in_use],
            "three idle hours: identities held at the end": [fleet.snapshot().on_demand],
            "three idle hours: timers at the end": [clock.timers],
        }


async def day(name: str, options: argparse.Namespace) -> Figures:
    """24 hours: see `tests/fleet/day.py`."""
    from fleet.day import Day

    logging.disable(logging.NOTSET)
    logging.lastResort = None
    size = scaled(10_000, options, least=100)
    begun = time.process_time()
    outcome = await Day(size, seed=options.seed).run()
    taken = time.process_time() - begun
    for seen in (outcome.ended + outcome.failed)[:5]:
        print(seen, file=sys.stderr)
    gc.collect()
    never = 24 * HOUR
    return {
        "served after the end, though a refresh was possible": [len(outcome.ended)],
        "callers that failed, though a refresh was possible": [len(outcome.failed)],
        "callers": [outcome.callers],
        "outage: requests an hour and identity": [outcome.attempts],
        "outage: log lines of an identity, at most": [outcome.lines],
        "outage: log lines for each identity": [outcome.all_lines],
        "all fresh after the outage, s": [never if outcome.recovered_after is None else outcome.recovered_after],
        "peak minute over mean, steady": [outcome.steady_peak / outcome.steady_mean],
        "peak minute over mean, in the outage": [outcome.outage_peak / outcome.outage_mean],
        "peak minute over mean, in the 10 min after": [outcome.recovery_peak / outcome.recovery_mean],
        "requests a second, steady": [outcome.steady_mean],
        "requests a second, peak minute of the day": [outcome.day_peak],
        "requests for each identity": [outcome.requests / size],
        "CPU of the day, s": [taken],
    }
