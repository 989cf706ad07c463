"""A command that gets its credentials from an endpoint: its environment, its signals and its exit status."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .._runtime.commands import END_SECONDS, FORWARDED, start
from .._runtime.signals import signal_queue
from .._shape.arguments import check_flag, check_seconds, in_seconds
from .._shape.secret import HiddenMapping, SecretBytes
from .._wording.os_errors import reason_of
from ..config import Config, SettingsSources
from ..errors import ConfigurationError
from .environ import CONFIG_FILE, CREDENTIALS_FILE, DEFAULT, PROFILES, config_without_credentials, source_in_files

if TYPE_CHECKING:
    import signal

    from .endpoint import CredentialsEndpoint

_numbers = itertools.count(1)


async def run_child(
    endpoint: "CredentialsEndpoint",
    name: str,
    command: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    grace: float | timedelta = END_SECONDS,
    forward_signals: bool = True,
) -> int:
    """
    Run a command that gets the credentials of an identity from the endpoint, and return its exit status.

    The command has the standard streams of this process. In the main thread, SIGINT, SIGTERM and other signals to this
    process are forwarded to it. It gets SIGKILL if it has not ended *grace* after SIGTERM. If the caller is cancelled,
    the command is ended in the same way.

    If a profile is selected, or the shared files have credentials for the default profile, the command gets a private
    copy of the config file without credentials, and no credentials file. Settings of the selected profile, such as its
    region and its retries, are those of the default profile in the copy.

    Args:
        endpoint: The endpoint. It must be open.
        name: The name of the identity.
        command: The program and its arguments; at least the program.
        environ: The environment before the changes; None for that of this process.
        grace: Seconds, or a `timedelta`, from SIGTERM to SIGKILL.
        forward_signals: Whether the command gets the signals to this process, while it runs. Set it to False for a
            program that handles its signals, and cancel the caller to end the command.

    Returns:
        The exit status; after a signal, 128 plus its number, as in a shell.

    Raises:
        OSError: The program does not exist, or cannot be run.
        ConfigurationError: An argument is invalid, the command is empty, no identity has this name, or the private copy
            cannot be written.
        InvalidConfigFile: The shared files cannot be read.
        ClientClosedError: The endpoint is not open.
    """
    grace = in_seconds(grace)
    check_seconds("grace", grace)
    if isinstance(command, str) or not command:
        raise ConfigurationError("command must be a list with a program and its arguments")
    check_flag("forward_signals", forward_signals)
    before = HiddenMapping(os.environ if environ is None else environ)
    with signal_queue(FORWARDED if forward_signals else ()) as signals:
        return await _run(endpoint, name, command, before, signals, grace)


async def _run(
    endpoint: "CredentialsEndpoint",
    name: str,
    command: Sequence[str],
    before: Mapping[str, str],
    signals: "asyncio.Queue[signal.Signals]",
    grace: float,
) -> int:
    changes = endpoint._environ(name)
    copy = await _private_config(endpoint, name, before)
    try:
        variables = HiddenMapping(changes.for_child(before))
        if copy is not None:
            files = {CONFIG_FILE: str(copy), CREDENTIALS_FILE: os.devnull}
            variables = HiddenMapping({**{key: variables[key] for key in variables}, **files})
        return await (await start(command, variables)).run(signals, grace=grace)
    finally:
        if copy is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(copy.unlink)


async def _private_config(endpoint: "CredentialsEndpoint", name: str, environ: Mapping[str, str]) -> Path | None:
    """Write a copy of the config file without credentials, and return its path; None if no copy is needed."""
    sources = SettingsSources(Config(), environ=environ)
    shared = await sources.files.load()
    profile = sources.profile.name
    selected = any(environ.get(variable, DEFAULT) != DEFAULT for variable in PROFILES)
    if source_in_files(shared) is None and not selected:
        return None
    text = config_without_credentials(shared, profile=profile)
    reason = ""
    try:
        return await asyncio.to_thread(
            endpoint._directory.write, f"{name}.{next(_numbers)}.config", SecretBytes(text.encode())
        )
    except OSError as error:
        reason = reason_of(error)
    raise ConfigurationError(f"the private copy of the config file cannot be written: {reason}")
