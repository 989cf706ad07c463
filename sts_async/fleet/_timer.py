"""One timer of a fleet, on the clock of the client."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

# s: a timer of the event loop does not see that the wall clock was set or that the machine was suspended.
MAX_WAIT = 30.0


class Timer:
    """
    Calls a function at the earliest of the times that it was given, and at least every 30 s.

    Args:
        clock: The clock of the client. Its `call_later` is used if it has one, as a virtual clock does.
        loop: The event loop.
        callback: The function.
    """

    __slots__ = ("_at", "_call_later", "_callback", "_handle", "_monotonic")

    def __init__(self, clock: Any, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._call_later: Callable[[float, Callable[[], None]], Any] = getattr(clock, "call_later", loop.call_later)
        self._monotonic: Callable[[], float] = clock.monotonic
        self._callback = callback
        self._handle: Any = None
        self._at = math.inf

    def start_before(self, at: float) -> None:
        """Call the function at the monotonic time *at*, unless it will be called earlier."""
        now = self._monotonic()
        at = min(at, now + MAX_WAIT)
        if self._handle is not None and self._at <= at:
            return
        self.cancel()
        self._at = at
        self._handle = self._call_later(max(at - now, 0.0), self._fire)

    def cancel(self) -> None:
        """Do not call the function."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._callback()
