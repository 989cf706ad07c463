"""
Which proxy a request goes by: none for this host and its metadata services, else by scheme and by a list of exceptions.

The rules are those of the environment variables, which every tool reads a little differently: where two readings are
in use, more hosts are reached directly.
"""

import re
from base64 import b64encode
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import unquote_to_bytes, urlsplit

import attrs

from .._shape.secret import Secret, redact
from ..errors import ConfigurationError
from .urls import CONTAINER, DEFAULT_PORTS, INSTANCE, parse_http_url

PROXY_RULE = "an http:// or https:// URL such as http://user:password@host:port"

# User and password are visible ASCII without / ? # and backslash, so that nobody takes a part of them for the host.
_PROXY_URL = r"""(?:((?i:https?))://)?(?:([!"$-.0->@-\[\]-~]*)@)?([^@]*)"""


@attrs.frozen(kw_only=True)
class Proxy:
    """
    A proxy.

    Attributes:
        url: Where it is, without user and password.
        authority: Its host and port, for messages.
        authorization: What it gets in the Proxy-Authorization header, or None.
    """

    url: str
    authority: str
    authorization: Secret | None = attrs.field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str) -> "Proxy":
        """
        Return the proxy at ``http://user:password@host:port``, of which only the host is needed.

        User and password are percent-decoded. Without a scheme it is ``http``, without a port that of the scheme.

        Raises:
            ConfigurationError: *url* is not one. The message does not quote it.
        """
        url = redact(url)
        scheme, user, rest = _parts(url)
        place = parse_http_url(f"{scheme or 'http'}://{rest}", what="a proxy")
        if place.target != "/":
            raise ConfigurationError("a proxy must be a host and a port, without a path")
        return cls(url=place.url, authority=place.authority, authorization=_basic(user) if user else None)


def _parts(url: str) -> tuple[str, Secret | None, str]:
    """Return scheme, login and the rest of a URL; empty if it is none. In a frame of its own: a match shows the URL."""
    found = re.fullmatch(_PROXY_URL, url)
    return ("", None, "") if found is None else (found[1], redact(found[2]), found[3])


def _basic(user: Secret) -> Secret:
    pair = user if ":" in user else f"{user}:"
    return Secret(f"Basic {b64encode(unquote_to_bytes(redact(pair))).decode('ascii')}")


def is_proxy(url: str) -> bool:
    """Say whether *url* is one of a proxy."""
    try:
        Proxy.from_url(url)
    except ConfigurationError:
        return False
    return True


@attrs.frozen(kw_only=True)
class ProxySetting:
    """
    What names a proxy, read when a request would go by it.

    Attributes:
        url: The URL as it was given.
        origin: The option or the variable that it comes from, for messages.
    """

    url: Secret = attrs.field(repr=False, converter=redact)
    origin: str

    def read(self, *, host: str) -> Proxy:
        """
        Return the proxy.

        Raises:
            ConfigurationError: The URL is not that of a proxy, and requests for *host* would go by it.
        """
        if is_proxy(self.url):
            return Proxy.from_url(self.url)
        raise ConfigurationError(
            f"{self.origin} must be {PROXY_RULE}; it applies to requests for {host}. SOCKS is not supported. "
            f"Add {host} to NO_PROXY to connect directly."
        )


@attrs.frozen(kw_only=True)
class Proxies:
    """
    The proxies of a client.

    Attributes:
        https: For requests with TLS, or None.
        http: For requests without, or None.
        exceptions: The hosts that are reached directly, see `is_excepted`.
    """

    https: Proxy | ProxySetting | None = None
    http: Proxy | ProxySetting | None = None
    exceptions: str = ""

    def for_url(self, url: str) -> Proxy | None:
        """
        Return the proxy by which an absolute URL is reached, or None for a direct connection.

        Raises:
            ConfigurationError: It would be reached by a proxy whose setting makes no sense.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        proxy = self.https if parts.scheme == "https" else self.http
        if proxy is None or bypasses_proxy(host):
            return None
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
        if is_excepted(host, port=port, exceptions=self.exceptions):
            return None
        return proxy.read(host=host) if isinstance(proxy, ProxySetting) else proxy


def bypasses_proxy(host: str) -> bool:
    """
    Say whether a host is this one, on its own link, or serves the credentials of its instance or container.

    What goes there carries or brings keys, and a proxy would ask its own services in place of ours.
    """
    host = host.lower().rstrip(".")
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    if address.is_loopback or address.is_link_local or address.is_unspecified:
        return True
    return any(address in network for network in (*CONTAINER, *INSTANCE))


def is_excepted(host: str, *, port: int, exceptions: str) -> bool:
    """
    Say whether a list of exceptions, as in ``NO_PROXY``, holds a host.

    Its entries stand between commas or spaces: ``*`` for every host; a name, which stands for the hosts below it, too,
    whether it begins with a dot, with ``*.`` or with neither; an address; or a network such as ``10.0.0.0/8``. With a
    port behind it, an entry is for that port only. An entry that is none of these holds no host.

    Args:
        host: Name or address, without brackets.
        port: The port that is connected to.
        exceptions: The list.
    """
    host = host.lower().rstrip(".")
    address = _address(host)
    return any(_holds(entry, host, address, port) for entry in exceptions.lower().replace(",", " ").split())


def _holds(entry: str, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
    if entry == "*":
        return True
    name, only = _split(entry)
    if only not in ("", str(port)):
        return False
    if address is None:
        name = name.removeprefix("*.").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return address in ip_network(name, strict=False)
    except ValueError:
        return False


def _split(entry: str) -> tuple[str, str]:
    """Return what is before the port, and the port or nothing."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
