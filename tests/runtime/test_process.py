"""Processes that are run for their output: how they run, for how long, and that nothing of them remains."""

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

__all__ = ["nothing_is_left"]  # an automatic fixture that checks every test of this module

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="checks for leftover processes in /proc")

MAX_BYTES = 64 * 1024  # bytes
WORD = SecretBytes(b"SENTINEL")


async def run(command: str, *, seconds: float = 60, max_bytes: int = MAX_BYTES) -> ProcessResult | StartFailed:
    return await process.run(shlex.split(command), seconds=seconds, max_bytes=max_bytes)


async def ended(command: str, **options: Any) -> ProcessResult:
    """Return the result of a process that must start."""
    found = await soon(run(command, **options))
    assert isinstance(found, ProcessResult)
    return found


async def test_the_output_is_returned_and_not_in_the_repr() -> None:
    found = await ended(echo("SENTINEL", then="echo SENTINEL >&2; exit 3"))

    assert found == ProcessResult(stdout=WORD, stderr=SecretBytes(b"SENTINEL\n"), returncode=3, fault=None)
    assert "SENTINEL" not in repr(found)


async def test_a_process_has_no_standard_input_and_its_own_session() -> None:
    """T34: it can neither wait for input nor reach the terminal, and it inherits no open file."""
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
async def test_a_program_that_cannot_be_started_is_reported_by_error_code(program: str, reason: str) -> None:
    """T36: the text of the system's error would name the program."""
    assert await run(program) == StartFailed(reason=reason)


@pytest.mark.parametrize("command", ["", " ", "echo 'SENTINEL"], ids=repr)
async def test_a_command_without_words_is_an_empty_command(command: str) -> None:
    """T36: the error of `shlex` would quote the command."""
    assert await process.run(Secret(command), seconds=60, max_bytes=MAX_BYTES) == process.EmptyCommand()


async def test_a_command_is_split_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """T37: the time to split a command grows with the square of its length, so the event loop must not do it."""
    where: list[str] = []

    def split(command: str) -> list[Secret]:
        where.append(threading.current_thread().name)
        return [Secret(command)]

    monkeypatch.setattr(process, "split_command", split)
    found = await process.run(Secret("true"), seconds=60, max_bytes=MAX_BYTES)

    assert isinstance(found, ProcessResult)
    assert where == ["sts_async credential_process"]


# -- How much, and how long ---------------------------------------------------------------------------------------


async def test_output_beyond_the_limit_stops_the_process() -> None:
    """T35: the process is killed at once, and the output beyond the limit is not kept."""
    found = await ended("yes SENTINEL")

    assert (found.fault, found.returncode, len(found.stdout)) == ("too large", -signal.SIGKILL, MAX_BYTES)


@pytest.mark.parametrize(("size", "fault"), [(MAX_BYTES, None), (MAX_BYTES + 1, "too large")])
async def test_output_up_to_the_limit_is_accepted(size: int, fault: str | None) -> None:
    """T35."""
    found = await ended(f"head -c {size} /dev/zero")

    assert (found.fault, len(found.stdout)) == (fault, MAX_BYTES)


async def test_long_standard_error_is_read_and_its_end_is_kept() -> None:
    """T35: a full pipe does not block a process that writes much to stderr. The last 4 KiB are kept."""
    found = await ended(echo("x", then="head -c 1000000 /dev/zero >&2"))

    assert found == ProcessResult(
        stdout=SecretBytes(b"x"), stderr=SecretBytes(4096), returncode=0, fault=None, stderr_is_cut=True
    )


async def test_a_slow_process_may_use_its_time_limit() -> None:
    """F41."""
    assert (await ended(shell("sleep 0.3; printf x"))).stdout == b"x"


