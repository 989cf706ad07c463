"""Many workers that share credentials through Redis make as many calls of STS as one, with few operations."""

import pytest
from fleet.shared_simulation import simulate
from hypothesis import given
from hypothesis import strategies as st

from sts_async.fleet._due_times import following

HOURS = 2 * 3600.0  # with three fetches of each identity


def test_forty_workers_make_as_many_calls_as_one() -> None:
    """Also if some of them restart: a worker that has ended is replaced by one that follows it."""
    one = simulate(1, 50, seconds=HOURS, restarted=0)
    shared = simulate(40, 50, seconds=HOURS, restarted=3)

    assert one.refreshes == one.calls >= 150
    assert shared.calls <= 1.05 * one.calls
    assert shared.refreshes >= 39 * one.calls
    assert shared.operations <= 1.2 * shared.refreshes  # nearly all read, and find what they need
    assert shared.ended == 0


@given(
    issued=st.floats(0, 1e6),
    left=st.floats(120, 43_200),
    part=st.floats(0, 1),
    now=st.floats(0, 1),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_the_simulation_follows_as_the_library_does(
    issued: float, left: float, part: float, now: float, jitter: float
) -> None:
    """It calls the rule twice for all followers of one call: their due times are evenly spread between the two."""
    last = issued + left
    refresh_after = issued + part * left
    at = issued + now * (refresh_after - issued)
    ends = [following(refresh_after, now=issued, last=last, jitter=value) for value in (0.0, 1.0)]

    expected = ends[0] + jitter * (ends[1] - ends[0])
    assert following(refresh_after, now=at, last=last, jitter=jitter) == pytest.approx(expected, abs=1e-3)
