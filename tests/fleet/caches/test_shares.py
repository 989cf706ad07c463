"""The shares of workers in one limit: never more than the whole, by need, and soon, in whatever order beats arrive."""

import pytest
from fleet.caches.shares_double import SharesDouble, Worker
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sts_async.fleet.caches._shares import (
    GROW_AFTER,
    LAPSE_BEATS,
    MAX_NEED,
    RESERVED,
    SHRINK_AFTER,
    WHOLE,
    Answer,
    Shares,
    beat_seconds,
    need_of,
)

needs = st.sampled_from([0, 1, WHOLE // 100, WHOLE // 2, WHOLE, 50 * WHOLE, MAX_NEED]) | st.integers(0, 3 * WHOLE)


def fair(workers: list[Worker], worker: Worker) -> int:
    """Return the part of a worker when all have told their needs: the text of the module, as a formula."""
    sum_of_needs = sum(other.need or 0 for other in workers)
    own = (worker.need or 0) * min(1.0, (WHOLE - RESERVED) / sum_of_needs) if sum_of_needs else 0.0
    rest = WHOLE - min(sum_of_needs, WHOLE - RESERVED)
    return int(own + rest / len(workers))


class AnyOrder(RuleBasedStateMachine):
    """Workers that come, go, need more or less, and beat in any order, also while the server loses its data."""

    def __init__(self) -> None:
        super().__init__()
        self.server = SharesDouble()
        self.workers: list[Worker] = []
        self.number = 0

    @initialize(expected=st.integers(1, 5))
    def begin(self, expected: int) -> None:
        self.expected = expected

    # A new worker has a share before its first beat. A server that has just lost its data cannot know that of others.
    @precondition(lambda self: len(self.workers) < 5 and len(self.server.members) == len(self.workers))
    @rule(need=needs)
    def join(self, need: int) -> None:
        self.number += 1
        worker = Worker(f"worker-{self.number}", self.server, expected=self.expected)
        worker.need = need
        worker.beat()
        self.workers.append(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        self.workers.remove(worker)
        self.server.leave(worker.name)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), need=needs)
    def beat(self, data: st.DataObject, need: int) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        worker.need = need
        worker.beat()

    @rule(milliseconds=st.integers(0, 900))
    def pass_time(self, milliseconds: int) -> None:
        """Too short for a worker to be forgotten: `all_beat` is the only rule that lets more time pass."""
        if self.server.now + milliseconds < min((known.ends for known in self.server.members.values()), default=1e99):
            self.server.now += milliseconds

    @rule(data=st.data())
    def all_beat(self, data: st.DataObject) -> None:
        """The beats of one second, in any order."""
        for worker in data.draw(st.permutations(self.workers)):
            worker.beat()
        self.server.now += 1001

    @rule()
    def lose_all_data(self) -> None:
        """Redis was restarted. The workers use their shares until they have told all of them."""
        self.server.forget()

    @invariant()
    def the_sum_of_the_shares_is_at_most_the_whole(self) -> None:
        assert sum(worker.part for worker in self.workers) <= WHOLE

    @invariant()
    def no_share_is_negative(self) -> None:
        assert all(worker.part >= 0 for worker in self.workers)


AnyOrder.TestCase.settings = settings(max_examples=40, stateful_step_count=20)
TestAnyOrder = AnyOrder.TestCase


def joined(*all_needs: int | None) -> tuple[SharesDouble, list[Worker]]:
    """Return workers that have known each other for some beats."""
    server = SharesDouble()
    workers = [Worker(f"worker-{number}", server) for number in range(len(all_needs))]
    for worker, need in zip(workers, all_needs, strict=True):
        worker.need = need
    for _ in range(4):
        beat_all(server, workers)
    return server, workers


def beat_all(server: SharesDouble, workers: list[Worker]) -> None:
    for worker in workers:
        worker.beat()
    server.now += round(1000 * beat_seconds(len(workers)))


@settings(max_examples=40)
@given(st.lists(st.tuples(needs, needs), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_shares_are_fair_after_three_beats(changes: list[tuple[int, int]], order: object) -> None:
    """By need in nine tenths, and in equal parts for the rest. Each worker has more than nothing."""
    server, workers = joined(*(before for before, _ in changes))
    for worker, (_, after) in zip(workers, changes, strict=True):
        worker.need = after
    for _ in range(3):
        order.shuffle(workers)  # type: ignore[attr-defined]
        beat_all(server, workers)

    assert [worker.part for worker in workers] == pytest.approx([fair(workers, worker) for worker in workers], abs=2)
    assert min(worker.part for worker in workers) >= RESERVED // len(workers)


@pytest.mark.parametrize("number", [1, 2, 50])
def test_a_worker_that_wakes_gets_its_part_within_two_beats(number: int) -> None:
    """All others are busy. It is short of its part only until they have told their needs once more."""
    server, workers = joined(*[0] * number, *[10 * WHOLE] * number)
    woken = workers[0]
    woken.need = 10 * WHOLE
    woken.beat()
    beat_all(server, [*workers[1:], woken])

    assert woken.part == pytest.approx(fair(workers, woken), abs=2)


def test_a_worker_alone_gets_the_whole_limit_within_two_beats() -> None:
    """It does not wait for workers that were only expected."""
    server = SharesDouble()
    worker = Worker("worker", server, expected=10)
    worker.need = WHOLE
    worker.beat()
    first = worker.part
    server.now += 1000
    worker.beat()

    assert (first, worker.part) == (WHOLE // 10, WHOLE)


def test_a_worker_alone_that_is_expected_to_be_alone_has_the_whole_limit_at_once() -> None:
    worker = Worker("worker", SharesDouble())
    worker.need = WHOLE
    worker.beat()

    assert worker.part == WHOLE


def test_the_share_of_a_worker_that_died_returns() -> None:
    server, workers = joined(WHOLE, WHOLE)
    ends = server.now + 1000 * LAPSE_BEATS
    survivor = workers[0]
    parts = []
    while server.now <= ends + 1000:
        survivor.beat()
        parts.append(survivor.part)
        server.now += 1000

    assert parts[0] == pytest.approx(WHOLE // 2, abs=2)
    assert parts[-1] == WHOLE
    assert parts == sorted(parts)


def test_a_worker_that_leaves_gives_its_share_back_at_once() -> None:
    server, workers = joined(WHOLE, WHOLE)
    server.leave(workers[1].name)
    workers[0].beat()

    assert workers[0].part == WHOLE


def test_workers_that_never_used_an_account_have_a_part_of_its_reserve() -> None:
    """Each may send its first request before its next beat, and the sum is still the whole."""
    _, workers = joined(WHOLE, None, None, None)

    assert [worker.part for worker in workers[1:]] == [RESERVED // 4] * 3
    assert sum(worker.part for worker in workers) == pytest.approx(WHOLE, abs=4)


@settings(max_examples=40)
@given(st.lists(needs, min_size=1, max_size=6), st.data())
def test_in_an_outage_no_share_grows_before_all_others_have_shrunk(all_needs: list[int], data: st.DataObject) -> None:
    """Each worker notices the outage in its own beat, and all end with equal parts."""
    _, workers = joined(*all_needs)
    for _ in range(GROW_AFTER + 1):
        for worker in data.draw(st.permutations(workers)):
            worker.shares.failed()
            assert sum(other.part for other in workers) <= WHOLE

    assert {worker.part for worker in workers} == {WHOLE // len(workers)}


def test_few_beats_without_an_answer_change_nothing() -> None:
    """A server that fails over is back soon."""
    shares = Shares(1)
    shares.answered(Answer(4, {"x": WHOLE - RESERVED}))
    changes = [shares.failed() for _ in range(GROW_AFTER + 2)]

    assert [beat for beat, changed in enumerate(changes, start=1) if changed] == [SHRINK_AFTER, GROW_AFTER]
    shares.answered(Answer(4, {"x": 1}))
    assert (shares.unanswered, shares.part_of("x"), shares.part_of("y")) == (0, 1, RESERVED // 4)


@given(st.integers(1, 10_000))
def test_the_server_has_at_most_a_hundred_beats_in_a_second(workers: int) -> None:
    assert workers / beat_seconds(workers) <= 100 + 1e-6
    assert beat_seconds(workers) >= 1


def test_no_number_of_workers_ends_the_beats_of_one() -> None:
    """The number comes from Redis."""
    assert beat_seconds(10**15) == 100


def test_a_need_is_the_rate_that_would_send_all_requests_within_a_beat() -> None:
    assert need_of(300.0, seconds=2.0, limit=200.0) == WHOLE * 3 // 4
    assert need_of(0.0, seconds=1.0, limit=200.0) == 0
    assert need_of(1e12, seconds=1.0, limit=0.01) == MAX_NEED
