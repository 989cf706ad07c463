"""
How many requests may be under way, and for how long each: what `asyncio.Semaphore` and `asyncio.timeout` do.

Both are on the way of every call, where those two cost four coroutines and a timer of its own for each. Each of these
belongs to one event loop.
"""

import asyncio
import contextlib
from collections import deque
from types import TracebackType

CONNECT_TIMEOUT = 3.1  # s. Source: "Smart configuration defaults", AWS SDKs Reference Guide, standard mode
READ_TIMEOUT = 10.0  # s
CLOSE_GRACE = 5.0  # s that closing may take
TASKS_GRACE = 4.5  # s of those, for tasks: the rest is for connections
DEADLINE = 30.0  # s for a whole call
MAX_CONNECTIONS = 50  # as the 2015 Java client
MAX_RESPONSE_BYTES = 1 << 20
LENGTHS_KEPT = 32  # of deadlines that nobody is running under


class Gate:
    """
    Let callers through in the order in which they came, no more than *places* at a time.

        if not gate.take():
            await gate.wait()
        try:
            ...
        finally:
            gate.give_up()
    """

    __slots__ = ("_free", "_places", "_waiting")

    def __init__(self, places: int) -> None:
        self._free = self._places = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def idle(self) -> bool:
        """Whether all places are free."""
        return self._free == self._places

    def take(self) -> bool:
        """Take a place if one is free, which none is while somebody waits."""
        if self._free:
            self._free -= 1
            return True
        return False

    async def wait(self) -> None:
        """Wait for a place that somebody gives up."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give_up()  # the place was ours already
            raise

    def give_up(self) -> None:
        """Pass the place on to whoever has waited longest, or leave it free."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Deadlines:
    """
    Give blocks of code the same number of seconds each, with one timer for all of them.

        with deadlines.start():
            ...  # raises TimeoutError when the seconds are over

    Blocks are due in the order in which they began, so the timer is only ever set for the oldest.
    """

    __slots__ = ("_running", "_timer", "loop", "seconds")

    def __init__(self, seconds: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.seconds = seconds
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether a block is under way."""
        return bool(self._running)

    def start(self) -> "Deadline":
        """Return a context manager for a block that begins now, in the current task."""
        return Deadline(self)

    def add(self, deadline: "Deadline") -> None:
        self._running[deadline] = None
        if self._timer is None:
            self._timer = self.loop.call_at(deadline.when, self._sweep)

    def remove(self, deadline: "Deadline") -> None:
        self._running.pop(deadline, None)

    def close(self) -> None:
        """End all blocks now, as if their time were over, but for those that the caller itself is in."""
        if self._timer is not None:
            self._timer.cancel()
        running, self._running = self._running, {}
        for deadline in running:
            if deadline.task is not asyncio.current_task():
                deadline.expire()

    def _sweep(self) -> None:
        self._timer = None
        now = self.loop.time()
        for deadline in list(self._running):
            if deadline.when > now:
                self._timer = self.loop.call_at(deadline.when, self._sweep)
                return
            self.remove(deadline)
            deadline.expire()


class TimeLimits:
    """Deadlines of any length, in any event loop; those of one length in one loop share a timer."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[asyncio.AbstractEventLoop, float], Deadlines] = {}

    def start(self, seconds: float) -> "Deadline":
        """Return a context manager for a block that begins now, in the current task."""
        return (self._known.get((asyncio.get_running_loop(), seconds)) or self._new(seconds)).start()

    def _new(self, seconds: float) -> Deadlines:
        if len(self._known) >= LENGTHS_KEPT:
            self._known = {key: known for key, known in self._known.items() if known.running and not key[0].is_closed()}
        made = self._known[asyncio.get_running_loop(), seconds] = Deadlines(seconds)
        return made

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """End all blocks of an event loop, from within it."""
        for key in [key for key in list(self._known) if key[0] is loop]:
            self._known.pop(key).close()

    def close_all(self) -> None:
        """End all blocks, those of other event loops at their next turn."""
        here = asyncio.get_running_loop()
        for loop in {loop for loop, _ in list(self._known)}:
            if loop is here:
                self.close(loop)
            else:
                with contextlib.suppress(RuntimeError):  # that loop is closed
                    loop.call_soon_threadsafe(self.close, loop)


class Deadline:
    """
    The time that one block has; tells its own cancellation from others as `asyncio.Timeout` does.

    Attributes:
        when: When it is over, by the clock of the event loop.
        expired: Whether it is.
        task: What runs it.
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

    def __enter__(self) -> None:
        self._owner.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._owner.remove(self)
        if self.expired and self.task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
