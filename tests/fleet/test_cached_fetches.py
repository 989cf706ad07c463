"""A fleet with a shared cache: when it asks the cache, when it asks the service, and the effect of a broken cache."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from fleet.fleets import HOUR, Service, Source, entry_of, is_busy, open_fleet, pass_time, role, roles, settled
from patience import soon, turns, until
from support import KEYS

from sts_async import Credentials
from sts_async.errors import ServiceError
from sts_async.events import CredentialsInvalidated, Event
from sts_async.fleet import CachedCredentials, CacheKey, CacheUser, ChainedRequest
from sts_async.testing import VirtualClock


@attrs.define
class Memory:
    """
    A cache in this process.

    Attributes:
        entries: The cached credentials by digest.
        calls: The calls in order.
        broken: Names of the calls that raise.
        leases: Whether a caller gets the lease.
    """

    entries: dict[str, CachedCredentials] = attrs.field(factory=dict)
    calls: list[str] = attrs.field(factory=list)
    broken: set[str] = attrs.field(factory=set)
    leases: bool = True
    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise OSError("SENTINEL")

    async def load(self, key: CacheKey) -> CachedCredentials | None:
        self._called("load")
        return self.entries.get(key.digest)

    async def store(self, key: CacheKey, cached: CachedCredentials) -> None:
        self._called("store")
        self.entries[key.digest] = cached

    @asynccontextmanager
    async def lease(self, key: CacheKey) -> AsyncIterator[bool]:
        self._called("lease")
        async with self.lock:
            yield self.leases
        self._called("release")


async def test_the_service_is_asked_once_for_all_fleets_that_share_a_cache(watched: None, clock: VirtualClock) -> None:
    cache, service = Memory(), Service(clock)
    found: list[list[Credentials]] = []
    for _ in range(3):
        async with open_fleet(service, clock, cache=cache) as fleet:
            found.append([await fleet.get(one) for one in roles(5)])

    assert found[0] == found[1] == found[2]
    assert set(service.sent.values()) == {1}
    assert cache.calls[:5] == ["load", "lease", "load", "store", "release"]
    assert cache.calls[-1] == "load", "a hit takes no lease"


async def test_credentials_from_the_cache_need_no_time_of_the_budget(watched: None, clock: VirtualClock) -> None:
    """Each look-up gives its token back at once. A process that finds everything has a small share of a budget."""
    cache, service = Memory(), Service(clock)
    async with open_fleet(service, clock, cache=cache) as fleet:
        fleet.add(*roles(50))
        await soon(fleet.warm_up())
    async with open_fleet(service, clock, cache=cache, requests_per_second=1) as fleet:
        fleet.add(*roles(50))
        await soon(fleet.warm_up())
        assert fleet.snapshot().fresh == 50

    assert clock.monotonic() == 0
    assert service.sent.total() == 50


async def test_fleets_that_need_an_identity_at_once_make_one_request(watched: None, clock: VirtualClock) -> None:
    """The second one finds the credentials after it got the lease."""
    cache, service = Memory(), Service(clock)
    async with open_fleet(service, clock, cache=cache) as one, open_fleet(service, clock, cache=cache) as other:
        found = await soon(asyncio.gather(*(fleet.get(role()) for fleet in (one, other, one, other))))

    assert len({credentials.access_key_id for credentials in found}) == 1
    assert service.sent.total() == 1


async def test_cached_credentials_in_their_advisory_window_are_refreshed(watched: None, clock: VirtualClock) -> None:
    cache, service = Memory(), Service(clock)
    async with open_fleet(service, clock, cache=cache) as fleet:
        before = await fleet.get(role())
    clock.advance(HOUR - 300)
    async with open_fleet(service, clock, cache=cache) as fleet:
        assert await fleet.get(role()) != before

    assert service.sent.total() == 2


@pytest.mark.parametrize(("code", "served"), [("ServiceUnavailable", True), ("AccessDenied", False)])
async def test_cached_credentials_serve_in_an_outage_and_not_after_a_refusal(
    watched: None, clock: VirtualClock, code: str, served: bool
) -> None:
    cache, service = Memory(), Service(clock)
    async with open_fleet(service, clock, cache=cache) as fleet:
        before = await fleet.get(role())
    clock.advance(HOUR - 300)
    service.refusals[role().role_arn] = code
    async with open_fleet(service, clock, cache=cache) as fleet:
        if served:
            assert await soon(fleet.get(role())) == before
        else:
            with pytest.raises(ServiceError, match=code):
                await soon(fleet.get(role()))


async def test_a_refused_key_is_not_taken_from_the_cache_again(watched: None, clock: VirtualClock) -> None:
    cache, service = Memory(), Service(clock)
    async with open_fleet(service, clock, cache=cache) as fleet:
        provider: Any = fleet.provider(role())
        held = await fleet.get(role())
        provider.invalidate(held.access_key_id)
        renewed = await fleet.get(role())
        assert renewed != held
    async with open_fleet(service, clock, cache=cache) as other:
        assert await other.get(role()) == renewed

    assert service.sent.total() == 2


async def test_a_kept_identity_takes_the_credentials_that_another_process_has_renewed(
    watched: None, clock: VirtualClock
) -> None:
    """So any number of processes with the same identities makes as many requests as one process."""
    cache, service = Memory(), Service(clock)
    async with open_fleet(service, clock, cache=cache) as one, open_fleet(service, clock, cache=cache) as other:
        for fleet in (one, other):
            fleet.add(role())
            await fleet.warm_up()
        for _ in range(24):
            await pass_time(one, clock, HOUR / 4)
            await settled(other)
            assert one.snapshot().fresh == other.snapshot().fresh == 1

    assert service.sent.total() <= 12


@pytest.mark.parametrize("broken", ["load", "store", "lease", "release"])
async def test_a_cache_that_fails_is_one_warning_and_no_failure(
    watched: None, clock: VirtualClock, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    cache, service = Memory(broken={broken}), Service(clock)
    with caplog.at_level(logging.WARNING, logger="sts_async"):
        async with open_fleet(service, clock, cache=cache) as fleet:
            for one in roles(5):
                assert isinstance(await soon(fleet.get(one)), Credentials)
            assert fleet.failing() == []

    assert [record.getMessage() for record in caplog.records] == [
        "the cache of the fleet failed with OSError; credentials are fetched without it"
    ]
    assert service.sent.total() == 5


async def test_a_caller_without_a_lease_fetches_anyway(watched: None, clock: VirtualClock) -> None:
    cache, service = Memory(leases=False), Service(clock)
    async with open_fleet(service, clock, cache=cache) as fleet:
        await soon(fleet.get(role()))

    assert service.sent.total() == 1


async def test_credentials_are_shared_by_the_same_signer_or_the_same_namespace_only(
    watched: None, clock: VirtualClock
) -> None:
    """T42: the key of the cache has the access key id of the client, or the namespace in its place."""
    other_keys = Credentials(access_key_id="AKIAOTHER", secret_access_key="x")
    requests = []
    for namespaces in ((None, None), ("same", "same"), ("one", "two")):
        cache, service = Memory(), Service(clock)
        for keys, namespace in zip((KEYS, other_keys), namespaces, strict=True):
            async with open_fleet(
                service, clock, client={"credentials": keys}, cache=cache, cache_namespace=namespace
            ) as fleet:
                await fleet.get(role())
        requests.append(service.sent.total())

    assert requests == [2, 1, 2]


async def test_a_chain_is_cached_by_the_whole_chain(watched: None, clock: VirtualClock) -> None:
    """T42: the same role through another source is another entry. A provider as the source is not cached."""
    cache, service = Memory(), Service(clock)
    chains = [ChainedRequest(role(9), source=role(number)) for number in (1, 2)]
    for _ in range(2):
        async with open_fleet(service, clock, cache=cache) as fleet:
            found = [await fleet.get(chain) for chain in chains]
            assert found[0] != found[1]
            await fleet.get(ChainedRequest(role(9), source=Source(clock)))

    assert len(cache.entries) == 4
    assert service.sent[role(9).role_arn] == 2 + 2
    assert service.sent[role(1).role_arn] == service.sent[role(2).role_arn] == 1


async def test_a_cache_of_an_hour_ago_costs_as_many_requests_as_none(watched: None, clock: VirtualClock) -> None:
    cache, service = Memory(), Service(clock)
    for _ in range(2):
        async with open_fleet(service, clock, cache=cache) as fleet:
            fleet.add(*roles(5))
            await soon(fleet.warm_up())
            assert fleet.snapshot().fresh == 5
        clock.advance(HOUR + 1)

    assert set(service.sent.values()) == {2}


async def test_the_process_that_fetched_says_when_it_will_refresh(watched: None, clock: VirtualClock) -> None:
    """The others look for the new credentials up to a minute later: each of these lives makes one request."""
    cache, service = Memory(), Service(clock)
    async with AsyncExitStack() as stack:
        fleets = [await stack.enter_async_context(open_fleet(service, clock, cache=cache)) for _ in range(8)]
        for fleet in fleets:
            fleet.add(role())
            await fleet.warm_up()
        dues = [datetime.fromtimestamp(entry_of(fleet, role()).planned.wall, UTC) for fleet in fleets]
        [cached] = cache.entries.values()

        assert cached.refresh_after == dues[0]
        assert all(0 < (due - dues[0]).total_seconds() <= 60 for due in dues[1:])
        assert len({*dues}) == 8, "they do not all look at once"


async def test_four_processes_make_as_many_requests_as_one(watched: None, clock: VirtualClock) -> None:
    async def requests_of(processes: int) -> int:
        cache, service = Memory(), Service(clock)
        async with AsyncExitStack() as stack:
            fleets = [
                await stack.enter_async_context(open_fleet(service, clock, cache=cache)) for _ in range(processes)
            ]
            for fleet in fleets:
                fleet.add(*roles(6))
            for _ in range(6 * 12):
                await pass_time(fleets[0], clock, HOUR / 12)
                for fleet in fleets:
                    await settled(fleet)
        return service.sent.total()

    assert await requests_of(4) <= 1.05 * await requests_of(1)


async def test_if_the_process_that_fetched_has_ended_another_one_refreshes(watched: None, clock: VirtualClock) -> None:
    cache, service = Memory(), Service(clock)
    async with open_fleet(service, clock, cache=cache) as fleet:
        async with open_fleet(service, clock, cache=cache) as ended:
            await ended.get(role())
        fleet.add(role())
        await fleet.warm_up()
        assert service.sent.total() == 1
        [cached] = cache.entries.values()
        assert cached.refresh_after is not None

        await pass_time(fleet, clock, cached.refresh_after.timestamp() + 60 - clock.time())
        assert service.sent.total() == 2


async def test_cached_credentials_that_end_before_those_in_memory_are_not_taken(
    watched: None, clock: VirtualClock
) -> None:
    """Otherwise an old entry, which somebody has put back, would replace newer credentials."""
    cache, service = Memory(), Service(clock)
    async with open_fleet(service, clock, cache=cache) as fleet:
        fleet.add(role(duration_seconds=43_200))
        await fleet.warm_up()
        [(digest, old)] = cache.entries.items()
        await pass_time(fleet, clock, 11 * HOUR)  # it was refreshed
        renewed = await fleet.get(role(duration_seconds=43_200))
        cache.entries[digest] = attrs.evolve(
            old, credentials=attrs.evolve(old.credentials, expiration=renewed.expiration - timedelta(seconds=1))
        )
        await pass_time(fleet, clock, 12 * HOUR)

        assert (await fleet.get(role(duration_seconds=43_200))).expiration > renewed.expiration


async def test_while_a_lease_is_held_elsewhere_other_identities_have_the_place_and_the_token(
    watched: None, clock: VirtualClock
) -> None:
    other = asyncio.Lock()

    class Partly(Memory):
        """A cache in which another process has the lease of the first identity."""

        @asynccontextmanager
        async def lease(self, key: CacheKey) -> AsyncIterator[bool]:
            async with other if key.request == role() else asyncio.Lock():
                yield True

    service = Service(clock)
    async with other, open_fleet(service, clock, cache=Partly(), concurrency=1, requests_per_second=1) as fleet:
        waiting = asyncio.create_task(fleet.get(role()))
        await until(lambda: is_busy(fleet))
        following = asyncio.create_task(fleet.get(role(1)))
        clock.advance(0.4)
        await turns(20)
        assert not following.done(), "the only worker waits for the lease"

        clock.advance(2.0)
        await soon(following)
        assert not waiting.done()
        other.release()
        try:
            clock.advance(2.0)
            await until(lambda: not is_busy(fleet))
            assert isinstance(await soon(waiting), Credentials)
            assert fleet._refresher is not None
            assert [pool._size for pool in fleet._refresher.pools] == [1, 1]
        finally:
            await other.acquire()


class Sharing(Memory):
    """A cache that joins each fleet."""

    def __init__(self, *, broken: str = "") -> None:
        super().__init__(broken={broken})
        self.users: list[CacheUser] = []

    async def join(self, user: CacheUser) -> None:
        self._called("join")
        self.users.append(user)

    async def leave(self, user: CacheUser) -> None:
        self._called("leave")
        self.users.remove(user)


async def test_a_cache_learns_the_demand_and_sets_the_shares(watched: None, clock: VirtualClock) -> None:
    cache, service = Sharing(), Service(clock)
    events: list[Event] = []
    async with open_fleet(
        service, clock, cache=cache, requests_per_second=100, concurrency=1, client={"observers": [events.append]}
    ) as fleet:
        [user] = cache.users
        user.set_shares({}, others=0.02)
        fleet.add(*roles(10))
        await pass_time(fleet, clock, 0.1)
        [budget] = fleet.snapshot().budgets
        demand = user.demand()

        assert budget.limit == 2.0
        assert budget.sent < 10
        assert demand == {budget.scope: 10}
        user.set_shares({budget.scope: 1.0}, others=0.02)
        await settled(fleet)
        await pass_time(fleet, clock, 1.0)
        assert fleet.snapshot().fresh == 10, "a larger share ends the wait at once"
        marker = CredentialsInvalidated(operation="AssumeRole", access_key_id="AKIAEXAMPLE", code="ExpiredToken")
        user.notify(marker)
        assert marker in events
        assert user.demand() == {budget.scope: 10 - budget.sent}
    assert cache.users == []


async def test_credentials_from_the_cache_do_not_wait_for_the_budget(watched: None, clock: VirtualClock) -> None:
    """A process that finds all in the cache sends no request, so its part of the budget stays the smallest."""
    cache, service = Sharing(), Service(clock)
    async with open_fleet(service, clock, cache=cache) as fleet:
        fleet.add(*roles(30))
        await fleet.warm_up()
    async with open_fleet(service, clock, cache=cache, requests_per_second=1) as fleet:
        [user] = cache.users
        user.set_shares({}, others=0.01)
        fleet.add(*roles(30))
        await settled(fleet)

        assert fleet.snapshot().fresh == 30
        assert service.sent.total() == 30


@pytest.mark.parametrize("broken", ["join", "leave"])
async def test_a_cache_that_fails_to_join_or_leave_is_a_warning(
    watched: None, clock: VirtualClock, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    cache, service = Sharing(broken=broken), Service(clock)
    with caplog.at_level(logging.WARNING, logger="sts_async"):
        async with open_fleet(service, clock, cache=cache) as fleet:
            assert isinstance(await soon(fleet.get(role())), Credentials)

    assert [record.getMessage() for record in caplog.records] == [
        f"the cache of the fleet failed in {broken} with OSError"
    ]
