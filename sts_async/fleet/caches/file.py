"""
FileCache: credentials in files, which the processes of one host share.

No failure of a file is a failure of the program. A file that cannot be read, written or locked is logged once for each
kind of failure, and the program fetches its credentials as if there were no cache.
"""

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..._runtime import files
from ..._runtime.clock import SystemClock
from ..._runtime.defaults import FILE_SECONDS
from ..._runtime.file_contents import cache_directory
from ..._runtime.file_reads import FileReads, FileTimeout
from ..._runtime.files import Lock, UnsuitableFile
from ..._runtime.threads import NoThread, Workers
from ..._shape.arguments import check_flag
from ..._shape.secret import HiddenMapping, cover
from ..._wording.os_errors import reason_of
from ...errors import ConfigurationError
from ...protocols import Clock
from ._directory import CacheDirectory
from ._entries import EntryFormat, OwnFormat, UnusableEntry, cacheable
from ._leases import LEASE_SECONDS, Leases
from .aws_cli import DIRECTORY as AWS_CLI_DIRECTORY
from .aws_cli import AWSCLIFormat
from .protocol import CachedCredentials, CacheKey, CredentialsCache

OUT_OF_USE = 30.0  # s without the cache, after its file system has not answered in time

# Threads of the caches alone: a file system that hangs occupies neither those of the program nor those that read config
# files. They are daemons, so the process may end before a write. The entry is then missing, and must be fetched again.
_THREADS = Workers(threads=8, name="sts-async-cache")
_FILES = FileReads(_THREADS)

# The kinds of failures that were logged, each with its directory. A warning for each of 10,000 entries would be noise.
_LOGGED: set[tuple[str, str]] = set()

log = logging.getLogger("sts_async")

T = TypeVar("T")


class _Failed(Exception):
    """File work failed, and this was logged."""


