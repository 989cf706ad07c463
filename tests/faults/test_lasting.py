"""F57, F59, F61, F62: sources that fail oddly, an empty quota, memory, descriptors."""

import json
import logging
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from faults.clients import call, keys_of, run_script
from patience import soon, until
from support import ANSWER, ROLE, Clocks, put_into

from sts_async import STSClient
from sts_async.credentials import RefreshingProvider
from sts_async.errors import ServiceError
from sts_async.retries._policies import QUOTA, RETRY_COST
from sts_async.shapes import Credentials
from sts_async.testing import LocalSTS, Unavailable

# Sources that fail oddly


class Odd(RefreshingProvider):
    """A source that gives credentials for an hour, then raises what it is told to, then gives others."""

    def __init__(self, clocks: Clocks) -> None:
        super().__init__()
        self.clocks = clocks
        self.fetched = 0
        self.raises: BaseException | None = None

    async def fetch(self, context: Any) -> Credentials:
        self.fetched += 1
        if self.raises is not None:
            raise self.raises
        return Credentials(
            access_key_id=f"ASIA{self.fetched:016}",
            secret_access_key="SENTINEL-secret",
            expiration=datetime.fromtimestamp(self.clocks.wall + 3600, UTC),
        )


class Speechless(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("SENTINEL")

    __repr__ = __str__


class Fatal(BaseException):
    """Neither an Exception nor one of those that end a program."""


async def on_the_clocks(sts: STSClient, clocks: Clocks) -> None:
    """Start the client, and have it take the time from *clocks*."""
    await sts.__aenter__()
    assert sts._life.engine is not None
    put_into(sts, wall_clock=lambda: clocks.wall, monotonic=lambda: clocks.monotonic)
    put_into(sts, sleep=clocks.sleep, jitter=lambda: 0.0)


async def key(sts: STSClient) -> int:
    """Return which fetch the credentials are from, after what it has begun has ended."""
    number = int((await sts.get_credentials()).access_key_id[4:])
    await until(lambda: not sts._life._tasks._running)
    return number


ODD_ERRORS = [
    ValueError("SENTINEL"),
    StopIteration("SENTINEL"),
    StopAsyncIteration(),
    RecursionError(),
    MemoryError(),
    OSError(24, "SENTINEL"),
    TimeoutError(),
    ExceptionGroup("SENTINEL", [ValueError("SENTINEL")]),
    Speechless(),
    Fatal("SENTINEL"),
    BaseExceptionGroup("SENTINEL", [Fatal()]),
]


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
async def test_whatever_ends_a_refresh_in_the_background_is_told_and_tried_again(
    server: LocalSTS, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """F57: what is held serves on, after 5 min there is another attempt, and one line in the log for each."""
    clocks = Clocks()
    source = Odd(clocks)
    async with server.client(credentials=source) as sts:
        await on_the_clocks(sts, clocks)
        await key(sts)
        clocks.advance(2_700)
        source.raises = error
        with caplog.at_level(logging.WARNING, logger="sts_async"):
            served = [await key(sts) for _ in range(10)]
        attempts = source.fetched - 1
        source.raises = None
        clocks.advance(301)
        await key(sts)
        recovered = await key(sts)

    assert served == [1] * 10
    assert attempts == 1
    assert len([record for record in caplog.records if "credential refresh failed" in record.message]) == 1
    assert recovered == 3


EXITS = """
import asyncio, sys
from datetime import datetime, timedelta, UTC
from sts_async import STSClient
from sts_async.credentials import RefreshingProvider
from sts_async.shapes import Credentials

class Source(RefreshingProvider):
    fetched = 0
    async def fetch(self, context):
        self.fetched += 1
        if self.fetched == 2:
            raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[sys.argv[1]](7)
        ends = datetime.now(UTC) + timedelta(hours=1)
        return Credentials(access_key_id=f"ASIA{self.fetched:016}", secret_access_key="x", expiration=ends)

source = Source()
sts = STSClient(region="us-east-1", credentials=source)

async def main(ahead):
    await sts.get_credentials()
    real = sts._life.engine._shared.monotonic
    sts._life.engine.context.monotonic = lambda: real() + ahead
    await sts.get_credentials()
    await asyncio.sleep(0.05)
    return (await sts.get_credentials()).access_key_id

try:
    asyncio.run(main(3500))
except (SystemExit, KeyboardInterrupt) as error:
    print(type(error).__name__, error.args)
print(asyncio.run(main(0)), source.fetched)
asyncio.run(sts.aclose())
"""


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt"])
async def test_what_ends_a_program_ends_it_from_a_refresh_too(name: str) -> None:
    """F57: as from any task; nothing hangs, and a client that is used again refreshes again."""
    status, out, err = await soon(run_script(EXITS, name))

    assert (status, out.splitlines()) == (0, [f"{name} (7,)", "ASIA0000000000000003 3"])
    assert f"{name}(7)" in err, "asyncio tells of the task as well"


# Quota, memory, descriptors


async def test_when_the_quota_is_used_up_calls_fail_fast_with_the_error_of_the_service(server: LocalSTS) -> None:
    """F59: 500 tokens, 14 for a retry; then each call is one attempt, and says so, and successes bring some back."""
    clocks = Clocks()
    async with server.client() as sts:
        await on_the_clocks(sts, clocks)
        put_into(sts, wall_clock=time.time)
        server.faults.add(Unavailable(times=1_000))
        attempts = []
        for _ in range(25):
            with pytest.raises(ServiceError, match="ServiceUnavailable") as caught:
                await call(sts)
            attempts.append(caught.value.attempts)
        server.faults.clear()
        for _ in range(RETRY_COST[False]):
            await call(sts)
        server.faults.add(Unavailable())
        await call(sts)

    retries = QUOTA // RETRY_COST[False]
    assert sum(attempts) == 25 + retries
    assert attempts == [3] * (retries // 2) + [2] * (retries % 2) + [1] * (25 - retries // 2 - retries % 2)


ERROR_CACHE_TTL = """
import asyncio, gc, json, os, sys
from datetime import datetime, UTC
from sts_async import STSClient
from sts_async._protocol.http_messages import HttpResponse
from sts_async._shape.secret import SecretBytes
from sts_async.credentials import AssumeRoleProvider
from sts_async.shapes import Credentials

ANSWER, ROLE, TIMES = sys.argv[1], sys.argv[2], int(sys.argv[3])
now = 1_767_225_600.0

async def send(request):
    await asyncio.sleep(0)
    ends = datetime.fromtimestamp(now + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return HttpResponse(200, {}, SecretBytes(ANSWER.replace("2026-01-01T01:00:00Z", ends).encode()))

def grown(sts):
    gc.collect()
    loop, shared = asyncio.get_running_loop(), sts._life.engine._shared
    return {
        "blocks": sys.getallocatedblocks(),
        "tasks": len(asyncio.all_tasks()) + len(sts._life._tasks._running) + len(sts._life._tasks._flights),
        "descriptors": len(os.listdir("/dev/fd")),
        "timers": sum(not timer.cancelled() for timer in loop._scheduled),
        "kept": len(shared.metadata) + len(shared.queues) + sum(map(len, shared.time_limits._known.values())),
    }

async def main():
    global now
    fetched = 0
    def observer(event):
        nonlocal fetched
        fetched += type(event).__name__ == "CredentialsRefreshed"
    role = AssumeRoleProvider(role_arn=ROLE, source=Credentials(access_key_id="A" * 20, secret_access_key="s"))
    async with STSClient(region="us-east-1", credentials=role, observers=[observer]) as sts:
        context = sts._life.engine.context
        context.wall_clock = context.monotonic = lambda: now
        context.shared.wall_clock = context.shared.monotonic = lambda: now
        sts._life.engine._shared.transport = type("Transport", (), {"send": staticmethod(send)})
        for number in range(TIMES):
            if number == TIMES // 5:
                before = grown(sts)
            now += 3_550
            await sts.assume_role(role_arn=ROLE, role_session_name=f"n{number}")
        after = grown(sts)
    print(json.dumps({"fetched": fetched, "before": before, "after": after}))

asyncio.run(main())
"""
FLAT = 500  # blocks of memory: one for every 16 refreshes would be more


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="descriptors cannot be counted")  # noqa: PTH112
async def test_after_ten_thousand_refreshes_and_calls_nothing_has_grown() -> None:
    """F61: on a virtual clock, more than a year of one identity, in a process without the watches of the tests."""
    status, out, err = await run_script(ERROR_CACHE_TTL, ANSWER, ROLE, "10000")
    seen = json.loads(out)
    before, after = seen["before"], seen["after"]

    assert (status, err) == (0, "")
    assert seen["fetched"] == 10_000
    assert after.pop("blocks") - before.pop("blocks") < FLAT
    assert after == before


DESCRIPTORS = """
import asyncio, contextlib, os, resource, sys
from sts_async import STSClient, errors
from sts_async.shapes import Credentials

url, key, secret = sys.argv[1:]
keys = Credentials(access_key_id=key, secret_access_key=secret)

def take_all():
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    return taken

def give_back(taken):
    while taken:
        os.close(taken.pop())

async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    sts = STSClient(endpoint_url=url, region="us-east-1", credentials=keys)
    await sts.__aenter__()

    taken = take_all()
    try:
        await sts.get_caller_identity()
    except errors.STSError as error:
        print(type(error).__name__, error.retryable, "EMFILE" in str(error))
    asyncio.get_running_loop().call_later(0.2, give_back, taken)
    sts._life.engine._shared.jitter = lambda: 6.0  # times 50 ms
    await sts.get_caller_identity()
    print("recovered within the call")
    await sts.aclose()

    taken = take_all()
    async def cold():
        async with STSClient(endpoint_url=url, region="us-east-1", credentials=keys) as sts:
            return await sts.get_caller_identity()
    try:
        await cold()
    except errors.STSError as error:
        print("typed", error.recoverable)
    give_back(taken)
    await cold()
    print("recovered")

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_NOFILE")
async def test_a_client_without_descriptors_backs_off_and_recovers(server: LocalSTS) -> None:
    """
    F62: a typed error that may pass, which a retry outlives.

    A client that cannot even start can be used later, and what is cached is kept in use meanwhile.
    """
    status, out, err = await soon(run_script(DESCRIPTORS, server.url, *keys_of(server)))

    assert (status, err) == (0, "")
    assert out.splitlines() == ["ConnectError True True", "recovered within the call", "typed True", "recovered"]
