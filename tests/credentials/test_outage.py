"""A thousand identities with one call per second each, through hours of outage, on a virtual clock."""

import logging

import pytest
from outage import Fleet, slots

from sts_async.errors import ConnectError, LoginRequired, ServiceError, STSError

AWAY = ConnectError("refused")
DENIED = ServiceError("no", code="AccessDenied", status=403)
SIZE = 1000
FEWER = 200  # where nothing depends on how many there are
HOUR = 3600
BACKOFF = 600  # s, the longest pause


@pytest.fixture(autouse=True)
def _the_loop_is_watched() -> None:
    """
    Turn the watchdog off. The simulations run a million callbacks that only compute, and it would time each of them.

    `test_cache.py` runs the same code with the watchdog.
    """


@pytest.mark.parametrize("error", [AWAY, DENIED, LoginRequired("log in")], ids=lambda error: type(error).__name__)
async def test_skipping_callers_without_effect_does_not_change_the_simulation(error: STSError) -> None:
    """All calls of three hours give the same result as the calls at moments at which something can change."""
    fleets = []
    for every_second in (True, False):
        fleet = Fleet(3, seed=7)
        for failure, seconds in ((None, 2800), (error, 2 * HOUR), (None, 900)):
            await fleet.run(seconds, error=failure, every_second=every_second)
        fleets.append(fleet)
    one, other = fleets

    assert one.attempts == other.attempts
    assert one.lines == other.lines
    assert one.failed_callers() == other.failed_callers()


async def test_identities_that_were_fetched_together_are_due_at_different_times() -> None:
    """G9, F46: no 10 s have more than twice the mean, and the spread grows with each round."""
    fleet = Fleet(SIZE)
    await fleet.run(10 * HOUR)
    first = slots(fleet.attempts_between(1, 10 * HOUR), 2700, 3300)
    later = slots(fleet.attempts_between(1, 10 * HOUR), 5 * HOUR, 10 * HOUR)

    assert sum(first) == SIZE
    assert max(first) <= 2 * SIZE / len(first)
    assert max(later) < max(first)
    assert fleet.failed_callers() == 0
    assert fleet.lines == []


async def test_six_hours_of_outage_fail_no_caller_and_end_without_a_herd() -> None:
    """G8, F47, F48: one attempt per identity in 5 to 10 min, two log lines each, and one when the outage is over."""
    fleet = Fleet(SIZE)
    begins, ends = 3 * HOUR, 9 * HOUR
    await fleet.run(begins)
    await fleet.run(ends - begins, error=AWAY)
    outage = slots(fleet.attempts_between(begins, ends), begins + HOUR, ends)
    before = len(fleet.lines)
    await fleet.run(BACKOFF + 1)
    recovery = slots(fleet.attempts_between(ends, ends + BACKOFF), ends, ends + BACKOFF)

    assert fleet.failed_callers() == 0
    assert fleet.most_attempts_in_an_hour(begins, ends) <= 12
    assert fleet.most_lines(begins, ends) == 2
    assert before == 2 * SIZE
    assert all(identity.fresh for identity in fleet.identities), "within one pause"
    assert [line.level for line in fleet.lines[before:]] == [logging.INFO] * SIZE
    assert fleet.most_lines(ends, ends + BACKOFF + 1) == 1
    assert max(recovery) <= 2 * sum(outage) / len(outage), "in 10 s, against the mean of the outage"


async def test_a_fleet_that_is_refused_serves_while_its_keys_are_valid() -> None:
    """C17, G8: then callers get the error, and there are at most twelve attempts per hour and identity."""
    fleet = Fleet(FEWER)
    begins, ends = 3 * HOUR, 9 * HOUR
    await fleet.run(begins)
    good_until = {identity.number: identity.state.mandatory.monotonic for identity in fleet.identities}
    await fleet.run(ends - begins, error=DENIED)
    await fleet.run(BACKOFF + 1)

    for identity in fleet.identities:
        assert identity.failures[0][0] >= good_until[identity.number]
        assert identity.failures[0][0] <= good_until[identity.number] + 1
    assert fleet.most_attempts_in_an_hour(begins, ends) <= 12
    assert len(fleet.attempts_between(begins, ends)) <= 6 * 10 * FEWER
    assert fleet.most_lines(begins, ends) == 2
    assert all(identity.fresh for identity in fleet.identities), "within one pause"
    assert fleet.most_lines(ends, ends + BACKOFF + 1) == 1


async def test_a_fleet_that_was_never_allowed_causes_twelve_attempts_in_the_first_hour() -> None:
    """G8: the callers get the error, so nothing is logged."""
    fleet = Fleet(FEWER)
    await fleet.run(6 * HOUR, error=DENIED)

    assert fleet.most_attempts_in_an_hour(0, 6 * HOUR) <= 12
    assert fleet.failed_callers() == FEWER * 6 * HOUR
    assert fleet.lines == []


async def test_keys_for_twelve_hours_are_served_through_an_hour_of_refusals() -> None:
    """C17: a final error in the advisory window is followed by a pause of 5 to 10 min."""
    fleet = Fleet(100, lifetime=12 * HOUR)
    await fleet.run(11 * HOUR)
    await fleet.run(HOUR - 60, error=DENIED)

    assert fleet.failed_callers() == 0
    assert fleet.most_attempts_in_an_hour(11 * HOUR, 12 * HOUR) <= 12
    assert fleet.most_lines(0, 12 * HOUR) <= 1
