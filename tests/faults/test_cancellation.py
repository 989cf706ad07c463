"""
F42, F43, F55, F58: cancellation at every suspension of a call, of a refresh, and of closing the client.

Each is stepped (see `stepping`) against a server on a socket. Afterwards nobody holds anything, and the client has all
its connections: one place that were lost would let the calls after it hang.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from faults.clients import Loop, call
from faults.stepping import (
    Cancelled,
    Moment,
    Stepped,
    Sweep,
    at_every_step,
    held_by,
    left_by,
    sessions_of,
)
from patience import soon, turns, until
from support import ROLE, put_into

from sts_async import Config, STSClient
from sts_async._runtime.timeouts import Deadlines
from sts_async.credentials import AssumeRoleProvider
from sts_async.errors import ClientClosedError, ConnectionLost, DeadlineExceeded, ServiceError, STSError
from sts_async.retries import AdaptiveRetries
from sts_async.testing import Delay, LocalSTS, Reset, Throttle, Unavailable

PLACES = 2  # connections of each client here
Prepare = Callable[[STSClient, LocalSTS], Awaitable[None]]


async def left_after(sts: STSClient, server: LocalSTS) -> list[str]:
    """Return what is still held, after seeing that more calls than there are connections get through."""
    server.faults.clear()
    left = await left_by(sts)
    await soon(asyncio.gather(*(call(sts) for _ in range(PLACES + 1))))
    return left + held_by(sts)


async def cancel_everywhere(
    server: LocalSTS, prepare: Prepare, *, before: Callable[[STSClient], list[Any]] | None = None, **options: Any
) -> Sweep:
    """Cancel a call at each step, of clients that *prepare* has made ready, after the calls *before* have begun."""

    async def run(at: int, moment: Moment) -> tuple[bool, list[str]]:
        sts = server.client(**{"config": Config(max_connections=PLACES), **options})
        try:
            await prepare(sts, server)
            others = [asyncio.create_task(other) for other in (before(sts) if before else [])]
            await asyncio.sleep(0)
            cancelled = Cancelled(lambda: call(sts), at=at, moment=moment)
            await cancelled.ended()
            await soon(asyncio.gather(*others))
            return cancelled.reached, await left_after(sts, server)
        finally:
            await sts.aclose()

    return await at_every_step(run)


# Calls


async def cold(sts: STSClient, server: LocalSTS) -> None:
    """Leave all to the call: files are read, the engine is made, a connection opened."""


async def warm(sts: STSClient, server: LocalSTS) -> None:
    await call(sts)


async def failing(sts: STSClient, server: LocalSTS) -> None:
    """Have the call sent three times: the first two are refused, or lose their connection."""
    await call(sts)
    quickly(sts)
    server.faults.add(Unavailable(), Reset(after="headers"))


def quickly(sts: STSClient) -> None:
    """Have the pauses of a client last a millisecond."""
    assert sts._life.engine is not None

    async def a_moment(seconds: float) -> None:
        await asyncio.sleep(0.001)

    put_into(sts, sleep=a_moment)


async def test_a_cold_call_can_be_cancelled_anywhere(server: LocalSTS) -> None:
    """F58."""
    sweep = await cancel_everywhere(server, cold)

    assert sweep.hit >= 9
    assert sweep.left == []


async def test_a_cold_call_to_a_name_can_be_cancelled_anywhere(server: LocalSTS) -> None:
    """F58: also while the name is looked up, in a thread."""
    url = server.url.replace("127.0.0.1", "localhost")

    sweep = await cancel_everywhere(server, cold, endpoint_url=url)

    assert sweep.hit >= 12
    assert sweep.left == []


async def test_a_warm_call_can_be_cancelled_anywhere(server: LocalSTS) -> None:
    """F58."""
    sweep = await cancel_everywhere(server, warm)

    assert sweep.hit >= 3
    assert sweep.left == []


async def test_a_call_that_is_sent_three_times_can_be_cancelled_anywhere(server: LocalSTS) -> None:
    """F58: within each attempt, between them, and while a new connection is made."""
    sweep = await cancel_everywhere(server, failing)

    assert sweep.hit >= 15
    assert sweep.left == []


async def test_a_call_that_waits_for_its_place_at_the_gate_can_be_cancelled_anywhere(server: LocalSTS) -> None:
    """F58: also when the place has been given to it, and it does not know yet."""

    async def full(sts: STSClient, server: LocalSTS) -> None:
        await asyncio.gather(*(call(sts) for _ in range(PLACES)))
        server.faults.add(Delay(0.005, times=PLACES))

    sweep = await cancel_everywhere(server, full, before=lambda sts: [call(sts) for _ in range(PLACES)])

    assert sweep.hit >= 6
    assert sweep.left == []


class Clock:
    """A clock that sleeping moves, while others have their turns."""

    def __init__(self) -> None:
        self.now = 1_000.0

    async def sleep(self, seconds: float) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        self.now += seconds

    def govern(self, sts: STSClient) -> None:
        assert sts._life.engine is not None
        put_into(sts, monotonic=lambda: self.now, sleep=self.sleep)


async def throttled(sts: STSClient, server: LocalSTS) -> None:
    """Have the limiter make each call wait."""
    await sts.__aenter__()
    Clock().govern(sts)
    server.faults.add(Throttle())
    await call(sts)


@pytest.mark.parametrize(("ahead", "behind"), [(0, 2), (1, 1), (1, 0)], ids=str)
async def test_a_call_that_waits_for_the_limiter_can_be_cancelled_anywhere(
    server: LocalSTS, ahead: int, behind: int
) -> None:
    """F58, F60: those ahead and behind get their answers; the line is gone when nobody stands in it."""

    async def run(at: int, moment: Moment) -> tuple[bool, list[str]]:
        sts = server.client(retries=AdaptiveRetries(limiters={}))
        try:
            await throttled(sts, server)
            others = [asyncio.create_task(call(sts)) for _ in range(ahead)]
            await asyncio.sleep(0)
            cancelled = Cancelled(lambda: call(sts), at=at, moment=moment)
            await asyncio.sleep(0)
            others += [asyncio.create_task(call(sts)) for _ in range(behind)]
            await cancelled.ended()
            await soon(asyncio.gather(*others))
            return cancelled.reached, await left_after(sts, server)
        finally:
            await sts.aclose()

    sweep = await at_every_step(run)

    assert sweep.hit >= 12
    assert sweep.left == []


async def test_a_timeout_around_a_call_is_a_timeout_outside_and_a_cancellation_inside(server: LocalSTS) -> None:
    """F58: the library makes nothing of its own of it."""
    seen: list[type[BaseException]] = []

    async def noting(sts: STSClient) -> None:
        try:
            await call(sts)
        except BaseException as error:
            seen.append(type(error))
            raise

    async with server.client(config=Config(max_connections=PLACES)) as sts:
        await call(sts)
        server.faults.add(Delay(5.0))
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.02):
                await noting(sts)
        left = await left_after(sts, server)

    task = asyncio.current_task()
    assert task is not None
    assert (type(caught.value), seen, task.cancelling()) == (TimeoutError, [asyncio.CancelledError], 0)
    assert left == []


@pytest.mark.parametrize("ours_first", [True, False])
async def test_of_two_deadlines_the_shorter_decides(server: LocalSTS, ours_first: bool) -> None:
    """F58: ours is a DeadlineExceeded, the program's a bare TimeoutError."""
    ours, theirs = (0.02, 5.0) if ours_first else (5.0, 0.02)
    async with server.client(config=Config(max_connections=PLACES)) as sts:
        await call(sts)
        server.faults.add(Delay(5.0))
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(theirs):
                await sts.with_options(deadline=ours).get_caller_identity()
        left = await left_after(sts, server)

    assert type(caught.value) is (DeadlineExceeded if ours_first else TimeoutError)
    assert left == []


