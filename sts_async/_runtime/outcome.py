"""
A result or an error as a value: what a thread or a task hands to those who wait for it.

An error that stays in a local variable keeps its traceback, and the traceback keeps the frame with that variable. Such
a cycle, with all secrets and connections in its frames, lives until the garbage collector runs. An `Outcome` is empty
once it is unwrapped, so no frame keeps the error that is raised through it.
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
    A result, or the error in place of it.

    Attributes:
        error: The error; None for a result, and after `unwrap`.
    """

    __slots__ = ("_result", "error")

    def __init__(self, result: T | None = None, *, error: BaseException | None = None) -> None:
        self._result = result
        self.error = error

    @classmethod
    def capture(cls, work: Callable[[], T], *, errors: Errors = Exception) -> "Outcome[T]":
        """Call *work*, and return the outcome: its result, or one of *errors* that it raises."""
        try:
            return cls(work())
        except errors as error:
            return cls(error=error)

    @classmethod
    async def capture_async(cls, work: Callable[[], Awaitable[T]], *, errors: Errors = BaseException) -> "Outcome[T]":
        """
        Await *work*, and return the outcome: its result, or one of *errors* that it raises.

        An error that ends the task or the program is never captured.
        """
        try:
            return cls(await work())
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except errors as error:
            return cls(error=error)

    def unwrap(self) -> T:
        """Return the result, or raise the error. The outcome is empty afterwards, so this works once."""
        result, error = self._result, self.error
        self._result = self.error = None
        if error is None:
            return cast("T", result)
        try:
            raise error
        finally:
            del error

    def for_another(self) -> "Outcome[T]":
        """Return an equal outcome for one more waiter, with an error of its own, so that no traceback shows two."""
        return Outcome(self._result, error=None if self.error is None else _for_another(self.error))


def _for_another(error: BaseException) -> BaseException:
    if isinstance(error, STSError):
        return copy_without_traceback(error)
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001 - an error of the program's own, whose constructor may take anything
        copied = error
    return (copied if type(copied) is type(error) else error).with_traceback(None)


def copy_without_traceback(error: STSError) -> STSError:
    """Return an equal error without the traceback of an earlier raise."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    if hasattr(error, "__notes__"):
        copied.__notes__ = list(error.__notes__)
    return copied
