"""
RedisCache: encrypted credentials in Redis or Valkey, which machines share.

No failure of Redis is a failure of the program. While Redis is not available, each process serves what it has in memory
and fetches the rest alone.

Credentials are stored only under a lease. The fence of the lease shows the order in which fetches began. If a process
took a fence after its fetch, a process that was suspended could replace newer credentials with its old ones.
"""

import asyncio
import contextlib
import logging
import re
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..._runtime import forks
from ..._runtime.clock import SystemClock
from ..._runtime.loop_end import Guard, close_at_loop_end
from ..._shape.arguments import check_seconds, check_whole, other_than
from ..._shape.secret import Unpicklable, cover, without_data
from ...errors import ConfigurationError, ParamValidationError
from ...events import CacheStateChanged
from ...protocols import Clock
from ._availability import Change
from ._encrypted_entries import EncryptedEntries
from ._entries import UnusableEntry, cacheable
from ._membership import Membership
from ._redis_access import RedisAccess
from ._redis_client import RedisURL, check_client, client_of, parse_redis_url, require_redis
from ._redis_commands import MAX_LEASE_MILLISECONDS, RedisCommands, RedisFailed, close
from ._redis_leases import Lease, RedisLeases
from ._redis_shares import RedisShares
from .encryption_keys import EncryptionKeys
from .protocol import CachedCredentials, CacheKey, CacheUser, CredentialsCache

REPLAY_TOLERANCE = 60.0  # s that a value may end earlier than one that was seen before
MAX_REMEMBERED = 20_000  # identities of which the end of the newest value is remembered
MIN_LEASE = 1.0  # s
MAX_LEASE = MAX_LEASE_MILLISECONDS / 1000  # s
_PREFIX = r"[A-Za-z0-9._:-]{1,64}"

log = logging.getLogger("sts_async")


