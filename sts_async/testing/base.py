"""Base class of the local servers: a socket on this host, a clock, a script of faults, and records of requests."""

import asyncio
import os
import socket
import ssl
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import aiohttp
import attrs
from aiohttp import web

from .._runtime.requirements import require
from .._shape.secret import SecretBytes, cover
from .clock import TimeSource, time_function
from .faults import Answer, Delay, Fault, Refuse, Reset, Script, Skew, Throttle, Truncate, Unavailable
from .limits import RateLimit
from .protocol import body_of, refused
from .records import Records
from .refusals import Refusal
from .server_thread import STOP_TIMEOUT, ServerThread
from .verify import Received

require("aiohttp", aiohttp.__version__)

MAX_RECORDS = 10_000

Record = TypeVar("Record")
"""An attrs class with at least `status` and `code`, without secrets. Its texts are plain strings, for `print`."""

_ISOLATION = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""Variables that disable other sources of settings and credentials on this host."""

_NO_LINGER = struct.pack("ii", 1, 0)  # close with RST


@attrs.frozen(kw_only=True)
class Reply:
    """
    A response.

    Attributes:
        status: HTTP status.
        body: The body.
        headers: The headers, without Date and the headers that aiohttp adds.
    """

    status: int = 200
    body: bytes = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)


class LocalServer(ABC, Generic[Record]):
    """
    Base class of the local servers. A subclass implements the responses.

    ``with`` and ``async with`` start and stop the server. Nested blocks share the running server, and the last block
    stops it. After `start`, it runs until `stop`. The server has its own thread. It serves synchronous clients, clients
    in any event loop, and other processes. All methods and attributes can be used from any thread.

    Args:
        clock: A `VirtualClock`, another object with a method `time`, or a function that returns seconds since 1970.
            Lifetimes and the Date header follow this clock.
        host: Address to listen on.
        port: Port to listen on; 0 for a free port.
        ssl_context: TLS context with a certificate, to serve https; None for http.
        rate: Maximum number of requests per second; the rest are throttled. None for no limit.

    Attributes:
        faults: The script of faults: see `faults`.
        requests: Records of the last 10,000 requests, oldest first.
    """

    _throttled: ClassVar[tuple[str, int]] = (Throttle.code, Throttle.status)
    """Error code and HTTP status for throttled requests."""

    _needs_profile: ClassVar[bool] = False
    """Whether SDKs use the service only if a profile in the shared files selects it."""

    def __init__(
        self,
        *,
        clock: TimeSource = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        rate: float | None = None,
    ) -> None:
        self.faults = Script()
        self._limit = RateLimit(rate)
        self.requests: Records[Record] = Records(maxlen=MAX_RECORDS)
        self._clock = time_function(clock)
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self._thread: ServerThread | None = None
        self._blocks = 0  # ``with`` blocks that use the server; the last one stops it
        self._started_explicitly = False  # by `start`: no block stops the server
        self._lock = threading.Lock()  # concurrent starts share one thread

    @abstractmethod
    def _answer(self, received: Received, *, now: float, refusal: Refusal | None) -> tuple[Reply, Record]:
        """Return the response to *received* at *now*, and its record. With *refusal*, the response is that error."""

    @abstractmethod
    def _own_environ(self) -> dict[str, str]:
        """Return the variables that make an SDK use this server. The server must be running."""

    def _operation(self, received: Received) -> str | None:
        """Return the name of the STS operation that *received* calls, or None."""
        return None

    @property
    def url(self) -> str:
        """
        The URL of the server, without a final slash.

        Raises:
            RuntimeError: The server is not running.
        """
        if not self._is_listening:
            name = type(self).__name__
            raise RuntimeError(
                f"the server is not running: use `with {name}() as server` or `async with {name}() as server`"
            )
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{self._scheme}://{host}:{self._port}"

    @property
    def _is_listening(self) -> bool:
        thread = self._thread
        return thread is not None and thread.opened.done()

    @property
    def _scheme(self) -> str:
        return "http" if self._ssl_context is None else "https"

    @property
    def environ(self) -> dict[str, str]:
        """
        The environment variables that make an SDK or the AWS CLI use this server, and no other settings of this host.

        They also disable the shared files and the metadata service, unless the server itself needs them. The process
        must have no other variables that begin with ``AWS_``: they could override these.

            subprocess.run(["aws", "sts", "get-caller-identity"], env={"PATH": os.environ["PATH"], **server.environ})

        Raises:
            RuntimeError: The server is not running.
        """
        isolation = dict(_ISOLATION)
        if self._needs_profile:
            del isolation["AWS_CONFIG_FILE"], isolation["AWS_SHARED_CREDENTIALS_FILE"]
        return {**isolation, **self._own_environ()}

    async def start(self) -> None:
        """
        Start the server, for a program that cannot use ``async with``. If it is running, it keeps running.

        Raises:
            OSError: The address or port is not available.
        """
        await self._start()
        self._started_explicitly = True

    async def _start(self) -> None:
        thread, is_new = self._thread_or_new()
        try:
            self._port = await asyncio.wrap_future(thread.opened)
        except BaseException as error:
            if is_new:
                self._abandon_start(thread, stop=isinstance(error, asyncio.CancelledError))
            raise

    async def stop(self) -> None:
        """
        Close every connection and stop listening. The server can be started again, with the same state.

        Raises:
            RuntimeError: A function of the program, for credentials or the time, took longer than 10 s.
        """
        if (thread := self._take_thread()) is not None:
            try:
                async with asyncio.timeout(STOP_TIMEOUT):
                    await asyncio.wrap_future(thread.ended)
            except TimeoutError:
                raise self._does_not_stop() from None
            thread.join()

    def __enter__(self) -> Self:
        thread, is_new = self._thread_or_new()
        try:
            self._port = thread.opened.result()
        except BaseException as error:
            if is_new:
                self._abandon_start(thread, stop=isinstance(error, KeyboardInterrupt))
            raise
        self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._leave() and (thread := self._take_thread()) is not None:
            try:
                thread.ended.result(STOP_TIMEOUT)
            except TimeoutError:
                raise self._does_not_stop() from None
            thread.join()

    async def __aenter__(self) -> Self:
        await self._start()
        self._enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._leave():
            await self.stop()

    def _enter(self) -> None:
        with self._lock:
            self._blocks += 1

    def _leave(self) -> bool:
        """Count the end of a block, and return True if the server must stop."""
        with self._lock:
            self._blocks = max(0, self._blocks - 1)
            return not self._blocks and not self._started_explicitly

    def _new_thread(self) -> ServerThread:
        thread = ServerThread(
            self._handle,
            name=type(self).__name__,
            host=self._host,
            port=self._port,
            ssl_context=self._ssl_context,
        )
        thread.start()
        return thread

    def _thread_or_new(self) -> tuple[ServerThread, bool]:
        """Return the thread of the server, and whether it is new. It may not listen yet."""
        with self._lock:
            if self._thread is not None:
                return self._thread, False
            self._thread = self._new_thread()
            return self._thread, True

    def _abandon_start(self, thread: ServerThread, *, stop: bool) -> None:
        """Clean up after a start that has failed, or, with *stop*, was cancelled."""
        with self._lock:
            if self._thread is thread:
                self._thread = None
        if stop:
            thread.stop()
        else:
            thread.join()

    def _take_thread(self) -> ServerThread | None:
        """Detach the thread from the server, tell it to stop, and return it."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._blocks, self._started_explicitly = 0, False
        if thread is not None:
            thread.stop()
        return thread

    def _does_not_stop(self) -> RuntimeError:
        return RuntimeError(
            f"{type(self).__name__} does not stop: a function that was passed as credentials or clock has not returned"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url if self._is_listening else 'stopped'}>"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await body_of(request)
        if body is None:
            return refused(HTTPStatus.BAD_REQUEST)
        received = _received(request, body)
        fault = self.faults.take(received.path, self._operation(received) if self.faults else None)
        if fault is None and not self._limit.admits(now=self._clock()):
            fault = Throttle()
        if isinstance(fault, Delay) and self._thread is not None:
            await self._thread.pause(fault.seconds)
        now = self._clock() + (fault.seconds if isinstance(fault, Skew) else 0)
        reply, record = self._answer(received, now=now, refusal=self._refusal(fault))
        self.requests.append(_as_the_client_sees_it(record, fault))
        headers = {**reply.headers, "Date": formatdate(now, usegmt=True)}
        transport = request.transport
        if isinstance(fault, Reset | Truncate) and transport is not None:
            _break(transport, fault, status=reply.status, headers=headers, body=reply.body)
        if isinstance(fault, Answer):
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        return web.Response(status=reply.status, body=reply.body, headers=headers)

    def _refusal(self, fault: Fault | None) -> Refusal | None:
        match fault:
            case Throttle():
                code, status = self._throttled
                return Refusal(code, fault.message, status=status)
            case Refuse() | Unavailable():
                return Refusal(fault.code, fault.message, status=fault.status)
            case _:
                return None


def _received(request: web.BaseRequest, body: bytes) -> Received:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        name = name.lower()
        headers[name] = cover(f"{headers[name]},{value}" if name in headers else value)
    path, _, query = request.raw_path.partition("?")
    return Received(request.method, path, cover(query), headers, SecretBytes(body))


def _as_the_client_sees_it(record: Any, fault: Fault | None) -> Any:
    """Return the record with the status and the error code that the client receives."""
    match fault:
        case Answer():
            return attrs.evolve(record, status=fault.status, code=None)
        case Reset(after="connect"):
            return attrs.evolve(record, status=None, code=None)
        case _:
            return record


def _break(
    transport: asyncio.Transport, fault: Reset | Truncate, *, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Send a part of the response or nothing, and end the connection. aiohttp's later writes have no effect."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    if isinstance(fault, Truncate):
        transport.write(head + body[: min(fault.at_bytes, len(body) - 1)])
        transport.close()
        return
    if fault.after == "headers":
        transport.write(head)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
