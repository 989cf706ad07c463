"""F53 to F57, F59, F61, F62: event loops, forks, closing, sources that fail oddly, quotas and limits of a client."""

import asyncio
import inspect
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
from faults.stepping import held_by, left_by, sessions_of, settled, soon
from support import ANSWER, KEYS, ROLE, Clocks

from sts_async import Config, STSClient
from sts_async._flight import Tasks
from sts_async.credentials import AssumeRoleProvider, RefreshingProvider
from sts_async.errors import ClientClosedError, ServiceError, STSError
from sts_async.retries import QUOTA, RETRY_COST
from sts_async.shapes import Credentials, GetCallerIdentityRequest
from sts_async.testing import Delay, LocalSTS, Unavailable

GRACE = 0.1  # s that closing may take in the tests where something does not end
ENDED_WITH_CONNECTIONS = pytest.mark.filterwarnings("ignore:unclosed (transport|<socket):ResourceWarning")
"""For tests in which a program ends an event loop whose connections it has not closed."""


@pytest.fixture
async def server() -> AsyncIterator[LocalSTS]:
    async with LocalSTS() as running:
        yield running


async def call(sts: STSClient) -> str:
    return (await sts.get_caller_identity()).arn


async def in_another_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Run *work* in an event loop of its own, in a thread."""
    return await soon(asyncio.to_thread(asyncio.run, work))


# Event loops and threads


@ENDED_WITH_CONNECTIONS
async def test_a_client_serves_one_event_loop_after_the_other_with_the_same_credentials(server: LocalSTS) -> None:
    """F53: what one loop has fetched is used in the next; connections are each loop's own."""
    sts = server.client(credentials=AssumeRoleProvider(role_arn=ROLE, source=server.credentials))
    arns = [await in_another_loop(call(sts)) for _ in range(3)]
    arns.append(await call(sts))
    await sts.aclose()

    assert len(set(arns)) == 1
    assert [served.operation for served in server.requests].count("AssumeRole") == 1


@ENDED_WITH_CONNECTIONS
async def test_a_loop_that_ends_within_a_refresh_leaves_it_to_the_next(server: LocalSTS) -> None:
    """F53: nobody waits for a task that will never run again."""
    sts = server.client(credentials=AssumeRoleProvider(role_arn=ROLE, source=server.credentials))

    async def begin_only() -> None:
        task = asyncio.create_task(call(sts))
        while not server.faults:
            await asyncio.sleep(0.001)
        while server.faults:
            await asyncio.sleep(0.001)
        assert not task.done()

    async with asyncio.TaskGroup() as group:
        group.create_task(in_another_loop(begin_only()))
        server.faults.add(Delay(60.0))

    assert "assumed-role" in await soon(call(sts))
    await sts.aclose()


@ENDED_WITH_CONNECTIONS
async def test_the_connections_of_a_loop_that_has_ended_are_closed_with_the_next_use(server: LocalSTS) -> None:
    """F53: a program that calls `asyncio.run` for each job keeps no socket for each of them."""
    sts = server.client()
    for _ in range(5):
        await in_another_loop(call(sts))
    await call(sts)
    assert server._runner is not None
    assert server._runner.server is not None
    try:
        await settled(lambda: len(server._runner.server.connections) == 1, seconds=0.5)  # type: ignore[union-attr]
    finally:
        await sts.aclose()


class Loop:
    """An event loop in a thread, which uses a client and then stays until the end of the block."""

    def __init__(self, use: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._use = use

    async def __aenter__(self) -> "Loop":
        self._here, self._used, self._done = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        self._ended = asyncio.create_task(asyncio.to_thread(asyncio.run, self._main()))
        return self

    async def _main(self) -> Any:
        outcome = await self._use()
        self._here.call_soon_threadsafe(self._used.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._done.wait(), self._here))
        await asyncio.sleep(0.01)  # what is closed in this loop closes at its next turns
        return outcome

    async def used(self) -> None:
        await soon(self._used.wait())

    async def __aexit__(self, *_: object) -> None:
        self._done.set()
        self.outcome = await soon(self._ended)


