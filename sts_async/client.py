"""
The client and its views. The coroutines of the operations are in `calls`. The parts that a client and its views share
are in `_engine.lifecycle`.
"""

from collections.abc import Collection, Coroutine, Mapping, Sequence
from datetime import timedelta
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import aiohttp
import attrs

from . import shapes
from ._config.options import HANDLERS, SECONDS, as_tuple
from ._engine.build import endpoint_of
from ._engine.lifecycle import Lifecycle
from ._engine.loop import Engine
from ._protocol.endpoints import check_region
from ._protocol.headers import checked_headers, cover_headers
from ._shape.arguments import in_seconds_or_none, other_than
from ._shape.secret import Unpicklable, redact_userinfo, without_data
from .calls import Calls
from .config import Config
from .credentials.source import MFACode, Source, provider_of
from .errors import ConfigurationError
from .events import Observer
from .handlers import RequestHandler
from .operations import BY_REQUEST, Operation
from .protocols import Clock, RetryPolicy, Transport
from .sigv4 import PresignedUrl

R = TypeVar("R", bound=shapes.Response)


class STSClient(Unpicklable, Calls):
    """
    A client of the AWS Security Token Service.

        async with STSClient(region="eu-west-1") as sts:
            response = await sts.assume_role(role_arn="arn:aws:iam::123456789012:role/demo", role_session_name="me")

    Make one client and share it: it holds a pool of connections, and any number of tasks can call it at once. The
    constructor does no I/O; ``async with``, or the first call, reads the shared config files. Without ``async with``,
    call `aclose` at the end.

    A provider that signs and has no source, such as ``AssumeRoleProvider(role_arn=...)``, uses the credentials of the
    client that it is used with. For a view, these are the credentials of the client that the view was made from. For a
    client, these are the credentials that the default chain finds.

    Args:
        region: AWS region. Short for `Config.region`.
        credentials: The credentials that sign: `Credentials`, a provider (see `credentials`), any object with a
            coroutine ``provide_credentials(context)``, or a coroutine function without arguments that returns
            `Credentials`. None uses the credentials that every AWS SDK finds on this machine: see `DefaultChain`.
        profile: Profile of the shared files. Short for `Config.profile`.
        endpoint_url: Short for `Config.endpoint_url`.
        config: All other options.
        retries: The retry policy; None for the policy that `Config.retry_mode` names.
        observers: Functions that receive each event: see `events`. They must not block.
        session: An aiohttp session to use in place of a new one. The client never closes it. It has its own proxies,
            TLS settings and connections. So options for these are refused in code, and ignored with a warning if they
            come from the environment or the profile.
        transport: An object with a coroutine ``send(request)`` that sends one HTTP request: see `protocols.Transport`.
            None for aiohttp. The client never closes it. Options for connections are treated as with *session*.
            `Config.max_response_bytes` and `Config.deadline` apply to it, too.
        clock: An object with the methods of `testing.VirtualClock`: `time` and `monotonic`, which return seconds, and
            the coroutine `sleep`. For tests; None for the clocks of this host.

    Raises:
        ConfigurationError: An option is invalid, or has no effect with *session* or *transport*. Invalid variables,
            keys and files raise it only in calls that need them, and not in ``async with``. To check them at the start
            of a program, call `get_caller_identity` there.
    """

    _environ: Mapping[str, str] | None = None
    """The environment to read options from; None for the environment of the process. Clients of `testing` set it."""

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
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        credentials, endpoint_url = without_data(credentials), redact_userinfo(endpoint_url)
        _expect(config, Config, "config")
        if retries is not None:
            _expect_policy(retries)
        if clock is not None:
            _expect_clock(clock)
        options: dict[str, Any] = {"region": region, "profile": profile, "endpoint_url": endpoint_url}
        given = {name: value for name, value in options.items() if value is not None}
        config = attrs.evolve(config or Config(), **given)
        self._life = Lifecycle(
            config,
            credentials=None if credentials is None else provider_of(credentials),
            retries=retries,
            observers=_checked_observers(observers),
            session=session,
            transport=transport,
            clock=clock,
            environ=self._environ,
        )
        self._base: Self | None = None
        self._changed: dict[str, Any] = {}  # the options of a view that differ, by the names of `with_options`
        self._own: Engine | None = None
        self._own_of: Engine | None = None  # the client's engine that it was made from

    @property
    def region(self) -> str | None:
        """
        The signing region; None for an endpoint URL without a region.

        Before ``async with`` or the first call, it is known only if it was given in code.
        """
        if self._base is not None:
            return self._changed.get("region") or self._base.region
        endpoint = self._life.endpoint
        return self._life.settings_sources.config.region if endpoint is None else endpoint.signing_region

    @property
    def endpoint_url(self) -> str | None:
        """The URL of the endpoint. Before ``async with`` or the first call: the URL that was given in code, or None."""
        own = self._view(self._life.current) if self._life.current is not None else None
        if own is not None and own.endpoint is not None:
            return own.endpoint.url
        return (
            self._life.settings_sources.config.endpoint_url if self._life.endpoint is None else self._life.endpoint.url
        )

    async def aclose(self) -> None:
        """
        End running calls with `ClientClosedError`, and close the connections, within 5 s.

        Later calls raise this error, too. Closing again does nothing. A view has no connections of its own: closing it
        does nothing, and its calls end with the client that it was made from.
        """
        if self._base is None:
            await self._life.aclose()

    def __enter__(self) -> NoReturn:
        raise TypeError("use `async with`: an STSClient is opened and closed in an event loop")

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is no `with`, only `async with`."""

    async def __aenter__(self) -> Self:
        await self._life.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        life = getattr(self, "_life", None)
        if life is None:  # in the traceback of an error in the constructor
            return "<STSClient that was not made>"
        if self._base is not None:
            return f"<{self._base!r} with other {', '.join(self._changed) or 'options'}>"
        return f"STSClient({life.where})"

    def send(self, request: shapes.Request[R]) -> Coroutine[Any, Any, R]:
        """
        Send a prepared request, and return the response of its type.

        Raises:
            TypeError: *request* is not a request.
            ConfigurationError: The operation is signed, and the region is not known.
            ClientClosedError: The client is closed.
            ParamValidationError: Members violate constraints; nothing was sent.
            CredentialsError: There are no credentials, or fetching them failed.
            DeadlineExceeded: The call exceeded its deadline.
            TransportError: No complete response arrived.
            ResponseParseError: The response is not a valid STS response.
            ServiceError: STS returned an error; see the operation for the modelled errors.
        """
        operation = BY_REQUEST.get(type(request)) or _operation(request)
        engine = self._life.engine
        if engine is None:  # not started yet, or closed
            return self._first(operation, request)
        if self._base is not None:
            engine = self._view(engine)
        return engine.invoke(operation, request)  # the coroutine of the engine itself, without a frame around it

    async def _first(self, operation: Operation[R], request: shapes.Request[R]) -> R:
        engine, elapsed = await self._ready()
        return await engine.invoke(operation, request, elapsed=elapsed)

    async def _ready(self) -> tuple[Engine, float]:
        """Return the engine of this client or view, and the seconds of a call's deadline that this took."""
        engine, elapsed = await self._life.ready_within(self._deadline)
        return self._view(engine), elapsed

    @property
    def _deadline(self) -> float:
        if self._base is None:
            return self._life.settings_sources.config.deadline
        return self._changed.get("deadline") or self._base._deadline

    def _view(self, engine: Engine) -> Engine:
        """Return the engine of this client or view; *engine* is the client's."""
        if self._base is None:
            return engine
        if self._own is None or self._own_of is not engine:
            self._own = self._base._view(engine).view(**self._changed_of_calls())
            self._own_of = engine
        return self._own

    def _changed_of_calls(self) -> dict[str, Any]:
        """Return the changed options by the names of `CallOptions`: the endpoint in place of the region."""
        changed, life = dict(self._changed), self._life
        region = changed.pop("region", None)
        if region is not None and life.resolved is not None:
            changed["endpoint"] = endpoint_of(attrs.evolve(life.resolved, region=region), session=life.session)
        return changed

    def with_options(
        self,
        *,
        credentials: Source | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | timedelta | None = None,
        retries: RetryPolicy | None = None,
        region: str | None = None,
        observers: Sequence[Observer] = (),
        handlers: Sequence[RequestHandler] = (),
    ) -> Self:
        """
        Return a view: a client with other options for some calls. A view is cheap, even for a single call.

            await sts.with_options(deadline=2).get_caller_identity()

        A view shares connections, limits and metadata with this client, and ends with it. A view of a view adds to its
        options.

        Args:
            credentials: The credentials that sign, as for the client. A provider without a source uses the credentials
                of this client, not those of the default chain.
            headers: Headers that are added to each request and signed. Names are tokens of RFC 9110, values printable
                ASCII.
            deadline: Seconds, or a `timedelta`, for a whole call, including retries. A wait that would exceed it is not
                started.
            retries: The retry policy.
            region: The signing region. Calls go to the endpoint of this region, unless an endpoint is configured.
            observers: Functions that receive each event, after the observers of the client.
            handlers: Request handlers, after those of the client: see `handlers`.

        Raises:
            ConfigurationError: An option is invalid.
        """
        credentials, headers = without_data(credentials), cover_headers(headers)
        deadline = in_seconds_or_none(deadline)
        if deadline is not None and not SECONDS.accepts(deadline):
            raise ConfigurationError(f"deadline must be {SECONDS.rule}")
        if retries is not None:
            _expect_policy(retries)
        if region is not None:
            check_region(region)
        handlers = as_tuple(handlers)
        if not HANDLERS.accepts(handlers):
            raise ConfigurationError(f"handlers must be {HANDLERS.rule}")
        view = self.__new__(type(self))
        view.__dict__.update(self.__dict__)  # with the attributes of a subclass
        view._base, view._own = self, None
        view._changed = _without_defaults(
            credentials=None if credentials is None else provider_of(credentials),
            headers=None if headers is None else checked_headers(headers),
            deadline=deadline,
            retries=retries,
            region=region,
            observers=_checked_observers(observers),
            handlers=handlers,
        )
        return view

    def role(
        self,
        role_arn: str,
        *,
        role_session_name: str | None = None,
        duration_seconds: shapes.Seconds | None = None,
        policy: shapes.PolicyDocument | None = None,
        policy_arns: shapes.Policies = (),
        tags: shapes.Tags = (),
        transitive_tag_keys: Collection[str] = (),
        external_id: str | None = None,
        serial_number: str | None = None,
        mfa_code: MFACode | None = None,
        source_identity: str | None = None,
        provided_contexts: Collection[shapes.ProvidedContext] = (),
        minimum_session_token_size: int | None = None,
        allowed_accounts: Collection[str] | None = None,
        strict_arns: bool = True,
    ) -> Self:
        """
        Return a view of this client that signs as a role. The credentials of this client assume the role.

            demo = sts.role("arn:aws:iam::123456789012:role/demo")
            await demo.get_caller_identity()

        Keep the view: it holds the credentials of the role and refreshes them. A role of a role is
        ``sts.role(first).role(second)``.

        Args:
            role_arn: ARN of the role.
            role_session_name: Name for the sessions; None for ``sts-async-`` and 16 random hexadecimal digits.
            duration_seconds: Lifetime in seconds, or a `timedelta`, 900 to 43,200.
            policy: Session policy that restricts the session: JSON text or a mapping.
            policy_arns: ARNs of managed policies that restrict the session.
            tags: Session tags, such as ``{"team": "a"}``, or a list of `Tag`.
            transitive_tag_keys: Keys of the tags that chained sessions inherit.
            external_id: The external id that the trust policy of another account requires.
            serial_number: Serial number or ARN of the MFA device; needs *mfa_code*.
            mfa_code: A coroutine function that takes the serial number and returns a code.
            source_identity: Identity of the person or program behind the session.
            provided_contexts: Context assertions.
            minimum_session_token_size: Pad the session token to this many bytes.
            allowed_accounts: Ids of the accounts that the role may be in; None for any.
            strict_arns: Whether *role_arn* must follow IAM's grammar; False for servers that are not AWS.

        The arguments are those of `credentials.AssumeRoleProvider`, which describes each in full.

        Raises:
            ParamValidationError: Arguments are missing or have a wrong type. The first call checks lengths and ranges,
                if `Config.validate_parameters` is true.
            ConfigurationError: *role_arn* is not the ARN of a role, or arguments contradict each other.
        """
        from .credentials.assume_role import AssumeRoleProvider  # here: many programs assume no role

        mfa_code = without_data(mfa_code)
        return self.with_options(
            credentials=AssumeRoleProvider(
                role_arn=role_arn,
                role_session_name=role_session_name,
                duration_seconds=duration_seconds,
                policy=policy,
                policy_arns=policy_arns,
                tags=tags,
                transitive_tag_keys=transitive_tag_keys,
                external_id=external_id,
                serial_number=serial_number,
                mfa_code=mfa_code,
                source_identity=source_identity,
                provided_contexts=provided_contexts,
                minimum_session_token_size=minimum_session_token_size,
                allowed_accounts=allowed_accounts,
                strict_arns=strict_arns,
            )
        )

    async def get_credentials(self) -> shapes.Credentials:
        """
        Return the credentials that would sign a call now, for `sigv4` or another library.

        Raises:
            CredentialsError: There are no credentials, or fetching them failed.
            DeadlineExceeded: Fetching them exceeded the deadline of a call.
            STSError: A provider that calls STS failed.
        """
        engine, elapsed = await self._ready()
        return await engine.get_credentials(elapsed=elapsed)

    async def presign(self, request: shapes.Request[Any], *, expires: shapes.Seconds = 60) -> PresignedUrl:
        """
        Return a URL that performs *request* when it is fetched. Anyone who has it can use it.

        A URL of a view with headers is valid only for a request with these headers, as EKS requires:

            await sts.with_options(headers={"x-k8s-aws-id": cluster}).presign(GetCallerIdentityRequest())

        Args:
            request: A request of a signed operation, without secrets.
            expires: Lifetime of the URL: 1 to 604,800 s, or a `timedelta` of whole seconds. STS itself accepts it for
                15 minutes.

        Raises:
            ConfigurationError: The request is not signed or has a secret, or *expires* is out of range.
            ParamValidationError: Members violate constraints.
            CredentialsError: There are no credentials, or fetching them failed.
        """
        operation = _operation(request)
        engine, elapsed = await self._ready()
        return await engine.presign(operation, request, expires=expires, elapsed=elapsed)

    def get_cached_response_metadata(self, request: shapes.Request[Any]) -> shapes.ResponseMetadata | None:
        """Return the metadata of the last response to an equal request, if it is among the last 50 responses."""
        operation, engine = _operation(request), self._life.current
        return None if engine is None else engine.metadata_of(operation, request)


