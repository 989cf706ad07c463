"""
A view of credentials for other libraries: a coroutine for any event loop, and functions for any thread.

A synchronous caller must not wait for its own event loop: the wait would never end. So where a view has to block, it
waits for another thread:

- The credentials of a client are fetched in an event loop of the library. It runs in a daemon thread, one for each
  process, because a client works in several event loops.
- Those of a fleet are fetched in the event loop of the fleet, and those of a client with a session of the program in
  the event loop of the session. If this is the event loop of the caller, the call is refused with an error.

A view blocks only if there are no valid credentials in memory. Valid ones in their refresh window are returned at once,
while a refresh starts in the background. A read from memory takes no lock: the state is one immutable value.
"""

import concurrent.futures
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from .._runtime import forks
from .._runtime.defaults import ATTENDED_SECONDS, START_SECONDS
from .._runtime.other_loops import (
    CannotWait,
    LoopBlocked,
    LoopEnded,
    LoopThread,
    WaitedTooLong,
    run_in,
    running_loop,
    start_in,
    wait_in,
)
from .._shape.arguments import other_than
from .._shape.secret import Unpicklable, without_data
from ..client import STSClient
from ..credentials._schedule import PAST, Moment, lifetime_of
from ..credentials.cache import moment
from ..credentials.static import clocks
from ..errors import ClientClosedError, ConfigurationError, CredentialsError, STSError
from ..protocols import CredentialsProvider
from ..shapes import Credentials

BridgeCredentials = STSClient | CredentialsProvider
"""An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned."""

EARLY = timedelta(seconds=60)
"""The time before their end at which credentials end for a library that has no margin of its own."""

MAX_WAIT = ATTENDED_SECONDS + START_SECONDS  # s for a wait that nothing else has ended
REFRESH_PAUSE = 1.0  # s between two starts of a refresh by the same view

LOOP = LoopThread("sts-async-bridges")
"""The event loop in which the credentials of clients are fetched for synchronous callers."""


class _Source(Protocol):
    """Where a view reads credentials, and in which event loop it fetches them."""

    where: str  # the event loop that fetches, for messages

    @property
    def region(self) -> str | None:
        """Return the region of the client, if it is known."""
        ...

    def now(self) -> datetime:
        """Return the time of the service's clock, as far as the client knows it."""
        ...

    def monotonic(self) -> float:
        """Return the time of the client's monotonic clock."""
        ...

    def seconds_left(self) -> float:
        """Return the seconds until the credentials in memory expire, by the clock by which they expire earlier."""
        ...

    def fresh(self) -> Credentials | None:
        """Return the credentials in memory if no refresh is due."""
        ...

    def valid(self) -> Credentials | None:
        """Return the credentials in memory if they have not expired."""
        ...

    def is_elsewhere(self) -> bool:
        """Return True if `fetch` would wait for an event loop that is not the one of the caller."""
        ...

    async def fetch(self) -> Credentials:
        """Return valid credentials, by the rules of the client or of the fleet."""
        ...

    def start(self) -> concurrent.futures.Future[Credentials]:
        """Start `fetch` in the right event loop."""
        ...

    def wait(self) -> Credentials:
        """Block until `fetch` has ended in the right event loop."""
        ...

    def ended(self) -> STSError:
        """Return the error for an event loop that does not run."""
        ...


