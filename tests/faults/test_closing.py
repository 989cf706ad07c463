"""F55, F56: a client that is closed, whatever it is doing."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from faults.clients import call
from faults.stepping import held_by, left_by, sessions_of
from patience import soon, until
from support import KEYS, ROLE, put_into

from sts_async import Config, STSClient
from sts_async.credentials import AssumeRoleProvider, RefreshingProvider
from sts_async.errors import ClientClosedError, STSError
from sts_async.shapes import Credentials, GetCallerIdentityRequest
from sts_async.testing import Delay, LocalSTS, Unavailable

GRACE = 0.1  # s that closing may take in the tests where something does not end


# Closing


async def within(seconds: float, sts: STSClient) -> bool:
    """Close a client, and say whether that took less than some seconds of the loop's clock."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    await sts.aclose()
    return clock() - begun < seconds


async def test_closing_during_a_refresh_that_hangs_is_quick_and_tells_who_waits(server: LocalSTS) -> None:
    """F55: the refresh waits for an answer that does not come."""
    sts = server.client(credentials=AssumeRoleProvider(role_arn=ROLE, source=server.credentials))
    server.faults.add(Delay(60.0))
    calls = [asyncio.create_task(call(sts)) for _ in range(100)]
    await until(lambda: not server.faults)
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
        self.begun, self.disown = asyncio.Event(), asyncio.Event()

    async def fetch(self, context: Any) -> Credentials:
        self.begun.set()
        while not self.disown.is_set():
            try:
                await self.disown.wait()
            except asyncio.CancelledError:
                continue
        return KEYS


async def test_closing_is_bounded_by_no_source(server: LocalSTS, monkeypatch: pytest.MonkeyPatch) -> None:
    """F55: one that does not end when it is cancelled is left behind; closing twice at once is closing."""
    monkeypatch.setattr("sts_async._engine.lifecycle.TASKS_GRACE", GRACE)
    source = Stubborn()
    sts = server.client(credentials=source)
    calls = [asyncio.create_task(call(sts)) for _ in range(3)]
    await soon(source.begun.wait())
    await soon(asyncio.gather(sts.aclose(), sts.aclose()))
    outcomes = await soon(asyncio.gather(*calls, return_exceptions=True))
    source.disown.set()

    assert [type(outcome) for outcome in outcomes] == [ClientClosedError] * 3
    assert await left_by(sts) == []


async def test_closing_ends_a_call_that_pauses_before_a_retry(server: LocalSTS) -> None:
    """F55: a pause is up to 25 s."""
    sts = server.client()
    await call(sts)
    assert sts._life.engine is not None
    pausing = asyncio.Event()

    async def pause(seconds: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    put_into(sts, sleep=pause)
    server.faults.add(Unavailable())
    task = asyncio.create_task(call(sts))
    await soon(pausing.wait())
    await sts.aclose()

    with pytest.raises(ClientClosedError):
        await soon(task)


async def test_closing_ends_a_call_that_waits_for_a_provider_of_the_programs_own(server: LocalSTS) -> None:
    """F55: until the provider returns, or the deadline of the call."""

    class Slow:
        async def provide_credentials(self, context: object) -> Credentials:
            asked.set()
            await asyncio.Event().wait()
            return server.credentials

    asked = asyncio.Event()
    sts = server.client(credentials=Slow())
    await sts.__aenter__()
    task = asyncio.create_task(call(sts))
    await soon(asked.wait())
    await sts.aclose()

    with pytest.raises(ClientClosedError):
        await soon(task)


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
            await until(lambda: not server.faults)
            raise LookupError("the body's")
    outcomes = await soon(asyncio.gather(*calls, return_exceptions=True))

    assert [type(outcome) for outcome in outcomes] == [ClientClosedError] * 3


async def test_leaving_a_client_that_is_closed_is_leaving_it(server: LocalSTS) -> None:
    """F56."""
    async with server.client() as sts:
        await call(sts)
        await sts.aclose()

    assert sessions_of(sts) == []
