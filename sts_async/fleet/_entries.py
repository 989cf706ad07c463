"""
The entries of a fleet: one for each identity, in two tiers.

Kept entries stay until the program removes them. Entries on demand are bounded: the one that was used least recently is
evicted first, and one that was idle for long is evicted in any case. An evicted entry leaves nothing behind.

A use only writes a number into the entry, because `CredentialsFleet.peek` runs in any thread. So the order of use is
found later: the heap has each entry with the time of an earlier use. If the first entry was used since then, it returns
to the heap with the later time. Otherwise no entry was used less recently.
"""

import heapq
import itertools
import math
from asyncio import Future
from typing import TYPE_CHECKING, Any

from .._runtime.outcome import Outcome, copy_without_traceback
from ..credentials._schedule import NOTHING, STANDARD, CacheState, Schedule
from ..errors import CredentialsError, STSError
from ..shapes import Credentials
from ._budget import Lane
from ._queues import NOT_QUEUED, Queued
from .identities import describe
from .reports import IdentityState

if TYPE_CHECKING:
    from ._due_times import DueTime

BUSY_TRIES = 16  # busy entries that one eviction skips; after these, the bound is exceeded for a while

Waiter = Future[Outcome[Credentials]]


class Entry(Queued):
    """
    One identity of a fleet.

    Attributes:
        ahead: Whether it is refreshed ahead, for consumers that have margins of their own: see `due_window`.
        identity: The key.
        lane: The lane in which it waits for requests.
        source: The entry of the identity that signs; None for the client.
        state: The cached credentials, and when to refresh them.
        schedule: The rules of its refresh.
        status: The state that was reported last.
        status_since: When this state began, monotonic.
        error: The last error; None after a success.
        failures: Number of consecutive failures.
        failing_since: When the first of them happened, in seconds since 1970.
        counted_due: The due time that is counted in `DueTimes`, or None.
        last_used: Monotonic time of the last use.
        kept: Whether the program added it.
        keepers: Number of kept entries that this one signs for.
        dependents: Number of entries that this one signs for.
        paused: Whether the program paused it.
        refreshing: Whether a fetch runs.
        removed: Whether it is no longer in the fleet.
        passing: Whether only `CredentialsFleet.each` has asked for it.
        waiters: Futures of the callers that wait for the next outcome, in order of arrival.
        blocked: Entries that wait until this one has credentials.
        signs: The lane of the entries that this one signs for.
    """

    __slots__ = (
        "ahead",
        "blocked",
        "counted_due",
        "dependents",
        "error",
        "failing_since",
        "failures",
        "identity",
        "keepers",
        "kept",
        "lane",
        "last_used",
        "passing",
        "paused",
        "refreshing",
        "removed",
        "schedule",
        "signs",
        "source",
        "state",
        "status",
        "status_since",
        "waiters",
    )

    def __init__(self, identity: Any, *, lane: Lane, source: "Entry | None", now: float) -> None:
        super().__init__()
        self.identity = identity
        self.lane = lane
        self.source = source
        self.state: CacheState = NOTHING
        self.schedule: Schedule = STANDARD
        self.status = IdentityState.WAITING
        self.status_since = now
        self.error: STSError | None = None
        self.failures = 0
        self.failing_since = 0.0
        self.counted_due: DueTime | None = None
        self.last_used = now
        self.kept = False
        self.keepers = 0
        self.dependents = 0
        self.paused = False
        self.refreshing = False
        self.removed = False
        self.passing = False
        self.ahead = False
        self.waiters: dict[Waiter, None] | None = None
        self.blocked: set[Entry] | None = None
        self.signs: Lane | None = None

    @property
    def is_kept(self) -> bool:
        """Whether it is always kept fresh: the program added it, or it signs for such an entry."""
        return self.kept or self.keepers > 0

    @property
    def waits_for_failed_source(self) -> bool:
        """Whether an entry that signs for it, directly or through others, fails or is paused."""
        source = self.source
        while source is not None:
            if source.status in (IdentityState.FAILING, IdentityState.PAUSED):
                return True
            source = source.source
        return False

    @property
    def was_used(self) -> bool:
        """Whether its credentials were used since they were fetched."""
        return self.last_used > self.state.fetched.monotonic

    @property
    def is_busy(self) -> bool:
        """Whether it must not be evicted: something waits for it or depends on it, or the program paused it."""
        return bool(
            self.refreshing
            or self.waiters
            or self.blocked
            or self.dependents
            or self.rank != NOT_QUEUED
            or self.is_kept
            or self.paused
        )


