"""The fleet: credentials of many identities, kept fresh in one event loop."""

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterable
from contextlib import aclosing
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .._runtime import forks
from .._runtime.outcome import copy_without_traceback
from .._shape.arguments import check_flag, check_seconds, check_whole, in_seconds, is_seconds
from .._shape.secret import Unpicklable, without_data
from ..credentials._schedule import Step, next_step
from ..credentials.cache import moment
from ..errors import ClientClosedError, ConfigurationError, STSError
from ..protocols import CredentialsProvider, is_attended
from ..shapes import Credentials
from ._budget import Budgets
from ._cache_user import FleetAsCacheUser, join, leave
from ._due_times import next_refresh
from ._entries import Entries, Entry, paused_error
from ._fetch import Fetcher
from ._members import Members
from ._other_loops import close_in, get_in
from ._overview import list_failing, take_snapshot
from ._provider import FleetProvider, unwrapped
from ._refresher import Refresher
from ._scan import scan
from ._workers import place_given_up
from .caches.protocol import CredentialsCache
from .identities import Identity, check_account, check_kind, check_target, checked_accounts, request_of
from .reports import FailingIdentity, FleetSnapshot

if TYPE_CHECKING:
    from .._engine.context import ClientContext
    from ..client import STSClient

MAX_ON_DEMAND = 10_000
IDLE_SECONDS = 3600.0
REQUESTS_PER_SECOND = 200.0  # a third of the quota of STS for each account and region
CONCURRENCY = 50  # as many as the client has connections


