"""
Protect the resources of the parent process in a forked child.

A fork copies descriptors, but not the kernel objects that they refer to. Parent and child then share sockets, file
locks and the selector of an event loop. If the child shuts down, unlocks or unregisters one of them, the parent loses
it. `os.fork` in a coroutine is the hard case: when the child ends by `sys.exit`, `asyncio.run` cancels the copied tasks
and closes the copied event loop in the child.

So each object that holds such resources is registered here with a method. The child calls this method first, and the
object disowns its resources without affecting the parent. Also, each event loop that a job waits in gets its own
selector and its own wake-up pipe in the child.
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


def register_after_fork(owner: object, method: str) -> None:
    """
    Call a method of an object in every forked child, before any other code runs there.

    Args:
        owner: The object. It is referenced weakly, and must be hashable by identity.
        method: Name of a method without arguments. It must not raise.
    """
    _REGISTERED[owner] = method


def isolate_loop_after_fork(loop: asyncio.AbstractEventLoop) -> None:
    """Give the copy of *loop* in a forked child its own selector and its own wake-up pipe."""
    _LOOPS.add(loop)


def process_check() -> Callable[[], bool]:
    """Return a function that returns True in this process, and False in a forked child."""
    pid = os.getpid()
    return lambda: os.getpid() == pid


def _reset_child() -> None:
    for owner, method in list(_REGISTERED.items()):
        getattr(owner, method)()
    # Event loops come last: the new selector must watch the sockets that the methods above have replaced.
    for loop in list(_LOOPS):
        with contextlib.suppress(OSError):
            _unshare(loop)


def _unshare(loop: Any) -> None:
    """
    Replace the descriptors that the copy of an event loop shares with its parent.

    asyncio has no public API for this, so private attributes are used. Event loops without them, such as uvloop's, are
    not changed.
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
        # The selector is closed, or has no kernel object that could be shared.
        return
    with select.epoll() as own_epoll:
        for key in list(watched.values()):
            events = select.EPOLLIN * bool(key.events & selectors.EVENT_READ)
            events |= select.EPOLLOUT * bool(key.events & selectors.EVENT_WRITE)
            # epoll rejects regular files and closed descriptors.
            with contextlib.suppress(OSError):
                own_epoll.register(key.fd, events)
        os.dup2(own_epoll.fileno(), selector.fileno(), inheritable=False)


if hasattr(os, "fork"):
    os.register_at_fork(after_in_child=_reset_child)
