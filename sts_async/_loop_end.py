"""
What is closed when its event loop ends, without a call from the program.

A program may call `asyncio.run` for each job with one client. The connections of each loop have to be closed in that
loop, and asyncio has no callback for its end. But `asyncio.run`, and what pytest plugins have in its place, close all
asynchronous generators before they close a loop, and wait for that. So one such generator waits in each loop.
"""

import asyncio
import weakref
from collections.abc import AsyncGenerator
from typing import Protocol

# Of the event loop, to close connections: the end of the stream is read, the transport closes, its socket is closed.
TURNS_TO_CLOSE = 4


class Closes(Protocol):
    """What belongs to one event loop, and is closed in it."""

    async def close(self) -> None:
        """Close. Closing again does nothing."""
        ...


class _Guard:
    """The generator of one event loop, and what it closes."""

    def __init__(self) -> None:
        self.closed_at_end: weakref.WeakSet[Closes] = weakref.WeakSet()
        self.generator = self._wait()

    async def _wait(self) -> AsyncGenerator[None, None]:
        loop = asyncio.get_running_loop()
        try:
            yield
        finally:
            _GUARDS.pop(loop, None)
            for one in list(self.closed_at_end):
                await one.close()
            for _ in range(TURNS_TO_CLOSE):
                await asyncio.sleep(0)


_GUARDS: dict[asyncio.AbstractEventLoop, _Guard] = {}


async def close_at_loop_end(one: Closes) -> None:
    """Have *one*, which is referenced weakly, closed when the running event loop is about to end."""
    loop = asyncio.get_running_loop()
    guard = _GUARDS.get(loop)
    if guard is None:
        for ended in [other for other in list(_GUARDS) if other.is_closed()]:  # without closing its generators
            _GUARDS.pop(ended, None)
        guard = _GUARDS[loop] = _Guard()
        await anext(guard.generator)  # without a pause: it waits at its `yield`
    guard.closed_at_end.add(one)
