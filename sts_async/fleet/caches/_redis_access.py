"""
The access of one event loop to Redis. While Redis is not available, operations fail at once, and probes test Redis.

A few operations are sent at a time; the others wait for their turn. The time limit covers only the answer. Otherwise
most operations would be late if a busy machine needs many identities at once. If Redis does not answer, operations that
wait for their turn are not sent.

Probes run in the background. So no call waits for a probe, and Redis is used again even if no call is made.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from ..._runtime.single_flight import BackgroundTasks
from ...protocols import Clock
from .._timer import Timer
from ._availability import Availability, Change
from ._redis_commands import RedisCommands, RedisFailed
from ._redis_scripts import Script

T = TypeVar("T")

AT_ONCE = 4  # operations; one connection less than the client of a URL has, which waits for messages


class RedisUnavailable(RedisFailed):
    """Redis is not available, so the operation was not sent."""


class RedisAccess:
    """
    Operations on Redis, as long as it is available.

    Args:
        commands: The operations.
        clock: Measures the pauses.
        changed: Called with each change of the state.

    Attributes:
        commands: The operations. A coroutine of one is passed to `ask`.
        recovered: Functions that are called when Redis is available again.
    """

    def __init__(self, commands: RedisCommands, *, clock: Clock, changed: Callable[[Change], None]) -> None:
        self.commands = commands
        self._tasks = BackgroundTasks()
        self._closed = False
        self.recovered: list[Callable[[], None]] = []
        self._clock = clock
        self._changed = changed
        self._availability = Availability(clock.monotonic())
        self._timer = Timer(clock, asyncio.get_running_loop(), self._probe_if_due)
        self._probing = False
        self._digest = ""
        self._turns = asyncio.Semaphore(AT_ONCE)

    @property
    def reason(self) -> str | None:
        """Why Redis is not available; None if it is."""
        return self._availability.reason

    async def ask(self, operation: Coroutine[Any, Any, T], *, digest: str) -> T:
        """
        Do one operation, and return what it returns.

        Args:
            operation: A coroutine of `commands`.
            digest: The identity that it is about. A probe tries the node of this identity.

        Raises:
            RedisUnavailable: Redis is not available, and *operation* was not started.
            RedisFailed: *operation* failed. If others would fail as well, Redis may not be available from now on.
        """
        try:
            self._check()
            async with self._turns:
                self._check()  # others may have failed meanwhile
                started = self._clock.monotonic()
                try:
                    answer = await operation
                except RedisFailed as error:
                    if error.is_outage:
                        self._digest = digest
                        self._failed(error, started)
                    raise
        finally:
            operation.close()  # if it was not started
        self._availability.succeeded()
        return answer

    def _check(self) -> None:
        reason = self._availability.reason
        if reason is not None:
            raise RedisUnavailable(reason)

    def _failed(self, error: RedisFailed, started: float) -> None:
        now = self._clock.monotonic()
        if error.is_timeout:
            change = self._availability.timed_out(error.reason, started=started, now=now)
        else:
            change = self._availability.failed(error.reason, now)
        if change is not None:
            self._timer.start_before(self._availability.next_probe)
            self._changed(change)

    async def call(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | float]) -> Any:
        """Run a script, as `RedisCommands.call` does. The identity is what stands in braces in the keys."""
        digest = keys[0].partition("{")[2].partition("}")[0]
        return await self.ask(self.commands.call(script, keys, arguments), digest=digest)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Start *work* in the background. It ends with `aclose`; afterwards, nothing is started."""
        if self._closed:
            work.close()
            return None
        return self._tasks.spawn(work)

    async def aclose(self) -> None:
        """End the probes and all tasks in the background."""
        self._closed = True
        self._timer.cancel()
        await self._tasks.aclose()

    def _probe_if_due(self) -> None:
        if self._availability.reason is None or self._probing:
            return
        if self._availability.next_probe > self._clock.monotonic():
            self._timer.start_before(self._availability.next_probe)
            return
        self._probing = True
        self.spawn(self._probe())

    async def _probe(self) -> None:
        try:
            await self.commands.probe(self._digest)
        except RedisFailed as error:
            # Redis has answered if only the key of this identity has data of another program.
            if error.is_outage:
                self._availability.probe_failed(error.reason, self._clock.monotonic())
                self._timer.start_before(self._availability.next_probe)
                return
        finally:
            self._probing = False
        self._changed(self._availability.recovered(self._clock.monotonic()))
        for function in self.recovered:
            function()
