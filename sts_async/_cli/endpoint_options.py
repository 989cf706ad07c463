"""The options of ``sts-async serve`` and ``sts-async exec``."""

import argparse
from typing import Any

from .arguments import Parser
from .fleet_options import add_roles, check_roles

SERVE, EXEC = "serve", "exec"
HIGHEST_PORT = 65535

ABOUT_SERVE = """\
Serve the credentials of a file of roles on 127.0.0.1, with the container credentials protocol, which every AWS SDK
understands. Each identity has a path and a token of its own. Credentials are fetched before the first line appears, are
kept in memory, and are refreshed 16 to 20 minutes before their end, as long as programs ask for them.

A line is written for each identity: its name, and the variables that make an SDK use it. Then a line begins with
`# ready`. The variables contain no secret: the token is in a file that only you can read. A program must have no other
credentials in its environment and in the default profile, which SDKs use first; `sts-async exec` takes care of this.

The command runs until SIGINT, SIGTERM or SIGHUP, and ends with status 0. The token files are removed then.
"""

EPILOG_SERVE = """\
examples:
  sts-async serve --roles roles.txt
  sts-async serve --roles roles.txt --port 4100 --directory ~/.local/state/sts-async

`sts-async fleet --help` describes the file of roles.
"""

ABOUT_EXEC = """\
Run a command with the credentials of one identity in a file of roles. The command gets them from an endpoint on
127.0.0.1, which runs as long as the command. So the credentials stay valid for any time, in every SDK.

Variables with other credentials are removed from the environment of the command. If a profile is selected, or if the
default profile has credentials, the command gets a private copy of the config file without credentials.

Signals are forwarded to the command, and its exit status is returned: 128 plus the number of a signal, 127 if the
command was not found, 126 if it cannot be run. After SIGTERM, the command has 10 seconds until SIGKILL.
"""

EPILOG_EXEC = """\
examples:
  sts-async exec data --roles roles.txt -- aws s3 ls
  sts-async --local exec demo-0001 -- env

`sts-async fleet --help` describes the file of roles.
"""


def add_endpoint(commands: Any, common: Parser) -> None:
    """Add the two commands to the parser."""
    serve = commands.add_parser(
        SERVE,
        help="serve the credentials of many identities to every SDK of this host",
        description=ABOUT_SERVE,
        epilog=EPILOG_SERVE,
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_roles(serve)
    serve.add_argument("--port", type=_port, default=0, metavar="N", help="port on 127.0.0.1; default: 0, a free port")
    serve.add_argument(
        "--directory",
        metavar="DIR",
        help="directory for the token files, to which no other user may write; default: a new temporary directory",
    )
    run = commands.add_parser(
        EXEC,
        help="run a command with the credentials of an identity",
        usage="sts-async exec NAME [OPTION ...] -- COMMAND [ARGUMENT ...]",
        description=ABOUT_EXEC,
        epilog=EPILOG_EXEC,
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.takes_command = True
    run.positionals = 1
    run.add_argument("name", metavar="NAME", help="the name of the identity in the file")
    add_roles(run)


def check(parser: Parser, options: argparse.Namespace) -> None:
    """End the process with status 2 if an option or the command is missing."""
    check_roles(parser, options)
    if options.operation == EXEC and not options.command:
        parser.end(f"write the command after --, as in `{parser.prog} NAME -- COMMAND`")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"must be 0 to {HIGHEST_PORT}")
    return int(text)
