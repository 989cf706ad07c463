"""
Credentials that a process writes to its standard output.

Source: AWS SDKs and Tools Reference Guide, "Process credential provider".

The process is begun and attended to in a thread of its own. A call that begins a process returns only when the program
is loaded, which takes some milliseconds, and longer when a directory of ``PATH`` is slow: the event loop cannot wait
for that. One way serves all event loops and systems, and the default threads, which also look up names, stay free.
"""

import asyncio
import contextlib
import errno
import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Literal

import attrs

from .._core import freshness
from .._core.documents import MOST_BYTES, Names, read_credentials, read_object
from .._core.secret import Secret, SecretBytes
from .._engine import Lender
from ..errors import ConfigurationError, CredentialsError
from ..shapes import Credentials
from .cache import RefreshingProvider

SECONDS = 60.0  # s for the whole process
MOST_ERROR_BYTES = 4 * 1024  # of stderr that are kept
LINGER = 0.5  # s after the end of the process in which what it began may still write
GRACE = 2.0  # s for what was killed to be gone
POLL = 0.05  # s between two looks at whether the process has ended or is to be ended

POSIX = os.name == "posix"
NAMES = Names(session_token="SessionToken", temporary=False)  # noqa: S106 - the name of a member

Command = Sequence[str] | Secret
Fault = Literal["slow", "large", "unwanted"]


class ProcessProvider(RefreshingProvider):
    """
    Provide what a process writes: a JSON object with Version 1, AccessKeyId, SecretAccessKey, and SessionToken and
    Expiration where there are some. Without Expiration, it is run once.

    The command is split into words as a POSIX shell does it, and run without a shell, found in ``PATH``, in a session
    of its own, without standard input. It has *seconds*; then, and when it writes more than 64 KiB, or the client is
    closed, it is killed with all that it began. What it began and left behind is killed when it holds on to the
    output. On Windows the command is not split, but passed on as it is; only the process itself can be killed; and
    too large an output is found out only at its end.

    Args:
        command: The command. Never shown, for it may hold passwords.
        name: What messages call it.
        seconds: How long it may take.

    Attributes:
        name: What messages call it.
        stderr: What it last wrote to standard error, the first 4 KiB. Never shown, for it may hold secrets.
    """

    schedule = freshness.CACHED

    def __init__(self, command: str, *, name: str = "credential_process", seconds: float = SECONDS) -> None:
        super().__init__()
        self.name = name
        self.stderr = SecretBytes()
        self._command = Secret(command)
        self._seconds = seconds

    async def fetch(self, lender: Lender) -> Credentials:
        """
        Run the process and return its credentials.

        Raises:
            ConfigurationError: The command is empty, or a quotation in it does not end.
            CredentialsError: The process cannot be run, fails, takes too long, or writes something else.
        """
        command = self._words() if POSIX else self._command
        unwanted = threading.Event()
        running = asyncio.wrap_future(_in_thread(lambda: run(command, seconds=self._seconds, unwanted=unwanted)))
        try:
            ended = await asyncio.shield(running)
        finally:
            if not running.done():  # we are cancelled: what we began has to end first
                unwanted.set()
                await asyncio.wait([running], timeout=2 * GRACE)
        return self._read(ended)

    def _words(self) -> list[Secret]:
        words = []
        with contextlib.suppress(ValueError):  # which would quote a part of the command
            words = [Secret(word) for word in shlex.split(self._command)]
        if not words:
            raise ConfigurationError(f"{self.name}: the command is empty, or a quotation in it does not end")
        return words

    def _read(self, ended: "Ended | NotRun") -> Credentials:
        if isinstance(ended, NotRun):
            raise CredentialsError(f"{self.name}: the program cannot be run ({ended.reason})")
        self.stderr = ended.stderr
        if ended.fault == "slow":
            raise CredentialsError(f"{self.name}: not done within {self._seconds:g} s")
        if ended.fault == "large" or len(ended.stdout) > MOST_BYTES:
            raise CredentialsError(f"{self.name}: wrote more than {MOST_BYTES:,} bytes")
        if ended.returncode:
            raise CredentialsError(f"{self.name}: {_failure(ended.returncode)}")
        document = read_object(ended.stdout, what=f"{self.name}: the output")
        if type(document.get("Version")) is not int or document["Version"] != 1:
            raise CredentialsError(f"{self.name}: the output has a Version other than 1, or none")
        return read_credentials(document, NAMES, what=f"{self.name}: the output")

    def __repr__(self) -> str:
        return f"ProcessProvider({self.name!r})"


