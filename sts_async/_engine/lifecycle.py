"""
The life of a client, which its views share: its parts, its start and its end.

The start is shared work of the client, not of the call that triggers it: see `_engine.context`. Nothing here sends a
request.
"""

import asyncio
import sys
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from .._http.transport import AiohttpTransport, Owner
from .._protocol.endpoints import Endpoint, check_region
from .._runtime.clock import SystemClock
from .._runtime.defaults import CLOSE_GRACE, START_SECONDS, TASKS_GRACE
from .._runtime.outcome import copy_without_traceback
from .._runtime.single_flight import BackgroundTasks, SingleFlight
from .._runtime.threads import NoThread, reading
from .._runtime.timeouts import TimeLimits
from ..config import OPTIONS, Config, SettingsSources
from ..errors import ClientClosedError, ConfigurationError, DeadlineExceeded
from ..events import Observer
from ..protocols import Clock, CredentialsProvider, RetryPolicy, Transport
from .build import endpoint_of, engine_of, transport_of
from .client_state import ClientState
from .given_transport import GivenTransport, check_given, warn_of_unused
from .loop import Engine

AnyTransport = AiohttpTransport | GivenTransport

LOOK_AGAIN = 10.0  # s between two attempts to read files that could not be read
DROP_EVERY = 5.0  # s between two checks whether the calls of a replaced engine have ended


