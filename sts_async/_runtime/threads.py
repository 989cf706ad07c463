"""
Run blocking work in threads of our own: a bounded number for each kind of work, first in, first out.

The default threads of the event loop belong to the program, so work that hangs must not occupy them. Each bound holds
for the whole process, over all its event loops.
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
    """The system cannot start a thread, and no running thread of this kind could take the work later."""


class Job(Generic[T]):
    """
    One piece of work for `Workers`. It is created in the event loop that waits for it.

    Attributes:
        started: Whether a thread has started the work. False while it is queued.
    """

    __slots__ = ("_done", "_loop", "_work", "started")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        forks.isolate_loop_after_fork(self._loop)
        self._done: asyncio.Future[Outcome[T]] = self._loop.create_future()
        self.started = False

    async def result(self) -> T:
        """Wait for the work. Return its result, or raise its error. Cancelling the caller does not stop the work."""
        return (await asyncio.shield(self._done)).unwrap()

    async def ended(self, *, seconds: float) -> None:
        """Wait until the work has ended, for at most *seconds*."""
        await asyncio.wait([self._done], timeout=seconds)

    def run(self) -> None:
        """Do the work in the calling thread, and pass its result or error to the event loop."""
        self.started = True
        outcome = Outcome.capture(self._work)
        # A closed event loop raises RuntimeError, and nothing waits in it any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._set_outcome, outcome)

    def _set_outcome(self, outcome: Outcome[T]) -> None:
        if not self._done.done():
            self._done.set_result(outcome)


class Workers:
    """
    At most *threads* threads for one kind of work. A thread ends when no work is queued.

    The threads are daemons, so work that hangs does not keep the process from ending.

    Args:
        threads: Maximum number of threads, at least 1. Further work is queued, first in, first out.
        name: Name of the threads.

    Attributes:
        running: Number of running threads.
    """

    def __init__(self, *, threads: int, name: str) -> None:
        self._max_threads = threads
        self._name = name
        self.reset_after_fork()
        forks.register_after_fork(self, "reset_after_fork")

    def reset_after_fork(self) -> None:
        """Forget all threads and all queued work. A forked process has none of the threads."""
        self._lock = threading.Lock()
        # Not a dict: finding its first key takes longer with each earlier key that was deleted.
        self._waiting: OrderedDict[Job[Any], None] = OrderedDict()
        self.running = 0

    def submit(self, work: Callable[[], T]) -> Job[T]:
        """
        Start *work* in a thread, or queue it if all threads are busy.

        Raises:
            NoThread: No thread of this kind runs, and the system cannot start one.
        """
        job: Job[T] = Job(work)
        with self._lock:
            if self.running >= self._max_threads:
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
        """Remove a job from the queue. Return False if a thread has already started it."""
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
"""The threads that read files. A file system that hangs occupies none of the program's own threads."""


async def reading(work: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
    """
    Call *work* in a thread that reads files, and return its result. There is no time limit.

    Use `file_reads` for files: it limits the time and the threads of each directory. Do not use this function to write:
    the threads are daemons, so the process may end before the write.

    Raises:
        NoThread: The system cannot start a thread.
        Exception: *work* raised it.
    """
    job = FILES.submit(partial(work, *arguments, **keywords))
    try:
        return await job.result()
    finally:
        FILES.withdraw(job)
