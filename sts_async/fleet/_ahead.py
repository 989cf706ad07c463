"""Credentials for consumers that have margins of their own, such as the SDKs behind a credentials endpoint."""

import math
from typing import TYPE_CHECKING

import attrs

from ..credentials._schedule import Step, next_step
from ..shapes import Credentials
from ._due_times import due_window, next_refresh
from .identities import Identity

if TYPE_CHECKING:
    from ._entries import Entry
    from ._refresher import Refresher
    from .fleet import CredentialsFleet


async def get_ahead(fleet: "CredentialsFleet", identity: Identity, *, wait: bool) -> Credentials:
    """
    Return the credentials of an identity, and refresh it ahead from now on: see `_due_times.due_window`.

    It runs in the event loop of the fleet.

    Args:
        fleet: The fleet.
        identity: The identity.
        wait: Whether to wait for a refresh that would run in the background. It does not wait in the pause after a
            failed refresh.

    Raises:
        STSError: The errors of `CredentialsFleet.get`.
    """
    refresher = fleet._started()
    entry = fleet._entry_of(identity)
    entry.passing = False
    if not entry.ahead:
        _advance(entry, refresher)
    now = refresher.now()
    is_paused = entry.paused or refresher.is_paused
    if wait and not is_paused and next_step(entry.state, now=now) is Step.REFRESH_IN_BACKGROUND:
        entry.last_used = now.monotonic
        return await refresher.wait(entry)
    return await fleet._provide(entry, refresher)


def _advance(entry: "Entry", refresher: "Refresher") -> None:
    """Refresh an entry ahead from now on."""
    entry.ahead = True
    state, now = entry.state, refresher.now()
    if state.credentials is not None and entry.schedule.advisory is None:
        first, _ = due_window(state, ahead=True, now=now.monotonic)
        advisory = state.advisory.earlier_of(now.plus(first - now.monotonic))
        entry.state = attrs.evolve(state, advisory=advisory)
        if entry.due < math.inf:
            refresher.plan(entry, next_refresh(entry.state))
