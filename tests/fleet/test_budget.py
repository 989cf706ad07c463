"""The budget of requests: never more than the limit and one burst, and slow growth after throttling."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sts_async.fleet._budget import IDLE_SECONDS, MANY, MIN_RATE, RAMP_START, RECOVERY_SECONDS, Budget, Budgets

CLIENT = "123456789012/eu-west-1"
OTHER = "210987654321/eu-west-1"

limits = st.sampled_from([0.01, 0.5, 1.0, 3.0, 50.0, 200.0, 600.0]) | st.floats(0.001, 5000)
pauses = st.sampled_from([0.0, 0.001, 0.02, 0.5, 1.0, 2.0, 30.0, 60.0, 3600.0]) | st.floats(0, 120)


def send_all(budget: Budget, *, now: float) -> int:
    """Send as many requests as the budget admits at once."""
    sent = 0
    while budget.wait(now=now) == 0:
        budget.take()
        sent += 1
    return sent


def send_for(budget: Budget, *, begin: float, seconds: float, step: float = 0.01) -> int:
    """Send as many requests as the budget admits, with a look at it every *step* seconds."""
    return sum(send_all(budget, now=begin + number * step) for number in range(round(seconds / step)))


class AnyUse(RuleBasedStateMachine):
    """A budget that is used in any way, also by a caller who never waits, with a clock that may be set back."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.passed = 0.0  # the time that has really passed
        self.taken: list[tuple[float, int]] = []  # when, and how many tokens; less than 0 if some were given back
        self.unsent = 0
        self.halvings: list[float] = []

    @initialize(limit=limits)
    def begin(self, limit: float) -> None:
        self.limit, self.budget = limit, Budget(limit)

    @rule(seconds=pauses)
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.passed += seconds

    @rule(seconds=st.sampled_from([0.5, 5.0, 3600.0]))
    def set_the_clock_back(self, seconds: float) -> None:
        self.now -= seconds

    @rule(most=st.integers(1, 300))
    def send(self, most: int) -> None:
        number = 0
        while number < most and self.budget.wait(now=self.now) == 0:
            self.budget.take()
            number += 1
        self.taken.append((self.passed, number))

    @rule()
    def take_for_a_request_that_waits(self) -> None:
        if self.budget.wait(now=self.now) == 0:
            self.budget.take()
            self.taken.append((self.passed, 1))
            self.unsent += 1

    @precondition(lambda self: self.unsent)
    @rule()
    def give_back(self) -> None:
        self.unsent -= 1
        self.taken.append((self.passed, -1))
        self.budget.give_back()

    @rule()
    def throttle(self) -> None:
        before = self.budget.rate
        self.budget.throttle(now=self.now)
        if self.budget.rate < before:
            self.halvings.append(self.passed)
            assert self.budget.rate >= before / 2 or self.budget.rate == min(MIN_RATE, self.limit)

    @rule()
    def wait_as_told(self) -> None:
        """A caller who waits as long as `wait` says gets a token after few waits, also while the clock is wrong."""
        for _ in range(4):
            wait = self.budget.wait(now=self.now)
            if wait == 0:
                return
            assert 0 < wait <= 1 / min(MIN_RATE, self.limit) + 1e-6
            self.pass_time(wait)
        assert self.budget.wait(now=self.now) <= 0.001

    @invariant()
    def no_second_has_more_than_the_limit_and_a_burst(self) -> None:
        """Nor has any other span. It begins and ends with a request, so all spans that end now are enough."""
        number = 0
        for at, tokens in reversed(self.taken):
            number += tokens
            assert number <= max(1.0, self.limit) + self.limit * (self.passed - at) + 1e-6

    @invariant()
    def at_most_one_halving_in_a_second(self) -> None:
        assert all(after - before >= 1 - 1e-6 for before, after in zip(self.halvings, self.halvings[1:], strict=False))

    @invariant()
    def its_numbers_are_within_bounds(self) -> None:
        assert min(MIN_RATE, self.limit) <= self.budget.rate <= self.limit
        assert self.budget.tokens <= max(1.0, self.limit)
        assert self.budget.tokens > -1
        assert self.budget.sent == sum(tokens for _, tokens in self.taken)


TestAnyUse = AnyUse.TestCase


