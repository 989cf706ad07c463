"""
A day of a fleet: 2,000 identities, 6 hours without STS, throttled hours, a wrong clock and a suspended machine.

The day is played once, on a virtual clock, and each test looks at another part of its outcome. `benchmarks/bench_fleet.py`
plays it with 10,000 identities, which takes minutes.
"""

import asyncio

import pytest
from fleet.day import PAUSE, Day, Outcome, Times

SIZE = 2000
FEW = 40  # where nothing depends on how many there are


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return asyncio.run(Day(SIZE).run())


def test_no_caller_gets_credentials_that_ended_while_a_refresh_was_possible(outcome: Outcome) -> None:
    """Whatever happens to the clocks, or while the service throttles."""
    assert outcome.ended == []
    assert outcome.failed == []
    assert outcome.callers > SIZE


def test_the_day_sees_credentials_that_have_ended(outcome: Outcome) -> None:
    """In the outage, callers get the cached credentials after their end. So the test above can fail."""
    assert outcome.ended_in_outage > SIZE


def test_an_outage_costs_few_requests_and_log_lines(outcome: Outcome) -> None:
    """F47: a request of each identity in 5 to 10 minutes, and a line of the log for each change of state."""
    assert 6 <= outcome.attempts <= 12
    assert 1 <= outcome.all_lines <= 2
    assert outcome.lines <= 2


def test_all_identities_are_fresh_soon_after_an_outage(outcome: Outcome) -> None:
    """F48: within one pause, and no minute has many more requests than the others."""
    assert outcome.recovered_after is not None
    assert outcome.recovered_after <= PAUSE
    assert outcome.recovery_peak <= 2 * outcome.recovery_mean
    assert outcome.outage_peak <= 2 * outcome.outage_mean


def test_identities_that_were_added_together_are_refreshed_at_different_times(outcome: Outcome) -> None:
    """F46: in the hours after the start, no minute has twice the mean."""
    assert outcome.steady_peak <= 2 * outcome.steady_mean


def test_a_wrong_clock_and_a_limit_of_the_service_were_part_of_the_day(outcome: Outcome) -> None:
    """Without them, the other tests would prove less."""
    assert outcome.skewed > 0
    assert outcome.refused > 0


def test_a_day_leaves_nothing_behind(outcome: Outcome) -> None:
    """F61: no task and no timer for a refresh that is done; fewer than one for each hundred identities."""
    assert outcome.tasks + outcome.timers < SIZE / 100


def test_a_day_has_the_same_course_each_time() -> None:
    """Every random number comes from the seed."""
    times = Times(ends=12)
    first, second = (asyncio.run(Day(FEW, times=times).run()) for _ in range(2))
    other = asyncio.run(Day(FEW, seed=2, times=times).run())

    assert first == second
    assert first.requests != other.requests or first.callers != other.callers
