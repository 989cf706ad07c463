"""The operations on Redis: each against a redis-server, and as the double of the tests does them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fleet.redis_double import RedisDouble
from fleet.redis_server import RedisServer, needs_redis, redis, redis_server, shared_redis
from hypothesis import example, given, settings
from hypothesis import strategies as st
from patience import soon, turns
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sts_async.fleet.caches._redis_commands import (
    FENCE_MILLISECONDS,
    MAX_VALUE,
    Message,
    NotTaken,
    RedisCommands,
    RedisFailed,
    Taken,
    _Bound,
)
from sts_async.fleet.caches._redis_shares import RedisShares
from sts_async.testing import VirtualClock

__all__ = ["redis", "shared_redis"]

pytestmark = needs_redis

ONE, OTHER = "1" * 64, "2" * 64
LONG = 1_800_000  # ms, so that nothing ends during a test


@asynccontextmanager
async def commands_at(server: RedisServer, *, bound: float = 60.0, **options: Any) -> AsyncIterator[RedisCommands]:
    async with server.client(**options) as client:
        yield RedisCommands(client, prefix="test", timeout=bound)


@pytest.fixture
async def commands(redis: RedisServer) -> AsyncIterator[RedisCommands]:
    async with commands_at(redis) as made:
        yield made


async def taken(commands: RedisCommands, owner: str, digest: str = ONE) -> Taken:
    found = await commands.take(digest, owner=owner, milliseconds=LONG)
    assert isinstance(found, Taken)
    return found


async def publish(commands: RedisCommands, owner: str, fence: int, value: bytes = b"v", digest: str = ONE) -> bool:
    return await commands.publish(digest, owner=owner, fence=fence, value=value, milliseconds=LONG)


async def test_a_lease_has_one_owner_and_each_a_newer_fence(commands: RedisCommands) -> None:
    first = await taken(commands, "a")
    other = await commands.take(ONE, owner="b", milliseconds=LONG)
    assert isinstance(other, NotTaken)
    assert 0 < other.milliseconds_left <= LONG
    await commands.give_back(ONE, owner="a")

    assert (await taken(commands, "b")).fence > first.fence
    assert (await taken(commands, "c", OTHER)).published == 0


async def test_a_follower_takes_no_lease_after_a_newer_publication(commands: RedisCommands) -> None:
    """The lease is free, and the credentials are there."""
    first = await taken(commands, "a")
    assert await publish(commands, "a", first.fence)
    assert await commands.take(ONE, owner="b", milliseconds=LONG, known=0) == NotTaken(-2, first.fence)

    assert isinstance(await commands.take(ONE, owner="b", milliseconds=LONG, known=first.fence), Taken)


async def test_only_the_owner_renews_and_gives_back(commands: RedisCommands, redis: RedisServer) -> None:
    await taken(commands, "a")
    assert await commands.renew(ONE, owner="a", milliseconds=2 * LONG)
    assert not await commands.renew(ONE, owner="b", milliseconds=LONG)
    await commands.give_back(ONE, owner="b")
    found = await commands.take(ONE, owner="b", milliseconds=LONG)

    assert isinstance(found, NotTaken)
    assert found.milliseconds_left > LONG


async def test_a_published_value_is_read_until_it_ends_and_gives_the_lease_back(
    commands: RedisCommands, redis: RedisServer
) -> None:
    lease = await taken(commands, "a")
    assert await commands.read(ONE) is None
    assert await publish(commands, "a", lease.fence, b"\x00\xff value")
    async with redis.client() as client:
        assert 0 < await client.pttl(commands.key(ONE, "value")) <= LONG
        assert LONG < await client.pttl(commands.key(ONE, "fence")) <= FENCE_MILLISECONDS
        assert not await client.exists(commands.key(ONE, "lease"))

    assert await commands.read(ONE) == b"\x00\xff value"
    assert (await taken(commands, "b")).published == lease.fence


async def test_a_late_owner_cannot_replace_a_newer_value(commands: RedisCommands, redis: RedisServer) -> None:
    """It was suspended, its lease ended, and another process has published."""
    late = await taken(commands, "late")
    async with redis.client() as client:
        await client.delete(commands.key(ONE, "lease"))
    new = await taken(commands, "new")
    assert await publish(commands, "new", new.fence, b"new")
    newest = await taken(commands, "newest")

    assert not await publish(commands, "late", late.fence, b"late")
    assert not await publish(commands, "new", new.fence, b"twice")
    assert await commands.read(ONE) == b"new"
    assert not await commands.renew(ONE, owner="late", milliseconds=LONG)
    assert await publish(commands, "newest", newest.fence, b"newest")


async def test_a_late_owner_publishes_if_nobody_newer_has(commands: RedisCommands, redis: RedisServer) -> None:
    """The newer owner then publishes over it."""
    late = await taken(commands, "late")
    async with redis.client() as client:
        await client.delete(commands.key(ONE, "lease"))
    new = await taken(commands, "new")
    assert await publish(commands, "late", late.fence, b"late")
    assert isinstance(await commands.take(ONE, owner="x", milliseconds=LONG), NotTaken), "the lease is not given back"

    assert await publish(commands, "new", new.fence, b"new")
    assert await commands.read(ONE) == b"new"


async def test_nothing_is_published_if_the_server_has_lost_the_fences(
    commands: RedisCommands, redis: RedisServer
) -> None:
    """Nobody knows whether a newer owner has published. A fence that is taken later is newer than all before."""
    late = await taken(commands, "late")
    async with redis.client() as client:
        await client.flushall()
    assert not await publish(commands, "late", late.fence)
    assert await commands.read(ONE) is None
    new = await taken(commands, "new")
    assert new.fence > late.fence
    assert await publish(commands, "new", new.fence, b"new")

    assert not await publish(commands, "late", late.fence)


async def test_a_lease_is_given_back_although_the_value_is_refused(commands: RedisCommands, redis: RedisServer) -> None:
    lease = await taken(commands, "a")
    async with redis.client() as client:
        await client.delete(commands.key(ONE, "fence"))
    assert not await publish(commands, "a", lease.fence)

    await taken(commands, "b")


async def test_all_that_wait_hear_of_a_lease_that_was_given_back(commands: RedisCommands) -> None:
    messages = commands.messages()
    try:
        assert await soon(anext(messages)) == Message(None)
        first = await taken(commands, "a")
        await publish(commands, "a", first.fence)
        await taken(commands, "b", OTHER)
        await commands.give_back(OTHER, owner="b")
        await commands.give_back(OTHER, owner="b")
        last = await taken(commands, "c")
        await publish(commands, "c", last.fence)

        heard = [await soon(anext(messages)) for _ in range(3)]
    finally:
        await messages.aclose()
    assert heard == [Message(ONE, first.fence), Message(OTHER), Message(ONE, last.fence)]


@pytest.mark.parametrize("text", ["", "x", ONE + " ", ONE + " -1", f"{ONE} {'9' * 17}", "\xff\n"])
async def test_a_message_of_another_program_is_not_heard(
    commands: RedisCommands, redis: RedisServer, text: str
) -> None:
    messages = commands.messages()
    try:
        await soon(anext(messages))
        async with redis.client() as client:
            await client.publish("test:leases", text)
            await client.publish("test:leases", OTHER)

        assert await soon(anext(messages)) == Message(OTHER)
    finally:
        await messages.aclose()


async def test_a_value_that_is_too_long_is_not_read_whole(commands: RedisCommands, redis: RedisServer) -> None:
    async with redis.client() as client:
        await client.set(commands.key(ONE, "value"), b"x" * 5 * MAX_VALUE)
    found = await commands.read(ONE)
    assert found is not None

    assert len(found) == MAX_VALUE + 1


@pytest.mark.parametrize("part", ["value", "lease"])
async def test_data_of_another_program_fails_for_this_key_only(
    commands: RedisCommands, redis: RedisServer, part: str
) -> None:
    async with redis.client() as client:
        await client.sadd(commands.key(ONE, part), "x")
    with pytest.raises(RedisFailed) as failed:
        await commands.read(ONE)
        await commands.renew(ONE, owner="a", milliseconds=LONG)

    assert not failed.value.is_outage
    await commands.probe(ONE)


async def can_publish(commands: RedisCommands) -> bool:
    """Return True if the next owner can publish, and the one after it."""
    first = await publish(commands, "a", (await taken(commands, "a")).fence, b"a")
    second = await publish(commands, "b", (await taken(commands, "b")).fence, b"b")
    return first and second and await commands.read(ONE) == b"b"


@pytest.mark.parametrize("end", [None, 365 * 86_400])
async def test_a_key_that_does_not_end_is_no_lease(
    commands: RedisCommands, redis: RedisServer, end: int | None
) -> None:
    """Otherwise nobody would have the lease, and each fetch would wait for it."""
    async with redis.client() as client:
        await client.set(commands.key(ONE, "lease"), "x", ex=end)
        assert await can_publish(commands)
        await client.sadd(commands.key(ONE, "lease"), "x")
        assert await can_publish(commands)


@pytest.mark.parametrize(
    "fences",
    [
        {"taken": "1e300"},
        {"taken": "nan"},
        {"taken": "inf"},
        {"taken": "x"},
        {"taken": "-5"},
        {"taken": str(2**53)},
        {"taken": "5", "published": "1e15"},
        {"taken": "5", "published": "nan"},
        {"published": "inf"},
        {},
    ],
)
async def test_fences_that_no_lease_has_written_are_forgotten(
    commands: RedisCommands, redis: RedisServer, fences: dict[str, str]
) -> None:
    """Otherwise nobody could publish, and each lease would make them last for a further week."""
    async with redis.client() as client:
        key = commands.key(ONE, "fence")
        await client.hset(key, mapping=fences) if fences else await client.set(key, "x")

    assert await can_publish(commands)


class Answers:
    """A client that gets one answer to everything."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def execute_command(self, *arguments: object, **options: object) -> object:
        return self.answer


