"""
When cached credentials are refreshed: decisions, from what is held and what the clocks say. Nothing here waits.

Times are pairs of a wall clock and a monotonic one, and whichever is later counts: a wall clock that is set back
extends no life, and a machine that was suspended finds out at once. This holds for pauses as well.

Every fleet of identities must stay off the service's back, whatever happens to it:

- Identities that are fetched together are due at different times, spread over most of the advisory window.
- A failed refresh is followed by a pause of 5 to 10 min while cached credentials are served.
- A final error without valid credentials is remembered, for 5 to 15 s at first and three times as long each time.
- Credentials that replaced refused ones, and are refused as well, are replaced after a wait that grows likewise.

Source: the AWS SDKs' common rules for refreshing credentials, 2026 ("static stability"). Those remember a final error
for 1 to 5 s, which is 861 calls an hour for each identity; and they spread nothing.
"""

import enum
import math
from datetime import datetime
from typing import NamedTuple

import attrs

from ..errors import ExpiredTokenException, InvalidIdentityTokenException, ServiceError, STSError
from ..shapes import Credentials

SHORT = 20 * 60.0  # s: up to this lifetime, 5 min before the end
LONG = 90 * 60.0  # s: from this lifetime on, 60 min before the end; between the two, 15 min
MANDATORY_WINDOW = 60.0  # s before the end in which every caller waits for new credentials
MAX_LIFETIME = 36 * 3600.0  # s
SPREAD = 2 / 3  # of the advisory window, over which due times are spread; the rest leaves time for another attempt
REFRESH_BACKOFF = (300.0, 600.0)  # s without an attempt after one that failed, while the old credentials are served
ERROR_CACHE_TTL = (5.0, 15.0)  # s for which a first final error is raised again without an attempt
MAX_ERROR_CACHE_TTL = REFRESH_BACKOFF  # s, of an error of the service: a role or a policy must change first
MAX_LOCAL_ERROR_CACHE_TTL = (30.0, 60.0)  # s, of any other: a person cures it at this machine, and then waits for us
ATTENDED_MEMORY = (1.0, 5.0)  # s, where each attempt asks a person, who mistypes a code now and then
REFUSED_WAIT = 5.0  # s for which credentials that replaced refused ones are at least used
MAX_REFUSED_WAIT = 300.0  # s
GROWTH = 3.0  # of a memory and of a wait, each time
MARGIN = 10.0  # s before the end for sources that are only cached

CURED_HERE = (ExpiredTokenException, InvalidIdentityTokenException)  # by whoever writes the token


class Moment(NamedTuple):
    """A point in time on both clocks, in seconds."""

    wall: float
    monotonic: float

    def reached(self, now: "Moment") -> bool:
        """Say whether *now* is at or past this moment on either clock."""
        return now.wall >= self.wall or now.monotonic >= self.monotonic

    def plus(self, seconds: float) -> "Moment":
        return Moment(self.wall + seconds, self.monotonic + seconds)

    def or_earlier(self, other: "Moment") -> "Moment":
        """Return the earlier of two moments, on each clock."""
        return Moment(min(self.wall, other.wall), min(self.monotonic, other.monotonic))


PAST = Moment(-math.inf, -math.inf)
NEVER = Moment(math.inf, math.inf)


@attrs.frozen(kw_only=True)
class Schedule:
    """
    How a source wants to be refreshed.

    Attributes:
        advisory: Seconds before the end from which one refreshes and all others get the cached credentials at once;
            None for the window that the lifetime asks for.
        mandatory: Seconds before the end from which everybody waits; never more than *advisory*.
        keep_stale: Whether cached credentials are served on, beyond their end, while refreshes fail.
        accept_expired: Whether credentials that have already ended are served when there are no others.
        attended: Whether a fetch asks a person. Then a final error is remembered for 1 to 5 s only.
    """

    advisory: float | None = None
    mandatory: float = MANDATORY_WINDOW
    keep_stale: bool = True
    accept_expired: bool = False
    attended: bool = False


STANDARD = Schedule()
"""For what AWS itself issues: STS, IMDS, the container endpoint, SSO and login."""

ATTENDED = Schedule(advisory=MANDATORY_WINDOW, attended=True)
"""For what needs a person, such as an MFA code: never in the background."""

