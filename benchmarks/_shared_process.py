"""
The processes that share credentials, for `bench_shared.py` and its tests.

    python benchmarks/_shared_process.py JSON

One program imports the library once, and forks the processes, so it replaces a process that was killed within
milliseconds. The program has no event loop and no thread, so a forked process is like one that was started.

The program takes lines from standard input, and the processes print theirs:

    start NUMBER   fork a process; it prints ``started NUMBER PID``, and ``ready NUMBER`` when it can begin
    go             all processes begin, also those that are started later
    end            the processes print their last lines, and end; so does the program

A process asks for each identity at its moment: identity i is due `pause` times i seconds after ``go``. With a pause
of 0 it adds all to a fleet, and waits until all are fresh. Then it prints one line of JSON:

    number, roles: the process, and the number of its identities with credentials
    waits: [begun, ended] of each call that took longer than `LONG`, as monotonic times of the host
    failures: calls that failed, and were repeated
    refused: values that the cache refused, by kind
"""

import asyncio
import json
import mmap
import os
import signal
import struct
import sys
import time
from typing import Any

import _contenders
import _fleet_peers
from _fleet_network import AT_ONCE, NO_LIMIT

LONG = 0.5  # s
LOOK = 0.005  # s between two looks at whether to begin or to end
NAMESPACE = "benchmark"


class Signals:
    """What all processes see: when they began, as a monotonic time, and whether they should end."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16)

    @property
    def begun(self) -> float:
        found: float = struct.unpack_from("d", self._memory, 0)[0]
        return found

    @property
    def should_end(self) -> bool:
        return bool(self._memory[8])

    def begin(self) -> None:
        struct.pack_into("d", self._memory, 0, time.monotonic())

    def end(self) -> None:
        self._memory[8] = 1


def cache_of(options: dict[str, Any]) -> Any:
    """Return the cache that the options describe."""
    from sts_async.fleet import EncryptionKeys, FileCache, RedisCache

    match options["cache"]:
        case "redis":
            keys = EncryptionKeys.from_text(options["keys"])
            return RedisCache(options["place"], keys=keys, lease_seconds=options["lease"])
        case "file":
            return FileCache(options["place"])
        case _:
            return None


def line(text: str) -> None:
    """Print a line in one write, so that those of several processes are not mixed."""
    os.write(1, f"{text}\n".encode())


async def work(number: int, options: dict[str, Any], signals: Signals) -> None:
    """Be one process."""
    from sts_async.errors import STSError
    from sts_async.fleet import CredentialsFleet

    cache = cache_of(options)
    requests = [_fleet_peers.request(role) for role in range(options["count"])]
    waits: list[tuple[float, float]] = []
    failures, parent = 0, os.getppid()
    async with (
        _contenders.sts_client(options["url"], AT_ONCE, attempt_timeout=options["attempt_timeout"]) as sts,
        CredentialsFleet(sts, cache=cache, cache_namespace=NAMESPACE, requests_per_second=NO_LIMIT) as fleet,
    ):

        async def use(role: int) -> None:
            nonlocal failures
            await asyncio.sleep(max(0.0, signals.begun + role * options["pause"] - time.monotonic()))
            began = time.monotonic()
            while True:
                try:
                    await fleet.get(requests[role])
                    break
                except STSError:
                    failures += 1
                    await asyncio.sleep(0.1)
            if time.monotonic() - began > LONG:
                waits.append((began, time.monotonic()))

        line(f"ready {number}")
        while not signals.begun and not signals.should_end:  # noqa: ASYNC110 - another process sets it
            await asyncio.sleep(LOOK)
        if options["pause"]:
            await asyncio.gather(*map(use, range(options["count"])))
        else:
            fleet.add(*requests)
            await fleet.warm_up()
        roles = sum(fleet.peek(request) is not None for request in requests)
        refused = dict(getattr(cache, "refused", {}))
        line(json.dumps({"number": number, "roles": roles, "waits": waits, "failures": failures, "refused": refused}))
        while not signals.should_end and os.getppid() == parent:  # noqa: ASYNC110 - see above
            await asyncio.sleep(LOOK)


def forked(number: int, options: dict[str, Any], signals: Signals) -> int:
    """Fork a process, and return its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        asyncio.run(work(number, options, signals))
        status = 0
    finally:
        os._exit(status)


def main() -> None:
    options = json.loads(sys.argv[1])
    cache_of(options)  # imports what the processes need
    _contenders.sts_client(options["url"], 1)
    signals = Signals()
    pids: list[int] = []
    for command in map(str.split, sys.stdin):
        if command[0] == "start":
            pids.append(forked(int(command[1]), options, signals))
            line(f"started {command[1]} {pids[-1]}")
        elif command[0] == "go":
            signals.begin()
        else:
            break
    signals.end()  # also if the parent has ended
    for pid in pids:  # none was waited for, so no other process has its id
        os.kill(pid, signal.SIGCONT)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
