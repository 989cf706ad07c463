"""Reports of a fleet: events for observers, one log line for each change of state, and the counts of states."""

import logging

from .._engine.context import ClientContext
from ..credentials._schedule import Health
from ..credentials.cache import moment
from ..errors import STSError
from ..events import CredentialsRefreshed, CredentialsRefreshFailed, IdentityStateChanged
from ._entries import Entries, Entry
from .identities import account_of, describe, request_of
from .reports import IdentityState

SOURCE = "CredentialsFleet"  # the source in events: one value for all identities, because metrics have it as a label

log = logging.getLogger("sts_async")


class Reporter:
    """
    Reports what happens to the entries of a fleet.

    Args:
        context: The context of the client, which has the observers.
        entries: The entries, whose counts are kept up to date.
    """

    def __init__(self, context: ClientContext, entries: Entries) -> None:
        self._context = context
        self._entries = entries

    def added(self, entry: Entry) -> None:
        """Report a new entry."""
        self._notify(entry, before=None, state=entry.status)

    def removed(self, entry: Entry) -> None:
        """Report an entry that left the fleet."""
        self._notify(entry, before=entry.status, state=None)

    def succeeded(self, entry: Entry, *, seconds: float) -> None:
        """Report new credentials."""
        failing, entry.error, entry.failures = entry.error, None, 0
        credentials, now = entry.state.credentials, moment(self._context)
        assert credentials is not None  # noqa: S101 - the fetch stored them
        if self._context.is_observed:
            self._context.notify(
                CredentialsRefreshed(
                    source=SOURCE,
                    access_key_id=credentials.access_key_id,
                    expiration=credentials.expiration,
                    account_id=credentials.account_id,
                    seconds=seconds,
                    failing_seconds=None if failing is None else max(0.0, now.wall - entry.failing_since),
                    identity=describe(entry.identity),
                )
            )
        self.update(entry)

    def failed(self, entry: Entry, *, serves: bool) -> None:
        """Report a failed refresh; *serves* is True if callers get the cached credentials."""
        changed = self.update(entry)
        credentials, error = entry.state.credentials, entry.error
        if not serves or credentials is None or error is None or not self._context.is_observed:
            return
        self._context.notify(
            CredentialsRefreshFailed(
                source=SOURCE,
                access_key_id=credentials.access_key_id,
                expiration=credentials.expiration,
                account_id=credentials.account_id,
                error=error,
                changed=changed,
                failing_seconds=max(0.0, moment(self._context).wall - entry.failing_since),
                identity=describe(entry.identity),
            )
        )

    def update(self, entry: Entry) -> bool:
        """Report the state of an entry if it has changed. Return True if it has."""
        before, state = entry.status, _state_of(entry)
        if state is before or entry.removed:
            return False
        self._entries.counts[before] -= 1
        self._entries.counts[state] += 1
        now = self._context.monotonic()
        seconds, entry.status, entry.status_since = now - entry.status_since, state, now
        error = entry.error if state in (IdentityState.STALE, IdentityState.FAILING) else None
        self._notify(entry, before=before, state=state, error=error, seconds=seconds)
        if state is IdentityState.STALE:
            log.warning("%s: refresh failed; still serving the cached credentials: %s", describe(entry.identity), error)
        elif state is IdentityState.FAILING:
            log.warning("%s: refresh failed; there are no credentials to serve: %s", describe(entry.identity), error)
        elif before in (IdentityState.STALE, IdentityState.FAILING):
            log.info("%s: %s after failing for %.0f s", describe(entry.identity), state, seconds)
        return True

    def _notify(
        self,
        entry: Entry,
        *,
        before: IdentityState | None,
        state: IdentityState | None,
        error: STSError | None = None,
        seconds: float = 0.0,
    ) -> None:
        if not self._context.is_observed:
            return
        credentials = entry.state.credentials
        account_id = account_of(request_of(entry.identity)) if credentials is None else credentials.account_id
        self._context.notify(
            IdentityStateChanged(
                identity=describe(entry.identity),
                account_id=account_id,
                before=None if before is None else before.value,
                state=None if state is None else state.value,
                error=error,
                seconds=seconds,
                kept=entry.kept,
            )
        )


def _state_of(entry: Entry) -> IdentityState:
    if entry.paused:
        return IdentityState.PAUSED
    if entry.state.credentials is None:
        return IdentityState.WAITING if entry.error is None else IdentityState.FAILING
    if entry.state.health is Health.GOOD:
        return IdentityState.FRESH
    return IdentityState.FAILING if entry.state.health is Health.FAILING else IdentityState.STALE
