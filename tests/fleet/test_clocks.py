"""F51, F52: the wall clock is set, and the machine is suspended. A fleet checks both clocks."""

import asyncio

import pytest
from fleet.fleets import HOUR, Service, Source, open_fleet, pass_time, settled
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PatientLoop, soon

from sts_async.testing import VirtualClock


@pytest.mark.parametrize("hours", [1, 12, 24 * 365])
async def test_after_a_suspend_the_first_caller_waits_for_new_credentials(
    watched: None, clock: VirtualClock, hours: int
) -> None:
    """F52: the monotonic clock does not count the time of a suspend, and the wall clock does."""
    source = Source(clock)
    async with open_fleet(Service(clock), clock) as fleet:
        before = await fleet.get(source)
        clock.set(clock.time() + hours * HOUR)
        assert fleet.peek(source) is None
        assert await soon(fleet.get(source)) != before

    assert source.fetched == 2


async def test_after_a_suspend_kept_identities_are_refreshed_within_half_a_minute(
    watched: None, clock: VirtualClock
) -> None:
    """F52: the timer of the event loop cannot see the jump, so the fleet looks at the clocks every 30 s."""
    sources = [Source(clock, number) for number in range(20)]
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(*sources)
        await fleet.warm_up()
        clock.set(clock.time() + 12 * HOUR)
        await pass_time(fleet, clock, 30)

        assert all(fleet.peek(source) for source in sources)
        assert {source.fetched for source in sources} == {2}


async def test_setting_the_clock_back_extends_no_life(watched: None, clock: VirtualClock) -> None:
    """F51."""
    source, unused = Source(clock, 1), Source(clock, 2)
    async with open_fleet(Service(clock), clock, idle_seconds=24 * HOUR) as fleet:
        fleet.add(source)
        await fleet.warm_up()
        await fleet.get(unused)
        clock.set(clock.time() - 12 * HOUR)
        await pass_time(fleet, clock, HOUR)

        assert source.fetched == 2
        assert fleet.peek(unused) is None
        await soon(fleet.get(unused))
        assert unused.fetched == 2


async def test_a_jump_forward_within_the_life_refreshes_when_the_earlier_clock_says_so(
    watched: None, clock: VirtualClock
) -> None:
    """F51."""
    source = Source(clock)
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(source)
        await fleet.warm_up()
        clock.set(clock.time() + HOUR - 240)
        await pass_time(fleet, clock, 31)

        assert source.fetched == 2


async def test_a_pause_after_a_failure_ends_when_one_of_the_clocks_says_so(watched: None, clock: VirtualClock) -> None:
    """F51: a clock that was set back by years must not keep an identity from its next attempt."""
    from sts_async.errors import ConnectError

    source = Source(clock)
    source.outcome = ConnectError("refused")
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(source)
        await fleet.warm_up()
        clock.set(clock.time() - 365 * 24 * HOUR)
        source.outcome = None
        await pass_time(fleet, clock, 60)
        assert source.fetched == 2
        assert fleet.snapshot().fresh == 1


JUMPS = st.lists(
    st.tuples(st.sampled_from(["wall", "time"]), st.sampled_from([-40_000, -3000, -61, -1, 1, 61, 500, 3000, 5000])),
    max_size=6,
)


@settings(max_examples=20)
@given(jumps=JUMPS)
def test_no_caller_gets_credentials_that_one_of_the_clocks_has_ended(jumps: list[tuple[str, int]]) -> None:
    """F51, F52: for any jumps, as long as a refresh is possible. Kept identities catch up within half a minute."""

    async def run() -> None:
        clock = VirtualClock(start=1_767_225_600.0)
        source, kept = Source(clock, 1), Source(clock, 2)
        issued_at: dict[str, float] = {}
        async with open_fleet(Service(clock), clock, idle_seconds=1e9) as fleet:
            fleet.add(kept)
            for kind, seconds in jumps:
                if kind == "wall":
                    clock.set(clock.time() + seconds)
                else:
                    await pass_time(fleet, clock, abs(seconds))
                fetched = source.fetched
                found = await soon(fleet.get(source))
                assert found.expiration is not None
                if source.fetched > fetched and found.access_key_id not in issued_at:
                    issued_at[found.access_key_id] = clock.monotonic()
                began = issued_at.setdefault(found.access_key_id, clock.monotonic())
                assert found.expiration.timestamp() > clock.time()
                assert clock.monotonic() - began < HOUR + 61
            await pass_time(fleet, clock, 31)
            await settled(fleet)
            assert fleet.peek(kept) is not None
            assert fleet.snapshot().failing == fleet.snapshot().stale == 0

    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(run())
