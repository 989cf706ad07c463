"""
Files that hold secrets: safe reading, private and atomic writing, and locks between processes.

All functions block, so they are called in a thread. All failures are `OSError`: errors of the system, which are not
wrapped, and `UnsuitableFile` for a file that exists but must not be used.

Reading: a path may lead to a FIFO, a device, or a file of any size. So the file is opened without blocking, its status
is read from the open descriptor, and only a regular file of limited size is read. Checking the path first and opening
it later would let another user exchange the file in between.

Writing: a new file is written under a temporary name, synced, and renamed. Readers see the old contents or the new
ones, never a mixture. After a crash, a temporary file with a secret may remain. Each writer therefore locks its
temporary file, and each write removes those temporary files of the directory that are not locked.

Locking: locks belong to the open file, and the system releases them when the process ends. The lock is on a separate
file, because the file itself is replaced by each write. A forked child has copies of the parent's descriptors, and
these share the parent's locks. So a child only closes its copies. It releases no lock of its parent, and removes no
file that its parent is writing.
"""

import contextlib
import errno
import os
import re
import stat as modes
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from .._shape.secret import HiddenMapping, SecretBytes
from ..errors import ConfigurationError
from . import forks
from .descriptor_locks import lock as _lock
from .descriptor_locks import unlock as _unlock
from .file_contents import (
    FLAGS,
    NOFOLLOW,
    NotPrivate,
    Stamp,
    StrPath,
    UnsuitableFile,
    check_owner_and_mode,
    home_in,
    note_missing,
    read,
    valid_path,
)

__all__ = [
    "Lock",
    "NotPrivate",
    "Stamp",
    "StrPath",
    "UnsuitableFile",
    "ensure_private_directory",
    "expand",
    "names_in",
    "read",
    "stamp",
    "take_lock",
    "write_private",
]

# s since the last change of a temporary file, after which its writer counts as dead. Used only if locks do not work.
ABANDONED_AFTER = 600.0

# The names that `tempfile.mkstemp` makes from our prefix and suffix.
_TEMPORARY_NAME = r"\.sts-async-[a-z0-9_]{8}\.tmp"
_WINDOWS = sys.platform == "win32"


def expand(path: str, environ: Mapping[str, str]) -> Path:
    """
    Return *path* with a leading ``~/`` replaced by the home directory. Nothing else is expanded.

    `file_contents.home_in` says which directory this is.

    Raises:
        ConfigurationError: The path begins with ``~/``, and the home directory is not known.
    """
    # The frame of the error below must not show the environment.
    environ = HiddenMapping(environ)
    if not path.startswith("~/"):
        return Path(path)
    home = home_in(environ, windows=_WINDOWS)
    if home is None:
        names = "HOME, USERPROFILE, HOMEDRIVE and HOMEPATH are" if _WINDOWS else "HOME is"
        raise ConfigurationError(f"{path!a} is in the home directory, which is not known: {names} not set")
    return Path(home, path[2:])


def stamp(path: StrPath) -> Stamp | None:
    """Return the stamp of the file at *path*, or None if there is no file. Links are followed."""
    try:
        return Stamp.from_stat(_valid_path(path).stat())
    except FileNotFoundError:
        note_missing(path)
        return None


def write_private(path: StrPath, data: bytes, *, any_mode: bool = False) -> None:
    """
    Write a file that only its owner can read: mode 0600 under any umask. The old contents are replaced atomically.

    Missing directories are created with mode 0700. A link at *path* is replaced, not followed. On Windows, the access
    list of the directory decides which users can read the file.

    Args:
        path: The file.
        data: The new contents.
        any_mode: Whether to accept a directory that other users may write to. This user must own the directory in any
            case: another owner could not read the new file.

    Raises:
        NotPrivate: Another user owns the directory, or may write to it and *any_mode* is false.
        OSError: The system cannot write the file. The old file is unchanged, and no temporary file remains.
    """
    data = SecretBytes(data)
    target = _valid_path(path)
    ensure_private_directory(target.parent, any_mode=any_mode)
    _sweep(target.parent)
    is_writer = forks.process_check()
    descriptor, temporary = _create_temporary(target.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _set_private_mode(descriptor)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
            if not _WINDOWS:
                # Rename before the lock is released: otherwise another process could sweep the file.
                temporary.replace(target)
        if _WINDOWS:
            # Windows cannot rename an open file.
            temporary.replace(target)
        _sync_directory(target.parent)
    except BaseException:
        if is_writer():
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise


def ensure_private_directory(directory: StrPath, *, any_mode: bool = False) -> None:
    """
    Create a directory and its missing parents with mode 0700. If the directory exists, check its owner and mode.

    Args:
        directory: The directory.
        any_mode: Whether to accept a directory that other users may write to.

    Raises:
        NotPrivate: Another user owns the directory, or may write to it and *any_mode* is false.
        OSError: The system cannot create the directory, or the path leads to a file.
    """
    directory = _valid_path(directory)
    missing = [level for level in (directory, *directory.parents) if not os.path.lexists(level)]
    for level in reversed(missing):
        # Another process may create the same directory first.
        with contextlib.suppress(FileExistsError):
            level.mkdir(mode=0o700)
            # The umask may have removed permissions of the owner.
            level.chmod(0o700)
    status = directory.stat()
    if not modes.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))
    check_owner_and_mode(directory, status, any_mode=any_mode)


