"""
Checks of the input of a signature: URL, headers, method, time and credential scope.

Control characters in the input could add headers to the request, or make the sent request differ from the signed one.
"""

import functools
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import attrs

from .._protocol.headers import INVALID_IN_HEADER, TCHAR, cover_headers, is_header_value
from .._protocol.urls import DEFAULT_PORTS, HttpURL, parse_http_url
from .._shape.arguments import other_than
from .._shape.secret import kind_of, without_data
from ..errors import ConfigurationError, CredentialsError
from ..shapes import Credentials
from ._canonical_request import S3_FAMILY, canonical_path

SCHEMES = ("https", "http", "wss", "ws")  # wss and ws are for presigned URLs of services with WebSockets
PORTS = {**DEFAULT_PORTS, "wss": 443, "ws": 80}
_STAMP = "%04d%02d%02dT%02d%02d%02dZ"  # three times as fast as `isoformat` or an f-string
_BROKEN_ESCAPE = r"%(?![0-9A-Fa-f]{2})"

# Headers that proxies and transports change. Source: botocore 1.43.117, auth.py.
UNSIGNED_HEADERS = frozenset(
    """
    authorization baggage connection expect keep-alive proxy-authenticate proxy-authorization te traceparent
    tracestate trailer transfer-encoding upgrade user-agent x-amzn-trace-id
    """.split()
)

OURS = frozenset({"authorization", "x-amz-date", "x-amz-security-token"})
"""The headers that `sign` adds. They replace headers with the same names in the arguments."""

OUR_PARAMETERS = frozenset(
    """
    x-amz-algorithm x-amz-credential x-amz-date x-amz-expires x-amz-security-token x-amz-signature x-amz-signedheaders
    """.split()
)
"""The parameters that `presign` adds, in lower case. A URL that already has one of them is an error."""


def host_of(url: HttpURL) -> str:
    """Return the Host header of a URL: without a default port or a final dot."""
    default = url.port == PORTS[url.scheme]
    return attrs.evolve(url, port=None).authority if default else url.authority


def stamp_of(at: datetime) -> str:
    """Return a time in the form for signatures: ``YYYYMMDDTHHMMSSZ`` in UTC."""
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise ConfigurationError("at, the time of signing, must be an aware datetime: use datetime.now(UTC)")
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        raise ConfigurationError("at, the time of signing, must be within the years 1 to 9999 in UTC") from None
    return _STAMP % (at.year, at.month, at.day, at.hour, at.minute, at.second)


def scope_tail(region: str, service: str) -> str:
    """Return the part of a credential scope after the date."""
    for name, value in (("region", region), ("service", service)):
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
            raise ConfigurationError(f"signing {name} must contain only letters, digits, '-', '_' and '.'")
    if service != service.lower():
        raise ConfigurationError("signing service must be in lower case: signing names are lower-case, such as 's3'")
    return f"/{region}/{service}/aws4_request"


@attrs.frozen(kw_only=True)
class Target:
    """
    The parts of a URL to sign.

    Attributes:
        address: The URL without its query and without the final dot of its host.
        host: The Host header.
        path: The canonical path.
        query: The query as it is sent.
    """

    address: str
    host: str
    path: str
    query: str = attrs.field(repr=False)


def target_of(url: str, *, service: str, normalize: bool | None, double_encode: bool | None) -> Target:
    """
    Return the parts of *url* for the signature.

    Args:
        url: The URL.
        service: The service, which determines the rules that are None.
        normalize: See `canonical_path`.
        double_encode: See `canonical_path`.

    Raises:
        ConfigurationError: *url* is invalid or already signed, or a rule is not True, False or None.
    """
    for name, value in (("normalize_path", normalize), ("double_encode", double_encode)):
        if not (value is None or isinstance(value, bool)):
            raise ConfigurationError(f"{name} must be True, False or None")
    if isinstance(url, str) and re.search(r"[^!-~]", url):
        raise ConfigurationError(
            "url must be percent-encoded: only printable ASCII, no spaces (urllib.parse.quote(key) encodes a path)"
        )
    parsed = parse_http_url(url, what="url", schemes=SCHEMES)
    if re.search(_BROKEN_ESCAPE, url):
        raise ConfigurationError("url must be percent-encoded: every % must be followed by two hexadecimal digits")
    address, _, query = url.partition("?")
    if _is_signed(query):
        raise ConfigurationError("url is already signed: remove its X-Amz-... parameters")
    head, slashes, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    if parsed.rooted:
        authority = authority.replace(".:", ":").removesuffix(".")
    return Target(
        address=f"{head}{slashes}{authority}{slash}{path}",
        host=host_of(parsed),
        path=canonical_path_for(f"{slash}{path}", service=service, normalize=normalize, double_encode=double_encode),
        query=query,
    )


