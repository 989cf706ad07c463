"""
The short-term API key of Amazon Bedrock, a bearer token for SDKs such as that of OpenAI.

Source: "Generate Amazon Bedrock API keys", Amazon Bedrock User Guide; aws-bedrock-token-generator 1.1.0.
"""

import base64
from datetime import datetime

from .._shape.secret import Secret, without_data
from ..shapes import Credentials, Seconds
from ..sigv4._signing_input import given_credentials
from ._arguments import checked_expires, checked_region
from ._presigned import in_host_form, presigned
from ._source import Source, signing_of
from ._token import Token, end_of

HOST = "bedrock.amazonaws.com"  # in all regions; the region is in the scope of the signature
PREFIX = "bedrock-api-key-"
MAX_EXPIRES = 43_200  # s, twelve hours


async def bedrock_api_key(credentials: Source, *, region: str | None = None, expires: Seconds = MAX_EXPIRES) -> Token:
    """
    Return an API key for the models of a region.

    Args:
        credentials: A client, a view, or a provider of a fleet.
        region: The region of the models; None for that of the client.
        expires: Lifetime of the key, 1 to 43,200 s, or a `timedelta`. It never lives longer than the credentials.

    Raises:
        ConfigurationError: An argument is invalid, or the region is not known.
        CredentialsError: There are no credentials, or fetching them failed.
    """
    credentials = without_data(credentials)
    signing = await signing_of(credentials)
    region = checked_region(region, otherwise=signing.region)
    return sign_bedrock_api_key(signing.credentials, region=region, expires=expires, at=signing.at)


def sign_bedrock_api_key(
    credentials: Credentials, *, region: str, expires: Seconds = MAX_EXPIRES, at: datetime
) -> Token:
    """
    Return an API key, as `bedrock_api_key` does, without I/O.

    Args:
        credentials: The keys to sign with.
        region: The region of the models.
        expires: As for `bedrock_api_key`.
        at: The time of signing, as an aware datetime.

    Raises:
        ConfigurationError: An argument is invalid.
        CredentialsError: The credentials have expired, or cannot sign.
    """
    credentials = given_credentials(credentials)
    seconds = checked_expires(expires, most=MAX_EXPIRES)
    url = presigned(
        credentials,
        method="POST",
        host=HOST,
        parameters={"Action": "CallWithBearerToken"},
        service="bedrock",
        region=checked_region(region),
        at=at,
        expires=seconds,
    )
    whole = Secret(f"{in_host_form(url)}&Version=1")
    key = Secret(f"{PREFIX}{base64.b64encode(whole.encode()).decode()}")
    return Token(value=key, expiration=end_of(credentials, at=at, seconds=seconds))
