"""
A watch over what a test leaves behind: tasks, file descriptors, threads, and what nobody closed or looked at.

It costs a few milliseconds for each test, so that a whole folder can have it.
"""

import asyncio
import gc
import logging
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

OURS = "sts-async"  # what the names of the library's threads begin with
WATCHES = frozenset({"_nothing_is_left", "watched"})  # fixtures that look
SETTLE = 0.5  # s in which servers of a test, and threads, may end
TURN = 0.002  # s between two looks at what is left
TELLING = ("never retrieved", "never awaited", "unclosed", "was destroyed but it is pending")
_DESCRIPTORS = Path("/proc/self/fd")  # Linux only; elsewhere descriptors are not counted


def set_aside() -> None:
    """
    Keep what is alive now out of all later searches for garbage: between two tests, this is modules and caches.

    A search takes a third of a second with all collected tests, and milliseconds without. Nothing is put back, because
    Python can only put back everything.
    """
    gc.collect()
    gc.freeze()


class _Records(logging.Handler):
    """Keeps what asyncio and aiohttp log as errors, and what tells of something that nobody closed or looked at."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        failed = record.levelno >= logging.ERROR and record.name.startswith(("asyncio", "aiohttp"))
        if failed or any(word in text.lower() for word in TELLING):
            self.texts.append(f"logged by {record.name}: {text}")


class Leaks:
    """
    What is left since this was made, in an event loop that runs.

        leaks = Leaks()
        ...
        assert await leaks.found() == []

    The loop is in debug mode meanwhile, and everything its exception handler gets is found, too.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._debug = self._loop.get_debug()
        self._loop.set_debug(True)
        self._loop.set_exception_handler(self._handle)
        self._told: list[str] = []
        self._records = _Records()
        logging.getLogger().addHandler(self._records)
        self._tasks = asyncio.all_tasks()
        self._threads = _threads()
        self._descriptors = _descriptors()

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._told.append(f"told to the event loop: {context.get('message')}: {context.get('exception')!r}")

    async def found(self, *, settle: float = SETTLE) -> list[str]:
        """Return what is left, a line for each, once nothing is or *settle* seconds have passed; and stop watching."""
        loop = self._loop
        ends = loop.time() + settle
        try:
            gc.collect()
            while (left := self._left()) and loop.time() < ends:
                await asyncio.sleep(TURN)
                gc.collect()
        finally:
            logging.getLogger().removeHandler(self._records)
            loop.set_exception_handler(None)
            loop.set_debug(self._debug)
        return [*left, *self._told, *self._records.texts]

    def _left(self) -> list[str]:
        here = asyncio.current_task()
        tasks = [f"task: {task.get_coro()!r}" for task in asyncio.all_tasks() - self._tasks if task is not here]
        threads = [f"thread: {name}" for name in (_threads() - self._threads).elements()]
        descriptors = [f"descriptor: {name}" for name in (_descriptors() - self._descriptors).elements()]
        return [*tasks, *threads, *descriptors]


def _threads() -> Counter[str]:
    """Return the library's own threads; those of the event loop's executor stay for its life."""
    return Counter(thread.name for thread in threading.enumerate() if thread.name.startswith(OURS))


def _descriptors() -> Counter[str]:
    """Return what the open file descriptors are of: ``socket:[4711]``, a path, ``anon_inode:[eventpoll]``."""
    found: Counter[str] = Counter()
    if _DESCRIPTORS.is_dir():
        for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - names alone, and at once
            try:
                found[os.readlink(_DESCRIPTORS / name)] += 1  # noqa: PTH115 - many of them are no paths
            except OSError:  # the one that listed the directory
                continue
    return found
