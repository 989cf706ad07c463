"""Signals as values that a coroutine waits for."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def signal_queue(names: Sequence[str]) -> "Iterator[asyncio.Queue[signal.Signals]]":
    """Yield a queue that receives these signals within the block, instead of their default action."""
    loop, signals = asyncio.get_running_loop(), asyncio.Queue[signal.Signals]()
    handled = []
    for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
        if signal.getsignal(number) is signal.SIG_IGN:
            continue  # `nohup` ignores SIGHUP, and a shell script ignores SIGINT for a command with `&`
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
            loop.add_signal_handler(number, signals.put_nowait, number)
            handled.append(number)
    try:
        yield signals
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
