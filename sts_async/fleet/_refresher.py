"""
The refresher: decides which identity is refreshed next, and records the outcome of each refresh.

An entry takes these steps:

1. It becomes due (`_queues.DueQueue`), or a caller needs it (`need`).
2. It waits in the queue of a worker pool, urgent entries first (`_queues.ReadyQueue`), until its lane has a token.
3. If its source has no credentials, it waits for the source instead (`_chains`).
4. A worker fetches its credentials (`_fetch`), and the outcome becomes its new state (`credentials._schedule`).
5. Its waiters, and the entries that it signs for, continue. Its next refresh is planned.

One timer and a bounded number of tasks do this for any number of entries. A loop over many entries handles 200 of them
in one turn of the event loop, and continues in the next turn.
"""

import asyncio
import contextlib
import math
from datetime import UTC, datetime
from typing import Any

import attrs

from .._engine.context import ClientContext
from .._runtime.outcome import Outcome
from .._runtime.single_flight import BackgroundTasks
from ..credentials import _schedule
from ..credentials._schedule import REFRESH_BACKOFF, Moment, Schedule
from ..credentials.cache import already_expired, moment
from ..credentials.static import clocks
from ..errors import ClientClosedError, CredentialsError, STSError
from ..shapes import Credentials
from ._attempt import attempt
from ._chains import Chains
from ._due_times import (
    DueTimes,
    due_window,
    following,
    next_refresh,
    pause_after,
    pause_after_throttling,
    was_throttled,
)
from ._entries import Entries, Entry, Waiter, left_error, paused_error
from ._fetch import Fetcher, was_key_refused
from ._queues import NOT_QUEUED, DueQueue
from ._reporter import Reporter
from ._timer import Timer
from ._workers import MAX_AT_ONCE, WorkerPool
from .identities import describe, request_of
from .reports import IdentityState

CLOCK_JUMP = 1.0  # s by which the difference of the clocks must change, so that all due times are computed again
COLD_ORDER = 60.0  # s: an entry without credentials goes before those whose credentials end later than this
FOR_REQUESTS, FOR_PROVIDERS = range(2)  # the two worker pools
GRACE = 0.5  # s that workers have to end when the fleet is closed


