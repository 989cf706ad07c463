"""
When each identity of a fleet is refreshed: due times that are spread, and the pauses after failures.

All functions are decisions: they get the time and random numbers as parameters.

Identities that are fetched together expire together. If each were refreshed at a random time of its own advisory window
only, all refreshes of an hour would fall into ten minutes, for many hours. So the fleet counts the refreshes of each
slot of time. A new due time is drawn from the advisory window. If that part of the window has more than its share, the
due time is drawn from the earlier life of the credentials. An early refresh costs one request, once: afterwards the due
times stay apart.
"""

from ..credentials._schedule import (
    ERROR_CACHE_TTL,
    FIXED_LOCALLY,
    GROWTH,
    MAX_ERROR_CACHE_TTL,
    MAX_LOCAL_ERROR_CACHE_TTL,
    SPREAD,
)
from ..errors import CredentialsError, ServiceError, STSError

SLOT = 10.0  # s, the width of a slot
CROWDED = 1.25  # share of the refreshes in a slot, as a multiple of the mean, above which others are tried
EARLIEST = 0.25  # share of the life of credentials before which they are never refreshed for the sake of the spread
DRAWS = 4  # random numbers for one due time
MAX_REFUSED = (
    1800.0,
    3600.0,
)  # s between attempts for an identity that the service refuses: someone must change a role
FORGET_EVERY = 256  # choices between two removals of slots that have passed

Draws = tuple[float, float, float, float]


class DueTimes:
    """
    The number of refreshes that are due in each slot of time. Times are monotonic, in seconds.

    Attributes:
        count: Number of due times.
    """

    __slots__ = ("_choices", "_slots", "count")

    def __init__(self) -> None:
        self._slots: dict[int, int] = {}
        self._choices = 0
        self.count = 0

    def choose(self, *, now: float, ends: float, window: float, draws: Draws) -> float:
        """
        Return a due time for new credentials, and count it.

        Args:
            now: The time.
            ends: When the credentials expire, after *now*.
            window: Length of the advisory window in seconds.
            draws: Random numbers in [0, 1).
        """
        self._choices += 1
        if self._choices % FORGET_EVERY == 0:
            self._forget_before(now)
        last = ends - window * (1 - SPREAD)
        share = CROWDED * (self.count + 1) * SLOT / max(last - now, SLOT)
        due = self._least_crowded(ends - window, last, draws[:2], share)
        if self._count_at(due) + 1 > max(share, 1.0):
            earliest = now + EARLIEST * (ends - now)
            due = self._least_crowded(earliest, last, draws[2:], share)
        self.add(due)
        return due

    def _least_crowded(self, first: float, last: float, draws: tuple[float, ...], share: float) -> float:
        candidates = [last - draw * (last - first) for draw in draws]
        return min(candidates, key=self._count_at)

    def _count_at(self, due: float) -> int:
        return self._slots.get(int(due // SLOT), 0)

    def add(self, due: float) -> None:
        """Count a due time."""
        slot = int(due // SLOT)
        self._slots[slot] = self._slots.get(slot, 0) + 1
        self.count += 1

    def remove(self, due: float) -> None:
        """Count a due time no longer: its refresh was done, or its identity was removed."""
        self.count -= 1
        slot = int(due // SLOT)
        left = self._slots.get(slot, 1) - 1
        if left:
            self._slots[slot] = left
        else:
            self._slots.pop(slot, None)

    def _forget_before(self, now: float) -> None:
        # The clock may have jumped over slots whose refreshes were done at another time.
        passed = [slot for slot in self._slots if (slot + 60) * SLOT < now]
        for slot in passed:
            del self._slots[slot]


def pause_after(error: STSError, *, failures: int, jitter: float) -> float:
    """
    Return the seconds until the next attempt for an identity that has no credentials.

    The first pause is 5 to 15 s, and each further one three times as long. The limit is 30 to 60 minutes if the service
    refuses: then someone must change a role or a policy. It is 5 to 10 minutes while the service cannot be reached or
    fails, and 30 to 60 s if the cause is on this machine, such as a missing token file.

    Args:
        error: The error of the last attempt.
        failures: Number of consecutive failures before it.
        jitter: Random number in [0, 1).
    """
    if isinstance(error, ServiceError) and not error.recoverable and not isinstance(error, FIXED_LOCALLY):
        limits = MAX_REFUSED
    elif isinstance(error, (CredentialsError, *FIXED_LOCALLY)):
        limits = MAX_LOCAL_ERROR_CACHE_TTL
    else:
        limits = MAX_ERROR_CACHE_TTL
    growth = GROWTH ** min(failures, 10)
    low, high = (min(first * growth, limit) for first, limit in zip(ERROR_CACHE_TTL, limits, strict=True))
    return low + jitter * (high - low)
