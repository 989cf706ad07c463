"""Signers: signed headers and presigned URLs, and each step of a signature."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import attrs

from .._protocol.headers import cover_headers
from .._protocol.urls import parse_http_url
from .._shape.arguments import is_whole
from .._shape.forms import as_whole_seconds
from .._shape.secret import Secret, SecretBytes, Unpicklable, attempt, cover, kind_of, without_data
from ..errors import ConfigurationError, CredentialsError
from ..shapes import Credentials, Seconds
from ._canonical_request import S3_FAMILY, canonical_path, canonical_query, canonical_request
from ._signing_input import (
    SCHEMES,
    UNSIGNED_HEADERS,
    check_credentials,
    check_hash,
    checked_method,
    expect_credentials,
    given_credentials,
    host_of,
    scope_tail,
    signable_headers,
    stamp_of,
    target_of,
)

__all__ = [
    "ALGORITHM",
    "EMPTY_SHA256",
    "MAX_EXPIRES",
    "S3_FAMILY",
    "UNSIGNED_HEADERS",
    "UNSIGNED_PAYLOAD",
    "PresignedUrl",
    "Signer",
    "canonical_path",
    "canonical_query",
    "canonical_request",
    "host_header",
    "presign",
    "sign",
    "signature",
    "signing_key",
    "string_to_sign",
]

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAX_EXPIRES = 604_800  # s, seven days
_DATE = "\0"  # holds the place of a date that is not known yet; no header can carry it
_HASH = "\1"  # holds the place of the hash of a body that is not known yet
_CONTENT_HASH = "x-amz-content-sha256"

OURS = frozenset({"authorization", "x-amz-date", "x-amz-security-token"})
"""The headers that `sign` makes; those of the same name that it is given are left out."""


class PresignedUrl:
    """
    A URL that carries a signature, and with temporary credentials a token: anyone who has it can use it.

    It holds a secret, so it does not show it: ``str``, f-strings and ``repr`` give the address without its query.
    `reveal` returns the URL itself, as a `Secret`, which `Credentials` also have as members.

    Attributes:
        expires: For how many seconds after it was made the URL is valid.
    """

    __slots__ = ("_url", "expires")

    def __init__(self, url: str, *, expires: int) -> None:
        self._url = Secret(url)
        self.expires = expires

    def reveal(self) -> Secret:
        """Return the URL itself: text to send, whose repr is ``'***'``."""
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
    normalize_path: bool | None = None,
    double_encode: bool | None = None,
) -> dict[str, str]:
    """
    Return *headers* with ``x-amz-date``, ``x-amz-security-token`` (for temporary credentials) and ``authorization``.

    For the services of `S3_FAMILY`, ``x-amz-content-sha256`` is among them, too.

    Args:
        credentials: The keys to sign with.
        method: The HTTP method.
        url: Absolute and percent-encoded, as it will be sent. In its query a ``+`` stands for a space.
        headers: All are signed but those in `UNSIGNED_HEADERS`. A ``host`` is added to the signature when none is
            given, without a default port and without a final dot, and left to the transport to send. An
            ``x-amz-content-sha256`` is the hash of the body, for every service.
        body: The bytes that are sent.
        payload_hash: Lower-case hex SHA-256 of the body when it is known already, `UNSIGNED_PAYLOAD`, or one of S3's
            words for streams, such as ``STREAMING-UNSIGNED-PAYLOAD-TRAILER``.
        service: Signing name of the service, in lower case, such as ``sts``.
        region: Signing region.
        at: The time of signing, aware.
        normalize_path: Whether ``.``, ``..`` and empty path segments are resolved. None for what the service does:
            no for those of `S3_FAMILY`, yes for all others.
        double_encode: Whether the path is percent-encoded once more. None for what the service does, likewise.

    Raises:
        CredentialsError: The key is empty, or key id or token have characters that a header cannot carry.
        ConfigurationError: Another argument is invalid, such as a header or URL with control characters, a URL that
            carries a signature already, or a time without a zone. The message names the argument, not its value.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        body = without_data(body)
        raise ConfigurationError(f"body must be bytes, not a {kind_of(body)}")
    body_hash = hashlib.sha256(body).hexdigest() if payload_hash is None else payload_hash
    del body
    credentials, url, headers = given_credentials(credentials), cover(url), cover_headers(headers)
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
    return signer.sign(payload_hash=payload_hash or signer.given_hash or body_hash, at=at)


