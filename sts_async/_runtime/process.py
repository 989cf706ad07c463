"""
Run a process for its output, with a time limit, and clean up completely.

It is begun and attended to in a thread, of which there is a bounded number. A call that begins a process returns only
when the program is loaded, which takes some milliseconds, and longer when a directory of ``PATH`` is slow: the event
loop cannot wait for that, nor while a long command is split into words. One way serves all event loops and systems,
and the default threads, which also look up names, stay free.
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

MAX_ERROR_BYTES = 4 * 1024  # of stderr that are kept: the last ones, where programs say why they fail
CHUNK = 64 * 1024  # bytes that are read at a time
MAX_PROCESSES = 16  # that run at once; 300 identities would else begin 300 programs and threads in one moment
LINGER = 0.5  # s after the end of the process in which what it began may still write
GRACE = 2.0  # s for what was killed to be gone
POLL = 0.05  # s between two looks at whether the process has ended or is to be ended
FIRST_POLL = 0.0005  # s before the second look; each pause after it is twice as long, up to `POLL`

LOST = 1 << 16  # in place of a return code: another part of the program was told how the process ended

POSIX = os.name == "posix"

Command = Sequence[str] | Secret
Fault = Literal["slow", "large", "unwanted"]


@attrs.frozen(kw_only=True)
class NotRun:
    """Why a process could not be begun: the name of the system's error, or that there is no thread for it."""

    reason: str


@attrs.frozen
class NoCommand:
    """The command is empty, or a quotation in it does not end."""


@attrs.frozen(kw_only=True)
class Ended:
    """
    What a process left.

    Attributes:
        stdout: What it wrote, up to as much as it may.
        stderr: What it last wrote there, up to 4 KiB.
        stderr_is_cut: Whether it wrote more there: the first of these bytes may be in the middle of a line.
        returncode: Exit code, a signal when negative; None when it could not be ended, or somebody else took the code,
            as the system does for a program that ignores SIGCHLD.
        fault: Why it was ended or is not to be believed: it was too slow, wrote too much, or was no longer wanted;
            None when it ended by itself.
    """

    stdout: SecretBytes
    stderr: SecretBytes
    returncode: int | None
    fault: Fault | None
    stderr_is_cut: bool = False


Ending = Ended | NotRun | NoCommand


async def run(command: Command, *, seconds: float, most: int) -> Ending:
    """
    Run a process until it ends, and return what it left, or why it could not be begun.

    At most `MAX_PROCESSES` run at once, whatever the event loops of this process; others are queued, first in, first
    out. The wait in the queue does not count as time of the process, and cancelling ends it.

    It has neither a shell nor standard input, and a session of its own. When this returns, also because it was
    cancelled, the process is gone, and with it what it began in its session, if that was still holding the output. On
    Windows only the process itself can be killed, and too large an output is found out only at its end.

    Args:
        command: The program, which is looked up in ``PATH``, and its arguments. A text is split into words as a POSIX
            shell does it, which takes time with the square of its length; on Windows it is passed on as it is.
        seconds: How long it may take once it has begun.
        most: How much it may write to standard output, in bytes.
    """
    unwanted = threading.Event()
    try:
        # The time of a process begins when it does, not when it is queued.
        job = PROCESSES.submit(lambda: _run(command, _Watch(seconds, unwanted), most=most))
    except NoThread:
        return NotRun(reason="no thread can be started")
    is_here = forks.process_check()
    try:
        return await job.result()
    except asyncio.CancelledError:
        # What we began has to end first. In a forked child, it belongs to the parent.
        if not PROCESSES.withdraw(job) and is_here():
            unwanted.set()
            await job.ended(seconds=2 * GRACE)
        raise


PROCESSES = Workers(threads=MAX_PROCESSES, name="sts_async credential_process")
"""The threads of this process that attend to others, one each."""


class _Watch:
    """How long a process may go on."""

    def __init__(self, seconds: float, unwanted: threading.Event) -> None:
        self._ends = time.monotonic() + seconds
        self._unwanted = unwanted

    def fault(self) -> Fault | None:
        if self._unwanted.is_set():
            return "unwanted"
        return "slow" if time.monotonic() >= self._ends else None

    def pause(self) -> float:
        """Return the seconds until the next look, more than 0."""
        return max(0.001, min(POLL, self._ends - time.monotonic()))


class _Written:
    """What came out of a pipe, up to a number of bytes, without showing it; what comes after that is only counted."""

    __slots__ = ("_chunks", "_most", "_size")

    def __init__(self, most: int) -> None:
        self._chunks: list[SecretBytes] = []
        self._most = most
        self._size = 0

    @property
    def overflows(self) -> bool:
        """Whether more came than is kept."""
        return self._size > self._most

    def take(self, chunk: SecretBytes) -> None:
        room = max(0, self._most - self._size)
        if room:
            self._chunks.append(SecretBytes(chunk[:room]))
        self._size += len(chunk)

    def all(self) -> SecretBytes:
        return SecretBytes(b"".join(self._chunks))


class _LastWritten(_Written):
    """What came out of a pipe last, up to a number of bytes, without showing it."""

    __slots__ = ()

    def take(self, chunk: SecretBytes) -> None:
        self._chunks = [SecretBytes(b"".join([*self._chunks, chunk])[-self._most :])]
        self._size += len(chunk)


