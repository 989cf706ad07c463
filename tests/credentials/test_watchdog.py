"""The watchdog for event loops: what it must report, what it must not report, and when a test is run again."""

import asyncio
import linecache
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from textwrap import indent

import pytest
from credentials.watchdog import LIBRARY, LIMIT, TESTS, Watchdog

CONFTEST = "from credentials.watchdog import _the_loop_is_watched, pytest_runtest_protocol\n"


def of_library(body: str, *, file: str = "credentials/imagined.py") -> Callable[[], None]:
    """Return a function with a frame that belongs to the library."""
    names = {"os": os, "Path": Path, "socket": socket, "ssl": ssl, "subprocess": subprocess, "sys": sys}
    names |= {"threading": threading, "time": time, "linecache": linecache, "traceback": traceback}
    exec(compile(f"def imagined():\n{indent(body, '    ')}", str(LIBRARY / file), "exec"), names)
    return names["imagined"]  # type: ignore[return-value]


async def on_the_loop(function: Callable[[], object]) -> None:
    function()


BLOCKING = {
    "sleep": "time.sleep(0.05)",
    "open": "open('/dev/null').close()",
    "os.open": "os.close(os.open('/dev/null', os.O_RDONLY))",
    "read of a file": "Path('/dev/null').read_bytes()",
    "stat": "Path('/').stat()",
    "exists": "os.path.exists('/')",
    "listing": "list(Path('/').iterdir())",
    "name": "socket.getaddrinfo('127.0.0.1', 80)",
    "program": "subprocess.run([sys.executable, '--version'], capture_output=True)",
    "trust": "ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_default_verify_paths()",
    "connection": "with socket.socket() as s: s.connect_ex(('127.0.0.1', 9))",
}


@pytest.mark.parametrize("body", BLOCKING.values(), ids=BLOCKING)
def test_a_short_blocking_call_on_the_loop_is_reported(body: str) -> None:
    with Watchdog() as watch:
        asyncio.run(on_the_loop(of_library(body)))

    assert watch.calls
    assert "sts_async/credentials/imagined.py:2 in imagined" in watch.calls[0]


@pytest.mark.parametrize("body", BLOCKING.values(), ids=BLOCKING)
def test_the_same_call_in_a_thread_is_not_reported(body: str) -> None:
    with Watchdog() as watch:
        asyncio.run(asyncio.to_thread(of_library(body)))

    assert (watch.calls, watch.pauses) == ([], [])


@pytest.mark.parametrize("body", BLOCKING.values(), ids=BLOCKING)
def test_the_same_call_without_a_loop_is_not_reported(body: str) -> None:
    with Watchdog() as watch:
        of_library(body)()

    assert watch.calls == []


@pytest.mark.parametrize("body", BLOCKING.values(), ids=BLOCKING)
def test_calls_of_test_servers_are_not_reported(body: str) -> None:
    with Watchdog() as watch:
        asyncio.run(on_the_loop(of_library(body, file="testing/imagined.py")))

    assert (watch.calls, watch.pauses) == ([], [])


def test_calls_of_a_test_function_that_the_library_calls_are_not_reported() -> None:
    caller = of_library("sys.modules['a_test']()")
    sys.modules["a_test"] = lambda: time.sleep(2 * LIMIT)  # type: ignore[assignment]
    try:
        with Watchdog() as watch:
            asyncio.run(on_the_loop(caller))
    finally:
        del sys.modules["a_test"]

    assert (watch.calls, watch.pauses) == ([], [])


@pytest.mark.parametrize(
    ("file", "seen"),
    [("config.py", 1), ("_imagined.py", 0), ("_shape/imagined.py", 0)],
    ids=["public", "file", "folder"],
)
def test_a_private_function_that_a_test_calls_is_not_reported(file: str, seen: int) -> None:
    """A test may prepare a file with a function that the library calls in a thread. Public functions must not block."""
    with Watchdog() as watch:
        asyncio.run(on_the_loop(of_library("os.stat('/')", file=file)))

    assert len(watch.calls) == seen


def test_a_private_function_that_a_coroutine_of_the_library_calls_is_reported() -> None:
    coroutine = of_library("async def inside(): sys.modules['a_helper']()\nreturn inside()", file="_imagined.py")
    sys.modules["a_helper"] = of_library("os.stat('/')", file="_helper.py")  # type: ignore[assignment]
    try:
        with Watchdog() as watch:
            asyncio.run(coroutine())  # type: ignore[arg-type]
    finally:
        del sys.modules["a_helper"]

    assert len(watch.calls) == 1
    assert "sts_async/_helper.py:2 in imagined, from sts_async/_imagined.py:2 in " in watch.calls[0]


