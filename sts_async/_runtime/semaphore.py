"""
A first-in, first-out semaphore, as `asyncio.Semaphore` with a fast path that is not a coroutine.

A released place passes directly to the oldest waiter. It never becomes free while a caller waits, so a new caller
cannot overtake. aiohttp's own queue wakes waiters in another order, and some callers wait many times longer than
others. If a waiter is cancelled after it was given the place, it passes the place on.

It belongs to one event loop.
"""

import asyncio
from collections import deque


class FifoSemaphore:
    """
    Admits callers in the order of their arrival, at most *places* at a time.

        if not semaphore.try_acquire():
            await semaphore.wait()
        try:
            ...
        finally:
            semaphore.release()
    """

    __slots__ = ("_free", "_places", "_waiting")

    def __init__(self, places: int) -> None:
        self._free = self._places = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def idle(self) -> bool:
        """Whether all places are free."""
        return self._free == self._places

    def try_acquire(self) -> bool:
        """Take a place and return True if one is free. While callers wait, none is free."""
        if self._free:
            self._free -= 1
            return True
        return False

    async def wait(self) -> None:
        """Wait for a released place."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.release()  # this caller already had the place
            raise

    def release(self) -> None:
        """Pass the place to the oldest waiter. Without waiters, it becomes free."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
