"""What the tests of a client's life share: a call, and programs of their own."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from patience import soon, turns

from sts_async import STSClient
from sts_async.testing import LocalSTS


async def call(sts: STSClient) -> str:
    """Return who calls."""
    return (await sts.get_caller_identity()).arn


async def run_script(script: str, *arguments: str) -> tuple[int | None, str, str]:
    """Return how a Python program ended, what it printed, and what it complained of."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def keys_of(server: LocalSTS) -> list[str]:
    """Return the keys of a server's user, for the arguments of a program."""
    return [server.credentials.access_key_id, str.__str__(server.credentials.secret_access_key)]


class Loop:
    """An event loop in a thread, which uses a client and then stays until the end of the block."""

    def __init__(self, use: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._use = use

    async def __aenter__(self) -> "Loop":
        self._here, self._used, self._done = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        self._ended = asyncio.create_task(asyncio.to_thread(asyncio.run, self._main()))
        return self

    async def _main(self) -> Any:
        outcome = await self._use()
        self._here.call_soon_threadsafe(self._used.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._done.wait(), self._here))
        await turns()  # what is closed in this loop closes at its next turns
        return outcome

    async def used(self) -> None:
        """Wait until the client was used there."""
        await soon(self._used.wait())

    async def __aexit__(self, *_: object) -> None:
        self._done.set()
        self.outcome = await soon(self._ended)
