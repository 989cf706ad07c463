"""
A JWT of AWS that proves the identity of credentials to a service outside AWS.

Source: STS API Reference, GetWebIdentityToken.
"""

from collections.abc import Collection

from .._shape.secret import Secret, without_data
from ..shapes import Seconds, Tags
from ._source import Source, client_of
from ._token import Token


async def web_identity_token(
    credentials: Source,
    *,
    audience: str | Collection[str],
    signing_algorithm: str = "ES384",
    duration_seconds: Seconds | None = None,
    scope: str | None = None,
    subject_mode: str | None = None,
    tags: Tags = (),
) -> Token:
    """
    Return a JWT that AWS signs. It is issued by STS, so each call sends a request.

    Args:
        credentials: A client, a view, or a provider of a fleet. The global endpoint of STS does not issue such tokens.
        audience: The service that the token is for, or up to 10 of them.
        signing_algorithm: ``ES384``, or ``RS256`` for services that know only RSA.
        duration_seconds: Lifetime in seconds, or a `timedelta`, 60 to 3,600. None for the service's default, 300.
        scope: As for `STSClient.get_web_identity_token`.
        subject_mode: As for `STSClient.get_web_identity_token`.
        tags: Claims to add, such as ``{"team": "a"}``, or a list of `Tag`, at most 50.

    Raises:
        ParamValidationError: An argument violates a constraint.
        CredentialsError: There are no credentials, or fetching them failed.
        OutboundWebIdentityFederationDisabledException: The account has not enabled it.
        STSError: As for `STSClient.get_web_identity_token`.
    """
    credentials = without_data(credentials)
    response = await client_of(credentials).get_web_identity_token(
        audience=[audience] if isinstance(audience, str) else audience,
        duration_seconds=duration_seconds,
        signing_algorithm=signing_algorithm,
        scope=scope,
        subject_mode=subject_mode,
        tags=tags,
    )
    return Token(value=Secret(response.web_identity_token), expiration=response.expiration)
