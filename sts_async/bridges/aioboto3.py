"""aioboto3: a session whose clients and resources sign with our credentials."""

from typing import Any

from . import aiobotocore
from ._consumers import consumer
from ._view import BridgeCredentials

MINIMUM = "14.1"


def session(credentials: BridgeCredentials, *, region: str | None = None) -> Any:
    """
    Return an ``aioboto3.Session`` whose clients use *credentials*: see `aiobotocore.session`.

        async with bridges.aioboto3.session(sts).client("s3") as s3: ...

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        region: The region of the clients; None for that of *credentials*, then for the one that aioboto3 finds.

    Raises:
        ConfigurationError: aioboto3 is missing or too old, or *credentials* has another type.
    """
    aioboto3 = consumer("aioboto3", minimum=MINIMUM)
    return aioboto3.Session(botocore_session=aiobotocore.session(credentials, region=region))
