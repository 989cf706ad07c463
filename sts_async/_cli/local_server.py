"""
``sts-async local-server``: the local servers of `testing` as a program, for tests in any language.

Without a command, it prints the environment variables that make SDKs use the servers, and runs until a signal ends it.
With a command, it runs the command with these variables, and ends with it.
"""

import asyncio
import contextlib
import json
import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .._protocol.endpoints import partition_of
from .._runtime.commands import FORWARDED, start
from .._runtime.signals import signal_queue
from ..testing import LocalContainer, LocalIMDS, LocalSignIn, LocalSSO, LocalSTS, Role
from ..testing.base import LocalServer
from .early_signals import ENDING
from .env_file import write_variables
from .terminal import PREFIX, complain, in_one_line, say

if TYPE_CHECKING:
    import signal

SERVICES = ("sts", "sso", "signin", "container", "imds")  # the variables of a later service replace earlier ones
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
ACCOUNT = "123456789012"
LOOPBACK = "127.0.0.1"
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # exit statuses of a shell


@attrs.frozen(kw_only=True)
class Settings:
    """
    The servers and the command to run.

    Attributes:
        services: Some of `SERVICES`. STS always runs.
        region: Region of the servers.
        port: Port of STS; each further service has the next port. 0 for free ports.
        roles: ARNs of the roles that exist; empty if every role exists. The instance, the container and the login have
            the first role.
        form: Format of the variables: ``sh``, ``dotenv`` or ``json``.
        write_env: Path of the file for the variables; None for standard output, if there is no command.
        command: A command with its arguments; empty to run until a signal ends the servers.
    """

    services: Sequence[str]
    region: str = "us-east-1"
    port: int = 0
    roles: Sequence[str] = ()
    form: str = "sh"
    write_env: str | None = None
    command: Sequence[str] = ()


async def run(settings: Settings) -> int:
    """
    Run the servers, and return the exit status: 0, or the status of the command.

    Raises:
        OSError: A port or a temporary directory is not available.
        ValueError: A role, the region or the port is invalid, or the file for the variables cannot be written.
    """
    async with contextlib.AsyncExitStack() as stack:
        signals = stack.enter_context(signal_queue(FORWARDED if settings.command else ENDING))
        home = await asyncio.to_thread(stack.enter_context, tempfile.TemporaryDirectory(prefix="sts-async-"))
        servers = _servers(settings)
        for server in servers.values():
            await _listen(server, settings, stack)
        variables = await asyncio.to_thread(_variables, settings, servers, Path(home))
        if settings.write_env is not None:
            text = _formatted({**_without_proxy(os.environ), **variables}, form=settings.form)
            written = await asyncio.to_thread(write_variables, Path(settings.write_env), text, form=settings.form)
            stack.push_async_callback(asyncio.to_thread, written.remove)
        if settings.command:
            return await _run_command(settings.command, _environment(variables), signals)
        _announce(settings, servers, variables)
        await signals.get()
    return 0


# -- Servers and their environment variables ---------------------------------------------------------------------------


def _servers(settings: Settings) -> dict[str, LocalServer[Any]]:
    """Return the servers by the names of their services, `LocalSTS` first. They are not started yet."""
    partition = partition_of(settings.region).name
    role_arn = settings.roles[0] if settings.roles else f"arn:{partition}:iam::{ACCOUNT}:role/demo"
    account, name = Role(role_arn).arn.split(":")[4], role_arn.rpartition("/")[2]
    # STS always runs: without it, the program would call AWS itself.
    chosen = [service for service in SERVICES if service in {"sts", *settings.services}]
    ports = {service: settings.port + index if settings.port else 0 for index, service in enumerate(chosen)}
    roles = [Role(arn) for arn in settings.roles] or None
    sts = LocalSTS(region=settings.region, roles=roles, account=account, port=ports["sts"])
    issue = partial(sts.issue, role_arn)
    servers: dict[str, LocalServer[Any]] = {"sts": sts}
    if "sso" in chosen:
        servers["sso"] = LocalSSO(credentials=issue, region=settings.region, port=ports["sso"])
    if "signin" in chosen:
        servers["signin"] = LocalSignIn(credentials=issue, account_id=account, port=ports["signin"])
    if "container" in chosen:
        servers["container"] = LocalContainer(credentials=issue, role_arn=role_arn, port=ports["container"])
    if "imds" in chosen:
        servers["imds"] = LocalIMDS(
            credentials=issue, role=name, region=settings.region, account_id=account, port=ports["imds"]
        )
    return servers


