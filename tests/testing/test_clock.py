"""The clock that a test moves, as a program uses it: a client and its servers, through an outage of six hours."""

import asyncio

import pytest
from support import ROLE

from sts_async import AssumeRoleProvider, StandardRetries, errors
from sts_async.testing import LocalSTS, Refuse, Throttle, Unavailable, VirtualClock


async def test_six_hours_of_an_outage_take_no_time() -> None:
    """G10: with public names alone. The keys of the role are served through it, and renewed after it."""
    clock = VirtualClock()
    async with (
        LocalSTS(clock=clock.time) as server,
        server.client(credentials=AssumeRoleProvider(role_arn=ROLE, source=server.credentials), clock=clock) as sts,
    ):
        before = await sts.get_credentials()
        server.faults.add(Unavailable(times=100_000))
        for _ in range(6 * 60):
            clock.advance(60)
            assert await sts.get_credentials() == before
            await asyncio.sleep(0)
        server.faults.clear()
        clock.advance(600)
        for _ in range(2):
            after = await sts.get_credentials()
        assert (await sts.get_caller_identity()).arn.startswith("arn:aws:sts::123456789012:assumed-role/demo/")

    assert after.access_key_id != before.access_key_id


async def test_pauses_before_retries_move_the_clock() -> None:
    """G10: nothing waits for them, and the signatures that follow are of the time that has passed."""
    clock = VirtualClock(1_767_225_600.0)
    async with (
        LocalSTS(clock=clock.time) as server,
        server.client(retries=StandardRetries(), clock=clock) as sts,
    ):
        server.faults.add(Throttle(times=2))
        await sts.get_caller_identity()

    assert 0 < clock.monotonic() <= 3
    assert clock.time() == pytest.approx(1_767_225_600.0 + clock.monotonic(), abs=1e-3)


async def test_both_sides_follow_a_wall_clock_that_is_set() -> None:
    clock = VirtualClock()
    async with LocalSTS(clock=clock.time) as server, server.client(clock=clock) as sts:
        clock.set(clock.time() + 30 * 86_400)
        await sts.get_caller_identity()
        clock.set(clock.time() - 365 * 86_400)
        await sts.get_caller_identity()


async def test_a_final_error_is_asked_for_again_when_its_time_has_come() -> None:
    """G10: what a program does about a refusal can be tried, too."""
    clock = VirtualClock()
    async with (
        LocalSTS(clock=clock.time) as server,
        server.client(credentials=AssumeRoleProvider(role_arn=ROLE, source=server.credentials), clock=clock) as sts,
    ):
        server.faults.add(Refuse("AccessDenied"))
        with pytest.raises(errors.ServiceError, match="AccessDenied"):
            await sts.get_credentials()
        with pytest.raises(errors.ServiceError, match="AccessDenied"):
            await sts.get_credentials()
        clock.advance(60)
        await sts.get_credentials()

    assert [served.operation for served in server.requests] == ["AssumeRole"] * 2


async def test_tasks_that_sleep_together_sleep_the_longest_time() -> None:
    clock = VirtualClock(0.0)

    await asyncio.gather(clock.sleep(5), clock.sleep(1), clock.sleep(3))

    assert (clock.time(), clock.monotonic()) == (5.0, 5.0)


def test_time_does_not_run_back() -> None:
    with pytest.raises(ValueError, match=r"set\(\.\.\.\) moves the wall clock back"):
        VirtualClock().advance(-1)
    assert repr(VirtualClock(7.0)) == "VirtualClock(7.0)"
