"""Refreshes ahead of the usual time, for consumers that have margins of their own, such as a credentials endpoint."""

from datetime import UTC, datetime

import pytest
from fleet.fleets import HOUR, Service, entry_of, open_fleet, pass_time, role, settled
from hypothesis import given
from hypothesis import strategies as st

from sts_async.credentials._schedule import CacheState, Moment
from sts_async.fleet._ahead import get_ahead
from sts_async.fleet._due_times import AHEAD, MIN_AHEAD_LIFETIME, due_window
from sts_async.testing import VirtualClock

EARLY, LATE = AHEAD
MARGIN = 15 * 60.0  # s: botocore asks again for each call if less is left


def left(clock: VirtualClock, expiration: datetime | None) -> float:
    assert expiration is not None
    return (expiration - datetime.fromtimestamp(clock.time(), UTC)).total_seconds()


def at(seconds: float) -> Moment:
    return Moment(seconds, seconds)


@given(
    st.floats(0, 1e6),
    st.floats(1.0, 36 * HOUR),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_the_window_ahead_is_never_later(now: float, life: float, one: float, two: float) -> None:
    """It only advances a refresh, and it leaves short credentials alone."""
    advisory, mandatory = sorted((now + life * one, now + life * two))
    state = CacheState(advisory=at(advisory), mandatory=at(mandatory), ends=at(now + life))
    first, last = due_window(state, ahead=True, now=now)
    assert due_window(state, ahead=False, now=now) == (advisory, mandatory)

    assert first <= advisory
    assert last <= mandatory
    assert first <= last
    if now + life - now < MIN_AHEAD_LIFETIME:
        assert (first, last) == (advisory, mandatory)
    else:
        assert last <= now + life - LATE
        assert first >= min(advisory, now + life - EARLY)


@pytest.mark.parametrize("hours", [1, 1.4, 2])
async def test_credentials_that_are_used_have_more_than_the_margin_left(
    watched: None, clock: VirtualClock, hours: float
) -> None:
    """A consumer that asks each minute never sees credentials in the refresh window of botocore."""
    service, one = Service(clock), role(duration_seconds=int(hours * HOUR))
    async with open_fleet(service, clock) as fleet:
        fewest = float("inf")
        for _ in range(int(hours * 60)):
            credentials = await get_ahead(fleet, one, wait=False)
            fewest = min(fewest, left(clock, credentials.expiration))
            await pass_time(fleet, clock, 60.0)

    assert fewest >= MARGIN
    assert service.sent.total() <= 3


async def test_short_credentials_are_refreshed_as_usual(watched: None, clock: VirtualClock) -> None:
    """Credentials of 15 minutes never have a margin of 15 minutes, so there is nothing to gain."""
    service, one = Service(clock), role(duration_seconds=900)
    async with open_fleet(service, clock) as fleet:
        await get_ahead(fleet, one, wait=False)

        assert entry_of(fleet, one).due >= clock.monotonic() + 900 - 300 - 1e-3


async def test_an_identity_that_is_not_used_again_is_not_refreshed(watched: None, clock: VirtualClock) -> None:
    """A program that has ended costs no request."""
    service, one = Service(clock), role()
    async with open_fleet(service, clock) as fleet:
        await get_ahead(fleet, one, wait=False)
        await pass_time(fleet, clock, 10 * HOUR)

    assert service.sent.total() == 1


async def test_cached_credentials_are_refreshed_ahead_from_then_on(watched: None, clock: VirtualClock) -> None:
    """The first consumer may come when the identity has been in the fleet for long."""
    service, one = Service(clock), role()
    async with open_fleet(service, clock) as fleet:
        fleet.add(one)
        await fleet.warm_up()
        await get_ahead(fleet, one, wait=False)
        assert entry_of(fleet, one).due <= clock.monotonic() + HOUR - EARLY
        await pass_time(fleet, clock, HOUR - LATE)

    assert service.sent.total() == 2


async def test_a_caller_can_wait_for_the_refresh_that_is_due(watched: None, clock: VirtualClock) -> None:
    """Otherwise the first caller after a long pause gets credentials that end soon."""
    service, one = Service(clock), role()
    async with open_fleet(service, clock) as fleet:
        first = await get_ahead(fleet, one, wait=True)
        await pass_time(fleet, clock, HOUR - 120)

        assert await get_ahead(fleet, one, wait=False) == first
        await settled(fleet)
        await pass_time(fleet, clock, HOUR - 120)
        second = await get_ahead(fleet, one, wait=True)

        assert left(clock, second.expiration) == pytest.approx(HOUR, abs=1.0)
