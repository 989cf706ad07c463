"""
The engine: what every call does, and where something else can be put in.

`Engine._attempts` holds the loop of a call. What it calls is pure and returns a value, or is one of the three seams
(transport, credentials provider, retry policy), or a request handler. A call signs with what its provider has; what
the provider does for that is the client's own work, and not the call's: see `_engine.context`.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeVar

import attrs

from .. import sigv4
from .._protocol import query
from .._protocol import response as answer
from .._protocol.clock_skew import is_reason
from .._protocol.endpoints import Endpoint
from .._protocol.headers import checked_headers
from .._protocol.http_messages import HttpRequest
from .._runtime.semaphore import FifoSemaphore
from .._runtime.single_flight import BackgroundTasks
from .._shape.arguments import not_credentials
from .._shape.constraints import first_violations
from .._shape.secret import Unpicklable, without_data
from ..errors import (
    ClientClosedError,
    ConfigurationError,
    CredentialsError,
    DeadlineExceeded,
    ParamValidationError,
    STSError,
)
from ..events import Observer
from ..handlers import OutgoingRequest, RequestHandler
from ..operations import Operation
from ..protocols import CredentialsProvider, RetryPolicy, Transport
from ..shapes import Credentials, Request, Response, ResponseMetadata
from .call import Call, cannot_be_repeated, may_be_sent_again
from .call_options import HEADERS, CallOptions
from .client_state import Shared
from .context import ClientContext
from .metrics import Meter, log_attempt
from .signing import EndpointSigner, Signing

T = TypeVar("T")
R = TypeVar("R", bound=Response)

REFUSED_KEYS = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidToken", "InvalidClientTokenId"})
METADATA_KEPT = 50  # answers; as many as the 2015 Java client kept


class Engine(Unpicklable):
    """Invoke operations at one endpoint. All parts are values or seams; none is made here."""

    __slots__ = (
        "_credentials",
        "_deadline",
        "_handlers",
        "_headers",
        "_observers",
        "_options",
        "_retries",
        "_shared",
        "_signer",
        "context",
        "endpoint",
    )

    def __init__(self, context: ClientContext, options: CallOptions) -> None:
        self.context = context
        self.endpoint = options.endpoint
        self._shared = context.shared
        self._options = options
        self._credentials = options.credentials
        self._retries = options.retries
        self._deadline = options.deadline
        self._observers = options.observers
        self._handlers = options.handlers
        self._headers = options.headers
        self._signer = EndpointSigner(options.endpoint, why=options.no_endpoint)

    async def invoke(self, operation: Operation[R], request: Request[R], *, spent: float = 0.0) -> R:
        """
        Send *request* until it succeeds, the retry policy gives up, or its time is over; see `errors`.

        Args:
            operation: What is called.
            request: Its input.
            spent: Seconds of the deadline already used.
        """
        call = Call(Meter(self._observers, operation=operation.name) if self._observers else None)
        outcome: R | STSError
        limit = None
        try:
            if self._deadline is None:
                outcome = await self._attempts(call, operation, request)
            else:
                seconds = self._deadline if not spent else max(self._deadline - spent, 0.0)
                call.ends = self._shared.monotonic() + seconds
                limit = self._shared.time_limits.start(seconds)
                with limit:
                    outcome = await self._attempts(call, operation, request)
        except STSError as error:
            outcome = error
        except TimeoutError:
            if limit is None or not limit.expired:  # of somebody else's code
                raise
            outcome = ClientClosedError() if self._shared.closed else self._too_late(call)
        finally:
            if call.unsent is not None:
                failure, scope = call.unsent
                call.unsent = None
                self._give_back(failure, scope=scope, meter=call.meter)
                del failure
        if call.meter is not None:
            call.meter.finished(outcome, quota_left=self._quota())
        if not isinstance(outcome, STSError):
            return outcome
        try:
            raise outcome
        finally:  # else the error and this frame keep each other until garbage is collected
            call.failure = call.charged = None
            del outcome

    async def _attempts(self, call: Call, operation: Operation[R], request: Request[R]) -> R | STSError:
        shared, meter = self._shared, call.meter
        if shared.validate:
            check(request)
        endpoint = self._signer.endpoint
        body = query.serialize(operation, request)
        digest = _digest(body)
        only_once = cannot_be_repeated(request)
        if meter is not None:
            meter.marshalled(endpoint.url)
        while True:
            call.attempt += 1
            if meter is not None:
                meter.attempt_began(call.attempt)
            credentials, scope = None, ""
            if operation.signed:
                credentials = await self._provided(call)
                scope = self._signer.scope(credentials)
            if meter is not None:
                meter.over("credentials")
            if shared.turns or self._retries.admit(scope=scope, now=shared.monotonic()) > 0:
                await self._turn(call, scope)
            if meter is not None:
                meter.over("limiter")
            outgoing = self._handled(call, operation, request) if self._handlers else None
            sign = Signing(
                self._signer,
                shared,
                call,
                credentials=credentials,
                digest=digest,
                headers=self._headers if outgoing is None else outgoing.headers,
            )
            outcome: R | STSError
            skew = None
            try:
                response = await shared.transport.send(
                    HttpRequest("POST", endpoint.url, sign, body, fresh=call.died or only_once)
                )
            except STSError as error:
                outcome = error.with_traceback(None)  # else it and this frame keep each other
                call.sent, call.unsent = call.attempt, None
                if meter is not None:
                    meter.over("send")
            else:
                call.sent, call.unsent = call.attempt, None
                if meter is not None:
                    meter.answered(response)
                # Over plain HTTP, an attacker could set Date and obtain a signature for next year.
                if endpoint.secure:
                    skew = shared.clock.learn(response.headers, sent=sign.at, received=shared.wall_clock())
                outcome = answer.read(
                    operation,
                    response,
                    # By whichever clock is later: a clock that is behind must not cut a lifetime that was granted.
                    now=datetime.fromtimestamp(sign.at + max(shared.clock.confirmed, 0.0), UTC),
                    requested=getattr(request, "duration_seconds", None),
                    attempts=call.attempt,
                    sent=(request, credentials),
                )
            if meter is not None:
                meter.attempt_finished(outcome)
            if outgoing is not None:
                for handler in self._handlers:
                    handler.after_attempt(outgoing, outcome)
            log_attempt(operation.name, call.attempt, outcome)
            if not isinstance(outcome, STSError):
                now = shared.monotonic()
                self._retries.after_success(scope=scope, attempt=call.paid, after=call.charged, now=now)
                self._remember(digest, outcome.metadata)
                return outcome
            failure = call.failure = outcome
            failure.attempts = call.sent
            failure.skewed = is_reason(failure, skew=skew, signed_with=sign.ahead)
            failure.retryable = failure.retryable or failure.skewed
            if await self._renewed(call, request, credentials) or call.died_idle(request):
                call.free += 1
                continue
            quota = self._quota()
            delay = self._retries.after_failure(
                failure, scope=scope, attempt=call.paid, now=shared.monotonic(), jitter=shared.jitter()
            )
            if delay is not None:
                call.unsent, call.charged = (failure, scope), failure
            if delay is None or not may_be_sent_again(request, failure):
                try:
                    return failure
                finally:  # a frame that an exception went through may be kept, and with it what it holds
                    del failure, outcome
            self._check_time(call, delay)
            if meter is not None:
                meter.retry(failure, delay=delay, quota_before=quota, quota_left=self._quota())
            await self._pause(call, delay)

    def _quota(self) -> int | None:
        return getattr(self._retries, "quota", None)

    def _give_back(self, failure: STSError, *, scope: str, meter: Meter | None) -> None:
        """Return to the quota what a retry has cost that was not sent."""
        give_back = getattr(self._retries, "after_unsent", None)
        if give_back is not None:
            give_back(failure, scope=scope, now=self._shared.monotonic())
            if meter is not None:
                meter.given_back()

    async def _provided(self, call: Call) -> Credentials:
        try:  # a source that fails has tried what it could: it is not for us to try again
            return self._checked(await self._credentials.provide_credentials(self.context))
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
        gate = turns.setdefault(line, FifoSemaphore(1))
        try:
            if not gate.try_acquire():
                await gate.wait()
            try:
                while (wait := self._retries.admit(scope=scope, now=self._shared.monotonic())) > 0:
                    await self._pause(call, wait)
            finally:
                gate.release()
        finally:
            if gate.idle:
                turns.pop(line, None)

    def _check_time(self, call: Call, seconds: float) -> None:
        """Raise the call's error if it would be over after a pause."""
        if self._shared.monotonic() + seconds > call.ends:
            raise self._too_late(call)

    async def _pause(self, call: Call, seconds: float) -> None:
        self._check_time(call, seconds)
        if seconds > 0:
            await self._shared.sleep(seconds)

    def _too_late(self, call: Call) -> STSError:
        error = call.failure or DeadlineExceeded(f"the call exceeded its deadline of {self._deadline:g} s")
        error.attempts = call.sent
        return error

    def close(self) -> None:
        """End all calls that have a deadline, in all event loops."""
        self._shared.closed = True
        self._shared.time_limits.close_all()

    async def get_credentials(self, *, spent: float = 0.0) -> Credentials:
        """Return what a request would be signed with now; *spent* is as for `invoke`."""
        return self._checked(await self._in_time(self._credentials.provide_credentials(self.context), spent=spent))

    async def _in_time(self, work: Coroutine[Any, Any, T], *, spent: float) -> T:
        """Return what *work* returns, within the deadline of a call."""
        if self._deadline is None:
            return await work
        limit = self._shared.time_limits.start(max(self._deadline - spent, 0.0))
        try:
            with limit:
                return await work
        except TimeoutError:
            if not limit.expired:
                raise
        raise ClientClosedError if self._shared.closed else self._too_late(Call(None))

    def view(self, **changed: Any) -> "Engine":
        """
        Return an engine with some options replaced, that shares everything else with this one.

        Args:
            changed: See `CallOptions.changed`. Credentials whose source is not given take those of this engine.
        """
        context = self.context
        if "credentials" in changed:
            context = context.based_on(self._options.credentials)
        made = Engine(context, self._options.changed(**changed))
        if changed.keys().isdisjoint({"credentials", "endpoint", "headers"}):
            made._signer = self._signer  # what was derived from them is as good here
        return made

    async def presign(
        self, operation: Operation[Any], request: Request[Any], *, expires: int | timedelta, spent: float = 0.0
    ) -> sigv4.PresignedUrl:
        """Return a URL that invokes *operation* when it is fetched; *spent* is as for `invoke`."""
        if self._shared.validate:
            check(request)
        if request._has_secret():
            raise ConfigurationError(f"{operation.name} with a secret cannot be presigned: URLs end up in logs")
        return sigv4.presign(
            await self.get_credentials(spent=spent),
            url=f"{self._signer.endpoint.url}?{query.serialize(operation, request).decode()}",
            headers={name: value for name, value in self._headers.items() if name not in HEADERS},
            service=self._signer.endpoint.signing_name,
            region=self._signer.region,
            at=self._shared.lasting_time(),
            expires=expires,
        )

    def metadata_of(self, operation: Operation[Any], request: Request[Any]) -> ResponseMetadata | None:
        """Return what came with the last answer to a request equal to *request*, if it is among the last 50."""
        return self._shared.metadata.get(_digest(query.serialize(operation, request)))

    def _handled(self, call: Call, operation: Operation[R], request: Request[R]) -> OutgoingRequest:
        """Return the request with what the handlers add: as it will be signed, and as they are shown it afterwards."""
        endpoint = self._signer.endpoint
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

    def _checked(self, credentials: Credentials | None) -> Credentials:
        if not isinstance(credentials, Credentials):
            given = without_data(credentials)
            del credentials  # no traceback shows data that was given in their place
            raise CredentialsError(f"{type(self._credentials).__name__}.provide_credentials {not_credentials(given)}")
        return credentials

    def _remember(self, digest: str, metadata: ResponseMetadata) -> None:
        # By the digest of what was sent, so that no request, and no secret in it, is kept.
        self._shared.metadata[digest] = metadata
        self._shared.metadata.move_to_end(digest)
        if len(self._shared.metadata) > METADATA_KEPT:
            self._shared.metadata.popitem(last=False)


