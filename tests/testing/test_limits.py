"""How many requests per second a server answers."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async import NoRetries, errors
from sts_async.testing import LocalSTS
from sts_async.testing.limits import RateLimit


@given(rate=st.floats(0.1, 1000), gaps=st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_more_are_answered_than_the_rate_allows(rate: float, gaps: list[float]) -> None:
    limit, now, answered = RateLimit(rate), 0.0, 0
    for gap in gaps:
        now += gap
        answered += limit.admits(now=now)

    assert answered <= max(1.0, rate) + now * rate + 1e-6


@given(rate=st.floats(1, 1000))
def test_requests_within_the_rate_are_admitted(rate: float) -> None:
    limit = RateLimit(rate)

    assert all(limit.admits(now=number / rate) for number in range(2000))


def test_without_a_rate_everything_is_answered() -> None:
    limit = RateLimit(None)

    assert all(limit.admits(now=0.0) for _ in range(1000))


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan"), "x"])
def test_an_invalid_rate_is_an_error(rate: Any) -> None:
    with pytest.raises(ValueError, match="rate must be a number of requests per second"):
        LocalSTS(rate=rate)


async def test_a_server_throttles_those_beyond_its_rate_and_answers_again_later() -> None:
    now = [time.time()]
    async with LocalSTS(rate=2, clock=lambda: now[0]) as server, server.client() as sts:
        view = sts.with_options(retries=NoRetries())
        assert (await view.get_caller_identity()).account
        assert (await view.get_caller_identity()).account
        with pytest.raises(errors.ThrottlingError):
            await view.get_caller_identity()
        now[0] += 0.5
        assert (await view.get_caller_identity()).account

    assert [record.status for record in server.requests] == [200, 200, 400, 200]
