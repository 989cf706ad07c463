"""
The cache in front of all sources that fetch credentials, with one refresh at a time.

A call must not wait for credentials while valid ones are cached, and a fetch must not depend on the caller that started
it. So the work is divided:

- `_schedule` decides. It takes the state of the cache and a time, and returns a step: serve, refresh, or raise.
- `single_flight` runs the fetch in a task of its own. All callers that need the fetch wait for this task.
- This module carries out the steps, updates the state, and reports refreshes by events and log lines.

The state is one immutable value, which is replaced as a whole. So a warm call takes no lock and awaits nothing. It
reads the state, compares two clocks, and returns the credentials. Only the refresh task replaces the state, except when
the service has refused a key (`invalidate`).
"""

import asyncio
import inspect
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from .._runtime.at_hand import REPLACEABLE, serves
from .._runtime.defaults import ATTENDED_SECONDS, FETCH_SECONDS
from .._runtime.outcome import Outcome, copy_without_traceback
from .._shape.arguments import check_arguments, not_credentials
from .._shape.secret import Unpicklable, kind_of, without_data
from ..errors import ConfigurationError, CredentialsError, CredentialsExpired, STSError
from ..events import CredentialsRefreshed, CredentialsRefreshFailed
from ..protocols import CredentialsProvider, ProviderContext, invalidate, is_attended
from ..shapes import Credentials
from . import _schedule
from ._cache_per_client import Cache, Caches, depends_on_client
from ._schedule import CacheState, Health, Moment, Schedule, Step
from .static import clocks, has_valid_expiration

GIVE_UP_SECONDS = 5.0  # s for a source to react to cancellation

log = logging.getLogger("sts_async")


