"""What every server here is: a socket on this host, a clock, a script of faults, and records of what was asked."""

import asyncio
import os
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import aiohttp
import attrs
from aiohttp import web

from .._core.secret import SecretBytes, cover
from .._requirements import require
from .clock import TimeSource, time_function
from .faults import Answer, Delay, Fault, Refuse, Reset, Script, Skew, Throttle, Truncate, Unavailable
from .limits import RateLimit
from .protocol import Server, body_of, refused
from .refusals import Refusal
from .verify import Received

require("aiohttp", aiohttp.__version__)

RECORDS_KEPT = 10_000
SHUTDOWN_TIMEOUT = 1.0  # s for requests under way; a `Delay` ends at once

Record = TypeVar("Record")
"""An attrs class with at least `status` and `code`, and nothing secret. All its text is plain, for `print`."""

_ALONE = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""Variables that turn off the places on a machine that SDKs would ask beside a server."""

_NO_LINGER = struct.pack("ii", 1, 0)  # close with RST


@attrs.frozen(kw_only=True)
class Reply:
    """
    An answer.

    Attributes:
        status: HTTP status.
        body: The body.
        headers: The headers, beside Date and those that HTTP needs.
    """

    status: int = 200
    body: bytes = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)


class LocalServer(ABC, Generic[Record]):
    """
    A server on this host. A subclass says what it answers.

    Args:
        clock: A `VirtualClock`, another object with a method `time`, or a function: returns seconds since 1970.
            Lifetimes and the Date header follow it.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        rate: Requests a second that are answered, others get `Throttle`; None for any number.

    Attributes:
        faults: The script of faults: see `faults`.
        requests: Records of the last 10,000 requests, oldest first.
    """

    _throttled: ClassVar[tuple[str, int]] = (Throttle.code, Throttle.status)
    """Error code and HTTP status with which the service asks to slow down."""

    _needs_profile: ClassVar[bool] = False
    """Whether an SDK asks the service only for a profile of the shared files."""

    def __init__(
        self,
        *,
        clock: TimeSource = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        rate: float | None = None,
    ) -> None:
        self.faults = Script()
        self._limit = RateLimit(rate)
        self.requests: deque[Record] = deque(maxlen=RECORDS_KEPT)
        self._clock = time_function(clock)
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None
        self._stopping = asyncio.Event()

    @abstractmethod
    def _answer(self, received: Received, *, now: float, refusal: Refusal | None) -> tuple[Reply, Record]:
        """Return the answer to *received* at *now*, and the record of it; with *refusal* it is that."""

    @abstractmethod
    def _leading_here(self) -> dict[str, str]:
        """Return the variables that lead an SDK to this server, which has to run."""

    def _operation(self, received: Received) -> str | None:
        """Return the name of the STS operation that *received* calls; None when it calls none."""
        return None

    @property
    def url(self) -> str:
        """
        The URL to send requests to, without a slash at its end.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._runner is None:
            name = type(self).__name__
            raise RuntimeError(f"the server is not running: use `async with {name}() as server`, or await start()")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def environ(self) -> dict[str, str]:
        """
        The environment variables by which an SDK or the AWS CLI uses this server, and nothing else on this machine.

        They lead to the server, and turn off the shared files and the metadata service where those do not lead to it.
        They are all that such a process needs, and count if it has no other variables that begin with ``AWS_``.

            subprocess.run(["aws", "sts", "get-caller-identity"], env={"PATH": os.environ["PATH"], **server.environ})

        Raises:
            RuntimeError: The server is not running.
        """
        alone = dict(_ALONE)
        if self._needs_profile:
            del alone["AWS_CONFIG_FILE"], alone["AWS_SHARED_CREDENTIALS_FILE"]
        return {**alone, **self._leading_here()}

    async def start(self) -> None:
        """
        Listen. Once it runs, starting does nothing.

        Raises:
            OSError: The address or port cannot be had.
        """
        if self._runner is not None:
            return
        self._stopping = asyncio.Event()  # anew: the next start may be in another event loop
        runner = web.ServerRunner(Server(self._handle), shutdown_timeout=SHUTDOWN_TIMEOUT)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and stop listening. What is known stays; stopping again does nothing."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self._stopping.set()
            await runner.cleanup()
            await asyncio.sleep(0)  # the transports close at the loop's next turn

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'stopped' if self._runner is None else self.url}>"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await body_of(request)
        if body is None:
            return refused(HTTPStatus.BAD_REQUEST)
        received = _received(request, body)
        fault = self.faults.take(received.path, self._operation(received) if self.faults else None)
        if fault is None and not self._limit.admits(now=self._clock()):
            fault = Throttle()
        if isinstance(fault, Delay):
            await self._pause(fault.seconds)
        now = self._clock() + (fault.seconds if isinstance(fault, Skew) else 0)
        reply, record = self._answer(received, now=now, refusal=self._refusal(fault))
        self.requests.append(_as_it_goes(record, fault))
        headers = {**reply.headers, "Date": formatdate(now, usegmt=True)}
        transport = request.transport
        if isinstance(fault, Reset | Truncate) and transport is not None:
            _break(transport, fault, status=reply.status, headers=headers, body=reply.body)
        if isinstance(fault, Answer):
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        return web.Response(status=reply.status, body=reply.body, headers=headers)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

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


def _as_it_goes(record: Any, fault: Fault | None) -> Any:
    """Return the record of what the client gets to see."""
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
    """Send a part of the answer, or none, and end the connection. What aiohttp sends afterwards goes nowhere."""
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
