"""
AWS Signature Version 4 for any service: signed headers and presigned URLs. Pure: the time is a parameter.

    headers = sign(credentials, method="POST", url=url, headers={...}, body=body,
                   service="sts", region="eu-west-1", at=datetime.now(UTC))

The steps (`canonical_request`, `string_to_sign`, `signing_key`, `signature`) are public, so that a mismatch can be
found step by step. URLs must be percent-encoded: they are signed as they are sent.

Source: "AWS Signature Version 4 for API requests", IAM User Guide.
"""

import functools
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import SplitResult, quote, urlsplit

from ._core.secret import Secret, SecretBytes
from .errors import ConfigurationError, CredentialsError
from .shapes import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAX_EXPIRES = 604_800  # s, seven days
KEYS_KEPT = 4  # derived keys kept with the credentials: a day, a region and a service each
DEFAULT_PORTS = {"http": 80, "https": 443}

# Headers that proxies and transports change. Source: botocore 1.43.117, auth.py.
UNSIGNED_HEADERS = frozenset(
    """
    authorization baggage connection expect keep-alive proxy-authenticate proxy-authorization te traceparent
    tracestate trailer transfer-encoding upgrade user-agent x-amzn-trace-id
    """.split()
)


class PresignedUrl:
    """
    A URL that carries a signature, and with temporary credentials a token: whoever has it can use it.

    Printing shows the address without its query. `reveal` gives the whole.
    """

    __slots__ = ("_url", "expires")

    def __init__(self, url: str, *, expires: int) -> None:
        self._url = Secret(url)
        self.expires = expires

    def reveal(self) -> str:
        """Return the URL itself."""
        return self._url

    def __str__(self) -> str:
        return f"{self._url.partition('?')[0]}?***"

    def __repr__(self) -> str:
        return f"<PresignedUrl {self} for {self.expires} s>"


def sign(
    credentials: Credentials,
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    payload_hash: str | None = None,
    service: str,
    region: str,
    at: datetime,
    normalize_path: bool = True,
    double_encode: bool = True,
) -> dict[str, str]:
    """
    Return *headers* with ``x-amz-date``, ``x-amz-security-token`` (for temporary credentials) and ``authorization``.

    Args:
        credentials: What signs.
        method: The HTTP method.
        url: Absolute and percent-encoded; its query takes part in the signature.
        headers: All are signed but those in `UNSIGNED_HEADERS`; a ``host`` is added to the signature when none is
            given, and left to the transport to send.
        body: What is sent.
        payload_hash: Lower-case hex SHA-256 of the body when it is known already, or `UNSIGNED_PAYLOAD`.
        service: Signing name of the service, such as ``sts``.
        region: Signing region.
        at: The time of signing, aware.
        normalize_path: Whether ``.``, ``..`` and empty path segments are resolved (not for S3).
        double_encode: Whether the path is percent-encoded once more (not for S3).

    Raises:
        CredentialsError: The key or token is empty, or has characters that a header cannot carry.
        ConfigurationError: So does another header.
    """
    stamp = _stamp(at)
    scope = stamp[:8] + _scope(region, service)
    address, _, query = url.partition("?")
    host, path = _target(address, normalize=normalize_path, double_encode=double_encode)
    _check_credentials(credentials)
    _check_headers(headers)
    signed = {name.lower(): value for name, value in headers.items()}
    signed.setdefault("host", host)
    added = {"x-amz-date": stamp}
    if credentials.session_token:
        added["x-amz-security-token"] = credentials.session_token
    signed.update(added)
    names = sorted(name for name in signed if name not in UNSIGNED_HEADERS)
    request = canonical_request(
        method=method,
        path=path,
        query=canonical_query(_checked(query)),
        headers=[(name, signed[name]) for name in names],
        payload_hash=payload_hash or hashlib.sha256(body).hexdigest(),
    )
    proof = signature(signing_key(credentials, scope), string_to_sign(stamp, scope, request))
    added["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={';'.join(names)}, Signature={proof}"
    )
    kept = {name: value for name, value in headers.items() if name.lower() not in added}
    return {**kept, **added}


