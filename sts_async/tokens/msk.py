"""
The token of Amazon MSK for Kafka clients: SASL mechanism OAUTHBEARER, with TLS.

Source: aws-msk-iam-sasl-signer-python 1.0.2.
"""

from datetime import datetime
from urllib.parse import quote

from .._protocol.headers import is_header_value
from .._shape.secret import Secret, without_data
from .._version import VERSION
from ..errors import ConfigurationError
from ..shapes import Credentials
from ..sigv4._signing_input import given_credentials
from ._arguments import checked_region
from ._presigned import MAX_SECONDS, in_base64url, presigned
from ._source import Source, signing_of
from ._token import Token, end_of

USER_AGENT = f"sts-async/{VERSION}"


async def msk_token(credentials: Source, *, region: str | None = None) -> Token:
    """
    Return a token for connections to the clusters of a region.

    Libraries that ask for the end in milliseconds get ``int(token.expiration.timestamp() * 1000)``.

    Args:
        credentials: A client, a view, or a provider of a fleet.
        region: The region of the cluster; None for that of the client.

    Raises:
        ConfigurationError: The region is invalid or not known.
        CredentialsError: There are no credentials, or fetching them failed.
    """
    credentials = without_data(credentials)
    signing = await signing_of(credentials)
    return sign_msk_token(signing.credentials, region=checked_region(region, otherwise=signing.region), at=signing.at)


def sign_msk_token(credentials: Credentials, *, region: str, at: datetime, user_agent: str = USER_AGENT) -> Token:
    """
    Return a token, as `msk_token` does, without I/O.

    Args:
        credentials: The keys to sign with.
        region: The region of the cluster.
        at: The time of signing, as an aware datetime.
        user_agent: Name and version of the program, which brokers can log. It is not signed.

    Raises:
        ConfigurationError: An argument is invalid.
        CredentialsError: The credentials have expired, or cannot sign.
    """
    credentials = given_credentials(credentials)
    if not is_header_value(user_agent) or not user_agent:
        raise ConfigurationError("user_agent must be printable ASCII text")
    region = checked_region(region)
    url = presigned(
        credentials,
        host=f"kafka.{region}.amazonaws.com",  # in all partitions, as in the signer of AWS
        parameters={"Action": "kafka-cluster:Connect"},
        service="kafka-cluster",
        region=region,
        at=at,
    )
    whole = Secret(f"{url}&User-Agent={quote(user_agent, safe='')}")
    return Token(value=in_base64url(whole), expiration=end_of(credentials, at=at, seconds=MAX_SECONDS))
