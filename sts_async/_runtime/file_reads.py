"""
Reading of files in places that may hang, such as a network file system whose server is gone.

No system call can be ended from outside, so a read that hangs keeps its thread. That is why at most one thread reads in
a directory at a time: later reads there wait in line, and fail at once when the one before them hangs. A few
directories that hang leave threads for all others.
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
    """A file was not read in time: its file system hangs, or all threads are taken by others that do."""


class _Line:
    """The reads in one directory: at most one runs, the others wait."""

    __slots__ = ("began", "waiting")

    def __init__(self) -> None:
        self.waiting: OrderedDict[Job[Any], None] = OrderedDict()
        self.began: float | None = None  # when the one that runs began, by the monotonic clock


class FileReads:
    """
    Reads of files, in the threads of *workers*: at most one for each directory.

    Args:
        workers: The threads.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.reset_after_fork()
        forks.register_after_fork(self, "reset_after_fork")

    def reset_after_fork(self) -> None:
        """Forget all reads, as a process that was forked must: it has none of their threads."""
        self._lock = threading.Lock()
        self._lines: dict[Path, _Line] = {}

    async def run(self, path: str | os.PathLike[str], work: Callable[..., T], *arguments: Any, **more: Any) -> T:
        """
        Return what *work* returns, which reads the file at *path*.

        It has 5 s, the wait for reads in the same directory included. Work that has begun is not ended by that: its
        thread goes on, and no other read begins in this directory until it has ended.

        Raises:
            FileTimeout: It took longer, or another read in this directory has already taken longer.
            NoThread: The system starts no more threads.
        """
        directory = Path(path).parent
        job: Job[T] = Job(partial(work, *arguments, **more))
        line = self._join(directory, job)
        if line is None:
            raise _timeout(path)
        limit = asyncio.timeout(FILE_SECONDS)
        try:
            async with limit:
                return await job.result()
        except TimeoutError:
            if not limit.expired():
                raise  # the system's own, ETIMEDOUT
        finally:
            with self._lock:
                line.waiting.pop(job, None)
        raise _timeout(path)

    def _join(self, directory: Path, job: Job[Any]) -> _Line | None:
        """Put a read in line, and return the line; None when the read that runs there hangs."""
        with self._lock:
            line = self._lines.get(directory)
            if line is None:
                line = _Line()
                self._workers.submit(partial(self._read_all, directory, line))
                self._lines[directory] = line
            elif line.began is not None and time.monotonic() - line.began >= FILE_SECONDS:
                return None
            line.waiting[job] = None
            return line

    def _read_all(self, directory: Path, line: _Line) -> None:
        """Do the reads of a line in the thread that calls this, until none is left."""
        while True:
            with self._lock:
                if not line.waiting:
                    if self._lines.get(directory) is line:
                        del self._lines[directory]
                    return
                job, _ = line.waiting.popitem(last=False)
                line.began = time.monotonic()
            job.run()


def _timeout(path: str | os.PathLike[str]) -> FileTimeout:
    return FileTimeout(errno.ETIMEDOUT, f"did not answer within {FILE_SECONDS:g} s", os.fspath(path))


FILE_READS = FileReads(FILES)
"""Those of this process."""
