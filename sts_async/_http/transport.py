"""
The transport: sends requests over aiohttp, with the defaults that a client of signed requests needs.

It follows no redirect, keeps no cookie, decompresses no body, reads neither netrc nor the environment, and limits the
size of bodies. Sessions are made at first use, one for each event loop, and again in a forked child. `errors`
translates the exceptions of aiohttp.
"""

import asyncio
import contextlib
import logging
import ssl
import sys
import time
import warnings
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import aiohttp
import yarl

from .._config.options import DNS_CACHE_TTL, KEEPALIVE_TIMEOUT
from .._protocol.http_messages import HttpRequest, HttpResponse
from .._protocol.proxies import Proxies, Proxy, bypasses_proxy
from .._runtime import forks
from .._runtime.defaults import ATTEMPT_TIMEOUT, CLOSE_GRACE, CONNECT_TIMEOUT, MAX_CONNECTIONS, MAX_RESPONSE_BYTES
from .._runtime.loop_end import Guard, close_at_loop_end
from .._runtime.semaphore import FifoSemaphore
from .._runtime.timeouts import Deadline, Deadlines, NoDeadline, TimeLimits
from .._shape.secret import SecretBytes, Unpicklable
from .._version import VERSION
from ..errors import (
    AttemptTimeout,
    ClientClosedError,
    ConfigurationError,
    ConnectionLost,
    ConnectTimeout,
    ResponseTooLarge,
    STSError,
)
from .aiohttp_names import SESSION, require_names
from .connector import Connector, Resolver, Use, current
from .errors import failure_of, place, refused
from .request import request_class

log = logging.getLogger("sts_async")

PYTHON_VERSION = ".".join(map(str, sys.version_info[:3]))
USER_AGENT = f"sts-async/{VERSION} python/{PYTHON_VERSION} aiohttp/{aiohttp.__version__}"
HEADERS = {
    "accept": "text/xml",  # some servers answer in JSON if every type is accepted
    "accept-encoding": "identity",
    "user-agent": USER_AGENT,
}
DIRECTLY = yarl.URL()  # means no proxy, even if the session has one
PROXY_AUTHENTICATION_REQUIRED = 407
MAX_ROUTES = 1000  # cached routes
# Share of attempt_timeout for name resolution. It ends first, so its time-out differs from one of the service.
LOOK_UP_SHARE = 0.9


class Owner(NamedTuple):
    """
    The client of a transport, for the warning about an unclosed client.

    Attributes:
        name: The client's name in the warning.
        file: The file of the program that made the client.
        line: The line in that file.
    """

    name: str
    file: str
    line: int


class _Route(NamedTuple):
    """
    The route of requests for one URL.

    Attributes:
        url: The URL, exactly as it is sent.
        by: The proxy, or None.
        headers: Headers for each request, or None.
        options: Arguments for the request method of aiohttp's session.
    """

    url: yarl.URL
    by: Proxy | None
    headers: Mapping[str, str] | None
    options: dict[str, Any]

    @property
    def has_tls(self) -> bool:
        """Whether the connection to the service or to the proxy uses TLS."""
        proxy = self.options["proxy"]
        return self.url.scheme == "https" or (proxy is not None and proxy.scheme == "https")


class Trust(Protocol):
    """Loads the certificates for TLS connections."""

    async def load(self) -> ssl.SSLContext:
        """Return the TLS context, or raise a `ConfigurationError`."""
        ...


