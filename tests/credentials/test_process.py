"""credential_process: what is run and how, what of it is believed, and that nothing of it is left or shown."""

import asyncio
import gc
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.credentials
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Clocks
from test_secrets import shown

from sts_async._engine import Engine
from sts_async.credentials import process
from sts_async.credentials.process import Ended, NotRun, ProcessProvider
from sts_async.errors import ConfigurationError, CredentialsError, CredentialsExpired
from sts_async.shapes import Credentials

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, for what is left")

KEYS = {"Version": 1, "AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "SENTINEL-secret"}
WHOLE = {**KEYS, "SessionToken": "SENTINEL-token", "Expiration": "2026-01-01T01:00:00Z"}
SOON = 10.0  # s, generous: far less than the processes here would run


def python(code: str, *arguments: str) -> str:
    """Return the command that runs Python code."""
    return shlex.join([sys.executable, "-S", "-E", "-c", code, *arguments])


def shell(script: str) -> str:
    return shlex.join(["/bin/sh", "-c", script])


def echo(document: dict[str, Any] | str, *, then: str = "") -> str:
    """Return the command that writes a document and does something else."""
    text = document if isinstance(document, str) else json.dumps(document)
    return shell(f"printf %s {shlex.quote(text)}; {then}")


async def refusal_of(command: str, lender: Engine, **options: Any) -> CredentialsError:
    with pytest.raises(CredentialsError) as caught:
        await ProcessProvider(command, name="credential_process of profile 'x'", **options).fetch(lender)
    return caught.value


def runs(pid: int) -> bool:
    """Say whether a process is there, and not only a zombie that whoever has adopted it will reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pid: int) -> bool:
    """Say whether a process goes away within a second."""
    for _ in range(100):
        if not runs(pid):
            return True
        await asyncio.sleep(0.01)
    return False


def words_of(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


async def pids_in(path: Path, *, count: int) -> list[int]:
    """Return the process numbers in a file, once there are enough."""
    while len(words_of(path)) < count:
        await asyncio.sleep(0.01)
    return [int(word) for word in words_of(path)]


def children() -> set[str]:
    """Return the process numbers of our children, zombies included."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in words_of(task / "children")}


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """F41: after each test there is no child, not even a zombie."""
    before = children()
    yield
    assert children() <= before


# -- what is believed ---------------------------------------------------------------------------------------------


async def test_the_output_is_the_credentials(lender: Engine) -> None:
    assert await ProcessProvider(echo(WHOLE)).fetch(lender) == Credentials(
        access_key_id="AKIAEXAMPLE",
        secret_access_key="SENTINEL-secret",
        session_token="SENTINEL-token",
        expiration=datetime(2026, 1, 1, 1, tzinfo=UTC),
    )


async def test_botocore_finds_the_same(lender: Engine) -> None:
    command = echo(WHOLE, then="echo noise >&2")
    ours = await ProcessProvider(command).fetch(lender)
    oracle = botocore.credentials.ProcessProvider("x", dict)
    theirs = await asyncio.to_thread(oracle._retrieve_credentials_using, command)

    assert (theirs["access_key"], theirs["secret_key"]) == (ours.access_key_id, ours.secret_access_key)
    assert theirs["token"] == ours.session_token
    assert datetime.fromisoformat(theirs["expiry_time"]) == ours.expiration


async def test_without_expiration_it_is_run_once(lender: Engine, clocks: Clocks, tmp_path: Path) -> None:
    """F41: such credentials never end, so there is nothing to refresh."""
    provider = ProcessProvider(echo(KEYS, then=f"echo run >> {tmp_path}/runs"))
    first = await provider.provide_credentials(lender)
    clocks.advance(10 * 365 * 86_400)

    assert await provider.provide_credentials(lender) is first
    assert (tmp_path / "runs").read_text() == "run\n"


async def test_it_is_run_again_10_s_before_the_end(lender: Engine, clocks: Clocks, tmp_path: Path) -> None:
    """Processes are cached only, not refreshed in advance: some of them ask a person."""
    provider = ProcessProvider(echo(WHOLE, then=f"echo run >> {tmp_path}/runs"))
    await provider.provide_credentials(lender)
    clocks.advance(3589)
    await provider.provide_credentials(lender)

    assert (tmp_path / "runs").read_text() == "run\n"

    clocks.advance(2)
    await provider.provide_credentials(lender)

    assert (tmp_path / "runs").read_text() == "run\n" * 2


async def test_credentials_that_have_expired_are_refused(lender: Engine) -> None:
    """F49."""
    provider = ProcessProvider(echo({**WHOLE, "Expiration": "2025-12-31T23:59:59Z"}))

    with pytest.raises(CredentialsExpired, match=r"ProcessProvider\('credential_process'\)"):
        await provider.provide_credentials(lender)


@pytest.mark.parametrize("version", [..., None, 2, 0, "1", 1.5, True, [1]], ids=repr)
async def test_the_version_must_be_1(lender: Engine, version: Any) -> None:
    """T35."""
    document = {name: value for name, value in {**KEYS, "Version": version}.items() if value is not ...}
    error = await refusal_of(echo(document), lender)

    assert str(error) == "credential_process of profile 'x': the output has a Version other than 1, or none"
    assert "SENTINEL" not in shown(error)


@pytest.mark.parametrize("output", ["", "SENTINEL", '{"SecretAccessKey": "SENTINEL"', "[]", "\x00"], ids=repr)
async def test_what_is_no_json_object_is_refused(lender: Engine, output: str) -> None:
    """F41, T15."""
    error = await refusal_of(python("import sys; sys.stdout.write(eval(sys.argv[1]))", repr(output)), lender)

    assert str(error) == "credential_process of profile 'x': the output is not a JSON object"
    assert "SENTINEL" not in shown(error)


@pytest.mark.parametrize("member", ["AccessKeyId", "SecretAccessKey"])
async def test_a_member_that_is_missing_is_named(lender: Engine, member: str) -> None:
    """T15: null key."""
    error = await refusal_of(echo({**WHOLE, member: None}), lender)

    assert str(error) == f"credential_process of profile 'x': the output: {member} is missing"
    assert "SENTINEL" not in shown(error)


# -- how it is run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trick", ["; touch {}", "$(touch {})", "`touch {}`", "| touch {}", "&& touch {}", "> {}", "*"])
async def test_no_shell_reads_the_command(lender: Engine, tmp_path: Path, trick: str) -> None:
    """T34: what a shell would act on are literal arguments."""
    pwned = tmp_path / "pwned"
    trick = trick.format(pwned)
    code = f"import json, sys; open({str(tmp_path / 'seen')!r}, 'w').write(json.dumps(sys.argv[1:]))"
    await refusal_of(python(code) + " " + trick, lender)

    assert json.loads((tmp_path / "seen").read_text()) == shlex.split(trick)
    assert not pwned.exists()


@given(st.text(st.sampled_from("ab '\"\\;$`|&\t\n#*~"), max_size=20))
def test_the_command_is_split_as_botocore_splits_it(command: str) -> None:
    """T34."""
    try:
        theirs = botocore.credentials.compat_shell_split(command)
    except ValueError:
        theirs = []
    try:
        ours = ProcessProvider(command)._words()
    except ConfigurationError:
        ours = []

    assert ours == theirs


@pytest.mark.parametrize("command", ["", "  ", "helper 'SENTINEL", "helper SENTINEL\\"], ids=repr)
async def test_a_command_that_is_none_is_refused(lender: Engine, command: str) -> None:
    """T36: the splitter's own error holds the command."""
    with pytest.raises(ConfigurationError, match="the command is empty, or a quotation in it does not end") as caught:
        await ProcessProvider(command).fetch(lender)

    assert "SENTINEL" not in shown(caught.value)


async def test_the_program_is_looked_up_in_path(
    lender: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T34."""
    helper = tmp_path / "a helper"
    helper.write_text(f"#!/bin/sh\nprintf %s {shlex.quote(json.dumps(KEYS))}\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert (await ProcessProvider("'a helper'").fetch(lender)).access_key_id == "AKIAEXAMPLE"


async def test_it_has_no_standard_input_and_a_session_of_its_own(lender: Engine) -> None:
    """T34: it can neither wait for somebody to type nor reach the terminal; and it inherits no open file."""
    with socket.socket() as other:
        other.set_inheritable(True)
        code = (
            "import json, os, sys\n"
            "open_files = [int(name) for name in os.listdir('/proc/self/fd')]\n"
            "facts = [sys.stdin.read(), os.getsid(0) == os.getpid() == os.getpgid(0), str(max(open_files) <= 3)]\n"
            f"print(json.dumps({{**{KEYS!r}, 'AccessKeyId': repr(facts)}}))"
        )
        found = await ProcessProvider(python(code)).fetch(lender)

    assert found.access_key_id == "['', True, 'True']"


@pytest.mark.parametrize("program", ["/SENTINEL/helper", "SENTINEL-helper", "/tmp", "'SENTINEL\x00'"], ids=repr)
async def test_a_program_that_cannot_be_run_is_an_error(lender: Engine, program: str) -> None:
    """F41, T36: the system's own error names the program."""
    error = await refusal_of(f"{program} --password SENTINEL", lender)

    assert str(error).startswith("credential_process of profile 'x': the program cannot be run (")
    assert str(error).split("(")[1] in {"ENOENT)", "EACCES)", "ValueError)"}
    assert "SENTINEL" not in shown(error)


# -- failure ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("exit 3", "ended with exit code 3"),
        ("kill -TERM $$", "ended by signal SIGTERM"),
        ("kill -37 $$", "ended by signal 37"),
    ],
)
async def test_a_process_that_fails_is_not_believed(lender: Engine, then: str, said: str) -> None:
    """F41, T15, T35: whatever it has written, on both outputs, is kept out of the error."""
    error = await refusal_of(echo(WHOLE, then=f"echo SENTINEL >&2; {then}"), lender)

    assert str(error) == f"credential_process of profile 'x': {said}"
    assert "SENTINEL" not in shown(error)


