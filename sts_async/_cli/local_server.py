"""
``sts-async local-server``: the stand-ins of `testing` as a program, for tests in any language.

It either prints the variables that lead SDKs to them and runs until it is told to end, or it runs one command with
these variables, and ends with it.
"""

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from .._protocol.endpoints import partition_of
from ..testing import LocalContainer, LocalIMDS, LocalSignIn, LocalSSO, LocalSTS, Role
from ..testing.base import LocalServer
from .env_file import write_variables
from .terminal import PREFIX, complain, in_one_line, say

SERVICES = ("sts", "sso", "signin", "container", "imds")  # in this order: the variables of a later one count
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
ACCOUNT = "123456789012"
LOOPBACK = "127.0.0.1"
NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128  # exit statuses, as of a shell
FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
FROM_TERMINAL = ("SIGINT", "SIGQUIT")


@attrs.frozen(kw_only=True)
class Settings:
    """
    What to run.

    Attributes:
        services: Some of `SERVICES`. STS runs in any case.
        region: Region of the stand-ins.
        port: Port of STS, the next one for each further service; 0 for free ports.
        roles: ARNs of the roles that exist; none for every role. The first is that of instance, container and login.
        form: How variables are written: ``sh``, ``dotenv`` or ``json``.
        write_env: The file that they are written to, or None: to standard output if there is no command.
        command: What to run, with its arguments; empty to run until a signal comes.
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
    Run the servers, and return the exit status: 0, or that of the command.

    Raises:
        OSError: A port or a file cannot be had.
        ValueError: A role or the region is invalid.
    """
    async with contextlib.AsyncExitStack() as stack:
        told = stack.enter_context(_told_by(FORWARDED if settings.command else ENDING))
        home = await asyncio.to_thread(stack.enter_context, tempfile.TemporaryDirectory(prefix="sts-async-"))
        servers = _servers(settings)
        for server in servers.values():
            await _listen(server, settings, stack)
        variables = await asyncio.to_thread(_variables, settings, servers, Path(home))
        if settings.write_env is not None:
            text = _written({**_without_proxy(os.environ), **variables}, form=settings.form)
            written = await asyncio.to_thread(write_variables, Path(settings.write_env), text, form=settings.form)
            stack.push_async_callback(asyncio.to_thread, written.remove)
        if settings.command:
            return await _run_command(settings.command, _environment(variables), told)
        _announce(settings, servers, variables)
        await told.get()
    return 0


# -- Servers and the variables that lead to them -----------------------------------------------------------------------


def _servers(settings: Settings) -> dict[str, LocalServer[Any]]:
    """Return the servers by the names of their services, `LocalSTS` first. None of them runs yet."""
    partition = partition_of(settings.region).name
    role_arn = settings.roles[0] if settings.roles else f"arn:{partition}:iam::{ACCOUNT}:role/demo"
    account, name = Role(role_arn).arn.split(":")[4], role_arn.rpartition("/")[2]
    # STS in any case: without it, the calls of the program would go to AWS itself.
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
            f"--port {settings.port}: port {server._port} of {LOOPBACK} cannot be had: {os.strerror(error.errno)}"
        ) from None


def _variables(settings: Settings, servers: Mapping[str, LocalServer[Any]], home: Path) -> dict[str, str]:
    """Return the variables, and write the files of logins that some of them lead to. Called in a thread."""
    found: dict[str, str] = {}
    for server in servers.values():
        found |= server.environ
    if set(servers) - {"sts"}:  # another source of credentials, which the keys of the user would hide
        for name in KEYS:
            found.pop(name, None)
    found |= {"AWS_REGION": settings.region, "AWS_DEFAULT_REGION": settings.region}
    profiles = []
    if "sso" in servers:
        profiles.append(_sso_profile(settings, servers["sso"], home))
        found["HOME"] = str(home)  # SDKs look for the token of a login below it, and nowhere else
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
    """Return the environment of a command: that of this process, with nothing of its own that is about AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **_without_proxy(kept), **variables}


def _without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps SDKs from asking a proxy for this host: not all of them leave it alone by themselves."""
    if not any(environ.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")):
        return {}
    before = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return dict.fromkeys(("no_proxy", "NO_PROXY"), f"{before},{LOOPBACK}".lstrip(","))


# -- Until a signal comes ----------------------------------------------------------------------------------------------


def _announce(settings: Settings, servers: Mapping[str, LocalServer[Any]], variables: Mapping[str, str]) -> None:
    """Write the variables, unless a file has them, and say that all is ready, as the last thing."""
    text = ""
    if settings.write_env is None:
        text = _written({**_without_proxy(os.environ), **variables}, form=settings.form)
    ready = " ".join(f"{name}={server.url}" for name, server in servers.items())
    if settings.form != "json" or not text:  # one line of JSON says by itself that it is whole
        text += f"# ready: {ready}\n"
    say(text)


def _written(variables: Mapping[str, str], *, form: str) -> str:
    """Return the variables for a shell, for a program that reads ``.env`` files, or as one line of JSON."""
    if form == "json":
        return f"{json.dumps(dict(sorted(variables.items())))}\n"
    if form == "dotenv":
        return "".join(f"{name}={value}\n" for name, value in sorted(variables.items()))
    others = sorted(name for name in os.environ if name.startswith("AWS_") and name not in variables)
    lines = [f"unset {' '.join(map(shlex.quote, others))}\n"] if others else []
    lines += [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())]
    return "".join(lines)


@contextlib.contextmanager
def _told_by(names: Sequence[str]) -> "Iterator[asyncio.Queue[signal.Signals]]":
    """Return a queue that gets each of these signals while the block runs, in place of what they do otherwise."""
    loop, told = asyncio.get_running_loop(), asyncio.Queue[signal.Signals]()
    taken = []
    for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
        if signal.getsignal(number) is signal.SIG_IGN:
            continue  # as of `nohup`, and of SIGINT behind an `&` of a script
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # on Windows; not the main thread
            loop.add_signal_handler(number, told.put_nowait, number)
            taken.append(number)
    try:
        yield told
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


# -- With a command ----------------------------------------------------------------------------------------------------


async def _run_command(
    command: Sequence[str], environ: Mapping[str, str], told: "asyncio.Queue[signal.Signals]"
) -> int:
    """Run a command with our own standard streams, forward signals to it, and return its status as a shell gives it."""
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environ)
    except OSError as error:
        complain(f"{PREFIX}{in_one_line(command[0])}: {error.strerror}\n")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    forwards = asyncio.create_task(_forward(told, process))
    try:
        status = await process.wait()
    finally:
        forwards.cancel()
    return SIGNALLED - status if status < 0 else status


async def _forward(told: "asyncio.Queue[signal.Signals]", process: asyncio.subprocess.Process) -> None:
    while True:
        number = await told.get()
        if not (number.name in FROM_TERMINAL and _is_in_foreground()):  # a terminal has sent it to the command, too
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def _is_in_foreground() -> bool:
    """Say whether a terminal sends its Ctrl-C to this process and the command that it runs."""
    if sys.platform == "win32":
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
