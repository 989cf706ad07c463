"""
Names of options in messages: ``allow_http=True`` for a Python program, ``--allow-http`` for the command line.

Messages that name an option call `option` or `setting`. The program selects the wording once for the whole process, so
that users get advice in the terms of the program that they run. A context variable was rejected: many messages are made
in the client's own tasks, which do not have the context of the caller.
"""

from collections.abc import Iterator
from contextlib import contextmanager

GIVEN = "given in code"  # origin of an option that neither the environment nor a profile sets


class Wording:
    """Wording for Python programs: options are keyword arguments of `Config` and of the client."""

    __slots__ = ()

    given = GIVEN

    def option(self, name: str) -> str:
        """Return the name of an option."""
        return name

    def setting(self, name: str, value: str) -> str:
        """Return the text that sets an option to a Python value; ``...`` means any value."""
        return f"{name}={value}"


_current = [Wording()]


@contextmanager
def use_wording(wording: Wording) -> Iterator[None]:
    """Use *wording* in all messages of the process that are made within this block."""
    _current.append(wording)
    try:
        yield
    finally:
        _current.remove(wording)


def option(name: str) -> str:
    """Return the name of an option in the current wording."""
    return _current[-1].option(name)


def setting(name: str, value: str = "...") -> str:
    """Return the text that sets an option to *value*, in the current wording."""
    return _current[-1].setting(name, value)


def origin(where: str) -> str:
    """Return an origin for messages: *where* itself, except `GIVEN`, which depends on the current wording."""
    return _current[-1].given if where == GIVEN else where
