"""Tab completes operations, commands, options and choices, in a real bash."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from patience import soon

from sts_async import cli

SCRIPT = """
eval "$(register-python-argcomplete sts-async)"
for line in "$@"; do
    COMP_LINE="$line" COMP_POINT=${#line} COMP_TYPE=9 COMPREPLY=()
    _python_argcomplete sts-async
    echo "${COMPREPLY[@]}"
done
"""
COMPLETED = {
    "sts-async get-c": ["get-caller-identity"],
    "sts-async ek": ["eks-token"],
    "sts-async assume-role --role-": ["--role-arn", "--role-session-name"],
    "sts-async eks-token --external": ["--external-id"],
    "sts-async local-server --format ": ["sh", "dotenv", "json"],
    "sts-async get-caller-identity --role-": [],
    "sts-async --max-att": [],
}
BIN = Path(sys.executable).parent


@pytest.mark.slow
async def test_bash_completes_what_the_help_lists() -> None:
    pytest.importorskip("argcomplete", reason="argcomplete is not installed")
    process = await asyncio.create_subprocess_exec(
        *("bash", "--norc", "-c", SCRIPT, "bash", *COMPLETED),
        env={"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": os.environ["HOME"]},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await soon(process.communicate())

    assert err == b""
    assert [line.split() for line in out.decode().splitlines()] == [*COMPLETED.values()]


def test_without_the_package_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error would be shown within the line that is typed."""
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setitem(sys.modules, "argcomplete", None)

    assert cli.main() == 1
    assert capsys.readouterr() == ("", "")


def test_a_command_does_not_import_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the shell sets the variable, and only a process without arguments completes a line."""
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setitem(sys.modules, "argcomplete", None)

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sts-async ")
