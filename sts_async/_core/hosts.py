"""
Where requests for credentials may go without TLS: to this machine, and to what serves its instance or its container.

A URL is read by one strict grammar, of ASCII without white space, user information or fragment, so that no two readers
can disagree about its host. Names are not looked up here: whoever does checks each address, and connects to that.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address

import attrs

from ..errors import InvalidEndpoint
from .endpoints import LOOPBACK

Networks = tuple[IPv4Network | IPv6Network, ...]

CONTAINER: Networks = (
    *LOOPBACK,
    IPv4Network("169.254.170.2/32"),  # ECS
    IPv4Network("169.254.170.23/32"),  # EKS
    IPv6Network("fd00:ec2::23/128"),  # EKS
)
INSTANCE: Networks = (
    *LOOPBACK,
    IPv4Network("169.254.0.0/16"),
    IPv6Network("fe80::/10"),
    IPv6Network("fd00:ec2::254/128"),
)

# Text, which `re` compiles at first use and keeps: importing is not the time for it.
_TARGET = r"[!-\[\]-~]*"  # ASCII that can be seen, without the backslash
_HOST = r"(?P<host>\[[0-9a-f]*:[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
_URL = rf"(?i:(?P<scheme>https?)://{_HOST})(?P<target>(?:[/?]{_TARGET})?)"
_NUMERIC = r"(?i)(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?"  # what old resolvers read as an IPv4 address


@attrs.frozen(kw_only=True)
class Place:
    """
    A URL, taken apart.

    Attributes:
        scheme: ``http`` or ``https``.
        host: A name or an address, in lower case, without brackets.
        port: As it was given, or None.
        target: Path and query.
    """

    scheme: str
    host: str
    port: int | None = None
    target: str = attrs.field(default="/", repr=False)

    @property
    def is_address(self) -> bool:
        """Whether the host is an address rather than a name."""
        try:
            ip_address(self.host)
        except ValueError:
            return False
        return True

    @property
    def authority(self) -> str:
        """Host and port, as the Host header has them."""
        return _authority(self.host, self.port)

    def at(self, address: str) -> str:
        """Return the URL with *address* in place of the host."""
        return f"{self.scheme}://{_authority(address, self.port)}{self.target}"

    @property
    def url(self) -> str:
        """The URL."""
        return self.at(self.host)


def _authority(host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def take_apart(url: str, *, what: str) -> Place:
    """
    Return the parts of an absolute URL.

    Raises:
        InvalidEndpoint: It is none, or its host can be read in two ways, such as ``127.1`` and ``0x7f000001``; the
            message begins with *what* it is.
    """
    found = re.fullmatch(_URL, url)
    if found is None or "#" in found["target"]:
        raise InvalidEndpoint(f"{what} must be http:// or https://, a host, a port where one is needed, and a path")
    host = found["host"].lower().strip("[]")
    port = None if found["port"] is None else int(found["port"])
    target = found["target"]
    place = Place(
        scheme=found["scheme"].lower(),
        host=host,
        port=port,
        target=target if target.startswith("/") else f"/{target}",
    )
    if not place.is_address and (":" in host or re.fullmatch(_NUMERIC, host)):
        raise InvalidEndpoint(f"{what} has an address that is not written in the usual way")
    if port is not None and not 1 <= port <= 65_535:
        raise InvalidEndpoint(f"{what} must have a port of 1 to 65535")
    return place


def is_target(text: str) -> bool:
    """Say whether *text* is path and query of a URL, and cannot be read as anything with a host in it."""
    return text[:1] == "/" and text[:2] != "//" and re.fullmatch(_TARGET, text) is not None and not {*"@#"} & {*text}


def is_within(address: str, networks: Networks) -> bool:
    """Say whether an address is in one of *networks*. One with a zone, or one of IPv4 written as IPv6, never is."""
    return "%" not in address and any(ip_address(address) in network for network in networks)
