"""The command with the keys of a user of a local STS: in this process, or in one of its own."""

import asyncio
import os
import sys
from pathlib import Path

from commands import run_here
from patience import soon

from sts_async.testing import LocalSTS


def environ(server: LocalSTS | None, **more: str) -> dict[str, str]:
    """Return the variables of a user of *server*, and the variables *more*."""
    variables = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    if server is not None:
        variables |= {
            "AWS_ACCESS_KEY_ID": server.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": server.credentials.secret_access_key,
            "AWS_ENDPOINT_URL_STS": server.url,
            "AWS_REGION": "us-east-1",
        }
    return {**variables, **more}


async def start(server: LocalSTS | None, *arguments: str | Path, **more: str) -> asyncio.subprocess.Process:
    """Start the command in a process of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "sts_async", *map(str, arguments)),
        env=environ(server, **more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def run(server: LocalSTS | None, *arguments: str | Path, **more: str) -> tuple[int, str, str]:
    """Run the command in this process, and return its status and its output."""
    return await soon(run_here(environ(server, **more), *map(str, arguments)))
