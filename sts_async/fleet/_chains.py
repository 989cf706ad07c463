"""
Chains: entries that wait for the entry that signs for them, their source.

An entry whose source has no credentials waits at the source, and takes no worker. When the source has credentials, all
entries that wait there return to the queue. When it fails, their callers get its error, and only the source counts as
failing: kept entries stay, and continue after its recovery.
"""

import asyncio
from typing import Protocol

from .._runtime.outcome import Outcome
from ..credentials._schedule import Moment, Step, keeps_serving, next_step
from ..errors import STSError
from ..shapes import Credentials
from ._entries import Entry, left_error, paused_error, source_error
from ._workers import MAX_AT_ONCE


class Refreshes(Protocol):
    """The part of the refresher that chains need."""

    is_paused: bool

    def now(self) -> Moment:
        """Return the current time by both clocks."""
        ...

    def need(self, entry: Entry, *, urgent: bool) -> None:
        """Refresh an entry as soon as its turn comes."""
        ...

    def complete(self, entry: Entry, outcome: Outcome[Credentials]) -> None:
        """Wake all waiters of an entry."""
        ...


class Chains:
    """
    The chains of a fleet: which entry waits for which source.

    Args:
        refresher: The refresher of the fleet.
    """

    def __init__(self, refresher: Refreshes) -> None:
        self._refresher = refresher

    def can_start(self, entry: Entry) -> bool:
        """Return True if a worker can fetch *entry* now. Otherwise it waits for its source, or its callers fail."""
        source, refresher = entry.source, self._refresher
        if source is None:
            return True
        now = refresher.now()
        source.last_used = now.monotonic
        step = next_step(source.state, now=now)
        if step is Step.SERVE or (step is Step.REFRESH_IN_BACKGROUND and (source.paused or refresher.is_paused)):
            return True
        if step is Step.REFRESH_IN_BACKGROUND:
            refresher.need(source, urgent=False)
            return True
        if source.paused or refresher.is_paused:
            self.block(entry, paused_error(source))
        elif step is Step.REFRESH:
            self.block(entry)
            refresher.need(source, urgent=bool(entry.waiters))
        else:
            self.block(entry, source.state.error)
        return False

    def block(self, entry: Entry, failure: STSError | None = None) -> None:
        """Let *entry* wait until its source has new credentials; if *failure* is given, its callers get it now."""
        source = entry.source
        assert source is not None  # noqa: S101 - only a chained request waits for a source
        if source.blocked is None:
            source.blocked = set()
        source.blocked.add(entry)
        if failure is not None:
            self._fail(entry, failure)

    def must_wait_after_refusal(self, entry: Entry) -> bool:
        """Return True if the service refused the key of the source. The failure is then not counted for *entry*."""
        source = entry.source
        refused = source is not None and source.state.refused
        return refused and next_step(source.state, now=self._refresher.now()) is Step.REFRESH  # type: ignore[union-attr]

    def release(self, source: Entry) -> None:
        """Refresh the entries that waited for *source*, at most 200 in a turn of the event loop."""
        blocked = source.blocked
        for _ in range(MAX_AT_ONCE):
            if not blocked:
                source.blocked = None
                return
            dependent = blocked.pop()
            self._refresher.need(dependent, urgent=bool(dependent.waiters))
        asyncio.get_running_loop().call_soon(self.release, source)

    def fail(self, source: Entry, failure: STSError) -> None:
        """Give the callers of all entries that wait for *source* its error. Kept entries wait for its recovery."""
        for dependent in list(source.blocked or ()):
            self._fail(dependent, failure)

    def drop(self, source: Entry) -> None:
        """Give the callers of all entries that wait for *source* an error, because it left the fleet."""
        self.fail(source, left_error(source))
        source.blocked = None

    def _fail(self, entry: Entry, failure: STSError) -> None:
        if entry.waiters:
            now = self._refresher.now()
            if keeps_serving(entry.state, failure, now=now, schedule=entry.schedule):
                self._refresher.complete(entry, Outcome(entry.state.credentials))
            else:
                self._refresher.complete(entry, Outcome(error=source_error(entry, failure)))
        if entry.source is not None and entry.source.blocked is not None and not entry.is_kept:
            entry.source.blocked.discard(entry)
        self.fail(entry, failure)
