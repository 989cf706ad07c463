"""
The wire: aiohttp, with the defaults that a client of signed requests needs, and the mapping of its exceptions.

No redirect is followed, no cookie kept, no body decompressed; nothing is read from netrc or the environment; bodies
are read up to a cap. Sessions are made at first use, one for each event loop.
"""

import asyncio
import contextlib
import errno
import ssl
import sys
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yarl

from ._core.message import HttpRequest, HttpResponse
from ._core.secret import SecretBytes, Unpicklable
from ._limits import (
    CLOSE_GRACE,
    CONNECT_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_RESPONSE_BYTES,
    READ_TIMEOUT,
    Deadline,
    Deadlines,
    Gate,
)
from ._version import VERSION
from .errors import (
    AttemptTimeout,
    ClientClosedError,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    ResponseParseError,
    ResponseTooLarge,
    STSError,
    TLSError,
)

PYTHON_VERSION = ".".join(map(str, sys.version_info[:3]))
USER_AGENT = f"sts-async/{VERSION} python/{PYTHON_VERSION} aiohttp/{aiohttp.__version__}"
HEADERS = {
    "accept": "text/xml",  # some servers answer JSON to whoever accepts all
    "accept-encoding": "identity",
    "user-agent": USER_AGENT,
}


_reused: ContextVar[bool] = ContextVar("reused", default=False)
"""Whether the connection of the request that the current task is sending had served before."""


class _Connector(aiohttp.TCPConnector):
    """Notes which connections have served before, which aiohttp keeps to itself."""

    async def connect(self, *arguments: Any, **more: Any) -> "aiohttp.connector.Connection":
        connection = await super().connect(*arguments, **more)
        served: dict[str, Any] = vars(connection.protocol)
        _reused.set(served.get("sts_async_served", False))
        served["sts_async_served"] = True
        return connection


class _LoopPart:
    """What belongs to one event loop: a session, and a gate that lets callers in as they came."""

    __slots__ = ("_others", "deadlines", "gate", "owned", "session")

    def __init__(self, session: aiohttp.ClientSession, *, owned: bool, connections: int, seconds: float) -> None:
        self.deadlines = Deadlines(seconds)
        self._others: dict[float, Deadlines] = {}
        self.session = session
        self.owned = owned
        # aiohttp's connector starves queued callers; with as many admitted as it has connections, none queues there.
        self.gate = Gate(connections)

    def deadline(self, seconds: float | None) -> Deadline:
        """Return the deadline of an attempt that begins now."""
        if seconds is None:
            return self.deadlines.start()
        others = self._others.get(seconds)
        if others is None:
            others = self._others[seconds] = Deadlines(seconds)
        return others.start()

    async def close(self) -> None:
        for deadlines in (self.deadlines, *self._others.values()):
            deadlines.close()
        await self.close_session()

    async def close_session(self) -> None:
        if self.owned:
            await self.session.close()


