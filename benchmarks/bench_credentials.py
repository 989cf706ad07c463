"""
What it costs to have credentials: kept ones, new ones for 10,000 callers at once, and none at all.

    python benchmarks/bench_credentials.py [--rounds 3] [--callers 10000] [--only sts_async,aiobotocore]
                                           [--interpreter aws-sdk-sts=/path/to/another/python]

The contenders take turns, a fresh process for each turn and measurement. Figures are medians over the rounds. A fetch
takes 50 ms, and callers who still wait after 3 s are given up. The first client of a process also imports the sources.
A contender that is not installed is left out. Timing never makes this fail: it prints which targets are met.

Not everyone does the same. For static keys aiobotocore and aws-sdk-sts look at environment and files once; this
library looks at the environment at each call and at the files every 10 s. The chain of aws-sdk-sts has the metadata
service only with another package, so the one that never answers is not asked.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import platform
import statistics
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable

import _credentials
import _loopback
from _credentials import Ask, Peer, Source

PATIENCE = 3.0  # s after which callers who still wait are given up
SHORT = 0.02  # s that an identity lives which is to have ended
BEAT = 0.001  # s
CLIENTS = 10  # after the first, without credentials
STATES = ("cold", "expired")
FAILING = ", the fetch fails"
CASES = {"": 0, FAILING: 0, ", first cancelled": 1}  # and how many of the callers are cancelled

Figures = dict[str, list[float]]
Measure = Callable[[Peer, argparse.Namespace], Awaitable[Figures]]


async def cached(peer: Peer, options: argparse.Namespace) -> Figures:
    """CPU nanoseconds to be given an identity that is there, above those of an empty coroutine."""
    issued = await cost(await peer.issued(Source()), options.calls)
    _credentials.set_keys()
    environment = await cost(await peer.found(), options.calls)
    _credentials.unset_keys()
    _credentials.write_keys()
    profile = await cost(await peer.found(), options.calls)
    return {"issued for an hour": [issued], "keys in a profile": [profile], "keys in the environment": [environment]}


async def cost(ask: Ask, calls: int) -> float:
    """Return the median over batches, which alternate with those of an empty coroutine."""

    async def empty() -> object:
        return None

    check(await ask())
    above = []
    for _ in range(15):
        base = await spin(empty, calls)
        above.append(await spin(ask, calls) - base)
    return statistics.median(above)


def check(identity: object) -> None:
    if _loopback.ACCESS_KEY_ID not in (getattr(identity, name, None) for name in ("access_key_id", "access_key")):
        raise RuntimeError("that is not the identity")


async def spin(ask: Ask, calls: int) -> float:
    """Return the CPU nanoseconds of a call."""
    start = time.process_time_ns()
    for _ in range(calls):
        await ask()
    return (time.process_time_ns() - start) / calls


async def memory(peer: Peer, options: argparse.Namespace) -> Figures:
    """Bytes for each caller, its task included, at the peak of a fetch that all wait for, and after all have gone."""
    asks = [await ended(peer, Source(first=SHORT)) for _ in range(2)]
    kept = await peer.issued(Source())
    await kept()
    tracemalloc.start()
    await crowd(asks[0], options.callers)
    await crowd(kept, options.callers)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    await crowd(asks[1], options.callers)
    gc.collect()
    after, peak = tracemalloc.get_traced_memory()
    await crowd(kept, options.callers)
    gc.collect()
    last, _ = tracemalloc.get_traced_memory()
    return {
        "at the peak": [(peak - before) / options.callers],
        "after they waited": [(after - before) / options.callers],
        "after a cached one": [(last - after) / options.callers],
    }


async def ended(peer: Peer, source: Source) -> Ask:
    """Return how to ask for an identity that was fetched and has ended."""
    ask = await peer.issued(source)
    await ask()
    await asyncio.sleep(2 * SHORT)
    return ask


async def crowd(ask: Ask, callers: int, *, cancelled: int = 0) -> tuple[int, float]:
    """
    Have many callers ask at once, the first of whom are *cancelled* while they wait.

    Returns:
        How many of the others got no identity, and the milliseconds until all were done.
    """
    start = time.perf_counter()
    tasks = [asyncio.create_task(ask()) for _ in range(callers)]
    if cancelled:
        await asyncio.sleep(_credentials.FETCH / 5)
        for task in tasks[:cancelled]:
            task.cancel()
    _, waiting = await asyncio.wait(tasks, timeout=PATIENCE)
    taken = (time.perf_counter() - start) * 1e3
    for task in waiting:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(BEAT)  # the event loop lets go of them
    return sum(isinstance(outcome, BaseException) for outcome in outcomes[cancelled:]), taken


async def crowds(peer: Peer, options: argparse.Namespace) -> Figures:
    """Fetches, callers without an identity, and milliseconds."""
    found: Figures = {}
    for case, cancelled in CASES.items():
        failure = peer.error if case == FAILING else None
        cold = Source(failure=failure)
        failed, taken = await crowd(await peer.issued(cold), options.callers, cancelled=cancelled)
        found[f"cold{case}"] = [cold.fetches, failed, taken]
        stale = Source(first=SHORT, failure=failure, good=1)
        failed, taken = await crowd(await ended(peer, stale), options.callers, cancelled=cancelled)
        found[f"expired{case}"] = [stale.fetches - 1, failed, taken]
    return found


async def nothing(peer: Peer, options: argparse.Namespace) -> Figures:
    """Milliseconds until a new client says that it has no credentials, with nothing configured."""
    first = await refusal(peer)
    later = statistics.median([await refusal(peer) for _ in range(CLIENTS)])
    return {"first client": [first], "later ones": [later]}


async def unreachable(peer: Peer, options: argparse.Namespace) -> Figures:
    """The same, with a metadata service that never answers."""
    with _credentials.black_hole() as url:
        del os.environ["AWS_EC2_METADATA_DISABLED"]
        os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = url
        return {"nothing answers": [await refusal(peer)]}


async def refusal(peer: Peer) -> float:
    start = time.perf_counter()
    try:
        await peer.call()
    except Exception:  # noqa: BLE001 - each has its own
        return (time.perf_counter() - start) * 1e3
    raise RuntimeError("there are credentials on this machine")


async def blocked(peer: Peer, options: argparse.Namespace) -> Figures:
    """Milliseconds for which the event loop stands still at most, above those of an idle one, and in all."""
    _credentials.write_large_files()
    found: Figures = {}
    for chain in ("first chain", "next chain"):
        async with beating() as gaps:
            start = time.perf_counter()
            identity = await (await peer.found())()
            taken = time.perf_counter() - start
        check(identity)
        async with beating() as idle:
            await asyncio.sleep(taken)
        found[chain] = [(max(gaps) - max(idle)) * 1e3, max(idle) * 1e3, taken * 1e3]
    return found


@contextlib.asynccontextmanager
async def beating() -> AsyncIterator[list[float]]:
    """Give a list that fills with the seconds between two wake-ups of a task that sleeps 1 ms at a time."""
    gaps: list[float] = []

    async def beat() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(BEAT)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    task = asyncio.create_task(beat())
    await asyncio.sleep(10 * BEAT)
    yield gaps
    await asyncio.sleep(2 * BEAT)
    task.cancel()


MEASURES: dict[str, tuple[str, Measure]] = {
    "cached": ("A cached identity: CPU ns above an empty coroutine", cached),
    "memory": ("{callers:,} callers at once: bytes for each", memory),
    "crowds": ("{callers:,} callers at once: fetches / callers without an identity / ms", crowds),
    "nothing": ("No credentials: ms until a new client says so", nothing),
    "unreachable": ("No credentials, and a metadata service that hangs: ms until a new client says so", unreachable),
    "blocked": (
        "Two files of 1 MiB and a process: longest halt of the event loop, ms / an idle one's / ms in all",
        blocked,
    ),
}
TARGETS = (  # of this library: measurement, row, which of its figures, limit
    ("cached", "issued for an hour", 0, 1000.0, "ns"),
    ("cached", "keys in a profile", 0, 1000.0, "ns"),
    ("cached", "keys in the environment", 0, 1000.0, "ns"),
    ("memory", "after they waited", 0, 1.0, "bytes for each caller"),
    ("memory", "after a cached one", 0, 1.0, "bytes for each caller"),
    *(("crowds", f"{state}{case}", 0, 1.0, "fetches") for state in STATES for case in CASES),
    *(("crowds", f"{state}, first cancelled", 1, 0.0, "others fail") for state in STATES),
    ("nothing", "first client", 0, 5.0, "ms"),
    ("nothing", "later ones", 0, 5.0, "ms"),
    ("unreachable", "nothing answers", 0, 1200.0, "ms"),
)
PINNED = ("cached", "memory", "crowds")  # the others have threads and processes beside the event loop


def contend(options: argparse.Namespace) -> None:
    """Be one contender: print one measurement as JSON."""
    _loopback.pin(options.core)
    logging.disable()

    async def measure() -> Figures:
        with _credentials.surroundings():
            async with _credentials.CONTENDERS[options.be]() as peer:
                return await MEASURES[options.measure][1](peer, options)

    try:
        print(json.dumps(asyncio.run(measure())))
    except ImportError as error:
        print(json.dumps({"skipped": str(error)}))


def compete(measure: str, options: argparse.Namespace) -> dict[str, list[Figures]]:
    """Return what each contender measured, in each round."""
    interpreters = dict(pair.split("=", 1) for pair in options.interpreter)
    cores = _loopback.cores()
    pinned = ["--core", cores[0]] if cores and measure in PINNED else []
    names = [name for name in _credentials.CONTENDERS if not options.only or name in options.only.split(",")]
    measured: dict[str, list[Figures]] = {name: [] for name in names}
    for turn in range(options.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if name not in measured:
                continue
            arguments = ["--measure", measure, "--callers", options.callers, "--calls", options.calls, *pinned]
            interpreter = interpreters.get(name, sys.executable)
            found = json.loads(_loopback.run(__file__, "--be", name, *arguments, interpreter=interpreter))
            if "skipped" in found:
                print(f"{name} is left out: {found['skipped']}")
                del measured[name]
            else:
                measured[name].append(found)
    return measured


def report(measure: str, measured: dict[str, list[Figures]], options: argparse.Namespace) -> None:
    """Print a table of medians, and which targets are met."""
    print(f"\n{MEASURES[measure][0].format(callers=options.callers)}")
    print(" " * 28 + "".join(f"{name:>20}" for name in measured))
    for row in next(iter(measured.values()))[0]:
        cells = [" / ".join(map(shown, medians(rounds, row))) for rounds in measured.values()]
        print(f"{row:<28}" + "".join(f"{text:>20}" for text in cells))
    for where, row, figure, limit, unit in TARGETS:
        if where == measure and "sts_async" in measured:
            reached = medians(measured["sts_async"], row)[figure]
            verdict = "met" if reached <= limit else "NOT MET"
            print(f"  target {verdict}: {row}: {shown(reached)} {unit} (limit {limit:,.0f})")


def medians(rounds: list[Figures], row: str) -> list[float]:
    return [statistics.median(column) for column in zip(*(figures[row] for figures in rounds), strict=True)]


def shown(number: float) -> str:
    return f"{number:.0f}" if number == int(number) or abs(number) >= 100 else f"{number:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Credentials: kept, fetched for many at once, and missing.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--callers", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=5000, help="of a cached identity, in each of 15 batches")
    parser.add_argument("--only", help=f"comma-separated, out of {','.join(_credentials.CONTENDERS)}")
    parser.add_argument("--measure", choices=MEASURES, help="this alone")
    parser.add_argument("--interpreter", action="append", default=[], metavar="CONTENDER=PYTHON")
    parser.add_argument("--be", choices=_credentials.CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        contend(options)
        return
    print(f"Python {platform.python_version()}, medians of {options.rounds} rounds", end=", ")
    print("those on one thread pinned" if _loopback.cores() else "not pinned")
    for measure in [options.measure] if options.measure else MEASURES:
        report(measure, compete(measure, options), options)


if __name__ == "__main__":
    main()
