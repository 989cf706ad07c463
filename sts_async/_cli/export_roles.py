"""Roles whose credentials processes share, and what a source of credentials depends on."""

from datetime import UTC, datetime
from typing import Any

from ..credentials import (
    AssumeRoleProvider,
    EnvironmentProvider,
    ProfileProvider,
    ProviderChain,
    SSOProvider,
    StaticProvider,
    WebIdentityProvider,
)
from ..credentials._schedule import MANDATORY_WINDOW, lifetime_of
from ..credentials._sts_providers import SigningSource
from ..credentials.static import clocks
from ..fleet._due_times import refresh_margin
from ..fleet._role_lines import DEFAULT_SESSION
from ..fleet._shared_fetches import SharedFetches
from ..fleet.caches.protocol import CachedCredentials, CacheKey
from ..protocols import ProviderContext, is_attended
from ..shapes import Credentials

_SOURCES = (EnvironmentProvider, StaticProvider)


class SharedRole(AssumeRoleProvider):
    """
    Provide the credentials of a role, from the cache of a fleet if they are there.

    Args:
        fetches: Fetches through that cache; None to ask STS each time.
        arguments: The arguments of `AssumeRoleProvider`, with a source.

    Attributes:
        issued: When the last credentials were issued; None before.
    """

    def __init__(self, *, fetches: SharedFetches | None, **arguments: Any) -> None:
        # A random name would make each process another identity.
        name = arguments.pop("role_session_name", None)
        super().__init__(role_session_name=DEFAULT_SESSION if name is None else name, **arguments)
        self._fetches = fetches
        self.issued: datetime | None = None

    def __repr__(self) -> str:
        # A crash reporter may show an object whose constructor failed.
        return getattr(self, "name", type(self).__name__)

    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Return new credentials.

        Raises:
            STSError: The errors of `AssumeRoleProvider`, if the cache has no credentials that can be used.
        """
        fetches = self._fetches
        key = None if fetches is None else await self.key(context)
        if fetches is None or key is None:
            self.issued = datetime.fromtimestamp(context.wall_clock(), UTC)
            return await super().fetch(context)

        async def fetch() -> Credentials:
            return await super(SharedRole, self).fetch(context)

        found = await fetches.get(
            key,
            fetch=fetch,
            is_fresh=lambda found: self._left(found, context) > self.margin(found, context),
            is_over=lambda found: self._left(found, context) <= MANDATORY_WINDOW,
            now=lambda: datetime.fromtimestamp(context.wall_clock(), UTC),
        )
        self.issued = found.issued
        return found.credentials

    async def key(self, context: ProviderContext) -> CacheKey | None:
        """
        Return the key in the cache; None without an endpoint. It is the key of a fleet with the same credentials.

        Raises:
            STSError: The source has no credentials.
        """
        if context.endpoint is None or self._source is None:
            return None
        self._check(context)
        signing = await SigningSource(self._source, context, of=repr(self)).provide_credentials(context)
        origin = origin_of(self._source)
        through = await origin.key(context) if isinstance(origin, SharedRole) else None
        source = signing.access_key_id if through is None else through.digest
        return CacheKey(request=self._request, source=source, endpoint=context.endpoint.url)

    def margin(self, found: CachedCredentials, context: ProviderContext) -> float:
        """Return the seconds before their end from which credentials are fetched again."""
        end = found.credentials.expiration
        lifetime = float("inf") if end is None else (end - found.issued).total_seconds()
        return margin_of(lifetime, attended=is_attended(self, context))

    @staticmethod
    def _left(found: CachedCredentials, context: ProviderContext) -> float:
        return lifetime_of(found.credentials, *clocks(context))


def margin_of(lifetime: float, *, attended: bool) -> float:
    """Return the seconds before their end from which credentials of *lifetime* seconds are fetched again."""
    # A person is asked as late as possible.
    return MANDATORY_WINDOW if attended else refresh_margin(lifetime, ahead=True)


def origin_of(source: object) -> object:
    """Return the provider that a chain or a profile has chosen for its last credentials; any other source unchanged."""
    while True:
        if isinstance(source, ProviderChain):
            source = source._chosen
        elif isinstance(source, ProfileProvider):
            source = None if source._current is None else source._current.provider
        else:
            return source


def is_repeatable(source: object) -> bool:
    """
    Return True if the credentials of a source are fetched, and which ones is decided by files and variables alone.

    It returns False for any other source: a process or a metadata service can return another identity at any time.
    """
    origin = origin_of(source)
    if isinstance(origin, SharedRole):
        return isinstance(origin_of(origin._source), _SOURCES) or is_repeatable(origin._source)
    return isinstance(origin, SSOProvider | WebIdentityProvider)
