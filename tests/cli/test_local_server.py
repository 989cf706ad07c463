"""`sts-async local-server`: stand-ins for tests in any language, as variables for a shell and around a command."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import run_here
from terminals import Terminal

from sts_async import cli
from sts_async._cli import local_server
from sts_async._cli.env_file import MARK

BOTO3 = (
    "import boto3, json; session = boto3.Session(); keys = session.get_credentials(); sts = session.client('sts');"
    "print(json.dumps([keys.method, sts.get_caller_identity()['Arn'], sts.meta.endpoint_url]))"
)
WHO = [sys.executable, "-c", BOTO3]
READY = "# ready: "


def environ(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **more}


async def start(*arguments: str, **more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "sts_async", "local-server", *arguments),
        env=environ(**more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def run(*arguments: str, **more: str) -> tuple[int | None, str, str]:
    """Run the servers in a process of their own, for a command that uses the streams of this process."""
    process = await start(*arguments, **more)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def run_servers(*arguments: str, **more: str) -> tuple[int, str, str]:
    """Run the servers in this process, up to an error or around a command."""
    return await run_here(environ(**more), "local-server", *arguments)


async def told(path: Path, options: Sequence[str], command: Sequence[str], **more: str) -> tuple[int, str]:
    """Return the status of a command around which servers run in this process, and what it writes, errors included."""
    written = ("sh", "-c", 'exec "$@" > "$0" 2>&1', str(path), *command)
    status, out, err = await run_servers(*options, "--", *written, **more)
    assert (out, err) == ("", "")
    return status, await asyncio.to_thread(path.read_text)


async def until_ready(process: asyncio.subprocess.Process) -> list[str]:
    """Return the lines that the server writes, up to the one that says that all is ready."""
    assert process.stdout
    lines = []
    while not lines or not lines[-1].startswith((READY, "{")):
        line = (await process.stdout.readline()).decode()
        assert line, "it ended"
        lines.append(line)
    return lines


async def end(process: asyncio.subprocess.Process, number: int = signal.SIGTERM) -> int | None:
    process.send_signal(number)
    out, err = await process.communicate()
    assert (out, err) == (b"", b"")
    return process.returncode


# -- Around a command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("services", "method", "arn"),
    [
        ([], "env", ":user/developer"),
        (["--services", "sts"], "env", ":user/developer"),
        (["--services", "imds"], "iam-role", ":assumed-role/demo/local"),
        (["--services", "sts,imds"], "iam-role", ":assumed-role/demo/local"),
        (["--services", "container"], "container-role", ":assumed-role/demo/local"),
        (["--services", "sso"], "sso", ":assumed-role/demo/local"),
        (["--services", "signin"], "login", ":assumed-role/demo/local"),
        (["--services", "imds,container,sts"], "container-role", ":assumed-role/demo/local"),
    ],
    ids=str,
)
async def test_boto3_takes_its_credentials_from_the_stand_in(
    tmp_path: Path, services: list[str], method: str, arn: str
) -> None:
    """
    Settings of the host have no effect, and a proxy is not used.

    Calls of STS go to the local server with each source. Otherwise, credentials of a local server and requests of a
    test would be sent to AWS.
    """
    status, said = await told(
        tmp_path / "said",
        services,
        WHO,
        AWS_PROFILE="gone",
        AWS_SESSION_TOKEN="SENTINEL",
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        http_proxy="http://127.0.0.1:1",
        NO_PROXY="example.com",
    )

    assert status == 0, said
    found_method, found_arn, url = json.loads(said)
    assert found_method == method
    assert found_arn.startswith("arn:aws:")
    assert found_arn.endswith(arn)
    assert url.startswith("http://127.0.0.1:")


@pytest.mark.slow
async def test_sts_async_gets_the_same_credentials_as_boto3(tmp_path: Path) -> None:
    doctor = [sys.executable, "-W", "error", "-m", "sts_async", "doctor", "--check"]
    for services in ("sts", "sts,imds", "sts,container", "sts,sso", "sts,signin"):
        status, said = await told(tmp_path / "said", ["--services", services], doctor)

        assert status == 0, said


@pytest.mark.slow
async def test_only_the_roles_that_are_named_exist(tmp_path: Path) -> None:
    """The first is the one of the instance, too."""
    roles = ["--role", "arn:aws-cn:iam::210987654321:role/path/web", "arn:aws-cn:iam::210987654321:role/other"]
    where = ["--region", "cn-north-1", *roles]
    call = [sys.executable, "-m", "sts_async", "assume-role", "--role-session-name", "me", "--role-arn"]
    _, out = await told(tmp_path / "said", where, [*call, "arn:aws-cn:iam::210987654321:role/other"])
    status, err = await told(tmp_path / "said", where, [*call, "arn:aws-cn:iam::210987654321:role/third"])
    _, who = await told(tmp_path / "said", ["--services", "sts,imds", *where], WHO)

    assert json.loads(out)["AssumedRoleUser"]["Arn"].endswith("::210987654321:assumed-role/other/me")
    assert (status, err[:24]) == (1, "sts-async: AccessDenied:")
    assert json.loads(who)[1] == "arn:aws-cn:sts::210987654321:assumed-role/web/local"


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (["true"], 0, ""),
        (["sh", "-c", "exit 3"], 3, ""),
        (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM, ""),
        (["/gone/program"], 127, "sts-async: /gone/program: No such file or directory\n"),
        (["/"], 126, "sts-async: /: Permission denied\n"),
    ],
    ids=str,
)
async def test_the_status_is_that_of_the_command_as_a_shell_gives_it(
    command: Sequence[str], status: int, message: str
) -> None:
    assert await run_servers("--", *command) == (status, "", message)


async def test_the_command_has_the_streams_and_all_arguments() -> None:
    """Also those that look like options of ours."""
    status, out, err = await run("--", "sh", "-c", 'echo "$@"; echo err >&2', "sh", "--services", "--", "x y")

    assert (status, out, err) == (0, "--services -- x y\n", "err\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
async def test_signals_are_forwarded_to_the_command(number: signal.Signals) -> None:
    """The command decides; the servers are there until it has ended."""
    # A program that was started with a signal ignored, as by `nohup`, cannot trap it.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        await forward(number)
    finally:
        signal.signal(number, before)


async def forward(number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo told; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
    process = await start("--", "sh", "-c", script)
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    out, err = await process.communicate()

    assert (process.returncode, out, err) == (7, b"told\n", b"")


async def test_ctrl_c_at_a_terminal_reaches_the_command_once() -> None:
    """The terminal sends it to both: forwarding it would end a test runner that only begins to clean up."""
    program = (
        "import os, signal, sys\n"
        "told = []\n"
        # Not `print`: the signal may come while the line below is still being flushed.
        "signal.signal(signal.SIGINT, lambda *_: (told.append(1), os.write(1, b'told\\n')))\n"
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(40 + len(told)))\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()\n"
    )
    terminal = Terminal()
    await terminal.start("local-server", "--", sys.executable, "-c", program)
    assert terminal.process.stdout
    assert await terminal.process.stdout.readline() == b"ready\n"
    terminal.type(b"\x03")
    assert await terminal.process.stdout.readline() == b"told\n"
    terminal.process.send_signal(signal.SIGUSR1)  # forwarded behind whatever else is
    status, out, err = await terminal.end()
    terminal.close()

    assert (status, out, err) == (41, "", "")


# -- Until a signal comes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_shell_reads_the_variables_and_a_signal_ends_the_server(number: signal.Signals) -> None:
    """The last line says that it is ready; the variables of the shell that would be in the way are unset."""
    process = await start(AWS_PROFILE="gone")
    text = "".join(await until_ready(process))
    shell = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'{text}\n"$@"', "sh", *WHO), env=environ(AWS_PROFILE="gone"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await shell.communicate()

    assert json.loads(out)[:2] == ["env", "arn:aws:iam::123456789012:user/developer"]
    assert text.rstrip().splitlines()[-1].startswith(f"{READY}sts=http://127.0.0.1:")
    assert await end(process, number) == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what a process ignores")
async def test_a_signal_that_is_ignored_stays_so() -> None:
    """As of a server that `nohup` starts."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", "trap '' HUP; exec \"$@\"", "sh", sys.executable, "-m", "sts_async", "local-server"),
        env=environ(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await until_ready(process)
    status = await asyncio.to_thread(Path(f"/proc/{process.pid}/status").read_text)
    ignored = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))

    assert int(ignored, 16) >> (signal.SIGHUP - 1) & 1
    assert await end(process) == 0


