"""When identities are refreshed: the spread of their due times over a simulated day, and the pauses after failures."""

import functools
import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async import errors
from sts_async.credentials._schedule import PAST, Moment, Step, after_failure, after_success, next_step
from sts_async.fleet._due_times import (
    EARLIEST,
    FOLLOWING,
    SMALL,
    DueTime,
    DueTimes,
    following,
    next_refresh,
    pause_after,
    pause_after_throttling,
    was_throttled,
)
from sts_async.shapes import Credentials

N = 10_000
HOUR = 3600.0
KEYS = Credentials(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="SENTINEL-secret")

lifetimes = st.floats(1, 36 * HOUR)
jitters = st.floats(0, 1, exclude_max=True)
times = st.floats(0, 1e7)


@attrs.frozen
class Window:
    """The parts of a lifetime, in seconds after the fetch. They come from the schedule of all credentials."""

    lifetime: float
    advisory: float
    mandatory: float

    @classmethod
    def of(cls, lifetime: float) -> "Window":
        state = after_success(KEYS, lifetime=lifetime, now=Moment(0.0, 0.0))
        return cls(lifetime, state.advisory.monotonic, state.mandatory.monotonic)

    @property
    def last(self) -> float:
        """The latest due time: the last third of the advisory window leaves time for a retry."""
        return min(self.advisory + (self.lifetime - self.advisory) * 2 / 3, self.mandatory)

    def choose(self, due_times: DueTimes, *, now: float, jitter: float) -> DueTime:
        return due_times.choose(
            now=now,
            advisory=now + self.advisory,
            mandatory=now + self.mandatory,
            ends=now + self.lifetime,
            jitter=jitter,
        )


