"""
AWS Signature Version 4 for any service: signed headers and presigned URLs. Pure: the time is a parameter.

    headers = sign(credentials, method="POST", url=url, headers={...}, body=body,
                   service="sts", region="eu-west-1", at=datetime.now(UTC))

The steps (`canonical_request`, `string_to_sign`, `signing_key`, `signature`) are public, so that a mismatch can be
found step by step. URLs must be percent-encoded: they are signed as they are sent.

Source: "AWS Signature Version 4 for API requests", IAM User Guide.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import SplitResult, quote, urlsplit

from ._core.headers import TCHAR
from ._core.secret import Secret, SecretBytes, Unpicklable
from .errors import ConfigurationError, CredentialsError
from .shapes import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAX_EXPIRES = 604_800  # s, seven days
DEFAULT_PORTS = {"http": 80, "https": 443}
_DATE = "\0"  # holds the place of a date that is not known yet; no header can carry it

# Headers that proxies and transports change. Source: botocore 1.43.117, auth.py.
UNSIGNED_HEADERS = frozenset(
    """
    authorization baggage connection expect keep-alive proxy-authenticate proxy-authorization te traceparent
    tracestate trailer transfer-encoding upgrade user-agent x-amzn-trace-id
    """.split()
)


OURS = frozenset({"authorization", "x-amz-date", "x-amz-security-token"})
"""The headers that `sign` makes; those of the same name that it is given are left out."""


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
            given, and left to the transport to send. S3 wants ``x-amz-content-sha256`` among them.
        body: What is sent.
        payload_hash: Lower-case hex SHA-256 of the body when it is known already, or `UNSIGNED_PAYLOAD`.
        service: Signing name of the service, such as ``sts``.
        region: Signing region.
        at: The time of signing, aware.
        normalize_path: Whether ``.``, ``..`` and empty path segments are resolved (not for S3).
        double_encode: Whether the path is percent-encoded once more (not for S3).

    Raises:
        CredentialsError: The key is empty, or key id or token have characters that a header cannot carry.
        ConfigurationError: So have another header, the URL, the region or the service.
        ValueError: *at* is naive.
    """
    signer = Signer(
        credentials,
        method=method,
        url=url,
        headers=headers,
        service=service,
        region=region,
        normalize_path=normalize_path,
        double_encode=double_encode,
    )
    return signer.sign(payload_hash=payload_hash or hashlib.sha256(body).hexdigest(), at=at)


