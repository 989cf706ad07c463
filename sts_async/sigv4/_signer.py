"""Signed headers: of one request, and of many requests that differ little."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import attrs

from .._protocol.headers import cover_headers
from .._shape.secret import Secret, SecretBytes, Unpicklable, cover, kind_of, without_data
from ..errors import ConfigurationError
from ..shapes import Credentials
from ._canonical_request import S3_FAMILY, canonical_query, canonical_request
from ._signing_input import (
    OURS,
    canonical_path_for,
    check_credentials,
    check_hash,
    checked_method,
    given_credentials,
    origin_of,
    resource_of,
    scope_tail,
    signable_headers,
    stamp_of,
    target_of,
)
from ._steps import ALGORITHM, CONTENT_HASH, signing_key

_DATE = "\0"  # placeholder for the date, which is not known yet; no header can contain it
_HASH = "\1"  # placeholder for the hash of the body, which is not known yet


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
        "_family",
        "_form",
        "_head",
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
        self.given_hash = signed.get(CONTENT_HASH)
        self._sends_hash = self.given_hash is None and service in S3_FAMILY
        if self._sends_hash:
            signed[CONTENT_HASH] = _HASH
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
        self._family = _Family()
        self._moment: _Moment | None = None
        verb, _, _, rest = str.split(self._head, "\n", 3)
        self._form = _Form(verb, cover(rest), origin_of(url), service, normalize_path, double_encode)

    def for_url(self, url: str) -> "Signer":
        """
        Return a signer of the same requests with another URL of the same origin. It shares what was checked.

        Args:
            url: The absolute, percent-encoded URL, as for `sign`.

        Raises:
            ConfigurationError: *url* is invalid, already signed, or not of the same origin.
        """
        url, form = cover(url), self._form
        found = resource_of(url, origin=form.origin)
        if found is None:
            # It is invalid, or it has a form that needs all checks, such as an upper-case host.
            target = target_of(url, service=form.service, normalize=form.normalize, double_encode=form.double_encode)
            if origin_of(url).lower() != form.origin.lower():
                raise ConfigurationError("url must have the scheme, host and port of the URL of the signer")
            path, query = target.path, target.query
        else:
            path, query = (
                canonical_path_for(
                    found[0], service=form.service, normalize=form.normalize, double_encode=form.double_encode
                ),
                found[1],
            )
        other = object.__new__(Signer)
        other.credentials, other.headers, other.given_hash = self.credentials, self.headers, self.given_hash
        other._credential, other._scope, other._names = self._credential, self._scope, self._names
        other._sent, other._sends_hash, other._tail = self._sent, self._sends_hash, self._tail
        other._family, other._form, other._moment = self._family, form, None
        other._head = Secret(f"{form.verb}\n{path}\n{canonical_query(query)}\n{form.rest}")
        return other

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
            alike = self._family.moment
            if alike is not None and alike.second == second:
                moment = self._moment = alike.for_request(self._head, self._tail)
            else:
                moment = self._at(stamp_of(datetime.fromtimestamp(second, UTC)), second=second)
        return self._sign(moment, payload_hash)

    def _at(self, stamp: str, *, second: int | None = None) -> "_Moment":
        """Return the parts that all signatures at *stamp* share. Those of the last second are cached."""
        moment = self._moment
        if moment is not None and moment.stamp == stamp and (second is None or second == moment.second):
            return moment
        scope = stamp[:8] + self._scope
        key_scope, key = self._family.key
        if key_scope != scope:
            key = signing_key(self.credentials, scope)
            self._family.key = (scope, key)
        moment = _Moment(
            stamp=stamp,
            second=second,
            key=key,
            request=hashlib.sha256(f"{self._head}{stamp}{self._tail}".encode()),
            text=f"{ALGORITHM}\n{stamp}\n{scope}\n",
            authorization=f"{self._credential}{scope}, SignedHeaders={self._names}, Signature=",
            headers={**self._sent, "x-amz-date": stamp},
        )
        self._moment = self._family.moment = moment  # in one assignment: threads may share a signer
        return moment

    def _sign(self, moment: "_Moment", payload_hash: str) -> dict[str, str]:
        if self.given_hash is not None and self.given_hash != payload_hash:
            raise ConfigurationError(f"header {CONTENT_HASH} and payload_hash differ: pass only one")
        headers = moment.headers.copy()
        if self._sends_hash:  # it sorts before the date
            headers[CONTENT_HASH] = payload_hash
            head = Secret(self._head.replace(_HASH, payload_hash))
            request = hashlib.sha256(f"{head}{moment.stamp}{self._tail}".encode())
        else:
            request = moment.request.copy()
        request.update(payload_hash.encode())
        text = f"{moment.text}{request.hexdigest()}"
        proof = hmac.digest(moment.key, text.encode(), "sha256").hex()
        headers["authorization"] = Secret(f"{moment.authorization}{proof}")
        return headers


class _Family:
    """
    What signers share that were made with `Signer.for_url`.

    Attributes:
        key: The last credential scope, and the signing key for it.
        moment: The parts of the last signature of one of them.
    """

    __slots__ = ("key", "moment")

    def __init__(self) -> None:
        self.key: tuple[str, SecretBytes] = ("", SecretBytes())
        self.moment: _Moment | None = None


class _Form(NamedTuple):
    """
    What signers of other URLs need.

    Attributes:
        verb: The HTTP method.
        rest: The canonical request after the query, up to the date.
        origin: The URL up to its path.
        service: The signing name.
        normalize: See `sign`.
        double_encode: See `sign`.
    """

    verb: str
    rest: str
    origin: str
    service: str
    normalize: bool | None
    double_encode: bool | None

    def __repr__(self) -> str:
        return "<_Form>"


@attrs.define(repr=False, eq=False)  # not frozen, because that takes three times as long
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

    def for_request(self, head: str, tail: str) -> "_Moment":
        """Return the same moment for another canonical request."""
        return _Moment(
            stamp=self.stamp,
            second=self.second,
            key=self.key,
            request=hashlib.sha256(f"{head}{self.stamp}{tail}".encode()),
            text=self.text,
            authorization=self.authorization,
            headers=self.headers,
        )
