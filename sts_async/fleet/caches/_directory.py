"""
The directory of a cache: reading, writing, locking and removing its files.

All methods block, so they are called in a thread. Before each use, the owner and the mode of the directory are checked.
"""

import contextlib
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import attrs

from ..._protocol.json_documents import MAX_BYTES
from ..._protocol.lifetime import MAX_LIFETIME
from ..._runtime import files
from ..._runtime.files import Lock
from ..._shape.secret import SecretBytes
from ._entries import EntryFormat, expiration_in
from .protocol import CachedCredentials, CacheKey

LOCKS = "sts-async-locks"  # the subdirectory of lock files
SAMPLE = 4  # entries that each write looks at, to remove those that have expired
_FILE_NAME = r"[0-9a-f]{64}\.json"


@attrs.frozen
class CacheDirectory:
    """
    The directory of a cache.

    Attributes:
        path: The directory.
        format: The form of its entries.
        time: Returns seconds since 1970.
    """

    path: Path
    format: EntryFormat
    time: Callable[[], float]

    def entry(self, name: str) -> Path:
        """Return the path of the entry with a name."""
        return (self.path / name[:2] if self.format.sharded else self.path) / f"{name}.json"

    def lock_of(self, name: str) -> Path:
        """Return the path that `take_lock` takes for the lock with a name."""
        return self.path / LOCKS / name

    def read(self, path: Path, key: CacheKey) -> CachedCredentials | None:
        """
        Return the credentials in the entry at *path*, which may have expired; None if there is no entry.

        Raises:
            UnusableEntry: The entry is invalid, or belongs to another key.
            NotPrivate: Another user owns the entry or the directory, or may write to it.
            OSError: The system cannot read the entry.
        """
        files.ensure_private_directory(self.path)
        try:
            data, stamp = files.read(path, max_bytes=MAX_BYTES, private=True, noted=False)
        except FileNotFoundError:
            return None
        # The file can come from a machine with another clock, and nothing is issued in the future.
        written = min(stamp.mtime_ns / 1e9, self.time())
        return self.format.decode(key, data, written=datetime.fromtimestamp(written, UTC))

    def write(self, path: Path, data: SecretBytes) -> None:
        """
        Write the entry at *path*, and remove expired entries from a sample of those in its directory.

        Raises:
            NotPrivate: Another user owns the directory, or may write to it.
            OSError: The system cannot write the entry. The old one is unchanged, and no temporary file remains.
        """
        files.ensure_private_directory(self.path)
        files.write_private(path, data)
        if self.format.sharded:
            self._remove_expired(path.parent)

    def take_lock(self, path: Path) -> Lock | None:
        """
        Try to take a lock, and return at once. Return None if another process holds it.

        Raises:
            NotPrivate: Another user owns the directory, or may write to it.
            OSError: The system cannot create or lock the file.
        """
        files.ensure_private_directory(self.path)
        return files.take_lock(path)

    def _remove_expired(self, directory: Path) -> None:
        """
        Remove expired entries from a sample of the entries in a directory.

        Each write adds at most one entry and looks at four. So in the long run, at most about a quarter of the entries
        have expired. An entry that another process replaces at the same moment can be removed too, and is then fetched
        once more.
        """
        with contextlib.suppress(OSError):
            names = files.names_in(directory, end=".json")
            for name in random.sample(names, min(SAMPLE, len(names))):
                if re.fullmatch(_FILE_NAME, name):
                    self._remove_if_expired(directory / name)

    def _remove_if_expired(self, path: Path) -> None:
        # An entry of another user, or one that was just removed, is not a failure of this write.
        with contextlib.suppress(OSError):
            data, stamp = files.read(path, max_bytes=MAX_BYTES, private=True, noted=False)
            expiration = expiration_in(data)
            # An invalid entry is removed when its credentials must have expired.
            ends = stamp.mtime_ns / 1e9 + MAX_LIFETIME if expiration is None else expiration.timestamp()
            if ends <= self.time():
                path.unlink()
