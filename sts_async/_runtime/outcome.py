"""
A result or an error as a value, which a thread or a task passes to its waiters.

An error in a local variable refers to its traceback, and the traceback refers to the frame with that variable. This
cycle keeps all secrets and connections of its frames alive until the garbage collector runs. `Outcome.unwrap` empties
the outcome before it raises the error, so no frame refers to the error afterwards.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

from ..errors import STSError

T = TypeVar("T")
Errors = type[BaseException] | tuple[type[BaseException], ...]


class Outcome(Generic[T]):
    """
    The result of some work, or the error that the work raised.

    Attributes:
        error: The error; None for a result, and after `unwrap`.
    """

    __slots__ = ("_result", "error")

    def __init__(self, result: T | None = None, *, error: BaseException | None = None) -> None:
        self._result = result
        self.error = error

    @classmethod
    def capture(cls, work: Callable[[], T], *, errors: Errors = Exception) -> "Outcome[T]":
        """Call *work*. Return its result, or the error if it is one of *errors*. Other errors are raised."""
        try:
            return cls(work())
        except errors as error:
            return cls(error=error)

    @classmethod
    async def capture_async(cls, work: Callable[[], Awaitable[T]], *, errors: Errors = BaseException) -> "Outcome[T]":
        """
        Await *work*. Return its result, or the error if it is one of *errors*. Other errors are raised.

        CancelledError, KeyboardInterrupt and SystemExit are always raised, because they end the task or the program.
        """
        try:
            return cls(await work())
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except errors as error:
            return cls(error=error)

    def unwrap(self) -> T:
        """Return the result, or raise the error. This works only once, because the outcome is empty afterwards."""
        result, error = self._result, self.error
        self._result = self.error = None
        if error is None:
            return cast("T", result)
        try:
            raise error
        finally:
            del error

    def for_another(self) -> "Outcome[T]":
        """Return an equal outcome for one waiter. Its error is a copy, so that waiters do not share a traceback."""
        return Outcome(self._result, error=None if self.error is None else _for_another(self.error))


def _for_another(error: BaseException) -> BaseException:
    if isinstance(error, STSError):
        return copy_without_traceback(error)
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001 - the constructor of the program's own error may take any arguments
        copied = error
    return (copied if type(copied) is type(error) else error).with_traceback(None)


def copy_without_traceback(error: STSError) -> STSError:
    """Return an equal error without the traceback of an earlier raise."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    if hasattr(error, "__notes__"):
        copied.__notes__ = list(error.__notes__)
    return copied
