"""F53, F54: one client in several event loops, in threads, and on both sides of a fork."""

import asyncio
import gc
import json
import logging
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from faults.clients import Loop, call, keys_of, run_script
from faults.stepping import sessions_of
from patience import PATIENCE, soon, turns, until
from support import ROLE

from sts_async import Config
from sts_async.credentials import AssumeRoleProvider
from sts_async.errors import ClientClosedError
from sts_async.testing import Delay, LocalSTS

GRACE = 0.1  # s that closing may take in the tests where something does not end
ENDED_WITH_CONNECTIONS = pytest.mark.filterwarnings("ignore:unclosed (transport|<socket):ResourceWarning")
"""For tests in which a program ends an event loop whose connections it has not closed."""


async def in_another_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Run *work* in an event loop of its own, in a thread."""
    return await soon(asyncio.to_thread(asyncio.run, work))


# Event loops and threads


async def test_a_client_serves_one_event_loop_after_the_other_with_the_same_credentials(server: LocalSTS) -> None:
    """F53: what one loop has fetched is used in the next; connections are each loop's own."""
    sts = server.client(credentials=AssumeRoleProvider(role_arn=ROLE, source=server.credentials))
    arns = [await in_another_loop(call(sts)) for _ in range(3)]
    arns.append(await call(sts))
    await sts.aclose()

    assert len(set(arns)) == 1
    assert [served.operation for served in server.requests].count("AssumeRole") == 1


async def test_a_loop_that_ends_within_a_refresh_leaves_it_to_the_next(server: LocalSTS) -> None:
    """F53: nobody waits for a task that will never run again."""
    sts = server.client(credentials=AssumeRoleProvider(role_arn=ROLE, source=server.credentials))

    async def begin_only() -> None:
        task = asyncio.create_task(call(sts))
        await until(lambda: server.faults)
        await until(lambda: not server.faults)
        assert not task.done()

    async with asyncio.TaskGroup() as group:
        group.create_task(in_another_loop(begin_only()))
        server.faults.add(Delay(60.0))

    assert "assumed-role" in await soon(call(sts))
    await sts.aclose()


async def test_the_connections_of_a_loop_that_has_ended_are_closed_with_the_next_use(server: LocalSTS) -> None:
    """F53: a program that calls `asyncio.run` for each job keeps no socket for each of them."""
    sts = server.client()
    for _ in range(5):
        await in_another_loop(call(sts))
    await call(sts)
    try:
        await until(lambda: server._thread is not None and server._thread.connections == 1)
    finally:
        await sts.aclose()


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
        await asyncio.to_thread(loop.run_until_complete, turns())
        loop.close()


