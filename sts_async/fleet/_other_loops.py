"""Callers of a fleet in other event loops than its own: they wait for the fleet's event loop, but not for ever."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from .._runtime.other_loops import CannotWait, LoopBlocked, LoopEnded, run_in
from ..errors import ClientClosedError, CredentialsError, STSError
from ..shapes import Credentials


async def get_in(
    loop: asyncio.AbstractEventLoop | None, get: Callable[[], Coroutine[Any, Any, Credentials]]
) -> Credentials:
    """
    Return the result of *get*, which runs in the event loop of the fleet.

    Raises:
        ClientClosedError: The event loop of the fleet has ended.
        CredentialsError: It is blocked.
        STSError: *get* raised it.
    """
    try:
        if loop is not None:
            return await run_in(loop, get)
        raise LoopEnded
    except LoopEnded:
        failure: STSError = ClientClosedError("the event loop of the fleet has ended")
    except (CannotWait, LoopBlocked):
        failure = CredentialsError(
            "the event loop of the fleet is blocked, perhaps by a synchronous call that waits for these credentials: "
            "make such calls with `asyncio.to_thread`"
        )
    raise failure


async def close_in(loop: asyncio.AbstractEventLoop | None, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run *close* in the event loop of the fleet, unless that loop has ended or is blocked."""
    if loop is asyncio.get_running_loop():
        await close()
    elif loop is not None and loop.is_running():
        with contextlib.suppress(CannotWait, LoopBlocked, LoopEnded):
            await run_in(loop, close)
