"""`CredentialsFleet.provider`: credentials of a fleet for clients, for other providers, and for other fleets."""

import asyncio
from typing import Any

import pytest
from fleet.fleets import HOUR, Service, Source, open_fleet, operations_of, pass_time, role, roles, settled
from patience import soon, until

from sts_async import Credentials
from sts_async.credentials import AssumeRoleProvider, ProviderChain
from sts_async.errors import ConfigurationError, ServiceError
from sts_async.fleet import CredentialsFleet
from sts_async.protocols import is_attended
from sts_async.testing import LocalSTS, Refuse, VirtualClock


async def test_a_client_uses_the_credentials_of_an_identity(server: LocalSTS, clock: VirtualClock) -> None:
    async with (
        open_fleet(server, clock) as fleet,
        server.client(clock=clock, credentials=fleet.provider(role())) as sts,
    ):
        arns = [(await sts.get_caller_identity()).arn for _ in range(3)]

    assert set(arns) == {"arn:aws:sts::123456789012:assumed-role/role-0/me"}
    assert operations_of(server).count("AssumeRole") == 1


async def test_several_clients_and_views_share_one_identity(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock) as fleet:
        provider = fleet.provider(role())
        async with (
            server.client(clock=clock, credentials=provider) as one,
            server.client(clock=clock, credentials=fleet.provider(role())) as two,
            server.client(clock=clock) as three,
        ):
            view = three.with_options(credentials=provider)
            found = await soon(
                asyncio.gather(*(sts.get_caller_identity() for sts in (one, two, view) for _ in range(5)))
            )

    assert {answer.arn for answer in found} == {"arn:aws:sts::123456789012:assumed-role/role-0/me"}
    assert operations_of(server).count("AssumeRole") == 1


async def test_a_client_keeps_working_for_a_day(server: LocalSTS, clock: VirtualClock) -> None:
    """Its use keeps an identity on demand fresh, in the background."""
    async with (
        open_fleet(server, clock) as fleet,
        server.client(clock=clock, credentials=fleet.provider(role())) as sts,
    ):
        for _ in range(24 * 2):
            assert (await sts.get_caller_identity()).account == "123456789012"
            await pass_time(fleet, clock, HOUR / 2)

    assert 20 <= operations_of(server).count("AssumeRole") <= 45
    assert {served.code for served in server.requests} == {None}


@pytest.mark.parametrize("kept", [True, False])
async def test_a_key_that_the_service_refuses_is_fetched_again_and_the_call_succeeds(
    server: LocalSTS, clock: VirtualClock, kept: bool
) -> None:
    async with open_fleet(server, clock) as fleet:
        if kept:
            fleet.add(role())
            await fleet.warm_up()
        async with server.client(clock=clock, credentials=fleet.provider(role())) as sts:
            await sts.get_caller_identity()
            refused = fleet.peek(role())
            assert refused is not None
            server.expire(refused)
            found = await soon(asyncio.gather(*(sts.get_caller_identity() for _ in range(20))))
            await settled(fleet)

        assert len(found) == 20
        assert fleet.peek(role()) != refused
        assert fleet.failing() == []
    assert operations_of(server).count("AssumeRole") == 2


async def test_a_key_that_is_not_the_current_one_invalidates_nothing(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock) as fleet:
        held = await fleet.get(role())
        provider: Any = fleet.provider(role())
        provider.invalidate("ASIAOTHER")
        fleet.provider(role(1)).invalidate(held.access_key_id)  # type: ignore[attr-defined]
        await settled(fleet)

        assert await fleet.get(role()) is held


async def test_a_key_that_is_refused_again_and_again_causes_no_storm(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock) as fleet:
        server.faults.add(Refuse("ExpiredToken", operation="GetCallerIdentity", times=None))
        async with server.client(clock=clock, credentials=fleet.provider(role())) as sts:
            for _ in range(30):
                with pytest.raises(ServiceError):
                    await sts.get_caller_identity()
                await settled(fleet)
                clock.advance(0.1)

    assert operations_of(server).count("AssumeRole") <= 4


