"""
Commands and options of ``sts-async``, made from the table of operations and the options of `Config`.

Only the operation that is called is imported, so that ``--help`` needs neither aiohttp nor lxml.
"""

import argparse
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._version import VERSION
from .._wording.option_names import Wording
from . import cache_options, endpoint_options, export_options, fleet_options, token_options
from .arguments import Parser, Values, option_of, suggestion
from .cache_options import CACHE_KEY
from .endpoint_options import EXEC, SERVE
from .export_quick_path import EXPORT
from .fleet_options import FLEET
from .members import add_members, description_of, documented_in, operation_of
from .token_options import CONSOLE_URL, EKS_TOKEN, TOKENS

if TYPE_CHECKING:
    from .._config.options import Option

SUMMARIES = {
    "assume-role": "temporary credentials of a role",
    "assume-role-with-saml": "temporary credentials of a role, for a SAML assertion",
    "assume-role-with-web-identity": "temporary credentials of a role, for an OIDC token",
    "assume-root": "short-lived root credentials of a member account, for one task",
    "decode-authorization-message": "the reason why a request was denied",
    "get-access-key-info": "the account of an access key",
    "get-caller-identity": "the account and ARN of the caller",
    "get-delegated-access-token": "temporary credentials for a trade-in token",
    "get-federation-token": "temporary credentials of a federated user",
    "get-scoped-credentials": "temporary credentials of the caller, with narrower permissions",
    "get-session-token": "temporary credentials of the caller, usually with an MFA code",
    "get-web-identity-token": "a JWT, signed by AWS, with the caller's identity",
}

DOCTOR = "doctor"
HELP = "help"
LOCAL_SERVER = "local-server"
COMMANDS = (DOCTOR, EXPORT, EKS_TOKEN, CONSOLE_URL, FLEET, SERVE, EXEC, CACHE_KEY, LOCAL_SERVER)
"""The commands that are not operations of STS."""
SERVICES = ("sts", "imds", "container", "sso", "signin")
HIGHEST_PORT = 65535 - len(SERVICES)

EPILOG = """\
Credentials and region come from the environment, the shared config files, the container endpoint or the instance
metadata service, as for every AWS SDK. `sts-async doctor` shows the source of each. All options of the client are
accepted, such as --max-attempts or --ca-bundle; `sts-async help options` lists them.

A value file://PATH is the text of that file, without the line break at its end; fileb://PATH is the exact text. A
value - is read from standard input, which one option of a command can use. The limit is 256 KiB in UTF-8. Pass secrets
in one of these ways, because other users can see the command line in the list of processes.

A structure is NAME=VALUE,NAME=VALUE; a value with a comma needs double quotes. Structures and lists can also be JSON,
such as --tags '[{"Key": "team", "Value": "a, b"}]'.

In bash and zsh, `eval "$(register-python-argcomplete sts-async)"` completes commands and options. It needs the package
argcomplete, which the extra completion of sts-async contains.
"""

SHOWN = {
    "region": ("NAME", "AWS region, such as eu-west-1"),
    "endpoint_url": ("URL", "URL of STS, instead of the region's endpoint"),
    "profile": ("NAME", "profile of the shared config files"),
    "allow_http": (None, "allow an endpoint on another host without TLS, such as http://localstack:4566"),
}
"""The options of the client in every help, with the name of the value (None for a flag) and the text."""


def parse(arguments: Sequence[str]) -> tuple[Parser, argparse.Namespace]:
    """
    Return the parser and the parsed arguments.

    Raises:
        SystemExit: Help or the version was printed, or the arguments are invalid.
    """
    arguments, to_run = _without_command(_with_help_option(arguments))
    topic = arguments[1] if arguments[:1] == [HELP] and len(arguments) == 2 else None
    if topic == "options":
        parser = _options_alone()
        parser.print_help()
        parser.exit()
    parser = parser_for(arguments)
    commands = parser.commands()
    if topic is not None:
        near = suggestion(topic, ["options", *commands])
        parser.end(f"help has no such topic{near}: the topics are the operations, the commands and `options`")
    parser.check_options(arguments)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        commands.get(options.operation, parser).reject(unknown)
    if to_run == []:
        commands.get(options.operation, parser).end("a command must follow --")
    options.command = to_run or []
    if options.operation == FLEET:
        fleet_options.check(parser.command(FLEET), options)
    if options.operation in (SERVE, EXEC):
        endpoint_options.check(parser.command(options.operation), options)
    if options.operation == EXPORT:
        export_options.check(parser.command(EXPORT), options)
    if options.operation in TOKENS:
        token_options.check(parser.command(options.operation), options)
    if hasattr(options, "local") and hasattr(options, "config_endpoint_url"):
        parser.end("--local and --endpoint-url cannot be combined")
    if hasattr(options, "local") and hasattr(options, "config_profile"):
        parser.end("--local and --profile cannot be combined")
    return parser, options


