"""
Signals that end a command before its event loop handles them, while it imports its modules and reads its options.

This module imports neither asyncio nor another module of the library: the time that it covers is that of the imports.
"""

import contextlib
import signal
from collections.abc import Iterator, Sequence
from typing import Any

ENDING = ("SIGINT", "SIGTERM", "SIGHUP")  # signals that end a command with status 0, if it runs until a signal comes


@contextlib.contextmanager
def interrupted_by(names: Sequence[str], *, ignored: Sequence[str] = ()) -> Iterator[None]:
    """
    Raise `KeyboardInterrupt` for signals within the block, as long as no event loop handles them.

    Outside of the main thread, nothing changes. Signals that the process was started to ignore stay ignored.

    Args:
        names: The signals, such as ``SIGTERM``.
        ignored: Signals that have no effect.
    """
    handlers: dict[str, Any] = {**dict.fromkeys(names, signal.default_int_handler), **dict.fromkeys(ignored, _ignore)}
    before = {}
    for name, handler in handlers.items():
        number = getattr(signal, name, None)  # Windows does not have all
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError):  # not the main thread
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set by Python


def _ignore(number: int, frame: Any) -> None:
    """Do nothing: unlike SIG_IGN, this is not inherited by a command that the process runs."""
