"""
The commands and options of ``sts-async``, generated from the table of operations and the options of `Config`.

Only the operation that is called is looked up, so that ``--help`` imports neither aiohttp nor lxml.
"""

import argparse
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._version import VERSION
from .._wording.option_names import Wording
from .arguments import Parser, Values, meant, option_of
from .members import add_members, description_of, documented_in, operation_of

if TYPE_CHECKING:
    from .._config.options import Option

SUMMARIES = {
    "assume-role": "temporary credentials of a role",
    "assume-role-with-saml": "temporary credentials of a role, for a SAML assertion",
    "assume-role-with-web-identity": "temporary credentials of a role, for an OIDC token",
    "assume-root": "short-lived root credentials of a member account, for one task",
    "decode-authorization-message": "why a request was refused",
    "get-access-key-info": "the account that an access key belongs to",
    "get-caller-identity": "who signs the requests",
    "get-delegated-access-token": "temporary credentials for a trade-in token",
    "get-federation-token": "temporary credentials of a federated user",
    "get-scoped-credentials": "temporary credentials of the caller, with narrower permissions",
    "get-session-token": "temporary credentials of the caller, usually with an MFA code",
    "get-web-identity-token": "a JWT, signed by AWS, that says who the caller is",
}

DOCTOR = "doctor"
HELP = "help"
LOCAL_SERVER = "local-server"
SERVICES = ("sts", "imds", "container", "sso", "signin")
HIGHEST_PORT = 65535 - len(SERVICES)

EPILOG = """\
Credentials and region come from the environment, the shared config files, the container endpoint or the instance
metadata service, as for every AWS SDK: `sts-async doctor` says what is found where. Each option of the client can be
given, such as --max-attempts or --ca-bundle: `sts-async help options` lists them.

A value file://PATH is the text of that file, without the line break at its end; fileb://PATH is its text exactly. A
value - is read from standard input, once in a command. At most 256 KiB are taken, in UTF-8. Give secrets in one of
these ways: what is written on the command line is in the list of processes.

A structure is written as NAME=VALUE,NAME=VALUE, with double quotes around a value that has a comma in it. Structures
and lists are also taken as JSON, such as --tags '[{"Key": "team", "Value": "a, b"}]'.
"""

SHOWN = {
    "region": ("NAME", "AWS region, such as eu-west-1"),
    "endpoint_url": ("URL", "URL to use in place of the region's own"),
    "profile": ("NAME", "profile of the shared config files"),
    "allow_http": (None, "reach a URL without TLS, such as http://localstack:4566, also beyond this host"),
}
"""The options of the client that every help shows, with what their values are called; None for those without value."""


def parse(arguments: Sequence[str]) -> tuple[Parser, argparse.Namespace]:
    """Return the parser, and what it made of the arguments. It ends with `SystemExit` if it understands them not."""
    arguments, to_run = _without_command(_asks_for_help(arguments))
    topic = arguments[1] if arguments[:1] == [HELP] and len(arguments) == 2 else None
    if topic == "options":
        parser = _options_alone()
        parser.print_help()
        parser.exit()
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
        help="where credentials, region and endpoint come from, and what is wrong with them",
        description="Say which files, region, endpoint, proxy and other options apply, and where each comes from; "
        "then ask every source of credentials, in order, and say what each has. Status 0: a call has all that it "
        "needs; 1: it would fail. Only --check finds out whether STS accepts the credentials. With --local, the "
        "instance metadata service and STS are stand-ins on this host.",
        parents=[common],
    )
    doctor.add_argument("--check", action="store_true", help="call GetCallerIdentity, and say who the caller is")
    _add_local_server(commands)
    if topic is not None:
        near = meant(topic, ["options", *commands.choices])
        parser.end(f"help has no such topic{near}: it takes an operation, or `help options`")
    parser.check_options(arguments)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        commands.choices.get(options.operation, parser).refuse(unknown)
    if to_run == []:
        commands.choices[LOCAL_SERVER].end("a command must follow --")
    options.command = to_run or []
    if hasattr(options, "local") and hasattr(options, "config_endpoint_url"):
        parser.end("--local and --endpoint-url exclude each other")
    if hasattr(options, "local") and hasattr(options, "config_profile"):
        parser.end("--local and --profile exclude each other")
    return parser, options


