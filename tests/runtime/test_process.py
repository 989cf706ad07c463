"""Processes that are run for what they write: how, for how long, and that nothing of them is left."""

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE, soon, until
from processes import (
    HANG,
    children,
    descriptors,
    echo,
    gone,
    nothing_is_left,
    pids_in,
    python,
    shell,
    words_of,
)
from test_secrets import shown

from sts_async import STSClient
from sts_async._runtime import process
from sts_async._runtime.process import ProcessResult, StartFailed
from sts_async._runtime.threads import Workers
from sts_async._shape.secret import Secret, SecretBytes
from sts_async.credentials import ProcessProvider
from sts_async.errors import DeadlineExceeded

__all__ = ["nothing_is_left"]  # the watch, over every test here

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, for what is left")

MAX_BYTES = 64 * 1024  # bytes
WORD = SecretBytes(b"SENTINEL")


async def run(command: str, *, seconds: float = 60, max_bytes: int = MAX_BYTES) -> ProcessResult | StartFailed:
    return await process.run(shlex.split(command), seconds=seconds, max_bytes=max_bytes)


async def ended(command: str, **options: Any) -> ProcessResult:
    """Return what a process left that could be begun."""
    found = await soon(run(command, **options))
    assert isinstance(found, ProcessResult)
    return found


async def test_what_it_writes_is_returned_and_not_shown() -> None:
    found = await ended(echo("SENTINEL", then="echo SENTINEL >&2; exit 3"))

    assert found == ProcessResult(stdout=WORD, stderr=SecretBytes(b"SENTINEL\n"), returncode=3, fault=None)
    assert "SENTINEL" not in repr(found)


async def test_it_has_no_standard_input_and_a_session_of_its_own() -> None:
    """T34: it can neither wait for somebody to type nor reach the terminal; and it inherits no open file."""
    with socket.socket() as other:
        other.set_inheritable(True)
        code = (
            "import json, os, sys\n"
            "open_files = [int(name) for name in os.listdir('/proc/self/fd')]\n"
            "own = os.getsid(0) == os.getpid() == os.getpgid(0)\n"
            "print(json.dumps([sys.stdin.read(), own, max(open_files) <= 3]))"
        )
        found = await ended(python(code))

    assert json.loads(found.stdout) == ["", True, True]


@pytest.mark.parametrize(
    ("program", "reason"),
    [("/SENTINEL/helper", "ENOENT"), ("/tmp", "EACCES"), ("'SENTINEL\x00'", "ValueError")],
    ids=repr,
)
async def test_what_cannot_be_run_is_told_by_the_name_of_the_systems_error(program: str, reason: str) -> None:
    """T36: its text would name the program."""
    assert await run(program) == StartFailed(reason=reason)


@pytest.mark.parametrize("command", ["", " ", "echo 'SENTINEL"], ids=repr)
async def test_a_text_without_words_is_no_command(command: str) -> None:
    """T36: the splitter's own error quotes it."""
    assert await process.run(Secret(command), seconds=60, max_bytes=MAX_BYTES) == process.EmptyCommand()


async def test_the_loop_goes_on_while_a_long_command_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """T37: splitting takes time with the square of the length, so it is done where the process is begun."""
    where: list[str] = []

    def split(command: str) -> list[Secret]:
        where.append(threading.current_thread().name)
        return [Secret(command)]

    monkeypatch.setattr(process, "split_command", split)
    found = await process.run(Secret("true"), seconds=60, max_bytes=MAX_BYTES)

    assert isinstance(found, ProcessResult)
    assert where == ["sts_async credential_process"]


# -- How much, and how long ---------------------------------------------------------------------------------------


async def test_a_flood_is_cut_off() -> None:
    """T35: at once and without being kept."""
    found = await ended("yes SENTINEL")

    assert (found.fault, found.returncode, len(found.stdout)) == ("too large", -signal.SIGKILL, MAX_BYTES)


