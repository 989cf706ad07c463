"""The service's clock, from the Date of its answers: the cases that the SDKs share, and what must not be believed."""

from email.utils import formatdate
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async._protocol.clock_skew import CODES, ServiceClock, is_reason
from sts_async.errors import ConnectError, ServiceError

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def date(seconds: float) -> dict[str, str]:
    return {"date": formatdate(seconds, usegmt=True)}


def test_the_skew_is_the_date_less_the_middle_of_the_round_trip() -> None:
    """The worked case: sent at 0 s, received at 2 s, dated 301 s."""
    clock = ServiceClock()

    assert clock.learn(date(START + 301), sent=START, received=START + 2) == 300
    assert clock.offset == 300


def test_an_answer_that_is_aligned_heals_it() -> None:
    clock = ServiceClock()
    clock.learn(date(START + 301), sent=START, received=START + 2)
    clock.learn(date(START + 11), sent=START + 10, received=START + 12)

    assert clock.offset == 0


@pytest.mark.parametrize(
    ("headers", "received"),
    [
        ({}, START + 1),
        ({"date": "yesterday"}, START + 1),
        ({"date": ""}, START + 1),
        ({"date": "x" * 100_000}, START + 1),
        ({"date": "Thu, 99 Jan 2026 00:00:00 GMT"}, START + 1),
        ({**date(START + 600), "age": "10"}, START + 1),
        (date(START + 600), START + 901),
        (date(START + 366 * 86_400), START + 1),
        (date(START - 366 * 86_400), START + 1),
    ],
    ids=str,
)
def test_a_missing_or_implausible_date_is_ignored(headers: dict[str, str], received: float) -> None:
    """T23: a date a year ahead is an attempt to get signatures for next year."""
    clock = ServiceClock()
    clock.offset = 7.0

    assert clock.learn(headers, sent=START, received=received) is None
    assert clock.offset == 7.0


@given(st.floats(-86_000, 86_000), st.floats(0, 899))
def test_whatever_the_skew_it_is_found_to_the_second(skew: float, round_trip: float) -> None:
    """A Date has whole seconds."""
    clock = ServiceClock()
    found = clock.learn(date(START + skew + round_trip / 2), sent=START, received=START + round_trip)

    assert found is not None
    assert skew - 1.001 <= found <= skew + 0.001


def confirmed(*skews: float) -> list[float]:
    """Return what is confirmed after each of some answers, a minute apart, which say that the clock is off."""
    clock, found = ServiceClock(), list[float]()
    for number, skew in enumerate(skews):
        now = START + 60 * number
        clock.learn(date(now + skew), sent=now, received=now)
        assert clock.offset == skew, "a signature goes by the last answer"
        found.append(clock.confirmed)
    return found


def test_one_answer_with_a_wrong_date_confirms_nothing() -> None:
    """G3: one server of many, or a proxy that answers by itself."""
    assert confirmed(0, 7200, 0, 0) == [0, 0, 0, 0]
    assert confirmed(0, 7200, -7200, 0, 7200) == [0, 0, 0, 0, 0]
    assert confirmed(300, 320, 7200, 310, 300) == [300, 320, 320, 320, 300]


def test_two_responses_that_agree_confirm_the_skew() -> None:
    """G3: a host whose clock was set, and a wrong date that went on for a while, are both noticed."""
    assert confirmed(0, 7200, 7201, 7200, 0, 1) == [0, 0, 7201, 7200, 7200, 1]


def test_the_first_response_confirms_the_skew() -> None:
    """A host may have begun with any time; what an unsigned call brings then lives by the service's clock."""
    assert confirmed(-7200) == [-7200]
    assert confirmed(7200, 0, 0) == [7200, 7200, 0]


@given(st.lists(st.sampled_from([0.0, 30.0, 7200.0, -3600.0]), min_size=1, max_size=30))
def test_a_confirmed_skew_comes_from_two_consecutive_responses_or_the_first(skews: list[float]) -> None:
    pairs = {skews[0], *(now for before, now in pairwise(skews) if abs(now - before) <= 60)}

    assert set(confirmed(*skews)) <= pairs


@pytest.mark.parametrize("clock", [ServiceClock(offset=-120.0), ServiceClock(offset=0.0), ServiceClock(corrects=False)])
def test_a_fixed_offset_does_not_change(clock: ServiceClock) -> None:
    """As the 2015 Java client's time offset did."""
    before = clock.offset

    assert clock.learn(date(START + 600), sent=START, received=START) is None
    assert clock.offset == clock.confirmed == before


def refusal(code: str) -> ServiceError:
    return ServiceError.class_for(code, 403)("no", code=code, status=403)


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_refusal_is_of_the_clock_beyond_four_minutes(code: str) -> None:
    """The signed time counts: another call can have corrected the clock since then."""
    assert is_reason(refusal(code), skew=241.0, signed_with=0.0)
    assert is_reason(refusal(code), skew=0.0, signed_with=-241.0)
    assert not is_reason(refusal(code), skew=239.0, signed_with=0.0)
    assert not is_reason(refusal(code), skew=600.0, signed_with=600.0)
    assert not is_reason(refusal(code), skew=None, signed_with=0.0)


def test_other_errors_are_not() -> None:
    assert not is_reason(refusal("AccessDenied"), skew=600.0, signed_with=0.0)
    assert not is_reason(ConnectError("refused"), skew=600.0, signed_with=0.0)
