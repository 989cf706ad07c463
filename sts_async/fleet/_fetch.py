"""
One fetch of credentials for one identity: from the cache that processes share, or from the service.

A request is signed with the credentials of the client, or with those of another identity. A provider is asked for its
credentials. The retry policy of each request takes a token of the budget: see `_budgeted_retries`.
"""

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from .._engine.context import ClientContext
from .._engine.loop import REFUSED_KEYS
from .._runtime.at_hand import serves
from .._runtime.defaults import ATTENDED_SECONDS, FETCH_SECONDS
from .._shape.arguments import other_than
from .._shape.secret import kind_of
from ..credentials import RefreshingProvider
from ..credentials._schedule import ATTENDED, CACHED, STANDARD, Schedule, lifetime_of
from ..credentials._sts_providers import NoSigner, issue
from ..credentials.cache import checked
from ..credentials.static import clocks
from ..errors import ConfigurationError, CredentialsError, STSError
from ..protocols import CredentialsProvider, Invoker, ProviderContext, RetryPolicy, is_attended
from ..shapes import Credentials, Request
from ._budget import Budgets, Lane
from ._budgeted_retries import BudgetedRetries
from ._due_times import refresh_margin
from ._entries import Entry
from ._shared_fetches import SharedFetches
from ._workers import place_given_up_after
from .caches.protocol import CachedCredentials, CacheKey, CredentialsCache
from .identities import check_account, describe, operation_of, request_of

if TYPE_CHECKING:
    from .._engine.loop import Engine
    from ..client import STSClient

CACHE_METHODS = ("load", "store", "lease")
PLACE_SECONDS = 0.5  # s of waiting for a lease after which another worker starts, and the token is given back
CACHE_SECONDS = 60.0  # s that the cache may add to the limit of a fetch: another process may hold its lease

Accept = Callable[[Entry, Credentials, datetime | None], datetime | None]
"""
Stores new credentials in an entry. It takes the time at which the process that fetched them will refresh them, or None
if this process fetched them, and returns when this process will do so; None if it will not.
"""


class SourceSigner:
    """
    The signing credentials of a chained request: those that the source has in memory.

    It never waits. A worker that waited for another identity would take the place of the worker that fetches it.

    Args:
        source: The entry that signs.
        refused: Called with the entry and the access key id that the service refused.
    """

    def __init__(self, source: Entry, refused: Callable[[Entry, str], None]) -> None:
        self._source = source
        self._refused = refused

    async def provide_credentials(self, context: object, /) -> Credentials:
        """
        Return the credentials of the source.

        Raises:
            CredentialsError: The source has none.
        """
        credentials = self._source.state.credentials
        if credentials is None:
            raise CredentialsError(f"{describe(self._source.identity)} has no credentials")
        return credentials

    @serves(provide_credentials)
    def _at_hand(self, context: object) -> Credentials | None:
        """Return the credentials of the source, or None if it has none."""
        return self._source.state.credentials

    def invalidate(self, access_key_id: str) -> None:
        """Fetch the credentials of the source again, because the service refused them."""
        self._refused(self._source, access_key_id)


class Sender(NamedTuple):
    """Sends the requests of one lane. It caches what is derived from the credentials that sign them."""

    context: ClientContext
    invoker: Invoker
    policy: BudgetedRetries