async def test_variables_are_written_for_other_readers_too() -> None:
    """One line of JSON is ready when it is there; `dotenv` has no quotes, which Docker would keep."""
    process = await start("--format", "json", "--services", "sts,imds")
    (line,) = await until_ready(process)
    assert await end(process) == 0
    process = await start("--format", "dotenv", "--services", "sts,imds")
    *lines, ready = await until_ready(process)
    assert await end(process) == 0

    variables = json.loads(line)
    assert "AWS_ACCESS_KEY_ID" not in variables
    assert [text.partition("=")[0] for text in lines] == sorted(variables)
    assert ready.startswith(READY)


async def test_a_file_with_the_variables_is_there_when_all_is_ready_and_gone_at_the_end(tmp_path: Path) -> None:
    """It has keys in it, though of no worth: only its owner reads it, whatever was there before."""
    path = tmp_path / "sts.env"
    path.write_text(f"{MARK}export AWS_REGION=before\n")  # as a run leaves it that was killed
    path.chmod(0o666)
    process = await start("--write-env", str(path))
    (ready,) = await until_ready(process)
    text = path.read_text()

    assert ready.startswith(READY)
    assert "export AWS_SECRET_ACCESS_KEY=" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await end(process) == 0
    assert sorted(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a local directory


async def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    status, out, err = await run_servers("--write-env", f"{tmp_path}/gone/sts.env")

    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err == f"sts-async: --write-env: '{tmp_path}/gone/sts.env' cannot be written: No such file or directory\n"


@pytest.mark.parametrize("form", ["sh", "dotenv", "json"])
async def test_a_file_of_the_user_is_neither_replaced_nor_removed(tmp_path: Path, form: str) -> None:
    """Most likely it is the `.env` of the project."""
    path = tmp_path / ".env"
    path.write_text("MINE=1\n")
    status, out, err = await run_servers("--format", form, "--write-env", str(path))

    assert (status, out, path.read_text()) == (1, "", "MINE=1\n")
    assert err.startswith(
        f"sts-async: --write-env: '{path}' exists and was not written by local-server: remove it, or "
    )
    path.unlink()
    assert await run_servers("--format", form, "--write-env", str(path), "--", "test", "-s", str(path)) == (0, "", "")


async def test_a_failed_write_does_not_change_the_file(tmp_path: Path) -> None:
    """As on a full disk: the file of an earlier run stays, and there is no other."""
    path = tmp_path / "sts.env"
    path.write_text(MARK)
    command = [sys.executable, "-m", "sts_async", "local-server", "--write-env", str(path)]
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *command),
        env=environ(**{f"AWS_{'X' * 4000}": "1"}),  # to be unset, and too long for a file
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()

    assert (process.returncode, out) == (1, b"")
    assert err.decode() == f"sts-async: --write-env: '{path}' cannot be written: File too large\n"
    assert path.read_text() == MARK
    assert [*tmp_path.iterdir()] == [path]  # noqa: ASYNC240 - a local directory


