"""Authenticated messages: tokens and authorization messages that STS issues, and later accepts and decodes."""

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Mapping
from typing import Any

from .._shape.secret import attempt

SEAL_SIZE = 32  # bytes


def seal(key: bytes, purpose: str, content: Mapping[str, Any]) -> str:
    """Return *content* as URL-safe text, which `unseal` decodes with the same key and purpose."""
    packed = zlib.compress(json.dumps(content, separators=(",", ":")).encode())
    return base64.urlsafe_b64encode(_seal_of(key, purpose, packed) + packed).decode()


def unseal(key: bytes, purpose: str, text: str) -> Any:
    """
    Return the content of a sealed message.

    Raises:
        ValueError: The message was not sealed with this key for this purpose.
    """
    raw = attempt(ValueError, _packed, text)
    if raw is None:
        raise ValueError("not a sealed message")
    found, packed = raw[:SEAL_SIZE], raw[SEAL_SIZE:]
    if not hmac.compare_digest(found, _seal_of(key, purpose, packed)):
        raise ValueError("not a sealed message")
    return json.loads(zlib.decompress(packed))


def _packed(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)


def _seal_of(key: bytes, purpose: str, packed: bytes) -> bytes:
    return hmac.digest(key, hashlib.sha256(purpose.encode()).digest() + packed, "sha256")
