"""
The thread of a local server, with its own event loop.

In the event loop of a test, the server could not respond while a synchronous client blocks the loop. It would also end
with the loop, and pytest plugins create one for each test, module or session.
"""

import asyncio
import contextlib
import ssl
import threading
from concurrent.futures import Future, InvalidStateError

from aiohttp import web

from .protocol import Handler, Server

SHUTDOWN_TIMEOUT = 1.0  # s for pending requests; a `Delay` ends immediately
STOP_TIMEOUT = 10.0  # s for the thread to end
TURNS_TO_CLOSE = 4  # iterations of the event loop to open and close a connection that was just accepted


class ServerThread:
    """
    The thread of a server. Each start of a server creates a new thread.

    Args:
        handler: Returns the response to a request, in the thread.
        name: Name of the thread.
        host: Address to listen on.
        port: Port to listen on; 0 for a free port.
        ssl_context: TLS context with the server's certificate; None for plain HTTP.

    Attributes:
        opened: Future with the port, once the thread listens, or with the error if it cannot.
        ended: Future that is done when the thread has ended and all connections are closed.
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
            future.set_running_or_notify_cancel()  # waiting tasks can be cancelled, but not these futures
        # An asyncio loop, even if the program has set an event loop policy, such as uvloop's.
        self._loop = asyncio.SelectorEventLoop()
        self._stopping = asyncio.Event()
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. `opened` is done when it listens or has failed."""
        try:
            self._thread.start()
        except RuntimeError:  # the system has no more threads
            self._loop.close()
            raise

    def stop(self) -> None:
        """Tell the thread to stop. `ended` is done when it has ended; in a forked process, there is no thread."""
        if not self._thread.is_alive():
            with contextlib.suppress(InvalidStateError):
                self.ended.set_result(None)
            return
        with contextlib.suppress(RuntimeError):  # it has just ended
            self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self) -> None:
        """Join the thread. `ended` must be done, or `opened` have failed."""
        self._thread.join()

    @property
    def connections(self) -> int:
        """Number of open connections."""
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
    """End the connections that aiohttp does not close: those accepted last, and those in a TLS handshake."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=SHUTDOWN_TIMEOUT)
    server.abort_connections()
    for _ in range(TURNS_TO_CLOSE):
        await asyncio.sleep(0)
