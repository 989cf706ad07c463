"""The two tiers: identities on demand are bounded, idle ones leave, unused ones are not refreshed, nothing is left."""

import asyncio
import gc
import weakref
from collections import Counter, deque
from typing import Any

import pytest
from fleet.fleets import (
    HOUR,
    Plain,
    Service,
    Source,
    changes,
    entry_of,
    open_fleet,
    pass_time,
    role,
    roles,
    settled,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PatientLoop, soon, turns

from sts_async.fleet import CredentialsFleet
from sts_async.fleet._entries import Entry
from sts_async.testing import LocalSTS, VirtualClock

# -- which of them are refreshed -----------------------------------------------------------------------------------


async def test_an_identity_that_was_not_used_since_its_fetch_is_not_refreshed(
    watched: None, clock: VirtualClock
) -> None:
    source = Source(clock)
    async with open_fleet(Service(clock), clock, idle_seconds=24 * HOUR) as fleet:
        await fleet.get(source)
        await pass_time(fleet, clock, 12 * HOUR)
        assert source.fetched == 1
        await fleet.get(source)
        await pass_time(fleet, clock, 12 * HOUR)

    assert source.fetched == 2


@pytest.mark.parametrize("use", ["get", "peek", "provider"])
async def test_an_identity_that_was_used_is_refreshed_once_in_the_background(
    watched: None, clock: VirtualClock, use: str
) -> None:
    """One use leads to one refresh, so an identity that is no longer used costs one request."""
    source = Source(clock)
    async with open_fleet(Service(clock), clock, idle_seconds=24 * HOUR) as fleet:
        await fleet.get(source)
        await pass_time(fleet, clock, 600)
        match use:
            case "get":
                await fleet.get(source)
            case "peek":
                fleet.peek(source)
            case _:
                await fleet.provider(source).provide_credentials(None)  # type: ignore[arg-type]
        await pass_time(fleet, clock, 12 * HOUR)

    assert source.fetched == 2


async def test_an_identity_in_use_is_always_fresh_and_its_callers_never_wait(
    watched: None, clock: VirtualClock
) -> None:
    source = Source(clock)
    async with open_fleet(Service(clock), clock) as fleet:
        await fleet.get(source)
        for _ in range(24 * 4):
            await pass_time(fleet, clock, HOUR / 4)
            assert fleet.peek(source) is not None

    assert 24 <= source.fetched <= 45


async def test_a_refused_identity_on_demand_is_not_tried_again_without_a_caller(
    server: LocalSTS, clock: VirtualClock
) -> None:
    from fleet.fleets import outcome_of

    from sts_async.testing import Refuse

    server.faults.add(Refuse("AccessDenied", times=None))
    async with open_fleet(server, clock, idle_seconds=24 * HOUR) as fleet:
        await outcome_of(lambda: fleet.get(role()))
        await pass_time(fleet, clock, 12 * HOUR)

    assert len(server.requests) == 1


# -- eviction ------------------------------------------------------------------------------------------------------


async def test_an_idle_identity_leaves_and_one_in_use_stays(watched: None, clock: VirtualClock) -> None:
    events: list[Any] = []
    service = Service(clock)
    async with open_fleet(service, clock, idle_seconds=900, client={"observers": [events.append]}) as fleet:
        await fleet.get(role(1))
        await fleet.get(role(2))
        for _ in range(4):
            await pass_time(fleet, clock, 600)
            fleet.peek(role(2))

        assert [fleet.peek(role(number)) is None for number in (1, 2)] == [True, False]
        assert fleet.snapshot().on_demand == 1
        assert changes(events).count(("fresh", None)) == 1
        await pass_time(fleet, clock, 1000)
        assert fleet.snapshot().on_demand == 0


async def test_kept_identities_are_never_evicted(watched: None, clock: VirtualClock) -> None:
    async with open_fleet(Service(clock), clock, max_on_demand=3, idle_seconds=60) as fleet:
        fleet.add(*roles(20))
        await fleet.warm_up()
        for number in range(100, 120):
            await fleet.get(role(number))
        await pass_time(fleet, clock, HOUR)

        assert (fleet.snapshot().kept, fleet.snapshot().on_demand) == (20, 0)
        assert all(fleet.peek(one) for one in roles(20))


async def test_the_bound_may_be_exceeded_only_by_identities_that_callers_wait_for(
    watched: None, clock: VirtualClock
) -> None:
    """An identity that is being fetched is not evicted, because its callers would get nothing."""
    service = Service(clock)
    async with open_fleet(service, clock, max_on_demand=3) as fleet:
        found = await soon(asyncio.gather(*(fleet.get(one) for one in roles(50))))
        assert len({credentials.access_key_id for credentials in found}) == 50
        await fleet.get(role(99))
        for number in range(100, 140):
            await fleet.get(role(number))

        assert fleet.snapshot().on_demand == 3


STEPS = st.lists(st.tuples(st.sampled_from(["get", "peek", "add", "remove"]), st.integers(0, 9)), max_size=40)


@settings(max_examples=40)
@given(steps=STEPS, bound=st.integers(1, 5))
def test_the_identity_that_was_used_least_recently_is_evicted_first(steps: list[tuple[str, int]], bound: int) -> None:
    """Exact: the same identities are in the fleet as in a model that sorts all of them by their last use."""

    async def run() -> None:
        clock = VirtualClock()
        sources = [Source(clock, number) for number in range(10)]
        on_demand: dict[int, None] = {}  # in order of use
        kept: dict[int, None] = {}
        async with open_fleet(Service(clock), clock, max_on_demand=bound, idle_seconds=1e6) as fleet:
            for name, number in steps:
                clock.advance(1)
                if name == "get":
                    await fleet.get(sources[number])
                else:
                    getattr(fleet, name)(sources[number])
                await settled(fleet)
                if name == "remove":
                    on_demand.pop(number, None)
                    kept.pop(number, None)
                elif name == "add":
                    on_demand.pop(number, None)
                    kept[number] = None
                elif number not in kept and (name == "get" or number in on_demand):
                    on_demand.pop(number, None)
                    on_demand[number] = None
                while len(on_demand) > bound:
                    del on_demand[next(iter(on_demand))]
                present = {identity.number for identity in fleet._entries.by_identity}
                assert present == {*on_demand, *kept}

    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(run())


# -- nothing is left -----------------------------------------------------------------------------------------------


def held_by(fleet: CredentialsFleet) -> "Counter[str]":
    """
    Return the number of objects that a fleet holds: instances of its classes by type, and the items of all containers.

    The objects are found by following references, so no part of a fleet can be forgotten here.
    """
    found: Counter[str] = Counter()
    seen: set[int] = set()
    pending: list[Any] = [fleet]
    while pending:
        thing = pending.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        kind = type(thing)
        if isinstance(thing, (list, dict, set, tuple, deque)):
            found["items"] += len(thing)
        elif kind.__module__.startswith("sts_async.fleet"):
            found[kind.__name__] += 1
        else:
            continue
        pending.extend(gc.get_referents(thing))
    found["tasks"] = len(asyncio.all_tasks()) - 1
    return found


def entries_in_memory() -> int:
    """Return the number of entries of all fleets, also of those that nothing refers to any more."""
    gc.collect()
    return sum(type(thing) is Entry for thing in gc.get_objects())


def without_items(held: "Counter[str]") -> dict[str, int]:
    return {name: count for name, count in held.items() if name != "items" and count}


async def test_an_evicted_identity_leaves_no_object_behind(watched: None, clock: VirtualClock) -> None:
    """Neither its entry, nor its key, nor its credentials; no timer, no task, no place in a queue."""
    service = Service(clock)
    async with open_fleet(service, clock, max_on_demand=1) as fleet:
        await fleet.get(role(0))
        await settled(fleet)
        before, entries = held_by(fleet), entries_in_memory()
        identity: Any = role(1, tags={"a": "b"})
        held: Any = await fleet.get(identity)
        left = [weakref.ref(identity), weakref.ref(held), weakref.ref(entry_of(fleet, identity).state)]
        del identity, held
        await fleet.get(role(0))
        await settled(fleet)
        gc.collect()

        assert [reference() for reference in left] == [None] * 3
        after = held_by(fleet)
        assert without_items(after) == without_items(before)
        assert after["items"] <= before["items"] + 20
        assert entries_in_memory() == entries


async def test_a_fleet_that_is_dropped_after_it_was_closed_leaves_no_object_behind(
    watched: None, clock: VirtualClock
) -> None:
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(*roles(3))
        await fleet.warm_up()
    left = weakref.ref(fleet)
    del fleet
    await turns()
    gc.collect()

    assert left() is None


@pytest.mark.parametrize("seen", [3_000, pytest.param(30_000, marks=pytest.mark.slow)])
async def test_memory_is_that_of_the_bound_and_not_of_the_number_of_identities_that_were_seen(
    clock: VirtualClock, seen: int
) -> None:
    """F61: 1 % of the identities are in use at any time, and each identity is seen once or more."""
    fetches: Counter[int] = Counter()
    in_use, before = seen // 100, entries_in_memory()
    async with open_fleet(Service(clock), clock, max_on_demand=in_use) as fleet:
        largest: Counter[str] = Counter()
        for first in range(0, seen, in_use):
            current = [Plain(clock, number, fetches) for number in range(first, first + in_use)]
            for _ in range(2):
                await asyncio.gather(*(fleet.get(one) for one in current))
            await settled(fleet)
            clock.advance(1)
            if first % (10 * in_use) == 0:
                largest |= held_by(fleet)
        entries = entries_in_memory() - before

    assert len(fetches) == seen
    assert set(fetches.values()) == {1}
    assert largest["Entry"] <= 3 * in_use + 200, "also those that wait in a heap for their removal"
    assert entries <= largest["Entry"] + 10
    assert largest["items"] <= 30 * largest["Entry"] + 1000
    assert largest["tasks"] <= 1


@pytest.mark.parametrize("rounds", [20, pytest.param(250, marks=pytest.mark.slow)])
async def test_memory_stays_flat_over_many_refreshes(clock: VirtualClock, rounds: int) -> None:
    """F61: 100 identities, up to 25,000 refreshes. The number of objects of each kind is the same as at the start."""
    fetches: Counter[int] = Counter()
    identities = [Plain(clock, number, fetches) for number in range(100)]
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(*identities)
        await fleet.warm_up()
        await pass_time(fleet, clock, 2 * HOUR)
        before, objects = held_by(fleet), objects_of_the_library()
        largest: Counter[str] = Counter()
        for _ in range(rounds):
            await pass_time(fleet, clock, HOUR)
            largest |= held_by(fleet)
        assert sum(fetches.values()) >= 100 * rounds
        assert objects_of_the_library() <= objects + 200

    assert without_items(largest) == without_items(before)
    assert largest["items"] <= 2 * before["items"]


def objects_of_the_library() -> int:
    gc.collect()
    return sum(str(type(thing).__module__).startswith("sts_async") for thing in gc.get_objects())


async def test_identities_that_come_and_go_leave_no_budget_and_no_lane(watched: None, clock: VirtualClock) -> None:
    """Also those that are obtained through others: each of these has a lane of its own."""
    from sts_async.fleet import ChainedRequest

    service = Service(clock)
    async with open_fleet(service, clock, max_on_demand=2) as fleet:
        for number in range(200):
            await fleet.get(ChainedRequest(role(1), source=role(number)))
        await settled(fleet)

        assert fleet.snapshot().on_demand <= 4
        assert len(fleet.snapshot().budgets) == 2, "of the account of the client, and of the account of the sources"
        assert held_by(fleet)["Entry"] <= 10
        assert held_by(fleet)["Lane"] <= 10
