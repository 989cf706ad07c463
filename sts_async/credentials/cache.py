"""
What all sources share that fetch credentials: the cache in front of them, and one refresh at a time.

When to refresh is decided in `credentials._schedule`; here it is done.
"""

import asyncio
import inspect
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from .._runtime.defaults import ATTENDED_SECONDS, FETCH_SECONDS
from .._runtime.single_flight import copy_without_traceback
from .._shape.arguments import check_arguments, not_credentials
from .._shape.secret import Unpicklable, kind_of, without_data
from ..errors import ConfigurationError, CredentialsError, CredentialsExpired, STSError
from ..events import CredentialsRefreshed, CredentialsRefreshFailed
from ..protocols import CredentialsProvider, ProviderContext
from ..shapes import Credentials
from . import _schedule
from ._cache_per_client import Cache, Caches, depends_on_client
from ._schedule import CacheState, Health, Moment, Schedule, Step
from .static import clocks, ends_at_some_time

GIVE_UP_SECONDS = 5.0  # s that a source gets to let itself be cancelled

log = logging.getLogger("sts_async")


class RefreshingProvider(Unpicklable):
    """
    Provide credentials from a cache, and keep it fresh.

    A subclass says how credentials are fetched, in `fetch`. Within the last minutes of their life (5, 15 or 60, by its
    length) they are refreshed in the background, while callers get the cached ones at once. The time is random, within
    the first two thirds of these minutes. Only in the last minute do callers wait. However many ask, one fetch is under
    way, and no caller's cancellation ends it.

    Use triggers each refresh; there is no timer. While a program makes no call, nothing is fetched, and the cached
    credentials may expire. The first call after that waits for a fetch. A program that hands credentials on, and needs
    some that last, calls `STSClient.get_credentials` at least once a minute: this starts the refresh in time.

    When a fetch fails, the cached credentials stay in use until their last minute. The next attempt comes after 5 to
    10 minutes. After that, an error that may pass still leaves them in use, also beyond their end. A final error is
    raised and remembered: for 5 to 15 s at first, then three times as long each time, up to 5 to 10 minutes for a
    refusal by the service, and up to 30 to 60 s where the cure is on this machine, such as a login or a new token. A
    success ends it. A new provider knows of no errors.

    Credentials that the service refuses are replaced before the next use; those that replaced them, and are refused as
    well, after 5 s at the earliest, and then three times as long each time, up to 5 minutes.

    The logger ``sts_async`` gets one line for each change of state: refreshes fail, the cached credentials have ended,
    they are no longer served (all three at WARNING), refreshes succeed again (at INFO).
    """

    schedule: Schedule = _schedule.STANDARD

    fetch_seconds: float | None = FETCH_SECONDS
    """
    Seconds after which a fetch has failed, so that the next caller begins another; at least 300 where a person is
    asked. None for a source that bounds itself.
    """

    bounds_itself = True
    """Whether `provide_credentials` always ends by itself. A chain ends a source without this attribute after 60 s."""

    name: str
    """What messages call the source: the name of its class, unless a subclass says otherwise."""

    depends_on_client = True
    """
    Whether what is provided may depend on the client that uses the provider. Then each client has a cache of its own.
    A subclass whose `fetch` makes the same of every *context* can say False, and has one cache for all clients.
    """

    def __init__(self) -> None:
        if not hasattr(self, "name"):
            self.name = type(self).__name__
        self._caches = Caches(self._timeout_error)

    def _cache_of(self, context: ProviderContext) -> Cache:
        return self._caches.for_context(context) if self.depends_on_client else self._caches.common

    def schedule_for(self, context: ProviderContext) -> Schedule:
        """Return how the credentials of a client are refreshed."""
        return self._cache_of(context).schedule or self.schedule

    def _bound(self, cache: Cache) -> float | None:
        """Return the seconds for a fetch: more of them where a person is asked."""
        if self.fetch_seconds is None or not (cache.schedule or self.schedule).attended:
            return self.fetch_seconds
        return max(self.fetch_seconds, ATTENDED_SECONDS)

    def _flight_seconds(self, cache: Cache) -> float | None:
        # A source that does not let itself be cancelled is given up a little later.
        seconds = self._bound(cache)
        return None if seconds is None else seconds + GIVE_UP_SECONDS

    def _timeout_error(self, seconds: float) -> CredentialsError:
        return CredentialsError(f"{self.name} did not provide credentials within {seconds:g} s")

    @abstractmethod
    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Return new credentials.

        Raises:
            CredentialsNotFound: The source is not configured.
            STSError: It is, and failed.
        """

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        """
        Return credentials: the cached ones, or new ones where those are about to end.

        Raises:
            CredentialsNotFound: The source is not configured.
            STSError: It failed, and nothing in the cache will do.
        """
        cache = self._caches.for_context(context) if self.depends_on_client else self._caches.common
        held = cache.held
        if (  # spelled out: on the way of every warm call no `Moment` is made
            context.monotonic() < held.advisory.monotonic
            and context.wall_clock() < held.advisory.wall
            and held.credentials is not None
        ):
            return held.credentials
        return await self._provide(context, cache)

    async def _provide(self, context: ProviderContext, cache: Cache) -> Credentials:
        held, seconds = cache.held, self._flight_seconds(cache)
        match _schedule.next_step(held, now=_now(context)), held.credentials, held.error:
            case Step.RAISE, _, STSError() as error:
                raise self._remembered(error, context, held)
            case Step.REFRESH_IN_BACKGROUND, Credentials() as credentials, _:
                cache.flights.join(context.tasks, lambda: self._refresh(context, cache), seconds=seconds)
                return credentials
            case Step.SERVE, Credentials() as credentials, _:
                return credentials
        return await cache.flights.get(context.tasks, lambda: self._refresh(context, cache), seconds=seconds)

    def invalidate(self, access_key_id: str) -> None:
        """Fetch again before the next use, if *access_key_id*, which the service refused, is still a cached one."""
        for cache in self._caches.all():
            cache.held = _schedule.invalidated(cache.held, access_key_id=access_key_id)

    def _remembered(self, error: STSError, context: ProviderContext, held: CacheState) -> STSError:
        """Return an equal error that says when there is another attempt."""
        remembered = copy_without_traceback(error)
        seconds = held.paused_until.monotonic - context.monotonic()
        remembered.add_note(
            f"{self.name}: this error is cached from an earlier attempt; next attempt in {seconds:.0f} s"
        )
        return remembered

    async def _refresh(self, context: ProviderContext, cache: Cache) -> Credentials:
        failure: STSError
        raised: BaseException
        begun, before = context.monotonic(), cache.held
        seconds = self._bound(cache)
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                fetched = await self.fetch(context)
            _check_wanted()
            credentials = self._accept(fetched, context, cache)
            now = _now(context)
            context.notify(
                CredentialsRefreshed(
                    source=self.name,
                    access_key_id=credentials.access_key_id,
                    expiration=credentials.expiration,
                    account_id=credentials.account_id,
                    seconds=now.monotonic - begun,
                    failing_seconds=before.failing_seconds(now),
                )
            )
            return credentials
        except STSError as error:
            failure = raised = error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = raised = CredentialsError(f"{self.name} cancelled its own fetch")
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - of a source of the program's own
            if seconds is not None and limit.expired():
                failure = raised = self._timeout_error(seconds)
            else:
                failure, raised = CredentialsError(f"{self.name} failed with {type(error).__name__}"), error
        _check_wanted()
        now, before = _now(context), cache.held  # what is held may have been refused meanwhile
        schedule = cache.schedule or self.schedule
        held = cache.held = _schedule.after_failure(
            before, copy_without_traceback(failure), now=now, jitter=context.jitter(), schedule=schedule
        )
        if held.credentials is None:
            raise raised
        changed = held.health is not before.health
        if changed:
            log.warning("%s: %s: %s", self.name, _told(held.health, held.credentials), failure)
        if not _schedule.keeps_serving(held, failure, now=now, schedule=schedule):
            raise raised
        context.notify(
            CredentialsRefreshFailed(
                source=self.name,
                access_key_id=held.credentials.access_key_id,
                expiration=held.credentials.expiration,
                account_id=held.credentials.account_id,
                error=failure,
                changed=changed,
                failing_seconds=held.failing_seconds(now) or 0.0,
            )
        )
        return held.credentials

    def _accept(self, credentials: Credentials, context: ProviderContext, cache: Cache) -> Credentials:
        if not isinstance(credentials, Credentials):
            credentials = without_data(credentials)
            raise CredentialsError(f"{self.name} {not_credentials(credentials)}")
        if not ends_at_some_time(credentials):
            raise CredentialsError(
                f"{self.name} returned credentials whose expiration is not a timezone-aware datetime"
            )
        now, before, schedule = _now(context), cache.held, cache.schedule or self.schedule
        lifetime = _schedule.lifetime_of(credentials, *clocks(context))
        if lifetime > 0:
            cache.held = _schedule.after_success(
                credentials, lifetime=lifetime, now=now, schedule=schedule, jitter=context.jitter(), before=before
            )
            if before.health is not Health.GOOD:
                failing = before.failing_seconds(now) or 0.0
                log.info("%s: credential refresh recovered after failing for %.0f s", self.name, failing)
        elif schedule.accept_expired and before.credentials is None:
            log.warning(
                "%s: the source returned expired credentials; serving them until it returns valid ones", self.name
            )
            cache.held = _schedule.after_expired(credentials, now=now, jitter=context.jitter(), before=before)
        else:
            raise CredentialsExpired(f"{self.name} returned credentials that have already expired")
        return credentials


class CachingProvider(RefreshingProvider):
    """
    Cache the credentials of a source of the program, until 10 s before their end.

        STSClient(credentials=CachingProvider(from_vault))

    Args:
        source: A coroutine function without arguments that returns `Credentials`, or an object with a coroutine
            ``provide_credentials(context)``.
    """

    schedule = _schedule.CACHED

    def __init__(self, source: CredentialsProvider | Callable[[], Awaitable[Credentials]]) -> None:
        super().__init__()
        source = self._source = without_data(source)
        if isinstance(source, type) or not (hasattr(source, "provide_credentials") or callable(source)):
            raise ConfigurationError(f"a source must be a coroutine function or a provider, not a {kind_of(source)}")
        if not hasattr(source, "provide_credentials"):
            check_arguments(source, self._called(), number=0, called="without arguments")
        self.name = repr(self)
        self.depends_on_client = depends_on_client(source)

    async def fetch(self, context: ProviderContext) -> Credentials:
        """Return what the source provides."""
        source: Any = self._source
        if hasattr(source, "provide_credentials"):
            credentials: Credentials = await source.provide_credentials(context)
            return credentials
        provided = source()
        if not inspect.isawaitable(provided):
            raise CredentialsError(
                f"{self._called()} must be a coroutine function: it returned a {type(provided).__name__}, which cannot "
                "be awaited"
            )
        return await provided  # type: ignore[no-any-return]

    def _called(self) -> str:
        return str(getattr(self._source, "__qualname__", type(self._source).__name__))

    def __repr__(self) -> str:
        return f"CachingProvider({self._called()})"


def _told(health: Health, credentials: Credentials) -> str:
    """Return what a log says of how bad it has become."""
    expiration = credentials.expiration
    at = "" if expiration is None else expiration.isoformat(timespec="seconds")
    end = f"expire at {at}" if at else "do not expire"
    match health:
        case Health.SERVING_VALID:
            return f"credential refresh failed; still serving the cached credentials, which {end}"
        case Health.SERVING_EXPIRED:
            return f"credential refresh failed; still serving the cached credentials, which expired at {at}"
    return f"credential refresh failed; no longer serving the cached credentials, which {end}"


def _check_wanted() -> None:
    """
    End a fetch that was given up, whatever its source made of that.

    Its caller has gone, and a later fetch may have brought newer credentials, which this one must not replace.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _now(context: ProviderContext) -> Moment:
    return Moment(context.wall_clock(), context.monotonic())
