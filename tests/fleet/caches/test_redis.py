"""RedisCache: what is in Redis, what is refused, and what a process does without Redis."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import attrs
import pytest
from fleet.caches.cases import KEY, files_in, issued, key_of, warnings_in
from fleet.redis_server import RedisServer, needs_redis, redis, redis_server, shared_redis
from patience import soon, turns, until

from sts_async import CacheStateChanged, CredentialsFleet, EncryptionKeys, RedisCache
from sts_async.errors import ConfigurationError
from sts_async.fleet import CacheKey
from sts_async.fleet.caches import _availability
from sts_async.fleet.caches import redis as module
from sts_async.fleet.caches._encrypted_entries import MAX_VALUE_BYTES, EncryptedEntries
from sts_async.fleet.caches._redis_commands import MAX_VALUE, RedisFailed
from sts_async.testing import LocalSTS

__all__ = ["redis", "shared_redis"]

KEYS = EncryptionKeys({"k1": b"1" * 32})
RedisCache("redis://host", keys=KEYS)  # imports the libraries before an event loop is watched
PASSWORD = "SENTINEL-password"


@attrs.define(eq=False)
class User:
    """A fleet, as its cache sees it."""

    events: list[Any] = attrs.field(factory=list)
    requests_per_second: float = 200.0

    def demand(self) -> dict[str, float]:
        return {}

    def set_shares(self, shares: Any, *, others: float) -> None:
        return

    def notify(self, event: Any) -> None:
        self.events.append(event)


def now() -> datetime:
    return datetime.now(UTC)


def cache_of(server: RedisServer, *, keys: EncryptionKeys = KEYS, **options: Any) -> RedisCache:
    """Return a cache that waits for a slow machine."""
    return RedisCache(server.url, keys=keys, **{"timeout": 60.0, **options})


@pytest.fixture
async def caches(redis: RedisServer) -> AsyncIterator[list[RedisCache]]:
    """Return two caches, as of two processes."""
    users, found = [User(), User()], [cache_of(redis), cache_of(redis)]
    for cache, user in zip(found, users, strict=True):
        await cache.join(user)
    yield found
    for cache, user in zip(found, users, strict=True):
        await cache.leave(user)


async def put(cache: RedisCache, key: CacheKey = KEY, **options: Any) -> None:
    async with cache.lease(key) as has_lease:
        assert has_lease
        await cache.store(key, issued(**{"at": now(), **options}))


# -- Sharing ------------------------------------------------------------------------------------------------------


@needs_redis
async def test_what_one_process_stores_another_one_loads(caches: list[RedisCache]) -> None:
    one, other = caches
    stored = issued(at=now())
    assert await one.load(KEY) is None
    async with one.lease(KEY) as has_lease:
        assert has_lease
        await one.store(KEY, stored)

    assert await other.load(KEY) == stored
    assert await one.load(KEY) == stored
    assert await other.load(key_of("another")) is None
    assert (one.refused, other.refused, one.available) == ({}, {}, True)


@needs_redis
async def test_redis_has_digests_and_encrypted_values_that_end_with_their_credentials(
    caches: list[RedisCache], redis: RedisServer
) -> None:
    """T41: whoever reads Redis learns neither credentials, nor roles, nor sessions, nor who signs."""
    async with redis.client() as client:
        async with client.monitor() as monitor:
            await put(caches[0], seconds=900)
            await caches[1].load(KEY)
            seen = []
            while not any("GETRANGE" in line for line in seen[2:]):
                seen.append((await soon(monitor.next_command()))["command"])
        names = sorted(name.decode() for name in await client.keys("*") if b"{workers}" not in name)
        value = await client.get(f"sts-async:{{{KEY.digest}}}:value")
        assert 0 < await client.pttl(f"sts-async:{{{KEY.digest}}}:value") <= 900_000

    assert names == [f"sts-async:{{{KEY.digest}}}:{part}" for part in ("fence", "value")]
    for secret in ("SENTINEL", "ASIA", "AKIA", "arn:", "AssumeRole", "sts.eu-west-1"):
        assert secret.encode() not in value
        assert secret not in "\n".join([*names, *seen])


@needs_redis
async def test_a_caller_without_a_lease_stores_nothing(caches: list[RedisCache]) -> None:
    """A fence that is taken after the fetch would make old credentials the newest ones."""
    one, other = caches
    await one.store(KEY, issued(at=now()))
    async with other.lease(KEY):
        await one.store(KEY, issued(at=now()))

    assert await other.load(KEY) is None


@needs_redis
@pytest.mark.parametrize(
    "changed", [{"session_token": None}, {"expiration": None}, {"expiration": datetime(2020, 1, 1, tzinfo=UTC)}]
)
async def test_only_temporary_credentials_that_have_not_ended_are_stored(
    caches: list[RedisCache], changed: dict[str, Any]
) -> None:
    from sts_async import Credentials

    stored = issued(at=now())
    members: dict[str, Any] = {name: getattr(stored.credentials, name) for name in ("access_key_id", "expiration")}
    members |= {"secret_access_key": "SENTINEL", "session_token": "SENTINEL", **changed}
    async with caches[0].lease(KEY) as has_lease:
        assert has_lease
        await caches[0].store(KEY, attrs.evolve(stored, credentials=Credentials(**members)))

    assert await caches[1].load(KEY) is None


@needs_redis
async def test_a_late_store_is_refused_and_counted(caches: list[RedisCache], redis: RedisServer) -> None:
    """The process was suspended for longer than its lease."""
    late, new = caches
    async with late.lease(KEY):
        async with redis.client() as client:
            await client.delete(f"sts-async:{{{KEY.digest}}}:lease")
        await put(new, token="SENTINEL-new")
        await late.store(KEY, issued(at=now(), token="SENTINEL-late"))
    found = await late.load(KEY)
    assert found is not None

    assert str.__str__(found.credentials.session_token or "") == "SENTINEL-new"
    assert late.refused == {"late": 1}


@needs_redis
async def test_one_process_fetches_and_the_others_follow(caches: list[RedisCache]) -> None:
    fetched = []

    async def get(cache: RedisCache, number: int) -> None:
        if await cache.load(KEY) is None:
            async with cache.lease(KEY):
                if await cache.load(KEY) is None:
                    fetched.append(number)
                    await turns(5)
                    await cache.store(KEY, issued(at=now()))

    await soon(asyncio.gather(*(get(cache, number) for number in range(4) for cache in caches)))

    assert len(fetched) == 1


@needs_redis
async def test_values_of_all_keys_are_read_and_those_of_the_first_written(redis: RedisServer) -> None:
    """So keys are replaced without an interruption."""
    old, new = KEYS, EncryptionKeys({"k2": b"2" * 32, "k1": b"1" * 32})
    before, after = cache_of(redis), cache_of(redis, keys=new)
    await put(before)
    assert await after.load(KEY) is not None
    await put(after)
    assert await after.load(KEY) is not None

    assert await before.load(KEY) is None
    assert before.refused == {"key id": 1}
    assert old.ids == ("k1",)


# -- Values that are refused --------------------------------------------------------------------------------------

MEANT = CacheKey(request=KEY.request, source="AKIAOTHER", endpoint=KEY.endpoint)


def encrypted(key: CacheKey = KEY, *, keys: EncryptionKeys = KEYS, **options: Any) -> bytes:
    return EncryptedEntries(keys).encrypt(key, issued(**{"at": now(), **options}))


BAD: dict[str, tuple[Any, str]] = {
    "wrong key": (lambda: encrypted(keys=EncryptionKeys({"k1": b"x" * 32})), "authentication"),
    "unknown key id": (lambda: encrypted(keys=EncryptionKeys({"k9": b"1" * 32})), "key id"),
    "truncated": (lambda: encrypted()[:-1], "authentication"),
    "cut off": (lambda: encrypted()[:20], "invalid"),
    "swapped": (lambda: encrypted(MEANT), "authentication"),
    "oversized": (lambda: b"\x01" * (MAX_VALUE_BYTES + 1), "oversized"),
    "huge": (lambda: b"\x01" * 2_000_000, "oversized"),
    "foreign": (lambda: b'{"AccessKeyId": "ASIASENTINEL", "SecretAccessKey": "SENTINEL"}' * 2, "version"),
}


@needs_redis
@pytest.mark.parametrize(("value", "kind"), BAD.values(), ids=BAD)
async def test_a_value_that_is_not_ours_is_refused_counted_and_served_around(
    caches: list[RedisCache], redis: RedisServer, caplog: pytest.LogCaptureFixture, value: Any, kind: str
) -> None:
    """T40, T42: it is replaced by the next store."""
    cache = caches[0]
    async with redis.client() as client:
        await client.set(f"sts-async:{{{KEY.digest}}}:value", value())
    for _ in range(3):
        assert await cache.load(KEY) is None
    assert cache.refused == {kind: 3}
    assert len(warnings_in(caplog)) == 1
    await put(cache)

    assert await cache.load(KEY) is not None
    assert MAX_VALUE > MAX_VALUE_BYTES


@needs_redis
async def test_data_of_another_type_is_no_outage(caches: list[RedisCache], redis: RedisServer) -> None:
    async with redis.client() as client:
        await client.sadd(f"sts-async:{{{KEY.digest}}}:value", "x")
    assert await caches[0].load(KEY) is None
    assert (caches[0].refused, caches[0].available) == ({"invalid": 1}, True)
    await put(caches[0])

    assert await caches[0].load(KEY) is not None


@needs_redis
async def test_data_of_another_type_does_not_prolong_an_outage(redis: RedisServer) -> None:
    """The probe is about the identity whose operation failed last, and this one would fail for ever."""
    cache, user = cache_of(redis), User()
    await cache.join(user)
    async with redis.client() as client:
        for part in ("value", "lease", "fence", "probe"):
            await client.sadd(f"sts-async:{{{KEY.digest}}}:{part}", "x")
    [part_of_loop] = cache._parts.values()
    part_of_loop.access._digest = KEY.digest
    part_of_loop.access._failed(RedisFailed("it is away"), 0.0)
    assert not cache.available
    await until(lambda: cache.available)
    await cache.leave(user)


@needs_redis
async def test_a_fleet_that_is_cancelled_when_it_joins_leaves_nothing(redis: RedisServer) -> None:
    """Nor does one that cannot start. A fleet that was not entered is not closed by its program."""
    cache = cache_of(redis)
    async with LocalSTS() as sts, sts.client() as client, redis.client() as server:
        for count in range(12):
            fleet = CredentialsFleet(client, cache=cache)
            entering = asyncio.create_task(fleet.__aenter__())
            await turns(count)
            entering.cancel()
            await asyncio.gather(entering, return_exceptions=True)
            if entering.cancelled():
                assert cache._parts == {}
            await fleet.aclose()
        await server.execute_command("CLIENT", "PAUSE", "100")
        entering = asyncio.create_task(CredentialsFleet(client, cache=cache).__aenter__())
        await until(lambda: cache._parts != {})
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        assert cache._parts == {}
        refused = CredentialsFleet(client, cache=cache)
        refused.add = Mock(side_effect=ConfigurationError("x"))  # type: ignore[method-assign]
        with pytest.raises(ConfigurationError):
            await refused.__aenter__()

        assert cache._parts == {}
        assert await server.zcard("sts-async:{workers}:members") == 0


@needs_redis
async def test_an_older_value_is_refused_by_who_has_seen_a_newer_one(
    caches: list[RedisCache], redis: RedisServer
) -> None:
    """Whoever can write to Redis could otherwise have a revoked session used again."""
    one, other = caches
    old, new = encrypted(seconds=1800), encrypted(seconds=3600)
    async with redis.client() as client:
        for value in (new, old, new):
            await client.set(f"sts-async:{{{KEY.digest}}}:value", value)
            assert (await one.load(KEY) is None) == (value is old)
        await client.set(f"sts-async:{{{KEY.digest}}}:value", old)
        assert await other.load(KEY) is not None, "it has seen no newer one"
        await client.set(f"sts-async:{{{KEY.digest}}}:value", encrypted(seconds=3550))
        assert await one.load(KEY) is not None, "workers that fetch at once get ends that differ a little"

    assert one.refused == {"replayed": 1}


def test_the_memory_of_newest_ends_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    ends = module._NewestEnds()
    end = now()
    for number in range(5):
        assert ends.see(str(number), end)
    assert ends.see("0", end - timedelta(hours=1)), "it was forgotten"

    assert not ends.see("4", end - timedelta(hours=1))
    assert len(ends._ends) == 3


@needs_redis
async def test_credentials_that_have_ended_are_not_loaded(caches: list[RedisCache], redis: RedisServer) -> None:
    async with redis.client() as client:
        value = encrypted(at=now() - timedelta(hours=2), seconds=3600)
        await client.set(f"sts-async:{{{KEY.digest}}}:value", value)

    assert await caches[0].load(KEY) is None
    assert caches[0].refused == {}


# -- Outages ------------------------------------------------------------------------------------------------------


@needs_redis
async def test_an_outage_is_one_event_and_one_line_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F47, F48: calls go on without Redis, and it is used again although no call is made."""
    monkeypatch.setattr(_availability, "FIRST_PAUSE", 0.1)
    user = User()
    caplog.set_level(logging.INFO, logger="sts_async")
    with redis_server() as server:
        cache = cache_of(server)
        await cache.join(user)
        await put(cache)
        server.daemon.stop()
        for _ in range(5):
            assert await asyncio.gather(*(cache.load(key_of(str(number))) for number in range(10))) == [None] * 10
            async with cache.lease(KEY) as has_lease:
                assert not has_lease
                await cache.store(KEY, issued(at=now()))
        assert not cache.available
        server.daemon.start()
        await until(lambda: cache.available)
        await put(cache)
        await cache.leave(user)

    lines = [record for record in caplog.records if record.name == "sts_async"]
    assert [record.levelno for record in lines] == [logging.WARNING, logging.INFO]
    assert [(event.available, event.reason is None) for event in user.events] == [(False, False), (True, True)]
    for event in user.events:
        assert isinstance(event, CacheStateChanged)
        assert event.cache == f"RedisCache('redis://127.0.0.1:{server.port}/0')"
        assert event.seconds > 0