def run_out(limits: Iterable[Deadlines]) -> None:
    """Have the time of all blocks under these deadlines be over."""
    for owner in limits:
        for deadline in list(owner._running):
            del owner._running[deadline]
            deadline.expire()


@pytest.mark.parametrize("of_the_call", [True, False])
async def test_our_own_deadlines_can_end_a_call_anywhere(server: LocalSTS, *, of_the_call: bool) -> None:
    """F58: that of the call ends it with our error, that of an attempt has it sent again; no cancellation stays."""
    outcomes: list[object] = []

    async def run(at: int, moment: Moment) -> tuple[bool, list[str]]:
        sts = server.client(config=Config(max_connections=PLACES, max_attempts=5))
        await failing(sts, server)
        assert sts._life.engine is not None
        assert sts._life.transport is not None
        known = sts._life.engine._shared.time_limits._known
        calls = [limit for lengths in known.values() for limit in lengths.values()]
        attempts = [part.deadlines for part in sts._life.transport._parts.values()]
        stepped = Stepped(call(sts), at=at, moment=moment, do=lambda: run_out(calls if of_the_call else attempts))
        try:
            outcomes.append(await soon(stepped))
        except STSError as error:
            outcomes.append(type(error))
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        left = await left_after(sts, server)
        await sts.aclose()
        return stepped.reached, left

    sweep = await at_every_step(run)
    ended = [outcome for outcome in outcomes if not isinstance(outcome, str)]

    assert sweep.hit >= 15
    assert sweep.left == []
    if of_the_call:
        assert len(ended) == sweep.hit
        assert set(ended) == {DeadlineExceeded, ServiceError, ConnectionLost}
    else:
        assert ended == []


