"""
The password of a database of Amazon RDS or Aurora, for users with IAM authentication.

Source: "IAM database authentication for MariaDB, MySQL, and PostgreSQL", Amazon RDS User Guide; botocore, signers.
"""

from datetime import datetime

from .._shape.secret import without_data
from ..shapes import Credentials
from ..sigv4._signing_input import given_credentials
from ._arguments import checked_host, checked_port, checked_user, region_for
from ._presigned import MAX_SECONDS, in_host_form, presigned
from ._source import Source, signing_of
from ._token import Token, end_of


async def rds_token(credentials: Source, *, host: str, port: int, user: str, region: str | None = None) -> Token:
    """
    Return a password for one or more connections to a database. A connection outlives its password.

    Args:
        credentials: A client, a view, or a provider of a fleet.
        host: The endpoint of the database or proxy. Behind a tunnel, it is still this name, not that of the tunnel.
        port: The port of that endpoint.
        user: The user of the database.
        region: The region of the database. None for the region in *host*, or else that of the client.

    Raises:
        ConfigurationError: An argument is invalid, the region is not known, or it is not the region in *host*.
        CredentialsError: There are no credentials, or fetching them failed.
    """
    credentials = without_data(credentials)
    signing = await signing_of(credentials)
    region = region_for(checked_host(host), given=region, otherwise=signing.region)
    return sign_rds_token(signing.credentials, host=host, port=port, user=user, region=region, at=signing.at)


def sign_rds_token(
    credentials: Credentials, *, host: str, port: int, user: str, region: str | None = None, at: datetime
) -> Token:
    """
    Return a password, as `rds_token` does, without I/O.

    Args:
        credentials: The keys to sign with.
        host: As for `rds_token`.
        port: As for `rds_token`.
        user: As for `rds_token`.
        region: The region of the database; None for the region in *host*.
        at: The time of signing, as an aware datetime.

    Raises:
        ConfigurationError: As for `rds_token`.
        CredentialsError: The credentials have expired, or cannot sign.
    """
    credentials, host = given_credentials(credentials), checked_host(host)
    url = presigned(
        credentials,
        host=f"{host}:{checked_port(port)}",
        parameters={"Action": "connect", "DBUser": checked_user(user)},
        service="rds-db",
        region=region_for(host, given=region),
        at=at,
    )
    return Token(value=in_host_form(url), expiration=end_of(credentials, at=at, seconds=MAX_SECONDS))
