"""Headers that are added to a request: which are let through."""

import re
from collections.abc import Mapping

from ..errors import ConfigurationError

_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}"  # Source: RFC 9110, 5.6.2
OWN_HEADERS = frozenset(
    """
    accept accept-encoding authorization connection content-encoding content-length content-type cookie expect host
    keep-alive proxy-authorization te trailer transfer-encoding upgrade x-amz-date x-amz-security-token
    """.split()
)
"""Headers that the library makes, or that are the connection's: nobody adds them to a request."""


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """
    Return the headers by lower-case names.

    Raises:
        ConfigurationError: One could change what the library sends, or has a value that no header can have. The message
            shows no value.
    """
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers must be a mapping of names to values, not a {type(headers).__name__}")
    checked = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not re.fullmatch(_NAME, name) or name.lower() in OWN_HEADERS:
            raise ConfigurationError(f"headers: {name!a} is not the name of a header that can be added")
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise ConfigurationError(f"headers: the value of {name} must be printable ASCII")
        checked[name.lower()] = value
    return checked
