"""
The engine: what every call does, and the three seams where something else can be put in.

`Engine.invoke` holds the only loop of a call. What it calls is pure and returns a value, or is one of the seams:
transport, credentials provider, retry policy.
"""

import asyncio
import hashlib
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from . import sigv4
from ._core import answer, query
from ._core.constraints import violations
from ._core.endpoints import NO_REGION, Endpoint
from ._core.message import HttpRequest, HttpResponse
from ._core.scope import scope_of
from ._core.secret import Unpicklable
from ._flight import Tasks
from .errors import ConfigurationError, CredentialsError, ParamValidationError, STSError
from .operations import Operation
from .shapes import Credentials, Request, Response, ResponseMetadata

R = TypeVar("R", bound=Response)

SERVICE = "sts"
HEADERS = {"content-type": query.CONTENT_TYPE}  # all that is signed: what a proxy may change is not
METADATA_KEPT = 50  # answers; as many as the 2015 Java client kept

log = logging.getLogger("sts_async")


class Transport(Protocol):
    """Sends a request once."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Return the whole answer, or raise a `TransportError`."""
        ...


class Lender(Transport, Protocol):
    """
    What a client lends to the sources of its credentials: its connections, its STS, its clocks.

    Attributes:
        tasks: Where work begins that ends with the client.
        default_credentials: To be called in a thread: returns what the client takes when it is given no credentials.
        wall_clock: Returns seconds since 1970.
        monotonic: Returns seconds that no setting of a clock changes.
        sleep: Waits for some seconds.
        jitter: Returns a random number in [0, 1).
    """

    tasks: Tasks
    default_credentials: "Callable[[], CredentialsProvider] | None"
    wall_clock: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]

    def signed_by(self, credentials: "CredentialsProvider", *, retries: "RetryPolicy | None" = None) -> "Engine":
        """Return the client's engine with other credentials, and with other retries when they are given."""
        ...


class CredentialsProvider(Protocol):
    """Finds credentials, and refreshes them when it must: asked anew before every attempt."""

    async def provide_credentials(self, lender: Lender, /) -> Credentials:
        """
        Return credentials that are valid now; *lender* has a coroutine ``send``, for sources that answer over HTTP.

        Raises:
            CredentialsNotFound: There are none here.
            CredentialsError: There should be, but they cannot be had.
        """
        ...