def _asks_for_help(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with ``help``, in front of an operation or behind it, as ``--help``."""
    match [*arguments]:
        case ["help"]:
            return ["--help"]
        case ["help", name] if name in (*SUMMARIES, DOCTOR, LOCAL_SERVER):
            return [name, "--help"]
        case [name, "help"]:
            return [name, "--help"]
    return [*arguments]


# -- The local server ------------------------------------------------------------------------------------------------

ABOUT_LOCAL_SERVER = """\
Run STS on 127.0.0.1, and the sources of credentials that --services adds, for tests in any language. What they issue
is good nowhere else. Every call of STS goes there, whichever the sources.

With `-- COMMAND ...`, run that command with the variables that lead SDKs there and without any other variable of AWS,
forward signals to it, and end with its status. Without, write the variables, then a line that begins with `# ready`
(not for json), and run until SIGINT or SIGTERM; the status is 0 then.

STS alone comes with the keys of a user. With a further source, there are no keys, and credentials come from that
source: from the first of sso, signin, container and imds that an SDK asks. With sso, HOME is a directory for this
run, because SDKs look for a login there.
"""

EXAMPLES = """\
examples:
  sts-async local-server -- npm test
  sts-async local-server --services imds -- aws sts get-caller-identity
  sts-async local-server --write-env sts.env &        # and when the file is there:  . ./sts.env
"""


def _add_local_server(commands: Any) -> None:
    server = commands.add_parser(
        LOCAL_SERVER,
        help="an STS on this host, for tests in any language",
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
        help=f"sources of credentials beside STS, which always runs: some of {', '.join(SERVICES[1:])}",
    )
    server.add_argument(
        "--port",
        type=_port,
        default=0,
        metavar="N",
        help="port of STS, the next port for each further service; default: 0, for free ports",
    )
    server.add_argument(
        "--role",
        nargs="+",
        action="extend",
        default=[],
        metavar="ARN",
        help="a role that exists, and no other does; the first is that of instance, container and login",
    )
    server.add_argument(
        "--region", dest="config_region", metavar="NAME", default=argparse.SUPPRESS, help="default: us-east-1"
    )
    server.add_argument(
        "--format", choices=("sh", "dotenv", "json"), default="sh", help="how variables are written; default: sh"
    )
    server.add_argument(
        "--write-env",
        metavar="FILE",
        help="write them to this file, which only you can read; it appears when all is ready, and goes at the end. A "
        "file that something else wrote is left alone, and refused",
    )


def _without_command(arguments: list[str]) -> tuple[list[str], list[str] | None]:
    """Return the arguments, and the command behind ``--`` that a local server is to run, or None."""
    if LOCAL_SERVER in arguments and "--" in arguments[arguments.index(LOCAL_SERVER) :]:
        end = arguments.index("--", arguments.index(LOCAL_SERVER))
        return arguments[:end], arguments[end + 1 :]
    return arguments, None


def _services(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not {*names} <= {*SERVICES}:
        raise argparse.ArgumentTypeError(f"must be names out of {', '.join(SERVICES)}, with commas between them")
    return ("sts", *(name for name in SERVICES if name in names and name != "sts"))


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"must be 0 to {HIGHEST_PORT}")
    return int(text)


# -- Options of the client -------------------------------------------------------------------------------------------


class CommandLine(Wording):
    """The terms of the command line: options are ``--allow-http`` and ``--region NAME``."""

    __slots__ = ()

    given = "on the command line"

    def option(self, name: str) -> str:
        """Return what the option *name* is called."""
        return f"--{name.replace('_', '-')}" if name in _client_options() else name

    def setting(self, name: str, value: str) -> str:
        """Return how the option *name* is given *value*, as it is written in Python."""
        known = _client_options()
        if name not in known:
            return super().setting(name, value)
        if is_flag(known[name]):
            return option_of(name if value == "True" else f"no_{name}")
        return f"{option_of(name)} {_value_name(name, known[name]) if value == '...' else value}"


def _client_options() -> "dict[str, Option]":
    """Return the options of `Config` that text can stand for; all but objects of Python."""
    from .._config.options import HANDLERS
    from ..config import OPTIONS

    return {name: known for name, known in OPTIONS.items() if known.kind is not HANDLERS}


def is_flag(known: "Option") -> bool:
    """Say whether an option is on or off, so that its name alone is its value."""
    from .._config.options import FLAG, OPPOSITE_FLAG

    return known.kind in (FLAG, OPPOSITE_FLAG)


def _value_name(name: str, known: "Option") -> str:
    from .._config.options import NUMBER, SECONDS, WHOLE

    if name in SHOWN:
        return SHOWN[name][0] or ""
    return {WHOLE: "N", SECONDS: "SECONDS", NUMBER: "SECONDS"}.get(known.kind, "TEXT")


def _common(known: "Mapping[str, Option]") -> Parser:
    """Return the options that every command has: those of `SHOWN`, and without a line in the help those in *known*."""
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    for name, (value, text) in SHOWN.items():
        _add_client_option(common, name, value, text)
    common.add_argument(
        "--mfa-code",
        metavar="CODE",
        help="the code of the MFA device of a profile, where no terminal can be asked for it; - reads standard input",
    )
    common.add_argument(
        "--local", action="store_true", help="run against an STS on this host, with its keys and nothing of yours"
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
    """Return a parser whose help is the list of all options of the client."""
    from ..config import Config

    documented = documented_in(inspect.getdoc(Config) or "", "Attributes")
    parser = Parser(
        prog="sts-async",
        usage="sts-async OPERATION [OPTION ...]",
        description="Every operation takes these options. Without one, its environment variable counts, then the "
        "profile, then the default.",
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
    """Return the documentation of an option without what concerns programs in Python alone."""
    text = text.replace(" It is hidden in every repr.", "")
    return text.replace("Default: False", "Default: off").replace("Default: True", "Default: on")


def client_options_of(options: argparse.Namespace, values: Values) -> dict[str, Any]:
    """
    Return the options of the client that are given, by their names in `Config`.

    Raises:
        ConfigurationError: One is not what it must be.
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
