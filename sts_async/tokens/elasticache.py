"""
The password of a cache of Amazon ElastiCache, for users with IAM authentication.

Source: "Authenticating with IAM", Amazon ElastiCache User Guide.
"""

from datetime import datetime

from .._shape.arguments import check_flag
from .._shape.secret import without_data
from ..shapes import Credentials
from ..sigv4._signing_input import given_credentials
from ._arguments import checked_label, checked_region, checked_user
from ._presigned import MAX_SECONDS, in_host_form, presigned
from ._source import Source, signing_of
from ._token import Token, end_of


async def elasticache_token(
    credentials: Source, *, cache: str, user: str, serverless: bool = False, region: str | None = None
) -> Token:
    """
    Return a password for one or more connections to a cache. The service ends IAM connections after 12 hours.

    Args:
        credentials: A client, a view, or a provider of a fleet.
        cache: Id of the replication group, or name of the serverless cache; not its endpoint.
        user: The user, whose name and id are equal.
        serverless: Whether it is a serverless cache.
        region: The region of the cache; None for that of the client.

    Raises:
        ConfigurationError: An argument is invalid, or the region is not known.
        CredentialsError: There are no credentials, or fetching them failed.
    """
    credentials = without_data(credentials)
    signing = await signing_of(credentials)
    return sign_elasticache_token(
        signing.credentials,
        cache=cache,
        user=user,
        serverless=serverless,
        region=checked_region(region, otherwise=signing.region),
        at=signing.at,
    )


def sign_elasticache_token(
    credentials: Credentials, *, cache: str, user: str, serverless: bool = False, region: str, at: datetime
) -> Token:
    """
    Return a password, as `elasticache_token` does, without I/O.

    Args:
        credentials: The keys to sign with.
        cache: As for `elasticache_token`.
        user: As for `elasticache_token`.
        serverless: As for `elasticache_token`.
        region: The region of the cache.
        at: The time of signing, as an aware datetime.

    Raises:
        ConfigurationError: As for `elasticache_token`.
        CredentialsError: The credentials have expired, or cannot sign.
    """
    credentials = given_credentials(credentials)
    check_flag("serverless", serverless)
    url = presigned(
        credentials,
        host=checked_label("cache", cache),
        parameters={
            "Action": "connect",
            "User": checked_user(user),
            **({"ResourceType": "ServerlessCache"} if serverless else {}),
        },
        service="elasticache",
        region=checked_region(region),
        at=at,
    )
    return Token(value=in_host_form(url), expiration=end_of(credentials, at=at, seconds=MAX_SECONDS))