async def test_a_client_serves_three_threads_at_once_and_is_closed_from_one(server: LocalSTS) -> None:
    """F53: many calls each, one set of credentials for all, and nothing open in any loop afterwards."""
    role = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)
    sts = server.client(credentials=role, config=Config(max_connections=4))

    async def many() -> list[str]:
        return await asyncio.gather(*(call(sts) for _ in range(50)))

    async with Loop(many) as one, Loop(many) as other:
        arns = await soon(many())
        await one.used()
        await other.used()
        sessions = sessions_of(sts)
        await soon(sts.aclose())
        closed = [session.closed for session in sessions]
        with pytest.raises(ClientClosedError):
            await call(sts)

    assert {*arns, *one.outcome, *other.outcome} == {arns[0]}
    assert closed == [True] * 3
    assert [served.operation for served in server.requests].count("AssumeRole") <= 3


@ENDED_WITH_CONNECTIONS
async def test_a_client_can_be_closed_while_another_loop_of_its_stands_still(server: LocalSTS) -> None:
    """F53: `run_until_complete` here, `aclose` elsewhere; that loop is neither closed nor running."""
    sts, loop = server.client(), asyncio.new_event_loop()
    try:
        await asyncio.to_thread(loop.run_until_complete, call(sts))
        sessions = sessions_of(sts)
        await soon(sts.aclose())
        assert [session.closed for session in sessions] == [True]
    finally:
        await asyncio.to_thread(loop.run_until_complete, asyncio.sleep(0.01))
        loop.close()


async def test_a_thread_that_blocks_its_loop_does_not_keep_the_others_from_closing(
    server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F53, F55: bounded, and what is ours to close is closed."""
    monkeypatch.setattr("sts_async.client.CLOSE_GRACE", GRACE)
    sts, blocking, go_on = server.client(), threading.Event(), threading.Event()

    async def use_and_block() -> None:
        await call(sts)
        blocking.set()
        go_on.wait(10)  # a program's own mistake, in its own thread
        await asyncio.sleep(0.01)

    thread = asyncio.create_task(asyncio.to_thread(asyncio.run, use_and_block()))
    await asyncio.to_thread(blocking.wait, 10)
    await call(sts)
    _, ours = sessions_of(sts)
    try:
        await soon(sts.aclose())
        assert ours.closed
    finally:
        go_on.set()
        await soon(thread)
        await ours.close()


# Forks

FORK = """
import asyncio, json, os, sys, warnings
from sts_async import STSClient
from sts_async.credentials import AssumeRoleProvider
from sts_async.shapes import Credentials

warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)  # Python 3.12 and later
url, role_arn, key, secret = sys.argv[1:]
keys = Credentials(access_key_id=key, secret_access_key=secret)
role = AssumeRoleProvider(role_arn=role_arn, source=keys)
sts = STSClient(endpoint_url=url, region="us-east-1", credentials=keys)
as_role = sts.with_options(credentials=role)

def ports():
    connections = [c for part in sts._transport._parts.values() for c in part.session.connector._conns.values()]
    return [proto.transport.get_extra_info("sockname")[1] for held in connections for proto, _ in held]

async def report(name):
    arns = await asyncio.gather(*((await_of()) for await_of in (sts.get_caller_identity, as_role.get_caller_identity)))
    jitter = [sts._engine.jitter() for _ in range(3)]
    seen = {"name": name, "arns": [answer.arn for answer in arns], "ports": ports(), "jitter": jitter}
    os.write(1, (json.dumps(seen) + "\\n").encode())

async def child(name):
    await report(name)
    await sts.aclose()

async def main():
    before = await sts.get_caller_identity()
    refresh = asyncio.create_task(as_role.get_caller_identity())  # the server takes its time: under way at the fork
    await asyncio.sleep(0.1)
    assert role._flights._under_way and not refresh.done()
    children = []
    for name in ("child 1", "child 2"):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                asyncio.run(asyncio.wait_for(child(name), 5))
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    await refresh
    await report("parent")
    await sts.aclose()

