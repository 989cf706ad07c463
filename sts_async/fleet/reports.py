"""What a fleet reports about itself: its state as counts, its budgets, and the identities that fail."""

import enum
from datetime import datetime

import attrs

from ..errors import STSError
from .identities import Identity


class IdentityState(enum.StrEnum):
    """The state of one identity of a fleet. Each change is reported once."""

    WAITING = enum.auto()
    """No credentials yet: the first fetch waits or runs."""

    FRESH = enum.auto()
    """The last fetch succeeded."""

    STALE = enum.auto()
    """Refreshes fail. Callers still get the cached credentials."""

    FAILING = enum.auto()
    """Refreshes fail, and no cached credentials can be served. Callers get the error."""

    PAUSED = enum.auto()
    """The program paused the identity: no request is made for it."""


@attrs.frozen(kw_only=True)
class BudgetUse:
    """
    The use of one budget.

    Attributes:
        scope: The calling account and the region, such as ``123456789012/eu-west-1``; "" for requests that are not
            signed.
        limit: Maximum rate in requests per second.
        rate: Current rate: it grows after the start, and is halved when the service throttles.
        left: Requests that could be sent at once, at least 0.
        sent: Number of requests that the fleet has sent, including retries.
        throttled: Number of requests that the service throttled.
    """

    scope: str
    limit: float
    rate: float
    left: float
    sent: int
    throttled: int


@attrs.frozen(kw_only=True)
class FleetSnapshot:
    """
    The state of a fleet at one moment. Times are in seconds.

    Attributes:
        kept: Number of identities that are kept fresh.
        on_demand: Number of identities that were asked for and are not kept.
        waiting: Number of identities without credentials whose first fetch waits or runs.
        fresh: Number of identities whose last fetch succeeded, and whose credentials are valid.
        ended: Number of identities whose last fetch succeeded, and whose credentials have expired since: nothing uses
            them, or the identity that signs for them fails.
        stale: Number of identities whose refresh fails while the cached credentials are served.
        failing: Number of identities whose callers get an error.
        paused: Number of paused identities.
        refreshing: Number of fetches that run.
        queued: Number of identities that wait for a request.
        next_due: Time until the next refresh is due, at least 0; None if none is planned.
        oldest: Time since the oldest cached credentials were fetched; None without credentials.
        soonest_end: Time until the first cached credentials expire, below 0 if they have; None without credentials that
            expire.
        budgets: The use of the budget of each calling account and region.
        restarts: Number of workers that were restarted after an unexpected error.
    """

    kept: int
    on_demand: int
    waiting: int
    fresh: int
    ended: int = 0
    stale: int
    failing: int
    paused: int
    refreshing: int
    queued: int
    next_due: float | None
    oldest: float | None
    soonest_end: float | None
    budgets: tuple[BudgetUse, ...]
    restarts: int


@attrs.frozen(kw_only=True)
class FailingIdentity:
    """
    An identity whose refresh fails.

    Attributes:
        identity: The identity.
        name: Its name, for people.
        state: `IdentityState.STALE` or `IdentityState.FAILING`.
        code: The error code of the service; None if the error did not come from the service.
        error: The last error.
        since: When the first of the consecutive failures happened.
        next_try: When the next attempt is planned; None if it is under way, or if only a caller triggers it.
        failures: Number of consecutive failures.
        expiration: When the cached credentials expire; None without cached credentials.
    """

    identity: Identity
    name: str
    state: IdentityState
    code: str | None
    error: STSError
    since: datetime
    next_try: datetime | None
    failures: int
    expiration: datetime | None
