"""
Something is done to a coroutine at its n-th suspension, for n = 1, 2, 3 ... until it ends before there is an n-th.

A suspension is each time that it gives control back to the event loop. The tests count them with a coroutine that does
nothing but pass on what the one inside yields, so no point is chosen by hand, and none is missed when code changes.
"""

import asyncio
import contextlib
import enum
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, NamedTuple, TypeVar

from patience import LOOK, soon

from sts_async import STSClient

T = TypeVar("T")

WHY = "the test says so"  # the message of each cancellation
MAX_STEPS = 200  # far more than any call has: what goes on for ever is noticed
SETTLE = 5.0  # s of the loop's clock; only a test that fails waits for so long


class Moment(enum.Enum):
    """When something is done, seen from the suspension."""

    AT_ONCE = "while it begins to wait"
    NEXT_TURN = "while it waits"
    WITH_RESULT = "when what it waits for has come, and it has not seen it yet"


class Stepped(Generic[T]):
    """
    A coroutine that runs as it would by itself, but for what *do* does to it at suspension number *at*.

    Attributes:
        suspensions: How many there were.
        reached: Whether *do* was called.
    """

    def __init__(self, work: Coroutine[Any, Any, T], *, at: int, moment: Moment, do: Callable[[], object]) -> None:
        self._work = work
        self._at = at
        self._moment = moment
        self._do = do
        self.suspensions = 0
        self.reached = False

    def __await__(self) -> Generator[Any, Any, T]:
        error: BaseException | None = None
        while True:
            try:
                waits_for = self._work.send(None) if error is None else self._work.throw(error)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.suspensions += 1
            if self.suspensions == self._at:
                self._arm(waits_for)
            error = None
            try:
                yield waits_for
            except GeneratorExit:
                self._work.close()
                raise
            except BaseException as raised:  # noqa: BLE001 - passed on
                error = raised

    def _arm(self, waits_for: "asyncio.Future[Any] | None") -> None:
        if self._moment is Moment.AT_ONCE:
            self._act()
        elif self._moment is Moment.WITH_RESULT and waits_for is not None:
            # Before the task adds its own: called in the same turn as what wakes the task, and before it.
            waits_for.add_done_callback(self._act)
        else:
            asyncio.get_running_loop().call_soon(self._act)

    def _act(self, _: object = None) -> None:
        self.reached = True
        self._do()


class Cancelled(Generic[T]):
    """
    A call in a task of its own that is cancelled at suspension number *at*; it must end as a cancelled call ends.

    Attributes:
        task: The task.
        reached: Whether it was cancelled, which it is not when it ends before.
    """

    def __init__(self, call: Callable[[], Coroutine[Any, Any, T]], *, at: int, moment: Moment) -> None:
        self._stepped = Stepped(call(), at=at, moment=moment, do=lambda: self.task.cancel(WHY))
        self._cancelling: int | None = None
        self._error: BaseException | None = None
        self.task = asyncio.create_task(self._run())

    @property
    def reached(self) -> bool:
        return self._stepped.reached

    async def _run(self) -> T:
        try:
            return await self._stepped
        except BaseException as error:
            task = asyncio.current_task()
            self._cancelling, self._error = None if task is None else task.cancelling(), error
            raise

    async def ended(self) -> None:
        """Wait for the end, and compare it with what the caller of any coroutine expects (F58)."""
        await soon(asyncio.wait([self.task]))
        if not self.reached:
            self.task.result()
            return
        assert self.task.cancelled(), f"a cancelled call ended otherwise: {self.task!r}"
        assert isinstance(self._error, asyncio.CancelledError)
        assert self._error.args == (WHY,), "the CancelledError is not the one that was thrown in"
        assert self._cancelling == 1, "somebody else cancelled, or took a cancellation back"


class Sweep(NamedTuple):
    """
    What came of doing something at every step.

    Attributes:
        hit: How many points were hit.
        left: What was left behind, a line for each, with the point.
    """

    hit: int
    left: list[str]


Run = Callable[[int, Moment], Awaitable[tuple[bool, list[str]]]]


async def at_every_step(run: Run) -> Sweep:
    """
    Have *run* done for suspension 1, 2, 3 ... and each moment.

    Args:
        run: Returns whether there was such a suspension, and what was left behind.
    """
    hit, left = 0, list[str]()
    for moment in Moment:
        for at in itertools.count(1):
            reached, lines = await run(at, moment)
            left += [f"suspension {at}, {moment.value}: {line}" for line in lines]
            if not reached:
                break
            hit += 1
            assert at < MAX_STEPS, "no end in sight"
    return Sweep(hit, left)


async def left_by(sts: STSClient) -> list[str]:
    """Return what is still held of a client after what ends by itself has had time to end; see `held_by`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE):
            while held_by(sts):
                await asyncio.sleep(LOOK)
    return held_by(sts)


def sessions_of(sts: STSClient) -> list[Any]:
    """Return the aiohttp sessions of a client's own, in whichever event loops."""
    return [] if sts._life.transport is None else [part.session for part in sts._life.transport._parts.values()]


def held_by(sts: STSClient) -> list[str]:
    """
    Return what calls hold of a client, a line for each; nothing when none is under way.

    Places at the gate, turns at the limiter, blocks under a deadline, connections, tasks.
    """
    held = [f"task {task.get_coro()!r}" for task in sts._life._tasks._running]
    if sts._life.engine is not None:
        shared = sts._life.engine._shared
        held += [f"line at the limiter, idle: {gate.idle}" for gate in shared.queues.values()]
        held += [f"call under a deadline of {seconds} s" for seconds in shared.time_limits.running()]
    for part in sts._life.transport._parts.values() if sts._life.transport is not None else ():
        if not part.slots.idle:
            held.append(f"{part.slots._places - part.slots._free} of {part.slots._places} places of connections")
        if part.slots._free > part.slots._places:
            held.append("the gate has more places than it was made with")
        held += ["attempt under a deadline"] * part.deadlines.running
        held += ["connection that is in use"] * len(part.session.connector._acquired if part.session.connector else ())
    return held
