"""Signed headers, presigned URLs, and the steps of a signature."""

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
_DATE = "\0"  # placeholder for the date, which is not known yet; no header can contain it
_HASH = "\1"  # placeholder for the hash of the body, which is not known yet
_CONTENT_HASH = "x-amz-content-sha256"

OURS = frozenset({"authorization", "x-amz-date", "x-amz-security-token"})
"""The headers that `sign` adds. They replace headers with the same names in the arguments."""


class PresignedUrl:
    """
    A URL with a signature and, for temporary credentials, a session token. Anyone who has the URL can use it.

    The URL is a secret: ``str``, f-strings and ``repr`` return it without the query. `reveal` returns the whole URL as
    a `Secret`.

    Attributes:
        expires: Seconds for which the URL is valid, from the time of signing.
    """

    __slots__ = ("_url", "expires")

    def __init__(self, url: str, *, expires: int) -> None:
        self._url = Secret(url)
        self.expires = expires

    def reveal(self) -> Secret:
        """Return the whole URL. Its ``repr`` is ``'***'``."""
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

    For the services of S3, ``x-amz-content-sha256`` is added too.

    Args:
        credentials: The keys to sign with.
        method: The HTTP method.
        url: The absolute, percent-encoded URL, as it will be sent. A ``+`` in its query means a space.
        headers: The headers to sign, except those in `UNSIGNED_HEADERS`, which are returned unsigned. Without a
            ``host``, the signature includes the host of the URL without a default port and a final dot, and the
            transport must send the same. An ``x-amz-content-sha256`` is used as the hash of the body.
        body: The body of the request.
        payload_hash: Lower-case hex SHA-256 of the body, `UNSIGNED_PAYLOAD`, or one of S3's words for streams, such as
            ``STREAMING-UNSIGNED-PAYLOAD-TRAILER``. None to compute it from *body*.
        service: Signing name of the service, in lower case, such as ``sts``.
        region: Signing region.
        at: The time of signing, as an aware datetime.
        normalize_path: Whether ``.``, ``..`` and empty path segments are resolved. None for the rule of the service:
            False for S3, True for all others.
        double_encode: Whether the encoded path is percent-encoded again. None for the same rule.

    Raises:
        CredentialsError: A key is empty, or the key id or the token has characters that are invalid in a header.
        ConfigurationError: Another argument is invalid, such as a header or URL with control characters, a URL that is
            already signed, or a time without a zone. The message names the argument, not its value.
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
    Signs requests that differ only in time and body. Everything else is checked and prepared once.

    The signing key is derived once a day and is stored only in the signer. The arguments are those of `sign`.

    Attributes:
        credentials: The keys to sign with.
        headers: The headers of the requests.
        given_hash: The ``x-amz-content-sha256`` in *headers*, or None.
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
        Return the headers together with those of the signature.

        Args:
            payload_hash: As for `sign`.
            at: The time of signing, as an aware datetime.

        Raises:
            CredentialsError: UTF-8 cannot encode the secret access key.
            ConfigurationError: *at* has no zone, or *payload_hash* is invalid or differs from the
                ``x-amz-content-sha256`` in the headers.
        """
        check_hash(payload_hash)
        return self._sign(self._at(stamp_of(at)), payload_hash)

    def sign_at(self, seconds: float, *, payload_hash: str) -> dict[str, str]:
        """
        Return the headers that `sign` returns, for a hash that the caller has computed.

        Args:
            seconds: The time of signing, in seconds since 1970.
            payload_hash: Lower-case hex SHA-256 of the body. Its form is not checked.

        Raises:
            CredentialsError: As for `sign`.
            ConfigurationError: *payload_hash* differs from the header ``x-amz-content-sha256``.
        """
        second = int(seconds // 1)
        moment = self._moment
        if moment is None or moment.second != second:
            moment = self._at(stamp_of(datetime.fromtimestamp(second, UTC)), second=second)
        return self._sign(moment, payload_hash)

    def _at(self, stamp: str, *, second: int | None = None) -> "_Moment":
        """Return the parts that all signatures at *stamp* share. Those of the last second are cached."""
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
    The parts that are the same in all signatures of one signer within one second.

    Attributes:
        stamp: The time, as in ``x-amz-date``.
        second: The time in seconds since 1970; None if only *stamp* is known.
        key: The signing key of the day.
        request: SHA-256 of the canonical request up to the hash of the body.
        text: The string to sign up to the hash of the canonical request.
        authorization: The header up to the signature.
        headers: The headers of the request, without ``authorization``.
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
    Return *url* with its signature in the query. The host has no final dot, because some clients do not send it.

    Args:
        credentials: The keys to sign with.
        method: The HTTP method of the request.
        url: The absolute, percent-encoded URL, with the parameters of the operation. A ``+`` in its query means a
            space.
        headers: Headers that must be sent with the URL, in addition to ``host``; None for no headers.
        payload_hash: Lower-case hex SHA-256 of the body, or `UNSIGNED_PAYLOAD`. None for the rule of the service:
            `UNSIGNED_PAYLOAD` for S3, the hash of an empty body for all others.
        service: Signing name of the service, in lower case.
        region: Signing region.
        at: The time of signing, as an aware datetime.
        expires: Seconds for which the URL is valid: 1 to 604,800, or a `timedelta` of whole seconds.
        normalize_path: As for `sign`.
        double_encode: As for `sign`.

    Raises:
        ConfigurationError: *expires* is outside its range, *url* is already signed, or another argument is invalid as
            for `sign`.
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
    """
    Return the string to sign.

    Args:
        stamp: The time of signing, as ``YYYYMMDDTHHMMSSZ`` in UTC.
        scope: The credential scope, as ``YYYYMMDD/region/service/aws4_request``.
        request: The canonical request.
    """
    request = cover(request)
    return f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(str.encode(request)).hexdigest()}"


def signing_key(credentials: Credentials, scope: str) -> SecretBytes:
    """
    Return the signing key for a credential scope, as ``YYYYMMDD/region/service/aws4_request``.

    Raises:
        CredentialsError: UTF-8 cannot encode the secret access key, or *credentials* are not `Credentials`.
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
    Return the ``host`` header for a URL: in lower case, without a default port and a final dot.

    Raises:
        ConfigurationError: *url* is not an absolute URL, or its host is ambiguous.
    """
    url = cover(url)
    return host_of(parse_http_url(url, what="url", schemes=SCHEMES))
