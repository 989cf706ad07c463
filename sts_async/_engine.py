"""
The engine: what every call does, and where something else can be put in.

`Engine._attempts` holds the loop of a call. What it calls is pure and returns a value, or is one of the three seams
(transport, credentials provider, retry policy), or a request handler.
"""

import asyncio
import hashlib
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

import attrs

from . import sigv4
from ._call import Call, may_be_sent_again
from ._core import answer, query
from ._core.constraints import violations
from ._core.endpoints import NO_REGION, Endpoint
from ._core.headers import checked_headers
from ._core.message import HttpRequest, HttpResponse
from ._core.scope import scope_of
from ._core.secret import Unpicklable
from ._core.skew import ServiceClock, is_reason
from ._flight import Tasks
from ._limits import Gate, TimeLimits
from ._meter import Meter, log_attempt, notify
from ._seams import CredentialsProvider, RetryPolicy, Transport
from .errors import (
    ClientClosedError,
    ConfigurationError,
    CredentialsError,
    DeadlineExceeded,
    ParamValidationError,
    STSError,
)
from .events import Event, Observer
from .handlers import OutgoingRequest, RequestHandler
from .operations import Operation
from .shapes import Credentials, Request, Response, ResponseMetadata

R = TypeVar("R", bound=Response)

# What the engine itself has signed: nothing that a proxy may change.
HEADERS: Mapping[str, str] = MappingProxyType({"content-type": query.CONTENT_TYPE})
REFUSED_KEYS = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidToken", "InvalidClientTokenId"})
METADATA_KEPT = 50  # answers; as many as the 2015 Java client kept


class _Shared:
    """What an engine and its views share, beside the parts that they lend."""

    __slots__ = ("clock", "closed", "metadata", "time_limits", "transport", "turns", "validate")

    def __init__(self, *, transport: Transport, validate: bool, clock: ServiceClock) -> None:
        self.transport = transport
        self.validate = validate
        self.clock = clock
        self.time_limits = TimeLimits()
        self.closed = False
        self.turns: dict[object, Gate] = {}
        self.metadata: OrderedDict[str, ResponseMetadata] = OrderedDict()


