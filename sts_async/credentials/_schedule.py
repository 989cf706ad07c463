"""
When to refresh cached credentials. All functions are decisions: they take a state and a time, and return a new state.

The life of credentials has three parts. First they are fresh, and callers get them from the cache. In the advisory
window (5, 15 or 60 minutes before the end), callers still get them at once, and one refresh starts in the background.
In the mandatory window (the last minute), callers wait for the refresh.

Two clocks are read. Expiry is checked against the wall clock and against the monotonic clock, and one of them is
enough. So setting the wall clock back, or suspending the machine, cannot extend the life of credentials. The same rule
ends a pause between attempts.

A fleet of identities must not overload STS, neither in normal operation nor in an outage:

- Identities that were fetched together become due at different times, spread over two thirds of the advisory window.
- After a failed refresh, there is no attempt for 5 to 10 minutes while the cached credentials are served.
- If nothing can be served, a final error is cached: for 5 to 15 s first, then three times as long after each failure.
- The service may refuse new credentials as well. Then the wait before the next replacement grows in the same way.

Source: the common rules of the AWS SDKs for refreshing credentials, 2026 ("static stability"). Two rules differ here.
The SDKs cache a final error for 1 to 5 s, which is 861 calls per hour and identity. And they do not spread due times.
"""

import enum
import math
from datetime import datetime
from typing import NamedTuple

import attrs

from ..errors import ExpiredTokenException, InvalidIdentityTokenException, ServiceError, STSError
from ..shapes import Credentials

SHORT_LIFETIME = 20 * 60.0  # s: up to this lifetime, the advisory window is 5 min
LONG_LIFETIME = 90 * 60.0  # s: from this lifetime on, it is 60 min; between the two, 15 min
MANDATORY_WINDOW = 60.0  # s before the end in which every caller waits for new credentials
MAX_LIFETIME = 36 * 3600.0  # s: no service issues credentials for longer
SPREAD = 2 / 3  # share of the advisory window over which due times are spread; the rest leaves time for a retry
REFRESH_BACKOFF = (300.0, 600.0)  # s between a failed attempt and the next one, while the old credentials are served
ERROR_CACHE_TTL = (5.0, 15.0)  # s for which the first final error is cached
MAX_ERROR_CACHE_TTL = REFRESH_BACKOFF  # s, for an error of the service: someone must change a role or a policy first
MAX_LOCAL_ERROR_CACHE_TTL = (30.0, 60.0)  # s, for any other error: the user fixes it on this machine and then waits
ATTENDED_ERROR_CACHE_TTL = (1.0, 5.0)  # s, where each attempt asks a person, who may have mistyped a code
MIN_USE_AFTER_REFUSAL = 5.0  # s for which credentials that replaced refused ones are used at least
MAX_USE_AFTER_REFUSAL = 300.0  # s, the limit of this minimum after repeated refusals
GROWTH = 3.0  # factor for both after each further failure or refusal
CACHED_WINDOW = 10.0  # s before the end, for sources that are only cached

# Errors of the service that are fixed on this machine: another program must write a new token.
FIXED_LOCALLY = (ExpiredTokenException, InvalidIdentityTokenException)


class Moment(NamedTuple):
    """A point in time on both clocks, in seconds."""

    wall: float
    monotonic: float

    def reached(self, now: "Moment") -> bool:
        """Return True if *now* is at or after this moment on at least one clock."""
        return now.wall >= self.wall or now.monotonic >= self.monotonic

    def plus(self, seconds: float) -> "Moment":
        """Return the moment *seconds* later, on both clocks."""
        return Moment(self.wall + seconds, self.monotonic + seconds)

    def earlier_of(self, other: "Moment") -> "Moment":
        """Return the earlier one of two moments, for each clock separately."""
        return Moment(min(self.wall, other.wall), min(self.monotonic, other.monotonic))


PAST = Moment(-math.inf, -math.inf)
NEVER = Moment(math.inf, math.inf)


@attrs.frozen(kw_only=True)
class Schedule:
    """
    When and how the credentials of a source are refreshed.

    Attributes:
        advisory: Seconds before the end from which one background refresh runs, while callers get the cached
            credentials; None for a window that depends on the lifetime (5, 15 or 60 minutes).
        mandatory: Seconds before the end from which callers wait for a refresh. At most the advisory window counts.
        keep_stale: Whether cached credentials are still served after their end while refreshes fail with recoverable
            errors.
        accept_expired: Whether expired credentials are served if the source has no others.
        attended: Whether a fetch asks a person. If so, a final error is cached for 1 to 5 s only.
    """

    advisory: float | None = None
    mandatory: float = MANDATORY_WINDOW
    keep_stale: bool = True
    accept_expired: bool = False
    attended: bool = False


STANDARD = Schedule()
"""For credentials that AWS issues: by STS, IMDS, the container endpoint, SSO and login."""

ATTENDED = Schedule(advisory=MANDATORY_WINDOW, attended=True)
"""For a fetch that needs a person, for example an MFA code. It never runs in the background."""

