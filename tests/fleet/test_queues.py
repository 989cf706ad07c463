"""The queues of a fleet, compared with plain lists: no entry is lost or taken twice, and none is left in memory."""

import copy
import itertools
import math
import weakref
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sts_async.credentials._schedule import NEVER, Moment
from sts_async.fleet._budget import Budget, Lane
from sts_async.fleet._queues import DUE, MIN_OBSOLETE, NOT_QUEUED, URGENT, DueQueue, Queued, ReadyQueue

seconds = st.integers(0, 20).map(float) | st.floats(0, 1000)


class Entry(Queued):
    """An entry with a name. Unlike the slots of its base, it can be referenced weakly."""

    numbers = itertools.count(1)

    def __init__(self) -> None:
        super().__init__()
        self.name = next(self.numbers)

    def __repr__(self) -> str:
        return f"<{self.name}>"


def items_in(*heaps: Any) -> int:
    """Return the number of items in heaps, those of removed entries included."""
    return sum(len(heap._items) for heap in heaps)


# Entries that become due later


class AnyDueTimes(RuleBasedStateMachine):
    """A queue of due times, and a dictionary with the same entries."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = 1e9
        self.now = 100.0
        self.queue = DueQueue(offset=self.offset)
        self.model: dict[Entry, Moment] = {}
        self.entries = [Entry() for _ in range(12)]

    def due(self, planned: Moment) -> float:
        return min(planned.monotonic, planned.wall - self.offset)

    @rule(data=st.data(), after=seconds, wall_clock_is_ahead_by=st.sampled_from([0.0, -5.0, 5.0, math.inf]))
    def put(self, data: st.DataObject, after: float, wall_clock_is_ahead_by: float) -> None:
        entry = data.draw(st.sampled_from(self.entries))
        planned = Moment(self.offset + self.now + after + wall_clock_is_ahead_by, self.now + after)
        self.queue.put(entry, planned)
        self.model[entry] = planned
        assert (entry.planned, entry.due) == (planned, self.due(planned))

    @rule(data=st.data(), planned=st.sampled_from([Moment(1e9 + 110, 110.0), Moment(1e9 + 120, 120.0)]))
    def put_for_a_moment_of_others(self, data: st.DataObject, planned: Moment) -> None:
        """An entry may be removed and put again for the very same moment."""
        entry = data.draw(st.sampled_from(self.entries))
        self.queue.put(entry, planned)
        self.model[entry] = planned

    @rule(data=st.data())
    def put_for_never(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.entries))
        self.queue.put(entry, NEVER)
        self.model.pop(entry, None)

    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.entries))
        self.queue.discard(entry)
        self.model.pop(entry, None)

    @rule(change=st.sampled_from([-1e6, -3600.0, -7.0, 7.0, 3600.0]))
    def the_wall_clock_is_set(self, change: float) -> None:
        self.offset += change
        self.queue.set_offset(self.offset)

    @rule(passed=seconds, most=st.integers(1, 12))
    def pop(self, passed: float, most: int) -> None:
        self.now += passed
        for _ in range(most):
            first = min(map(self.due, self.model.values()), default=math.inf)
            entry = self.queue.pop_due(self.now)
            if entry is None:
                assert first > self.now
                return
            assert self.due(self.model.pop(entry)) == first <= self.now

    @invariant()
    def it_has_the_entries_of_the_model(self) -> None:
        assert len(self.queue) == len(self.model)
        assert self.queue.next_due == min(map(self.due, self.model.values()), default=math.inf)
        for entry in self.entries:
            planned = self.model.get(entry, NEVER)
            assert (entry.planned, entry.due) == (planned, self.due(planned))

    @invariant()
    def removed_entries_take_little_memory(self) -> None:
        assert items_in(self.queue._heap) <= 2 * len(self.model) + MIN_OBSOLETE + 1


TestAnyDueTimes = AnyDueTimes.TestCase


def test_an_entry_that_was_planned_twice_for_one_moment_is_due_once() -> None:
    """It was paused and resumed. Then the clock jumped, so the queue computed all due times again."""
    queue, entry = DueQueue(offset=0.0), Queued()
    queue.put(entry, Moment(5.0, 5.0))
    queue.discard(entry)
    queue.put(entry, Moment(5.0, 5.0))
    queue.set_offset(1.0)

    assert len(queue) == 1
    assert [queue.pop_due(9.0), queue.pop_due(9.0)] == [entry, None]
    assert len(queue) == 0


def test_entries_that_are_due_at_the_same_time_go_in_the_order_in_which_they_came() -> None:
    queue, entries = DueQueue(offset=0.0), [Entry() for _ in range(5)]
    for entry in entries:
        queue.put(entry, Moment(5.0, 5.0))
    queue.set_offset(1.0)

    assert [queue.pop_due(5.0) for _ in entries] == entries


# Entries that wait for a request


class AnyWaiting(RuleBasedStateMachine):
    """
    A queue of waiting entries, and a dictionary with the same entries.

    The lanes are: two of one account, two of others, one without a budget, and one whose account becomes known late.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.queue = ReadyQueue()
        self.other = ReadyQueue()
        shared = Budget(2.0)
        self.late, self.shared = Lane(Budget(3.0)), shared
        unpaced = Lane(Budget(0.1), paced=False)
        self.lanes = [Lane(shared), Lane(shared), Lane(Budget(0.5)), Lane(Budget(200.0)), unpaced, self.late]
        self.entries = [Entry() for _ in range(18)]
        self.lane_of = dict(zip(self.entries, itertools.cycle(self.lanes), strict=False))
        self.model: dict[Entry, tuple[int, float, Any]] = {}  # the rank, the order, and the group at this time
        self.may_sleep: dict[Any, float] = {}  # groups that had no token, and until when they may not be asked
        self.taken: list[Entry] = []

    def group(self, lane: Lane) -> Budget | Lane:
        return lane.budget if lane.paced else lane

    def known_places(self) -> list[tuple[int, float, Any]]:
        """Return the entries that wait in the current group of their lane: the group of a lane may have changed."""
        return [where for entry, where in self.model.items() if where[2] is self.group(self.lane_of[entry])]

    @rule(data=st.data(), urgent=st.booleans(), order=st.integers(0, 5).map(float))
    def put(self, data: st.DataObject, urgent: bool, order: float) -> None:
        entry = data.draw(st.sampled_from(self.entries))
        lane, rank = self.lane_of[entry], URGENT if urgent else DUE
        self.queue.put(entry, lane, urgent=urgent, order=order)
        if entry not in self.model or self.model[entry][0] > rank:
            self.model[entry] = (rank, order, self.group(lane))

    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.entries))
        self.other.discard(entry)
        assert (entry.rank != NOT_QUEUED) == (entry in self.model)
        self.queue.discard(entry)
        self.model.pop(entry, None)

    @rule(passed=st.sampled_from([0.0, 0.001, 0.1, 0.5, 1.0, 2.0, 10.0]))
    def pass_time(self, passed: float) -> None:
        self.now += passed

    @rule()
    def the_service_throttles(self) -> None:
        self.shared.throttle(now=self.now)

    @precondition(lambda self: self.taken)
    @rule()
    def a_request_is_not_sent(self) -> None:
        self.taken.pop().refund()

    @rule()
    def the_account_of_a_lane_becomes_known(self) -> None:
        self.late.budget = self.shared

    @rule()
    def take(self) -> None:
        groups = {self.group(lane) for lane in self.lanes}
        waits = {group: copy.copy(group).wait(now=self.now) for group in groups if isinstance(group, Budget)}
        free = {group for group in groups if not waits.get(group) and self.may_sleep.get(group, -math.inf) <= self.now}
        for group, wait in waits.items():
            if wait:
                self.may_sleep[group] = max(self.may_sleep.get(group, -math.inf), self.now + wait)
        entry = self.queue.take(self.now)
        if entry is None:
            assert not [where for where in self.known_places() if where[2] in free]
            assert not self.model or self.now < self.queue.next_time() <= self.now + 2.001
            return
        lane = self.lane_of[entry]
        rank, order, _ = self.model.pop(entry)
        assert not [w for w in self.known_places() if w[2] is self.group(lane) and w[:2] < (rank, order)]
        if rank == DUE:
            assert not [where for where in self.known_places() if where[2] in free and where[0] == URGENT]
        assert entry.paid is (lane.budget if lane.paced else None)
        assert not waits.get(lane.budget)
        self.taken.append(entry)

    @invariant()
    def it_has_the_entries_of_the_model(self) -> None:
        assert len(self.queue) == len(self.model)
        assert [entry.rank for entry in self.entries] == [
            self.model.get(entry, (NOT_QUEUED,))[0] for entry in self.entries
        ]
        assert not self.model or self.queue.next_time() <= self.now + 2.001

    @invariant()
    def removed_entries_take_little_memory(self) -> None:
        groups = self.queue._groups.values()
        items = items_in(*(heap for group in groups for heap in group.heaps))
        assert items <= 2 * len(self.model) + len(groups) * 2 * (MIN_OBSOLETE + 1)

    def teardown(self) -> None:
        """All entries that are left can be taken, each once, and then nothing is left in the queue."""
        for _ in range(1000):
            entry = self.queue.take(self.now)
            if entry is None:
                if self.queue.next_time() == math.inf:
                    break
                self.now = max(self.queue.next_time(), self.now + 0.0001)
            else:
                del self.model[entry]
        assert self.model == {}
        assert (self.queue._groups, any(self.queue._turns), self.queue._asleep) == ({}, False, [])