def test_a_blocking_callback_of_the_library_is_reported() -> None:
    async def later(function: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(function)

    with Watchdog() as watch:
        asyncio.run(later(of_library("os.stat('/')", file="_imagined.py")))

    assert len(watch.calls) == 1


def test_an_import_by_the_library_on_the_loop_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio imports its thread pool lazily, and a test may be the first to import a part of the library."""
    (tmp_path / "first_of_all.py").write_text("import second_of_all")
    (tmp_path / "second_of_all.py").write_text("")
    (tmp_path / "third_of_all.py").write_text("def late(): import fourth_of_all")
    (tmp_path / "fourth_of_all.py").write_text("")
    (tmp_path / "fifth_of_all.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    of_a_module = compile("import fifth_of_all", str(LIBRARY / "imagined.py"), "exec")
    theirs = of_library("sys.modules['third_of_all'].late()")
    import_module("third_of_all")

    with Watchdog() as ours_seen:
        asyncio.run(on_the_loop(of_library("import first_of_all")))
    with Watchdog() as theirs_seen:
        asyncio.run(on_the_loop(theirs))
    with Watchdog() as of_tests_seen:
        asyncio.run(on_the_loop(lambda: exec(of_a_module)))

    assert ours_seen.calls
    assert (theirs_seen.calls, of_tests_seen.calls) == ([], [])


def test_reading_source_lines_for_a_traceback_is_not_reported() -> None:
    """An event loop in debug mode stores the lines that created each task."""
    with Watchdog() as watch:
        asyncio.run(on_the_loop(of_library("linecache.clearcache()\ntraceback.format_stack()")))

    assert watch.calls == []


def test_a_non_blocking_socket_may_connect() -> None:
    connect = of_library("with socket.socket() as s:\n    s.setblocking(False)\n    s.connect_ex(('127.0.0.1', 9))")

    with Watchdog() as watch:
        asyncio.run(on_the_loop(connect))

    assert watch.calls == []


def test_no_argument_of_a_call_is_shown() -> None:
    """A command line may contain a password: T14."""
    with Watchdog() as watch:
        asyncio.run(on_the_loop(of_library("subprocess.run(['true', 'hunter2'])")))

    assert watch.calls
    assert "hunter2" not in "".join(watch.calls)


WAIT = "threading.Event().wait(0.15)"  # no call that the first layer knows


def test_any_other_wait_is_measured() -> None:
    with Watchdog() as watch:
        asyncio.run(on_the_loop(of_library(WAIT)))

    assert watch.calls == []
    assert len(watch.pauses) == 1
    assert "sts_async/credentials/imagined.py:2 in imagined" in watch.pauses[0]


def test_a_loop_in_another_thread_is_watched_too() -> None:
    with Watchdog() as watch:
        thread = threading.Thread(target=asyncio.run, args=[on_the_loop(of_library(f"time.sleep(0)\n{WAIT}"))])
        thread.start()
        thread.join()

    assert len(watch.calls) == 1
    assert len(watch.pauses) == 1


def test_a_wait_in_a_thread_is_not_measured() -> None:
    with Watchdog() as watch:
        asyncio.run(asyncio.to_thread(of_library(WAIT)))

    assert watch.pauses == []


def test_a_wait_of_a_test_is_not_reported() -> None:
    with Watchdog() as watch:
        asyncio.run(on_the_loop(lambda: threading.Event().wait(0.05)))

    assert watch.pauses == []


def test_a_test_may_keep_the_cpu_busy() -> None:
    def burst() -> None:
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass

    with Watchdog() as watch:
        asyncio.run(on_the_loop(burst))

    assert (watch.calls, watch.pauses) == ([], [])


def test_of_two_watchdogs_the_inner_one_records() -> None:
    with Watchdog() as outer, Watchdog() as inner:
        asyncio.run(on_the_loop(of_library("os.stat('/')")))

    assert (len(outer.calls), len(inner.calls)) == (0, 1)


def test_a_watchdog_leaves_no_thread_behind() -> None:
    before = threading.active_count()

    with Watchdog():
        during = threading.active_count()

    assert (during, threading.active_count()) == (before + 1, before)


WATCHED = """
from collections import Counter
from credentials.test_watchdog import WAIT, asyncio, of_library, on_the_loop, pytest
runs = Counter()
wait = of_library(WAIT)

@pytest.fixture(autouse=True)
def run(request):
    runs[request.node.name] += 1
    return runs[request.node.name]

async def test_quiet(): pass
async def test_always_blocked(): await on_the_loop(wait)
async def test_blocked_in_a_thread(): await asyncio.to_thread(wait)
async def test_one_noisy_run(run): await on_the_loop(wait if run == 1 else int)
async def test_two_noisy_runs(run): await on_the_loop(wait if run < 3 else int)
async def test_fails_and_is_blocked(run): await on_the_loop(wait); assert run > 1
async def test_waits_by_a_known_call(): await on_the_loop(of_library("time.sleep(0.05)"))
def test_runs(): print("runs:", dict(runs))
"""


def test_only_a_test_that_is_blocked_in_every_run_is_an_error(pytester: pytest.Pytester) -> None:
    """
    A measured pause may be caused by the machine, a blocking call cannot.

    A run that fails by itself is not repeated: the watchdog must not hide a test that fails sometimes.
    """
    pytester.makeini(
        f"[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\npythonpath = {TESTS}"
    )
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(WATCHED)

    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-s", "-rEF")

    result.assert_outcomes(passed=7, failed=1, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "*'test_quiet': 1, 'test_always_blocked': 3, 'test_blocked_in_a_thread': 1, 'test_one_noisy_run': 2,"
            " 'test_two_noisy_runs': 3, 'test_fails_and_is_blocked': 1, 'test_waits_by_a_known_call': 1,*",
            "FAILED *::test_fails_and_is_blocked*",
            "ERROR *::test_always_blocked*",
            "blocked in each of 3 runs, in the last:",
            "* ms off the CPU, sts_async/credentials/imagined.py:2 in imagined",
            "ERROR *::test_waits_by_a_known_call*",
            "*time.sleep at sts_async/credentials/imagined.py:2 in imagined*",
        ]
    )