async def test_a_timeout_of_a_source_is_not_that_of_the_call(server: LocalSTS) -> None:
    """F58: other errors of a program's own source come as they are; nobody waited for 30 s here."""

    async def slow_vault() -> Any:
        raise TimeoutError("the vault is slow")

    async with server.client(credentials=slow_vault) as sts:
        with pytest.raises(TimeoutError, match="vault") as caught:
            await call(sts)

    assert not isinstance(caught.value, DeadlineExceeded)


async def test_a_group_that_fails_takes_its_calls_with_it(server: LocalSTS) -> None:
    """F58: structured concurrency cancels, and counts."""
    async with server.client(config=Config(max_connections=PLACES)) as sts:
        await call(sts)
        server.faults.add(Delay(60.0, times=PLACES))  # the other calls wait for a place
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(call(sts))
                await until(lambda: not server.faults)
                raise ZeroDivisionError
        left = await left_after(sts, server)

    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
    assert left == []


# Refreshes


async def refresh_everywhere(server: LocalSTS, *, callers: int, cancelled: set[int]) -> Sweep:
    """Cancel some of the callers who wait for one cold identity, at each step."""

    async def run(at: int, moment: Moment) -> tuple[bool, list[str]]:
        role = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)
        sts = server.client(credentials=role, config=Config(max_connections=PLACES))
        server.requests.clear()
        stepped: list[Cancelled[str]] = []
        others: list[asyncio.Task[str]] = []
        try:
            await sts.__aenter__()
            for number in range(callers):
                if number in cancelled:
                    stepped.append(Cancelled(lambda: call(sts), at=at, moment=moment))
                else:
                    others.append(asyncio.create_task(call(sts)))
            for one in stepped:
                await one.ended()
            assert all("assumed-role" in arn for arn in await soon(asyncio.gather(*others)))
            left = await left_after(sts, server)
            fetched = [served.operation for served in server.requests].count("AssumeRole")
            assert fetched == 1, "nobody's cancellation ends the fetch, or begins another"
            assert role._caches.all()[-1].state.credentials is not None
        finally:
            await sts.aclose()
        return any(one.reached for one in stepped), left

    return await at_every_step(run)


@pytest.mark.parametrize("cancelled", [{0}, {3}, {1, 2, 3}, {0, 1, 2, 3}], ids=["first", "last", "followers", "all"])
async def test_who_waits_for_a_refresh_can_be_cancelled_anywhere(server: LocalSTS, cancelled: set[int]) -> None:
    """F42, F43: one request to STS, others served, and the result kept, whoever is cancelled and wherever."""
    sweep = await refresh_everywhere(server, callers=4, cancelled=cancelled)

    assert sweep.hit >= 6
    assert sweep.left == []


async def test_the_start_of_a_client_is_not_cancelled_with_who_began_it(server: LocalSTS) -> None:
    """F42: for the flight that reads the files and makes the engine."""

    async def run(at: int, moment: Moment) -> tuple[bool, list[str]]:
        sts = server.client(config=Config(max_connections=PLACES))
        try:
            first = Cancelled(lambda: call(sts), at=at, moment=moment)
            second = asyncio.create_task(call(sts))
            await first.ended()
            await soon(second)
            return first.reached, await left_after(sts, server)
        finally:
            await sts.aclose()

    sweep = await at_every_step(run)

    assert sweep.hit >= 9
    assert sweep.left == []


# Closing


