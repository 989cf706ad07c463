"""
The file with environment variables that ``sts-async local-server --write-env FILE`` writes.

Only files of local-server are replaced or removed. The path can by mistake be a user's own ``.env``, a device, or the
file of another server.
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
    """
    A file that was written.

    Attributes:
        path: Its path.
        identity: Device, inode and modification time, to recognize it later.
    """

    path: Path
    identity: tuple[int, int, int]

    def remove(self) -> None:
        """Remove the file, unless it was removed, replaced or changed."""
        try:
            if _identity(self.path.lstat()) == self.identity:
                self.path.unlink()
        except OSError:
            pass  # the file or its directory does not exist any more


def write_variables(path: Path, text: str, *, form: str) -> Written:
    """
    Write a file that only its owner can read. It appears complete, so that a program can wait for it.

    Args:
        path: Path of the file. An existing file is replaced only if its first line says that local-server wrote it.
        text: The text after that line.
        form: ``sh``, ``dotenv`` or ``json``. A JSON file cannot have the first line, so it is never replaced.

    Raises:
        ValueError: Another file exists at the path, or the file cannot be written. Nothing has changed then.
    """
    shown = f"{OPTION}: {str(path)!r}"
    try:
        _check_path(path, shown)
        return _write(path, text if form == "json" else MARK + text)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    raise ValueError(f"{shown} cannot be written: {problem}")


def _check_path(path: Path, shown: str) -> None:
    """Raise `ValueError` if there is a file at the path that local-server did not write."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(
            f"{shown} is not a regular file: the path must not exist, or be that of a file of local-server"
        )
    with path.open("rb") as stream:
        first = stream.readline(len(MARK))
    if first != MARK.encode():
        raise ValueError(f"{shown} exists and was not written by local-server: remove it, or choose another path")


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
    """Return the identity of a file. The system reuses inode numbers, so the modification time is a part of it."""
    return found.st_dev, found.st_ino, found.st_mtime_ns
