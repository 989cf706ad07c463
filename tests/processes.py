"""What tests of processes share: commands to run, and what is left of them. Looks into /proc."""

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import until

HANG = "echo $$ >> {0}; sleep 1000 & echo $! >> {0}; sleep 1000"
"""What a shell does that writes two process numbers to a file, and hangs."""


def python(code: str, *arguments: str) -> str:
    """Return the command that runs Python code."""
    return shlex.join([sys.executable, "-S", "-E", "-c", code, *arguments])


def shell(script: str) -> str:
    return shlex.join(["/bin/sh", "-c", script])


def echo(document: dict[str, Any] | str, *, then: str = "") -> str:
    """Return the command that writes a document and does something else."""
    text = document if isinstance(document, str) else json.dumps(document)
    return shell(f"printf %s {shlex.quote(text)}; {then}")


def runs(pid: int) -> bool:
    """Say whether a process is there, and not only a zombie that whoever has adopted it will reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pid: int) -> bool:
    """Say whether a process goes away; one of 1000 s does so only if it is killed."""
    with contextlib.suppress(TimeoutError):
        await until(lambda: not runs(pid))
    return not runs(pid)


def words_of(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


async def pids_in(path: Path, *, count: int) -> list[int]:
    """Return the process numbers in a file, once there are enough."""
    await until(lambda: len(words_of(path)) >= count)
    return [int(word) for word in words_of(path)]


def children() -> set[str]:
    """Return the process numbers of our children, zombies included."""
    while True:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread has ended: look again
            return {pid for task in Path("/proc/self/task").iterdir() for pid in words_of(task / "children")}


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """F41: after each test there is no child, not even a zombie."""
    before = children()
    yield
    assert children() <= before
