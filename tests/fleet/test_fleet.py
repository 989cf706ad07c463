"""`CredentialsFleet` over sockets: get, peek, add, remove, warm_up, and the arguments of the constructor."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from fleet.fleets import (
    HOUR,
    Service,
    open_fleet,
    operations_of,
    pass_time,
    role,
    roles,
    settled,
)
from patience import soon, turns

from sts_async import STSClient
from sts_async.errors import ClientClosedError, ConfigurationError, CredentialsError
from sts_async.fleet import CredentialsFleet
from sts_async.shapes import Credentials
from sts_async.testing import LocalSTS, Unavailable, VirtualClock

# -- get and peek --------------------------------------------------------------------------------------------------


async def test_get_fetches_once_and_then_answers_from_memory(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock) as fleet:
        first = await fleet.get(role())
        assert [await fleet.get(role()) for _ in range(10)] == [first] * 10

    assert operations_of(server) == ["AssumeRole"]
    assert first.account_id == "123456789012"


async def test_a_caller_in_the_turn_of_add_waits_for_the_fetch_that_add_began(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """F42: the worker has taken the identity, but its task has not run yet."""
    async with open_fleet(server, clock) as fleet:
        fleet.add(*roles(3))
        await asyncio.gather(*map(fleet.get, roles(3)))
        await turns()

    assert operations_of(server) == ["AssumeRole"] * 3


async def test_peek_returns_valid_credentials_and_fetches_nothing(server: LocalSTS, clock: VirtualClock) -> None:
    """It returns None for an identity that is not in the fleet, and for credentials that have ended."""
    async with open_fleet(server, clock) as fleet:
        assert fleet.peek(role()) is None
        held = await fleet.get(role())
        assert fleet.peek(role()) is held
        clock.advance(HOUR - 1)
        assert fleet.peek(role()) is held
        clock.advance(1)
        assert fleet.peek(role()) is None
        assert fleet.peek([]) is None  # type: ignore[arg-type]

    assert operations_of(server) == ["AssumeRole"]


async def test_get_and_peek_take_a_provider_of_the_fleet_for_its_identity(
    server: LocalSTS, clock: VirtualClock
) -> None:
    async with open_fleet(server, clock) as fleet:
        held = await fleet.get(fleet.provider(role()))

        assert fleet.peek(fleet.provider(role())) is held
        assert fleet.peek(role()) is held


async def test_in_the_advisory_window_get_answers_from_memory_and_one_refresh_runs(
    watched: None, clock: VirtualClock
) -> None:
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        before = await fleet.get(role())
        clock.advance(HOUR - 120)
        assert [await fleet.get(role()) for _ in range(10)] == [before] * 10
        await settled(fleet)

        assert (await fleet.get(role())) != before
        assert service.sent.total() == 2


async def test_in_the_last_minute_get_waits_for_the_refresh(watched: None, clock: VirtualClock) -> None:
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        before = await fleet.get(role())
        clock.advance(HOUR - 30)
        after = await asyncio.gather(*(fleet.get(role()) for _ in range(10)))

    assert before not in after
    assert len({credentials.access_key_id for credentials in after}) == 1
    assert service.sent.total() == 2


# -- add, remove, warm_up ------------------------------------------------------------------------------------------


async def test_identities_that_were_added_are_fetched_and_always_refreshed_in_time(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """They are not used. At each moment of a day their credentials are valid for more than a minute."""
    async with open_fleet(server, clock) as fleet:
        fleet.add(*roles(3))
        await fleet.warm_up()
        least = HOUR
        for _ in range(24 * 4):
            await pass_time(fleet, clock, HOUR / 4)
            snapshot = fleet.snapshot()
            assert (snapshot.kept, snapshot.fresh) == (3, 3)
            assert snapshot.soonest_end is not None
            least = min(least, snapshot.soonest_end)

    assert least > 60
    assert 3 * 24 <= len(server.requests) <= 3 * 40


async def test_identities_can_be_added_before_the_fleet_is_entered(server: LocalSTS, clock: VirtualClock) -> None:
    """Those that were removed again are not fetched. A second `add` does nothing."""
    async with server.client(clock=clock) as sts:
        fleet = CredentialsFleet(sts)
        fleet.add(role(1), role(2))
        fleet.add(role(2), role(3))
        fleet.remove(role(1))
        async with fleet:
            await fleet.warm_up()
            snapshot = fleet.snapshot()

    assert (snapshot.kept, snapshot.fresh, len(server.requests)) == (2, 2, 2)


async def test_add_keeps_an_identity_that_was_on_demand_without_another_request(
    server: LocalSTS, clock: VirtualClock
) -> None:
    async with open_fleet(server, clock) as fleet:
        held = await fleet.get(role())
        fleet.add(role())
        await fleet.warm_up()

        assert fleet.peek(role()) is held
        assert (fleet.snapshot().kept, fleet.snapshot().on_demand) == (1, 0)
        assert operations_of(server) == ["AssumeRole"]
        await pass_time(fleet, clock, HOUR)
        assert fleet.snapshot().fresh == 1


async def test_add_refreshes_an_identity_that_was_left_to_expire(watched: None, clock: VirtualClock) -> None:
    service = Service(clock)
    async with open_fleet(service, clock, idle_seconds=24 * HOUR) as fleet:
        await fleet.get(role())
        await pass_time(fleet, clock, 2 * HOUR)
        assert service.sent.total() == 1
        fleet.add(role())
        await pass_time(fleet, clock, 1)

        assert fleet.peek(role()) is not None
        assert service.sent.total() == 2


async def test_nothing_is_added_if_one_identity_is_invalid(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock, allowed_accounts=["123456789012"]) as fleet:
        with pytest.raises(ConfigurationError):
            fleet.add(role(1), role(2, account="999999999999"))

        assert (fleet.snapshot().kept, fleet.snapshot().on_demand) == (0, 0)


async def test_an_identity_that_was_removed_is_gone_with_its_credentials(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock) as fleet:
        fleet.add(role(1), role(2))
        await fleet.warm_up()
        fleet.remove(role(1), role(1), role(9))
        await pass_time(fleet, clock, 3 * HOUR)

        assert fleet.peek(role(1)) is None
        assert fleet.snapshot().kept == 1
        assert fleet.peek(role(2)) is not None


async def test_callers_that_wait_for_an_identity_that_is_removed_get_an_error(
    watched: None, clock: VirtualClock
) -> None:
    """Callers of a request that is under way still get its outcome."""
    service = Service(clock, gate=asyncio.Event())
    async with open_fleet(service, clock, concurrency=1) as fleet:
        under_way = asyncio.create_task(fleet.get(role(1)))
        await turns()
        queued = asyncio.create_task(fleet.get(role(2)))
        await turns()
        fleet.remove(role(1), role(2))
        with pytest.raises(CredentialsError, match=r"role-2' \(session 'me'\) left the fleet"):
            await soon(queued)
        assert service.gate is not None
        service.gate.set()

        assert isinstance(await soon(under_way), Credentials)
        assert (fleet.snapshot().kept, fleet.snapshot().on_demand) == (0, 0)
        assert service.sent.total() == 1


async def test_warm_up_waits_for_all_and_not_for_those_that_fail(server: LocalSTS, clock: VirtualClock) -> None:
    server.faults.add(Unavailable(times=6))
    async with open_fleet(server, clock, concurrency=1) as fleet:
        fleet.add(*roles(10))
        await soon(fleet.warm_up())
        snapshot = fleet.snapshot()

    assert (snapshot.fresh, snapshot.failing, snapshot.waiting) == (8, 2, 0)


async def test_warm_up_of_an_empty_fleet_and_of_a_warm_one_returns_at_once(
    server: LocalSTS, clock: VirtualClock
) -> None:
    async with open_fleet(server, clock) as fleet:
        await fleet.warm_up()
        fleet.add(role())
        await fleet.warm_up()
        await fleet.warm_up()

    assert operations_of(server) == ["AssumeRole"]


async def test_warm_up_does_not_wait_for_identities_that_are_paused_or_removed(
    watched: None, clock: VirtualClock
) -> None:
    service = Service(clock, gate=asyncio.Event())
    async with open_fleet(service, clock, concurrency=1) as fleet:
        fleet.add(*roles(3))
        warming = asyncio.create_task(fleet.warm_up())
        await turns()
        assert service.gate is not None
        fleet.pause(role(1))
        fleet.remove(role(2))
        await turns()
        assert not warming.done()
        service.gate.set()
        await soon(warming)

    assert service.sent.total() == 1


# -- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"max_on_demand": 0},
        {"max_on_demand": True},
        {"concurrency": 0},
        {"concurrency": 1.5},
        {"idle_seconds": 0},
        {"idle_seconds": "1"},
        {"requests_per_second": 0},
        {"requests_per_second": float("nan")},
        {"requests_per_second": True},
        {"strict_arns": 1},
        {"allowed_accounts": "123456789012"},
        {"allowed_accounts": ["12345"]},
        {"allowed_accounts": 5},
    ],
    ids=str,
)
async def test_an_invalid_argument_is_refused_when_the_fleet_is_made(server: LocalSTS, options: dict[str, Any]) -> None:
    async with server.client() as sts:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            CredentialsFleet(sts, **options)


async def test_the_idle_time_can_be_a_timedelta(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock, idle_seconds=timedelta(minutes=1)) as fleet:
        await fleet.get(role())
        await pass_time(fleet, clock, 120)

        assert fleet.snapshot().on_demand == 0


async def test_a_fleet_that_is_not_entered_says_so(server: LocalSTS, clock: VirtualClock) -> None:
    async with server.client(clock=clock) as sts:
        fleet = CredentialsFleet(sts)
        for use in (lambda: fleet.get(role()), fleet.warm_up):
            with pytest.raises(ClientClosedError, match="async with"):
                await use()
        for ask in (fleet.snapshot, fleet.failing, fleet.pause, fleet.resume):
            with pytest.raises(ClientClosedError, match="async with"):
                ask()
        assert fleet.peek(role()) is None
        assert repr(fleet) == "<CredentialsFleet: 0 kept, 0 on demand>"


async def test_a_fleet_uses_the_options_of_the_view_that_it_was_made_with(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """The credentials of a view sign the requests."""
    other = server.issue("arn:aws:iam::123456789012:role/hub", session_name="view")
    async with server.client(clock=clock) as sts, CredentialsFleet(sts.with_options(credentials=other)) as fleet:
        await fleet.get(role())

    assert [served.principal for served in server.requests] == ["arn:aws:sts::123456789012:assumed-role/hub/view"]


async def test_a_fleet_of_a_closed_client_cannot_be_entered(server: LocalSTS, clock: VirtualClock) -> None:
    sts = server.client(clock=clock)
    await sts.aclose()
    with pytest.raises(ClientClosedError):
        async with CredentialsFleet(sts):
            raise AssertionError("it was entered")


@pytest.mark.parametrize("given", [None, "eu-west-1", STSClient])
def test_a_fleet_of_something_other_than_a_client_is_refused(given: Any) -> None:
    """At once, and not when the fleet is entered."""
    with pytest.raises(ConfigurationError, match="a fleet needs an STSClient or a view of one"):
        CredentialsFleet(given)
