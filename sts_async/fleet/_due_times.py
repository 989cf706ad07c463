"""
When each identity of a fleet is refreshed: due times that are spread, and the pauses after failures.

All functions are pure: the time and random numbers are parameters.

Identities that are fetched together expire together. A random time in each advisory window does not spread them enough:
all refreshes of an hour would fall into ten minutes, for many hours. So the fleet counts the refreshes that are due in
each slot of time. A new due time is drawn from the advisory window. If that slot is crowded, the due time is drawn from
the earlier life of the credentials. An early refresh costs one request, once: afterwards the due times stay apart.

Credentials with similar lifetimes form a group, and each group is spread on its own. A common count would fail.
When a refresh in ten hours is planned, those that credentials of 15 minutes need at that time are not counted yet.
The slots of a group are a fixed share of the lifetime, so that a slot has equally many refreshes in all groups.

A simulation covers 24 hours, 10,000 identities that were fetched within a minute, and lifetimes of 900, 3600 and
43,200 s. The busiest minute has less than twice the mean rate. After the first lifetime, less than 1 % of the refreshes
are early.
"""

import math
from typing import NamedTuple

from ..credentials._schedule import (
    ERROR_CACHE_TTL,
    FIXED_LOCALLY,
    GROWTH,
    MAX_ERROR_CACHE_TTL,
    MAX_LOCAL_ERROR_CACHE_TTL,
    SPREAD,
    CacheState,
    Moment,
    advisory_window,
)
from ..errors import ConfigurationError, CredentialsError, DeadlineExceeded, STSError

SLOTS = 1024  # slots between now and the last due time, at least; at most twice as many
CROWDED = 1.25  # refreshes in a slot, as a multiple of the mean, above which the due time is drawn from an earlier time
SMALL = 250  # due times: a group with fewer is never refreshed early, because its load is small
CANDIDATES = 8  # slots that are compared for one due time
EARLIEST = 0.25  # share of the life of credentials before which they are never refreshed to spread the load
MIN_INTERVAL = 0.001  # s from now to the last due time
AHEAD = (20 * 60.0, 16 * 60.0)  # s before the end in which credentials are refreshed for consumers with own margins
MIN_AHEAD_LIFETIME = 2 * AHEAD[0]  # s: below this remaining life, a refresh ahead would cost too many requests
THROTTLING_PAUSE = (5.0, 15.0)  # s between attempts for an identity whose refresh was throttled

FOLLOWING = (1.0, 60.0)  # s after the refresh of another process, in which this process looks for the new credentials

# s between attempts for a request that is refused: someone must change the role, a policy or the request.
MAX_REFUSED = (1800.0, 3600.0)


def refresh_margin(lifetime: float, *, ahead: bool) -> float:
    """
    Return the seconds before the end of credentials from which a program that reads them fetches new ones.

    Args:
        lifetime: The whole life of the credentials, in seconds.
        ahead: Whether the credentials are for a consumer with a margin of its own, such as an SDK.
    """
    return max(advisory_window(lifetime), AHEAD[0] if ahead and lifetime >= MIN_AHEAD_LIFETIME else 0.0)