class Engine(Unpicklable):
    """Invoke operations at one endpoint. All parts are values or seams; none is made here."""

    __slots__ = (
        "_credentials",
        "_deadline",
        "_handlers",
        "_headers",
        "_observers",
        "_retries",
        "_scope_of",
        "_shared",
        "_signer",
        "default_credentials",
        "endpoint",
        "jitter",
        "monotonic",
        "sleep",
        "tasks",
        "wall_clock",
    )
    # Functions, but not methods, for which pyright takes a function in a class with slots.
    jitter: Any
    monotonic: Any
    sleep: Any
    wall_clock: Any

    def __init__(
        self,
        *,
        endpoint: Endpoint | None,
        transport: Transport,
        credentials: CredentialsProvider,
        retries: RetryPolicy,
        deadline: float | None = None,
        observers: Sequence[Observer] = (),
        handlers: Sequence[RequestHandler] = (),
        validate: bool = True,
        clock: ServiceClock | None = None,
        tasks: Tasks | None = None,
        default_credentials: Callable[[], CredentialsProvider] | None = None,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.endpoint = endpoint
        self.tasks = tasks or Tasks()
        self.default_credentials = default_credentials
        self.wall_clock = wall_clock
        self.monotonic = monotonic
        self.sleep = sleep
        self.jitter = jitter
        self._shared = _Shared(transport=transport, validate=validate, clock=clock or ServiceClock())
        self._credentials = credentials
        self._retries = retries
        self._deadline = deadline
        self._observers = tuple(observers)
        self._handlers = tuple(handlers)
        self._headers: Mapping[str, str] = HEADERS
        self._signer: sigv4.Signer | None = None
        self._scope_of: tuple[Credentials, str] | None = None

    async def invoke(self, operation: Operation[R], request: Request[R]) -> R:
        """Send *request* until it succeeds, the retry policy gives up, or its time is over; see `errors`."""
        call = Call(Meter(self._observers, operation=operation.name) if self._observers else None)
        outcome: R | STSError
        limit = None
        try:
            if self._deadline is None:
                outcome = await self._attempts(call, operation, request)
            else:
                call.ends = self.monotonic() + self._deadline
                limit = self._shared.time_limits.start(self._deadline)
                with limit:
                    outcome = await self._attempts(call, operation, request)
        except STSError as error:
            outcome = error
        except TimeoutError:
            if limit is None or not limit.expired:  # of somebody else's code
                raise
            outcome = ClientClosedError() if self._shared.closed else self._too_late(call)
        if call.meter is not None:
            call.meter.finished(outcome, quota_left=self._quota())
        if not isinstance(outcome, STSError):
            return outcome
        try:
            raise outcome
        finally:  # else the error and this frame keep each other until garbage is collected
            call.failure = None
            del outcome

    async def _attempts(self, call: Call, operation: Operation[R], request: Request[R]) -> R | STSError:
        shared, meter = self._shared, call.meter
        if shared.validate:
            check(request)
        endpoint = self._where()
        body = query.serialize(operation, request)
        digest = _digest(body)
        if meter is not None:
            meter.marshalled(endpoint.url)
        while True:
            call.attempt += 1
            if meter is not None:
                meter.attempt_began(call.attempt)
            credentials, scope = None, ""
            if operation.signed:
                credentials = await self._provided(call)
                scope = self._scope(credentials, endpoint)
            if meter is not None:
                meter.over("credentials")
            if shared.turns or self._retries.admit(scope=scope, now=self.monotonic()) > 0:
                await self._turn(call, scope)
            if meter is not None:
                meter.over("limiter")
            outgoing = self._handled(call, operation, request) if self._handlers else None
            outcome: R | STSError
            signed_with = shared.clock.offset
            skew = None
            try:
                begun = self.wall_clock()
                at = datetime.fromtimestamp(begun + signed_with, UTC)
                headers = self._headers if outgoing is None else outgoing.headers
                if credentials is not None:
                    headers = self._sign(credentials, digest, at, headers)
                call.sent = call.attempt
                if meter is not None:
                    meter.over("signing")
                response = await shared.transport.send(
                    HttpRequest("POST", endpoint.url, headers, body, fresh=call.died)
                )
            except STSError as error:
                outcome = error.with_traceback(None)  # else it and this frame keep each other
                if meter is not None:
                    meter.over("send")
            else:
                if meter is not None:
                    meter.answered(response)
                if endpoint.secure:  # else whoever is in between could have us sign for next year
                    skew = shared.clock.learn(response.headers, sent=begun, received=self.wall_clock())
                outcome = answer.read(
                    operation,
                    response,
                    now=at,
                    requested=getattr(request, "duration_seconds", None),
                    attempts=call.attempt,
                )
            if meter is not None:
                meter.attempt_finished(outcome)
            if outgoing is not None:
                for handler in self._handlers:
                    handler.after_attempt(outgoing, outcome)
            log_attempt(operation.name, call.attempt, outcome)
            if not isinstance(outcome, STSError):
                now = self.monotonic()
                self._retries.after_success(scope=scope, attempt=call.paid, after=call.failure, now=now)
                self._remember(digest, outcome.metadata)
                return outcome
            failure = call.failure = outcome
            failure.attempts = call.sent
            failure.skewed = is_reason(failure, skew=skew, signed_with=signed_with)
            failure.retryable = failure.retryable or failure.skewed
            if await self._renewed(call, request, credentials) or call.died_idle(request):
                call.free += 1
                continue
            quota = self._quota()
            delay = self._retries.after_failure(
                failure, scope=scope, attempt=call.paid, now=self.monotonic(), jitter=self.jitter()
            )
            if delay is None or not may_be_sent_again(request, failure):
                try:
                    return failure
                finally:  # a frame that an exception went through may be kept, and with it what it holds
                    del failure, outcome
            if meter is not None:
                meter.retry(failure, delay=delay, quota_before=quota, quota_left=self._quota())
            await self._pause(call, delay)

    def _quota(self) -> int | None:
        return getattr(self._retries, "quota", None)

    async def _provided(self, call: Call) -> Credentials:
        try:  # a source that fails has tried what it could: it is not for us to try again
            return await self.get_credentials()
        except STSError as error:
            error.attempts = call.sent or error.attempts  # it may have a count of its own
            raise

    async def _renewed(self, call: Call, request: Request[Any], credentials: Credentials | None) -> bool:
        """Say whether there are others, once in a call, in place of credentials that the service refused."""
        failure, invalidate = call.failure, getattr(self._credentials, "invalidate", None)
        if credentials is None or failure is None or invalidate is None or call.renewed:
            return False
        if getattr(failure, "code", None) not in REFUSED_KEYS:
            return False
        call.renewed = True
        if call.meter is not None:
            call.meter.invalidated(credentials.access_key_id, failure)
        invalidate(credentials.access_key_id)
        if not may_be_sent_again(request, failure):
            return False
        return (await self._provided(call)).access_key_id != credentials.access_key_id

    async def _turn(self, call: Call, scope: str) -> None:
        """Wait until the retry policy admits the request, behind those who came before."""
        line = (asyncio.get_running_loop(), self._retries, scope)
        turns = self._shared.turns
        gate = turns.setdefault(line, Gate(1))
        try:
            if not gate.take():
                await gate.wait()
            try:
                while (wait := self._retries.admit(scope=scope, now=self.monotonic())) > 0:
                    await self._pause(call, wait)
            finally:
                gate.give_up()
        finally:
            if gate.idle:
                turns.pop(line, None)

    async def _pause(self, call: Call, seconds: float) -> None:
        """Wait, unless the call would be over by then."""
        if self.monotonic() + seconds > call.ends:
            raise self._too_late(call)
        if seconds > 0:
            await self.sleep(seconds)

    def _too_late(self, call: Call) -> STSError:
        error = call.failure or DeadlineExceeded(f"the call was not over after {self._deadline:g} s")
        error.attempts = call.sent
        return error

    def close(self) -> None:
        """End all calls that have a deadline, in all event loops."""
        self._shared.closed = True
        self._shared.time_limits.close_all()

    def notify(self, event: Event) -> None:
        """Tell the observers."""
        notify(self._observers, event)

    async def get_credentials(self) -> Credentials:
        """Return what a request would be signed with now."""
        return self._checked(await self._credentials.provide_credentials(self))

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send *request* once, whatever it is, over the client's connections."""
        return await self._shared.transport.send(request)

    def now(self) -> datetime:
        """Return the time by the service's clock, as far as it is known."""
        return datetime.fromtimestamp(self.wall_clock() + self._shared.clock.offset, UTC)

    def signed_by(self, credentials: CredentialsProvider, *, retries: RetryPolicy | None = None) -> "Engine":
        """Return a view of this engine that signs with other *credentials*, and shares everything else."""
        return self.view(credentials=credentials, retries=retries)

    def view(
        self,
        *,
        credentials: CredentialsProvider | None = None,
        retries: RetryPolicy | None = None,
        endpoint: Endpoint | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
        observers: Sequence[Observer] = (),
        handlers: Sequence[RequestHandler] = (),
    ) -> "Engine":
        """Return an engine with some parts replaced, that shares connections, clocks, limits and metadata with this."""
        made = object.__new__(Engine)
        made.endpoint = endpoint or self.endpoint
        made.tasks = self.tasks
        made.default_credentials = self.default_credentials
        made.wall_clock = self.wall_clock
        made.monotonic = self.monotonic
        made.sleep = self.sleep
        made.jitter = self.jitter
        made._shared = self._shared
        made._credentials = credentials or self._credentials
        made._retries = retries or self._retries
        made._deadline = deadline or self._deadline
        made._observers = (*self._observers, *observers) if observers else self._observers
        made._handlers = (*self._handlers, *handlers) if handlers else self._handlers
        made._headers = self._headers if headers is None else {**self._headers, **headers}
        alike = credentials is None and endpoint is None  # then what was derived from them is as good here
        made._signer = self._signer if alike else None
        made._scope_of = self._scope_of if alike else None
        return made

    async def presign(self, operation: Operation[Any], request: Request[Any], *, expires: int) -> sigv4.PresignedUrl:
        """Return a URL that invokes *operation* when it is fetched, in place of invoking it."""
        if self._shared.validate:
            check(request)
        if request._has_secret():
            raise ConfigurationError(f"{operation.name} with a secret cannot be presigned: URLs end up in logs")
        return sigv4.presign(
            await self.get_credentials(),
            url=f"{self._where().url}?{query.serialize(operation, request).decode()}",
            headers={name: value for name, value in self._headers.items() if name not in HEADERS},
            service=self._where().signing_name,
            region=self._signing_region(),
            at=self.now(),
            expires=expires,
        )

    def metadata_of(self, operation: Operation[Any], request: Request[Any]) -> ResponseMetadata | None:
        """Return what came with the last answer to a request equal to *request*, if it is among the last 50."""
        return self._shared.metadata.get(_digest(query.serialize(operation, request)))

    def _scope(self, credentials: Credentials, endpoint: Endpoint) -> str:
        known = self._scope_of
        if known is None or known[0] is not credentials:
            scope = scope_of(credentials.access_key_id, endpoint)
            known = self._scope_of = (credentials, scope)
        return known[1]

    def _handled(self, call: Call, operation: Operation[R], request: Request[R]) -> OutgoingRequest:
        """Return the request with what the handlers add: as it will be signed, and as they are shown it afterwards."""
        endpoint = self._where()
        outgoing = OutgoingRequest(
            operation=operation.name,
            attempt=call.attempt,
            endpoint=endpoint.url,
            region=endpoint.signing_region,
            request=request,
            headers=MappingProxyType(self._headers),
        )
        for handler in self._handlers:
            added = checked_headers(handler.before_signing(outgoing))
            outgoing = attrs.evolve(outgoing, headers=MappingProxyType({**outgoing.headers, **added}))
        return outgoing

    def _sign(
        self, credentials: Credentials, digest: str, at: datetime, headers: Mapping[str, str]
    ) -> Mapping[str, str]:
        signer = self._signer
        if signer is None or signer.credentials is not credentials or signer.headers != headers:
            # One is kept, for the credentials in use: what they supersede is let go, and their derived keys with it.
            signer = self._signer = sigv4.Signer(
                credentials,
                method="POST",
                url=self._where().url,
                headers=headers,
                service=self._where().signing_name,
                region=self._signing_region(),
            )
        return signer.sign(payload_hash=digest, at=at)

    def _checked(self, credentials: Credentials | None) -> Credentials:
        if not isinstance(credentials, Credentials):
            raise CredentialsError(
                f"{type(self._credentials).__name__}.provide_credentials gave no Credentials "
                f"but a {type(credentials).__name__}"
            )
        return credentials

    def _where(self) -> Endpoint:
        if self.endpoint is None:
            raise ConfigurationError(NO_REGION)
        return self.endpoint

    def _signing_region(self) -> str:
        region = self._where().signing_region
        if region is None:
            raise ConfigurationError("a signed operation needs a region beside endpoint_url: pass region=...")
        return region

    def _remember(self, digest: str, metadata: ResponseMetadata) -> None:
        # By the digest of what was sent, so that no request, and no secret in it, is kept.
        self._shared.metadata[digest] = metadata
        self._shared.metadata.move_to_end(digest)
        if len(self._shared.metadata) > METADATA_KEPT:
            self._shared.metadata.popitem(last=False)


def check(request: Request[Any]) -> None:
    """
    Refuse a request that breaks constraints of the API.

    Raises:
        ParamValidationError: It does; all violations in one error.
    """
    broken = tuple(violations(request))
    if broken:
        raise ParamValidationError(type(request).__name__, broken)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
