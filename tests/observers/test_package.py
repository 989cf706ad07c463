"""Imports of the observers, and the errors if a package is missing."""

import sys
from typing import Any

import pytest
from support import modules_after

from sts_async import ConfigurationError, observers

OPTIONAL = {"opentelemetry", "prometheus_client"}


def test_importing_the_observers_imports_no_optional_package() -> None:
    """Nobody pays for, or must install, what he does not use."""
    assert modules_after("import sts_async.observers") & {*OPTIONAL, "attrs", "asyncio"} == set()
    assert modules_after("from sts_async.observers import *") & OPTIONAL == set()


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("OpenTelemetryObserver", "opentelemetry", "opentelemetry"),
        ("PrometheusObserver", "prometheus_client", "prometheus"),
    ],
)
def test_a_missing_package_is_an_error_with_the_command_to_install_it(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(ConfigurationError, match=rf"pip install 'sts-async\[{extra}\]'") as caught:
        getattr(observers, name)()
    assert caught.value.__cause__ is None


def test_the_public_names_are_listed_and_documented() -> None:
    assert observers.__all__ == sorted(observers.__all__)
    for name in observers.__all__:
        made: Any = getattr(observers, name)

        assert made.__doc__
        assert made.__call__.__doc__
