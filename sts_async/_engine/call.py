"""How far a call has come, and whether what failed may be sent again."""

import math
from typing import Any

from ..errors import ConnectError, ConnectionLost, STSError
from ..shapes import Request
from .metrics import Meter


class Call:
    """
    How far a call has come.

    Args:
        meter: What watches it, where somebody observes.

    Attributes:
        ends: When it must be over, on the monotonic clock.
        attempt: Number of the attempt; the first is 1.
        sent: How often the request has been sent.
        failure: What ended the last attempt.
        free: How many attempts were no fault of the service, and do not count.
        died: Whether a connection had ended while nobody used it.
        charged: What ended the last attempt after which a retry was paid for.
        unsent: What ended the last attempt, and its scope, while the retry that was paid for has not been sent.
        renewed: Whether credentials were fetched anew because the service refused them.
    """

    __slots__ = ("attempt", "charged", "died", "ends", "failure", "free", "meter", "renewed", "sent", "unsent")

    def __init__(self, meter: Meter | None) -> None:
        self.meter = meter
        self.ends = math.inf
        self.attempt = 0
        self.sent = 0
        self.failure: STSError | None = None
        self.free = 0
        self.died = False
        self.charged: STSError | None = None
        self.unsent: tuple[STSError, str] | None = None
        self.renewed = False

    @property
    def paid(self) -> int:
        """The number of the attempt, as the retry policy counts them."""
        return self.attempt - self.free

    def died_idle(self, request: Request[Any]) -> bool:
        """Say whether all that failed is a connection that the server had closed meanwhile: a new one costs nothing."""
        failure = self.failure
        if self.died or not (isinstance(failure, ConnectionLost) and failure.stale):
            return False
        if not may_be_sent_again(request, failure):
            return False
        self.died = True
        return True


def cannot_be_repeated(request: Request[Any]) -> bool:
    """Say whether a request is good for once: it has an MFA code."""
    return getattr(request, "token_code", None) is not None


def may_be_sent_again(request: Request[Any], failure: STSError) -> bool:
    """Say whether a request may be repeated: one with an MFA code, which is good for once, only if it was not sent."""
    return isinstance(failure, ConnectError) or not cannot_be_repeated(request)
