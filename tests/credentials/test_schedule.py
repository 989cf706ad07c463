"""The refresh schedule as decisions: the action of a caller at a moment, and the state after each outcome."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async.credentials import _schedule
from sts_async.credentials._schedule import (
    ATTENDED,
    CACHED,
    NOTHING,
    STANDARD,
    CacheState,
    Health,
    Moment,
    Schedule,
    Step,
)
from sts_async.errors import (
    ConnectError,
    CredentialsExpired,
    ExpiredTokenException,
    LoginRequired,
    ServiceError,
    STSError,
)
from sts_async.shapes import Credentials

START = Moment(1_767_225_600.0, 1_000.0)
KEYS = Credentials(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="SENTINEL-secret")
PASSING = ConnectError("refused")
FINAL = ServiceError("no", code="AccessDenied", status=403)

lifetimes = st.floats(1, 36 * 3600)
jitters = st.floats(0, 0.999_999)
moments = st.builds(Moment, st.floats(0, 1e10), st.floats(0, 1e7))


def held(lifetime: float = 3600, **more: Any) -> CacheState:
    return _schedule.after_success(KEYS, lifetime=lifetime, now=START, **more)


def step(state: CacheState, seconds: float) -> Step:
    return _schedule.next_step(state, now=START.plus(seconds))


# Windows


@pytest.mark.parametrize(
    ("lifetime", "window"),
    [
        (600, 300),
        (1200, 300),
        (1200.001, 900),
        (1230, 900),
        (3600, 900),
        (5399, 900),
        (5400, 3600),
        (21_600, 3600),
        (43_200, 3600),
        (300, 150),
        (60, 30),
        (2, 1),
    ],
)
def test_the_advisory_window_depends_on_the_lifetime(lifetime: float, window: float) -> None:
    """600, 1230 and 21,600 s are worked examples of the rules. A life shorter than its window gets half."""
    assert _schedule.advisory_window(lifetime) == window


@given(lifetimes)
def test_credentials_are_fresh_then_advisory_then_mandatory(lifetime: float) -> None:
    """The order is fixed, and the mandatory window starts at most a minute before the end."""
    state = held(lifetime)
    fresh, advisory = state.advisory.monotonic - START.monotonic, state.mandatory.monotonic - START.monotonic

    assert 0 < fresh <= advisory < lifetime
    assert lifetime - advisory <= 60 + 1e-6
    assert step(state, 0) is Step.SERVE
    assert step(state, advisory + 1e-6) is Step.REFRESH


def test_one_hour_is_served_for_45_minutes_then_refreshed_in_background_then_waited_for() -> None:
    state = held(3600)

    assert [step(state, at) for at in (0, 2699)] == [Step.SERVE] * 2
    assert [step(state, at) for at in (2700, 3539)] == [Step.REFRESH_IN_BACKGROUND] * 2
    assert [step(state, at) for at in (3540, 3600, 99_999)] == [Step.REFRESH] * 3


def test_an_attended_source_is_never_refreshed_in_the_background() -> None:
    """T46: a person is asked for a code only while a caller waits."""
    state = held(3600, schedule=ATTENDED)

    assert step(state, 3539) is Step.SERVE
    assert step(state, 3540) is Step.REFRESH


def test_credentials_of_a_cached_source_are_served_until_ten_seconds_before_the_end() -> None:
    state = held(3600, schedule=CACHED)

    assert step(state, 3589) is Step.SERVE
    assert step(state, 3590) is Step.REFRESH


def test_credentials_without_expiration_are_never_refreshed() -> None:
    state = held(math.inf)

    assert step(state, 1e12) is Step.SERVE
    assert _schedule.lifetime_of(KEYS, datetime(2026, 1, 1, tzinfo=UTC)) == math.inf


def test_a_schedule_can_set_the_window() -> None:
    state = held(3600, schedule=Schedule(advisory=1800))

    assert step(state, 1799) is Step.SERVE
    assert step(state, 1800) is Step.REFRESH_IN_BACKGROUND


def test_the_lifetime_is_the_remaining_one() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ends: Any = attrs.evolve(KEYS, expiration=now + timedelta(minutes=10))

    assert _schedule.lifetime_of(ends, now) == 600


def test_credentials_have_expired_only_by_all_clocks() -> None:
    """G3: of the clocks by which they have not expired, the one with the least time left counts."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ends: Any = attrs.evolve(KEYS, expiration=now + timedelta(minutes=10))
    later, much_later = now + timedelta(minutes=1), now + timedelta(hours=2)

    assert _schedule.lifetime_of(ends, now, later) == _schedule.lifetime_of(ends, later, now) == 540
    assert _schedule.lifetime_of(ends, now, much_later) == _schedule.lifetime_of(ends, much_later, now) == 600
    assert _schedule.lifetime_of(ends, much_later, much_later + timedelta(hours=1)) == 600 - 7200


