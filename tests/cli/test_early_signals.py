"""A signal that comes before the event loop of a command handles it has the same effect as a later one."""

import asyncio
import os
import signal
from typing import Any

import pytest
from patience import soon

from sts_async import cli
from sts_async._cli import fleet
from sts_async._cli.early_signals import interrupted_by

RUNNING = [["--local", "fleet"], ["--local", "serve"], ["local-server"]]
ENDING_BY_THEMSELVES = [
    ["--local", "get-caller-identity"],
    ["--local", "fleet", "--once"],
    ["--local", "exec", "demo-0001", "--", "true"],
    ["local-server", "--", "true"],
]


class Sending:
    """Sends signals to this process at the last step before a command needs its event loop: the import of asyncio."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers

    def run(self, work: Any) -> int:
        work.close()
        for number in self._numbers:
            os.kill(os.getpid(), number)
        raise AssertionError("no signal has ended the command")


@pytest.fixture
def handlers() -> list[Any]:
    """Have the handlers of a new process: pytest itself may run with signals ignored. Return them."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number, handler in zip(numbers, (signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL), strict=True):
        signal.signal(number, handler)
    return [signal.getsignal(number) for number in numbers]


@pytest.fixture(autouse=True)
def _restored() -> Any:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def status_after(monkeypatch: pytest.MonkeyPatch, arguments: list[str], *numbers: signal.Signals) -> int:
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "run", Sending(*numbers).run)
        return cli.main(arguments)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", RUNNING, ids=" ".join)
def test_a_command_that_runs_until_a_signal_ends_with_status_0(
    monkeypatch: pytest.MonkeyPatch, handlers: list[Any], arguments: list[str], number: signal.Signals
) -> None:
    assert status_after(monkeypatch, arguments, number) == 0
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers


@pytest.mark.parametrize("arguments", ENDING_BY_THEMSELVES, ids=" ".join)
def test_another_command_has_the_status_of_the_signal(
    monkeypatch: pytest.MonkeyPatch, handlers: list[Any], arguments: list[str]
) -> None:
    assert status_after(monkeypatch, arguments, signal.SIGINT) == 130


def test_a_reload_before_the_file_is_read_does_not_end_the_fleet(
    monkeypatch: pytest.MonkeyPatch, handlers: list[Any]
) -> None:
    """The file is read afterwards anyway. `serve` has no reload."""
    with pytest.raises(AssertionError, match="no signal has ended"):
        status_after(monkeypatch, ["--local", "fleet"], signal.SIGHUP)
    assert status_after(monkeypatch, ["--local", "serve"], signal.SIGHUP) == 0


def test_an_ignored_signal_stays_ignored() -> None:
    """As `nohup` ignores SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interrupted_by(["SIGHUP"]):
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGHUP)


async def test_outside_of_the_main_thread_nothing_changes() -> None:
    def handler() -> Any:
        with interrupted_by(["SIGTERM", "SIGNONE"]):
            return signal.getsignal(signal.SIGTERM)

    assert await asyncio.to_thread(handler) is signal.getsignal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_fleet_before_it_reads_its_file(
    monkeypatch: pytest.MonkeyPatch, handlers: list[Any], number: signal.Signals
) -> None:
    """The event loop runs then, and nothing in it handles signals yet."""

    async def hang(config: Any) -> None:
        os.kill(os.getpid(), number)
        await soon(asyncio.Event().wait())
        raise AssertionError("the signal was lost")

    monkeypatch.setattr(fleet, "partition_of_endpoint", hang)

    assert cli.main(["--local", "fleet"]) == 0
