"""The overview of a fleet: its state as counts, and the list of identities that fail."""

import math
from datetime import UTC, datetime

from .._runtime.outcome import copy_without_traceback
from ..errors import ServiceError
from ._budget import Budgets
from ._entries import Entries, Entry
from ._refresher import Refresher
from .identities import describe
from .reports import BudgetUse, FailingIdentity, FleetSnapshot, IdentityState


def take_snapshot(entries: Entries, refresher: Refresher, budgets: Budgets) -> FleetSnapshot:
    """Return the state of a fleet."""
    now = refresher.now()
    oldest = soonest_end = math.inf
    ended = 0
    for entry in list(entries.by_identity.values()):
        if entry.state.credentials is not None:
            oldest = min(oldest, entry.state.fetched.monotonic)
            soonest_end = min(soonest_end, entry.state.ends.monotonic)
            if entry.status is IdentityState.FRESH and entry.state.ends.reached(now):
                ended += 1
    due = refresher.due.next_due
    counts = entries.counts
    return FleetSnapshot(
        kept=entries.kept,
        on_demand=entries.on_demand,
        waiting=counts[IdentityState.WAITING],
        fresh=counts[IdentityState.FRESH] - ended,
        ended=ended,
        stale=counts[IdentityState.STALE],
        failing=counts[IdentityState.FAILING],
        paused=counts[IdentityState.PAUSED],
        refreshing=sum(pool.running for pool in refresher.pools),
        queued=sum(len(pool.ready) for pool in refresher.pools),
        next_due=None if due == math.inf else max(0.0, due - now.monotonic),
        oldest=None if oldest == math.inf else now.monotonic - oldest,
        soonest_end=None if soonest_end == math.inf else soonest_end - now.monotonic,
        budgets=tuple(
            BudgetUse(
                scope=budget.scope,
                limit=budget.limit,
                rate=budget.rate,
                left=max(0.0, budget.tokens),
                sent=budget.sent,
                throttled=budget.throttled,
            )
            for budget in budgets.all()
        ),
        restarts=sum(pool.restarts for pool in refresher.pools),
    )


def list_failing(entries: Entries, refresher: Refresher, *, limit: int | None = None) -> list[FailingIdentity]:
    """Return at most *limit* identities whose refresh fails, those that have failed for the longest time first."""
    failing = [
        entry
        for entry in list(entries.by_identity.values())
        if entry.error is not None and entry.status in (IdentityState.STALE, IdentityState.FAILING)
    ]
    failing.sort(key=lambda entry: entry.failing_since)
    return [_describe(entry, refresher) for entry in failing[:limit]]


def _describe(entry: Entry, refresher: Refresher) -> FailingIdentity:
    error, credentials, now = entry.error, entry.state.credentials, refresher.now()
    assert error is not None  # noqa: S101 - the identity fails
    next_try = None
    if entry.due < math.inf:
        next_try = datetime.fromtimestamp(now.wall + max(0.0, entry.due - now.monotonic), UTC)
    return FailingIdentity(
        identity=entry.identity,
        name=describe(entry.identity),
        state=entry.status,
        code=error.code if isinstance(error, ServiceError) else None,
        error=copy_without_traceback(error),
        since=datetime.fromtimestamp(entry.failing_since, UTC),
        next_try=next_try,
        failures=entry.failures,
        expiration=None if credentials is None else credentials.expiration,
    )
