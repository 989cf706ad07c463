"""`sts-async serve` and `sts-async exec`: the credentials of a file of roles, for every SDK of a host."""

import asyncio
import json
import os
import re
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from cli.programs import run, start
from patience import soon, until
from processes import gone, pids_in

from sts_async import cli
from sts_async.testing import LocalSTS, Role

ROLES = """\
arn:aws:iam::123456789012:role/hub name=hub
arn:aws:iam::123456789012:role/data name=data through=hub
arn:aws:iam::123456789012:role/wrong name=wrong
"""
BOTO3 = (
    "import boto3, json; session = boto3.Session(); keys = session.get_credentials();"
    "print(json.dumps([keys.method, session.client('sts').get_caller_identity()['Arn']]))"
)


@pytest.fixture
async def server() -> AsyncIterator[LocalSTS]:
    roles = [Role(f"arn:aws:iam::123456789012:role/{name}") for name in ("hub", "data")]
    async with LocalSTS(roles=roles) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "roles.txt"
    path.write_text(ROLES)
    return path


async def lines_of(process: asyncio.subprocess.Process) -> list[str]:
    """Return the lines of `serve` up to the one that says that all is ready."""
    assert process.stdout
    lines: list[str] = []
    while not lines or not lines[-1].startswith("# ready"):
        line = (await soon(process.stdout.readline())).decode()
        assert line, "it ended"
        lines.append(line)
    return lines


# -- exec --------------------------------------------------------------------------------------------------------------


async def test_a_command_has_the_credentials_of_an_identity(server: LocalSTS, file: Path) -> None:
    """And not those that signed for it, although its environment had them."""
    process = await start(server, "exec", "data", "--roles", file, "--", sys.executable, "-c", BOTO3)
    out, err = await soon(process.communicate())

    assert (process.returncode, err) == (0, b"")
    assert json.loads(out) == ["container-role", "arn:aws:sts::123456789012:assumed-role/data/sts-async"]


async def test_only_the_identity_of_the_command_is_fetched(server: LocalSTS, file: Path) -> None:
    """Those that sign for it, too."""
    assert (await run(server, "exec", "data", "--roles", file, "--", "true"))[0] == 0

    assert [request.operation for request in server.requests] == ["AssumeRole", "AssumeRole"]


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)])
async def test_the_status_is_that_of_the_command(script: str, status: int) -> None:
    assert await run(None, "--local", "exec", "demo-0001", "--", "sh", "-c", script) == (status, "", "")


@pytest.mark.parametrize(("command", "status"), [("/does/not/exist", 127), ("/", 126)])
async def test_a_command_that_cannot_be_run_has_the_status_of_a_shell(command: str, status: int) -> None:
    found, out, err = await run(None, "--local", "exec", "demo-0001", "--", command)

    assert (found, out) == (status, "")
    assert re.fullmatch(rf"sts-async: {command}: [A-Z][a-z ]+\n", err)


async def test_signals_reach_the_command_and_the_command_decides(tmp_path: Path) -> None:
    """Its end is our end."""
    ready = tmp_path / "ready"
    script = f"trap 'exit 5' TERM; echo > {ready}; while :; do sleep 0.01; done"
    process = await start(None, "--local", "exec", "demo-0001", "--", "sh", "-c", script)
    await until(ready.exists)
    process.terminate()

    assert await soon(process.wait()) == 5


async def test_a_second_signal_does_not_leave_the_command_behind(tmp_path: Path) -> None:
    """The command ignores the first one."""
    pids = tmp_path / "pids"
    script = f"trap '' INT; echo $$ > {pids}; while :; do sleep 0.01; done"
    process = await start(None, "--local", "exec", "demo-0001", "--", "sh", "-c", script)
    (pid,) = await pids_in(pids, count=1)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)

    assert await soon(process.wait()) == 128 + signal.SIGTERM
    assert await gone(pid)


async def test_local_credentials_work_in_any_sdk(tmp_path: Path) -> None:
    """STS of the command is the local one."""
    command = ("sh", "-c", 'exec "$@" > "$0"', tmp_path / "said", sys.executable, "-c", BOTO3)
    status, _, _ = await run(None, "--local", "exec", "demo-0001", "--", *command)
    out = (tmp_path / "said").read_text()

    assert status == 0
    assert json.loads(out)[1] == "arn:aws:sts::123456789012:assumed-role/demo-0001/sts-async"


# -- serve -------------------------------------------------------------------------------------------------------------