asyncio.run(main())
"""


async def run_script(script: str, *arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def keys_of(server: LocalSTS) -> list[str]:
    return [server.credentials.access_key_id, str.__str__(server.credentials.secret_access_key)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
async def test_a_client_works_on_in_parent_and_children_after_a_fork(server: LocalSTS) -> None:
    """F54: with idle connections and a refresh under way at the fork; neither sockets nor jitter are shared."""
    server.faults.add(Delay(0.0), Delay(0.5))  # the first call at once; the refresh is under way at the fork
    status, out, err = await run_script(FORK, server.url, ROLE, *keys_of(server))
    reports = [json.loads(line) for line in out.splitlines()]
    ports = [port for report in reports for port in report["ports"]]

    assert (status, err) == (0, "")
    assert sorted(report["name"] for report in reports) == ["child 1", "child 2", "parent"]
    assert all("assumed-role" in report["arns"][1] for report in reports)
    assert len(ports) == len(set(ports)) >= 3
    assert len({tuple(report["jitter"]) for report in reports}) == 3


# Closing


async def within(seconds: float, sts: STSClient) -> bool:
    begun = time.monotonic()
    await sts.aclose()
    return time.monotonic() - begun < seconds


async def test_closing_during_a_refresh_that_hangs_is_quick_and_tells_who_waits(server: LocalSTS) -> None:
    """F55: the refresh waits for an answer that does not come."""
    sts = server.client(credentials=AssumeRoleProvider(role_arn=ROLE, source=server.credentials))
    server.faults.add(Delay(60.0))
    calls = [asyncio.create_task(call(sts)) for _ in range(100)]
    await settled(lambda: not server.faults)
    quick = await within(2.0, sts)
    outcomes = await soon(asyncio.gather(*calls, return_exceptions=True))

    assert quick
    assert {type(outcome) for outcome in outcomes} == {ClientClosedError}
    assert len({id(outcome) for outcome in outcomes}) == 100
    assert (held_by(sts), sessions_of(sts)) == ([], [])


class Stubborn(RefreshingProvider):
    """A source that goes on when it is cancelled, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()

    async def fetch(self, lender: Any) -> Credentials:
        self.begun.set()
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        return KEYS


async def test_closing_is_bounded_by_no_source(server: LocalSTS, monkeypatch: pytest.MonkeyPatch) -> None:
    """F55: one that does not end when it is cancelled is left behind; closing twice at once is closing."""
    monkeypatch.setattr(Tasks.aclose, "__kwdefaults__", {"seconds": GRACE})
    source = Stubborn()
    sts = server.client(credentials=source)
    calls = [asyncio.create_task(call(sts)) for _ in range(3)]
    await soon(source.begun.wait())
    await soon(asyncio.gather(sts.aclose(), sts.aclose()))
    outcomes = await soon(asyncio.gather(*calls, return_exceptions=True))
    source.let_go.set()

    assert [type(outcome) for outcome in outcomes] == [ClientClosedError] * 3
    assert await left_by(sts) == []


async def test_closing_ends_a_call_that_pauses_before_a_retry(server: LocalSTS) -> None:
    """F55: a pause is up to 25 s."""
    sts = server.client()
    await call(sts)
    assert sts._engine is not None
    pausing = asyncio.Event()

    async def pause(seconds: float) -> None:
        pausing.set()
        await asyncio.sleep(1.0)

    sts._engine.sleep = pause
    server.faults.add(Unavailable())
    task = asyncio.create_task(call(sts))
    await soon(pausing.wait())
    await sts.aclose()
    done, _ = await asyncio.wait([task], timeout=0.2)
    outcome, *_ = await asyncio.gather(task, return_exceptions=True)

    assert type(outcome) is ClientClosedError
    assert done == {task}


async def test_closing_ends_a_call_that_waits_for_a_provider_of_the_programs_own(server: LocalSTS) -> None:
    """F55: until the provider returns, or the deadline of the call."""

    class Slow:
        async def provide_credentials(self, lender: object) -> Credentials:
            await asyncio.sleep(1.0)
            return server.credentials

    sts = server.client(credentials=Slow())
    await sts.__aenter__()
    task = asyncio.create_task(call(sts))
    await asyncio.sleep(0.01)
    await sts.aclose()
    done, _ = await asyncio.wait([task], timeout=0.2)
    outcome, *_ = await asyncio.gather(task, return_exceptions=True)

    assert type(outcome) is ClientClosedError
    assert done == {task}