async def test_what_it_wrote_to_stderr_can_be_asked_for(lender: Engine) -> None:
    """T35: for whoever has to find out why it failed; it may hold anything."""
    provider = ProcessProvider(shell("echo SENTINEL reason >&2; exit 1"))
    with pytest.raises(CredentialsError):
        await provider.fetch(lender)

    assert provider.stderr.decode() == "SENTINEL reason\n"
    assert "SENTINEL" not in f"{provider!r} {provider.stderr!r} {provider.stderr}"


async def test_the_command_is_never_shown(lender: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """T36: not in the error, nor its traceback with local variables, nor in what the provider says of itself."""
    provider = ProcessProvider(python("exit(1)", "--password", "SENTINEL"), name="credential_process of profile 'x'")
    with pytest.raises(CredentialsError) as caught:
        await provider.fetch(lender)

    assert "SENTINEL" not in shown(caught.value)
    assert "SENTINEL" not in repr(vars(provider))
    assert "SENTINEL" not in caplog.text
    assert repr(provider) == "ProcessProvider(\"credential_process of profile 'x'\")"


async def test_a_flood_is_cut_off(lender: Engine) -> None:
    """T35: `yes` is refused, at once and without being kept."""
    began = time.monotonic()
    error = await refusal_of("yes SENTINEL", lender)

    assert str(error) == "credential_process of profile 'x': wrote more than 65,536 bytes"
    assert "SENTINEL" not in shown(error)
    assert time.monotonic() - began < SOON


async def test_64_kib_are_no_flood(lender: Engine) -> None:
    """T35."""
    whole = json.dumps(KEYS)
    code = "import sys; sys.stdout.write(sys.argv[1].ljust(int(sys.argv[2])))"
    await ProcessProvider(python(code, whole, "65536")).fetch(lender)

    assert "wrote more" in str(await refusal_of(python(code, whole, "65537"), lender))


async def test_a_flood_of_messages_is_drained(lender: Engine) -> None:
    """T35: a process that writes much to stderr is not stopped by a full pipe, and 4 KiB of it are kept."""
    provider = ProcessProvider(echo(KEYS, then="head -c 1000000 /dev/zero >&2"))
    await provider.fetch(lender)

    assert provider.stderr == bytes(4096)


HANG = "echo $$ >> {0}; sleep 1000 & echo $! >> {0}; sleep 1000"


async def test_a_process_that_hangs_is_killed_with_all_that_it_began(lender: Engine, tmp_path: Path) -> None:
    """T35: both are gone less than a second after the deadline."""
    pids = tmp_path / "pids"
    began = time.monotonic()
    error = await refusal_of(shell(HANG.format(pids)), lender, seconds=0.5)
    took = time.monotonic() - began

    assert str(error) == "credential_process of profile 'x': not done within 0.5 s"
    assert 0.5 <= took < 1.5
    assert all([await gone(pid) for pid in await pids_in(pids, count=2)])


async def test_a_process_that_closes_its_output_and_hangs_is_killed(lender: Engine) -> None:
    """T35: an output that has ended says nothing of the process."""
    error = await refusal_of(echo(WHOLE, then="exec >&- 2>&-; sleep 1000"), lender, seconds=0.5)

    assert "not done within 0.5 s" in str(error)


async def test_cancellation_kills_it_with_all_that_it_began(lender: Engine, tmp_path: Path) -> None:
    """T35, F41: when this returns, it is gone."""
    pids = tmp_path / "pids"
    task = asyncio.create_task(ProcessProvider(shell(HANG.format(pids))).fetch(lender))
    found = await pids_in(pids, count=2)
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert time.monotonic() - began < SOON
    assert all([await gone(pid) for pid in found])


async def test_closing_the_client_kills_it(lender: Engine, tmp_path: Path) -> None:
    """T35: the refresh under way is ended, and waited for."""
    pids = tmp_path / "pids"
    asking = asyncio.create_task(ProcessProvider(shell(HANG.format(pids))).provide_credentials(lender))
    found = await pids_in(pids, count=2)
    await lender.tasks.aclose()
    results = await asyncio.gather(asking, return_exceptions=True)

    assert type(results[0]).__name__ == "ClientClosedError"
    assert all([await gone(pid) for pid in found])


@pytest.mark.parametrize("stream", ["1", "2"])
async def test_a_grandchild_that_holds_the_output_is_not_waited_for(
    lender: Engine, tmp_path: Path, stream: str
) -> None:
    """F41: the process has ended and has written all; what it left behind is killed."""
    pids = tmp_path / "pids"
    other = {"1": "2", "2": "1"}[stream]
    left = f"sh -c 'echo $$ >> {pids}; exec sleep 1000' {other}>/dev/null &"
    began = time.monotonic()
    found = await ProcessProvider(echo(KEYS, then=left)).fetch(lender)

    assert found.access_key_id == "AKIAEXAMPLE"
    assert time.monotonic() - began < SOON
    assert all([await gone(pid) for pid in await pids_in(pids, count=1)])


async def test_a_grandchild_that_has_left_the_group_is_not_waited_for(lender: Engine, tmp_path: Path) -> None:
    """F41: it cannot be killed with the group, but it cannot hold us up either."""
    pids = tmp_path / "pids"
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    open({str(pids)!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(1000)\n"
        f"while not os.path.exists({str(pids)!r}): time.sleep(0.01)\n"
        f"print({json.dumps(KEYS)!r}, flush=True)\n"
        "os._exit(0)"
    )
    began = time.monotonic()
    found = await ProcessProvider(python(code)).fetch(lender)
    took = time.monotonic() - began
    os.kill((await pids_in(pids, count=1))[0], signal.SIGKILL)

    assert found.access_key_id == "AKIAEXAMPLE"
    assert took < SOON


async def test_a_grandchild_that_holds_nothing_lives_on(lender: Engine, tmp_path: Path) -> None:
    """Some processes begin an agent that keeps a session, as they may."""
    pids = tmp_path / "pids"
    left = f"sh -c 'echo $$ >> {pids}; exec sleep 1000' >/dev/null 2>&1 &"
    await ProcessProvider(echo(KEYS, then=left)).fetch(lender)
    (pid,) = await pids_in(pids, count=1)
    os.kill(pid, 0)
    os.kill(pid, signal.SIGKILL)

    assert await gone(pid)


async def test_a_slow_process_has_its_time(lender: Engine) -> None:
    """F41."""
    found = await ProcessProvider(shell(f"sleep 0.3; printf %s {shlex.quote(json.dumps(KEYS))}")).fetch(lender)

    assert found.access_key_id == "AKIAEXAMPLE"


async def test_no_pipe_is_left_open(lender: Engine) -> None:
    """F41."""
    before = descriptors()
    await ProcessProvider(echo(KEYS)).fetch(lender)
    await refusal_of("/missing", lender)
    await refusal_of("yes", lender)
    await refusal_of("sleep 1000", lender, seconds=0.1)

    assert descriptors() == before


async def test_the_event_loop_goes_on_meanwhile(lender: Engine) -> None:
    """Beginning a process on the loop's own thread would hold it up for as long as the program takes to load."""
    worst = 0.0
    ended = asyncio.Event()

    async def watch() -> None:
        nonlocal worst
        while not ended.is_set():
            at = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - at)

    watching = asyncio.create_task(watch())
    for _ in range(5):
        await ProcessProvider(echo(KEYS)).fetch(lender)
    ended.set()
    await watching

    assert worst < 0.1


async def test_debug_mode_finds_nothing_to_complain_about(
    lender: Engine, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """F41: no transport, no callback that is slow, no exception that nobody has asked for."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    try:
        await ProcessProvider(echo(KEYS)).fetch(lender)
        await refusal_of(shell("sleep 1000"), lender, seconds=0.1)
    finally:
        loop.set_debug(False)
    gc.collect()

    assert [str(warning.message) for warning in recwarn] == []
    assert [record for record in caplog.records if record.name == "asyncio" and record.levelname != "DEBUG"] == []


def test_it_runs_in_an_event_loop_that_is_not_of_the_main_thread(lend: Callable[..., Engine]) -> None:
    """Which asyncio's own processes cannot do everywhere."""
    found: list[Credentials] = []

    def work() -> None:
        found.append(asyncio.run(ProcessProvider(echo(KEYS)).fetch(lend())))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert found[0].access_key_id == "AKIAEXAMPLE"


async def test_an_error_of_our_own_is_raised(lender: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that fails has to be heard of."""

    def broken(*args: Any, **options: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(process, "run", broken)

    with pytest.raises(ZeroDivisionError) as caught:
        await ProcessProvider("true SENTINEL").fetch(lender)
    assert "SENTINEL" not in shown(caught.value)


# -- what the system may do to us ---------------------------------------------------------------------------------


async def test_a_child_that_somebody_else_reaps_is_no_trouble(lender: Engine) -> None:
    """A program that ignores SIGCHLD has its children reaped by the system: the output decides."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        found = await ProcessProvider(echo(KEYS, then="sleep 0.2 &")).fetch(lender)
    finally:
        signal.signal(signal.SIGCHLD, before)

    assert found.access_key_id == "AKIAEXAMPLE"


async def test_systems_without_waitid_do_without(lender: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "waitid")
    found = await ProcessProvider(echo(KEYS, then="sleep 1000 &")).fetch(lender)

    assert found.access_key_id == "AKIAEXAMPLE"


# -- where pipes cannot be waited for -----------------------------------------------------------------------------


def run_whole(command: str, *, seconds: float = 60, unwanted: threading.Event | None = None) -> Ended | NotRun:
    """Run a command as it is run where pipes cannot be waited for."""
    watch = process._Watch(seconds, unwanted or threading.Event())
    pipe = subprocess.PIPE
    child = subprocess.Popen(shlex.split(command), bufsize=0, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    return process.attend_whole(child, watch)


def test_elsewhere_the_output_is_read_whole() -> None:
    ended = run_whole(echo(KEYS, then="sleep 0.2; head -c 5000 /dev/zero >&2; exit 2"))

    assert isinstance(ended, Ended)
    assert json.loads(ended.stdout) == KEYS
    assert ended.stderr == bytes(4096)
    assert (ended.returncode, ended.fault) == (2, None)


def test_elsewhere_it_is_killed_too() -> None:
    """T35."""
    ended = run_whole("sleep 1000", seconds=0.2)

    assert isinstance(ended, Ended)
    assert (ended.returncode, ended.fault) == (-signal.SIGKILL, "slow")

    unwanted = threading.Event()
    unwanted.set()
    ended = run_whole("sleep 1000", unwanted=unwanted)

    assert isinstance(ended, Ended)
    assert ended.fault == "unwanted"


async def test_elsewhere_the_command_is_passed_on_as_it_is(
    lender: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Windows splits it, by rules of its own: backslashes separate directories there."""
    helper = tmp_path / "a\\helper 'of ours"
    helper.write_text(f"#!/bin/sh\nprintf %s {shlex.quote(json.dumps(KEYS))}\n")
    helper.chmod(0o755)
    monkeypatch.setattr(process, "POSIX", False)

    assert (await ProcessProvider(str(helper)).fetch(lender)).access_key_id == "AKIAEXAMPLE"
