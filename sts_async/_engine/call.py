"""The state of one call, and its signing."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

from .._protocol.endpoints import Endpoint
from .._protocol.http_messages import NOTHING
from ..errors import ConnectionLost, STSError
from ..operations import Operation
from ..shapes import Request, Response
from .client_state import ClientState
from .metrics import CallMetrics
from .mfa_sent_once import MFA_CODE, may_be_sent_again
from .signing import UNSIGNED, EndpointSigner

if TYPE_CHECKING:
    from ..handlers import OutgoingRequest

R = TypeVar("R", bound=Response)
WAITED_FOR_CREDENTIALS = "waited for credentials"  # for messages, as are the other stages of a call


class Call(Generic[R]):
    """
    The state of one call.

    Args:
        shared: The state that all calls of the client share.
        operation: The operation.
        request: The request shape.
        metrics: Times the call for observers; None without observers.

    Attributes:
        body: The encoded request.
        digest: SHA-256 of the body, in hexadecimal digits.
        headers: The headers before signing.
        endpoint: The endpoint that the request is sent to.
        endpoint_signer: Signs requests to that endpoint.
        identity: The credentials of the current attempt, with their signer.
        only_once: Whether the request has an MFA code, which the service accepts once.
        outgoing: The request as handlers see it; None without handlers.
        signed_at: Time of the signature by this host's clock, in seconds since 1970.
        ahead: Seconds that the service's clock was assumed to be ahead at that time.
        skew: Seconds that it is ahead by the Date header of the response; None without one.
        ends: Monotonic time at which the deadline of the call passes.
        attempt: Number of the attempt; the first is 1.
        sent: Number of times that the request was sent.
        failure: The error of the last attempt.
        uncounted_attempts: Attempts that failed for a reason that is not the service's, such as a stale connection.
        has_stale_connection: Whether a pooled connection turned out to be closed. This is free of charge once.
        charged_failure: The error of the last attempt whose retry took tokens from the quota.
        unsent_retry: That error and its rate limit key, until the retry is sent. Otherwise the tokens are given back.
        was_renewed: Whether new credentials were fetched after the service had refused the first ones.
    """

    __slots__ = (
        "ahead",
        "attempt",
        "body",
        "charged_failure",
        "digest",
        "endpoint",
        "endpoint_signer",
        "ends",
        "failure",
        "has_stale_connection",
        "headers",
        "identity",
        "metrics",
        "only_once",
        "operation",
        "outgoing",
        "request",
        "sent",
        "shared",
        "signed_at",
        "skew",
        "uncounted_attempts",
        "unsent_retry",
        "was_renewed",
    )
    endpoint: Endpoint  # there is none until the body is written

    def __init__(
        self,
        shared: ClientState,
        operation: Operation[R],
        request: Request[R],
        *,
        endpoint_signer: EndpointSigner,
        headers: Mapping[str, str],
        metrics: CallMetrics | None,
    ) -> None:
        self.shared = shared
        self.operation = operation
        self.request = request
        self.endpoint_signer = endpoint_signer
        self.headers = headers
        self.metrics = metrics
        self.body, self.digest = NOTHING, ""
        self.identity = UNSIGNED
        self.only_once = getattr(request, MFA_CODE, None) is not None
        self.outgoing: OutgoingRequest | None = None
        self.signed_at: float = shared.wall_clock()  # until it is
        self.ahead = shared.clock.offset
        self.skew: float | None = None
        self.ends = math.inf
        self.attempt = self.sent = self.uncounted_attempts = 0
        self.failure: STSError | None = None
        self.charged_failure: STSError | None = None
        self.unsent_retry: tuple[STSError, str] | None = None
        self.has_stale_connection = self.was_renewed = False

    def sign(self) -> Mapping[str, str]:
        """
        Return the headers with a new signature, and count the request as sent.

        The transport calls this after the wait for a connection. An earlier signature could be too old by then.
        """
        shared, metrics, identity = self.shared, self.metrics, self.identity
        if metrics is not None:
            metrics.end_of("queue")
        self.signed_at = shared.wall_clock()
        self.ahead = shared.clock.offset
        headers = self.headers
        if identity is not UNSIGNED:
            signing = identity.signing  # read once: another thread may replace it
            if signing is not None and signing[0] is headers:
                signer = signing[1]
            else:
                signer = self.endpoint_signer.signer_for(identity, headers)
            headers = signer.sign_at(self.signed_at + self.ahead, payload_hash=self.digest)
        self.sent, self.unsent_retry = self.attempt, None
        if metrics is not None:
            metrics.end_of("signing")
        return headers

    def lost(self, error: STSError) -> STSError:
        """Note that no answer came to the attempt, and return why."""
        self.sent, self.unsent_retry, self.skew = self.attempt, None, None
        if self.metrics is not None:
            self.metrics.end_of("send")
        return error.with_traceback(None)  # else it and the frame that caught it keep each other

    @property
    def stage(self) -> str:
        """What the call was doing, for the message of an exceeded deadline."""
        if self.operation.signed and self.identity is UNSIGNED:
            return WAITED_FOR_CREDENTIALS
        return "waited for the response" if self.sent == self.attempt else "waited for its turn to be sent"

    @property
    def counted_attempts(self) -> int:
        """The number of the attempt for the retry policy."""
        return self.attempt - self.uncounted_attempts

    def replaces_stale_connection(self) -> bool:
        """Return True, once in a call, if only a pooled connection failed, which the server had closed while idle."""
        failure = self.failure
        if self.has_stale_connection or not (isinstance(failure, ConnectionLost) and failure.stale):
            return False
        if not self.may_be_sent_again(failure):
            return False
        self.has_stale_connection = True
        return True

    def may_be_sent_again(self, failure: STSError) -> bool:
        """Return True if the request may be sent again. With an MFA code, only if it was not sent."""
        return may_be_sent_again(failure, only_once=self.only_once)
