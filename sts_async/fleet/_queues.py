"""
The queues of a fleet: identities that become due later, and identities that wait for a request.

Nothing here waits or reads a clock. Times are monotonic, in seconds.

Each operation on a queue of n entries takes O(log n), on average over many operations. This holds even if each entry
has a lane of its own, and if the budgets have no tokens. A removed entry leaves no reference behind, so its credentials
leave the memory at once.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ..credentials._schedule import NEVER, Moment
from ._budget import Budget, Lane

DUE, URGENT = 1, 0  # classes of waiting entries; the smaller number goes first
NOT_QUEUED = 2
MAX_PASSED = 16  # urgent entries in a row that go before one that is only due
MIN_OBSOLETE = 16  # removed items that are left in a heap in any case

_tickets = itertools.count()  # so that entries with the same key go in the order in which they came


class Queued:
    """
    Base class of the entries of the two queues. Only the queues write its attributes, except *paid*.

    Attributes:
        planned: When the entry becomes due, on both clocks; never if it is not in the queue of due times.
        due: The same moment as a monotonic time.
        rank: `URGENT`, `DUE`, or `NOT_QUEUED` if it does not wait for a request.
        paid: The budget from which `ReadyQueue.take` took a token for it; None after the token was spent or given back.
    """

    __slots__ = ("_due_item", "_paid_by", "_ready_item", "due", "paid", "planned", "rank")

    def __init__(self) -> None:
        self.planned = NEVER
        self.due = math.inf
        self.rank = NOT_QUEUED
        self.paid: Budget | None = None
        self._paid_by: ReadyQueue | None = None
        self._due_item: _Item | None = None
        self._ready_item: _Item | None = None

    def refund(self) -> None:
        """Give back the token that was taken for this entry, if no request was sent for it. Another one may use it."""
        paid, self.paid = self.paid, None
        queue, self._paid_by = self._paid_by, None
        if paid is not None and queue is not None:
            paid.give_back()
            queue.wake_group(paid)


# An item of a heap: the key, the ticket, the entry or None if it was removed, the lane, and the heap. It is a list,
# because `heapq` compares lists fast, and because the entry of an item is removed in place.
_Item = list[Any]
_KEY, _TICKET, _ENTRY, _LANE, _HEAP = range(5)


class _Heap:
    """A heap of entries by a key. A removed entry leaves an empty item, and a few of these are left in the heap."""

    __slots__ = ("_empty", "_items", "queue")

    def __init__(self, queue: object) -> None:
        self.queue = queue
        self._items: list[_Item] = []
        self._empty = 0

    def __len__(self) -> int:
        return len(self._items) - self._empty

    def push(self, key: float, entry: Queued, lane: Lane | None = None) -> _Item:
        item: _Item = [key, next(_tickets), entry, lane, self]
        heapq.heappush(self._items, item)
        return item

    def discard(self, item: _Item) -> None:
        item[_ENTRY] = item[_LANE] = None
        self._empty += 1
        if self._empty > len(self) + MIN_OBSOLETE:
            self._items = list(self.items())
            self._empty = 0
            heapq.heapify(self._items)

    def first(self) -> _Item | None:
        """Return the item with the smallest key, or None. It stays in the heap."""
        items = self._items
        while items and items[0][_ENTRY] is None:
            heapq.heappop(items)
            self._empty -= 1
        return items[0] if items else None

    def pop(self) -> _Item:
        """Remove and return the item that `first` has just returned."""
        return heapq.heappop(self._items)

    def items(self) -> Iterator[_Item]:
        return (item for item in self._items if item[_ENTRY] is not None)

    def set_keys(self, key_of: Callable[[Any], float]) -> None:
        """Compute the keys of all entries again."""
        for item in self.items():
            item[_KEY] = key_of(item[_ENTRY])
        heapq.heapify(self._items)


class DueQueue:
    """
    Entries by the time at which they become due. An entry has at most one due time.

    Args:
        offset: The wall clock minus the monotonic clock, in seconds.
    """

    __slots__ = ("_heap", "offset")

    def __init__(self, *, offset: float) -> None:
        self.offset = offset
        self._heap = _Heap(self)

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_due(self) -> float:
        """The earliest due time; infinite if there is none."""
        first = self._heap.first()
        return math.inf if first is None else first[_KEY]

    def put(self, entry: Queued, planned: Moment) -> None:
        """Set the due time of *entry*, in place of an earlier one. An entry is due when one clock reaches it."""
        self.discard(entry)
        due = self._due(planned)
        if due < math.inf:
            entry.planned, entry.due = planned, due
            entry._due_item = self._heap.push(due, entry)

    def _due(self, planned: Moment) -> float:
        return min(planned.monotonic, planned.wall - self.offset)

    def discard(self, entry: Queued) -> None:
        """Remove the due time of *entry*, if it has one."""
        if entry._due_item is not None:
            self._heap.discard(entry._due_item)
            self._clear(entry)

    def _clear(self, entry: Queued) -> None:
        entry.planned, entry.due, entry._due_item = NEVER, math.inf, None

    def pop_due(self, now: float) -> Any:
        """Remove and return an entry that is due at *now*, the one that became due first; None if there is none."""
        first = self._heap.first()
        if first is None or first[_KEY] > now:
            return None
        entry = self._heap.pop()[_ENTRY]
        self._clear(entry)
        return entry

    def set_offset(self, offset: float) -> None:
        """Compute all due times again, because the wall clock was set or the machine was suspended. It takes O(n)."""
        self.offset = offset
        self._heap.set_keys(self._set_due)

    def _set_due(self, entry: Queued) -> float:
        entry.due = self._due(entry.planned)
        return entry.due


class _Group:
    """
    The waiting entries whose requests take tokens from one budget; or the entries of one lane that takes none.

    Attributes:
        key: Its key in `ReadyQueue`: the budget, or the lane.
        heaps: The entries of each rank.
        has_turn: Whether it is in the list of turns of each rank.
        is_asleep: Whether it waits for a token.
        wakes: The earliest time at which `ReadyQueue` wakes it; infinite if it does not.
    """

    __slots__ = ("has_turn", "heaps", "is_asleep", "key", "wakes")

    def __init__(self, key: Budget | Lane, queue: object) -> None:
        self.key = key
        self.heaps = (_Heap(queue), _Heap(queue))
        self.has_turn = [False, False]
        self.is_asleep = False
        self.wakes = math.inf

    def wait(self, now: float) -> float:
        return self.key.wait(now=now) if isinstance(self.key, Budget) else 0.0


class ReadyQueue:
    """
    Entries that wait for a request. Urgent entries go first, then those whose credentials end first.

    Entries whose requests take tokens from one budget form a group. Groups with entries of the same rank take turns,
    so an account with many entries does not delay one with few. A group without tokens delays no other group. Within a
    group, an urgent entry goes before all others, also if a token comes earlier than expected.

    After 16 urgent entries in a row, one entry goes that is only due. Otherwise callers who need more than the budget
    would keep all others from their refresh, until their credentials end.
    """

    __slots__ = ("_asleep", "_groups", "_passed", "_turns")

    def __init__(self) -> None:
        self._groups: dict[Budget | Lane, _Group] = {}
        self._turns: tuple[deque[_Group], deque[_Group]] = (deque(), deque())
        # Groups without tokens, by the time at which they may have one. They sleep as a whole: if each lane slept by
        # itself, all lanes of an account would wake for each token.
        self._asleep: list[tuple[float, int, _Group]] = []
        self._passed = 0  # urgent entries that were taken since the last entry that was only due

    def __len__(self) -> int:
        return sum(len(heap) for group in self._groups.values() for heap in group.heaps)

    def put(self, entry: Queued, lane: Lane, *, urgent: bool, order: float) -> None:
        """
        Add an entry, or make an entry that waits already urgent.

        Args:
            entry: The entry.
            lane: Its lane.
            urgent: Whether a caller waits for it.
            order: Entries of the same group and rank go in this order, the smallest number first.
        """
        rank = URGENT if urgent else DUE
        if entry.rank > rank:
            self.discard(entry)
            self._put(entry, lane, rank, order)

    def _put(self, entry: Queued, lane: Lane, rank: int, order: float) -> None:
        key = lane.budget if lane.paced else lane
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key, self)
        entry.rank = rank
        entry._ready_item = group.heaps[rank].push(order, entry, lane)
        self._give_turn(group, rank)

    def _give_turn(self, group: _Group, rank: int) -> None:
        if not group.has_turn[rank] and not group.is_asleep:
            group.has_turn[rank] = True
            self._turns[rank].append(group)

    def discard(self, entry: Queued) -> None:
        """Remove an entry, if it waits here."""
        item = entry._ready_item
        if item is not None and item[_HEAP].queue is self:
            item[_HEAP].discard(item)
            entry.rank, entry._ready_item = NOT_QUEUED, None

    def take(self, now: float) -> Any:
        """
        Remove and return the entry that goes next; None if no group has an entry and a token.

        If its lane is paced, a token is taken for it, and the entry remembers the budget (`Queued.paid`).
        """
        self._wake(now)
        for rank in (DUE, URGENT) if self._passed >= MAX_PASSED else (URGENT, DUE):
            turns = self._turns[rank]
            while turns:
                group = turns.popleft()
                group.has_turn[rank] = False
                entry = self._take(group, rank, now)
                if entry is not None:
                    self._passed = 0 if rank == DUE else self._passed + 1
                    return entry
        return None

    def _wake(self, now: float) -> None:
        asleep = self._asleep
        while asleep and asleep[0][0] <= now:
            at, _, group = heapq.heappop(asleep)
            if at == group.wakes:
                group.wakes = math.inf
            self._end_sleep(group)

    def _end_sleep(self, group: _Group) -> None:
        group.is_asleep = False
        for rank in (URGENT, DUE):
            self._give_turn(group, rank)

    def _take(self, group: _Group, rank: int, now: float) -> Any:
        """Take an entry from a group whose turn it is; None if the group has no entry or no token."""
        heap = group.heaps[rank]
        while not group.is_asleep and (first := heap.first()) is not None:
            entry: Queued = first[_ENTRY]
            lane: Lane = first[_LANE]
            if lane.paced and lane.budget is not group.key:
                # The account of the lane has become known since: the entry moves to the group of its budget.
                self.discard(entry)
                self._put(entry, lane, rank, first[_KEY])
                continue
            wait = group.wait(now)
            if wait > 0:
                group.is_asleep = True
                # A group that was woken before its time still has an item. It wakes the group earlier, at most.
                if now + wait < group.wakes:
                    group.wakes = now + wait
                    heapq.heappush(self._asleep, (group.wakes, next(_tickets), group))
                return None
            heap.pop()
            entry.rank, entry._ready_item = NOT_QUEUED, None
            if lane.paced:
                lane.budget.take()
                entry.paid, entry._paid_by = lane.budget, self
            self._give_turn(group, rank)  # behind the groups that wait for theirs
            return entry
        if not group.is_asleep and not any(group.has_turn) and self._groups.get(group.key) is group:
            del self._groups[group.key]
        return None

    def waiting_for(self, budget: Budget) -> int:
        """Return the number of entries whose requests wait for tokens of *budget*."""
        group = self._groups.get(budget)
        return 0 if group is None else sum(map(len, group.heaps))

    def wake_group(self, budget: Budget) -> None:
        """
        Let the entries of *budget* ask for a token again, because one was given back.

        Without this, a process that finds all credentials in the shared cache would read one for each token.
        """
        group = self._groups.get(budget)
        if group is not None and group.is_asleep:
            self._end_sleep(group)

    def wake(self) -> None:
        """Let all groups ask for a token again, because the limits of their budgets have changed."""
        self._wake(math.inf)

    def next_time(self) -> float:
        """
        Return the earliest time at which `take` may return an entry.

        It is minus infinity if `take` may return one now, and infinity if no entry waits.
        """
        if any(self._turns):
            return -math.inf
        return self._asleep[0][0] if self._asleep else math.inf
