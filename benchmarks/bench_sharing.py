"""
Whether callers who wait for the same thing harm each other: with credentials that one fetch brings, and with deadlines.

    python benchmarks/bench_sharing.py [--rounds 3] [--callers 10000] [--only sts_async,aiobotocore] [--measure lag]
                                       [--interpreter aws-sdk-sts=/path/to/another/python]

The contenders take turns, a fresh process for each turn and measurement. Figures are medians over the rounds. A
contender that is not installed is left out. Timing never makes this fail: it prints which targets are met.

crowds: many callers ask at once, each with 30 s, for an identity that was never fetched or has ended. A fetch takes
0.2 s. Callers who still wait after 3 s are counted and given up. The first caller is not counted where it is cancelled
or has 0.05 s.

latecomers: 20 callers have 0.1 s each and a fetch takes 0.2 s, so they all fail. Then 20 others come, with 0.1 s each.

lag: calls begin in groups of 20, one group a millisecond, and wait for 10 connections to a server in a process of its
own. Shown is by how much a task that sleeps 1 ms at a time is late. The slowest hundredth is what counts. A contender
without deadlines has `asyncio.timeout` around each call. The floor is bare aiohttp, which neither signs nor parses.
"""

import argparse
import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import _contenders
import _credentials
import _loopback
import _rounds
from _credentials import SHORT, AskWithin, Peer, Source
from _rounds import Figures, Measurement

FETCH = 0.2  # s
PATIENT = 30.0  # s that a caller has
HASTY = 0.05  # s that the first has, where it has less
PATIENCE = 3.0  # s after which callers who still wait are given up
STATES = ("cold", "expired")
FAILING, CANCELLED, IMPATIENT = ", the fetch fails", ", first cancelled", ", first has 0.05 s"
CASES = ("", FAILING, CANCELLED, IMPATIENT)
FEW = 20  # callers who come too early for a fetch, and as many after them
TOO_SHORT = 0.1  # s that each of them has
GROUP = 20  # calls that begin in one turn of the event loop
CONNECTIONS = 10
FLOOR = "floor"

Limited = Callable[[int, float], Coroutine[Any, Any, object]]


async def crowds(peer: Peer, options: argparse.Namespace) -> Figures:
    """Fetches, and the callers served, failed and given up."""
    found: Figures = {}
    for state in STATES:
        for case in CASES:
            good = 0 if state == "cold" else 1
            failure = peer.error if case == FAILING else None
            source = Source(takes=FETCH, first=SHORT if good else _credentials.LIFE, failure=failure, good=good)
            within = await peer.issued_within(source)
            if good:
                await within(PATIENT)
                await asyncio.sleep(2 * SHORT)
            outcomes = await crowd(within, options.callers, case)
            found[f"{state}{case}"] = [source.fetches - good, *outcomes]
    return found


async def crowd(within: AskWithin, callers: int, case: str) -> tuple[int, int, int]:
    """Have many callers ask at once, and return how many of those who count were served, failed and given up."""
    first = HASTY if case == IMPATIENT else PATIENT
    tasks = [asyncio.create_task(within(PATIENT if number else first)) for number in range(callers)]
    counted = tasks
    if case == CANCELLED:
        await asyncio.sleep(HASTY)
        tasks[0].cancel()
    if case in (CANCELLED, IMPATIENT):
        counted = tasks[1:]
    _, waiting = await asyncio.wait(counted, timeout=PATIENCE)
    for task in waiting:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    failed = sum(isinstance(outcome, BaseException) for outcome in outcomes[-len(counted) :]) - len(waiting)
    return len(counted) - failed - len(waiting), failed, len(waiting)


async def latecomers(peer: Peer, options: argparse.Namespace) -> Figures:
    """Fetches, and how many of those who came later were served."""
    source = Source(takes=FETCH)
    within = await peer.issued_within(source)
    await asyncio.gather(*[within(TOO_SHORT) for _ in range(FEW)], return_exceptions=True)
    await asyncio.sleep(TOO_SHORT / 5)
    outcomes = await asyncio.gather(*[within(TOO_SHORT) for _ in range(FEW)], return_exceptions=True)
    return {"20 and 20": [source.fetches, sum(not isinstance(outcome, BaseException) for outcome in outcomes)]}


