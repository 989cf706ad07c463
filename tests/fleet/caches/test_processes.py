"""
Several processes with one cache: one call of STS for each identity, and nothing torn whenever one of them is killed.

A program imports the library once and forks the processes, because importing it eight times takes seconds. A process
that is forked before it has an event loop or a thread is like one that was started.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fleet.caches.cases import files_in
from patience import PATIENCE

from sts_async.fleet.caches._directory import LOCKS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")

STRIDE = 5  # lines from one that a process is killed at to the next; 1 takes five times as long

COMMON = '''
import asyncio, json, os, signal, sys, threading
from datetime import UTC, datetime, timedelta
from sts_async import AssumeRoleRequest
from sts_async.fleet.caches import CachedCredentials, CacheKey, FileCache
from sts_async._runtime import file_reads
from sts_async.fleet.caches import _leases
from sts_async.shapes import TemporaryCredentials

# A slow machine may take any time for a file or a lease.
file_reads.FILE_SECONDS = _leases.LEASE_SECONDS = PATIENCE
directory, calls = sys.argv[1:]

def key_of(number):
    request = AssumeRoleRequest(role_arn="arn:aws:iam::123456789012:role/demo", role_session_name=f"me-{number}")
    return CacheKey(request=request, source="AKIA", endpoint="https://sts.amazonaws.com/")

def credentials(token):
    now = datetime.now(UTC)
    issued = TemporaryCredentials(
        access_key_id="ASIA", secret_access_key="secret", session_token=token, expiration=now + timedelta(hours=1)
    )
    return CachedCredentials(credentials=issued, issued=now)

def forked(count, work):
    """Run *work* in so many processes at once, and return their exit statuses."""
    pids = []
    for number in range(count):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                asyncio.run(work(number))
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    return [os.waitpid(pid, 0)[1] for pid in pids]
'''


def run(program: str, tmp_path: Path) -> list[str]:
    """Return the lines that a program prints. It gets the directory of a cache and the name of a file."""
    arguments = [str(tmp_path / "cache"), str(tmp_path / "calls")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMMON.replace("PATIENCE", str(PATIENCE)) + program, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.splitlines()


FETCH_ONCE = """
async def get(cache, number):
    key = key_of(number)
    if (found := await cache.load(key)) is not None:
        return found
    async with cache.lease(key) as has_lease:
        if (found := await cache.load(key)) is not None:
            return found
        with open(calls, "a") as stream:  # the call of STS: each is counted
            stream.write(f"{number} {has_lease}\\n")
        await asyncio.sleep(0)
        fetched = credentials(f"token-{number}-{os.getpid()}")
        await cache.store(key, fetched)
        return fetched

async def work(process):
    cache = FileCache(directory)
    # Each process begins elsewhere, and has 10 fetches under way at once.
    numbers = [(number + 5 * process) % 40 for number in range(40)]
    found = {}
    for start in range(0, 40, 10):
        part = numbers[start : start + 10]
        for number, got in zip(part, await asyncio.gather(*(get(cache, number) for number in part))):
            found[number] = str(got.credentials.session_token)
    os.write(1, f"{json.dumps(found, sort_keys=True)}\\n".encode())  # in one write, so that lines are not mixed

assert forked(8, work) == [0] * 8
"""


def test_eight_processes_make_one_call_for_each_identity(tmp_path: Path) -> None:
    """F39: 40 identities are 40 calls in all, and each process has the same credentials of each."""
    printed = run(FETCH_ONCE, tmp_path)
    calls = (tmp_path / "calls").read_text().splitlines()

    assert sorted(calls) == sorted(f"{number} True" for number in range(40))
    assert len(printed) == 8
    assert len({*printed}) == 1
    assert len([name for name in files_in(tmp_path / "cache") if not name.startswith(LOCKS)]) == 40


WRITE = """
async def work(process):
    cache = FileCache(directory)
    for turn in range(200):
        number = (turn + process) % 3
        # Entries of many lengths: a mixture of two would not be JSON.
        await cache.store(key_of(number), credentials(f"{process}-" + "x" * (turn * 37 % 1500)))
        if not turn % 4:
            found = await cache.load(key_of(number))
            assert found is not None
            token = str(found.credentials.session_token)
            assert token[1] == "-" and {*token[2:]} <= {"x"}, token

