"""
Leases on Redis: one process at a time fetches the credentials of an identity, and the others follow.

A lease ends by itself on the server, so a process that dies is replaced. The holder renews it while it fetches. If a
renewal finds that the lease is lost, the fetch goes on: whether its credentials are published is decided by the fences.

A follower waits for a message, and looks once a second in case the message is lost. It also looks when the lease ends.
If a newer fence has published meanwhile, it does not take the lease: a thousand followers would otherwise take it one
after the other, to find the same credentials.

If the holders give the lease back without credentials, because STS refuses or throttles, a follower waits for three of
them. Then it fetches without a lease. If a thousand followers took turns, the last one would learn only after minutes
that its role does not exist.

The server may do what a caller no longer waits for: the caller was cancelled, or the answer came too late. Such a lease
would keep all others waiting until it ends. So it is given back in the background: each second, and after an outage as
soon as the server is available. The same is done with credentials that could not be published while their lease lasts.
"""

import asyncio
import random
import secrets
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import attrs

from ...protocols import Clock
from .._timer import Timer
from ._redis_access import RedisAccess, RedisUnavailable
from ._redis_commands import NotTaken, RedisFailed

LOOK_SECONDS = 1.0  # s at most between two looks of a follower, so that a lost message costs no more
LATE_SECONDS = 0.05  # s after the end of a lease at which a follower looks: the server ends it meanwhile
MAX_FAILURES = 3  # leases that were given back without credentials, after which a follower fetches without one
RENEWALS = 3  # in the time of a lease, so that two may fail
SETTLE_SECONDS = 1.0  # s between two attempts to give back what could not be given back
IDLE_SECONDS = 10.0  # s without a follower, after which the subscription ends


@attrs.define(eq=False)
class Lease:
    """
    A lease of this process.

    Attributes:
        digest: The identity.
        owner: The name of this owner: random, and known to no one else.
        fence: Its fence; None if the server may have given the lease, but did not answer in time.
        ends: When it has ended on the server, as a monotonic time, unless it is renewed.
        is_over: Whether it was given back or lost.
        unpublished: The value and its end as a monotonic time, if it could not be published.
    """

    digest: str
    owner: str
    fence: int | None
    ends: float
    is_over: bool = False
    unpublished: tuple[bytes, float] | None = None


class _Follower:
    """
    One caller that waits for the lease of another process.

    Attributes:
        fence: The newest fence that has published, by the messages that have arrived.
        failures: How often the lease was given back without credentials, by the messages that have arrived.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], Any]) -> None:
        self._call_later = call_later
        self._woken = False
        self._future: asyncio.Future[None] | None = None
        self.fence = 0
        self.failures = 0

    def given_back(self, fence: int | None) -> None:
        """Record that the lease was given back, and wake the follower. *fence* has published; None: nothing was."""
        if fence is None:
            self.failures += 1
        else:
            self.fence = max(self.fence, fence)
        self.wake()

    def wake(self) -> None:
        """End the wait, so that the follower asks for the lease again."""
        self._woken = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken, at most for some seconds. Return at once if it was woken since the last wait."""
        if not self._woken:
            self._future = asyncio.get_running_loop().create_future()
            timer = self._call_later(seconds, self.wake)
            try:
                await self._future
            finally:
                timer.cancel()
        self._woken = False


