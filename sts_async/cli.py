"""
The command line: ``sts-async <operation> --member value ...``, and ``sts-async`` with ``doctor``, ``eks-token``,
``console-url``, ``export-credentials``, ``fleet``, ``serve``, ``exec``, ``cache-key`` or ``local-server``.

The response is JSON with the field names of the AWS CLI. Only the response is written to standard output. Every error
is one line on standard error.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._cli.arguments import UsageError, Values
from ._cli.cache_options import CACHE_KEY
from ._cli.commands import DOCTOR, LOCAL_SERVER, SUMMARIES, CommandLine, client_options_of, parse
from ._cli.early_signals import ENDING, interrupted_by
from ._cli.endpoint_options import EXEC, SERVE
from ._cli.exported import EXPORT
from ._cli.fleet_options import DEFAULT_COUNT, FLEET, RELOAD
from ._cli.fleet_options import ENDING as ENDING_OF_FLEET
from ._cli.members import SIX_DIGITS, in_options, operation_of, request_of
from ._cli.streams import PREFIX, OutputLost, complain, report_lost, say
from ._cli.terminal import NoTerminal, ask, in_one_line, warnings_shown
from ._cli.token_options import TOKENS
from ._cli.token_options import in_options as in_token_options
from ._shape.secret import HiddenMapping, redact
from ._wording.option_names import use_wording

if TYPE_CHECKING:
    import argparse

    from ._cli.arguments import Parser
    from ._cli.terminal import Warnings
    from .config import Config
    from .credentials.source import MFACode, Source
    from .fleet import CredentialsCache

__all__ = ["SUMMARIES", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command, and return its exit status.

    Args:
        arguments: The arguments; None for those of the process.

    Returns:
        0 for success; 1 for an error, or if standard output cannot be written; 2 for a usage error; 130 after Ctrl-C.
        ``local-server`` and ``exec`` return the status of their command. ``fleet``, ``serve`` and ``local-server``
        without a command return 0 after a signal that ends them, at any time.
    """
    if arguments is None and "_ARGCOMPLETE" in os.environ:
        from ._cli.completion import complete

        return complete()
    with use_wording(CommandLine()):
        try:
            return _main(sys.argv[1:] if arguments is None else arguments)
        except SystemExit as ended:  # help, version, usage
            return ended.code if isinstance(ended.code, int) else 0
        except OutputLost as error:
            return report_lost(error)
        except KeyboardInterrupt:
            return 130


def _main(arguments: Sequence[str]) -> int:
    parser, options = parse(arguments)
    if options.operation is None:
        complain(parser.format_help())
        return 2
    endings = _endings(options)
    try:
        with interrupted_by(endings, ignored=(RELOAD,) if options.operation == FLEET and endings else ()):
            return _run_command(parser, options, arguments)
    except KeyboardInterrupt:
        if not endings:
            raise
        return 0


def _endings(options: "argparse.Namespace") -> tuple[str, ...]:
    """Return the signals that end the command with status 0; none if the command ends by itself."""
    if options.operation == FLEET and not options.once:
        return ENDING_OF_FLEET
    return ENDING if options.operation in (SERVE, LOCAL_SERVER) and not options.command else ()


def _run_command(parser: "Parser", options: "argparse.Namespace", arguments: Sequence[str]) -> int:
    from .errors import STSError

    try:
        with warnings_shown() as warnings:
            if options.operation == CACHE_KEY:
                return _make_cache_key(options)
            if options.operation == LOCAL_SERVER:
                return _serve_local(options)
            if options.operation == FLEET:
                return _keep(options, warnings)
            if options.operation in (SERVE, EXEC):
                return _serve_endpoint(options, warnings)
            if options.operation == EXPORT:
                healthy, output = True, _export(options, arguments, warnings)
            else:
                healthy, output = _run(options)
    except UsageError as error:
        parser.command(options.operation).end(in_one_line(error))
    except (STSError, OSError, ValueError, ImportError) as error:  # ImportError: a package is missing or too old
        complain(f"{PREFIX}{_message_of(error, options)}\n")
        return 1
    say(f"{output}\n")
    return 0 if healthy else 1


