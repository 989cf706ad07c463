"""Fixtures of the cache tests: a watchdog over each test, and warnings that are logged again in each test."""

import pytest
from credentials.watchdog import _the_loop_is_watched, pytest_runtest_protocol

from sts_async.fleet.caches import file

__all__ = ["_the_loop_is_watched", "pytest_runtest_protocol"]


@pytest.fixture(autouse=True)
def _nothing_was_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget which failures were logged: a process logs each kind once, and each test counts its own warnings."""
    monkeypatch.setattr(file, "_LOGGED", set())


@pytest.fixture(autouse=True)
def _short_stacks() -> None:
    """Leave tracebacks as they are: crash reporters show them here. The tests of fleets shorten theirs."""
