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
from typing import NamedTuple, Self

from .._shape.secret import HiddenMapping, SecretBytes
from ..errors import ConfigurationError
from . import forks
from .descriptor_locks import lock as _lock
from .descriptor_locks import unlock as _unlock

# The flags are named directly, without a default of 0. A POSIX system that lacks one fails here, so no protection is
# left out without notice.
if sys.platform == "win32":
    # Creating a link needs a privilege on Windows, and child processes do not inherit the descriptor.
    _NOFOLLOW, _FLAGS = 0, os.O_BINARY
else:
    _NOFOLLOW = os.O_NOFOLLOW
    # Opening a FIFO must not wait for its other end, and no child process may inherit the descriptor.
    _FLAGS = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

MAX_BYTES = 1 << 20  # default size limit of a file that is read
CHUNK = 1 << 16  # bytes per read
# s since the last change of a temporary file, after which its writer counts as dead. Used only if locks do not work.
ABANDONED_AFTER = 600.0

# The names that `tempfile.mkstemp` makes from our prefix and suffix.
_TEMPORARY_NAME = r"\.sts-async-[a-z0-9_]{8}\.tmp"
_WINDOWS = sys.platform == "win32"
_WRITABLE_BY_OTHERS = modes.S_IWGRP | modes.S_IWOTH
_READABLE_BY_OTHERS = modes.S_IRGRP | modes.S_IROTH

StrPath = str | os.PathLike[str]


class UnsuitableFile(OSError):
    """A file or directory exists, but its kind, size, owner or mode forbids its use. The message says which."""


class NotPrivate(UnsuitableFile):
    """Another user owns the file or directory, may write to it, or may read a file that must be secret."""


class Stamp(NamedTuple):
    """Identifies one version of a file: it differs after the file was changed or replaced."""

    mtime_ns: int
    size: int
    inode: int
    device: int

    @classmethod
    def from_stat(cls, status: os.stat_result) -> "Stamp":
        """Return the stamp for a file status."""
        return cls(status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)


def expand(path: str, environ: Mapping[str, str]) -> Path:
    """
    Return *path* with a leading ``~/`` replaced by the home directory. Nothing else is expanded.

    The home directory is ``HOME``, else, on Windows, ``USERPROFILE``, else ``HOMEDRIVE`` and ``HOMEPATH`` together.
    A blank variable counts as unset.

    Raises:
        ConfigurationError: The path begins with ``~/``, and the home directory is not known.
    """
    # The frame of the error below must not show the environment.
    environ = HiddenMapping(environ)
    if not path.startswith("~/"):
        return Path(path)
    candidates = [environ.get("HOME", "")]
    if _WINDOWS:
        candidates += [environ.get("USERPROFILE", ""), environ.get("HOMEDRIVE", "") + environ.get("HOMEPATH", "")]
    home = next((home for home in candidates if home.strip()), None)
    if home is None:
        names = "HOME, USERPROFILE, HOMEDRIVE and HOMEPATH are" if _WINDOWS else "HOME is"
        raise ConfigurationError(f"{path!a} is in the home directory, which is not known: {names} not set")
    return Path(home, path[2:])


def stamp(path: StrPath) -> Stamp | None:
    """Return the stamp of the file at *path*, or None if there is no file. Links are followed."""
    try:
        return Stamp.from_stat(_valid_path(path).stat())
    except FileNotFoundError:
        return None


def read(
    path: StrPath, *, max_bytes: int = MAX_BYTES, private: bool = False, secret: bool = False
) -> tuple[SecretBytes, Stamp]:
    """
    Return the contents of a file and its stamp. Links are followed, because Kubernetes mounts its secrets as links.

    The file is opened once, so the contents are from one file even if it is replaced at the same time. The stamp is
    taken before the contents are read. If the file changes in between, the next comparison of stamps shows the change.

    Args:
        path: The file.
        max_bytes: Size limit in bytes.
        private: Whether to refuse a file that another user owns or may write to.
        secret: Whether to refuse such a file, and also a file that another user may read.

    Raises:
        UnsuitableFile: The file is not regular, or too large. `NotPrivate` if its owner or its mode is refused.
        FileNotFoundError: The file does not exist.
        OSError: The system cannot open or read the file.
    """
    descriptor = os.open(_valid_path(path), os.O_RDONLY | _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not modes.S_ISREG(status.st_mode):
            raise _unsuitable(path, f"is {_describe_kind(status.st_mode)}, not a regular file")
        if private or secret:
            _check_owner_and_mode(path, status, secret=secret)
        data = _read_up_to(descriptor, max_bytes=max_bytes + 1) if status.st_size <= max_bytes else None
    finally:
        os.close(descriptor)
    if data is None or len(data) > max_bytes:
        raise _unsuitable(path, f"is larger than {max_bytes:,} bytes", code=errno.EFBIG)
    return data, Stamp.from_stat(status)


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
    _check_owner_and_mode(directory, status, any_mode=any_mode)


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
            with contextlib.suppress(OSError), _open_descriptor(path, os.O_RDONLY | _NOFOLLOW) as descriptor:
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
    descriptor = os.open(path, flags | _FLAGS)
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
    flags = os.O_RDWR | os.O_CREAT | _NOFOLLOW | _FLAGS
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
    """
    Return *path* as a `Path` that can be passed to the system.

    Raises:
        UnsuitableFile: It has characters that no path can have. The system itself would raise a ValueError.
    """
    text = os.fspath(path)
    fits = "\0" not in text
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise _unsuitable(text, "has characters that no path can have")
    return Path(text)


def _read_up_to(descriptor: int, *, max_bytes: int) -> SecretBytes:
    """Read until the end of the file, or up to *max_bytes*. Each part is hidden from tracebacks that show locals."""
    parts: list[SecretBytes] = []
    while max_bytes > 0:
        parts.append(SecretBytes(os.read(descriptor, min(max_bytes, CHUNK))))
        if not parts[-1]:
            break
        max_bytes -= len(parts[-1])
    return SecretBytes(b"".join(parts))


def _check_owner_and_mode(
    path: StrPath, status: os.stat_result, *, any_mode: bool = False, secret: bool = False
) -> None:
    if sys.platform == "win32":
        # Windows uses access lists, which a mode does not show.
        return
    reason = None
    if status.st_uid != os.geteuid():
        reason = f"belongs to user {status.st_uid}, not to user {os.geteuid()}"
    elif status.st_mode & _WRITABLE_BY_OTHERS and not any_mode:
        reason = f"has mode {status.st_mode & 0o7777:04o}: others may write to it"
    elif status.st_mode & _READABLE_BY_OTHERS and secret:
        reason = f"has mode {status.st_mode & 0o7777:04o}: others may read it"
    if reason is not None:
        raise NotPrivate(errno.EPERM, reason, os.fspath(path))


def _set_private_mode(descriptor: int) -> None:
    """Set the mode to 0600. The umask may have removed permissions of the owner when the file was created."""
    if sys.platform != "win32":
        os.fchmod(descriptor, 0o600)


def _unsuitable(path: StrPath, reason: str, *, code: int = errno.EINVAL) -> UnsuitableFile:
    return UnsuitableFile(code, reason, os.fspath(path))


def _describe_kind(mode: int) -> str:
    kinds = {
        modes.S_IFDIR: "a directory",
        modes.S_IFIFO: "a FIFO",
        modes.S_IFCHR: "a device",
        modes.S_IFBLK: "a device",
    }
    return kinds.get(modes.S_IFMT(mode), "special")
