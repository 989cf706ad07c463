"""
Standard output and standard error of the command line.

Each of them can be closed, full or missing. None of these cases ends in a traceback. This module imports next to
nothing, for commands that must start fast.
"""

import sys
from typing import TextIO

PREFIX = "sts-async: "


class OutputLost(Exception):
    """Standard output cannot be written. The text is the reason; it is empty if the reader has closed the pipe."""


def say(text: str) -> None:
    """
    Write to standard output, and flush it.

    Raises:
        OutputLost: Standard output is closed or full, or the reader has closed the pipe.
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
    sys.stdout = None  # the interpreter would flush it again at exit, and report another error
    raise OutputLost(reason)


def complain(text: str) -> None:
    """Write to standard error, and flush it. Errors are ignored."""
    if sys.stderr is not None:  # `print(file=None)` would write to standard output
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            sys.stderr = None


def _encodable(text: str, stream: TextIO) -> str:
    """Return *text* with escapes for the characters that *stream* cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def report_lost(error: OutputLost) -> int:
    """Say on standard error why standard output cannot be written, and return the exit status."""
    if str(error):
        complain(f"{PREFIX}standard output: {error}\n")
    return 1
