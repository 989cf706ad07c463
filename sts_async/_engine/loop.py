"""
The engine: the only loop of a call.

A call is one coroutine, `Engine.invoke`, and each turn of its loop is one attempt:

1. Credentials. A provider that has them at hand is not awaited. An `Identity` caches the values derived from them:
   the rate limit key and the signer.
2. Admission. The retry policy may delay the attempt. Callers then wait in the order of their arrival.
3. Sending. The transport asks for the headers after the wait for a connection, and `Call.sign` signs them then. So a
   request never carries an old signature.
4. Response. The HTTP response becomes a response shape or an error, and the clock learns from its Date header.
5. Decision. A response ends the call. An error ends it, or the loop waits and tries again.

The functions that the loop calls are pure, or belong to one of three protocols (transport, credentials provider, retry
policy) or to a request handler. One deadline covers the loop. Errors are values until the end of the call. A frame that
kept a caught exception would also keep its own traceback, and the secrets in it.

Fetching credentials is shared work of the client, not of the call: see `_engine.context`.
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
from ..protocols import CredentialsProvider, RetryPolicy, Transport, invalidate
from ..shapes import Credentials, Request, Response, ResponseMetadata
from .call import WAITED_FOR_CREDENTIALS, Call
from .call_options import HEADERS, CallOptions
from .client_state import ClientState
from .context import ClientContext
from .metrics import CallMetrics, log, log_attempt
from .signing import EndpointSigner

T = TypeVar("T")
R = TypeVar("R", bound=Response)

REFUSED_KEYS = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidToken", "InvalidClientTokenId"})
METADATA_KEPT = 50  # responses, as in the 2015 Java client


class Engine(Unpicklable):
    """Invokes operations at one endpoint. All its parts are given: values, or objects behind a protocol."""

    __slots__ = ("_at_hand", "_options", "_shared", "_signer", "context", "endpoint")

    def __init__(self, context: ClientContext, options: CallOptions) -> None:
        self.context = context
        self.endpoint = options.endpoint
        self._shared = context.shared
        self._options = options
        self._at_hand = at_hand_of(options.credentials)
        self._signer = EndpointSigner(options.endpoint, why=options.no_endpoint)

    async def invoke(self, operation: Operation[R], request: Request[R], *, elapsed: float = 0.0) -> R:
        """
        Send *request* until it succeeds, the retry policy gives up, or the deadline passes.

        Args:
            operation: The operation.
            request: The request shape.
            elapsed: Seconds of the deadline that have passed already.

        Raises:
            STSError: The call failed; see `errors`.
        """
        shared, options = self._shared, self._options
        metrics = CallMetrics(options.observers, operation=operation.name) if options.observers else None
        call = Call(shared, operation, request, endpoint_signer=self._signer, headers=options.headers, metrics=metrics)
        limit = shared.time_limits.start(None if options.deadline is None else max(options.deadline - elapsed, 0.0))
        outcome: R | STSError
        try:
            with limit:
                self._prepare(call, elapsed)
                while True:
                    call.attempt += 1
                    if metrics is not None:
                        metrics.attempt_began(call.attempt)
                    if operation.signed:
                        credentials = self._at_hand(self.context) or await self._get_credentials(call)
                        identity = self._signer.identity  # usually made by an earlier call
                        call.identity = (
                            identity if identity.credentials is credentials else self._signer.use(credentials)
                        )
                    if metrics is not None:
                        metrics.end_of("credentials")
                    if shared.queues or options.retries.admit(scope=call.identity.scope, now=shared.monotonic()) > 0:
                        await self._wait_for_admission(call)
                    if metrics is not None:
                        metrics.end_of("limiter")
                    if options.handlers:
                        self._handle(call)
                    try:
                        response = await shared.transport.send(
                            HttpRequest(
                                "POST",
                                call.endpoint.url,
                                call.sign,
                                call.body,
                                fresh=call.has_stale_connection or call.only_once,
                            )
                        )
                    except STSError as error:
                        outcome = call.lost(error)
                    else:
                        outcome = self._handle_response(call, response)
                    if metrics is not None or options.handlers or log.isEnabledFor(DEBUG):
                        self._report(call, outcome)
                    if not isinstance(outcome, STSError):
                        self._succeeded(call, outcome)
                        break
                    if await self._is_final(call, outcome):
                        break
        except STSError as error:
            outcome = error
        except TimeoutError:
            if not limit.expired:  # raised by other code, such as a handler
                raise
            outcome = ClientClosedError() if shared.closed else self._deadline_error(call)
        finally:
            if call.unsent_retry is not None:
                self._refund(call)
        if metrics is not None:
            metrics.finished(outcome, quota_left=self._quota())
        if not isinstance(outcome, STSError):
            return outcome
        try:
            raise outcome
        finally:  # otherwise the error and this frame form a reference cycle
            call.failure = call.charged_failure = None
            del outcome

    def _prepare(self, call: Call[R], elapsed: float) -> None:
        """Encode the request of *call*, and set its endpoint and deadline."""
        if self._options.deadline is not None:
            call.ends = self._shared.monotonic() + self._options.deadline - elapsed
        call.body = query.encode(call.operation, call.request, validate=self._shared.validate)
        call.endpoint = self.endpoint or self._signer.endpoint
        call.digest = hashlib.sha256(call.body).hexdigest()
        if call.metrics is not None:
            call.metrics.encoded(call.endpoint.url)

    def _handle_response(self, call: Call[R], response: HttpResponse) -> R | STSError:
        """Return the response shape or the error in an HTTP response, after the clock has learned from it."""
        clock = self._shared.clock
        call.sent, call.unsent_retry = call.attempt, None
        if call.metrics is not None:
            call.metrics.response_received(response)
        call.skew = None
        # Over plain HTTP, an attacker could set Date and obtain a signature for next year.
        if call.endpoint.secure:
            call.skew = clock.learn(response.headers, sent=call.signed_at, received=self._shared.wall_clock())
        return answer.read(
            call.operation,
            response,
            # The later of both clocks: a clock that is behind must not shorten a granted lifetime.
            sent_at=call.signed_at + max(clock.confirmed, 0.0),
            requested=getattr(call.request, "duration_seconds", None),
            attempts=call.attempt,
            sent=(call.request, call.identity.credentials),
        )

    def _report(self, call: Call[R], outcome: R | STSError) -> None:
        """Report an attempt to observers, handlers and the log."""
        if call.metrics is not None:
            call.metrics.attempt_finished(outcome)
        if call.outgoing is not None:
            for handler in self._options.handlers:
                handler.after_attempt(call.outgoing, outcome)
        log_attempt(call.operation.name, call.attempt, outcome)

    def _succeeded(self, call: Call[R], response: R) -> None:
        """Report the success to the retry policy, and keep the metadata of the response."""
        shared = self._shared
        self._options.retries.after_success(
            scope=call.identity.scope,
            attempt=call.attempt - call.uncounted_attempts,
            after=call.charged_failure,
            now=shared.monotonic(),
        )
        # The key is the digest of the body, so that no request, and no secret in it, is kept.
        metadata = shared.metadata
        metadata.pop(call.digest, None)
        metadata[call.digest] = response.metadata
        if len(metadata) > METADATA_KEPT:
            try:
                metadata.popitem(last=False)
            except KeyError:  # another thread has removed it
                pass

    async def _is_final(self, call: Call[R], failure: STSError) -> bool:
        """Return True if *failure* is the outcome of *call*; otherwise wait until the next attempt may begin."""
        shared, scope = self._shared, call.identity.scope
        call.failure = failure
        failure.attempts = call.sent
        failure.skewed = is_reason(failure, skew=call.skew, signed_with=call.ahead)
        failure.retryable = failure.retryable or failure.skewed
        if await self._has_new_credentials(call, failure) or call.replaces_stale_connection():
            call.uncounted_attempts += 1
            return False
        quota = self._quota()
        delay = self._options.retries.after_failure(
            failure, scope=scope, attempt=call.counted_attempts, now=shared.monotonic(), jitter=shared.jitter()
        )
        if delay is not None:
            call.unsent_retry, call.charged_failure = (failure, scope), failure
        if delay is None or not call.may_be_sent_again(failure):
            return True
        self._check_time(call, delay)
        if call.metrics is not None:
            call.metrics.retry_scheduled(failure, delay=delay, quota_before=quota, quota_left=self._quota())
        await self._pause(call, delay)
        return False

    def _quota(self) -> int | None:
        return getattr(self._options.retries, "quota", None)

    def _refund(self, call: Call[Any]) -> None:
        """Give the tokens of a retry that was not sent back to the quota."""
        unsent, call.unsent_retry = call.unsent_retry, None
        give_back = getattr(self._options.retries, "after_unsent", None)
        if unsent is not None and give_back is not None:
            give_back(unsent[0], scope=unsent[1], now=self._shared.monotonic())
            if call.metrics is not None:
                call.metrics.retry_not_sent()

    async def _get_credentials(self, call: Call[Any]) -> Credentials:
        try:  # no retry here: a provider makes its own attempts
            return self._checked(await self._options.credentials.provide_credentials(self.context))
        except STSError as error:
            error.attempts = call.sent or error.attempts  # the error may count attempts of the provider
            raise

    async def _has_new_credentials(self, call: Call[Any], failure: STSError) -> bool:
        """Return True, once in a call, if the service refused the credentials and the provider has new ones."""
        credentials = call.identity.credentials
        if credentials is None or call.was_renewed or getattr(failure, "code", None) not in REFUSED_KEYS:
            return False
        if not invalidate(self._options.credentials, credentials.access_key_id):
            return False
        call.was_renewed = True
        if call.metrics is not None:
            call.metrics.credentials_refused(credentials.access_key_id, failure)
        if not call.may_be_sent_again(failure):
            return False
        return (await self._get_credentials(call)).access_key_id != credentials.access_key_id

    async def _wait_for_admission(self, call: Call[Any]) -> None:
        """Wait until the retry policy admits the request. Callers are admitted in the order of their arrival."""
        scope = call.identity.scope
        line = (asyncio.get_running_loop(), self._options.retries, scope)
        queues = self._shared.queues
        queue = queues.setdefault(line, FifoSemaphore(1))
        try:
            if not queue.try_acquire():
                await queue.wait()
            try:
                while (wait := self._options.retries.admit(scope=scope, now=self._shared.monotonic())) > 0:
                    await self._pause(call, wait)
            finally:
                queue.release()
        finally:
            if queue.idle:
                queues.pop(line, None)

    def _check_time(self, call: Call[Any], seconds: float) -> None:
        """Raise the error of the call if its deadline would pass within *seconds*."""
        if self._shared.monotonic() + seconds > call.ends:
            raise self._deadline_error(call)

    async def _pause(self, call: Call[Any], seconds: float) -> None:
        self._check_time(call, seconds)
        if seconds > 0:
            await self._shared.sleep(seconds)

    def _deadline_error(self, call: Call[Any]) -> STSError:
        error = call.failure or self._deadline_exceeded(call.stage)
        error.attempts = call.sent
        return error

    def _deadline_exceeded(self, stage: str) -> STSError:
        return DeadlineExceeded(f"the call exceeded its deadline of {self._options.deadline:g} s while it {stage}")

    def close(self) -> None:
        """End all running calls with a deadline, in all event loops."""
        self._shared.closed = True
        self._shared.time_limits.close_all()

    async def get_credentials(self, *, elapsed: float = 0.0) -> Credentials:
        """Return the credentials that would sign a request now; *elapsed* is as for `invoke`."""
        return self._checked(
            await self._in_time(self._options.credentials.provide_credentials(self.context), elapsed=elapsed)
        )

    async def _in_time(self, work: Coroutine[Any, Any, T], *, elapsed: float) -> T:
        """Return the result of *work*, within the deadline of a call."""
        if self._options.deadline is None:
            return await work
        limit = self._shared.time_limits.start(max(self._options.deadline - elapsed, 0.0))
        try:
            with limit:
                return await work
        except TimeoutError:
            if not limit.expired:
                raise
        raise ClientClosedError if self._shared.closed else self._deadline_exceeded(WAITED_FOR_CREDENTIALS)

    def view(self, **changed: Any) -> "Engine":
        """
        Return an engine with some options replaced. It shares everything else with this one.

        Args:
            changed: See `CallOptions.changed`. Providers without a source use the credentials of this engine.
        """
        context = self.context
        if "credentials" in changed:
            context = context.based_on(self._options.credentials)
        made = Engine(context, self._options.changed(**changed))
        if changed.keys().isdisjoint({"credentials", "endpoint", "headers"}):
            made._signer = self._signer  # its cached values are valid for the view, too
        return made

    def lend(self, *, retries: Callable[[RetryPolicy], RetryPolicy]) -> ClientContext:
        """
        Return a context whose requests have the options and the credentials of this engine.

        A fleet works with it: its identities are obtained by the client or the view that it was made for.

        Args:
            retries: Returns the retry policy of the context, from the policy of this engine.
        """
        options = self._options
        return self.context.based_on(options.credentials, options=options.replaced(retries=retries(options.retries)))

    async def presign(
        self, operation: Operation[Any], request: Request[Any], *, expires: int | timedelta, elapsed: float = 0.0
    ) -> sigv4.PresignedUrl:
        """Return a URL that performs *request* when it is fetched; *elapsed* is as for `invoke`."""
        body = query.encode(operation, request, validate=self._shared.validate)
        if request._has_secret():
            raise ConfigurationError(f"{operation.name} with a secret cannot be presigned: URLs end up in logs")
        return sigv4.presign(
            await self.get_credentials(elapsed=elapsed),
            url=f"{self._signer.endpoint.url}?{body.decode()}",
            headers={name: value for name, value in self._options.headers.items() if name not in HEADERS},
            service=self._signer.endpoint.signing_name,
            region=self._signer.region,
            at=self._shared.lasting_time(),
            expires=expires,
        )

    def metadata_of(self, operation: Operation[Any], request: Request[Any]) -> ResponseMetadata | None:
        """Return the metadata of the last response to an equal request, if it is among the last 50 responses."""
        return self._shared.metadata.get(_digest(query.encode(operation, request, validate=False)))

    def _handle(self, call: Call[Any]) -> None:
        """Add the headers of the handlers, and keep the request that they see after the attempt."""
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
            del credentials  # a traceback must not show data that was returned in place of credentials
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
    """Return the engine of a client; for *shared*, see `ClientState`."""
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
        ClientState(transport=transport, **shared),
        options,
        engine=Engine,
        tasks=tasks or BackgroundTasks(),
        default_credentials=default_credentials,
    )
    return Engine(context, options)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
