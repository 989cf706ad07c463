"""The adaptive limiter: step by step as botocore's, and what holds whatever happens."""

from typing import Any

import pytest
from botocore.exceptions import CapacityNotAvailableError
from botocore.retries import adaptive, bucket, throttling
from hypothesis import given
from hypothesis import strategies as st

from sts_async.retries._rate_limiter import Limiter

START = 1_000.25

# How long until the next event, and what it is.
events = st.lists(
    st.tuples(st.floats(0, 20) | st.sampled_from([0.0, 0.001, 0.5, 1.0]), st.sampled_from(["send", "ok", "throttled"])),
    max_size=200,
)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def current_time(self) -> float:
        return self.now


class Theirs:
    """botocore's limiter on a clock of ours; it is asked without waiting."""

    def __init__(self, clock: Clock) -> None:
        self.bucket = bucket.TokenBucket(max_rate=1, clock=clock)
        self.throttled = False
        self.limiter = adaptive.ClientRateLimiter(
            rate_adjustor=throttling.CubicCalculator(starting_max_rate=0, start_time=clock.now),
            rate_clocker=adaptive.RateClocker(clock),
            token_bucket=self.bucket,
            throttling_detector=self,
            clock=clock,
        )

    def is_throttling_error(self, **_: Any) -> bool:
        return self.throttled

    def answer(self, *, throttled: bool) -> None:
        self.throttled = throttled
        self.limiter.on_receiving_response()

    def admit(self) -> bool:
        if not self.limiter._enabled:
            return True
        try:
            self.bucket.acquire(block=False)
        except CapacityNotAvailableError:
            return False
        return True


@given(events)
def test_the_limiter_is_botocores_step_by_step(script: list[tuple[float, str]]) -> None:
    clock = Clock()
    ours, theirs = Limiter(now=clock.now), Theirs(clock)
    for wait, event in script:
        clock.now += wait
        if event == "send":
            assert (ours.admit(now=clock.now) == 0) == theirs.admit()
        else:
            ours.answer(now=clock.now, throttled=event == "throttled")
            theirs.answer(throttled=event == "throttled")
            assert ours.enabled == theirs.limiter._enabled
            assert ours.rate == pytest.approx(theirs.bucket.max_rate, rel=1e-9)
            assert ours.capacity == pytest.approx(theirs.bucket.max_capacity, rel=1e-9)
        if ours.enabled:
            assert ours.tokens == pytest.approx(theirs.bucket.available_capacity, rel=1e-6, abs=1e-6)


@given(events)
def test_the_number_of_tokens_is_never_negative(script: list[tuple[float, str]]) -> None:
    """A bucket in debt makes each who waits wait longer than the one before."""
    now = START
    limiter = Limiter(now=now)
    for wait, event in script:
        now += wait
        waits = limiter.admit(now=now) if event == "send" else 0.0
        if event != "send":
            limiter.answer(now=now, throttled=event == "throttled")

        assert 0 <= limiter.tokens <= limiter.capacity
        assert 0 <= waits <= 1 / 0.5
        assert limiter.rate >= 0.5


def test_nothing_waits_before_the_service_throttles() -> None:
    limiter = Limiter(now=0.0)
    for second in range(100):
        assert limiter.admit(now=float(second)) == 0
        limiter.answer(now=float(second), throttled=False)

    assert not limiter.enabled


def test_a_request_is_admitted_after_the_returned_wait() -> None:
    limiter = Limiter(now=0.0)
    limiter.answer(now=10.0, throttled=True)
    waits = [limiter.admit(now=10.0) for _ in range(3)]

    assert waits[0] == 0
    assert waits[1] == waits[2] > 0
    assert limiter.admit(now=10.0 + waits[1] * 1.000_001) == 0


def test_a_wait_is_long_enough_to_move_a_clock() -> None:
    """The missing part of a token can be smaller than a clock's resolution."""
    limiter = Limiter(now=0.0)
    limiter.answer(now=0.0, throttled=True)
    limiter._tokens, limiter._filled_at = 1 - 2**-53, 1e9

    assert limiter.admit(now=1e9) == 0.001


def test_a_clock_that_goes_back_takes_no_tokens() -> None:
    limiter = Limiter(now=100.0)
    limiter.answer(now=100.0, throttled=True)
    limiter.admit(now=110.0)
    before = limiter.tokens
    limiter.admit(now=50.0)

    assert limiter.tokens >= before - 1


def test_the_rate_recovers_on_a_cubic_curve() -> None:
    """F60: slowly at first, past the rate at which it was throttled only after some time."""
    limiter = Limiter(now=0.0)
    now = 0.0
    for _ in range(1000):  # 100 a second
        now += 0.01
        limiter.answer(now=now, throttled=False)
    limiter.answer(now=now, throttled=True)
    throttled_at = limiter.rate
    rates = []
    for _ in range(1000):
        now += 0.01
        limiter.answer(now=now, throttled=False)
        rates.append(limiter.rate)

    assert throttled_at == pytest.approx(70, rel=0.05)
    assert rates[0] == pytest.approx(throttled_at, rel=0.02)
    assert rates == sorted(rates)
    assert rates[420] == pytest.approx(100, rel=0.05)
    assert rates[-1] > 130
