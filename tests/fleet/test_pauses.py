"""`pause` and `resume`, for one identity and for the whole fleet."""

import asyncio

import pytest
from fleet.fleets import (
    HOUR,
    Service,
    open_fleet,
    outcome_of,
    pass_time,
    role,
    roles,
    settled,
)
from patience import soon, turns

from sts_async.errors import CredentialsError
from sts_async.shapes import Credentials
from sts_async.testing import VirtualClock


@pytest.mark.parametrize("whole", [True, False], ids=["fleet", "identity"])
async def test_a_pause_makes_no_request_and_serves_what_is_valid(
    watched: None, clock: VirtualClock, whole: bool
) -> None:
    """Afterwards callers get an error. `resume` refreshes again."""
    service, identities = Service(clock), [] if whole else [role()]
    async with open_fleet(service, clock) as fleet:
        fleet.add(role())
        await fleet.warm_up()
        fleet.pause(*identities)
        fleet.pause(*identities)
        clock.advance(HOUR - 1)
        await settled(fleet)
        held = fleet.peek(role())
        assert await fleet.get(role()) is held is not None
        await pass_time(fleet, clock, HOUR)
        with pytest.raises(CredentialsError, match="is paused, and has no valid credentials"):
            await fleet.get(role())
        assert service.sent.total() == 1
        fleet.resume(*identities)
        await settled(fleet)

        assert (await fleet.get(role())) != held
        assert service.sent.total() == 2
        await pass_time(fleet, clock, HOUR)
        assert service.sent.total() == 3
        assert fleet.snapshot().fresh == 1


async def test_an_identity_that_was_paused_singly_stays_paused_when_the_fleet_is_resumed(
    watched: None, clock: VirtualClock
) -> None:
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        fleet.add(*roles(3))
        fleet.pause(role(1))
        fleet.pause()
        fleet.resume()
        await fleet.warm_up()
        await settled(fleet)

        assert fleet.snapshot().paused == 1
        assert sorted(service.sent) == [role(0).role_arn, role(2).role_arn]
        fleet.resume(role(1))
        await settled(fleet)
        assert fleet.snapshot().fresh == 3


async def test_a_pause_ends_the_wait_of_callers_whose_request_is_not_sent_yet(
    watched: None, clock: VirtualClock
) -> None:
    """A request that is under way continues, and its callers get the credentials."""
    service = Service(clock, gate=asyncio.Event())
    async with open_fleet(service, clock, concurrency=1) as fleet:
        callers = [asyncio.create_task(outcome_of(lambda one=one: fleet.get(one))) for one in roles(3)]
        await turns()
        fleet.pause()
        assert service.gate is not None
        service.gate.set()
        first, *others = await soon(asyncio.gather(*callers))
        await settled(fleet)

    assert isinstance(first, Credentials)
    assert [type(other) for other in others] == [CredentialsError] * 2
    assert service.sent.total() == 1


async def test_the_pause_of_an_identity_on_demand_outlasts_the_idle_time_and_the_bound(
    watched: None, clock: VirtualClock
) -> None:
    service = Service(clock)
    async with open_fleet(service, clock, max_on_demand=2, idle_seconds=60) as fleet:
        fleet.pause(role())
        for number in range(1, 6):
            await fleet.get(role(number))
        await pass_time(fleet, clock, 3 * HOUR)
        with pytest.raises(CredentialsError, match="is paused"):
            await fleet.get(role())
        assert (fleet.snapshot().on_demand, fleet.snapshot().paused) == (1, 1)
        fleet.resume(role())
        await pass_time(fleet, clock, 3 * HOUR)

        assert fleet.snapshot().on_demand == 0
    assert service.sent[role().role_arn] == 0


async def test_an_identity_on_demand_can_be_paused_before_it_is_used(watched: None, clock: VirtualClock) -> None:
    """So a program can block one tenant."""
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        fleet.pause(role())
        with pytest.raises(CredentialsError, match="is paused"):
            await fleet.get(role())
        fleet.resume(role())
        await fleet.get(role())

    assert service.sent.total() == 1
