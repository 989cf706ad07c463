"""
Exclusive locks of open files between processes, by the means of each system. No function waits.

The lock belongs to the open file, and the system releases it when the process ends. POSIX systems lock the whole file
with `flock`. Windows locks ranges of bytes, so the first byte stands for the file. The byte need not exist.

Source: flock(2); Microsoft C runtime library, `_locking`.
"""

import errno
import os
import sys
from typing import Protocol

# Windows reports a locked range with one of these. Other errors, such as EBADF, are errors of the caller.
_LOCKED = frozenset({errno.EACCES, errno.EDEADLK})


class ByteLocks(Protocol):
    """The part of the module `msvcrt` that locks files."""

    LK_NBLCK: int
    LK_UNLCK: int

    def locking(self, fd: int, mode: int, nbytes: int, /) -> None:
        """Lock or unlock *nbytes* from the current position of the file."""
        ...


def lock_first_byte(descriptor: int, *, using: ByteLocks) -> None:
    """Lock the first byte of the open file; raise BlockingIOError if another descriptor holds the lock."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        using.locking(descriptor, using.LK_NBLCK, 1)
    except OSError as error:
        if error.errno not in _LOCKED:
            raise
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None


def unlock_first_byte(descriptor: int, *, using: ByteLocks) -> None:
    """Unlock the first byte of the open file. A lock ends with the range that it began with, from the same position."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    using.locking(descriptor, using.LK_UNLCK, 1)


if sys.platform == "win32":
    import msvcrt

    def lock(descriptor: int) -> None:
        """Lock the open file; raise BlockingIOError if another descriptor holds the lock."""
        lock_first_byte(descriptor, using=msvcrt)

    def unlock(descriptor: int) -> None:
        """Release the lock of the open file."""
        unlock_first_byte(descriptor, using=msvcrt)

else:
    import fcntl

    def lock(descriptor: int) -> None:
        """Lock the open file; raise BlockingIOError if another descriptor holds the lock."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(descriptor: int) -> None:
        """Release the lock of the open file."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
