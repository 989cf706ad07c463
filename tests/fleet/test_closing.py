"""F55, F56: a fleet is closed at any moment, twice, by an error, and is used afterwards."""

import asyncio
from typing import Any

import pytest
from fleet.fleets import HOUR, Service, Source, changes, open_fleet, outcome_of, pass_time, role, roles, settled
from patience import soon, turns, until

from sts_async.errors import ClientClosedError, STSError
from sts_async.fleet import CredentialsFleet
from sts_async.shapes import Credentials
from sts_async.testing import Delay, LocalSTS, VirtualClock

MANY = 10_000


async def close_within(seconds: float, fleet: CredentialsFleet) -> None:
    """Close a fleet in less than *seconds* of the clock of the event loop."""
    clock = asyncio.get_running_loop().time
    began = clock()
    await fleet.aclose()
    assert clock() - began < seconds


async def test_closing_with_ten_thousand_refreshes_under_way_ends_at_once(clock: VirtualClock) -> None:
    """F55: callers get a typed error, each its own. No task is left, and no request starts afterwards."""
    service = Service(clock, gate=asyncio.Event())
    async with open_fleet(service, clock, max_on_demand=2 * MANY) as fleet:
        fleet.add(*roles(MANY))
        callers = [asyncio.create_task(fleet.get(one)) for one in roles(500)]
        warming = asyncio.create_task(fleet.warm_up())
        await until(lambda: service.running == 50)
        await close_within(1.0, fleet)
        outcomes = await soon(asyncio.gather(*callers, return_exceptions=True))
        with pytest.raises(ClientClosedError):
            await soon(warming)
        sent = service.sent.total()
        clock.advance(HOUR)
        await turns()

        assert {type(outcome) for outcome in outcomes} == {ClientClosedError}
        assert len({id(outcome) for outcome in outcomes}) == 500
        assert service.running == 0
        assert service.sent.total() == sent <= 50
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert clock.next_timer is None


async def test_closing_ends_requests_on_sockets_and_the_client_stays_open(
    server: LocalSTS, clock: VirtualClock
) -> None:
    server.faults.add(Delay(60.0, operation="AssumeRole", times=None))
    async with server.client(clock=clock) as sts:
        async with CredentialsFleet(sts) as fleet:
            fleet.add(*roles(5))
            caller = asyncio.create_task(fleet.get(role(0)))
            await until(lambda: fleet.snapshot().refreshing)
            await close_within(1.0, fleet)
            with pytest.raises(ClientClosedError):
                await caller
        server.faults.clear()

        assert (await sts.get_caller_identity()).account == "123456789012"


class Stubborn(Source):
    """A provider that continues when it is cancelled, until its gate opens."""

    async def fetch(self, context: Any) -> Credentials:
        self.fetched += 1
        assert self.gate is not None
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                continue
        self.gate = None
        return await super().fetch(context)


async def test_closing_waits_only_briefly_for_a_provider_that_ignores_its_cancellation(
    watched: None, clock: VirtualClock
) -> None:
    """F55: when it ends at last, nothing is fetched, planned or reported any more."""
    stubborn, events = [Stubborn(clock, number) for number in range(5)], []
    gates = [asyncio.Event() for _ in stubborn]
    for source, gate in zip(stubborn, gates, strict=True):
        source.gate = gate
    async with open_fleet(Service(clock), clock, concurrency=2, client={"observers": [events.append]}) as fleet:
        fleet.add(*stubborn)
        callers = [asyncio.create_task(outcome_of(lambda one=one: fleet.get(one))) for one in stubborn]
        await turns()
        await close_within(1.0, fleet)
        outcomes = await soon(asyncio.gather(*callers))
        reported = len(events)
        for gate in gates:
            gate.set()
        await turns()

        assert {type(outcome) for outcome in outcomes} == {ClientClosedError}
        assert sum(source.fetched > 0 for source in stubborn) == 2, "no further fetch"
        assert len(events) == reported
        assert clock.next_timer is None