async def lag(name: str, options: argparse.Namespace) -> Figures:
    """Milliseconds of lag: the slowest hundredth, and the longest; at last the seconds that all calls took."""
    pair = _loopback.cores()
    lengths = {
        "one deadline": [PATIENT] * options.callers,
        "each its own deadline": [PATIENT + number / 1e3 for number in range(options.callers)],
    }
    found: Figures = {}
    for row, deadlines in lengths.items():
        with _loopback.server(core=pair[1] if pair else None) as url:
            async with limited(name, url) as call:
                await asyncio.gather(*[call(number, PATIENT) for number in range(CONNECTIONS)])
                found[row] = await late(call, deadlines)
    return found


async def late(call: Limited, deadlines: list[float]) -> list[float]:
    """Return by how many milliseconds the event loop is late meanwhile, p99 and at most, and the seconds in all."""
    begun = asyncio.get_running_loop().time()
    tasks: list[asyncio.Task[object]] = []
    async with _loopback.beating() as gaps:
        for number, seconds in enumerate(deadlines):
            tasks.append(asyncio.create_task(call(number, seconds)))
            if number % GROUP == GROUP - 1:
                await asyncio.sleep(_loopback.BEAT)
        await asyncio.gather(*tasks)  # raises if one failed: then nothing was measured
    behind = [(gap - _loopback.BEAT) * 1e3 for gap in gaps]
    taken = asyncio.get_running_loop().time() - begun
    return [statistics.quantiles(behind, n=100)[-1], max(behind), taken]


@contextlib.asynccontextmanager
async def limited(name: str, url: str) -> AsyncIterator[Limited]:
    """Give a function that makes a call, of a number, within some seconds."""
    if name == "sts_async":
        async with _contenders.sts_client(url, CONNECTIONS) as client:

            async def within(number: int, seconds: float) -> object:
                view = client.with_options(deadline=seconds)
                role, session = _loopback.ROLE_ARN, _contenders.session_name(number)
                return await view.assume_role(role_arn=role, role_session_name=session)

            yield within
        return
    async with _contenders.CONTENDERS[name](url, CONNECTIONS) as call:

        async def timed(number: int, seconds: float) -> object:
            async with asyncio.timeout(seconds):
                return await call(number)

        yield timed


MEASUREMENTS = {
    "crowds": Measurement(
        "{callers:,} callers at once: fetches / served / failed / still waiting after 3 s",
        _credentials.surrounded(crowds),
        tuple(_credentials.CONTENDERS),
    ),
    "latecomers": Measurement(
        "20 callers who cannot wait for the fetch, then 20 more: fetches / of the later ones served",
        _credentials.surrounded(latecomers),
        tuple(_credentials.CONTENDERS),
    ),
    "lag": Measurement(
        "{callers:,} calls, each with a deadline: event loop late by, ms, p99 / at most / s in all",
        lag,
        (FLOOR, "sts_async", "aiobotocore"),
    ),
}
TARGETS = (
    *(("crowds", f"{state}{case}", 0, 1.0, "fetches", False) for state in STATES for case in CASES),
    *(("crowds", f"{state}{case}", 2, 0.0, "fail", False) for state in STATES for case in CASES if case != FAILING),
    *(("crowds", f"{state}{case}", 3, 0.0, "still wait", False) for state in STATES for case in CASES),
    ("latecomers", "20 and 20", 0, 2.0, "fetches", False),
    ("latecomers", "20 and 20", 1, 18.0, "served", True),
    ("lag", "one deadline", 0, 20.0, "ms", False),
    ("lag", "each its own deadline", 0, 20.0, "ms", False),
)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Callers who wait for the same thing.")
    parser.add_argument("--callers", type=int, default=10_000)
    _rounds.main(parser, MEASUREMENTS, targets=TARGETS, passed=["callers"])
