"""The options of ``sts-async export-credentials``."""

import argparse
from collections.abc import Sequence
from typing import Any

from .arguments import Parser
from .export_forms import CONFIG, FORMS, PROCESS
from .exported import EXPORT
from .role_options import add_role

ABOUT = """\
Print credentials for other programs: of a role (--role-arn), of a profile (--profile), or of the first source that is
configured. `--role-arn` assumes the role with the credentials of the profile or of that source.

Credentials of roles, SSO and web identities are kept in files that only you can read, and that all processes share:
any number of commands at once fetch them once. Those that live an hour are printed from there until 20 minutes before
their end. If new ones cannot be fetched, the old ones are printed until their last minute.

An SDK calls this command itself if a profile names it: `--format config` prints such a profile.
"""

EPILOG = """\
formats:
  process        JSON, for credential_process (the default)
  env            lines for a POSIX shell:  eval "$(sts-async export-credentials --format env)"
  env-no-export  NAME=value, for a file of variables
  powershell     lines for PowerShell
  windows-cmd    lines for cmd.exe
  fish           lines for fish
  config         a profile for ~/.aws/config with this command and the region. It contains no credentials, and none are
                 fetched

examples:
  sts-async export-credentials --profile data
  sts-async export-credentials --role-arn arn:aws:iam::123456789012:role/demo --external-id x1 --format env
  sts-async export-credentials --role-arn arn:aws:iam::123456789012:role/demo --format config >> ~/.aws/config
"""


def add_export(commands: Any, common: Parser, arguments: Sequence[str]) -> None:
    """Add the command to the parser; the options of a role only if *arguments* have the command."""
    command = commands.add_parser(
        EXPORT,
        help="credentials for other programs: as JSON, as variables, or as a profile that fetches them",
        description=ABOUT,
        epilog=EPILOG,
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--format", choices=(*FORMS, CONFIG), default=PROCESS, help=f"format of the output; default: {PROCESS}"
    )
    command.add_argument(
        "--cache",
        metavar="DIR",
        help="directory for the credentials, which only you can read; default: ~/.cache/sts-async/credentials",
    )
    command.add_argument("--no-cache", action="store_true", help="neither read nor write credentials in files")
    command.add_argument(
        "--any-arn",
        action="store_true",
        help="accept ARNs of roles that do not follow the grammar of IAM, for other servers such as Ceph RGW",
    )
    if EXPORT in arguments:
        add_role(command)


def check(parser: Parser, options: argparse.Namespace) -> None:
    """End the process with status 2 if the options of the command contradict each other."""
    if options.cache is not None and "://" in options.cache:
        parser.end("--cache must be a directory")
    if options.cache is not None and options.no_cache:
        parser.end("--cache and --no-cache cannot be combined")