def _failure(returncode: int) -> str:
    if returncode > 0:
        return f"ended with exit code {returncode}"
    try:
        return f"ended by signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"ended by signal {-returncode}"


@attrs.frozen(kw_only=True)
class NotRun:
    """Why a process could not be begun: the name of the system's error."""

    reason: str


@attrs.frozen(kw_only=True)
class Ended:
    """
    What a process left.

    Attributes:
        stdout: What it wrote, up to somewhat more than 64 KiB.
        stderr: What it wrote there, up to 4 KiB.
        returncode: Exit code, a signal when negative; None when it could not be ended.
        fault: Why it was ended, or None when it ended by itself.
    """

    stdout: SecretBytes
    stderr: SecretBytes
    returncode: int | None
    fault: Fault | None


class _Written:
    """What came out of a pipe, up to a number of bytes, without showing it; what comes after that is only counted."""

    __slots__ = ("_chunks", "_most", "size")

    def __init__(self, most: int) -> None:
        self._chunks: list[SecretBytes] = []
        self._most = most
        self.size = 0

    def take(self, chunk: SecretBytes) -> None:
        room = max(0, self._most - self.size)
        if room:
            self._chunks.append(SecretBytes(chunk[:room]))
        self.size += len(chunk)

    def all(self) -> SecretBytes:
        return SecretBytes(b"".join(self._chunks))


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


def run(command: Command, *, seconds: float, unwanted: threading.Event) -> Ended | NotRun:
    """
    Run a process until it ends, for *seconds* at most, or until it is *unwanted*. Blocks.

    When this returns, the process is gone, and with it what it began in its session, if that was still holding the
    output.
    """
    watch = _Watch(seconds, unwanted)
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
        return NotRun(reason=errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__))
    return attend(process, watch) if POSIX else attend_whole(process, watch)


def attend(process: "subprocess.Popen[bytes]", watch: _Watch) -> Ended:
    """Read what a process writes, as it comes, until it has ended or has to be."""
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - both are pipes
    stdout, stderr = _Written(MOST_BYTES + 1), _Written(MOST_ERROR_BYTES)
    lingers_until = None
    with process.stdout, process.stderr, selectors.DefaultSelector() as selector:
        for pipe, written in ((process.stdout, stdout), (process.stderr, stderr)):
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, written)
        while (fault := watch.fault()) is None:
            if not selector.get_map():
                if _ends_within(process, watch.pause()):
                    break
                continue
            if lingers_until is None and _has_ended(process):
                lingers_until = time.monotonic() + LINGER
            if lingers_until is not None and time.monotonic() >= lingers_until:
                break
            for key, _ in selector.select(watch.pause()):
                _read_some(selector, key)
            if stdout.size > MOST_BYTES:
                fault = "large"
                break
        held = bool(selector.get_map())
        if held or not _has_ended(process):
            _kill_group(process)
    return Ended(stdout=stdout.all(), stderr=stderr.all(), returncode=_reap(process), fault=fault)


def _read_some(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    chunk = SecretBytes(os.read(key.fd, MOST_BYTES))
    if chunk:
        key.data.take(chunk)
    else:
        selector.unregister(key.fileobj)


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Say whether a process has ended, and leave it a zombie where that can be: its number is then not given anew."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # somebody else was quicker
        return True


def _ends_within(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # it leads its session, so that is its group


def _reap(process: "subprocess.Popen[bytes]") -> int | None:
    _ends_within(process, GRACE)
    return process.returncode


def attend_whole(process: "subprocess.Popen[bytes]", watch: _Watch) -> Ended:
    """Do what `attend` does where pipes cannot be waited for: what is written is read whole."""
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
        stdout=stdout,
        stderr=SecretBytes(stderr[:MOST_ERROR_BYTES]),
        returncode=_reap(process),
        fault=fault,
    )


def _in_thread(work: "Callable[[], Ended | NotRun]") -> "Future[Ended | NotRun]":
    """Begin *work* in a thread that does not keep the interpreter from ending."""
    future: Future[Ended | NotRun] = Future()
    future.set_running_or_notify_cancel()

    def do() -> None:
        try:
            outcome = work()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            future.set_exception(error)
        else:
            future.set_result(outcome)

    threading.Thread(target=do, name="sts_async credential_process", daemon=True).start()
    return future
