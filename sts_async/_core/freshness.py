"""
When cached credentials are refreshed: decisions, from what is held and what the clocks say. Nothing here waits.

Times are pairs of a wall clock and a monotonic one, and whichever is later counts: a wall clock that is set back
extends no life, and a machine that was suspended finds out at once.

Source: the AWS SDKs' common rules for refreshing credentials, 2026 ("static stability").
"""

import enum
import math
from datetime import datetime
from typing import NamedTuple

import attrs

from ..errors import STSError
from ..shapes import Credentials

SHORT = 20 * 60.0  # s: up to this lifetime, 5 min before the end
LONG = 90 * 60.0  # s: from this lifetime on, 60 min before the end; between the two, 15 min
MANDATORY_WINDOW = 60.0  # s before the end in which every caller waits for new credentials
LONGEST = 36 * 3600.0  # s
PAUSE = (300.0, 600.0)  # s without an attempt after one that failed, while the old credentials are served
MEMORY = (1.0, 5.0)  # s for which an error that waiting does not cure is raised again without an attempt
MARGIN = 10.0  # s before the end for sources that are only cached


class Moment(NamedTuple):
    """A point in time on both clocks, in seconds."""

    wall: float
    monotonic: float

    def reached(self, now: "Moment") -> bool:
        """Say whether *now* is at or past this moment on either clock."""
        return now.wall >= self.wall or now.monotonic >= self.monotonic

    def plus(self, seconds: float) -> "Moment":
        return Moment(self.wall + seconds, self.monotonic + seconds)


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
    """

    advisory: float | None = None
    mandatory: float = MANDATORY_WINDOW
    keep_stale: bool = True
    accept_expired: bool = False


STANDARD = Schedule()
"""For what AWS itself issues: STS, IMDS, the container endpoint, SSO and login."""

ATTENDED = Schedule(advisory=MANDATORY_WINDOW)
"""For what needs a person, such as an MFA code: never in the background."""

CACHED = Schedule(advisory=MARGIN, mandatory=MARGIN, keep_stale=False)
"""For processes and sources of the program's own."""


@attrs.frozen(kw_only=True)
class Held:
    """
    What a cache holds: one value, exchanged as a whole.

    Attributes:
        credentials: What is served, or None.
        advisory: From when a refresh is due.
        mandatory: From when callers wait for it.
        quiet_until: On the monotonic clock: no attempt before.
        error: What is raised in place of an attempt until then, or None.
    """

    credentials: Credentials | None = None
    advisory: Moment = PAST
    mandatory: Moment = PAST
    quiet_until: float = -math.inf
    error: STSError | None = None


NOTHING = Held()


class Step(enum.Enum):
    """What a caller does who asks a cache."""

    SERVE = enum.auto()  # return what is held
    REFRESH_BEHIND = enum.auto()  # return what is held, and have a refresh begin
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
    return window if window < lifetime else lifetime / 2  # what hardly lives is not refreshed all the time


def next_step(held: Held, *, now: Moment) -> Step:
    """Return what a caller does at *now*."""
    quiet = now.monotonic < held.quiet_until
    if held.credentials is None or held.mandatory.reached(now):
        if not quiet:
            return Step.REFRESH
        return Step.SERVE if held.credentials is not None and held.error is None else Step.RAISE
    if held.advisory.reached(now) and not quiet:
        return Step.REFRESH_BEHIND
    return Step.SERVE


def lifetime_of(credentials: Credentials, *, at: datetime) -> float:
    """Return the seconds that *credentials* have left at *at*, infinite when they never end."""
    if credentials.expiration is None:
        return math.inf
    return (credentials.expiration - at).total_seconds()


def after_success(credentials: Credentials, *, lifetime: float, now: Moment, schedule: Schedule = STANDARD) -> Held:
    """
    Return what is held after credentials came that have *lifetime* seconds left, more than 0.

    *lifetime* counts from *now*, and is not believed beyond 36 hours, which is more than anybody issues.
    """
    if lifetime == math.inf:
        return Held(credentials=credentials, advisory=NEVER, mandatory=NEVER)
    lifetime = min(lifetime, LONGEST)
    window = advisory_window(lifetime) if schedule.advisory is None else _within(lifetime, schedule.advisory)
    return Held(
        credentials=credentials,
        advisory=now.plus(lifetime - window),
        mandatory=now.plus(lifetime - min(schedule.mandatory, window)),
    )


def after_expired(credentials: Credentials, *, now: Moment, jitter: float) -> Held:
    """Return what is held when a source has only expired credentials and they are better than none."""
    return Held(credentials=credentials, quiet_until=now.monotonic + _between(PAUSE, jitter))


def after_failure(held: Held, error: STSError, *, now: Moment, jitter: float, schedule: Schedule = STANDARD) -> Held:
    """
    Return what is held after a refresh failed with *error*; *jitter* is random in [0, 1).

    Those who waited get what is held, if `keeps_serving` says so, and else the error.
    """
    if not error.recoverable:
        return attrs.evolve(held, quiet_until=now.monotonic + _between(MEMORY, jitter), error=error)
    kept = keeps_serving(held, error, now=now, schedule=schedule)
    quiet_until = now.monotonic + _between(PAUSE, jitter) if kept else -math.inf
    return attrs.evolve(held, quiet_until=quiet_until, error=None)


def keeps_serving(held: Held, error: STSError, *, now: Moment, schedule: Schedule) -> bool:
    """Say whether what is held stays in use after *error*: until callers must wait, always; then if it may pass."""
    if held.credentials is None:
        return False
    return not held.mandatory.reached(now) or (error.recoverable and schedule.keep_stale)


def invalidated(held: Held, *, access_key_id: str) -> Held:
    """
    Return what is held after the service refused *access_key_id*: if it still is, it is refreshed before use.

    A pause after a refresh that failed holds all the same: the rules prefer keys that may be refused to a storm.
    """
    if held.credentials is None or held.credentials.access_key_id != access_key_id:
        return held
    return attrs.evolve(held, advisory=PAST, mandatory=PAST)


def _between(bounds: tuple[float, float], jitter: float) -> float:
    low, high = bounds
    return low + jitter * (high - low)
