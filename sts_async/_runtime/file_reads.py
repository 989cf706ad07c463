"""
Read files with a time limit, also on a file system that hangs, such as a network file system without its server.

A blocked system call cannot be cancelled from outside, so a read that hangs occupies its thread. If every caller
started a new read, a single dead directory would soon occupy all threads. So at most one read runs in a directory at a
time. Later reads of the same directory are queued, and fail at once while the running one hangs. A few directories that
hang therefore leave threads for all others.
"""

import asyncio
import errno
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from . import forks
from .defaults import FILE_SECONDS
from .threads import FILES, Job, Workers

T = TypeVar("T")


class FileTimeout(OSError):
    """A file was not read in time. Its file system hangs, or reads that hang occupy all threads."""


class _ReadQueue:
    """
    The reads in one directory: at most one runs, the others wait.

    Attributes:
        waiting: The reads that have not started, first in, first out.
        started_at: Start of the running read, in seconds of the monotonic clock; None before the first.
    """

    __slots__ = ("started_at", "waiting")

    def __init__(self) -> None:
        self.waiting: OrderedDict[Job[Any], None] = OrderedDict()
        self.started_at: float | None = None


class FileReads:
    """
    Read files in the threads of *workers*, at most one at a time in each directory.

    Args:
        workers: The threads that read.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.reset_after_fork()
        forks.register_after_fork(self, "reset_after_fork")

    def reset_after_fork(self) -> None:
        """Forget all reads. A forked process has none of the threads that run them."""
        self._lock = threading.Lock()
        self._queues: dict[Path, _ReadQueue] = {}

    async def run(self, path: str | os.PathLike[str], work: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """
        Call *work* in a thread to read the file at *path*, and return its result.

        The limit is 5 s, including the wait for other reads in the same directory. A read that has started cannot be
        cancelled. Its thread continues after the limit, and no other read starts in this directory until it ends.

        Args:
            path: The file. Its directory decides which reads wait for each other.
            work: A blocking function.
            arguments: Positional arguments of *work*.
            keywords: Keyword arguments of *work*.

        Raises:
            FileTimeout: The read took longer, or a read that still runs in this directory has taken longer.
            NoThread: The system cannot start a thread.
            Exception: *work* raised it.
        """
        directory = Path(path).parent
        job: Job[T] = Job(partial(work, *arguments, **keywords))
        queue = self._enqueue(directory, job)
        if queue is None:
            raise _timeout(path)
        limit = asyncio.timeout(FILE_SECONDS)
        try:
            async with limit:
                return await job.result()
        except TimeoutError:
            if not limit.expired():
                # The system raised it: an OSError with ETIMEDOUT is a TimeoutError.
                raise
        finally:
            with self._lock:
                queue.waiting.pop(job, None)
        raise _timeout(path)

    def _enqueue(self, directory: Path, job: Job[Any]) -> _ReadQueue | None:
        """Put a read into the queue of its directory, and return the queue; None if the running read hangs."""
        with self._lock:
            queue = self._queues.get(directory)
            if queue is None:
                queue = _ReadQueue()
                self._workers.submit(partial(self._read_all, directory, queue))
                self._queues[directory] = queue
            elif queue.started_at is not None and time.monotonic() - queue.started_at >= FILE_SECONDS:
                return None
            queue.waiting[job] = None
            return queue

    def _read_all(self, directory: Path, queue: _ReadQueue) -> None:
        """Run the reads of a queue in the calling thread until the queue is empty."""
        while True:
            with self._lock:
                if not queue.waiting:
                    if self._queues.get(directory) is queue:
                        del self._queues[directory]
                    return
                job, _ = queue.waiting.popitem(last=False)
                queue.started_at = time.monotonic()
            job.run()


def _timeout(path: str | os.PathLike[str]) -> FileTimeout:
    return FileTimeout(errno.ETIMEDOUT, f"did not answer within {FILE_SECONDS:g} s", os.fspath(path))


FILE_READS = FileReads(FILES)
"""The file reads of this process."""