class Signer(Unpicklable):
    """
    Signs requests that differ only in time and body: all else is checked and prepared once.

    The key is derived once a day, and goes when the signer goes. The arguments are those of `sign`.

    Attributes:
        credentials: What it signs with.
        headers: Those that it was made for.
        given_hash: The ``x-amz-content-sha256`` among them, or None.
    """

    __slots__ = (
        "_credential",
        "_head",
        "_key",
        "_moment",
        "_names",
        "_scope",
        "_sends_hash",
        "_sent",
        "_tail",
        "credentials",
        "given_hash",
        "headers",
    )

    def __init__(
        self,
        credentials: Credentials,
        *,
        method: str,
        url: str,
        headers: Mapping[str, str],
        service: str,
        region: str,
        normalize_path: bool | None = None,
        double_encode: bool | None = None,
    ) -> None:
        credentials, url, headers = given_credentials(credentials), cover(url), cover_headers(headers)
        check_credentials(credentials)
        self._scope = scope_tail(region, service)
        target = target_of(url, service=service, normalize=normalize_path, double_encode=double_encode)
        self.credentials = credentials
        self.headers = headers
        self._credential = f"{ALGORITHM} Credential={credentials.access_key_id}/"
        signed = signable_headers(headers, host=target.host, without=OURS)
        self._sent = {name: value for name, value in headers.items() if name.lower() not in OURS}
        self.given_hash = signed.get(_CONTENT_HASH)
        self._sends_hash = self.given_hash is None and service in S3_FAMILY
        if self._sends_hash:
            signed[_CONTENT_HASH] = _HASH
        if credentials.session_token:
            self._sent["x-amz-security-token"] = signed["x-amz-security-token"] = credentials.session_token
        signed["x-amz-date"] = _DATE
        self._names = ";".join(sorted(signed))
        whole = canonical_request(
            method=checked_method(method),
            path=target.path,
            query=canonical_query(target.query),
            headers=sorted(signed.items()),
            payload_hash="",
        )
        self._head, self._tail = map(Secret, whole.split(_DATE))
        self._key = ("", SecretBytes())
        self._moment: _Moment | None = None

    def sign(self, *, payload_hash: str, at: datetime) -> dict[str, str]:
        """
        Return the headers with those of the signature, for a body with this hash and an aware time.

        Raises:
            CredentialsError: The secret access key is not text that UTF-8 can encode.
            ConfigurationError: *at* has no zone; or *payload_hash* is invalid, or not the ``x-amz-content-sha256``
                that is among the headers.
        """
        check_hash(payload_hash)
        return self._sign(self._at(stamp_of(at)), payload_hash)

    def sign_at(self, seconds: float, *, payload_hash: str) -> dict[str, str]:
        """
        Return what `sign` returns, for a hash that the caller has computed.

        Args:
            seconds: The time of signing, in seconds since 1970.
            payload_hash: Lower-case hex SHA-256 of the body. Its form is not checked.

        Raises:
            CredentialsError: As for `sign`.
            ConfigurationError: *payload_hash* is not the ``x-amz-content-sha256`` that is among the headers.
        """
        second = int(seconds // 1)
        moment = self._moment
        if moment is None or moment.second != second:
            moment = self._at(stamp_of(datetime.fromtimestamp(second, UTC)), second=second)
        return self._sign(moment, payload_hash)

    def _at(self, stamp: str, *, second: int | None = None) -> "_Moment":
        """Return the parts that all signatures made at *stamp* share; those of the last second are kept."""
        moment = self._moment
        if moment is not None and moment.stamp == stamp and (second is None or second == moment.second):
            return moment
        scope = stamp[:8] + self._scope
        key_scope, key = self._key
        if key_scope != scope:
            key = signing_key(self.credentials, scope)
            self._key = (scope, key)
        moment = _Moment(
            stamp=stamp,
            second=second,
            key=key,
            request=hashlib.sha256(f"{self._head}{stamp}{self._tail}".encode()),
            text=f"{ALGORITHM}\n{stamp}\n{scope}\n",
            authorization=f"{self._credential}{scope}, SignedHeaders={self._names}, Signature=",
            headers={**self._sent, "x-amz-date": stamp},
        )
        self._moment = moment  # in one assignment: threads may share a signer
        return moment

    def _sign(self, moment: "_Moment", payload_hash: str) -> dict[str, str]:
        if self.given_hash is not None and self.given_hash != payload_hash:
            raise ConfigurationError(f"header {_CONTENT_HASH} and payload_hash differ: pass only one")
        headers = moment.headers.copy()
        if self._sends_hash:  # it sorts before the date
            headers[_CONTENT_HASH] = payload_hash
            head = Secret(self._head.replace(_HASH, payload_hash))
            request = hashlib.sha256(f"{head}{moment.stamp}{self._tail}".encode())
        else:
            request = moment.request.copy()
        request.update(payload_hash.encode())
        text = f"{moment.text}{request.hexdigest()}"
        proof = hmac.digest(moment.key, text.encode(), "sha256").hex()
        headers["authorization"] = Secret(f"{moment.authorization}{proof}")
        return headers


@attrs.frozen(repr=False, eq=False)
class _Moment:
    """
    The parts that all signatures of one signer share that are made in the same second.

    Attributes:
        stamp: The second, as signatures have it.
        second: The same in seconds since 1970; None when that is not known.
        key: Derived for the day.
        request: SHA-256 of the canonical request up to the hash of the body.
        text: The string to sign up to the hash of the canonical request.
        authorization: The header up to the signature.
        headers: What is sent, without that header.
    """

    stamp: str
    second: int | None
    key: SecretBytes
    request: Any
    text: str
    authorization: str
    headers: dict[str, str]


def presign(
    credentials: Credentials,
    *,
    method: str = "GET",
    url: str,
    headers: Mapping[str, str] | None = None,
    payload_hash: str | None = None,
    service: str,
    region: str,
    at: datetime,
    expires: Seconds = 60,
    normalize_path: bool | None = None,
    double_encode: bool | None = None,
) -> PresignedUrl:
    """
    Return *url* with its signature in the query, and without a final dot of its host, which not all clients send.

    Args:
        credentials: The keys to sign with.
        method: The HTTP method of the request.
        url: Absolute and percent-encoded, with the parameters of the operation. In its query a ``+`` stands for a
            space.
        headers: Headers that must be sent with the URL, in addition to ``host``.
        payload_hash: Lower-case hex SHA-256 of the body, or `UNSIGNED_PAYLOAD`. None for what the service expects:
            the latter for those of `S3_FAMILY`, an empty body for all others.
        service: Signing name of the service, in lower case.
        region: Signing region.
        at: The time of signing, aware.
        expires: How long the URL is valid: 1 to 604,800 s, or a `timedelta` of whole seconds.
        normalize_path: As for `sign`.
        double_encode: As for `sign`.

    Raises:
        ConfigurationError: *expires* is not a whole number of this range; *url* is already signed; or as for `sign`.
        CredentialsError: As for `sign`.
    """
    credentials, url, headers = given_credentials(credentials), cover(url), cover_headers(headers)
    lifetime: int = as_whole_seconds(expires)
    if not is_whole(lifetime, least=1, most=MAX_EXPIRES):
        raise ConfigurationError(f"expires must be an integer from 1 to {MAX_EXPIRES} (seconds)")
    check_credentials(credentials)
    stamp = stamp_of(at)
    scope = stamp[:8] + scope_tail(region, service)
    target = target_of(url, service=service, normalize=normalize_path, double_encode=double_encode)
    signed = signable_headers({} if headers is None else headers, host=target.host, without=OURS)
    if payload_hash is None:
        payload_hash = signed.get(_CONTENT_HASH) or (UNSIGNED_PAYLOAD if service in S3_FAMILY else EMPTY_SHA256)
    check_hash(payload_hash)
    names = sorted(signed)
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(lifetime),
        "X-Amz-SignedHeaders": ";".join(names),
    }
    if credentials.session_token:
        parameters["X-Amz-Security-Token"] = credentials.session_token
    own = [target.query] if target.query else []
    whole = Secret("&".join(own + [f"{name}={quote(str(value), safe='')}" for name, value in parameters.items()]))
    request = canonical_request(
        method=checked_method(method),
        path=target.path,
        query=canonical_query(whole),
        headers=[(name, signed[name]) for name in names],
        payload_hash=payload_hash,
    )
    proof = signature(signing_key(credentials, scope), string_to_sign(stamp, scope, request))
    return PresignedUrl(f"{target.address}?{whole}&X-Amz-Signature={proof}", expires=lifetime)


