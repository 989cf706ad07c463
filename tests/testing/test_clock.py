"""The clock that a test moves, as a program uses it: a client and its servers, through an outage of six hours."""

import asyncio
import inspect
import textwrap
import time
from typing import Any

import pytest
from support import ROLE

import sts_async.testing
from sts_async import AssumeRoleProvider, ConfigurationError, StandardRetries, STSClient, errors
from sts_async.testing import LocalSTS, Refuse, Served, Throttle, Unavailable, VirtualClock


async def test_six_hours_of_an_outage_take_no_time() -> None:
    """G10: with public names alone. The keys of the role are served through it, and renewed after it."""
    clock = VirtualClock()
    async with (
        LocalSTS(clock=clock) as server,
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
        LocalSTS(clock=clock) as server,
        server.client(retries=StandardRetries(), clock=clock) as sts,
    ):
        server.faults.add(Throttle(times=2))
        await sts.get_caller_identity()

    assert 0 < clock.monotonic() <= 3
    assert clock.time() == pytest.approx(1_767_225_600.0 + clock.monotonic(), abs=1e-3)


async def test_both_sides_follow_a_wall_clock_that_is_set() -> None:
    clock = VirtualClock()
    async with LocalSTS(clock=clock) as server, server.client(clock=clock) as sts:
        clock.set(clock.time() + 30 * 86_400)
        await sts.get_caller_identity()
        clock.set(clock.time() - 365 * 86_400)
        await sts.get_caller_identity()


async def test_a_final_error_is_asked_for_again_when_its_time_has_come() -> None:
    """G10: what a program does about a refusal can be tried, too."""
    clock = VirtualClock()
    async with (
        LocalSTS(clock=clock) as server,
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


async def test_the_example_of_the_clock_runs() -> None:
    """The docstring promises that credentials survive six hours of an outage and are renewed afterwards."""
    text = inspect.getdoc(VirtualClock) or ""
    example = text.partition("\n\n")[2].partition("\n\n`sleep`")[0]
    names: dict[str, Any] = {**vars(sts_async.testing), "AssumeRoleProvider": AssumeRoleProvider}
    names |= {"LocalSTS": LocalSTS, "Unavailable": Unavailable, "VirtualClock": VirtualClock}

    exec(f"async def example():\n{textwrap.indent(textwrap.dedent(example), '    ')}", names)
    await names["example"]()

    assert "times=None" in example
    assert "assert await sts.get_credentials() != before" in example


@pytest.mark.parametrize("name", ["LocalSTS", "LocalIMDS", "LocalContainer", "LocalSSO", "LocalSignIn"])
def test_every_server_takes_a_clock_or_a_function_and_nothing_else(name: str) -> None:
    kind: Any = getattr(sts_async.testing, name)
    clock = VirtualClock(7.0)
    for given in (clock, clock.time, lambda: 7.0):
        server = kind(clock=given)
        assert server._clock() == 7.0
    kind(clock=time)
    for wrong in (7.0, None, VirtualClock, "now"):
        with pytest.raises(ValueError, match=r"clock must be an object with a method `time`, such as VirtualClock\(\)"):
            kind(clock=wrong)


@pytest.mark.parametrize("wrong", [VirtualClock, time, time.time, 7.0], ids=repr)
def test_a_client_refuses_a_clock_that_it_cannot_sleep_on(wrong: Any) -> None:
    """The time module has no `sleep` that is a coroutine: it would block the event loop."""
    with pytest.raises(ConfigurationError, match=r"clock must be an object with time, monotonic and sleep"):
        STSClient(region="eu-west-1", clock=wrong)


async def test_a_fault_can_aim_at_one_operation_until_it_is_cleared() -> None:
    clock = VirtualClock()
    async with (
        LocalSTS(clock=clock) as server,
        server.client(credentials=AssumeRoleProvider(role_arn=ROLE, source=server.credentials), clock=clock) as sts,
    ):
        await sts.get_caller_identity()
        server.faults.add(Unavailable(operation="AssumeRole", times=None))
        await sts.get_caller_identity()
        for _ in range(3):
            with pytest.raises(errors.ServiceError, match="ServiceUnavailable"):
                await sts.assume_role(role_arn=ROLE, role_session_name="me")
        assert len(server.faults) == 1
        server.faults.clear()
        await sts.assume_role(role_arn=ROLE, role_session_name="me")

    assert {one.code for one in server.requests if one.operation == "GetCallerIdentity"} == {None}


def test_a_fault_refuses_an_operation_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match=r"operation must be one of AssumeRole, .*, not 'AssumeRol'"):
        Unavailable(operation="AssumeRol")


async def test_a_record_prints_all_of_its_text() -> None:
    async with LocalSTS(region="eu-west-1") as server, server.client() as sts:
        await sts.get_caller_identity()
    served = server.requests[0]

    assert isinstance(served, Served)
    assert "region='eu-west-1'" in repr(served)
    assert "***" not in repr(served)
