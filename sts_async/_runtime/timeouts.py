"""
Deadlines for blocks of code, as `asyncio.timeout` gives them.

Each call and each attempt has one, where `asyncio.timeout` costs a timer and several calls. Here all blocks of one
length share one timer. Each object belongs to one event loop.
"""

import asyncio
import contextlib
from collections import OrderedDict
from types import TracebackType

MAX_IDLE_LENGTHS = 32  # lengths of deadlines that are kept without a running block


class Deadlines:
    """
    Deadlines of one length, which share one timer.

        with deadlines.start():
            ...  # raises TimeoutError after *seconds*

    Blocks expire in the order of their start, so the timer is always set for the oldest one. Each step takes constant
    time, however many blocks run.

    Args:
        seconds: Time limit of each block.
        lengths: The objects of a `TimeLimits` by their length. An idle object removes itself if there are many.
    """

    __slots__ = ("_lengths", "_running", "_timer", "loop", "seconds")

    def __init__(self, seconds: float, *, lengths: "dict[float, Deadlines] | None" = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.seconds = seconds
        # Not a dict: finding its first key takes time for each key that was deleted before it.
        self._running: OrderedDict[Deadline, None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._lengths = lengths

    @property
    def running(self) -> bool:
        """Whether a block is running."""
        return bool(self._running)

    def start(self) -> "Deadline":
        """Return a context manager for a block that starts now, in the current task."""
        return Deadline(self)

    def forget(self) -> None:
        """Remove this object from its `TimeLimits` if it is idle and there are many."""
        lengths = self._lengths
        if lengths is not None and not self._running and len(lengths) > MAX_IDLE_LENGTHS:
            self._stop_timer()
            if lengths.get(self.seconds) is self:
                del lengths[self.seconds]

    def close(self) -> None:
        """Expire all blocks now, except those of the current task."""
        self._stop_timer()
        running, self._running = self._running, OrderedDict()
        for deadline in running:
            if deadline.task is not asyncio.current_task():
                deadline.expire()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        now = self.loop.time()
        while self._running:
            deadline = next(iter(self._running))
            if deadline.when > now:
                self._timer = self.loop.call_at(deadline.when, self._sweep)
                return
            del self._running[deadline]
            self.forget()
            deadline.expire()


class TimeLimits:
    """
    Deadlines of any length, in any event loop. Deadlines of one length in one loop share a timer.

    Up to 32 idle lengths are kept for later blocks. Beyond that, a length is removed with its last block.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[asyncio.AbstractEventLoop, dict[float, Deadlines]] = {}

    def start(self, seconds: float | None) -> "Deadline | NoDeadline":
        """Return a context manager for a block that starts now, in the current task. None means no limit."""
        if seconds is None:
            return NO_DEADLINE
        lengths = self._known.get(asyncio.get_running_loop())
        if lengths is None:
            lengths = self._new_loop()
        deadlines = lengths.get(seconds)
        if deadlines is None:
            deadlines = lengths[seconds] = Deadlines(seconds, lengths=lengths)
        return Deadline(deadlines)

    def _new_loop(self) -> dict[float, Deadlines]:
        for ended in [loop for loop in list(self._known) if loop.is_closed()]:
            self._known.pop(ended, None)
        return self._known.setdefault(asyncio.get_running_loop(), {})

    def running(self) -> list[float]:
        """Return the lengths, in seconds, with running blocks."""
        every = [known for lengths in list(self._known.values()) for known in list(lengths.values())]
        return [known.seconds for known in every if known.running]

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Expire all blocks of an event loop. Called in that loop."""
        for deadlines in list(self._known.pop(loop, {}).values()):
            deadlines.close()

    def close_all(self) -> None:
        """Expire all blocks: those of this event loop now, those of others in their next iteration."""
        here = asyncio.get_running_loop()
        for loop in list(self._known):
            if loop is here:
                self.close(loop)
            else:
                with contextlib.suppress(RuntimeError):  # that loop is closed
                    loop.call_soon_threadsafe(self.close, loop)


class Deadline:
    """
    The deadline of one block. It distinguishes its own cancellation from others, as `asyncio.Timeout` does.

    Attributes:
        when: Time of expiry by the clock of the event loop.
        expired: Whether it has expired.
        task: The task that runs the block.
    """

    __slots__ = ("_cancelling", "_owner", "expired", "task", "when")

    def __init__(self, owner: Deadlines) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        self._owner = owner
        self.task = task
        self._cancelling = task.cancelling()
        self.expired = False
        self.when = owner.loop.time() + owner.seconds

    def expire(self) -> None:
        self.expired = True
        self.task.cancel()

    # Every call enters the two methods below twice. So they use private attributes of the owner instead of methods.

    def __enter__(self) -> None:
        owner = self._owner
        owner._running[self] = None
        if owner._timer is None:
            owner._timer = owner.loop.call_at(self.when, owner._sweep)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        owner = self._owner
        owner._running.pop(self, None)
        if owner._lengths is not None and len(owner._lengths) > MAX_IDLE_LENGTHS:
            owner.forget()
        if self.expired and self.task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class NoDeadline:
    """A block without a time limit, in place of a `Deadline`."""

    __slots__ = ()
    expired = False

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


NO_DEADLINE = NoDeadline()
