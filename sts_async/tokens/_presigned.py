"""The one function that signs the URLs of tokens, and the forms in which services expect such URLs."""

import base64
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from .. import sigv4
from .._shape.secret import Secret
from ..shapes import Credentials
from ._token import check_alive

SCHEME = "https://"
MAX_SECONDS = 900  # s for which most services accept a token. Source: IAM User Guide and the guides of the services


def presigned(
    credentials: Credentials,
    *,
    method: str = "GET",
    host: str,
    parameters: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    service: str,
    region: str,
    at: datetime,
    expires: int = MAX_SECONDS,
) -> Secret:
    """
    Return a presigned URL of a host, which is never fetched by this library.

    Args:
        credentials: The keys to sign with.
        method: The HTTP method that the service assumes.
        host: Host and port, which have been checked.
        parameters: The parameters of the query; their values are encoded here.
        headers: Headers that the service adds, in addition to ``host``.
        service: The signing name.
        region: The signing region, which has been checked.
        at: The time of signing.
        expires: Seconds of ``X-Amz-Expires``.

    Raises:
        ConfigurationError: *at* is not an aware datetime.
        CredentialsError: The credentials have expired, or cannot sign.
    """
    check_alive(credentials, at=at)
    query = "&".join([f"{name}={quote(value, safe='')}" for name, value in parameters.items()])
    return sigv4.presign(
        credentials,
        method=method,
        url=f"{SCHEME}{host}/?{query}",
        headers=headers,
        service=service,
        region=region,
        at=at,
        expires=expires,
    ).reveal()


def in_host_form(url: Secret) -> Secret:
    """Return a URL without its scheme: the form of passwords."""
    return Secret(url.removeprefix(SCHEME))


def in_base64url(url: Secret) -> Secret:
    """Return a URL in base64url without padding."""
    return Secret(base64.urlsafe_b64encode(url.encode()).rstrip(b"=").decode())
