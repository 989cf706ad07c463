"""
The command line: ``sts-async <operation> --member value ...``, the answer as JSON in the AWS CLI's field names, and
``sts-async doctor``, which says where credentials come from.

Options are generated from the table of operations. Only the operation that is called is looked up there, so that
``--help`` imports neither aiohttp nor lxml.
"""

import argparse
import contextlib
import inspect
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ._arguments import Parser, Values, in_one_line, whole_number
from ._version import VERSION

if TYPE_CHECKING:
    from ._core.constraints import Member
    from .credentials import DefaultChain
    from .operations import Operation

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

_FORMS_IN_PROGRAMS = (
    r", or a mapping that is sent compactly,|, or a `timedelta`|, such as \{.*?\}, or a list of `Tag`|, by their ARNs"
)

EPILOG = """\
Credentials and region come from the environment, the shared config files, the container endpoint or the instance
metadata service, as for every AWS SDK: `sts-async doctor` says what is found where.

A value file://PATH is the text of that file, without the line break at its end; fileb://PATH is its text exactly. A
value - is read from standard input, once in a command. At most 256 KiB are taken, in UTF-8. Give secrets in one of
these ways: what is written on the command line is in the list of processes.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit status: 0, 1 for an error, 2 for a command that is not understood."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser, options = _parse(arguments)
    if options.operation is None:
        parser.print_help(sys.stderr)
        return 2
    import asyncio

    from .errors import STSError

    healthy = True
    try:
        with _warnings_on_stderr():
            if options.operation == DOCTOR:
                healthy, output = asyncio.run(_explain(options))
            else:
                output = json.dumps(asyncio.run(_run(options, _request(options))), indent=4)
    except (STSError, OSError, ValueError) as error:
        print(f"sts-async: {in_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    try:
        print(output, flush=True)
    except BrokenPipeError:
        sys.stdout = None  # nobody reads: nothing is left to flush at exit
        return 1
    except OSError as error:
        sys.stdout = None
        print(f"sts-async: standard output: {in_one_line(error)}", file=sys.stderr)
        return 1
    return 0 if healthy else 1


@contextlib.contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Write each of the library's warnings to standard error once, with a prefix that tells them from errors."""
    import logging

    shown: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:  # the client and the chain read the same options
        before = len(shown)
        shown.add(record.getMessage())
        return len(shown) > before

    logger, handler = logging.getLogger("sts_async"), logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("sts-async: warning: %(message)s"))
    handler.addFilter(is_new)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _parse(arguments: Sequence[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--region", metavar="NAME", help="AWS region, such as eu-west-1")
    common.add_argument("--endpoint-url", metavar="URL", help="URL to use in place of the region's own")
    common.add_argument("--profile", metavar="NAME", help="profile of the shared config files")
    common.add_argument(
        "--local", action="store_true", help="run against an STS on this host, with its keys and nothing of yours"
    )
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
            description=_description(name) if called else None,
            epilog=EPILOG,
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if called:
            _add_members(command, _operation(name))
    commands.add_parser(
        DOCTOR,
        help="where credentials, region and endpoint come from",
        description="Ask every source of credentials, in order, and say what each has. Status 0: one has some. "
        "With --local, the instance metadata service and STS are stand-ins on this host.",
        parents=[common],
    )
    parser.check_options(arguments)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        commands.choices.get(options.operation, parser).refuse(unknown)
    if hasattr(options, "local") and hasattr(options, "endpoint_url"):
        parser.end("--local and --endpoint-url exclude each other")
    return parser, options


def _operation(name: str) -> "Operation[Any]":
    from .operations import OPERATIONS

    return next(operation for operation in OPERATIONS if operation.name.lower() == name.replace("-", ""))


def _add_members(command: argparse.ArgumentParser, operation: "Operation[Any]") -> None:
    documented = _documented_arguments(command.prog.split()[-1])
    for member in operation.request.__members__:
        command.add_argument(
            _option(member),
            dest=f"member_{member.name}",
            required=member.required,
            nargs="+" if member.kind is list else None,
            action="extend" if member.kind is list else "store",
            metavar=_metavar(member),
            type=whole_number if member.kind is int else str,
            help=_help(member, documented.get(member.name, "")),
        )


def _documentation(command: str) -> str:
    """Return the docstring of a command's coroutine in `calls`."""
    from .calls import Calls

    return inspect.getdoc(getattr(Calls, command.replace("-", "_"))) or ""


def _description(command: str) -> str:
    """Return the paragraphs of a command's documentation that precede its arguments, with the names of commands."""
    text = re.split(r"^(?:Args|Raises|Source):", _documentation(command), maxsplit=1, flags=re.MULTILINE)[0].strip()
    text = re.sub(r"`(\w+)`", lambda name: f"`{name[1].replace('_', '-')}`", text).replace("``", "")
    width = max(shutil.get_terminal_size().columns - 2, 40)
    return "\n\n".join(textwrap.fill(paragraph, width) for paragraph in text.split("\n\n"))


def _documented_arguments(command: str) -> dict[str, str]:
    """Return what a command's documentation says of each argument."""
    section = _documentation(command).partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", section, re.MULTILINE)
    return {name: " ".join(text.replace("``", "").split()) for name, text in found}


def _help(member: "Member", documented: str) -> str:
    text = f"{documented} Secret: prefer file://PATH or -." if member.secret else documented
    text = re.sub(_FORMS_IN_PROGRAMS, "", text)  # here all values are text
    return text.replace("%", "%%")


def _option(member: "Member") -> str:
    return f"--{member.name.replace('_', '-')}"


def _metavar(member: "Member") -> str:
    shape = (member.items or member).kind
    if shape is int:
        return "N"
    return ",".join(f"{m.wire}=..." for m in shape.__members__) if hasattr(shape, "__members__") else "TEXT"


def _request(options: argparse.Namespace) -> Any:
    """Return the request that the options describe."""
    operation = _operation(options.operation)
    values = Values()
    members = {
        member.name: _value(values, _option(member), member, given)
        for member in operation.request.__members__
        if (given := getattr(options, f"member_{member.name}")) is not None
    }
    return operation.request(**members)


async def _run(options: argparse.Namespace, request: Any) -> Any:
    """Send the request, and return its answer as plain data."""
    from ._core.convert import unstructure

    given = _given(options)
    if not hasattr(options, "local"):
        return unstructure(await _send({"credentials": _chain(given), **given}, request))
    from .testing import LocalSTS

    _leave_the_machine_aside()
    async with LocalSTS() as server:
        keys = {"credentials": server.credentials, "region": server.region, "endpoint_url": server.url}
        return unstructure(await _send({**keys, **given}, request))


async def _explain(options: argparse.Namespace) -> tuple[bool, str]:
    """Return whether the default chain has credentials, and what each of its sources says."""
    given = _given(options)
    if not hasattr(options, "local"):
        explanation = await _chain(given).explain()
        return explanation.found, str(explanation)
    from .testing import LocalIMDS, LocalSTS

    _leave_the_machine_aside()
    async with LocalSTS() as server, LocalIMDS(credentials=server.issue("arn:aws:iam::123456789012:role/demo")) as imds:
        here = {"region": server.region, "endpoint_url": server.url, "ec2_metadata_endpoint": imds.url}
        explanation = await _chain({**here, **given}).explain()
        return (
            explanation.found,
            f"with stand-ins on this host in place of STS and of the metadata service\n{explanation}",
        )


def _leave_the_machine_aside() -> None:
    """Have nothing that is set up on this machine change what --local does."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("region", "endpoint_url", "profile") if hasattr(options, name)}


def _chain(options: dict[str, Any]) -> "DefaultChain":
    from .config import Config
    from .credentials import DefaultChain

    return DefaultChain(Config(**options), mfa_code=_ask_for_code)


async def _ask_for_code(serial_number: str) -> str:
    """Return the code of an MFA device, which whoever runs the command reads from it."""
    import asyncio
    from getpass import getpass

    return (await asyncio.to_thread(getpass, f"MFA code of {serial_number}: ")).strip()


async def _send(options: dict[str, Any], request: Any) -> Any:
    from .client import STSClient

    async with STSClient(**options) as sts:
        return await sts.send(request)


def _value(values: Values, option: str, member: "Member", given: Any, *, inside: bool = False) -> Any:
    """Return the value of a member from its text: scalars as they are, structures from ``Name=value,Name=value``."""
    if member.kind is list:
        return [_value(values, option, member.items, item) for item in given]
    if not hasattr(member.kind, "__members__"):
        return values.read(given, option=option, inside=inside)
    fields = {field.wire: field for field in member.kind.__members__}
    if "=" not in given and len(fields) == 1:
        given = f"{next(iter(fields))}={given}"  # a policy may be given by its ARN alone
    parts = given.split(",")
    pairs = dict(pair.partition("=")[::2] for pair in parts)
    needed = {wire for wire, field in fields.items() if field.required}
    if len(pairs) < len(parts) or not needed <= pairs.keys() <= fields.keys():
        raise ValueError(f"a value of {option} must look like {_metavar(member)}")
    found = {fields[wire].name: _value(values, option, fields[wire], text, inside=True) for wire, text in pairs.items()}
    return member.kind(**found)