CACHED = Schedule(advisory=MARGIN, mandatory=MARGIN, keep_stale=False)
"""For processes and sources of the program's own."""


class Health(enum.IntEnum):
    """How bad it has been since the last successful refresh."""

    GOOD = enum.auto()  # no refresh has failed, or nothing was cached
    KEPT = enum.auto()  # refreshes fail; the cached credentials are valid and served
    ENDED = enum.auto()  # the cached credentials have ended, and are served all the same
    LOST = enum.auto()  # the cached credentials are no longer served: callers get the error


@attrs.frozen(kw_only=True)
class CacheState:
    """
    What a cache holds: one value, exchanged as a whole.

    Attributes:
        credentials: What is served, or None.
        fetched: When they came.
        advisory: From when a refresh is due.
        mandatory: From when callers wait for it.
        ends: When the credentials end.
        quiet_until: Before that, there is no attempt.
        error: What is raised in place of an attempt until then, or None.
        failures: How many final errors in a row were remembered.
        refused: Whether the service has refused the credentials.
        replaced: How many credentials in a row were refused soon after they came, before these.
        health: How bad it has been since the last success. A change is what a log tells.
        failing_since: When the first refresh failed after the last success, or None.
    """

    credentials: Credentials | None = None
    fetched: Moment = PAST
    advisory: Moment = PAST
    mandatory: Moment = PAST
    ends: Moment = PAST
    quiet_until: Moment = PAST
    error: STSError | None = None
    failures: int = 0
    refused: bool = False
    replaced: int = 0
    health: Health = Health.GOOD
    failing_since: Moment | None = None

    def failing_seconds(self, now: Moment) -> float | None:
        """Return for how many seconds refreshes have failed, or None while they do not."""
        return None if self.failing_since is None else max(0.0, now.monotonic - self.failing_since.monotonic)


NOTHING = CacheState()


class Step(enum.Enum):
    """What a caller does who asks a cache."""

    SERVE = enum.auto()  # return what is held
    REFRESH_IN_BACKGROUND = enum.auto()  # return what is held, and have a refresh begin
    REFRESH = enum.auto()  # wait for a refresh
    RAISE = enum.auto()  # raise the error that is remembered


def advisory_window(lifetime: float) -> float:
    """Return the seconds before the end from which credentials of *lifetime* seconds are refreshed."""
    if lifetime <= SHORT:
        window = 5 * 60.0
    elif lifetime < LONG:
        window = 15 * 60.0
    else:
        window = 60 * 60.0
    return _within(lifetime, window)


def _within(lifetime: float, window: float) -> float:
    # Very short-lived credentials would otherwise be refreshed on every call.
    return window if window < lifetime else lifetime / 2


def next_step(held: CacheState, *, now: Moment) -> Step:
    """Return what a caller does at *now*."""
    quiet = not held.quiet_until.reached(now)
    if held.credentials is None or held.mandatory.reached(now):
        if not quiet:
            return Step.REFRESH
        return Step.SERVE if held.credentials is not None and held.error is None else Step.RAISE
    if held.advisory.reached(now) and not quiet:
        return Step.REFRESH_IN_BACKGROUND
    return Step.SERVE


def lifetime_of(credentials: Credentials, *clocks: datetime) -> float:
    """
    Return the seconds that *credentials* have left, infinite when they never end, 0 or less when they have ended.

    Credentials count as expired only when all *clocks* say so, because a wrong clock must not end valid credentials.
    Otherwise the shortest remaining lifetime counts: refreshing early does no harm.
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
    Return what is held after credentials came.

    Args:
        credentials: The new ones.
        lifetime: Seconds that they have left from *now* on, more than 0. It is not believed beyond 36 hours, which is
            more than anybody issues.
        now: When they came.
        schedule: How the source wants to be refreshed.
        jitter: Random in [0, 1): when in the first two thirds of the advisory window the next refresh is due. A window
            that the schedule sets begins where it says.
        before: What was held.
    """
    replaced = _replaced(before, now=now)
    if lifetime == math.inf:
        return CacheState(
            credentials=credentials, fetched=now, advisory=NEVER, mandatory=NEVER, ends=NEVER, replaced=replaced
        )
    lifetime = min(lifetime, MAX_LIFETIME)
    if schedule.advisory is None:
        window = advisory_window(lifetime)
        due = window * (1 - SPREAD * jitter)
    else:
        window = due = _within(lifetime, schedule.advisory)
    mandatory = min(schedule.mandatory, window)
    return CacheState(
        credentials=credentials,
        fetched=now,
        advisory=now.plus(lifetime - max(due, mandatory)),
        mandatory=now.plus(lifetime - mandatory),
        ends=now.plus(lifetime),
        replaced=replaced,
    )


