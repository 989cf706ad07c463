"""
What a forked process does first: it keeps its hands off what belongs to its parent.

A fork copies descriptors, but not what is behind them: sockets, file locks and the selector of an event loop are then
shared. What a copy closes, unlocks or unregisters, the parent loses. `os.fork` in a coroutine is the hard case: when
the child ends by `sys.exit`, `asyncio.run` cancels the copied tasks and closes the copied event loop in the child.

So each module that holds such things registers here how the child lets go of them without a trace, and each event loop
that we wait in is given, in the child, a selector and a wake-up pipe of its own.
"""

import asyncio
import contextlib
import os
import select
import selectors
import socket
import weakref
from collections.abc import Callable
from typing import Any

_CALLBACKS: list[Callable[[], None]] = []
_LOOPS: "weakref.WeakSet[asyncio.AbstractEventLoop]" = weakref.WeakSet()


def in_child(callback: Callable[[], None]) -> None:
    """Call *callback* in every process that is forked from this one, before anything else runs there."""
    _CALLBACKS.append(callback)


def keep_apart(loop: asyncio.AbstractEventLoop) -> None:
    """Give the copy of *loop* in a forked process a selector and a wake-up pipe of its own."""
    _LOOPS.add(loop)


def _in_child() -> None:
    for callback in _CALLBACKS:
        callback()
    for loop in list(_LOOPS):  # last: by now, sockets that are the parent's have been replaced
        with contextlib.suppress(OSError):
            _unshare(loop)


def _unshare(loop: Any) -> None:
    """
    Replace the descriptors that the copy of an event loop shares with its parent.

    asyncio has no public way: the names are private, and loops that lack them, such as uvloop's, are left alone.
    """
    pipe: list[Any] = [getattr(loop, name, None) for name in ("_ssock", "_csock")]
    if all(isinstance(end, socket.socket) and end.fileno() >= 0 for end in pipe):
        for own, end in zip(socket.socketpair(), pipe, strict=True):
            with own:
                own.setblocking(False)
                os.dup2(own.fileno(), end.fileno(), inheritable=False)
    selector: Any = getattr(loop, "_selector", None)
    watched: Any = selector.get_map() if type(selector).__name__ == "EpollSelector" else None
    if watched is None:
        return  # it is closed, or has nothing in the kernel that could be shared
    with select.epoll() as own_epoll:
        for key in list(watched.values()):
            events = select.EPOLLIN * bool(key.events & selectors.EVENT_READ)
            events |= select.EPOLLOUT * bool(key.events & selectors.EVENT_WRITE)
            with contextlib.suppress(OSError):  # a regular file, or one that is closed
                own_epoll.register(key.fd, events)
        os.dup2(own_epoll.fileno(), selector.fileno(), inheritable=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
