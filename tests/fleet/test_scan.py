"""`CredentialsFleet.each`: many identities once, a bounded number at a time, in bounded memory."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fleet.fleets import HOUR, Plain, Service, Source, open_fleet, pass_time, role, roles, settled
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PatientLoop, soon, turns, until

from sts_async import Credentials
from sts_async.errors import ClientClosedError, ConfigurationError, ConnectError, CredentialsError, ServiceError
from sts_async.fleet import ChainedRequest, CredentialsFleet
from sts_async.testing import LocalSTS, Role, VirtualClock


async def scanned(fleet: CredentialsFleet, identities: Any, **options: Any) -> list[tuple[Any, Any]]:
    return [found async for found in fleet.each(identities, **options)]


async def one_by_one(identities: Any) -> AsyncIterator[Any]:
    for identity in identities:
        await asyncio.sleep(0)
        yield identity


@pytest.mark.parametrize("form", [list, tuple, iter, one_by_one], ids=["list", "tuple", "iterator", "async generator"])
async def test_each_identity_is_yielded_once_with_its_credentials_or_its_error(
    server: LocalSTS, clock: VirtualClock, form: Any
) -> None:
    """Closed accounts do not end the run. Identities that were not in the fleet leave it."""
    closed = {3, 17}
    server.declare(*(Role(role(number).role_arn, trusts=["arn:aws:iam::123456789012:user/x"]) for number in closed))
    async with open_fleet(server, clock) as fleet:
        found = await soon(scanned(fleet, form(roles(40))))
        assert fleet.snapshot().on_demand == 0

    assert Counter(identity.role_arn for identity, _ in found) == Counter(one.role_arn for one in roles(40))
    for identity, outcome in found:
        if identity in [role(number) for number in closed]:
            assert isinstance(outcome, ServiceError)
            assert outcome.code == "AccessDenied"
        else:
            owner = server.principal(outcome)
            assert owner is not None
            assert owner.role_arn == identity.role_arn


@settings(max_examples=25)
@given(
    numbers=st.lists(st.integers(0, 8), max_size=30),
    concurrency=st.integers(1, 5),
    kept=st.sets(st.integers(0, 8)),
    broken=st.sets(st.integers(0, 8)),
)
def test_any_scan_yields_each_identity_as_often_as_it_was_given(
    numbers: list[int], concurrency: int, kept: set[int], broken: set[int]
) -> None:
    """Identities that are in the fleet stay there, and cost no request while they are fresh."""

    async def run() -> None:
        clock = VirtualClock()
        sources = [Source(clock, number) for number in range(9)]
        for number in broken:
            sources[number].outcome = ConnectError("refused")
        async with open_fleet(Service(clock), clock) as fleet:
            fleet.add(*(sources[number] for number in kept))
            await fleet.warm_up()
            before = {number: sources[number].fetched for number in kept - broken}
            found = await scanned(fleet, (sources[number] for number in numbers), concurrency=concurrency)
            assert fleet.snapshot().on_demand == 0
            assert fleet.snapshot().kept == len(kept)
            assert {number: sources[number].fetched for number in kept - broken} == before

        assert Counter(source.number for source, _ in found) == Counter(numbers)
        for source, outcome in found:
            assert isinstance(outcome, ConnectError if source.number in broken else Credentials)

    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(run())


async def test_a_generator_is_read_only_as_far_as_needed_and_the_concurrency_is_bounded(
    watched: None, clock: VirtualClock
) -> None:
    service, read = Service(clock), []

    def endless() -> Iterator[Any]:
        number = 0
        while True:
            read.append(number)
            yield role(number)
            number += 1

    async with open_fleet(service, clock) as fleet:
        seen = 0
        async for _ in fleet.each(endless(), concurrency=5):
            seen += 1
            assert len(read) <= seen + 5
            if seen == 50:
                break
        await turns()

    assert service.most <= 5


async def test_a_scan_that_is_left_in_the_middle_leaves_no_task_and_no_identity(
    watched: None, clock: VirtualClock
) -> None:
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        async for _ in fleet.each(roles(1000), concurrency=10):
            break
        gc.collect()
        await until(lambda: len(asyncio.all_tasks()) == 1)
        await settled(fleet)
        assert service.sent.total() <= 20
        assert fleet.snapshot().on_demand <= 10
        await pass_time(fleet, clock, 2 * HOUR)
        assert fleet.snapshot().on_demand == 0


async def test_a_body_that_raises_and_a_scan_that_is_cancelled_leave_no_task(
    watched: None, clock: VirtualClock
) -> None:
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        with pytest.raises(ZeroDivisionError):
            async for _ in fleet.each(roles(100)):
                raise ZeroDivisionError
        service.gate = asyncio.Event()
        task = asyncio.create_task(scanned(fleet, (role(number) for number in range(100, 200))))
        await until(lambda: service.running >= 50)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        service.gate.set()
        await settled(fleet)

        assert service.sent.total() <= 150
    assert len(asyncio.all_tasks()) == 1


async def test_an_iterable_that_raises_ends_the_scan_with_its_error(watched: None, clock: VirtualClock) -> None:
    def broken() -> Iterator[Any]:
        yield from roles(3)
        raise ZeroDivisionError

    async with open_fleet(Service(clock), clock) as fleet:
        with pytest.raises(ZeroDivisionError):
            await soon(scanned(fleet, broken()))
        await settled(fleet)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("error", [ValueError("SENTINEL"), KeyError("SENTINEL"), RuntimeError()], ids=repr)
async def test_a_provider_that_raises_another_error_does_not_end_the_scan(
    watched: None, clock: VirtualClock, error: Exception
) -> None:
    """The error is yielded as the cause of a typed one."""
    odd, others = Source(clock, 0), [Source(clock, number) for number in range(1, 5)]
    odd.outcome = error
    async with open_fleet(Service(clock), clock) as fleet:
        found = dict(await soon(scanned(fleet, [odd, *others], concurrency=1)))

    assert isinstance(found[odd], CredentialsError)
    assert isinstance(found[odd].__cause__, type(error))
    assert "SENTINEL" not in str(found[odd])
    assert all(isinstance(found[other], Credentials) for other in others)


async def test_memory_does_not_grow_with_the_number_of_identities(clock: VirtualClock) -> None:
    """F61."""
    fetches: Counter[int] = Counter()
    async with open_fleet(Service(clock), clock) as fleet:
        largest = 0
        async for _ in fleet.each((Plain(clock, number, fetches) for number in range(3_000)), concurrency=20):
            largest = max(largest, len(fleet._entries.by_identity))

    assert largest <= 21
    assert len(fetches) == 3_000


async def test_identities_of_a_scan_do_not_evict_those_on_demand(watched: None, clock: VirtualClock) -> None:
    service = Service(clock)
    async with open_fleet(service, clock, max_on_demand=30, requests_per_second=1e6) as fleet:
        for one in roles(10):
            await fleet.get(one)
        await soon(scanned(fleet, (role(number) for number in range(100, 300)), concurrency=5))

        assert all(fleet.peek(one) for one in roles(10))
        assert fleet.snapshot().on_demand == 10


async def test_an_identity_that_a_caller_asks_for_during_a_scan_stays(watched: None, clock: VirtualClock) -> None:
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        async for identity, _ in fleet.each(roles(5), concurrency=1):
            if identity == role(2):
                await fleet.get(role(2))

        assert list(fleet._entries.by_identity) == [role(2)]


async def test_the_middle_role_of_a_scan_is_assumed_once_and_leaves_when_it_is_idle(
    watched: None, clock: VirtualClock
) -> None:
    service, hub = Service(clock), role(0, session="hub")
    async with open_fleet(service, clock) as fleet:
        found = await soon(scanned(fleet, [ChainedRequest(role(number), source=hub) for number in range(1, 50)]))
        assert all(isinstance(outcome, Credentials) for _, outcome in found)
        assert service.sent[hub.role_arn] == 1
        await pass_time(fleet, clock, 3 * HOUR)
        assert fleet.snapshot().on_demand == 0


async def test_accounts_that_are_not_allowed_are_yielded_as_errors(server: LocalSTS, clock: VirtualClock) -> None:
    """T43: the limit of the scan applies in addition to that of the fleet."""
    accounts = ["111111111111", "222222222222", "333333333333"]
    async with open_fleet(server, clock, allowed_accounts=accounts[:2]) as fleet:
        found = await soon(
            scanned(fleet, [role(account=account) for account in accounts], allowed_accounts=accounts[1:])
        )

    allowed = {identity.role_arn.split(":")[4]: isinstance(outcome, Credentials) for identity, outcome in found}
    assert allowed == {"111111111111": False, "222222222222": True, "333333333333": False}
    assert {type(outcome) for _, outcome in found} - {type(None)} >= {ConfigurationError}
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "options", [{"concurrency": 0}, {"concurrency": True}, {"allowed_accounts": "123456789012"}], ids=str
)
async def test_an_invalid_argument_is_refused(server: LocalSTS, clock: VirtualClock, options: dict[str, Any]) -> None:
    async with open_fleet(server, clock) as fleet:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            await scanned(fleet, roles(1), **options)


async def test_a_scan_of_a_fleet_that_is_closed_ends_with_a_typed_error(watched: None, clock: VirtualClock) -> None:
    service = Service(clock, gate=asyncio.Event())
    async with open_fleet(service, clock) as fleet:
        scanning = asyncio.create_task(scanned(fleet, roles(100)))
        await until(lambda: service.running)
        await fleet.aclose()
        with pytest.raises(ClientClosedError):
            await soon(scanning)

    assert len(asyncio.all_tasks()) == 1


async def test_two_scans_share_their_requests(watched: None, clock: VirtualClock) -> None:
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        one, other = await soon(asyncio.gather(scanned(fleet, roles(30)), scanned(fleet, roles(30))))
        await settled(fleet)

        assert len(one) == len(other) == 30
        assert fleet.snapshot().on_demand == 0
    assert service.sent.total() <= 60
