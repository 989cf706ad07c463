"""`CredentialsView`: threads, event loops, forks, ends. No call hangs, and no call waits for its own event loop."""

import asyncio
import concurrent.futures
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from bridges.sources import ARN, HOUR, ROLE, assumed, by_client, by_fleet, each_source
from patience import PATIENCE, in_a_thread, soon, turns, until

from sts_async import AssumeRoleProvider, STSClient
from sts_async._runtime import other_loops
from sts_async.bridges import CredentialsView, _view
from sts_async.credentials import RefreshingProvider
from sts_async.errors import (
    ClientClosedError,
    ConfigurationError,
    CredentialsError,
    DeadlineExceeded,
    ServiceError,
)
from sts_async.fleet import CredentialsFleet
from sts_async.shapes import Credentials
from sts_async.testing import LocalSTS, Refuse, VirtualClock


class Gated(RefreshingProvider):
    """A source that waits for an event of any thread."""

    depends_on_client = False

    def __init__(self) -> None:
        super().__init__()
        self.fetching = threading.Event()
        self.opened = threading.Event()

    async def fetch(self, context: Any) -> Credentials:
        self.fetching.set()
        await until(self.opened.is_set)
        return Credentials(access_key_id="AKIAEXAMPLE", secret_access_key="secret")


@asynccontextmanager
async def gated_client(server: LocalSTS, gated: Gated) -> AsyncIterator[CredentialsView]:
    async with server.client(credentials=gated) as sts:
        yield CredentialsView(sts)


@asynccontextmanager
async def gated_fleet(server: LocalSTS, gated: Gated) -> AsyncIterator[CredentialsView]:
    async with server.client() as sts, CredentialsFleet(sts) as fleet:
        yield CredentialsView(fleet.provider(gated))


each_gated = pytest.mark.parametrize("source", [gated_client, gated_fleet], ids=["client", "fleet"])

# -- from memory, and cold -----------------------------------------------------------------------------------------


@each_source
async def test_a_cold_start_in_a_thread_blocks_until_the_credentials_are_there(
    server: LocalSTS, clock: VirtualClock, source: Any
) -> None:
    async with source(server, clock) as view:
        assert view.peek() is None
        fetched = await soon(asyncio.to_thread(view.get_sync))

        assert [view.get_sync(), view.peek(), await view.get()] == [fetched] * 3
    assert fetched.account_id == "123456789012"
    assert assumed(server) == 1


@each_source
async def test_threads_that_start_cold_share_one_fetch(server: LocalSTS, clock: VirtualClock, source: Any) -> None:
    async with source(server, clock) as view:
        found = await soon(asyncio.gather(*(asyncio.to_thread(view.get_sync) for _ in range(8))))

    assert len(set(map(id, found))) == 1
    assert assumed(server) == 1


