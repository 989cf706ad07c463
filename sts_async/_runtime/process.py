"""
Run a process and collect its output, with a time limit, and leave nothing of it behind.

A thread starts each process, reads its output and waits for its end. The event loop cannot do this: starting a process
blocks until the program is loaded, which takes milliseconds, and longer if a directory of ``PATH`` is slow. Splitting a
long command into words blocks as well. asyncio's own subprocesses need a child watcher and do not work in every event
loop; a thread works in all of them. The number of threads is limited, and the default threads of the event loop stay
free.

The process leads a session of its own. A process group can be killed as a whole, so processes that it started do not
survive it. Their end is awaited through the pipes: as long as a pipe is open, some process may still write to it. After
the end of the main process, open pipes get a short time, then the group is killed.

The main process is left a zombie until its group has been killed. Until then, the system cannot give its number to
another process, so the kill cannot hit a stranger. For the same reason `subprocess` must not reap it: `os.waitid` with
``WNOWAIT`` looks at its state without reaping.
"""

import asyncio
import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import IO, Literal

import attrs

from .._shape.secret import Secret, SecretBytes
from .._wording.os_errors import code_of
from . import forks
from .threads import NoThread, Workers

MAX_ERROR_BYTES = 4 * 1024  # bytes of stderr that are kept: the last ones, because programs report their error last
CHUNK = 64 * 1024  # bytes per read
MAX_PROCESSES = 16  # at once; otherwise 300 identities would start 300 programs and threads at the same moment
LINGER = 0.5  # s after the end of the process during which processes that it started may still write
GRACE = 2.0  # s for a killed process to end
POLL = 0.05  # s between two checks of the process and its stop condition
FIRST_POLL = 0.0005  # s before the second check; each later pause is twice as long, up to `POLL`

# Stands for the return code of a process that the system or other code has reaped. No exit code is so large.
LOST = 1 << 16

POSIX = os.name == "posix"

Command = Sequence[str] | Secret
Fault = Literal["timed out", "too large", "cancelled"]


@attrs.frozen(kw_only=True)
class StartFailed:
    """
    The process could not be started.

    Attributes:
        reason: The name of the system's error, such as ``ENOENT``, or that no thread can be started.
    """

    reason: str


@attrs.frozen
class EmptyCommand:
    """The command is empty, or has a quotation mark without its counterpart."""


@attrs.frozen(kw_only=True)
class ProcessResult:
    """
    The output and the exit code of a process.

    Attributes:
        stdout: Its standard output, up to the limit.
        stderr: The end of its standard error, at most 4 KiB.
        stderr_is_cut: Whether it wrote more than that. Then *stderr* may begin in the middle of a line.
        returncode: Exit code, or the negative number of a signal. None if the process did not end after it was killed,
            or if the exit code is lost: the system discards it in a program that ignores SIGCHLD.
        fault: Why the process was stopped, or its output is unusable: ``timed out``, ``too large`` or ``cancelled``;
            None if it ended by itself.
    """

    stdout: SecretBytes
    stderr: SecretBytes
    returncode: int | None
    fault: Fault | None
    stderr_is_cut: bool = False


Ending = ProcessResult | StartFailed | EmptyCommand


async def run(command: Command, *, seconds: float, max_bytes: int) -> Ending:
    """
    Run a process until it ends. Return its result, or why it could not be started.

    At most `MAX_PROCESSES` run at once, over all event loops of this process. Further ones are queued, first in, first
    out. The wait in the queue does not count against *seconds*, and cancelling the caller ends it.

    The process runs without a shell and without standard input, in a session of its own. When this function returns or
    is cancelled, the process has ended. Processes of its session that kept its output open have ended too. On Windows,
    only the process itself can be killed, and output that is too large is noticed only at the end.

    Args:
        command: The program, which is looked up in ``PATH``, and its arguments. A single text is split into words by
            the rules of a POSIX shell; the time for this grows with the square of the length. On Windows, the text is
            passed on unsplit.
        seconds: Time limit in seconds from the start of the process.
        max_bytes: Size limit of standard output in bytes.
    """
    cancelled = threading.Event()
    try:
        # The time limit is made in the thread: it starts with the process, not when the process is queued.
        job = PROCESSES.submit(lambda: _run(command, _StopCondition(seconds, cancelled), max_bytes=max_bytes))
    except NoThread:
        return StartFailed(reason="no thread can be started")
    is_same_process = forks.process_check()
    try:
        return await job.result()
    except asyncio.CancelledError:
        # The process must end first. In a forked child it belongs to the parent, which waits for it.
        if not PROCESSES.withdraw(job) and is_same_process():
            cancelled.set()
            await job.ended(seconds=2 * GRACE)
        raise