CACHED = Schedule(advisory=CACHED_WINDOW, mandatory=CACHED_WINDOW, keep_stale=False)
"""For processes and for sources of the program: they are not refreshed in the background."""


class Health(enum.IntEnum):
    """The worst state since the last successful refresh. Each change is logged once."""

    GOOD = enum.auto()  # no refresh has failed, or nothing was cached
    SERVING_VALID = enum.auto()  # refreshes fail; callers get the cached credentials, which are valid
    SERVING_EXPIRED = enum.auto()  # refreshes fail; callers get the cached credentials, which have expired
    FAILING = enum.auto()  # refreshes fail; callers get the error


@attrs.frozen(kw_only=True)
class CacheState:
    """
    The state of a cache. It is one immutable value, so a reader in another thread never sees half of a change.

    Attributes:
        credentials: The cached credentials, or None.
        fetched: When they were fetched.
        advisory: Start of the advisory window: a background refresh is due.
        mandatory: Start of the mandatory window: callers wait for a refresh.
        ends: When the credentials expire.
        paused_until: There is no refresh before this moment.
        error: The cached error, which callers get until *paused_until*; None if no error is cached.
        failures: Number of consecutive final errors that were cached.
        refused: Whether the service has refused the credentials.
        refusals: Number of consecutive credentials before these that the service refused soon after the fetch.
        health: The worst state since the last successful refresh.
        failing_since: When the first refresh after the last success failed; None while refreshes succeed.
    """

    credentials: Credentials | None = None
    fetched: Moment = PAST
    advisory: Moment = PAST
    mandatory: Moment = PAST
    ends: Moment = PAST
    paused_until: Moment = PAST
    error: STSError | None = None
    failures: int = 0
    refused: bool = False
    refusals: int = 0
    health: Health = Health.GOOD
    failing_since: Moment | None = None

    def failing_seconds(self, now: Moment) -> float | None:
        """Return the seconds since the first failed refresh, or None while refreshes succeed."""
        return None if self.failing_since is None else max(0.0, now.monotonic - self.failing_since.monotonic)


NOTHING = CacheState()


class Step(enum.Enum):
    """The action of a caller that needs credentials."""

    SERVE = enum.auto()  # return the cached credentials
    REFRESH_IN_BACKGROUND = enum.auto()  # return the cached credentials, and start a refresh
    REFRESH = enum.auto()  # wait for a refresh
    RAISE = enum.auto()  # raise the cached error


def advisory_window(lifetime: float) -> float:
    """Return the length of the advisory window, in seconds, for credentials that live *lifetime* seconds."""
    if lifetime <= SHORT_LIFETIME:
        window = 5 * 60.0
    elif lifetime < LONG_LIFETIME:
        window = 15 * 60.0
    else:
        window = 60 * 60.0
    return _at_most_half(lifetime, window)


def _at_most_half(lifetime: float, window: float) -> float:
    # A window as long as the life would cause a refresh on every call.
    return window if window < lifetime else lifetime / 2


def next_step(state: CacheState, *, now: Moment) -> Step:
    """Return the action of a caller at *now*."""
    paused = not state.paused_until.reached(now)
    if state.credentials is None or state.mandatory.reached(now):
        if not paused:
            return Step.REFRESH
        return Step.SERVE if state.credentials is not None and state.error is None else Step.RAISE
    if state.advisory.reached(now) and not paused:
        return Step.REFRESH_IN_BACKGROUND
    return Step.SERVE


def lifetime_of(credentials: Credentials, *clocks: datetime) -> float:
    """
    Return the remaining life of *credentials* in seconds: infinite if they never expire, 0 or less if they have.

    Credentials count as expired only if they have expired by all *clocks*: one wrong clock must not end valid
    credentials. Otherwise the shortest remaining life counts, because an early refresh does no harm.
    """
    if credentials.expiration is None:
        return math.inf
    left = [(credentials.expiration - clock).total_seconds() for clock in clocks]
    return min((seconds for seconds in left if seconds > 0), default=max(left))


def after_success(
    credentials: Credentials,
    *,
    lifetime: float,
    now: Moment,
    schedule: Schedule = STANDARD,
    jitter: float = 0.0,
    before: CacheState = NOTHING,
) -> CacheState:
    """
    Return the state after a successful fetch.

    Args:
        credentials: The new credentials.
        lifetime: Their remaining life in seconds from *now*, greater than 0. More than 36 hours count as 36 hours: no
            service issues credentials for longer, so such a value is wrong.
        now: When they were fetched.
        schedule: The schedule of the source.
        jitter: Random number in [0, 1). It selects the due time in the first two thirds of the advisory window. A
            window of fixed length is not spread.
        before: The state before the fetch.
    """
    refusals = _refusals(before, now=now)
    if lifetime == math.inf:
        return CacheState(
            credentials=credentials, fetched=now, advisory=NEVER, mandatory=NEVER, ends=NEVER, refusals=refusals
        )
    lifetime = min(lifetime, MAX_LIFETIME)
    if schedule.advisory is None:
        window = advisory_window(lifetime)
        due = window * (1 - SPREAD * jitter)
    else:
        window = due = _at_most_half(lifetime, schedule.advisory)
    mandatory = min(schedule.mandatory, window)
    return CacheState(
        credentials=credentials,
        fetched=now,
        advisory=now.plus(lifetime - max(due, mandatory)),
        mandatory=now.plus(lifetime - mandatory),
        ends=now.plus(lifetime),
        refusals=refusals,
    )