class _LoopConnections:
    """The part of a transport in one event loop: a session, and a queue of the callers that wait for a connection."""

    __slots__ = ("__weakref__", "_others", "_parts", "deadlines", "guard", "owned", "session", "slots")

    def __init__(
        self, parts: "_Parts", session: aiohttp.ClientSession, *, owned: bool, connections: int, seconds: float
    ) -> None:
        self._parts = parts
        self.guard: Guard | None = None
        self.deadlines = Deadlines(seconds)
        self._others = TimeLimits()
        self.session = session
        self.owned = owned
        # aiohttp's own queue is not fair. As many callers are admitted as there are connections, so none waits there.
        self.slots = FifoSemaphore(connections)

    def deadline(self, seconds: float) -> Deadline | NoDeadline:
        """Return the deadline of an attempt with a time limit of its own."""
        return self._others.start(seconds)

    async def close(self) -> None:
        self.deadlines.close()
        self._others.close(self.deadlines.loop)
        if self.owned:
            await self.session.close()
        self.release()

    async def leave(self) -> None:
        """Close these connections. The next request in this event loop makes new ones."""
        self._parts.pop(self.deadlines.loop, None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_GRACE):
                await self.close()

    def release(self) -> None:
        """Keep the end of the event loop from closing these connections."""
        guard, self.guard = self.guard, None
        if guard is not None:
            guard.release(self)

    def begin_to_close(self) -> "asyncio.Future[None] | None":
        """Close from another event loop. Return a future for the end, or None if this event loop does not run."""
        closing = self.close()
        if self.deadlines.loop.is_running():
            with contextlib.suppress(RuntimeError):  # it has just ended
                return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(closing, self.deadlines.loop))
        closing.close()
        return None

    def abandon(self, *, shutdown_sockets: bool = True) -> None:
        """Drop a session whose event loop does not run."""
        self.release()
        connector = self.session.connector
        if self.owned and isinstance(connector, Connector):
            connector.disown()
            self.session.detach()
            if shutdown_sockets:
                connector.shutdown_sockets()
            else:
                connector.leave_to_parent()
                _INHERITED.append(connector)


_Parts = dict[asyncio.AbstractEventLoop, _LoopConnections]