class RefreshingProvider(Unpicklable):
    """
    Provide credentials from a cache, and refresh them before they expire.

    A subclass implements `fetch`. In the last 5, 15 or 60 minutes of their life, depending on its length, credentials
    are refreshed in the background, while callers get the cached ones at once. The refresh starts at a random time in
    the first two thirds of these minutes. Only in the last minute do callers wait. At most one fetch runs at a time,
    and cancelling a caller does not cancel it.

    Calls trigger the refresh; there is no timer. While a program makes no calls, nothing is fetched, and the cached
    credentials may expire. The next call then waits for a fetch. A program that passes credentials on to others should
    call `STSClient.get_credentials` at least once a minute, so that the refresh starts in time.

    If a fetch fails, the cached credentials stay in use until their last minute, and the next attempt starts after 5 to
    10 minutes. In the last minute and after expiry, they stay in use only if the error is recoverable. A final error is
    raised and cached: first for 5 to 15 s, then three times as long after each failure. The limit is 5 to 10 minutes if
    the service refused, and 30 to 60 s if the cause is on this machine, such as a missing login or an old token. A
    success clears the cached error. A new provider has no cached error.

    If the service refuses cached credentials, they are replaced before the next use. If it refuses the new ones too,
    they are replaced after 5 s at the earliest. This time triples with each further refusal, up to 5 minutes.

    The logger ``sts_async`` gets one line for each change of state. At WARNING: refreshes fail, the cached credentials
    have expired, the cached credentials are no longer served. At INFO: refreshes succeed again.
    """

    schedule: Schedule = _schedule.STANDARD
    """When the credentials are refreshed: see `protocols.Schedule`. This default suits credentials that AWS issues."""

    fetch_seconds: float | None = FETCH_SECONDS
    """
    Time limit of a fetch in seconds; at least 300 if a person is asked. None for a source that has its own limit.
    """

    bounds_itself = True
    """
    Whether `provide_credentials` has its own time limit. A chain stops a source without this attribute after 60 s.
    """

    name: str
    """Name of the source in messages. The default is the name of the class."""

    depends_on_client = True
    """
    Whether the credentials may depend on the client that uses the provider. If True, each client has its own cache. A
    subclass can set False if `fetch` returns the same for every *context*: then all clients share one cache.
    """

    def __init__(self) -> None:
        if not hasattr(self, "name"):
            self.name = type(self).__name__
        self._caches = Caches(self._timeout_error)

    def _cache_of(self, context: ProviderContext) -> Cache:
        return self._caches.for_context(context) if self.depends_on_client else self._caches.common

    def schedule_for(self, context: ProviderContext) -> Schedule:
        """Return the schedule for the client of *context*."""
        return self._cache_of(context).schedule or self.schedule

    def is_attended(self, context: ProviderContext | None = None) -> bool:
        """
        Return True if a fetch asks a person, as far as is known.

        Args:
            context: The client that fetches; None if it is not known.
        """
        return (self.schedule if context is None else self.schedule_for(context)).attended

    def _fetch_limit(self, cache: Cache) -> float | None:
        """Return the time limit of a fetch in seconds, which is longer if a person is asked; None for no limit."""
        if self.fetch_seconds is None or not (cache.schedule or self.schedule).attended:
            return self.fetch_seconds
        return max(self.fetch_seconds, ATTENDED_SECONDS)

    def _flight_seconds(self, cache: Cache) -> float | None:
        # A source that ignores cancellation is abandoned a little later.
        seconds = self._fetch_limit(cache)
        return None if seconds is None else seconds + GIVE_UP_SECONDS

    def _timeout_error(self, seconds: float) -> CredentialsError:
        return CredentialsError(f"{self.name} did not provide credentials within {seconds:g} s")

    @abstractmethod
    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Return new credentials.

        Raises:
            CredentialsNotFound: The source is not configured.
            STSError: The source is configured, and failed.
        """

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        """
        Return the cached credentials, or new ones if the cached ones are about to expire.

        Raises:
            CredentialsNotFound: The source is not configured.
            STSError: The fetch failed, and no cached credentials can be served.
        """
        return self._at_hand(context) or await self._provide(context, self._cache_of(context))

    @serves(provide_credentials)
    def _at_hand(self, context: ProviderContext) -> Credentials | None:
        """Return the cached credentials, or None if they are in their advisory window or there are none."""
        # Every warm call takes this path, so it makes no `Moment`.
        cache = self._caches.for_context(context) if self.depends_on_client else self._caches.common
        state = cache.state
        fresh = context.monotonic() < state.advisory.monotonic and context.wall_clock() < state.advisory.wall
        return state.credentials if fresh and REPLACEABLE not in self.__dict__ else None

    async def _provide(self, context: ProviderContext, cache: Cache) -> Credentials:
        state, seconds = cache.state, self._flight_seconds(cache)
        match _schedule.next_step(state, now=moment(context)), state.credentials, state.error:
            case Step.RAISE, _, STSError() as error:
                raise self._cached_error(error, context, state)
            case Step.REFRESH_IN_BACKGROUND, Credentials() as credentials, _:
                cache.flights.join(context.tasks, lambda: self._refresh(context, cache), seconds=seconds)
                return credentials
            case Step.SERVE, Credentials() as credentials, _:
                return credentials
        return await cache.flights.get(context.tasks, lambda: self._refresh(context, cache), seconds=seconds)

    def invalidate(self, access_key_id: str) -> None:
        """Fetch before the next use if *access_key_id* is a cached key. Called when the service has refused the key."""
        for cache in self._caches.all():
            cache.state = _schedule.invalidated(cache.state, access_key_id=access_key_id)

    def _cached_error(self, error: STSError, context: ProviderContext, state: CacheState) -> STSError:
        """Return a copy of a cached error, with a note about the next attempt."""
        copied = copy_without_traceback(error)
        seconds = state.paused_until.monotonic - context.monotonic()
        copied.add_note(f"{self.name}: this error is cached from an earlier attempt; next attempt in {seconds:.0f} s")
        return copied

    async def _refresh(self, context: ProviderContext, cache: Cache) -> Credentials:
        started, before = context.monotonic(), cache.state
        seconds = self._fetch_limit(cache)
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                fetched = await self.fetch(context)
            _stop_if_abandoned()
            credentials = self._accept(fetched, context, cache)
            now = moment(context)
            context.notify(
                CredentialsRefreshed(
                    source=self.name,
                    access_key_id=credentials.access_key_id,
                    expiration=credentials.expiration,
                    account_id=credentials.account_id,
                    seconds=now.monotonic - started,
                    failing_seconds=before.failing_seconds(now),
                )
            )
            return credentials
        except STSError as error:
            outcome, failure = _failed(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            outcome, failure = _failed(CredentialsError(f"{self.name} cancelled its own fetch"))
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a source of the program may raise anything
            if seconds is not None and limit.expired():
                outcome, failure = _failed(self._timeout_error(seconds))
            else:
                described = CredentialsError(f"{self.name} failed with {type(error).__name__}")
                outcome, failure = _failed(described, raised=error)
        _stop_if_abandoned()
        # The state is read again: the service may have refused the cached key during the fetch.
        now, before = moment(context), cache.state
        schedule = cache.schedule or self.schedule
        state = cache.state = _schedule.after_failure(
            before, failure, now=now, jitter=context.jitter(), schedule=schedule
        )
        if state.credentials is None:
            return outcome.unwrap()
        changed = state.health is not before.health
        if changed:
            log.warning("%s: %s: %s", self.name, _describe_health(state.health, state.credentials), failure)
        if not _schedule.keeps_serving(state, failure, now=now, schedule=schedule):
            return outcome.unwrap()
        context.notify(
            CredentialsRefreshFailed(
                source=self.name,
                access_key_id=state.credentials.access_key_id,
                expiration=state.credentials.expiration,
                account_id=state.credentials.account_id,
                error=failure,
                changed=changed,
                failing_seconds=state.failing_seconds(now) or 0.0,
            )
        )
        return state.credentials

    def _accept(self, credentials: Credentials, context: ProviderContext, cache: Cache) -> Credentials:
        credentials = checked(credentials, of=self.name)
        now, before, schedule = moment(context), cache.state, cache.schedule or self.schedule
        lifetime = _schedule.lifetime_of(credentials, *clocks(context))
        if lifetime > 0:
            cache.state = _schedule.after_success(
                credentials, lifetime=lifetime, now=now, schedule=schedule, jitter=context.jitter(), before=before
            )
            if before.health is not Health.GOOD:
                failing = before.failing_seconds(now) or 0.0
                log.info("%s: credential refresh recovered after failing for %.0f s", self.name, failing)
        elif schedule.accept_expired and before.credentials is None:
            log.warning(
                "%s: the source returned expired credentials; serving them until it returns valid ones", self.name
            )
            cache.state = _schedule.after_expired(credentials, now=now, jitter=context.jitter(), before=before)
        else:
            raise already_expired(self.name)
        return credentials


class CachingProvider(RefreshingProvider):
    """
    Cache the credentials of the program's own source until 10 s before they expire.

        STSClient(credentials=CachingProvider(from_vault))

    Args:
        source: A coroutine function without arguments that returns `Credentials`, or an object with a coroutine method
            ``provide_credentials(context)``.

    Raises:
        ConfigurationError: *source* is neither of the two.
    """

    schedule = _schedule.CACHED

    def __init__(self, source: CredentialsProvider | Callable[[], Awaitable[Credentials]]) -> None:
        super().__init__()
        source = self._source = without_data(source)
        if isinstance(source, type) or not (hasattr(source, "provide_credentials") or callable(source)):
            raise ConfigurationError(f"a source must be a coroutine function or a provider, not a {kind_of(source)}")
        if not hasattr(source, "provide_credentials"):
            check_arguments(source, self._source_name(), number=0, called="without arguments")
        self.name = repr(self)
        self.depends_on_client = depends_on_client(source)

    def is_attended(self, context: ProviderContext | None = None) -> bool:
        """Return True if the source asks a person, as far as is known."""
        return is_attended(self._source, context)

    def invalidate(self, access_key_id: str) -> None:
        """Ask the source again before the next use, and tell it too that the service has refused the key."""
        super().invalidate(access_key_id)
        invalidate(self._source, access_key_id)

    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Return the credentials of the source.

        Raises:
            CredentialsError: The source is a function that returns no awaitable.
            Exception: The source raised it.
        """
        source: Any = self._source
        if hasattr(source, "provide_credentials"):
            credentials: Credentials = await source.provide_credentials(context)
            return credentials
        provided = source()
        if not inspect.isawaitable(provided):
            raise CredentialsError(
                f"{self._source_name()} must be a coroutine function: it returned a {type(provided).__name__}, which "
                "cannot be awaited"
            )
        return await provided  # type: ignore[no-any-return]

    def _source_name(self) -> str:
        return str(getattr(self._source, "__qualname__", type(self._source).__name__))

    def __repr__(self) -> str:
        return f"CachingProvider({self._source_name()})"


