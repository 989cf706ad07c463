"""
What can be signed: a URL, headers, a method, a time and a scope, each checked before anything is signed.

Control characters in any of them would add to what is sent, or would be sent otherwise than they were signed.
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

SCHEMES = ("https", "http", "wss", "ws")  # the last two for presigned URLs of services with WebSockets
PORTS = {**DEFAULT_PORTS, "wss": 443, "ws": 80}
_STAMP = "%04d%02d%02dT%02d%02d%02dZ"  # written in a third of the time that `isoformat` or an f-string takes
_BROKEN_ESCAPE = r"%(?![0-9A-Fa-f]{2})"

# Headers that proxies and transports change. Source: botocore 1.43.117, auth.py.
UNSIGNED_HEADERS = frozenset(
    """
    authorization baggage connection expect keep-alive proxy-authenticate proxy-authorization te traceparent
    tracestate trailer transfer-encoding upgrade user-agent x-amzn-trace-id
    """.split()
)

OUR_PARAMETERS = frozenset(
    """
    x-amz-algorithm x-amz-credential x-amz-date x-amz-expires x-amz-security-token x-amz-signature x-amz-signedheaders
    """.split()
)
"""The parameters that `presign` adds, in lower case. A URL that has one of them already is refused."""


def host_of(place: HttpURL) -> str:
    """Return the Host header of a URL: without a default port or a final dot."""
    default = place.port == PORTS[place.scheme]
    return attrs.evolve(place, port=None).authority if default else place.authority


def stamp_of(at: datetime) -> str:
    """Return a time as a signature has it: ``YYYYMMDDTHHMMSSZ``."""
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise ConfigurationError("at, the time of signing, must be an aware datetime: use datetime.now(UTC)")
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        raise ConfigurationError("at, the time of signing, must be within the years 1 to 9999 in UTC") from None
    return _STAMP % (at.year, at.month, at.day, at.hour, at.minute, at.second)


def scope_tail(region: str, service: str) -> str:
    """Return what follows the date in a credential scope."""
    for name, value in (("region", region), ("service", service)):
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
            raise ConfigurationError(f"signing {name} must contain only letters, digits, '-', '_' and '.'")
    if service != service.lower():
        raise ConfigurationError("signing service must be in lower case: signing names are lower-case, such as 's3'")
    return f"/{region}/{service}/aws4_request"


@attrs.frozen(kw_only=True)
class Target:
    """
    A URL to sign.

    Attributes:
        address: The URL without its query and without a final dot of its host.
        host: The Host header.
        path: The canonical path.
        query: The query as it is sent.
    """

    address: str
    host: str
    path: str
    query: str = attrs.field(repr=False)


def target_of(url: str, *, service: str, normalize: bool | None, double_encode: bool | None) -> Target:
    """Return what of *url* is signed, by the rules of *service* where they are not given."""
    for name, value in (("normalize_path", normalize), ("double_encode", double_encode)):
        if not (value is None or isinstance(value, bool)):
            raise ConfigurationError(f"{name} must be True, False or None")
    if isinstance(url, str) and re.search(r"[^!-~]", url):
        raise ConfigurationError(
            "url must be percent-encoded: only printable ASCII, no spaces (urllib.parse.quote(key) encodes a path)"
        )
    place = parse_http_url(url, what="url", schemes=SCHEMES)
    if re.search(_BROKEN_ESCAPE, url):
        raise ConfigurationError("url must be percent-encoded: every % must be followed by two hexadecimal digits")
    address, _, query = url.partition("?")
    for pair in re.split("[&;]", query):  # some servers separate parameters by semicolons, too
        if unquote(pair.partition("=")[0]).lower() in OUR_PARAMETERS:
            raise ConfigurationError("url is already signed: remove its X-Amz-... parameters")
    head, slashes, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    if place.rooted:
        authority = authority.replace(".:", ":").removesuffix(".")
    by_default = service not in S3_FAMILY
    return Target(
        address=f"{head}{slashes}{authority}{slash}{path}",
        host=host_of(place),
        path=canonical_path(
            f"{slash}{path}",
            normalize=by_default if normalize is None else normalize,
            double_encode=by_default if double_encode is None else double_encode,
        ),
        query=query,
    )


def checked_method(method: str) -> str:
    """Return an HTTP method."""
    if not isinstance(method, str) or not re.fullmatch(rf"{TCHAR}+", method):
        raise ConfigurationError("method must be a valid HTTP method such as GET")
    return method


@functools.cache
def _payload_hash() -> re.Pattern[str]:
    # Every request needs it, and finds it here sooner than `re` does in its own cache.
    return re.compile(r"[0-9a-f]{64}|UNSIGNED-PAYLOAD|STREAMING-[A-Z0-9-]{1,64}")


def check_hash(payload_hash: str) -> None:
    """Refuse what cannot stand for a body."""
    if not isinstance(payload_hash, str) or not _payload_hash().fullmatch(payload_hash):
        raise ConfigurationError(
            "payload_hash must be a lower-case hex SHA-256, UNSIGNED-PAYLOAD, or an S3 STREAMING-... value"
        )


def signable_headers(headers: Mapping[str, str], *, host: str, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return what of *headers* is signed, by lower-case names, with a ``host`` among it."""
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
            raise ConfigurationError(f"header {name[:80]!a} is given twice")
        if not is_header_value(value):
            raise ConfigurationError(f"the value of header {name[:80]!a} {INVALID_IN_HEADER}")
        seen.add(lower)
        if lower not in UNSIGNED_HEADERS:
            signed[lower] = value
    return signed


def given_credentials(credentials: Credentials) -> Any:
    """Return credentials, and in place of data, for which `expect_credentials` raises, only what it is."""
    return credentials if isinstance(credentials, Credentials) else without_data(credentials)


def expect_credentials(credentials: Credentials) -> None:
    """Refuse what is not `Credentials`."""
    if not isinstance(credentials, Credentials):
        raise CredentialsError(f"credentials must be Credentials, not {other_than('Credentials', credentials)}")


def check_credentials(credentials: Credentials) -> None:
    """Refuse credentials that a request cannot carry."""
    expect_credentials(credentials)
    key_id, token = credentials.access_key_id, credentials.session_token
    if not key_id:
        raise CredentialsError("the credentials have no access_key_id")
    if not credentials.secret_access_key:
        raise CredentialsError("the credentials have no secret_access_key")
    if not is_header_value(key_id) or not {*key_id}.isdisjoint(" ,/="):  # it stands among other words of one header
        raise CredentialsError(f"the access_key_id of the credentials {INVALID_IN_HEADER}")
    if token and not is_header_value(token):
        raise CredentialsError(f"the session_token of the credentials {INVALID_IN_HEADER}")
