"""boto3: a session whose clients and resources sign with our credentials."""

from typing import Any

from . import botocore
from ._consumers import consumer
from ._view import BridgeCredentials

MINIMUM = "1.37"


def session(credentials: BridgeCredentials, *, region: str | None = None) -> Any:
    """
    Return a ``boto3.Session`` whose clients use *credentials*: see `botocore.session`.

        s3 = bridges.boto3.session(sts.role("arn:aws:iam::123456789012:role/demo")).client("s3")

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        region: The region of the clients; None for that of *credentials*, then for the one that boto3 finds.

    Raises:
        ConfigurationError: boto3 is missing or too old, or *credentials* has another type.
    """
    boto3 = consumer("boto3", minimum=MINIMUM)
    return boto3.Session(botocore_session=botocore.session(credentials, region=region))