def _describe_health(health: Health, credentials: Credentials) -> str:
    """Return the log text for a change of health after a failed refresh."""
    expiration = credentials.expiration
    at = "" if expiration is None else expiration.isoformat(timespec="seconds")
    end = f"expire at {at}" if at else "do not expire"
    match health:
        case Health.SERVING_VALID:
            return f"credential refresh failed; still serving the cached credentials, which {end}"
        case Health.SERVING_EXPIRED:
            return f"credential refresh failed; still serving the cached credentials, which expired at {at}"
    return f"credential refresh failed; no longer serving the cached credentials, which {end}"


def checked(credentials: object, *, of: str) -> Credentials:
    """
    Return what a source returned as credentials.

    Raises:
        CredentialsError: It is not a `Credentials`, or its expiration is not a timezone-aware datetime.
    """
    if not isinstance(credentials, Credentials):
        credentials = without_data(credentials)
        raise CredentialsError(f"{of} {not_credentials(credentials)}")
    if not has_valid_expiration(credentials):
        raise CredentialsError(f"{of} returned credentials whose expiration is not a timezone-aware datetime")
    return credentials


def already_expired(name: str) -> CredentialsExpired:
    """Return the error for a source that returned expired credentials."""
    return CredentialsExpired(f"{name} returned credentials that have already expired")


def _failed(error: STSError, *, raised: BaseException | None = None) -> tuple[Outcome[Credentials], STSError]:
    """
    Return an outcome for the caller and an error for the cache.

    The outcome raises *raised*, or *error* if that is None. The error is a copy of *error* without its traceback.
    """
    return Outcome(error=raised or error), copy_without_traceback(error)


def _stop_if_abandoned() -> None:
    """
    Stop a fetch that was cancelled, even if its source has swallowed the cancellation.

    A later fetch may already have stored newer credentials, and this one must not replace them.

    Raises:
        asyncio.CancelledError: The task was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def moment(context: ProviderContext) -> Moment:
    """Return the current time by both clocks of this host."""
    return Moment(context.wall_clock(), context.monotonic())
