"""When a cache that machines share is asked: one change for each outage, and it is used again soon after the end."""

from hypothesis import given
from hypothesis import strategies as st

from sts_async.fleet.caches._availability import MAX_PAUSE, MAX_TIMEOUTS, STABLE, Availability, Change


def test_the_first_failure_is_a_change_and_the_others_are_not() -> None:
    """50 operations may be under way when Redis ends."""
    state = Availability(100.0)

    assert state.failed("full", 130.0) == Change("full", 30.0)
    assert state.failed("full", 130.1) is None
    assert (state.reason, state.next_probe) == ("full", 131.0)


def test_answers_that_are_late_are_an_outage_after_three_in_a_row() -> None:
    """A busy machine delays some. Those that were under way at the same time count as one."""
    state = Availability(0.0)
    for number in range(MAX_TIMEOUTS - 1):
        started = 10.0 + number
        for late in range(5):
            assert state.timed_out("slow", started=started, now=started + 0.25 + late / 100) is None
    state.succeeded()
    for number in range(MAX_TIMEOUTS - 1):
        assert state.timed_out("slow", started=20.0 + number, now=20.25 + number) is None

    assert state.timed_out("slow", started=30.0, now=30.25) == Change("slow", 30.25)
    assert state.timed_out("slow", started=31.0, now=31.25) is None
    assert state.reason == "slow"


def test_pauses_grow_with_each_probe_that_fails() -> None:
    state = Availability(0.0)
    state.failed("a", 100.0)
    pauses = []
    for _ in range(4):
        now = state.next_probe
        state.probe_failed("b", now)
        pauses.append(state.next_probe - now)

    assert pauses == [2.0, 4.0, 4.0, 4.0]
    assert state.reason == "b"


def test_a_success_is_a_change() -> None:
    state = Availability(0.0)
    state.failed("a", 100.0)

    assert state.recovered(107.0) == Change(None, 7.0)
    assert state.reason is None


def test_a_cache_that_is_available_for_a_moment_is_asked_less_often() -> None:
    """Else a slow server would be a change of state each second."""
    state = Availability(0.0)
    now, pauses = 100.0, []
    for _ in range(4):
        state.failed("slow", now)
        pauses.append(state.next_probe - now)
        state.recovered(state.next_probe)
        now = state.next_probe + 0.5
    state.recovered(now)
    state.failed("again", now + STABLE)

    assert pauses == [1.0, 2.0, 4.0, 4.0]
    assert state.next_probe == now + STABLE + 1.0


@given(st.lists(st.tuples(st.sampled_from(["fails", "probe fails", "probe succeeds"]), st.floats(0.0, 100.0))))
def test_changes_alternate_and_a_probe_follows_soon(steps: list[tuple[str, float]]) -> None:
    """So that each event is a change, and Redis is used again within 5 s of its return."""
    state, now, seen = Availability(0.0), 0.0, []
    for what, seconds in steps:
        now += seconds
        if what == "fails":
            seen.append(state.failed("x", now))
        elif state.reason is not None:
            now = max(now, state.next_probe)
            if what == "probe fails":
                state.probe_failed("y", now)
            else:
                seen.append(state.recovered(now))
        assert state.next_probe - now <= MAX_PAUSE + 1e-9
    changes = [change.reason is None for change in seen if change is not None]

    assert changes == [bool(number % 2) for number in range(len(changes))]