@pytest.mark.parametrize("answer", [b"OK", 5, 10**12, None, [], [b"1", b"2", b"3"], [1], [True, 1, 1], "text"])
async def test_answers_of_another_server_are_failures(answer: object) -> None:
    """A cache never raises. A number is not taken for a length."""
    commands = RedisCommands(Answers(answer), prefix="test", timeout=60.0)
    if answer != b"OK":
        with pytest.raises(RedisFailed, match="as no Redis does"):
            await commands.read(ONE)
    for work in (commands.take(ONE, owner="a", milliseconds=LONG), commands.probe(ONE)):
        with pytest.raises(RedisFailed, match="as no Redis does"):
            await work
    with pytest.raises(RedisFailed, match="as no Redis does"):
        await RedisShares(commands, prefix="test").beat("a", workers=1, needs={"x": 1, "y": 1}, used={"x": 0, "y": 0})


async def test_a_client_that_decodes_reads_bytes(redis: RedisServer) -> None:
    """A client of the program may have any options."""
    async with commands_at(redis, decode_responses=True) as commands:
        messages = commands.messages()
        await soon(anext(messages))
        lease = await taken(commands, "a")
        await publish(commands, "a", lease.fence, b"\xff\x00")
        assert await soon(anext(messages)) == Message(ONE, lease.fence)
        await messages.aclose()

        assert await commands.read(ONE) == b"\xff\x00"