class CredentialsFleet(Unpicklable):
    """
    The credentials of any number of identities, kept fresh by one client.

        async with STSClient() as sts, CredentialsFleet(sts) as fleet:
            role = AssumeRoleRequest(role_arn="arn:aws:iam::123456789012:role/demo", role_session_name="me")
            credentials = await fleet.get(role)

    An identity is a request that issues credentials, a `ChainedRequest`, or a credentials provider. Requests are sent
    with the options and the credentials of the client or view that the fleet was made with.

    There are two tiers. Identities that were added (`add`) are kept: they are always refreshed in time. Others are on
    demand: `get` fetches them, and they are refreshed in the background only if they were used since their last
    fetch. They are evicted when there are too many, or after an idle time.

    Refreshes are spread over time. Each calling account has a budget of requests per second in each region. Its rate
    begins at a quarter of the limit and is halved when the service throttles. A request that a caller waits for goes
    before those that are only due. Otherwise, the credentials that end first are refreshed first.

    If a refresh fails, cached credentials stay in use as in `credentials.RefreshingProvider`, and attempts are 5 to 10
    minutes apart, or 5 to 15 s if the service throttles. If the service refuses an identity that has no credentials,
    the next attempt follows after 5 to 15 s. Each further pause is longer, up to an hour. Each change of state is
    logged once, by the logger ``sts_async``, and observers get an `IdentityStateChanged`.

    Args:
        sts: The client or view. It must stay open as long as the fleet.
        max_on_demand: Maximum number of identities on demand, at least 1. If there are more, those that were used least
            recently are evicted.
        idle_seconds: Seconds, or a `timedelta`, without use after which an identity on demand is evicted.
        requests_per_second: Maximum rate of requests for each calling account and region. STS allows 600, for all
            programs of the account together.
        concurrency: Maximum number of requests at the same time.
        cache: A cache that processes share, such as `FileCache`; None for none.
        cache_namespace: Name of the calling identity in the cache; None for its access key id. Processes with different
            temporary keys of the same role share credentials only if they have the same namespace.
        allowed_accounts: Ids of the accounts that identities may belong to, for roles that users choose; None for any
            account.
        strict_arns: Whether role ARNs must follow the grammar of IAM. Set it to False for servers other than AWS.

    Raises:
        ConfigurationError: An argument is invalid.

    Source: "IAM and AWS STS quotas", IAM User Guide; common rules of the AWS SDKs for refreshing credentials, 2026.
    """

    def __init__(
        self,
        sts: "STSClient",
        *,
        max_on_demand: int = MAX_ON_DEMAND,
        idle_seconds: float | timedelta = IDLE_SECONDS,
        requests_per_second: float = REQUESTS_PER_SECOND,
        concurrency: int = CONCURRENCY,
        cache: CredentialsCache | None = None,
        cache_namespace: str | None = None,
        allowed_accounts: Collection[str] | None = None,
        strict_arns: bool = True,
    ) -> None:
        check_whole("max_on_demand", max_on_demand)
        check_whole("concurrency", concurrency)
        check_flag("strict_arns", strict_arns)
        idle_seconds = in_seconds(idle_seconds)
        check_seconds("idle_seconds", idle_seconds)
        if not is_seconds(requests_per_second):
            raise ConfigurationError("requests_per_second must be a number greater than 0")
        self._sts = sts
        self._concurrency = concurrency
        allowed = checked_accounts(allowed_accounts)
        self._budgets = Budgets(requests_per_second)
        self._entries = Entries(max_on_demand=max_on_demand, idle_seconds=idle_seconds)
        self._members = Members(self._entries, self._budgets, allowed_accounts=allowed, strict_arns=strict_arns)
        self._find = self._entries.by_identity.get
        self._fetcher = Fetcher(
            sts,
            budgets=self._budgets,
            cache=cache,
            namespace=cache_namespace,
            allowed_accounts=allowed,
            refused=self._refused,
        )
        self._context: ClientContext | None = None
        self._refresher: Refresher | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cache_user: FleetAsCacheUser | None = None
        self._closed = False
        self._added_before: list[Identity] = []  # identities that were added before the start

    async def __aenter__(self) -> Self:
        if self._closed or self._refresher is not None:
            raise ClientClosedError("a fleet can be entered only once: make a new one")
        context = self._context = await self._fetcher.context()
        self._loop = asyncio.get_running_loop()
        self._wall_clock, self._monotonic = context.wall_clock, context.monotonic
        self._members.open(context)
        self._refresher = Refresher(
            self._fetcher,
            self._entries,
            context,
            clock=self._sts._life.clock,
            concurrency=self._concurrency,
        )
        forks.register_after_fork(self, "_disown")
        added, self._added_before = self._added_before, []
        user = FleetAsCacheUser(self._budgets, self._refresher, context)
        try:
            if await join(self._fetcher.cache, user):
                self._cache_user = user
            self.add(*added)
        except BaseException:  # then nobody calls `__aexit__`
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """
        End all refreshes, within 1 s. Callers that wait, and later calls of `get`, get a `ClientClosedError`.

        The client stays open. Closing again does nothing. `peek` still returns what is in memory.
        """
        self._closed = True
        await close_in(self._loop, self._end)

    async def _end(self) -> None:
        user, self._cache_user = self._cache_user, None
        if self._refresher is not None:
            await self._refresher.aclose()
        if user is not None:
            await leave(self._fetcher.cache, user)

    def _disown(self) -> None:
        """Close the fleet in a forked child: its event loop and its workers are those of the parent."""
        self._closed, self._loop = True, None
        if self._refresher is not None:
            self._refresher.disown()

    # -- credentials ------------------------------------------------------------------------------------------------

    async def get(self, identity: Identity) -> Credentials:
        """
        Return the credentials of an identity: from memory if they are fresh, otherwise after a fetch.

        All callers wait for the same fetch, and cancelling a caller does not cancel it. The coroutine can be awaited in
        any event loop, while the event loop of the fleet runs in another thread.

        Args:
            identity: The identity. If it is not in the fleet, it is added on demand.

        Raises:
            ConfigurationError: It is not an identity, or its account is not allowed.
            ParamValidationError: Its request breaks constraints.
            ClientClosedError: The fleet or its client is closed.
            CredentialsError: The identity is paused, or the identity that signs for it failed; then the cause is the
                error of that identity.
            STSError: The fetch failed, and no cached credentials can be served.
        """
        fresh = self._fresh(identity)
        if fresh is not None:
            return fresh
        identity = without_data(identity)  # a program can pass secrets by mistake, and a traceback must not show them
        return await self._get(identity)

    def _fresh(self, identity: Identity) -> Credentials | None:
        """Return the credentials of an identity if they are fresh, otherwise None."""
        entry = self._lookup(identity)
        if entry is not None and not self._closed:
            # Every warm call takes this path, so it makes no `Moment`.
            state, now = entry.state, self._monotonic()
            if now < state.advisory.monotonic and self._wall_clock() < state.advisory.wall:
                entry.last_used = now
                entry.passing = False
                return state.credentials
        return None

    async def _get(self, identity: Identity) -> Credentials:
        refresher = self._started()
        if self._loop is not asyncio.get_running_loop():
            return await get_in(self._loop, lambda: self.get(identity))
        entry = self._entry_of(identity)
        entry.passing = False
        return await self._provide(entry, refresher)

    async def _provide(self, entry: Entry, refresher: Refresher) -> Credentials:
        """Return the credentials of an entry: from memory if they can be served, otherwise after a fetch."""
        assert self._context is not None  # noqa: S101 - a fleet that has started has one
        now = moment(self._context)
        entry.last_used = now.monotonic
        state, step = entry.state, next_step(entry.state, now=now)
        if entry.paused or refresher.is_paused:
            if state.credentials is not None and not state.ends.reached(now):
                return state.credentials
            raise paused_error(entry)
        if step is Step.RAISE and state.error is not None:
            raise copy_without_traceback(state.error)
        if state.credentials is not None and step in (Step.SERVE, Step.REFRESH_IN_BACKGROUND):
            if step is Step.REFRESH_IN_BACKGROUND:
                refresher.need(entry, urgent=False)
            return state.credentials
        with place_given_up():
            return await refresher.wait(entry)

    def peek(self, identity: Identity) -> Credentials | None:
        """
        Return the credentials of an identity that are in memory and valid, or None. Nothing is fetched.

        It can be called in any thread. It counts as a use.
        """
        entry = self._lookup(identity) or self._lookup(unwrapped(identity, self))
        if entry is None:
            return None
        state, now = entry.state, self._monotonic()
        entry.last_used = now
        if now < state.ends.monotonic and self._wall_clock() < state.ends.wall:
            return state.credentials
        return None

    def provider(self, identity: Identity) -> CredentialsProvider:
        """
        Return a provider of the credentials of an identity, for clients and other libraries.

        Raises:
            ConfigurationError: It is not an identity, or its account is not allowed.
        """
        identity = unwrapped(without_data(identity), self)
        self._members.check(identity)
        return FleetProvider(self, identity)

    async def each(
        self,
        identities: Iterable[Identity] | AsyncIterable[Identity],
        *,
        concurrency: int = CONCURRENCY,
        allowed_accounts: Collection[str] | None = None,
    ) -> AsyncIterator[tuple[Identity, Credentials | STSError]]:
        """
        Fetch many identities, and yield each with its credentials or its error as soon as its fetch ends.

            async for identity, outcome in fleet.each(roles):
                match outcome:
                    case Credentials(): ...
                    case STSError(): ...

        Identities that are not in the fleet leave it afterwards, so memory does not grow with their number. An identity
        that is invalid or not allowed is yielded with a `ConfigurationError`.

        Args:
            identities: The identities; a generator is read as far as needed.
            concurrency: Maximum number of identities that are fetched at the same time, at least 1.
            allowed_accounts: Ids of the accounts that identities may belong to, in addition to those of the fleet; None
                for no further limit.

        Raises:
            ClientClosedError: The fleet or its client is closed.
            ConfigurationError: An argument is invalid.
        """
        check_whole("concurrency", concurrency)
        allowed = checked_accounts(allowed_accounts)
        refresher = self._started()

        async def fetch(identity: Identity) -> Credentials:
            check_target(request_of(identity), allowed)
            known = self._lookup(unwrapped(identity, self)) is not None
            entry = self._entry_of(identity)
            if not known:
                entry.passing = True
            credentials = await self._provide(entry, refresher)
            check_account(credentials.account_id, allowed)  # it is known only now if a provider was asked
            return credentials

        def leave(identity: Identity) -> None:
            entry = self._lookup(unwrapped(identity, self))
            if entry is not None and entry.passing and not entry.is_busy:
                refresher.forget(entry)

        found = scan(identities, fetch=fetch, leave=leave, concurrency=concurrency)
        async with aclosing(found):
            async for outcome in found:
                yield outcome

    # -- which identities -------------------------------------------------------------------------------------------

    def add(self, *identities: Identity) -> None:
        """
        Keep identities fresh. Their credentials are fetched in the background; `warm_up` waits for them.

        Before the fleet is entered, identities are only remembered. Adding an identity again does nothing. A fetch that
        asks a person, for an MFA code, never runs in the background: such an identity is fetched by `get` only.

        Raises:
            ConfigurationError: One is not an identity, or its account is not allowed. None of them is added. If there
                are several, a note of the error says which one it is.
            ParamValidationError: The request of one breaks constraints. The same applies.
            ClientClosedError: The fleet is closed.
        """
        identities = tuple(unwrapped(without_data(identity), self) for identity in identities)
        self._members.check_all(identities, known=self._lookup)
        if self._refresher is None and not self._closed:
            self._added_before.extend(identities)
            return
        refresher = self._started()
        for identity in identities:
            known = self._lookup(identity)
            if known is not None and known.kept:
                continue
            entry = self._members.entry_of(identity, refresher, keep=True, checked=True)
            entry.passing = False
            if entry.state.credentials is None:
                if not entry.paused and not refresher.is_paused:
                    refresher.need(entry, urgent=False)
            elif entry.due == math.inf:
                refresher.plan(entry, next_refresh(entry.state))

    def remove(self, *identities: Identity) -> None:
        """
        Remove identities with their credentials. Callers that wait for one get a `CredentialsError`.

        An identity that signs for others is no longer kept, and stays as long as they do. An identity that is not in
        the fleet is ignored.

        Raises:
            ConfigurationError: One is not an identity.
        """
        for identity in identities:
            identity = unwrapped(identity, self)
            if identity in self._added_before:
                self._added_before.remove(identity)
            entry = self._lookup(identity)
            if entry is None:
                check_kind(identity)
                continue
            if self._refresher is None:
                continue
            if entry.dependents:
                self._entries.release(entry)
            else:
                self._refresher.forget(entry)

    def pause(self, *identities: Identity) -> None:
        """
        Make no requests for identities; without arguments, for the whole fleet.

        Their callers get the cached credentials as long as these are valid, and then a `CredentialsError`. Running
        fetches continue. An identity that is paused by itself is not evicted, so its pause lasts.
        """
        identities = tuple(map(without_data, identities))
        self._set_paused(identities, value=True)

    def resume(self, *identities: Identity) -> None:
        """Refresh identities again; without arguments, all except those that were paused by themselves."""
        identities = tuple(map(without_data, identities))
        self._set_paused(identities, value=False)

    def _set_paused(self, identities: tuple[Identity, ...], *, value: bool) -> None:
        self._started().set_paused([self._entry_of(identity) for identity in identities], value=value)

    async def warm_up(self) -> None:
        """
        Wait until each kept identity has credentials, has failed once, or is paused.

        Raises:
            ClientClosedError: The fleet is closed.
        """
        refresher = self._started()
        for entry in list(self._entries.by_identity.values()):
            await refresher.first_outcome(entry)

    # -- reports ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> FleetSnapshot:
        """
        Return the state of the fleet as counts. It reads all entries, which takes some milliseconds for 10,000.

        Raises:
            ClientClosedError: The fleet is closed.
        """
        return take_snapshot(self._entries, self._started(), self._budgets)

    def failing(self, *, limit: int | None = None) -> list[FailingIdentity]:
        """
        Return the identities whose refresh fails, those that have failed for the longest time first.

        Args:
            limit: Maximum number, at least 1; None for all. All of 10,000 take about 0.2 s.

        Raises:
            ClientClosedError: The fleet is closed.
            ConfigurationError: *limit* is out of range.
        """
        if limit is not None:
            check_whole("limit", limit)
        return list_failing(self._entries, self._started(), limit=limit)

    # -- entries ----------------------------------------------------------------------------------------------------

    def _started(self) -> Refresher:
        if self._closed:
            raise ClientClosedError("the fleet is closed")
        if self._refresher is None:
            raise ClientClosedError("the fleet is not open yet: use `async with CredentialsFleet(...)`")
        return self._refresher

    def _lookup(self, identity: Any) -> Entry | None:
        try:
            return self._find(identity)
        except TypeError:
            return None  # it cannot be hashed, so it is no identity

    def _entry_of(self, identity: Identity) -> Entry:
        refresher = self._started()
        return self._members.entry_of(unwrapped(identity, self), refresher)

    def _refused(self, entry: Entry, access_key_id: str) -> None:
        if self._refresher is not None:
            self._refresher.refused(entry, access_key_id)

    def _invalidate(self, identity: Identity, access_key_id: str) -> None:
        entry = self._lookup(identity)
        if entry is not None:
            self._refused(entry, access_key_id)

    def _is_attended(self, identity: Identity) -> bool:
        entry = self._find(identity)
        return is_attended(identity, self._context) if entry is None else entry.schedule.attended

    def __repr__(self) -> str:
        entries = getattr(self, "_entries", None)
        if entries is None:  # in the traceback of an error in the constructor
            return "<CredentialsFleet that was not made>"
        return f"<CredentialsFleet: {entries.kept} kept, {entries.on_demand} on demand>"
