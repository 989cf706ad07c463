"""
The life of a client, which its views share: what it was made of, how it starts, and how it is closed.

What starts it is the client's own work, and no caller's: see `_context`. Nothing here sends a request.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import aiohttp

from ._assembly import endpoint_of, engine_of, transport_of
from ._clock import SystemClock
from ._core.endpoints import Endpoint, check_region
from ._engine import Engine
from ._flight import Flights, Tasks, again
from ._limits import CLOSE_GRACE, START_SECONDS, TASKS_GRACE, TimeLimits
from ._seams import Clock, CredentialsProvider, RetryPolicy
from ._transport import AiohttpTransport, Owner
from .config import Config, Surroundings
from .errors import ClientClosedError, ConfigurationError, DeadlineExceeded
from .events import Observer


class Lifecycle:
    """
    What a client and its views are made of.

    Args:
        config: The options that were given in code.
        credentials: The provider that was given; None for the default chain.
        retries: The retry policy that was given; None for that of the options.
        observers: Functions that are told what happens.
        session: The user's aiohttp session; None for one of our own.
        clock: What tells the time; None for the clocks of this host.

    Attributes:
        surroundings: The options, with environment and shared files.
        session: As it was given.
        engine: What calls STS; None before the start and after the end.
        endpoint: Where requests go, as far as that is known.
        resolved: The options with none missing; None before the start.
        transport: What sends requests; None before the start.
        closed: Whether the client is closed.
        made_at: File and line of the program that made the client.

    Raises:
        ConfigurationError: An option that was given cannot be what it is.
    """

    def __init__(
        self,
        config: Config,
        *,
        credentials: CredentialsProvider | None,
        retries: RetryPolicy | None,
        observers: Sequence[Observer],
        session: aiohttp.ClientSession | None,
        clock: Clock | None,
    ) -> None:
        self.endpoint: Endpoint | None = None
        if config.endpoint_url is not None:
            self.endpoint = endpoint_of(config)  # what is wrong with what is given here is said here
        elif config.region is not None:
            check_region(config.region)
        self.surroundings = Surroundings(config)
        self.session = session
        self.engine: Engine | None = None
        self.resolved: Config | None = None
        self.transport: AiohttpTransport | None = None
        self.closed = False
        self.made_at = _place_of_caller()
        self._credentials = credentials
        self._retries = retries
        self._observers = observers
        self._clock = SystemClock() if clock is None else clock
        self._defaults: dict[str, CredentialsProvider] = {}
        self._tasks = Tasks()
        self._time_limits = TimeLimits()
        self._starting: Flights[Engine] = Flights()
        self._started: dict[str, tuple[AiohttpTransport, Engine]] = {}

    @property
    def where(self) -> str:
        """What messages say of where the client calls."""
        config = self.surroundings.config
        endpoint = self.endpoint
        url, region = config.endpoint_url, config.region
        if endpoint is not None:
            url, region = endpoint.url, endpoint.signing_region
        return f"{'' if url is None else f'{url!r}, '}region={region!r}"

    async def ready(self) -> Engine:
        """Return the engine, which is made when it is first needed, from files: the client's own work."""
        return self.engine or await self._starting.get(self._tasks, self._start, seconds=START_SECONDS)

    async def ready_within(self, deadline: float | None) -> tuple[Engine, float]:
        """Return the engine and how many seconds that took, for a caller that waits no more than *deadline* seconds."""
        if self.engine is not None or deadline is None:
            return await self.ready(), 0.0
        began = self._clock.monotonic()
        limit = self._time_limits.start(deadline)
        try:
            with limit:
                engine = await self.ready()
        except TimeoutError:
            if not limit.expired:
                raise
            raise ClientClosedError() if self.closed else _not_started(deadline) from None
        return engine, self._clock.monotonic() - began

    async def _start(self) -> Engine:
        config = await self.surroundings.resolve()
        endpoint, no_endpoint = None, None
        try:
            endpoint = self.endpoint = endpoint_of(config, session=self.session)
        except ConfigurationError as error:  # raised when a call needs it
            no_endpoint = again(error)
        owner = Owner(f"STSClient({self.where})", *self.made_at)
        plain = endpoint is not None and endpoint.url.startswith("http:")
        transport = await transport_of(config, session=self.session, owner=owner, plain=plain)
        credentials = self._credentials
        if credentials is None:
            credentials = await asyncio.to_thread(self._default_chain)
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
            clock=self._clock,
        )
        # Another thread's event loop may have been quicker. No lock: one that is held at a fork stays so in the child.
        self.transport, engine = self._started.setdefault("parts", (transport, engine))
        self.resolved = config
        if self.closed:
            raise ClientClosedError
        self.engine = engine
        return engine

    def _default_chain(self) -> CredentialsProvider:
        """Return what finds credentials when none are given; called in a thread, because importing it reads files."""
        from .credentials.default import DefaultChain

        return self._defaults.setdefault("chain", DefaultChain(surroundings=self.surroundings))

    async def aclose(self) -> None:
        """End the calls under way with `ClientClosedError`, and close the connections, in at most 5 s."""
        if asyncio._get_running_loop() is None:
            return  # in a child that was forked inside a coroutine: all that is open belongs to its parent
        engine, self.closed, self.engine = self.engine, True, None
        if engine is not None:
            engine.close()
        else:
            self._time_limits.close_all()
        ends = asyncio.get_running_loop().time() + CLOSE_GRACE
        await self._tasks.aclose(grace=TASKS_GRACE)  # first: what has begun to renew a login may still send it
        if self.transport is not None:
            await self.transport.aclose(grace=ends - asyncio.get_running_loop().time())


def _place_of_caller() -> tuple[str, int]:
    """Return file and line of the first frame that is not of this package."""
    package = __name__.partition(".")[0]
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _not_started(deadline: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the client did not start within {deadline:g} s: it is still reading its configuration files"
    )
