"""
What keeps the tests independent of the speed of a machine: a clock that counts waiting alone, and one long time-out.

Tests run in event loops of `PatientLoop`. Its clock stands still while the process computes, or waits for its turn on a
busy CPU. So a server of a test that answers at once is in time for any time-out of the client, however slow the
machine is, and a call that pauses for 0.3 s takes 0.3 s of this clock, no more.

Other processes and threads are not on that clock. A test that waits for one guards itself against a hang with
`PATIENCE`, and never states how long it takes.
"""

import asyncio
import selectors
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

PATIENCE = 120.0  # s; guards against a hang, so that no machine is too slow for it
LOOK = 0.001  # s between two looks at a condition
TURN = 1e-6  # s of the clock for each turn of a loop, so that a loop that never waits reaches its timers as well
FOR_AN_EVENT = 0.01  # s of the clock at most for a wait that an event ends: another thread or process may be late

T = TypeVar("T")


class _CountingSelector(selectors.DefaultSelector):
    """Adds up for how long the loop has waited."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> "list[tuple[selectors.SelectorKey, int]]":
        began = time.perf_counter()
        ready = super().select(timeout)
        took = time.perf_counter() - began
        longest = FOR_AN_EVENT if ready else took
        self.waited += TURN + min(took, longest, took if timeout is None else max(timeout, 0.0))
        return ready


class PatientLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock counts what the loop waits: for timers, for sockets and for other threads."""

    def __init__(self) -> None:
        self._counted = _CountingSelector()
        self._began = time.monotonic()
        super().__init__(self._counted)

    def time(self) -> float:
        return self._began + self._counted.waited


async def soon(work: Awaitable[T]) -> T:
    """Return what *work* returns; a hang is an error."""
    async with asyncio.timeout(PATIENCE):
        return await work


async def until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds; a hang is an error."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(LOOK)


async def other_than(old: T, read: Callable[[], Awaitable[T]]) -> T:
    """Call *read* until it returns something other than *old*, and return that; a hang is an error."""
    async with asyncio.timeout(PATIENCE):
        while (found := await read()) == old:
            await asyncio.sleep(LOOK)
    return found


def wait_until(condition: Callable[[], object]) -> None:
    """Do as `until` where there is no event loop."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError
        time.sleep(LOOK)


def accepts(port: int) -> bool:
    """Whether a server accepts connections at a port of this host."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE):
            return True
    except OSError:
        return False


def in_a_thread(function: Callable[..., T], *args: Any) -> T:
    """Return what a function that may block returns, or raise what it raises; a hang is an error."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(function(*args))
        except BaseException as error:  # noqa: BLE001 - passed on
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(PATIENCE)


async def turns(count: int = 50) -> None:
    """Give everything in this event loop that can go on the time to do so: *count* turns, without waiting."""
    for _ in range(count):
        await asyncio.sleep(0)