class RedisCache(CredentialsCache, Unpicklable):
    """
    Encrypted credentials in Redis or Valkey, which processes on any number of machines share.

    While one process fetches the credentials of an identity, the others wait, and then read them. A process that dies
    is replaced when its lease ends, and what it stores late is refused. Values are encrypted and authenticated, and
    expire with the credentials. Names of keys are digests.

    While Redis is not available, each process fetches alone, and tries Redis again every few seconds. Each change is
    one log line and one event, `CacheStateChanged`. No operation waits longer than *timeout* for an answer of Redis. A
    call also waits for its turn, and for a lease that another process holds.

    Args:
        redis: A URL: ``redis://host:port/0``, ``rediss://host:port/0`` (TLS) or ``unix:///path``, if needed with
            ``user:password@`` before the host. ``rediss`` takes the options ``ssl_ca_certs``, ``ssl_certfile`` and
            ``ssl_keyfile``, which are paths. Or a client of ``redis.asyncio``, such as ``RedisCluster`` or one of
            Sentinel. It is used in one event loop, and the program closes it.
        keys: The keys of the encryption. All processes need the same keys.
        prefix: Begins each key and the name of the channel: 1 to 64 letters, digits, and ``._:-``.
        timeout: Seconds for one answer of Redis, without the wait for a turn: 4 operations are sent at a time.
        lease_seconds: Seconds after which a process that has died is replaced, 1 to 3600. A lease is renewed while its
            process fetches. Also the longest wait for the lease of another process.
        expected_workers: The number of processes that share the budget of an account, until Redis has told how many
            there are.
        clock: The clocks; None for those of this host. Pass the clock of the client, if it has another one.

    Raises:
        ConfigurationError: An argument is invalid, there are no keys, or a package is missing.
    """

    _instead = "its URL and the file or the variable with the keys"

    def __init__(
        self,
        redis: Any,
        *,
        keys: EncryptionKeys | None = None,
        prefix: str = "sts-async",
        timeout: float = 0.25,
        lease_seconds: float = 35.0,
        expected_workers: int = 1,
        clock: Clock | None = None,
    ) -> None:
        # First, because a traceback with local variables shows the arguments.
        redis = cover(redis) if isinstance(redis, str) else without_data(redis)
        keys = without_data(keys)
        self._url: RedisURL | None = None
        self._client: Any = None
        if isinstance(redis, str):
            self._url = parse_redis_url(redis)
        else:
            check_client(redis)
            self._client = redis
        if keys is None:
            raise ConfigurationError(
                "RedisCache needs keys, because other programs can read what is in Redis: "
                "make one with `sts-async cache-key`, and pass keys=EncryptionKeys.from_file(path)"
            )
        if not isinstance(keys, EncryptionKeys):
            raise ConfigurationError(
                f"keys of RedisCache must be EncryptionKeys, not {other_than('EncryptionKeys', keys)}"
            )
        if not isinstance(prefix, str) or not re.fullmatch(_PREFIX, prefix):
            raise ConfigurationError("prefix of RedisCache must have 1 to 64 letters, digits, and . _ : -")
        check_seconds("timeout of RedisCache", timeout)
        check_seconds("lease_seconds of RedisCache", lease_seconds)
        if not MIN_LEASE <= lease_seconds <= MAX_LEASE:
            raise ConfigurationError(f"lease_seconds of RedisCache must be from {MIN_LEASE:g} to {MAX_LEASE:g}")
        check_whole("expected_workers of RedisCache", expected_workers)
        if self._url is not None:
            require_redis()  # last, because it reads files
        self._prefix = prefix
        self._timeout = float(timeout)
        self._lease_seconds = float(lease_seconds)
        self._expected_workers = expected_workers
        self._clock: Clock = SystemClock() if clock is None else clock
        self._entries = EncryptedEntries(keys)
        self._refused: Counter[str] = Counter()
        self._logged: set[str] = set()
        self._newest = _NewestEnds()
        self._parts: dict[asyncio.AbstractEventLoop, _Part] = {}
        self._inherited: list[_Part] = []
        self._client_loop: Callable[[], asyncio.AbstractEventLoop | None] | None = None
        self._lock = threading.Lock()
        forks.register_after_fork(self, "reset_after_fork")

    @property
    def available(self) -> bool:
        """Whether Redis is available to this process, as far as it knows."""
        return all(part.access.reason is None for part in list(self._parts.values()))

    @property
    def refused(self) -> Mapping[str, int]:
        """
        Number of values that this process has refused, by kind. A kind that has not occurred is missing.

        ``key id``: encrypted with an unknown key. ``authentication``: changed, or of another identity. ``version``: of
        another format version. ``oversized`` and ``invalid``: no entry of this library. ``mismatch``: of another
        identity. ``replayed``: it ends earlier than a value that this process has seen. ``late``: this process
        wanted to store it, and a newer one was stored before, or Redis has lost the leases.
        """
        with self._lock:
            return dict(self._refused)

    async def load(self, key: CacheKey) -> CachedCredentials | None:
        """
        Return credentials that have not expired, or None.

        A value that is not authentic, belongs to another identity, or is older than one that was seen before counts as
        missing. It is counted in `refused`, and the first of each kind is logged.
        """
        part, digest = await self._part(), _digest_of(key)
        if part is None or digest is None:
            return None
        try:
            value = await part.access.ask(part.access.commands.read(digest), digest=digest)
        except RedisFailed as error:
            if not error.is_outage:
                self._refuse_value("invalid", error.reason, part, digest)
            return None
        if value is None:
            return None
        try:
            cached = self._opened(key, digest, value)
        except UnusableEntry as error:
            self._refuse_value(error.kind, str(error), part, digest)
            return None
        # Redis removes a value when its credentials end, but its clock can be another one.
        return cached if cached.seconds_left(now=self._now()) > 0 else None

    async def store(self, key: CacheKey, cached: CachedCredentials) -> None:
        """
        Store credentials under the lease of the current task, in place of earlier ones. It gives the lease back.

        Nothing is stored without a lease, after a newer lease has stored, and if the credentials do not expire.
        """
        part, digest = await self._part(), _digest_of(key)
        if part is None or digest is None or not cacheable(cached.credentials):
            return
        lease = part.held.get((digest, asyncio.current_task()))
        milliseconds = int(cached.seconds_left(now=self._now()) * 1000)
        if lease is None or milliseconds <= 0:
            return
        try:
            value = self._entries.encrypt(key, cached)
        except UnusableEntry as error:
            self._refuse(error.kind, f"credentials are not stored: {error}")
            return
        accepted = await part.leases.publish(lease, value, milliseconds=milliseconds)
        if accepted:
            assert cached.credentials.expiration is not None  # noqa: S101 - `cacheable`
            self._newest.see(digest, cached.credentials.expiration)
        elif accepted is False:
            self._refuse(
                "late", "credentials came too late to be stored: newer ones were stored, or Redis has lost its data"
            )

    @contextlib.asynccontextmanager
    async def lease(self, key: CacheKey) -> AsyncIterator[bool]:
        """
        Wait until no other process fetches the credentials of *key*, and keep others from it within the block.

        The block receives False if another process has stored credentials meanwhile, if the wait takes longer than
        ``lease_seconds``, or if Redis is not available. See `CredentialsCache.lease`.
        """
        part, digest = await self._part(), _digest_of(key)
        lease = None if part is None or digest is None else await part.leases.take(digest)
        if part is None or lease is None:
            yield False
            return
        holder = (lease.digest, asyncio.current_task())
        part.held[holder] = lease
        try:
            yield True
        finally:
            part.held.pop(holder, None)
            await part.leases.give_back(lease)

    async def join(self, user: CacheUser) -> None:
        """Divide the budgets of a fleet with those of the other processes, and tell it when the state changes."""
        part = await self._part()
        if part is not None:
            members = RedisShares(part.access, prefix=self._prefix)
            membership = Membership(members, user, clock=self._clock, expected_workers=self._expected_workers)
            part.memberships[user] = membership
            try:
                await membership.join()
            except BaseException:  # the fleet was cancelled, and does not call `leave`
                await self.leave(user)
                raise

    async def leave(self, user: CacheUser) -> None:
        """End what `join` began. After the last fleet of an event loop, the connections are closed."""
        part = self._parts.get(asyncio.get_running_loop())
        membership = None if part is None else part.memberships.pop(user, None)
        if part is None or membership is None:
            return
        await membership.leave()
        if not part.memberships:
            await part.leave()

    def reset_after_fork(self) -> None:
        """Forget all connections in a forked child: they belong to the parent, and are not closed here."""
        self._inherited += self._parts.values()
        self._parts.clear()
        self._lock = threading.Lock()
        self._newest.reset_after_fork()
        self._client_loop = _no_loop

    async def _part(self) -> "_Part | None":
        """Return what this cache has in the running event loop; None if the client belongs to another one."""
        loop = asyncio.get_running_loop()
        part = self._parts.get(loop)
        if part is not None:
            return part
        if self._client is not None:
            if self._client_loop is None:
                self._client_loop = weakref.ref(loop)
            if self._client_loop() is not loop:
                self._warn("client", "the client belongs to another event loop or process; pass a URL instead")
                return None
        for ended in [other for other in list(self._parts) if other.is_closed()]:
            self._parts.pop(ended, None)
        part = self._parts[loop] = self._new_part(loop)
        forks.isolate_loop_after_fork(loop)
        part.guard = await close_at_loop_end(part)
        return part

    def _new_part(self, loop: asyncio.AbstractEventLoop) -> "_Part":
        client = self._client if self._url is None else client_of(self._url)
        access = RedisAccess(
            self._commands_of(client), clock=self._clock, changed=lambda change: self._tell(part, change)
        )
        leases = RedisLeases(access, clock=self._clock, seconds=self._lease_seconds)
        own = None if self._url is None else client
        part = _Part(self._parts, loop, access, leases, client=own, timeout=self._timeout)
        return part

    def _commands_of(self, client: Any) -> RedisCommands:
        return RedisCommands(client, prefix=self._prefix, timeout=self._timeout)

    def _opened(self, key: CacheKey, digest: str, value: bytes) -> CachedCredentials:
        """
        Return the credentials in a value.

        Raises:
            UnusableEntry: It must not be used.
        """
        cached = self._entries.decrypt(key, value)
        assert cached.credentials.expiration is not None  # noqa: S101 - `EncryptedEntries` requires it
        if not self._newest.see(digest, cached.credentials.expiration):
            raise UnusableEntry("replayed", "the value is older than one that was here before")
        return cached

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    def _tell(self, part: "_Part", change: Change) -> None:
        """Log a change of the state, and tell the observers of all fleets of this event loop."""
        if change.reason is None:
            log.info("%r is available again, after %.1f s", self, change.seconds)
        else:
            log.warning("%r is not available: %s; this process fetches credentials alone", self, change.reason)
        event = CacheStateChanged(
            cache=repr(self), available=change.reason is None, reason=change.reason, seconds=change.seconds
        )
        for user in list(part.memberships):
            user.notify(event)

    def _refuse_value(self, kind: str, reason: str, part: "_Part", digest: str) -> None:
        name = part.access.commands.key(digest, "value")
        self._refuse(kind, f"the value of {name} is refused until it is replaced: {reason}")

    def _refuse(self, kind: str, reason: str) -> None:
        """Count what was refused, and log the first of each kind."""
        with self._lock:
            self._refused[kind] += 1
        self._warn(kind, reason)

    def _warn(self, kind: str, reason: str) -> None:
        if kind not in self._logged:
            self._logged.add(kind)
            log.warning("%r: %s; this process fetches credentials from STS", self, reason)

    def __repr__(self) -> str:
        return f"RedisCache({type(self._client).__name__ if self._url is None else repr(str(self._url))})"


