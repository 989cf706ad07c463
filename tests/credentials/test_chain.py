"""Chains of sources: when the search continues, when it ends, and the result of each source."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from patience import LOOK
from support import KEYS

from sts_async import credentials
from sts_async._engine.loop import Engine
from sts_async.credentials import EnvironmentProvider, Finding, ProviderChain, RefreshingProvider
from sts_async.errors import ConfigurationError, CredentialsError, CredentialsNotFound, STSError, ThrottlingError
from sts_async.protocols import ProviderContext
from sts_async.shapes import Credentials

THROTTLED = ThrottlingError("Rate exceeded", code="Throttling", status=400)


class Answering:
    """A source that always returns the same credentials, or raises the same error."""

    def __init__(self, outcome: Credentials | STSError, name: str = "") -> None:
        self.outcome = outcome
        self.asked = 0
        self.name = name or type(outcome).__name__
        self.refused: list[str] = []

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.outcome, STSError):
            raise self.outcome
        return self.outcome

    def invalidate(self, access_key_id: str) -> None:
        self.refused.append(access_key_id)


def nothing(text: str = "X is not set") -> Answering:
    return Answering(CredentialsNotFound(text), "empty")


async def test_a_source_that_is_not_configured_is_skipped(context: Engine) -> None:
    first, second, third = nothing(), Answering(KEYS), Answering(KEYS)

    assert await ProviderChain(first, second, third).provide_credentials(context) is KEYS
    assert (first.asked, second.asked, third.asked) == (1, 1, 0)


@pytest.mark.parametrize(
    "error", [THROTTLED, CredentialsError("half set"), ConfigurationError("contradiction")], ids=repr
)
async def test_a_source_that_is_configured_and_fails_ends_the_search(context: Engine, error: STSError) -> None:
    """Continuing would use another identity: after one throttled call, a fleet once ran with the role of its nodes."""
    last = Answering(KEYS)
    chain = ProviderChain(nothing(), Answering(error), last)

    with pytest.raises(type(error), match=str(error).split(" (")[0]):
        await chain.provide_credentials(context)
    assert last.asked == 0


async def test_without_credentials_the_error_says_what_each_source_looked_for(context: Engine) -> None:
    chain = ProviderChain(EnvironmentProvider({}), nothing("no file"))

    with pytest.raises(CredentialsNotFound) as caught:
        await chain.provide_credentials(context)
    assert str(caught.value) == (
        "no credentials found (`sts-async doctor` explains why); "
        "environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; empty: no file"
    )


async def test_after_the_search_only_the_found_source_is_asked(context: Engine) -> None:
    first, second = nothing(), Answering(KEYS)
    chain = ProviderChain(first, second)
    for _ in range(5):
        await chain.provide_credentials(context)
    first.outcome = KEYS
    await chain.provide_credentials(context)

    assert (first.asked, second.asked) == (1, 6)


async def test_the_chain_searches_again_when_its_source_is_no_longer_configured(context: Engine) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "SENTINEL-env"}
    chain = ProviderChain(EnvironmentProvider(environ), KEYS)
    assert (await chain.provide_credentials(context)).access_key_id == "AKIAENV"
    environ.clear()

    assert await chain.provide_credentials(context) is KEYS


async def test_an_error_of_the_found_source_does_not_start_another_search(context: Engine) -> None:
    first, second = Answering(KEYS), Answering(KEYS)
    chain = ProviderChain(first, second)
    await chain.provide_credentials(context)
    first.outcome = THROTTLED

    with pytest.raises(ThrottlingError):
        await chain.provide_credentials(context)
    assert second.asked == 0


@pytest.mark.parametrize("last", [KEYS, CredentialsNotFound("nothing"), THROTTLED], ids=repr)
async def test_ten_thousand_callers_cause_one_search(context: Engine, last: Credentials | STSError) -> None:
    first, second = nothing(), Answering(last)
    chain = ProviderChain(first, second)
    results = await asyncio.gather(*(chain.provide_credentials(context) for _ in range(10_000)), return_exceptions=True)

    assert (first.asked, second.asked) == (1, 1)
    assert {type(result) for result in results} == {type(last)}


async def test_a_chain_in_a_chain_is_a_source(context: Engine) -> None:
    inner = ProviderChain(nothing("inside"))

    assert await ProviderChain(inner, KEYS).provide_credentials(context) is KEYS


async def test_a_refused_key_is_passed_to_the_source_in_use(context: Engine) -> None:
    source = Answering(KEYS)
    chain = ProviderChain(nothing(), source, Answering(KEYS))
    chain.invalidate("AKIAEARLY")
    await chain.provide_credentials(context)
    chain.invalidate("AKIAREFUSED")

    assert source.refused == ["AKIAREFUSED"]
    plain = ProviderChain(KEYS)
    await plain.provide_credentials(context)
    plain.invalidate("AKIAREFUSED")  # a static source has no others


async def test_findings_have_the_result_of_every_source(context: Engine) -> None:
    """This includes the sources after the one that is used."""
    ends: Any = Credentials(
        access_key_id="ASIAENDS",
        secret_access_key="SENTINEL-ends",
        expiration=datetime(2026, 1, 1, 1, tzinfo=UTC),
    )
    chain = ProviderChain(nothing(), Answering(ends, "role"), Answering(THROTTLED, "metadata"), KEYS)

    assert await chain.findings(context) == (
        Finding(source="empty", outcome="not configured", detail="X is not set"),
        Finding(source="role", outcome="found", detail="ASIAENDS, until 2026-01-01 01:00:00 UTC", used=True),
        Finding(source="metadata", outcome="failed", detail="ThrottlingError: Throttling: Rate exceeded (HTTP 400)"),
        Finding(source="static", outcome="found", detail="AKIAIOSFODNN7EXAMPLE, does not expire"),
    )


async def test_no_source_after_a_failed_one_is_used(context: Engine) -> None:
    findings = await ProviderChain(Answering(THROTTLED), KEYS).findings(context)

    assert [finding.used for finding in findings] == [False, False]


def test_a_chain_needs_a_source() -> None:
    with pytest.raises(ConfigurationError, match="at least one"):
        ProviderChain()


def test_the_repr_of_a_chain_names_its_sources() -> None:
    assert repr(ProviderChain(EnvironmentProvider({}), KEYS)) == "ProviderChain(environment, static)"


async def test_the_cache_of_each_source_serves_the_chain(context: Engine) -> None:
    class Role(RefreshingProvider):
        fetched = 0

        async def fetch(self, context: ProviderContext) -> Credentials:
            self.fetched += 1
            return KEYS

    role = Role()
    chain = ProviderChain(nothing(), role)
    for _ in range(3):
        await chain.provide_credentials(context)

    assert role.fetched == 1


@pytest.mark.parametrize("bounds_itself", [False, True])
async def test_a_source_can_declare_its_own_time_limit(
    context: Engine, monkeypatch: pytest.MonkeyPatch, bounds_itself: bool
) -> None:
    """A chain stops other sources of the program after 60 s."""
    monkeypatch.setattr("sts_async.credentials.chain.FETCH_SECONDS", 0.0)

    class Slow:
        def __init__(self) -> None:
            self.bounds_itself = bounds_itself

        async def provide_credentials(self, context: ProviderContext) -> Credentials:
            for _ in range(3):
                await asyncio.sleep(LOOK)
            return KEYS

    chain = ProviderChain(Slow())
    if bounds_itself:
        assert await chain.provide_credentials(context) is KEYS
    else:
        with pytest.raises(CredentialsError, match="Slow did not provide credentials within 0 s"):
            await chain.provide_credentials(context)


def test_every_source_of_the_library_has_its_own_time_limit() -> None:
    names = [name for name in credentials.__all__ if name.endswith(("Provider", "Chain"))]

    assert len(names) > 10
    assert [name for name in names if getattr(credentials, name).bounds_itself is not True] == []


async def test_a_caller_joins_the_search_in_the_background(context: ProviderContext) -> None:
    """F42: this also holds if the source in use is no longer configured and a file could not be read."""
    asked: list[str] = []

    class Source:
        name = "a source"
        has_some = True

        async def provide_credentials(self, context: Any) -> Credentials:
            asked.append(self.name)
            await asyncio.sleep(0)
            if not self.has_some:
                raise CredentialsNotFound("nothing any more")
            return KEYS

    chosen = Source()
    chain = ProviderChain(chosen)
    await chain.provide_credentials(context)
    chain._doubtful, chain._search_again_at, chosen.has_some = True, 0.0, False
    asked.clear()
    with pytest.raises(CredentialsNotFound):
        await chain.provide_credentials(context)

    assert len(asked) == 2, "by the caller, and by one search"
