"""
Checks of the arguments of tokens: hosts, ports, names and regions.

A host, name or user becomes a part of a signed URL. A text with ``/``, ``@`` or ``?`` could move the signature to
another host or add a parameter, so a host follows a strict grammar, and other texts are encoded.
"""

import re

from .._protocol.endpoints import AWS_DOMAINS, GLOBAL_REGION, check_region, is_known_region
from .._protocol.urls import HttpURL, parse_http_url
from .._shape.arguments import is_whole
from .._shape.forms import as_whole_seconds
from .._shape.secret import attempt
from ..errors import ConfigurationError, InvalidEndpoint, InvalidRegion
from ..shapes import Seconds

DOMAINS = (*AWS_DOMAINS, ".on.aws")
MAX_TEXT = 1024  # characters of a user; longer ones exist in no service


def checked_host(host: str) -> str:
    """
    Return a host name or an IPv4 address in lower case.

    Raises:
        ConfigurationError: *host* is neither, or has a scheme, a port, a path or a user.
    """
    parsed = _parsed(host) if isinstance(host, str) else None
    if parsed is None or parsed.host != host.lower() or parsed.port is not None:
        raise ConfigurationError(
            "host must be a host name such as db.abc123.eu-west-1.rds.amazonaws.com, without scheme, port and path"
        )
    return parsed.host


def _parsed(host: str) -> HttpURL | None:
    return attempt(InvalidEndpoint, lambda: parse_http_url(f"https://{host}/", what="host"))


def checked_port(port: int) -> int:
    """
    Return a port.

    Raises:
        ConfigurationError: It is not a whole number from 1 to 65535.
    """
    if not is_whole(port, most=65_535):
        raise ConfigurationError("port must be a whole number from 1 to 65535")
    return port


def checked_label(name: str, value: str) -> str:
    """
    Return the name of a cache or cluster in lower case. The services use it as the host of the signed URL.

    Raises:
        ConfigurationError: *value* is not one host label. The message begins with *name*.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", value):
        raise ConfigurationError(
            f"{name} must be a name of 1 to 63 letters, digits and hyphens, with no hyphen at either end; "
            "the host name of its endpoint is not accepted"
        )
    return value.lower()


def checked_user(user: str) -> str:
    """
    Return the name of a user, which may have any printable characters.

    Raises:
        ConfigurationError: It is empty, too long, or has control characters.
    """
    if not isinstance(user, str) or not 1 <= len(user) <= MAX_TEXT or re.search(r"[\0-\x1f\x7f\ud800-\udfff]", user):
        raise ConfigurationError(f"user must be text of 1 to {MAX_TEXT} characters without control characters")
    return user


def checked_expires(expires: Seconds, *, most: int) -> int:
    """
    Return a lifetime in seconds.

    Raises:
        ConfigurationError: It is not a whole number of seconds from 1 to *most*, or such a `timedelta`.
    """
    seconds: int = as_whole_seconds(expires)
    if not is_whole(seconds, most=most):
        raise ConfigurationError(f"expires must be a whole number of seconds from 1 to {most}, or a timedelta of it")
    return seconds


def checked_region(region: str | None, *, otherwise: str | None = None) -> str:
    """
    Return the name of one region.

    Args:
        region: The region; None for *otherwise*.
        otherwise: The region of the client, or None.

    Raises:
        InvalidRegion: It is not the name of a region, or means a whole partition.
        ConfigurationError: Both are None.
    """
    region = otherwise if region is None else region
    if region is None:
        raise ConfigurationError("no region: pass region, or use a client with a region")
    if not isinstance(region, str):
        raise InvalidRegion("region must be text")
    check_region(region)
    if region == GLOBAL_REGION:
        raise InvalidRegion(f"{region!a} is a whole partition: use a region such as us-east-1")
    return region


def region_for(host: str, *, given: str | None, otherwise: str | None = None) -> str:
    """
    Return the region to sign for: *given*, or the one in the name of *host*, or *otherwise*.

    *host* has been checked by `checked_host`.

    Raises:
        ConfigurationError: There is no region, or *given* is another one than that of *host*. A token for another
            region is refused by the database without a reason.
    """
    told = region_of(host)
    if given is not None and told not in (None, checked_region(given)):
        raise ConfigurationError(f"host is in {told}, but region is {given}: omit region, or pass {told}")
    return checked_region(told if given is None else given, otherwise=otherwise)


def region_of(host: str) -> str | None:
    """
    Return the region in a host name of AWS, or None if there is none, such as in names of customers.

    The first label is the name that the customer chose, and does not count.
    """
    if not host.endswith(DOMAINS):
        return None
    found = [label for label in host.split(".")[1:] if label.count("-") >= 2 and is_known_region(label)]
    return found[0] if len(found) == 1 else None
