"""
What it costs to have credentials: kept ones, the memory of 10,000 callers at once, and none at all.

    python benchmarks/bench_credentials.py [--rounds 3] [--callers 10000] [--only sts_async,aiobotocore]
                                           [--interpreter aws-sdk-sts=/path/to/another/python]

The contenders take turns, a fresh process for each turn and measurement. Figures are medians over the rounds. A fetch
takes 50 ms. The first client of a process also imports the sources. A contender that is not installed is left out.
Timing never makes this fail: it prints which targets are met. How callers share a fetch: `bench_sharing.py`.

Not everyone does the same. For static keys aiobotocore and aws-sdk-sts look at environment and files once; this
library looks at the environment at each call and at the files every 10 s. The chain of aws-sdk-sts has the metadata
service only with another package, so the one that never answers is not asked.
"""

import argparse
import asyncio
import gc
import os
import statistics
import time
import tracemalloc

import _credentials
import _loopback
import _rounds
from _credentials import SHORT, Ask, Peer, Source, surrounded
from _rounds import Figures, Measurement

CLIENTS = 10  # after the first, without credentials


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


async def crowd(ask: Ask, callers: int) -> None:
    """Have many callers ask at once, and wait for all of them."""
    await asyncio.gather(*[asyncio.create_task(ask()) for _ in range(callers)], return_exceptions=True)
    await asyncio.sleep(_loopback.BEAT)  # the event loop lets go of them


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
        async with _loopback.beating() as gaps:
            start = time.perf_counter()
            identity = await (await peer.found())()
            taken = time.perf_counter() - start
        check(identity)
        async with _loopback.beating() as idle:
            await asyncio.sleep(taken)
        found[chain] = [(max(gaps) - max(idle)) * 1e3, max(idle) * 1e3, taken * 1e3]
    return found


CONTENDERS = tuple(_credentials.CONTENDERS)
MEASUREMENTS = {
    "cached": Measurement("A cached identity: CPU ns above an empty coroutine", surrounded(cached), CONTENDERS),
    "memory": Measurement("{callers:,} callers at once: bytes for each", surrounded(memory), CONTENDERS),
    "nothing": Measurement(
        "No credentials: ms until a new client says so", surrounded(nothing), CONTENDERS, pinned=False
    ),
    "unreachable": Measurement(
        "No credentials, and a metadata service that hangs: ms until a new client says so",
        surrounded(unreachable),
        CONTENDERS,
        pinned=False,
    ),
    "blocked": Measurement(
        "Two files of 1 MiB and a process: longest halt of the event loop, ms / an idle one's / ms in all",
        surrounded(blocked),
        CONTENDERS,
        pinned=False,
    ),
}
TARGETS = (
    ("cached", "issued for an hour", 0, 1000.0, "ns", False),
    ("cached", "keys in a profile", 0, 1000.0, "ns", False),
    ("cached", "keys in the environment", 0, 1000.0, "ns", False),
    ("memory", "after they waited", 0, 1.0, "bytes for each caller", False),
    ("memory", "after a cached one", 0, 1.0, "bytes for each caller", False),
    ("nothing", "first client", 0, 5.0, "ms", False),
    ("nothing", "later ones", 0, 5.0, "ms", False),
    ("unreachable", "nothing answers", 0, 1200.0, "ms", False),
)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Credentials: kept, waited for by many, and missing.")
    parser.add_argument("--callers", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=5000, help="of a cached identity, in each of 15 batches")
    _rounds.main(parser, MEASUREMENTS, targets=TARGETS, passed=("callers", "calls"))
