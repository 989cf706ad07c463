"""
The shared config and credentials files: where they are, and what they say now. They are read in threads.

A file that was named must be readable. A default file need not be: a home directory may be `/dev/null`, another user's,
or on a file system that hangs. So one that cannot be read counts as empty, with a warning.
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
# What the system says where there can be no file at a path. After any other error, there may be one.
NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})

log = logging.getLogger("sts_async")


@attrs.frozen
class SharedFile:
    """
    One of the two files.

    Attributes:
        kind: Which of the two.
        path: Where it is; None when there is no home directory to look in.
        named_by: The option or variable that names it; None for the default.
        fault: Why there is no path although it was named.
    """

    kind: Kind
    path: Path | None
    named_by: str | None = None
    fault: str = ""

    @property
    def shown(self) -> str:
        """What messages call it: its path, after what named it."""
        return ascii(str(self.path)) if self.named_by is None else f"{self.named_by}: {str(self.path)!a}"


@attrs.frozen
class _Part:
    """
    What one of the files said when it was last looked at.

    Attributes:
        stamp: None when it was not there, or could not be read.
        parsed: What it says.
        unread: Why a default file could not be read; it then counts as empty.
        doubtful: The same, and how to do without the file, where it may say something all the same.
        absent: That a file that was named is not there.
    """

    stamp: files.Stamp | None = None
    parsed: SharedConfig = EMPTY
    unread: str = ""
    doubtful: str = ""
    absent: str = ""


_NOTHING = _Part()


class SharedFiles:
    """
    The two files of one configuration.

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
        Return the files at two paths, or at their usual places.

        Args:
            config: The path, and the option or variable that names it; None for the usual place.
            credentials: The same for the credentials file.
            environ: Where the home directory is looked up.
        """
        environ = HiddenMapping(environ)
        return cls(
            _file("config", config, DEFAULT_CONFIG, environ),
            _file("credentials", credentials, DEFAULT_CREDENTIALS, environ),
        )

    async def load(self) -> SharedConfig:
        """
        Return what the files say now. A missing file says nothing; one that has not changed is not read again.

        Each file has to be read within 5 s. A default file that cannot be read counts as empty, with one warning,
        unless it has been read before.

        Raises:
            InvalidConfigFile: A file breaks the grammar, or one that was named cannot be read; or this process is short
                of something that reading takes, in which case the error is recoverable.
        """
        before = self._parts
        looks = [_looked_at(file, part) for file, part in zip(self.files, before, strict=True)]
        parts: list[_Part] = []
        for outcome in await asyncio.gather(*looks):
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


async def _looked_at(file: SharedFile, before: _Part) -> _Part | InvalidConfigFile:
    """Return what a file says now, or why that cannot be said. *before* is what it said at the last look."""
    if file.fault:
        return InvalidConfigFile(file.fault)
    if file.path is None or str(file.path) == os.devnull:  # how a program says that there are no files
        return before
    may_be_unread, passing, doubtful = file.named_by is None and before.stamp is None, False, True
    try:
        return await FILE_READS.run(file.path, _look, file, file.path, before)
    except InvalidConfigFile as error:
        return error
    except OSError as error:
        reason, passing = reason_of(error), error.errno in PASSING
        doubtful = error.errno not in NO_FILE and not isinstance(error, files.UnsuitableFile)
        # Its content is at fault, as when it breaks the grammar: the file is there, and was meant to count.
        may_be_unread = may_be_unread and error.errno != errno.EFBIG
    except NoThread:
        reason, passing = "the system starts no more threads", True
    if may_be_unread and not passing:
        unread = f"{file.shown}: {reason}"
        advice = f"{unread} (to do without this file, set {OFF[file.kind]}={os.devnull})"
        return before if before.unread == unread else _Part(unread=unread, doubtful=advice if doubtful else "")
    failure = InvalidConfigFile(f"{file.shown}: {reason}")
    failure.recoverable = passing
    return failure


def _look(file: SharedFile, path: Path, before: _Part) -> _Part:
    """Return what a file says now, or *before* if it has not changed. Blocks."""
    stamp = files.stamp(path)
    if stamp is None:
        return _missing(file, before)
    if stamp == before.stamp:
        return before
    try:
        data, stamp = files.read(path)
    except FileNotFoundError:  # it has just gone
        return _missing(file, before)
    from . import profile_grammar  # here, in a thread: many programs have no such file

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