PROCESSES = Workers(threads=MAX_PROCESSES, name="sts_async credential_process")
"""The threads that run processes, one for each."""


class _StopCondition:
    """When a running process must be stopped: after its time limit, or when its caller was cancelled."""

    def __init__(self, seconds: float, cancelled: threading.Event) -> None:
        self._deadline = time.monotonic() + seconds
        self._cancelled = cancelled

    def fault(self) -> Fault | None:
        """Return why the process must be stopped now, or None."""
        if self._cancelled.is_set():
            return "cancelled"
        return "timed out" if time.monotonic() >= self._deadline else None

    def pause(self) -> float:
        """Return the seconds until the next check, greater than 0."""
        return max(0.001, min(POLL, self._deadline - time.monotonic()))


class _OutputBuffer:
    """The first *max_bytes* that were read from a pipe, hidden from tracebacks. Further bytes are only counted."""

    __slots__ = ("_chunks", "_max_bytes", "_size")

    def __init__(self, max_bytes: int) -> None:
        self._chunks: list[SecretBytes] = []
        self._max_bytes = max_bytes
        self._size = 0

    @property
    def overflows(self) -> bool:
        """Whether more bytes were read than are kept."""
        return self._size > self._max_bytes

    def append(self, chunk: SecretBytes) -> None:
        room = max(0, self._max_bytes - self._size)
        if room:
            self._chunks.append(SecretBytes(chunk[:room]))
        self._size += len(chunk)

    def content(self) -> SecretBytes:
        return SecretBytes(b"".join(self._chunks))


class _OutputTail(_OutputBuffer):
    """The last *max_bytes* that were read from a pipe, hidden from tracebacks."""

    __slots__ = ()

    def append(self, chunk: SecretBytes) -> None:
        self._chunks = [SecretBytes(b"".join([*self._chunks, chunk])[-self._max_bytes :])]
        self._size += len(chunk)


def _run(command: Command, stop: _StopCondition, *, max_bytes: int) -> Ending:
    """Do the work of `run` in the calling thread, which blocks."""
    if POSIX and isinstance(command, str):
        command = split_command(command)
        if not command:
            return EmptyCommand()
    try:
        process = subprocess.Popen(  # noqa: S603 - running the user's command is the purpose
            command,
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=POSIX,
        )
    except (OSError, ValueError) as error:
        # The text of the error names the program, so only its code is used.
        return StartFailed(reason=code_of(error))
    return (_collect if POSIX else _collect_with_communicate)(process, stop, max_bytes=max_bytes)


def split_command(command: str) -> list[Secret]:
    """
    Return the words of a command, split by the rules of a POSIX shell.

    The list is empty if the command has no words, or has a quotation mark without its counterpart.
    """
    words = []
    # The text of the ValueError would quote a part of the command.
    with contextlib.suppress(ValueError):
        words = [Secret(word) for word in shlex.split(command)]
    return words


# -- POSIX: a selector can wait for pipes ---------------------------------------------------------------------------


def _collect(process: "subprocess.Popen[bytes]", stop: _StopCondition, *, max_bytes: int) -> ProcessResult:
    """Read the output of a process until it has ended or must be stopped. Kill its group if it is still running."""
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - both are pipes
    stdout, stderr = _OutputBuffer(max_bytes), _OutputTail(MAX_ERROR_BYTES)
    with process.stdout, process.stderr, selectors.DefaultSelector() as selector:
        _register(selector, process.stdout, stdout)
        _register(selector, process.stderr, stderr)
        fault = _read_all(process, stop, selector, stdout=stdout)
        pipes_are_open = bool(selector.get_map())
        if fault is None and not pipes_are_open:
            fault = _wait_until_ended(process, stop)
        if pipes_are_open or not _has_ended(process):
            _kill_group(process)
    return ProcessResult(
        stdout=stdout.content(),
        stderr=stderr.content(),
        returncode=_reap(process),
        fault=fault,
        stderr_is_cut=stderr.overflows,
    )


