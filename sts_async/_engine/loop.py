"""
The engine: the only loop of a call.

A call is one coroutine, `Engine.invoke`, and each turn of its loop is one attempt:

1. Credentials. A provider that has them at hand is not awaited. An `Identity` keeps what was derived from them: the
   rate limit key and the signer.
2. Admission. The retry policy may hold the attempt back. Then callers wait in the order in which they came.
3. Sending. The transport asks for the headers when the request's turn has come, and `Call.sign` signs them then: a
   request that waits for a connection does not carry an old signature.
4. The answer. It becomes a response or an error, and the clock learns from it.
5. The decision. A response ends the call. After an error, the call ends, or waits and goes on.

The functions that the loop calls are pure, or belong to one of three protocols (transport, credentials provider, retry
policy) or to a request handler. One deadline covers the loop. Errors are values until the end, where one is raised: an
exception that a frame has caught and keeps would keep that frame too, and the secrets in it.

A call signs with what its provider has. What the provider does for that is the client's own work, and not the call's:
see `_engine.context`.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from logging import DEBUG
from types import MappingProxyType
from typing import Any, TypeVar

import attrs

from .. import sigv4
from .._protocol import query
from .._protocol import response as answer
from .._protocol.clock_skew import is_reason
from .._protocol.endpoints import Endpoint
from .._protocol.headers import checked_headers
from .._protocol.http_messages import HttpRequest, HttpResponse
from .._runtime.at_hand import at_hand_of
from .._runtime.semaphore import FifoSemaphore
from .._runtime.single_flight import BackgroundTasks
from .._shape.arguments import not_credentials
from .._shape.secret import Unpicklable, without_data
from ..errors import (
    ClientClosedError,
    ConfigurationError,
    CredentialsError,
    DeadlineExceeded,
    STSError,
)
from ..events import Observer
from ..handlers import OutgoingRequest, RequestHandler
from ..operations import Operation
from ..protocols import CredentialsProvider, RetryPolicy, Transport
from ..shapes import Credentials, Request, Response, ResponseMetadata
from .call import Call
from .call_options import HEADERS, CallOptions
from .client_state import Shared
from .context import ClientContext
from .metrics import Meter, log, log_attempt
from .signing import EndpointSigner

T = TypeVar("T")
R = TypeVar("R", bound=Response)

REFUSED_KEYS = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidToken", "InvalidClientTokenId"})
METADATA_KEPT = 50  # answers; as many as the 2015 Java client kept


class Engine(Unpicklable):
    """Invoke operations at one endpoint. All parts are values or implement a protocol; none is made here."""

    __slots__ = ("_at_hand", "_options", "_shared", "_signer", "context", "endpoint")

    def __init__(self, context: ClientContext, options: CallOptions) -> None:
        self.context = context
        self.endpoint = options.endpoint
        self._shared = context.shared
        self._options = options
        self._at_hand = at_hand_of(options.credentials)
        self._signer = EndpointSigner(options.endpoint, why=options.no_endpoint)

    async def invoke(self, operation: Operation[R], request: Request[R], *, spent: float = 0.0) -> R:
        """
        Send *request* until it succeeds, the retry policy gives up, or its time is over; see `errors`.

        Args:
            operation: What is called.
            request: Its input.
            spent: Seconds of the deadline already used.
        """
        shared, options = self._shared, self._options
        meter = Meter(options.observers, operation=operation.name) if options.observers else None
        call = Call(shared, operation, request, endpoint_signer=self._signer, headers=options.headers, meter=meter)
        limit = shared.time_limits.start(None if options.deadline is None else max(options.deadline - spent, 0.0))
        outcome: R | STSError
        try:
            with limit:
                self._begin(call, spent)
                while True:
                    call.attempt += 1
                    if meter is not None:
                        meter.attempt_began(call.attempt)
                    if operation.signed:
                        credentials = self._at_hand(self.context) or await self._provided(call)
                        identity = self._signer.identity  # usually made by an earlier call
                        call.identity = (
                            identity if identity.credentials is credentials else self._signer.use(credentials)
                        )
                    if meter is not None:
                        meter.over("credentials")
                    if shared.turns or options.retries.admit(scope=call.identity.scope, now=shared.monotonic()) > 0:
                        await self._turn(call)
                    if meter is not None:
                        meter.over("limiter")
                    if options.handlers:
                        self._handle(call)
                    try:
                        response = await shared.transport.send(
                            HttpRequest(
                                "POST", call.endpoint.url, call.sign, call.body, fresh=call.died or call.only_once
                            )
                        )
                    except STSError as error:
                        outcome = call.lost(error)
                    else:
                        outcome = self._answered(call, response)
                    if meter is not None or options.handlers or log.isEnabledFor(DEBUG):
                        self._report(call, outcome)
                    if not isinstance(outcome, STSError):
                        self._succeeded(call, outcome)
                        break
                    if await self._is_final(call, outcome):
                        break
        except STSError as error:
            outcome = error
        except TimeoutError:
            if not limit.expired:  # of somebody else's code
                raise
            outcome = ClientClosedError() if shared.closed else self._too_late(call)
        finally:
            if call.unsent is not None:
                self._give_back(call)
        if meter is not None:
            meter.finished(outcome, quota_left=self._quota())
        if not isinstance(outcome, STSError):
            return outcome
        try:
            raise outcome
        finally:  # else the error and this frame keep each other until garbage is collected
            call.failure = call.charged = None
            del outcome

    def _begin(self, call: Call[R], spent: float) -> None:
        """Encode the request of *call*, and set its endpoint and its end."""
        if self._options.deadline is not None:
            call.ends = self._shared.monotonic() + self._options.deadline - spent
        call.body = query.encode(call.operation, call.request, validate=self._shared.validate)
        call.endpoint = self.endpoint or self._signer.endpoint
        call.digest = hashlib.sha256(call.body).hexdigest()
        if call.meter is not None:
            call.meter.marshalled(call.endpoint.url)

    def _answered(self, call: Call[R], response: HttpResponse) -> R | STSError:
        """Return the response or the error that an HTTP response is, after the clock has learned from it."""
        clock = self._shared.clock
        call.sent, call.unsent = call.attempt, None
        if call.meter is not None:
            call.meter.answered(response)
        call.skew = None
        # Over plain HTTP, an attacker could set Date and obtain a signature for next year.
        if call.endpoint.secure:
            call.skew = clock.learn(response.headers, sent=call.signed_at, received=self._shared.wall_clock())
        return answer.read(
            call.operation,
            response,
            # By whichever clock is later: a clock that is behind must not cut a lifetime that was granted.
            sent_at=call.signed_at + max(clock.confirmed, 0.0),
            requested=getattr(call.request, "duration_seconds", None),
            attempts=call.attempt,
            sent=(call.request, call.identity.credentials),
        )

    def _report(self, call: Call[R], outcome: R | STSError) -> None:
        """Report an attempt to observers, handlers and the log."""
        if call.meter is not None:
            call.meter.attempt_finished(outcome)
        if call.outgoing is not None:
            for handler in self._options.handlers:
                handler.after_attempt(call.outgoing, outcome)
        log_attempt(call.operation.name, call.attempt, outcome)

    def _succeeded(self, call: Call[R], response: R) -> None:
        """Report the success to the retry policy, and keep the metadata of the response."""
        shared = self._shared
        self._options.retries.after_success(
            scope=call.identity.scope,
            attempt=call.attempt - call.free,
            after=call.charged,
            now=shared.monotonic(),
        )
        # By the digest of what was sent, so that no request, and no secret in it, is kept.
        metadata = shared.metadata
        metadata[call.digest] = response.metadata
        metadata.move_to_end(call.digest)
        if len(metadata) > METADATA_KEPT:
            metadata.popitem(last=False)

    async def _is_final(self, call: Call[R], failure: STSError) -> bool:
        """Return True if *failure* is the outcome of *call*; otherwise wait until the next attempt may begin."""
        shared, scope = self._shared, call.identity.scope
        call.failure = failure
        failure.attempts = call.sent
        failure.skewed = is_reason(failure, skew=call.skew, signed_with=call.ahead)
        failure.retryable = failure.retryable or failure.skewed
        if await self._renewed(call, failure) or call.died_idle():
            call.free += 1
            return False
        quota = self._quota()
        delay = self._options.retries.after_failure(
            failure, scope=scope, attempt=call.paid, now=shared.monotonic(), jitter=shared.jitter()
        )
        if delay is not None:
            call.unsent, call.charged = (failure, scope), failure
        if delay is None or not call.may_be_sent_again(failure):
            return True
        self._check_time(call, delay)
        if call.meter is not None:
            call.meter.retry(failure, delay=delay, quota_before=quota, quota_left=self._quota())
        await self._pause(call, delay)
        return False

    def _quota(self) -> int | None:
        return getattr(self._options.retries, "quota", None)

    def _give_back(self, call: Call[Any]) -> None:
        """Return to the quota what a retry has cost that was not sent."""
        unsent, call.unsent = call.unsent, None
        give_back = getattr(self._options.retries, "after_unsent", None)
        if unsent is not None and give_back is not None:
            give_back(unsent[0], scope=unsent[1], now=self._shared.monotonic())
            if call.meter is not None:
                call.meter.given_back()

    async def _provided(self, call: Call[Any]) -> Credentials:
        try:  # a source that fails has tried what it could: it is not for us to try again
            return self._checked(await self._options.credentials.provide_credentials(self.context))
        except STSError as error:
            error.attempts = call.sent or error.attempts  # it may have a count of its own
            raise

    async def _renewed(self, call: Call[Any], failure: STSError) -> bool:
        """Return True if the service refused the credentials and the provider has others: at most once in a call."""
        credentials, invalidate = call.identity.credentials, getattr(self._options.credentials, "invalidate", None)
        if credentials is None or invalidate is None or call.renewed:
            return False
        if getattr(failure, "code", None) not in REFUSED_KEYS:
            return False
        call.renewed = True
        if call.meter is not None:
            call.meter.invalidated(credentials.access_key_id, failure)
        invalidate(credentials.access_key_id)
        if not call.may_be_sent_again(failure):
            return False
        return (await self._provided(call)).access_key_id != credentials.access_key_id

    async def _turn(self, call: Call[Any]) -> None:
        """Wait until the retry policy admits the request, behind those who came before."""
        scope = call.identity.scope
        line = (asyncio.get_running_loop(), self._options.retries, scope)
        turns = self._shared.turns
        gate = turns.setdefault(line, FifoSemaphore(1))
        try:
            if not gate.try_acquire():
                await gate.wait()
            try:
                while (wait := self._options.retries.admit(scope=scope, now=self._shared.monotonic())) > 0:
                    await self._pause(call, wait)
            finally:
                gate.release()
        finally:
            if gate.idle:
                turns.pop(line, None)

    def _check_time(self, call: Call[Any], seconds: float) -> None:
        """Raise the call's error if it would be over after a pause."""
        if self._shared.monotonic() + seconds > call.ends:
            raise self._too_late(call)

    async def _pause(self, call: Call[Any], seconds: float) -> None:
        self._check_time(call, seconds)
        if seconds > 0:
            await self._shared.sleep(seconds)

    def _too_late(self, call: Call[Any]) -> STSError:
        error = call.failure or self._deadline_exceeded()
        error.attempts = call.sent
        return error

    def _deadline_exceeded(self) -> STSError:
        return DeadlineExceeded(f"the call exceeded its deadline of {self._options.deadline:g} s")

    def close(self) -> None:
        """End all calls that have a deadline, in all event loops."""
        self._shared.closed = True
        self._shared.time_limits.close_all()

    async def get_credentials(self, *, spent: float = 0.0) -> Credentials:
        """Return what a request would be signed with now; *spent* is as for `invoke`."""
        return self._checked(
            await self._in_time(self._options.credentials.provide_credentials(self.context), spent=spent)
        )

    async def _in_time(self, work: Coroutine[Any, Any, T], *, spent: float) -> T:
        """Return what *work* returns, within the deadline of a call."""
        if self._options.deadline is None:
            return await work
        limit = self._shared.time_limits.start(max(self._options.deadline - spent, 0.0))
        try:
            with limit:
                return await work
        except TimeoutError:
            if not limit.expired:
                raise
        raise ClientClosedError if self._shared.closed else self._deadline_exceeded()

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
        body = query.encode(operation, request, validate=self._shared.validate)
        if request._has_secret():
            raise ConfigurationError(f"{operation.name} with a secret cannot be presigned: URLs end up in logs")
        return sigv4.presign(
            await self.get_credentials(spent=spent),
            url=f"{self._signer.endpoint.url}?{body.decode()}",
            headers={name: value for name, value in self._options.headers.items() if name not in HEADERS},
            service=self._signer.endpoint.signing_name,
            region=self._signer.region,
            at=self._shared.lasting_time(),
            expires=expires,
        )

    def metadata_of(self, operation: Operation[Any], request: Request[Any]) -> ResponseMetadata | None:
        """Return what came with the last answer to a request equal to *request*, if it is among the last 50."""
        return self._shared.metadata.get(_digest(query.encode(operation, request, validate=False)))

    def _handle(self, call: Call[Any]) -> None:
        """Add the headers of the handlers, and keep the request as they are shown it after the attempt."""
        endpoint = self._signer.endpoint
        outgoing = OutgoingRequest(
            operation=call.operation.name,
            attempt=call.attempt,
            endpoint=endpoint.url,
            region=endpoint.signing_region,
            request=call.request,
            headers=MappingProxyType(self._options.headers),
        )
        for handler in self._options.handlers:
            added = checked_headers(handler.before_signing(outgoing))
            outgoing = attrs.evolve(outgoing, headers=MappingProxyType({**outgoing.headers, **added}))
        call.outgoing, call.headers = outgoing, outgoing.headers

    def _checked(self, credentials: Credentials | None) -> Credentials:
        if not isinstance(credentials, Credentials):
            given = without_data(credentials)
            del credentials  # no traceback shows data that was given in their place
            raise CredentialsError(
                f"{type(self._options.credentials).__name__}.provide_credentials {not_credentials(given)}"
            )
        return credentials


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


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