class Lifecycle:
    """
    The parts of a client and its views, and their life.

    Args:
        config: The options that were given in code.
        credentials: The provider that was given; None for the default chain.
        retries: The retry policy that was given; None for the one that the options name.
        observers: Functions that receive events.
        session: The program's aiohttp session; None for a new one.
        transport: The program's transport; None for aiohttp.
        clock: The clock; None for the clocks of this host.
        environ: The environment to read options from; None for the environment of the process.

    Attributes:
        settings_sources: The options given in code, the environment and the shared files.
        session: The program's aiohttp session, or None.
        given_transport: The program's transport, or None.
        engine: The engine. None before the start, after the end, and while unreadable files may contain other settings.
        current: The engine to use in the meantime, or *engine*.
        endpoint: The endpoint, if it is known.
        resolved: The resolved options; None before the start.
        transport: The transport; None before the start.
        clock: The clock of the client.
        closed: Whether the client is closed.
        made_at: File and line of the program that made the client.

    Raises:
        ConfigurationError: An option that was given is invalid.
    """

    def __init__(
        self,
        config: Config,
        *,
        credentials: CredentialsProvider | None,
        retries: RetryPolicy | None,
        observers: Sequence[Observer],
        session: aiohttp.ClientSession | None,
        transport: Transport | None = None,
        clock: Clock | None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        check_given(config, session=session, transport=transport)
        self.endpoint: Endpoint | None = None
        if config.endpoint_url is not None:
            self.endpoint = endpoint_of(config)  # so that an invalid option is reported where it is given
        elif config.region is not None:
            check_region(config.region)
        self.settings_sources = SettingsSources(config, environ)
        self.session = session
        self.given_transport = transport
        self.engine: Engine | None = None
        self.current: Engine | None = None
        self.resolved: Config | None = None
        self.transport: AnyTransport | None = None
        self.closed = False
        self.made_at = _place_of_caller()
        self._credentials = credentials
        self._retries = retries
        self._observers = observers
        self.clock = SystemClock() if clock is None else clock
        self._defaults: dict[str, CredentialsProvider] = {}
        self._tasks = BackgroundTasks()
        self._time_limits = TimeLimits()
        self._starting: SingleFlight[Engine] = SingleFlight()
        self._started: dict[str, tuple[AnyTransport, Engine]] = {}
        self._incomplete: tuple[Config, tuple[str, ...], Engine] | None = None
        self._look_again_at = 0.0
        self._warned = False  # whether the warning about options without effect was logged
        # Transports of replaced engines. Running calls keep the state alive that the weak reference points to.
        self._former: list[tuple[AnyTransport, weakref.ref[ClientState]]] = []

    @property
    def where(self) -> str:
        """The endpoint URL and the region, for messages."""
        config = self.settings_sources.config
        endpoint = self.endpoint
        url, region = config.endpoint_url, config.region
        if endpoint is not None:
            url, region = endpoint.url, endpoint.signing_region
        return f"{'' if url is None else f'{url!r}, '}region={region!r}"

    async def ready(self) -> Engine:
        """Return the engine. The first caller starts it, which reads files."""
        engine = self.engine or self.current
        if engine is None:
            return await self._starting.get(self._tasks, self._start, seconds=START_SECONDS)
        if self.engine is None and self.clock.monotonic() >= self._look_again_at:
            self._look_again_at = self.clock.monotonic() + LOOK_AGAIN
            self._starting.join(self._tasks, self._look_again, seconds=START_SECONDS)
        return engine

    async def _look_again(self) -> Engine:
        """Start again, in case the files contain other settings now."""
        try:
            return await self._start()
        except ConfigurationError as error:
            if not error.recoverable:
                self.current = None  # the next call starts again, and raises the error
            raise

    async def ready_within(self, deadline: float | None) -> tuple[Engine, float]:
        """Return the engine and the seconds that this took. A caller waits at most *deadline* seconds."""
        if self.engine is not None or deadline is None:
            return await self.ready(), 0.0
        began = self.clock.monotonic()
        limit = self._time_limits.start(deadline)
        try:
            with limit:
                engine = await self.ready()
        except TimeoutError:
            if not limit.expired:
                raise
            raise ClientClosedError() if self.closed else _not_started(deadline) from None
        return engine, self.clock.monotonic() - began

    async def _start(self) -> Engine:
        """
        Make the engine.

        Files that cannot be read may contain the credentials and the endpoint of the client. A hanging file system may
        recover, and an invalid file may be corrected. So the client starts again later: with every call if it has no
        endpoint, otherwise in the background, with a call at least 10 s later.
        """
        replaced: Engine | None = None
        config = await self.settings_sources.resolve()
        self._look_again_at = self.clock.monotonic() + LOOK_AGAIN
        if self._incomplete is not None:
            former, doubts, engine = self._incomplete
            if (former, doubts) == (config, config.doubts):
                return engine
            faulty = former.fault(*OPTIONS) or config.fault(*OPTIONS) or config.doubts
            if former == config and config.region is not None and not faulty:
                self._incomplete, self.engine, self.current = (
                    None,
                    engine,
                    engine,
                )  # the files contain the same settings
                return engine
            replaced = engine
        endpoint, no_endpoint = None, None
        try:
            endpoint = self.endpoint = endpoint_of(config, session=self.session)
        except ConfigurationError as error:  # raised when a call needs it
            no_endpoint = copy_without_traceback(error)
        transport = self._transport_of(config)
        credentials = self._credentials
        if credentials is None:
            try:
                credentials = await reading(self._default_chain)
            except NoThread:
                credentials = self._default_chain()  # if no thread can be started, this blocks the event loop once
        engine = engine_of(
            config,
            endpoint=endpoint,
            no_endpoint=no_endpoint,
            transport=transport,
            credentials=credentials,
            retries=self._retries,
            tasks=self._tasks,
            default_credentials=self._default_chain,
            observers=self._observers,
            time_limits=self._time_limits,
            clock=self.clock,
            given=self.settings_sources.config,
        )
        before = self._started.get("parts")
        if before is not None and before[1] is replaced:
            self._retire(*self._started.pop("parts"))
        # An event loop in another thread may have been faster. A lock could stay locked in a forked child.
        self.transport, engine = self._started.setdefault("parts", (transport, engine))
        self.resolved = config
        if self.closed:
            raise ClientClosedError
        if config.doubts:
            self._incomplete = (config, config.doubts, engine)
            self.current = None if endpoint is None or endpoint.no_region is not None else engine
        else:
            self._incomplete, self.engine, self.current = None, engine, engine
        return engine

    def _transport_of(self, config: Config) -> AnyTransport:
        if not self._warned:
            self._warned = True
            warn_of_unused(config, session=self.session, transport=self.given_transport)
        if self.given_transport is not None:
            return GivenTransport(self.given_transport, max_response_bytes=config.max_response_bytes)
        owner = Owner(f"STSClient({self.where})", *self.made_at)
        return transport_of(config, session=self.session, owner=owner)

    def _retire(self, transport: AnyTransport, engine: Engine) -> None:
        """Close the transport of a replaced engine after its last call."""
        entry = (transport, weakref.ref(engine.context.shared))
        self._former.append(entry)
        self._tasks.spawn(self._drop(entry))

    async def _drop(self, entry: tuple[AnyTransport, weakref.ref[ClientState]]) -> None:
        transport, users = entry
        while users() is not None:  # noqa: ASYNC110 - garbage collection sets no event: it may be in any thread
            await asyncio.sleep(DROP_EVERY)
        await transport.aclose()
        self._former.remove(entry)

    def _default_chain(self) -> CredentialsProvider:
        """Return the default chain. Called in a thread, because importing it reads files."""
        from ..credentials.default import DefaultChain

        return self._defaults.setdefault("chain", DefaultChain(settings_sources=self.settings_sources))

    async def aclose(self) -> None:
        """End running calls with `ClientClosedError`, and close the connections, within 5 s."""
        if asyncio._get_running_loop() is None:
            return  # in a child that was forked inside a coroutine: all connections belong to its parent
        last = self._started.get("parts")
        self.closed, self.engine, self.current, self._incomplete = True, None, None, None
        for shared in filter(None, [users() for _, users in self._former]):
            shared.closed = True
        if last is not None:
            last[1].close()
        else:
            self._time_limits.close_all()
        ends = asyncio.get_running_loop().time() + CLOSE_GRACE
        await self._tasks.aclose(grace=TASKS_GRACE)  # first: a started refresh of a login may still send its request
        transports = [one for one, _ in self._former]
        for transport in transports if self.transport is None else [*transports, self.transport]:
            await transport.aclose(grace=ends - asyncio.get_running_loop().time())


def _place_of_caller() -> tuple[str, int]:
    """Return the file and line of the first caller outside this package."""
    package = __name__.partition(".")[0]
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _not_started(deadline: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the client did not start within {deadline:g} s: it is still reading its configuration files"
    )
