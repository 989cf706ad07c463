"""A result or an error as a value. No frame refers to an error after it was raised."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import pytest

from sts_async._runtime.outcome import Outcome
from sts_async._runtime.threads import Workers
from sts_async.errors import ConnectError


class Big:
    """An object in a frame of the work, such as a connection."""


def fail() -> NoReturn:
    held = Big()
    Watched.last = weakref.ref(held)
    raise LookupError("no")


class Watched:
    last: Any = None


async def in_place() -> None:
    outcome: Outcome[int] = Outcome.capture(fail)
    outcome.unwrap()


async def awaited() -> None:
    async def work() -> int:
        return fail()

    outcome = await Outcome.capture_async(work)
    outcome.unwrap()


async def in_a_thread() -> None:
    await Workers(threads=1, name="test").submit(fail).result()


@pytest.mark.parametrize("run", [in_place, awaited, in_a_thread])
async def test_objects_of_the_work_are_released_with_the_error(run: Callable[[], Awaitable[None]]) -> None:
    """
    The garbage collector is off.

    A cycle of error, traceback and frame would keep secrets and connections alive.
    """
    alive = False
    gc.disable()
    try:
        try:
            await run()
        except LookupError:
            alive = Watched.last() is not None
        gone = Watched.last() is None
    finally:
        gc.enable()

    assert alive
    assert gone


def test_an_outcome_is_empty_after_unwrap() -> None:
    result, error = Outcome([1]), Outcome[None](error=LookupError("no"))

    assert result.unwrap() == [1]
    with pytest.raises(LookupError):
        error.unwrap()
    assert (result.unwrap(), error.error, error.unwrap()) == (None, None, None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
async def test_an_error_that_ends_a_task_is_not_captured(error: type[BaseException]) -> None:
    async def work() -> None:
        raise error

    coroutine = Outcome.capture_async(work)
    with pytest.raises(error):
        coroutine.send(None)


async def test_only_the_named_errors_are_captured() -> None:
    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await Outcome.capture_async(work, errors=ValueError)
    with pytest.raises(LookupError):
        Outcome.capture(fail, errors=ValueError)


def test_each_waiter_gets_its_own_copy_of_the_error() -> None:
    """Otherwise one traceback would show the frames of several waiters."""
    outcome: Outcome[None] = Outcome.capture(fail)
    service: Outcome[None] = Outcome(error=ConnectError("refused"))
    raised = []
    for one in (outcome, outcome, service, service):
        with pytest.raises((LookupError, ConnectError)) as caught:
            one.for_another().unwrap()
        raised.append(caught.value)

    assert len({id(error) for error in (*raised, outcome.error, service.error)}) == 6
    assert [str(error) for error in raised] == ["no", "no", "refused", "refused"]
    assert Outcome(3).for_another().unwrap() == 3


class Odd(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__("text")


def test_an_error_that_cannot_be_copied_is_raised_itself() -> None:
    error = Odd(1, 2)
    with pytest.raises(Odd) as caught:
        Outcome[None](error=error).for_another().unwrap()

    assert caught.value is error