async def test_a_process_that_hangs_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T35: its time ends once it has started another process. Both are killed."""
    pids = tmp_path / "pids"

    class Watch(process._StopCondition):
        def fault(self) -> Any:
            return "timed out" if len(words_of(pids)) == 2 else None

    monkeypatch.setattr(process, "_StopCondition", Watch)
    found = await soon(ended(shell(HANG.format(pids))))

    assert (found.fault, found.returncode) == ("timed out", -signal.SIGKILL)
    assert all([await gone(pid) for pid in await pids_in(pids, count=2)])


async def test_a_process_that_closes_its_output_and_hangs_is_killed() -> None:
    """T35: a process may close its output and still run."""
    found = await ended(echo("x", then="exec >&- 2>&-; sleep 1000"), seconds=0.5)

    assert (found.fault, found.returncode) == ("timed out", -signal.SIGKILL)


async def test_cancellation_kills_the_process_and_its_children(tmp_path: Path) -> None:
    """T35, F41: the process has ended when the cancelled call returns."""
    pids = tmp_path / "pids"
    task = asyncio.create_task(run(shell(HANG.format(pids))))
    found = await pids_in(pids, count=2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)

    assert all([await gone(pid) for pid in found])


# -- Processes that it started -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["1", "2"])
async def test_a_grandchild_that_keeps_the_output_open_is_killed(tmp_path: Path, stream: str) -> None:
    """F41: the process has ended and its output is complete, so the call does not wait for the grandchild."""
    pids = tmp_path / "pids"
    other = {"1": "2", "2": "1"}[stream]
    left = f"sh -c 'echo $$ >> {pids}; exec sleep 1000' {other}>/dev/null &"
    found = await ended(echo("x", then=left))

    assert (found.stdout, found.returncode, found.fault) == (b"x", 0, None)
    assert all([await gone(pid) for pid in await pids_in(pids, count=1)])


async def test_a_grandchild_that_has_left_the_group_is_not_waited_for(tmp_path: Path) -> None:
    """F41: it cannot be killed with the group, but the call does not wait for it."""
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


async def test_a_grandchild_without_the_output_is_not_killed(tmp_path: Path) -> None:
    """Some programs start an agent that keeps a session."""
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


async def test_a_process_is_started_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting it in the thread of the event loop would block the loop until the program is loaded."""
    where: list[threading.Thread] = []

    class Noting(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            where.append(threading.current_thread())
            super().__init__(*args, **options)

    monkeypatch.setattr("subprocess.Popen", Noting)
    await run(echo("x"))

    assert [thread.name for thread in where] == ["sts_async credential_process"]


async def test_debug_mode_reports_nothing(recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture) -> None:
    """F41: there is no unclosed transport, no slow callback, and no exception that was never retrieved."""
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


def test_a_process_can_run_in_an_event_loop_outside_the_main_thread() -> None:
    """asyncio's own subprocesses cannot do this on every system."""
    found: list[ProcessResult] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(ended(echo("x")))))
    thread.start()
    thread.join()

    assert found[0].stdout == b"x"


async def test_an_error_in_the_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the thread must not be lost."""

    def broken(*args: Any, **options: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(process, "_run", broken)
    before = children()  # such as servers that other tests keep

    with pytest.raises(ZeroDivisionError) as caught:
        await run("true")
    assert children() <= before
    assert "SENTINEL" not in shown(caught.value)


# -- Many at once -------------------------------------------------------------------------------------------------


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> Workers:
    """Let one process run at once."""
    workers = Workers(threads=1, name="sts_async credential_process")
    monkeypatch.setattr(process, "PROCESSES", workers)
    return workers


async def test_three_hundred_processes_are_run_sixteen_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """G16: otherwise 300 identities would start 300 threads and programs at once."""
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


async def test_the_wait_in_the_queue_does_not_count_as_time_of_the_process(
    one_at_a_time: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G16: the time limit starts with the process."""
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


async def test_a_queued_process_that_is_cancelled_never_starts(one_at_a_time: Workers, tmp_path: Path) -> None:
    """G16: the cancellation does not wait for the process that runs."""
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
    """G16: the caller's deadline ends its wait, even if earlier processes still run."""
    first = asyncio.create_task(run("sleep 1000"))
    await until(lambda: one_at_a_time.running)
    provider = ProcessProvider("true")
    async with STSClient(region="us-east-1", endpoint_url="http://127.0.0.1:1", credentials=provider) as sts:
        with pytest.raises(DeadlineExceeded):
            await sts.with_options(deadline=0.2).get_caller_identity()
    first.cancel()
    await asyncio.wait([first])


