"""redis-server on 127.0.0.1, as processes of a test or a test module: alone, with TLS and users, or as a replica."""

import contextlib
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from faults.servers import PLACES, Daemon, Ports

REDIS = shutil.which("redis-server", path=PLACES)

needs_redis = pytest.mark.skipif(REDIS is None, reason="no redis-server: install the Debian package redis-server")


class RedisServer:
    """
    A redis-server with nothing in it, which saves nothing.

    Args:
        directory: Where it works.
        port: The port of plain connections, or of TLS.
        options: Further options of the command, such as ``"--maxmemory", "1mb"``.
    """

    def __init__(self, directory: Path, port: int, *options: str) -> None:
        self.port = port
        ports = [] if "--tls-port" in options else ["--port", str(port)]
        fixed = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]
        command = [REDIS or "", *ports, *fixed, *options]
        self.daemon = Daemon(command, directory=directory, port=port, ending=signal.SIGKILL)

    @property
    def url(self) -> str:
        """The URL of a user without a password."""
        return f"redis://127.0.0.1:{self.port}/0"

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Any]:
        """Open a client of redis-py, which tries each command once."""
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options = {"retry": Retry(NoBackoff(), 0), **options}
        async with Redis(host="127.0.0.1", port=self.port, **options) as client:
            yield client


@contextmanager
def redis_server(*options: str, port: int | None = None) -> Iterator[RedisServer]:
    """
    Run a redis-server, and end it. Its directory is ``{directory}`` in *options*.

    Args:
        options: Options of the command.
        port: Its port; None for a free one.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sts-redis-")))
        if port is None:
            port = stack.enter_context(Ports("redis"))["redis"]
        given = [option.replace("{directory}", str(directory)).replace("{port}", str(port)) for option in options]
        server = RedisServer(directory, port, *given)
        try:
            server.daemon.start()
            yield server
        finally:
            server.daemon.stop()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    if REDIS is None:
        pytest.skip("no redis-server: install the Debian package redis-server")
    with redis_server() as server:
        yield server


@pytest.fixture
async def redis(shared_redis: RedisServer) -> RedisServer:
    """Return a server that all tests of the process share, without data."""
    async with shared_redis.client() as client:
        await client.flushall()
    return shared_redis
