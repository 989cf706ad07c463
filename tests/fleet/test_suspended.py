"""A machine that is suspended while a request of a fleet is under way."""

import asyncio

import pytest
from fleet.simulation import LATENCY, Clock, StandIn, client, request_for

from sts_async.fleet import CredentialsFleet

HOUR = 3600.0


@pytest.mark.parametrize("held", [False, True], ids=["cold", "cached"])
async def test_a_request_under_way_while_the_machine_was_suspended_is_sent_again(held: bool) -> None:
    """
    F48: the service refuses its signature, which is hours old. The fleet sends it again, and the caller gets new keys.

    Without this, the caller would get an error, or cached credentials that have expired for 5 to 10 minutes.
    """
    clock = Clock()
    sts = StandIn(clock)
    async with client(clock, sts) as sts_client, CredentialsFleet(sts_client) as fleet:
        if held:
            fleet.add(request_for(1))
            await clock.run(1.0)
            seconds = fleet.snapshot().next_due
            assert seconds is not None
            await clock.run(seconds + LATENCY / 2)
            caller = None
        else:
            caller = asyncio.create_task(fleet.get(request_for(1)))
            await clock.run(LATENCY / 2)
        sent = len(sts.requests)
        clock.suspend(2 * HOUR)
        if caller is None:
            caller = asyncio.create_task(fleet.get(request_for(1)))
        await clock.run(5.0)

        assert caller.done()
        expiration = caller.result().expiration
        assert expiration is not None
        assert expiration.timestamp() > clock.true + HOUR / 2
        assert sts.skewed == 1
        assert len(sts.requests) == sent + 1