async def test_a_server_without_the_scripts_gets_them(commands: RedisCommands, redis: RedisServer) -> None:
    """It was restarted, or a replica has taken over."""
    async with redis.client() as client:
        for _ in range(2):
            lease = await taken(commands, "a")
            await client.script_flush()
            assert await publish(commands, "a", lease.fence)
            await client.script_flush()


async def test_the_number_of_commands_of_a_refresh(commands: RedisCommands, redis: RedisServer) -> None:
    """The holder reads, takes, reads and publishes; a follower reads once."""
    lease = await taken(commands, "warm")
    await publish(commands, "warm", lease.fence)
    async with redis.client() as client:
        await client.config_resetstat()
        await commands.read(ONE)
        lease = await taken(commands, "a")
        await commands.read(ONE)
        await publish(commands, "a", lease.fence)
        sent = {name: counts["calls"] for name, counts in (await client.info("commandstats")).items()}

    assert (sent["cmdstat_getrange"], sent["cmdstat_evalsha"]) == (2, 2)
    assert "cmdstat_eval" not in sent


# -- Failures -----------------------------------------------------------------------------------------------------


async def failure_of(commands: RedisCommands) -> RedisFailed:
    with pytest.raises(RedisFailed) as failed:
        await commands.take(ONE, owner="a", milliseconds=LONG)
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None
    return failed.value


async def test_a_server_that_is_not_there() -> None:
    with redis_server() as server:
        server.daemon.stop()
        async with commands_at(server) as commands:
            assert "Connect call failed" in (await failure_of(commands)).reason