class RedisLeases:
    """
    The leases of one event loop.

    Args:
        access: The way to Redis.
        clock: Measures the waits.
        seconds: The time of a lease, and the longest wait for one.
    """

    def __init__(self, access: RedisAccess, *, clock: Clock, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._access = access
        self._clock = clock
        self._seconds = seconds
        self._call_later: Callable[[float, Callable[[], None]], Any] = getattr(clock, "call_later", loop.call_later)
        self._held: set[Lease] = set()
        self._unsettled: set[Lease] = set()
        self._renewals = Timer(clock, loop, self._renew_all)
        self._followers: defaultdict[str, set[_Follower]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None
        self._settlement = Timer(clock, loop, self._settle_all)
        self._idle = Timer(clock, loop, self._stop_listening)
        self._idle_since = 0.0
        access.recovered.append(self._settle_all)

    async def take(self, digest: str) -> Lease | None:
        """
        Wait for the lease of an identity.

        Return None if another process has published credentials meanwhile, if others hold the lease for too long or
        give it back without credentials too often, or if Redis is not available.
        """
        gives_up = self._clock.monotonic() + self._seconds
        follower: _Follower | None = None
        published: int | None = None
        try:
            while True:
                try:
                    found = await self._try(digest, published)
                except RedisFailed:
                    return None
                if isinstance(found, Lease):
                    return found
                published = found.published if published is None else published
                left = gives_up - self._clock.monotonic()
                failures = 0 if follower is None else follower.failures
                if found.published > published or failures >= MAX_FAILURES or left <= 0:
                    return None
                if follower is None:
                    follower = _Follower(self._call_later)
                    self._followers[digest].add(follower)
                self._listen()
                await follower.wait(min(left, _pause(found)))
                if follower.fence > published:
                    return None
        finally:
            if follower is not None:
                self._forget(digest, follower)

    async def publish(self, lease: Lease, value: bytes, *, milliseconds: int) -> bool | None:
        """
        Publish a value, and give the lease back. Return False if it was refused, and None if it must be done later.

        Args:
            lease: The lease under which the credentials were fetched.
            value: The value.
            milliseconds: The time after which the credentials end.
        """
        assert lease.fence is not None  # noqa: S101 - the server has answered
        work = self._access.commands.publish(
            lease.digest, owner=lease.owner, fence=lease.fence, value=value, milliseconds=milliseconds
        )
        try:
            accepted = await self._access.ask(work, digest=lease.digest)
        except RedisFailed:
            lease.unpublished = (value, self._clock.monotonic() + milliseconds / 1000)
            return None
        self._end(lease)
        return accepted

    async def give_back(self, lease: Lease) -> None:
        """Give a lease back, if this was not done before. If the caller is cancelled, it is done all the same."""
        if lease.is_over or lease not in self._held:
            return
        self._held.discard(lease)
        settling = self._access.spawn(self._settle(lease))
        if settling is not None:
            await asyncio.shield(settling)

    async def aclose(self) -> None:
        """
        Give all leases back, and end the subscription. `RedisAccess.aclose` ends the rest.

        This is tried although Redis may not be available: others would wait until the leases end.
        """
        for timer in (self._renewals, self._settlement, self._idle):
            timer.cancel()
        left, self._held, self._unsettled = [*self._held, *self._unsettled], set(), set()
        await asyncio.gather(*map(self._do_settle, left), return_exceptions=True)
        if self._listener is not None:
            self._listener.cancel()

    # -- The holder ------------------------------------------------------------------------------------------------

    async def _try(self, digest: str, published: int | None) -> Lease | NotTaken:
        """
        Take a lease, unless another owner has it or a newer fence than *published* has published.

        If the outcome is not known, the lease is given back later.
        """
        owner, now = secrets.token_hex(8), self._clock.monotonic()
        lease = Lease(digest, owner, None, now + self._seconds)
        milliseconds = round(self._seconds * 1000)
        work = self._access.commands.take(digest, owner=owner, milliseconds=milliseconds, known=published)
        try:
            found = await self._access.ask(work, digest=digest)
        except RedisUnavailable:
            raise
        except (RedisFailed, asyncio.CancelledError) as error:
            if not isinstance(error, RedisFailed):
                self._access.spawn(self._settle(lease))
            elif error.is_outage:
                self._settle_later(lease)
            raise
        if isinstance(found, NotTaken):
            return found
        lease.fence = found.fence
        self._held.add(lease)
        self._renewals.start_before(now + self._seconds / RENEWALS)
        return lease

    def _renew_all(self) -> None:
        now, third = self._clock.monotonic(), self._seconds / RENEWALS
        due = [lease for lease in self._held if lease.ends - self._seconds + third <= now]
        for lease in due:
            self._access.spawn(self._renew(lease))
        waiting = [lease.ends - self._seconds + third for lease in self._held if lease not in due]
        if due or waiting:
            self._renewals.start_before(min([now + third, *waiting]))

    async def _renew(self, lease: Lease) -> None:
        ends = self._clock.monotonic() + self._seconds
        work = self._access.commands.renew(lease.digest, owner=lease.owner, milliseconds=round(self._seconds * 1000))
        try:
            renewed = await self._access.ask(work, digest=lease.digest)
        except RedisFailed:
            return
        if renewed:
            lease.ends = ends
        else:
            # The fetch goes on. Others may fetch at the same time.
            self._held.discard(lease)

    def _end(self, lease: Lease) -> None:
        lease.is_over = True
        lease.unpublished = None
        self._held.discard(lease)

    async def _settle(self, lease: Lease) -> None:
        """Publish what a lease could not publish, or give it back. If this fails, it is tried again."""
        if lease.ends <= self._clock.monotonic():
            return
        try:
            await self._access.ask(self._do_settle(lease), digest=lease.digest)
        except RedisFailed as error:
            if error.is_outage:
                self._settle_later(lease)
        else:
            self._end(lease)

    async def _do_settle(self, lease: Lease) -> None:
        now, commands = self._clock.monotonic(), self._access.commands
        if lease.unpublished is None or lease.fence is None or lease.unpublished[1] <= now:
            await commands.give_back(lease.digest, owner=lease.owner)
            return
        value, ends = lease.unpublished
        await commands.publish(
            lease.digest,
            owner=lease.owner,
            fence=lease.fence,
            value=value,
            milliseconds=round((ends - now) * 1000),
        )

    def _settle_later(self, lease: Lease) -> None:
        self._unsettled.add(lease)
        self._settlement.start_before(self._clock.monotonic() + SETTLE_SECONDS)

    def _settle_all(self) -> None:
        if self._access.reason is not None:
            return
        unsettled, self._unsettled = self._unsettled, set()
        for lease in unsettled:
            self._access.spawn(self._settle(lease))

    # -- Followers -------------------------------------------------------------------------------------------------

    def _forget(self, digest: str, follower: _Follower) -> None:
        followers = self._followers[digest]
        followers.discard(follower)
        if not followers:
            del self._followers[digest]
        if not self._followers:
            self._idle_since = self._clock.monotonic()
            self._idle.start_before(self._idle_since + IDLE_SECONDS)

    def _listen(self) -> None:
        """Begin to listen to messages, unless this was done. A subscription that has failed begins again."""
        if self._listener is None or self._listener.done():
            self._listener = self._access.spawn(self._receive())

    async def _receive(self) -> None:
        messages = self._access.commands.messages()
        try:
            async for message in messages:
                if message.digest is None:
                    # A message may have been lost before the subscription.
                    for followers in list(self._followers.values()):
                        for follower in list(followers):
                            follower.wake()
                else:
                    for follower in list(self._followers.get(message.digest, ())):
                        follower.given_back(message.fence)
        except RedisFailed:
            # Followers look once a second, and the next look begins a new subscription.
            return
        finally:
            await messages.aclose()

    def _stop_listening(self) -> None:
        if self._followers or self._listener is None:
            return
        if self._clock.monotonic() < self._idle_since + IDLE_SECONDS:
            self._idle.start_before(self._idle_since + IDLE_SECONDS)
        else:
            self._listener.cancel()
            self._listener = None


def _pause(held: NotTaken) -> float:
    """Return the seconds until a follower looks again, at random times so that not all followers look at once."""
    pause = LOOK_SECONDS * random.uniform(0.6, 1.0)  # noqa: S311 - not for a secret
    return pause if held.milliseconds_left < 0 else min(pause, held.milliseconds_left / 1000 + LATE_SECONDS)