def coroutines_of(subject: object) -> dict[str, Callable[[], Coroutine[Any, Any, Any]]]:
    """Return every public coroutine function of a client or view, ready to be called; what it is given is text."""
    found: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {}
    for name, method in inspect.getmembers(subject, inspect.iscoroutinefunction):
        if name.startswith("_") or name in ("aclose", "presign"):
            continue
        needed = [p.name for p in inspect.signature(method).parameters.values() if p.default is p.empty]
        found[name] = lambda method=method, needed=needed: method(**dict.fromkeys(needed, "text"))  # type: ignore[misc]
    found["send"] = lambda: subject.send(GetCallerIdentityRequest())  # type: ignore[attr-defined]
    if isinstance(subject, STSClient):
        found["presign"] = lambda: subject.presign(GetCallerIdentityRequest())
        found["__aenter__"] = subject.__aenter__
    return found


@pytest.mark.parametrize("used", [True, False])
async def test_every_coroutine_of_a_closed_client_and_of_its_views_says_that_it_is_closed(
    server: LocalSTS, *, used: bool
) -> None:
    """F56: also what was made before, and is awaited afterwards; nothing reaches the server."""
    sts = server.client()
    view = sts.with_options(deadline=1.0)
    if used:
        await call(sts)
        await view.get_caller_identity()
    sent = len(server.requests)
    made_before = [sts.get_caller_identity(), view.get_caller_identity()]
    await sts.aclose()
    await sts.aclose()
    outcomes: dict[str, object] = {}
    for subject in (sts, view, sts.with_options(region="eu-west-1")):
        for name, coroutine in coroutines_of(subject).items():
            outcomes[f"{subject!r}.{name}"] = await coroutine_outcome(coroutine())
    for number, coroutine_made in enumerate(made_before):
        outcomes[f"made before {number}"] = await coroutine_outcome(coroutine_made)

    assert len(outcomes) >= 3 * 12
    assert {name: outcome for name, outcome in outcomes.items() if outcome is not ClientClosedError} == {}
    assert len(server.requests) == sent


async def coroutine_outcome(coroutine: Any) -> object:
    try:
        return await soon(coroutine)
    except STSError as error:
        return type(error)


async def test_a_body_that_raises_ends_the_calls_that_it_left(server: LocalSTS) -> None:
    """F56: the error passes, and those who wait are told."""
    calls: list[asyncio.Task[str]] = []
    with pytest.raises(LookupError, match="the body's"):
        async with server.client(config=Config(max_connections=1)) as sts:
            server.faults.add(Delay(60.0))
            calls += [asyncio.create_task(call(sts)) for _ in range(3)]
            await settled(lambda: not server.faults)
            raise LookupError("the body's")
    outcomes = await soon(asyncio.gather(*calls, return_exceptions=True))

    assert [type(outcome) for outcome in outcomes] == [ClientClosedError] * 3


async def test_leaving_a_client_that_is_closed_is_leaving_it(server: LocalSTS) -> None:
    """F56."""
    async with server.client() as sts:
        await call(sts)
        await sts.aclose()

    assert sessions_of(sts) == []


# Sources that fail oddly


class Odd(RefreshingProvider):
    """A source that gives credentials for an hour, then raises what it is told to, then gives others."""

    def __init__(self, clocks: Clocks) -> None:
        super().__init__()
        self.clocks = clocks
        self.fetched = 0
        self.raises: BaseException | None = None

    async def fetch(self, lender: Any) -> Credentials:
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
    assert sts._engine is not None
    sts._engine.wall_clock, sts._engine.monotonic = lambda: clocks.wall, lambda: clocks.monotonic
    sts._engine.sleep, sts._engine.jitter = clocks.sleep, lambda: 0.0


async def key(sts: STSClient) -> int:
    """Return which fetch the credentials are from, after what it has begun has ended."""
    number = int((await sts.get_credentials()).access_key_id[4:])
    await settled(lambda: not sts._tasks._running)
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
    assert len([record for record in caplog.records if "could not refresh" in record.message]) == 1
    assert recovered == 3