@needs_redis
async def test_a_redis_that_hangs_costs_three_waits_of_the_bound() -> None:
    with redis_server() as server:
        cache = cache_of(server, timeout=0.25)
        loop = asyncio.get_running_loop()
        with server.daemon.hanging():
            begun = loop.time()
            for _ in range(8):
                await asyncio.gather(*(cache.load(key_of(str(number))) for number in range(50)))
                async with cache.lease(KEY) as has_lease:
                    assert not has_lease
            assert loop.time() - begun < 1.2
            assert not cache.available


@needs_redis
async def test_a_restart_without_data_is_a_cache_without_entries(redis: RedisServer, caches: list[RedisCache]) -> None:
    one, other = caches
    await put(one)
    async with one.lease(KEY):
        async with redis.client() as client:
            await client.flushall()
        await one.store(KEY, issued(at=now()))
    assert one.refused == {"late": 1}
    await put(other)

    assert await one.load(KEY) is not None


# -- Arguments ----------------------------------------------------------------------------------------------------


def refusal_of(*arguments: Any, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        RedisCache(*arguments, **{"keys": KEYS, **options})
    return str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host", "redis://host:6379/0"),
        ("redis://host:7000/3", "redis://host:7000/3"),
        ("redis://host?db=2", "redis://host:6379/2"),
        (f"rediss://user:{PASSWORD}@host", "rediss://host:6379/0"),
        (f"redis://:{PASSWORD}@[::1]:1", "redis://[::1]:1/0"),
        (f"redis://user:{PASSWORD}%40%3A%2F@host/", "redis://host:6379/0"),
        (f"unix://user:{PASSWORD}@/run/redis%20x.sock?db=1", "unix:///run/redis x.sock"),
        ("rediss://host?ssl_ca_certs=/x&ssl_certfile=/y&ssl_keyfile=/z", "rediss://host:6379/0"),
    ],
)
def test_a_url_is_shown_without_user_and_password(url: str, shown: str) -> None:
    """T14, T26."""
    assert repr(RedisCache(url, keys=KEYS)) == f"RedisCache({shown!r})"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://host", "have the form"),
        ("redis:", "have the form"),
        ("redis://", "have the form"),
        (f"redis://{PASSWORD}/x@host", "as the database"),
        (f"redis://user:{PASSWORD}#@host", "encode special characters"),
        (f"redis://user:{PASSWORD}@a@host", "encode special characters"),
        (f"redis://user:{PASSWORD} @host", "printable"),
        ("redis://host:0", "port"),
        ("redis://host:65536", "port"),
        (f"redis://host/{PASSWORD}", "number as the database"),
        ("redis://host/-1", "number as the database"),
        (f"redis://host?password={PASSWORD}", "no other options"),
        ("redis://host?ssl_ca_certs=/x", "no other options"),
        ("rediss://host?ssl_cert_reqs=none", "no other options"),
        ("unix://host/path", "have the form"),
        ("unix:///", "have the form"),
        ("unix://", "have the form"),
    ],
)
def test_a_url_that_is_invalid_is_refused_without_being_shown(url: str, reason: str) -> None:
    """T15."""
    message = refusal_of(url)
    assert message.startswith("the URL of RedisCache must ")

    assert reason in message
    assert PASSWORD not in message