class AiohttpTransport(Unpicklable):
    """
    Send requests over aiohttp.

    Args:
        session: A session to use instead of one of our own, in its own event loop only; it is never closed here. Its
            cookie jar, default headers, `trust_env` and connector stay as they are.
        max_connections: Greatest number of connections, and of requests under way.
        connect_timeout: Seconds for a new connection to an address, TLS included, the look-up of addresses not.
        read_timeout: Seconds for a whole attempt, connection included, the wait for one's turn not.
        max_response_bytes: Cap for the body of an answer.
        trusted: How a TLS peer must prove itself; None for aiohttp's default, the system's authorities.
        app_id: Name of the application, for the User-Agent header.
    """

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession | None = None,
        max_connections: int = MAX_CONNECTIONS,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        trusted: ssl.SSLContext | None = None,
        app_id: str | None = None,
    ) -> None:
        self._trusted = trusted
        self._headers = HEADERS if app_id is None else {**HEADERS, "user-agent": f"{USER_AGENT} app/{app_id}"}
        self._session = session
        self._max_connections = max_connections
        self._read_timeout = read_timeout
        self._cap = max_response_bytes
        # aiohttp arms a timer for every request that has another limit; one of our own covers the attempt.
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._parts: dict[asyncio.AbstractEventLoop, _LoopPart] = {}
        self._urls: dict[str, yarl.URL] = {}
        self._closed = False

    async def send(self, request: HttpRequest) -> HttpResponse:
        """
        Send *request* once and return the whole answer.

        Raises:
            TransportError: No whole answer came; the subclass says why.
            ResponseParseError: The answer is not HTTP.
            ClientClosedError: The transport is closed.
        """
        part = self._parts.get(asyncio.get_running_loop()) or await self._open()
        if not part.gate.take():
            await part.gate.wait()
        response = None
        _reused.set(False)
        try:
            self._check_open()
            with part.deadline(request.timeout):
                response = await part.session.request(
                    request.method,
                    self._url(request.url),
                    # Made here, because aiohttp finds the payload of a subclass of bytes by searching a list.
                    data=aiohttp.BytesPayload(request.body) if request.body else None,
                    headers=request.headers if part.owned else {**self._headers, **request.headers},
                    allow_redirects=False,
                    raise_for_status=False,
                    auto_decompress=False,
                    timeout=self._timeout,
                )
                return HttpResponse(response.status, response.headers, await _read(response.content, self._cap))
        except (aiohttp.ClientError, OSError, RuntimeError, STSError, ValueError) as error:
            closed = self._closed and isinstance(error, TimeoutError)
            failure = _closed() if closed else _failure(error, request, part.session)
            if isinstance(failure, ConnectionLost):
                failure.stale = response is None and _reused.get()
        finally:
            if response is not None:
                response.close()  # its connection is back in the pool when the whole answer was read
            part.gate.give_up()
        raise failure  # outside: aiohttp's frames and messages can quote what was sent

    def _url(self, url: str) -> yarl.URL:
        if "?" in url:
            return yarl.URL(url, encoded=True)
        known = self._urls.get(url)
        if known is None:
            known = self._urls[url] = yarl.URL(url, encoded=True)  # encoded: sent as it was signed
        return known

    async def _open(self) -> _LoopPart:
        """Make, at first use in a loop, what belongs to it, and let go of what belonged to loops that have ended."""
        self._check_open()
        loop = asyncio.get_running_loop()
        if self._session is None:
            part = _LoopPart(
                self._new_session(), owned=True, connections=self._max_connections, seconds=self._read_timeout
            )
        elif getattr(self._session, "_loop", loop) is not loop:  # aiohttp's own `loop` is deprecated
            raise ConfigurationError("the session that was given belongs to another event loop: give none, or one each")
        else:
            limit = self._session.connector.limit if self._session.connector else 0
            part = _LoopPart(
                self._session, owned=False, connections=limit or self._max_connections, seconds=self._read_timeout
            )
        self._parts[loop] = part  # before any await: whoever comes next finds it
        for ended in [other for other in list(self._parts) if other.is_closed()]:
            if gone := self._parts.pop(ended, None):
                await gone.close_session()
        return part

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_Connector(limit=0, ssl=self._trusted or True),  # the gate is the limit
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=self._timeout,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise _closed()

    async def aclose(self, *, grace: float = CLOSE_GRACE) -> None:
        """
        Close the connections that are ours, in all event loops, in at most *grace* seconds. Closing again does nothing.

        Requests under way end with `ClientClosedError`.
        """
        self._closed = True
        parts, self._parts = self._parts, {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                for loop, part in parts.items():
                    if loop is not asyncio.get_running_loop() and not loop.is_running():  # closed, or standing still
                        await part.close_session()
                    elif loop is asyncio.get_running_loop():
                        await part.close()
                    else:  # it runs in another thread
                        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(part.close(), loop))


async def _read(content: aiohttp.StreamReader, cap: int) -> SecretBytes:
    body = b""
    try:
        while not content.at_eof():
            body += await content.readany()
            if len(body) > cap:
                raise ResponseTooLarge(f"the answer is larger than {cap} bytes")
        return SecretBytes(body)
    finally:
        body = b""  # no traceback shows part of an answer


def _closed() -> ClientClosedError:
    return ClientClosedError("the client is closed")


def _failure(error: Exception, request: HttpRequest, session: aiohttp.ClientSession) -> STSError:
    """Return our error for one of aiohttp's. Its text is ours, too: theirs can quote what was sent or received."""
    where = urlsplit(request.url).netloc
    match error:
        case STSError():
            return error
        case aiohttp.ConnectionTimeoutError() | aiohttp.SocketTimeoutError():
            return ConnectTimeout(f"no connection to {where} in time")
        case TimeoutError():
            return AttemptTimeout(f"no whole answer from {where} in time")
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch() | ssl.SSLError():
            return TLSError(f"TLS with {where} failed: {_tls_reason(error)}")
        case aiohttp.ClientOSError() if isinstance(error.__cause__, ssl.SSLError):  # an alert after the handshake
            return TLSError(f"TLS with {where} failed: {_tls_reason(error.__cause__)}")
        case aiohttp.ClientConnectorDNSError():
            return ConnectError(f"no address is known for {where}")
        case aiohttp.ClientConnectorError():
            return ConnectError(f"no connection to {where}: {_os_reason(error.os_error)}")
        case aiohttp.ClientResponseError():
            return ResponseParseError(f"the answer of {where} is not HTTP that can be read", status=0)
        case aiohttp.ClientError() | OSError():
            return ConnectionLost(f"the connection to {where} ended before the whole answer had come")
        case RuntimeError() if session.closed:
            return ClientClosedError("the aiohttp session is closed")
        case _:
            return ConfigurationError(f"the HTTP client refused to send the request: {type(error).__name__}")


def _os_reason(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _tls_reason(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    return getattr(cause, "verify_message", None) or getattr(cause, "reason", None) or type(cause).__name__
