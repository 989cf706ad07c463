"""Checks of headers that a program adds to a request."""

import re
from collections.abc import Mapping
from typing import Any

from .._shape.secret import Secret, cover, kind_of, without_data
from ..errors import ConfigurationError

TCHAR = r"[A-Za-z0-9!#$%&'*+.^_`|~-]"  # a character of a header name. Source: RFC 9110, 5.6.2
INVALID_IN_HEADER = "contains characters that are invalid in an HTTP header"
MAX_VALUE = 8000  # characters of a value: a common limit of servers for a header line
OWN_HEADERS = frozenset(
    """
    accept accept-encoding authorization connection content-encoding content-length content-type cookie expect host
    keep-alive proxy-authorization proxy-connection te trailer transfer-encoding upgrade x-amz-date x-amz-security-token
    """.split()
)
"""Headers that the library or the connection sets; a program cannot add them."""


def is_header_value(value: object) -> bool:
    """Return True if *value* is text of printable ASCII, which is valid in every HTTP header."""
    return isinstance(value, str) and value.isascii() and value.isprintable()


def cover_headers(headers: Any) -> Any:
    """Return headers with hidden values, for the frames of errors; other plain data as an `Unshown`."""
    if isinstance(headers, Mapping):
        return {name: cover(value) for name, value in headers.items()}
    return without_data(headers)


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """
    Return the headers with lower-case names and hidden values.

    Raises:
        ConfigurationError: A header is one that the library sets, or its name or value is invalid. The message shows no
            value.
    """
    headers = cover_headers(headers)
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers must be a mapping of names to values, not a {kind_of(headers)}")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not re.fullmatch(rf"{TCHAR}{{1,128}}", name):
            raise ConfigurationError(f"headers: {str(name)[:128]!a} is not the name of a header")
        if name.lower() in OWN_HEADERS:
            raise ConfigurationError(f"headers: {name!a} is reserved for the library and cannot be added")
        if not is_header_value(value):
            raise ConfigurationError(f"headers: the value of {name} {INVALID_IN_HEADER}: it must be printable ASCII")
        if len(value) > MAX_VALUE:
            raise ConfigurationError(f"headers: the value of {name} has more than {MAX_VALUE} characters")
        checked[name.lower()] = Secret(value)
    return checked