def test_a_start_sends_a_burst_and_then_at_a_quarter_of_the_limit_which_doubles_each_second() -> None:
    budget = Budget(200.0)
    seconds = [send_for(budget, begin=100.0 + second, seconds=1.0) for second in range(5)]

    # The integral of 50 * 2 ** t is 72 in the first second, and twice as much in the next one.
    assert seconds == pytest.approx([200 + 72, 144, 200, 200, 200], abs=2)


@given(st.floats(0, 1e9), st.floats(0, 1e6))
def test_the_steps_of_a_start_are_counted_from_the_first_request(created: float, idle: float) -> None:
    """A lane may wait long for its source, for example in an outage. All processes of the account start after it."""
    budget = Budget(200.0)
    budget.wait(now=created)
    budget.wait(now=created + idle)

    assert budget.rate == 200 * RAMP_START
    assert send_all(budget, now=created + idle) == 200
    budget.wait(now=created + idle + 1)
    assert budget.rate == pytest.approx(100, rel=1e-3)


def test_a_request_that_was_not_sent_begins_no_start() -> None:
    budget = Budget(200.0)
    budget.wait(now=0.0)
    budget.take()
    budget.give_back()
    budget.wait(now=60.0)

    assert (budget.rate, budget.sent, budget.tokens) == (50.0, 0, 200.0)


def test_throttling_halves_the_rate_once_a_second_and_takes_the_burst() -> None:
    """Refusals that arrive together have one cause, so they count once."""
    budget = Budget(200.0)
    send_for(budget, begin=0.0, seconds=5.0)
    rates = []
    for at in (10.0, 10.1, 10.9, 11.0, 11.99, 12.0):
        budget.throttle(now=at)
        rates.append(round(budget.rate))

    assert rates == [100, 100, 103, 52, 55, 28]
    assert budget.throttled == 6
    assert budget.wait(now=12.0) > 0


@given(limits, st.integers(1, 30))
def test_after_throttling_the_rate_returns_to_the_limit_within_a_minute(limit: float, times: int) -> None:
    """This holds however often the service has throttled. The rate does not double, as it does at the start."""
    budget = Budget(limit)
    send_all(budget, now=0.0)
    for second in range(times):
        budget.throttle(now=float(second))
    lowest = budget.rate
    budget.wait(now=times - 1 + RECOVERY_SECONDS / 2)

    assert budget.rate == pytest.approx(min(limit, lowest + limit / 2))
    budget.wait(now=times - 1 + RECOVERY_SECONDS)
    assert budget.rate == pytest.approx(limit)


def test_after_throttling_the_burst_is_a_second_at_the_current_rate() -> None:
    budget = Budget(200.0)
    budget.throttle(now=0.0)
    budget.wait(now=30.0)

    assert budget.rate == pytest.approx(125)
    assert send_all(budget, now=30.0) == 125


def test_a_throttled_service_gets_a_request_every_two_seconds_at_least() -> None:
    """Otherwise the fleet would never learn that the service has recovered."""
    budget = Budget(200.0)
    for second in range(60):
        budget.throttle(now=float(second))

    assert budget.rate >= MIN_RATE
    assert 0 < budget.wait(now=59.0) <= 2


def test_the_clock_may_go_back_far() -> None:
    """The budget continues from the new time; it does not wait until the old one is reached again."""
    budget = Budget(10.0)
    send_all(budget, now=10_000.0)
    budget.throttle(now=10_000.0)
    budget.throttle(now=5_000.0)
    rate = budget.rate

    assert 0 < budget.wait(now=5_000.0) <= 1
    budget.throttle(now=5_001.0)
    assert budget.rate < rate


# By account and region


def test_the_budget_of_a_lane_becomes_that_of_its_account() -> None:
    """Requests that it has admitted before count."""
    budgets = Budgets(10.0)
    lane = budgets.new()
    lane.wait(now=0.0)
    lane.take()

    assert budgets.named(CLIENT, lane, now=0.0) is lane
    assert (lane.scope, lane.sent, budgets.all()) == (CLIENT, 1, [lane])
    assert budgets.named(CLIENT, budgets.new(), now=1.0) is lane
    assert budgets.named(CLIENT, lane, now=1.0) is lane


