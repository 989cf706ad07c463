"""The steps of a signature after the canonical request. They do not check their arguments."""

import hashlib
import hmac

from .._protocol.urls import parse_http_url
from .._shape.secret import SecretBytes, attempt, cover
from ..errors import CredentialsError
from ..shapes import Credentials
from ._signing_input import SCHEMES, expect_credentials, given_credentials, host_of

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
CONTENT_HASH = "x-amz-content-sha256"


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