@pytest.mark.parametrize("kind", ["fifo", "link", "device"])
async def test_a_path_of_another_kind_is_an_error_and_does_not_change(tmp_path: Path, kind: str) -> None:
    """Root could replace /dev/null by a file."""
    path = tmp_path / "there"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "gone")
    else:
        path = Path(os.devnull)
    before = path.lstat()
    status, out, err = await run_servers("--write-env", str(path))

    assert (status, out) == (1, "")
    assert err.startswith(f"sts-async: --write-env: '{path}' is not a regular file: the path must not exist, or be")
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)


@pytest.mark.slow
async def test_a_server_removes_only_the_file_that_it_wrote(tmp_path: Path) -> None:
    """Another server, or the user, may have put one in its place."""
    path = tmp_path / "sts.env"
    first = await start("--write-env", str(path))
    await until_ready(first)
    second = await start("--write-env", str(path))
    await until_ready(second)
    text = path.read_text()

    assert await end(first) == 0
    assert path.read_text() == text
    with path.open("a") as stream:
        stream.write("MINE=1\n")
    os.utime(path, (1, 1))
    assert await end(second) == 0
    assert path.read_text() == f"{text}MINE=1\n"


async def test_a_file_is_written_for_a_command_too(tmp_path: Path) -> None:
    """For what the command itself starts with other variables; it is there before the command, and goes after it."""
    path = tmp_path / "sts.env"
    status, out = await told(tmp_path / "said", ["--write-env", str(path)], ["cat", str(path)])

    assert status == 0
    assert out.startswith(MARK)
    assert "export AWS_ENDPOINT_URL_STS=" in out
    assert not path.exists()