TestAnyWaiting = AnyWaiting.TestCase


def waiting(queue: ReadyQueue, lane: Lane, *, urgent: bool = False, order: float = 0.0) -> Entry:
    entry = Entry()
    queue.put(entry, lane, urgent=urgent, order=order)
    return entry


@given(st.permutations(range(6)))
def test_the_one_that_ends_soonest_goes_first_when_late(ends: list[int]) -> None:
    """Also if several lanes of one account wait: the account is what limits them."""
    queue, budget = ReadyQueue(), Budget(200.0)
    entries = [waiting(queue, Lane(budget), order=float(end)) for end in ends]

    taken = [queue.take(0.0) for _ in entries]
    assert [ends[entries.index(entry)] for entry in taken] == sorted(ends)


@given(st.booleans(), st.booleans())
def test_a_role_that_is_needed_now_goes_before_what_is_only_due(same_account: bool, same_lane: bool) -> None:
    """Whichever account it is in, and however late the others are."""
    assume(same_account or not same_lane)
    queue, lane = ReadyQueue(), Lane(Budget(200.0))
    other = lane if same_lane else Lane(lane.budget if same_account else Budget(200.0))
    late = [waiting(queue, lane, order=-3600.0) for _ in range(5)]
    needed = waiting(queue, other, urgent=True, order=100.0)

    assert [queue.take(0.0) for _ in range(6)] == [needed, *late]