class Fetcher:
    """
    Fetches credentials with the options and the credentials of one client or view.

    Args:
        sts: The client or the view.
        budgets: The budgets of the fleet.
        cache: The cache that processes share, or None.
        namespace: Name of the calling identity in the cache; None for its access key id.
        allowed_accounts: Ids of the accounts that credentials may belong to; None for any.
        refused: See `SourceSigner`.

    Attributes:
        cache: The cache, or None.

    Raises:
        ConfigurationError: *sts* is neither a client nor a view, or *cache* is no cache.
    """

    def __init__(
        self,
        sts: "STSClient",
        *,
        budgets: Budgets,
        cache: CredentialsCache | None,
        namespace: str | None,
        allowed_accounts: Collection[str] | None,
        refused: Callable[[Entry, str], None],
    ) -> None:
        if isinstance(sts, type) or not hasattr(sts, "_ready"):
            raise ConfigurationError(f"a fleet needs an STSClient or a view of one, not {other_than('STSClient', sts)}")
        if cache is not None and (isinstance(cache, type) or not all(hasattr(cache, name) for name in CACHE_METHODS)):
            raise ConfigurationError(f"cache must be a FileCache or another CredentialsCache, not {kind_of(cache)}")
        self._sts = sts
        self._budgets = budgets
        self.cache = cache
        self._shared = None if cache is None else SharedFetches(cache)
        self._namespace = namespace
        self._allowed_accounts = allowed_accounts
        self._refused = refused
        self._lent: tuple[Engine, ClientContext] | None = None
        self._policy: RetryPolicy | None = None

    async def context(self) -> ClientContext:
        """
        Return the context of the client.

        Raises:
            ClientClosedError: The client is closed.
            ConfigurationError: The client cannot start.
        """
        engine, _ = await self._sts._ready()
        if self._lent is None or self._lent[0] is not engine:
            self._lent = (engine, engine.lend(retries=self._paced))
        return self._lent[1]

    def _paced(self, policy: RetryPolicy) -> BudgetedRetries:
        """Return the policy for the requests of providers, which may be signed by any account."""
        self._policy = policy
        lane = Lane(self._budgets.new(), paced=False)
        return BudgetedRetries(policy, self._budgets, lane)

    def limit_of(self, entry: Entry) -> float | None:
        """Return the time limit of a fetch in seconds; None for a provider that has its own limit."""
        if request_of(entry.identity) is None:
            seconds: float | None = getattr(entry.identity, "fetch_seconds", FETCH_SECONDS)
            return seconds if seconds is None or not entry.schedule.attended else max(seconds, ATTENDED_SECONDS)
        deadline = FETCH_SECONDS if self._lent is None else self._lent[1].config.deadline
        return deadline + CACHE_SECONDS

    async def fetch(self, entry: Entry, accept: Accept) -> None:
        """
        Fetch new credentials for an entry, and pass them to *accept*.

        Raises:
            ConfigurationError: The account of the credentials is not allowed.
            STSError: The fetch failed.
        """
        context = await self.context()
        request = request_of(entry.identity)

        def check_and_accept(credentials: Credentials, refresh_after: datetime | None) -> datetime | None:
            credentials = checked(credentials, of=describe(entry.identity))
            check_account(credentials.account_id, self._allowed_accounts)
            return accept(entry, credentials, refresh_after)

        if request is None:
            check_and_accept(await _ask(entry.identity, context), None)
        elif self._shared is None:
            check_and_accept(await self._send(entry, request, context), None)
        else:
            await self._through(self._shared, entry, request, context, check_and_accept)

    def schedule_of(self, entry: Entry, context: ProviderContext) -> Schedule:
        """Return the rules for the refresh of an entry, as far as they are known."""
        if request_of(entry.identity) is not None:
            source = entry.source
            attended = is_attended(context.client_credentials, context) if source is None else source.schedule.attended
            return ATTENDED if attended else STANDARD
        if isinstance(entry.identity, RefreshingProvider):
            return entry.identity.schedule_for(context)
        return ATTENDED if is_attended(entry.identity, context) else CACHED

    async def _send(self, entry: Entry, request: Request[Any], context: ClientContext) -> Credentials:
        sender: Sender | None = entry.lane.invoker
        if sender is None or sender.context is not context:
            sender = entry.lane.invoker = self._new_sender(entry, request, context)
        sender.policy.prepay(entry)
        try:
            return await issue(sender.invoker, operation_of(request), request)
        finally:
            sender.policy.settle()

    def _new_sender(self, entry: Entry, request: Request[Any], context: ClientContext) -> "Sender":
        """Return the sender of the lane of *entry*. All its requests have the same signer."""
        signer: CredentialsProvider
        if not operation_of(request).signed:
            signer = NoSigner()
        elif entry.source is not None:
            signer = SourceSigner(entry.source, self._refused)
        else:
            assert context.client_credentials is not None  # noqa: S101 - a lent context has them
            signer = context.client_credentials
        assert self._policy is not None  # noqa: S101 - `context` has set it
        policy = BudgetedRetries(self._policy, self._budgets, entry.lane)
        return Sender(context, context.signed_by(signer, retries=policy), policy)

    async def _through(
        self,
        shared: SharedFetches,
        entry: Entry,
        request: Request[Any],
        context: ClientContext,
        accept: Callable[[Credentials, datetime | None], datetime | None],
    ) -> None:
        """Accept credentials that another process has fetched, or fetch and share them."""
        key = await self._key_of(entry, request, context)
        if key is None:
            accept(await self._send(entry, request, context), None)
            return
        await shared.get(
            key,
            fetch=lambda: self._send(entry, request, context),
            is_fresh=lambda found: _is_fresh(found, entry, context),
            is_over=lambda found: _is_over(found, entry, context),
            now=lambda: _now(context),
            accept=accept,
            # While another process has the lease, other entries use the place of this worker and the token of this one.
            waiting=lambda: place_given_up_after(PLACE_SECONDS, self._call_later, entry.refund),
        )

    def _call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        call_later = getattr(self._sts._life.clock, "call_later", asyncio.get_running_loop().call_later)
        return call_later(seconds, callback)

    async def _key_of(self, entry: Entry, request: Request[Any], context: ClientContext) -> CacheKey | None:
        """Return the key of an entry in the cache; None if a provider signs: it has no stable name."""
        if context.endpoint is None:
            return None
        if not operation_of(request).signed:
            source = ""
        elif entry.source is not None:
            signing = request_of(entry.source.identity)
            key = None if signing is None else await self._key_of(entry.source, signing, context)
            if key is None:
                return None
            source = key.digest
        elif self._namespace is not None:
            source = self._namespace
        else:
            assert context.client_credentials is not None  # noqa: S101 - a lent context has them
            source = (await context.client_credentials.provide_credentials(context)).access_key_id
        return CacheKey(request=request, source=source, endpoint=context.endpoint.url)