def string_to_sign(stamp: str, scope: str, request: str) -> str:
    """Return the text that is signed, for the time ``YYYYMMDDTHHMMSSZ`` and a canonical request."""
    request = cover(request)
    return f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(str.encode(request)).hexdigest()}"


def signing_key(credentials: Credentials, scope: str) -> SecretBytes:
    """
    Return the key that *credentials* sign *scope* with (``YYYYMMDD/region/service/aws4_request``).

    Raises:
        CredentialsError: The secret access key is not text that UTF-8 can encode, or *credentials* are none.
    """
    credentials = given_credentials(credentials)
    expect_credentials(credentials)
    key = attempt(UnicodeEncodeError, _first_key, credentials)
    if key is None:
        raise CredentialsError("the secret access key has characters that no key has")
    for part in scope.split("/"):
        key = SecretBytes(hmac.digest(key, part.encode(), "sha256"))
    return key


def _first_key(credentials: Credentials) -> SecretBytes:
    return SecretBytes(f"AWS4{credentials.secret_access_key}".encode())


def signature(key: bytes, text: str) -> str:
    """Return the signature of *text*, 64 hex digits."""
    key = cover(key)
    return hmac.digest(key, str.encode(text), "sha256").hex()


def host_header(url: str) -> str:
    """
    Return the ``host`` header that is sent for a URL: lower case, without a default port or a final dot.

    Raises:
        ConfigurationError: *url* is not an absolute URL, or could be read in two ways.
    """
    url = cover(url)
    return host_of(parse_http_url(url, what="url", schemes=SCHEMES))
