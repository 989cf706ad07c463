"""
Safe reading of files, and a record of what was read.

This module imports next to nothing: a command that only prints credentials from a cache must start fast. `files` has
the rest, and describes the dangers.
"""

import errno
import os
import stat as modes
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from .._shape.secret import SecretBytes

# The flags are named directly, without a default of 0. A POSIX system that lacks one fails here, so no protection is
# left out without notice.
if sys.platform == "win32":
    # Creating a link needs a privilege on Windows, and child processes do not inherit the descriptor.
    NOFOLLOW, FLAGS = 0, os.O_BINARY
else:
    NOFOLLOW = os.O_NOFOLLOW
    # Opening a FIFO must not wait for its other end, and no child process may inherit the descriptor.
    FLAGS = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

MAX_BYTES = 1 << 20  # default size limit of a file that is read
CHUNK = 1 << 16  # bytes per read

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


# -- A record of what was read ---------------------------------------------------------------------------------------

UNUSABLE = b"cannot be read"
"""Stands for a file that could not be read, for another reason than that it does not exist."""

Note = Callable[[str, bytes | None], None]
"""Receives the path and the contents of a file; None if it does not exist, the object `UNUSABLE` if it is unusable."""

_NOTES: list[Note] = []


@contextmanager
def noting(note: Note) -> Iterator[None]:
    """
    Call *note* for each file that this process reads within the block, or finds to be missing, in any thread.

    A result that depends on files alone is the same as long as they have the same contents. Paths are noted as they
    are read: a relative path stays relative.
    """
    _NOTES.append(note)
    try:
        yield
    finally:
        _NOTES.remove(note)


def note_missing(path: StrPath) -> None:
    """Note that there is no file at *path*."""
    _note(path, None)


def _note(path: StrPath, data: bytes | None) -> None:
    for note in _NOTES:
        note(os.fspath(path), data)


# -- Reading ---------------------------------------------------------------------------------------------------------


def read(
    path: StrPath, *, max_bytes: int = MAX_BYTES, private: bool = False, secret: bool = False, noted: bool = True
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
        noted: Whether `noting` receives the contents; False for a cache, which decides no result.

    Raises:
        UnsuitableFile: The file is not regular, or too large. `NotPrivate` if its owner or its mode is refused.
        FileNotFoundError: The file does not exist.
        OSError: The system cannot open or read the file.
    """
    try:
        data, stamp = _read(path, max_bytes=max_bytes, private=private, secret=secret)
    except FileNotFoundError:
        if noted:
            note_missing(path)
        raise
    except OSError:
        if noted:
            _note(path, UNUSABLE)
        raise
    if noted:
        _note(path, data)
    return data, stamp


def _read(path: StrPath, *, max_bytes: int, private: bool, secret: bool) -> tuple[SecretBytes, Stamp]:
    descriptor = os.open(valid_path(path), os.O_RDONLY | FLAGS)
    try:
        status = os.fstat(descriptor)
        if not modes.S_ISREG(status.st_mode):
            raise unsuitable(path, f"is {_describe_kind(status.st_mode)}, not a regular file")
        if private or secret:
            check_owner_and_mode(path, status, secret=secret)
        data = _read_up_to(descriptor, max_bytes=max_bytes + 1) if status.st_size <= max_bytes else None
    finally:
        os.close(descriptor)
    if data is None or len(data) > max_bytes:
        raise unsuitable(path, f"is larger than {max_bytes:,} bytes", code=errno.EFBIG)
    return data, Stamp.from_stat(status)


def valid_path(path: StrPath) -> str:
    """
    Return *path* as text that can be passed to the system.

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
        raise unsuitable(text, "has characters that no path can have")
    return text


def home_in(environ: Mapping[str, str], *, windows: bool = _WINDOWS) -> str | None:
    """
    Return the home directory; None if it is not known.

    It is ``HOME``, else, on Windows, ``USERPROFILE``, else ``HOMEDRIVE`` and ``HOMEPATH`` together. A blank variable
    counts as unset.
    """
    candidates = [environ.get("HOME", "")]
    if windows:
        candidates += [environ.get("USERPROFILE", ""), environ.get("HOMEDRIVE", "") + environ.get("HOMEPATH", "")]
    return next((home for home in candidates if home.strip()), None)


def cache_directory(environ: Mapping[str, str]) -> str:
    """
    Return the default directory for shared credentials. A leading ``~/`` stands for the home directory.

    Source: XDG Base Directory Specification, version 0.8: a relative ``XDG_CACHE_HOME`` is ignored.
    """
    base = environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    return f"{base if os.path.isabs(base) else '~/.cache'}/sts-async/credentials"


def check_owner_and_mode(
    path: StrPath, status: os.stat_result, *, any_mode: bool = False, secret: bool = False
) -> None:
    """
    Check that this user owns a file or directory, and that no other user may write to it.

    Args:
        path: The file or directory.
        status: Its status.
        any_mode: Whether other users may write to it.
        secret: Whether no other user may read it either.

    Raises:
        NotPrivate: Another user owns it, or its mode is refused.
    """
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


def unsuitable(path: StrPath, reason: str, *, code: int = errno.EINVAL) -> UnsuitableFile:
    """Return the error of a file that must not be used."""
    return UnsuitableFile(code, reason, os.fspath(path))


def _read_up_to(descriptor: int, *, max_bytes: int) -> SecretBytes:
    """Read until the end of the file, or up to *max_bytes*. Each part is hidden from tracebacks that show locals."""
    parts: list[SecretBytes] = []
    while max_bytes > 0:
        parts.append(SecretBytes(os.read(descriptor, min(max_bytes, CHUNK))))
        if not parts[-1]:
            break
        max_bytes -= len(parts[-1])
    return SecretBytes(b"".join(parts))


def _describe_kind(mode: int) -> str:
    kinds = {
        modes.S_IFDIR: "a directory",
        modes.S_IFIFO: "a FIFO",
        modes.S_IFCHR: "a device",
        modes.S_IFBLK: "a device",
    }
    return kinds.get(modes.S_IFMT(mode), "special")
