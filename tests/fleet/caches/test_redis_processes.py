"""
Several processes with one Redis: one call of STS for each identity, whenever one of them is killed or suspended.

A program imports the library once and forks the processes, as in `test_processes`.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fleet.redis_server import needs_redis, redis_server
from patience import PATIENCE

pytestmark = [
    needs_redis,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork"),
]

COMMON = '''
import asyncio, json, os, signal, sys, traceback
from datetime import UTC, datetime, timedelta
from sts_async import AssumeRoleRequest, EncryptionKeys, RedisCache
from sts_async.fleet.caches import CachedCredentials, CacheKey
from sts_async.fleet.caches._redis_commands import RedisCommands
from sts_async.shapes import TemporaryCredentials

port, calls = int(sys.argv[1]), sys.argv[2]
KEYS = EncryptionKeys({"k": b"1" * 32})

def cache_of(seconds):
    return RedisCache(f"redis://127.0.0.1:{port}/0", keys=KEYS, timeout=PATIENCE, lease_seconds=seconds)

cache_of(1)  # imports the libraries

def key_of(name):
    request = AssumeRoleRequest(role_arn="arn:aws:iam::123456789012:role/demo", role_session_name=f"me-{name}")
    return CacheKey(request=request, source="AKIA", endpoint="https://sts.amazonaws.com/")

async def get(cache, name, who):
    """Return the token of an identity. A call of STS is a line in a file."""
    key = key_of(name)
    found = await cache.load(key)
    if found is None:
        async with cache.lease(key):
            found = await cache.load(key)
            if found is None:
                with open(calls, "a") as stream:
                    stream.write(f"{name}\\n")
                await asyncio.sleep(0)
                now = datetime.now(UTC)
                ends = now + timedelta(hours=1)
                issued = TemporaryCredentials(
                    access_key_id="ASIA", secret_access_key="x", session_token=f"{who}-{name}", expiration=ends
                )
                found = CachedCredentials(credentials=issued, issued=now)
                await cache.store(key, found)
    return str(found.credentials.session_token)

def forked(work, *arguments):
    """Run *work* in a process, and return its number."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            asyncio.run(work(*arguments))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid
'''


def run(program: str, tmp_path: Path) -> tuple[list[str], Counter[str]]:
    """Return the lines that a program prints, and the number of calls for each identity."""
    calls = tmp_path / "calls"
    calls.touch()
    with redis_server() as server:
        command = [sys.executable, "-c", (COMMON + program).replace("PATIENCE", str(PATIENCE))]
        done = subprocess.run(
            [*command, str(server.port), str(calls)], capture_output=True, text=True, timeout=PATIENCE
        )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines(), Counter(calls.read_text().splitlines())


EIGHT = """
async def work(process):
    cache = cache_of(PATIENCE)
    # Each process begins elsewhere, and has 10 fetches under way at once.
    numbers = [(number + 5 * process) % 40 for number in range(40)]
    found = {}
    for start in range(0, 40, 10):
        part = numbers[start : start + 10]
        found |= zip(part, await asyncio.gather(*(get(cache, number, process) for number in part)))
    assert cache.available and not cache.refused
    os.write(1, f"{json.dumps(found, sort_keys=True)}\\n".encode())  # in one write, so that lines are not mixed

pids = [forked(work, process) for process in range(8)]
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
"""


def test_eight_processes_make_one_call_for_each_identity(tmp_path: Path) -> None:
    """F39: 40 identities are 40 calls in all, and each process has the same credentials of each."""
    printed, calls = run(EIGHT, tmp_path)

    assert calls == Counter(map(str, range(40)))
    assert len(printed) == 8
    assert len({*printed}) == 1


INTERRUPTED = """
LEASE = 1.0  # s, which pass once
STEPS = 4  # operations of a fetch: load, lease, load, store

def interrupt(name, step, moment):
    # Interrupt this process before or after an operation on Redis.
    ask, count = RedisCommands._ask, 0

    async def asking(self, *arguments, **named):
        nonlocal count
        count += 1
        if (count, moment) == (step, "before"):
            os.kill(os.getpid(), getattr(signal, name))
        found = await ask(self, *arguments, **named)
        if (count, moment) == (step, "after"):
            os.kill(os.getpid(), getattr(signal, name))
        return found

    RedisCommands._ask = asking

async def work(name, step, moment):
    interrupt(name, step, moment)
    cache = cache_of(LEASE)
    token = await get(cache, f"{name}-{step}-{moment}", "interrupted")
    os.write(1, f"{json.dumps([name, step, moment, token, cache.refused.get('late', 0)])}\\n".encode())

async def look(who):
    cache = cache_of(LEASE)
    return await asyncio.gather(*(get(cache, "-".join(map(str, case)), who) for case in cases))

cases = [(name, step, moment) for name in ("SIGKILL", "SIGSTOP") for step in range(1, STEPS + 1)
         for moment in ("before", "after")]
pids = {case: forked(work, *case) for case in cases}
for case, pid in pids.items():
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status) if case[0] == "SIGSTOP" else os.WIFSIGNALED(status), (case, status)
tokens = asyncio.run(look("next"))
for case, pid in pids.items():
    if case[0] == "SIGSTOP":
        os.kill(pid, signal.SIGCONT)
        assert os.waitpid(pid, 0)[1] == 0, case
assert asyncio.run(look("last")) == tokens, "something stale is in place of something newer"
print(json.dumps(tokens))
"""


def test_a_process_that_is_killed_or_suspended_at_any_operation_is_replaced(tmp_path: Path) -> None:
    """What it stores after its lease is refused, and it has credentials when it goes on."""
    printed, calls = run(INTERRUPTED, tmp_path)
    *resumed, tokens = map(json.loads, printed)
    times = [f"{step}-{at}" for step in range(1, 5) for at in ("before", "after")]
    cases = [f"{name}-{time}" for name in ("SIGKILL", "SIGSTOP") for time in times]
    published = {case for case in cases if case.endswith("-4-after")}
    late = {f"{name}-{step}-{at}" for name, step, at, _, refused in resumed if refused}

    assert tokens == [f"{'interrupted' if case in published else 'next'}-{case}" for case in cases]
    assert len(resumed) == 8
    assert late == {"SIGSTOP-3-after", "SIGSTOP-4-before"}, "only there the process had found nothing under its lease"
    assert calls == Counter([*cases, *late, "SIGKILL-4-before"]), "only what was lost is fetched again"