async def test_closing_twice_and_at_the_same_time_is_closing_once(server: LocalSTS, clock: VirtualClock) -> None:
    """F56."""
    events: list[Any] = []
    async with server.client(clock=clock, observers=[events.append]) as sts:
        fleet = CredentialsFleet(sts)
        async with fleet:
            fleet.add(role())
            await fleet.warm_up()
            await asyncio.gather(fleet.aclose(), fleet.aclose())
            await fleet.aclose()

    assert changes(events).count(("fresh", None)) == 1


async def test_a_fleet_that_was_closed_before_it_was_entered_stays_closed(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """F56."""
    async with server.client(clock=clock) as sts:
        fleet = CredentialsFleet(sts)
        fleet.add(role())
        await fleet.aclose()
        with pytest.raises(ClientClosedError):
            await fleet.__aenter__()
        with pytest.raises(ClientClosedError):
            fleet.add(role(1))


async def test_a_fleet_cannot_be_entered_twice(server: LocalSTS, clock: VirtualClock) -> None:
    """F56."""
    async with open_fleet(server, clock) as fleet:
        with pytest.raises(ClientClosedError, match="make a new one"):
            await fleet.__aenter__()
        assert isinstance(await fleet.get(role()), Credentials)


async def test_a_closed_fleet_refuses_all_calls_and_peek_still_answers(server: LocalSTS, clock: VirtualClock) -> None:
    """F56: also `get` of an identity whose credentials are fresh, because they will not be refreshed."""
    async with server.client(clock=clock) as sts:
        async with CredentialsFleet(sts) as fleet:
            held = await fleet.get(role())
            provider = fleet.provider(role())
        for use in (lambda: fleet.get(role()), lambda: fleet.get(role(1)), fleet.warm_up):
            with pytest.raises(ClientClosedError, match="closed"):
                await use()
        with pytest.raises(ClientClosedError, match="closed"):
            async for _ in fleet.each([role()]):
                raise AssertionError("it yielded an identity")
        for ask in (fleet.snapshot, fleet.failing, fleet.pause, fleet.resume, lambda: fleet.add(role(2))):
            with pytest.raises(ClientClosedError, match="closed"):
                ask()
        fleet.remove(role(3))
        assert fleet.peek(role()) is held
        async with server.client(clock=clock, credentials=provider) as dependent:
            with pytest.raises(ClientClosedError):
                await dependent.get_caller_identity()


async def test_an_error_in_the_body_closes_the_fleet_and_is_raised(server: LocalSTS, clock: VirtualClock) -> None:
    """F56."""
    async with server.client(clock=clock) as sts:
        with pytest.raises(ZeroDivisionError):
            async with CredentialsFleet(sts) as fleet:
                fleet.add(role())
                raise ZeroDivisionError
        with pytest.raises(ClientClosedError):
            await fleet.get(role())


async def test_a_client_that_is_closed_first_makes_refreshes_fail_with_a_typed_error(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """F56: callers get a typed error or valid credentials, and the fleet closes without an error."""
    async with server.client(clock=clock) as sts, CredentialsFleet(sts) as fleet:
        fleet.add(role())
        await fleet.warm_up()
        await sts.aclose()
        held = fleet.peek(role())
        assert await fleet.get(role()) is held is not None
        with pytest.raises(ClientClosedError):
            await fleet.get(role(1))
        await pass_time(fleet, clock, 2 * HOUR)
        assert isinstance(await outcome_of(lambda: fleet.get(role())), STSError | Credentials)
        await settled(fleet)
        assert fleet.snapshot().refreshing == 0


async def test_a_fleet_whose_body_is_cancelled_leaves_nothing(watched: None, clock: VirtualClock) -> None:
    """F55."""
    service = Service(clock, gate=asyncio.Event())

    async def body() -> None:
        async with open_fleet(service, clock) as fleet:
            fleet.add(*roles(20))
            await fleet.get(role(0))

    task = asyncio.create_task(body())
    await until(lambda: service.running == 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)

    assert service.running == 0
    assert clock.next_timer is None


async def test_two_fleets_of_one_client_are_closed_independently(server: LocalSTS, clock: VirtualClock) -> None:
    async with server.client(clock=clock) as sts, CredentialsFleet(sts) as one:
        async with CredentialsFleet(sts) as other:
            await asyncio.gather(one.get(role()), other.get(role()))
        await settled(one)

        assert isinstance(await one.get(role()), Credentials)
        assert one.snapshot().on_demand == 1
