"""
Clock skew: the difference between the clocks of the service and of this host, from the Date header of responses.

Source: the AWS SDKs' common rules for clock skew, 2026.
"""

from collections.abc import Mapping

from ..errors import ServiceError, STSError
from .timestamps import timestamp

AGREE = 60.0  # s; two responses whose skews differ by less agree: Date has whole seconds, and responses can be slow
MAX_ROUND_TRIP = 15 * 60.0  # s; the Date of a slower response is ignored
MIN_SKEW = 4 * 60.0  # s; an error code counts as clock skew only if the signed time was wrong by more
MAX_SKEW = 24 * 3600.0  # s; a larger offset is ignored: an attack is more likely than a wrong clock

CODES = frozenset(
    """
    RequestTimeTooSkewed RequestExpired RequestInTheFuture InvalidSignatureException SignatureDoesNotMatch AuthFailure
    AccessDeniedException
    """.split()
)


class ServiceClock:
    """
    The time by which the service's clock is ahead of this host's clock.

    Args:
        offset: A fixed number of seconds; None to learn the offset from responses.
        corrects: Whether the offset is learnt from responses.

    Attributes:
        offset: Seconds to add when signing: from the last response. A wrong value spoils one signature; the next
            response corrects it.
        confirmed: Seconds to add for lasting decisions such as credential expiry. The first response sets it;
            afterwards it changes only when two consecutive responses agree.
    """

    __slots__ = ("_corrects", "_date", "_last", "_seconds", "confirmed", "offset")

    def __init__(self, *, offset: float | None = None, corrects: bool = True) -> None:
        self.offset = self.confirmed = offset or 0.0
        self._last: float | None = None
        self._corrects = corrects and offset is None
        self._date = ""
        self._seconds: float | None = None

    def learn(self, headers: Mapping[str, str], *, sent: float, received: float) -> float | None:
        """
        Learn from a response. Return the seconds by which the service's clock is ahead, or None if it is not known.

        Args:
            headers: The headers of the response, with lower-case names.
            sent: The time when the request was sent, by this host's clock, in seconds since 1970.
            received: The time when the response arrived, in the same unit.
        """
        if not self._corrects or "date" not in headers or "age" in headers or received - sent > MAX_ROUND_TRIP:
            return None
        if headers["date"] != self._date:  # often, several responses have the same date
            self._date, self._seconds = headers["date"], _seconds(headers["date"])
        if self._seconds is None:
            return None
        skew = self._seconds - (sent + received) / 2
        if not -MAX_SKEW <= skew <= MAX_SKEW:
            return None
        self.offset = skew
        if self._last is None or abs(skew - self._last) <= AGREE:
            self.confirmed = skew
        self._last = skew
        return skew


def is_reason(error: STSError, *, skew: float | None, signed_with: float) -> bool:
    """
    Return True if the time of the signature was the reason for *error*.

    Args:
        error: The error that the service returned.
        skew: Seconds by which the service's clock is ahead; None if it is not known.
        signed_with: The offset that was used for the signature, in seconds.
    """
    return (
        isinstance(error, ServiceError)
        and error.code in CODES
        and skew is not None
        and abs(skew - signed_with) > MIN_SKEW
    )


def _seconds(text: str) -> float | None:
    try:
        return timestamp(text).timestamp()
    except ValueError:
        return None