def _without_defaults(**options: Any) -> dict[str, Any]:
    """Return the options that were given. None and the empty tuple mean: not given."""
    return {name: value for name, value in options.items() if value is not None and value != ()}


def _operation(request: shapes.Request[R]) -> Operation[R]:
    operation = BY_REQUEST.get(type(request))
    if operation is None:
        raise TypeError(f"expected a request such as AssumeRoleRequest, not a {type(request).__name__}")
    return operation


def _checked_observers(observers: Sequence[Observer]) -> tuple[Observer, ...]:
    if not isinstance(observers, list | tuple) or not all(map(_is_function, observers)):
        raise ConfigurationError("observers must be a list of functions that take an event, and are not coroutines")
    return tuple(observers)


def _is_function(value: object) -> bool:
    return callable(value) and not iscoroutinefunction(value) and not iscoroutinefunction(type(value).__call__)


def _expect_policy(retries: object) -> None:
    methods = [getattr(retries, name, None) for name in ("admit", "after_success", "after_failure")]
    if isinstance(retries, type) or not all(map(callable, methods)):
        raise ConfigurationError(f"retries must be a policy such as StandardRetries(max_attempts=5), not {retries!r}")


def _expect_clock(clock: object) -> None:
    functions = callable(getattr(clock, "time", None)) and callable(getattr(clock, "monotonic", None))
    if isinstance(clock, type) or not functions or not iscoroutinefunction(getattr(clock, "sleep", None)):
        raise ConfigurationError(
            f"clock must be an object with time, monotonic and sleep, such as testing.VirtualClock(), not {clock!r}"
        )
    call_later = getattr(clock, "call_later", None)
    if call_later is not None and not _is_function(call_later):
        raise ConfigurationError("call_later of clock must be a function that takes seconds and a callback")


def _expect(given: object, kind: type, name: str) -> None:
    if not isinstance(given, kind | None):
        raise ConfigurationError(f"{name} must be a {kind.__name__}, not {other_than(kind.__name__, given)}")
