"""s3fs: a file system on S3 that signs with our credentials, for fsspec, pandas and dask."""

from typing import Any

from . import aiobotocore
from ._consumers import consumer
from ._view import BridgeCredentials

MINIMUM = "2025.3"


def filesystem(credentials: BridgeCredentials, *, region: str | None = None, **options: Any) -> Any:
    """
    Return an ``s3fs.S3FileSystem`` whose requests use *credentials*.

        pandas.read_csv("s3://bucket/key.csv", filesystem=bridges.s3fs.filesystem(sts))

    s3fs runs an event loop in a thread, in which the credentials are read. Do not call its synchronous methods in the
    event loop of a fleet whose credentials these are: they block it, so cold credentials are an error after 30 s.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        region: The region of the bucket; None for that of *credentials*, then for the one that aiobotocore finds.
        options: Other options of ``S3FileSystem``, such as ``asynchronous=True`` to use it in the caller's event loop.

    Raises:
        ConfigurationError: s3fs is missing or too old, or *credentials* has another type.
    """
    s3fs = consumer("s3fs", minimum=MINIMUM)
    return s3fs.S3FileSystem(
        session=aiobotocore.session(credentials, region=region), skip_instance_cache=True, **options
    )