def _run(command: Command, watch: _Watch, *, most: int) -> Ending:
    """Do what `run` does. Blocks."""
    if POSIX and isinstance(command, str):
        command = words_of(command)
        if not command:
            return NoCommand()
    try:
        process = subprocess.Popen(  # noqa: S603 - the point of it
            command,
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=POSIX,
        )
    except (OSError, ValueError) as error:  # their texts name the program
        return NotRun(reason=code_of(error))
    return (_attend if POSIX else _attend_whole)(process, watch, most=most)


def words_of(command: str) -> list[Secret]:
    """Return the words of a command, as a POSIX shell splits it: none when a quotation in it does not end."""
    words = []
    with contextlib.suppress(ValueError):  # which would quote a part of the command
        words = [Secret(word) for word in shlex.split(command)]
    return words


# -- Where pipes can be waited for ----------------------------------------------------------------------------------


def _attend(process: "subprocess.Popen[bytes]", watch: _Watch, *, most: int) -> Ended:
    """Read what a process writes, as it comes, until it has ended or has to be."""
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - both are pipes
    stdout, stderr = _Written(most), _LastWritten(MAX_ERROR_BYTES)
    with process.stdout, process.stderr, selectors.DefaultSelector() as selector:
        _register(selector, process.stdout, stdout)
        _register(selector, process.stderr, stderr)
        fault = _read_all(process, watch, selector, stdout=stdout)
        held = bool(selector.get_map())
        if fault is None and not held:
            fault = _wait_for(process, watch)
        if held or not _has_ended(process):
            _kill_group(process)
    return Ended(
        stdout=stdout.all(),
        stderr=stderr.all(),
        returncode=_reap(process),
        fault=fault,
        stderr_is_cut=stderr.overflows,
    )


def _register(selector: selectors.BaseSelector, pipe: IO[bytes], written: _Written) -> None:
    os.set_blocking(pipe.fileno(), False)
    selector.register(pipe, selectors.EVENT_READ, written)


def _read_all(
    process: "subprocess.Popen[bytes]", watch: _Watch, selector: selectors.BaseSelector, *, stdout: _Written
) -> Fault | None:
    """Read until nobody holds the output any more, or only what the process left behind; return why not, or None."""
    lingers_until = None
    while selector.get_map():
        if (fault := watch.fault()) is not None:
            return fault
        if lingers_until is None and _has_ended(process):
            lingers_until = time.monotonic() + LINGER
        if lingers_until is not None and time.monotonic() >= lingers_until:
            return None
        for key, _ in selector.select(watch.pause()):
            _read_some(selector, key)
        if stdout.overflows:
            return "large"
    return None


def _read_some(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    chunk = SecretBytes(os.read(key.fd, CHUNK))
    if chunk:
        key.data.take(chunk)
    else:
        selector.unregister(key.fileobj)


def _wait_for(process: "subprocess.Popen[bytes]", watch: _Watch) -> Fault | None:
    """Wait for the end of a process whose output has ended; return why it did not come, or None."""
    while (fault := watch.fault()) is None:
        if _ends_within(process, watch.pause()):
            return None
    return fault


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Say whether a process has ended, and leave it a zombie where that can be: its number is then not given anew."""
    if not POSIX:
        return process.poll() is not None
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return _is_reaped(process)
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # somebody else was quicker
        return True


def _is_reaped(process: "subprocess.Popen[bytes]") -> bool:
    """Return True if a process has ended and been reaped, here or elsewhere. `subprocess` takes a lost code for 0."""
    if process.returncode is None:
        try:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            process.returncode = LOST
        else:
            process.returncode = os.waitstatus_to_exitcode(status) if pid else None
    return process.returncode is not None


def _ends_within(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Wait for the end of a process. It stays a zombie, unlike with `subprocess`, which takes a lost code for 0."""
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
        os.killpg(process.pid, signal.SIGKILL)  # it leads its session, so that is its group


def _reap(process: "subprocess.Popen[bytes]") -> int | None:
    """Return how a process has ended, or None when that is not known, and leave nothing of it."""
    if not _ends_within(process, GRACE):
        return None
    lost = _is_lost(process)
    code = process.poll()
    return None if lost else code


def _is_lost(process: "subprocess.Popen[bytes]") -> bool:
    """Say whether somebody else was told how a process has ended: `subprocess` then says 0."""
    if process.returncode is not None or not POSIX:
        return process.returncode == LOST
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


# -- Where they cannot ----------------------------------------------------------------------------------------------


def _attend_whole(process: "subprocess.Popen[bytes]", watch: _Watch, *, most: int) -> Ended:
    """Do what `_attend` does where pipes cannot be waited for: what is written is read whole."""
    stdout = stderr = SecretBytes()
    while (fault := watch.fault()) is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            stdout, stderr = map(SecretBytes, process.communicate(timeout=watch.pause()))
            break
    else:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=GRACE)  # which closes the pipes, unless somebody else holds them
    return Ended(
        stdout=SecretBytes(stdout[:most]),
        stderr=SecretBytes(stderr[-MAX_ERROR_BYTES:]),
        returncode=_reap(process),
        fault="large" if fault is None and len(stdout) > most else fault,
        stderr_is_cut=len(stderr) > MAX_ERROR_BYTES,
    )
