"""A command with the environment of the endpoint: its signals, its status, and its end."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from agent.endpoints import open_endpoint
from agent.test_environ import KEYS, ROLE, write_files
from fleet.fleets import Service
from patience import soon, turns, until
from processes import children, gone, pids_in

from sts_async.agent import CredentialsEndpoint, run_child
from sts_async.errors import ClientClosedError, ConfigurationError, InvalidConfigFile
from sts_async.testing import VirtualClock

STUBBORN = "trap '' TERM; echo $$ > {0}; while :; do sleep 0.01; done"


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


async def environ_of(endpoint: CredentialsEndpoint, path: Path, **options: dict[str, str]) -> dict[str, str]:
    """Return the environment that a command has."""
    code = f"import json, os; json.dump(dict(os.environ), open({str(path)!r}, 'w'))"
    assert await run_child(endpoint, "demo", [sys.executable, "-S", "-E", "-c", code], **options) == 0
    return read(path)


def exists(path: str) -> bool:
    return os.path.lexists(path)


def read(path: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 255", 255)]
)
async def test_the_status_is_that_of_a_shell(watched: None, clock: VirtualClock, script: str, status: int) -> None:
    """So the caller of our command sees the status of the command."""
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        assert await soon(run_child(endpoint, "demo", shell(script))) == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
async def test_signals_are_forwarded(
    watched: None, clock: VirtualClock, number: signal.Signals, tmp_path: Path
) -> None:
    """The command decides about its end, and this process goes on until then."""
    ready, got = tmp_path / "ready", tmp_path / "got"
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo {name} > {got}; exit 5' {name}; echo > {ready}; while :; do sleep 0.01; done"
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        running = asyncio.create_task(run_child(endpoint, "demo", shell(script)))
        await until(ready.exists)
        os.kill(os.getpid(), number)

        assert await soon(running) == 5
        assert got.read_text().strip() == name
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_signals_of_a_program_are_handled_by_it_again(watched: None, clock: VirtualClock) -> None:
    """The program had functions for them before."""
    got: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: got.append(number))
    try:
        async with open_endpoint(Service(clock), clock) as (_, endpoint):
            assert await soon(run_child(endpoint, "demo", shell("exit 0"))) == 0
            os.kill(os.getpid(), signal.SIGUSR1)
            await until(lambda: got)
    finally:
        signal.signal(signal.SIGUSR1, before)


async def test_a_program_can_keep_its_signals(watched: None, clock: VirtualClock, tmp_path: Path) -> None:
    """It ends the command by cancelling the caller."""
    got: list[int] = []
    path = tmp_path / "pid"
    before = signal.signal(signal.SIGUSR1, lambda number, _: got.append(number))
    try:
        async with open_endpoint(Service(clock), clock) as (_, endpoint):
            command = shell(f"echo $$ > {path}; exec sleep 1000")
            running = asyncio.create_task(run_child(endpoint, "demo", command, forward_signals=False))
            (pid,) = await pids_in(path, count=1)
            os.kill(os.getpid(), signal.SIGUSR1)
            await until(lambda: got)
            assert not running.done()
            running.cancel()
            await soon(asyncio.wait([running]))
            assert await gone(pid)
    finally:
        signal.signal(signal.SIGUSR1, before)


async def test_a_command_that_ignores_sigterm_is_killed(watched: None, clock: VirtualClock, tmp_path: Path) -> None:
    """After the grace: a service manager would kill this process, and leave the command behind."""
    path = tmp_path / "pid"
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        running = asyncio.create_task(run_child(endpoint, "demo", shell(STUBBORN.format(path)), grace=0.05))
        (pid,) = await pids_in(path, count=1)
        os.kill(os.getpid(), signal.SIGTERM)

        assert await soon(running) == 128 + signal.SIGKILL
        assert await gone(pid)


@pytest.mark.parametrize("script", ["echo $$ > {0}; exec sleep 1000", STUBBORN])
async def test_a_cancelled_caller_leaves_no_command(
    watched: None, clock: VirtualClock, script: str, tmp_path: Path
) -> None:
    """Also if the command ignores SIGTERM."""
    path = tmp_path / "pid"
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        running = asyncio.create_task(run_child(endpoint, "demo", shell(script.format(path)), grace=0.05))
        (pid,) = await pids_in(path, count=1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(running)

        assert await gone(pid)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 10, 100, 1000])
async def test_a_caller_that_is_cancelled_at_the_start_leaves_no_command(
    watched: None, clock: VirtualClock, count: int
) -> None:
    """At whatever point of the start."""
    before = children()
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        running = asyncio.create_task(run_child(endpoint, "demo", shell("exec sleep 1000"), grace=0.05))
        await turns(count)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(running)
        assert children() <= before


async def test_the_endpoint_answers_while_the_command_runs(watched: None, clock: VirtualClock) -> None:
    """Starting and waiting does not block the event loop."""
    code = (
        "import os, urllib.request as r\n"
        "token = open(os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE']).read()\n"
        "url = os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI']\n"
        "assert r.urlopen(r.Request(url, headers={'Authorization': token})).status == 200\n"
    )
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        assert await soon(run_child(endpoint, "demo", [sys.executable, "-S", "-E", "-c", code])) == 0


async def test_a_command_gets_a_copy_of_the_config_without_credentials(
    watched: None, clock: VirtualClock, tmp_path: Path
) -> None:
    """Otherwise an SDK would use those of the default profile, and never ask the endpoint."""
    write_files(config=f"[default]\nregion = eu-west-1\nretry_mode = standard\n{ROLE}", credentials=f"[other]\n{KEYS}")
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        code = "import os; print(open(os.environ['AWS_CONFIG_FILE']).read(), file=open(os.environ['OUT'], 'w'))"
        out = tmp_path / "out"
        environ = {**os.environ, "OUT": str(out)}
        assert await run_child(endpoint, "demo", [sys.executable, "-c", code], environ=environ) == 0
        found = await environ_of(endpoint, tmp_path / "environ")

        assert found["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
        assert "retry_mode = standard" in out.read_text()
        assert "SENTINEL" not in out.read_text()
        assert "role_arn" not in out.read_text()
        assert not exists(found["AWS_CONFIG_FILE"])


async def test_files_without_credentials_are_not_replaced(watched: None, clock: VirtualClock, tmp_path: Path) -> None:
    """The command can use other profiles, which have sources of their own."""
    write_files(config="[default]\nregion = eu-west-1\n", credentials=f"[other]\n{KEYS}")
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        found = await environ_of(endpoint, tmp_path / "environ", environ={**os.environ, "AWS_ACCESS_KEY_ID": "x"})

        assert not {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ACCESS_KEY_ID"} & set(found)


async def test_a_selected_profile_becomes_the_default(watched: None, clock: VirtualClock, tmp_path: Path) -> None:
    """An SDK would take the credentials of the selected profile."""
    write_files(config=f"[profile dev]\nretry_mode = adaptive\n{ROLE}")
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        code = "import os; print(open(os.environ['AWS_CONFIG_FILE']).read(), file=open(os.environ['OUT'], 'w'))"
        environ = {**os.environ, "OUT": str(tmp_path / "out"), "AWS_PROFILE": "dev"}
        assert await run_child(endpoint, "demo", [sys.executable, "-c", code], environ=environ) == 0

        assert "[default]\nretry_mode = adaptive\n" in (tmp_path / "out").read_text()


async def test_files_that_cannot_be_read_are_an_error(watched: None, clock: VirtualClock) -> None:
    """The command could use credentials in them, so it is not run."""
    write_files(config="[default\n")
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        with pytest.raises(InvalidConfigFile):
            await run_child(endpoint, "demo", shell("exit 0"))


async def test_commands_that_cannot_be_run_are_errors(watched: None, clock: VirtualClock, tmp_path: Path) -> None:
    """As the system reports them, and nothing is left."""
    plain = tmp_path / "plain"
    plain.write_text("x")
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        with pytest.raises(FileNotFoundError):
            await run_child(endpoint, "demo", ["/does/not/exist"])
        with pytest.raises(PermissionError):
            await run_child(endpoint, "demo", [str(plain)])
        for command in ([], "exit 0"):
            with pytest.raises(ConfigurationError, match="command must be a list"):
                await run_child(endpoint, "demo", command)
        with pytest.raises(ConfigurationError, match="grace"):
            await run_child(endpoint, "demo", shell("exit 0"), grace=0)
        with pytest.raises(ConfigurationError, match="serves no identity"):
            await run_child(endpoint, "other", shell("exit 0"))
    with pytest.raises(ClientClosedError, match="not open"):
        await run_child(endpoint, "demo", shell("exit 0"))


async def test_the_path_of_the_given_environment_is_searched(
    watched: None, clock: VirtualClock, tmp_path: Path
) -> None:
    """The command is what a shell with this environment would run."""
    program = tmp_path / "bin" / "mine"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        environ = {"PATH": str(program.parent), "HOME": os.environ["HOME"]}

        assert await run_child(endpoint, "demo", ["mine"], environ=environ) == 9


async def test_a_caller_that_is_cancelled_twice_leaves_no_command(watched: None, clock: VirtualClock) -> None:
    """At the start, where the process does not exist yet when the caller has gone."""
    before = children()
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        for count in range(0, 60, 3):
            running = asyncio.create_task(run_child(endpoint, "demo", shell("exec sleep 1000"), grace=0.05))
            await turns(count)
            running.cancel()
            await turns(1)
            running.cancel()
            await soon(asyncio.wait([running]))
        await until(lambda: children() <= before)
