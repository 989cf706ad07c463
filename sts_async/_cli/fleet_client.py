"""The client and the cache of commands that keep a fleet."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from ..config import Config
from ..credentials import DefaultChain
from ..credentials.source import MFACode, Source

if TYPE_CHECKING:
    from ..fleet import FileCache

MIN_CONNECTIONS = 50
DEFAULT_REGION = "us-east-1"  # of a local STS


@contextlib.asynccontextmanager
async def client_of(
    options: Mapping[str, Any], *, local: bool, mfa_code: MFACode | None, concurrency: int = MIN_CONNECTIONS
) -> AsyncIterator[tuple[Config, Source]]:
    """
    Yield the options of the client and its credentials.

    Args:
        options: Options of the client, by their names in `Config`.
        local: Whether to use a local STS and its credentials.
        mfa_code: The function that returns the code of an MFA device.
        concurrency: Maximum number of requests at once.
    """
    # More requests at once need more connections than a client has by default.
    given = {"max_connections": max(concurrency, MIN_CONNECTIONS), **options}
    if not local:
        config = Config(**given)
        yield config, DefaultChain(config, mfa_code=mfa_code)
        return
    from ..testing import LocalSTS

    async with LocalSTS(region=str(given.get("region", DEFAULT_REGION))) as server:
        yield Config(**{**given, "region": server.region, "endpoint_url": server.url}), server.credentials


def cache_of(directory: str | None) -> "FileCache | None":
    """Return the cache in a directory; None without one."""
    if directory is None:
        return None
    from ..fleet import FileCache

    return FileCache(directory)
