"""F53, F54, T49: other threads and event loops read a fleet, and a process with a fleet forks."""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from faults.clients import keys_of, run_script
from fleet.fleets import Service, Source, open_fleet, operations_of, pass_time, role, roles, settled
from patience import soon, until

from sts_async import Credentials
from sts_async.errors import ClientClosedError, ConnectError, STSError
from sts_async.fleet import CredentialsFleet
from sts_async.testing import LocalSTS, VirtualClock

THREADS = 8
SWAPS = 100


async def in_another_loop(work: Any) -> Any:
    """Run a coroutine in an event loop of its own, in a thread."""
    return await soon(asyncio.to_thread(asyncio.run, work))


async def test_get_works_in_other_threads_and_event_loops(server: LocalSTS, clock: VirtualClock) -> None:
    """F53: the request runs in the event loop of the fleet, once for all."""
    async with open_fleet(server, clock) as fleet:
        found = await soon(asyncio.gather(*(in_another_loop(fleet.get(role())) for _ in range(5)), fleet.get(role())))
        again = await in_another_loop(fleet.get(role()))

    assert len({id(credentials) for credentials in [*found, again]}) == 1
    assert operations_of(server) == ["AssumeRole"]


async def test_an_error_reaches_a_caller_in_another_thread(watched: None, clock: VirtualClock) -> None:
    """F53."""
    source = Source(clock)
    source.outcome = ConnectError("refused")
    async with open_fleet(Service(clock), clock) as fleet:
        with pytest.raises(ConnectError):
            await in_another_loop(fleet.get(source))


async def test_a_caller_in_another_thread_can_be_cancelled(watched: None, clock: VirtualClock) -> None:
    """F42, F53: the fetch goes on in the event loop of the fleet."""
    source = Source(clock)
    source.gate = asyncio.Event()
    async with open_fleet(Service(clock), clock) as fleet:

        async def impatient() -> str:
            task = asyncio.create_task(fleet.get(source))
            await until(lambda: source.fetched)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return "cancelled"
            return "served"

        assert await in_another_loop(impatient()) == "cancelled"
        source.gate.set()
        await settled(fleet)
        assert fleet.peek(source) is not None
        assert source.fetched == 1


async def test_peek_works_without_an_event_loop(server: LocalSTS, clock: VirtualClock) -> None:
    """F53."""
    async with open_fleet(server, clock) as fleet:
        held = await fleet.get(role())

        assert await asyncio.to_thread(fleet.peek, role()) is held


async def test_get_after_the_end_of_the_event_loop_of_the_fleet_is_a_typed_error(clock: VirtualClock) -> None:
    """F53: the caller does not wait forever, even if the fleet was not closed."""
    kept: list[CredentialsFleet] = []

    async def main(*, close: bool) -> None:
        sts = Service(clock).client()
        fleet = CredentialsFleet(sts)
        await fleet.__aenter__()
        kept.append(fleet)
        if close:
            await fleet.aclose()
        await sts.aclose()

    for close in (True, False):
        await asyncio.to_thread(asyncio.run, main(close=close))
        with pytest.raises(ClientClosedError):
            await soon(kept[-1].get(role()))
        await kept[-1].aclose()
        with pytest.raises(ClientClosedError):
            await soon(kept[-1].get(role()))


async def test_a_fleet_can_be_closed_in_another_thread(watched: None, clock: VirtualClock) -> None:
    """F53, F55: its refreshes end in its own event loop."""
    service = Service(clock, gate=asyncio.Event())
    async with open_fleet(service, clock) as fleet:
        fleet.add(*roles(5))
        caller = asyncio.create_task(fleet.get(role(0)))
        await until(lambda: service.running == 5)
        await in_another_loop(fleet.aclose())
        with pytest.raises(ClientClosedError):
            await soon(caller)
        await until(lambda: service.running == 0)
        with pytest.raises(ClientClosedError):
            await fleet.get(role(0))