async def test_ports_follow_the_one_that_is_given() -> None:
    """One after the other, in the order that `--help` lists."""
    with socket.socket() as first:  # a port that is free, and most likely the next one, too
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
    process = await start("--port", str(port), "--services", "sts")
    lines = await until_ready(process)
    status, _, err = await run_servers("--port", str(port), "--services", "sts")

    assert lines[-1] == f"{READY}sts=http://127.0.0.1:{port}\n"
    assert (status, err.count("\n")) == (1, 1)
    assert err == f"sts-async: --port {port}: port {port} of 127.0.0.1 is not available: Address already in use\n"
    assert await end(process) == 0


def test_each_service_has_a_port_of_its_own() -> None:
    servers = local_server._servers(local_server.Settings(services=("imds", "sts", "container"), port=4566))

    assert [(name, server._port) for name, server in servers.items()] == [
        ("sts", 4566),
        ("container", 4567),
        ("imds", 4568),
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--services", "sts,SENTINEL"], 2, "argument --services: must be names of sts, imds, container, sso, sig"),
        (["--port", "70000"], 2, "argument --port: must be 0 to 65530"),
        (["--port", "SENTINEL"], 2, "argument --port: must be 0 to 65530"),
        (["--format", "xml"], 2, "--format must be one of sh, dotenv, json"),
        (["--sevices", "sts"], 2, "unrecognized option --sevices (did you mean --services?)"),
        (["SENTINEL"], 2, "write the command after --, as in `sts-async local-server -- COMMAND`"),
        (
            ["--port", "0", "SENTINEL", "--watch"],
            2,
            "write the command after --, as in `sts-async local-server -- COMM",
        ),
        (["--role", "SENTINEL", "SENTINEL"], 1, "sts-async: "),
        (["--"], 2, "a command must follow --"),
        (["--role", "SENTINEL"], 1, "sts-async: "),
        (["--region", "x."], 1, "sts-async: "),
    ],
    ids=str,
)
def test_a_usage_error_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    found = cli.main(["local-server", *arguments])
    out, err = capsys.readouterr()

    assert (found, out, err.count("\n")) == (status, "", 1)
    assert message in err


def test_a_package_that_is_missing_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "joserfc.jwk", None)

    assert cli.main(["local-server", "--services", "signin"]) == 1
    assert "pip install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"NO_PROXY": "a"}, {}),
        ({"HTTPS_PROXY": "http://h"}, {}),
        ({"http_proxy": "http://h"}, {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}),
        ({"ALL_PROXY": "http://h", "NO_PROXY": "a"}, {"no_proxy": "a,127.0.0.1", "NO_PROXY": "a,127.0.0.1"}),
    ],
    ids=str,
)
def test_no_proxy_variables_include_this_host(before: dict[str, str], after: dict[str, str]) -> None:
    """botocore asks it for 127.0.0.1, too."""
    assert local_server._without_proxy(before) == after
