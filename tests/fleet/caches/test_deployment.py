"""
What the document of the caches tells operators, on a real server: the program of a worker, the permissions of its user,
and what lies in Redis.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from documents import DOCUMENTS, ROOT, section
from fleet.caches.cases import KEY, issued, key_of
from fleet.redis_server import RedisServer, needs_redis, redis_server
from patience import PATIENCE, soon
from test_readme import WORKERS as PROGRAMS

from sts_async import EncryptionKeys, RedisCache
from sts_async.testing import LocalSTS

TEXT = DOCUMENTS["sts_async/fleet/caches/README.md"]
WORKERS = 3
PASSWORD = "SENTINEL-password"
LINE = str.__str__(EncryptionKeys.generate("2026-11"))
KEYS = EncryptionKeys.from_text(LINE)
RedisCache("redis://host", keys=KEYS)  # imports the libraries before an event loop is watched
(SETUSER,) = [block for block in re.findall(r"^```\n(.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL) if "SETUSER" in block]

pytestmark = [needs_redis, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
async def admin(server: RedisServer) -> AsyncIterator[Any]:
    async with server.client(decode_responses=True) as client:
        await client.flushall()
        yield client


async def test_n_processes_of_the_program_make_the_calls_of_one(server: RedisServer, admin: Any) -> None:
    """C18, F45: the program of the document, started at once by several workers with keys of their own."""
    (program,) = PROGRAMS
    # On a busy machine, an answer may take longer than a program waits for it by default.
    patient = program.replace("expected_workers=8,", f"expected_workers=8, timeout={PATIENCE},")
    assert patient != program
    async with LocalSTS() as sts:
        keys = sts.credentials
        environ = {
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": str.__str__(keys.secret_access_key),
            "AWS_ENDPOINT_URL_STS": sts.url,
            "AWS_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": "/nonexistent",
            "PATH": os.environ["PATH"],
            "STS_ASYNC_CACHE": server.url,
            "STS_ASYNC_CACHE_KEYS": LINE,
        }
        processes = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", "-c", patient),
                env=environ,
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            for _ in range(WORKERS)
        ]
        found = await asyncio.gather(*(soon(process.communicate()) for process in processes))

    assert [process.returncode for process in processes] == [0] * WORKERS
    assert {err for _, err in found} == {b""}
    assert {len(out.splitlines()) for out, _ in found} == {20}
    assert len({out for out, _ in found}) == 1  # all have the same credentials
    assert [request.operation for request in sts.requests] == ["AssumeRole"] * 20


async def use_everything(url: str, admin: Any) -> None:
    """Do what workers do: fetch, wait for each other, fail to fetch, and share a budget."""
    async with AsyncExitStack() as stack:
        first, second = caches = [RedisCache(url, keys=KEYS) for _ in range(2)]
        for cache in caches:
            user = User()
            await cache.join(user)
            stack.push_async_callback(cache.leave, user)
        assert await first.load(KEY) is None
        async with first.lease(KEY) as has_lease:
            assert has_lease
            follower = asyncio.create_task(follow(second))
            while (await admin.pubsub_numsub("sts-async:leases"))[0][1] == 0:
                pass  # each question gives the follower its turn
            await first.store(KEY, issued(seconds=10**9))
        assert await soon(follower) is False
        assert await second.load(KEY) == issued(seconds=10**9)
        async with second.lease(key_of("refused")):
            pass  # the fetch failed
        assert [cache.available for cache in caches] == [True, True]
        assert [dict(cache.refused) for cache in caches] == [{}, {}]


async def follow(cache: RedisCache) -> bool:
    async with cache.lease(KEY) as has_lease:
        return has_lease


class User:
    """A fleet that needs something."""

    requests_per_second = 200.0

    def demand(self) -> dict[str, float]:
        return {"123456789012/eu-west-1": 10.0}

    def set_shares(self, shares: Any, *, others: float) -> None:
        pass

    def notify(self, event: Any) -> None:
        raise AssertionError(event)


async def test_the_user_of_the_document_has_what_is_needed_and_nothing_else(server: RedisServer, admin: Any) -> None:
    """Each permission is used, and no other is asked for."""
    words = SETUSER.replace("PASSWORD", PASSWORD).split()
    await admin.execute_command(*words)
    await admin.execute_command("ACL", "LOG", "RESET")
    await admin.execute_command("SCRIPT", "FLUSH")
    await admin.execute_command("CONFIG", "RESETSTAT")
    await soon(use_everything(server.url.replace("://", f"://sts-async:{PASSWORD}@"), admin))
    used = {name.removeprefix("cmdstat_") for name in await admin.info("commandstats")}
    granted = {word[1:] for word in words if word.startswith("+")}

    assert await admin.execute_command("ACL", "LOG") == []
    by_the_test = {"info", "config|resetstat", "pubsub|numsub"}
    assert used - by_the_test - {"auth", "client|setinfo"} == granted
    for refused in (["SET", "other", "x"], ["KEYS", "*"], ["PUBLISH", "other", "x"], ["FLUSHALL"]):
        assert "no permissions" in str(await admin.execute_command("ACL", "DRYRUN", "sts-async", *refused))


async def test_the_table_of_the_document_names_all_that_lies_in_redis(server: RedisServer, admin: Any) -> None:
    """Everything expires, so Redis needs no care of its own."""
    told = {}
    table = section(TEXT, "Keys in Redis")
    for names, kind in re.findall(r"^\| (`sts-async:.+?) \| ([\w, ]+) \|", table, re.MULTILINE):
        told |= dict(zip(re.findall(r"`\S+?:([\w-]+)`", names), kind.split(", "), strict=True))
    user = User()
    cache = RedisCache(server.url, keys=KEYS)
    await cache.join(user)
    async with cache.lease(KEY):
        await cache.store(KEY, issued(seconds=10**9))
    async with cache.lease(key_of("other")):
        names = await admin.keys("*")
        kinds = {name: (await admin.type(name)).replace("zset", "sorted set") for name in names}
        ends = [await admin.pttl(name) for name in names]
    await cache.leave(user)

    assert all(re.fullmatch(r"sts-async:\{([0-9a-f]{64}|workers)\}:[a-z]+", name) for name in names)
    assert {name.rpartition(":")[2]: kind for name, kind in kinds.items()}.items() <= told.items()
    assert {name.rpartition(":")[2] for name in names} == told.keys() - {"leases", "probe", "probe-fence"}
    assert min(ends) > 0