def parser_for(arguments: Sequence[str]) -> Parser:
    """Return the parser. Only an operation that is in *arguments* has its members as options."""
    known = {} if {*arguments} <= {"-h", "--help", "--version"} else _client_options()
    common = _common(known)
    parser = Parser(
        prog="sts-async",
        description="Call the AWS Security Token Service.",
        epilog=EPILOG,
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sts-async {VERSION}")
    commands = parser.add_subparsers(dest="operation", metavar="OPERATION", title="operations")
    for name, summary in SUMMARIES.items():
        called = name in arguments
        command = commands.add_parser(
            name,
            help=summary,
            description=description_of(name) if called else None,
            epilog=EPILOG,
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if called:
            add_members(command, operation_of(name))
    doctor = commands.add_parser(
        DOCTOR,
        help="the sources of credentials, region and endpoint, and the problems with them",
        description="Show which files, region, endpoint, proxy and other options apply, and the source of each. Then "
        "check every source of credentials, in order, and show the result. The exit status is 0 if a call has all that "
        "it needs, and 1 if it would fail. Only --check tests whether STS accepts the credentials. With --local, STS "
        "and the instance metadata service are local stand-ins.",
        parents=[common],
    )
    doctor.add_argument("--check", action="store_true", help="call GetCallerIdentity, and show the caller")
    export_options.add_export(commands, common, arguments)
    token_options.add_tokens(commands, common, arguments)
    fleet_options.add_fleet(commands, common)
    endpoint_options.add_endpoint(commands, common)
    cache_options.add_cache_key(commands)
    _add_local_server(commands)
    _list_apart(parser, commands)
    return parser


def _list_apart(parser: Parser, commands: Any) -> None:
    """List the commands in the help under a heading of their own: argparse has one heading for all."""
    listed = commands._choices_actions
    group = parser.add_argument_group("commands")
    group._group_actions += [entry for entry in listed if entry.dest not in SUMMARIES]
    listed[:] = [entry for entry in listed if entry.dest in SUMMARIES]


def _with_help_option(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with ``--help`` instead of ``help`` before or after an operation or command."""
    match [*arguments]:
        case ["help"]:
            return ["--help"]
        case ["help", name] if name in (*SUMMARIES, *COMMANDS):
            return [name, "--help"]
        case [name, "help"]:
            return [name, "--help"]
    return [*arguments]


# -- The local server ------------------------------------------------------------------------------------------------

ABOUT_LOCAL_SERVER = """\
Run a local STS on 127.0.0.1, with the sources of credentials in --services, for tests in any language. No other server
accepts their credentials. All calls of STS go to the local server.

With `-- COMMAND ...`, run the command with the environment variables for the servers and without other AWS variables,
forward signals to it, and return its exit status. Without a command, print the variables, then a line that begins with
`# ready` (except for json), and run until SIGINT or SIGTERM; the exit status is then 0.

Without --services, the variables contain the keys of a user. With another source, they contain no keys: an SDK gets
credentials from the first of sso, signin, container and imds that it supports. With sso, HOME is a temporary
directory, because SDKs read the login from there.
"""

EXAMPLES = """\
examples:
  sts-async local-server -- npm test
  sts-async local-server --services imds -- aws sts get-caller-identity
  sts-async local-server --write-env sts.env &        # when the file exists:  . ./sts.env
"""


def _add_local_server(commands: Any) -> None:
    server = commands.add_parser(
        LOCAL_SERVER,
        help="a local STS, for tests in any language",
        usage="sts-async local-server [OPTION ...] [-- COMMAND [ARGUMENT ...]]",
        description=ABOUT_LOCAL_SERVER,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    server.takes_command = True
    server.add_argument(
        "--services",
        type=_services,
        default=("sts",),
        metavar="NAME,...",
        help=f"sources of credentials in addition to STS, which always runs: some of {', '.join(SERVICES[1:])}",
    )
    server.add_argument(
        "--port",
        type=_port,
        default=0,
        metavar="N",
        help="port of STS; each further service has the next port; default: 0, for free ports",
    )
    server.add_argument(
        "--role",
        nargs="+",
        action="extend",
        default=[],
        metavar="ARN",
        help="the roles that exist; without this option, every role does. Instance, container and login have the first",
    )
    server.add_argument(
        "--region", dest="config_region", metavar="NAME", default=argparse.SUPPRESS, help="default: us-east-1"
    )
    server.add_argument(
        "--format", choices=("sh", "dotenv", "json"), default="sh", help="format of the variables; default: sh"
    )
    server.add_argument(
        "--write-env",
        metavar="FILE",
        help="write the variables to this file, which only you can read; it appears when all servers are ready, and is "
        "removed at the end. An existing file of another program is an error",
    )


def _without_command(arguments: list[str]) -> tuple[list[str], list[str] | None]:
    """Return the arguments, and the command after ``--`` for `local-server` and `exec`, or None."""
    taker = next((name for name in arguments if name in (LOCAL_SERVER, EXEC)), None)
    if taker is not None and "--" in arguments[arguments.index(taker) :]:
        end = arguments.index("--", arguments.index(taker))
        return arguments[:end], arguments[end + 1 :]
    return arguments, None


def _services(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not {*names} <= {*SERVICES}:
        raise argparse.ArgumentTypeError(f"must be names of {', '.join(SERVICES)}, separated by commas")
    return ("sts", *(name for name in SERVICES if name in names and name != "sts"))


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"must be 0 to {HIGHEST_PORT}")
    return int(text)


# -- Options of the client -------------------------------------------------------------------------------------------


class CommandLine(Wording):
    """Wording for the command line: options are ``--allow-http`` and ``--region NAME``."""

    __slots__ = ()

    given = "on the command line"

    def option(self, name: str) -> str:
        """Return the name of an option."""
        return f"--{name.replace('_', '-')}" if name in _client_options() else name

    def setting(self, name: str, value: str) -> str:
        """Return the text that sets an option to *value*, which is a value of Python or ``...``."""
        known = _client_options()
        if name not in known:
            return super().setting(name, value)
        if is_flag(known[name]):
            return option_of(name if value == "True" else f"no_{name}")
        return f"{option_of(name)} {_value_name(name, known[name]) if value == '...' else value}"


def _client_options() -> "dict[str, Option]":
    """Return the options of `Config` that text can set: all except those with Python objects."""
    from .._config.options import HANDLERS
    from ..config import OPTIONS

    return {name: known for name, known in OPTIONS.items() if known.kind is not HANDLERS}


def is_flag(known: "Option") -> bool:
    """Return True if an option is boolean, so that it takes no value on the command line."""
    from .._config.options import FLAG, OPPOSITE_FLAG

    return known.kind in (FLAG, OPPOSITE_FLAG)


def _value_name(name: str, known: "Option") -> str:
    from .._config.options import NUMBER, SECONDS, WHOLE

    if name in SHOWN:
        return SHOWN[name][0] or ""
    return {WHOLE: "N", SECONDS: "SECONDS", NUMBER: "SECONDS"}.get(known.kind, "TEXT")


def _common(known: "Mapping[str, Option]") -> Parser:
    """Return a parser with the options of every command: `SHOWN`, and *known*, which the help does not list."""
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    for name, (value, text) in SHOWN.items():
        _add_client_option(common, name, value, text)
    common.add_argument(
        "--mfa-code",
        metavar="CODE",
        help="code of the MFA device of the profile or role, for runs without a terminal; - reads standard input",
    )
    common.add_argument(
        "--local",
        action="store_true",
        help="run against a local STS with its own keys; your AWS settings have no effect",
    )
    for name in known.keys() - SHOWN.keys():
        value = None if is_flag(known[name]) else _value_name(name, known[name])
        _add_client_option(common, name, value, argparse.SUPPRESS)
    return common


def _add_client_option(parser: argparse.ArgumentParser, name: str, value: str | None, text: str) -> None:
    if value is None:
        parser.add_argument(option_of(name), dest=f"config_{name}", action=argparse.BooleanOptionalAction, help=text)
    else:
        parser.add_argument(option_of(name), dest=f"config_{name}", metavar=value, help=text)


def _options_alone() -> Parser:
    """Return a parser for the help with all options of the client."""
    from ..config import Config

    documented = documented_in(inspect.getdoc(Config) or "", "Attributes")
    parser = Parser(
        prog="sts-async",
        usage="sts-async OPERATION [OPTION ...]",
        description="Every operation accepts these options. The value comes from the option, else from its environment "
        "variable, else from the profile, else from the default.",
        add_help=False,
        argument_default=argparse.SUPPRESS,
    )
    for name, known in _client_options().items():
        text = " ".join(
            [_without_python(documented[name]), *([f"Variable: {known.variables[0]}."] if known.variables else [])]
        )
        text += " Secret: prefer file://PATH or -." if known.kind.secret else ""
        _add_client_option(parser, name, None if is_flag(known) else _value_name(name, known), text.replace("%", "%%"))
    return parser


def _without_python(text: str) -> str:
    """Return the documentation of an option without the parts for Python programs."""
    text = text.replace(" It is hidden in every repr.", "")
    return text.replace("Default: False", "Default: off").replace("Default: True", "Default: on")


def client_options_of(options: argparse.Namespace, values: Values) -> dict[str, Any]:
    """
    Return the options of the client on the command line, by their names in `Config`.

    Raises:
        ConfigurationError: The value of an option is invalid.
        ValueError: A file cannot be read.
    """
    given = {}
    for name, known in _client_options().items():
        value = getattr(options, f"config_{name}", None)
        if isinstance(value, str):
            value = known.read(values.read(value, option=option_of(name)), origin=option_of(name))
        if value is not None:
            given[name] = value
    return given