class Refresher:
    """
    Refreshes the entries of a fleet in one event loop.

    Args:
        fetcher: Fetches credentials.
        entries: The entries of the fleet.
        context: The context of the client.
        clock: The clock of the client.
        concurrency: Maximum number of requests under way, and of providers that are asked at the same time.

    Attributes:
        pools: The workers for requests, and those for providers. A provider may wait for a request of the fleet.
        due: The entries that are due later.
        reporter: Reports changes of state.
        is_paused: Whether the program paused the whole fleet.
    """

    def __init__(
        self, fetcher: Fetcher, entries: Entries, context: ClientContext, *, clock: Any, concurrency: int
    ) -> None:
        self._fetcher = fetcher
        self._entries = entries
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._tasks = BackgroundTasks()
        self._timer = Timer(clock, self._loop, self._tick)
        self._spread = DueTimes()
        self._chains = Chains(self)
        self._watchers: list[asyncio.Future[None]] = []
        self._woken = False
        self._closed = False
        self.is_paused = False
        self.due = DueQueue(offset=self._offset())
        self.reporter = Reporter(context, entries)
        self.pools = tuple(
            WorkerPool(
                size=concurrency,
                tasks=self._tasks,
                now=context.monotonic,
                can_start=self._chains.can_start,
                refresh=self._refresh,
                abandoned=self._abandoned,
                idle=self._wake,
            )
            for _ in range(2)
        )

    def now(self) -> Moment:
        """Return the current time by both clocks."""
        return moment(self._context)

    def schedule_of(self, entry: Entry) -> Schedule:
        """Return the rules for the refresh of an entry, as far as they are known before its first fetch."""
        return self._fetcher.schedule_of(entry, self._context)

    # -- what callers ask for ---------------------------------------------------------------------------------------

    def ask_budgets_again(self) -> None:
        """Ask for tokens again, because the limits of the budgets have changed."""
        for pool in self.pools:
            pool.ready.wake()
        self._wake()

    def need(self, entry: Entry, *, urgent: bool) -> None:
        """Refresh an entry as soon as its turn comes. It is urgent if a caller waits."""
        if entry.refreshing or entry.removed or self._closed or (entry.schedule.attended and not urgent):
            return
        if entry.paused or self.is_paused:
            return
        now: float = self._context.monotonic()
        ends = entry.state.mandatory.monotonic if entry.state.credentials is not None else now + COLD_ORDER
        self._unplan(entry)
        pool = self.pools[FOR_PROVIDERS if request_of(entry.identity) is None else FOR_REQUESTS]
        pool.ready.put(entry, entry.lane, urgent=urgent, order=now if urgent else ends)
        self._wake()

    async def wait(self, entry: Entry) -> Credentials:
        """
        Refresh an entry now, and return its credentials. All callers wait for the same refresh.

        Raises:
            ClientClosedError: The fleet was closed.
            CredentialsError: The entry was removed.
            STSError: The refresh failed, and no cached credentials can be served.
        """
        if entry.removed:  # by an observer, as soon as it was added
            raise left_error(entry)
        waiter: Waiter = self._loop.create_future()
        if entry.waiters is None:
            entry.waiters = {}
        entry.waiters[waiter] = None
        self.need(entry, urgent=True)
        try:
            outcome = await waiter
        finally:
            if entry.waiters is not None:
                entry.waiters.pop(waiter, None)
        return outcome.for_another().unwrap()

    def plan(self, entry: Entry, planned: Moment) -> None:
        """Plan the next refresh of an entry. A fetch that asks a person never runs in the background (T46)."""
        self._unplan(entry)
        if entry.removed or entry.paused or self.is_paused or entry.schedule.attended or entry.rank != NOT_QUEUED:
            return
        if entry.state.credentials is None and not entry.is_kept:
            return
        self.due.put(entry, planned)
        self._arm()

    def _unplan(self, entry: Entry) -> None:
        self.due.discard(entry)
        if entry.counted_due is not None:
            self._spread.remove(entry.counted_due)
            entry.counted_due = None

    def forget(self, entry: Entry) -> None:
        """Drop everything that belongs to an entry which was removed. Its waiters get an error."""
        self._unplan(entry)
        for pool in self.pools:
            pool.ready.discard(entry)
        self._entries.remove(entry)
        if not entry.refreshing:
            self.complete(entry, Outcome(error=left_error(entry)))
        self.reporter.removed(entry)

    def set_paused(self, entries: list[Entry], *, value: bool) -> None:
        """Pause or resume entries; without entries, the whole fleet."""
        if not entries:
            self.is_paused = value
        for entry in entries:
            entry.paused = value
        for entry in entries or list(self._entries.by_identity.values()):
            self._reconsider(entry)

    def _reconsider(self, entry: Entry) -> None:
        """Stop or plan the refreshes of an entry, after it or the fleet was paused or resumed."""
        if entry.paused or self.is_paused:
            self._unplan(entry)
            for pool in self.pools:
                pool.ready.discard(entry)
            if not entry.refreshing:
                self.complete(entry, Outcome(error=paused_error(entry)))
                # They wait for credentials that no fetch will bring. Kept ones continue when it is resumed.
                self._chains.fail(entry, paused_error(entry))
        elif entry.state.credentials is not None:
            self.plan(entry, next_refresh(entry.state))
        elif entry.is_kept:
            self.need(entry, urgent=False)
        self.reporter.update(entry)

    async def first_outcome(self, entry: Entry) -> None:
        """Wait until a kept entry has credentials, has failed, is paused or was removed."""
        while entry.is_kept and entry.status is IdentityState.WAITING and not (entry.removed or self.is_paused):
            if entry.schedule.attended:
                return
            if entry.waits_for_failed_source:
                return
            if self._closed:
                raise ClientClosedError("the fleet was closed")
            changed: asyncio.Future[None] = self._loop.create_future()
            self._watchers.append(changed)
            await changed

    def _wake_watchers(self) -> None:
        watchers, self._watchers = self._watchers, []
        for changed in watchers:
            if not changed.done():
                changed.set_result(None)

    def refused(self, entry: Entry, access_key_id: str) -> None:
        """Fetch an entry again before its next use, because the service refused its key. Any thread can call it."""
        before = entry.state
        state = _schedule.invalidated(before, access_key_id=access_key_id)
        if state is before:
            return
        # At once: the caller that was refused asks again before the next turn of the event loop.
        entry.state = state
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._refresh_refused, entry)

    def _refresh_refused(self, entry: Entry) -> None:
        if entry.state.refused and entry.is_kept and not entry.refreshing:
            self.plan(entry, next_refresh(entry.state))

    # -- the timer --------------------------------------------------------------------------------------------------

    def _offset(self) -> float:
        offset: float = self._context.wall_clock() - self._context.monotonic()
        return offset

    def _wake(self) -> None:
        """Start workers in the next turn of the event loop."""
        if not self._woken and not self._closed:
            self._woken = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._woken = False
        if self._closed:
            return
        for pool in self.pools:
            if pool.dispatch():
                self._wake()
        self._arm()

    def _arm(self) -> None:
        if not self._closed:
            self._timer.start_before(min(self.due.next_due, *(pool.next_time() for pool in self.pools)))

    def _tick(self) -> None:
        if self._closed:
            return
        offset = self._offset()
        if abs(offset - self.due.offset) > CLOCK_JUMP:
            self.due.set_offset(offset)
        now = self._context.monotonic()
        for _ in range(MAX_AT_ONCE):
            entry: Entry | None = self.due.pop_due(now)
            if entry is None:
                break
            self._unplan(entry)
            # Credentials on demand that were not used since their last fetch are left to expire.
            if entry.is_kept or entry.was_used:
                self.need(entry, urgent=False)
        for _ in range(MAX_AT_ONCE):
            idle = self._entries.idle(now)
            if idle is None:
                break
            self.forget(idle)
        else:
            self._loop.call_soon(self._tick)  # there may be more
        self._wake()

    # -- one refresh ------------------------------------------------------------------------------------------------

    async def _refresh(self, entry: Entry) -> None:
        started = self.now()
        error, failure = await attempt(
            lambda: self._fetch(entry), name=describe(entry.identity), seconds=self._fetcher.limit_of(entry)
        )
        if self._closed:  # the provider ignored its cancellation
            self._abandoned(entry)
        elif failure is None:
            self._succeeded(entry, seconds=self._context.monotonic() - started.monotonic)
        elif not entry.removed and (self._clock_jumped_since(started) or self._chains.must_wait_after_refusal(entry)):
            # This failure is not counted for the entry. A removed entry is not fetched again: callers get the error.
            entry.refreshing = False
            if entry.paused or self.is_paused:
                self._reconsider(entry)
            else:
                self.need(entry, urgent=bool(entry.waiters))
        elif entry.source is not None and entry.source.error is not None and was_key_refused(failure):
            # The source still serves keys that have ended, because its own refresh fails.
            entry.refreshing = False
            self._chains.block(entry, entry.source.error)
        else:
            self._failed(entry, failure, raised=error)

    def _clock_jumped_since(self, started: Moment) -> bool:
        """
        Return True if the clock was set or the machine was suspended since *started*.

        A request that was under way has failed for this reason: its signature has a wrong time, its connection is lost,
        or its credentials have expired on arrival.
        """
        now = self.now()
        return abs((now.wall - started.wall) - (now.monotonic - started.monotonic)) > CLOCK_JUMP

    async def _fetch(self, entry: Entry) -> None:
        await self._fetcher.fetch(entry, self._store)

    def _store(self, entry: Entry, credentials: Credentials, refresh_after: datetime | None) -> datetime | None:
        """Store new credentials in an entry, and return when it will be refreshed: see `_fetch.Accept`."""
        context, now = self._context, self.now()
        lifetime = _schedule.lifetime_of(credentials, *clocks(context))
        # Only after the fetch is it known whether a profile or a chain asks a person.
        schedule = entry.schedule = self._fetcher.schedule_of(entry, context)
        if lifetime <= 0:
            raise already_expired(describe(entry.identity))
        state = _schedule.after_success(credentials, lifetime=lifetime, now=now, schedule=schedule, before=entry.state)
        if schedule.advisory is not None or lifetime == math.inf:
            entry.state = state
            return None
        first, last = due_window(state, ahead=entry.ahead, now=now.monotonic)
        if refresh_after is None:
            due = entry.counted_due = self._spread.choose(
                now=now.monotonic, advisory=first, mandatory=last, ends=state.ends.monotonic, jitter=context.jitter()
            )
            at = due.at
        else:  # the process that fetched them has spread the refreshes, and does the next one
            planned = now.monotonic + refresh_after.timestamp() - now.wall
            at = following(planned, now=now.monotonic, last=last, jitter=context.jitter())
        state = entry.state = attrs.evolve(state, advisory=now.plus(at - now.monotonic).earlier_of(state.mandatory))
        return datetime.fromtimestamp(state.advisory.wall, UTC)

    def _succeeded(self, entry: Entry, *, seconds: float) -> None:
        entry.refreshing = False
        self.reporter.succeeded(entry, seconds=seconds)
        counted, entry.counted_due = entry.counted_due, None
        self.plan(entry, entry.state.advisory)
        if entry.due < math.inf:
            entry.counted_due = counted
        elif counted is not None:
            self._spread.remove(counted)
        assert entry.state.credentials is not None  # noqa: S101 - it was stored
        self.complete(entry, Outcome(entry.state.credentials))
        if entry.removed:
            self._chains.drop(entry)
        else:
            self._chains.release(entry)

    def _failed(self, entry: Entry, failure: STSError, *, raised: BaseException | None) -> None:
        entry.refreshing = False
        now, context = self.now(), self._context
        before, schedule = entry.state, entry.schedule
        state = entry.state = _schedule.after_failure(
            before, failure, now=now, jitter=context.jitter(), schedule=schedule
        )
        serves = _schedule.keeps_serving(state, failure, now=now, schedule=schedule)
        if serves and was_throttled(failure):
            soon = now.plus(pause_after_throttling(context.jitter()))
            state = entry.state = attrs.evolve(state, paused_until=state.paused_until.earlier_of(soon))
        if serves:
            planned = state.paused_until
        else:
            pause = pause_after(failure, failures=entry.failures, jitter=context.jitter())
            planned = now.plus(pause)
        entry.error = failure
        if not entry.failures:
            entry.failing_since = now.wall
        entry.failures += 1
        self.reporter.failed(entry, serves=serves)
        if not isinstance(failure, ClientClosedError):
            self.plan(entry, planned)
        if serves:
            assert state.credentials is not None  # noqa: S101 - they are served
            self.complete(entry, Outcome(state.credentials))
            self._chains.release(entry)
            return
        self.complete(entry, Outcome(error=raised or failure))
        self._chains.fail(entry, failure)

    def complete(self, entry: Entry, outcome: Outcome[Credentials]) -> None:
        """Wake all waiters of an entry; each gets a copy of the outcome."""
        self._wake_watchers()
        waiters, entry.waiters = entry.waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(outcome)

    def _abandoned(self, entry: Entry) -> None:
        """Record that the worker of an entry ended with an unexpected error, or was cancelled by `aclose`."""
        entry.refreshing = False
        if self._closed:
            self.complete(entry, Outcome(error=ClientClosedError("the fleet was closed")))
            return
        failure = CredentialsError(f"the refresh of {describe(entry.identity)} was interrupted")
        try:
            self._failed(entry, failure, raised=None)
        finally:
            # Even if the failure could not be recorded: otherwise the callers would wait forever.
            self.complete(entry, Outcome(error=failure))
            if entry.due == math.inf:
                self.plan(entry, self.now().plus(REFRESH_BACKOFF[0]))

    def disown(self) -> None:
        """Start no refresh in a forked child, which has a copy of the event loop."""
        self._closed = True
        for pool in self.pools:
            pool.close()

    async def aclose(self) -> None:
        """End all refreshes, and wake all waiters with `ClientClosedError`, within about half a second."""
        if self._closed:
            await self._tasks.aclose(grace=GRACE)
            return
        self._closed = True
        self._timer.cancel()
        self._wake_watchers()
        for pool in self.pools:
            pool.close()
        for entry in list(self._entries.by_identity.values()):
            if entry.waiters:
                self.complete(entry, Outcome(error=ClientClosedError("the fleet was closed")))
        await self._tasks.aclose(grace=GRACE)
        for entry in list(self._entries.by_identity.values()):
            self.reporter.removed(entry)
