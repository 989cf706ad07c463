"""The shared config and credentials files: where they are, and what they say now. They are read in a thread."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import attrs

from . import _files
from ._core import profile as grammar
from ._core.profile import Kind, SharedConfig
from ._core.system import PASSING, reason_of
from ._threads import reading
from .errors import ConfigurationError, InvalidConfigFile

DEFAULT_CONFIG = "~/.aws/config"
DEFAULT_CREDENTIALS = "~/.aws/credentials"
HOME_VARIABLES = ("HOME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH")

log = logging.getLogger("sts_async")


@attrs.frozen
class _Snapshot:
    stamps: tuple[_files.Stamp | None, ...] = ()
    parsed: SharedConfig = grammar.EMPTY


class SharedFiles:
    """
    The two files of one configuration.

    Args:
        config: Path of the config file; None when there is no home directory to look in.
        credentials: Path of the credentials file, likewise.
    """

    def __init__(self, *, config: Path | None, credentials: Path | None) -> None:
        self.paths: tuple[tuple[Kind, Path | None], ...] = (("config", config), ("credentials", credentials))
        self._snapshot = _Snapshot()

    @classmethod
    def at(cls, *, config: str | None, credentials: str | None, environ: Mapping[str, str]) -> Self:
        """
        Return the files at two paths, or at their usual places where a path is None.

        Raises:
            ConfigurationError: A path begins with ``~/``, and there is no home directory.
        """
        return cls(
            config=_path(config, DEFAULT_CONFIG, environ), credentials=_path(credentials, DEFAULT_CREDENTIALS, environ)
        )

    async def load(self) -> SharedConfig:
        """
        Return what the files say now. A missing file says nothing; one that has not changed is not read again.

        Raises:
            InvalidConfigFile: A file cannot be read, or breaks the grammar.
        """
        last = self._snapshot
        snapshot = self._snapshot = await reading(self._look, last)
        if snapshot is not last:
            for warning in snapshot.parsed.warnings:
                log.warning("%s", warning)
        return snapshot.parsed

    def _look(self, last: _Snapshot) -> _Snapshot:
        stamps = []
        path = None
        try:
            for _, path in self.paths:
                stamps.append(None if path is None or str(path) == os.devnull else _files.stamp(path))
            if tuple(stamps) == last.stamps:
                return last
            stamps.clear()
            parts = []
            for kind, path in self.paths:
                parsed, stamp = _read(kind, path)
                parts.append(parsed)
                stamps.append(stamp)
            return _Snapshot(tuple(stamps), grammar.merge(*parts))
        except OSError as error:
            reason, recoverable = reason_of(error), error.errno in PASSING
        except ValueError:
            reason, recoverable = "not the name of a file", False
        failure = InvalidConfigFile(f"{str(path)!a}: {reason}")
        failure.recoverable = recoverable
        raise failure


def _read(kind: Kind, path: Path | None) -> tuple[SharedConfig, _files.Stamp | None]:
    if path is None or str(path) == os.devnull:  # how a program says that there are no files
        return grammar.EMPTY, None
    try:
        data, stamp = _files.read(path)
    except FileNotFoundError:
        return grammar.EMPTY, None
    return grammar.parse(grammar.decode(data, file=str(path)), file=str(path), kind=kind), stamp


def _path(given: str | None, default: str, environ: Mapping[str, str]) -> Path | None:
    try:
        return _files.expand(given or default, environ)
    except ConfigurationError:
        if given is not None:
            raise
        return None  # no home directory, no files
