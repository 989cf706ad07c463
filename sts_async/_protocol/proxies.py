"""
Selection of the proxy for a request, by scheme and by a list of exceptions.

Requests to this host and to its metadata services never use a proxy. The rules for exceptions are those of the variable
NO_PROXY. Tools interpret it in different ways; here, an entry matches if one of the common interpretations matches.
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

# User and password are visible ASCII without / ? # and backslash, so that no parser takes a part of them for the host.
_PROXY_URL = r"""(?:((?i:https?))://)?(?:([!"$-.0->@-\[\]-~]*)@)?([^@]*)"""


@attrs.frozen(kw_only=True)
class Proxy:
    """
    A proxy.

    Attributes:
        url: Its URL, without user and password.
        authority: Its host and port, for messages.
        authorization: The value of the Proxy-Authorization header, or None.
    """

    url: str
    authority: str
    authorization: Secret | None = attrs.field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str) -> "Proxy":
        """
        Return the proxy at ``http://user:password@host:port``. Only the host is required.

        User and password are percent-decoded. The default scheme is ``http``, the default port that of the scheme.

        Raises:
            ConfigurationError: *url* is not the URL of a proxy. The message does not quote it.
        """
        url = redact(url)
        scheme, user, rest = _parts(url)
        parsed = parse_http_url(f"{scheme or 'http'}://{rest}", what="a proxy")
        if parsed.target != "/":
            raise ConfigurationError("a proxy must be a host and a port, without a path")
        return cls(url=parsed.url, authority=parsed.authority, authorization=_basic(user) if user else None)


def _parts(url: str) -> tuple[str, Secret | None, str]:
    """
    Return the scheme, the user with the password, and the rest of a URL; empty parts if the URL is invalid.

    This is a separate function, because a traceback that shows local variables would show the URL in the match.
    """
    found = re.fullmatch(_PROXY_URL, url)
    return ("", None, "") if found is None else (found[1], redact(found[2]), found[3])


def _basic(user: Secret) -> Secret:
    pair = user if ":" in user else f"{user}:"
    return Secret(f"Basic {b64encode(unquote_to_bytes(redact(pair))).decode('ascii')}")


def is_proxy(url: str) -> bool:
    """Return True if *url* is a valid URL of a proxy."""
    try:
        Proxy.from_url(url)
    except ConfigurationError:
        return False
    return True


@attrs.frozen(kw_only=True)
class ProxySetting:
    """
    The URL of a proxy that is parsed only when a request would use the proxy.

    Attributes:
        url: The URL, not checked.
        origin: The option or the variable that sets it, for messages.
    """

    url: Secret = attrs.field(repr=False, converter=redact)
    origin: str

    def read(self, *, host: str) -> Proxy:
        """
        Return the proxy.

        Raises:
            ConfigurationError: The URL is not a valid URL of a proxy. The message says that requests for *host* would
                use it.
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
        https: The proxy for requests with TLS, or None.
        http: The proxy for requests without TLS, or None.
        exceptions: The hosts that are reached directly: see `is_excepted`.
    """

    https: Proxy | ProxySetting | None = None
    http: Proxy | ProxySetting | None = None
    exceptions: str = ""

    def for_url(self, url: str) -> Proxy | None:
        """
        Return the proxy for an absolute URL, or None for a direct connection.

        Raises:
            ConfigurationError: The URL of the proxy is invalid.
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
    Return True if a host is loopback, link-local, or the metadata service of an instance or a container.

    Requests to these hosts transfer keys, and a proxy would connect to its own services instead of ours.
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
    Return True if a list of exceptions, as in ``NO_PROXY``, contains a host.

    Commas or spaces separate the entries: ``*`` for every host, a name, an address, or a network such as
    ``10.0.0.0/8``. A name includes its subdomains; it can begin with a dot or with ``*.``. An entry that ends with a
    port is only for that port. An invalid entry matches no host.

    Args:
        host: Name or address, without brackets.
        port: The port of the request.
        exceptions: The list.
    """
    host = host.lower().rstrip(".")
    address = _address(host)
    return any(_matches(entry, host, address, port) for entry in exceptions.lower().replace(",", " ").split())


def _matches(entry: str, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
    if entry == "*":
        return True
    name, entry_port = _split(entry)
    if entry_port not in ("", str(port)):
        return False
    if address is None:
        name = name.removeprefix("*.").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return address in ip_network(name, strict=False)
    except ValueError:
        return False


def _split(entry: str) -> tuple[str, str]:
    """Return the host of an entry, and its port or the empty string."""
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