def new_engine(
    *,
    endpoint: Endpoint | None,
    no_endpoint: STSError | None = None,
    transport: Transport,
    credentials: CredentialsProvider,
    retries: RetryPolicy,
    deadline: float | None = None,
    observers: Sequence[Observer] = (),
    handlers: Sequence[RequestHandler] = (),
    tasks: BackgroundTasks | None = None,
    default_credentials: Callable[[], CredentialsProvider] | None = None,
    **shared: Any,
) -> Engine:
    """Return a client's own engine; for *shared*, see `Shared`."""
    options = CallOptions(
        endpoint=endpoint,
        no_endpoint=no_endpoint,
        credentials=credentials,
        retries=retries,
        deadline=deadline,
        observers=tuple(observers),
        handlers=tuple(handlers),
    )
    context = ClientContext(
        Shared(transport=transport, **shared),
        options,
        engine=Engine,
        tasks=tasks or BackgroundTasks(),
        default_credentials=default_credentials,
    )
    return Engine(context, options)


def check(request: Request[Any]) -> None:
    """
    Refuse a request that breaks constraints of the API.

    Raises:
        ParamValidationError: It does; all violations in one error.
    """
    broken = first_violations(request)
    if broken:
        raise ParamValidationError(type(request).__name__, broken)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
