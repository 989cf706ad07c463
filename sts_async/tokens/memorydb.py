"""
The password of a cluster of Amazon MemoryDB, for users with IAM authentication.

Source: "Authenticating with IAM", Amazon MemoryDB Developer Guide.
"""

from datetime import datetime

from .._shape.secret import without_data
from ..shapes import Credentials
from ..sigv4._signing_input import given_credentials
from ._arguments import checked_label, checked_region, checked_user
from ._presigned import MAX_SECONDS, in_host_form, presigned
from ._source import Source, signing_of
from ._token import Token, end_of


async def memorydb_token(credentials: Source, *, cluster: str, user: str, region: str | None = None) -> Token:
    """
    Return a password for one or more connections to a cluster. The service ends IAM connections after 12 hours.

    Args:
        credentials: A client, a view, or a provider of a fleet.
        cluster: Name of the cluster; not its endpoint.
        user: The user.
        region: The region of the cluster; None for that of the client.

    Raises:
        ConfigurationError: An argument is invalid, or the region is not known.
        CredentialsError: There are no credentials, or fetching them failed.
    """
    credentials = without_data(credentials)
    signing = await signing_of(credentials)
    region = checked_region(region, otherwise=signing.region)
    return sign_memorydb_token(signing.credentials, cluster=cluster, user=user, region=region, at=signing.at)


def sign_memorydb_token(credentials: Credentials, *, cluster: str, user: str, region: str, at: datetime) -> Token:
    """
    Return a password, as `memorydb_token` does, without I/O.

    Args:
        credentials: The keys to sign with.
        cluster: As for `memorydb_token`.
        user: As for `memorydb_token`.
        region: The region of the cluster.
        at: The time of signing, as an aware datetime.

    Raises:
        ConfigurationError: As for `memorydb_token`.
        CredentialsError: The credentials have expired, or cannot sign.
    """
    credentials = given_credentials(credentials)
    url = presigned(
        credentials,
        host=checked_label("cluster", cluster),
        parameters={"Action": "connect", "User": checked_user(user)},
        service="memorydb",
        region=checked_region(region),
        at=at,
    )
    return Token(value=in_host_form(url), expiration=end_of(credentials, at=at, seconds=MAX_SECONDS))
