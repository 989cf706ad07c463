"""redis-py: credential providers for ElastiCache and MemoryDB, for users that IAM authenticates."""

import functools
from typing import Any

from ..tokens import sign_elasticache_token, sign_memorydb_token
from ..tokens._arguments import checked_region
from ._consumers import consumer
from ._derived import NEEDED, Sign
from ._view import BridgeCredentials, CredentialsView, view_of

MINIMUM = "5.3"  # `get_credentials_async`


def elasticache(
    credentials: BridgeCredentials, *, cache: str, user: str, serverless: bool = False, region: str | None = None
) -> Any:
    """
    Return a ``redis.CredentialProvider`` for ``redis.asyncio.Redis`` and ``redis.Redis``.

        Redis(host=..., ssl=True, credential_provider=bridges.redis.elasticache(sts, cache="my-cache", user="app"))

    redis-py asks for each new connection, and gets a new password. ElastiCache ends connections after 12 hours.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        cache: Id of the replication group, or name of the serverless cache; not its endpoint.
        user: The user, whose name and id are equal.
        serverless: Whether it is a serverless cache.
        region: The region of the cache; None for that of *credentials*.

    Raises:
        ConfigurationError: redis-py is missing or too old, or *credentials* has another type. Connections raise it if
            another argument is invalid or the region is not known.
    """
    view = view_of(credentials)
    return _classes()(
        view,
        user,
        lambda keys, now: sign_elasticache_token(
            keys, cache=cache, user=user, serverless=serverless, region=checked_region(region or view.region), at=now
        ),
    )


def memorydb(credentials: BridgeCredentials, *, cluster: str, user: str, region: str | None = None) -> Any:
    """
    Return a ``redis.CredentialProvider`` for a cluster of MemoryDB, as `elasticache` does for a cache.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        cluster: Name of the cluster; not its endpoint.
        user: The user.
        region: The region of the cluster; None for that of *credentials*.

    Raises:
        ConfigurationError: As for `elasticache`.
    """
    view = view_of(credentials)
    return _classes()(
        view,
        user,
        lambda keys, now: sign_memorydb_token(
            keys, cluster=cluster, user=user, region=checked_region(region or view.region), at=now
        ),
    )


@functools.cache
def _classes() -> Any:
    base: Any = consumer("redis.credentials", minimum=MINIMUM).CredentialProvider

    class IamProvider(base):  # type: ignore[misc]
        """Signs a password for each connection."""

        def __init__(self, view: CredentialsView, user: str, sign: Sign) -> None:
            self._view = view
            self._user = user
            self._sign = sign

        def get_credentials(self) -> tuple[str, str]:
            """Return user and password."""
            keys = self._view.get_sync(at_least=NEEDED)
            return self._user, self._sign(keys, self._view.now()).value

        async def get_credentials_async(self) -> tuple[str, str]:
            """Return user and password, in any event loop."""
            keys = await self._view.get()
            return self._user, self._sign(keys, self._view.now()).value

    return IamProvider
