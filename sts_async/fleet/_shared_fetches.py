"""
Fetches that processes share: one of them asks the service, the others read the result from the cache.

A cache is never a reason to fail. A cache of the program may raise anything: the first failure is logged, and the
credentials are fetched without it.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from datetime import datetime

from ..errors import STSError
from ..shapes import Credentials
from .caches.protocol import CachedCredentials, CacheKey, CredentialsCache

log = logging.getLogger("sts_async")

Decision = Callable[[CachedCredentials], bool]
Accept = Callable[[Credentials, datetime | None], datetime | None]


def _accept(credentials: Credentials, refresh_after: datetime | None) -> None:
    """Use no credentials: the caller does, and does not plan a refresh."""


def _accepted(found: CachedCredentials, accept: Accept) -> CachedCredentials:
    accept(found.credentials, found.refresh_after)
    return found


class SharedFetches:
    """
    Fetches through a cache.

    Args:
        cache: The cache that processes share.
    """

    def __init__(self, cache: CredentialsCache) -> None:
        self._cache = cache
        self._warned = False

    async def get(
        self,
        key: CacheKey,
        *,
        fetch: Callable[[], Awaitable[Credentials]],
        is_fresh: Decision,
        is_over: Decision,
        now: Callable[[], datetime],
        accept: Accept = _accept,
        waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> CachedCredentials:
        """
        Return credentials from the cache, or new ones, which are then stored.

        Args:
            key: The key of the credentials.
            fetch: Fetches them from the service.
            is_fresh: Whether cached credentials need no refresh.
            is_over: Whether cached credentials must not be used after a failed refresh.
            now: Returns the time at which credentials were issued.
            accept: Checks the credentials and uses them, before they are stored. It takes the time at which the process
                that fetched them will refresh them, or None if this process fetched them, and returns when this process
                will do so; None if it will not.
            waiting: Returns a context for the wait for the lease.

        Raises:
            STSError: The fetch failed, and there are no cached credentials that can be used.
        """
        found = await self._load(key)
        if found is not None and is_fresh(found):
            return _accepted(found, accept)
        async with self._leased(key, waiting):
            found = await self._load(key) or found
            if found is not None and is_fresh(found):
                return _accepted(found, accept)
            try:
                credentials = await fetch()
            except STSError as error:
                if found is None or not error.recoverable or is_over(found):
                    raise
                return _accepted(found, accept)
            issued = now()
            refresh_after = accept(credentials, None)
            fetched = CachedCredentials(credentials=credentials, issued=issued, refresh_after=refresh_after)
            try:
                await self._cache.store(key, fetched)
            except Exception as error:  # noqa: BLE001 - a cache of the program may raise anything
                self._warn(error)
            return fetched

    @asynccontextmanager
    async def _leased(
        self, key: CacheKey, waiting: Callable[[], AbstractContextManager[object]]
    ) -> AsyncIterator[None]:
        """Hold the lease of *key* if it is available. A failure to take or to release it is a warning."""
        stack = AsyncExitStack()
        try:
            with waiting():
                await stack.enter_async_context(self._cache.lease(key))
        except Exception as error:  # noqa: BLE001 - a cache of the program may raise anything
            self._warn(error)
        try:
            yield
        finally:
            try:
                await stack.aclose()
            except Exception as error:  # noqa: BLE001 - see above
                self._warn(error)

    async def _load(self, key: CacheKey) -> CachedCredentials | None:
        try:
            return await self._cache.load(key)
        except Exception as error:  # noqa: BLE001 - a cache of the program may raise anything
            self._warn(error)
            return None

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "the cache of the fleet failed with %s; credentials are fetched without it", type(error).__name__
            )
