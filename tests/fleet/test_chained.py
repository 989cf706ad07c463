"""Chains of identities: the one in the middle is held once, and its failure is reported as its own."""

import asyncio
from typing import Any

import pytest
from fleet.fleets import (
    HOUR,
    Service,
    Source,
    changes,
    entry_of,
    open_fleet,
    outcome_of,
    pass_time,
    role,
    settled,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PatientLoop, soon, turns

from sts_async import Credentials
from sts_async.errors import ConnectError, CredentialsError, ServiceError, STSError
from sts_async.fleet import ChainedRequest, IdentityState
from sts_async.testing import LocalSTS, Refuse, VirtualClock

HUB = role(0, session="hub")
CUSTOMER = "210987654321"


def customers(count: int, *, source: Any = HUB) -> list[ChainedRequest]:
    """Return roles of customers that are assumed through one role in the middle."""
    return [ChainedRequest(role(number, account=CUSTOMER), source=source) for number in range(1, count + 1)]


async def test_the_role_in_the_middle_is_assumed_once_and_signs_for_all(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock) as fleet:
        found = await soon(asyncio.gather(*(fleet.get(one) for one in customers(100))))
        owners = [server.principal(credentials) for credentials in found]
        snapshot = fleet.snapshot()

    assert [owner and owner.role_arn for owner in owners] == [one.request.role_arn for one in customers(100)]
    signers = [served.principal for served in server.requests]
    assert signers[0] == "arn:aws:iam::123456789012:user/developer"
    assert signers[1:] == ["arn:aws:sts::123456789012:assumed-role/role-0/hub"] * 100
    assert snapshot.on_demand == 101


async def test_a_chain_can_have_several_hops(server: LocalSTS, clock: VirtualClock) -> None:
    first = ChainedRequest(role(1), source=HUB)
    second = ChainedRequest(role(2), source=first)
    async with open_fleet(server, clock) as fleet:
        fleet.add(second)
        await soon(fleet.warm_up())

        assert [served.principal and served.principal.rpartition(":")[2] for served in server.requests] == [
            "user/developer",
            "assumed-role/role-0/hub",
            "assumed-role/role-1/me",
        ]
        assert fleet.snapshot().fresh == 3


async def test_a_provider_can_be_the_source(server: LocalSTS, clock: VirtualClock) -> None:
    from sts_async.credentials import StaticProvider

    view = server.issue("arn:aws:iam::123456789012:role/view")
    async with open_fleet(server, clock) as fleet:
        await soon(fleet.get(ChainedRequest(role(1), source=StaticProvider(view))))

    assert [served.principal for served in server.requests] == ["arn:aws:sts::123456789012:assumed-role/view/local"]


async def test_kept_identities_keep_the_middle_one_which_is_always_fresh(watched: None, clock: VirtualClock) -> None:
    """It is refreshed in the background, long before its dependents need it, and is never evicted."""
    service = Service(clock)
    async with open_fleet(service, clock, max_on_demand=1, idle_seconds=60) as fleet:
        fleet.add(*customers(5))
        await soon(fleet.warm_up())
        await fleet.get(role(7))
        for _ in range(12):
            await pass_time(fleet, clock, HOUR / 2)
            assert fleet.peek(HUB) is not None
            assert fleet.snapshot().fresh >= 6
        requests = service.sent[HUB.role_arn]
        fleet.remove(*customers(5))
        await pass_time(fleet, clock, 4 * HOUR)

        assert fleet._entries.by_identity == {}
    assert 6 <= requests <= 9


async def test_a_failure_of_the_middle_one_is_listed_as_its_own(server: LocalSTS, clock: VirtualClock) -> None:
    """Dependents get an error whose cause is that failure. Afterwards, all of them go on."""
    events: list[Any] = []
    server.faults.add(Refuse("AccessDenied", times=None))
    async with open_fleet(server, clock, client={"observers": [events.append]}) as fleet:
        fleet.add(*customers(5))
        await soon(fleet.warm_up())
        (failing,) = fleet.failing()
        assert (failing.identity, failing.code) == (HUB, "AccessDenied")
        errors = [await outcome_of(lambda one=one: fleet.get(one)) for one in customers(5)]
        assert {type(error) for error in errors} == {CredentialsError}
        assert {error.__cause__.code for error in errors} == {"AccessDenied"}
        assert len({id(error) for error in errors}) == 5
        assert "the source of role 'arn:aws:iam::210987654321:role/role-1'" in str(errors[0])
        await pass_time(fleet, clock, 300)
        attempts = len(server.requests)
        assert attempts <= 6, "attempts for the middle one alone"
        assert fleet.snapshot().waiting == 5
        server.faults.clear()
        await pass_time(fleet, clock, HOUR)

        assert fleet.failing() == []
        assert fleet.snapshot().fresh == 6
        assert all([await fleet.get(one) for one in customers(5)])
    about = {
        event.identity for event in events if getattr(event, "error", None) is not None and hasattr(event, "state")
    }
    assert about == {"role 'arn:aws:iam::123456789012:role/role-0' (session 'hub')"}


async def test_a_stale_middle_one_serves_its_dependents(watched: None, clock: VirtualClock) -> None:
    """While an outage keeps its refresh from working, its credentials are valid."""
    hub, service = Source(clock), Service(clock)
    async with open_fleet(service, clock) as fleet:
        fleet.add(hub)
        await fleet.warm_up()
        hub.outcome = ConnectError("refused")
        await pass_time(fleet, clock, HOUR - 120)
        assert fleet.failing()[0].state is IdentityState.STALE

        assert isinstance(await soon(fleet.get(customers(1, source=hub)[0])), Credentials)


async def test_dependents_serve_their_own_credentials_while_the_middle_one_fails(
    watched: None, clock: VirtualClock
) -> None:
    hub, service = Source(clock, seconds=HOUR / 2), Service(clock)
    (customer,) = customers(1, source=hub)
    async with open_fleet(service, clock) as fleet:
        fleet.add(customer)
        await fleet.warm_up()
        held = fleet.peek(customer)
        hub.outcome = ServiceError("no", code="AccessDenied", status=403)
        await pass_time(fleet, clock, HOUR - 300)
        assert await fleet.get(customer) is held is not None
        await pass_time(fleet, clock, 600)
        with pytest.raises(CredentialsError, match="the source of"):
            await soon(fleet.get(customer))
        assert [failing.identity for failing in fleet.failing()] == [hub]
        hub.outcome = None
        await pass_time(fleet, clock, 600)
        assert isinstance(await soon(fleet.get(customer)), Credentials)
        assert fleet.failing() == []


async def test_warm_up_ends_if_an_identity_two_hops_away_fails(watched: None, clock: VirtualClock) -> None:
    hub = Source(clock)
    hub.outcome = ConnectError("refused")
    middle = ChainedRequest(role(1), source=hub)
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(ChainedRequest(role(2), source=middle))
        await soon(fleet.warm_up())
        assert [failing.identity for failing in fleet.failing()] == [hub]
        hub.outcome = None
        await pass_time(fleet, clock, 60)

        assert fleet.snapshot().fresh == 3


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId"])
async def test_a_refused_key_of_the_middle_one_is_fetched_again_and_the_dependents_succeed(
    server: LocalSTS, clock: VirtualClock, code: str
) -> None:
    """The refusal is no failure of the dependents."""
    async with open_fleet(server, clock) as fleet:
        fleet.add(HUB)
        await fleet.warm_up()
        refused = fleet.peek(HUB)
        assert refused is not None
        if code == "ExpiredToken":
            server.expire(refused)
        else:
            server.faults.add(Refuse(code, status=403))
        found = await soon(asyncio.gather(*(fleet.get(one) for one in customers(30))))

        assert len({credentials.access_key_id for credentials in found}) == 30
        assert fleet.failing() == []
        assert fleet.peek(HUB) != refused
    hubs = [served for served in server.requests if served.principal == "arn:aws:iam::123456789012:user/developer"]
    assert len(hubs) == 2


async def test_a_middle_one_whose_new_keys_are_refused_too_causes_no_storm(
    server: LocalSTS, clock: VirtualClock
) -> None:
    async with open_fleet(server, clock) as fleet:
        fleet.add(HUB)
        await fleet.warm_up()
        server.faults.add(Refuse("InvalidClientTokenId", status=403, times=None))
        fleet.add(*customers(5))
        await pass_time(fleet, clock, 60)
        assert len(server.requests) <= 60
        server.faults.clear()
        await pass_time(fleet, clock, HOUR)

        assert (fleet.failing(), fleet.snapshot().fresh) == ([], 6)


async def test_a_caller_of_a_dependent_makes_the_middle_one_urgent(watched: None, clock: VirtualClock) -> None:
    service = Service(clock)
    async with open_fleet(service, clock, concurrency=1) as fleet:
        fleet.add(*(role(number) for number in range(1, 50)))
        await turns(1)
        await soon(fleet.get(customers(60)[-1]))

        assert service.order.index(HUB.role_arn) <= 2


async def test_removing_the_middle_one_leaves_it_to_its_dependents(watched: None, clock: VirtualClock) -> None:
    service = Service(clock)
    async with open_fleet(service, clock, idle_seconds=600) as fleet:
        fleet.add(HUB, *customers(2))
        await soon(fleet.warm_up())
        fleet.remove(HUB)
        await pass_time(fleet, clock, 2 * HOUR)
        assert (fleet.snapshot().kept, fleet.snapshot().on_demand, fleet.snapshot().fresh) == (2, 1, 3)
        fleet.remove(*customers(2))
        await pass_time(fleet, clock, 2 * HOUR)

        assert (fleet.snapshot().kept, fleet.snapshot().on_demand) == (0, 0)


async def test_a_paused_middle_one_fails_its_dependents_until_it_is_resumed(watched: None, clock: VirtualClock) -> None:
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        fleet.pause(HUB)
        fleet.add(*customers(3))
        await soon(fleet.warm_up())
        with pytest.raises(CredentialsError, match="is paused"):
            await soon(fleet.get(customers(1)[0]))
        assert service.sent.total() == 0
        fleet.resume(HUB)
        await settled(fleet)

        assert fleet.snapshot().fresh == 4


async def test_a_paused_dependent_is_not_fetched_when_the_middle_one_comes_back(
    watched: None, clock: VirtualClock
) -> None:
    hub, service = Source(clock), Service(clock)
    hub.outcome = ConnectError("refused")
    one, other = customers(2, source=hub)
    async with open_fleet(service, clock) as fleet:
        fleet.add(one, other)
        await soon(fleet.warm_up())
        fleet.pause(one)
        hub.outcome = None
        await pass_time(fleet, clock, HOUR)
        assert service.sent[one.request.role_arn] == 0
        assert fleet.peek(other) is not None
        fleet.resume(one)
        await settled(fleet)

        assert fleet.peek(one) is not None


async def test_a_dependent_that_is_paused_while_its_key_is_refused_answers_its_callers(
    watched: None, clock: VirtualClock
) -> None:
    hub, service = Source(clock), Service(clock)
    (one,) = customers(1, source=hub)
    async with open_fleet(service, clock) as fleet:
        await fleet.get(hub)
        service.gate = asyncio.Event()
        service.refusals[one.request.role_arn] = "ExpiredToken"
        caller = asyncio.create_task(outcome_of(lambda: fleet.get(one)))
        await turns()
        fleet.pause(one)
        service.gate.set()

        assert isinstance(await soon(caller), STSError)
        await settled(fleet)
        assert fleet.snapshot().queued == 0


async def test_a_dependent_that_is_removed_while_its_key_is_refused_answers_its_callers(
    watched: None, clock: VirtualClock
) -> None:
    """It is not fetched again, so its callers would wait forever."""
    hub, service = Source(clock), Service(clock)
    (one,) = customers(1, source=hub)
    async with open_fleet(service, clock) as fleet:
        await fleet.get(hub)
        service.gate = asyncio.Event()
        service.refusals[one.request.role_arn] = "ExpiredToken"
        caller = asyncio.create_task(outcome_of(lambda: fleet.get(one)))
        await turns()
        fleet.remove(one)
        service.gate.set()

        assert isinstance(await soon(caller), STSError)


async def test_callers_of_dependents_get_an_error_when_a_middle_one_that_waits_is_paused(
    watched: None, clock: VirtualClock
) -> None:
    """The middle one waits for its own source, so no fetch of it ends."""
    first, service = Source(clock), Service(clock)
    first.gate = asyncio.Event()
    middle = ChainedRequest(HUB, source=first)
    (one,) = customers(1, source=middle)
    async with open_fleet(service, clock) as fleet:
        caller = asyncio.create_task(outcome_of(lambda: fleet.get(one)))
        await turns()
        assert entry_of(fleet, middle).blocked == {entry_of(fleet, one)}
        fleet.pause(middle)

        assert "is paused" in str(await soon(caller))
        first.gate.set()
        await settled(fleet)
        assert service.sent.total() == 0


async def test_each_account_in_the_middle_has_a_budget_of_its_own(server: LocalSTS, clock: VirtualClock) -> None:
    hubs = [role(number, account=f"{number}" * 12) for number in (1, 2)]
    async with open_fleet(server, clock, requests_per_second=100) as fleet:
        for hub in hubs:
            fleet.add(*customers(10, source=hub))
        await soon(fleet.warm_up())
        sent = {budget.scope.partition("/")[0]: budget.sent for budget in fleet.snapshot().budgets}

    assert sent == {"123456789012": 2, "1" * 12: 10, "2" * 12: 10}


@settings(max_examples=25)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["add", "remove", "get", "break", "mend", "time", "pause", "resume"]), st.integers(0, 3)
        ),
        max_size=20,
    )
)
def test_after_any_history_all_kept_dependents_are_fresh_again(steps: list[tuple[str, int]]) -> None:
    """No entry waits for a middle one that has credentials. The numbers of dependents always equal a recount."""

    async def run() -> None:
        clock = VirtualClock(start=1_767_225_600.0)
        hub = Source(clock)
        middle = ChainedRequest(role(9), source=hub)
        identities: list[Any] = [hub, middle, *customers(2, source=middle)]
        async with open_fleet(Service(clock), clock, max_on_demand=2) as fleet:
            for name, number in steps:
                if name == "get":
                    await outcome_of(lambda number=number: fleet.get(identities[number]))
                elif name == "time":
                    await pass_time(fleet, clock, [1, 60, 600, 4000][number])
                elif name in ("break", "mend"):
                    hub.outcome = ConnectError("refused") if name == "break" else None
                else:
                    getattr(fleet, name)(identities[number])
                await settled(fleet)
                recounted(fleet)
            hub.outcome = None
            fleet.resume(*identities)
            fleet.add(*identities[2:])
            await pass_time(fleet, clock, HOUR + 600)
            assert (fleet.snapshot().fresh, fleet.failing()) == (4, [])
            assert not any(entry.blocked for entry in fleet._entries.by_identity.values())

    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(run())


