"""
EncryptionKeys: the keys with which a cache that machines share encrypts its values.

A key is 32 random bytes and has an id, which is stored beside each value in plain text. With several keys, new values
are encrypted with the first, and values of all of them are read. So keys are replaced without an interruption: a new
key is added to all processes, then moved to the first place, and the old key is removed when its last value has
expired.
"""

import base64
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Self

from ..._runtime import files
from ..._shape.secret import HiddenMapping, Secret, SecretBytes, Unpicklable, Unshown, attempt, redact
from ..._wording.os_errors import reason_of
from ...errors import ConfigurationError

KEY_BYTES = 32  # of AES-256
MAX_FILE_BYTES = 64 * 1024  # about 600 keys with the longest ids
ID_RULE = "1 to 64 letters, digits, dots, underscores and hyphens"
KEY_RULE = "32 bytes, or the base64 text of 32 bytes"
LINE_RULE = "an id and the base64 text of 32 bytes, with a space between them"

# Strings: `re` compiles them on first use and caches them.
_ID = r"[A-Za-z0-9._-]{1,64}"
_BASE64 = r"[A-Za-z0-9+/]{43}=?"


class EncryptionKeys(Unpicklable):
    """
    Keys that encrypt the values of a cache, each with an id. They are never shown: the ``repr`` has the ids only.

    New values are encrypted with the first key, and values of all keys are read.

    Args:
        keys: The keys by their ids: 32 bytes each, or their base64 text. The first one encrypts. An id is in plain text
            in each value. It has 1 to 64 letters, digits, dots, underscores and hyphens, such as ``2026-11``.

    Raises:
        ConfigurationError: There is no key, or an id or a key is invalid.
    """

    __slots__ = ("_keys",)

    _instead = "the file or the variable with the keys"

    def __init__(self, keys: Mapping[str, bytes | str]) -> None:
        # First, because a traceback with local variables shows the arguments and the object.
        keys = _hidden(keys)
        self._keys: dict[str, SecretBytes] = {}
        if isinstance(keys, Unshown):
            raise ConfigurationError(
                f"keys of EncryptionKeys must be a mapping of ids to keys, not a {keys.kind}: "
                "use EncryptionKeys.from_text for text, or EncryptionKeys.from_file for a file"
            )
        # An invalid id is neither shown nor in a local variable: ids and keys may have been exchanged by mistake.
        if not all(map(is_key_id, keys)):
            raise ConfigurationError(f"each id of EncryptionKeys must have {ID_RULE}")
        for key_id in keys:
            key = _key_of(keys[key_id])
            if key is None:
                raise ConfigurationError(f"the key {key_id!r} of EncryptionKeys must be {KEY_RULE}")
            self._keys[str(key_id)] = key
        if not self._keys:
            raise ConfigurationError(
                "EncryptionKeys has no key: make one with `sts-async cache-key`, or with EncryptionKeys.generate"
            )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """
        Return the keys in a file, in the form of `from_text`.

        The file is read at once, which blocks. So call this before the event loop runs, or in a thread.

        Args:
            path: The file, at most 64 KiB. It must belong to this user, and no other user may read or write it: mode
                0600 or 0400. On Windows, the mode is not checked.

        Raises:
            ConfigurationError: The file cannot be read, or other users can read or write it; or as `from_text`.
        """
        what = f"the file of cache keys {os.fspath(path)!a}"
        try:
            data, _ = files.read(path, max_bytes=MAX_FILE_BYTES, secret=True)
        except files.UnsuitableFile as error:
            rule = "; it must belong to this user, and have mode 0600 or 0400"
            raise ConfigurationError(
                f"{what} {reason_of(error)}{rule if isinstance(error, files.NotPrivate) else ''}"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"{what} cannot be read: {reason_of(error)}") from None
        text = attempt(UnicodeDecodeError, data.decode, "utf-8-sig")
        if text is None:
            raise ConfigurationError(f"{what} is not text in UTF-8")
        return cls._from_lines(text, what=what)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """
        Return the keys in a text, such as the value of a variable.

        Args:
            text: The keys: each is an id, a space, and the base64 text of 32 bytes. The first one encrypts. They are on
                lines, or separated by commas. Blank lines and lines that begin with ``#`` are skipped.

        Raises:
            ConfigurationError: There is no key, a key or its form is invalid, or an id occurs twice.
        """
        text = redact(text)
        if not isinstance(text, str):
            raise ConfigurationError("text of EncryptionKeys.from_text must be of type str")
        return cls._from_lines(text, what="the text of cache keys")

    @classmethod
    def _from_lines(cls, text: str, *, what: str) -> Self:
        """Return the keys in a text, with errors that name *what* and the line."""
        found: dict[str, SecretBytes] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            for entry in _entries_in(line):
                key_id, *rest = entry.split()
                key = _key_of(rest[0]) if len(rest) == 1 else None
                if key is None or not is_key_id(key_id):
                    raise ConfigurationError(f"{what}, line {number}: a key must be {LINE_RULE}")
                # Plain text, because an id is shown.
                if (plain := str(key_id)) in found:
                    raise ConfigurationError(f"{what}, line {number}: the id {plain!r} occurs twice")
                found[plain] = key
        if not found:
            raise ConfigurationError(f"{what} has no key: make one with `sts-async cache-key`")
        return cls(found)

    @staticmethod
    def generate(key_id: str) -> str:
        """
        Return a new random key with its id, as a line for a file of keys. The line is a `Secret`.

        Args:
            key_id: The id, which no other key of the cache may have, such as the month ``2026-11``.

        Raises:
            ConfigurationError: *key_id* is invalid.
        """
        if not is_key_id(key_id):
            raise ConfigurationError(f"key_id must have {ID_RULE}")
        return Secret(f"{key_id} {base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}")

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys. The first key encrypts."""
        return tuple(self._keys)

    def _secrets(self) -> Iterable[tuple[str, SecretBytes]]:
        """Return the ids and the keys, for the cipher. No public method shows a key."""
        return self._keys.items()

    def __repr__(self) -> str:
        return f"EncryptionKeys({', '.join(map(repr, self._keys))})"


def _hidden(keys: Any) -> Any:
    """Return the argument of `EncryptionKeys` so that a traceback does not show its keys."""
    return HiddenMapping(keys) if isinstance(keys, Mapping) else Unshown(type(keys).__name__)


def is_key_id(value: object) -> bool:
    """Return True if *value* can be the id of a key."""
    return isinstance(value, str) and re.fullmatch(_ID, value) is not None


def _entries_in(line: str) -> Iterable[str]:
    """Return the keys on a line with their ids, without the white space around them."""
    line = line.strip()
    parts = [] if line.startswith("#") else line.split(",")
    return [part for part in map(Secret.strip, map(redact, parts)) if part]


def _key_of(given: object) -> SecretBytes | None:
    """Return the 32 bytes of a key; None if it is invalid."""
    given = redact(given)
    if isinstance(given, str):
        # The alphabet for URLs is accepted, too.
        given = given.translate({ord("-"): "+", ord("_"): "/"})
        if not re.fullmatch(_BASE64, given):
            return None
        return SecretBytes(base64.b64decode(given.removesuffix("=") + "="))
    return SecretBytes(given) if isinstance(given, bytes) and len(given) == KEY_BYTES else None
