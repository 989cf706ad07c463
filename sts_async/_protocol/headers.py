"""Headers that are added to a request: which are let through."""

import re
from collections.abc import Mapping
from typing import Any

from .._shape.secret import Secret, cover, kind_of, without_data
from ..errors import ConfigurationError

TCHAR = r"[A-Za-z0-9!#$%&'*+.^_`|~-]"  # a character of one. Source: RFC 9110, 5.6.2
INVALID_IN_HEADER = "contains characters that are invalid in an HTTP header"
MAX_VALUE = 8000  # characters of a value: what servers take of a line
OWN_HEADERS = frozenset(
    """
    accept accept-encoding authorization connection content-encoding content-length content-type cookie expect host
    keep-alive proxy-authorization proxy-connection te trailer transfer-encoding upgrade x-amz-date x-amz-security-token
    """.split()
)
"""Headers that the library makes, or that are the connection's: nobody adds them to a request."""


def is_header_value(value: object) -> bool:
    """Return True for text that every HTTP header can hold: printable ASCII."""
    return isinstance(value, str) and value.isascii() and value.isprintable()


def cover_headers(headers: Any) -> Any:
    """Return headers with their values hidden, for the frames of errors; what is no mapping, without its data."""
    if isinstance(headers, Mapping):
        return {name: cover(value) for name, value in headers.items()}
    return without_data(headers)


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """
    Return the headers by lower-case names.

    Raises:
        ConfigurationError: One could change what the library sends, or has a value that no header can have. The message
            shows no value.
    """
    headers = cover_headers(headers)
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers must be a mapping of names to values, not a {kind_of(headers)}")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not re.fullmatch(rf"{TCHAR}{{1,128}}", name):
            raise ConfigurationError(f"headers: {str(name)[:128]!a} is not the name of a header")
        if name.lower() in OWN_HEADERS:
            raise ConfigurationError(f"headers: {name!a} is made by the library, and cannot be added")
        if not is_header_value(value):
            raise ConfigurationError(f"headers: the value of {name} {INVALID_IN_HEADER}: it must be printable ASCII")
        if len(value) > MAX_VALUE:
            raise ConfigurationError(f"headers: the value of {name} has more than {MAX_VALUE} characters")
        checked[name.lower()] = Secret(value)
    return checked
