"""Callers that wait for one refresh: some are cancelled, ten thousand wait at once, and each gets its own error."""

import asyncio
from collections.abc import Callable

import pytest
from fleet.fleets import (
    Service,
    Source,
    entry_of,
    open_fleet,
    operations_of,
    outcome_of,
    pass_time,
    role,
    roles,
    settled,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PatientLoop, soon, turns, until

from sts_async.errors import ConnectError, ServiceError
from sts_async.events import Event, IdentityStateChanged
from sts_async.shapes import Credentials
from sts_async.testing import Delay, LocalSTS, VirtualClock

MANY = 10_000


async def test_the_cancellation_of_the_first_caller_does_not_end_the_request(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """F42: over sockets, while the request is under way."""
    server.faults.add(Delay(0.05))
    async with open_fleet(server, clock) as fleet:
        callers = [asyncio.create_task(fleet.get(role())) for _ in range(100)]
        await until(lambda: not server.faults)
        callers[0].cancel()
        first, *others = await soon(asyncio.gather(*callers, return_exceptions=True))

    assert isinstance(first, asyncio.CancelledError)
    assert {type(other) for other in others} == {type(others[0])}
    assert operations_of(server) == ["AssumeRole"]


async def test_a_caller_in_the_turn_in_which_a_worker_starts_causes_no_second_request(
    watched: None, clock: VirtualClock
) -> None:
    """F45: for each number of turns between `add` and `get`."""
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        for number in range(10):
            fleet.add(role(number))
            callers = [asyncio.create_task(fleet.get(role(number)))]
            await turns(number)
            callers += [asyncio.create_task(fleet.get(role(number))) for _ in range(3)]
            await asyncio.gather(*callers)

    assert set(service.sent.values()) == {1}


@settings(max_examples=30)
@given(cancelled=st.sets(st.integers(0, 19)), late=st.booleans())
def test_any_callers_can_be_cancelled_and_all_others_get_the_one_outcome(cancelled: set[int], late: bool) -> None:
    """F42, F43: if all are cancelled, the request still ends, and its result is kept."""

    async def run() -> None:
        clock = VirtualClock()
        service = Service(clock, gate=asyncio.Event())
        async with open_fleet(service, clock) as fleet:
            callers = [asyncio.create_task(fleet.get(role())) for _ in range(20)]
            await turns(10 if late else 1)
            for number in cancelled:
                callers[number].cancel()
            await turns(10)
            assert not any(caller.done() for number, caller in enumerate(callers) if number not in cancelled)
            assert service.gate is not None
            service.gate.set()
            outcomes = await asyncio.gather(*callers, return_exceptions=True)
            await settled(fleet)
            held = fleet.peek(role())

            assert {number for number, outcome in enumerate(outcomes) if outcome is not held} == cancelled
            assert all(isinstance(outcomes[number], asyncio.CancelledError) for number in cancelled)
            assert held is not None
            assert service.sent.total() == 1
            assert not entry_of(fleet, role()).waiters

    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(run())


async def test_callers_with_deadlines_shorter_than_the_request_do_not_keep_it_from_later_callers(
    watched: None, clock: VirtualClock
) -> None:
    """F44: twenty callers in turn give up. The request of the first one serves all callers after its end."""
    service = Service(clock, gate=asyncio.Event())
    async with open_fleet(service, clock) as fleet:
        for _ in range(20):
            caller = asyncio.create_task(fleet.get(role()))
            await turns(5)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
        assert service.gate is not None
        service.gate.set()

        assert await soon(fleet.get(role())) is await fleet.get(role())
        assert service.sent.total() == 1


async def test_ten_thousand_callers_of_one_identity_cause_one_request(watched: None, clock: VirtualClock) -> None:
    """F45."""
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        outcomes = await soon(asyncio.gather(*(fleet.get(role()) for _ in range(MANY))))

    assert len({id(outcome) for outcome in outcomes}) == 1
    assert service.sent.total() == 1


def refused_by_the_service(service: Service, clock: VirtualClock) -> object:
    service.refusals[role().role_arn] = "AccessDenied"
    return role()


def failing_source(service: Service, clock: VirtualClock) -> object:
    source = Source(clock)
    source.outcome = ConnectError("refused")
    return source


def failing_oddly(service: Service, clock: VirtualClock) -> object:
    source = Source(clock)
    source.outcome = ValueError("odd")
    return source


@pytest.mark.parametrize(
    ("identity", "expected"),
    [(refused_by_the_service, ServiceError), (failing_source, ConnectError), (failing_oddly, ValueError)],
)
async def test_a_failure_gives_each_of_ten_thousand_callers_an_error_of_its_own(
    watched: None, clock: VirtualClock, identity: Callable[..., object], expected: type[Exception]
) -> None:
    """F45: the same type and text, and a traceback that belongs to this caller alone."""
    service = Service(clock)
    one = identity(service, clock)
    async with open_fleet(service, clock) as fleet:
        outcomes = await soon(
            asyncio.gather(*(fleet.get(one) for _ in range(MANY)), return_exceptions=True)  # type: ignore[arg-type]
        )

    assert {type(outcome) for outcome in outcomes} == {expected}
    assert len({str(outcome) for outcome in outcomes}) == 1
    assert len({id(outcome) for outcome in outcomes}) == MANY
    depths = {depth_of(outcome) for outcome in outcomes}
    assert max(depths) < 10, "a shared error would get a frame for each caller"
    assert service.sent.total() + getattr(one, "fetched", 0) == 1


def depth_of(error: BaseException) -> int:
    depth, traceback = 0, error.__traceback__
    while traceback is not None:
        depth, traceback = depth + 1, traceback.tb_next
    return depth


async def test_a_cached_error_is_raised_as_a_copy_with_its_code_and_request_id(
    server: LocalSTS, clock: VirtualClock
) -> None:
    from sts_async.testing import Refuse

    server.faults.add(Refuse("AccessDenied"))
    async with open_fleet(server, clock) as fleet:
        first, second = [await outcome_of(lambda: fleet.get(role())) for _ in range(2)]

    assert isinstance(first, ServiceError)
    assert isinstance(second, ServiceError)
    assert first is not second
    assert (first.code, first.request_id, str(first)) == (second.code, second.request_id, str(second))
    assert len(server.requests) == 1


async def test_a_caller_goes_before_identities_that_are_only_due(watched: None, clock: VirtualClock) -> None:
    """F46: no request of the background starts between a caller and its answer."""
    service = Service(clock)
    async with open_fleet(service, clock, concurrency=1) as fleet:
        fleet.add(*roles(100))
        await turns(1)
        credentials = await soon(fleet.get(role(99)))

        assert isinstance(credentials, Credentials)
        assert service.order.index(role(99).role_arn) <= 1
        await fleet.warm_up()
    assert service.sent.total() == 100


async def test_a_refresh_that_already_waits_becomes_urgent_when_a_caller_needs_it(
    watched: None, clock: VirtualClock
) -> None:
    service = Service(clock, gate=asyncio.Event())
    async with open_fleet(service, clock, concurrency=1) as fleet:
        fleet.add(*roles(50))
        await turns()
        assert service.gate is not None
        caller = asyncio.create_task(fleet.get(role(49)))
        await turns()
        service.gate.set()
        await soon(caller)

        assert service.order.index(role(49).role_arn) == 1


async def test_thousands_of_identities_that_are_due_at_once_are_fetched_a_bounded_number_at_a_time(
    watched: None, clock: VirtualClock
) -> None:
    """F46: each exactly once, and each caller in its turn. The order of arrival is the order of the requests."""
    service, count = Service(clock, gate=asyncio.Event()), 1_000
    async with open_fleet(service, clock, concurrency=20, requests_per_second=1e6) as fleet:
        callers = [asyncio.create_task(fleet.get(one)) for one in roles(count)]
        await until(lambda: service.running == 20)
        await turns()
        assert service.gate is not None
        service.gate.set()
        await soon(asyncio.gather(*callers))

    assert service.most <= 20
    assert set(service.sent.values()) == {1}
    positions = {arn: place for place, arn in enumerate(service.order)}
    assert max(abs(positions[one.role_arn] - number) for number, one in enumerate(roles(count))) <= 20


async def test_callers_who_need_more_than_the_budget_do_not_keep_others_from_their_refresh(
    clock: VirtualClock,
) -> None:
    """F46: kept identities stay fresh while new identities need more than the rate of the budget."""
    service = Service(clock)
    kept = [role(number, duration_seconds=900) for number in range(2)]
    async with open_fleet(service, clock, requests_per_second=1, max_on_demand=100_000) as fleet:
        fleet.add(*kept)
        await pass_time(fleet, clock, 30)
        waiting = []
        for number in range(100, 1_300, 20):
            waiting += [asyncio.create_task(fleet.get(one)) for one in map(role, range(number, number + 20))]
            await turns(1)
            await pass_time(fleet, clock, 18)
            assert all(fleet.peek(one) for one in kept)
        served = sum(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    assert served >= 900, "most of the budget is for callers"
    assert all(service.sent[one.role_arn] >= 2 for one in kept)


async def test_a_caller_gets_an_error_if_an_observer_removes_the_identity_when_it_is_added(
    watched: None, clock: VirtualClock
) -> None:
    """An observer can enforce a list of identities, and nothing fetches an identity that was removed."""
    remove: list[Callable[..., None]] = []

    def observe(event: Event) -> None:
        if isinstance(event, IdentityStateChanged) and event.before is None:
            remove[0](role())

    service = Service(clock)
    async with open_fleet(service, clock, client={"observers": [observe]}) as fleet:
        remove.append(fleet.remove)
        outcome = await soon(outcome_of(lambda: fleet.get(role())))

    assert "left the fleet" in str(outcome)
    assert service.sent.total() == 0