def test_a_role_that_is_needed_now_gets_the_token_that_comes_earlier_than_expected() -> None:
    """A request was not sent, so its token comes back while the account waits for the next one."""
    queue, lane = ReadyQueue(), Lane(Budget(1.0))
    first, needed = waiting(queue, lane), waiting(queue, lane, order=1.0)
    assert queue.take(0.0) is first
    assert queue.take(0.0) is None
    queue.put(needed, lane, urgent=True, order=0.0)
    first.refund()
    waiting(queue, lane, order=-1.0)

    taken = [entry for number in range(5) if (entry := queue.take(number / 2)) is not None]
    assert taken[0] is needed


def test_an_entry_that_waits_already_becomes_urgent_and_stays_so() -> None:
    queue, lane = ReadyQueue(), Lane(Budget(200.0))
    entry, other = waiting(queue, lane, order=2.0), waiting(queue, lane, order=1.0)
    queue.put(entry, lane, urgent=True, order=5.0)
    queue.put(entry, lane, urgent=False, order=0.0)

    assert (entry.rank, len(queue)) == (URGENT, 2)
    assert [queue.take(0.0) for _ in range(3)] == [entry, other, None]


def test_urgent_entries_go_in_the_order_of_their_callers() -> None:
    queue, lane = ReadyQueue(), Lane(Budget(200.0))
    entries = [waiting(queue, lane, urgent=True, order=1.0) for _ in range(5)]

    assert [queue.take(0.0) for _ in entries] == entries


def test_accounts_take_turns() -> None:
    """A flood of one account does not delay another one."""
    queue, flood, small = ReadyQueue(), Lane(Budget(200.0)), Lane(Budget(200.0))
    for _ in range(100):
        waiting(queue, flood)
    entries = [waiting(queue, small) for _ in range(3)]
    taken = [queue.take(0.0) for _ in range(6)]

    assert [entry for entry in taken if entry in entries] == entries


def test_an_account_without_tokens_delays_no_other() -> None:
    queue, throttled, other = ReadyQueue(), Lane(Budget(200.0)), Lane(Budget(200.0))
    throttled.budget.throttle(now=0.0)
    stuck, free = waiting(queue, throttled, urgent=True), waiting(queue, other)

    assert [queue.take(0.0), queue.take(0.0)] == [free, None]
    assert 0 < queue.next_time() < 1
    assert queue.take(queue.next_time()) is stuck


def test_a_lane_whose_account_becomes_known_waits_for_the_tokens_of_this_account() -> None:
    """Its entries move to those of the account, in their order."""
    queue, account, lane = ReadyQueue(), Budget(1.0), Lane(Budget(200.0))
    entries = [waiting(queue, lane, order=float(number)) for number in range(3)]
    assert queue.take(0.0) is entries[0]
    lane.budget = account
    late = waiting(queue, Lane(account), order=1.5)

    taken = [entry for second in range(6) if (entry := queue.take(second * 4.0)) is not None]
    assert taken == [entries[1], late, entries[2]]
    assert [entry.paid for entry in taken] == [account] * 3
    assert (account.sent, len(queue), queue.take(99.0), queue.next_time()) == (3, 0, None, math.inf)


