"""Reasons and names of operating system errors, without the paths and addresses that they are about."""

import errno

PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Numbers of errors that are temporary: the system lacks file descriptors or memory."""


def reason_of(error: OSError) -> str:
    """Return the system's message for an error without the path, such as ``No such file or directory``."""
    return error.strerror or code_of(error)


def code_of(error: Exception) -> str:
    """Return the system's name of an error, such as ``ENOENT``; without one, its class, such as ``ValueError``."""
    return errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
