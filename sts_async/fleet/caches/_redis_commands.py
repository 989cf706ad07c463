"""
The operations of a cache on Redis: each is one coroutine, and one command or one script on the server.

All keys of an identity have the same hash tag, so that a cluster keeps them on one node:

    PREFIX:{DIGEST}:value    the credentials, encrypted; they expire here when they end
    PREFIX:{DIGEST}:lease    the owner of the lease; it expires with the lease
    PREFIX:{DIGEST}:fence    a hash: the fence of the last lease that was taken, and the last fence that has published

A fence is a number that grows with each lease. Credentials are published with the fence of the lease under which they
were fetched, and are refused if a newer fence has published. So a process that was suspended for longer than its lease
cannot replace newer credentials. A fence is at least the time of the server in milliseconds. So it also grows if the
server has lost its data, or if a replica that lacks the last leases takes over.

Both fences are in one key: a server that evicts keys loses both or none. Without them nothing is published, because
nobody knows what was published before.

No operation waits longer than a bound. Each failure is a `RedisFailed`, whose reason has neither the URL nor a value:
messages of servers quote commands, and errors of clients quote addresses.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, Protocol

import attrs

from ..._wording.os_errors import reason_of
from ._redis_scripts import GIVE_BACK, PUBLISH, RENEW, TAKE, Script

FENCE_MILLISECONDS = 7 * 24 * 3600 * 1000  # longer than any credentials live (36 h), with room for a suspended machine
MAX_VALUE = 66_000  # bytes of a value that are read, and one more that shows that it is longer
MAX_LEASE_MILLISECONDS = 3600 * 1000
PROBE_MILLISECONDS = 1000
PARTS = 5  # of the bound
TURNS = 3  # of the event loop after the bound, in which an answer that has arrived is read
MESSAGE_SECONDS = 30.0  # s for one wait for a message; the wait for the next one follows

NO_ANSWER = "it answers as no Redis does"

# Options of redis-py, by which it returns bytes although the client decodes.
_AS_BYTES: dict[str, Any] = {"NEVER_DECODE": True}


class RedisFailed(Exception):
    """
    An operation failed.

    Attributes:
        reason: Why, without the URL and without a value.
        is_outage: Whether others would fail as well. If not, only this key has data of another program.
        is_timeout: Whether there was no answer. The server may have done what it was asked for.
    """

    def __init__(self, reason: str, *, is_outage: bool = True, is_timeout: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_outage = is_outage
        self.is_timeout = is_timeout


@attrs.frozen
class Taken:
    """
    A lease that was taken.

    Attributes:
        fence: Its fence.
        published: The last fence that has published; 0 for none.
    """

    fence: int
    published: int


@attrs.frozen
class NotTaken:
    """
    A lease that was not taken: another owner has it, or a newer fence has published than the caller knows.

    Attributes:
        milliseconds_left: Until the lease ends, if it is not renewed; negative if it is free.
        published: The last fence that has published; 0 for none.
    """

    milliseconds_left: int
    published: int


@attrs.frozen
class Message:
    """
    A message to all processes that wait.

    Attributes:
        digest: The identity whose lease was given back; None if the subscription has begun, or begun again: earlier
            messages may be lost.
        fence: The fence that has published; None if nothing was published.
    """

    digest: str | None
    fence: int | None = None


class RunsScripts(Protocol):
    """Runs scripts on the server: `RedisCommands`, or the way to Redis that knows whether it is available."""

    async def call(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | float]) -> Any:
        """Run a script, and return what it returns. See `RedisCommands.call`."""
        ...


class RedisCommands:
    """
    The operations on one client of redis-py. Each raises `RedisFailed`, and never waits longer than the bound.

    Args:
        client: A client of ``redis.asyncio``: ``Redis`` or ``RedisCluster``.
        prefix: Begins each key and the name of the channel.
        timeout: The bound in seconds.
    """

    def __init__(self, client: Any, *, prefix: str, timeout: float) -> None:
        self._client = client
        self._prefix = prefix
        self._timeout = timeout
        self._channel = f"{prefix}:leases"

    def key(self, digest: str, part: str) -> str:
        """Return the name of a key of an identity."""
        return f"{self._prefix}:{{{digest}}}:{part}"

    async def read(self, digest: str) -> bytes | None:
        """Return the value of an identity, or None. One that is too long is cut after `MAX_VALUE` + 1 bytes."""
        value = await self._ask("GETRANGE", self.key(digest, "value"), 0, MAX_VALUE)
        if not isinstance(value, bytes):
            raise RedisFailed(NO_ANSWER)
        return value or None

    async def take(self, digest: str, *, owner: str, milliseconds: int, known: int | None = None) -> Taken | NotTaken:
        """
        Take the lease of an identity, with a new fence, or say for how long another owner has it.

        Args:
            digest: The identity.
            owner: The name of the new owner.
            milliseconds: The time of the lease.
            known: The last fence that has published, as far as the caller knows; 0 for none. If a newer one has, the
                lease is not taken, although it may be free. None to take it in any case.
        """
        keys = [self.key(digest, "lease"), self.key(digest, "fence")]
        arguments: list[str | float] = [
            owner,
            milliseconds,
            FENCE_MILLISECONDS,
            "" if known is None else known,
            MAX_LEASE_MILLISECONDS,
        ]
        taken, number, published = whole_numbers(await self.call(TAKE, keys, arguments), 3)
        return Taken(number, published) if taken else NotTaken(number, published)

    async def renew(self, digest: str, *, owner: str, milliseconds: int) -> bool:
        """Make a lease end in *milliseconds* from now. Return False if *owner* no longer has it."""
        return bool(await self.call(RENEW, [self.key(digest, "lease")], [owner, milliseconds]))

    async def publish(self, digest: str, *, owner: str, fence: int, value: bytes, milliseconds: int) -> bool:
        """
        Store the value of an identity for *milliseconds*, give the lease back, and wake all that wait.

        Return False if the value was refused: a newer fence has published, or the server has lost the fences. The lease
        is given back in any case.
        """
        keys = [self.key(digest, part) for part in ("value", "lease", "fence")]
        return bool(
            await self.call(
                PUBLISH, keys, [owner, fence, value, milliseconds, FENCE_MILLISECONDS, self._channel, digest]
            )
        )

    async def give_back(self, digest: str, *, owner: str) -> None:
        """Give a lease back, and wake all that wait. Do nothing if *owner* no longer has it."""
        await self.call(GIVE_BACK, [self.key(digest, "lease")], [owner, self._channel, digest])

    async def probe(self, digest: str) -> None:
        """
        Do what a refresh of an identity needs: read, run a script, and write.

        A replica answers reads, a full server reads and deletes, and a cluster may lack the node of one identity only.
        So none of them counts as available because it answers a simple command.
        """
        keys = [self.key(digest, "probe"), self.key(digest, "probe-fence")]
        await self._ask("GETRANGE", keys[0], 0, 0)
        arguments: list[str | float] = ["probe", PROBE_MILLISECONDS, PROBE_MILLISECONDS, "", MAX_LEASE_MILLISECONDS]
        whole_numbers(await self.call(TAKE, keys, arguments), 3)

    async def messages(self) -> AsyncGenerator[Message, None]:
        """
        Iterate over the messages to all processes that wait, until the connection is lost.

        The first message has no digest: the subscription has begun. The wait for a message has no bound.
        """
        subscriber: Any = None
        try:
            async with _Bound(self._timeout):
                subscriber = self._client.pubsub()
                await subscriber.subscribe(self._channel)
            while True:
                found = await subscriber.get_message(timeout=MESSAGE_SECONDS)
                message = None if found is None else _message_of(found)
                if message is not None:
                    yield message
        except Exception as error:  # noqa: BLE001 - whatever the client raises
            failure = _failure_of(error, self._timeout)
        finally:
            if subscriber is not None:
                await close(subscriber, seconds=self._timeout)
        raise failure

    async def call(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | float]) -> Any:
        """
        Run a script, and return what it returns.

        Args:
            script: The script.
            keys: The keys that it uses, all with the same hash tag.
            arguments: Its arguments.

        Raises:
            RedisFailed: It failed, or did not end within the bound.
        """
        return await self._ask("EVALSHA", script.digest, len(keys), *keys, *arguments, text=script.text)

    async def _ask(self, command: str, *arguments: Any, text: str = "") -> Any:
        """Send a command within the bound. If the server does not know a script, send its text."""
        try:
            async with _Bound(self._timeout):
                try:
                    return await self._client.execute_command(command, *arguments, **_AS_BYTES)
                except Exception as error:
                    if not text or type(error).__name__ != "NoScriptError":
                        raise
                return await self._client.execute_command("EVAL", text, *arguments[1:], **_AS_BYTES)
        except Exception as error:  # noqa: BLE001 - whatever the client raises
            failure = _failure_of(error, self._timeout)
        # Not as a cause: frames of the client have the password among their variables.
        raise failure


class _Bound:
    """
    Ends a block with `TimeoutError` after some seconds in which the event loop could run it.

    If the program keeps the event loop busy, or the process was suspended, `asyncio.timeout` would count a server as
    slow that has answered at once. So the bound consists of parts. A part that ends late counts as one, however late it
    is. After the last part, the block has a few more turns of the event loop, without waiting.
    """

    def __init__(self, seconds: float) -> None:
        self._part = seconds / PARTS
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle = self._loop.call_later(self._part, self._expire, PARTS - 1, TURNS)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, traceback)

    def _expire(self, parts: int, turns: int) -> None:
        if parts:
            self._timer = self._loop.call_later(self._part, self._expire, parts - 1, turns)
        elif turns:
            self._timer = self._loop.call_soon(self._expire, 0, turns - 1)
        else:
            self._limit.reschedule(self._loop.time())


def whole_numbers(answer: object, count: int) -> list[int]:
    """
    Return the answer of a script, which is a list of whole numbers.

    Raises:
        RedisFailed: It is none: the server is not Redis, or something between changes its answers.
    """
    if not isinstance(answer, list) or len(answer) != count or not all(type(number) is int for number in answer):
        raise RedisFailed(NO_ANSWER)
    return answer


async def close(closable: Any, *, seconds: float) -> None:
    """Close a client or a subscription, for at most some seconds."""
    try:
        async with _Bound(seconds):
            await closable.aclose()
    except Exception:  # noqa: BLE001, S110 - the connection is lost anyway
        pass


def _message_of(found: Any) -> Message | None:
    """Return the message in what redis-py returns; None for one of another program."""
    if found["type"] == "subscribe":
        return Message(None)
    data = found["data"]
    text = data.decode("ascii", "replace") if isinstance(data, bytes) else str(data)
    match = re.fullmatch(r"([0-9a-f]{64})(?: (\d{1,16}))?", text, re.ASCII)
    if match is None:
        return None
    return Message(match[1], int(match[2]) if match[2] else None)


# Why Redis cannot be used, by the name of the exception of redis-py or the code of the server.
_REASONS = {
    "NoPermissionError": "its user lacks a permission",
    "NOPERM": "its user lacks a permission",
    "AuthenticationError": "it refuses the user or the password",
    "AuthenticationWrongNumberOfArgsError": "it refuses the user or the password",
    "AuthorizationError": "it refuses the user or the password",
    "NOAUTH": "it refuses the user or the password",
    "ReadOnlyError": "it is a replica and read-only",
    "READONLY": "it is a replica and read-only",
    "OutOfMemoryError": "its memory is full",
    "OOM": "its memory is full",
    "BusyLoadingError": "it is loading its data",
    "LOADING": "it is loading its data",
    "MasterDownError": "it is a replica without its master",
    "MASTERDOWN": "it is a replica without its master",
    "ClusterDownError": "the cluster is down",
    "CLUSTERDOWN": "the cluster is down",
    "MISCONF": "it cannot save its data",
    "NOREPLICAS": "it has too few replicas",
    "BUSY": "it is busy with a script",
    "AskError": "it is a node of a cluster, which needs a client for clusters",
    "TryAgainError": "the cluster moves its keys",
    "MasterNotFoundError": "Sentinel knows no master",
    "MaxConnectionsError": "all connections are in use",
}
_CODE = re.compile(r"(?:^|-)([A-Z]{2,16}) ")
_FOREIGN = "WRONGTYPE"


def _failure_of(error: Exception, seconds: float) -> RedisFailed:
    """Return the failure for an error of redis-py, of asyncio or of the system."""
    names = [cls.__name__ for cls in type(error).__mro__]
    known = next((_REASONS[name] for name in names if name in _REASONS), None)
    if known is not None:
        return RedisFailed(known)
    if "TimeoutError" in names:
        return RedisFailed(f"no answer within {seconds:g} s", is_timeout=True)
    if isinstance(error, OSError):
        return RedisFailed(reason_of(error))
    if "ConnectionError" in names:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, RedisFailed):
            return RedisFailed(cause.reason)
        if isinstance(cause, OSError):
            return RedisFailed(f"the connection failed: {reason_of(cause)}")
        return RedisFailed("the connection was lost")
    if "ResponseError" in names:
        # The text of the server can quote the command.
        codes = [code for code in _CODE.findall(str(error)) if code != "ERR"]
        code = codes[-1] if codes else "ERR"
        return RedisFailed(_REASONS.get(code, f"it answers with the error {code}"), is_outage=code != _FOREIGN)
    return RedisFailed(f"the client of Redis failed with {type(error).__name__}")
