"""The clock that a test moves, as a program uses it: a client and its servers, through an outage of six hours."""

import asyncio
import contextvars
import gc
import inspect
import textwrap
import time
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import soon, turns
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
    for source in (clock, clock.time, lambda: 7.0):
        server = kind(clock=source)
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


async def never(seconds: float, callback: Any) -> None:
    """What a clock might have for `call_later`; it is called and not awaited."""


@pytest.mark.parametrize("call_later", ["soon", never], ids=["text", "coroutine"])
def test_a_client_refuses_timers_that_would_never_run(call_later: Any) -> None:
    """A fleet would refresh nothing, and nothing would say so. A clock without timers is accepted."""
    clock: Any = VirtualClock()
    clock.call_later = call_later
    with pytest.raises(ConfigurationError, match="call_later of clock must be a function"):
        STSClient(region="eu-west-1", clock=clock)
    clock.call_later = None
    STSClient(region="eu-west-1", clock=clock)


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


# -- Timers -------------------------------------------------------------------------------------------------------

Step = tuple[str, int]
STEPS = st.lists(st.tuples(st.sampled_from(["start", "cancel", "advance", "sleep"]), st.integers(-1, 20)), max_size=60)


class Expected:
    """The timers as a list that is searched: what the heap of the clock has to agree with."""

    def __init__(self) -> None:
        self.now = 0
        self.timers: dict[int, int] = {}
        self.ran: list[tuple[int, int]] = []

    def reach(self, now: int, *, each: bool) -> None:
        """Run what is due at *now*; *each* at its own time."""
        for due, number in sorted((due, number) for number, due in self.timers.items() if due <= now):
            self.ran.append((number, max(due, self.now) if each else now))
            del self.timers[number]
        self.now = now


@given(STEPS)
def test_timers_run_in_order_and_never_after_they_were_cancelled(steps: list[Step]) -> None:
    """A timer of 0 s or less runs in the next turn, as in an event loop; `sleep` stops at each, `advance` at none."""

    async def run() -> None:
        clock, expected, handles = VirtualClock(), Expected(), list[Any]()
        ran: list[tuple[int, float]] = []
        for what, number in steps:
            if what == "start":
                index = len(handles)
                expected.timers[index] = expected.now + max(number, 0)
                handles.append(clock.call_later(number, lambda index=index: ran.append((index, clock.monotonic()))))
            elif what == "cancel" and 0 <= number < len(handles):
                handles[number].cancel()
                expected.timers.pop(number, None)
            elif what == "advance":
                clock.advance(max(number, 0))
                expected.reach(expected.now + max(number, 0), each=False)
            elif what == "sleep":
                expected.reach(expected.now, each=False)
                await clock.sleep(max(number, 0))
                expected.reach(expected.now + max(number, 0), each=True)
            await asyncio.sleep(0)
            expected.reach(expected.now, each=False)

            assert ran == expected.ran
            assert clock.next_timer == min(expected.timers.values(), default=None)

    asyncio.run(run())


@given(now=st.floats(0, 1e7), seconds=st.floats(1e-3, 1e7))
def test_a_timer_is_reached_by_advancing_to_it_whatever_sums_are_rounded_to(now: float, seconds: float) -> None:
    """A loop that advances to the next timer would otherwise stop one bit before it."""

    async def run() -> None:
        clock, ran = VirtualClock(0.0), list[float]()
        clock.advance(now)
        clock.call_later(seconds, lambda: ran.append(clock.monotonic()))
        due = clock.next_timer
        assert due is not None
        clock.advance(due - clock.monotonic())
        await asyncio.sleep(0)

        assert ran == [due]

    asyncio.run(run())


async def test_a_timer_can_start_the_next_one() -> None:
    """Like the one timer of a fleet: a day of hours, each at its own time."""
    clock, hours = VirtualClock(), list[float]()

    def hourly() -> None:
        hours.append(clock.monotonic() / 3600)
        clock.call_later(3600, hourly)

    clock.call_later(3600, hourly)
    await clock.sleep(24 * 3600)

    assert hours == [*range(1, 25)]
    assert clock.next_timer == 25 * 3600


async def test_a_timer_may_be_cancelled_after_it_is_due_and_before_its_turn() -> None:
    clock, ran = VirtualClock(), list[str]()
    first = clock.call_later(1, lambda: (ran.append("first"), second.cancel()))
    second = clock.call_later(1, lambda: ran.append("second"))
    at_once = clock.call_later(0, lambda: ran.append("at once"))
    at_once.cancel()
    clock.advance(1)
    await turns()
    first.cancel()

    assert ran == ["first"]


async def test_setting_the_wall_clock_reaches_no_timer() -> None:
    """As NTP reaches none in an event loop."""
    clock, ran = VirtualClock(), list[float]()
    clock.call_later(60, lambda: ran.append(clock.monotonic()))
    clock.set(clock.time() + 86_400)
    await turns()
    assert ran == []
    clock.set(0.0)
    clock.advance(60)
    await turns()
    assert ran == [60.0]


async def test_another_thread_can_advance_the_clock() -> None:
    """A test without an event loop of its own does so; the callback runs in the loop that started the timer."""
    clock, reached = VirtualClock(), asyncio.Event()
    clock.call_later(60, reached.set)
    await soon(asyncio.to_thread(clock.advance, 60))
    await soon(reached.wait())

    assert clock.next_timer is None


def test_a_timer_of_a_closed_loop_is_dropped() -> None:
    """The next loop of the same clock is not disturbed by it."""
    clock, ran = VirtualClock(), list[str]()

    async def leave_a_timer() -> None:
        clock.call_later(60, lambda: ran.append("closed"))

    async def go_on() -> None:
        clock.call_later(60, lambda: ran.append("running"))
        await clock.sleep(60)

    asyncio.run(leave_a_timer())
    asyncio.run(go_on())

    assert ran == ["running"]
    assert clock.next_timer is None


async def test_a_callback_runs_in_the_context_that_started_the_timer() -> None:
    """As in an event loop: the span that is current when the clock is advanced is not its parent."""
    clock, variable, seen = VirtualClock(), contextvars.ContextVar("variable", default="none"), list[str]()
    clock.call_later(1, lambda: seen.append(variable.get()))
    variable.set("of the test")
    await clock.sleep(1)

    assert seen == ["none"]


async def test_cancelled_timers_do_not_accumulate() -> None:
    """F61: a fleet moves its timer with each identity; those that are far away keep the others in no memory."""
    clock = VirtualClock()
    far = [clock.call_later(1e9, print) for _ in range(10)]

    class Callback:
        def __call__(self) -> None: ...

    last = None
    for number in range(100_000):
        callback = Callback()
        last = weakref.ref(callback)
        clock.call_later(3600 + number, callback).cancel()
    del callback
    gc.collect()

    assert last is not None
    assert last() is None
    assert len(clock._timers) == 10
    assert len(clock._queue) < 100
    for timer in far:
        timer.cancel()
    assert clock.next_timer is None


def test_a_timer_needs_an_event_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        VirtualClock().call_later(1, print)