@pytest.mark.parametrize(("size", "fault"), [(MAX_BYTES, None), (MAX_BYTES + 1, "too large")])
async def test_as_much_as_it_may_write_is_no_flood(size: int, fault: str | None) -> None:
    """T35."""
    found = await ended(f"head -c {size} /dev/zero")

    assert (found.fault, len(found.stdout)) == (fault, MAX_BYTES)


async def test_a_flood_of_messages_is_drained() -> None:
    """T35: a process that writes much to stderr is not stopped by a full pipe, and 4 KiB of it are kept."""
    found = await ended(echo("x", then="head -c 1000000 /dev/zero >&2"))

    assert found == ProcessResult(
        stdout=SecretBytes(b"x"), stderr=SecretBytes(4096), returncode=0, fault=None, stderr_is_cut=True
    )


async def test_a_slow_process_has_its_time() -> None:
    """F41."""
    assert (await ended(shell("sleep 0.3; printf x"))).stdout == b"x"


async def test_a_process_that_hangs_is_killed_with_all_that_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T35: its time is over once it has begun another process; both are gone."""
    pids = tmp_path / "pids"

    class Watch(process._StopCondition):
        def fault(self) -> Any:
            return "timed out" if len(words_of(pids)) == 2 else None

    monkeypatch.setattr(process, "_StopCondition", Watch)
    found = await soon(ended(shell(HANG.format(pids))))

    assert (found.fault, found.returncode) == ("timed out", -signal.SIGKILL)
    assert all([await gone(pid) for pid in await pids_in(pids, count=2)])


async def test_a_process_that_closes_its_output_and_hangs_is_killed() -> None:
    """T35: an output that has ended says nothing of the process."""
    found = await ended(echo("x", then="exec >&- 2>&-; sleep 1000"), seconds=0.5)

    assert (found.fault, found.returncode) == ("timed out", -signal.SIGKILL)


async def test_cancellation_kills_it_with_all_that_it_began(tmp_path: Path) -> None:
    """T35, F41: when this returns, it is gone."""
    pids = tmp_path / "pids"
    task = asyncio.create_task(run(shell(HANG.format(pids))))
    found = await pids_in(pids, count=2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)

    assert all([await gone(pid) for pid in found])


# -- What it leaves behind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["1", "2"])
async def test_a_grandchild_that_holds_the_output_is_not_waited_for(tmp_path: Path, stream: str) -> None:
    """F41: the process has ended and has written all; what it left behind is killed."""
    pids = tmp_path / "pids"
    other = {"1": "2", "2": "1"}[stream]
    left = f"sh -c 'echo $$ >> {pids}; exec sleep 1000' {other}>/dev/null &"
    found = await ended(echo("x", then=left))

    assert (found.stdout, found.returncode, found.fault) == (b"x", 0, None)
    assert all([await gone(pid) for pid in await pids_in(pids, count=1)])


async def test_a_grandchild_that_has_left_the_group_is_not_waited_for(tmp_path: Path) -> None:
    """F41: it cannot be killed with the group, but it cannot hold us up either."""
    pids = tmp_path / "pids"
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    open({str(pids)!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(1000)\n"
        f"while not os.path.exists({str(pids)!r}): time.sleep(0.01)\n"
        "print('x', flush=True)\n"
        "os._exit(0)"
    )
    found = await ended(python(code))
    os.kill((await pids_in(pids, count=1))[0], signal.SIGKILL)

    assert found.stdout == b"x\n"


async def test_a_grandchild_that_holds_nothing_lives_on(tmp_path: Path) -> None:
    """Some processes begin an agent that keeps a session, as they may."""
    pids = tmp_path / "pids"
    await run(echo("x", then=f"sh -c 'echo $$ >> {pids}; exec sleep 1000' >/dev/null 2>&1 &"))
    (pid,) = await pids_in(pids, count=1)
    os.kill(pid, 0)
    os.kill(pid, signal.SIGKILL)

    assert await gone(pid)


async def test_no_pipe_is_left_open() -> None:
    """F41."""
    before = descriptors()
    await run(echo("x"))
    await run("/missing")
    await run("yes")
    await run("sleep 1000", seconds=0.1)

    assert descriptors() == before


# -- Threads and event loops --------------------------------------------------------------------------------------


async def test_a_process_is_begun_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beginning it on the loop's own thread would hold the loop up for as long as the program takes to load."""
    where: list[threading.Thread] = []

    class Noting(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            where.append(threading.current_thread())
            super().__init__(*args, **options)

    monkeypatch.setattr("subprocess.Popen", Noting)
    await run(echo("x"))

    assert [thread.name for thread in where] == ["sts_async credential_process"]


async def test_debug_mode_finds_nothing_to_complain_about(
    recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """F41: no transport, no callback that is slow, no exception that nobody has asked for."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    try:
        await run(echo("x"))
        await run("sleep 1000", seconds=0.1)
    finally:
        loop.set_debug(False)
    gc.collect()

    assert [str(warning.message) for warning in recwarn] == []
    assert [record for record in caplog.records if record.name == "asyncio" and record.levelname != "DEBUG"] == []


def test_it_runs_in_an_event_loop_that_is_not_of_the_main_thread() -> None:
    """Which asyncio's own processes cannot do everywhere."""
    found: list[ProcessResult] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(ended(echo("x")))))
    thread.start()
    thread.join()

    assert found[0].stdout == b"x"