def after_expired(credentials: Credentials, *, now: Moment, jitter: float, before: CacheState = NOTHING) -> CacheState:
    """Return the state after a source that accepts expired credentials returned some, and nothing was cached."""
    return CacheState(
        credentials=credentials,
        fetched=now,
        paused_until=now.plus(_interpolate(REFRESH_BACKOFF, jitter)),
        health=Health.SERVING_EXPIRED,
        failing_since=before.failing_since or now,
    )


def after_failure(
    state: CacheState, error: STSError, *, now: Moment, jitter: float, schedule: Schedule = STANDARD
) -> CacheState:
    """
    Return the state after a refresh failed.

    Callers that waited for it get the cached credentials if `keeps_serving` returns True, otherwise the error.

    Args:
        state: The state before the failure.
        error: The error of the refresh.
        now: When it failed.
        jitter: Random number in [0, 1). It selects the length of the pause.
        schedule: The schedule of the source.
    """
    serves_cached = keeps_serving(state, error, now=now, schedule=schedule)
    caches_error = not serves_cached and not error.recoverable
    if serves_cached:
        health = Health.SERVING_EXPIRED if state.ends.reached(now) else Health.SERVING_VALID
        paused_until = now.plus(_interpolate(REFRESH_BACKOFF, jitter))
        if not error.recoverable:
            # In the mandatory window, callers depend on the answer, and the cause may have been fixed by then.
            paused_until = paused_until.earlier_of(state.mandatory)
    else:
        health = Health.GOOD if state.credentials is None else Health.FAILING
        ttl = _error_cache_ttl(error, failures=state.failures, schedule=schedule)
        paused_until = now.plus(_interpolate(ttl, jitter)) if caches_error else PAST
    return attrs.evolve(
        state,
        paused_until=paused_until,
        error=error if caches_error else None,
        failures=state.failures + caches_error,
        health=max(state.health, health),
        failing_since=state.failing_since or now,
    )


def _error_cache_ttl(error: STSError, *, failures: int, schedule: Schedule) -> tuple[float, float]:
    """Return the shortest and the longest time in seconds to cache a final error after *failures* others."""
    if schedule.attended:
        return ATTENDED_ERROR_CACHE_TTL
    fixed_at_service = isinstance(error, ServiceError) and not isinstance(error, FIXED_LOCALLY)
    limits = MAX_ERROR_CACHE_TTL if fixed_at_service else MAX_LOCAL_ERROR_CACHE_TTL
    low, high = (min(_growing(first, failures), limit) for first, limit in zip(ERROR_CACHE_TTL, limits, strict=True))
    return low, high


def _growing(seconds: float, times: int) -> float:
    return seconds * GROWTH ** min(times, 10)


def keeps_serving(state: CacheState, error: STSError, *, now: Moment, schedule: Schedule) -> bool:
    """
    Return True if cached credentials stay in use after a failed refresh.

    Before the mandatory window, they always do. Afterwards, they do only for recoverable errors, and only if the
    schedule keeps stale credentials.
    """
    if state.credentials is None:
        return False
    return not state.mandatory.reached(now) or (error.recoverable and schedule.keep_stale)


def invalidated(state: CacheState, *, access_key_id: str) -> CacheState:
    """
    Return the state after the service refused *access_key_id*. If it is the cached key, it is refreshed before use.

    A pause after a failed refresh stays in effect: calls that may be refused are better than a storm of fetches. For
    the same reason, credentials that have just replaced refused ones are used for a minimum time.
    """
    if state.credentials is None or state.credentials.access_key_id != access_key_id:
        return state
    due = state.fetched.plus(_min_use(state)) if state.refusals else PAST
    return attrs.evolve(
        state, advisory=state.advisory.earlier_of(due), mandatory=state.mandatory.earlier_of(due), refused=True
    )


def _min_use(state: CacheState) -> float:
    """Return the seconds for which credentials that replaced refused ones are used at least."""
    return min(_growing(MIN_USE_AFTER_REFUSAL, state.refusals - 1), MAX_USE_AFTER_REFUSAL) if state.refusals else 0.0


def _refusals(before: CacheState, *, now: Moment) -> int:
    """Return the number of consecutive refused credentials, when new ones replace those of *before* at *now*."""
    if not before.refused:
        return 0
    soon = not before.fetched.plus(2 * _min_use(before)).reached(now)
    return before.refusals + 1 if soon else 1


def _interpolate(bounds: tuple[float, float], jitter: float) -> float:
    low, high = bounds
    return low + jitter * (high - low)