EXITS = """
import asyncio, sys
from datetime import datetime, timedelta, UTC
from sts_async import STSClient
from sts_async.credentials import RefreshingProvider
from sts_async.shapes import Credentials

class Source(RefreshingProvider):
    fetched = 0
    async def fetch(self, lender):
        self.fetched += 1
        if self.fetched == 2:
            raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[sys.argv[1]](7)
        ends = datetime.now(UTC) + timedelta(hours=1)
        return Credentials(access_key_id=f"ASIA{self.fetched:016}", secret_access_key="x", expiration=ends)

source = Source()
sts = STSClient(region="us-east-1", credentials=source)

async def main(ahead):
    await sts.get_credentials()
    real = sts._engine.monotonic
    sts._engine.monotonic = lambda: real() + ahead
    await sts.get_credentials()
    await asyncio.sleep(0.05)
    return (await sts.get_credentials()).access_key_id

try:
    asyncio.run(main(2900))
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
        sts._engine.wall_clock = time.time  # type: ignore[union-attr]
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


MEMORY = """
import asyncio, gc, json, os, sys
from datetime import datetime, UTC
from sts_async import STSClient
from sts_async._core.message import HttpResponse
from sts_async._core.secret import SecretBytes
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
    loop, shared = asyncio.get_running_loop(), sts._engine._shared
    return {
        "blocks": sys.getallocatedblocks(),
        "tasks": len(asyncio.all_tasks()) + len(sts._tasks._running) + len(sts._tasks.flights),
        "descriptors": len(os.listdir("/dev/fd")),
        "timers": len(loop._scheduled),
        "kept": len(shared.metadata) + len(shared.turns) + len(shared.time_limits._known),
    }

async def main():
    global now
    fetched = 0
    def observer(event):
        nonlocal fetched
        fetched += type(event).__name__ == "CredentialsRefreshed"
    role = AssumeRoleProvider(role_arn=ROLE, source=Credentials(access_key_id="A" * 20, secret_access_key="s"))
    async with STSClient(region="us-east-1", credentials=role, observers=[observer]) as sts:
        sts._engine.wall_clock = sts._engine.monotonic = lambda: now
        sts._engine._shared.transport = type("Transport", (), {"send": staticmethod(send)})
        for number in range(TIMES):
            if number == TIMES // 5:
                before = grown(sts)
            now += 3_550
            await sts.assume_role(role_arn=ROLE, role_session_name=f"n{number}")
        after = grown(sts)
    print(json.dumps({"fetched": fetched, "before": before, "after": after}))

asyncio.run(main())
"""
FLAT = 1_000  # blocks of memory: one for every 16 refreshes would be more


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="descriptors cannot be counted")  # noqa: PTH112
async def test_after_twenty_thousand_refreshes_and_calls_nothing_has_grown() -> None:
    """F61: on a virtual clock, more than two years of one identity, in a process without the watches of the tests."""
    status, out, err = await run_script(MEMORY, ANSWER, ROLE, "20000")
    seen = json.loads(out)
    before, after = seen["before"], seen["after"]

    assert (status, err) == (0, "")
    assert seen["fetched"] == 20_000
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
    sts._engine.jitter = lambda: 6.0  # times 50 ms
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


@pytest.mark.skipif(sys.platform == "win32", reason="no limit")
async def test_a_client_without_descriptors_backs_off_and_recovers(server: LocalSTS) -> None:
    """F62: a typed error that may pass, which a retry outlives; a client that cannot even start can be used later."""
    status, out, err = await soon(run_script(DESCRIPTORS, server.url, *keys_of(server)))
    connect, within_the_call, cold, recovered = out.splitlines()

    assert (status, err) == (0, "")
    assert (connect, within_the_call) == ("ConnectError True True", "recovered within the call")
    assert (cold.split()[0], recovered) == ("typed", "recovered")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit")
async def test_a_shared_file_that_cannot_be_opened_for_want_of_descriptors_may_be_later(server: LocalSTS) -> None:
    """F62: what is cached is kept in use only after an error that waiting may cure."""
    _, out, _ = await soon(run_script(DESCRIPTORS, server.url, *keys_of(server)))

    assert out.splitlines()[2] == "typed True"