def _run(options: "argparse.Namespace") -> tuple[bool, str]:
    """Return True and the response as JSON; for ``doctor``, whether a call would succeed, and the report."""
    import asyncio

    # These functions read files and standard input, which would block a running event loop.
    values = Values()
    given = client_options_of(options, values)
    code = _mfa_code(options, values)
    if options.operation == DOCTOR:
        return asyncio.run(_examine(options, given, code))
    if options.operation in TOKENS:
        return True, _derive(options, given, code, values)
    return asyncio.run(_call(options, given, code, request_of(options, values)))


def _export(options: "argparse.Namespace", arguments: Sequence[str], warnings: "Warnings") -> str:
    """Return the credentials in the format of the options, or a profile that fetches them."""
    from ._cli.export_forms import CONFIG

    if options.format == CONFIG:
        from ._cli.export_profile import profile_of

        return profile_of(arguments, options, client_options_of(options, Values()))
    import asyncio

    from ._cli import role_options
    from ._cli.export import Settings, run
    from ._cli.exported import digest_of

    values = Values()
    settings = Settings(
        role=role_options.request_of(options, values),
        form=options.format,
        digest=digest_of(arguments, os.environ),
        cache=options.cache,
        no_cache=options.no_cache,
        strict_arns=not options.any_arn,
        local=hasattr(options, "local"),
        client=client_options_of(options, values),
        arguments=arguments,
        mfa_code=_mfa_code(options, values),
    )
    if settings.local:
        _isolate_from_aws_settings()
    # An SDK shows standard error only after a failure, and then the error alone.
    held: list[str] = []
    warnings.write = held.append
    output = asyncio.run(run(settings))
    complain("".join(held))
    return output


def _derive(options: "argparse.Namespace", given: dict[str, Any], code: "MFACode", values: Values) -> str:
    """Return a token or URL that is derived from the credentials."""
    import asyncio

    from ._cli import role_options
    from ._cli.token_commands import Settings, run

    settings = Settings(
        client=given,
        local=hasattr(options, "local"),
        role=role_options.request_of(options, values),
        mfa_code=code,
        cluster=getattr(options, "cluster", None),
        destination=getattr(options, "destination", None),
        issuer=getattr(options, "issuer", None),
        session_duration=getattr(options, "session_duration", None),
        signin_url=getattr(options, "signin_url", None),
    )
    if settings.local:
        _isolate_from_aws_settings()
    return asyncio.run(run(settings))


def _make_cache_key(options: "argparse.Namespace") -> int:
    from ._cli.fleet_client import new_cache_key

    say(f"{new_cache_key(options.id)}\n")
    return 0


def _serve_local(options: "argparse.Namespace") -> int:
    import asyncio

    from ._cli.local_server import Settings, run

    settings = Settings(
        services=options.services,
        region=getattr(options, "config_region", "us-east-1"),
        port=options.port,
        roles=options.role,
        form=options.format,
        write_env=options.write_env,
        command=options.command,
    )
    return asyncio.run(run(settings))


def _keep(options: "argparse.Namespace", warnings: "Warnings") -> int:
    import asyncio

    from ._cli.fleet import Settings, run

    values = Values()
    settings = Settings(
        roles=options.roles,
        local=hasattr(options, "local"),
        count=options.count or DEFAULT_COUNT,
        cache=_cache(options),
        cache_namespace=options.cache_namespace,
        rate=options.rate,
        concurrency=options.concurrency,
        allowed_accounts=options.allowed_accounts,
        strict_arns=not options.any_arn,
        once=options.once,
        client=client_options_of(options, values),
        mfa_code=_mfa_code(options, values),
    )
    if settings.local:
        _isolate_from_aws_settings()
    return asyncio.run(run(settings, warnings))


def _serve_endpoint(options: "argparse.Namespace", warnings: "Warnings") -> int:
    import asyncio

    from ._cli.endpoint import Settings, run

    values = Values()
    settings = Settings(
        roles=options.roles,
        name=getattr(options, "name", None),
        command=options.command,
        port=getattr(options, "port", 0),
        directory=getattr(options, "directory", None),
        local=hasattr(options, "local"),
        cache=_cache(options),
        cache_namespace=options.cache_namespace,
        allowed_accounts=options.allowed_accounts,
        strict_arns=not options.any_arn,
        client=client_options_of(options, values),
        mfa_code=_mfa_code(options, values),
    )
    if settings.local:
        _isolate_from_aws_settings()
    return asyncio.run(run(settings, warnings))


def _cache(options: "argparse.Namespace") -> "CredentialsCache | None":
    """Return the cache of the options or of the variables. The file of keys is read."""
    from ._cli.fleet_client import cache_of

    return cache_of(
        options.cache,
        key_file=options.cache_key_file,
        expected_workers=options.expected_workers,
        environ=HiddenMapping(os.environ),
        local=hasattr(options, "local"),
    )


