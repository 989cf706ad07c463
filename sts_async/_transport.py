"""
The wire: aiohttp, with the defaults that a client of signed requests needs, and the mapping of its exceptions.

No redirect is followed, no cookie kept, no body decompressed; nothing is read from netrc or the environment; bodies
are read up to a cap. Sessions are made at first use, one for each event loop, and anew in a process that was forked.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import sys
import time
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from ._core.message import HttpRequest, HttpResponse
from ._core.options import DNS_CACHE_TTL, KEEPALIVE_TIMEOUT
from ._core.proxies import Proxies, Proxy, is_near
from ._core.secret import SecretBytes, Unpicklable
from ._failures import client_closed, failure_of, place, refused
from ._limits import (
    CLOSE_GRACE,
    CONNECT_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_RESPONSE_BYTES,
    READ_TIMEOUT,
    Deadline,
    Deadlines,
    Gate,
    TimeLimits,
)
from ._resolver import LOOK_UPS
from ._version import VERSION
from .errors import (
    AttemptTimeout,
    ConfigurationError,
    ConnectionLost,
    ConnectTimeout,
    ResponseTooLarge,
    STSError,
)

PYTHON_VERSION = ".".join(map(str, sys.version_info[:3]))
USER_AGENT = f"sts-async/{VERSION} python/{PYTHON_VERSION} aiohttp/{aiohttp.__version__}"
HEADERS = {
    "accept": "text/xml",  # some servers answer JSON to whoever accepts all
    "accept-encoding": "identity",
    "user-agent": USER_AGENT,
}
DIRECTLY = yarl.URL()  # for aiohttp no proxy at all, whatever its session says
PROXY_AUTHENTICATION_REQUIRED = 407
MOST_ROUTES = 1000  # that are kept, as many as aiohttp keeps addresses of hosts
LOOK_UP_SHARE = 0.9  # of the seconds for an attempt, so that what was not looked up is told from what was not answered


_reused: ContextVar[bool | None] = ContextVar("reused", default=None)
"""Whether the connection of what the current task sends had served before; None while there is none."""


class _Connector(aiohttp.TCPConnector):
    """Notes which connections have served before, which aiohttp keeps to itself."""

    inherited = False

    def __del__(self, *arguments: Any) -> None:
        if not self.inherited:  # else closing would take the connections from the parent's event loop
            super().__del__(*arguments)

    async def connect(self, *arguments: Any, **more: Any) -> "aiohttp.connector.Connection":
        connection = await super().connect(*arguments, **more)
        served: dict[str, Any] = vars(connection.protocol)
        _reused.set(served.get("sts_async_served", False))
        served["sts_async_served"] = True
        return connection


class _Resolver(AbstractResolver):
    """Looks names up in threads of our own."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await LOOK_UPS.addresses(host, port, family=family, seconds=self._seconds)
        digits = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(
                hostname=host,
                host=address.host,
                port=address.port,
                family=address.family,
                proto=address.protocol,
                flags=digits,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Do nothing: the threads end by themselves."""


def _probed(address: "aiohttp.connector.AddrInfoType") -> socket.socket:
    """Return a socket that the system probes while nobody uses it."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


class _Route(NamedTuple):
    """
    How the requests for one URL go.

    Attributes:
        url: As it is sent.
        by: The proxy, or None.
        proxy: What aiohttp is told about it.
        tunnel_headers: For the proxy alone, when it is asked for a connection.
        headers: To be sent with each request, or None.
    """

    url: yarl.URL
    by: Proxy | None
    proxy: yarl.URL | None
    tunnel_headers: Mapping[str, str] | None
    headers: Mapping[str, str] | None


class _LoopPart:
    """What belongs to one event loop: a session, and a gate that lets callers in as they came."""

    __slots__ = ("_others", "deadlines", "gate", "owned", "session")

    def __init__(self, session: aiohttp.ClientSession, *, owned: bool, connections: int, seconds: float) -> None:
        self.deadlines = Deadlines(seconds)
        self._others = TimeLimits()
        self.session = session
        self.owned = owned
        # aiohttp's connector starves queued callers; with as many admitted as it has connections, none queues there.
        self.gate = Gate(connections)

    def deadline(self, seconds: float | None) -> Deadline:
        """Return the deadline of an attempt that begins now."""
        if seconds is None:
            return self.deadlines.start()
        return self._others.start(seconds)

    async def close(self) -> None:
        self.deadlines.close()
        self._others.close(self.deadlines.loop)
        await self.close_session()

    async def close_session(self) -> None:
        if self.owned:
            await self.session.close()


class AiohttpTransport(Unpicklable):
    """
    Send requests over aiohttp.

    Args:
        session: A session to use instead of one of our own, in its own event loop only; it is never closed here. Its
            cookie jar, default headers, `trust_env` and connector stay as they are, and its proxies, too, but for this
            host, its link and the metadata services. Of *trusted* and what follows, only the User-Agent reaches it.
        max_connections: Greatest number of connections, and of requests under way.
        connect_timeout: Seconds for a new connection to an address, TLS included, the look-up of addresses not.
        read_timeout: Seconds for a whole attempt, connection included, the wait for one's turn not.
        max_response_bytes: Cap for the body of an answer.
        trusted: How a TLS peer must prove itself; None for aiohttp's default, the system's authorities.
        app_id: Name of the application, for the User-Agent header.
        user_agent_suffix: What that ends with.
        proxies: The proxies; None for none.
        keepalive_timeout: Seconds for which a connection that nobody uses is kept.
        tcp_keepalive: Whether the system probes connections that nobody uses.
        local_address: Address of this host that connections begin at; None for the system's choice.
        dns_cache_ttl: Seconds for which the addresses of a host are kept.
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
        user_agent_suffix: str | None = None,
        proxies: Proxies | None = None,
        keepalive_timeout: float = KEEPALIVE_TIMEOUT,
        tcp_keepalive: bool = False,
        local_address: str | None = None,
        dns_cache_ttl: float = DNS_CACHE_TTL,
    ) -> None:
        agent = [USER_AGENT, app_id and f"app/{app_id}", user_agent_suffix]
        self._headers = {**HEADERS, "user-agent": " ".join(filter(None, agent))}
        self._proxies = proxies or Proxies()
        self._connecting: dict[str, Any] = {
            "limit": 0,  # the gate is the limit
            "ssl": trusted or True,
            "keepalive_timeout": keepalive_timeout,
            "local_addr": None if local_address is None else (local_address, 0),
            "ttl_dns_cache": dns_cache_ttl,
            "socket_factory": _probed if tcp_keepalive else None,
        }
        self._session = session
        self._max_connections = max_connections
        self._read_timeout = read_timeout
        self._cap = max_response_bytes
        # aiohttp arms a timer for every request that has another limit; one of our own covers the attempt.
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._parts: dict[asyncio.AbstractEventLoop, _LoopPart] = {}
        self._routes: dict[str, _Route] = {}
        self._closed = False
        _TRANSPORTS.add(self)

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
        route = self._routes.get(request.url)
        response = None
        _reused.set(None)
        try:
            self._check_open()
            if route is None:
                route = self._new_route(request.url)
            with part.deadline(request.timeout):
                response = await part.session.request(
                    request.method,
                    route.url,
                    # Made here, because aiohttp finds the payload of a subclass of bytes by searching a list.
                    data=aiohttp.BytesPayload(request.body) if request.body else None,
                    headers=request.headers if route.headers is None else {**route.headers, **request.headers},
                    proxy=route.proxy,
                    proxy_headers=route.tunnel_headers,
                    allow_redirects=False,
                    raise_for_status=False,
                    auto_decompress=False,
                    timeout=self._timeout,
                )
                if response.status == PROXY_AUTHENTICATION_REQUIRED and route.by is not None:
                    raise refused(request.url, route.by, status=response.status)
                begun = time.perf_counter()
                body = await _read(response.content, self._cap)
                return HttpResponse(response.status, response.headers, body, _reused.get(), time.perf_counter() - begun)
        except (aiohttp.ClientError, OSError, RuntimeError, STSError, ValueError) as error:
            by, reused = route and route.by, _reused.get()
            failure = failure_of(error, request, part.session, by=by)
            if self._closed and isinstance(error, TimeoutError):
                failure = client_closed()
            elif isinstance(failure, ConnectionLost):
                failure.stale = response is None and bool(reused)
            elif isinstance(failure, AttemptTimeout) and reused is None and part.owned:
                failure = ConnectTimeout(f"no connection to {place(request.url, by)} in time")
        finally:
            if response is not None:
                response.close()  # its connection is back in the pool when the whole answer was read
            part.gate.give_up()
        raise failure  # outside: aiohttp's frames and messages can quote what was sent

    def _new_route(self, url: str) -> _Route:
        """Choose how to reach *url*, once for each that is used again."""
        by, proxy = None, None
        tunnel_headers: Mapping[str, str] | None = None
        headers: Mapping[str, str] | None = None
        if self._session is not None:
            headers = self._headers  # ours are the defaults of our own sessions only
            proxy = DIRECTLY if is_near(urlsplit(url).hostname or "") else None
        elif (by := self._proxies.of(url)) is not None:
            proxy = yarl.URL(by.url)
            if by.authorization is not None:  # headers of a request with TLS go to the service, through the tunnel
                authorization = {"Proxy-Authorization": by.authorization}
                if url.startswith("https:"):
                    tunnel_headers = authorization
                else:
                    headers = authorization
        as_signed = yarl.URL(url, encoded=True)
        route = _Route(as_signed, by, proxy, tunnel_headers, headers)
        if "?" not in url:
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            self._routes[url] = route
        return route

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
            connector=_Connector(resolver=_Resolver(self._read_timeout * LOOK_UP_SHARE), **self._connecting),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=self._timeout,
        )

    def start_afresh(self) -> None:
        """
        Forget all connections, in a process that was forked: they are its parent's, and so is what watches over them.

        Nothing is closed, because closing one here would take it from the parent's event loop, too.
        """
        for part in self._parts.values():
            if isinstance(connector := part.session.connector, _Connector):
                connector.inherited = True
                _INHERITED.append(connector)
                part.session.detach()
        self._parts = {}

    def _check_open(self) -> None:
        if self._closed:
            raise client_closed()

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


_TRANSPORTS: "weakref.WeakSet[AiohttpTransport]" = weakref.WeakSet()
_INHERITED: list[object] = []
"""Connections of the process that this one was forked from: kept, because they would be closed when they are let go."""


def _start_afresh() -> None:
    for transport in list(_TRANSPORTS):
        transport.start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


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