class AiohttpTransport(Unpicklable):
    """
    Send requests over aiohttp.

    Args:
        session: The program's session, for its own event loop only; None for new ones. It is never closed here. Its
            cookie jar, default headers, `trust_env` and connector apply. Its proxies apply, too, except for this host,
            its link and the metadata services. Of the arguments from *trust* on, only those for the User-Agent apply.
        max_connections: Maximum number of connections and of running requests.
        connect_timeout: Seconds for a new connection to an address, including TLS, excluding name resolution.
        attempt_timeout: Seconds for one attempt, including connecting, excluding the wait for a connection.
        max_response_bytes: Size limit of a response body.
        trust: Loads the TLS context before the first TLS connection; None for the system's authorities.
        app_id: Name of the application, for the User-Agent header.
        user_agent_suffix: The end of the User-Agent header.
        proxies: The proxies; None for none.
        keepalive_timeout: Seconds for which an idle connection is kept.
        tcp_keepalive: Whether the system probes idle connections.
        local_address: Address of this host that connections are made from; None for the system's choice.
        dns_cache_ttl: Seconds for which the addresses of a host are cached.
        owner: The client, for the warning about an unclosed client; None for no warning.
    """

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession | None = None,
        max_connections: int = MAX_CONNECTIONS,
        connect_timeout: float = CONNECT_TIMEOUT,
        attempt_timeout: float = ATTEMPT_TIMEOUT,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        trust: Trust | None = None,
        app_id: str | None = None,
        user_agent_suffix: str | None = None,
        proxies: Proxies | None = None,
        keepalive_timeout: float = KEEPALIVE_TIMEOUT,
        tcp_keepalive: bool = False,
        local_address: str | None = None,
        dns_cache_ttl: float = DNS_CACHE_TTL,
        owner: Owner | None = None,
    ) -> None:
        agent = [USER_AGENT, app_id and f"app/{app_id}", user_agent_suffix]
        self._headers = {**HEADERS, "user-agent": " ".join(filter(None, agent))}
        self._proxies = proxies or Proxies()
        self._connecting: dict[str, Any] = {
            "limit": 0,  # `_LoopConnections.slots` is the limit
            "keepalive_timeout": keepalive_timeout,
            "local_addr": None if local_address is None else (local_address, 0),
            "ttl_dns_cache": dns_cache_ttl,
            "probes": tcp_keepalive,
        }
        if session is not None:
            require_names(session, SESSION)
        self._session = session
        self._trust = trust
        self._max_connections = max_connections
        self._read_timeout = attempt_timeout
        self._cap = max_response_bytes
        # aiohttp arms a timer for every request that has another limit; one of our own covers the attempt.
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._parts: _Parts = {}
        self._routes: dict[str, _Route] = {}
        self._closed = False
        if owner is not None:
            weakref.finalize(self, _unclosed, self._parts, owner)
        forks.register_after_fork(self, "reset_after_fork")

    async def send(self, request: HttpRequest) -> HttpResponse:
        """
        Send *request* once and return the whole answer.

        Raises:
            TransportError: No whole answer came; the subclass says why.
            ResponseParseError: The answer is not HTTP.
            ClientClosedError: The transport is closed.
        """
        part = self._parts.get(asyncio.get_running_loop()) or await self._open()
        if not part.slots.try_acquire():
            await part.slots.wait()
        route, response = self._routes.get(request.url), None
        use = Use()
        use.fresh = request.fresh
        current.set(use)
        try:
            if self._closed:
                raise ClientClosedError
            with Deadline(part.deadlines) if request.timeout is None else part.deadline(request.timeout):
                if route is None:
                    route = await self._learn_route(request.url)
                headers = request.headers  # signed now, and not while others had their turn
                response = await part.session.request(
                    request.method,
                    route.url,
                    data=request.body or None,
                    headers=headers if route.headers is None else {**route.headers, **headers},
                    **route.options,
                )
                if response.status == PROXY_AUTHENTICATION_REQUIRED and route.by is not None:
                    raise refused(request.url, route.by, status=response.status)
                begun, content = time.perf_counter(), response.content
                # Most answers are in one piece with their heads: such a body is here, and nothing is awaited.
                whole = content.is_eof() and content.total_bytes <= self._cap
                body = SecretBytes(content.read_nowait()) if whole else await _read(content, self._cap)
                seconds = time.perf_counter() - begun
                return HttpResponse(response.status, response.headers, body, (current.get() or use).reused, seconds)
        except (aiohttp.ClientError, OSError, RuntimeError, STSError, TypeError, ValueError) as error:
            failure = self._failure(error, request, part, current.get() or use, by=route and route.by)
        finally:
            if response is not None and not response.closed:  # else its connection is back in the pool
                response.close()
            part.slots.release()
        try:
            raise failure  # outside of the handler: frames and messages of aiohttp can quote the request
        finally:
            del failure  # else this frame and the error keep each other

    def _failure(
        self, error: Exception, request: HttpRequest, part: _LoopConnections, use: Use, *, by: Proxy | None
    ) -> STSError:
        """Return the library's error for *error*, with the state of the connection."""
        failure = failure_of(error, request, part.session, by=by)
        if self._closed and isinstance(error, TimeoutError):
            return ClientClosedError()
        if isinstance(failure, ClientClosedError) and part.owned and not self._closed:  # by `leave`
            return ConnectionLost(f"the event loop's connections to {place(request.url, by)} were closed")
        if isinstance(failure, ConnectionLost):
            failure.stale = bool(use.reused) and not use.answered
        elif isinstance(failure, AttemptTimeout) and use.reused is None and part.owned:
            return ConnectTimeout(f"no connection to {place(request.url, by)} in time")
        return failure

    async def _learn_route(self, url: str) -> _Route:
        """Choose how to reach *url*, and remember it."""
        route = self._new_route(url)
        if self._trust is not None and route.has_tls:
            route.options["ssl"] = await self._trust.load()
        self._keep(url, route)
        return route

    def _new_route(self, url: str) -> _Route:
        by, proxy = None, None
        tunnel_headers: Mapping[str, str] | None = None
        headers: Mapping[str, str] | None = None
        options: dict[str, Any] = {"allow_redirects": False, "ssl": True}  # True for what the session says
        if self._session is not None:  # what our own sessions have by default
            headers = self._headers
            proxy = DIRECTLY if bypasses_proxy(urlsplit(url).hostname or "") else None
            options |= {"raise_for_status": False, "auto_decompress": False, "timeout": self._timeout}
        elif (by := self._proxies.for_url(url)) is not None:
            proxy = yarl.URL(by.url)
            if by.authorization is not None:  # headers of a request with TLS go to the service, through the tunnel
                authorization = {"Proxy-Authorization": by.authorization}
                if url.startswith("https:"):
                    tunnel_headers = authorization
                else:
                    headers = authorization
        options |= {"proxy": proxy, "proxy_headers": tunnel_headers}
        return _Route(yarl.URL(url, encoded=True), by, headers, options)

    def _keep(self, url: str, route: _Route) -> None:
        """Cache the route of a URL. A URL with a query is not cached, because it is hardly used again."""
        if "?" not in url:
            if len(self._routes) >= MAX_ROUTES:
                self._routes.clear()
            self._routes[url] = route

    async def _open(self) -> _LoopConnections:
        """Make the connections of the current event loop at first use, and drop those of closed event loops."""
        self._check_open()
        loop = asyncio.get_running_loop()
        if self._session is None:
            session, owned, connections = self._new_session(), True, self._max_connections
        elif self._session._loop is not loop:  # aiohttp's own `loop` is deprecated
            raise ConfigurationError("the session that was given belongs to another event loop: give none, or one each")
        else:
            limit = self._session.connector.limit if self._session.connector else 0
            session, owned, connections = self._session, False, limit or self._max_connections
        part = _LoopConnections(self._parts, session, owned=owned, connections=connections, seconds=self._read_timeout)
        forks.isolate_loop_after_fork(loop)
        self._parts[loop] = part  # before any await, so that the next caller finds it
        if part.owned:
            part.guard = await close_at_loop_end(part)
        if self._closed:  # another thread has closed the transport
            await part.leave()
        self._check_open()
        for ended in [other for other in list(self._parts) if other.is_closed()]:
            if gone := self._parts.pop(ended, None):
                gone.abandon()
        return part

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=Connector(resolver=Resolver(self._read_timeout * LOOK_UP_SHARE), **self._connecting),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=self._timeout,
            request_class=request_class(),
        )

    def reset_after_fork(self) -> None:
        """
        Drop all connections in a forked child: they belong to the parent, and so does their event loop.

        No connection is closed, because closing it here would also take it from the parent's event loop.
        """
        for part in self._parts.values():
            part.abandon(shutdown_sockets=False)
        self._parts.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError

    async def aclose(self, *, grace: float = CLOSE_GRACE) -> None:
        """
        Close the transport's own connections, in all event loops, within *grace* seconds. Closing again does nothing.

        Running requests end with `ClientClosedError`.
        """
        self._closed = True
        here = self._parts.get(asyncio.get_running_loop())
        elsewhere = {}
        for loop, part in list(self._parts.items()):
            if part is here:
                continue
            if closing := part.begin_to_close():
                elsewhere[closing] = loop
            elif gone := self._parts.pop(loop, None):
                gone.abandon()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                if here is not None:
                    await here.close()
                    self._parts.pop(
                        here.deadlines.loop, None
                    )  # only now, because closing can be cancelled and started again
                if elsewhere:
                    await asyncio.wait(elsewhere)
        if here is not None:
            here.release()  # a session that does not end in time is abandoned
        for closing, loop in elsewhere.items():
            if closing.done():
                self._parts.pop(loop, None)


