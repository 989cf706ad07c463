"""
What gets through an STS that throttles.

    python benchmarks/bench_throttling.py [--tasks 200] [--rate 100] [--seconds 20] [--settle 5] [--rounds 1]

A LocalSTS answers *rate* requests a second, and refuses the others with Throttling. Tasks call it one time after the
other, for some seconds; whatever fails is called again at once. Shown is what the server saw after it had settled:
answers a second, the share of requests that it refused, and how many calls failed for their callers.

Each contender is a fresh process; the server is this one.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

import _contenders
import _loopback

from sts_async.testing import LocalSTS

CONNECTIONS = 50


def _ours(mode: str) -> Callable[[str], AbstractAsyncContextManager[_contenders.Call]]:
    @contextlib.asynccontextmanager
    async def enter(url: str) -> AsyncIterator[_contenders.Call]:
        from sts_async import Config, Credentials, STSClient

        key, secret = read_keys()
        keys = Credentials(access_key_id=key, secret_access_key=secret)
        config = Config(max_connections=CONNECTIONS, retry_mode=mode)  # type: ignore[arg-type]
        async with STSClient(region=_loopback.REGION, endpoint_url=url, credentials=keys, config=config) as sts:

            async def call(number: int) -> object:
                return await sts.get_caller_identity()

            yield call

    return enter


def _aiobotocore(mode: str) -> Callable[[str], AbstractAsyncContextManager[_contenders.Call]]:
    @contextlib.asynccontextmanager
    async def enter(url: str) -> AsyncIterator[_contenders.Call]:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        key, secret = read_keys()
        async with get_session().create_client(
            "sts",
            region_name=_loopback.REGION,
            endpoint_url=url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=AioConfig(max_pool_connections=CONNECTIONS, retries={"mode": mode}),
        ) as client:

            async def call(number: int) -> object:
                return await client.get_caller_identity()

            yield call

    return enter


CONTENDERS = {
    "sts_async, adaptive": _ours("adaptive"),
    "sts_async, standard": _ours("standard"),
    "aiobotocore, adaptive": _aiobotocore("adaptive"),
    "aiobotocore, standard": _aiobotocore("standard"),
}


def read_keys() -> tuple[str, str]:
    """Return the id and the secret of the server's user, from standard input."""
    key, secret = sys.stdin.readline().split()
    return key, secret


async def storm(options: argparse.Namespace) -> None:
    """Call from many tasks, then print how many calls succeeded and failed after the time to settle."""
    outcomes = {True: 0, False: 0}
    async with CONTENDERS[options.contender](options.url) as call:
        loop = asyncio.get_running_loop()
        settled, ends = loop.time() + options.settle, loop.time() + options.seconds

        async def task(number: int) -> None:
            while loop.time() < ends:
                try:
                    await call(number)
                    succeeded = True
                except Exception:  # noqa: BLE001 - of whatever library
                    succeeded = False
                    await asyncio.sleep(0)
                if loop.time() >= settled:
                    outcomes[succeeded] += 1

        async with asyncio.TaskGroup() as group:
            for number in range(options.tasks):
                group.create_task(task(number))
    print(json.dumps({"succeeded": outcomes[True], "failed": outcomes[False]}))


class Figures(NamedTuple):
    """What the server saw, and what the callers got, after it had settled."""

    goodput: float  # answers a second
    refused: float  # share of the requests
    failed: float  # share of the calls
    least: int  # answers in the worst second


async def measure(name: str, options: argparse.Namespace) -> Figures:
    async with LocalSTS(region=_loopback.REGION, rate=options.rate) as server:
        arguments = ["--contender", name, "--url", server.url]
        shape = ["--tasks", options.tasks, "--seconds", options.seconds, "--settle", options.settle]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            *map(str, [*arguments, *shape]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_loopback.environment(),
        )
        keys = server.credentials
        assert process.stdin
        process.stdin.write(f"{keys.access_key_id} {keys.secret_access_key}\n".encode())
        seconds: list[tuple[int, int]] = []
        while not server.requests:  # noqa: ASYNC110 - the contender is another process
            await asyncio.sleep(0.01)
        for _ in range(int(options.seconds)):
            server.requests.clear()
            await asyncio.sleep(1)
            seen = list(server.requests)
            seconds.append((sum(one.status == 200 for one in seen), sum(one.status == 400 for one in seen)))
        printed, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{name} failed")
    calls = json.loads(printed)
    if options.verbose:
        print(name, *(f"{answered}+{refused}" for answered, refused in seconds))
    steady = seconds[int(options.settle) :]
    answered, refused = (sum(column) for column in zip(*steady, strict=True))
    return Figures(
        goodput=answered / len(steady),
        refused=refused / (answered + refused),
        failed=calls["failed"] / max(1, calls["failed"] + calls["succeeded"]),
        least=min(answered for answered, _ in steady),
    )


async def compete(options: argparse.Namespace) -> None:
    print(f"{options.tasks} tasks, {options.rate:g} requests/s admitted; from second {options.settle:g} on")
    print(f"{'':24}{'answered/s':>12}{'worst second':>14}{'refused':>10}{'calls failed':>14}")
    for name in options.only or CONTENDERS:
        rounds = [await measure(name, options) for _ in range(options.rounds)]
        goodput, refused, failed, least = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:24}{goodput:>12.1f}{least:>14.0f}{refused:>10.1%}{failed:>14.1%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second that the server admits")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--settle", type=float, default=5.0, help="seconds that do not count")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", action="append", choices=CONTENDERS, help="one contender; may be repeated")
    parser.add_argument("--verbose", action="store_true", help="show each second: answered+refused")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    asyncio.run(storm(options) if options.contender else compete(options))


if __name__ == "__main__":
    main()
