"""
Files that hold secrets: read without being tricked, written so that nobody else reads them, locked between processes.

Everything here blocks, and is called in a thread. What goes wrong is an `OSError`: those of the system as they come,
and `UnsuitableFile` for what is there but not to be used.

A process that was forked has copies of its parent's descriptors, which share the parent's locks. So it gives up no lock
of its parent and removes no file that its parent is writing: it only closes its copies.
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

# The flags of the system are named outright: a POSIX system without one of them fails here, and no guard is left out.
if sys.platform == "win32":
    _NO_LINK, _FLAGS = 0, os.O_BINARY  # no process inherits what is open; making a link there needs a privilege

    def _lock(descriptor: int) -> None:
        """Do nothing: there is no lock."""

    def _unlock(descriptor: int) -> None:
        """Do nothing: there is no lock."""

else:
    import fcntl

    _NO_LINK = os.O_NOFOLLOW
    # Opening must not wait for the other end of a FIFO, and no child process inherits what is open.
    _FLAGS = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

    def _lock(descriptor: int) -> None:
        """Take a lock, or raise BlockingIOError when somebody else holds it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        """Give a lock up."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


MAX_BYTES = 1 << 20  # of a file that is read
CHUNK = 1 << 16  # bytes that are read at a time
ABANDONED_AFTER = 600.0  # s without a change, after which a temporary file has no writer, where locks cannot tell

_TEMPORARY = r"\.sts-async-[a-z0-9_]{8}\.tmp"  # as `tempfile.mkstemp` completes it
_WINDOWS = sys.platform == "win32"
_OTHERS_WRITE = modes.S_IWGRP | modes.S_IWOTH

StrPath = str | os.PathLike[str]


class UnsuitableFile(OSError):
    """A file or directory that is there and is not to be used: its kind, size, owner or mode. Says which, and why."""


class NotPrivate(UnsuitableFile):
    """A file or directory that another user owns or may write to."""


class Stamp(NamedTuple):
    """What is different when a file has been changed or replaced."""

    mtime_ns: int
    size: int
    inode: int
    device: int

    @classmethod
    def from_stat(cls, status: os.stat_result) -> "Stamp":
        """Return the stamp of a file with this status."""
        return cls(status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)


def expand(path: str, environ: Mapping[str, str]) -> Path:
    """
    Return *path*, with a leading ``~/`` replaced by the home directory. Nothing else is expanded.

    The home directory is ``HOME``, else, on Windows, ``USERPROFILE``, else ``HOMEDRIVE`` and ``HOMEPATH`` together.
    A blank variable counts as unset.

    Raises:
        ConfigurationError: The home directory is needed, and not known.
    """
    environ = HiddenMapping(environ)  # in the frame of the error below
    if not path.startswith("~/"):
        return Path(path)
    homes = [environ.get("HOME", "")]
    if _WINDOWS:
        homes += [environ.get("USERPROFILE", ""), environ.get("HOMEDRIVE", "") + environ.get("HOMEPATH", "")]
    home = next((home for home in homes if home.strip()), None)
    if home is None:
        names = "HOME, USERPROFILE, HOMEDRIVE and HOMEPATH are" if _WINDOWS else "HOME is"
        raise ConfigurationError(f"{path!a} is in the home directory, which is not known: {names} not set")
    return Path(home, path[2:])


def stamp(path: StrPath) -> Stamp | None:
    """Return the stamp of the file that *path* leads to, or None when there is none."""
    try:
        return Stamp.from_stat(_path(path).stat())
    except FileNotFoundError:
        return None


def read(path: StrPath, *, most: int = MAX_BYTES, private: bool = False) -> tuple[SecretBytes, Stamp]:
    """
    Return what is in a file, and its stamp. Links are followed: Kubernetes mounts its secrets as links.

    The file is opened once, so the content is that of one file, also when another takes its place meanwhile. The stamp
    is from before the content: when a file grows in between, the next look at its stamp shows it.

    Args:
        path: The file.
        most: The largest size, in bytes.
        private: Whether to refuse a file that somebody else owns or may write.

    Raises:
        UnsuitableFile: It is not a regular file, or too large; `NotPrivate` when it is not private.
        FileNotFoundError: There is none. Any other `OSError`: as the system says.
    """
    descriptor = os.open(_path(path), os.O_RDONLY | _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not modes.S_ISREG(status.st_mode):
            raise _unsuitable(path, f"is {_kind(status.st_mode)}, not a regular file")
        if private:
            _check_ours(path, status)
        data = _content(descriptor, most=most + 1) if status.st_size <= most else None
    finally:
        os.close(descriptor)
    if data is None or len(data) > most:
        raise _unsuitable(path, f"is larger than {most:,} bytes", code=errno.EFBIG)
    return data, Stamp.from_stat(status)


def write_private(path: StrPath, data: bytes, *, any_mode: bool = False) -> None:
    """
    Write a file that only its owner can read, at once or not at all: mode 0600, whatever the umask.

    Directories that are missing are made with mode 0700. A link at *path* is replaced, not followed. On Windows, who
    can read the file is up to the directory.

    Args:
        path: The file.
        data: Its new content.
        any_mode: Whether others may be able to write to the directory. Its owner must be this user in any case: the
            owner of the directory could not read a file of another user.

    Raises:
        NotPrivate: Another user owns the directory, or may write to it.
        OSError: As the system says. What was at *path* is still there, and nothing else.
    """
    data = SecretBytes(data)
    target = _path(path)
    _private_directory(target.parent, any_mode=any_mode)
    _sweep(target.parent)
    is_writer = forks.process_check()
    descriptor, temporary = _new_temporary(target.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _make_private(descriptor)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
            if not _WINDOWS:
                # Rename while the file is locked, so that no sweep removes it.
                temporary.replace(target)
        if _WINDOWS:
            temporary.replace(target)  # it cannot be renamed while it is open
        _sync_directory(target.parent)
    except BaseException:
        if is_writer():
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise


def _new_temporary(directory: Path) -> tuple[int, Path]:
    """
    Make an empty temporary file, and return its descriptor and its path.

    Its lock says that its writer lives: the system gives it up when the process ends, however that happens.
    """
    while True:
        descriptor, name = tempfile.mkstemp(prefix=".sts-async-", suffix=".tmp", dir=directory)
        swept = False
        try:
            _lock(descriptor)
        except BlockingIOError:  # a process that sweeps was quicker: it removes this file
            swept = True
        except OSError:
            pass  # this file system has no locks; files that are so new are not swept there
        if not swept and os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)


def _sweep(directory: Path) -> None:
    """
    Remove the temporary files whose writers have gone: they hold secrets, and nobody else would remove them.

    Only files of ours: by name, in this directory, regular, of this user. Errors are passed over, because the next
    write tries again.
    """
    with contextlib.suppress(OSError):
        for path in [entry for entry in directory.iterdir() if re.fullmatch(_TEMPORARY, entry.name)]:
            with contextlib.suppress(OSError), _opened(path, os.O_RDONLY | _NO_LINK) as descriptor:
                status = os.fstat(descriptor)
                ours = _WINDOWS or status.st_uid == os.geteuid()
                if ours and modes.S_ISREG(status.st_mode) and _is_abandoned(descriptor, status):
                    path.unlink()


def _is_abandoned(descriptor: int, status: os.stat_result) -> bool:
    """Say whether the writer of a temporary file has gone. Its lock then stays ours until the descriptor is closed."""
    if not _WINDOWS:
        try:
            _lock(descriptor)
        except BlockingIOError:
            return False
        except OSError:
            pass  # this file system has no locks
        else:
            return True
    return time.time() - status.st_mtime > ABANDONED_AFTER


def _sync_directory(directory: Path) -> None:
    """Have the system keep the new name also when the machine stops. Not every system and file system can."""
    if not _WINDOWS:
        with contextlib.suppress(OSError), _opened(directory, os.O_RDONLY) as descriptor:
            os.fsync(descriptor)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | _FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Lock:
    """
    A lock that is held. As a context manager it is given up at the end of the block.

    In a process that was forked meanwhile, it is the parent's: there, giving it up does nothing.
    """

    __slots__ = ("__weakref__", "_descriptor")

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        forks.register_after_fork(self, "disown")

    def release(self) -> None:
        """Give the lock up; only the first time counts."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                _unlock(descriptor)  # closing is not enough when a child was forked meanwhile
            finally:
                os.close(descriptor)

    @property
    def held(self) -> bool:
        """Whether this process holds the lock."""
        return self._descriptor is not None

    def disown(self) -> None:
        """Close the copy that a forked process has, without giving up the lock, which is the parent's."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()  # whoever asked a thread for it may have been cancelled before he got it


def take_lock(path: StrPath, *, any_mode: bool = False) -> Lock | None:
    """
    Take the lock of a file, which is held while it is read, changed and written, and return at once.

    The lock is on a file beside it, with ``.lock`` after its name, that stays: removing it would let two in. The
    system gives it up when the process ends, however that happens. On Windows there is no lock.

    Args:
        path: The file, which may be missing. Directories that are missing are made with mode 0700.
        any_mode: As in `write_private`.

    Returns:
        The lock; None when another process or thread holds it.

    Raises:
        NotPrivate: Another user owns the directory, or may write to it.
        OSError: As the system says.
    """
    target = _path(path)
    _private_directory(target.parent, any_mode=any_mode)
    flags = os.O_RDWR | os.O_CREAT | _NO_LINK | _FLAGS
    descriptor = os.open(target.with_name(f"{target.name}.lock"), flags, 0o600)
    try:
        _make_private(descriptor)
        _lock(descriptor)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return Lock(descriptor)


def _path(path: StrPath) -> Path:
    """Return a path that the system can be asked about; it says otherwise with a ValueError."""
    text = os.fspath(path)
    fits = "\0" not in text
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise _unsuitable(text, "has characters that no path can have")
    return Path(text)


def _content(descriptor: int, *, most: int) -> SecretBytes:
    """Return what can be read, up to *most* bytes. No part of it is a local variable that could be shown."""
    parts: list[SecretBytes] = []
    while most > 0:
        parts.append(SecretBytes(os.read(descriptor, min(most, CHUNK))))
        if not parts[-1]:
            break
        most -= len(parts[-1])
    return SecretBytes(b"".join(parts))


def _private_directory(directory: Path, *, any_mode: bool) -> None:
    """Make a directory, and those above it, with mode 0700; check one that is there already."""
    missing = [place for place in (directory, *directory.parents) if not os.path.lexists(place)]
    for place in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was quicker
            place.mkdir(mode=0o700)
            place.chmod(0o700)  # the umask may have taken something away
    status = directory.stat()
    if not modes.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))
    _check_ours(directory, status, any_mode=any_mode)


def _check_ours(path: StrPath, status: os.stat_result, *, any_mode: bool = False) -> None:
    if sys.platform == "win32":
        return  # it has access lists, which a mode does not show
    reason = None
    if status.st_uid != os.geteuid():
        reason = f"belongs to user {status.st_uid}, not to user {os.geteuid()}"
    elif status.st_mode & _OTHERS_WRITE and not any_mode:
        reason = f"has mode {status.st_mode & 0o7777:04o}: others may write to it"
    if reason is not None:
        raise NotPrivate(errno.EPERM, reason, os.fspath(path))


def _make_private(descriptor: int) -> None:
    """Set the mode to 0600, which creating does except for what the umask takes away."""
    if sys.platform != "win32":
        os.fchmod(descriptor, 0o600)


def _unsuitable(path: StrPath, reason: str, *, code: int = errno.EINVAL) -> UnsuitableFile:
    return UnsuitableFile(code, reason, os.fspath(path))


def _kind(mode: int) -> str:
    kinds = {
        modes.S_IFDIR: "a directory",
        modes.S_IFIFO: "a FIFO",
        modes.S_IFCHR: "a device",
        modes.S_IFBLK: "a device",
    }
    return kinds.get(modes.S_IFMT(mode), "special")
