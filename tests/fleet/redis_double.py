"""
A Redis in the process of a test, on a virtual clock. `caches/test_redis_commands.py` compares it with the scripts.

One `RedisDouble` is the server. Each worker has commands of its own, and may lose the connection alone.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import attrs
from fleet.caches.shares_double import SharesDouble

from sts_async import EncryptionKeys, RedisCache
from sts_async.fleet.caches._redis_commands import FENCE_MILLISECONDS, Message, NotTaken, RedisFailed, Taken
from sts_async.fleet.caches._redis_scripts import Script
from sts_async.fleet.caches._redis_shares import BEAT, LEAVE
from sts_async.protocols import Clock


@attrs.define(eq=False)
class RedisDouble:
    """
    The server.

    Attributes:
        clock: Its clock, which ends leases and values.
        keys: The contents and the end of each key, by digest and part.
        operations: Number of operations that were answered.
        away: Why every operation fails; None for none.
        shares: The workers that share budgets.
        waiting: The queues of the processes that wait for messages.
    """

    clock: Clock
    keys: dict[tuple[str, str], tuple[object, float]] = attrs.field(factory=dict)
    operations: int = 0
    away: str | None = None
    shares: SharesDouble = attrs.field(factory=SharesDouble)
    waiting: set["asyncio.Queue[Message | None]"] = attrs.field(factory=set)

    def commands(self) -> "DoubleCommands":
        """Return the operations of one worker."""
        return DoubleCommands(self)

    def get(self, digest: str, part: str) -> object:
        found = self.keys.get((digest, part))
        if found is None:
            return None
        if found[1] <= self.clock.monotonic():
            del self.keys[digest, part]
            return None
        return found[0]

    def set(self, digest: str, part: str, content: object, milliseconds: int) -> None:
        self.keys[digest, part] = (content, self.clock.monotonic() + milliseconds / 1000)

    def delete(self, digest: str, part: str) -> None:
        self.keys.pop((digest, part), None)

    def flush(self) -> None:
        """Lose all data, as a server that is restarted."""
        self.keys.clear()
        self.shares.forget()

    def fences(self, digest: str) -> tuple[int | None, int]:
        """Return the last fence that was taken, and the last that has published."""
        return self.get(digest, "fence") or (None, 0)  # type: ignore[return-value]

    def wake(self, message: Message | None) -> None:
        for queue in self.waiting:
            queue.put_nowait(message)

    def fail(self, reason: str) -> None:
        """Fail from now on, and end all subscriptions."""
        self.away = reason
        self.wake(None)


class DoubleCommands:
    """
    The operations of one worker, as `RedisCommands` has them.

    Attributes:
        away: Why the operations of this worker fail; None for none.
    """

    def __init__(self, server: RedisDouble) -> None:
        self.server = server
        self.away: str | None = None

    def key(self, digest: str, part: str) -> str:
        return f"double:{{{digest}}}:{part}"

    async def _begin(self) -> RedisDouble:
        await asyncio.sleep(0)
        reason = self.away or self.server.away
        if reason is not None:
            raise RedisFailed(reason)
        self.server.operations += 1
        return self.server

    async def read(self, digest: str) -> bytes | None:
        return (await self._begin()).get(digest, "value")  # type: ignore[return-value]

    async def take(self, digest: str, *, owner: str, milliseconds: int, known: int | None = None) -> Taken | NotTaken:
        server = await self._begin()
        taken, published = server.fences(digest)
        is_held = server.get(digest, "lease") is not None
        if is_held or (known is not None and published > known):
            left = server.keys[digest, "lease"][1] - server.clock.monotonic() if is_held else -0.002
            return NotTaken(round(left * 1000), published)
        server.set(digest, "lease", owner, milliseconds)
        fence = max((taken or 0) + 1, int(server.clock.time() * 1000))
        server.set(digest, "fence", (fence, published), FENCE_MILLISECONDS)
        return Taken(fence, published)

    async def renew(self, digest: str, *, owner: str, milliseconds: int) -> bool:
        server = await self._begin()
        if server.get(digest, "lease") != owner:
            return False
        server.set(digest, "lease", owner, milliseconds)
        return True

    async def publish(self, digest: str, *, owner: str, fence: int, value: bytes, milliseconds: int) -> bool:
        server = await self._begin()
        taken, published = server.fences(digest)
        accepted = taken is not None and taken >= fence > published
        if accepted:
            server.set(digest, "value", value, milliseconds)
            server.set(digest, "fence", (taken, fence), FENCE_MILLISECONDS)
            server.wake(Message(digest, fence))
        if server.get(digest, "lease") == owner:
            server.delete(digest, "lease")
            if not accepted:
                server.wake(Message(digest))
        return accepted

    async def give_back(self, digest: str, *, owner: str) -> None:
        server = await self._begin()
        if server.get(digest, "lease") == owner:
            server.delete(digest, "lease")
            server.wake(Message(digest))

    async def probe(self, digest: str) -> None:
        await self._begin()

    async def call(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script of the workers that share budgets."""
        server = await self._begin()
        server.shares.now = round(server.clock.time() * 1000)
        worker = arguments[0]
        if script is LEAVE:
            return server.shares.leave(worker)
        assert script is BEAT
        told = list(zip(*[iter(arguments[7:])] * 3, strict=True))
        answer = server.shares.beat(
            worker,
            workers=arguments[1],
            needs={scope: need for scope, need, _ in told},
            used={scope: used for scope, _, used in told},
        )
        return [answer.workers, *answer.parts.values()]

    async def messages(self) -> AsyncGenerator[Message, None]:
        server = await self._begin()
        queue: asyncio.Queue[Message | None] = asyncio.Queue()
        server.waiting.add(queue)
        try:
            yield Message(None)
            while (message := await queue.get()) is not None:
                yield message
        finally:
            server.waiting.discard(queue)
        raise RedisFailed("the connection was lost")


class DoubleCache(RedisCache):
    """
    A `RedisCache` of one worker, whose Redis is a double.

    Attributes:
        commands: The operations of the worker.
    """

    def __init__(self, server: RedisDouble, **options: Any) -> None:
        self.commands = server.commands()
        keys = EncryptionKeys({"k": b"1" * 32})
        super().__init__("redis://double", **{"keys": keys, "clock": server.clock, **options})

    def _commands_of(self, client: Any) -> Any:
        return self.commands