async def at_work(server: LocalSTS) -> tuple[STSClient, list["asyncio.Task[str]"]]:
    """Return a client with idle connections, a call under way, one that waits for its place, and two for a refresh."""
    role = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)
    sts = server.client(config=Config(max_connections=PLACES))
    await asyncio.gather(*(call(sts) for _ in range(PLACES)))
    served = len(server.requests)
    server.faults.add(Delay(5.0, times=10))
    as_role = sts.with_options(credentials=role)
    calls = [asyncio.create_task(call(sts))]
    calls += [asyncio.create_task(call(as_role)) for _ in range(2)]  # type: ignore[arg-type]
    calls += [asyncio.create_task(call(sts)) for _ in range(2)]
    await until(lambda: len(server.faults) <= 8)
    assert len(server.requests) == served
    return sts, calls


async def test_closing_ends_every_call_wherever_it_is(server: LocalSTS) -> None:
    """F55, F56: those who wait, for an answer, a place or a refresh, get a typed error at once."""
    sts, calls = await at_work(server)
    await soon(sts.aclose())
    outcomes = await soon(asyncio.gather(*calls, return_exceptions=True))

    assert [type(outcome) for outcome in outcomes] == [ClientClosedError] * 5
    assert held_by(sts) == []
    assert sessions_of(sts) == []


async def test_closing_can_be_cancelled_anywhere_and_done_again(server: LocalSTS) -> None:
    """F55, F58: the second time finishes what the first has begun."""

    async def run(at: int, moment: Moment) -> tuple[bool, list[str]]:
        sts, calls = await at_work(server)
        (session,) = sessions_of(sts)
        closing = Cancelled(sts.aclose, at=at, moment=moment)
        await closing.ended()
        await soon(sts.aclose())
        outcomes = await soon(asyncio.gather(*calls, return_exceptions=True))
        server.faults.clear()

        assert [type(outcome) for outcome in outcomes] == [ClientClosedError] * 5
        assert session.closed
        return closing.reached, held_by(sts)

    sweep = await at_every_step(run)

    assert sweep.hit >= 4
    assert sweep.left == []


@pytest.mark.parametrize("here_first", [True, False])
async def test_closing_in_two_loops_can_be_cancelled_anywhere_and_done_again(
    server: LocalSTS, here_first: bool
) -> None:
    """F53, F55: the second time closes the connections of every loop that the first did not come to."""

    async def run(at: int, moment: Moment) -> tuple[bool, list[str]]:
        sts = server.client(config=Config(max_connections=PLACES))
        if here_first:
            await call(sts)
        async with Loop(lambda sts=sts: call(sts)) as other:
            await other.used()
            await call(sts)
            sessions = sessions_of(sts)
            closing = Cancelled(sts.aclose, at=at, moment=moment)
            await closing.ended()
            await soon(sts.aclose())
            await turns()
            left = ["a session that is not closed" for session in sessions if not session.closed]
            for session in sessions:  # only so that the watch over this folder does not find it as well
                await close_in_its_loop(session)
        assert len(sessions) == 2
        return closing.reached, left

    sweep = await at_every_step(run)

    assert sweep.hit >= 3
    assert sweep.left == []


async def close_in_its_loop(session: Any) -> None:
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(session.close(), session._loop))


async def test_a_client_can_be_closed_at_any_point_of_a_refresh(
    server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F55: those who wait for it get a typed error, and nothing is left."""

    async def run(at: int, moment: Moment) -> tuple[bool, list[str]]:
        role = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)
        sts = server.client(credentials=role, config=Config(max_connections=PLACES))
        closing: list[asyncio.Task[None]] = []
        fetch = role.fetch

        def close() -> None:
            closing.append(asyncio.create_task(sts.aclose()))

        async def fetch_stepped(context: Any) -> Any:
            return await Stepped(fetch(context), at=at, moment=moment, do=close)

        monkeypatch.setattr(role, "fetch", fetch_stepped)
        await sts.__aenter__()
        calls = [asyncio.create_task(call(sts)) for _ in range(3)]
        outcomes = await soon(asyncio.gather(*calls, return_exceptions=True))
        await soon(asyncio.gather(*closing))
        await soon(sts.aclose())

        assert {type(outcome) for outcome in outcomes} == {ClientClosedError if closing else str}
        return bool(closing), held_by(sts) + [f"session {session!r}" for session in sessions_of(sts)]

    sweep = await at_every_step(run)

    assert sweep.hit >= 9
    assert sweep.left == []