async def test_a_process_does_not_need_the_default_threads_of_the_loop(one_at_a_time: Workers) -> None:
    """G16: the program's own work may occupy all of them."""
    loop, go_on = asyncio.get_running_loop(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        loop.set_default_executor(pool)
        blocked = asyncio.create_task(asyncio.to_thread(go_on.wait, 30))
        found = await ended(echo("x"))
        go_on.set()
        await blocked

    assert found.stdout == b"x"


async def test_a_process_inherits_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """G16: the process inherits all variables, as with every other SDK, and the documentation says so."""
    monkeypatch.setenv("A_VARIABLE_OF_THE_PROGRAM", "x y")

    assert (await ended(shell('printf %s "$A_VARIABLE_OF_THE_PROGRAM"'))).stdout == b"x y"
    assert "inherits the whole environment" in " ".join((ProcessProvider.__doc__ or "").split())


# -- Limits and differences of systems -----------------------------------------------------------------------------


@pytest.mark.parametrize("waitid", [True, False])
@pytest.mark.parametrize("then", ["sleep 0.2 &", "exit 3", "exec >&- 2>&-; sleep 0.1"])
async def test_the_exit_code_of_a_process_that_others_reaped_is_unknown(
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


@pytest.mark.parametrize("waitid", [True, False])
@pytest.mark.parametrize("reaped", [True, False])
def test_the_exit_code_of_a_process_that_other_code_reaped_is_unknown(
    monkeypatch: pytest.MonkeyPatch, *, waitid: bool, reaped: bool
) -> None:
    """F41: a program may reap all its children at once; `subprocess` would then report exit code 0."""
    if not waitid:
        monkeypatch.delattr(os, "waitid")
    child = subprocess.Popen(["sh", "-c", "exit 3"])
    if reaped:
        os.waitpid(child.pid, 0)

    assert process._reap(child) == (None if reaped else 3)


async def test_a_process_without_a_thread_is_reported_as_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """F41: the system's limit of threads is reached."""

    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)

    assert await run("true") == StartFailed(reason="no thread can be started")


async def test_processes_run_on_systems_without_waitid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "waitid")
    found = await ended(echo("x", then="sleep 1000 &"))

    assert (found.stdout, found.fault, found.returncode) == (b"x", None, 0)


# -- Windows: output by communicate -------------------------------------------------------------------------------


def run_with_communicate(
    command: str, *, seconds: float = 60, cancelled: bool = False, max_bytes: int = MAX_BYTES
) -> ProcessResult:
    """Run a command in the way that Windows needs, because a selector cannot wait for pipes there."""
    event = threading.Event()
    if cancelled:
        event.set()
    pipe = subprocess.PIPE
    child = subprocess.Popen(shlex.split(command), bufsize=0, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    return process._collect_with_communicate(child, process._StopCondition(seconds, event), max_bytes=max_bytes)


def test_communicate_reads_the_whole_output() -> None:
    found = run_with_communicate(echo("SENTINEL", then="sleep 0.2; head -c 5000 /dev/zero >&2; exit 2"))

    assert found == ProcessResult(stdout=WORD, stderr=SecretBytes(4096), returncode=2, fault=None, stderr_is_cut=True)


@pytest.mark.parametrize(("max_bytes", "fault", "kept"), [(8, None, WORD), (7, "too large", WORD[:7])])
def test_communicate_reports_output_beyond_the_limit(max_bytes: int, fault: str | None, kept: bytes) -> None:
    """T35."""
    found = run_with_communicate(echo("SENTINEL"), max_bytes=max_bytes)

    assert (found.fault, found.stdout) == (fault, kept)


@pytest.mark.parametrize(("options", "fault"), [({"seconds": 0.2}, "timed out"), ({"cancelled": True}, "cancelled")])
def test_communicate_kills_a_process_that_must_stop(options: dict[str, Any], fault: str) -> None:
    """T35."""
    found = run_with_communicate("sleep 1000", **options)

    assert (found.returncode, found.fault) == (-signal.SIGKILL, fault)