def test_each_account_has_a_budget_of_its_own() -> None:
    budgets = Budgets(10.0)
    first = budgets.named(CLIENT, budgets.new(), now=0.0)
    second = budgets.named(OTHER, first, now=0.0)

    assert second is not first
    assert [budget.scope for budget in budgets.all()] == [CLIENT, OTHER]
    assert [budget.limit for budget in budgets.all()] == [10.0, 10.0]


def test_budgets_of_keys_that_are_no_longer_used_are_forgotten() -> None:
    """F61: an access key without an account is a scope, and there is a new one in each hour."""
    budgets = Budgets(10.0)
    used: Any = budgets.named(CLIENT, budgets.new(), now=0.0)
    for number in range(20 * MANY):
        now = number * 2 * IDLE_SECONDS / MANY
        used.wait(now=now)
        budget = budgets.named(f"ASIA{number}/eu-west-1", budgets.new(), now=now)
        budget.wait(now=now)

    assert len(budgets.all()) <= 3 * MANY
    assert budgets.named(CLIENT, budgets.new(), now=math.inf) is used


def test_a_forgotten_budget_that_a_lane_uses_again_is_known_again() -> None:
    """Otherwise, a second budget for the same account would exist."""
    budgets = Budgets(10.0)
    lane = budgets.named(CLIENT, budgets.new(), now=0.0)
    for number in range(2 * MANY):
        budgets.named(f"ASIA{number}/eu-west-1", budgets.new(), now=2 * IDLE_SECONDS)

    assert lane not in budgets.all()
    assert budgets.named(CLIENT, lane, now=2 * IDLE_SECONDS) is lane
    assert budgets.named(CLIENT, budgets.new(), now=2 * IDLE_SECONDS) is lane


@given(
    limit=limits,
    shares=st.lists(st.sampled_from([1e-9, 0.02, 1.0]) | st.floats(1e-9, 1), min_size=2, max_size=8),
    throttled=st.booleans(),
    pause=pauses,
)
def test_a_new_share_keeps_the_part_of_the_rate_and_never_adds_tokens(
    limit: float, shares: list[float], throttled: bool, pause: float
) -> None:
    budget, now = Budget(limit, share=shares[0]), 0.0
    budget.wait(now=now)
    if throttled:
        budget.throttle(now=now)
    for share in shares[1:]:
        now += pause
        budget.wait(now=now)
        part, tokens = budget.rate / budget.limit, budget.tokens

        budget.set_share(share, now=now)

        own = limit * share
        assert budget.rate <= budget.limit == own
        assert budget.rate == pytest.approx(min(own, max(part * own, min(own, MIN_RATE * share))))
        assert budget.tokens <= tokens
        assert budget.tokens <= max(1.0, own)


def test_each_scope_has_its_share_and_others_the_common_one() -> None:
    budgets = Budgets(200.0)
    known = budgets.named(CLIENT, budgets.new(), now=0.0)

    budgets.set_shares({CLIENT: 0.5}, others=0.1, now=0.0)
    unnamed = budgets.new()
    other = budgets.named(OTHER, unnamed, now=0.0)

    assert (known.limit, other.limit) == (100.0, 20.0)
    assert other is unnamed
    budgets.set_shares({OTHER: 1.0}, others=0.1, now=0.0)
    assert (known.limit, other.limit) == (20.0, 200.0)


def test_a_budget_gets_the_share_of_its_scope_when_the_scope_becomes_known() -> None:
    budgets = Budgets(200.0)
    budgets.set_shares({CLIENT: 0.5}, others=0.1, now=0.0)

    assert budgets.named(CLIENT, budgets.new(), now=0.0).limit == 100.0


def test_the_demand_is_what_was_sent_since_the_last_look_and_what_waits() -> None:
    budgets = Budgets(200.0)
    budget = budgets.named(CLIENT, budgets.new(), now=0.0)
    sent = send_all(budget, now=0.0)

    assert budgets.take_demand(lambda of: 7 if of is budget else 0) == {CLIENT: sent + 7}
    assert budgets.take_demand(lambda of: 0) == {CLIENT: 0}
    budget.give_back()
    assert budgets.take_demand(lambda of: 0) == {CLIENT: 0}, "a token that was given back is no demand"
