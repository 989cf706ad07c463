"""
A watchdog for the event loops of a test: the library must not block one, not even for 20 ms.

It has two layers. The first one knows the calls that wait for a disk, a name server, a process or a clock. It reports
each such call that the library makes on an event loop, however short it is. The second one measures: a callback that is
off the CPU for longer than the limit was blocked by some other call. A busy machine takes the CPU away as well. So the
time for which threads of this process waited for a CPU is subtracted, if the system reports it (Linux). A measured
pause counts only if it occurs in each run: such a test is run again, up to twice.

A call counts for the library if the innermost line of the project on the stack is a line of the library. If the library
calls a function of a test or of `sts_async.testing`, calls of that function do not count.
"""

import asyncio.events
import contextlib
import functools
import importlib.util
import inspect
import linecache
import os
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Self

import pytest
from _pytest.runner import runtestprotocol

import sts_async

LIMIT = 0.020  # s off the CPU in one callback of an event loop
ATTEMPTS = 3  # runs of a test, all of which must be blocked
STILL = 0.015  # s without a turn on the CPU, which distinguish a wait from a busy machine
A_TURN = 0.0005  # s on the CPU that end a wait
SAMPLE_PERIOD = 0.004  # s between two samples of the running callbacks
TASKS = Path("/proc/self/task")
HAS_THREAD_CLOCKS = hasattr(time, "pthread_getcpuclockid")  # not on macOS, nor on Windows

LIBRARY = Path(sts_async.__file__).parent
TESTS = Path(__file__).parents[1]
_IN_LIBRARY = f"{LIBRARY}{os.sep}"
_IN_COVERAGE = str(Path(importlib.util.find_spec("coverage").origin).parent) + os.sep  # type: ignore[union-attr,arg-type]
_IN_TESTS = (f"{TESTS}{os.sep}", f"{LIBRARY / 'testing'}{os.sep}")

AUDITED = frozenset(
    """
    open os.chmod os.chown os.fork os.forkpty os.link os.listdir os.lockf os.mkdir os.posix_spawn os.remove os.rename
    os.rmdir os.scandir os.symlink os.system os.truncate os.utime fcntl.flock fcntl.lockf subprocess.Popen
    socket.connect socket.getaddrinfo socket.gethostbyaddr socket.gethostbyname socket.getnameinfo socket.sendto
    """.split()
)  # Source: Python's table of audit events.
UNAUDITED: tuple[tuple[Any, str], ...] = (
    (time, "sleep"),  # audited from Python 3.13
    (os, "access"),
    (os, "fsync"),
    (os, "lstat"),
    (os, "readlink"),
    (os, "stat"),
    (os, "waitpid"),
    (ssl.SSLContext, "load_cert_chain"),
    (ssl.SSLContext, "load_verify_locations"),
    (ssl.SSLContext, "set_default_verify_paths"),
)

_PAUSES = pytest.StashKey[list[str]]()
_watches: list["Watchdog"] = []
_samplers: set[str] = set()  # the system's numbers of the threads that look


