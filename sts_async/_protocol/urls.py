"""
The grammar of all URLs that the library accepts, and the networks where TLS is not required for credentials.

The grammar is strict: ASCII without whitespace, user information and fragment, so that two parsers cannot see different
hosts. Names are not resolved here. The code that connects checks each address, and connects to the checked address.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import attrs

from ..errors import InvalidEndpoint

Networks = tuple[IPv4Network | IPv6Network, ...]

DEFAULT_PORTS = {"https": 443, "http": 80}
LOOPBACK: Networks = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
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
MAX_HOST = 253  # characters of a name. Source: RFC 1035, 2.3.4, without two bytes of the wire format

# Patterns are strings, which `re` compiles on first use and caches, because compiling them would slow down the import.
_TARGET = r"[!-\[\]-~]*"  # visible ASCII without the backslash
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"  # names of containers can have "_"
_URL = rf"""(?ix)
    (?P<scheme> [a-z]+ ) ://
    (?P<host> \[ [0-9a-f.]* : [0-9a-f:.]* \] | {_LABEL} (?: \. {_LABEL} )* )
    (?P<dot> \.? )
    (?: : (?P<port> [0-9]{{1,5}} ) )?
    (?P<target> (?: [/?] {_TARGET} )? )
"""
_NUMERIC = r"(?i)(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)"  # names that old resolvers parse as IPv4 addresses
# Invalid patterns, each with the rule that follows "must" in messages. They are checked in this order.
_CHARACTERS = (r"[^!-~]|\\", "have only printable ASCII characters, no space and no backslash")
_REFUSED = (
    (r"\A[^/]*//[^/?#]*@", "not carry a user name or password"),
    (r"#", "not have a fragment"),
)


@attrs.frozen(kw_only=True)
class HttpURL:
    """
    The parts of a URL.

    Attributes:
        scheme: ``http`` or ``https``, in lower case.
        host: A name without its final dot, or an address without brackets, in lower case.
        port: The port in the URL, or None.
        target: Path and query.
        rooted: Whether the name had a final dot, which disables search domains.
    """

    scheme: str
    host: str
    port: int | None = None
    target: str = attrs.field(default="/", repr=False)
    rooted: bool = False

    @property
    def is_address(self) -> bool:
        """Whether the host is an address rather than a name."""
        return address_of(self.host) is not None

    @property
    def authority(self) -> str:
        """Host and port for the Host header: without the final dot, which HTTP clients do not send."""
        return _authority(self.host, self.port)

    @property
    def lookup_name(self) -> str:
        """The host for name resolution: with the final dot, if the URL has one."""
        return f"{self.host}." if self.rooted else self.host

    def with_address(self, address: str) -> str:
        """Return the URL with *address* instead of the host."""
        return f"{self.scheme}://{_authority(address, self.port)}{self.target}"

    @property
    def url(self) -> str:
        """The URL to connect to."""
        return self.with_address(self.lookup_name)


def _authority(host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def parse_http_url(url: str, *, what: str, schemes: tuple[str, ...] = ("https", "http")) -> HttpURL:
    """
    Return the parts of an absolute URL.

    Args:
        url: The URL.
        what: The option or variable that sets it; messages begin with it.
        schemes: The allowed schemes.

    Raises:
        InvalidEndpoint: *url* is not an absolute URL of this grammar, or its host is ambiguous, such as ``127.1`` and
            ``0x7f000001``. The message quotes no part of the URL.
    """
    if not isinstance(url, str):
        raise InvalidEndpoint(f"{what} must be a str")
    begins = (
        rf"(?ai)\A(?!(?:{'|'.join(schemes)})://)",
        f"begin with {' or '.join(f'{scheme}://' for scheme in schemes)}",
    )
    for pattern, rule in (_CHARACTERS, begins, *_REFUSED):
        if re.search(pattern, url):
            raise InvalidEndpoint(f"{what} must {rule}")
    found = re.fullmatch(_URL, url)
    if found is None or len(found["host"]) > MAX_HOST:
        raise InvalidEndpoint(
            f"{what} must be {' or '.join(f'{scheme}://host[:port][/path]' for scheme in schemes[:2])}"
        )
    host, target = found["host"].lower(), found["target"]
    if host.startswith("["):
        host = host[1:-1]
        if address_of(host) is None or found["dot"]:
            raise InvalidEndpoint(f"{what} must have an IPv6 address within brackets")
    elif re.fullmatch(_NUMERIC, host) and (address_of(host) is None or found["dot"]):
        raise InvalidEndpoint(
            f"{what} must have a host name or an IPv4 address in dotted decimal form (such as 192.0.2.1)"
        )
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 1 <= port <= 65_535:
        raise InvalidEndpoint(f"{what} must have a port between 1 and 65535")
    return HttpURL(
        scheme=found["scheme"].lower(),
        host=host,
        port=port,
        target=target if target.startswith("/") else f"/{target}",
        rooted=bool(found["dot"]),
    )


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return a host as an address, or None if it is a name or an address in an unusual form."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_target(text: str) -> bool:
    """Return True if *text* is the path and query of a URL, and no parser can find a host in it."""
    return text[:1] == "/" and text[:2] != "//" and re.fullmatch(_TARGET, text) is not None and not {*"@#"} & {*text}


def is_within(address: str, networks: Networks) -> bool:
    """Return True if an address is in one of *networks*; False for addresses with a zone and IPv4-mapped addresses."""
    return "%" not in address and any(ip_address(address) in network for network in networks)
