"""
The wire: aiohttp, with the defaults that a client of signed requests needs. Its exceptions become ours in `errors`.

No redirect is followed, no cookie kept, no body decompressed; nothing is read from netrc or the environment; bodies
are read up to a cap. Sessions are made at first use, one for each event loop, and anew in a process that was forked.
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
    "accept": "text/xml",  # some servers answer JSON to whoever accepts all
    "accept-encoding": "identity",
    "user-agent": USER_AGENT,
}
DIRECTLY = yarl.URL()  # for aiohttp no proxy at all, whatever its session says
PROXY_AUTHENTICATION_REQUIRED = 407
MAX_ROUTES = 1000  # that are kept, as many as aiohttp keeps addresses of hosts
LOOK_UP_SHARE = 0.9  # of the seconds for an attempt, so that what was not looked up is told from what was not answered


class Owner(NamedTuple):
    """
    The client that a transport belongs to, for the warning that it was not closed.

    Attributes:
        name: What the warning calls it.
        file: The file of the program that made it.
        line: The line there.
    """

    name: str
    file: str
    line: int


class _Route(NamedTuple):
    """
    How the requests for one URL go.

    Attributes:
        url: As it is sent.
        by: The proxy, or None.
        headers: To be sent with each request, or None.
        options: What aiohttp's session is told about each request.
    """

    url: yarl.URL
    by: Proxy | None
    headers: Mapping[str, str] | None
    options: dict[str, Any]

    @property
    def has_tls(self) -> bool:
        """Whether the service is reached by TLS, or the proxy is."""
        proxy = self.options["proxy"]
        return self.url.scheme == "https" or (proxy is not None and proxy.scheme == "https")


class Trust(Protocol):
    """Knows how a TLS peer must prove itself."""

    async def load(self) -> ssl.SSLContext:
        """Return it, or raise a `ConfigurationError`."""
        ...


class _LoopPart:
    """What belongs to one event loop: a session, and a gate that lets callers in as they came."""

    __slots__ = ("__weakref__", "_others", "_parts", "deadlines", "gate", "guard", "owned", "session")

    def __init__(
        self, parts: "_Parts", session: aiohttp.ClientSession, *, owned: bool, connections: int, seconds: float
    ) -> None:
        self._parts = parts
        self.guard: Guard | None = None
        self.deadlines = Deadlines(seconds)
        self._others = TimeLimits()
        self.session = session
        self.owned = owned
        # aiohttp's connector starves queued callers; with as many admitted as it has connections, none queues there.
        self.gate = FifoSemaphore(connections)

    def deadline(self, seconds: float) -> Deadline | NoDeadline:
        """Return the deadline of an attempt that begins now, and has other seconds than the usual ones."""
        return self._others.start(seconds)

    async def close(self) -> None:
        self.deadlines.close()
        self._others.close(self.deadlines.loop)
        if self.owned:
            await self.session.close()
        self.release()

    async def leave(self) -> None:
        """Close while the transport stays open: the next request in this event loop opens another part."""
        self._parts.pop(self.deadlines.loop, None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_GRACE):
                await self.close()

    def release(self) -> None:
        """Have the end of the event loop close nothing here."""
        guard, self.guard = self.guard, None
        if guard is not None:
            guard.release(self)

    def begin_to_close(self) -> "asyncio.Future[None] | None":
        """Close from another event loop: return what is done then, or None when this one does not run."""
        closing = self.close()
        if self.deadlines.loop.is_running():
            with contextlib.suppress(RuntimeError):  # it has just ended
                return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(closing, self.deadlines.loop))
        closing.close()
        return None

    def abandon(self, *, shutdown_sockets: bool = True) -> None:
        """Let go of a session whose event loop does not run."""
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


_Parts = dict[asyncio.AbstractEventLoop, _LoopPart]


class AiohttpTransport(Unpicklable):
    """
    Send requests over aiohttp.

    Args:
        session: A session to use instead of one of our own, in its own event loop only; it is never closed here. Its
            cookie jar, default headers, `trust_env` and connector stay as they are, and its proxies, too, but for this
            host, its link and the metadata services. Of *trust* and what follows, only the User-Agent reaches it.
        max_connections: Greatest number of connections, and of requests under way.
        connect_timeout: Seconds for a new connection to an address, TLS included, the look-up of addresses not.
        attempt_timeout: Seconds for a whole attempt, connection included, the wait for one's turn not.
        max_response_bytes: Cap for the body of an answer.
        trust: Returns how a TLS peer must prove itself, and is asked before the first connection with TLS; None for
            aiohttp's default, the system's authorities.
        app_id: Name of the application, for the User-Agent header.
        user_agent_suffix: What that ends with.
        proxies: The proxies; None for none.
        keepalive_timeout: Seconds for which a connection that nobody uses is kept.
        tcp_keepalive: Whether the system probes connections that nobody uses.
        local_address: Address of this host that connections begin at; None for the system's choice.
        dns_cache_ttl: Seconds for which the addresses of a host are kept.
        owner: The client, for the warning that it was not closed; None for no such warning.
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
            "limit": 0,  # the gate is the limit
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
        if not part.gate.try_acquire():
            await part.gate.wait()
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
                return HttpResponse(response.status, response.headers, body, (current.get() or use).again, seconds)
        except (aiohttp.ClientError, OSError, RuntimeError, STSError, ValueError) as error:
            failure = self._failure(error, request, part, current.get() or use, by=route and route.by)
        finally:
            if response is not None and not response.closed:  # else its connection is back in the pool
                response.close()
            part.gate.release()
        try:
            raise failure  # outside: aiohttp's frames and messages can quote what was sent
        finally:
            del failure  # else this frame and the error keep each other

    def _failure(
        self, error: Exception, request: HttpRequest, part: _LoopPart, use: Use, *, by: Proxy | None
    ) -> STSError:
        """Return our error for *error*, with what is known of the connection."""
        failure = failure_of(error, request, part.session, by=by)
        if self._closed and isinstance(error, TimeoutError):
            return ClientClosedError()
        if isinstance(failure, ClientClosedError) and part.owned and not self._closed:  # by `leave`
            return ConnectionLost(f"the event loop's connections to {place(request.url, by)} were closed")
        if isinstance(failure, ConnectionLost):
            failure.stale = bool(use.again) and not use.answered
        elif isinstance(failure, AttemptTimeout) and use.again is None and part.owned:
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
        """Keep how to reach a URL, unless it has a query: such a URL is hardly used again."""
        if "?" not in url:
            if len(self._routes) >= MAX_ROUTES:
                self._routes.clear()
            self._routes[url] = route

    async def _open(self) -> _LoopPart:
        """Make, at first use in a loop, what belongs to it, and let go of what belonged to loops that have ended."""
        self._check_open()
        loop = asyncio.get_running_loop()
        if self._session is None:
            session, owned, connections = self._new_session(), True, self._max_connections
        elif self._session._loop is not loop:  # aiohttp's own `loop` is deprecated
            raise ConfigurationError("the session that was given belongs to another event loop: give none, or one each")
        else:
            limit = self._session.connector.limit if self._session.connector else 0
            session, owned, connections = self._session, False, limit or self._max_connections
        part = _LoopPart(self._parts, session, owned=owned, connections=connections, seconds=self._read_timeout)
        forks.isolate_loop_after_fork(loop)
        self._parts[loop] = part  # before any await: whoever comes next finds it
        if part.owned:
            part.guard = await close_at_loop_end(part)
        if self._closed:  # meanwhile, in another thread
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
        Forget all connections, in a process that was forked: they are its parent's, and so is what watches over them.

        Nothing is closed, because closing one here would take it from the parent's event loop, too.
        """
        for part in self._parts.values():
            part.abandon(shutdown_sockets=False)
        self._parts.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError

    async def aclose(self, *, grace: float = CLOSE_GRACE) -> None:
        """
        Close the connections that are ours, in all event loops, in at most *grace* seconds. Closing again does nothing.

        Requests under way end with `ClientClosedError`.
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
                    self._parts.pop(here.deadlines.loop, None)  # not before: closing can be cancelled, and begun again
                if elsewhere:
                    await asyncio.wait(elsewhere)
        if here is not None:
            here.release()  # a session that does not end is left behind
        for closing, loop in elsewhere.items():
            if closing.done():
                self._parts.pop(loop, None)


def _unclosed(parts: _Parts, owner: Owner) -> None:
    """
    Warn that a client has gone that was not closed, and close its connections.

    This is called when the transport has gone, in any thread, and at the end of the program.
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
"""Connections of the process that this one was forked from: kept, because they would be closed when they are let go."""


async def _read(content: aiohttp.StreamReader, cap: int) -> SecretBytes:
    parts: list[SecretBytes] = []  # joined once: a body that grows leaves its former selves all over the heap
    size = 0
    try:
        while not content.at_eof():
            parts.append(SecretBytes(await content.readany()))
            size += len(parts[-1])
            if size > cap:
                raise ResponseTooLarge(f"the answer is larger than {cap} bytes")
        return parts[0] if len(parts) == 1 else SecretBytes(b"".join(parts))
    finally:
        parts = []  # no traceback shows part of an answer
