"""
What the command line writes and asks: standard output, standard error, and the terminal.

Each of the three may be closed, full or absent. None of these cases may end in a traceback.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

PREFIX = "sts-async: "


class OutputLost(Exception):
    """Standard output did not take what was written. The text is the reason; empty when the reader has gone."""


class NoTerminal(Exception):
    """There is no terminal at which a person could be asked."""


def say(text: str) -> None:
    """
    Write to standard output, at once.

    Raises:
        OutputLost: It is closed or full, or its reader has gone.
    """
    stream = sys.stdout
    if stream is None:
        raise OutputLost("it is closed")
    try:
        stream.write(_encodable(text, stream))
        stream.flush()
        return
    except BrokenPipeError:
        reason = ""
    except OSError as error:
        reason = error.strerror or type(error).__name__
    sys.stdout = None  # else the interpreter flushes it once more at exit, and reports that as an error of its own
    raise OutputLost(reason)


def complain(text: str) -> None:
    """Write to standard error, at once, if anything takes it there."""
    if sys.stderr is not None:  # `print` would write to standard output then
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            sys.stderr = None


def _encodable(text: str, stream: TextIO) -> str:
    """Return *text* with escapes in place of the characters that *stream* cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


class _Warnings(logging.Handler):
    """Write each of the library's warnings once: the client and the chain read the same options."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._shown:
            self._shown.add(text)
            complain(f"{PREFIX}warning: {in_one_line(text)}\n")


@contextlib.contextmanager
def warnings_shown() -> Iterator[None]:
    """Write the library's warnings to standard error, with a prefix that tells them from errors."""
    logger, handler = logging.getLogger("sts_async"), _Warnings()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


async def ask(prompt: str) -> str:
    """
    Return the line that a person types at the terminal, which does not show it.

    Raises:
        NoTerminal: There is none.
        EOFError: The person ended the input instead, as with Ctrl-D.
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
        unseen = [*before]
        unseen[3] &= ~termios.ECHO
        try:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, unseen)
            os.write(terminal, prompt.encode())
            # In a thread that does not keep the process from ending: Ctrl-C ends this task, the thread still reads.
            line = await reading(os.read, terminal, 1024)
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
            os.write(terminal, b"\n")
    except (OSError, termios.error):  # a terminal that hung up
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
    """Return the text of an error in one line, without characters that a terminal obeys; its class if it has none."""
    text = " ".join(str(error).split())
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text) or type(error).__name__