def _unclosed(parts: _Parts, owner: Owner) -> None:
    """
    Warn about a client that was not closed before it was garbage-collected, and close its connections.

    This runs when the transport is collected, in any thread, and at the end of the program.
    """
    if not any(part.owned and not part.session.closed for part in list(parts.values())):
        return
    text = (
        f"unclosed {owner.name}, made at {owner.file}:{owner.line}: "
        "use `async with STSClient(...) as sts`, or await sts.aclose()"
    )
    warnings.warn_explicit(text, ResourceWarning, owner.file, owner.line)
    log.warning("%s", text)
    for part in list(parts.values()):
        if part.begin_to_close() is None:
            part.abandon()
    parts.clear()


_INHERITED: list[object] = []
"""Connections of the parent process, kept in a forked child because garbage collection would close them."""


async def _read(content: aiohttp.StreamReader, cap: int) -> SecretBytes:
    parts: list[SecretBytes] = []  # joined once, so that no copies of a growing body fill the heap
    size = 0
    try:
        while not content.at_eof():
            parts.append(SecretBytes(await content.readany()))
            size += len(parts[-1])
            if size > cap:
                raise ResponseTooLarge(f"the response body exceeds {cap} bytes")
        return parts[0] if len(parts) == 1 else SecretBytes(b"".join(parts))
    finally:
        parts = []  # a traceback must not show part of a response