def was_key_refused(error: STSError) -> bool:
    """Return True if the service refused the key that signed a request."""
    return getattr(error, "code", None) in REFUSED_KEYS


async def _ask(provider: Any, context: ProviderContext) -> Credentials:
    """Return the credentials of a provider. A provider with a cache is asked for new ones, because the fleet caches."""
    if getattr(type(provider), "provide_credentials", None) is RefreshingProvider.provide_credentials:
        fetched: Credentials = await provider.fetch(context)
        return fetched
    provided: Credentials = await provider.provide_credentials(context)
    return provided


def _is_fresh(found: CachedCredentials, entry: Entry, context: ClientContext) -> bool:
    """Return True if cached credentials end later than those in memory and are not in their advisory window."""
    held = entry.state.credentials
    if held is not None and (entry.state.refused or held == found.credentials):
        return held != found.credentials and not _is_over(found, entry, context)
    remaining = lifetime_of(found.credentials, *clocks(context))
    end = found.credentials.expiration
    if end is None:
        return True
    if held is not None and held.expiration is not None and end <= held.expiration:
        return False
    lifetime = (end - found.issued).total_seconds()
    return remaining > refresh_margin(lifetime, ahead=entry.ahead)


def _is_over(found: CachedCredentials, entry: Entry, context: ClientContext) -> bool:
    """Return True if cached credentials are in their last minute."""
    return lifetime_of(found.credentials, *clocks(context)) <= entry.schedule.mandatory


def _now(context: ClientContext) -> datetime:
    return datetime.fromtimestamp(context.wall_clock(), UTC)
