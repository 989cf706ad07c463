"""The gate and the deadlines: what they do must be what the standard library's own do."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sts_async._runtime.semaphore import FifoSemaphore
from sts_async._runtime.timeouts import MAX_IDLE_LENGTHS, Deadline, Deadlines, TimeLimits


async def through(gate: FifoSemaphore, number: int, order: list[int], leave: asyncio.Event) -> None:
    if not gate.try_acquire():
        await gate.wait()
    try:
        order.append(number)
        await leave.wait()
    finally:
        gate.release()


async def like_a_semaphore(semaphore: asyncio.Semaphore, number: int, order: list[int], leave: asyncio.Event) -> None:
    async with semaphore:
        order.append(number)
        await leave.wait()


async def play(kind: str, places: int, steps: list[tuple[str, int]]) -> list[list[int]]:
    """
    Start, cancel and release ten callers as *steps* say, and return who has been in after each step.

    Who comes in within one step does so in any order: a place that is handed over and one that is free are taken in the
    same turn of the loop.
    """
    gate, semaphore = FifoSemaphore(places), asyncio.Semaphore(places)
    order: list[int] = []
    leave = [asyncio.Event() for _ in range(10)]
    tasks: dict[int, asyncio.Task[None]] = {}
    seen = []
    for what, number in steps:
        if what == "start" and number not in tasks:
            call = (
                through(gate, number, order, leave[number])
                if kind == "gate"
                else like_a_semaphore(semaphore, number, order, leave[number])
            )
            tasks[number] = asyncio.create_task(call)
        elif what == "cancel" and number in tasks:
            tasks[number].cancel()
        elif what == "leave":
            leave[number].set()
        if what != "leave" or number % 2:  # odd numbers leave the next step in the same turn of the loop
            for _ in range(5):
                await asyncio.sleep(0)
            seen.append(sorted(order))
    for event in leave:
        event.set()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    return [*seen, sorted(order)]


STEPS = st.lists(st.tuples(st.sampled_from(["start", "start", "cancel", "leave"]), st.integers(0, 9)), max_size=40)


@settings(max_examples=300)
@given(places=st.integers(1, 3), steps=STEPS)
def test_the_gate_lets_through_whom_a_semaphore_would(places: int, steps: list[tuple[str, int]]) -> None:
    """After each step, whoever is cancelled and whenever, and never more than there are places."""
    assert asyncio.run(play("gate", places, steps)) == asyncio.run(play("semaphore", places, steps))


async def test_a_place_handed_to_one_who_is_cancelled_goes_to_the_next() -> None:
    """The cancellation comes between the handing over and the waking up."""
    gate, order = FifoSemaphore(1), list[int]()
    assert gate.try_acquire()
    events = [asyncio.Event() for _ in range(2)]
    first, second = (asyncio.create_task(through(gate, number, order, events[number])) for number in range(2))
    await asyncio.sleep(0)

    gate.release()
    first.cancel()
    events[1].set()
    await second

    assert order == [1]
    assert gate.try_acquire()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_block_that_takes_too_long_is_a_timeout() -> None:
    deadlines = Deadlines(0.01)

    with pytest.raises(TimeoutError), deadlines.start():
        await asyncio.Event().wait()

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # no cancellation is left over


async def test_a_cancellation_from_outside_stays_one() -> None:
    """F58: only what the deadline did becomes a TimeoutError."""

    async def block() -> None:
        with Deadlines(60).start():
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_beside_the_deadline_wins() -> None:
    """F58: whoever cancelled the task waits for it to be cancelled."""
    deadlines = Deadlines(60)

    async def block() -> None:
        with deadlines.start() as _:
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    next(iter(deadlines._running)).expire()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_around_the_block_works_as_everywhere() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            with Deadlines(60).start():
                await asyncio.Event().wait()


async def test_an_error_of_the_block_passes() -> None:
    with pytest.raises(LookupError), Deadlines(60).start():
        raise LookupError


async def test_one_timer_serves_all_and_each_block_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer is set for the oldest; when that has gone it is set again for the oldest that is left."""
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(10)
    now = 100.0
    monkeypatch.setattr(loop, "time", lambda: now)
    timers: list[float] = []

    def call_at(when: float, callback: object, *args: object) -> asyncio.Handle:
        timers.append(when)
        return asyncio.Handle(callback, args, loop)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", call_at)
    ended: list[int] = []

    async def block(number: int) -> None:
        try:
            with deadlines.start():
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append(number)

    tasks = []
    for number in range(3):
        tasks.append(asyncio.create_task(block(number)))
        await asyncio.sleep(0)
        now += 1
    assert timers == [110.0]
    now = 111.5
    deadlines._sweep()
    await asyncio.gather(*tasks[:2])

    assert ended == [0, 1]
    assert timers == [110.0, 112.0]
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    now = 113.0
    deadlines._sweep()
    assert timers == [110.0, 112.0]