def canonical_path_for(path: str, *, service: str, normalize: bool | None, double_encode: bool | None) -> str:
    """Return the canonical path, by the rules of the service where a rule is None."""
    by_default = service not in S3_FAMILY
    return canonical_path(
        path,
        normalize=by_default if normalize is None else normalize,
        double_encode=by_default if double_encode is None else double_encode,
    )


def origin_of(url: str) -> str:
    """Return a valid URL up to its path or query."""
    scheme, slashes, rest = str.partition(url, "://")
    return f"{scheme}{slashes}{rest.partition('/')[0].partition('?')[0]}"


def _is_signed(query: str) -> bool:
    """Return True if a query has one of the parameters that `presign` adds."""
    if "%" not in query and "amz" not in query.lower():
        return False
    # Some servers also separate parameters with semicolons.
    return any(unquote(pair.partition("=")[0]).lower() in OUR_PARAMETERS for pair in re.split("[&;]", query))


@functools.cache
def _resource() -> re.Pattern[str]:
    return re.compile(r"""/(?:[!"$&-\[\]-~]|%[0-9A-Fa-f]{2})*+""")


def resource_of(url: str, *, origin: str) -> tuple[str, str] | None:
    """
    Return the path and the query of *url*; None if it needs all checks of `target_of`.

    Args:
        url: The URL.
        origin: The begin of a valid URL, up to its path.
    """
    if not isinstance(url, str) or not url.startswith(origin) or not _resource().fullmatch(url, len(origin)):
        return None
    path, _, query = str.partition(url[len(origin) :], "?")
    return None if _is_signed(query) else (path, query)


def checked_method(method: str) -> str:
    """Return an HTTP method if it is valid."""
    if not isinstance(method, str) or not re.fullmatch(rf"{TCHAR}+", method):
        raise ConfigurationError("method must be a valid HTTP method such as GET")
    return method


@functools.cache
def _payload_hash() -> re.Pattern[str]:
    # Every request needs the pattern; the cache of `re` is slower.
    return re.compile(r"[0-9a-f]{64}|UNSIGNED-PAYLOAD|STREAMING-[A-Z0-9-]{1,64}")


def check_hash(payload_hash: str) -> None:
    """Check that *payload_hash* is a SHA-256 or a word of S3."""
    if not isinstance(payload_hash, str) or not _payload_hash().fullmatch(payload_hash):
        raise ConfigurationError(
            "payload_hash must be a lower-case hex SHA-256, UNSIGNED-PAYLOAD, or an S3 STREAMING-... value"
        )


def signable_headers(headers: Mapping[str, str], *, host: str, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """
    Return the headers to sign, with lower-case names.

    Args:
        headers: The headers of the request.
        host: The value of ``host``, if *headers* has none.
        without: Lower-case names of headers to omit.

    Raises:
        ConfigurationError: A name or a value is invalid, or a header occurs twice.
    """
    headers = cover_headers(headers)
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers must be a mapping of names to values, not a {kind_of(headers)}")
    signed = {"host": host}
    seen = set()
    for name, value in headers.items():
        if not isinstance(name, str) or not re.fullmatch(rf"{TCHAR}+", name):
            raise ConfigurationError(f"header name {str(name)[:80]!a} {INVALID_IN_HEADER}")
        lower = name.lower()
        if lower in without:
            continue
        if lower in seen:
            raise ConfigurationError(f"header {name[:80]!a} occurs twice")
        if not is_header_value(value):
            raise ConfigurationError(f"the value of header {name[:80]!a} {INVALID_IN_HEADER}")
        seen.add(lower)
        if lower not in UNSIGNED_HEADERS:
            signed[lower] = value
    return signed


def given_credentials(credentials: Credentials) -> Any:
    """Return *credentials*, or an `Unshown` for data of another type, for which `expect_credentials` then raises."""
    return credentials if isinstance(credentials, Credentials) else without_data(credentials)


def expect_credentials(credentials: Credentials) -> None:
    """Raise `CredentialsError` if *credentials* are not `Credentials`."""
    if not isinstance(credentials, Credentials):
        raise CredentialsError(f"credentials must be Credentials, not {other_than('Credentials', credentials)}")


def check_credentials(credentials: Credentials) -> None:
    """Raise `CredentialsError` if a key is empty, or the key id or the token is invalid in a header."""
    expect_credentials(credentials)
    key_id, token = credentials.access_key_id, credentials.session_token
    if not key_id:
        raise CredentialsError("the credentials have no access_key_id")
    if not credentials.secret_access_key:
        raise CredentialsError("the credentials have no secret_access_key")
    if not is_header_value(key_id) or not {*key_id}.isdisjoint(" ,/="):  # separators in the Authorization header
        raise CredentialsError(f"the access_key_id of the credentials {INVALID_IN_HEADER}")
    if token and not is_header_value(token):
        raise CredentialsError(f"the session_token of the credentials {INVALID_IN_HEADER}")
