"""Metrics for Prometheus."""

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter
from support import ROLE

from sts_async import (
    AttemptFinished,
    CacheStateChanged,
    CallFinished,
    ConfigurationError,
    CredentialsInvalidated,
    CredentialsRefreshed,
    CredentialsRefreshFailed,
    RetryScheduled,
    STSClient,
    errors,
)
from sts_async.observers import PrometheusObserver
from sts_async.testing import LocalSTS, Refuse, Throttle

Connect = Callable[..., Awaitable[STSClient]]
ENDS = datetime(2026, 1, 1, tzinfo=UTC)
LOST = errors.ConnectionLost("reset")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def series(registry: CollectorRegistry) -> dict[str, float]:
    """Return what is exposed, without buckets and times of making, by name and values of the labels."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }


async def test_calls_are_counted_and_measured(server: LocalSTS, connect: Connect, registry: CollectorRegistry) -> None:
    server.faults.add(Throttle(), Refuse("AccessDenied", status=403))
    sts = await connect(PrometheusObserver(registry))
    with pytest.raises(errors.ServiceError):
        await sts.assume_role(role_arn=ROLE, role_session_name="me")
    await sts.get_caller_identity()
    found = series(registry)

    assert found["sts_attempts_total AssumeRole Throttling"] == 1
    assert found["sts_attempts_total AssumeRole AccessDenied"] == 1
    assert found["sts_attempts_total GetCallerIdentity success"] == 1
    assert found["sts_retries_total AssumeRole Throttling"] == 1
    assert found["sts_call_seconds_count AssumeRole AccessDenied"] == 1
    assert found["sts_call_seconds_count GetCallerIdentity success"] == 1
    assert 0 < found["sts_call_seconds_sum GetCallerIdentity success"] < 30
    assert 0 < found["sts_limiter_wait_seconds_total AssumeRole"] < 30


def test_the_quota_is_that_after_the_latest_call(registry: CollectorRegistry) -> None:
    observer = PrometheusObserver(registry)
    observer(CallFinished(operation="AssumeRole", endpoint="", attempts=2, quota_used=5, quota_left=495))
    observer(CallFinished(operation="AssumeRole", endpoint="", attempts=1))  # of a policy that has none

    assert series(registry)["sts_retry_quota_left"] == 495


def test_credentials_are_counted_by_source(registry: CollectorRegistry) -> None:
    observer = PrometheusObserver(registry)
    observer(CredentialsRefreshed(source="vault", access_key_id="A", expiration=ENDS, seconds=0.25))
    observer(CredentialsRefreshed(source="static", access_key_id="A", expiration=None, seconds=0.25))
    observer(CredentialsRefreshFailed(source="vault", access_key_id="A", expiration=ENDS, error=LOST))
    observer(CredentialsInvalidated(operation="AssumeRole", access_key_id="A", code="ExpiredToken"))
    found = series(registry)

    assert found["sts_credentials_refresh_seconds_count vault"] == 1
    assert found["sts_credentials_refresh_seconds_sum vault"] == 0.25
    assert found["sts_credentials_refresh_failures_total vault ConnectionLost"] == 1
    assert found["sts_credentials_invalidated_total AssumeRole ExpiredToken"] == 1
    assert found["sts_credentials_expiration_timestamp_seconds vault"] == ENDS.timestamp()
    assert found["sts_credentials_expiration_timestamp_seconds static"] == math.inf


def test_the_state_of_a_cache_is_a_gauge_and_its_changes_are_counted(registry: CollectorRegistry) -> None:
    observer = PrometheusObserver(registry)
    for available in (False, True, False):
        observer(CacheStateChanged(cache="RedisCache('x')", available=available, reason="text of a server"))
    observer(CacheStateChanged(cache="RedisCache('y')", available=True))
    found = series(registry)

    assert {
        name: value for name, value in found.items() if name.startswith("sts_cache_") and "created" not in name
    } == {
        "sts_cache_available RedisCache('x')": 0,
        "sts_cache_available RedisCache('y')": 1,
        "sts_cache_state_changes_total RedisCache('x') unavailable": 2,
        "sts_cache_state_changes_total RedisCache('x') available": 1,
        "sts_cache_state_changes_total RedisCache('y') available": 1,
    }


def test_a_server_cannot_make_series(registry: CollectorRegistry) -> None:
    """A server that answers with a new code each time would fill the memory of the program."""
    observer = PrometheusObserver(registry)
    counts = set()
    for number in range(500):
        error = errors.ServiceError("", code=f"Hostile{number}", status=400 + number % 150)
        name = f"Operation{number}"
        observer(AttemptFinished(operation=name, attempt=1, endpoint="", error=error))
        observer(RetryScheduled(operation=name, attempt=1, delay=0, error=error))
        observer(CallFinished(operation=name, endpoint="", attempts=1, error=error))
        observer(CredentialsRefreshFailed(source="vault", access_key_id="A", expiration=None, error=error))
        observer(CredentialsInvalidated(operation=name, access_key_id="A", code=error.code))
        if number >= 150:
            counts.add(len(series(registry)))

    assert len(counts) == 1
    assert "Hostile" not in str(series(registry))


async def test_two_clients_share_an_observer(server: LocalSTS, connect: Connect, registry: CollectorRegistry) -> None:
    observer = PrometheusObserver(registry)
    for _ in range(2):
        await (await connect(observer)).get_caller_identity()

    assert series(registry)["sts_call_seconds_count GetCallerIdentity success"] == 2


def test_a_second_observer_needs_names_or_a_registry_of_its_own(registry: CollectorRegistry) -> None:
    PrometheusObserver(registry)
    with pytest.raises(ConfigurationError, match="share one PrometheusObserver between all clients"):
        PrometheusObserver(registry)

    PrometheusObserver(CollectorRegistry())
    PrometheusObserver(registry, namespace="sts_other")


def test_an_observer_that_cannot_register_leaves_nothing_registered(registry: CollectorRegistry) -> None:
    """Whoever takes the advice finds the registry as it was."""
    taken = Counter("sts_credentials_refresh_failures", "of the program", registry=registry)
    with pytest.raises(ConfigurationError) as caught:
        PrometheusObserver(registry)
    registry.unregister(taken)

    assert series(registry) == {}
    assert caught.value.__context__ is None
    PrometheusObserver(registry)


@pytest.mark.parametrize("wrong", ["", "1sts", "a-b", "s\n", "é", None])
def test_an_invalid_namespace_is_an_error(registry: CollectorRegistry, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="namespace must be"):
        PrometheusObserver(registry, namespace=wrong)


def test_the_default_registry_is_that_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
    PrometheusObserver()

    assert "sts_retry_quota_left" in series(registry)


def test_events_of_another_kind_are_ignored(registry: CollectorRegistry) -> None:
    """A later version may have more."""
    observer = PrometheusObserver(registry)
    before = series(registry)
    observer(object())  # type: ignore[arg-type]

    assert series(registry) == before


def test_the_docstring_lists_all_metrics(registry: CollectorRegistry) -> None:
    """Dashboards are written from it."""
    PrometheusObserver(registry)
    exposed = {family.name for family in registry.collect()}
    doc = PrometheusObserver.__doc__ or ""

    assert [name for name in exposed if f"``{name}``" not in doc and f"``{name}_total``" not in doc] == []