async def test_a_deadline_needs_a_task_to_cancel() -> None:
    deadlines, failure = Deadlines(1), asyncio.get_running_loop().create_future()

    def callback() -> None:
        try:
            deadlines.start()
        except RuntimeError as error:
            failure.set_result(str(error))

    asyncio.get_running_loop().call_soon(callback)

    assert await failure == "a deadline needs a task to cancel"


def python_calls(function: Callable[[], None]) -> int:
    """Return how many Python functions *function* enters: what it costs, on however slow a machine."""
    entered = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal entered
        entered += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return entered


async def test_deadlines_of_ten_thousand_lengths_cost_each_caller_the_same() -> None:
    """G4: "seconds left" of incoming requests are all different; and nothing is left of them."""
    limits = TimeLimits()

    def blocks(count: int) -> None:
        with contextlib.ExitStack() as stack:
            for number in range(count):
                stack.enter_context(limits.start(30 + number / 1000))

    few, many = python_calls(lambda: blocks(1_000)), python_calls(lambda: blocks(10_000))

    assert many / 10_000 == pytest.approx(few / 1_000, rel=0.05)
    assert limits.running() == []
    (lengths,) = limits._known.values()
    assert len(lengths) <= MAX_IDLE_LENGTHS
    loop: Any = asyncio.get_running_loop()
    assert sum(not timer.cancelled() for timer in loop._scheduled) <= MAX_IDLE_LENGTHS


async def test_ten_thousand_blocks_that_end_one_after_the_other_are_each_looked_at_once() -> None:
    """G4: the timer of one length looks at the oldest block only, however many there are."""

    class Moved:
        """An event loop whose time the test moves."""

        now, due = 0.0, list[Callable[[], None]]()

        def time(self) -> float:
            return self.now

        def call_at(self, when: float, function: Callable[[], None]) -> Any:
            self.due.append(function)
            return self

        def cancel(self) -> None:
            """Nothing: what is due is due."""

    looked_at = 0

    class Counted(Deadline):
        __slots__ = ()

        def __getattribute__(self, name: str) -> Any:
            nonlocal looked_at
            looked_at += name == "when"
            return super().__getattribute__(name)

        def expire(self) -> None:
            """Do not cancel the test."""

    deadlines = Deadlines(1.0)
    loop: Any = Moved()
    deadlines.loop = loop
    for number in range(10_000):
        loop.now = number / 1e6
        Counted(deadlines).__enter__()
    looked_at = 0
    for number in range(10_000):
        loop.now = 1.0 + number / 1e6
        loop.due.pop()()

    assert not deadlines.running
    assert looked_at <= 4 * 10_000


async def test_blocks_of_other_event_loops_end_when_all_are_closed() -> None:
    limits = TimeLimits()
    ended = threading.Event()

    async def block() -> None:
        with pytest.raises(TimeoutError), limits.start(60):
            begun.set()
            await asyncio.Event().wait()
        ended.set()

    begun = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(block()))
    thread.start()
    await asyncio.to_thread(begun.wait)
    limits.close_all()
    await asyncio.to_thread(thread.join)

    assert ended.is_set()
