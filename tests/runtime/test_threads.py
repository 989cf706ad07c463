"""G16: blocking work runs in a limited number of threads, first in, first out, for all event loops of the process."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest
from patience import PATIENCE, until

from sts_async._runtime.threads import NoThread, Workers


class Gate:
    """Work that waits until `open` is set. It records which jobs have started and how many ran at once."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun: list[int] = []
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()

    def work(self, number: int) -> Callable[[], int]:
        def wait() -> int:
            with self._lock:
                self.begun.append(number)
                self._running += 1
                self.most = max(self.most, self._running)
            assert self.open.wait(PATIENCE)
            with self._lock:
                self._running -= 1
            return number

        return wait


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


async def test_three_hundred_jobs_run_in_sixteen_threads(gate: Gate) -> None:
    workers = Workers(threads=16, name="test")
    jobs = [workers.submit(gate.work(number)) for number in range(300)]
    await until(lambda: len(gate.begun) == 16)

    assert workers.running == 16
    assert sum(thread.name == "test" for thread in threading.enumerate()) == 16
    gate.open.set()
    assert await asyncio.gather(*(job.result() for job in jobs)) == [*range(300)]
    await until(lambda: workers.running == 0)
    assert gate.most == 16


async def test_jobs_run_in_the_order_of_submission(gate: Gate) -> None:
    workers = Workers(threads=1, name="test")
    jobs = [workers.submit(gate.work(number)) for number in range(20)]
    gate.open.set()
    await asyncio.gather(*(job.result() for job in jobs))

    assert gate.begun == [*range(20)]


async def test_a_withdrawn_job_never_starts(gate: Gate) -> None:
    workers = Workers(threads=1, name="test")
    first, second, third = (workers.submit(gate.work(number)) for number in range(3))
    await until(lambda: first.started)

    assert [workers.withdraw(job) for job in (first, second, second)] == [False, True, False]
    gate.open.set()
    assert (await first.result(), await third.result()) == (0, 2)
    assert gate.begun == [0, 2]


async def test_two_event_loops_share_the_bound(gate: Gate) -> None:
    """A program can have several event loops, but the system limits the threads of the whole process."""
    workers = Workers(threads=2, name="test")

    async def several(first: int) -> list[int]:
        return await asyncio.gather(*(workers.submit(gate.work(first + number)).result() for number in range(5)))

    other = asyncio.create_task(asyncio.to_thread(asyncio.run, several(5)))
    here = asyncio.create_task(several(0))
    await until(lambda: len(gate.begun) == 2 and len(workers._waiting) == 8)
    gate.open.set()

    assert (await here, await other) == ([*range(5)], [*range(5, 10)])
    assert gate.most == 2


def test_jobs_of_a_closed_loop_free_their_thread_for_others() -> None:
    gate, workers = Gate(), Workers(threads=1, name="test")

    async def give_up() -> None:
        workers.submit(gate.work(0))
        workers.submit(gate.work(1))
        await until(lambda: len(gate.begun) == 1)

    async def go_on() -> int:
        job = workers.submit(gate.work(2))
        gate.open.set()
        return await job.result()

    asyncio.run(give_up())
    assert asyncio.run(go_on()) == 2


async def test_when_no_thread_can_be_started_work_waits_for_a_running_one(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's limit may be lower than ours. If no thread runs, there is an error."""
    workers = Workers(threads=4, name="test")
    first = workers.submit(gate.work(0))

    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    second = workers.submit(gate.work(1))
    gate.open.set()

    assert [await first.result(), await second.result()] == [0, 1]
    await until(lambda: workers.running == 0)
    with pytest.raises(NoThread):
        workers.submit(gate.work(2))


async def test_an_error_of_the_work_is_raised_in_the_waiter() -> None:
    workers = Workers(threads=1, name="test")
    job = workers.submit(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        await job.result()
