"""Credentials that are at hand are not awaited, and no provider's own coroutine is passed by."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import KEYS, RawServer, http

from sts_async import ProviderChain, StaticProvider, STSClient
from sts_async._runtime.at_hand import at_hand_of, nothing_at_hand
from sts_async.credentials import CachingProvider, RefreshingProvider
from sts_async.errors import CredentialsError, CredentialsExpired
from sts_async.protocols import ProviderContext
from sts_async.shapes import Credentials
from sts_async.testing import LocalSTS, VirtualClock

OTHER = Credentials(access_key_id="AKIAIOSFODNN7OTHER00", secret_access_key="SENTINEL-other")


class Overriding(StaticProvider):
    """A subclass of the program's own, with a coroutine of its own."""

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        return OTHER


class OverridingRefresh(RefreshingProvider):
    """Likewise, above a cache."""

    async def fetch(self, context: ProviderContext) -> Credentials:
        return KEYS

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        await super().provide_credentials(context)
        return OTHER


class Extending(StaticProvider):
    """A subclass that leaves the coroutine as it is."""

    name = "extended"


@pytest.mark.parametrize("provider", [StaticProvider(KEYS), Extending(KEYS)])
def test_a_provider_of_the_library_has_credentials_at_hand(provider: Any) -> None:
    assert at_hand_of(provider)(None) is KEYS


@pytest.mark.parametrize("provider", [Overriding(KEYS), OverridingRefresh(), object(), None])
def test_what_overrides_the_coroutine_is_awaited(provider: Any) -> None:
    """An inherited `_at_hand` would pass the override by."""
    assert at_hand_of(provider) is nothing_at_hand
    assert at_hand_of(provider)(None) is None


def test_what_replaces_the_coroutine_of_one_object_is_awaited() -> None:
    """As a test of a program may do."""
    provider: Any = StaticProvider(KEYS)
    provider.provide_credentials = Overriding(KEYS).provide_credentials

    assert at_hand_of(provider) is nothing_at_hand


@pytest.mark.parametrize("chained", [False, True])
async def test_calls_are_signed_with_what_an_override_provides(raw_server: Any, *, chained: bool) -> None:
    """Warm calls too, and behind a chain."""
    provider: Any = OverridingRefresh()
    server: RawServer = await raw_server(http("<GetCallerIdentityResponse/>"))
    source = ProviderChain(provider) if chained else provider
    async with STSClient(region="eu-west-1", endpoint_url=server.url, credentials=source) as sts:
        for _ in range(3):
            with pytest.raises(Exception, match="GetCallerIdentityResult"):
                await sts.get_caller_identity()

    assert len(server.requests) == 3
    assert all(OTHER.access_key_id.encode() in request for request in server.requests)


async def test_static_credentials_that_have_ended_are_refused() -> None:
    """They are not at hand then, and the coroutine says why."""
    past = datetime.now(UTC) - timedelta(days=2)
    ended = Credentials(access_key_id="ASIAEXAMPLE", secret_access_key="SENTINEL-secret", expiration=past)
    async with LocalSTS() as server, server.client(credentials=ended) as sts:
        for _ in range(2):
            with pytest.raises(CredentialsExpired):
                await sts.get_caller_identity()


async def test_a_cache_is_asked_by_coroutine_when_its_credentials_are_about_to_end() -> None:
    """Until then, nothing is awaited and nothing fetched."""
    clock, fetched = VirtualClock(), list[float]()

    async def source() -> Credentials:
        fetched.append(clock.time())
        expiration = datetime.fromtimestamp(clock.time() + 3600, UTC)
        return Credentials(access_key_id="ASIAEXAMPLE", secret_access_key="SENTINEL-secret", expiration=expiration)

    provider = CachingProvider(source)
    async with STSClient(region="eu-west-1", credentials=provider, clock=clock) as sts:
        context = (await sts._ready())[0].context
        assert at_hand_of(provider)(context) is None
        first = await sts.get_credentials()
        assert at_hand_of(provider)(context) is first
        clock.advance(3595)
        assert at_hand_of(provider)(context) is None
        assert await sts.get_credentials() != first

    assert len(fetched) == 2


async def test_a_provider_that_returns_something_else_is_told_so() -> None:
    """A provider of the program has nothing at hand: what its coroutine returns is checked."""

    class Wrong:
        async def provide_credentials(self, context: Any) -> Any:
            return {"access_key_id": "AKIA"}

    async with LocalSTS() as server, server.client(credentials=Wrong()) as sts:
        with pytest.raises(CredentialsError, match=r"Wrong\.provide_credentials"):
            await sts.get_caller_identity()