class Entries:
    """
    All entries of a fleet.

    Args:
        max_on_demand: Maximum number of entries that are not kept.
        idle_seconds: Seconds without use after which such an entry is evicted.

    Attributes:
        by_identity: The entries.
        counts: Number of entries in each state.
        kept: Number of entries that the program added.
    """

    __slots__ = ("_heap", "_idle_seconds", "_max_on_demand", "_tickets", "by_identity", "counts", "kept")

    def __init__(self, *, max_on_demand: int, idle_seconds: float) -> None:
        self._max_on_demand = max_on_demand
        self._idle_seconds = idle_seconds
        self.by_identity: dict[Any, Entry] = {}
        self.counts = dict.fromkeys(IdentityState, 0)
        self.kept = 0
        self._heap: list[tuple[float, int, Entry]] = []
        self._tickets = itertools.count()

    @property
    def on_demand(self) -> int:
        """Number of entries that are not kept."""
        return len(self.by_identity) - self.kept

    def add(self, entry: Entry) -> None:
        """Add a new entry on demand."""
        self.by_identity[entry.identity] = entry
        self.counts[entry.status] += 1
        if entry.source is not None:
            entry.source.dependents += 1
        self._push(entry, entry.last_used)

    def keep(self, entry: Entry) -> None:
        """Keep an entry fresh, together with the entries that sign for it."""
        if entry.kept:
            return
        entry.kept = True
        self.kept += 1
        source = entry.source
        while source is not None:
            source.keepers += 1
            source = source.source

    def release(self, entry: Entry) -> None:
        """Stop keeping an entry fresh. It stays in the fleet, on demand."""
        if entry.kept:
            self._release(entry)
            self._push(entry, entry.last_used)

    def _release(self, entry: Entry) -> None:
        entry.kept = False
        self.kept -= 1
        source = entry.source
        while source is not None:
            source.keepers -= 1
            source = source.source

    def remove(self, entry: Entry) -> None:
        """Remove an entry. The entry that signs for it stays, and can be evicted when nothing else depends on it."""
        if self.by_identity.get(entry.identity) is entry:
            del self.by_identity[entry.identity]
            self.counts[entry.status] -= 1
        entry.removed = True
        if entry.kept:
            self._release(entry)
        if entry.source is not None:
            entry.source.dependents -= 1
            if entry.source.blocked is not None:
                entry.source.blocked.discard(entry)
        # Removed entries stay in the heap until they are found there, or until the heap is mostly made of them.
        if len(self._heap) > 2 * len(self.by_identity) + 64:
            self._heap = [item for item in self._heap if not item[2].removed and not item[2].kept]
            heapq.heapify(self._heap)

    def _push(self, entry: Entry, used: float) -> None:
        heapq.heappush(self._heap, (used, next(self._tickets), entry))

    def overflow(self, now: float) -> Entry | None:
        """Return the entry to evict because there are too many on demand; None if there are not, or all are busy."""
        if self.on_demand <= self._max_on_demand:
            return None
        return self._least_recently_used(math.inf, now)

    def idle(self, now: float) -> Entry | None:
        """Return an entry that was not used for the idle time; None if there is none."""
        return self._least_recently_used(now - self._idle_seconds, now)

    def _least_recently_used(self, before: float, now: float) -> Entry | None:
        """Return the entry that was used least recently, if this was at or before *before* and it is not busy."""
        busy: list[Entry] = []
        found: Entry | None = None
        heap = self._heap
        while heap and heap[0][0] <= before and len(busy) < BUSY_TRIES:
            used, _, entry = heapq.heappop(heap)
            if entry.removed or entry.kept:
                continue
            if entry.last_used > used:
                self._push(entry, entry.last_used)
            elif entry.is_busy:
                busy.append(entry)
            else:
                found = entry
                break
        for entry in busy:
            self._push(entry, now)  # otherwise it would be found first again
        return found


def source_error(entry: Entry, failure: STSError) -> CredentialsError:
    """Return the error for callers of an entry whose source failed. The cause is the error of the source."""
    source = describe(None if entry.source is None else entry.source.identity)
    error = CredentialsError(f"the source of {describe(entry.identity)} failed: {source}: {failure}")
    error.recoverable = failure.recoverable
    error.__cause__ = copy_without_traceback(failure)
    return error


def paused_error(entry: Entry) -> CredentialsError:
    """Return the error for callers of an entry that is paused and has no valid credentials."""
    return CredentialsError(f"{describe(entry.identity)} is paused, and has no valid credentials")


def left_error(entry: Entry) -> CredentialsError:
    """Return the error for callers of an entry that was removed."""
    return CredentialsError(f"{describe(entry.identity)} left the fleet")
