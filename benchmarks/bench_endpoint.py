"""
Answers of the credentials endpoint: how many per second, how late, and the CPU of the server for each.

    python benchmarks/bench_endpoint.py [--clients 50] [--seconds 4] [--rounds 3] [--python PATH]

The server is a process of its own on one core, and the clients are in this process, on another one if there is one.
They send what botocore sends. ``bare aiohttp`` is aiohttp's server with a prepared answer of the same length, and no
checks. The clients ask in three ways:

kept     without a pause, over a connection that each client keeps: the largest rate
new      without a pause, over a new connection for each request, as each new session of an SDK does
paced    2,000 times a second in all, over kept connections; a late request counts from the time when it was due
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import _loopback
from aiohttp import web

PACED_RATE = 2000  # requests/s of all clients, if they are paced
REACH_P99 = 5.0  # ms
SERVERS = ("bare aiohttp", "endpoint")
HEAD = (
    "GET /role/demo HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n"
    "User-Agent: Boto3/1.44.8 md/Botocore#1.44.8\r\nAccept-Encoding: identity\r\nAuthorization: {token}\r\n\r\n"
)


def pin(core: int) -> None:
    """Run this process on one core, where the system can do this."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


async def until_the_end(port: int, token: str) -> None:
    """Write where the server is, wait until standard input ends, and write the CPU seconds since then."""
    print(port, token, flush=True)
    before = time.process_time()
    await asyncio.to_thread(sys.stdin.read)
    print(time.process_time() - before, flush=True)


async def serve_endpoint() -> None:
    """Serve one identity until standard input ends."""
    from sts_async import Credentials, STSClient
    from sts_async.agent import serve
    from sts_async.fleet import CredentialsFleet

    class Source:
        name = "source"

        async def provide_credentials(self, context: object, /) -> Credentials:
            return Credentials(
                access_key_id=_loopback.ACCESS_KEY_ID,
                secret_access_key=_loopback.SECRET_ACCESS_KEY,
                session_token=_loopback.SESSION_TOKEN,
                expiration=datetime.now(UTC) + timedelta(hours=6),
                account_id=_loopback.ACCOUNT,
            )

    async with (
        STSClient(region=_loopback.REGION) as sts,
        CredentialsFleet(sts) as fleet,
        serve(fleet, {"demo": Source()}) as endpoint,
    ):
        await until_the_end(endpoint.port, endpoint.token_file("demo").read_text())


async def serve_bare() -> None:
    """Serve a prepared answer until standard input ends."""
    body = b"x" * 1100

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await until_the_end(runner.addresses[0][1], "token")


async def client(
    port: int, data: bytes, ends: float, taken: list[float], *, way: str, first: float, clients: int
) -> None:
    """Ask until a time, and add the milliseconds of each answer. *first* is the share of the interval to begin with."""
    interval = clients / PACED_RATE if way == "paced" else 0.0
    due = time.perf_counter() + interval * first
    while time.perf_counter() < ends:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                if interval:
                    await asyncio.sleep(due - time.perf_counter())
                start = due if interval else time.perf_counter()
                if start >= ends:
                    return
                writer.write(data)
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200"):
                    raise SystemExit(f"refused: {head[:60]!r}")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                taken.append((time.perf_counter() - start) * 1000)
                due += interval
                if way == "new":
                    break
        finally:
            writer.close()


async def measure(name: str, options: argparse.Namespace, *, way: str) -> tuple[float, float, float, float]:
    """Return answers per second, the CPU of the server in us for each, and the median and the p99 of the latency."""
    answered = 0
    process = await asyncio.create_subprocess_exec(
        *(options.python, str(Path(__file__)), "--serve", name),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        port, token = (await process.stdout.readline()).decode().split()
        data = HEAD.format(port=port, token=token).encode()
        for seconds in (0.5, options.seconds):  # the first one warms up
            taken: list[float] = []
            ends = time.perf_counter() + seconds
            count = options.clients
            asking = (
                client(int(port), data, ends, taken, way=way, first=number / count, clients=count)
                for number in range(count)
            )
            await asyncio.gather(*asking)
            answered += len(taken)
    finally:
        assert process.stdin
        process.stdin.close()
        used = float(await process.stdout.readline() or 0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 5)
    cuts = statistics.quantiles(taken, n=100)
    return len(taken) / options.seconds, used / answered * 1e6, statistics.median(taken), cuts[98]


async def run(options: argparse.Namespace) -> None:
    pin(1)
    print(f"{options.clients} clients, medians of {options.rounds} rounds of {options.seconds:g} s\n")
    print(f"{'server':<14}{'connections':<13}{'answers/s':>10}{'CPU us':>8}{'median ms':>11}{'p99 ms':>8}")
    for way in ("kept", "new", "paced"):
        for name in SERVERS:
            rounds = [await measure(name, options, way=way) for _ in range(options.rounds)]
            rate, used, middle, late = (statistics.median(values) for values in zip(*rounds, strict=True))
            print(f"{name:<14}{way:<13}{rate:>10,.0f}{used:>8.0f}{middle:>11.2f}{late:>8.2f}", flush=True)
    print(f"\nreach: {PACED_RATE:,} answers/s on one core, with a p99 below {REACH_P99:g} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", default=sys.executable, help="the Python of the server")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        pin(0)
        asyncio.run(serve_endpoint() if options.serve == "endpoint" else serve_bare())
    else:
        asyncio.run(run(options))


if __name__ == "__main__":
    main()
