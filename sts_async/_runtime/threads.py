"""
Blocking work in threads of our own: a bounded number of them for each kind of work, in the order of asking.

The event loop's default threads stay free for others. A bound holds for the whole process, whatever its event loops.
"""

import asyncio
import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from . import forks
from .outcome import Outcome

T = TypeVar("T")


class NoThread(Exception):
    """The system starts no more threads, and no thread of this kind runs that could take the work in its turn."""


class Job(Generic[T]):
    """
    One piece of work that was given to `Workers`.

    Attributes:
        begun: Whether a thread has taken it. False while it is queued.
    """

    __slots__ = ("_done", "_loop", "_work", "begun")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        forks.isolate_loop_after_fork(self._loop)
        self._done: asyncio.Future[Outcome[T]] = self._loop.create_future()
        self.begun = False

    async def result(self) -> T:
        """Return what the work returns, or raise what it raises. Cancelling this does not end work that has begun."""
        return (await asyncio.shield(self._done)).unwrap()

    async def ended(self, *, seconds: float) -> None:
        """Wait until the work has ended, for at most *seconds*."""
        await asyncio.wait([self._done], timeout=seconds)

    def run(self) -> None:
        """Do the work in the thread that calls this, and tell the event loop."""
        self.begun = True
        outcome = Outcome.capture(self._work)
        with contextlib.suppress(RuntimeError):  # that loop is closed
            self._loop.call_soon_threadsafe(self._land, outcome)

    def _land(self, outcome: Outcome[T]) -> None:
        if not self._done.done():
            self._done.set_result(outcome)


class Workers:
    """
    At most *threads* threads for one kind of work, which live as long as there is work.

    They are daemons: work that hangs does not keep the process from ending.

    Args:
        threads: How many pieces of work run at once; others are queued, first in, first out.
        name: What the threads are called.

    Attributes:
        running: How many threads there are.
    """

    def __init__(self, *, threads: int, name: str) -> None:
        self._most = threads
        self._name = name
        self.reset_after_fork()
        forks.register_after_fork(self, "reset_after_fork")

    def reset_after_fork(self) -> None:
        """Forget all threads and what is queued, as a process that was forked must: it has none of them."""
        self._lock = threading.Lock()
        # Not a dict: finding its first key takes longer with each key that was deleted before that one.
        self._waiting: OrderedDict[Job[Any], None] = OrderedDict()
        self.running = 0

    def submit(self, work: Callable[[], T]) -> Job[T]:
        """
        Give *work* to a thread, now or in its turn.

        Raises:
            NoThread: No thread runs, and none can be started.
        """
        job: Job[T] = Job(work)
        with self._lock:
            if self.running >= self._most:
                self._waiting[job] = None
                return job
            self.running += 1
        try:
            threading.Thread(target=self._work, args=(job,), name=self._name, daemon=True).start()
        except RuntimeError:
            with self._lock:
                self.running -= 1
                if not self.running:
                    raise NoThread from None
                self._waiting[job] = None
        return job

    def withdraw(self, job: Job[T]) -> bool:
        """Take a piece of work out of the queue; return False when a thread has it already."""
        with self._lock:
            queued = job in self._waiting
            self._waiting.pop(job, None)
            return queued

    def _work(self, job: Job[Any] | None) -> None:
        while job is not None:
            job.run()
            with self._lock:
                if self._waiting:
                    job, _ = self._waiting.popitem(last=False)
                else:
                    job = None
                    self.running -= 1


FILES = Workers(threads=8, name="sts-async-files")
"""Where files are read. A file system that hangs takes none of the program's own threads from it."""


async def reading(work: Callable[..., T], *arguments: Any, **more: Any) -> T:
    """
    Return what *work* returns, which reads. For files there is `file_reads`, which bounds the time and the threads.

    The threads are daemons, so this is not for what must be done before the process ends, such as writing.

    Raises:
        NoThread: The system starts no more threads.
    """
    job = FILES.submit(partial(work, *arguments, **more))
    try:
        return await job.result()
    finally:
        FILES.withdraw(job)