@pytest.mark.parametrize("hanging", [False, True], ids=["before", "after connecting"])
async def test_a_server_that_does_not_answer(hanging: bool) -> None:
    with redis_server() as server:
        async with server.client() as client:
            commands = RedisCommands(client, prefix="test", timeout=0.2)
            if hanging:
                await client.ping()
            begun = asyncio.get_running_loop().time()
            with server.daemon.hanging():
                assert (await failure_of(commands)).reason == "no answer within 0.2 s"
            assert 0.2 <= asyncio.get_running_loop().time() - begun < 1
        async with commands_at(server) as commands:
            await taken(commands, "b")


async def test_a_server_that_refuses_to_write() -> None:
    """Each is an outage for all identities, with the reason in plain words."""
    with redis_server("--requirepass", "SENTINEL-pw") as server:
        async with commands_at(server) as commands:
            assert (await failure_of(commands)).reason == "it refuses the user or the password"
        async with commands_at(server, password="wrong") as commands:
            assert (await failure_of(commands)).reason == "it refuses the user or the password"
        async with server.client(password="SENTINEL-pw") as client:
            commands = RedisCommands(client, prefix="test", timeout=60)
            await client.execute_command("ACL SETUSER reader on nopass ~* &* +getrange +hello +client +ping")
            async with commands_at(server, username="reader", password="x") as reader:
                await reader.read(ONE)
                assert (await failure_of(reader)).reason == "its user lacks a permission"
            await client.config_set("maxmemory", 1)
            full = await failure_of(commands)
            await client.config_set("maxmemory", 0)
            await client.replicaof("127.0.0.1", 1)
            replica = await failure_of(commands)

    assert (full.reason, full.is_outage) == ("its memory is full", True)
    assert (replica.reason, replica.is_outage) == ("it is a replica and read-only", True)


async def test_messages_are_not_needed(redis: RedisServer) -> None:
    """A user without the permission for the channel publishes, and others find out by polling."""
    async with redis.client() as client:
        await client.execute_command("ACL SETUSER silent on nopass ~* resetchannels +@all")
    async with commands_at(redis, username="silent", password="x") as commands:
        lease = await taken(commands, "a")
        assert await publish(commands, "a", lease.fence)
        with pytest.raises(RedisFailed, match="permission"):
            await anext(commands.messages())

        assert await commands.read(ONE) == b"v"


@pytest.mark.parametrize("connects_again", [False, True])
async def test_a_lost_connection_ends_the_messages_or_begins_them_again(
    redis: RedisServer, connects_again: bool
) -> None:
    """A client of the program may connect again by itself. Messages are lost in both cases."""
    retry = Retry(NoBackoff(), int(connects_again))
    async with commands_at(redis, retry=retry) as commands, redis.client() as client:
        messages = commands.messages()
        await soon(anext(messages))
        await client.client_kill_filter(_type="pubsub")
        if connects_again:
            assert await soon(anext(messages)) == Message(None)
            await messages.aclose()
        else:
            with pytest.raises(RedisFailed):
                await soon(anext(messages))


async def test_a_probe_needs_what_a_refresh_needs(redis: RedisServer) -> None:
    async with commands_at(redis) as commands, redis.client() as client:
        await commands.probe(ONE)
        await commands.probe(ONE)
        await client.config_set("maxmemory", 1)
        with pytest.raises(RedisFailed, match="full"):
            await commands.probe(OTHER)
        await client.config_set("maxmemory", 0)
        assert isinstance(await commands.take(ONE, owner="a", milliseconds=LONG), Taken), "it takes no lease"


# -- The bound ----------------------------------------------------------------------------------------------------