async def test_a_client_in_another_thread_uses_a_provider_and_is_refused_once(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """F53: a refusal there makes the fleet fetch again here."""
    async with open_fleet(server, clock) as fleet:
        provider = fleet.provider(role())

        async def calls() -> list[str]:
            async with server.client(clock=clock, credentials=provider) as sts:
                found = [(await sts.get_caller_identity()).arn]
                held = fleet.peek(role())
                assert held is not None
                server.expire(held)
                return [*found, (await sts.get_caller_identity()).arn]

        arns = await in_another_loop(calls())

    assert set(arns) == {"arn:aws:sts::123456789012:assumed-role/role-0/me"}
    assert operations_of(server).count("AssumeRole") == 2


@pytest.fixture
def _impatient_threads() -> Iterator[None]:
    """Switch threads far more often than usual, so that races occur."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Numbered(Source):
    """A provider whose access key, secret and token have the same number, which fits into seven characters."""

    async def fetch(self, context: Any) -> Credentials:
        self.fetched += 1
        number = str(self.fetched)
        found = await super().fetch(context)
        self.fetched -= 1
        return Credentials(
            access_key_id=f"ASIA{number}", secret_access_key=number, session_token=number, expiration=found.expiration
        )


@pytest.mark.usefixtures("_impatient_threads")
async def test_no_thread_sees_the_key_of_one_and_the_secret_of_another(clock: VirtualClock) -> None:
    """T49: eight threads peek while the credentials are replaced a hundred times, and identities come and go."""
    source, others = Numbered(clock, seconds=36 * 3600.0), [Source(clock, number) for number in range(1, 5)]
    mixed, read, done = [0] * THREADS, [0] * THREADS, threading.Event()

    def watch(place: int, fleet: CredentialsFleet) -> None:
        while not done.is_set():
            for identity in (source, *others):
                held = fleet.peek(identity)
                if held is not None and identity is source:
                    assert held.session_token is not None
                    texts = (
                        held.access_key_id[4:],
                        str.__str__(held.secret_access_key),
                        str.__str__(held.session_token),
                    )
                    mixed[place] += len(set(texts)) != 1
                    read[place] += 1

    async with open_fleet(Service(clock), clock, max_on_demand=3) as fleet:
        fleet.add(source)
        held = await fleet.get(source)
        threads = [threading.Thread(target=watch, args=(place, fleet), daemon=True) for place in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            for number in range(SWAPS):
                fleet._invalidate(source, held.access_key_id)
                clock.advance(600)
                held = await fleet.get(source)
                await fleet.get(others[number % 4])
            await until(lambda: all(read))
        finally:
            done.set()

    assert mixed == [0] * THREADS
    assert source.fetched >= SWAPS / 2


async def test_reports_can_be_read_in_another_thread(watched: None, clock: VirtualClock) -> None:
    """F53: `snapshot` and `failing` copy the entries first."""
    sources = [Source(clock, number) for number in range(50)]
    for source in sources[::2]:
        source.outcome = ConnectError("refused")
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(*sources)
        await fleet.warm_up()

        assert (await asyncio.to_thread(fleet.snapshot)).failing == 25
        assert len(await asyncio.to_thread(fleet.failing)) == 25


FORK = """
import asyncio, json, os, sys, warnings
from sts_async import AssumeRoleRequest, Credentials, STSClient
from sts_async.errors import STSError
from sts_async.fleet import CredentialsFleet

warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)  # Python 3.12 and later
url, role_arn, key, secret = sys.argv[1:]
keys = Credentials(access_key_id=key, secret_access_key=secret)
role = AssumeRoleRequest(role_arn=role_arn, role_session_name="me")

async def fresh_fleet(sts):
    async with CredentialsFleet(sts) as fleet:
        return (await fleet.get(role)).access_key_id

async def child(fleet, sts):
    held = fleet.peek(role)
    try:
        await fleet.get(role)
        error = None
    except STSError as raised:
        error = type(raised).__name__
    await fleet.aclose()
    return {"name": "child", "peek": held.access_key_id, "error": error, "own": await fresh_fleet(sts)}

async def main():
    sts = STSClient(endpoint_url=url, region="us-east-1", credentials=keys)
    async with CredentialsFleet(sts) as fleet:
        fleet.add(role)
        await fleet.warm_up()
        held = fleet.peek(role).access_key_id
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.write(1, (json.dumps(asyncio.run(asyncio.wait_for(child(fleet, sts), 120))) + "\\n").encode())
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        parent = {"name": "parent", "peek": held, "error": None, "own": (await fleet.get(role)).access_key_id}
        other = AssumeRoleRequest(role_arn=role_arn, role_session_name="you")
        parent["other"] = (await fleet.get(other)).access_key_id
        os.write(1, (json.dumps(parent) + "\\n").encode())
    await sts.aclose()

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork")
async def test_after_a_fork_the_parent_goes_on_and_the_child_makes_a_fleet_of_its_own() -> None:
    """F54: in the child the fleet is closed. Cached credentials can be read, and a new fleet shares no connection."""
    async with LocalSTS() as server:
        status, out, err = await soon(run_script(FORK, server.url, role().role_arn, *keys_of(server)))
    reports = {report["name"]: report for report in map(json.loads, out.splitlines())}
    child, parent = reports["child"], reports["parent"]

    assert (status, err) == (0, "")
    assert child["error"] == "ClientClosedError"
    assert child["peek"] == parent["peek"] == parent["own"]
    assert len({child["own"], parent["own"], parent["other"]}) == 3
    assert operations_of(server) == ["AssumeRole"] * 3


async def test_a_fleet_that_was_used_in_a_thread_closes_with_its_own_event_loop(clock: VirtualClock) -> None:
    """F53: a fleet can live in a thread, as in a program without asyncio. Its clients are the other threads."""
    ready, done, kept = threading.Event(), threading.Event(), []

    async def main() -> None:
        async with open_fleet(Service(clock), clock) as fleet:
            fleet.add(role())
            await fleet.warm_up()
            kept.append(fleet)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    await asyncio.to_thread(ready.wait)
    (fleet,) = kept
    assert isinstance(await soon(fleet.get(role(1))), Credentials)
    assert isinstance(fleet.peek(role()), Credentials)
    done.set()
    await asyncio.to_thread(thread.join)

    with pytest.raises(STSError):
        await soon(fleet.get(role(2)))


async def test_time_can_pass_while_other_threads_wait(watched: None, clock: VirtualClock) -> None:
    async with open_fleet(Service(clock), clock, requests_per_second=1) as fleet:
        waiting = [asyncio.create_task(in_another_loop(fleet.get(one))) for one in roles(4)]
        await until(lambda: len(fleet._entries.by_identity) == 4)
        await pass_time(fleet, clock, 10)

        assert len(await soon(asyncio.gather(*waiting))) == 4
