"""Signals as values that a coroutine waits for."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def signal_queue(names: Sequence[str]) -> "Iterator[asyncio.Queue[signal.Signals]]":
    """
    Yield a queue that receives these signals within the block, instead of the function that handles them.

    After the block, this function handles them again, unless it was one of the event loop. Outside of the main thread,
    the queue stays empty.
    """
    loop, signals = asyncio.get_running_loop(), asyncio.Queue[signal.Signals]()
    handled = []
    before = {}
    for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
        before[number] = signal.getsignal(number)
        if before[number] is signal.SIG_IGN:
            continue  # `nohup` ignores SIGHUP, and a shell script ignores SIGINT for a command with `&`
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
            loop.add_signal_handler(number, signals.put_nowait, number)
            handled.append(number)
    try:
        yield signals
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
            # Python calls a function of asyncio for each signal that an event loop handles. It does nothing by itself.
            if callable(before[number]) and getattr(before[number], "__module__", "") != "asyncio.unix_events":
                signal.signal(number, before[number])