class _Group:
    """The due times of credentials whose lifetimes differ by less than a factor of two."""

    __slots__ = ("count", "slots", "width")

    def __init__(self, width: float) -> None:
        self.width = width
        self.slots: dict[int, int] = {}
        self.count = 0

    def least_crowded(self, first: float, last: float, jitter: float) -> tuple[float, float]:
        """
        Return the due time in the least crowded slot, and the number of due times in this slot.

        Some due times at equal distances are compared. They begin at a random place.
        """
        best, fewest = last, math.inf
        span, width, count_in = last - first, self.width, self.slots.get
        for _ in range(CANDIDATES):
            due = last - jitter * span
            count = count_in(int(due // width), 0)
            if count < fewest:
                best, fewest = due, count
                if not count:
                    break
            jitter = (jitter + 1 / CANDIDATES) % 1.0
        return best, fewest


class DueTime(NamedTuple):
    """
    A due time that is counted in `DueTimes`, until it is removed there.

    Attributes:
        at: Monotonic time in seconds.
        group: The group in which it is counted.
    """

    at: float
    group: _Group


class DueTimes:
    """The number of refreshes that are due in each slot of time. Times are monotonic, in seconds."""

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[int, _Group] = {}  # by the power of two above the time to the last due time

    def __len__(self) -> int:
        return sum(group.count for group in self._groups.values())

    def choose(self, *, now: float, advisory: float, mandatory: float, ends: float, jitter: float) -> DueTime:
        """
        Return a due time for new credentials, and count it until `remove` is called with it.

        It is in the first two thirds of the advisory window, and not in the mandatory window. If that part is crowded,
        the due time is earlier, but not in the first quarter of the life.

        Args:
            now: The time.
            advisory: Start of the advisory window, not before *now*.
            mandatory: Start of the mandatory window, not before *advisory*.
            ends: When the credentials expire.
            jitter: Random number in [0, 1).
        """
        last = min(ends - (ends - advisory) * (1 - SPREAD), mandatory)
        interval = max(last - now, MIN_INTERVAL)
        group = self._group(interval)
        due, others = group.least_crowded(advisory, last, jitter)
        # The new due time itself is not compared: in a small group, a slot can have one too many by chance.
        if group.count >= SMALL and others > CROWDED * group.width / interval * (group.count + 1):
            due, _ = group.least_crowded(min(now + EARLIEST * (ends - now), last), last, jitter)
        slot = int(due // group.width)
        group.slots[slot] = group.slots.get(slot, 0) + 1
        group.count += 1
        return DueTime(due, group)

    def _group(self, interval: float) -> _Group:
        _, exponent = math.frexp(interval)
        group = self._groups.get(exponent)
        if group is None:
            group = self._groups[exponent] = _Group(math.ldexp(0.5, exponent) / SLOTS)
        return group

    def remove(self, due: DueTime) -> None:
        """Stop counting a due time, because its refresh was done or its identity was removed. Call it once for each."""
        group = due.group
        group.count -= 1
        slot = int(due.at // group.width)
        left = group.slots[slot] - 1
        if left:
            group.slots[slot] = left
        else:
            del group.slots[slot]


def due_window(state: CacheState, *, ahead: bool, now: float) -> tuple[float, float]:
    """
    Return the first and the last due time of new credentials, monotonic.

    The AWS SDKs ask a credentials endpoint again for each call if the answer has less than 15 minutes left. So
    credentials for such consumers are refreshed ahead: 20 to 16 minutes before the end, or earlier. If less than 40
    minutes are left, they are refreshed as usual: ahead, they would need several times as many requests.

    Args:
        state: The state with the credentials.
        ahead: Whether they are refreshed ahead.
        now: The time.

    Source: botocore, `RefreshableCredentials`: 15 min for an attempt, 10 min for a refresh that must succeed.
    """
    first, last, ends = state.advisory.monotonic, state.mandatory.monotonic, state.ends.monotonic
    if ahead and MIN_AHEAD_LIFETIME <= ends - now < math.inf:
        first, last = min(first, ends - AHEAD[0]), min(last, ends - AHEAD[1])
    return first, last


def following(refresh_after: float, *, now: float, last: float, jitter: float) -> float:
    """
    Return when a process refreshes credentials that another process has fetched, monotonic.

    The other process refreshes them first, and shares the new ones. So this process looks for them 1 to 60 s later, at
    a random time, because many processes may do so. If the other process has ended, the first one that finds no new
    credentials fetches them. Short-lived credentials get a shorter delay: a quarter of the time that is left.

    Args:
        refresh_after: When the other process refreshes them, monotonic.
        now: The time.
        last: When the credentials must be refreshed at the latest, monotonic.
        jitter: Random number in [0, 1).
    """
    first = max(refresh_after, now)
    longest = max(0.0, (last - first) / 4)
    low, high = (min(delay, longest) for delay in FOLLOWING)
    return min(first + low + jitter * (high - low), last)


def pause_after(error: STSError, *, failures: int, jitter: float) -> float:
    """
    Return the seconds until the next attempt for an identity that has no credentials.

    The first pause is 5 to 15 s, and each further one three times as long. The limit is 30 to 60 minutes if the
    request is refused: then someone must change the role, a policy or the request. It is 5 to 10 minutes while the
    service cannot be reached or fails. It is 30 to 60 s if the cause is on this machine, such as a missing token file.

    Args:
        error: The error of the last attempt.
        failures: Number of consecutive failures before it, at least 0.
        jitter: Random number in [0, 1).
    """
    if isinstance(error, (CredentialsError, ConfigurationError, *FIXED_LOCALLY)):
        limits = MAX_LOCAL_ERROR_CACHE_TTL
    elif not error.recoverable:
        limits = MAX_REFUSED
    else:
        limits = MAX_ERROR_CACHE_TTL
    growth = GROWTH ** min(failures, 10)
    low, high = (min(first * growth, limit) for first, limit in zip(ERROR_CACHE_TTL, limits, strict=True))
    return low + jitter * (high - low)


def was_throttled(error: STSError) -> bool:
    """Return True if the service throttled a request, or if the call ended while its request waited for its turn."""
    return error.throttled or (isinstance(error, DeadlineExceeded) and not error.attempts)


def pause_after_throttling(jitter: float) -> float:
    """
    Return the seconds until the next attempt after the service throttled, while credentials are served.

    The budget limits the rate of these attempts. After the usual pause of 5 to 10 minutes, the credentials could have
    expired, although the service has answered other requests all the time.

    Args:
        jitter: Random number in [0, 1).
    """
    low, high = THROTTLING_PAUSE
    return low + jitter * (high - low)


def next_refresh(state: CacheState) -> Moment:
    """Return when the credentials of a state are refreshed: when they are due, or after the pause of a failure."""
    return max(state.advisory, state.paused_until, key=lambda moment: moment.monotonic)
