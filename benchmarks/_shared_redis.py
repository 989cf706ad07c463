"""A redis-server for `bench_shared.py`, and the figures that an operator monitors."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from typing import Any

PREFIX = "sts-async"  # of the keys, as by default
START_SECONDS = 20.0
READ = "getrange"  # the command that reads a value


@contextlib.asynccontextmanager
async def redis_server() -> AsyncIterator[tuple[str, Any]]:
    """
    Run a redis-server on a free port of 127.0.0.1, and give its URL and a client.

    Raises:
        ImportError: There is no redis-server, or redis-py is not installed.
    """
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    command = shutil.which("redis-server")
    if command is None:
        raise ImportError("no redis-server: install the Debian package redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"redis://127.0.0.1:{port}/0"
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (
        tempfile.TemporaryDirectory() as directory,
        subprocess.Popen([command, *options], cwd=directory, stdout=subprocess.DEVNULL) as process,  # noqa: ASYNC220
    ):
        try:
            async with Redis.from_url(url) as client, asyncio.timeout(START_SECONDS):
                while True:
                    with contextlib.suppress(RedisError, OSError):
                        await client.ping()
                        break
                    await asyncio.sleep(0.02)
            async with Redis.from_url(url) as client:
                yield url, client
        finally:
            process.send_signal(signal.SIGKILL)  # it has nothing to save


async def used(client: Any) -> tuple[int, float]:
    """Return how many operations the server has done, and the seconds of CPU that it has used."""
    found = await client.info("cpu")
    return await operations(client), found["used_cpu_user"] + found["used_cpu_sys"]


async def operations(client: Any, *names: str) -> int:
    """
    Return how many operations clients have sent: reads, and scripts, each of which is one. Beats of workers count, too.

    Args:
        client: A client.
        names: The commands that are counted; none for all.
    """
    found = await client.info("commandstats")
    return sum(found.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names or ("evalsha", "eval", READ))


async def memory_of(client: Any, digests: list[str]) -> float:
    """Return the bytes that the keys of an identity take, on average."""
    parts = ("value", "fence", "lease")
    keys = [f"{PREFIX}:{{{digest}}}:{part}" for digest in digests for part in parts]
    sizes = [await client.memory_usage(key) or 0 for key in keys]
    return sum(sizes) / len(digests)


async def digests_in(client: Any) -> list[str]:
    """Return the digests of all identities with a value."""
    return [key.decode().partition("{")[2].partition("}")[0] async for key in client.scan_iter(f"{PREFIX}:*:value")]
