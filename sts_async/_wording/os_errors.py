"""What may be said of an error of the operating system: its reason or its name, and not what it was about."""

import errno

PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Numbers of errors that pass by themselves: the system is short of something."""


def reason_of(error: OSError) -> str:
    """Return why something failed, in the system's words, such as ``No such file or directory``: without the path."""
    return error.strerror or code_of(error)


def code_of(error: Exception) -> str:
    """Return the system's name of an error, such as ``ENOENT``; else that of its class, such as ``ValueError``."""
    return errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
