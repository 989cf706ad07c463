"""
Output of a command that runs for long: lines and pictures, written by a thread of their own.

A terminal that is stopped with Ctrl-S, or a full pipe, blocks its writer. So the event loop only adds to a queue. The
queue is bounded: if the writer is blocked for long, lines are dropped and counted.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import Self

from .._runtime.threads import NoThread, Workers
from . import terminal
from .terminal import PREFIX

MAX_LINES = 10_000  # in the queue; at 200 characters each, 2 MB
END_SECONDS = 1.0  # for the rest of the output at the end

_WRITER = Workers(threads=1, name="sts-async-output")

Write = Callable[[str], None]


class Output:
    r"""
    Standard output and standard error of a command, for use in an event loop.

        async with Output() as output:
            output.say("a line\n")

    Attributes:
        ended: The task that writes. It raises `OutputLost` if standard output cannot be written; it ends in no other
            way before the end of the block.
    """

    ended: "asyncio.Task[None]"

    def __init__(self) -> None:
        self._lines: deque[tuple[Write, str]] = deque()
        self._picture: Callable[[], None] | None = None
        self._dropped = 0
        self._added = asyncio.Event()
        self._written = asyncio.Event()
        self._closing = False

    async def __aenter__(self) -> Self:
        self.ended = asyncio.create_task(self._write_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write the rest. A blocked writer is left behind: its thread does not keep the process alive."""
        self._closing = True
        self._added.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await asyncio.wait([self.ended])
        self.ended.cancel()
        if error is None and self.ended.done() and not self.ended.cancelled():
            self.ended.result()

    async def flush(self) -> None:
        """
        Wait until the queue is empty and everything is written.

        Raises:
            OutputLost: Standard output cannot be written.
        """
        self._written.clear()
        self._added.set()
        written = asyncio.create_task(self._written.wait())
        try:
            await asyncio.wait([written, self.ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            written.cancel()
        if self.ended.done():
            self.ended.result()

    def say(self, text: str) -> None:
        """Queue text for standard output."""
        self._add(terminal.say, text)

    def complain(self, text: str) -> None:
        """Queue text for standard error."""
        self._add(terminal.complain, text)

    def draw(self, picture: Callable[[], None]) -> None:
        """Queue a function that writes to the terminal. It replaces an earlier one that still waits."""
        self._picture = picture
        self._added.set()

    def call(self, work: Callable[[], None]) -> None:
        """Queue a function that writes to the terminal. It is called after the earlier lines, and is never dropped."""
        self._lines.append((lambda _: work(), ""))
        self._added.set()

    def _add(self, write: Write, text: str) -> None:
        if len(self._lines) >= MAX_LINES:
            self._dropped += 1
        else:
            self._lines.append((write, text))
        self._added.set()

    async def _write_all(self) -> None:
        while True:
            await self._added.wait()
            self._added.clear()
            while self._lines or self._picture or self._dropped:
                await _in_thread(self._taken())
            self._written.set()
            if self._closing:
                return

    def _taken(self) -> Callable[[], None]:
        """Return a function that writes all that waits, with one call for consecutive lines of one stream."""
        pieces = [(write, "".join(text for _, text in group)) for write, group in groupby(self._lines, itemgetter(0))]
        self._lines.clear()
        if self._dropped:
            pieces.append((terminal.complain, f"{PREFIX}the output was blocked: {self._dropped:,} lines are missing\n"))
            self._dropped = 0
        picture, self._picture = self._picture, None

        def write_taken() -> None:
            for write, text in pieces:
                write(text)
            if picture is not None:
                picture()

        return write_taken


async def _in_thread(work: Callable[[], None]) -> None:
    """Call *work* in the thread that writes; if the system has no thread, in this one."""
    try:
        job = _WRITER.submit(work)
    except NoThread:
        return work()
    return await job.result()