class FileCache(CredentialsCache):
    r"""
    Credentials in the files of a directory, which the processes of one host share.

    While one process fetches the credentials of an identity, the others wait, and then read them. All processes must
    belong to one user: the directory has mode 0700, and its files have mode 0600. A directory that another user owns or
    may write to is not used, and neither is such a file. On Windows, the access list of the directory decides this.

    The files contain the credentials in plain text, like the caches of the AWS CLI. Each write removes expired entries
    from a sample of the entries, so expired entries stay a small part of the directory. Lock files are empty, and there
    are at most 4,096 of them.

    Args:
        directory: The directory, which is created if it is missing; a leading ``~/`` is the home directory. None for
            ``$XDG_CACHE_HOME/sts-async/credentials``, else ``~/.cache/sts-async/credentials``. On Windows, None means
            ``%LOCALAPPDATA%\sts-async\credentials``.
        aws_cli_format: Whether to share the cache of the AWS CLI and botocore; *directory* is then ``~/.aws/cli/cache``
            by default. Only `AssumeRoleRequest` is cached, and only while more than 15 min are left. This format
            does not show who signed a request: processes with different credentials share an entry if they assume the
            same role in the same way.
        environ: The variables ``XDG_CACHE_HOME`` and ``HOME``, and on Windows ``LOCALAPPDATA``; None for the process
            environment.
        clock: The clocks; None for those of this host. Pass the clock of the client, if it has another one.

    Raises:
        ConfigurationError: An argument has the wrong type, or *directory* is a URL.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        aws_cli_format: bool = False,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        environ = HiddenMapping(os.environ if environ is None else environ)
        # First, because a traceback with local variables shows the object although an argument is refused.
        self._parts: tuple[CacheDirectory, Leases] | None = None
        self._format: EntryFormat = OwnFormat()
        check_flag("aws_cli_format", aws_cli_format)
        given = os.fspath(directory) if isinstance(directory, os.PathLike) else directory
        if not isinstance(given, str | None):
            raise ConfigurationError("directory must be a path or None")
        if given is not None and "://" in given:
            # It can contain a password, which tracebacks with local variables must not show.
            directory = given = cover(given)
            raise ConfigurationError("the directory of FileCache must be a path and not a URL; RedisCache takes a URL")
        self._clock: Clock = SystemClock() if clock is None else clock
        if aws_cli_format:
            self._format = AWSCLIFormat()
        self._out_of_use_until = float("-inf")
        self._hindrance = ""
        if given is None:
            given = AWS_CLI_DIRECTORY if aws_cli_format else cache_directory(environ)
        try:
            path = files.expand(given, environ)
        except ConfigurationError as error:
            self._hindrance = str(error)
        else:
            place = CacheDirectory(path, self._format, self._clock.time)
            lock = partial(self._lock, place)
            self._parts = place, Leases(lock=lock, unlock=self._unlock, clock=self._clock)

    @property
    def directory(self) -> Path | None:
        """The directory; None if the home directory is not known, so that there is no cache."""
        return None if self._parts is None else self._parts[0].path

    async def load(self, key: CacheKey) -> CachedCredentials | None:
        """
        Return credentials that have not expired, or None.

        An entry that is invalid, belongs to another identity, or may have been written by another user counts as
        missing. The first entry of each kind is logged. The next `store` replaces it.
        """
        found = self._find(key)
        if found is None:
            return None
        name, directory, _ = found
        path = directory.entry(name)
        try:
            cached = await self._do(path, directory.read, path, key)
        except _Failed:
            return None
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        return cached if cached is not None and cached.seconds_left(now=now) > self._format.seconds_left else None

    async def store(self, key: CacheKey, cached: CachedCredentials) -> None:
        """
        Write credentials to the file of *key*. Another process reads the old contents or the new ones, whole.

        Credentials without a session token or an expiration are not stored.
        """
        found = self._find(key)
        if found is None or not cacheable(cached.credentials):
            return
        name, directory, _ = found
        path = directory.entry(name)
        with contextlib.suppress(_Failed):
            await self._do(path, directory.write, path, self._format.encode(key, cached))

    @contextlib.asynccontextmanager
    async def lease(self, key: CacheKey) -> AsyncIterator[bool]:
        """
        Wait until no other process fetches the credentials of *key*, at most 30 s, and keep others from it.

        The block receives True if this caller has the lease, and False if no lease was available in time. See
        `CredentialsCache.lease`.
        """
        found = self._find(key)
        if found is None:
            yield False
            return
        name, _, leases = found
        has_lease = await self._take(leases, name)
        try:
            yield has_lease
        finally:
            if has_lease:
                await leases.give_back(name)

    def _find(self, key: CacheKey) -> tuple[str, CacheDirectory, Leases] | None:
        """Return the name of the entry of *key*, its directory and its leases. None if it cannot be cached."""
        if self._parts is None:
            self._warn("directory", self._hindrance)
            return None
        name = self._format.name(key)
        return None if name is None else (name, *self._parts)

    async def _take(self, leases: Leases, name: str) -> bool:
        """Take the lease of an entry. Return False, with a warning, if it is not available."""
        try:
            taken = await leases.take(name)
        except _Failed:
            return False
        if not taken:
            self._warn("lease", f"another process has held a lock for {LEASE_SECONDS:.0f} s")
        return taken

    async def _lock(self, directory: CacheDirectory, name: str) -> Lock | None:
        """Try to take a lock. Return None if another process holds it."""
        path = directory.lock_of(name)
        return await self._do(path, directory.take_lock, path)

    async def _unlock(self, lock: Lock) -> None:
        """Release a lock in a thread. On a file system that hangs, the thread does it later."""
        try:
            released = _THREADS.submit(lock.release)
        except NoThread:
            # In the event loop, because other processes must not wait until a thread can be started.
            with contextlib.suppress(OSError):
                lock.release()
        else:
            await released.ended(seconds=FILE_SECONDS)

    async def _do(self, path: Path, work: Callable[..., T], *arguments: Any) -> T:
        """
        Call *work*, which uses the file at *path*, in a thread.

        Raises:
            _Failed: It raised an error, or did not end within 5 s. This was logged.
        """
        if self._clock.monotonic() < self._out_of_use_until:
            raise _Failed
        try:
            return await _FILES.run(path, work, *arguments)
        except UnusableEntry as error:
            self._warn(error.kind, f"{_shown(path)} is ignored until it is replaced: {error}")
        except FileTimeout as error:
            # Each further call would wait as long, and so would each refresh.
            self._out_of_use_until = self._clock.monotonic() + OUT_OF_USE
            self._warn("timeout", f"{_shown(path)} {reason_of(error)}")
        except UnsuitableFile as error:
            self._warn(type(error).__name__, f"{_shown(error.filename)} {reason_of(error)}")
        except OSError as error:
            self._warn(f"{work.__name__} {error.errno}", f"{_shown(error.filename or path)}: {reason_of(error)}")
        except NoThread:
            self._warn("thread", "no thread can be started")
        raise _Failed

    def _warn(self, kind: str, reason: str) -> None:
        """Log a failure, once for each kind, directory and process."""
        if (kind, str(self.directory)) not in _LOGGED:
            _LOGGED.add((kind, str(self.directory)))
            log.warning("%r: %s; the credentials are fetched from STS", self, reason)

    def __repr__(self) -> str:
        shown = "" if self.directory is None else _shown(self.directory)
        return f"FileCache({', '.join(filter(None, [shown, 'aws_cli_format=True' * (not self._format.sharded)]))})"


def _shown(path: str | os.PathLike[str]) -> str:
    """Return a path for messages, with escapes, because parts of it may come from the environment."""
    return ascii(os.fspath(path))
