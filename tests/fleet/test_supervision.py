"""F57: providers that raise anything, and a fault in the fleet: the worker is replaced, the identity is tried again."""

import asyncio
import logging
import os
from typing import Any

import pytest
from faults.clients import run_script
from fleet.fleets import HOUR, Service, Source, entry_of, open_fleet, outcome_of, pass_time, role, roles, settled
from patience import soon, turns

from sts_async import Credentials
from sts_async.errors import CredentialsError, STSError
from sts_async.fleet import IdentityState
from sts_async.fleet._refresher import Refresher
from sts_async.fleet._reporter import Reporter
from sts_async.testing import VirtualClock


class Fatal(BaseException):
    """An error that is not an Exception, and that does not end a program."""


class Speechless(Exception):
    """An error whose text raises."""

    def __str__(self) -> str:
        raise RuntimeError("SENTINEL")

    __repr__ = __str__


ODD_ERRORS = [
    ValueError("SENTINEL"),
    StopIteration("SENTINEL"),
    StopAsyncIteration(),
    RecursionError(),
    MemoryError(),
    OSError(24, "SENTINEL"),
    TimeoutError(),
    asyncio.CancelledError(),
    GeneratorExit(),
    ExceptionGroup("SENTINEL", [ValueError("SENTINEL")]),
    Speechless(),
    Fatal("SENTINEL"),
    BaseExceptionGroup("SENTINEL", [Fatal()]),
]


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
async def test_an_identity_whose_provider_raises_anything_is_served_and_tried_again(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """The text of an unknown error can contain a secret, so it is neither logged nor kept."""
    source, other = Source(clock, 1), Source(clock, 2)
    async with open_fleet(Service(clock), clock, concurrency=1) as fleet:
        fleet.add(source, other)
        await fleet.warm_up()
        held = fleet.peek(source)
        source.outcome = error
        with caplog.at_level(logging.INFO, logger="sts_async"):
            await pass_time(fleet, clock, HOUR - 61)
        assert await fleet.get(source) is held is not None
        (failing,) = fleet.failing()
        assert (failing.state, type(failing.error)) == (IdentityState.STALE, CredentialsError)
        assert 1 <= source.fetched - 1 <= 4
        source.outcome = None
        await pass_time(fleet, clock, 600)

        assert fleet.failing() == []
        assert fleet.snapshot().fresh == 2
        assert other.fetched >= 2

    assert "SENTINEL" not in str(failing.error)
    assert "SENTINEL" not in caplog.text


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
async def test_callers_of_a_provider_that_raises_anything_get_an_answer(
    clock: VirtualClock, error: BaseException
) -> None:
    source = Source(clock)
    source.outcome = error
    async with open_fleet(Service(clock), clock) as fleet:
        callers = [asyncio.ensure_future(fleet.get(source)) for _ in range(5)]
        await turns(20)
        assert all(caller.done() for caller in callers)
        outcomes = [await ended(caller) for caller in callers]
        source.outcome = None
        await pass_time(fleet, clock, 60)

        assert isinstance(await fleet.get(source), Credentials)

    assert not any(isinstance(outcome, Credentials) for outcome in outcomes)
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        assert {type(outcome) for outcome in outcomes} == {CredentialsError}, "no caller was cancelled"


async def ended(task: "asyncio.Future[Any]") -> Any:
    try:
        return await task
    except BaseException as error:  # noqa: BLE001 - the test looks at it
        return error


async def test_a_worker_that_ends_with_an_error_of_the_library_is_replaced_counted_and_logged(
    watched: None, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its callers get an error, the identity is tried again, and all others are fetched."""
    refresh, service = Refresher._refresh, Service(clock)

    async def broken(self: Refresher, entry: Any) -> None:
        if entry.identity == role(3) and not entry.failures:
            raise KeyError("SENTINEL")
        await refresh(self, entry)

    monkeypatch.setattr(Refresher, "_refresh", broken)
    async with open_fleet(service, clock, concurrency=1) as fleet:
        fleet.add(*roles(10))
        found = await soon(outcome_of(lambda: fleet.get(role(3))))
        await soon(fleet.warm_up())
        await settled(fleet)
        snapshot = fleet.snapshot()
        (failing,) = fleet.failing()
        await pass_time(fleet, clock, 60)

        assert fleet.snapshot().fresh == 10
        assert isinstance(await fleet.get(role(3)), Credentials)

    assert isinstance(found, CredentialsError)
    assert "was interrupted" in str(found)
    assert (snapshot.fresh, snapshot.failing, snapshot.restarts) == (9, 1, 1)
    assert failing.next_try is not None
    lines = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.getMessage() for line in lines] == ["a refresh task of the fleet ended with KeyError and was replaced"]
    assert service.sent.total() == 10


async def test_even_a_failure_that_cannot_be_recorded_leaves_no_caller_waiting(
    watched: None, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The identity is tried again after 5 min."""
    source = Source(clock)
    source.outcome = ValueError("odd")

    def broken(self: Reporter, entry: Any, *, serves: bool) -> None:
        raise KeyError("SENTINEL")

    with monkeypatch.context() as patched:
        patched.setattr(Reporter, "failed", broken)
        async with open_fleet(Service(clock), clock, concurrency=1) as fleet:
            fleet.add(source)
            found = await soon(outcome_of(lambda: fleet.get(source)))
            await settled(fleet)
            restarts = fleet.snapshot().restarts
            patched.undo()
            source.outcome = None
            await pass_time(fleet, clock, 301)
            assert fleet.snapshot().fresh == 1

    assert isinstance(found, STSError)
    assert restarts == 1


async def test_an_observer_that_raises_ends_no_refresh(watched: None, clock: VirtualClock) -> None:
    def broken(event: object) -> None:
        raise ValueError("odd")

    async with open_fleet(Service(clock), clock, client={"observers": [broken]}) as fleet:
        fleet.add(*roles(3))
        await soon(fleet.warm_up())

        assert (fleet.snapshot().fresh, fleet.snapshot().restarts) == (3, 0)


async def test_a_provider_that_ignores_its_time_limit_is_an_error_and_is_asked_again(
    watched: None, clock: VirtualClock
) -> None:
    """The limit uses the clock of the event loop, so a provider that hangs is ended in a test, too."""

    class Hanging(Source):
        fetch_seconds = 0.02

    source = Hanging(clock)
    source.gate = asyncio.Event()
    async with open_fleet(Service(clock), clock, concurrency=1) as fleet:
        fleet.add(source)
        with pytest.raises(CredentialsError, match=r"did not provide credentials within 0\.02 s"):
            await soon(fleet.get(source))
        source.gate.set()
        await pass_time(fleet, clock, 60)

        assert entry_of(fleet, source).state.credentials is not None


EXITS = """
import asyncio, sys
from datetime import datetime, timedelta, UTC
from sts_async import Credentials, STSClient
from sts_async.fleet import CredentialsFleet

class Source:
    fetched = 0
    async def provide_credentials(self, context, /):
        self.fetched += 1
        if self.fetched == 1:
            raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[sys.argv[1]](7)
        ends = datetime.now(UTC) + timedelta(hours=1)
        return Credentials(access_key_id="ASIA", secret_access_key="x", expiration=ends)

source = Source()

async def main():
    async with STSClient(region="us-east-1", credentials=source) as sts, CredentialsFleet(sts) as fleet:
        fleet.add(source)
        await fleet.warm_up()
        return source.fetched

try:
    asyncio.run(main())
except (SystemExit, KeyboardInterrupt) as error:
    print(type(error).__name__, error.args)
print(asyncio.run(main()))
"""


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt"])
async def test_an_exception_that_ends_a_program_ends_it_from_a_refresh_of_the_fleet_too(name: str) -> None:
    status, out, err = await soon(run_script(EXITS, name))

    assert (status, out.splitlines()[-1]) == (0, "2"), err
    assert out.splitlines()[0] == f"{name} (7,)"
    assert os.path.basename(__file__) not in err  # noqa: PTH119 - a name in a text
