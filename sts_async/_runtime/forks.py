"""
What a forked process does first: it keeps its hands off what belongs to its parent.

A fork copies descriptors, but not what is behind them: sockets, file locks and the selector of an event loop are then
shared. What a copy closes, unlocks or unregisters, the parent loses. `os.fork` in a coroutine is the hard case: when
the child ends by `sys.exit`, `asyncio.run` cancels the copied tasks and closes the copied event loop in the child.

So each object that holds such things is registered here, with the method by which the child lets go of them without a
trace. Each event loop that we wait in is given, in the child, a selector and a wake-up pipe of its own.
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

_REGISTERED: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()
_LOOPS: "weakref.WeakSet[asyncio.AbstractEventLoop]" = weakref.WeakSet()


def register_after_fork(one: object, method: str) -> None:
    """
    Call a method of an object in every process that is forked from this one, before anything else runs there.

    Args:
        one: The object. It is referenced weakly, and must be hashable by identity.
        method: Name of the method. It must not raise.
    """
    _REGISTERED[one] = method


def isolate_loop_after_fork(loop: asyncio.AbstractEventLoop) -> None:
    """Give the copy of *loop* in a forked process a selector and a wake-up pipe of its own."""
    _LOOPS.add(loop)


def process_check() -> Callable[[], bool]:
    """Return a function that returns True in this process, and False in one that was forked from it."""
    pid = os.getpid()
    return lambda: os.getpid() == pid


def _reset_child() -> None:
    for one, method in list(_REGISTERED.items()):
        getattr(one, method)()
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


if hasattr(os, "fork"):
    os.register_at_fork(after_in_child=_reset_child)