async def test_an_answer_that_has_arrived_is_in_time() -> None:
    """The loop was busy for longer than the bound; the answer is read a turn after the bound was found."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[int] = loop.create_future()
    loop.call_later(0.001, answer.set_result, 1)
    async with _Bound(0.001):
        assert await answer == 1
    async with _Bound(0.001):
        pass
    await turns()


async def test_a_caller_that_is_cancelled_is_not_late() -> None:
    async def wait() -> None:
        async with _Bound(60.0):
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(wait())
    await turns(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# -- The double ---------------------------------------------------------------------------------------------------

PARTS = {"end the lease": "lease", "lose the fences": "fence", "end the value": "value"}
OWNERS = st.sampled_from("abc")
DIGESTS = st.sampled_from([ONE, OTHER])
STEPS = st.one_of(
    st.tuples(st.sampled_from(["take", "take if nothing is new", "renew", "give_back", "publish"]), DIGESTS, OWNERS),
    st.tuples(st.sampled_from(["read", *PARTS]), DIGESTS, st.just("")),
    st.tuples(st.just("lose everything"), st.just(ONE), st.just("")),
)


class Side:
    """The commands of one side, and the fences that its owners have, in the order in which they were taken."""

    def __init__(self, commands: Any) -> None:
        self.commands = commands
        self.fences: list[int] = []
        self.held: dict[tuple[str, str], int] = {}
        self.known: dict[str, int] = {}
        self.lost: set[str] = set()  # identities without fences: the next one comes from the clock, in milliseconds

    def place(self, fence: int) -> int:
        """Return which of the fences it is, from 1; 0 for none, and -1 for one that nobody has taken."""
        if fence and fence not in self.fences:
            return -1
        return self.fences.index(fence) + 1 if fence else 0

    async def do(self, what: str, digest: str, owner: str, number: int) -> object:
        commands = self.commands
        if what.startswith("take"):
            known = None if what == "take" else self.known.get(digest, 0)
            found = await commands.take(digest, owner=owner, milliseconds=LONG, known=known)
            self.known[digest] = found.published
            if isinstance(found, NotTaken):
                return "held", found.milliseconds_left > 0, self.place(found.published)
            before = max((fence for key, fence in self.held.items() if key[0] == digest), default=0)
            assert found.fence >= before + (digest not in self.lost)
            self.lost.discard(digest)
            self.fences.append(found.fence)
            self.held[digest, owner] = found.fence
            return "taken", self.place(found.published)
        if what == "renew":
            return await commands.renew(digest, owner=owner, milliseconds=LONG)
        if what == "publish":
            fence = self.held.get((digest, owner), 1)
            value = b"%d" % number
            return await commands.publish(digest, owner=owner, fence=fence, value=value, milliseconds=LONG)
        if what == "give_back":
            return await commands.give_back(digest, owner=owner)
        return await commands.read(digest)


@settings(max_examples=40)
@given(steps=st.lists(STEPS, max_size=25))
@example(steps=[("take", ONE, "a"), ("publish", ONE, "b"), ("take", ONE, "a")])
@example(steps=[("take", ONE, "a"), ("end the lease", ONE, ""), ("lose the fences", ONE, ""), ("take", ONE, "a")])
def test_the_double_does_what_the_scripts_do(shared_redis: RedisServer, steps: list[tuple[str, str, str]]) -> None:
    """So that simulations with the double mean something. Leases end by being deleted, whatever the speed."""

    async def compare() -> None:
        double = RedisDouble(VirtualClock(1e9))
        async with shared_redis.client() as client:
            await client.flushall()
            real = Side(RedisCommands(client, prefix="test", timeout=60))
            made = Side(double.commands())
            for number, (what, digest, owner) in enumerate(steps):
                if what == "lose everything":
                    await client.flushall()
                    double.flush()
                    real.held.clear()
                    made.held.clear()
                elif part := PARTS.get(what):
                    await client.delete(real.commands.key(digest, part))
                    double.delete(digest, part)
                    if part == "fence":
                        real.lost.add(digest)
                        made.lost.add(digest)
                else:
                    assert await real.do(what, digest, owner, number) == await made.do(what, digest, owner, number)
            for digest in (ONE, OTHER):
                assert await real.commands.read(digest) == await made.commands.read(digest)

    asyncio.run(compare())


async def test_leases_and_values_of_the_double_end_with_its_clock() -> None:
    clock = VirtualClock(1e9)
    double = RedisDouble(clock)
    commands = double.commands()
    first = await commands.take(ONE, owner="a", milliseconds=1000)
    clock.advance(0.9)
    assert await commands.take(ONE, owner="b", milliseconds=1000) == NotTaken(100, 0)
    assert await commands.renew(ONE, owner="a", milliseconds=1000)
    clock.advance(0.9)
    assert await commands.renew(ONE, owner="a", milliseconds=1000)
    clock.advance(1.0)
    second = await commands.take(ONE, owner="b", milliseconds=1000)
    assert second.fence > first.fence
    assert await commands.publish(ONE, owner="b", fence=second.fence, value=b"v", milliseconds=5000)
    clock.advance(4.9)
    assert await commands.read(ONE) == b"v"
    clock.advance(0.2)

    assert await commands.read(ONE) is None
    assert double.operations == 8
