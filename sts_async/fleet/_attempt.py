"""
One attempt to fetch credentials, with a time limit. Its failure is a value.

A provider of the program may raise any error, even a `BaseException`, and may cancel itself. None of these ends the
worker (F57). Only a cancellation of the worker and the end of the program end it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from .._runtime.outcome import copy_without_traceback
from ..errors import CredentialsError, STSError

Failure = tuple[BaseException | None, STSError | None]
"""The error for callers, and the error that is kept; None twice after a success."""


async def attempt(work: Callable[[], Awaitable[None]], *, name: str, seconds: float | None) -> Failure:
    """
    Do *work*, and return its failure.

    Args:
        work: Fetches credentials and stores them.
        name: Name of the identity, for messages.
        seconds: Time limit; None for work that has its own limit.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await work()
    except STSError as error:
        return error, copy_without_traceback(error)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        described = CredentialsError(f"{name} cancelled its own fetch")
        return described, described
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a provider of the program may raise anything
        if seconds is not None and limit.expired():
            described = CredentialsError(f"{name} did not provide credentials within {seconds:g} s")
            return described, described
        return error, CredentialsError(f"{name} failed with {type(error).__name__}")
    return None, None