def _message_of(error: Exception, options: "argparse.Namespace") -> str:
    """Return the message of an error as one line, with the names of options instead of members."""
    from .errors import ParamValidationError, ServiceError

    text: object = error
    if isinstance(error, ParamValidationError) and error.shape == f"{_name(options)}Request":
        text = in_options(error.violations)
    elif isinstance(error, ServiceError):
        text = error.with_encoded_message(str(error))
    elif options.operation in TOKENS:
        text = in_token_options(str(error))
    return in_one_line(text)


async def _call(
    options: "argparse.Namespace", given: dict[str, Any], code: "MFACode", request: Any
) -> tuple[bool, str]:
    """Send the request, and return True and the response as JSON."""
    from ._protocol.converter import unstructure
    from .config import Config
    from .credentials import DefaultChain

    if not hasattr(options, "local"):
        config = Config(**given)
        response = await _send(config, DefaultChain(config, mfa_code=code), request)
    else:
        from .testing import LocalSTS

        _isolate_from_aws_settings()
        async with LocalSTS() as server:
            config = Config(**{"region": server.region, "endpoint_url": server.url, **given})
            response = await _send(config, server.credentials, request)
    return True, json.dumps(unstructure(response), indent=4)


async def _send(config: "Config", credentials: "Source", request: Any) -> Any:
    from .client import STSClient

    async with STSClient(config=config, credentials=credentials) as sts:
        return await sts.send(request)


async def _examine(options: "argparse.Namespace", given: dict[str, Any], code: "MFACode") -> tuple[bool, str]:
    """Return whether a call has all that it needs, and the report."""
    from .config import Config
    from .doctor import examine

    if not hasattr(options, "local"):
        report = await examine(Config(**given), mfa_code=code, check=options.check)
        return report.healthy, str(report)
    from .testing import LocalIMDS, LocalSTS

    _isolate_from_aws_settings()
    async with LocalSTS() as server, LocalIMDS(credentials=server.issue("arn:aws:iam::123456789012:role/demo")) as imds:
        os.environ.update(
            AWS_REGION=server.region,
            AWS_ENDPOINT_URL_STS=server.url,
            AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.url,
        )
        report = await examine(Config(**given), mfa_code=code, check=options.check)
    return report.healthy, f"with local stand-ins for STS and the instance metadata service\n{report}"


def _isolate_from_aws_settings() -> None:
    """Remove the AWS variables and files of this host, so that they cannot change the result of --local."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)


def _mfa_code(options: "argparse.Namespace", values: Values) -> "MFACode":
    """Return a function that returns the code of an MFA device: from --mfa-code, else from the terminal."""
    from .errors import CredentialsError

    given: str | None = None
    checked = getattr(options, "config_validate_parameters", True)
    if hasattr(options, "mfa_code"):
        text: str = redact(str(values.read(options.mfa_code, option="--mfa-code")).strip())
        if checked and not _is_mfa_code(text):
            raise UsageError(f"--mfa-code must {SIX_DIGITS}")
        given = text
    devices: set[str] = set()

    async def code_of(serial_number: str) -> str:
        devices.add(serial_number)
        if given is not None:
            if len(devices) > 1:
                raise CredentialsError(
                    f"the codes of {len(devices)} MFA devices are needed, but --mfa-code has only one: "
                    "run this at a terminal, without --mfa-code"
                )
            return given
        try:
            code: str = redact(await ask(f"MFA code of {in_one_line(serial_number)}: "))
            if _is_mfa_code(code) or not checked:
                return code
            problem = f"the code of the MFA device must {SIX_DIGITS}"
        except NoTerminal:
            problem = (
                "the code of an MFA device is needed, and there is no terminal for a prompt: "
                "pass --mfa-code CODE, or --mfa-code - with the code on standard input"
            )
        except EOFError:
            problem = "no MFA code was given"
        raise CredentialsError(problem)

    return code_of


def _is_mfa_code(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{6}", text))


def _name(options: "argparse.Namespace") -> str:
    """Return the API name of the operation, also that of a role's credentials; empty for another command."""
    if options.operation in (EXPORT, *TOKENS):
        return "AssumeRole"
    return operation_of(options.operation).name if options.operation in SUMMARIES else ""
