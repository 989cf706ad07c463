"""
Close connections when their event loop ends, without a call from the program.

A program may call `asyncio.run` for each job with one client. The connections of each loop have to be closed in that
loop, and asyncio has no callback for its end. But `asyncio.run`, and what pytest plugins have in its place, close all
asynchronous generators before they close a loop, and wait for that. So one such generator waits in each loop.

A generator refers to its event loop, for its finalizer. Only members refer to it in turn, and the last one to leave
ends it. So no module keeps an event loop alive, and one that is dropped without `close()` frees its descriptors.
"""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator
from typing import Protocol

# Of the event loop, to close connections: the end of the stream is read, the transport closes, its socket is closed.
TURNS_TO_CLOSE = 4


class Member(Protocol):
    """An object that belongs to one event loop, and is closed in it."""

    async def leave(self) -> None:
        """Close, because the event loop ends. Closing again does nothing."""
        ...


class Guard:
    """
    Closes its members when their event loop ends.

    Members refer to it, and it refers to them weakly.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._members: weakref.WeakSet[Member] = weakref.WeakSet()
        self._generator = _wait_for_end(loop, self._members)

    async def begin(self) -> None:
        """Start to wait for the end, without a pause."""
        await anext(self._generator)

    def admit(self, one: Member) -> None:
        """Make *one* a member."""
        self._members.add(one)

    def release(self, one: Member) -> None:
        """Forget *one*, which is closed, and end with the last one: in any thread, if the event loop does not run."""
        if one not in self._members:
            return  # the loop ends, or it was released before
        self._members.discard(one)
        if not self._members:
            with contextlib.suppress(StopIteration):  # without members it awaits nothing
                self._generator.aclose().send(None)


async def _wait_for_end(
    loop: asyncio.AbstractEventLoop, members: weakref.WeakSet[Member]
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        _GUARDS.pop(loop, None)
        if members:
            _SHUT_DOWN.add(loop)
            leaving = list(members)
            members.clear()
            for one in leaving:
                await one.leave()
            for _ in range(TURNS_TO_CLOSE):
                await asyncio.sleep(0)


_GUARDS: weakref.WeakValueDictionary[asyncio.AbstractEventLoop, Guard] = weakref.WeakValueDictionary()
_SHUT_DOWN: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
"""Event loops whose generators were closed: asyncio warns of each one that begins there afterwards."""


async def close_at_loop_end(one: Member) -> Guard | None:
    """
    Have *one* closed when the running event loop is about to end, and return the guard, which *one* must refer to.

    Return None after `loop.shutdown_asyncgens()` in a loop that goes on: asyncio gives no second sign of its end.
    """
    loop = asyncio.get_running_loop()
    # An event loop without the private attribute only warns of a generator that begins too late.
    if loop in _SHUT_DOWN or getattr(loop, "_asyncgens_shutdown_called", False):
        return None
    guard = _GUARDS.get(loop)
    if guard is None:
        guard = _GUARDS[loop] = Guard(loop)
        await guard.begin()
    guard.admit(one)
    return guard