def _create_temporary(directory: Path) -> tuple[int, Path]:
    """
    Create an empty, locked temporary file. Return its descriptor and its path.

    The lock shows other processes that the writer is alive. The system releases it whenever the process ends. On
    Windows the file is not locked: the system may keep a lock for a while after the file was closed and renamed, and
    readers cannot read locked bytes.
    """
    while True:
        descriptor, name = tempfile.mkstemp(prefix=".sts-async-", suffix=".tmp", dir=directory)
        if _WINDOWS:
            return descriptor, Path(name)
        swept = False
        try:
            _lock(descriptor)
        except BlockingIOError:
            # Another process is sweeping. It locked this file first, and will remove it.
            swept = True
        except OSError:
            # This file system has no locks. Without locks, only old files are swept.
            pass
        if not swept and os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)


def _sweep(directory: Path) -> None:
    """
    Remove temporary files of dead writers. They hold secrets, and nothing else removes them.

    Only regular files of this user with our name pattern are removed, and only in this directory. Errors are ignored:
    the next write tries again.
    """
    with contextlib.suppress(OSError):
        for path in [
            directory / name for name in names_in(directory, end=".tmp") if re.fullmatch(_TEMPORARY_NAME, name)
        ]:
            with contextlib.suppress(OSError), _open_descriptor(path, os.O_RDONLY | NOFOLLOW) as descriptor:
                status = os.fstat(descriptor)
                ours = _WINDOWS or status.st_uid == os.geteuid()
                if ours and modes.S_ISREG(status.st_mode) and _is_abandoned(descriptor, status):
                    path.unlink()


def names_in(directory: Path, *, end: str) -> list[str]:
    """
    Return the names in a directory that end with a text. This makes no `Path` of each, because there may be thousands.

    Raises:
        OSError: The system cannot read the directory.
    """
    with os.scandir(directory) as found:
        return [entry.name for entry in found if entry.name.endswith(end)]


def _is_abandoned(descriptor: int, status: os.stat_result) -> bool:
    """Return True if the writer of a temporary file is dead. The lock is then held until the descriptor is closed."""
    if not _WINDOWS:
        try:
            _lock(descriptor)
        except BlockingIOError:
            return False
        except OSError:
            # This file system has no locks: decide by age.
            pass
        else:
            return True
    return time.time() - status.st_mtime > ABANDONED_AFTER


def _sync_directory(directory: Path) -> None:
    """Sync a directory, so that a rename survives a crash of the machine. Some file systems do not support this."""
    if not _WINDOWS:
        with contextlib.suppress(OSError), _open_descriptor(directory, os.O_RDONLY) as descriptor:
            os.fsync(descriptor)


@contextlib.contextmanager
def _open_descriptor(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Lock:
    """
    A lock that this process holds. As a context manager, it is released at the end of the block.

    In a process that was forked while the lock was held, the lock belongs to the parent, and `release` does nothing.
    """

    __slots__ = ("__weakref__", "_descriptor")

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        forks.register_after_fork(self, "disown")

    def release(self) -> None:
        """Release the lock. Later calls do nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                # Closing is not enough: a child that was forked while the lock was held has a copy of the descriptor.
                _unlock(descriptor)
            finally:
                os.close(descriptor)

    @property
    def held(self) -> bool:
        """Whether this process holds the lock."""
        return self._descriptor is not None

    def disown(self) -> None:
        """Close the descriptor in a forked process without releasing the lock, which belongs to the parent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def __del__(self) -> None:
        # A caller that asked a thread for the lock may have been cancelled before it received the lock.
        self.release()


def take_lock(path: StrPath, *, any_mode: bool = False) -> Lock | None:
    """
    Try to lock a file for a read, change and write. Return at once.

    The lock is on a second file in the same directory, named *path* plus ``.lock``. This file is never removed:
    otherwise two processes could each lock a different file of this name. The system releases the lock when the
    process ends.

    Args:
        path: The file, which need not exist. Missing directories are created with mode 0700.
        any_mode: Whether to accept a directory that other users may write to. See `write_private`.

    Returns:
        The lock, or None if another process or thread holds it.

    Raises:
        NotPrivate: Another user owns the directory, or may write to it and *any_mode* is false.
        OSError: The system cannot create or lock the lock file.
    """
    target = _valid_path(path)
    ensure_private_directory(target.parent, any_mode=any_mode)
    flags = os.O_RDWR | os.O_CREAT | NOFOLLOW | FLAGS
    descriptor = os.open(target.with_name(f"{target.name}.lock"), flags, 0o600)
    try:
        _set_private_mode(descriptor)
        _lock(descriptor)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return Lock(descriptor)


def _valid_path(path: StrPath) -> Path:
    return Path(valid_path(path))


def _set_private_mode(descriptor: int) -> None:
    """Set the mode to 0600. The umask may have removed permissions of the owner when the file was created."""
    if sys.platform != "win32":
        os.fchmod(descriptor, 0o600)