class CredentialsView(Unpicklable):
    """
    The credentials of a client or of a fleet, for any event loop and any thread.

        view = CredentialsView(sts.role("arn:aws:iam::123456789012:role/demo"))
        credentials = view.get_sync()

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.

    Raises:
        ConfigurationError: *credentials* is something else.
    """

    def __init__(self, credentials: BridgeCredentials) -> None:
        self._source = _source_of(without_data(credentials))
        self._refresh: concurrent.futures.Future[Credentials] | None = None
        self._next_refresh = 0.0
        forks.register_after_fork(self, "_forget_refresh")

    def _forget_refresh(self) -> None:
        """Forget the refresh that runs in the parent process. Called in a forked child."""
        self._refresh, self._next_refresh = None, 0.0

    @property
    def region(self) -> str | None:
        """
        The region of the client or of the client of the fleet; None if it is not known.

        Before the first call of the client, it is known only if it was given in code.
        """
        return self._source.region

    def now(self) -> datetime:
        """Return the time for signatures, in UTC: that of the service's clock, as far as the client knows it."""
        return self._source.now()

    async def get(self) -> Credentials:
        """
        Return valid credentials: from memory if no refresh is due, otherwise by the rules of the client or the fleet.

        The coroutine can be awaited in any event loop.

        Raises:
            ClientClosedError: The client or the fleet is closed.
            STSError: The fetch failed, and no cached credentials can be served.
        """
        fresh = self._source.fresh()
        if fresh is not None:
            return fresh
        valid = self._source.valid() if self._source.is_elsewhere() else None
        if valid is not None:
            # The event loop of the fleet may be blocked by a synchronous call that waits for this coroutine.
            self._start_refresh()
            return valid
        return await self._source.fetch()

    def peek(self) -> Credentials | None:
        """Return the credentials that are in memory and valid, or None. Nothing is fetched. Any thread can call it."""
        return self._source.fresh() or self._source.valid()

    def get_sync(self, *, at_least: float = 0.0) -> Credentials:
        """
        Return valid credentials. Any thread can call it.

        Credentials in memory are returned at once. If they are in their refresh window, a refresh starts in the
        background. If there are none, this blocks until they are fetched, at most 6 minutes; a client that asks no
        person ends the wait after `Config.deadline`.

        Args:
            at_least: Seconds of life that credentials in memory must have left. With less, this waits for the refresh
                if one is under way or due, where it can wait.

        Raises:
            ClientClosedError: The client or the fleet is closed.
            CredentialsError: The wait could never end, because the event loop of the fleet runs in this thread. Or the
                fetch failed.
            STSError: The fetch failed otherwise.
        """
        fresh = self._source.fresh()
        if fresh is not None:
            return fresh
        valid = self._source.valid()
        if valid is None:
            return self._wait()
        if at_least > 0 and self._source.seconds_left() < at_least:
            try:
                return self._source.wait()
            except (CannotWait, LoopBlocked, LoopEnded, WaitedTooLong):
                return valid
        self._start_refresh()
        return valid

    def _wait(self) -> Credentials:
        try:
            return self._source.wait()
        except CannotWait:
            failure: STSError = CredentialsError(
                f"no credentials are in memory, and this call runs in {self._source.where}, which would have to fetch "
                "them: await them before, with `CredentialsView.get`, `STSClient.get_credentials` or "
                "`CredentialsFleet.warm_up`, or make the call with `asyncio.to_thread`"
            )
        except LoopBlocked:
            failure = CredentialsError(f"no credentials are in memory, and {self._source.where} is blocked")
        except WaitedTooLong:
            failure = CredentialsError(f"the credentials were not fetched within {MAX_WAIT:g} s")
        except LoopEnded:
            failure = self._source.ended()
        raise failure

    def _start_refresh(self) -> None:
        """Start a refresh in the background, if none runs. Its errors are those of the next caller that waits."""
        now = self._source.monotonic()
        if now < self._next_refresh or (self._refresh is not None and not self._refresh.done()):
            return
        self._next_refresh = now + REFRESH_PAUSE
        try:
            self._refresh = self._source.start()
        except (CannotWait, LoopEnded, STSError):
            self._refresh = None

    def __repr__(self) -> str:
        source = getattr(self, "_source", None)  # missing in the traceback of an error in the constructor
        return f"<CredentialsView of {source!r}>"


class _Remembered(NamedTuple):
    credentials: Credentials | None
    ends: Moment


