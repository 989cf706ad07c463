"""Where a server runs: in a thread of its own, for clients of every kind, and safe to use from all of them."""

import asyncio
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import botocore.session
import pytest
from patience import wait_until

from sts_async import Credentials
from sts_async.testing import (
    Delay,
    LocalContainer,
    LocalIMDS,
    LocalSignIn,
    LocalSSO,
    LocalSTS,
    Role,
    Throttle,
    User,
    base,
)
from sts_async.testing.base import LocalServer
from sts_async.testing.records import Records

ROLE = "arn:aws:iam::123456789012:role/demo"
ARN = "arn:aws:iam::123456789012:user/developer"
each_server = pytest.mark.parametrize("kind", [LocalContainer, LocalIMDS, LocalSSO, LocalSTS, LocalSignIn])


def status_of(url: str) -> int:
    """Return the HTTP status with which a synchronous client is answered."""
    try:
        with urllib.request.urlopen(url) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def identity_by_boto3(server: LocalSTS) -> str:
    session = boto3.session.Session(botocore_session=botocore.session.Session())
    client = session.client(
        "sts",
        endpoint_url=server.url,
        region_name=server.region,
        aws_access_key_id=server.credentials.access_key_id,
        aws_secret_access_key=server.credentials.secret_access_key,
    )
    try:
        return str(client.get_caller_identity()["Arn"])
    finally:
        client.close()


async def identity(server: LocalSTS) -> str:
    async with server.client() as sts:
        return str((await sts.get_caller_identity()).arn)


def threads_of(kind: type[Any]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == kind.__name__]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


# -- who is served ------------------------------------------------------------------------------------------------


@each_server
def test_a_synchronous_client_is_served_within_a_plain_with(kind: type[LocalServer[Any]]) -> None:
    """E4."""
    with kind() as server:
        assert status_of(f"{server.url}/") in range(200, 500)
        assert len(server.requests) == 1
    assert not threads_of(kind)


@pytest.mark.usefixtures("foreign_logs_are_off")
async def test_a_synchronous_client_in_a_coroutine_is_served_while_it_blocks_the_event_loop() -> None:
    """E4: a server in that event loop could not answer, and the client would wait for its timeout."""
    async with LocalSTS() as server:
        assert identity_by_boto3(server) == ARN
        assert await identity(server) == ARN


def test_one_server_serves_every_event_loop_and_thread(foreign_logs_are_off: None) -> None:
    """E4."""
    with LocalSTS() as server, ThreadPoolExecutor(4) as pool:
        found = [asyncio.run(identity(server)), asyncio.run(identity(server)), identity_by_boto3(server)]
        found += pool.map(lambda _: asyncio.run(identity(server)), range(4))

        assert found == [ARN] * 7
        assert len(server.requests) == 7


@pytest.mark.parametrize("begin", ["with", "async with"])
def test_a_server_starts_again_at_its_port_after_each_kind_of_with(begin: str) -> None:
    """E4: one mechanism, so that they can be mixed."""
    server = LocalSTS()

    async def within() -> str:
        async with server:
            return server.url

    def without() -> str:
        with server, server:
            return server.url

    first, second = (without(), asyncio.run(within())) if begin == "with" else (asyncio.run(within()), without())
    assert first == second
    assert repr(server) == "<LocalSTS stopped>"


# -- start and stop -----------------------------------------------------------------------------------------------


@each_server
def test_a_port_in_use_is_an_error_at_once(kind: type[LocalServer[Any]], taken: int) -> None:
    """E4: where it was started, as the error of the system, and no thread stays behind."""

    async def start() -> None:
        await kind(port=taken).start()

    with pytest.raises(OSError, match="address already in use"), kind(port=taken):
        pass
    with pytest.raises(OSError, match="address already in use"):
        asyncio.run(start())
    assert not threads_of(kind)


@pytest.mark.parametrize("begin", ["with", "async with"])
def test_a_stop_waits_for_no_request_under_way(begin: str) -> None:
    """E4: of a client in another thread, that is kept waiting for an hour."""
    server = LocalSTS()
    server.faults.add(Delay(3600))
    answered: list[int] = []
    asking: list[threading.Thread] = []

    def ask() -> None:
        asking.append(threading.Thread(target=lambda: answered.append(status_of(server.url))))
        asking[0].start()
        wait_until(lambda: not server.faults)

    async def within() -> None:
        async with server:
            ask()

    if begin == "with":
        with server:
            ask()
    else:
        asyncio.run(within())
    asking[0].join()

    assert answered == [400]
    assert not threads_of(LocalSTS)


