"""A fleet whose service throttles: it sends nearly as many requests as the service admits."""

import asyncio
import logging

import pytest
from fleet.simulation import Clock, StandIn, client, request_for

from sts_async.fleet import CredentialsFleet


@pytest.mark.parametrize("budget", [100, 200, 400])
async def test_a_fleet_reaches_the_rate_that_the_service_admits(
    budget: float, caplog: pytest.LogCaptureFixture
) -> None:
    """A start with 1,500 identities takes at most twice as long as the service's 100 requests per second allow."""
    caplog.set_level(logging.ERROR, "sts_async")
    clock = Clock()
    sts = StandIn(clock)
    sts.rate = 100.0
    async with client(clock, sts) as sts_client, CredentialsFleet(sts_client, requests_per_second=budget) as fleet:
        fleet.add(*map(request_for, range(1500)))
        begun = clock.true
        while fleet.snapshot().fresh < 1500:
            await clock.run(1.0)
            await asyncio.sleep(0)

        assert clock.true - begun <= 2 * 1500 / sts.rate
        assert sts.refused <= 1500 / 10