async def test_a_client_is_asked_from_the_thread_of_the_callers_event_loop(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """The fetch runs in the event loop of the library, although that of the caller is blocked."""
    async with by_client(server, clock) as view:
        assert view.get_sync().account_id == "123456789012"


async def test_a_fleet_is_not_waited_for_in_its_own_event_loop(server: LocalSTS, clock: VirtualClock) -> None:
    """The fetch could never end. The error names the ways out, and they work."""
    async with by_fleet(server, clock) as view:
        with pytest.raises(CredentialsError, match=r"the event loop of the fleet.*asyncio\.to_thread"):
            view.get_sync()
        fetched = await view.get()

        assert view.get_sync() is fetched


async def test_a_client_of_a_fleet_is_not_waited_for_in_the_event_loop_of_the_fleet(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """The event loop of the library would wait for that of the fleet, which is blocked."""
    async with (
        server.client(clock=clock) as sts,
        CredentialsFleet(sts) as fleet,
        server.client(credentials=fleet.provider(ROLE), clock=clock) as other,
    ):
        view = CredentialsView(other)
        with pytest.raises(CredentialsError, match="the event loop of the fleet is blocked"):
            view.get_sync()
        fetched = await soon(asyncio.to_thread(view.get_sync))

        assert view.get_sync() is fetched
        assert fleet.peek(ROLE) is fetched


async def test_a_client_with_a_session_of_the_program_is_asked_in_the_event_loop_of_the_session(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """In another event loop, each fetch would fail, and callers of the client would get the cached error."""
    async with aiohttp.ClientSession() as session, server.client(session=session, clock=clock) as sts:
        view = CredentialsView(sts.role(ARN))
        with pytest.raises(CredentialsError, match="the event loop of the session of the client"):
            view.get_sync()
        fetched = await soon(asyncio.to_thread(view.get_sync))
        assert await soon(asyncio.to_thread(asyncio.run, view.get())) is fetched
        clock.advance(HOUR - 120)
        assert view.get_sync() is fetched
        await until(lambda: view.peek() is not fetched)
        clock.advance(HOUR)
        assert await soon(asyncio.to_thread(asyncio.run, view.get())) is view.peek()


async def test_work_that_hides_what_it_waits_for_ends_at_the_deadline(server: LocalSTS, clock: VirtualClock) -> None:
    """A fetch in a task of its own: only the deadline of the client ends the wait, and it does."""
    async with server.client(clock=clock) as sts, CredentialsFleet(sts) as fleet:
        role = AssumeRoleProvider(role_arn=ARN, source=fleet.provider(ROLE))
        async with server.client(credentials=role, clock=clock).with_options(deadline=0.2) as other:
            with pytest.raises(DeadlineExceeded):
                CredentialsView(other).get_sync()


def test_the_wait_in_the_event_loop_of_the_library_for_itself_is_refused() -> None:
    """A source of a client that uses another bridge, in the same event loop."""
    with LocalSTS() as server:

        async def source() -> Credentials:
            return CredentialsView(server.client().role(ARN)).get_sync()

        view = CredentialsView(server.client(credentials=source))
        with pytest.raises(CredentialsError, match="the event loop of the library"):
            in_a_thread(view.get_sync)


# -- several event loops -------------------------------------------------------------------------------------------


@each_source
async def test_the_coroutine_works_in_several_event_loops(server: LocalSTS, clock: VirtualClock, source: Any) -> None:
    async with source(server, clock) as view:

        def elsewhere() -> Credentials:
            return asyncio.run(view.get())

        cold = await soon(asyncio.gather(view.get(), *(asyncio.to_thread(elsewhere) for _ in range(3))))
        warm = await soon(asyncio.gather(view.get(), *(asyncio.to_thread(elsewhere) for _ in range(3))))

    assert len(set(map(id, warm))) == 1
    assert all(credentials.account_id == "123456789012" for credentials in cold)


@each_gated
async def test_a_cancelled_caller_does_not_stop_the_others(server: LocalSTS, source: Any) -> None:
    gated = Gated()
    async with source(server, gated) as view:

        async def cancelled() -> bool:
            task = asyncio.ensure_future(view.get())
            await turns()
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled()

        waiting = asyncio.ensure_future(asyncio.to_thread(view.get_sync))
        await until(gated.fetching.is_set)
        assert await soon(asyncio.gather(cancelled(), asyncio.to_thread(asyncio.run, cancelled()))) == [True, True]
        gated.opened.set()

        assert (await soon(waiting)).access_key_id == "AKIAEXAMPLE"


# -- refresh -------------------------------------------------------------------------------------------------------


@each_source
async def test_in_the_refresh_window_a_call_returns_at_once_and_a_refresh_starts(
    server: LocalSTS, clock: VirtualClock, source: Any
) -> None:
    """Also in the event loop of the fleet: nothing has to be waited for."""
    async with source(server, clock) as view:
        before = await view.get()
        clock.advance(HOUR - 120)
        assert view.get_sync() is before
        await until(lambda: view.peek() is not before)

        after = view.get_sync()
        assert after.expiration > before.expiration
        assert assumed(server) == 2


@each_source
async def test_credentials_with_too_little_life_are_waited_for_where_it_is_possible(
    server: LocalSTS, clock: VirtualClock, source: Any
) -> None:
    async with source(server, clock) as view:
        before = await view.get()
        clock.advance(HOUR - 30)
        after = await soon(asyncio.to_thread(view.get_sync, at_least=60))

        assert after is not before
        assert await soon(asyncio.to_thread(view.get_sync, at_least=60)) is after


async def test_the_fleets_own_thread_gets_the_last_valid_credentials(server: LocalSTS, clock: VirtualClock) -> None:
    """It cannot wait for better ones."""
    async with by_fleet(server, clock) as view:
        before = await view.get()
        server.faults.add(Refuse("AccessDenied", operation="AssumeRole", times=None))
        clock.advance(HOUR - 30)

        assert view.get_sync(at_least=60) is before


@each_source
async def test_while_refreshes_fail_valid_credentials_are_served_and_then_the_error(
    server: LocalSTS, clock: VirtualClock, source: Any
) -> None:
    async with source(server, clock) as view:
        before = await view.get()
        server.faults.add(Refuse("AccessDenied", operation="AssumeRole", times=None))
        for _ in range(6):
            clock.advance(590)
            assert view.get_sync() is before
        clock.advance(60)
        assert view.peek() is None
        with pytest.raises(ServiceError, match="AccessDenied"):
            await soon(asyncio.to_thread(view.get_sync))


async def test_credentials_without_an_end_are_never_served_from_the_memory_of_the_view(clock: VirtualClock) -> None:
    """A source of the program may have replaced them: they do not say until when they can be used."""
    keys = [Credentials(access_key_id=f"AKIA{number}", secret_access_key="secret") for number in range(3)]

    class Rotating:
        async def provide_credentials(self, context: object) -> Credentials:
            return keys.pop(0)

    async with STSClient(credentials=Rotating(), region="eu-west-1") as sts:
        view = CredentialsView(sts)

        assert [view.get_sync().access_key_id for _ in range(3)] == ["AKIA0", "AKIA1", "AKIA2"]


@each_source
async def test_no_reader_sees_parts_of_two_credentials(server: LocalSTS, clock: VirtualClock, source: Any) -> None:
    """T49: threads read while the credentials are replaced; each triple is one that was issued."""
    read: set[Credentials] = set()
    stop = threading.Event()

    async with source(server, clock) as view:
        await view.get()

        def reads() -> None:
            while not stop.is_set():
                read.add(view.get_sync())
                time.sleep(0)

        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            readers = [threads.submit(reads) for _ in range(4)]
            for _ in range(10):
                before = view.peek()
                clock.advance(HOUR - 90)
                await until(lambda before=before: view.peek() is not before)
                await until(lambda: view.peek() in read)
            stop.set()
        assert [reader.result() for reader in readers] == [None] * 4
    assert len({(one.access_key_id, one.secret_access_key, one.session_token) for one in read}) == len(
        {one.access_key_id for one in read}
    )
    assert len(read) >= 10


# -- ends ----------------------------------------------------------------------------------------------------------


@each_source
async def test_after_the_end_every_call_raises(server: LocalSTS, clock: VirtualClock, source: Any) -> None:
    """At once, and not an hour later, when the credentials in memory have expired."""
    async with source(server, clock) as view:
        await view.get()
    for _ in range(2):
        with pytest.raises(ClientClosedError):
            view.get_sync()
        with pytest.raises(ClientClosedError):
            await view.get()
        assert view.peek() is None


async def test_a_fleet_that_was_not_entered_is_an_error(server: LocalSTS, clock: VirtualClock) -> None:
    async with server.client(clock=clock) as sts:
        view = CredentialsView(CredentialsFleet(sts).provider(ROLE))

        with pytest.raises(ClientClosedError, match="not open yet"):
            view.get_sync()
        assert view.peek() is None


def left_fleet(server: LocalSTS) -> CredentialsView:
    """Return a view of a fleet whose event loop ended before it was closed."""

    async def main() -> CredentialsView:
        fleet = await CredentialsFleet(server.client()).__aenter__()
        return CredentialsView(fleet.provider(ROLE))

    return asyncio.run(main())


def test_an_event_loop_of_a_fleet_that_has_ended_is_an_error() -> None:
    with LocalSTS() as server:
        view = left_fleet(server)
        for _ in range(2):
            with pytest.raises(ClientClosedError, match="the event loop of the fleet has ended"):
                view.get_sync()
            with pytest.raises(ClientClosedError, match="the event loop of the fleet has ended"):
                asyncio.run(view.get())


@pytest.mark.parametrize("call", [lambda view: view.get_sync(), lambda view: asyncio.run(view.get())])
@pytest.mark.parametrize("end", ["run ends", "stop"])
def test_a_caller_that_waits_hears_of_the_end_of_the_fleets_event_loop(
    call: Callable[[CredentialsView], Credentials], end: str
) -> None:
    """The event loop ends its tasks, or it is stopped and does nothing any more."""
    views: list[CredentialsView] = []
    gated = Gated()
    with LocalSTS() as server, concurrent.futures.ThreadPoolExecutor(1) as threads:
        loop = asyncio.new_event_loop()

        async def opens() -> None:
            fleet = await CredentialsFleet(server.client()).__aenter__()
            views.append(CredentialsView(fleet.provider(gated)))

        loop.run_until_complete(opens())
        waiting = threads.submit(lambda: call(views[0]))
        loop.run_until_complete(until(gated.fetching.is_set))
        if end == "run ends":
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(turns())

        with pytest.raises(ClientClosedError):
            waiting.result(PATIENCE)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(turns())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@each_gated
async def test_closing_ends_the_calls_that_wait(server: LocalSTS, source: Any) -> None:
    gated = Gated()
    async with source(server, gated) as view:
        waiting = asyncio.ensure_future(asyncio.to_thread(view.get_sync))
        await until(gated.fetching.is_set)
    with pytest.raises(ClientClosedError):
        await soon(waiting)


@each_gated
async def test_a_wait_that_nothing_else_ends_has_a_limit(
    server: LocalSTS, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_view, "MAX_WAIT", 0.1)
    monkeypatch.setattr(other_loops, "LOOK", 0.05)
    async with source(server, Gated()) as view:
        with pytest.raises(CredentialsError, match=r"not fetched within 0\.1 s"):
            await soon(asyncio.to_thread(view.get_sync))


@pytest.mark.parametrize("call", [lambda view: view.get_sync(), lambda view: asyncio.run(view.get())])
async def test_a_blocked_event_loop_of_the_fleet_is_noticed(
    server: LocalSTS, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    """Such as by a synchronous library, in whose own thread a coroutine waits for the fleet."""
    monkeypatch.setattr(other_loops, "BLOCKED_SECONDS", 0.1)
    monkeypatch.setattr(other_loops, "LOOK", 0.05)
    async with by_fleet(server, clock) as view:
        with pytest.raises(CredentialsError, match="the event loop of the fleet is blocked"):
            in_a_thread(call, view)  # blocks this event loop
        before = await view.get()
        clock.advance(HOUR - 120)

        assert in_a_thread(call, view) is before


async def test_a_system_without_threads_is_an_error(
    server: LocalSTS, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is a process that ends: Python starts no threads then."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with by_client(server, clock) as view:
        monkeypatch.setattr(_view, "LOOP", other_loops.LoopThread("test"))
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(CredentialsError, match="cannot start a thread"):
            view.get_sync()


# -- processes -----------------------------------------------------------------------------------------------------

FORKS = """
import os, sys, warnings
warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)  # Python 3.12 and later
from sts_async import STSClient
from sts_async.bridges import CredentialsView
from sts_async.shapes import Credentials
url, key, secret = sys.argv[1:]
keys = Credentials(access_key_id=key, secret_access_key=secret)
sts = STSClient(endpoint_url=url, region="us-east-1", credentials=keys)
view = CredentialsView(sts.role("arn:aws:iam::123456789012:role/demo"))
other = CredentialsView(sts.role("arn:aws:iam::123456789012:role/other"))
before = view.get_sync()
pid = os.fork()
if not pid:
    assert view.get_sync() == before
    other.get_sync()
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
assert view.get_sync() is before
print(other.get_sync().account_id)
import asyncio
asyncio.run(sts.aclose())
"""

ENDS = """
import sys, threading
from sts_async import STSClient
from sts_async.bridges import CredentialsView
from sts_async.shapes import Credentials
url, key, secret = sys.argv[1:]
keys = Credentials(access_key_id=key, secret_access_key=secret)
sts = STSClient(endpoint_url=url, region="us-east-1", credentials=keys)
view = CredentialsView(sts.role("arn:aws:iam::123456789012:role/demo"))
import asyncio
print(view.get_sync().account_id, [thread.daemon for thread in threading.enumerate() if "bridges" in thread.name])
if CLOSES:
    asyncio.run(sts.aclose())
"""


def runs(script: str, server: LocalSTS) -> tuple[int, str, str]:
    keys = server.credentials
    done = subprocess.run(
        [sys.executable, "-c", script, server.url, keys.access_key_id, keys.secret_access_key],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_an_event_loop_of_its_own() -> None:
    """And the parent keeps its connections."""
    with LocalSTS() as server:
        assert runs(FORKS, server) == (0, "123456789012\n", "")
        assert assumed(server) == 3


@pytest.mark.parametrize("closes", [True, False])
def test_the_thread_of_the_event_loop_ends_with_the_process(closes: bool) -> None:
    """The only complaint is the one about a client that is not closed."""
    with LocalSTS() as server:
        status, out, err = runs(ENDS.replace("CLOSES", str(closes)), server)

    assert (status, out) == (0, "123456789012 [True]\n")
    assert re.fullmatch("" if closes else "unclosed STSClient.*\\n", err)


# -- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [None, "AKIA-SENTINEL", {"secret": "SENTINEL"}, Credentials(access_key_id="A", secret_access_key="SENTINEL"),
     AssumeRoleProvider(role_arn=ARN), STSClient],
)  # fmt: skip
def test_other_forms_of_credentials_are_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"an STSClient, a view such as .* or fleet\.provider\(identity\)"):
        CredentialsView(given)


async def test_the_region_is_that_of_the_client(server: LocalSTS, clock: VirtualClock) -> None:
    async with server.client(clock=clock) as sts, CredentialsFleet(sts) as fleet:
        assert CredentialsView(sts.with_options(region="eu-west-1")).region == "eu-west-1"
        assert CredentialsView(fleet.provider(ROLE)).region == sts.region == "us-east-1"


@each_source
async def test_the_text_of_a_view_has_no_secrets(server: LocalSTS, clock: VirtualClock, source: Any) -> None:
    async with source(server, clock) as view:
        credentials = await view.get()

        assert repr(view).startswith("<CredentialsView of ")
        assert credentials.secret_access_key not in repr(view)
        assert _view.early_end(credentials) == credentials.expiration - _view.EARLY