@pytest.mark.parametrize("begin", ["with", "async with"])
def test_a_function_that_does_not_return_is_named_instead_of_waited_for(
    begin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E4: a stop never hangs."""
    monkeypatch.setattr(base, "STOP_TIMEOUT", 0.01)
    called, released = threading.Event(), threading.Event()

    def blocks() -> Credentials:
        called.set()
        released.wait()
        return Credentials(access_key_id="AKIDEXAMPLE", secret_access_key="wrong")

    server = LocalContainer(credentials=blocks)
    asking: list[threading.Thread] = []

    def ask() -> None:
        asking.append(threading.Thread(target=lambda: status_of(f"{server.url}/credentials")))
        asking[0].start()
        called.wait()

    async def within() -> None:
        async with server:
            ask()

    with pytest.raises(RuntimeError, match="LocalContainer does not stop: a function that was passed"):
        if begin == "async with":
            asyncio.run(within())
        else:
            with server:
                ask()
    released.set()
    for thread in [*asking, *threads_of(LocalContainer)]:
        thread.join()


async def test_a_start_that_is_cancelled_leaves_no_thread() -> None:
    """E4: whichever was quicker, the thread or who has cancelled."""
    starting = asyncio.create_task(LocalSTS().start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    for thread in threads_of(LocalSTS):
        await asyncio.to_thread(thread.join)


async def test_two_starts_at_once_are_one_start() -> None:
    """E4: the second one waits for the thread of the first one, which a stop ends."""
    server = LocalSTS()
    await asyncio.gather(server.start(), server.start(), asyncio.to_thread(server.__enter__))
    started = threads_of(LocalSTS)
    await server.stop()

    assert len(started) == 1
    assert not threads_of(LocalSTS)


async def test_two_concurrent_starts_both_fail_if_the_port_is_in_use(taken: int) -> None:
    """E4: both of them, and no thread stays behind."""
    server = LocalSTS(port=taken)
    outcomes = await asyncio.gather(server.start(), server.start(), return_exceptions=True)

    assert [isinstance(outcome, OSError) for outcome in outcomes] == [True, True]
    assert repr(server) == "<LocalSTS stopped>"
    assert not threads_of(LocalSTS)


async def test_a_block_within_another_one_leaves_the_server_running(sts_server: LocalSTS) -> None:
    """E4: also one of the fixture; the last block to end stops it."""
    server = LocalSTS()
    async with server:
        with server:
            pass
        async with server, sts_server:
            pass
        assert await identity(server) == ARN
    assert await identity(sts_server) == ARN
    assert repr(server) == "<LocalSTS stopped>"


async def test_a_block_stops_no_server_that_was_started_without_one() -> None:
    """E4: `stop` does, also within a block, whose end then does nothing."""
    server = LocalSTS()
    await server.start()
    with server:
        pass
    assert await identity(server) == ARN
    async with server:
        await server.stop()
    assert repr(server) == "<LocalSTS stopped>"
    assert not threads_of(LocalSTS)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_can_leave_the_block_and_its_parent_goes_on() -> None:
    """E4: the thread is the parent's, and so is the server."""
    with LocalSTS() as server:
        child = 0
        try:
            child = os.fork()
            if not child:
                server.__exit__(None, None, None)
        finally:
            if not child:
                os._exit(0 if repr(server) == "<LocalSTS stopped>" else 1)

        assert os.waitpid(child, 0)[1] == 0
        assert asyncio.run(identity(server)) == ARN


# -- from several threads -----------------------------------------------------------------------------------------


def test_faults_added_by_several_threads_each_take_their_requests() -> None:
    """E4: no fault is lost or taken twice while the server takes others."""
    with LocalSTS() as server, ThreadPoolExecutor(8) as pool:
        adding = [pool.submit(server.faults.add, Throttle(times=2), Throttle()) for _ in range(25)]
        asking = [pool.submit(status_of, server.url) for _ in range(100)]
        for done in adding:
            done.result()
        asking += [pool.submit(status_of, server.url) for _ in range(75)]
        for asked in asking:
            asked.result()

        assert len(server.faults) == 0
        assert [record.code for record in server.requests].count("Throttling") == 75


def test_a_test_reads_and_changes_a_server_that_others_are_calling() -> None:
    """E4: records are walked through, sessions issued and ended, roles declared."""
    with LocalSTS() as server, ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(asyncio.run, identity(server)) for _ in range(20)]
        number = 0
        while not all(asked.done() for asked in asking) or number < 20:
            session = server.issue(ROLE)
            server.declare(Role(f"{ROLE}{number}"), User(f"user{number}"))
            server.expire(session)
            assert server.principal(session) is not None
            assert all(record.status == 200 for record in server.requests)
            number += 1

        assert [asked.result() for asked in asking] == [ARN] * 20


def test_records_are_walked_through_as_they_were_at_the_beginning() -> None:
    """E4: the iteration of a plain deque raises RuntimeError if it grows."""
    records: Records[int] = Records([1, 2, 3], maxlen=3)
    seen = []
    for record in records:
        records.append(record + 10)
        seen.append(record)

    assert seen == [1, 2, 3]
    assert list(records) == [11, 12, 13]


def test_credentials_of_one_server_can_come_from_another() -> None:
    """E4: each in its own thread, also when a function asks the other for each fetch."""
    with LocalSTS() as sts, LocalContainer(credentials=lambda: sts.issue(ROLE)) as container:
        assert [status_of(f"{container.url}/credentials") for _ in range(3)] == [200] * 3
