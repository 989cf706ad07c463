"""
How messages name an option: as a program gives it, ``allow_http=True``, or as the command line does, ``--allow-http``.

A reader can follow advice only in the terms of the program at hand. So messages ask here for the name of an option, and
the program that prints them chooses the terms once, for the whole process. A context variable would not do: many
messages are made in the client's own tasks, which do not see the context of a caller.
"""

from collections.abc import Iterator
from contextlib import contextmanager

GIVEN = "given in code"  # where an option comes from when it is neither from the environment nor from a profile


class Wording:
    """The terms of a program: options are keyword arguments of `Config` and of the client."""

    __slots__ = ()

    given = GIVEN

    def option(self, name: str) -> str:
        """Return what the option *name* is called."""
        return name

    def setting(self, name: str, value: str) -> str:
        """Return how the option *name* is given the value *value*, in Python; ``...`` stands for any."""
        return f"{name}={value}"


_current = [Wording()]


@contextmanager
def spoken_in(wording: Wording) -> Iterator[None]:
    """Have the messages that are made until the end of this block use *wording*."""
    _current.append(wording)
    try:
        yield
    finally:
        _current.remove(wording)


def option(name: str) -> str:
    """Return what a message calls the option *name*."""
    return _current[-1].option(name)


def setting(name: str, value: str = "...") -> str:
    """Return how a message says that the option *name* is given *value*."""
    return _current[-1].setting(name, value)


def origin(where: str) -> str:
    """Return in words where an option comes from: *where*, except for `GIVEN`, which depends on the reader."""
    return _current[-1].given if where == GIVEN else where
