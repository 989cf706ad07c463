"""polars: a credential provider for ``scan_parquet`` and its other functions that read and write S3."""

import math
from collections.abc import Callable
from datetime import UTC, datetime

from ._consumers import consumer
from ._view import EARLY, BridgeCredentials, early_end, view_of

MINIMUM = "2.0"  # versions before 2 take the function of one role for that of another
ASKED_BEFORE = 30.0  # s; polars asks again with less than 7 s left

PolarsProvider = Callable[[], tuple[dict[str, str], int | None]]
"""A function that returns the keys of an S3 store, and their end in seconds since 1970."""


def credential_provider(credentials: BridgeCredentials) -> PolarsProvider:
    """
    Return a function for the argument *credential_provider* of polars.

        polars.scan_parquet("s3://bucket/key.parquet", credential_provider=bridges.polars.credential_provider(sts))

    polars has no margin of its own, so the credentials end for it 60 s early. The region of the bucket is an option of
    polars: ``storage_options={"aws_region": ...}``. The function cannot be pickled, so polars cloud cannot use it.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.

    Raises:
        ConfigurationError: polars is missing or too old, or *credentials* has another type.
    """
    consumer("polars", minimum=MINIMUM)
    view = view_of(credentials)
    needed = EARLY.total_seconds() + ASKED_BEFORE

    def provide() -> tuple[dict[str, str], int | None]:
        now = view.get_sync(at_least=needed)
        keys = {"aws_access_key_id": now.access_key_id, "aws_secret_access_key": now.secret_access_key}
        if now.session_token:
            keys["aws_session_token"] = now.session_token
        end = early_end(now)
        if end is not None and end <= datetime.now(UTC):
            end = now.expiration  # polars refuses a time that has passed, and these are the last credentials
        return keys, None if end is None else math.floor(end.timestamp())

    return provide
