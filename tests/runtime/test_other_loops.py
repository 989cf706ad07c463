"""Work in the event loop of another thread: results, errors, cancellation, ends. See `bridges/test_view.py`, too."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from patience import in_a_thread, soon, turns, until

from sts_async._runtime import other_loops
from sts_async._runtime.other_loops import (
    CannotWait,
    LoopBlocked,
    LoopEnded,
    LoopThread,
    WaitedTooLong,
    run_in,
    start_in,
    wait_in,
)

OF_THE_CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("OF_THE_CALLER", default="not set")


@pytest.fixture
def other() -> Iterator[asyncio.AbstractEventLoop]:
    thread = LoopThread("test")
    loop = thread.loop()
    assert thread.loop() is loop
    yield loop
    assert thread._thread is not None
    thread._stop(loop, thread._thread)
    assert loop.is_closed()


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_loops, "LOOK", 0.01)


async def answer() -> tuple[asyncio.AbstractEventLoop, str]:
    return asyncio.get_running_loop(), OF_THE_CALLER.get()


async def fail() -> None:
    raise ValueError("mine")


async def hang() -> None:
    await asyncio.Event().wait()


async def test_work_runs_in_the_other_event_loop_without_the_context_of_the_caller(other: Any) -> None:
    OF_THE_CALLER.set("set")

    assert await soon(run_in(other, answer)) == (other, "not set")
    assert wait_in(other, answer, seconds=60) == (other, "not set")


async def test_errors_come_back(other: Any) -> None:
    with pytest.raises(ValueError, match="mine"):
        await soon(run_in(other, fail))
    with pytest.raises(ValueError, match="mine"):
        wait_in(other, fail, seconds=60)


async def test_an_error_that_nobody_waits_for_is_not_reported(other: Any) -> None:
    """pytest would report it: warnings are errors here."""
    future = start_in(other, fail)
    await until(future.done)

    assert isinstance(future.exception(), ValueError)


@pytest.mark.usefixtures("_looks_often")
async def test_cancelling_the_caller_cancels_the_work(other: Any) -> None:
    ended = threading.Event()

    async def work() -> None:
        try:
            await hang()
        finally:
            ended.set()

    task = asyncio.ensure_future(run_in(other, work))
    await turns()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    # If it was cancelled before it had started, it never ran.
    await until(lambda: ended.is_set() or not asyncio.all_tasks(other))


@pytest.mark.usefixtures("_looks_often")
async def test_a_wait_ends_after_its_time_and_cancels_the_work(other: Any) -> None:
    with pytest.raises(WaitedTooLong):
        wait_in(other, hang, seconds=0.05)
    await until(lambda: not asyncio.all_tasks(other))


async def test_a_thread_does_not_wait_for_its_own_event_loop() -> None:
    with pytest.raises(CannotWait):
        wait_in(asyncio.get_running_loop(), answer, seconds=60)


async def test_work_that_a_thread_waits_for_does_not_wait_for_that_thread(other: Any) -> None:
    """The event loop here is blocked; the work in the other one needs it."""
    here = asyncio.get_running_loop()
    with pytest.raises(CannotWait):
        wait_in(other, lambda: run_in(here, answer), seconds=60)
    assert await soon(run_in(other, lambda: run_in(here, answer))) == (here, "not set")


@pytest.mark.usefixtures("_looks_often")
def test_the_end_of_the_other_event_loop_is_noticed() -> None:
    """Whether it was closed, or is not run any more."""
    loop = asyncio.new_event_loop()
    for wait in (lambda: wait_in(loop, answer, seconds=60), lambda: asyncio.run(run_in(loop, answer))):
        with pytest.raises(LoopEnded):
            in_a_thread(wait)
    loop.close()
    for wait in (lambda: wait_in(loop, answer, seconds=60), lambda: asyncio.run(run_in(loop, answer))):
        with pytest.raises(LoopEnded):
            in_a_thread(wait)


@pytest.mark.usefixtures("_looks_often")
async def test_an_event_loop_that_runs_no_callback_counts_as_blocked(
    other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only if the work has not started: work itself may take long."""
    monkeypatch.setattr(other_loops, "BLOCKED_SECONDS", 0.05)
    release = threading.Event()
    other.call_soon_threadsafe(release.wait)
    with pytest.raises(LoopBlocked):
        wait_in(other, answer, seconds=60)
    release.set()
    with pytest.raises(WaitedTooLong):
        wait_in(other, hang, seconds=0.2)