def _register(selector: selectors.BaseSelector, pipe: IO[bytes], written: _OutputBuffer) -> None:
    os.set_blocking(pipe.fileno(), False)
    selector.register(pipe, selectors.EVENT_READ, written)


def _read_all(
    process: "subprocess.Popen[bytes]", stop: _StopCondition, selector: selectors.BaseSelector, *, stdout: _OutputBuffer
) -> Fault | None:
    """
    Read until all pipes are closed, or until `LINGER` after the end of the process.

    Return None then. If the process must be stopped before, return the fault.
    """
    lingers_until = None
    while selector.get_map():
        if (fault := stop.fault()) is not None:
            return fault
        if lingers_until is None and _has_ended(process):
            lingers_until = time.monotonic() + LINGER
        if lingers_until is not None and time.monotonic() >= lingers_until:
            return None
        for key, _ in selector.select(stop.pause()):
            _read_some(selector, key)
        if stdout.overflows:
            return "too large"
    return None


def _read_some(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    chunk = SecretBytes(os.read(key.fd, CHUNK))
    if chunk:
        key.data.append(chunk)
    else:
        selector.unregister(key.fileobj)


def _wait_until_ended(process: "subprocess.Popen[bytes]", stop: _StopCondition) -> Fault | None:
    """Wait for the end of a process that has closed its output. Return None, or the fault if it must be stopped."""
    while (fault := stop.fault()) is None:
        if _wait_at_most(process, stop.pause()):
            return None
    return fault


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Return True if a process has ended. Where possible, it stays a zombie, so that its number is not reused."""
    if not POSIX:
        return process.poll() is not None
    # macOS has `waitid` only from Python 3.13 on.
    if not hasattr(os, "waitid"):
        return _is_reaped(process)
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        # The system or other code has already reaped the process.
        return True


def _is_reaped(process: "subprocess.Popen[bytes]") -> bool:
    """
    Return True if a process has ended. It is then reaped, by this function or by other code.

    `Popen.poll` would report a lost exit code as 0; here it becomes `LOST`.
    """
    if process.returncode is None:
        try:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            process.returncode = LOST
        else:
            process.returncode = os.waitstatus_to_exitcode(status) if pid else None
    return process.returncode is not None


def _wait_at_most(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """
    Wait at most *seconds* for the end of a process, which stays a zombie. Return True if it has ended.

    `Popen.wait` would reap the process, and would report a lost exit code as 0.
    """
    until = time.monotonic() + seconds
    pause = FIRST_POLL
    while not _has_ended(process):
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(2 * pause, POLL)
    return True


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        # The process leads its session, so the number of its group is its own.
        os.killpg(process.pid, signal.SIGKILL)


def _reap(process: "subprocess.Popen[bytes]") -> int | None:
    """Reap a process. Return its exit code, or None if it has not ended or its exit code is lost."""
    if not _wait_at_most(process, GRACE):
        return None
    lost = _exit_code_is_lost(process)
    code = process.poll()
    return None if lost else code


def _exit_code_is_lost(process: "subprocess.Popen[bytes]") -> bool:
    """Return True if the system or other code has already reaped the process. `subprocess` would report exit code 0."""
    if process.returncode is not None or not POSIX:
        return process.returncode == LOST
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


# -- Windows: a selector cannot wait for pipes ----------------------------------------------------------------------


def _collect_with_communicate(
    process: "subprocess.Popen[bytes]", stop: _StopCondition, *, max_bytes: int
) -> ProcessResult:
    """Do the work of `_collect` with `Popen.communicate`, which returns the whole output at the end."""
    stdout = stderr = SecretBytes()
    while (fault := stop.fault()) is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            stdout, stderr = map(SecretBytes, process.communicate(timeout=stop.pause()))
            break
    else:
        process.kill()
        # This closes the pipes, unless another process keeps them open.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=GRACE)
    return ProcessResult(
        stdout=SecretBytes(stdout[:max_bytes]),
        stderr=SecretBytes(stderr[-MAX_ERROR_BYTES:]),
        returncode=_reap(process),
        fault="too large" if fault is None and len(stdout) > max_bytes else fault,
        stderr_is_cut=len(stderr) > MAX_ERROR_BYTES,
    )