class Watchdog:
    """
    Records what the library does on event loops, in any thread, while this context is entered.

    Of two nested watchdogs, only the inner one records.

    Attributes:
        calls: Blocking calls, each with the lines of the library that led to it, without arguments.
        pauses: Callbacks that were off the CPU for more than `LIMIT`, each with its time and the line that waited.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.pauses: list[str] = []
        self._running: dict[int, _Running] = {}  # by thread, its present callback
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._look, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        _install()
        _watches.append(self)
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        _watches.remove(self)
        self._over.set()
        self._sampler.join()

    def run(self, callback: Callable[[], None]) -> None:
        """Run a callback of a loop, and note it if it was blocked."""
        thread = threading.get_ident()
        running = self._running[thread] = _Running()
        try:
            callback()
        finally:
            del self._running[thread]
            if running.waits:
                off_cpu = time.perf_counter() - running.began - (time.thread_time() - running.on_cpu)
                # Read again, because the system counts a wait for a CPU only after its end.
                off_cpu -= running.queued()
                if off_cpu > LIMIT and (where := Counter(running.waits).most_common(1)[0][0]):
                    self.pauses.append(f"{off_cpu * 1000:.0f} ms off the CPU, {where}")

    def _look(self) -> None:
        _samplers.add(str(threading.get_native_id()))
        while not self._over.wait(SAMPLE_PERIOD):
            for thread, running in list(self._running.items()):
                if running.stands_still():
                    running.waits.append(library_lines(sys._current_frames().get(thread)))


class _Running:
    """A running callback: its start, the CPU time of its thread, and the lines at which it waited."""

    __slots__ = ("began", "clock", "on_cpu", "queues", "still_at", "still_since", "thread", "turns", "waits")

    def __init__(self) -> None:
        self.thread, self.turns = threading.get_native_id(), 0
        self.clock = time.pthread_getcpuclockid(threading.get_ident()) if HAS_THREAD_CLOCKS else None
        self.still_since = self.began = time.perf_counter()
        self.still_at = self.on_cpu = time.thread_time()
        self.queues: dict[str, int] | None = None  # of all threads, when it was first seen to stand still
        self.waits: list[str | None] = []

    def stands_still(self) -> bool:
        """
        Return True if the callback had no CPU for `STILL`, without the time for which threads of this process queued.

        A long computation is off the CPU as well if other processes need it, but it has a turn every few milliseconds.
        A thread that queues for a CPU may hold the interpreter lock, and the callback then waits for this lock.
        """
        with contextlib.suppress(OSError):  # its thread has ended
            on_cpu = time.clock_gettime(self.clock) if self.clock is not None else self.still_at
            turns = turns_of(self.thread)
            if on_cpu - self.still_at > A_TURN or turns != self.turns:
                self.turns = turns
                self.still_since, self.still_at, self.queues = time.perf_counter(), on_cpu, None
        return time.perf_counter() - self.still_since - self.queued() > STILL

    def queued(self) -> float:
        """Return the seconds for which all threads of this process queued for a CPU since this one stands still."""
        now = queues()
        if self.queues is None:
            self.queues = now
        before = self.queues
        return sum(waited - before.get(thread, 0) for thread, waited in now.items()) * 1e-9


def turns_of(thread: int) -> int:
    """Return the number of turns of a thread on a CPU. A thread that waits for the interpreter lock has turns too."""
    with contextlib.suppress(OSError):
        return int((TASKS / str(thread) / "schedstat").read_bytes().split()[2])
    return 0


def queues() -> dict[str, int]:
    """Return for how many nanoseconds each thread has queued for a CPU, without the samplers; {} if unknown."""
    found = {}
    with contextlib.suppress(OSError):
        for thread in {*os.listdir(TASKS)} - _samplers:  # noqa: PTH208 - names alone, and at once
            with contextlib.suppress(OSError):  # it has ended
                found[thread] = int((TASKS / thread / "schedstat").read_bytes().split()[1])
    return found


def library_lines(frame: FrameType | None) -> str | None:
    """
    Return the lines of the library on a stack, the innermost first, or None if the wait does not count for the library.

    These waits do not count:

    - `Thread.start` waits until the new thread has a CPU, which is long only on a busy machine.
    - A test calls a function on an event loop that the library calls in a thread, or imports the library there.
    - A traceback reads the source lines that it quotes.
    - Another package imports a module.
    - Coverage reads a file when it sees new code.
    """
    lines: list[str] = []
    entry: CodeType | None = None
    importing = False
    while frame is not None and (code := frame.f_code) is not _timed_run.__code__:
        if code is threading.Thread.start.__code__ or code.co_filename.startswith(_IN_COVERAGE):
            return None
        if code.co_filename.startswith(_IN_TESTS) and code.co_filename != __file__:
            if entry and _is_for_a_thread(entry):
                return None
            break
        if code.co_filename.startswith(_IN_LIBRARY):
            entry = code
            lines.append(f"{_path(code)}:{frame.f_lineno} in {code.co_qualname}")
        elif code.co_filename == linecache.__file__ or (importing and not _is_import(code) and not entry):
            return None
        importing = importing or _is_import(code)
        frame = frame.f_back
    return ", from ".join(lines) or None


def _path(code: CodeType) -> Path:
    return Path(code.co_filename).relative_to(LIBRARY.parent)


def _is_for_a_thread(code: CodeType) -> bool:
    """Return True for code that may block, so that its caller must use a thread: private functions and imports."""
    words = [*_path(code).with_suffix("").parts, *code.co_qualname.split(".")]
    private = any(word.startswith("_") and not word.endswith("__") for word in words)
    return code.co_name == "<module>" or (private and not code.co_flags & inspect.CO_COROUTINE)


def _is_import(code: CodeType) -> bool:
    return code.co_filename.startswith("<frozen importlib") or code.co_filename == importlib.__file__


def _note(call: str) -> None:
    """Record a call in this thread if the library makes it on an event loop."""
    if _watches and asyncio._get_running_loop() is not None and (where := library_lines(sys._getframe(1))):
        _watches[-1].calls.append(f"{call} at {where}")


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """Record an audit event, unless the call cannot block: on an open descriptor or a non-blocking socket."""
    if event not in AUDITED:
        return
    if event == "open" and isinstance(arguments[0], int):
        return
    if event.startswith("socket.") and hasattr(arguments[0], "gettimeout") and arguments[0].gettimeout() == 0:
        return
    _note(event)


def _noting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def noted(*args: Any, **kwargs: Any) -> Any:
        _note(name)
        return function(*args, **kwargs)

    return noted


_run = asyncio.events.Handle._run


def _timed_run(handle: asyncio.events.Handle) -> None:
    if _watches:
        _watches[-1].run(functools.partial(_run, handle))
    else:
        _run(handle)


@functools.cache
def _install() -> None:
    """
    Install the hooks once. They stay installed: an audit hook cannot be removed.

    The other hooks stay as well. If they were removed after each test, a test that replaces `os.stat` could restore an
    old hook.
    """
    for owner, name in UNAUDITED:
        setattr(owner, name, _noting(f"{owner.__name__}.{name}", getattr(owner, name)))
    asyncio.events.Handle._run = _timed_run  # type: ignore[assignment, method-assign]
    sys.addaudithook(_hear)


@pytest.fixture(autouse=True)
def _the_loop_is_watched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which the library makes a blocking call on an event loop. Keep measured pauses for the runner."""
    with Watchdog() as watch:
        yield
    request.node.stash[_PAUSES] = watch.pauses
    if watch.calls:
        pytest.fail("on the event loop: " + "\n".join(dict.fromkeys(watch.calls)), pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a watched test again if it passed but was blocked. It fails if it was blocked in each run."""
    if _the_loop_is_watched.__name__ not in getattr(item, "fixturenames", ()):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for _ in range(ATTEMPTS):
        item.stash[_PAUSES] = []
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        pauses = item.stash[_PAUSES]
        if not pauses or any(report.failed for report in reports):
            break
    else:
        reports[-1].outcome = "failed"
        reports[-1].longrepr = f"blocked in each of {ATTEMPTS} runs, in the last:\n" + "\n".join(pauses)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