def presign(
    credentials: Credentials,
    *,
    method: str = "GET",
    url: str,
    headers: Mapping[str, str] | None = None,
    payload_hash: str = EMPTY_SHA256,
    service: str,
    region: str,
    at: datetime,
    expires: int = 60,
    normalize_path: bool = True,
    double_encode: bool = True,
) -> PresignedUrl:
    """
    Return *url* with its signature in the query.

    Args:
        credentials: What signs.
        method: The HTTP method that the URL is good for.
        url: Absolute and percent-encoded, with the parameters of the operation.
        headers: Headers that must be sent with the URL, beside ``host``.
        payload_hash: Lower-case hex SHA-256 of the body, or `UNSIGNED_PAYLOAD`.
        service: Signing name of the service.
        region: Signing region.
        at: The time of signing, aware.
        expires: How long the URL is good for, 1 to 604,800 s.
        normalize_path: As for `sign`.
        double_encode: As for `sign`.

    Raises:
        ConfigurationError: *expires* is out of range, or a header has characters that it cannot carry.
        CredentialsError: As for `sign`.
    """
    if not 1 <= expires <= MAX_EXPIRES:
        raise ConfigurationError(f"a presigned URL is good for 1 to {MAX_EXPIRES} s")
    stamp = _stamp(at)
    scope = stamp[:8] + _scope(region, service)
    address, _, query = url.partition("?")
    host, path = _target(address, normalize=normalize_path, double_encode=double_encode)
    headers = {} if headers is None else headers
    _check_credentials(credentials)
    _check_headers(headers)
    signed = {name.lower(): value for name, value in headers.items()}
    signed.setdefault("host", host)
    names = sorted(name for name in signed if name not in UNSIGNED_HEADERS)
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": ";".join(names),
    }
    if credentials.session_token:
        parameters["X-Amz-Security-Token"] = credentials.session_token
    own = [query] if query else []
    whole = Secret("&".join(own + [f"{name}={quote(value, safe='')}" for name, value in parameters.items()]))
    request = canonical_request(
        method=method,
        path=path,
        query=canonical_query(_checked(whole)),
        headers=[(name, signed[name]) for name in names],
        payload_hash=payload_hash,
    )
    proof = signature(signing_key(credentials, scope), string_to_sign(stamp, scope, request))
    return PresignedUrl(f"{address}?{whole}&X-Amz-Signature={proof}", expires=expires)


def canonical_request(
    *, method: str, path: str, query: str, headers: Iterable[tuple[str, str]], payload_hash: str
) -> Secret:
    """Return the text that is hashed: *headers* are pairs of lower-case name and value, sorted by name."""
    pairs = tuple(headers)
    lines = "".join([f"{name}:{' '.join(value.split())}\n" for name, value in pairs])
    names = ";".join([name for name, _ in pairs])
    return Secret(f"{method.upper()}\n{path}\n{query}\n{lines}\n{names}\n{payload_hash}")


def canonical_path(path: str, *, normalize: bool = True, double_encode: bool = True) -> str:
    """Return the path as it is signed; an empty one is ``/``."""
    if path in ("", "/"):
        return "/"
    if normalize:
        path = _without_dot_segments(path)
    return quote(path, safe="/~") if double_encode else path


