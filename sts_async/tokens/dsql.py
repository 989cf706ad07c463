"""
The password of a cluster of Aurora DSQL.

Source: "Generating an authentication token in Amazon Aurora DSQL", Aurora DSQL User Guide; botocore, signers.
"""

from datetime import datetime

from .._shape.arguments import check_flag
from .._shape.secret import without_data
from ..shapes import Credentials, Seconds
from ..sigv4._signing_input import given_credentials
from ._arguments import checked_expires, checked_host, region_for
from ._presigned import MAX_SECONDS, in_host_form, presigned
from ._source import Source, signing_of
from ._token import Token, end_of

MAX_EXPIRES = 604_800  # s, seven days


async def dsql_token(
    credentials: Source, *, host: str, admin: bool = False, region: str | None = None, expires: Seconds = MAX_SECONDS
) -> Token:
    """
    Return a password for one or more connections to a cluster. A connection outlives its password.

    Args:
        credentials: A client, a view, or a provider of a fleet.
        host: The endpoint of the cluster, such as ``abc.dsql.eu-west-1.on.aws``.
        admin: Whether to connect as the user ``admin``. Otherwise the password is for users with other names.
        region: The region of the cluster. None for the region in *host*, or else that of the client.
        expires: Lifetime of the password, 1 to 604,800 s, or a `timedelta`. It never lives longer than the credentials.

    Raises:
        ConfigurationError: An argument is invalid, the region is not known, or it is not the region in *host*.
        CredentialsError: There are no credentials, or fetching them failed.
    """
    credentials = without_data(credentials)
    signing = await signing_of(credentials)
    region = region_for(checked_host(host), given=region, otherwise=signing.region)
    return sign_dsql_token(signing.credentials, host=host, admin=admin, region=region, expires=expires, at=signing.at)


def sign_dsql_token(
    credentials: Credentials,
    *,
    host: str,
    admin: bool = False,
    region: str | None = None,
    expires: Seconds = MAX_SECONDS,
    at: datetime,
) -> Token:
    """
    Return a password, as `dsql_token` does, without I/O.

    Args:
        credentials: The keys to sign with.
        host: As for `dsql_token`.
        admin: As for `dsql_token`.
        region: The region of the cluster; None for the region in *host*.
        expires: As for `dsql_token`.
        at: The time of signing, as an aware datetime.

    Raises:
        ConfigurationError: As for `dsql_token`.
        CredentialsError: The credentials have expired, or cannot sign.
    """
    credentials, host = given_credentials(credentials), checked_host(host)
    check_flag("admin", admin)
    seconds = checked_expires(expires, most=MAX_EXPIRES)
    url = presigned(
        credentials,
        host=host,
        parameters={"Action": "DbConnectAdmin" if admin else "DbConnect"},
        service="dsql",
        region=region_for(host, given=region),
        at=at,
        expires=seconds,
    )
    return Token(value=in_host_form(url), expiration=end_of(credentials, at=at, seconds=seconds))