async def test_all_identities_that_can_be_used_are_served_until_a_signal(server: LocalSTS, file: Path) -> None:
    """A role that STS refuses does not stop the others. The files go with the command."""
    process = await start(server, "serve", "--roles", file)
    lines = await lines_of(process)
    variables = {name: dict(word.split("=", 1) for word in words) for name, *words in map(str.split, lines[:-1])}
    token = Path(variables["data"]["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])

    assert list(variables) == ["hub", "data", "wrong"]
    assert re.fullmatch(r"# ready: 3 identities on http://127\.0\.0\.1:\d+\n", lines[-1])
    assert stat.S_IMODE((await asyncio.to_thread(token.stat)).st_mode) == 0o600
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BOTO3),
        env={
            **variables["data"],
            "AWS_ENDPOINT_URL_STS": server.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "HOME": os.environ["HOME"],
        },
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await soon(child.communicate())
    assert json.loads(out) == ["container-role", "arn:aws:sts::123456789012:assumed-role/data/sts-async"]
    process.terminate()
    _, err = await soon(process.communicate())
    assert process.returncode == 0
    assert "role/wrong" in err.decode()
    assert not await asyncio.to_thread(token.parent.exists)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_with_status_0(number: signal.Signals, tmp_path: Path) -> None:
    """With a directory of the user, which stays."""
    directory = tmp_path / "tokens"
    process = await start(None, "--local", "serve", "--directory", directory)
    await lines_of(process)
    assert sorted(path.name for path in directory.iterdir()) == ["demo-0001.token"]
    process.send_signal(number)

    assert await soon(process.communicate()) == (b"", b"")
    assert process.returncode == 0
    assert list(directory.iterdir()) == []


async def test_a_reader_that_has_gone_ends_it(tmp_path: Path) -> None:
    """Nobody would read where the credentials are. No token file is left."""
    reader, writer = os.pipe()
    os.close(reader)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sts_async", "--local", "serve", "--directory", str(tmp_path / "tokens")),
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
    )
    os.close(writer)

    assert await soon(process.communicate()) == (None, b"")
    assert process.returncode == 1
    assert list((tmp_path / "tokens").iterdir()) == []


@pytest.mark.parametrize(("command", "status"), [(["serve"], 0), (["exec", "data"], 128 + signal.SIGTERM)])
async def test_a_signal_at_the_start_leaves_nothing(
    file: Path, tmp_path: Path, command: list[str], status: int
) -> None:
    """While the first credentials are fetched, no command runs and no token is written."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = LocalSTS()
        process = await start(
            None,
            *(*command, "--roles", file, *(("--", "true") if command[0] == "exec" else ())),
            AWS_ACCESS_KEY_ID="AKIA",
            AWS_SECRET_ACCESS_KEY="x",
            AWS_ENDPOINT_URL_STS=f"http://127.0.0.1:{silent.getsockname()[1]}",
            AWS_REGION=server.region,
            TMPDIR=str(tmp_path),
        )
        (await asyncio.to_thread(silent.accept))[0].close()
        process.terminate()

        assert (await soon(process.communicate()))[0] == b""
        assert process.returncode == status
    assert [name for name in await asyncio.to_thread(os.listdir, tmp_path) if name.startswith("sts-async")] == []


# -- Bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["exec", "dta"], r"no identity has this name \(did you mean data\?\)"),
        (["exec", "x"], "no identity has this name"),
    ],
)
async def test_a_name_that_the_file_does_not_have_is_an_error(
    server: LocalSTS, file: Path, arguments: Sequence[str], problem: str
) -> None:
    """The message suggests a similar one, and does not repeat what was given."""
    status, out, err = await run(server, *arguments, "--roles", file, "--", "true")

    assert (status, out) == (1, "")
    assert re.fullmatch(rf"sts-async: .*roles\.txt: {problem}\n", err)


async def test_a_port_in_use_is_an_error(server: LocalSTS, file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, out, err = await run(server, "serve", "--roles", file, "--port", str(port))

    assert (status, out) == (1, "")
    assert err == f"sts-async: port {port} of 127.0.0.1 is not available: {os.strerror(98)}\n"


async def test_a_role_that_sts_refuses_is_the_error_of_the_command(
    server: LocalSTS, file: Path, tmp_path: Path
) -> None:
    """The command is not run without credentials."""
    status, out, err = await run(server, "exec", "wrong", "--roles", file, "--", "touch", tmp_path / "it ran")

    assert (status, out, (tmp_path / "it ran").exists()) == (1, "", False)
    assert "AccessDenied" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["serve"], "the following arguments are required: --roles"),
        (["exec"], "the following arguments are required: NAME"),
        (["exec", "x", "--", "true"], "the following arguments are required: --roles"),
        (["--local", "exec", "x"], "write the command after --, as in `sts-async exec NAME -- COMMAND`"),
        (["--local", "exec", "x", "--"], "a command must follow --"),
        (["--local", "exec", "x", "true"], "write the command after --, as in `sts-async exec NAME -- COMMAND`"),
        (["--local", "serve", "--port", "65536"], "argument --port: must be 0 to 65535"),
        (["--local", "serve", "--directry", "x"], "unrecognized option --directry (did you mean --directory?)"),
        (["--local", "serve", "x"], "unexpected positional argument"),
        (["srve"], "invalid OPERATION (did you mean serve?)"),
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, before anything is read or sent."""
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()

    assert out == ""
    assert problem in err


@pytest.mark.parametrize("arguments", [["help", "serve"], ["exec", "--help"], ["help", "exec"]])
def test_help_shows_how_it_is_used(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 0

    assert "examples:\n  sts-async " in capsys.readouterr().out
