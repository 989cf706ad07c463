"""
Fleets in several processes, with one Redis and one STS: how often STS is called, and what a fleet has that was killed
or suspended while it fetched.

A program imports the library once and forks the processes, as in `test_processes`. `test_redis_processes` has the same
for the cache alone, at each operation on Redis.
"""

import asyncio
import json
import sys
from typing import Any

import pytest
from fleet.redis_server import RedisServer, needs_redis, redis, shared_redis
from patience import PATIENCE, soon

from sts_async.testing import LocalSTS

__all__ = ["redis", "shared_redis"]

pytestmark = [
    needs_redis,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork"),
]

COMMON = '''
import asyncio, json, logging, os, signal, sys
from contextlib import asynccontextmanager
from sts_async import AssumeRoleRequest, Config, Credentials, EncryptionKeys, RedisCache, STSClient
from sts_async.fleet import CredentialsFleet
from sts_async.fleet._fetch import Fetcher
from sts_async.fleet.caches._redis_commands import RedisCommands

logging.getLogger("sts_async").addHandler(logging.NullHandler())  # a value that comes late is a warning
options = json.loads(sys.argv[1])
config = Config(endpoint_url=options["url"], region="us-east-1", attempt_timeout=PATIENCE, deadline=PATIENCE)
credentials = Credentials(**options["credentials"])
KEYS = EncryptionKeys({"k": b"1" * 32})

def cache_of(lease):
    return RedisCache(options["redis"], keys=KEYS, timeout=PATIENCE, lease_seconds=lease)

cache_of(1)  # imports the libraries

def role(name):
    return AssumeRoleRequest(role_arn="arn:aws:iam::123456789012:role/demo", role_session_name=name)

@asynccontextmanager
async def fleet_of(cache):
    async with STSClient(credentials=credentials, config=config) as sts:
        async with CredentialsFleet(sts, cache=cache, cache_namespace="n", requests_per_second=10_000) as fleet:
            yield fleet

async def keys_of(names, lease):
    """Return the access key id of each identity, from a new fleet."""
    async with fleet_of(cache_of(lease)) as fleet:
        found = await asyncio.gather(*(fleet.get(role(name)) for name in names))
        return [credentials.access_key_id for credentials in found]

def line(value):
    os.write(1, f"{json.dumps(value)}\\n".encode())  # in one write, so that lines are not mixed

def forked(work, *arguments):
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        asyncio.run(work(*arguments))
        status = 0
    finally:
        os._exit(status)
'''


async def run(program: str, redis: RedisServer) -> tuple[list[Any], int]:
    """Return what a program prints, and the number of calls of STS."""
    async with LocalSTS() as server:
        keys = server.credentials
        given = {
            "url": server.url,
            "redis": redis.url,
            "credentials": {"access_key_id": keys.access_key_id, "secret_access_key": str(keys.secret_access_key)},
        }
        text = (COMMON + program).replace("PATIENCE", str(PATIENCE))
        pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        command = [sys.executable, "-W", "error", "-c", text, json.dumps(given)]
        child = await asyncio.create_subprocess_exec(*command, **pipes)
        try:
            out, err = await soon(child.communicate())
        finally:
            if child.returncode is None:
                child.kill()
        assert (err.decode(), child.returncode) == ("", 0)
        assert {(served.operation, served.status) for served in server.requests} == {("AssumeRole", 200)}
        return [json.loads(printed) for printed in out.splitlines()], len(server.requests)


TOGETHER = """
NAMES = [f"r-{number}" for number in range(30)]

async def work(number):
    # Each process begins elsewhere.
    names = NAMES[5 * number :] + NAMES[: 5 * number]
    line(sorted(zip(names, await keys_of(names, PATIENCE))))

pids = [forked(work, number) for number in range(6)]
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 6
"""


async def test_fleets_in_six_processes_make_one_call_for_each_identity(redis: RedisServer) -> None:
    found, calls = await run(TOGETHER, redis)

    assert calls == 30
    assert len(found) == 6
    assert all(keys == found[0] for keys in found)


INTERRUPTED = """
LEASE = 1.0  # s, which pass once
PLACES = {"take": (RedisCommands, "take"), "fetch": (Fetcher, "_send"), "publish": (RedisCommands, "publish")}
CASES = [(kind, moment, step) for kind in ("SIGKILL", "SIGSTOP") for step in PLACES for moment in ("before", "after")]

def interrupt(kind, moment, step):
    owner, name = PLACES[step]
    method = getattr(owner, name)

    async def interrupted(*arguments, **named):
        if moment == "before":
            os.kill(os.getpid(), getattr(signal, kind))
        found = await method(*arguments, **named)
        if moment == "after":
            os.kill(os.getpid(), getattr(signal, kind))
        return found

    setattr(owner, name, interrupted)

async def work(*case):
    interrupt(*case)
    cache = cache_of(LEASE)
    async with fleet_of(cache) as fleet:
        found = await fleet.get(role("-".join(case)))
        line(["-".join(case), found.access_key_id, dict(cache.refused)])

names = ["-".join(case) for case in CASES]
pids = {case: forked(work, *case) for case in CASES}
for case, pid in pids.items():
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status) if case[0] == "SIGSTOP" else os.WIFSIGNALED(status), (case, status)
replacing = asyncio.run(keys_of(names, PATIENCE))  # it waits until the leases of the interrupted processes end
for case, pid in pids.items():
    if case[0] == "SIGSTOP":
        os.kill(pid, signal.SIGCONT)
        assert os.waitpid(pid, 0)[1] == 0, case
line(replacing)
line(asyncio.run(keys_of(names, PATIENCE)))
"""


async def test_a_fleet_that_is_killed_or_suspended_while_it_fetches_is_replaced(redis: RedisServer) -> None:
    """The others get credentials when its lease ends. When it goes on, it puts nothing in place of theirs."""
    found, calls = await run(INTERRUPTED, redis)
    *resumed, replacing, last = found
    steps = [f"{moment}-{step}" for step in ("take", "fetch", "publish") for moment in ("before", "after")]
    names = [f"{kind}-{step}" for kind in ("SIGKILL", "SIGSTOP") for step in steps]
    theirs = dict(zip(names, replacing, strict=True))
    # The fleet had not found the newer credentials before it fetched, so it fetched, too.
    late = {"SIGSTOP-before-fetch", "SIGSTOP-after-fetch", "SIGSTOP-before-publish"}
    lost = {"SIGKILL-after-fetch", "SIGKILL-before-publish"}  # what they had fetched

    assert last == replacing, "what is in Redis has changed"
    assert sorted(name for name, _, _ in resumed) == sorted(name for name in names if name.startswith("SIGSTOP"))
    assert {name for name, key, _ in resumed if key != theirs[name]} == late
    assert {name: refused for name, _, refused in resumed if refused} == {name: {"late": 1} for name in late}
    assert calls == len(names) + len(late) + len(lost)