async def test_a_thread_that_blocks_its_loop_does_not_keep_the_others_from_closing(
    server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F53, F55: bounded, and what is ours to close is closed."""
    monkeypatch.setattr("sts_async._engine.lifecycle.CLOSE_GRACE", GRACE)
    sts, blocking, go_on = server.client(), threading.Event(), threading.Event()

    async def use_and_block() -> None:
        await call(sts)
        blocking.set()
        go_on.wait(PATIENCE)  # a program's own mistake, in its own thread
        await turns()

    thread = asyncio.create_task(asyncio.to_thread(asyncio.run, use_and_block()))
    await asyncio.to_thread(blocking.wait, PATIENCE)
    await call(sts)
    _, ours = sessions_of(sts)
    try:
        await soon(sts.aclose())
        assert ours.closed
    finally:
        go_on.set()
        await soon(thread)
        await ours.close()


# The end of an event loop


def loops_left(of: Callable[[], Any]) -> int:
    """Return how many of five event loops are still there that ran *of*, and were dropped without `close()`."""
    loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
    for _ in range(5):
        loop = asyncio.SelectorEventLoop()
        loops.add(loop)
        loop.run_until_complete(of())
        del loop
    for _ in range(3):  # a client that was not closed goes first, then what belonged to it, then the loop
        gc.collect()
    return len(loops)


@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
async def test_an_event_loop_that_is_dropped_without_being_closed_frees_its_descriptors(server: LocalSTS) -> None:
    """F53: asyncio closes such a loop itself, if no one refers to it once its clients are closed."""

    async def job() -> None:
        async with server.client() as one, server.client() as other:
            await call(one)
            await call(other)

    assert await asyncio.to_thread(loops_left, job) == 0


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_an_event_loop_is_dropped_with_a_client_that_was_never_closed(
    server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F53, F57: the client's end is the end of what refers to the loop."""
    monkeypatch.setattr(logging.getLogger("sts_async"), "propagate", False)  # it says that the client is not closed

    async def job() -> None:
        await call(server.client())

    assert await asyncio.to_thread(loops_left, job) == 0


async def test_an_event_loop_goes_on_with_new_connections_after_its_generators_were_closed(server: LocalSTS) -> None:
    """F53: a program may call `shutdown_asyncgens` early; an open client stays open, and asyncio has no complaint."""
    outcome: list[list[bool]] = []

    async def use_and_go_on() -> None:
        loop = asyncio.get_running_loop()
        async with server.client() as early, server.client() as late:
            await call(early)
            (before,) = sessions_of(early)
            await loop.shutdown_asyncgens()
            await call(early)
            await call(early)
            await call(late)
            (after,) = sessions_of(early)
            outcome.append([before.closed, after.closed])
        outcome.append([after.closed])

    await in_another_loop(use_and_go_on())

    assert outcome == [[True, False], [True]]


async def test_calls_under_way_when_the_generators_of_their_loop_are_closed_are_sent_again(server: LocalSTS) -> None:
    """F53: also those that wait for a connection; the client is open, so none of them says that it is closed."""

    async def calls_and_end_of_generators() -> set[str]:
        async with server.client(config=Config(max_connections=1)) as sts:
            server.faults.add(Delay(60.0))
            calls = [asyncio.create_task(call(sts)) for _ in range(3)]
            await until(lambda: server.requests or not server.faults)
            await asyncio.get_running_loop().shutdown_asyncgens()
            return set(await asyncio.gather(*calls))

    assert len(await in_another_loop(calls_and_end_of_generators())) == 1


# Forks

FORK = """
import asyncio, json, os, sys, warnings
from sts_async import STSClient
from sts_async.credentials import AssumeRoleProvider
from sts_async.shapes import Credentials

warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)  # Python 3.12 and later
url, role_arn, key, secret, begun, go_on = sys.argv[1:]
keys = Credentials(access_key_id=key, secret_access_key=secret)
role = AssumeRoleProvider(role_arn=role_arn, source=keys)
sts = STSClient(endpoint_url=url, region="us-east-1", credentials=keys)
as_role = sts.with_options(credentials=role)

def ports():
    connections = [c for part in sts._life.transport._parts.values() for c in part.session.connector._conns.values()]
    return [proto.transport.get_extra_info("sockname")[1] for held in connections for proto, _ in held]

async def report(name):
    arns = await asyncio.gather(*((await_of()) for await_of in (sts.get_caller_identity, as_role.get_caller_identity)))
    jitter = [sts._life.engine._shared.jitter() for _ in range(3)]
    seen = {"name": name, "arns": [answer.arn for answer in arns], "ports": ports(), "jitter": jitter}
    os.write(1, (json.dumps(seen) + "\\n").encode())

async def child(name):
    await report(name)
    await sts.aclose()

async def main():
    before = await sts.get_caller_identity()
    refresh = asyncio.create_task(as_role.get_caller_identity())  # the server takes its time: under way at the fork
    while not os.path.exists(begun):
        await asyncio.sleep(0.001)
    assert role._caches.all()[-1].flights._running and not refresh.done()
    children = []
    for name in ("child 1", "child 2"):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                asyncio.run(asyncio.wait_for(child(name), 120))
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    open(go_on, "w").close()
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    await refresh
    await report("parent")
    await sts.aclose()

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
async def test_a_client_works_on_in_parent_and_children_after_a_fork(
    server: LocalSTS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F54: with idle connections and a refresh under way at the fork; neither sockets nor jitter are shared."""
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"

    async def pause(_: float) -> None:
        begun.touch()
        await until(go_on.exists)

    monkeypatch.setattr(server._thread, "pause", pause)
    server.faults.add(Delay(0.0, operation="AssumeRole"))  # the refresh is under way at the fork
    status, out, err = await run_script(FORK, server.url, ROLE, *keys_of(server), str(begun), str(go_on))
    reports = [json.loads(line) for line in out.splitlines()]
    ports = [port for report in reports for port in report["ports"]]

    assert (status, err) == (0, "")
    assert sorted(report["name"] for report in reports) == ["child 1", "child 2", "parent"]
    assert all("assumed-role" in report["arns"][1] for report in reports)
    assert len(ports) == len(set(ports)) >= 3
    assert len({tuple(report["jitter"]) for report in reports}) == 3
