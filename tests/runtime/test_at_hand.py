"""Credentials that are at hand are not awaited, and a coroutine that a provider overrides is never bypassed."""

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
    """A subclass of the program that overrides the coroutine."""

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        return OTHER


class OverridingRefresh(RefreshingProvider):
    """A subclass of the cache that overrides the coroutine."""

    async def fetch(self, context: ProviderContext) -> Credentials:
        return KEYS

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        await super().provide_credentials(context)
        return OTHER


class Extending(StaticProvider):
    """A subclass that does not override the coroutine."""

    name = "extended"


@pytest.mark.parametrize("provider", [StaticProvider(KEYS), Extending(KEYS)])
def test_a_provider_of_the_library_has_credentials_at_hand(provider: Any) -> None:
    assert at_hand_of(provider)(None) is KEYS


@pytest.mark.parametrize("provider", [Overriding(KEYS), OverridingRefresh(), object(), None])
def test_a_provider_that_overrides_the_coroutine_is_awaited(provider: Any) -> None:
    """An inherited `_at_hand` would bypass the override."""
    assert at_hand_of(provider) is nothing_at_hand
    assert at_hand_of(provider)(None) is None


def test_a_coroutine_that_is_set_on_an_object_is_awaited() -> None:
    """The tests of a program may replace it in this way."""
    provider: Any = StaticProvider(KEYS)
    provider.provide_credentials = Overriding(KEYS).provide_credentials

    assert at_hand_of(provider) is nothing_at_hand


@pytest.mark.parametrize("chained", [False, True])
async def test_calls_are_signed_with_the_credentials_of_an_override(raw_server: Any, *, chained: bool) -> None:
    """This includes warm calls and providers in a chain."""
    provider: Any = OverridingRefresh()
    server: RawServer = await raw_server(http("<GetCallerIdentityResponse/>"))
    source = ProviderChain(provider) if chained else provider
    async with STSClient(region="eu-west-1", endpoint_url=server.url, credentials=source) as sts:
        for _ in range(3):
            with pytest.raises(Exception, match="GetCallerIdentityResult"):
                await sts.get_caller_identity()

    assert len(server.requests) == 3
    assert all(OTHER.access_key_id.encode() in request for request in server.requests)


async def test_expired_static_credentials_are_refused() -> None:
    """Expired credentials are not at hand, so the coroutine raises the error."""
    past = datetime.now(UTC) - timedelta(days=2)
    ended = Credentials(access_key_id="ASIAEXAMPLE", secret_access_key="SENTINEL-secret", expiration=past)
    async with LocalSTS() as server, server.client(credentials=ended) as sts:
        for _ in range(2):
            with pytest.raises(CredentialsExpired):
                await sts.get_caller_identity()


async def test_a_cache_is_awaited_when_its_credentials_are_about_to_expire() -> None:
    """Until then, nothing is awaited or fetched."""
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


async def test_a_provider_that_returns_no_credentials_is_named_in_the_error() -> None:
    """A provider of the program has no credentials at hand, so the result of its coroutine is checked."""

    class Wrong:
        async def provide_credentials(self, context: Any) -> Any:
            return {"access_key_id": "AKIA"}

    async with LocalSTS() as server, server.client(credentials=Wrong()) as sts:
        with pytest.raises(CredentialsError, match=r"Wrong\.provide_credentials"):
            await sts.get_caller_identity()


async def test_a_coroutine_that_a_test_replaces_later_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that replaces the credentials must never send the real ones."""
    provider = StaticProvider(KEYS)
    at_hand = at_hand_of(provider)
    assert at_hand(None) is KEYS

    monkeypatch.setattr(provider, "provide_credentials", Overriding(KEYS).provide_credentials)
    assert at_hand(None) is None


def test_a_coroutine_that_a_test_replaces_in_the_class_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The method is marked for one coroutine, and for no other."""
    monkeypatch.setattr(StaticProvider, "provide_credentials", Overriding.provide_credentials)

    assert at_hand_of(StaticProvider(KEYS)) is nothing_at_hand