def _without_dot_segments(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    lead = "/" if path.startswith("/") else ""
    trail = "/" if kept and segments[-1] in ("", ".", "..") and path.endswith("/") else ""
    return lead + "/".join(kept) + trail or "/"


def canonical_query(query: str) -> str:
    """Return the parameters of a percent-encoded query, sorted by name, then value."""
    if not query:
        return ""
    pairs = sorted((name, value) for name, _, value in (pair.partition("=") for pair in query.split("&")))
    return "&".join(f"{name}={value}" for name, value in pairs)


def string_to_sign(stamp: str, scope: str, request: str) -> str:
    """Return the text that is signed, for the time ``YYYYMMDDTHHMMSSZ`` and a canonical request."""
    return f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"


def signing_key(credentials: Credentials, scope: str) -> SecretBytes:
    """
    Return the key that *credentials* sign *scope* with (``YYYYMMDD/region/service/aws4_request``).

    It is derived once per scope and kept with the credentials, so that it goes when they go.

    Raises:
        CredentialsError: The secret access key is not text that UTF-8 can encode.
    """
    keys = credentials._signing_keys
    key = keys.get(scope)
    if key is None:
        try:
            key = SecretBytes(f"AWS4{credentials.secret_access_key}".encode())
        except UnicodeEncodeError:
            pass  # raised below, without the context: it holds the key
        if key is None:
            raise CredentialsError("the secret access key has characters that no key has")
        for part in scope.split("/"):
            key = SecretBytes(hmac.digest(key, part.encode(), "sha256"))
        if len(keys) >= KEYS_KEPT:
            keys.clear()
        keys[scope] = key
    return key


def signature(key: bytes, text: str) -> str:
    """Return the signature of *text*, 64 hex digits."""
    return hmac.digest(key, text.encode(), "sha256").hex()


def host_header(parts: SplitResult) -> str:
    """Return the ``host`` header that is sent for a URL: lower case, without a default port."""
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    port = parts.port
    return host if port is None or port == DEFAULT_PORTS.get(parts.scheme) else f"{host}:{port}"


def _stamp(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError("the time of signing must be aware: use datetime.now(UTC)")
    at = at.astimezone(UTC)
    return f"{at.year:04d}{at.month:02d}{at.day:02d}T{at.hour:02d}{at.minute:02d}{at.second:02d}Z"


# What few different arguments go through for every request is checked once and remembered; none of it is secret.


@functools.lru_cache(maxsize=64)
def _scope(region: str, service: str) -> str:
    """Return what follows the date in a credential scope."""
    for name, value in (("region", region), ("service", service)):
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
            raise ConfigurationError(f"the {name} to sign for must be of letters, digits and hyphens")
    return f"/{region}/{service}/aws4_request"


@functools.lru_cache(maxsize=64)
def _target(address: str, *, normalize: bool, double_encode: bool) -> tuple[str, str]:
    """Return the ``host`` header and the canonical path of a URL without its query."""
    parts = urlsplit(_checked(address))
    return host_header(parts), canonical_path(parts.path, normalize=normalize, double_encode=double_encode)


@functools.lru_cache(maxsize=256)
def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        raise ConfigurationError(f"header {name[:80]!a} has characters that a header cannot carry")


def _checked(url: str) -> str:
    if not _is_sendable(url):
        raise ConfigurationError("a URL to sign must be percent-encoded: it has characters that a URL cannot carry")
    return url


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        _check_name(name)
        if not _is_sendable(value):
            raise ConfigurationError(f"header {name[:80]!a} has characters that a header cannot carry")


def _check_credentials(credentials: Credentials) -> None:
    key_id, token = credentials.access_key_id, credentials.session_token
    if not (isinstance(key_id, str) and key_id):
        raise CredentialsError("the credentials have no access_key_id")
    if not (isinstance(credentials.secret_access_key, str) and credentials.secret_access_key):
        raise CredentialsError("the credentials have no secret_access_key")
    if not _is_sendable(key_id):
        raise CredentialsError("the access_key_id of the credentials has characters that a header cannot carry")
    if token is not None and not isinstance(token, str):
        raise CredentialsError("the credentials have no session_token that is text")
    if token and not _is_sendable(token):
        raise CredentialsError("the session_token of the credentials has characters that a header cannot carry")


def _is_sendable(text: str) -> bool:
    return text.isascii() and text.isprintable()
