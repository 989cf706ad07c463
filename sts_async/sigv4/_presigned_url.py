"""Presigned URLs: the signature is in the query, so whoever has the URL can send the request."""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from .._protocol.headers import cover_headers
from .._shape.arguments import is_whole
from .._shape.forms import as_whole_seconds
from .._shape.secret import Secret, cover
from ..errors import ConfigurationError
from ..shapes import Credentials, Seconds
from ._canonical_request import S3_FAMILY, canonical_query, canonical_request
from ._signing_input import (
    OURS,
    check_credentials,
    check_hash,
    checked_method,
    given_credentials,
    scope_tail,
    signable_headers,
    stamp_of,
    target_of,
)
from ._steps import ALGORITHM, CONTENT_HASH, EMPTY_SHA256, UNSIGNED_PAYLOAD, signature, signing_key, string_to_sign

MAX_EXPIRES = 604_800  # s, seven days


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
        payload_hash = signed.get(CONTENT_HASH) or (UNSIGNED_PAYLOAD if service in S3_FAMILY else EMPTY_SHA256)
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
