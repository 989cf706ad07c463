"""
The files with the tokens of an endpoint. All functions block, so they are called in a thread.

A token file has mode 0600, is in a directory with mode 0700, and has no line break at its end: some SDKs send the
whole file as the header.
"""

import contextlib
import errno
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from .._runtime import files, forks
from .._shape.secret import SecretBytes

PREFIX = "sts-async-endpoint-"
SUFFIX = ".token"


class TokenDirectory:
    """
    The directory of one endpoint.

    Args:
        path: The directory; None for a new temporary directory, which is removed at the end.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._is_temporary = path is None
        self._written: list[Path] = []
        self._is_writer = forks.process_check()
        self._lock = threading.Lock()
        self._removed = False

    def path_of(self, name: str) -> Path:
        """Return the path of the token file of an identity. The directory must have been created."""
        assert self._path is not None  # noqa: S101 - it was created
        return self._path / f"{name}{SUFFIX}"

    def create(self, tokens: Mapping[str, str]) -> None:
        """
        Create the directory, and write the token of each name.

        Raises:
            OSError: The directory or a file cannot be written, or other users may write to the directory.
        """
        with self._lock:
            self._require_open()
            if self._path is None:
                self._path = Path(tempfile.mkdtemp(prefix=PREFIX))  # mode 0700
        for name, token in tokens.items():
            self.write(f"{name}{SUFFIX}", SecretBytes(token.encode()))

    def write(self, name: str, data: bytes) -> Path:
        """
        Write a file that only this user can read, and return its path. It is removed at the end.

        Raises:
            OSError: The file cannot be written, or the endpoint has ended.
        """
        assert self._path is not None  # noqa: S101 - it was created
        with self._lock:
            self._require_open()
            path = self._path / name
            self._written.append(path)
            files.write_private(path, data)
            return path

    def _require_open(self) -> None:
        """Raise an error after the end. The thread of a caller that was cancelled may come late."""
        if self._removed:
            raise FileNotFoundError(errno.ENOENT, "the endpoint has ended")

    def remove(self) -> None:
        """
        Remove the files, and the directory if it is a temporary one. A forked child removes nothing.

        A second call does nothing: it comes from the collection of garbage, which may run in an event loop.
        """
        if not self._is_writer():
            return
        with self._lock:
            if self._removed:
                return
            self._removed = True
            written, self._written = self._written, []
            for path in written:
                with contextlib.suppress(OSError):
                    path.unlink()
            if self._is_temporary and self._path is not None:
                with contextlib.suppress(OSError):
                    self._path.rmdir()
