"""
What is written is also exported, described, watched and covered.

Providers, observers and events are found in the folders. So a new one that a list has forgotten fails here, or in the
tables of other tests, which are compared with what is exported.
"""

import asyncio
import importlib
import inspect
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import attrs
import pytest
from credentials.watchdog import Watchdog
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

import sts_async
from sts_async import credentials, errors, events, observers
from sts_async.observers import LoggingObserver, OpenTelemetryObserver, PrometheusObserver

TESTS = Path(__file__).parent


def modules_in(package: ModuleType) -> list[ModuleType]:
    """Return the modules of a package that are not private."""
    folder = Path(package.__file__ or "").parent
    names = sorted(path.stem for path in folder.glob("[a-z]*.py"))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


def classes_in(module: ModuleType, having: str) -> list[type]:
    """Return the public classes that a module defines and that have a method of their own or inherited."""
    return [
        cls
        for name, cls in vars(module).items()
        if isinstance(cls, type) and cls.__module__ == module.__name__ and not name.startswith("_")
        if hasattr(cls, having) and (having != "__call__" or "__call__" in vars(cls))
    ]


PROVIDERS = [cls for module in modules_in(credentials) for cls in classes_in(module, "provide_credentials")]
OBSERVERS = [cls for module in modules_in(observers) for cls in classes_in(module, "__call__")]
EVENTS = [cls for cls in vars(events).values() if isinstance(cls, type) and attrs.has(cls)]

each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda cls: cls.__name__)
each_observer = pytest.mark.parametrize("observer", OBSERVERS, ids=lambda cls: cls.__name__)
each_event = pytest.mark.parametrize("event", EVENTS, ids=lambda cls: cls.__name__)

OWN_RULES = {"cache", "chain", "static"}
"""Modules of providers whose rules are of this library: no document of AWS says what they do."""


def test_something_is_found() -> None:
    """Empty lists would satisfy every rule."""
    assert {"AssumeRoleProvider", "ProviderChain", "IMDSProvider"} <= {cls.__name__ for cls in PROVIDERS}
    assert {"LoggingObserver", "PrometheusObserver"} <= {cls.__name__ for cls in OBSERVERS}
    assert {"CallFinished", "CredentialsRefreshed"} <= {cls.__name__ for cls in EVENTS}


def stem(cls: type) -> str:
    return cls.__module__.rpartition(".")[2]


# -- Providers ----------------------------------------------------------------------------------------------------


@each_provider
def test_a_provider_is_exported(provider: type) -> None:
    assert provider.__name__ in credentials.__all__
    assert provider.__name__ in sts_async.__all__
    assert getattr(sts_async, provider.__name__) is provider


@each_provider
def test_a_provider_is_in_the_map_of_its_folder(provider: type) -> None:
    """A reader finds the file by what it provides."""
    assert f"{stem(provider)} " in (credentials.__doc__ or "")


@each_provider
def test_a_provider_is_described(provider: type) -> None:
    """Each argument, what is raised, and whose rules it follows."""
    described = inspect.getdoc(provider) or ""
    arguments = [name for name in inspect.signature(provider).parameters if not name.startswith("_")]
    methods = [inspect.getdoc(getattr(provider, name, None)) or "" for name in ("provide_credentials", "fetch")]
    module = inspect.getdoc(sys.modules[provider.__module__]) or ""

    assert [name for name in arguments if f"\n    {name}: " not in described] == []
    assert any("Raises:" in text for text in (described, *methods))
    assert stem(provider) in OWN_RULES or "Source:" in module + described


@each_provider
def test_a_provider_is_watched_for_blocking(provider: type) -> None:
    """Its tests are in the folder where a watch is over every test; `test_services` runs each there, too."""
    tests = sorted(
        path.name for path in (TESTS / "credentials").glob("test_*.py") if provider.__name__ in path.read_text()
    )

    assert tests
    assert "_the_loop_is_watched" in (TESTS / "credentials" / "conftest.py").read_text()


@each_provider
def test_a_provider_can_be_used_in_a_chain_and_by_other_providers(provider: Any) -> None:
    """It says whether it ends by itself, and has a name for messages."""
    assert provider.bounds_itself is True
    assert isinstance(inspect.getattr_static(provider, "depends_on_client", True), bool | property)


