"""`snapshot`: its counts equal a recount, and each change of state is one event."""

import asyncio
from typing import Any

from fleet.fleets import (
    Service,
    Source,
    changes,
    entry_of,
    open_fleet,
    outcome_of,
    pass_time,
    role,
    roles,
    settled,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from patience import PatientLoop

from sts_async.errors import ConnectError
from sts_async.fleet import CredentialsFleet, IdentityState
from sts_async.testing import LocalSTS, VirtualClock

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["add", "remove", "get", "peek", "pause", "resume", "break", "mend"]), st.integers(0, 5)
        ),
        st.tuples(st.just("pause all"), st.just(0)),
        st.tuples(st.just("resume all"), st.just(0)),
        st.tuples(st.just("time"), st.sampled_from([1, 60, 400, 2000, 4000])),
    ),
    max_size=25,
)


def recount(fleet: CredentialsFleet) -> dict[str, int]:
    """Count all that a snapshot counts, from the entries themselves."""
    entries = fleet._entries.by_identity.values()
    counts = {state.value: 0 for state in IdentityState}
    ended = 0
    for entry in entries:
        if entry.status is IdentityState.FRESH and fleet._monotonic() >= entry.state.ends.monotonic:
            ended += 1  # while the fleet or the identity is paused
        else:
            counts[entry.status.value] += 1
    kept = sum(entry.kept for entry in entries)
    return {**counts, "ended": ended, "kept": kept, "on_demand": len(entries) - kept}


async def take(step: tuple[str, int], fleet: CredentialsFleet, clock: VirtualClock, sources: list[Source]) -> None:
    name, number = step
    match name:
        case "time":
            await pass_time(fleet, clock, number)
        case "pause all":
            fleet.pause()
        case "resume all":
            fleet.resume()
        case "break":
            sources[number].outcome = ConnectError("refused")
        case "mend":
            sources[number].outcome = None
        case "get":
            await outcome_of(lambda: fleet.get(sources[number]))
        case _:
            getattr(fleet, name)(sources[number])


@settings(max_examples=40)
@given(steps=STEPS)
@example(steps=[("add", 0), ("pause all", 0), ("time", 4000)])
def test_the_counts_of_a_snapshot_equal_a_recount_after_any_steps(steps: list[tuple[str, int]]) -> None:
    """The states follow from what callers get: a state that serves has credentials, and the others have none."""

    async def run() -> None:
        clock = VirtualClock(start=1_767_225_600.0)
        sources = [Source(clock, number) for number in range(6)]
        async with open_fleet(Service(clock), clock, max_on_demand=3, idle_seconds=1500) as fleet:
            for step in steps:
                await take(step, fleet, clock, sources)
                await settled(fleet)
                snapshot = fleet.snapshot()
                assert {name: getattr(snapshot, name) for name in recount(fleet)} == recount(fleet)
                assert snapshot.refreshing == snapshot.queued == 0
                assert snapshot.on_demand <= 3 + snapshot.paused
                assert len(fleet.failing()) == snapshot.stale + snapshot.failing
                for identity in fleet.failing():
                    serves = identity.state is IdentityState.STALE
                    assert serves == (entry_of(fleet, identity.identity).state.credentials is not None)

    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(run())


async def test_a_snapshot_tells_the_times_and_the_use_of_each_budget(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock, requests_per_second=100) as fleet:
        fleet.add(*roles(3))
        await fleet.warm_up()
        clock.advance(600)
        await settled(fleet)
        snapshot = fleet.snapshot()
        (budget,) = snapshot.budgets
        due = snapshot.next_due

        assert (snapshot.oldest, snapshot.soonest_end) == (600.0, 3000.0)
        assert due is not None
        assert 0 < due < 3000 - 60
        assert budget.scope.startswith("123456789012/")
        assert (budget.sent, budget.throttled, budget.limit) == (3, 0, 100)
        clock.advance(due)
        await settled(fleet)
        assert fleet.snapshot().budgets[0].sent == 4


async def test_an_empty_fleet_has_a_snapshot(server: LocalSTS, clock: VirtualClock) -> None:
    async with open_fleet(server, clock) as fleet:
        snapshot = fleet.snapshot()

    assert (snapshot.next_due, snapshot.oldest, snapshot.soonest_end, snapshot.budgets) == (None, None, None, ())
    assert snapshot.kept == snapshot.on_demand == snapshot.restarts == 0


async def test_each_change_of_state_is_one_event(server: LocalSTS, clock: VirtualClock) -> None:
    events: list[Any] = []
    async with open_fleet(server, clock, client={"observers": [events.append]}) as fleet:
        fleet.add(role())
        await fleet.warm_up()
        fleet.pause(role())
        fleet.resume(role())
        fleet.remove(role())

    assert changes(events) == [
        (None, "waiting"),
        ("waiting", "fresh"),
        ("fresh", "paused"),
        ("paused", "fresh"),
        ("fresh", None),
    ]
    assert {event.identity for event in events if hasattr(event, "before")} == {
        "role 'arn:aws:iam::123456789012:role/role-0' (session 'me')"
    }
    assert {event.source for event in events if hasattr(event, "access_key_id")} == {"CredentialsFleet"}
