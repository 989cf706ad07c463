"""What the tests of the endpoint get: a virtual clock, an STS that runs, and a watch over what a test leaves behind."""

from credentials.watchdog import _the_loop_is_watched, pytest_runtest_protocol
from fleet.conftest import _opened_once, _short_stacks, clock, server, watched

__all__ = [
    "_opened_once",
    "_short_stacks",
    "_the_loop_is_watched",  # the watchdog fails a test in which the library blocks the event loop
    "clock",
    "pytest_runtest_protocol",
    "server",
    "watched",
]
