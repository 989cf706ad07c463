"""
The thread that a server runs in, with an event loop of its own.

In the event loop of a test, the server could not answer while a synchronous client blocks that loop, and it would end
with the loop: pytest plugins make one for each test, module or session. In a thread it serves every kind of client.
"""

import asyncio
import contextlib
import ssl
import threading
from concurrent.futures import Future, InvalidStateError

from aiohttp import web

from .protocol import Handler, Server

SHUTDOWN_TIMEOUT = 1.0  # s for requests under way; a `Delay` ends at once
STOP_TIMEOUT = 10.0  # s, for the thread to end
TURNS_TO_CLOSE = 4  # of the event loop: a connection that was just accepted is made, and closed, in as many


class ServerThread:
    """
    A thread that listens. It is used once: each start of a server takes a new one.

    Args:
        handler: Answers each request, in the thread.
        name: Name of the thread.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        ssl_context: TLS with the server's certificate; None for plain HTTP.

    Attributes:
        opened: The port, once it listens, or the error for which it cannot.
        ended: Done when the thread has ended, and every connection is closed.
    """

    def __init__(
        self, handler: Handler, *, name: str, host: str, port: int, ssl_context: ssl.SSLContext | None
    ) -> None:
        self._handler = handler
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self.opened: Future[int] = Future()
        self.ended: Future[None] = Future()
        for future in (self.opened, self.ended):
            future.set_running_or_notify_cancel()  # who waits can be cancelled, and these cannot
        # One of asyncio's own: a policy for another kind, such as uvloop's, is the program's.
        self._loop = asyncio.SelectorEventLoop()
        self._stopping = asyncio.Event()
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to listen. `opened` is done when that has succeeded or failed."""
        try:
            self._thread.start()
        except RuntimeError:  # the system has no more threads
            self._loop.close()
            raise

    def stop(self) -> None:
        """Begin to stop. `ended` is done when the thread has ended, or is absent, as in a forked process."""
        if not self._thread.is_alive():
            with contextlib.suppress(InvalidStateError):
                self.ended.set_result(None)
            return
        with contextlib.suppress(RuntimeError):  # it has just ended
            self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self) -> None:
        """Wait for the thread, once `ended` is done or `opened` has failed."""
        self._thread.join()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return 0 if self._server is None else len(self._server.connections)

    async def pause(self, seconds: float) -> None:
        """Wait *seconds*, or until the server stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as error:
            if self.opened.done():
                raise
            self.opened.set_exception(error)  # raised where it was started
        finally:
            self.ended.set_result(None)

    async def _serve(self) -> None:
        server = self._server = Server(self._handler)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_TIMEOUT)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, ssl_context=self._ssl_context).start()
            self.opened.set_result(runner.addresses[0][1])
            await self._stopping.wait()
        finally:
            await runner.cleanup()
            await _end_the_rest(server)


async def _end_the_rest(server: Server) -> None:
    """End what aiohttp leaves: connections that were accepted last, and those that wait for TLS of the other side."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=SHUTDOWN_TIMEOUT)
    server.abort_connections()
    for _ in range(TURNS_TO_CLOSE):
        await asyncio.sleep(0)
