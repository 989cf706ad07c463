"""One task does the work and many callers wait: cancelled, failing, in several loops, and after a client was closed."""

import asyncio
import threading
from typing import Any

import pytest
from patience import PATIENCE, turns

from sts_async._runtime.outcome import copy_without_traceback
from sts_async._runtime.single_flight import BackgroundTasks, SingleFlight
from sts_async.errors import ClientClosedError, ConnectError, ServiceError


class Work:
    """Work that waits until `may_end` is set, and counts how often it was started."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> str:
        self.begun += 1
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return "done"


async def waiting(
    count: int, flights: SingleFlight[str], tasks: BackgroundTasks, work: Work
) -> list[asyncio.Task[str]]:
    started = [asyncio.create_task(flights.get(tasks, work)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return started


async def test_ten_thousand_callers_share_one_flight() -> None:
    """F45."""
    flights, tasks, work = SingleFlight[str](), BackgroundTasks(), Work()
    callers = await waiting(10_000, flights, tasks, work)
    work.may_end.set()

    assert set(await asyncio.gather(*callers)) == {"done"}
    assert work.begun == 1


async def test_each_of_ten_thousand_callers_gets_its_own_copy_of_the_error() -> None:
    """F45: a shared exception would have a traceback that grows with each raise."""
    flights, tasks, work = SingleFlight[str](), BackgroundTasks(), Work()
    work.error = ServiceError("no", code="AccessDenied", status=403, request_id="r-1")
    callers = await waiting(10_000, flights, tasks, work)
    work.may_end.set()
    errors: Any = await asyncio.gather(*callers, return_exceptions=True)

    assert work.begun == 1
    assert {(type(error), str(error), error.request_id) for error in errors} == {(ServiceError, str(work.error), "r-1")}
    assert len({id(error) for error in errors}) == 10_000


@pytest.mark.parametrize("cancelled", [{0}, {1, 2}, {0, 1, 2, 3, 4, 5, 6, 7, 8}, {9}])
async def test_cancelled_callers_do_not_cancel_the_work_of_others(cancelled: set[int]) -> None:
    """F42: this includes the first caller, which started the work."""
    flights, tasks, work = SingleFlight[str](), BackgroundTasks(), Work()
    callers = await waiting(10, flights, tasks, work)
    for number in cancelled:
        callers[number].cancel()
    await asyncio.sleep(0)
    work.may_end.set()
    results = await asyncio.gather(*callers, return_exceptions=True)

    assert [isinstance(result, asyncio.CancelledError) for result in results] == [n in cancelled for n in range(10)]
    assert work.begun == 1


async def test_the_work_continues_when_all_callers_are_cancelled_and_later_callers_join_it() -> None:
    """F43, F44."""
    flights, tasks, work = SingleFlight[str](), BackgroundTasks(), Work()
    for caller in await waiting(3, flights, tasks, work):
        caller.cancel()
    await asyncio.sleep(0)
    (late,) = await waiting(1, flights, tasks, work)
    work.may_end.set()

    assert await late == "done"
    assert work.begun == 1


async def test_a_caller_after_the_end_starts_new_work() -> None:
    flights, tasks, work = SingleFlight[str](), BackgroundTasks(), Work()
    work.may_end.set()
    await flights.get(tasks, work)
    await flights.get(tasks, work)

    assert work.begun == 2


async def test_an_error_of_the_program_is_raised_unchanged() -> None:
    flights, tasks, work = SingleFlight[str](), BackgroundTasks(), Work()
    work.error = ZeroDivisionError("theirs")
    work.may_end.set()

    with pytest.raises(ZeroDivisionError, match="theirs"):
        await flights.get(tasks, work)


async def test_closing_cancels_the_work_and_raises_for_waiters() -> None:
    """F55."""
    flights, tasks, work = SingleFlight[str](), BackgroundTasks(), Work()
    callers = await waiting(3, flights, tasks, work)
    await tasks.aclose(grace=1)
    results = await asyncio.gather(*callers, return_exceptions=True)

    assert {type(result) for result in results} == {ClientClosedError}
    with pytest.raises(ClientClosedError):
        await flights.get(tasks, work)


async def test_when_the_client_that_started_the_work_is_closed_another_one_starts_it() -> None:
    """A provider that two clients share fetches again with the one that is left."""
    flights, one, other, work = SingleFlight[str](), BackgroundTasks(), BackgroundTasks(), Work()
    (first,) = await waiting(1, flights, one, work)
    (second,) = await waiting(1, flights, other, work)
    await one.aclose(grace=1)
    await asyncio.sleep(0)
    work.may_end.set()

    with pytest.raises(ClientClosedError):
        await first
    assert await second == "done"
    assert work.begun == 2


class Fatal(BaseException):
    """Neither an Exception nor a cancellation."""


async def test_a_base_exception_is_raised_in_the_waiter() -> None:
    """F57: it must not be lost in a task whose result is never read."""

    async def fail() -> str:
        raise Fatal

    with pytest.raises(Fatal):
        await SingleFlight[str]().get(BackgroundTasks(), fail)


async def test_closing_does_not_wait_for_work_that_ignores_cancellation() -> None:
    """F55: the work swallows its cancellation, and the waiters still get their error."""
    go_on = asyncio.Event()

    async def stubborn() -> str:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                pass
        return "done"

    flights, tasks = SingleFlight[str](), BackgroundTasks()
    waiter = asyncio.create_task(flights.get(tasks, stubborn))
    await turns()
    await tasks.aclose(grace=0.01)

    with pytest.raises(ClientClosedError):
        await waiter
    go_on.set()
    await turns()


def test_each_event_loop_has_its_own_flights() -> None:
    """F53: no caller waits for a task of another loop, and no lock is held across threads."""
    flights, tasks = SingleFlight[int](), BackgroundTasks()
    both = threading.Barrier(2, timeout=PATIENCE)

    async def thread_number() -> int:
        await asyncio.to_thread(both.wait)
        return threading.get_ident()

    seen: dict[int, int] = {}

    def run() -> None:
        async def main() -> None:
            seen[threading.get_ident()] = await flights.get(tasks, thread_number)

        asyncio.run(main())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert len(seen) == 2
    assert all(key == value for key, value in seen.items())


def test_flights_of_a_closed_loop_are_forgotten() -> None:
    flights, tasks, loop = SingleFlight[str](), BackgroundTasks(), asyncio.new_event_loop()

    async def begin() -> None:
        flights.join(tasks, Work())

    loop.run_until_complete(begin())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    async def again_elsewhere() -> str:
        work = Work()
        work.may_end.set()
        return await flights.get(tasks, work)

    assert asyncio.run(again_elsewhere()) == "done"


async def test_closing_reaches_the_tasks_of_other_loops_without_waiting_for_them() -> None:
    tasks, started, ended = BackgroundTasks(), threading.Event(), threading.Event()

    def run() -> None:
        async def main() -> None:
            task = tasks.spawn(asyncio.sleep(60))
            started.set()
            await asyncio.wait([task])
            if task.cancelled():
                ended.set()

        asyncio.run(main())

    thread = threading.Thread(target=run)
    thread.start()
    await asyncio.to_thread(started.wait, 10)
    await tasks.aclose(grace=1)
    await asyncio.to_thread(thread.join, 10)

    assert ended.is_set()


def test_a_copied_error_keeps_its_cause_and_has_no_traceback() -> None:
    error = ConnectError("refused")
    error.attempts = 3
    error.add_note("theirs")
    try:
        raise error from ZeroDivisionError()
    except ConnectError as caught:
        copied = copy_without_traceback(caught)

    assert (str(copied), copied.attempts, type(copied.__cause__)) == ("refused", 3, ZeroDivisionError)
    copied.add_note("mine")
    assert copied.__traceback__ is None
    assert copy_without_traceback(error).__notes__ == ["theirs"]
    assert copied is not error
