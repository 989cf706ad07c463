"""
Paths and current contents of the shared config and credentials files, which are read in threads.

A file that an option or a variable names must be readable. A default file that cannot be read counts as empty, with a
warning: a home directory can be `/dev/null`, belong to another user, or be on a file system that hangs.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import attrs

from .._runtime import files
from .._runtime.file_reads import FILE_READS
from .._runtime.outcome import copy_without_traceback
from .._runtime.threads import NoThread
from .._shape.secret import HiddenMapping
from .._wording.os_errors import PASSING, reason_of
from ..errors import ConfigurationError, InvalidConfigFile
from .sections import EMPTY, Kind, SharedConfig, merge

DEFAULT_CONFIG = "~/.aws/config"
DEFAULT_CREDENTIALS = "~/.aws/credentials"
HOME_VARIABLES = ("HOME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH")

OFF: Mapping[Kind, str] = {"config": "AWS_CONFIG_FILE", "credentials": "AWS_SHARED_CREDENTIALS_FILE"}
# Errors of the system that mean that there is no file at a path. After any other error, there may be one.
NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})

log = logging.getLogger("sts_async")


@attrs.frozen
class SharedFile:
    """
    One of the two shared files.

    Attributes:
        kind: The config or the credentials file.
        path: Its path; None if the home directory is not known.
        named_by: The option or variable that names the file; None for the default file.
        fault: Why a named file has no path; empty if it has one.
    """

    kind: Kind
    path: Path | None
    named_by: str | None = None
    fault: str = ""

    @property
    def shown(self) -> str:
        """The file in messages: its path, after the option or variable that names it."""
        return ascii(str(self.path)) if self.named_by is None else f"{self.named_by}: {str(self.path)!a}"


@attrs.frozen
class _Part:
    """
    Contents of one of the files at its last check.

    Attributes:
        stamp: The stamp of the file; None if it did not exist, or could not be read.
        parsed: The contents.
        unread: Why a default file could not be read and counts as empty.
        doubtful: The same with advice how to ignore the file; empty if there is certainly no file.
        absent: The message that a named file does not exist.
    """

    stamp: files.Stamp | None = None
    parsed: SharedConfig = EMPTY
    unread: str = ""
    doubtful: str = ""
    absent: str = ""


_NOTHING = _Part()


class SharedFiles:
    """
    The two shared files of one configuration, with a cache of their contents.

    Args:
        config: The config file.
        credentials: The credentials file.
    """

    def __init__(self, config: SharedFile, credentials: SharedFile) -> None:
        self.files = (config, credentials)
        self._parts: tuple[_Part, ...] = (_NOTHING, _NOTHING)
        self._merged = EMPTY

    @classmethod
    def from_environ(
        cls,
        *,
        config: tuple[str, str] | None = None,
        credentials: tuple[str, str] | None = None,
        environ: Mapping[str, str],
    ) -> Self:
        """
        Return the files at two paths, or at their default paths.

        Args:
            config: The path of the config file and the option or variable that names it; None for the default path.
            credentials: The same for the credentials file.
            environ: The environment, for the home directory.
        """
        environ = HiddenMapping(environ)
        return cls(
            _file("config", config, DEFAULT_CONFIG, environ),
            _file("credentials", credentials, DEFAULT_CREDENTIALS, environ),
        )

    async def load(self) -> SharedConfig:
        """
        Return the current contents of the files. A file that has not changed is not read again.

        A missing file counts as empty. The time limit is 5 s for each file. A default file that cannot be read counts
        as empty, with one warning, unless an earlier read succeeded.

        Raises:
            InvalidConfigFile: A file breaks the grammar, or a named file cannot be read. The error is recoverable if
                the process lacks a resource that it needs to read files.
        """
        before = self._parts
        checks = [_check(file, part) for file, part in zip(self.files, before, strict=True)]
        parts: list[_Part] = []
        for outcome in await asyncio.gather(*checks):
            if isinstance(outcome, InvalidConfigFile):
                raise copy_without_traceback(outcome)
            parts.append(outcome)
        changed = [now for now, then in zip(parts, before, strict=True) if now is not then]
        if not changed:
            return self._merged
        merged = merge(*(part.parsed for part in parts))
        self._merged = attrs.evolve(
            merged,
            unread=tuple(part.unread for part in parts if part.unread),
            doubtful=tuple(part.doubtful for part in parts if part.doubtful),
            absent=tuple(part.absent for part in parts if part.absent),
        )
        self._parts = tuple(parts)
        for part in changed:
            for warning in (*part.parsed.warnings, *filter(None, [part.absent])):
                log.warning("%s", warning)
        if unread := [part.unread for part in changed if part.unread]:
            log.warning("default files that cannot be read count as empty: %s", "; ".join(unread))
        return self._merged


async def _check(file: SharedFile, before: _Part) -> _Part | InvalidConfigFile:
    """Return the current contents of a file, or an error. *before* has the contents at the last check."""
    if file.fault:
        return InvalidConfigFile(file.fault)
    # Programs set the path to the null device to disable a file.
    if file.path is None or str(file.path) == os.devnull:
        return before
    may_be_unread, passing, doubtful = file.named_by is None and before.stamp is None, False, True
    try:
        return await FILE_READS.run(file.path, _check_blocking, file, file.path, before)
    except InvalidConfigFile as error:
        return error
    except OSError as error:
        reason, passing = reason_of(error), error.errno in PASSING
        doubtful = error.errno not in NO_FILE and not isinstance(error, files.UnsuitableFile)
        # A file that is too large exists and is invalid, like a file that breaks the grammar.
        may_be_unread = may_be_unread and error.errno != errno.EFBIG
    except NoThread:
        reason, passing = "the system starts no more threads", True
    if may_be_unread and not passing:
        unread = f"{file.shown}: {reason}"
        advice = f"{unread} (to ignore this file, set {OFF[file.kind]}={os.devnull})"
        return before if before.unread == unread else _Part(unread=unread, doubtful=advice if doubtful else "")
    failure = InvalidConfigFile(f"{file.shown}: {reason}")
    failure.recoverable = passing
    return failure


def _check_blocking(file: SharedFile, path: Path, before: _Part) -> _Part:
    """Return the current contents of a file, or *before* if it has not changed. Blocks."""
    stamp = files.stamp(path)
    if stamp is None:
        return _missing(file, before)
    if stamp == before.stamp:
        return before
    try:
        data, stamp = files.read(path)
    except FileNotFoundError:  # it was deleted after the check
        return _missing(file, before)
    from . import profile_grammar  # imported here, in a thread, because many programs have no such file

    return _Part(
        stamp, profile_grammar.parse(profile_grammar.decode(data, file=str(path)), file=str(path), kind=file.kind)
    )


def _missing(file: SharedFile, before: _Part) -> _Part:
    absent = "" if file.named_by is None else f"{file.shown} does not exist, and counts as empty"
    unchanged = before.stamp is None and not before.unread and before.absent == absent
    return before if unchanged else _Part(absent=absent)


def _file(kind: Kind, given: tuple[str, str] | None, default: str, environ: Mapping[str, str]) -> SharedFile:
    path, named_by = (default, None) if given is None else given
    try:
        return SharedFile(kind, files.expand(path, environ), named_by)
    except ConfigurationError as error:
        # No home directory, no default files.
        return SharedFile(kind, None, named_by, "" if named_by is None else f"{named_by}: {error}")