# Spread


@given(st.floats(600, 36 * 3600), jitters)
def test_due_times_are_spread_over_two_thirds_of_the_window(lifetime: float, jitter: float) -> None:
    """G9, F46: the last third leaves time for another attempt before callers wait."""
    window = _schedule.advisory_window(lifetime)
    due = held(lifetime, jitter=jitter).advisory.monotonic - START.monotonic

    assert due == pytest.approx(lifetime - window * (1 - 2 / 3 * jitter), abs=1e-3)
    assert lifetime - window - 1e-3 <= due <= lifetime - window / 3 + 1e-3


@given(lifetimes, jitters)
def test_credentials_are_due_before_callers_wait_for_them(lifetime: float, jitter: float) -> None:
    state = held(lifetime, jitter=jitter)

    assert state.fetched.monotonic < state.advisory.monotonic <= state.mandatory.monotonic < state.ends.monotonic


@pytest.mark.parametrize("schedule", [Schedule(advisory=1800), ATTENDED, CACHED])
def test_a_window_of_fixed_length_is_not_spread(schedule: Schedule) -> None:
    assert held(3600, schedule=schedule, jitter=0.9) == held(3600, schedule=schedule)


# Two clocks


@pytest.mark.parametrize("jump", [-1e9, -3600, -1])
def test_a_wall_clock_that_is_set_back_extends_no_life(jump: float) -> None:
    """F51: the monotonic clock continues."""
    later = Moment(START.wall + 3540 + jump, START.monotonic + 3540)

    assert _schedule.next_step(held(3600), now=later) is Step.REFRESH


def test_a_wall_clock_that_jumps_ahead_is_believed() -> None:
    """F51, F52: the monotonic clock may have stood still while the machine was suspended for 12 h."""
    later = Moment(START.wall + 12 * 3600, START.monotonic + 1)

    assert _schedule.next_step(held(3600), now=later) is Step.REFRESH


@given(moments, st.floats(0, 1e6), st.floats(-1e6, 1e6))
def test_a_moment_is_reached_on_either_clock(start: Moment, seconds: float, jump: float) -> None:
    due = start.plus(seconds)

    assert due.reached(Moment(due.wall + jump, due.monotonic))
    assert due.reached(Moment(due.wall, due.monotonic + jump))


# Failures


def test_a_recoverable_failure_of_the_first_fetch_leaves_the_cache_empty() -> None:
    """The error is raised, and the next caller tries again."""
    state = _schedule.after_failure(NOTHING, PASSING, now=START, jitter=0.5)

    assert not _schedule.keeps_serving(state, PASSING, now=START, schedule=STANDARD)
    assert step(state, 0) is Step.REFRESH


@pytest.mark.parametrize("since", [0, 2700, 3540, 3600, 90_000])
def test_a_recoverable_failure_keeps_cached_credentials_and_pauses(since: float) -> None:
    """This also holds after expiry: an outage of STS must not stop all its users."""
    failed = START.plus(since)
    state = _schedule.after_failure(held(3600), PASSING, now=failed, jitter=0.5)

    assert _schedule.keeps_serving(state, PASSING, now=failed, schedule=STANDARD)
    assert step(state, since) is Step.SERVE
    assert step(state, since + 449.9) is Step.SERVE
    assert step(state, max(since, 3540) + 450.1) is Step.REFRESH


@given(jitters)
def test_the_pause_is_300_to_600_seconds(jitter: float) -> None:
    state = _schedule.after_failure(held(3600), PASSING, now=START.plus(3600), jitter=jitter)

    assert 300 <= state.paused_until.monotonic - START.plus(3600).monotonic < 600


@given(jitters, st.booleans())
def test_the_first_final_error_is_cached_for_5_to_15_seconds(jitter: float, first: bool) -> None:
    now = START.plus(3550)
    before = NOTHING if first else held(3600)
    state = _schedule.after_failure(before, FINAL, now=now, jitter=jitter)

    assert not _schedule.keeps_serving(state, FINAL, now=now, schedule=STANDARD)
    assert 5 <= state.paused_until.monotonic - now.monotonic < 15
    assert state.error is FINAL
    assert _schedule.next_step(state, now=now) is Step.RAISE
    assert _schedule.next_step(state, now=now.plus(15)) is Step.REFRESH


