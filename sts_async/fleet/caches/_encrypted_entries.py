"""
Encrypted entries, for caches whose storage other programs can read or change.

A value has these parts, one after the other:

    1 byte         the version of this format, 1
    1 byte         the length of the key id
    1 to 64 bytes  the key id, in ASCII
    12 bytes       the nonce, random for each value
    the rest       the entry, encrypted with AES-256-GCM, and its tag of 16 bytes

The entry is that of `OwnFormat`, a JSON object. The additional authenticated data are the version, the digest of the
cache key (64 hexadecimal digits), and the key id. So a value that was changed, or moved to the key of another identity,
is not authentic. Nothing of a value is parsed before it has been authenticated, except the version and the key id.

An older value of the same identity is authentic, too. The reader of a cache must refuse it by its times.

With random nonces, a key should encrypt at most 2**32 values. 10,000 identities that are refreshed each hour need
more than 40 years for so many.

Source: NIST SP 800-38D, sections 5.2.1.1 and 8.3.
"""

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..._protocol.json_documents import MAX_BYTES
from ..._shape.secret import SecretBytes, Unpicklable, attempt
from ...errors import ConfigurationError
from ._entries import OwnFormat, UnusableEntry
from .encryption_keys import EncryptionKeys, is_key_id
from .protocol import CachedCredentials, CacheKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ADVICE = "a cache with encryption needs the package cryptography: pip install 'sts-async[redis]'"
FORMAT_VERSION = 1
NONCE_BYTES = 12
TAG_BYTES = 16
MIN_VALUE_BYTES = 2 + 1 + NONCE_BYTES + TAG_BYTES
MAX_VALUE_BYTES = 2 + 64 + NONCE_BYTES + MAX_BYTES + TAG_BYTES
"""Size of the largest value. Larger values are refused without reading them."""

# `OwnFormat` does not use the time of writing.
_NO_TIME = datetime.fromtimestamp(0, UTC)


class EncryptedEntries(Unpicklable):
    """
    Encrypts and decrypts the entries of a cache.

    Args:
        keys: The keys. The first encrypts, and all decrypt.

    Raises:
        ConfigurationError: The package ``cryptography`` is not installed.
    """

    __slots__ = ("_ciphers", "_format", "_key_id")

    _instead = EncryptionKeys._instead

    def __init__(self, keys: EncryptionKeys) -> None:
        self._ciphers = _ciphers_of(keys)
        self._key_id = keys.ids[0]
        self._format = OwnFormat()

    def encrypt(self, key: CacheKey, cached: CachedCredentials) -> bytes:
        """
        Return the encrypted entry.

        Raises:
            UnusableEntry: The entry is larger than 64 KiB, so that no reader would accept it. Its kind is "oversized".
            ParamValidationError: The request of *key* cannot be encoded.
        """
        plain = self._format.encode(key, cached)
        if len(plain) > MAX_BYTES:
            raise UnusableEntry("oversized", f"the entry is larger than {MAX_BYTES} bytes")
        nonce = secrets.token_bytes(NONCE_BYTES)
        encrypted = self._ciphers[self._key_id].encrypt(nonce, plain, _associated_data(key, self._key_id))
        return b"%c%c%b%b%b" % (FORMAT_VERSION, len(self._key_id), self._key_id.encode(), nonce, encrypted)

    def decrypt(self, key: CacheKey, value: bytes) -> CachedCredentials:
        """
        Return the credentials in an encrypted entry. They may have expired.

        Args:
            key: The key that is asked for.
            value: The encrypted entry.

        Raises:
            UnusableEntry: The value must not be used. Its kind is "oversized"; "invalid" (the form of the value, or of
                the entry in it); "version" (of another format version); "key id" (this process lacks the key);
                "authentication" (changed, of another cache key, or encrypted with another key of the same id); or
                "mismatch" (the entry belongs to another identity).
            ParamValidationError: The request of *key* cannot be encoded.
        """
        if len(value) > MAX_VALUE_BYTES:
            raise UnusableEntry("oversized", f"the value is larger than {MAX_VALUE_BYTES} bytes")
        if len(value) < MIN_VALUE_BYTES:
            raise UnusableEntry("invalid", "the value is incomplete")
        if value[0] != FORMAT_VERSION:
            raise UnusableEntry("version", "the value has another format version, or is of another program")
        start = 2 + value[1]
        key_id = value[2:start].decode("latin-1")
        if not is_key_id(key_id) or len(value) < start + NONCE_BYTES + TAG_BYTES:
            raise UnusableEntry("invalid", "the value is incomplete, or has no key id")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise UnusableEntry(
                "key id", f"the value is encrypted with the key {key_id!r}, which is not among the keys"
            )
        plain = _decrypted(cipher, value, start=start, associated_data=_associated_data(key, key_id))
        if plain is None:
            raise UnusableEntry("authentication", f"the value is not authentic for the key {key_id!r}")
        return self._format.decode(key, plain, written=_NO_TIME)

    def __repr__(self) -> str:
        return f"EncryptedEntries({', '.join(map(repr, self._ciphers))})"


def _ciphers_of(keys: EncryptionKeys) -> "Mapping[str, AESGCM]":
    """Return the cipher of each key; none of them shows its key."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ConfigurationError(ADVICE) from None
    return {key_id: AESGCM(key) for key_id, key in keys._secrets()}


def _associated_data(key: CacheKey, key_id: str) -> bytes:
    """Return the additional authenticated data. The digest has a fixed length, so no two of them are equal."""
    return b"%c%b%b" % (FORMAT_VERSION, key.digest.encode(), key_id.encode())


def _decrypted(cipher: "AESGCM", value: bytes, *, start: int, associated_data: bytes) -> SecretBytes | None:
    """Return the entry; None if the value is not authentic."""
    from cryptography.exceptions import InvalidTag

    nonce, encrypted = value[start : start + NONCE_BYTES], value[start + NONCE_BYTES :]
    plain = attempt(InvalidTag, cipher.decrypt, nonce, encrypted, associated_data)
    return None if plain is None else SecretBytes(plain)