class _Part:
    """
    What a cache has in one event loop.

    Attributes:
        held: The leases that the tasks of this process hold, by digest and task.
        memberships: The fleets that have joined.
        guard: Closes the connections when the event loop ends.
    """

    def __init__(
        self,
        parts: "dict[asyncio.AbstractEventLoop, _Part]",
        loop: asyncio.AbstractEventLoop,
        access: RedisAccess,
        leases: RedisLeases,
        *,
        client: Any,
        timeout: float,
    ) -> None:
        self._parts = parts
        self._loop = loop
        self._client = client
        self._timeout = timeout
        self.access = access
        self.leases = leases
        self.held: dict[tuple[str, asyncio.Task[Any] | None], Lease] = {}
        self.memberships: dict[CacheUser, Membership] = {}
        self.guard: Guard | None = None

    async def leave(self) -> None:
        """Give all leases back, and close the connections. A client of the program stays open."""
        if self._parts.get(self._loop) is self:
            del self._parts[self._loop]
        guard, self.guard = self.guard, None
        if guard is not None:
            guard.release(self)
        memberships, self.memberships = self.memberships, {}
        for membership in memberships.values():
            await membership.leave()
        await self.leases.aclose()
        await self.access.aclose()
        if self._client is not None:
            await close(self._client, seconds=self._timeout)


def _no_loop() -> None:
    """Return the event loop of a client in a forked child, where it must not be used."""


class _NewestEnds:
    """The ends of the newest values that were seen, of the identities that were seen last."""

    def __init__(self) -> None:
        self._ends: OrderedDict[str, float] = OrderedDict()
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held."""
        self._lock = threading.Lock()

    def see(self, digest: str, expiration: datetime) -> bool:
        """Remember a value. Return False if it ends earlier than one that was seen before."""
        end = expiration.timestamp()
        with self._lock:
            newest = self._ends.get(digest, end)
            if end < newest - REPLAY_TOLERANCE:
                return False
            self._ends[digest] = max(end, newest)
            self._ends.move_to_end(digest)
            if len(self._ends) > MAX_REMEMBERED:
                self._ends.popitem(last=False)
        return True


def _digest_of(key: CacheKey) -> str | None:
    """Return the digest of a key; None if the request cannot be encoded, so that sending it raises the error."""
    try:
        return key.digest
    except ParamValidationError:
        return None
