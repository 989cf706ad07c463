"""The options of ``sts-async fleet``."""

import argparse
import re
from typing import Any

from .arguments import Parser, count
from .cache_options import add_cache

FLEET = "fleet"
ENDING_OF_FLEET = ("SIGINT", "SIGTERM")  # signals that end the command with status 0
RELOAD = "SIGHUP"  # Windows does not have it
DEFAULT_COUNT = 20

ABOUT = """\
Keep temporary credentials of many identities fresh, and show their states. A file of roles has one identity on each
line: the ARN of a role with options, or a JSON object with the members of the API. Problems of the file are shown with
their lines, and all other lines are used.

At a terminal, a table shows the states; it needs the package rich, which the extra fleet of sts-async contains.
Elsewhere, there is one line for each change of a state, and a summary each minute.

SIGHUP reads the file again: new identities are added, and missing ones are removed. While the file has problems,
nothing is removed. SIGINT (Ctrl-C) and SIGTERM end the command with status 0.

With --once, all credentials are fetched once, and the status is 1 if a line has a problem or a fetch failed.
"""

EPILOG = """\
a file of roles:
  arn:aws:iam::123456789012:role/hub name=hub
  arn:aws:iam::210987654321:role/data through=hub external-id=x1 tags='team=a,stage=test'
  {"RoleArn": "arn:aws:iam::345678901234:role/data", "Through": "hub", "DurationSeconds": 900}

options of a line: name, through (the name of the identity that signs the request), session, duration, external-id,
policy, policy-arns, tags, transitive-tag-keys, source-identity, minimum-session-token-size

examples:
  sts-async --local fleet
  sts-async fleet --roles roles.txt --cache ~/.cache/sts-async
  sts-async fleet --roles roles.txt --cache rediss://cache.example:6379/0 --cache-key-file cache-keys
  sts-async fleet --roles roles.txt --once
"""


def add_fleet(commands: Any, common: Parser) -> None:
    """Add the command to the parser."""
    fleet = commands.add_parser(
        FLEET,
        help="keep the credentials of many identities fresh",
        description=ABOUT,
        epilog=EPILOG,
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_roles(fleet)
    fleet.add_argument(
        "--rate",
        type=_rate,
        default=200.0,
        metavar="N",
        help="maximum number of requests per second for each calling account and region; default: 200",
    )
    fleet.add_argument(
        "--concurrency", type=count, default=50, metavar="N", help="maximum number of requests at once; default: 50"
    )
    fleet.add_argument("--once", action="store_true", help="fetch all credentials once, show the results, and end")
    fleet.add_argument(
        "--count",
        type=count,
        metavar="N",
        help=f"with --local and without --roles: the number of generated roles; default: {DEFAULT_COUNT}",
    )


def add_roles(command: Parser) -> None:
    """Add the options of the file of roles to a command."""
    command.add_argument(
        "--roles", metavar="FILE", help="the file of roles, at most 8 MiB of UTF-8; optional with --local"
    )
    add_cache(command)
    command.add_argument(
        "--allowed-accounts",
        nargs="+",
        action="extend",
        type=_accounts,
        metavar="ID",
        help="ids of the accounts that identities may belong to; default: any account",
    )
    command.add_argument(
        "--any-arn",
        action="store_true",
        help="accept ARNs of roles that do not follow the grammar of IAM, for other servers such as Ceph RGW",
    )


def check(parser: Parser, options: argparse.Namespace) -> None:
    """End the process with status 2 if the options of the command contradict each other."""
    local = hasattr(options, "local")
    check_roles(parser, options)
    if options.count is not None and (options.roles is not None or not local):
        parser.end("--count can only be used with --local and without --roles")


def check_roles(parser: Parser, options: argparse.Namespace) -> None:
    """End the process with status 2 if there is no file of roles and no local STS."""
    if options.roles is None and not hasattr(options, "local"):
        parser.end("the following arguments are required: --roles")


def _rate(text: str) -> float:
    if not (re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) and float(text) > 0):
        raise argparse.ArgumentTypeError("must be a number greater than 0")
    return float(text)


def _accounts(text: str) -> str:
    if not re.fullmatch(r"[0-9]{12}", text):
        raise argparse.ArgumentTypeError("must be account ids of 12 digits")
    return text
