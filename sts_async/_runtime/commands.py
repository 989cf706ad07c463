"""
Run a command in the place of this process: with its standard streams, its signals and its exit status.

`process` is for programs whose output is collected. Such a program has a session of its own. A command here shares the
terminal and the process group of this process, as a shell runs a program in the foreground.

A thread starts the command and waits for its end, because starting a program blocks until it is loaded. The thread is a
daemon: it keeps no process from ending.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .._shape.secret import HiddenMapping
from .threads import NoThread, reading

SIGNALLED = 128  # the exit status of a shell after a signal is this plus the number of the signal
FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
FROM_TERMINAL = ("SIGINT", "SIGQUIT")
END_SECONDS = 10.0  # s that a command has after SIGTERM, if nothing else is said


class Command:
    """
    A running command.

    Args:
        process: The process.
        ended: Future with its return code.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", ended: "asyncio.Future[int]") -> None:
        self._process = process
        self._ended = ended
        self._killer: asyncio.TimerHandle | None = None

    async def run(self, signals: "asyncio.Queue[signal.Signals]", *, grace: float | None) -> int:
        """
        Forward signals until the command ends, and return its exit status as a shell does.

        If this is cancelled, the command gets SIGTERM, and SIGKILL after *grace*.

        Args:
            signals: The signals that this process receives.
            grace: Seconds from SIGTERM to SIGKILL; None for no limit after a forwarded SIGTERM, and 10 s after a
                cancellation.
        """
        forwarder = asyncio.create_task(self._forward(signals, grace))
        try:
            status = await asyncio.shield(self._ended)
        except asyncio.CancelledError:
            await self._end(END_SECONDS if grace is None else grace)
            raise
        finally:
            forwarder.cancel()
            if self._killer is not None:
                self._killer.cancel()
        return SIGNALLED - status if status < 0 else status

    async def _forward(self, signals: "asyncio.Queue[signal.Signals]", grace: float | None) -> None:
        while True:
            number = await signals.get()
            # A terminal sends Ctrl-C to the command too, which must not receive it twice.
            if not (number.name in FROM_TERMINAL and await reading(is_in_foreground)):
                self._send(number)
            if number is signal.SIGTERM and grace is not None and self._killer is None:
                self._killer = asyncio.get_running_loop().call_later(grace, self._kill)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(OSError):  # it has ended, or runs as another user
            self._process.send_signal(number)

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()

    async def _end(self, grace: float) -> None:
        try:
            with contextlib.suppress(OSError):
                self._process.terminate()
            await asyncio.wait([self._ended], timeout=grace)
        finally:  # also if this is cancelled again
            if not self._ended.done():
                self._kill()
        await asyncio.wait([self._ended])


async def start(command: Sequence[str], environ: Mapping[str, str]) -> Command:
    """
    Start a command with the standard streams of this process.

    Args:
        command: The program and its arguments. The program is looked up in ``PATH`` of *environ*.
        environ: The environment.

    Raises:
        OSError: The program does not exist, or cannot be run.
        NoThread: The system cannot start a thread.
        ValueError: An argument or a variable has a NUL character.
    """
    loop = asyncio.get_running_loop()
    started: asyncio.Future[subprocess.Popen[bytes] | Exception] = loop.create_future()
    ended: asyncio.Future[int] = loop.create_future()
    variables = HiddenMapping(environ)

    def run() -> None:
        try:
            # The program of the user runs the command that the user gave.
            process = subprocess.Popen([*command], env={name: variables[name] for name in variables})  # noqa: S603
        except Exception as error:  # noqa: BLE001 - passed on
            _tell(loop, started, error)
            return
        _tell(loop, started, process)
        _tell(loop, ended, process.wait())

    try:
        threading.Thread(target=run, name="sts-async-command", daemon=True).start()
    except RuntimeError:
        raise NoThread from None
    try:
        outcome = await asyncio.shield(started)
    except asyncio.CancelledError:
        # A callback, so that the command is killed even if this is cancelled again.
        started.add_done_callback(_kill_started)
        await asyncio.wait([started])
        if not isinstance(started.result(), Exception):
            await asyncio.wait([ended])
        raise
    if isinstance(outcome, Exception):
        raise outcome
    return Command(outcome, ended)


def _kill_started(started: "asyncio.Future[subprocess.Popen[bytes] | Exception]") -> None:
    process = started.result()
    if not isinstance(process, Exception):
        with contextlib.suppress(OSError):
            process.kill()


def _tell(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]", result: object) -> None:
    def tell() -> None:
        if not future.done():
            future.set_result(result)

    with contextlib.suppress(RuntimeError):  # the event loop is closed
        loop.call_soon_threadsafe(tell)


def is_in_foreground() -> bool:
    """Return True if this process and its command are the foreground group of a terminal, which sends them Ctrl-C."""
    if sys.platform == "win32":
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
