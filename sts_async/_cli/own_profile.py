"""
Profiles whose ``credential_process`` is this command, and which would be their own source.

A program that is started with ``AWS_PROFILE=x`` asks this command for the credentials of x, and the command inherits
the variable. If it used this profile, it would start itself, again and again, until the deadline of the first one.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from .._runtime.process import split_command
from ..config import OPTIONS, Config, SettingsSources
from ..errors import ConfigurationError, InvalidConfigFile


async def leave_own_profile(config: Config, arguments: Sequence[str]) -> None:
    """
    Remove a profile from the environment, for this process and its children, if it must not be the source.

    It must not if it runs this command, or if ``--profile`` names another one.

    Args:
        config: The options of the command line.
        arguments: The arguments of the process, with the name of the command.

    Raises:
        ConfigurationError: ``--profile`` names a profile that runs this command.
    """
    variables = OPTIONS["profile"].variables
    if config.profile is not None:
        if await _runs(config, arguments):
            raise ConfigurationError(
                f"profile {config.profile!r} runs this command, so it cannot be its source: name another profile"
            )
        for variable in variables:
            os.environ.pop(variable, None)
    for variable in variables:
        if os.environ.get(variable) and await _runs(config, arguments):
            del os.environ[variable]


async def _runs(config: Config, arguments: Sequence[str]) -> bool:
    """Return True if the selected profile runs this command. A file that cannot be read is a matter of the search."""
    sources = SettingsSources(config)
    try:
        shared = await sources.files.load()
    except InvalidConfigFile:
        return False
    section = shared.profiles.get(sources.profile.name)
    command = None if section is None else section.get("credential_process")
    if command is None:
        return False
    if sys.platform == "win32":
        return str(command).endswith(f" {subprocess.list2cmdline(arguments)}")
    words = split_command(command)
    return len(words) > len(arguments) and words[-len(arguments) :] == [*arguments]