assert forked(8, work) == [0] * 8
"""


@pytest.mark.slow
def test_entries_that_eight_processes_keep_writing_are_always_whole(tmp_path: Path) -> None:
    """F39: 8 times 200 writes to three entries, and reads between them. A warning would be an error of the run."""
    assert run(WRITE, tmp_path) == []
    entries = [name for name in files_in(tmp_path / "cache") if not name.startswith(LOCKS)]
    contents = [json.loads((tmp_path / "cache" / name).read_bytes()) for name in entries]

    assert len(contents) == 3
    assert all(content["Version"] == 1 for content in contents)


KILLED = '''
import logging
logging.basicConfig(format="%(message)s", stream=sys.stdout)
OURS = ("/_runtime/files.py", "/fleet/caches/", "/_runtime/descriptor_locks.py")

async def killed_at(step):
    """Store new credentials under the lease, and be killed before the line number *step* of our code."""
    cache, lines = FileCache(directory), 0

    def trace(frame, event, argument):
        nonlocal lines
        if not any(part in frame.f_code.co_filename for part in OURS):
            return None
        lines += event == "line"
        if lines == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    key, new = key_of(0), credentials(f"new-{step}")
    threading.settrace(trace)
    sys.settrace(trace)
    async with cache.lease(key):
        await cache.store(key, new)
    sys.settrace(None)

async def look(step):
    """Read the entry and store the old one again, as the next process does."""
    cache = FileCache(directory)
    found = await cache.load(key_of(0))
    token = None if found is None else str(found.credentials.session_token)
    assert token in ("old", f"new-{step}"), (step, token)
    async with cache.lease(key_of(0)) as has_lease:
        assert has_lease, step
        await cache.store(key_of(0), credentials("old"))
    seen.add(token[:3])
    left = [name for _, _, names in os.walk(directory) for name in names if name.endswith(".tmp")]
    assert left == [], (step, left)

seen, step, status = set(), 1, signal.SIGKILL

async def prepare():
    await FileCache(directory).store(key_of(0), credentials("old"))

forked(1, lambda _: prepare())
while status == signal.SIGKILL:
    (status,) = forked(1, lambda _: killed_at(step))
    asyncio.run(look(step))
    step += STRIDE
print(step, sorted(seen), status)
'''
"""A process that is killed at each line of the code that writes and locks, one after the other."""


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_line_leaves_no_torn_file_and_no_lock(tmp_path: Path) -> None:
    """F39, G13: the next process reads the old entry or the new one, has the lease at once, and sweeps the rest."""
    (printed,) = run(KILLED.replace("STRIDE", str(STRIDE)), tmp_path)
    steps, rest = printed.split(" ", 1)

    assert rest == "['new', 'old'] 0"
    assert int(steps) > 100
    assert len(files_in(tmp_path / "cache")) == 2  # the entry and its lock file


FORKED = '''
async def main():
    """Fork while a lease is held: the child has no lease, and does not end that of its parent."""
    cache = FileCache(directory)
    async with cache.lease(key_of(0)) as has_lease:
        pid = os.fork()
        if not pid:
            os._exit(len(cache._parts[1]._held))
        print(has_lease, os.waitpid(pid, 0)[1])
        print(cache._parts[0].take_lock(cache._parts[0].lock_of(key_of(0).digest[:3])))
    async with FileCache(directory).lease(key_of(0)) as has_lease:
        print(has_lease)

asyncio.run(main())
'''


def test_a_forked_process_does_not_end_the_lease_of_its_parent(tmp_path: Path) -> None:
    """G13."""
    assert run(FORKED, tmp_path) == ["True 0", "None", "True"]
