"""The scripts of the workers that share limits, on a real Redis."""

from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import pytest
from fleet.caches.shares_double import SharesDouble
from fleet.redis_server import RedisServer, needs_redis, redis, shared_redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sts_async.fleet.caches._redis_commands import RedisCommands, RedisFailed
from sts_async.fleet.caches._redis_scripts import Script
from sts_async.fleet.caches._redis_shares import BEAT, RedisShares, digest_of
from sts_async.fleet.caches._shares import MAX_NEED, WHOLE

__all__ = ["redis", "shared_redis"]

pytestmark = needs_redis

KEYS = ("p:{workers}:members", "p:{workers}:shares")
ACCOUNT = "123456789012/eu-west-1"
TIME = "redis.call('TIME')"

T = TypeVar("T")

amounts = st.sampled_from([0, 1, WHOLE // 3, WHOLE, MAX_NEED]) | st.integers(0, 2 * WHOLE)
beats = st.tuples(
    st.just("beat"),
    st.sampled_from("abcde"),
    st.integers(1, 300),
    st.dictionaries(st.sampled_from("xyz"), st.tuples(amounts, st.integers(0, WHOLE)), max_size=3),
)
steps = (
    beats
    | beats
    | st.tuples(st.just("pass"), st.sampled_from([1, 500, 1000, 2500, 5000, 20_000]))
    | st.tuples(st.just("leave"), st.sampled_from("abcde"))
    | st.tuples(st.just("lose"), st.sampled_from([(0,), (1,), (0, 1)]))
    | st.tuples(st.just("back"), st.sampled_from([1, 3_600_000]))
)


class OwnTime:
    """Runs the scripts with a time of the test in place of that of the server."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.now = 0

    async def call(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        text = script.text.replace(TIME, f"{{{self.now // 1000}, {self.now % 1000 * 1000}}}")
        assert (script is BEAT) == (text != script.text)
        return self.server.eval(text, len(keys), *keys, *arguments)


def at_once(work: Awaitable[T]) -> T:
    """Return the result of a coroutine that never waits."""
    try:
        work.__await__().send(None)  # type: ignore[attr-defined]
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, min_size=1, max_size=20))
def test_the_scripts_do_what_the_double_does(shared_redis: RedisServer, course: list[Any]) -> None:
    """The double looks at all workers each time, so sums that drift, or a worker that stays in them, differ."""
    from redis import Redis

    with Redis(host="127.0.0.1", port=shared_redis.port) as server:
        server.flushall()
        time, double = OwnTime(server), SharesDouble()
        members = RedisShares(time, prefix="p")  # type: ignore[arg-type]
        for step in course:
            time.now = double.now
            match step:
                case "beat", worker, workers, told:
                    needs = {scope: need for scope, (need, _) in told.items()}
                    used = {scope: part for scope, (_, part) in told.items()}
                    answer = at_once(members.beat(worker, workers=workers, needs=needs, used=used))
                    assert answer == double.beat(worker, workers=workers, needs=needs, used=used)
                    assert sums(server) == sums_of(double)
                case "pass", milliseconds:
                    double.now += milliseconds
                case "back", milliseconds:
                    double.now -= milliseconds
                case "leave", worker:
                    at_once(members.leave(worker))
                    double.leave(worker)
                case "lose", lost:
                    server.delete(*(KEYS[number] for number in lost))
                    if 1 in lost or double.members:  # without the members, the other key is of no use
                        double.forget()


def sums(server: Any) -> dict[str, int]:
    """Return all sums of the server."""
    return {
        name.decode(): int(value)
        for name, value in server.hgetall(KEYS[1]).items()
        if not name.startswith((b"worker:", b"last", b"begun"))
    }


def sums_of(double: SharesDouble) -> dict[str, int]:
    """Return the sums that the server should have."""
    found = {"count": len(double.members)}
    for known in double.members.values():
        for scope, (need, part) in known.scopes.items():
            for name, amount in (("workers", 1), ("need", need), ("part", part)):
                field = f"{name}:{digest_of(scope)}"
                found[field] = found.get(field, 0) + amount
    return found


async def test_scopes_and_workers_leave_nothing_readable_and_nothing_forever(redis: RedisServer) -> None:
    """Ids of accounts are not in Redis. Without beats, all keys expire."""
    async with redis.client() as client:
        members = RedisShares(RedisCommands(client, prefix="p", timeout=5.0), prefix="p")
        for worker in ("a", "b"):
            await members.beat(worker, workers=1, needs={ACCOUNT: WHOLE}, used={ACCOUNT: 0})
        keys = sorted(await client.keys())
        contents = b"".join(b"".join(pair) for pair in (await client.hgetall(KEYS[1])).items())
        ends = [await client.pttl(key) for key in keys]

    assert [key.decode() for key in keys] == sorted(KEYS)
    assert b"123456789012" not in contents
    assert digest_of(ACCOUNT).encode() in contents
    assert all(0 < end <= 10_000 for end in ends)


async def test_nobody_who_can_write_to_redis_gives_a_worker_more_than_the_limit(redis: RedisServer) -> None:
    """The answer is refused, and the worker goes on as without one."""
    async with redis.client() as client:
        members = RedisShares(RedisCommands(client, prefix="p", timeout=5.0), prefix="p")
        told: dict[str, Any] = {"workers": 1, "needs": {"x": WHOLE}, "used": {"x": 0}}
        await members.beat("a", **told)
        scope = digest_of("x")
        await client.hset(KEYS[1], mapping={f"need:{scope}": "1", f"part:{scope}": f"{-5 * WHOLE}", "begun": "1"})
        with pytest.raises(RedisFailed, match="not those of this library") as caught:
            await members.beat("a", **told)

    assert not caught.value.is_outage  # the cache stays in use


@pytest.mark.parametrize(
    "written",
    [
        {"last": "x"},
        {"begun": "x"},
        {"count": "x"},
        {f"need:{digest_of('x')}": "x"},
        {f"part:{digest_of('x')}": str(2**63 - 1)},
        {f"workers:{digest_of('x')}": "1e9"},
        {"worker:a": f"{digest_of('x')} {'9' * 40} 1"},
        {},
    ],
)
async def test_what_another_program_wrote_is_forgotten(redis: RedisServer, written: dict[str, str]) -> None:
    """A script that fails would be an outage: one field would take the cache out of use in all processes."""
    async with redis.client() as client:
        members = RedisShares(RedisCommands(client, prefix="p", timeout=60.0), prefix="p")
        told: dict[str, Any] = {"workers": 1, "needs": {"x": WHOLE}, "used": {"x": 0}}
        for key in KEYS:
            for meets in (members.beat("a", **told), members.leave("a")):
                await members.beat("a", **told)
                await (client.hset(KEYS[1], mapping=written) if written else client.set(key, "x"))
                await meets
            assert (await members.beat("a", **told)).workers == 1
            await client.delete(*KEYS)


async def test_many_workers_that_died_are_forgotten_by_the_beats_of_one(redis: RedisServer) -> None:
    """A beat removes a hundred at most, so that no script takes long."""
    async with redis.client() as client:
        members = RedisShares(RedisCommands(client, prefix="p", timeout=5.0), prefix="p")
        for number in range(150):
            await members.beat(f"dead {number}", workers=1, needs={"x": 1}, used={"x": 1})
        await client.zadd(KEYS[0], {f"dead {number}": 1 for number in range(150)})  # their time has come
        counts = [(await members.beat("live", workers=1, needs={}, used={})).workers for _ in range(3)]
        left = await client.hgetall(KEYS[1])

    assert counts == [51, 1, 1]
    assert sorted(left) == [b"begun", b"count", b"last", b"worker:live"]
    assert left[b"count"] == b"1"
