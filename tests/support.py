"""What tests share: keys, a role, an answer, a bare server to script, and what watches over secrets."""

import asyncio
import contextlib
import json
import logging
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import attrs

from sts_async import STSClient
from sts_async._engine.loop import Engine, new_engine
from sts_async._protocol.endpoints import Endpoint
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._runtime.files import Lock, StrPath, take_lock
from sts_async._shape.secret import Secret, SecretBytes
from sts_async.credentials import RefreshingProvider, StaticProvider
from sts_async.retries import NoRetries
from sts_async.shapes import Credentials

KEYS = Credentials(
    access_key_id="AKIAIOSFODNN7EXAMPLE",
    secret_access_key="SENTINEL-secret-access-key",
    session_token="SENTINEL-session-token",
)
ROLE = "arn:aws:iam::123456789012:role/demo"

ANSWER = """\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <AssumedRoleId>AROAEXAMPLE:me</AssumedRoleId>
      <Arn>arn:aws:sts::123456789012:assumed-role/demo/me</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
      <SecretAccessKey>SENTINEL-issued-secret</SecretAccessKey>
      <SessionToken>SENTINEL-issued-token</SessionToken>
      <Expiration>2026-01-01T01:00:00Z</Expiration>
    </Credentials>
  </AssumeRoleResult>
  <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata>
</AssumeRoleResponse>
"""


START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@attrs.define
class Clocks:
    """A wall clock and a monotonic one, in seconds; sleeping moves both at once."""

    wall: float = START
    monotonic: float = 1_000.0
    slept: list[float] = attrs.field(factory=list)

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)


class Watch(logging.Handler):
    """Keep every log record's text, as a file handler with tracebacks would write it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("botocore", "boto3", "urllib3")):
            return  # they do show secrets; here they are the oracle
        self.texts.append(f"{self.format(record)} {record.args!r}")


SEEN_SECRETS: set[str] = set()
"""The value of every `Secret` that was made since a test began."""


def _remembering_new(cls: type[Secret], value: str = "") -> Secret:
    SEEN_SECRETS.add(str(value))
    return str.__new__(cls, value)


Secret.__new__ = _remembering_new  # type: ignore[method-assign,assignment]


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """A TCP server on 127.0.0.1 that runs *handler* for every connection, and counts them."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._handler(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        """Read one request, head and body, and keep it."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
        )
        self.requests.append(head + await reader.readexactly(length))
        return self.requests[-1]

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def http(body: bytes | str, *, status: int = 200, headers: str = "", length: int | None = None) -> bytes:
    """Return the bytes of an HTTP answer."""
    body = body.encode() if isinstance(body, str) else body
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + body


def held(path: StrPath) -> Lock:
    """Return the lock of a file, which nobody else may hold."""
    lock = take_lock(path)
    assert lock is not None, "somebody else holds the lock"
    return lock


@attrs.define
class Answering:
    """A transport that answers every request alike, whatever the operation, and keeps them."""

    body: str = ANSWER
    status: int = 200
    sent: list[HttpRequest] = attrs.field(factory=list)

    async def send(self, request: HttpRequest) -> HttpResponse:
        _ = request.headers  # signed now
        self.sent.append(request)
        operation = form_of(request)["Action"]
        body = self.body.replace("AssumeRole", operation, 4)
        return HttpResponse(self.status, {"content-type": "text/xml"}, SecretBytes(body.encode()))


def shown_as(value: object) -> str:
    """Return the name of a case by its value, without addresses, which differ in each process of the suite."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def put_into(sts: STSClient, **functions: Any) -> None:
    """Replace what tells a started client the time, waits for it, or draws its random numbers."""
    engine = sts._life.engine
    assert engine is not None, "the client has not started"
    for name, function in functions.items():
        assert hasattr(engine.context, name), f"a client has no {name}"
        setattr(engine.context, name, function)
        setattr(engine.context.shared, name, function)


def form_of(request: HttpRequest) -> dict[str, str]:
    """Return the parameters of a request."""
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))


def engine_of(transport: Answering) -> Engine:
    """Return an engine that signs with `KEYS` and sends by *transport*."""
    return new_engine(
        endpoint=Endpoint("http://127.0.0.1/", "127.0.0.1", "us-east-1"),
        transport=transport,
        credentials=StaticProvider(KEYS),
        retries=NoRetries(),
    )


async def request_of(provider: RefreshingProvider) -> HttpRequest:
    """Return the one request that a provider sends."""
    transport = Answering()
    await provider.fetch(engine_of(transport).context)
    (request,) = transport.sent
    return request


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh process has after a statement."""
    code = (
        f"import json, sys\n{statement}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {*json.loads(done.stdout.splitlines()[-1])}
