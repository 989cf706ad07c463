"""The command line in the process of the test: the start of a process of its own takes half a second of CPU."""

import asyncio
import io
import os
import sys
from collections.abc import Mapping
from unittest.mock import patch

from sts_async import cli


async def run_here(environ: Mapping[str, str], *arguments: str, given: bytes = b"") -> tuple[int, str, str]:
    """
    Return the status of a command, its output and its errors.

    Args:
        environ: All variables that the command sees.
        arguments: Those of the command line, without the name of the program.
        given: What the command reads from standard input.
    """
    out, err, stdin = io.StringIO(), io.StringIO(), io.TextIOWrapper(io.BytesIO(given))
    with (
        patch.dict(os.environ, environ, clear=True),
        patch.multiple(sys, stdin=stdin, stdout=out, stderr=err),
    ):
        status = await asyncio.to_thread(cli.main, arguments)  # which has an event loop of its own
    return status, out.getvalue(), err.getvalue()