# -- Events -------------------------------------------------------------------------------------------------------


@each_event
def test_an_event_is_exported_and_one_of_the_union(event: type) -> None:
    """Type checkers tell a program that matches on events which there are."""
    assert event.__name__ in sts_async.__all__
    assert event in get_args(events.Event)


@each_event
def test_each_attribute_of_an_event_is_described(event: Any) -> None:
    described = inspect.getdoc(event) or ""

    assert [field.name for field in attrs.fields(event) if f"\n    {field.name}: " not in described] == []


@each_event
def test_an_event_is_a_value_without_room_for_a_secret(event: Any) -> None:
    """Its fields are plain: no request, no response, no credentials, no headers."""
    plain = {str, int, float, bool, type(None), datetime, errors.STSError}
    kinds = {field: set(get_args(kind)) or {kind} for field, kind in get_type_hints(event).items()}

    assert {field: kind - plain for field, kind in kinds.items() if kind - plain} == {}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        example(event).operation = "x"


SECRET = "SENTINEL-secret"
EXAMPLES: dict[Any, Any] = {
    str: "AssumeRole",
    int: 1,
    float: 0.5,
    bool: True,
    datetime: datetime(2026, 1, 1, tzinfo=UTC),
    errors.STSError: errors.ConnectionLost(SECRET),
}


def example(event: Any, *, bare: bool = False) -> Any:
    """Return an event with a value in each attribute, or None in those that may be; errors have a secret as text."""
    values = {}
    for field, kind in get_type_hints(event).items():
        kinds = get_args(kind) or (kind,)
        values[field] = None if bare and type(None) in kinds else EXAMPLES[kinds[0]]
    return event(**values)


# -- Observers ----------------------------------------------------------------------------------------------------


def told_by_logging(told: list[Any]) -> str:
    """Return what the records have, of the observer that logs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.getMessage()} {vars(record)}")  # type: ignore[method-assign]
    logger = logging.getLogger("test_discovery")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    in_a_loop(LoggingObserver(logger), told)
    logger.removeHandler(handler)
    return "\n".join(lines)


def told_by_prometheus(told: list[Any]) -> str:
    """Return what is exposed, of the observer for Prometheus."""
    registry = CollectorRegistry()
    in_a_loop(PrometheusObserver(registry), told)
    return generate_latest(registry).decode()


def told_by_opentelemetry(told: list[Any]) -> str:
    """Return what is exported, of the observer for OpenTelemetry."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    observer = OpenTelemetryObserver(tracer_provider=provider, meter_provider=MeterProvider([reader]))
    in_a_loop(observer, told)
    data = reader.get_metrics_data()
    return "\n".join([*(span.to_json() for span in exporter.get_finished_spans()), data.to_json() if data else ""])


TOLD: dict[type, Callable[[list[Any]], str]] = {
    LoggingObserver: told_by_logging,
    OpenTelemetryObserver: told_by_opentelemetry,
    PrometheusObserver: told_by_prometheus,
}


def in_a_loop(observer: Callable[[Any], None], told: list[Any]) -> None:
    """Call an observer as a client does, under the watch for what blocks an event loop."""

    async def run() -> None:
        for event in told:
            observer(event)

    with Watchdog() as watch:
        asyncio.run(run())
    assert watch.calls == []


def test_each_observer_is_in_the_table() -> None:
    assert {*TOLD} == {*OBSERVERS}


@each_observer
def test_an_observer_is_exported_and_described(observer: type) -> None:
    arguments = [name for name in inspect.signature(observer).parameters if not name.startswith("_")]
    described = inspect.getdoc(observer) or ""

    assert observer.__name__ in observers.__all__
    assert f"{stem(observer)} " in (observers.__doc__ or "")
    assert [name for name in arguments if f"\n    {name}: " not in described] == []
    assert (TESTS / "observers" / f"test_{stem(observer)}.py").exists()


@each_observer
@pytest.mark.parametrize("bare", [False, True], ids=["all attributes", "bare"])
def test_an_observer_takes_every_event_and_shows_no_text_of_an_error(observer: type, *, bare: bool) -> None:
    """Texts of errors come from servers. No event blocks the loop in which the observer is called."""
    shown = TOLD[observer]([example(event, bare=bare) for event in EVENTS])

    assert "AssumeRole" in shown
    assert SECRET not in shown