async def _listen(server: LocalServer[Any], settings: Settings, stack: contextlib.AsyncExitStack) -> None:
    try:
        await stack.enter_async_context(server)
    except OSError as error:
        if not settings.port or error.errno is None:
            raise
        raise ValueError(
            f"--port {settings.port}: port {server._port} of {LOOPBACK} is not available: {os.strerror(error.errno)}"
        ) from None


def _variables(settings: Settings, servers: Mapping[str, LocalServer[Any]], home: Path) -> dict[str, str]:
    """Return the variables, and write the config file and the login files that they refer to. Blocks."""
    found: dict[str, str] = {}
    for server in servers.values():
        found |= server.environ
    if set(servers) - {"sts"}:  # SDKs use keys in the environment first, and would not use the other source
        for name in KEYS:
            found.pop(name, None)
    found |= {"AWS_REGION": settings.region, "AWS_DEFAULT_REGION": settings.region}
    profiles = []
    if "sso" in servers:
        profiles.append(_sso_profile(settings, servers["sso"], home))
        found["HOME"] = str(home)  # SDKs read the token file of a login only below the home directory
    if "signin" in servers:
        profiles.append(_signin_profile(settings, servers["signin"], home))
        found["AWS_LOGIN_CACHE_DIRECTORY"] = str(home / ".aws" / "login" / "cache")
    if profiles:
        config = home / ".aws" / "config"
        sections = [f"[default]\n{profiles[0][1]}", *(f"[profile {name}]\n{text}" for name, text in profiles)]
        sections.append(
            f"[sso-session local]\nsso_start_url = https://demo.awsapps.com/start\nsso_region = {settings.region}\n"
        )
        config.write_text("\n".join(sections))
        found |= {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return found


def _sso_profile(settings: Settings, server: Any, home: Path) -> tuple[str, str]:
    server.login(home / ".aws" / "sso" / "cache", session="local")
    name = settings.roles[0].rpartition("/")[2] if settings.roles else "demo"
    account = settings.roles[0].split(":")[4] if settings.roles else ACCOUNT
    return "sso", f"sso_session = local\nsso_account_id = {account}\nsso_role_name = {name}\n"


def _signin_profile(settings: Settings, server: Any, home: Path) -> tuple[str, str]:
    who = f"arn:{partition_of(settings.region).name}:iam::{server.account_id}:user/developer"
    server.login(home / ".aws" / "login" / "cache", login_session=who, region=settings.region)
    return "signin", f"login_session = {who}\n"


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: that of this process, with its AWS variables replaced by *variables*."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**others, **_without_proxy(others), **variables}


def _without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return NO_PROXY variables for this host, if the environment has a proxy: some SDKs would use it for loopback."""
    if not any(environ.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")):
        return {}
    before = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return dict.fromkeys(("no_proxy", "NO_PROXY"), f"{before},{LOOPBACK}".lstrip(","))


# -- Without a command -------------------------------------------------------------------------------------------------


def _announce(settings: Settings, servers: Mapping[str, LocalServer[Any]], variables: Mapping[str, str]) -> None:
    """Write the variables to standard output, unless they are in a file, and then the line ``# ready``."""
    text = ""
    if settings.write_env is None:
        text = _formatted({**_without_proxy(os.environ), **variables}, form=settings.form)
    ready = " ".join(f"{name}={server.url}" for name, server in servers.items())
    if settings.form != "json" or not text:  # JSON is one line, so a reader knows that it is complete
        text += f"# ready: {ready}\n"
    say(text)


def _formatted(variables: Mapping[str, str], *, form: str) -> str:
    """Return the variables as shell commands, as a ``.env`` file, or as one line of JSON."""
    if form == "json":
        return f"{json.dumps(dict(sorted(variables.items())))}\n"
    if form == "dotenv":
        return "".join(f"{name}={value}\n" for name, value in sorted(variables.items()))
    others = sorted(name for name in os.environ if name.startswith("AWS_") and name not in variables)
    lines = [f"unset {' '.join(map(shlex.quote, others))}\n"] if others else []
    lines += [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())]
    return "".join(lines)


# -- With a command ----------------------------------------------------------------------------------------------------


async def _run_command(
    command: Sequence[str], environ: Mapping[str, str], signals: "asyncio.Queue[signal.Signals]"
) -> int:
    """Run a command with the standard streams of this process, forward signals, and return its status as a shell."""
    try:
        started = await start(command, environ)
    except OSError as error:
        complain(f"{PREFIX}{in_one_line(command[0])}: {error.strerror}\n")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    return await started.run(signals, grace=None)