class _ClientSource:
    """
    The credentials of a client or a view.

    A client works in several event loops. But one with a session of the program works in that of the session alone.
    """

    def __init__(self, sts: STSClient) -> None:
        self._sts = sts
        self._last = _Remembered(None, PAST)
        session = sts._life.session
        self._home: Any = None if session is None else session._loop
        self.where = f"the event loop of the {'library' if session is None else 'session of the client'}"

    @property
    def region(self) -> str | None:
        return self._sts.region

    def fresh(self) -> Credentials | None:
        engine = self._sts._life.engine
        if engine is None:  # not started yet, or closed
            return None
        engine = self._sts._view(engine)
        found = engine._at_hand(engine.context)
        if found is not None and found is not self._last.credentials:
            self._remember(found, engine.context)
        return found

    def valid(self) -> Credentials | None:
        """Return the credentials that were returned last. Without an expiration, they may have been replaced."""
        last, engine = self._last, self._sts._life.current
        if last.credentials is None or engine is None or last.ends.reached(moment(engine.context)):
            return None
        return last.credentials

    def _remember(self, credentials: Credentials, context: Any) -> None:
        if credentials.expiration is None:
            self._last = _Remembered(None, PAST)
            return
        lifetime = lifetime_of(credentials, *clocks(context))
        self._last = _Remembered(credentials, moment(context).plus(lifetime))

    def is_elsewhere(self) -> bool:
        return self._home is not None and self._home is not running_loop()

    async def fetch(self) -> Credentials:
        if self._home is None or not self.is_elsewhere():
            return await self._fetch_here()
        try:
            return await run_in(self._home, self._fetch_here)
        except LoopEnded:
            failure = self.ended()
        except (CannotWait, LoopBlocked):
            failure = CredentialsError(f"no credentials are in memory, and {self.where} is blocked")
        raise failure

    async def _fetch_here(self) -> Credentials:
        credentials = await self._sts.get_credentials()
        engine = self._sts._life.current
        if engine is not None:
            self._remember(credentials, engine.context)
        return credentials

    def start(self) -> concurrent.futures.Future[Credentials]:
        return start_in(self._home or LOOP.loop(), self._fetch_here)

    def wait(self) -> Credentials:
        if self._sts._life.closed:
            raise ClientClosedError
        return wait_in(self._home or LOOP.loop(), self._fetch_here, seconds=MAX_WAIT)

    def ended(self) -> STSError:
        if self._home is not None:
            return ClientClosedError(f"{self.where} has ended")
        return CredentialsError(
            "the credentials cannot be fetched: the process ends, or the system cannot start a thread"
        )

    def now(self) -> datetime:
        engine = self._sts._life.current
        return datetime.now(UTC) if engine is None else engine.context.now()

    def monotonic(self) -> float:
        return self._sts._life.clock.monotonic()

    def seconds_left(self) -> float:
        ends, clock = self._last.ends, self._sts._life.clock
        return min(ends.monotonic - clock.monotonic(), ends.wall - clock.time())

    def __repr__(self) -> str:
        return repr(self._sts)


class _FleetSource:
    """The credentials of an identity of a fleet, which fetches them in its own event loop."""

    where = "the event loop of the fleet"

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._fleet = provider.fleet
        self._identity = provider.identity

    @property
    def region(self) -> str | None:
        region: str | None = self._fleet._sts.region
        return region

    def fresh(self) -> Credentials | None:
        if self._fleet._closed:
            return None
        found: Credentials | None = self._fleet._fresh(self._identity)
        return found

    def valid(self) -> Credentials | None:
        if self._fleet._closed:
            return None
        found: Credentials | None = self._fleet.peek(self._identity)
        return found

    def is_elsewhere(self) -> bool:
        return self._fleet._loop is not running_loop()

    async def fetch(self) -> Credentials:
        if self._fleet._closed:
            raise ClientClosedError("the fleet is closed")
        credentials: Credentials = await self._fleet.get(self._identity)
        return credentials

    def start(self) -> concurrent.futures.Future[Credentials]:
        return start_in(self._loop(), self.fetch)

    def wait(self) -> Credentials:
        return wait_in(self._loop(), self.fetch, seconds=MAX_WAIT)

    def ended(self) -> STSError:
        return ClientClosedError("the event loop of the fleet has ended")

    def now(self) -> datetime:
        context = self._fleet._context
        at: datetime = datetime.now(UTC) if context is None else context.now()
        return at

    def monotonic(self) -> float:
        seconds: float = self._fleet._monotonic()
        return seconds

    def seconds_left(self) -> float:
        entry = self._fleet._lookup(self._identity)
        if entry is None:  # it has just been evicted
            return 0.0
        ends = entry.state.ends
        left: float = min(ends.monotonic - self._fleet._monotonic(), ends.wall - self._fleet._wall_clock())
        return left

    def _loop(self) -> Any:
        self._fleet._started()
        return self._fleet._loop

    def __repr__(self) -> str:
        return repr(self._provider)


def _source_of(credentials: Any) -> _Source:
    if isinstance(credentials, STSClient):
        return _ClientSource(credentials)
    fleet = getattr(credentials, "fleet", None)
    if hasattr(credentials, "identity") and hasattr(fleet, "peek"):
        return _FleetSource(credentials)
    raise ConfigurationError(
        "credentials must be an STSClient, a view such as sts.role(...), or fleet.provider(identity), not "
        f"{other_than('STSClient', credentials)}: make a client with STSClient(credentials=...) first"
    )


def view_of(credentials: BridgeCredentials | CredentialsView) -> CredentialsView:
    """Return the view of *credentials*, which may be a view already."""
    return credentials if isinstance(credentials, CredentialsView) else CredentialsView(credentials)


def early_end(credentials: Credentials) -> datetime | None:
    """Return the end of *credentials* for a library without a margin of its own; None if they never end."""
    return None if credentials.expiration is None else credentials.expiration - EARLY
