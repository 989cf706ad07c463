"""
Close connections when their event loop ends, without a call from the program.

A program may call `asyncio.run` once for each job and use one client in all of them. The connections of an event loop
must be closed in that loop, but asyncio has no callback for the end of a loop. However, `asyncio.run` and the runners
of pytest plugins close all asynchronous generators before they close the loop, and wait for this. So one generator
waits in each event loop, and its `finally` block closes the connections.

A generator refers to its event loop because of its finalizer. Only members refer to the generator, and it ends with the
last member. So this module keeps no event loop alive, and a loop that is dropped without `close()` frees its
descriptors.
"""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator
from typing import Protocol

# Iterations of the event loop that a connection needs to close: its transport closes, then its socket.
TURNS_TO_CLOSE = 4


class Member(Protocol):
    """An object that belongs to one event loop, and must be closed in it."""

    async def leave(self) -> None:
        """Close the object because the event loop ends. A second call does nothing."""
        ...


class Guard:
    """
    Closes its members when their event loop ends.

    Members must refer to their guard. The guard refers to its members weakly.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._members: weakref.WeakSet[Member] = weakref.WeakSet()
        self._generator = _wait_for_end(loop, self._members)

    async def begin(self) -> None:
        """Start to wait for the end of the event loop. This does not suspend the caller."""
        await anext(self._generator)

    def admit(self, member: Member) -> None:
        """Add a member."""
        self._members.add(member)

    def release(self, member: Member) -> None:
        """
        Remove a closed member. The guard ends with its last member.

        If the event loop does not run, any thread may call this.
        """
        if member not in self._members:
            # The event loop is ending, or the member was removed before.
            return
        self._members.discard(member)
        if not self._members:
            # Without members, the generator awaits nothing, so it ends in one step.
            with contextlib.suppress(StopIteration):
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
            for member in leaving:
                await member.leave()
            for _ in range(TURNS_TO_CLOSE):
                await asyncio.sleep(0)


_GUARDS: weakref.WeakValueDictionary[asyncio.AbstractEventLoop, Guard] = weakref.WeakValueDictionary()
_SHUT_DOWN: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
"""Event loops that have closed their asynchronous generators. asyncio warns about generators that start afterwards."""


async def close_at_loop_end(member: Member) -> Guard | None:
    """
    Close *member* before the running event loop ends. Return the guard; *member* must keep a reference to it.

    Return None if `loop.shutdown_asyncgens()` was called and the loop still runs. asyncio does not announce the end of
    such a loop.
    """
    loop = asyncio.get_running_loop()
    # The attribute is private to asyncio. Without it, the loop only warns about a generator that starts too late.
    if loop in _SHUT_DOWN or getattr(loop, "_asyncgens_shutdown_called", False):
        return None
    guard = _GUARDS.get(loop)
    if guard is None:
        guard = _GUARDS[loop] = Guard(loop)
        await guard.begin()
    guard.admit(member)
    return guard
