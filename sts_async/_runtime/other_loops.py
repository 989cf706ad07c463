"""
Run a coroutine in the event loop of another thread, and wait for it: in an event loop, or by blocking a thread.

`asyncio.run_coroutine_threadsafe` is not enough. If the other event loop ends first, its future never ends, or it is
cancelled, which its waiter cannot tell from its own cancellation. So the functions here look whether the event loop
still runs while they wait.

A thread that blocks must not wait for its own event loop. `CannotWait` is raised at once if the wait could never end:
directly, or because the work that the thread waits for needs the blocked event loop in turn. Work in a task with a
context of its own is not seen; then the time limit of the wait ends it.
"""

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from . import forks

T = TypeVar("T")

LOOK = 0.5  # s between two looks whether the other event loop still runs
BLOCKED_SECONDS = 30.0  # s for which an event loop may run no callback until it counts as blocked
END_SECONDS = 2.0  # s that the end of a `LoopThread` may take when the process ends

_BLOCKED: contextvars.ContextVar[tuple[asyncio.AbstractEventLoop, ...]] = contextvars.ContextVar("_BLOCKED", default=())
"""The event loops whose threads are blocked until the current piece of work ends."""


class CannotWait(Exception):
    """The wait could never end: the event loop that must do the work is blocked by this wait."""


class LoopEnded(Exception):
    """The event loop that must do the work does not run."""


class LoopBlocked(Exception):
    """The event loop that must do the work runs no callbacks: its thread is blocked."""


class WaitedTooLong(Exception):
    """The work did not end within the time limit of the wait. It was cancelled."""


class Errand(concurrent.futures.Future[T]):
    """
    Work in the event loop of another thread.

    Attributes:
        started: Whether the event loop has started it.
    """

    started = False


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, or None."""
    return asyncio._get_running_loop()


def start_in(
    loop: asyncio.AbstractEventLoop,
    work: Callable[[], Coroutine[Any, Any, T]],
    *,
    blocks: asyncio.AbstractEventLoop | None = None,
) -> Errand[T]:
    """
    Start *work* in the event loop of another thread. Cancelling the future cancels the work.

    The work sees no context variables of the caller.

    Args:
        loop: The event loop.
        work: Returns the coroutine. Called in *loop*.
        blocks: The event loop whose thread is blocked until the work ends; None for none.

    Raises:
        CannotWait: The thread of *loop* is blocked until the caller's own work has ended.
        LoopEnded: *loop* is closed.
    """
    future: Errand[T] = Errand()
    blocked = _BLOCKED.get() if blocks is None else (*_BLOCKED.get(), blocks)
    if loop in blocked:
        raise CannotWait
    context = contextvars.Context()
    context.run(_BLOCKED.set, blocked)

    def start() -> None:
        future.started = True
        if future.cancelled():
            return
        task = loop.create_task(work(), context=context)
        task.add_done_callback(lambda task: _pass_on(task, future))
        future.add_done_callback(lambda done: _cancel(task, loop) if done.cancelled() else None)

    try:
        loop.call_soon_threadsafe(start)
    except RuntimeError:
        raise LoopEnded from None
    return future


def _cancel(task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(RuntimeError):  # the event loop is closed
        loop.call_soon_threadsafe(task.cancel)


def _pass_on(task: asyncio.Task[T], future: concurrent.futures.Future[T]) -> None:
    error = None if task.cancelled() else task.exception()  # reading it marks it as handled
    with contextlib.suppress(concurrent.futures.InvalidStateError):  # cancelled at the same time
        if task.cancelled():
            future.cancel()
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())


class _Watch:
    """
    Decides whether it is useless to wait for an errand any longer. It is asked after each `LOOK`.

    An event loop between two calls of `run_until_complete` has not ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, errand: Errand[Any]) -> None:
        self._loop = loop
        self._errand = errand
        self._looks = 0
        self.waited = 0.0

    def check(self) -> None:
        self.waited += LOOK
        self._looks = 0 if self._loop.is_running() else self._looks + 1
        if self._loop.is_closed() or self._looks > 1:
            raise LoopEnded
        if not self._errand.started and self.waited >= BLOCKED_SECONDS:
            raise LoopBlocked


async def run_in(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """
    Run *work* in the event loop of another thread, and return its result. Cancelling the caller cancels the work.

    Raises:
        CannotWait: The thread of *loop* is blocked until the caller's own work has ended.
        LoopEnded: *loop* has ended.
        LoopBlocked: *loop* has not started the work within `BLOCKED_SECONDS`.
        Exception: *work* raised it.
    """
    future = start_in(loop, work)
    waiter, watch = asyncio.wrap_future(future), _Watch(loop, future)
    try:
        while not waiter.done():
            await asyncio.wait([waiter], timeout=LOOK)
            if not waiter.done():
                watch.check()
    finally:
        future.cancel()
        waiter.cancel()
    if waiter.cancelled():
        raise LoopEnded
    return waiter.result()


def wait_in(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]], *, seconds: float) -> T:
    """
    Run *work* in the event loop of another thread, and block this thread until it ends.

    Args:
        loop: The event loop, which must not be the one of this thread.
        work: Returns the coroutine.
        seconds: The longest wait.

    Raises:
        CannotWait: The wait could never end.
        LoopEnded: *loop* has ended.
        LoopBlocked: *loop* has not started the work within `BLOCKED_SECONDS`.
        WaitedTooLong: The work took longer than *seconds*. It was cancelled.
        Exception: *work* raised it.
    """
    future = start_in(loop, work, blocks=running_loop())
    watch = _Watch(loop, future)
    try:
        while not concurrent.futures.wait([future], timeout=LOOK).done:
            watch.check()
            if watch.waited >= seconds:
                raise WaitedTooLong
    finally:
        future.cancel()
    if future.cancelled():
        raise LoopEnded
    return future.result()


class LoopThread:
    """
    One event loop in a daemon thread, which starts at first use and ends with the process.

    A forked child starts its own. The connections of the event loop are closed when the process ends.

    Args:
        name: Name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._inherited: list[asyncio.AbstractEventLoop] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.reset_after_fork()
        forks.register_after_fork(self, "reset_after_fork")

    def reset_after_fork(self) -> None:
        """Forget the event loop and the thread of the parent process."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        if self._loop is not None:
            self._inherited.append(self._loop)  # kept: to collect it would close it, and warn
        self._loop = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """
        Return the running event loop.

        Raises:
            LoopEnded: The system cannot start a thread, for example because the process ends.
        """
        loop = self._loop
        if loop is None or loop.is_closed():
            with self._lock:
                if self._loop is None or self._loop.is_closed():
                    self._loop = self._start()
                loop = self._loop
        return loop

    def _start(self) -> asyncio.AbstractEventLoop:
        loop, started = asyncio.new_event_loop(), threading.Event()
        thread = threading.Thread(target=_run, args=(loop, started), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            loop.close()
            raise LoopEnded from None
        started.wait()
        forks.isolate_loop_after_fork(loop)
        self._thread = thread
        atexit.register(self._stop, loop, thread)
        return loop

    def _stop(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        if self._thread is thread:  # else this is a forked child
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(loop.stop)
            thread.join(END_SECONDS)


def _run(loop: asyncio.AbstractEventLoop, started: threading.Event) -> None:
    """Run an event loop until it is stopped. Then cancel its tasks, and close its connections."""
    asyncio.set_event_loop(loop)
    loop.call_soon(started.set)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=END_SECONDS / 2))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
