"""Metrics of a fleet: identities by state, counted from their changes, in few series whatever the identities are."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from patience import PATIENCE
from prometheus_client import CollectorRegistry, generate_latest

from sts_async import CredentialsRefreshed, CredentialsRefreshFailed, Event, IdentityStateChanged, errors
from sts_async.fleet.reports import IdentityState
from sts_async.observers import OpenTelemetryObserver, PrometheusObserver

Series = dict[tuple[str, ...], float]
ENDS = datetime(2026, 1, 1, tzinfo=UTC)
LOST = errors.ConnectionLost("text of an error")
NO_ERROR = "success"


@attrs.frozen
class Observed:
    """
    An observer, and its metrics.

    Attributes:
        tell: The observer.
        identities: Returns the identities by state.
        changes: Returns the changes by state and error code, `NO_ERROR` for none.
        exposed: Returns everything that the observer exposes, as text.
        series: Returns the number of series.
    """

    tell: Callable[[Event], None]
    identities: Callable[[], Series]
    changes: Callable[[], Series]
    exposed: Callable[[], str]
    series: Callable[[], int]


def prometheus() -> Observed:
    registry = CollectorRegistry()

    def values(name: str, *labels: str) -> Series:
        samples = [sample for family in registry.collect() for sample in family.samples if sample.name == name]
        return {tuple(sample.labels[label] for label in labels): sample.value for sample in samples}

    return Observed(
        tell=PrometheusObserver(registry),
        identities=lambda: values("sts_fleet_identities", "state"),
        changes=lambda: values("sts_fleet_state_changes_total", "state", "code"),
        exposed=lambda: generate_latest(registry).decode(),
        series=lambda: sum(len(family.samples) for family in registry.collect()),
    )


def opentelemetry() -> Observed:
    reader = InMemoryMetricReader()

    def metrics() -> dict[str, list[tuple[dict[str, str], float]]]:
        data = reader.get_metrics_data()
        return {
            metric.name: [(dict(point.attributes), getattr(point, "value", 0.0)) for point in metric.data.data_points]
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def values(name: str, *attributes: str) -> Series:
        points = metrics().get(name, [])
        return {tuple(labels.get(key, NO_ERROR) for key in attributes): value for labels, value in points}

    meters = MeterProvider([reader], shutdown_on_exit=False)
    return Observed(
        tell=OpenTelemetryObserver(meter_provider=meters),
        identities=lambda: values("sts_async.fleet.identities", "sts_async.fleet.state"),
        changes=lambda: values("sts_async.fleet.state_changes", "sts_async.fleet.state", "error.type"),
        exposed=lambda: str(metrics()),
        series=lambda: sum(len(points) for points in metrics().values()),
    )


each_backend = pytest.mark.parametrize("backend", [prometheus, opentelemetry], ids=lambda backend: backend.__name__)


def changed(
    before: str | None, state: str | None, *, error: errors.STSError | None = None, identity: str = "role 'demo'"
) -> IdentityStateChanged:
    return IdentityStateChanged(identity=identity, account_id="123456789012", before=before, state=state, error=error)


@each_backend
@given(moves=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([*IdentityState, None]))))
def test_the_gauge_counts_the_identities_of_each_state(
    backend: Callable[[], Observed], moves: list[tuple[int, str | None]]
) -> None:
    """The events alone move it: no observer has a list of the identities."""
    observed, states = backend(), dict[int, str | None]()
    for number, state in moves:
        before = states.get(number)
        if before != state:
            observed.tell(changed(before, state))
            states[number] = state

    counted = {state: value for (state,), value in observed.identities().items() if value}
    assert counted == Counter(state for state in states.values() if state is not None)


@each_backend
def test_changes_are_counted_by_the_new_state_and_the_code(backend: Callable[[], Observed]) -> None:
    denied = errors.ServiceError("", code="AccessDenied", status=403)
    observed = backend()
    for event in (
        changed(None, "waiting"),
        changed("waiting", "fresh"),
        changed("fresh", "stale", error=LOST),
        changed("stale", "failing", error=denied),
        changed("failing", None),
    ):
        observed.tell(event)

    assert observed.changes() == {
        ("waiting", NO_ERROR): 1,
        ("fresh", NO_ERROR): 1,
        ("stale", "ConnectionLost"): 1,
        ("failing", "AccessDenied"): 1,
        ("removed", NO_ERROR): 1,
    }


@each_backend
def test_ten_thousand_identities_with_hostile_errors_make_few_series(backend: Callable[[], Observed]) -> None:
    """F61: a server chooses codes and texts, users choose roles and sessions; none becomes a series."""
    observed, counts = backend(), set()
    for number in range(10_000):
        identity = f"role 'arn:aws:iam::{number:012}:role/demo' (session 'tenant-{number}')"
        hostile = errors.ServiceError("text of an error", code=f"Hostile{number}", status=400 + number % 2 * 100)
        about = {"source": "CredentialsFleet", "access_key_id": f"ASIA{number}", "identity": identity}
        observed.tell(changed(None, "waiting", identity=identity))
        observed.tell(CredentialsRefreshed(**about, expiration=ENDS, seconds=0.25))
        observed.tell(changed("waiting", "fresh", identity=identity))
        observed.tell(CredentialsRefreshFailed(**about, expiration=ENDS, error=hostile))
        observed.tell(changed("fresh", "stale", error=hostile, identity=identity))
        observed.tell(changed("stale", f"Hostile{number}", error=hostile, identity=identity))
        observed.tell(changed(f"Hostile{number}", None, error=hostile, identity=identity))
        if number in (1, 9_999):
            counts.add(observed.series())

    assert len(counts) == 1
    assert max(counts) < 60
    assert set(observed.identities().values()) == {0}
    assert [
        word for word in ("Hostile", "arn:", "tenant", "ASIA", "text of an error") if word in observed.exposed()
    ] == []


@each_backend
def test_refreshes_of_a_fleet_are_measured_as_one_source(backend: Callable[[], Observed]) -> None:
    observed = backend()
    observed.tell(
        CredentialsRefreshed(
            source="CredentialsFleet", access_key_id="A", expiration=ENDS, seconds=0.25, identity="role 'demo'"
        )
    )

    assert "CredentialsFleet" in observed.exposed()
    assert "role" not in observed.exposed()


def test_identities_do_not_overwrite_the_expiration_of_one_series() -> None:
    """An alarm on it would see the end of the identity that was refreshed last, and miss the one that ends first."""
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry)
    name, labels = "sts_credentials_expiration_timestamp_seconds", {"source": "CredentialsFleet"}
    refreshed = CredentialsRefreshed(source="CredentialsFleet", access_key_id="A", expiration=ENDS, seconds=0.25)
    failed = CredentialsRefreshFailed(source="CredentialsFleet", access_key_id="A", expiration=ENDS, error=LOST)
    for event in (refreshed, failed):
        observer(attrs.evolve(event, identity="role 'demo'"))

    assert registry.get_sample_value(name, labels) is None
    observer(refreshed)
    assert registry.get_sample_value(name, labels) == ENDS.timestamp()


WORKER = """
from prometheus_client import CollectorRegistry, multiprocess
from sts_async import IdentityStateChanged
from sts_async.observers import PrometheusObserver

PrometheusObserver()(IdentityStateChanged(identity="role", account_id=None, before=None, state="fresh"))
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(registry.get_sample_value("sts_fleet_identities", {"state": "fresh"}))
"""


def test_identities_of_several_processes_are_added_up(tmp_path: Path) -> None:
    """Workers of one service have a fleet each. The smallest count of them would say little."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, "-c", WORKER]
    printed = [
        subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        for _ in range(2)
    ]

    assert printed == ["1.0\n", "2.0\n"]
