"""What the tests of a client's life share: a call, and programs of their own."""

import asyncio
import subprocess
import sys

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
