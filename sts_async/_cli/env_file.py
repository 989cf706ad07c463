"""
The file with the variables of ``sts-async local-server --write-env FILE``.

It replaces and removes nothing that something else wrote: the path may be that of a user's own ``.env``, of a device,
or of the file of another server.
"""

import os
import stat
import tempfile
from pathlib import Path

import attrs

OPTION = "--write-env"
MARK = "# Written by `sts-async local-server`, which removes this file when it ends.\n"


@attrs.frozen
class Written:
    """A file that was written."""

    path: Path
    identity: tuple[int, int, int]

    def remove(self) -> None:
        """Remove the file, unless it is gone, or another has taken its place, or it has been changed."""
        try:
            if _identity(self.path.lstat()) == self.identity:
                self.path.unlink()
        except OSError:
            pass  # it is gone, or its directory is


def write_variables(path: Path, text: str, *, form: str) -> Written:
    """
    Write a file that only its owner can read, at once: a program that waits for it finds all of it.

    Args:
        path: Where. A file there is replaced only if an earlier run wrote it, as its first line says.
        text: What to write behind that line.
        form: ``json`` has no comments: a file in it has no such line, and replaces none.

    Raises:
        ValueError: There is something else at the path, or the file cannot be written. Nothing has changed then.
    """
    shown = f"{OPTION}: {str(path)!r}"
    try:
        _check_place(path, shown)
        return _write(path, text if form == "json" else MARK + text)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    raise ValueError(f"{shown} cannot be written: {problem}")


def _check_place(path: Path, shown: str) -> None:
    """Refuse a path at which there is anything but a file that an earlier run wrote."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{shown} is no regular file: name one, or a path at which there is nothing")
    with path.open("rb") as stream:
        first = stream.readline(len(MARK))
    if first != MARK.encode():
        raise ValueError(f"{shown} exists and was not written by local-server: remove it, or name another path")


def _write(path: Path, text: str) -> Written:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".sts-async-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", newline="") as stream:
            stream.write(text)
        written = Written(path, _identity(Path(temporary).stat()))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return written


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    """Return what tells a file from another in its place. The number of an inode alone is used again."""
    return found.st_dev, found.st_ino, found.st_mtime_ns
