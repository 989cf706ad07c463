"""The command as a process of its own, with the keys of a user of a local STS."""

import asyncio
import os
import sys
from pathlib import Path

from patience import soon

from sts_async.testing import LocalSTS


async def start(server: LocalSTS | None, *arguments: str | Path, **more: str) -> asyncio.subprocess.Process:
    """Start the command with the keys of a user of *server*, and with the variables *more*."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    if server is not None:
        environ |= {
            "AWS_ACCESS_KEY_ID": server.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": server.credentials.secret_access_key,
            "AWS_ENDPOINT_URL_STS": server.url,
            "AWS_REGION": "us-east-1",
        }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "sts_async", *map(str, arguments)),
        env={**environ, **more},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def run(server: LocalSTS | None, *arguments: str | Path, **more: str) -> tuple[int | None, str, str]:
    """Run the command, and return its status and its output."""
    process = await start(server, *arguments, **more)
    out, err = await soon(process.communicate())
    return process.returncode, out.decode(), err.decode()