class Day:
    """
    A fleet whose refreshes all succeed at once, on a virtual clock.

    Args:
        fleet: The lifetime of the credentials of each identity.
        seed: Seed of all random numbers.
        width: Seconds of the slots in which the refreshes are counted.
    """

    def __init__(self, fleet: Sequence[float], *, seed: int = 1, width: float = 60.0) -> None:
        self.width = width
        self.refreshes = Counter[int]()  # by slot
        self.followed_early = Counter[int]()  # those of them whose next due time is an early one
        self.windows = [Window.of(lifetime) for lifetime in fleet]
        self.due_times = DueTimes()
        self.random = random.Random(seed)
        self.agenda: list[tuple[float, int]] = []
        self.counted: list[DueTime | None] = [None] * len(fleet)

    def fetch_all(self, *, begin: float, seconds: float) -> None:
        """Fetch all identities within *seconds*, whatever they had before."""
        self.agenda = [(begin + self.random.random() * seconds, number) for number in range(len(self.windows))]
        heapq.heapify(self.agenda)
        for number in range(len(self.windows)):
            self.forget(number)

    def forget(self, number: int) -> None:
        counted = self.counted[number]
        if counted is not None:
            self.due_times.remove(counted)
            self.counted[number] = None

    def run(self, until: float) -> None:
        while self.agenda[0][0] < until:
            now, number = self.agenda[0]
            self.forget(number)
            window = self.windows[number]
            due = self.counted[number] = window.choose(self.due_times, now=now, jitter=self.random.random())
            slot = int(now // self.width)
            self.refreshes[slot] += 1
            if due.at < now + window.advisory:
                self.followed_early[slot] += 1
            heapq.heapreplace(self.agenda, (due.at, number))

    def slots(self, begin: float, end: float) -> range:
        return range(math.ceil(begin / self.width), math.ceil(end / self.width))

    def made(self, begin: float, end: float) -> int:
        return sum(self.refreshes[slot] for slot in self.slots(begin, end))

    def early(self, begin: float, end: float) -> int:
        return sum(self.followed_early[slot] for slot in self.slots(begin, end))

    def peaks(self, begin: float, end: float) -> list[int]:
        """Return the refreshes of the busiest slot of each hour."""
        hours = [begin + HOUR * number for number in range(math.ceil((end - begin) / HOUR))]
        return [max(self.refreshes[slot] for slot in self.slots(hour, min(hour + HOUR, end))) for hour in hours]

    def mean(self) -> float:
        """Return the mean number of refreshes in a minute if none is early, on average over the advisory window."""
        return sum(120 / (window.advisory + window.last) for window in self.windows)


def mixture(*shares: tuple[int, float]) -> list[float]:
    return [lifetime for percent, lifetime in shares for _ in range(N * percent // 100)]


FLEETS = {
    # Slots are a share of the lifetime, so some hours of a short one are as good as a day of a long one.
    "15 minutes": ([900.0] * N, 4),
    "1 hour": ([3600.0] * N, 24),
    "12 hours": ([43_200.0] * N, 36),
    "10 % of 15 minutes and 90 % of 12 hours": (mixture((10, 900.0), (90, 43_200.0)), 14),
}


@functools.cache
def day_of(fleet: str) -> tuple[Day, int]:
    """Return a day that began with a fetch of all within a minute, and its hours."""
    identities, hours = FLEETS[fleet]
    day = Day(identities)
    day.fetch_all(begin=0.0, seconds=50.0)
    day.run(hours * HOUR)
    return day, hours


@pytest.mark.slow
@pytest.mark.parametrize("fleet", FLEETS)
def test_after_a_start_within_a_minute_no_minute_has_twice_the_mean_rate(fleet: str) -> None:
    """F46: in each hour of the day; the credentials of all identities end in the same minute at first."""
    day, hours = day_of(fleet)
    peaks = day.peaks(60.0, hours * HOUR)

    assert len(peaks) == hours
    assert max(peaks) <= 2 * day.mean()


@pytest.mark.slow
@pytest.mark.parametrize("fleet", ["15 minutes", "1 hour", "12 hours"])
def test_early_refreshes_cost_little_in_the_first_lifetime_and_nothing_later(fleet: str) -> None:
    """They cost requests once, because the due times stay apart."""
    day, hours = day_of(fleet)
    lifetime, end = day.windows[0].lifetime, hours * HOUR
    later = day.made(2 * lifetime, end)

    assert day.made(60.0, lifetime) <= 1.3 * N
    assert day.early(0.0, lifetime) > N / 3  # otherwise nothing was spread
    assert later >= N
    assert day.early(2 * lifetime, end) <= 0.01 * later


@pytest.mark.slow
def test_after_an_outage_no_minute_has_twice_the_mean_rate() -> None:
    """F48: all are fetched within the ten minutes that a pause after a failed refresh takes at most."""
    day = Day(mixture((20, 900.0), (40, 3600.0), (40, 43_200.0)), seed=2)
    day.fetch_all(begin=0.0, seconds=50.0)
    day.run(2 * HOUR)
    day.fetch_all(begin=8 * HOUR, seconds=600.0)
    day.run(14 * HOUR)

    for begin, end, hours in [(60.0, 2 * HOUR, 2), (8 * HOUR + 600, 14 * HOUR, 6)]:
        assert len(day.peaks(begin, end)) == hours
        assert max(day.peaks(begin, end)) <= 2 * day.mean()
    assert day.early(10 * HOUR, 14 * HOUR) <= 0.02 * day.made(10 * HOUR, 14 * HOUR)


@pytest.mark.parametrize("lifetime", [5.0, 900.0, 3600.0, 43_200.0])
@pytest.mark.parametrize("size", [1, 2, 200, SMALL])
def test_a_small_fleet_is_refreshed_in_the_advisory_window_only(size: int, lifetime: float) -> None:
    """Its refreshes of one window cause little load, so an early refresh would be a useless request."""
    day = Day([lifetime] * size)
    day.fetch_all(begin=0.0, seconds=lifetime / 100)
    day.run(8 * lifetime)

    assert day.refreshes.total() >= 8 * size
    assert day.followed_early.total() == 0


def test_credentials_that_live_for_seconds_are_refreshed_in_time_and_not_all_at_once() -> None:
    """Their mandatory window is half of their life, so there is no time to spread after its start."""
    day = Day([5.0] * 1000, width=0.1)
    day.fetch_all(begin=0.0, seconds=0.5)
    day.run(60.0)
    window = Window.of(5.0)

    assert window.advisory == window.mandatory == 2.5
    assert all(at <= 60 + 2.5 for at, _ in day.agenda)
    assert day.made(0.0, 60.0) >= 24 * 1000
    assert max(day.peaks(5.0, 60.0)) <= 2 * 1000 / 25


@given(lifetimes, times, jitters, st.sampled_from([0, SMALL - 1, SMALL, 2000]))
def test_a_due_time_is_in_the_window_or_earlier_but_never_late(
    lifetime: float, now: float, jitter: float, others: int
) -> None:
    """Whatever else is due: callers never have to wait because of the spread."""
    due_times, window = DueTimes(), Window.of(lifetime)
    for _ in range(others):
        window.choose(due_times, now=now, jitter=0.5)
    due = window.choose(due_times, now=now, jitter=jitter).at
    first = window.advisory if others < SMALL else min(EARLIEST * lifetime, window.last)

    assert now + first - 1e-6 <= due <= now + window.last + 1e-6
    assert due <= now + window.mandatory + 1e-6


@given(st.lists(st.tuples(st.booleans(), lifetimes, times, jitters), max_size=100), st.randoms())
def test_each_due_time_is_counted_until_it_is_removed(
    steps: list[tuple[bool, float, float, float]], order: random.Random
) -> None:
    """F61: in any order, at any time, also after the clock has jumped; nothing is left behind."""
    due_times, counted = DueTimes(), list[DueTime]()
    for adds, lifetime, now, jitter in steps:
        if adds or not counted:
            counted.append(Window.of(lifetime).choose(due_times, now=now, jitter=jitter))
        else:
            due_times.remove(counted.pop(order.randrange(len(counted))))
        assert len(due_times) == len(counted)
    for due in counted:
        due_times.remove(due)

    assert len(due_times) == 0
    assert [group.slots for group in due_times._groups.values() if group.slots] == []


def test_two_refreshes_are_apart_although_both_draw_the_same_number() -> None:
    due_times, window = DueTimes(), Window.of(3600.0)

    assert len({window.choose(due_times, now=0.0, jitter=0.5).at for _ in range(8)}) == 8


def test_credentials_that_end_now_have_a_due_time() -> None:
    """The lifetime may be shorter than the clock can measure."""
    due = DueTimes().choose(now=1e9, advisory=1e9, mandatory=1e9, ends=1e9, jitter=0.9)

    assert due.at == 1e9


# Pauses

REFUSED = errors.ServiceError("no", code="AccessDenied", status=403)
MINUTE = 60.0
LIMITS = [
    (REFUSED, 30 * MINUTE, 60 * MINUTE),
    (errors.ParamValidationError("AssumeRoleRequest", ["RoleArn: is missing"]), 30 * MINUTE, 60 * MINUTE),
    (errors.ServiceError("busy", code="ServiceUnavailable", status=503), 5 * MINUTE, 10 * MINUTE),
    (errors.ConnectError("refused"), 5 * MINUTE, 10 * MINUTE),
    (errors.DeadlineExceeded("too late"), 5 * MINUTE, 10 * MINUTE),
    (errors.ExpiredTokenException("old", code="ExpiredTokenException", status=400), 30.0, 60.0),
    (errors.InvalidIdentityTokenException("bad", code="InvalidIdentityToken", status=400), 30.0, 60.0),
    (errors.CredentialsError("no file"), 30.0, 60.0),
    (errors.LoginRequired("sign in"), 30.0, 60.0),
    (errors.InvalidConfigFile("line 3"), 30.0, 60.0),
]
names = [type(error).__name__ for error, *_ in LIMITS]
each_error = pytest.mark.parametrize(("error", "low", "high"), LIMITS, ids=names)


@each_error
def test_pauses_grow_threefold_up_to_a_limit_that_depends_on_the_cause(
    error: errors.STSError, low: float, high: float
) -> None:
    """The first is 5 to 15 s; the limit is longest where a person must change a role, a policy or the request."""
    for failures in range(15):
        growth = 3.0**failures
        shortest, longest = (
            pause_after(error, failures=failures, jitter=0),
            pause_after(error, failures=failures, jitter=1),
        )

        assert shortest == pytest.approx(min(5 * growth, low))
        assert longest == pytest.approx(min(15 * growth, high))


@given(st.sampled_from([error for error, *_ in LIMITS]), st.integers(0, 10**9), jitters)
def test_a_pause_is_between_five_seconds_and_an_hour(error: errors.STSError, failures: int, jitter: float) -> None:
    """Whatever the number of failures is: it neither overflows nor becomes shorter with it."""
    pause = pause_after(error, failures=failures, jitter=jitter)

    assert 5 <= pause <= HOUR
    assert pause <= pause_after(error, failures=failures + 1, jitter=jitter)


def test_identities_without_credentials_make_at_most_twelve_attempts_an_hour_in_an_outage() -> None:
    """F47: on average over many, from the first hour on."""
    draw, attempts = random.Random(3), 0
    for _ in range(200):
        at, failures = 0.0, 0
        while at < 6 * HOUR:
            attempts += 1
            at += pause_after(errors.ConnectError("refused"), failures=failures, jitter=draw.random())
            failures += 1

    assert attempts / 200 <= 12 * 6


def test_a_call_that_ended_in_the_queue_counts_as_throttled() -> None:
    """Its deadline ended while it waited for its turn; a call whose attempt took too long is no sign of throttling."""
    queued, slow = errors.DeadlineExceeded("too late"), errors.DeadlineExceeded("too late")
    queued.attempts, slow.attempts = 0, 1
    throttled = errors.ThrottlingError("slow down", code="Throttling", status=400)

    assert [was_throttled(error) for error in (queued, slow, throttled, REFUSED)] == [True, False, True, False]


def test_after_throttling_the_next_attempt_comes_within_seconds() -> None:
    """The budget paces these attempts, so a pause of minutes would only let credentials expire."""
    assert [pause_after_throttling(jitter) for jitter in (0.0, 0.5)] == [5.0, 10.0]


@given(lifetimes, st.floats(0, 1), jitters)
def test_the_next_refresh_is_when_a_caller_would_start_one(lifetime: float, share: float, jitter: float) -> None:
    """Not before the credentials are due, and not in the pause after a failed refresh."""
    fresh = after_success(KEYS, lifetime=lifetime, now=Moment(1e9, 1000.0))
    failed_at = fresh.advisory.plus(share * (lifetime - Window.of(lifetime).advisory))
    failed = after_failure(fresh, errors.ConnectError("refused"), now=failed_at, jitter=jitter)

    assert next_refresh(fresh) == fresh.advisory
    assert next_refresh(failed) == failed.paused_until
    assert next_refresh(attrs.evolve(failed, advisory=PAST)) == failed.paused_until
    for state in (fresh, failed):
        at = next_refresh(state)
        assert next_step(state, now=at.plus(-1e-3)) is Step.SERVE
        assert next_step(state, now=at) is not Step.SERVE


@given(
    planned=st.floats(-4000, 4000),
    left=st.floats(0, 4000),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_a_process_follows_the_one_that_fetched_within_a_minute_and_never_late(
    planned: float, left: float, jitter: float
) -> None:
    due = following(planned, now=0.0, last=left, jitter=jitter)

    assert due <= left
    assert due >= min(max(planned, 0.0), left)
    assert due <= max(planned, 0.0) + FOLLOWING[1]
    if left - max(planned, 0.0) >= 4 * FOLLOWING[0]:
        assert due >= max(planned, 0.0) + FOLLOWING[0], "the other process has a second for its refresh"


def test_many_followers_are_spread_over_a_minute() -> None:
    due = sorted(following(100.0, now=0.0, last=1000.0, jitter=number / 60) for number in range(60))

    assert (due[0], due[-1]) == (101.0, pytest.approx(160.0, abs=1.0))
    assert max(later - earlier for earlier, later in itertools.pairwise(due)) < 1.0