class RetryPolicy(Protocol):
    """
    Decides whether and when to send again. Never sleeps.

    *scope* is whose limit a request counts against: the calling account and the region, "" for what is not signed.
    *now* is monotonic, in seconds.
    """

    def admit(self, *, scope: str, now: float) -> float:
        """Return 0 for a request that may be sent, or the seconds after which to ask again."""
        ...

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        """Learn that attempt number *attempt* succeeded, and what ended the one before."""
        ...

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up; *jitter* is random in [0, 1)."""
        ...


class Engine(Unpicklable):
    """Invoke operations at one endpoint. All parts are values or seams; none is made here."""

    def __init__(
        self,
        *,
        endpoint: Endpoint | None,
        transport: Transport,
        credentials: CredentialsProvider,
        retries: RetryPolicy,
        validate: bool = True,
        tasks: Tasks | None = None,
        default_credentials: Callable[[], CredentialsProvider] | None = None,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.tasks = tasks or Tasks()
        self.default_credentials = default_credentials
        self.wall_clock = wall_clock
        self.monotonic = monotonic
        self.sleep = sleep
        self.jitter = jitter
        self.endpoint = endpoint
        self._transport = transport
        self._credentials = credentials
        self._retries = retries
        self._validate = validate
        self._signer: sigv4.Signer | None = None
        self._scope_of: tuple[Credentials, str] | None = None
        self._metadata: OrderedDict[str, ResponseMetadata] = OrderedDict()

    async def invoke(self, operation: Operation[R], request: Request[R]) -> R:
        """Send *request* until it succeeds or the retry policy gives up. Raises what `errors` lists."""
        if self._validate:
            self._check(request)
        endpoint = self._where()
        body = query.serialize(operation, request)
        digest = _digest(body)
        attempt = sent = 0
        failure: STSError | None = None
        while True:
            attempt += 1
            credentials, scope = None, ""
            if operation.signed:  # a source that fails has tried what it could: it is not for us to try again
                try:
                    credentials = await self._credentials.provide_credentials(self)
                except STSError as error:
                    error.attempts = sent or error.attempts  # it may have a count of its own
                    raise
                scope = self._scope(credentials, endpoint)
            while (wait := self._retries.admit(scope=scope, now=self.monotonic())) > 0:
                await self.sleep(wait)
            outcome: R | STSError
            try:
                at = self._now()
                headers = self._sign(credentials, digest, at) if operation.signed else HEADERS
                sent = attempt
                response = await self._transport.send(HttpRequest("POST", endpoint.url, headers, body))
            except STSError as error:
                outcome = error
            else:
                outcome = answer.read(
                    operation,
                    response,
                    now=at,
                    requested=getattr(request, "duration_seconds", None),
                    attempts=attempt,
                )
            if log.isEnabledFor(logging.DEBUG):
                _log_attempt(operation, attempt, outcome)
            if not isinstance(outcome, STSError):
                self._retries.after_success(scope=scope, attempt=attempt, after=failure, now=self.monotonic())
                self._remember(digest, outcome.metadata)
                return outcome
            failure = outcome
            failure.attempts = sent
            delay = self._retries.after_failure(
                failure, scope=scope, attempt=attempt, now=self.monotonic(), jitter=self.jitter()
            )
            if delay is None:
                raise failure
            await self.sleep(delay)

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send *request* once, whatever it is, over the client's connections."""
        return await self._transport.send(request)

    def signed_by(self, credentials: CredentialsProvider, *, retries: RetryPolicy | None = None) -> "Engine":
        """Return a view of this engine that signs with other *credentials*, and shares everything else."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._credentials = credentials
        view._retries = retries or self._retries
        view._signer = view._scope_of = None
        view._metadata = OrderedDict()
        return view

    async def presign(self, operation: Operation[Any], request: Request[Any], *, expires: int) -> sigv4.PresignedUrl:
        """Return a URL that invokes *operation* when it is fetched, in place of invoking it."""
        if self._validate:
            self._check(request)
        if request._has_secret():
            raise ConfigurationError(f"{operation.name} with a secret cannot be presigned: URLs end up in logs")
        return sigv4.presign(
            self._checked(await self._credentials.provide_credentials(self)),
            url=f"{self._where().url}?{query.serialize(operation, request).decode()}",
            service=SERVICE,
            region=self._signing_region(),
            at=self._now(),
            expires=expires,
        )

    def metadata_of(self, operation: Operation[Any], request: Request[Any]) -> ResponseMetadata | None:
        """Return what came with the last answer to a request equal to *request*, if it is among the last 50."""
        return self._metadata.get(_digest(query.serialize(operation, request)))

    def _scope(self, credentials: Credentials, endpoint: Endpoint) -> str:
        known = self._scope_of
        if known is None or known[0] is not credentials:
            access_key_id = self._checked(credentials).access_key_id
            known = self._scope_of = (credentials, scope_of(access_key_id, endpoint.signing_region or ""))
        return known[1]

    def _check(self, request: Request[Any]) -> None:
        broken = tuple(violations(request))
        if broken:
            raise ParamValidationError(type(request).__name__, broken)

    def _sign(self, credentials: Credentials | None, digest: str, at: datetime) -> Mapping[str, str]:
        signer = self._signer
        if signer is None or signer.credentials is not credentials:
            # One is kept, for the credentials in use: what they supersede is let go, and their derived keys with it.
            signer = self._signer = sigv4.Signer(
                self._checked(credentials),
                method="POST",
                url=self._where().url,
                headers=HEADERS,
                service=SERVICE,
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

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.wall_clock(), UTC)

    def _remember(self, digest: str, metadata: ResponseMetadata) -> None:
        # By the digest of what was sent, so that no request, and no secret in it, is kept.
        self._metadata[digest] = metadata
        self._metadata.move_to_end(digest)
        if len(self._metadata) > METADATA_KEPT:
            self._metadata.popitem(last=False)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _log_attempt(operation: Operation[Any], attempt: int, outcome: Response | STSError) -> None:
    if isinstance(outcome, STSError):
        log.debug("%s, attempt %d: %s", operation.name, attempt, outcome)
    else:
        log.debug(
            "%s, attempt %d: HTTP %d, request %s",
            operation.name,
            attempt,
            outcome.metadata.status,
            outcome.metadata.request_id,
        )