def test_a_lane_without_a_budget_never_waits() -> None:
    """A provider may send no request at all. If it sends requests, each of them takes a token."""
    queue, lane = ReadyQueue(), Lane(Budget(1.0), paced=False)
    entries = [waiting(queue, lane) for _ in range(50)]

    assert [queue.take(0.0) for _ in entries] == entries
    assert {entry.paid for entry in entries} == {None}
    assert lane.budget.sent == 0


def test_a_token_returns_once_to_the_budget_that_it_came_from() -> None:
    """Also if the account of the lane has become known in the meantime."""
    queue, lane = ReadyQueue(), Lane(Budget(5.0))
    before, entry = lane.budget, waiting(queue, lane)
    assert queue.take(0.0) is entry
    lane.budget = Budget(5.0)
    entry.refund()
    entry.refund()

    assert (before.sent, before.tokens, lane.budget.tokens) == (0, 5.0, 5.0)


def test_a_token_that_returns_goes_to_the_next_entry_at_once() -> None:
    """A hundred entries that send no request need one token together, and the queue does not grow with them."""
    queue, lane = ReadyQueue(), Lane(Budget(0.1))
    entries = [waiting(queue, lane, order=float(number)) for number in range(100)]
    for entry in entries:
        assert queue.next_time() == -math.inf
        assert queue.take(0.0) is entry
        assert queue.take(0.0) is None
        entry.refund()

    assert queue.take(0.0) is None
    assert len(queue) == 0
    assert len(queue._asleep) == 1


def test_a_group_that_was_woken_early_is_not_forgotten_when_its_time_comes() -> None:
    """It left the queue and came back before the time at which it would have had a token."""
    queue, lane = ReadyQueue(), Lane(Budget(0.1))
    first, second = waiting(queue, lane), waiting(queue, lane)
    assert queue.take(0.0) is first
    assert queue.take(0.0) is None
    planned = queue.next_time()
    first.refund()
    assert queue.take(0.0) is second
    assert queue.take(0.0) is None  # and the group is empty
    second.refund()
    again = [waiting(queue, lane, order=float(number)) for number in range(3)]
    assert queue.take(0.0) is again[0]
    assert queue.take(0.0) is None

    assert queue.take(planned) is again[1]
    assert queue.take(planned) is None
    assert queue.waiting_for(lane.budget) == len(queue) == 1
    assert queue.take(queue.next_time()) is again[2]


def test_the_queue_of_providers_does_not_remove_an_entry_of_the_queue_of_requests() -> None:
    """The fleet removes an entry from both, and the numbers of both stay right."""
    requests, providers = ReadyQueue(), ReadyQueue()
    entry = waiting(requests, Lane(Budget(5.0)))
    providers.discard(entry)
    assert (len(requests), len(providers)) == (1, 0)
    requests.discard(entry)
    requests.discard(entry)

    assert (len(requests), len(providers)) == (0, 0)
    assert requests.take(0.0) is None


# Cost


class CountedBudget(Budget):
    """A budget that counts how often it is asked."""

    asked = 0

    def wait(self, *, now: float) -> float:
        self.asked += 1
        return super().wait(now=now)


def test_ten_thousand_lanes_of_one_account_wait_as_one() -> None:
    """Otherwise each token would wake them all."""
    queue, budget = ReadyQueue(), CountedBudget(200.0)
    for _ in range(10_000):
        waiting(queue, Lane(budget))
    now, taken = 0.0, 0
    while taken < 1000:
        if queue.take(now) is None:
            now = max(queue.next_time(), now + 0.0001)
        else:
            taken += 1

    assert budget.asked <= 5 * taken


class CountedKey(float):
    """A number that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        CountedKey.compared += 1
        return super().__lt__(other)


def test_the_cost_of_an_entry_grows_with_the_logarithm_of_their_number() -> None:
    CountedKey.compared = 0
    queue, budget, number = ReadyQueue(), Budget(1e6), 4096
    for order in range(number):
        waiting(queue, Lane(budget), order=CountedKey(order * 7919 % number))
    for _ in range(number):
        assert queue.take(0.0) is not None

    assert CountedKey.compared <= 3 * number * math.log2(number)


def test_an_entry_that_left_a_queue_is_not_kept_in_memory() -> None:
    """F61, T20: its credentials go with it, although an item of the heap stays."""
    due, ready, lane = DueQueue(offset=0.0), ReadyQueue(), Lane(Budget(200.0))
    first, left = waiting(ready, lane, order=-1.0), [Entry() for _ in range(4)]
    due.put(first, Moment(1.0, 1.0))
    for number, entry in enumerate(left, start=2):
        due.put(entry, Moment(number, number))
        ready.put(entry, lane, urgent=False, order=number)
    for entry in left:
        due.discard(entry)
        ready.discard(entry)
    references = [weakref.ref(entry) for entry in left]
    del entry, left

    assert [reference() for reference in references] == [None] * 4
    assert (len(due), len(ready)) == (1, 1)
