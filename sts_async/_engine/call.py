"""One call: what is sent, how far it has come, and whether what failed may be sent again."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

from .._protocol.endpoints import Endpoint
from .._protocol.http_messages import NOTHING
from ..errors import ConnectError, ConnectionLost, STSError
from ..operations import Operation
from ..shapes import Request, Response
from .client_state import Shared
from .metrics import Meter
from .signing import NOBODY, EndpointSigner

if TYPE_CHECKING:
    from ..handlers import OutgoingRequest

R = TypeVar("R", bound=Response)


class Call(Generic[R]):
    """
    One call: what is sent, and how far it has come.

    Args:
        shared: What the calls of one client share.
        operation: What is called.
        request: Its input.
        meter: What watches it, where somebody observes.

    Attributes:
        body: What is sent.
        digest: SHA-256 of the body, in hexadecimal digits.
        headers: What is sent with it, before it is signed.
        endpoint: Where it goes.
        endpoint_signer: Signs it.
        identity: What signs the attempt under way.
        only_once: Whether the request has an MFA code, which is good for once.
        outgoing: What the handlers are shown; None without handlers.
        signed_at: When the attempt was signed, by this host's clock, in seconds since 1970.
        ahead: By how much the service's clock was thought to be ahead then, in seconds.
        skew: By how much it is ahead, as the answer says; None when it does not say.
        ends: When the call must be over, on the monotonic clock.
        attempt: Number of the attempt; the first is 1.
        sent: How often the request has been sent.
        failure: What ended the last attempt.
        free: How many attempts were no fault of the service, and do not count.
        died: Whether a connection had ended while nobody used it.
        charged: What ended the last attempt after which a retry was paid for.
        unsent: What ended the last attempt, and its scope, while the retry that was paid for has not been sent.
        renewed: Whether credentials were fetched anew because the service refused them.
    """

    __slots__ = (
        "ahead",
        "attempt",
        "body",
        "charged",
        "died",
        "digest",
        "endpoint",
        "endpoint_signer",
        "ends",
        "failure",
        "free",
        "headers",
        "identity",
        "meter",
        "only_once",
        "operation",
        "outgoing",
        "renewed",
        "request",
        "sent",
        "shared",
        "signed_at",
        "skew",
        "unsent",
    )
    endpoint: Endpoint  # there is none until the body is written

    def __init__(
        self,
        shared: Shared,
        operation: Operation[R],
        request: Request[R],
        *,
        endpoint_signer: EndpointSigner,
        headers: Mapping[str, str],
        meter: Meter | None,
    ) -> None:
        self.shared = shared
        self.operation = operation
        self.request = request
        self.endpoint_signer = endpoint_signer
        self.headers = headers
        self.meter = meter
        self.body, self.digest = NOTHING, ""
        self.identity = NOBODY
        self.only_once = getattr(request, "token_code", None) is not None
        self.outgoing: OutgoingRequest | None = None
        self.signed_at: float = shared.wall_clock()  # until it is
        self.ahead = shared.clock.offset
        self.skew: float | None = None
        self.ends = math.inf
        self.attempt = self.sent = self.free = 0
        self.failure: STSError | None = None
        self.charged: STSError | None = None
        self.unsent: tuple[STSError, str] | None = None
        self.died = self.renewed = False

    def sign(self) -> Mapping[str, str]:
        """
        Return the headers with a signature that is made now, and note that the request is being sent.

        The transport calls this when the request's turn has come: a request that has waited in a queue would else carry
        an old time.
        """
        shared, meter, identity = self.shared, self.meter, self.identity
        if meter is not None:
            meter.over("queue")
        self.signed_at = shared.wall_clock()
        self.ahead = shared.clock.offset
        headers = self.headers
        if identity is not NOBODY:
            signer = identity.signer
            if signer is None or identity.headers is not headers:
                signer = self.endpoint_signer.signer_for(identity, headers)
            headers = signer.sign_at(self.signed_at + self.ahead, payload_hash=self.digest)
        self.sent, self.unsent = self.attempt, None
        if meter is not None:
            meter.over("signing")
        return headers

    def lost(self, error: STSError) -> STSError:
        """Note that no answer came to the attempt, and return why."""
        self.sent, self.unsent, self.skew = self.attempt, None, None
        if self.meter is not None:
            self.meter.over("send")
        return error.with_traceback(None)  # else it and the frame that caught it keep each other

    @property
    def paid(self) -> int:
        """The number of the attempt, as the retry policy counts them."""
        return self.attempt - self.free

    def died_idle(self) -> bool:
        """Return True if all that failed is a pooled connection that the server had closed: a new one is free."""
        failure = self.failure
        if self.died or not (isinstance(failure, ConnectionLost) and failure.stale):
            return False
        if not self.may_be_sent_again(failure):
            return False
        self.died = True
        return True

    def may_be_sent_again(self, failure: STSError) -> bool:
        """Return True if the request may be repeated: one with an MFA code, only if it was not sent."""
        return isinstance(failure, ConnectError) or not self.only_once