def test_a_final_error_leaves_unexpired_credentials_in_use() -> None:
    """F18: the role was allowed when the credentials were issued, and they are still valid."""
    state = _schedule.after_failure(held(3600), FINAL, now=START.plus(2700), jitter=0.5)

    assert _schedule.keeps_serving(state, FINAL, now=START.plus(2700), schedule=STANDARD)
    assert [step(state, at) for at in (2700, 3149)] == [Step.SERVE] * 2
    assert step(state, 3151) is Step.REFRESH_IN_BACKGROUND


def test_the_pause_after_a_final_error_ends_at_the_mandatory_window() -> None:
    """C17: callers depend on the answer from then on, and the cause may have been fixed."""
    state = _schedule.after_failure(held(3600), FINAL, now=START.plus(3500), jitter=0.5)

    assert step(state, 3539) is Step.SERVE
    assert step(state, 3540) is Step.REFRESH
    assert _schedule.next_step(state, now=Moment(START.wall + 3540, START.monotonic + 3501)) is Step.REFRESH


def pauses(error: STSError, *, times: int = 7, jitter: float = 0.5, schedule: Schedule = STANDARD) -> list[float]:
    """Return for how many seconds an error is cached that every attempt raises."""
    state, now, found = NOTHING, START, []
    for _ in range(times):
        state = _schedule.after_failure(state, error, now=now, jitter=jitter, schedule=schedule)
        found.append(state.paused_until.monotonic - now.monotonic)
        now = state.paused_until
    return found


@pytest.mark.parametrize(
    ("error", "jitter", "expected"),
    [
        (FINAL, 0.0, [5, 15, 45, 135, 300, 300, 300]),
        (FINAL, 0.5, [10, 30, 90, 270, 450, 450, 450]),
        (LoginRequired("log in"), 0.0, [5, 15, 30, 30, 30, 30, 30]),
        (LoginRequired("log in"), 0.5, [10, 30, 45, 45, 45, 45, 45]),
        (ExpiredTokenException("old", code="ExpiredTokenException", status=400), 0.0, [5, 15, 30, 30, 30, 30, 30]),
    ],
)
def test_a_final_error_is_cached_three_times_as_long_after_each_failure(
    error: STSError, jitter: float, expected: list[float]
) -> None:
    """G8: minutes if a policy must change at the service, at most one minute if the user fixes it on this machine."""
    assert pauses(error, jitter=jitter) == pytest.approx(expected)


def test_an_error_of_an_attended_source_is_cached_for_seconds() -> None:
    """A person may mistype a code, and each attempt asks again."""
    assert pauses(FINAL, schedule=ATTENDED) == pytest.approx([3] * 7)


def test_a_success_resets_the_time_for_which_errors_are_cached() -> None:
    state = NOTHING
    for _ in range(5):
        state = _schedule.after_failure(state, FINAL, now=START, jitter=0.5)
    state = _schedule.after_success(KEYS, lifetime=3600, now=START, before=state)
    state = _schedule.after_failure(state, FINAL, now=START.plus(3600), jitter=0.5)

    assert state.paused_until == START.plus(3610)


def test_the_health_changes_once_per_state_regardless_of_attempts() -> None:
    """G8: each state is logged once until a refresh succeeds."""
    state, seen = held(3600), list[Health]()
    for at in range(2700, 9000, 300):
        for error in (PASSING, FINAL):
            state = _schedule.after_failure(state, error, now=START.plus(at), jitter=0.5)
            seen += [state.health] * (state.health not in seen)

    assert seen == [Health.SERVING_VALID, Health.SERVING_EXPIRED, Health.FAILING]
    assert state.health is Health.FAILING
    assert state.failing_seconds(START.plus(9000)) == 6300
    healed = _schedule.after_success(KEYS, lifetime=3600, now=START.plus(9000), before=state)
    assert (healed.health, healed.failing_seconds(START.plus(9000))) == (Health.GOOD, None)


def test_credentials_of_a_cached_source_are_not_served_after_expiry() -> None:
    state = _schedule.after_failure(
        held(3600, schedule=CACHED), PASSING, now=START.plus(3595), jitter=0.5, schedule=CACHED
    )

    assert not _schedule.keeps_serving(state, PASSING, now=START.plus(3595), schedule=CACHED)
    assert step(state, 3595) is Step.REFRESH