def after_expired(credentials: Credentials, *, now: Moment, jitter: float, before: CacheState = NOTHING) -> CacheState:
    """Return what is held when a source has only expired credentials and they are better than none."""
    return CacheState(
        credentials=credentials,
        fetched=now,
        quiet_until=now.plus(_between(REFRESH_BACKOFF, jitter)),
        health=Health.ENDED,
        failing_since=before.failing_since or now,
    )


def after_failure(
    held: CacheState, error: STSError, *, now: Moment, jitter: float, schedule: Schedule = STANDARD
) -> CacheState:
    """
    Return what is held after a refresh failed with *error*; *jitter* is random in [0, 1).

    Those who waited get what is held, if `keeps_serving` says so, and else the error.
    """
    kept = keeps_serving(held, error, now=now, schedule=schedule)
    remembered = not kept and not error.recoverable
    if kept:
        health = Health.ENDED if held.ends.reached(now) else Health.KEPT
        quiet_until = now.plus(_between(REFRESH_BACKOFF, jitter))
        if not error.recoverable:  # it may be cured by the time that callers begin to depend on it
            quiet_until = quiet_until.or_earlier(held.mandatory)
    else:
        health = Health.GOOD if held.credentials is None else Health.LOST
        memory = _memory(error, failures=held.failures, schedule=schedule)
        quiet_until = now.plus(_between(memory, jitter)) if remembered else PAST
    return attrs.evolve(
        held,
        quiet_until=quiet_until,
        error=error if remembered else None,
        failures=held.failures + remembered,
        health=max(held.health, health),
        failing_since=held.failing_since or now,
    )


def _memory(error: STSError, *, failures: int, schedule: Schedule) -> tuple[float, float]:
    """Return for how many seconds a final error is remembered, after some others."""
    if schedule.attended:
        return ATTENDED_MEMORY
    far = isinstance(error, ServiceError) and not isinstance(error, CURED_HERE)
    longest = MAX_ERROR_CACHE_TTL if far else MAX_LOCAL_ERROR_CACHE_TTL
    low, high = (min(_grown(first, failures), most) for first, most in zip(ERROR_CACHE_TTL, longest, strict=True))
    return low, high


def _grown(seconds: float, times: int) -> float:
    return seconds * GROWTH ** min(times, 10)


def keeps_serving(held: CacheState, error: STSError, *, now: Moment, schedule: Schedule) -> bool:
    """
    Return True if cached credentials stay in use after a failed refresh: always before the mandatory window, afterwards
    only for recoverable errors.
    """
    if held.credentials is None:
        return False
    return not held.mandatory.reached(now) or (error.recoverable and schedule.keep_stale)


def invalidated(held: CacheState, *, access_key_id: str) -> CacheState:
    """
    Return what is held after the service refused *access_key_id*: if it still is, it is refreshed before use.

    A pause after a refresh that failed holds all the same: the rules prefer keys that may be refused to a storm. For
    the same reason, those that have just replaced refused ones are used for a while, in which they may be refused.
    """
    if held.credentials is None or held.credentials.access_key_id != access_key_id:
        return held
    due = held.fetched.plus(_refused_wait(held)) if held.replaced else PAST
    return attrs.evolve(
        held, advisory=held.advisory.or_earlier(due), mandatory=held.mandatory.or_earlier(due), refused=True
    )


def _refused_wait(held: CacheState) -> float:
    return min(_grown(REFUSED_WAIT, held.replaced - 1), MAX_REFUSED_WAIT) if held.replaced else 0.0


def _replaced(before: CacheState, *, now: Moment) -> int:
    """Return how many credentials in a row were refused soon after they came, when others replace them now."""
    if not before.refused:
        return 0
    soon = not before.fetched.plus(2 * _refused_wait(before)).reached(now)
    return before.replaced + 1 if soon else 1


def _between(bounds: tuple[float, float], jitter: float) -> float:
    low, high = bounds
    return low + jitter * (high - low)