async def test_an_error_of_our_own_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that fails has to be heard of."""

    def broken(*args: Any, **options: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(process, "_run", broken)

    with pytest.raises(ZeroDivisionError) as caught:
        await run("true")
    assert children() == set()
    assert "SENTINEL" not in shown(caught.value)


# -- Many at once -------------------------------------------------------------------------------------------------


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> Workers:
    """Let one process run at once."""
    workers = Workers(threads=1, name="sts_async credential_process")
    monkeypatch.setattr(process, "PROCESSES", workers)
    return workers


async def test_three_hundred_processes_are_run_sixteen_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """G16: 300 identities had 300 threads and programs at once."""
    real, lock = process._run, threading.Lock()
    running = most = 0

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return real(*args, **options)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(process, "_run", counted)
    outcomes = await asyncio.gather(*(run(f"printf {number}") for number in range(300)))

    assert [bytes(one.stdout) for one in outcomes if isinstance(one, ProcessResult)] == [b"%d" % n for n in range(300)]
    assert most <= process.MAX_PROCESSES == 16


async def test_the_wait_in_the_queue_is_no_time_of_the_process(
    one_at_a_time: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G16: its clock begins when it does."""
    watches: list[process._StopCondition] = []

    class Watch(process._StopCondition):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            watches.append(self)

    monkeypatch.setattr(process, "_StopCondition", Watch)
    first = asyncio.create_task(run(shell(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")))
    await until(lambda: watches)
    second = asyncio.create_task(run("true"))
    await until(lambda: one_at_a_time._waiting)

    assert len(watches) == 1
    (tmp_path / "go").touch()
    assert [(await task).fault for task in (first, second)] == [None, None]  # type: ignore[union-attr]
    assert len(watches) == 2


async def test_a_process_that_is_queued_can_be_cancelled_and_is_never_begun(
    one_at_a_time: Workers, tmp_path: Path
) -> None:
    """G16: at once, whatever runs."""
    first = asyncio.create_task(run("sleep 1000"))
    queued = asyncio.create_task(run(shell(f"touch {tmp_path}/begun")))
    await until(lambda: one_at_a_time._waiting)
    queued.cancel()
    await asyncio.wait([queued], timeout=PATIENCE)

    assert queued.cancelled()
    assert not one_at_a_time._waiting
    first.cancel()
    await asyncio.wait([first])
    assert (await ended(echo("x"))).stdout == b"x"
    assert not (tmp_path / "begun").exists()


async def test_the_deadline_of_a_caller_ends_its_wait_in_the_queue(one_at_a_time: Workers) -> None:
    """G16: the caller waits for its own time, not for that of the processes before."""
    first = asyncio.create_task(run("sleep 1000"))
    await until(lambda: one_at_a_time.running)
    provider = ProcessProvider("true")
    async with STSClient(region="us-east-1", endpoint_url="http://127.0.0.1:1", credentials=provider) as sts:
        with pytest.raises(DeadlineExceeded):
            await sts.with_options(deadline=0.2).get_caller_identity()
    first.cancel()
    await asyncio.wait([first])


async def test_the_default_threads_of_the_loop_may_all_be_taken(one_at_a_time: Workers) -> None:
    """G16: a process does not wait for the work of others."""
    loop, go_on = asyncio.get_running_loop(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        loop.set_default_executor(pool)
        blocked = asyncio.create_task(asyncio.to_thread(go_on.wait, 30))
        found = await ended(echo("x"))
        go_on.set()
        await blocked

    assert found.stdout == b"x"


async def test_a_process_has_the_environment_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """G16: the whole of it, as with every other SDK; the documentation says so."""
    monkeypatch.setenv("A_VARIABLE_OF_THE_PROGRAM", "x y")

    assert (await ended(shell('printf %s "$A_VARIABLE_OF_THE_PROGRAM"'))).stdout == b"x y"
    assert "inherits the whole environment" in " ".join((ProcessProvider.__doc__ or "").split())


# -- What the system may do to us ---------------------------------------------------------------------------------


@pytest.mark.parametrize("waitid", [True, False])
@pytest.mark.parametrize("then", ["sleep 0.2 &", "exit 3", "exec >&- 2>&-; sleep 0.1"])
async def test_how_a_child_ended_that_somebody_else_reaped_is_not_known(
    monkeypatch: pytest.MonkeyPatch, then: str, *, waitid: bool
) -> None:
    """F41: a program that ignores SIGCHLD has its children reaped by the system; `subprocess` would say 0."""
    if not waitid:
        monkeypatch.delattr(os, "waitid")
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        found = await ended(echo("x", then=then))
    finally:
        signal.signal(signal.SIGCHLD, before)

    assert (found.stdout, found.fault, found.returncode) == (b"x", None, None)


async def test_a_thread_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """F41: the system's limit of threads is reached."""

    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)

    assert await run("true") == StartFailed(reason="no thread can be started")


async def test_systems_without_waitid_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "waitid")
    found = await ended(echo("x", then="sleep 1000 &"))

    assert (found.stdout, found.fault, found.returncode) == (b"x", None, 0)


# -- Where pipes cannot be waited for -----------------------------------------------------------------------------


def run_whole(
    command: str, *, seconds: float = 60, cancelled: bool = False, max_bytes: int = MAX_BYTES
) -> ProcessResult:
    """Run a command as it is run where pipes cannot be waited for."""
    event = threading.Event()
    if cancelled:
        event.set()
    pipe = subprocess.PIPE
    child = subprocess.Popen(shlex.split(command), bufsize=0, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    return process._collect_with_communicate(child, process._StopCondition(seconds, event), max_bytes=max_bytes)


def test_elsewhere_the_output_is_read_whole() -> None:
    found = run_whole(echo("SENTINEL", then="sleep 0.2; head -c 5000 /dev/zero >&2; exit 2"))

    assert found == ProcessResult(stdout=WORD, stderr=SecretBytes(4096), returncode=2, fault=None, stderr_is_cut=True)


@pytest.mark.parametrize(("max_bytes", "fault", "kept"), [(8, None, WORD), (7, "too large", WORD[:7])])
def test_elsewhere_too_much_is_found_out_too(max_bytes: int, fault: str | None, kept: bytes) -> None:
    """T35."""
    found = run_whole(echo("SENTINEL"), max_bytes=max_bytes)

    assert (found.fault, found.stdout) == (fault, kept)


@pytest.mark.parametrize(("options", "fault"), [({"seconds": 0.2}, "timed out"), ({"cancelled": True}, "cancelled")])
def test_elsewhere_it_is_killed_too(options: dict[str, Any], fault: str) -> None:
    """T35."""
    found = run_whole("sleep 1000", **options)

    assert (found.returncode, found.fault) == (-signal.SIGKILL, fault)
