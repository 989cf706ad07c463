"""
Input and output of the command line: warnings on standard error, and prompts at the terminal.

Each of them can be closed or missing. None of these cases ends in a traceback. `streams` writes.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from .streams import PREFIX, OutputLost, complain, say

__all__ = ["PREFIX", "NoTerminal", "OutputLost", "Warnings", "ask", "complain", "in_one_line", "say", "warnings_shown"]

MAX_REMEMBERED = 1000  # warnings that are not repeated


class NoTerminal(Exception):
    """There is no terminal for a prompt."""


class Warnings(logging.Handler):
    """
    Handler that writes each warning once. The client and the chain read the same options, so they repeat some.

    Attributes:
        write: The function that writes a line. A command that runs for long has one that does not block.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.write: Callable[[str], None] = complain
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._shown:
            if len(self._shown) >= MAX_REMEMBERED:
                self._shown.clear()
            self._shown.add(text)
            self.write(f"{PREFIX}warning: {in_one_line(text)}\n")


@contextlib.contextmanager
def warnings_shown() -> Iterator[Warnings]:
    """Write the library's warnings to standard error within this block, with a prefix to distinguish them."""
    logger, handler = logging.getLogger("sts_async"), Warnings()
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


async def ask(prompt: str) -> str:
    """
    Prompt for a line at the terminal without echo, and return it.

    Raises:
        NoTerminal: There is no terminal.
        EOFError: The user ended the input, as with Ctrl-D.
    """
    if sys.platform == "win32":
        return await _ask_on_windows(prompt)
    import termios

    from .._runtime.threads import reading

    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        raise NoTerminal from None
    try:
        before = termios.tcgetattr(terminal)
        without_echo = [*before]
        without_echo[3] &= ~termios.ECHO
        try:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, without_echo)
            os.write(terminal, prompt.encode())
            # After Ctrl-C, the thread still reads. It is a daemon thread, so the process can exit.
            line = await reading(os.read, terminal, 1024)
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
            os.write(terminal, b"\n")
    except (OSError, termios.error):  # the terminal was closed
        raise NoTerminal from None
    finally:
        os.close(terminal)
    if not line:
        raise EOFError
    return line.decode(errors="replace").strip()


async def _ask_on_windows(prompt: str) -> str:  # pragma: no cover - the tests run on POSIX systems
    from getpass import getpass

    from .._runtime.threads import reading

    if sys.stdin is None or not sys.stdin.isatty():
        raise NoTerminal
    return (await reading(getpass, prompt)).strip()


def in_one_line(error: Any) -> str:
    """Return the text of an error on one line with escaped control characters; its class if the text is empty."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text) or type(error).__name__
