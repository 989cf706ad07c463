"""
The queues of a fleet: identities that become due later, and identities that wait for a request.

Nothing here waits or reads a clock. Times are monotonic, in seconds.
"""

import heapq
import itertools
import math
from typing import Any

from ..credentials._schedule import NEVER, Moment
from ._budget import Lane

DUE, URGENT = 1, 0  # classes of waiting identities; the smaller number goes first
NOT_QUEUED = 2


class Queued:
    """
    Base class of the entries of a queue.

    Attributes:
        planned: When the entry becomes due, on both clocks; never if it is not in the queue of due times.
        due: The same moment as a monotonic time.
        rank: `URGENT`, `DUE`, or `NOT_QUEUED` if it does not wait for a request.
        ticket: Its number in the queue of waiting entries; 0 outside.
    """

    __slots__ = ("due", "planned", "rank", "ticket")

    def __init__(self) -> None:
        self.planned = NEVER
        self.due = math.inf
        self.rank = NOT_QUEUED
        self.ticket = 0


class DueQueue:
    """
    Entries by the time at which they become due. An entry has at most one due time.

    Args:
        offset: The wall clock minus the monotonic clock, in seconds.
    """

    __slots__ = ("_heap", "_obsolete", "_tickets", "offset")

    def __init__(self, *, offset: float) -> None:
        self.offset = offset
        self._heap: list[tuple[float, int, Queued]] = []
        self._obsolete = 0
        self._tickets = itertools.count(1)

    def __len__(self) -> int:
        return len(self._heap) - self._obsolete

    @property
    def next_due(self) -> float:
        """The earliest due time; infinite if there is none."""
        heap = self._heap
        while heap and heap[0][2].due != heap[0][0]:
            heapq.heappop(heap)
            self._obsolete -= 1
        return heap[0][0] if heap else math.inf

    def put(self, entry: Queued, planned: Moment) -> None:
        """Set the due time of *entry*, in place of an earlier one. An entry is due when one clock reaches it."""
        self.discard(entry)
        due = self._due(planned)
        if due < math.inf:
            entry.planned, entry.due = planned, due
            heapq.heappush(self._heap, (due, next(self._tickets), entry))

    def _due(self, planned: Moment) -> float:
        return min(planned.monotonic, planned.wall - self.offset)

    def discard(self, entry: Queued) -> None:
        """Remove the due time of *entry*, if it has one."""
        if entry.due < math.inf:
            entry.planned, entry.due = NEVER, math.inf
            self._obsolete += 1
            # Without this, each removed entry would stay in memory until its due time.
            if self._obsolete > len(self._heap) // 2 + 64:
                self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [item for item in self._heap if item[2].due == item[0]]
        heapq.heapify(self._heap)
        self._obsolete = 0

    def pop_due(self, now: float) -> Any:
        """Remove and return an entry that is due at *now*; None if there is none."""
        if self.next_due > now:
            return None
        entry = heapq.heappop(self._heap)[2]
        entry.planned, entry.due = NEVER, math.inf
        return entry

    def set_offset(self, offset: float) -> None:
        """Compute all due times again, because the wall clock was set or the machine was suspended."""
        self.offset = offset
        entries = [item[2] for item in self._heap if item[2].due == item[0]]
        for entry in entries:
            entry.due = self._due(entry.planned)
        self._heap = [(entry.due, next(self._tickets), entry) for entry in entries]
        heapq.heapify(self._heap)
        self._obsolete = 0


class ReadyQueue:
    """
    Entries that wait for a request, by lane. Urgent entries go first, then those whose credentials end first.

    A lane can be taken from when its budget has a token. So a lane without tokens delays no other lane.
    """

    __slots__ = ("_counts", "_lanes", "_listed", "_tickets")

    def __init__(self) -> None:
        # For each rank: lanes with waiting entries, by the time at which their budget may have a token.
        self._lanes: tuple[list[tuple[float, int, Lane]], ...] = ([], [])
        self._listed: tuple[set[Lane], ...] = (set(), set())
        self._tickets = itertools.count(1)
        self._counts = [0, 0]

    def __len__(self) -> int:
        return sum(self._counts)

    def put(self, entry: Queued, lane: Lane, *, urgent: bool, order: float, now: float) -> None:
        """
        Add an entry, or make an entry that waits already urgent.

        Args:
            entry: The entry.
            lane: Its lane.
            urgent: Whether a caller waits for it.
            order: Entries of the same rank go in this order, the smallest number first.
            now: The time.
        """
        rank = URGENT if urgent else DUE
        if entry.rank <= rank:
            return
        self.discard(entry)
        entry.rank, entry.ticket = rank, next(self._tickets)
        self._counts[rank] += 1
        heapq.heappush(lane.ready[rank], (order, entry.ticket, entry))
        if lane not in self._listed[rank]:
            self._listed[rank].add(lane)
            heapq.heappush(self._lanes[rank], (now, entry.ticket, lane))

    def discard(self, entry: Queued) -> None:
        """Remove an entry, if it waits here."""
        if entry.rank < NOT_QUEUED:
            self._counts[entry.rank] -= 1
            entry.rank, entry.ticket = NOT_QUEUED, 0

    def take(self, now: float) -> Any:
        """Remove and return the entry that goes next, and take a token for it; None if no lane has both."""
        for rank in (URGENT, DUE):
            found = self._take(rank, now)
            if found is not None:
                return found
        return None

    def _take(self, rank: int, now: float) -> Any:
        lanes = self._lanes[rank]
        while lanes and lanes[0][0] <= now:
            _, ticket, lane = lanes[0]
            heap = lane.ready[rank]
            while heap and heap[0][1] != heap[0][2].ticket:
                heapq.heappop(heap)
            if not heap:
                heapq.heappop(lanes)
                self._listed[rank].discard(lane)
                continue
            wait = lane.budget.wait(now=now) if lane.paced else 0.0
            if wait > 0:
                heapq.heapreplace(lanes, (now + wait, ticket, lane))
                continue
            entry: Any = heapq.heappop(heap)[2]
            self.discard(entry)
            if lane.paced:
                lane.budget.take()
            # The lane goes behind the others that have tokens.
            heapq.heapreplace(lanes, (now, next(self._tickets), lane))
            return entry
        return None

    def next_time(self) -> float:
        """Return the earliest time at which `take` may return an entry; infinite if none waits."""
        return min((lanes[0][0] for lanes in self._lanes if lanes), default=math.inf)