@pytest.mark.parametrize("error", [PASSING, FINAL, CredentialsExpired("old"), LoginRequired("log in")], ids=repr)
def test_a_success_clears_the_pause_and_the_cached_error(error: STSError) -> None:
    _schedule.after_failure(held(3600), error, now=START.plus(3550), jitter=0.5)
    state = _schedule.after_success(KEYS, lifetime=3600, now=START.plus(3551))

    assert state.error is None
    assert step(state, 3551) is Step.SERVE
    assert step(state, 3551 + 2700) is Step.REFRESH_IN_BACKGROUND


def test_expired_credentials_without_a_replacement_are_served_and_fetched_again() -> None:
    """F33: the instance metadata service returns such credentials in an outage."""
    state = _schedule.after_expired(KEYS, now=START, jitter=0.0)

    assert step(state, 299) is Step.SERVE
    assert step(state, 300) is Step.REFRESH


# Invalidation


def test_keys_that_the_service_refused_are_refreshed_before_use() -> None:
    state = _schedule.invalidated(held(3600), access_key_id=KEYS.access_key_id)

    assert step(state, 0) is Step.REFRESH
    assert state.credentials == KEYS


def test_a_refusal_of_another_key_changes_nothing() -> None:
    """The cache may have been refreshed since the refused call."""
    state = held(3600)

    assert _schedule.invalidated(state, access_key_id="AKIAOTHER") is state
    assert _schedule.invalidated(NOTHING, access_key_id="AKIAOTHER") is NOTHING


def test_a_pause_stays_in_effect_after_an_invalidation() -> None:
    paused = _schedule.after_failure(held(3600), PASSING, now=START, jitter=0.5)
    state = _schedule.invalidated(paused, access_key_id=KEYS.access_key_id)

    assert step(state, 449) is Step.SERVE
    assert step(state, 451) is Step.REFRESH


def test_keys_that_replaced_refused_ones_are_used_for_five_seconds_at_least() -> None:
    """B9: the service may refuse every key."""
    refused = _schedule.invalidated(held(3600), access_key_id=KEYS.access_key_id)
    state = _schedule.after_success(KEYS, lifetime=3600, now=START, before=refused)
    again = _schedule.invalidated(state, access_key_id=KEYS.access_key_id)

    assert [step(again, at) for at in (0, 4.9, 5.0)] == [Step.SERVE, Step.SERVE, Step.REFRESH]
    assert _schedule.invalidated(again, access_key_id=KEYS.access_key_id) == again


def test_an_invalidation_never_extends_the_life_of_keys() -> None:
    refused = _schedule.invalidated(held(4), access_key_id=KEYS.access_key_id)
    state = _schedule.after_success(KEYS, lifetime=4, now=START, before=refused)
    again = _schedule.invalidated(state, access_key_id=KEYS.access_key_id)

    assert again.mandatory == state.mandatory
    assert step(again, 2) is Step.REFRESH


def test_refused_keys_of_a_scheduled_refresh_are_replaced_at_once() -> None:
    refused = _schedule.invalidated(held(3600), access_key_id=KEYS.access_key_id)
    state = _schedule.after_success(KEYS, lifetime=3600, now=START, before=refused)
    state = _schedule.after_success(KEYS, lifetime=3600, now=START.plus(1), before=state)

    assert step(_schedule.invalidated(state, access_key_id=KEYS.access_key_id), 1) is Step.REFRESH


# Whatever happens


@given(
    st.lists(
        st.tuples(st.floats(0, 4000), st.sampled_from(["success", "passing", "final", "invalidate"]), jitters),
        max_size=30,
    )
)
def test_every_sequence_of_events_leaves_a_state_with_a_possible_step(events: list[tuple[float, str, float]]) -> None:
    """To serve needs credentials, and to raise needs an error."""
    state, now = NOTHING, START
    for wait, event, jitter in events:
        now = now.plus(wait)
        match event:
            case "success":
                state = _schedule.after_success(KEYS, lifetime=3600, now=now, jitter=jitter, before=state)
            case "passing":
                state = _schedule.after_failure(state, PASSING, now=now, jitter=jitter)
            case "final":
                state = _schedule.after_failure(state, FINAL, now=now, jitter=jitter)
            case _:
                state = _schedule.invalidated(state, access_key_id=KEYS.access_key_id)
        taken = _schedule.next_step(state, now=now)
        assert (taken in (Step.SERVE, Step.REFRESH_IN_BACKGROUND)) <= (state.credentials is not None)
        assert (taken is Step.RAISE) <= (state.error is not None)
        assert state.paused_until.monotonic <= now.monotonic + 600
