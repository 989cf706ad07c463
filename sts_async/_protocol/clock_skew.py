"""
How far the clock of this host is from that of the service, from the Date header of its answers.

Source: the AWS SDKs' common rules for clock skew, 2026.
"""

from collections.abc import Mapping

from ..errors import ServiceError, STSError
from .timestamps import timestamp

AGREE = 60.0  # s by which two answers may differ that say the same; more than a Date's second and a slow answer
MAX_ROUND_TRIP = 15 * 60.0  # s; a Date that came later says nothing
MIN_SKEW = 4 * 60.0  # s by which an answer must differ from what was signed, to be the reason for an error
MAX_SKEW = 24 * 3600.0  # s; a larger offset is ignored: it is more likely an attack than a wrong clock

CODES = frozenset(
    """
    RequestTimeTooSkewed RequestExpired RequestInTheFuture InvalidSignatureException SignatureDoesNotMatch AuthFailure
    AccessDeniedException
    """.split()
)


class ServiceClock:
    """
    By how much the service's clock is ahead of this host's.

    Args:
        offset: Seconds that somebody has set, which then stay; None to learn from every answer.
        corrects: Whether anything is learnt.

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
        Learn from an answer, and return by how much the service's clock is ahead, or None when it does not tell.

        Args:
            headers: Those of the answer.
            sent: When the request was sent, by this host's clock, in seconds since 1970.
            received: When the answer had come, likewise.
        """
        if not self._corrects or "date" not in headers or "age" in headers or received - sent > MAX_ROUND_TRIP:
            return None
        if headers["date"] != self._date:  # most answers have the date of the one before
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
    Say whether *error* came because the request was signed for another time than the service's.

    Args:
        error: What the service answered.
        skew: By how much its clock is ahead, in seconds, or None when that is not known.
        signed_with: By how much it was thought to be ahead when the request was signed.
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
