"""
The options of a role, for commands that work with credentials: ``--role-arn``, and the other members of AssumeRole.

With ``--role-arn``, the credentials of the client assume the role, and the command works with those of the role.
"""

import argparse
from typing import TYPE_CHECKING

from .arguments import UsageError, Values, option_of
from .members import add_members, members_of

if TYPE_CHECKING:
    from ..shapes import AssumeRoleRequest

# The code of an MFA device comes from `--mfa-code` or from the terminal, as for a profile.
WITHOUT = ("token_code",)


def add_role(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of a command. This imports the shapes of the API."""
    from ..operations import ASSUME_ROLE

    group = parser.add_argument_group(
        "role", "With --role-arn, the credentials assume this role. The name of the session is sts-async by default."
    )
    add_members(group, ASSUME_ROLE, without=WITHOUT, optional=True)


def request_of(options: argparse.Namespace, values: Values) -> "AssumeRoleRequest | None":
    """
    Return the request for the role; None without ``--role-arn``.

    It contains no code of an MFA device: `command_client.client_with_role` asks for one if there is a serial number.

    Raises:
        UsageError: The value of an option has the wrong form, or ``--role-arn`` is missing.
        ValueError: A file or standard input cannot be read.
    """
    from .._protocol import arns
    from ..fleet._role_lines import DEFAULT_SESSION
    from ..operations import ASSUME_ROLE
    from ..shapes import AssumeRoleRequest

    members = members_of(options, ASSUME_ROLE, values)
    if not members:
        return None
    if "role_arn" not in members:
        raise UsageError(f"{option_of(next(iter(members)))} needs --role-arn")
    any_arn = getattr(options, "any_arn", None)  # the option of some commands
    if not any_arn and not arns.is_role(members["role_arn"]):
        advice = "" if any_arn is None else "; --any-arn accepts those of other servers"
        raise UsageError(f"--role-arn must be {arns.ROLE_RULE}{advice}")
    return AssumeRoleRequest(**{"role_session_name": DEFAULT_SESSION, **members})
