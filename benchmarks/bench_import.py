"""
What it costs to import this library, compared with its dependencies, and to make a client.

    python benchmarks/bench_import.py [--rounds 25]

Each import is timed in a fresh process, the variants taking turns; byte code is cached, as it is after installation.
Times are CPU time: the clock on the wall also counts what else the host does. The library costs at most 10 % more than
its four dependencies. A client without a session takes under 50 kB and 1 ms.
"""

import argparse
import json
import statistics
import time
import tracemalloc

import _loopback
import _rounds

LIMIT = 1.10  # of the library to its dependencies
CLIENTS = 1000
BASE, ALL = "the four dependencies", "what a program needs"

VARIANTS = {
    "nothing": "pass",
    BASE: "import aiohttp, attrs, cattrs, lxml.etree",
    ALL: "from sts_async import STSClient, AssumeRoleRequest, ServiceError",
    "the package alone": "import sts_async",
}
TIMED = "import time; start = time.process_time(); {0}; print(time.process_time() - start)"


def time_imports(rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of each import statement, a number for each round."""
    core = _loopback.cores()
    pinned = f"import os; os.sched_setaffinity(0, {{{core[0]}}}); " if core else ""
    taken: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for turn in range(rounds + 1):
        for name, statement in VARIANTS.items():
            seconds = float(_loopback.run("-c", pinned + TIMED.format(statement)))
            if turn:  # the first writes byte code and warms the file cache
                taken[name].append(seconds * 1e3)
    return taken


def measure_clients() -> None:
    """Print the microseconds and bytes of a client as JSON. Runs in a process of its own."""
    from sts_async import Credentials, STSClient

    credentials = Credentials(
        access_key_id=_loopback.ACCESS_KEY_ID, secret_access_key=_loopback.SECRET_ACCESS_KEY, session_token="token"
    )

    def make() -> STSClient:
        return STSClient(region=_loopback.REGION, credentials=credentials)

    first = time.perf_counter()
    make()
    first = time.perf_counter() - first
    taken = []
    for _ in range(CLIENTS):
        start = time.perf_counter()
        make()
        taken.append(time.perf_counter() - start)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    clients = [make() for _ in range(CLIENTS)]
    after, _ = tracemalloc.get_traced_memory()
    each = (after - before) / len(clients)
    print(json.dumps({"first": first * 1e6, "median": statistics.median(taken) * 1e6, "bytes": each}))


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of an import and of a client.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--clients", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.clients:
        measure_clients()
        return
    taken = time_imports(options.rounds)
    print(f"{_rounds.versions()}; medians of {options.rounds} rounds")
    for name, figures in taken.items():
        print(f"{name:<24}{statistics.median(figures):>9.1f} ms   {VARIANTS[name]}")
    print(f"\n{ALL} / {BASE} = {_rounds.Ratio.of(taken[ALL], taken[BASE])} (limit {LIMIT:.2f})")
    made = json.loads(_loopback.run(__file__, "--clients"))
    print(f"a client: {made['median']:.0f} us, the first {made['first']:.0f} us (limit 1000);", end=" ")
    print(f"{made['bytes'] / 1e3:.1f} kB (limit 50)")


if __name__ == "__main__":
    main()
