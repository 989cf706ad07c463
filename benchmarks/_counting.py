"""
Counts of the library's own work: functions entered, files that they are in, and frames between a call and aiohttp.

Counts are the same on every machine. A coroutine counts once, when it begins, and not each time it goes on. The
library's kit for tests does not count: it stands in for the service.
"""

import dis
import functools
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType

import sts_async

ROOM = f"{Path(sts_async.__file__).parent}/"
KIT = f"{ROOM}testing/"
AIOHTTP = "aiohttp/client.py"


class Counts:
    """
    What was entered while this counted.

    Attributes:
        functions: How often each function was entered, by file and name.
        frames: The most frames of the library between the caller of the library and aiohttp.
    """

    def __init__(self) -> None:
        self.functions: Counter[tuple[str, str]] = Counter()
        self.frames = 0
        self._counting = False

    @property
    def calls(self) -> int:
        """How often functions of the library were entered."""
        return self.functions.total()

    @property
    def files(self) -> int:
        """How many files of the library these functions are in."""
        return len({file for file, _ in self.functions})

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count from here to the end of the block, from zero."""
        self.functions.clear()
        self.frames = 0
        self._counting = True
        try:
            yield
        finally:
            self._counting = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread to the end of the block, and every thread that is started in it."""
        threading.setprofile(self._see)
        sys.setprofile(self._see)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _see(self, frame: FrameType, event: str, _: object) -> None:
        if not self._counting or event != "call" or frame.f_lasti > _beginning_of(frame.f_code):
            return
        file = frame.f_code.co_filename
        if file.startswith(ROOM) and not file.startswith(KIT):
            self.functions[file.removeprefix(ROOM), frame.f_code.co_qualname] += 1
        elif file.endswith(AIOHTTP):
            self.frames = max(self.frames, _frames_below(frame))


@functools.cache
def _beginning_of(code: CodeType) -> int:
    """Return the offset at which a function begins; a coroutine that goes on does so behind it."""
    return next((one.offset for one in dis.get_instructions(code) if one.opname == "RESUME"), 0)


def _frames_below(frame: FrameType) -> int:
    """Return how many frames of the library lead to this one without a frame of others between."""
    count = 0
    below = frame.f_back
    while below is not None:
        if below.f_code.co_filename.startswith(ROOM):
            count += 1
        elif count:
            break
        below = below.f_back
    return count
