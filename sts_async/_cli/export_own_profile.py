"""
Profiles whose ``credential_process`` is this command, and which would be their own source.

A program that is started with ``AWS_PROFILE=x`` asks this command for the credentials of x, and the command inherits
the variable. If the command used this profile, it would start itself again and again, until the first one's deadline.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from .._config.profile_plans import ProcessPlan, RolePlan, plan
from .._runtime.process import split_command
from ..config import OPTIONS, Config, SettingsSources
from ..errors import ConfigurationError, STSError


async def leave_own_profile(config: Config, arguments: Sequence[str]) -> None:
    """
    Remove a profile from the environment, for this process and its children, if it must not be the source.

    It must not be the source if it runs this command, or if ``--profile`` names another one.

    Args:
        config: The options of the command line.
        arguments: The arguments of the process, with the name of the command.

    Raises:
        ConfigurationError: ``--profile`` names a profile that runs this command, or the profile ``default`` does.
    """
    variables = OPTIONS["profile"].variables
    if config.profile is not None:
        for variable in variables:
            os.environ.pop(variable, None)
    for variable in variables:
        if os.environ.get(variable) and await _runs(config, arguments):
            del os.environ[variable]
    # Keys in the environment come before the profile `default`, but not before one that is named.
    profile = config.profile or "default"
    has_keys = config.profile is None and os.environ.get("AWS_ACCESS_KEY_ID")
    if not has_keys and await _runs(config, arguments):
        raise ConfigurationError(
            f"profile {profile!r} runs this command, so it cannot be its source: name another profile"
        )


async def _runs(config: Config, arguments: Sequence[str]) -> bool:
    """Return True if the selected profile or its source runs this command. The search reports faults of the files."""
    sources = SettingsSources(config)
    try:
        found = plan(await sources.files.load(), sources.profile.name, strict_arns=False)
    except STSError:
        return False
    while isinstance(found, RolePlan):
        found = found.source
    if not isinstance(found, ProcessPlan):
        return False
    if sys.platform == "win32":
        return found.command.endswith(f" {subprocess.list2cmdline(arguments)}")
    words = split_command(found.command)
    return len(words) > len(arguments) and words[-len(arguments) :] == [*arguments]
