"""redis-server on 127.0.0.1, as processes of a test or a test module: alone, with TLS and users, or as a replica."""

import asyncio
import contextlib
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

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
        ports = [] if "--port" in options else ["--port", str(port)]
        fixed = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]
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
def redis_server(*options: str, port: int | None = None, conf: Path | None = None) -> Iterator[RedisServer]:
    """
    Run a redis-server, and end it. Its directory is ``{directory}`` in *options*.

    Args:
        options: Options of the command.
        port: Its port; None for a free one.
        conf: The configuration of a sentinel; None for a server.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sts-redis-")))
        if port is None:
            port = stack.enter_context(Ports("redis"))["redis"]
        given = [option.replace("{directory}", str(directory)).replace("{port}", str(port)) for option in options]
        server = RedisServer(directory, port, *given)
        if conf is not None:
            command = [REDIS or "", str(conf), "--sentinel", "--port", str(port)]
            server.daemon = Daemon(command, directory=directory, port=port, ending=signal.SIGKILL)
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


class Proxy:
    """
    A proxy in the event loop of a test, which can be switched to another server, and can disturb connections.

    Attributes:
        port: Its port.
        target: The port of the server.
        delay: Seconds by which each answer is late.
        drops: Whether all that is sent disappears.
        drops_answers: Whether the server gets what is sent, and its answers disappear.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.target = target
        self.delay = 0.0
        self.drops = False
        self.drops_answers = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, to_server}
        try:
            await asyncio.gather(self._pass_on(reader, to_server), self._pass_on(from_server, writer, answers=True))
        finally:
            self._writers -= {writer, to_server}
            for each in (writer, to_server):
                each.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if answers and self.delay:
                    await asyncio.sleep(self.delay)
                if not self.drops and not (answers and self.drops_answers):
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort()