async def test_an_invalidation_after_the_event_loop_of_the_fleet_has_ended_does_nothing(clock: VirtualClock) -> None:
    """The client that was refused must get its own error."""
    kept: list[Any] = []

    async def main() -> None:
        async with open_fleet(Service(clock), clock) as fleet:
            kept.extend([fleet.provider(role()), await fleet.get(role())])

    await asyncio.to_thread(asyncio.run, main())
    provider, held = kept
    provider.invalidate(held.access_key_id)

    assert provider.fleet.peek(role()) is None or provider.fleet.peek(role()) is held


@pytest.mark.parametrize("hops", [1, 2, 3])
async def test_many_providers_with_a_source_in_the_same_fleet_do_not_block_each_other(
    watched: None, clock: VirtualClock, hops: int
) -> None:
    """A provider that waits for another identity keeps its worker. Otherwise 50 of them would wait for their limit."""
    service = Service(clock)
    async with open_fleet(service, clock, concurrency=5) as fleet:
        source: Any = role(0)
        for hop in range(1, hops):
            source = AssumeRoleProvider(role_arn=role(1000 + hop).role_arn, source=fleet.provider(source))
        many = [
            AssumeRoleProvider(role_arn=role(number).role_arn, source=fleet.provider(source)) for number in range(1, 61)
        ]
        fleet.add(*many)
        found = await soon(asyncio.gather(*(fleet.get(one) for one in many)))

        assert all(isinstance(credentials, Credentials) for credentials in found)
        assert service.sent[role(0).role_arn] == 1
        assert fleet.failing() == []


async def test_a_provider_is_a_member_of_a_chain_of_providers(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock) as fleet:
        chain = ProviderChain(fleet.provider(role()))
        async with server.client(clock=clock, credentials=chain) as sts:
            assert "role-0" in (await sts.get_caller_identity()).arn


async def test_a_fleet_can_sign_with_an_identity_of_another_fleet(server: LocalSTS, clock: VirtualClock) -> None:
    async with (
        open_fleet(server, clock) as hubs,
        server.client(clock=clock, credentials=hubs.provider(role(0))) as sts,
        CredentialsFleet(sts) as fleet,
    ):
        fleet.add(*roles(5)[1:])
        await soon(fleet.warm_up())
        assert fleet.snapshot().fresh == 4
        await pass_time(fleet, clock, HOUR)
        await settled(hubs)
        assert fleet.failing() == []

    assert operations_of(server).count("AssumeRole") >= 9


async def test_a_provider_describes_itself_and_refuses_to_be_pickled(server: LocalSTS, clock: VirtualClock) -> None:
    import pickle

    async with open_fleet(server, clock) as fleet:
        provider: Any = fleet.provider(role())
        assert repr(provider) == "<provider of role 'arn:aws:iam::123456789012:role/role-0' (session 'me')>"
        assert provider.name == "role 'arn:aws:iam::123456789012:role/role-0' (session 'me')"
        for thing in (provider, fleet):
            with pytest.raises((TypeError, ConfigurationError)):
                pickle.dumps(thing)


async def test_a_provider_says_whether_a_fetch_asks_a_person(server: LocalSTS, clock: VirtualClock) -> None:
    """T46: so a client that uses it does not refresh it in the background either."""

    async def code(serial_number: str) -> str:
        return "123456"

    asking = AssumeRoleProvider(
        role_arn=role().role_arn, serial_number="arn:aws:iam::123456789012:mfa/developer", mfa_code=code
    )
    async with open_fleet(server, clock) as fleet:
        for _ in range(2):
            assert is_attended(fleet.provider(asking), None)
            assert not is_attended(fleet.provider(role()), None)
            await fleet.get(asking)


async def test_a_provider_for_a_kept_identity_that_was_removed_puts_it_on_demand(
    watched: None, clock: VirtualClock
) -> None:
    source = Source(clock)
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(source)
        await fleet.warm_up()
        provider: Any = fleet.provider(source)
        fleet.remove(source)
        await provider.provide_credentials(None)

        assert (fleet.snapshot().kept, fleet.snapshot().on_demand, source.fetched) == (0, 1, 2)
        await until(lambda: fleet.peek(source))
