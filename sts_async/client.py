"""The client: what it is made of, how it is closed, and `send`. Its twelve coroutines are in `calls`."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from inspect import iscoroutinefunction
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self, TypeVar

import aiohttp
import attrs

from . import shapes as s
from ._assembly import endpoint_of, engine_of, transport_of
from ._clock import SystemClock
from ._core.endpoints import Endpoint, check_region
from ._core.headers import checked_headers, cover_headers
from ._core.options import HANDLERS, SECONDS, as_tuple
from ._core.secret import Unpicklable, conceal_login, without_data
from ._engine import Engine
from ._flight import Flights, Tasks
from ._limits import CLOSE_GRACE, START_SECONDS, TASKS_GRACE, TimeLimits
from ._seams import Clock, CredentialsProvider, RetryPolicy
from .calls import Calls
from .config import Config, Surroundings
from .credentials.source import Source, provider_of
from .errors import ClientClosedError, ConfigurationError, DeadlineExceeded
from .events import Observer
from .handlers import RequestHandler
from .operations import BY_REQUEST, Operation
from .sigv4 import PresignedUrl

if TYPE_CHECKING:
    from ._transport import AiohttpTransport

R = TypeVar("R", bound=s.Response)


class STSClient(Unpicklable, Calls):
    """
    A client of the AWS Security Token Service.

        async with STSClient(region="eu-west-1") as sts:
            response = await sts.assume_role(role_arn="arn:aws:iam::123456789012:role/demo", role_session_name="me")

    Make one and share it: it holds a pool of connections, and any number of tasks can call it at once. Making one
    does no I/O; ``async with``, or the first call, reads the shared config files. Without ``async with``, call `aclose`
    at the end.

    Args:
        region: AWS region. Short for `Config.region`.
        credentials: What signs: `Credentials`, a provider (see `credentials`), any object with a coroutine
            ``provide_credentials(lender)``, or a coroutine function without arguments that returns `Credentials`. None
            finds what every AWS SDK finds on this machine: see `DefaultChain`.
        profile: Profile of the shared files. Short for `Config.profile`.
        endpoint_url: Short for `Config.endpoint_url`.
        config: All other options.
        retries: Decides about retries; None retries what can succeed later, up to `Config.max_attempts`.
        observers: Functions that are told what happens: see `events`. They must not block.
        session: An aiohttp session to use in place of one of our own. It is never closed here.
        clock: An object with the methods of `testing.VirtualClock`: `time` and `monotonic`, which return seconds, and
            the coroutine `sleep`. For tests; None for the clocks of this host.

    Raises:
        ConfigurationError: An option is not what it must be. What only shows together with environment and profile,
            such as a region that is nowhere to be found, is raised by ``async with`` or the first call.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        credentials: Source | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        config: Config | None = None,
        retries: RetryPolicy | None = None,
        observers: Sequence[Observer] = (),
        session: aiohttp.ClientSession | None = None,
        clock: Clock | None = None,
    ) -> None:
        credentials, endpoint_url = without_data(credentials), conceal_login(endpoint_url)
        _expect(config, Config, "config")
        _expect(session, aiohttp.ClientSession, "session")
        if retries is not None:
            _expect_policy(retries)
        if clock is not None:
            _expect_clock(clock)
        options: dict[str, Any] = {"region": region, "profile": profile, "endpoint_url": endpoint_url}
        given = {name: value for name, value in options.items() if value is not None}
        config = attrs.evolve(config or Config(), **given)
        self._endpoint: Endpoint | None = None
        if config.endpoint_url is not None:
            self._endpoint = endpoint_of(config)  # what is wrong with what is given here is said here
        elif config.region is not None:
            check_region(config.region)
        self._surroundings = Surroundings(config)
        self._defaults: dict[str, CredentialsProvider] = {}
        self._credentials = None if credentials is None else provider_of(credentials)
        self._retries = retries
        self._observers = _checked_observers(observers)
        self._session = session
        self._clock = SystemClock() if clock is None else clock
        self._tasks = Tasks()
        self._time_limits = TimeLimits()
        self._starting: Flights[Engine] = Flights()
        self._started: dict[str, tuple[AiohttpTransport, Endpoint, Engine]] = {}
        self._transport: AiohttpTransport | None = None
        self._resolved: Config | None = None
        self._engine: Engine | None = None
        self._closed = False

    @property
    def region(self) -> str | None:
        """
        The region that requests are signed for; None for an endpoint that was given without one.

        Before ``async with`` or the first call it is known only when it was given in code.
        """
        endpoint = self._endpoint
        return self._surroundings.config.region if endpoint is None else endpoint.signing_region

    @property
    def endpoint_url(self) -> str | None:
        """The URL that requests are sent to; before ``async with`` or the first call as it was given in code."""
        return self._surroundings.config.endpoint_url if self._endpoint is None else self._endpoint.url

    async def _ready(self) -> Engine:
        """Return the engine, which is made when it is first needed, from files: the client's own work."""
        return self._engine or await self._starting.get(self._tasks, self._start, seconds=START_SECONDS)

    async def _ready_within(self, deadline: float | None) -> tuple[Engine, float]:
        """Return the engine and how many seconds that took, for a caller that waits no more than *deadline* seconds."""
        if self._engine is not None or deadline is None:
            return await self._ready(), 0.0
        began = self._clock.monotonic()
        limit = self._time_limits.start(deadline)
        try:
            with limit:
                engine = await self._ready()
        except TimeoutError:
            if not limit.expired:
                raise
            raise ClientClosedError() if self._closed else _not_started(deadline) from None
        return engine, self._clock.monotonic() - began

    async def _start(self) -> Engine:
        config = self._resolved = await self._surroundings.resolve()
        endpoint = endpoint_of(config, session=self._session)
        transport = await transport_of(config, session=self._session)
        credentials = self._credentials
        if credentials is None:
            credentials = await asyncio.to_thread(self._default_chain)
        engine = engine_of(
            config,
            endpoint=endpoint,
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
        self._transport, self._endpoint, engine = self._started.setdefault("parts", (transport, endpoint, engine))
        if self._closed:
            raise ClientClosedError
        self._engine = engine
        return engine

    def _default_chain(self) -> CredentialsProvider:
        """Return what finds credentials when none are given; called in a thread, because importing it reads files."""
        from .credentials.default import DefaultChain

        return self._defaults.setdefault("chain", DefaultChain(surroundings=self._surroundings))

    async def aclose(self) -> None:
        """
        End the calls under way with `ClientClosedError`, and close the connections, in at most 5 s.

        Later calls raise it, too; closing again does nothing.
        """
        if asyncio._get_running_loop() is None:
            return  # in a child that was forked inside a coroutine: all that is open belongs to its parent
        engine, self._closed, self._engine = self._engine, True, None
        if engine is not None:
            engine.close()
        else:
            self._time_limits.close_all()
        ends = asyncio.get_running_loop().time() + CLOSE_GRACE
        await self._tasks.aclose(grace=TASKS_GRACE)  # first: what has begun to renew a login may still send it
        if self._transport is not None:
            await self._transport.aclose(grace=ends - asyncio.get_running_loop().time())

    def __enter__(self) -> NoReturn:
        raise TypeError("use `async with`: an STSClient is opened and closed in an event loop")

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is no `with`, only `async with`."""

    async def __aenter__(self) -> Self:
        await self._ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        if not hasattr(self, "_engine"):  # in the traceback of an error in the constructor
            return "<STSClient that was not made>"
        where = "" if self.endpoint_url is None else f"{self.endpoint_url!r}, "
        return f"STSClient({where}region={self.region!r})"

    def send(self, request: s.Request[R]) -> Coroutine[Any, Any, R]:
        """
        Send a prepared request, and return the response of its type.

        Raises:
            TypeError: *request* is not a request.
            ConfigurationError: A signed operation, and an endpoint without a region.
            ClientClosedError: The client is closed.
            ParamValidationError: Members break constraints; nothing was sent.
            CredentialsError: There are no credentials, or they cannot be had.
            TransportError: No answer came.
            ResponseParseError: The answer is not one of STS.
            ServiceError: STS refused; see the operation for the modelled errors.
        """
        operation = _operation(request)
        if self._engine is None:
            return self._first(operation, request)
        return self._engine.invoke(operation, request)  # the engine's coroutine, and no frame around it

    async def _first(self, operation: Operation[R], request: s.Request[R]) -> R:
        engine, spent = await self._ready_within(self._surroundings.config.deadline)
        return await engine.invoke(operation, request, spent=spent)

    def with_options(
        self,
        *,
        credentials: Source | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
        retries: RetryPolicy | None = None,
        region: str | None = None,
        observer: Observer | None = None,
        handlers: Sequence[RequestHandler] = (),
    ) -> "STSView":
        """
        Return a view of this client with other options for some calls: cheap, and made for one call if need be.

            await sts.with_options(deadline=2).get_caller_identity()

        It shares connections, limits and metadata with the client, and ends with it.

        Args:
            credentials: What signs, as for the client.
            headers: Added to each request, and signed. Names are words of RFC 9110, values printable ASCII.
            deadline: Seconds for a whole call, its retries included. A wait that does not fit is not begun.
            retries: Decides about retries.
            region: Signed for; without an endpoint of its own, the client's view calls that region's.
            observer: Told what happens, beside those of the client.
            handlers: Take part in each request, after those of the client: see `handlers`.

        Raises:
            ConfigurationError: An option is not what it must be.
        """
        credentials, headers = without_data(credentials), cover_headers(headers)
        if deadline is not None and not SECONDS.accepts(deadline):
            raise ConfigurationError(f"deadline must be {SECONDS.rule}")
        if retries is not None:
            _expect_policy(retries)
        if region is not None:
            check_region(region)
        handlers = as_tuple(handlers)
        if not HANDLERS.accepts(handlers):
            raise ConfigurationError(f"handlers must be {HANDLERS.rule}")
        return STSView(
            self,
            _Options(
                None if credentials is None else provider_of(credentials),
                None if headers is None else checked_headers(headers),
                deadline,
                retries,
                region,
                () if observer is None else _checked_observers([observer]),
                handlers,
            ),
        )

    def _view(self, engine: Engine, options: "_Options") -> Engine:
        changed = {name: value for name, value in options._asdict().items() if value is not None and value != ()}
        if (region := changed.pop("region", None)) is not None and self._resolved is not None:
            changed["endpoint"] = endpoint_of(attrs.evolve(self._resolved, region=region), session=self._session)
        return engine.view(**changed)

    async def get_credentials(self) -> s.Credentials:
        """
        Return the credentials that a call would be signed with now, for `sigv4` or another library.

        Raises:
            CredentialsError: There are none, or they cannot be had.
            DeadlineExceeded: They were not there within the deadline of a call.
            STSError: A source that calls STS failed.
        """
        engine, spent = await self._ready_within(self._surroundings.config.deadline)
        return await engine.get_credentials(spent=spent)

    async def presign(self, request: s.Request[Any], *, expires: int = 60) -> PresignedUrl:
        """
        Return a URL that performs *request* when it is fetched, by whoever fetches it.

        Of a view with headers, it is good for a request with these headers only, as EKS wants it:

            await sts.with_options(headers={"x-k8s-aws-id": cluster}).presign(GetCallerIdentityRequest())

        Args:
            request: A request of a signed operation, with nothing secret in it.
            expires: How long the URL is good for, 1 to 604,800 s. (STS itself takes it for 15 minutes.)

        Raises:
            ConfigurationError: The request is not signed or holds a secret, or *expires* is out of range.
            ParamValidationError: Members break constraints.
            CredentialsError: There are no credentials, or they cannot be had.
        """
        operation = _operation(request)
        engine, spent = await self._ready_within(self._surroundings.config.deadline)
        return await engine.presign(operation, request, expires=expires, spent=spent)

    def get_cached_response_metadata(self, request: s.Request[Any]) -> s.ResponseMetadata | None:
        """Return the metadata of the last response to a request equal to *request*, among the last 50, or None."""
        operation = _operation(request)
        return None if self._engine is None else self._engine.metadata_of(operation, request)


class _Options(NamedTuple):
    """What a view has in place of its client's."""

    credentials: CredentialsProvider | None
    headers: Mapping[str, str] | None
    deadline: float | None
    retries: RetryPolicy | None
    region: str | None
    observers: tuple[Observer, ...]
    handlers: Sequence[RequestHandler]


class STSView(Unpicklable, Calls):
    """A client's operations with other options; see `STSClient.with_options`."""

    __slots__ = ("_client", "_engine", "_options")

    def __init__(self, client: STSClient, options: _Options) -> None:
        self._client = client
        self._options = options
        self._engine: Engine | None = None

    def send(self, request: s.Request[R]) -> Coroutine[Any, Any, R]:
        """Send a prepared request, and return the response of its type; see `STSClient.send`."""
        operation = _operation(request)
        if self._client._engine is None:  # not made yet, or closed
            return self._first(operation, request)
        return self._made(self._client._engine).invoke(operation, request)

    async def _first(self, operation: Operation[R], request: s.Request[R]) -> R:
        engine, spent = await self._ready()
        return await engine.invoke(operation, request, spent=spent)

    async def _ready(self) -> tuple[Engine, float]:
        deadline = self._options.deadline or self._client._surroundings.config.deadline
        engine, spent = await self._client._ready_within(deadline)
        return self._made(engine), spent

    def _made(self, engine: Engine) -> Engine:
        if self._engine is None:
            self._engine = self._client._view(engine, self._options)
        return self._engine

    async def presign(self, request: s.Request[Any], *, expires: int = 60) -> PresignedUrl:
        """Return a URL that performs *request*, with the headers of the view signed: see `STSClient.presign`."""
        operation = _operation(request)
        engine, spent = await self._ready()
        return await engine.presign(operation, request, expires=expires, spent=spent)

    async def get_credentials(self) -> s.Credentials:
        """Return the credentials that a call would be signed with now; see `STSClient.get_credentials`."""
        engine, spent = await self._ready()
        return await engine.get_credentials(spent=spent)

    def __repr__(self) -> str:
        given = ", ".join(name for name, value in self._options._asdict().items() if value)
        return f"<{self._client!r} with other {given or 'options'}>"


def _operation(request: s.Request[R]) -> Operation[R]:
    operation = BY_REQUEST.get(type(request))
    if operation is None:
        raise TypeError(f"expected a request such as AssumeRoleRequest, not a {type(request).__name__}")
    return operation


def _checked_observers(observers: Sequence[Observer]) -> tuple[Observer, ...]:
    if not isinstance(observers, list | tuple) or not all(map(_is_observer, observers)):
        raise ConfigurationError("observers must be a list of functions that take an event, and are not coroutines")
    return tuple(observers)


def _is_observer(value: object) -> bool:
    return callable(value) and not iscoroutinefunction(value) and not iscoroutinefunction(type(value).__call__)


def _expect_policy(retries: object) -> None:
    if isinstance(retries, type) or not hasattr(retries, "after_failure"):
        raise ConfigurationError(f"retries must be a policy such as StandardRetries(max_attempts=5), not {retries!r}")


def _expect_clock(clock: object) -> None:
    functions = callable(getattr(clock, "time", None)) and callable(getattr(clock, "monotonic", None))
    if isinstance(clock, type) or not functions or not iscoroutinefunction(getattr(clock, "sleep", None)):
        raise ConfigurationError(
            f"clock must be an object with time, monotonic and sleep, such as testing.VirtualClock(), not {clock!r}"
        )


def _expect(given: object, kind: type, name: str) -> None:
    if not isinstance(given, kind | None):
        raise ConfigurationError(f"{name} must be a {kind.__name__}, not a {type(given).__name__}")


def _not_started(deadline: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the client did not start within {deadline:g} s: it is still reading its configuration files"
    )