class Signer(Unpicklable):
    """
    Signs requests that differ only in time and body: all else is checked and prepared once.

    The key is derived once a day, and goes when the signer goes. The arguments are those of `sign`.

    Attributes:
        credentials: What it signs with.
        headers: Those that it was made for.
    """

    __slots__ = ("_credential", "_head", "_key", "_names", "_scope", "_sent", "_tail", "credentials", "headers")

    def __init__(
        self,
        credentials: Credentials,
        *,
        method: str,
        url: str,
        headers: Mapping[str, str],
        service: str,
        region: str,
        normalize_path: bool = True,
        double_encode: bool = True,
    ) -> None:
        _check_credentials(credentials)
        address, _, query = url.partition("?")
        host, path = _target(address, normalize=normalize_path, double_encode=double_encode)
        self.credentials = credentials
        self.headers = headers
        self._scope = _scope(region, service)
        self._credential = f"{ALGORITHM} Credential={credentials.access_key_id}/"
        self._sent = {name: value for name, value in headers.items() if _lower(name) not in OURS}
        signed = _signable(self._sent, host=host)
        if credentials.session_token:
            self._sent["x-amz-security-token"] = signed["x-amz-security-token"] = credentials.session_token
        signed["x-amz-date"] = _DATE
        self._names = ";".join(sorted(signed))
        whole = canonical_request(
            method=method,
            path=path,
            query=canonical_query(_checked(query)),
            headers=sorted(signed.items()),
            payload_hash="",
        )
        self._head, self._tail = map(Secret, whole.split(_DATE))
        self._key = ("", SecretBytes())

    def sign(self, *, payload_hash: str, at: datetime) -> dict[str, str]:
        """
        Return the headers with those of the signature, for a body with this hash and an aware time.

        Raises:
            CredentialsError: The secret access key is not text that UTF-8 can encode.
        """
        stamp = _stamp(at)
        scope = stamp[:8] + self._scope
        key_scope, key = self._key
        if key_scope != scope:
            key = signing_key(self.credentials, scope)
            self._key = (scope, key)  # in one assignment: threads may share a signer
        text = string_to_sign(stamp, scope, Secret(f"{self._head}{stamp}{self._tail}{payload_hash}"))
        proof = signature(key, text)
        return self._sent | {
            "x-amz-date": stamp,
            "authorization": Secret(f"{self._credential}{scope}, SignedHeaders={self._names}, Signature={proof}"),
        }


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
        ConfigurationError: *expires* is out of range, or as for `sign`.
        CredentialsError, ValueError: As for `sign`.
    """
    if not isinstance(expires, int) or not 1 <= expires <= MAX_EXPIRES:
        raise ConfigurationError(f"a presigned URL is good for 1 to {MAX_EXPIRES} s")
    stamp = _stamp(at)
    scope = stamp[:8] + _scope(region, service)
    address, _, query = url.partition("?")
    host, path = _target(address, normalize=normalize_path, double_encode=double_encode)
    _check_credentials(credentials)
    signed = _signable(headers or {}, host=host)
    names = sorted(signed)
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
    verb, pairs = method.upper(), tuple(headers)
    lines = "".join([f"{name}:{' '.join(value.split())}\n" for name, value in pairs])
    names = ";".join([name for name, _ in pairs])
    return Secret(f"{verb}\n{path}\n{query}\n{lines}\n{names}\n{payload_hash}")


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

    Raises:
        CredentialsError: The secret access key is not text that UTF-8 can encode.
    """
    key = None
    try:
        key = SecretBytes(f"AWS4{credentials.secret_access_key}".encode())
    except UnicodeEncodeError:
        pass  # raised below, without the context: it holds the key
    if key is None:
        raise CredentialsError("the secret access key has characters that no key has")
    for part in scope.split("/"):
        key = SecretBytes(hmac.digest(key, part.encode(), "sha256"))
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
    text = at.astimezone(UTC).isoformat(timespec="seconds")
    return f"{text[:19].replace('-', '').replace(':', '')}Z"


def _scope(region: str, service: str) -> str:
    """Return what follows the date in a credential scope."""
    for name, value in (("region", region), ("service", service)):
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
            raise ConfigurationError(f"the {name} to sign for must be of letters, digits and hyphens")
    return f"/{region}/{service}/aws4_request"


def _target(address: str, *, normalize: bool, double_encode: bool) -> tuple[str, str]:
    """Return the ``host`` header and the canonical path of a URL without its query."""
    parts = urlsplit(_checked(address))
    if not parts.scheme or not parts.hostname:
        raise ConfigurationError("a URL to sign must be absolute, such as https://sts.eu-west-1.amazonaws.com/")
    return host_header(parts), canonical_path(parts.path, normalize=normalize, double_encode=double_encode)


def _lower(name: str) -> str:
    """Return the name of a header in lower case."""
    if not re.fullmatch(rf"{TCHAR}+", name):
        raise ConfigurationError(f"header {name[:80]!a} has characters that a header cannot carry")
    return name.lower()


def _checked(url: str) -> str:
    if not _is_sendable(url) or " " in url:
        raise ConfigurationError("a URL to sign must be percent-encoded: it has characters that a URL cannot carry")
    return url


def _signable(headers: Mapping[str, str], *, host: str) -> dict[str, str]:
    """Return what of *headers* is signed, by lower-case names, with a ``host`` among it."""
    signed = {"host": host}
    seen = set()
    for name, value in headers.items():
        lower = _lower(name)
        if lower in seen:
            raise ConfigurationError(f"header {name[:80]!a} is given twice")
        if not _is_sendable(value):
            raise ConfigurationError(f"header {name[:80]!a} has characters that a header cannot carry")
        seen.add(lower)
        if lower not in UNSIGNED_HEADERS:
            signed[lower] = value
    return signed


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