def test_other_arguments_are_checked() -> None:
    assert "URL, or a client" in refusal_of(None)
    assert "URL, or a client" in refusal_of({"password": PASSWORD})
    assert "timeout of RedisCache" in refusal_of("redis://host", timeout=0)
    assert "lease_seconds of RedisCache must be from 1 to 3600" in refusal_of("redis://host", lease_seconds=0.5)
    assert "expected_workers of RedisCache" in refusal_of("redis://host", expected_workers=0)
    for prefix in ("", "a{b}", "a b", "x" * 65, 5):
        assert "prefix of RedisCache" in refusal_of("redis://host", prefix=prefix)
    assert "EncryptionKeys, not a str" in refusal_of("redis://host", keys=PASSWORD)


def test_a_synchronous_client_is_refused() -> None:
    from redis import Redis

    assert "not a redis.client.Redis" in refusal_of(Redis())


def test_a_cache_needs_keys() -> None:
    """T41: other programs can read what is in Redis."""
    with pytest.raises(ConfigurationError, match="sts-async cache-key"):
        RedisCache("redis://host")


def test_the_advice_about_missing_keys_helps(tmp_path: Any) -> None:
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    path.write_text(EncryptionKeys.generate("k"))

    assert isinstance(RedisCache("redis://host", keys=EncryptionKeys.from_file(path)), RedisCache)
    assert files_in(tmp_path) == ["keys"]


def test_a_cache_cannot_be_pickled() -> None:
    """T18."""
    import pickle

    with pytest.raises(TypeError, match="its URL and the file"):
        pickle.dumps(RedisCache("redis://host", keys=KEYS))