def recounted(fleet: Any) -> None:
    entries = list(fleet._entries.by_identity.values())
    for entry in entries:
        assert entry.dependents == sum(other.source is entry for other in entries)
        above = [other for other in entries if other.kept and entry in sources_of(other)]
        assert entry.keepers == len(above)
        assert not entry.removed


def sources_of(entry: Any) -> list[Any]:
    found = []
    while entry.source is not None:
        entry = entry.source
        found.append(entry)
    return found


async def test_changes_of_a_dependent_name_its_whole_chain(server: LocalSTS, clock: VirtualClock) -> None:
    events: list[Any] = []
    async with open_fleet(server, clock, client={"observers": [events.append]}) as fleet:
        await fleet.get(customers(1)[0])
        entry = entry_of(fleet, customers(1)[0])
        assert entry.status is IdentityState.FRESH

    names = {event.identity for event in events if hasattr(event, "before")}
    assert names == {
        "role 'arn:aws:iam::123456789012:role/role-0' (session 'hub')",
        "role 'arn:aws:iam::210987654321:role/role-1' (session 'me') through "
        "role 'arn:aws:iam::123456789012:role/role-0' (session 'hub')",
    }
    assert len(changes(events)) == 6


async def test_expired_credentials_of_the_middle_one_are_its_failure_and_not_that_of_its_dependents(
    server: LocalSTS, clock: VirtualClock
) -> None:
    """In an outage they stay in use after their end, and STS refuses what they sign. All recover soon after it."""

    class Issued(Source):
        async def fetch(self, context: Any) -> Credentials:
            await super().fetch(context)
            return server.issue(HUB.role_arn)

    hub = Issued(clock)
    identities = customers(5, source=hub)
    async with open_fleet(server, clock) as fleet:
        fleet.add(*identities)
        await soon(fleet.warm_up())
        hub.outcome = ConnectError("refused")
        for _ in range(12):
            await pass_time(fleet, clock, HOUR / 4)
            assert {failing.identity for failing in fleet.failing()} <= {hub}
        assert fleet.snapshot().ended == 5, "their credentials have expired"
        assert all([await soon(fleet.get(one)) for one in identities])
        attempts = len(server.requests)
        hub.outcome = None
        await pass_time(fleet, clock, 900)

        assert (fleet.failing(), fleet.snapshot().fresh) == ([], 6)
    assert attempts <= 5 * 2 + 5 * 2 * 12, "few attempts with keys that have ended"


async def test_a_middle_one_in_its_advisory_window_signs_and_is_refreshed_in_the_background(
    watched: None, clock: VirtualClock
) -> None:
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        held = await fleet.get(HUB)
        clock.advance(HOUR - 120)
        await soon(fleet.get(customers(1)[0]))
        await settled(fleet)

        assert fleet.peek(HUB) not in (None, held)
    assert service.sent[HUB.role_arn] == 2


async def test_a_whole_fleet_that_is_paused_and_resumed_catches_up(watched: None, clock: VirtualClock) -> None:
    """The middle one goes first."""
    service = Service(clock)
    async with open_fleet(service, clock) as fleet:
        fleet.add(*customers(5))
        await soon(fleet.warm_up())
        fleet.pause()
        await pass_time(fleet, clock, 3 * HOUR)
        assert service.sent.total() == 6
        with pytest.raises(CredentialsError, match="is paused"):
            await soon(fleet.get(customers(1)[0]))
        fleet.resume()
        await pass_time(fleet, clock, 1)

        assert all(fleet.peek(one) for one in [HUB, *customers(5)])
        assert service.sent.total() == 12
