"""
A profile for ``~/.aws/config`` whose ``credential_process`` is this command.

It is better than keys in a file: they end after an hour, and readers of the file do not look again.
"""

import argparse
import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import OPTIONS, Config, SettingsSources
from .arguments import UsageError
from .export_forms import CONFIG
from .exported import EXPORT

PREFIX = "sts-async-"  # of the name of the profile, so that it is not that of another one
_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)


def profile_of(arguments: Sequence[str], options: argparse.Namespace, client: Mapping[str, Any]) -> str:
    """
    Return the profile, without a line break at its end.

    Args:
        arguments: The arguments of the process.
        options: The parsed arguments.
        client: The options of the client, by their names in `Config`.

    Raises:
        UsageError: An SDK could not run the command later: its input is gone, or the file cannot hold it.
    """
    for name, reason in (("local", "the local STS ends with this command"), ("mfa_code", "a code is valid once")):
        if hasattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} cannot be used with --format {CONFIG}: {reason}")
    command = _quoted([*_program(), EXPORT, *map(_lasting, _without_format(arguments)), *_variables(options)])
    # The grammar of the file ends a value at a comment, even inside of quotes.
    if not command.isprintable() or " #" in command or " ;" in command:
        raise UsageError(f"with --format {CONFIG}, a value can have neither line breaks nor # or ; after a space")
    lines = [f"[profile {_name(options)}]", f"credential_process = {command}"]
    region = asyncio.run(SettingsSources(Config(**client)).resolve()).region
    if region is not None:  # an SDK looks for it in the selected profile alone
        lines.append(f"region = {region}")
    return "\n".join(lines)


def _variables(options: argparse.Namespace) -> list[str]:
    """
    Return options for what variables decide now.

    Another program runs the command later, with other variables. Its ``AWS_PROFILE`` is usually the new profile itself.
    """
    given = []
    for name in ("profile", "region"):
        value = next(filter(None, map(os.environ.get, OPTIONS[name].variables)), None)
        if value is not None and not hasattr(options, f"config_{name}"):
            given += [f"--{name}", value]
    return given


def _name(options: argparse.Namespace) -> str:
    role = (getattr(options, "member_role_arn", None) or "").rpartition("/")[2]
    names = (role, getattr(options, "config_profile", ""), "default")
    return PREFIX + next(name for name in names if _NAME.fullmatch(name))


def _program() -> list[str]:
    """Return the words that start this program, from any directory and with any path."""
    program = Path(sys.argv[0])
    if program.stem == "sts-async" and program.exists():
        return [os.path.abspath(program)]  # noqa: PTH100 - `resolve` would follow the link of an installer
    return [sys.executable, "-m", "sts_async"]


def _without_format(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without the command and without ``--format``."""
    rest, skip = [], False
    for argument in arguments:
        if skip or argument == EXPORT or argument.startswith("--format="):
            skip = False
        elif argument == "--format":
            skip = True
        else:
            rest.append(argument)
    return rest


def _lasting(argument: str) -> str:
    """Return an argument that means the same later and in another directory."""
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if value == "-" or argument == "-":
        raise UsageError(f"with --format {CONFIG}, no value can come from standard input")
    for scheme in ("file://", "fileb://"):
        path = value.removeprefix(scheme)
        if value.startswith(scheme) and not path.startswith("~"):
            return f"{option}{equals}{scheme}{Path(path).absolute()}"
    return argument


def _quoted(words: Sequence[str]) -> str:
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
