"""RedisCache and its connections: TLS, users, clients of a program, failovers, event loops, forks, and bad networks."""

import asyncio
import contextlib
import gc
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from faults.leaks import Leaks
from faults.servers import Ports
from fleet.caches.cases import KEY, issued, key_of, warnings_in
from fleet.caches.test_redis import KEYS, User, cache_of, now, put
from fleet.redis_server import Proxy, RedisServer, needs_redis, redis, redis_server, shared_redis
from patience import PATIENCE, in_a_thread, soon, turns, until
from redis.exceptions import ConnectionError as ConnectionLost

from sts_async import RedisCache
from sts_async.fleet.caches import _availability, _redis_leases
from sts_async.fleet.caches._availability import MAX_TIMEOUTS

__all__ = ["redis", "shared_redis"]

pytestmark = needs_redis
PASSWORD = "SENTINEL-p@:/ss"
ENCODED = "SENTINEL-p%40%3A%2Fss"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe after 50 ms, and not after a second."""
    monkeypatch.setattr(_availability, "FIRST_PAUSE", 0.05)


@asynccontextmanager
async def opened(redis: Any, **options: Any) -> AsyncIterator[RedisCache]:
    """Open a cache of one fleet."""
    cache, user = RedisCache(redis, keys=KEYS, **{"timeout": 60.0, **options}), User()
    await cache.join(user)
    try:
        yield cache
    finally:
        await cache.leave(user)


async def reason_of(cache: RedisCache) -> str:
    """Return why Redis is not available."""
    await cache.load(KEY)
    async with cache.lease(KEY):
        pass
    [part] = cache._parts.values()
    return part.access.reason or ""


# -- TLS and users ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for name, host in (("server", "127.0.0.1"), ("elsewhere", "redis.example"), ("client", "client.example")):
        issued_here = authority.issue_cert(host)
        issued_here.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
        issued_here.private_key_pem.write_to_path(directory / f"{name}.key")
    trustme.CA().cert_pem.write_to_path(directory / "other.pem")
    return directory


@contextmanager
def tls_server(certificates: Path, name: str = "server", clients: str = "no") -> Iterator[RedisServer]:
    files = {"cert": f"{name}.pem", "key": f"{name}.key", "ca-cert": "ca.pem"}
    options = [part for kind, file in files.items() for part in (f"--tls-{kind}-file", str(certificates / file))]
    with redis_server("--port", "0", "--tls-port", "{port}", *options, "--tls-auth-clients", clients) as server:
        yield server


async def test_tls_verifies_the_server(certificates: Path) -> None:
    """T24: its certificate and its name."""
    with tls_server(certificates) as server:
        url = f"rediss://127.0.0.1:{server.port}/0?ssl_ca_certs={certificates}"
        async with opened(f"{url}/ca.pem") as cache:
            await put(cache)
            assert await cache.load(KEY) is not None
        async with opened(f"{url}/other.pem") as cache:
            assert "CERTIFICATE_VERIFY_FAILED" in await reason_of(cache)
        async with opened(f"{url}/missing.pem") as cache:
            assert await reason_of(cache) == "its TLS files cannot be used: No such file or directory"
    with tls_server(certificates, "elsewhere") as server:
        async with opened(f"rediss://127.0.0.1:{server.port}/0?ssl_ca_certs={certificates}/ca.pem") as cache:
            assert "CERTIFICATE_VERIFY_FAILED" in await reason_of(cache)


async def test_tls_with_a_certificate_of_the_client(certificates: Path) -> None:
    with tls_server(certificates, clients="yes") as server:
        url = f"rediss://127.0.0.1:{server.port}/0?ssl_ca_certs={certificates}/ca.pem"
        own = f"&ssl_certfile={certificates}/client.pem&ssl_keyfile={certificates}/client.key"
        async with opened(url + own) as cache:
            await put(cache)
        async with opened(url) as cache:
            assert await reason_of(cache) != ""


async def test_a_user_and_a_password(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """T17: neither is in a log line, also after a failure."""
    async with redis.client() as client:
        await client.execute_command("ACL", "SETUSER", "app", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    place = f"127.0.0.1:{redis.port}/0"
    async with opened(f"redis://app:{ENCODED}@{place}") as cache:
        await put(cache)
        assert await cache.load(KEY) is not None
    for wrong in (f"app:SENTINEL@{place}", f"nobody:{ENCODED}@{place}"):
        async with opened(f"redis://{wrong}") as cache:
            assert await reason_of(cache) == "it refuses the user or the password"

    assert "SENTINEL" not in caplog.text
    assert len(warnings_in(caplog)) == 2


async def test_a_socket_and_a_database(tmp_path: Path) -> None:
    with redis_server("--unixsocket", "{directory}/socket") as server:
        async with opened(f"unix://{server.daemon.directory}/socket?db=3") as cache, server.client(db=3) as client:
            await client.ping()  # a server that answers has opened its socket, too
            await put(cache)
            assert len(await client.keys("*:value")) == 1


# -- Clients of the program ---------------------------------------------------------------------------------------


async def test_a_client_of_the_program_has_any_option(redis: RedisServer) -> None:
    """It stays open."""
    async with redis.client(decode_responses=True, client_name="mine", protocol=3, max_connections=7) as client:
        async with opened(client) as cache, opened(redis.url) as other:
            await put(cache)
            assert await other.load(KEY) is not None
            assert await cache.load(KEY) is not None
            assert repr(cache) == "RedisCache(Redis)"

        assert await client.ping()


async def test_a_client_of_the_program_serves_one_event_loop_and_a_url_serves_all(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with redis.client() as client, opened(client) as cache, opened(redis.url) as by_url:
        await put(cache)
        for used in (cache, by_url, cache):
            found = in_a_thread(asyncio.run, used.load(KEY))
            assert (found is not None) == (used is by_url)
        assert await cache.load(KEY) is not None

    [warning] = warnings_in(caplog)
    assert "pass a URL instead" in warning


@pytest.mark.slow
async def test_a_client_of_sentinel(tmp_path: Path) -> None:
    """Sentinel names the new master after a failover; meanwhile each process fetches alone."""
    from redis.asyncio.sentinel import Sentinel

    with redis_server() as one, redis_server("--replicaof", f"127.0.0.1 {one.port}") as two, Ports("sentinel") as ports:
        rules = f"monitor cache 127.0.0.1 {one.port} 1", "down-after-milliseconds cache 300"
        (tmp_path / "sentinel.conf").write_text(
            "\n".join(["bind 127.0.0.1", *(f"sentinel {rule}" for rule in rules), ""])
        )
        with sentinel_at(ports["sentinel"], tmp_path / "sentinel.conf") as port:
            sentinel = Sentinel([("127.0.0.1", port)])
            async with sentinel.master_for("cache", driver_info=None) as client, opened(client) as cache:
                await put(cache)
                async with sentinel.sentinels[0] as told, two.client() as other:
                    await until_async(lambda: is_replica_of(other, told))
                    one.daemon.stop()
                    await cache.load(KEY)
                    assert not cache.available
                    await until_async(lambda: is_master(other))
                    await until(lambda: cache.available)
                    await put(cache, key_of("after"))

                    assert await cache.load(KEY) is not None


@contextmanager
def sentinel_at(port: int, conf: Path) -> Iterator[int]:
    with redis_server(port=port, conf=conf) as server:
        yield server.port


async def until_async(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await turns(3)


async def is_replica_of(replica: Any, sentinel: Any) -> bool:
    """Return True if a replica has the value of `KEY`, and Sentinel knows the replica."""
    info, known = await replica.info("replication"), await sentinel.sentinel_masters()
    # The link can be up before the last commands have arrived.
    has_value = await replica.exists(f"sts-async:{{{KEY.digest}}}:value")
    return bool(has_value and info["master_link_status"] == "up" and known["cache"]["num-slaves"] == 1)


async def is_master(client: Any) -> bool:
    with contextlib.suppress(ConnectionLost):  # Sentinel ends the connections of a new master
        return bool((await client.info("replication"))["role"] == "master")
    return False


@pytest.mark.slow
async def test_a_cluster_of_three(caplog: pytest.LogCaptureFixture) -> None:
    """All keys of an identity are on one node, and messages reach all nodes."""
    from redis.asyncio import RedisCluster

    with cluster_of(3) as servers:
        clients = [RedisCluster(host="127.0.0.1", port=server.port) for server in servers[:2]]
        try:
            async with opened(clients[0]) as one, opened(clients[1]) as other:
                for number in range(12):
                    await put(one, key_of(str(number)))
                assert all([await other.load(key_of(str(number))) is not None for number in range(12)])
                async with one.lease(KEY):
                    waiting = asyncio.create_task(follow(other))
                    followers = other._parts[asyncio.get_running_loop()].leases._followers
                    await until(lambda: followers)
                    await one.store(KEY, issued(at=now()))
                    assert await soon(waiting) is False
                sizes = []
                for server in servers:
                    async with server.client() as client:
                        sizes.append(len(await client.keys("*:value")))
        finally:
            for client in clients:
                await client.aclose()

    assert sum(sizes) == 13
    assert all(sizes)
    assert warnings_in(caplog) == []


async def follow(cache: RedisCache) -> bool:
    async with cache.lease(KEY) as has_lease:
        return has_lease


@contextmanager
def cluster_of(count: int) -> Iterator[list[RedisServer]]:
    options = "--cluster-enabled", "yes", "--cluster-config-file", "{directory}/nodes", "--cluster-port"
    with contextlib.ExitStack() as stack:
        buses = stack.enter_context(Ports(*map(str, range(count))))
        servers = [stack.enter_context(redis_server(*options, str(buses[str(n)]))) for n in range(count)]
        in_a_thread(asyncio.run, _join(servers, [buses[str(n)] for n in range(count)]))
        yield servers


async def _join(servers: list[RedisServer], buses: list[int]) -> None:
    step = 16_384 // len(servers)
    for number, server in enumerate(servers):
        last = 16_383 if number == len(servers) - 1 else (number + 1) * step - 1
        async with server.client() as client:
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * step, last)
            await client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, buses[0])
    for server in servers:
        async with server.client() as client, asyncio.timeout(PATIENCE):
            while b"cluster_state:ok" not in await client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True):
                await turns(3)


# -- Failures -----------------------------------------------------------------------------------------------------


async def test_a_manual_failover(caplog: pytest.LogCaptureFixture) -> None:
    """The old master becomes a read-only replica. The new one has the values, and leases go on."""
    with redis_server() as one, redis_server("--replicaof", f"127.0.0.1 {one.port}") as two:
        async with Proxy(one.port) as proxy, opened(proxy.url) as cache, one.client() as old, two.client() as new:
            await until_async(lambda: is_linked(new))
            await put(cache)
            await old.execute_command("WAIT", 1, 0)
            async with cache.lease(key_of("open")) as has_lease:
                assert has_lease
                await old.execute_command("WAIT", 1, 0)
                await new.replicaof("NO", "ONE")
                await old.replicaof("127.0.0.1", two.port)
                assert await reason_of(cache) == "it is a replica and read-only"
                proxy.target = two.port
                proxy.cut()
                await until(lambda: cache.available)
                await cache.store(key_of("open"), issued(at=now()))

            assert await cache.load(KEY) is not None
            assert await cache.load(key_of("open")) is not None
            assert cache.refused == {}
    assert len(warnings_in(caplog)) == 1


async def is_linked(client: Any) -> bool:
    return bool((await client.info("replication")).get("master_link_status") == "up")


async def test_a_full_server(caplog: pytest.LogCaptureFixture) -> None:
    with redis_server("--maxmemory-policy", "noeviction") as server:
        async with opened(server.url) as cache, server.client() as client:
            await put(cache)
            await client.config_set("maxmemory", 1)
            assert await reason_of(cache) == "its memory is full"
            await client.config_set("maxmemory", 0)
            await until(lambda: cache.available)
            await put(cache)

    assert len(warnings_in(caplog)) == 1


async def test_connections_that_are_cut(redis: RedisServer) -> None:
    """At worst an operation fails, and Redis is used again a second later."""
    async with Proxy(redis.port) as proxy, opened(proxy.url) as cache:
        await put(cache)
        for _ in range(3):
            proxy.cut()
            await turns()
            await cache.load(KEY)
            await until(lambda: cache.available)
            assert await cache.load(KEY) is not None


async def test_answers_that_are_late(redis: RedisServer) -> None:
    loop = asyncio.get_running_loop()
    async with Proxy(redis.port) as proxy, opened(proxy.url, timeout=0.2) as cache:
        await put(cache)
        proxy.delay = 0.6
        for _ in range(MAX_TIMEOUTS):
            assert cache.available
            begun = loop.time()
            assert await cache.load(KEY) is None
            assert 0.15 < loop.time() - begun < 0.5
        assert not cache.available
        proxy.delay = 0.0
        await until(lambda: cache.available)

        assert await cache.load(KEY) is not None


async def test_a_lease_whose_answer_was_lost_is_given_back(redis: RedisServer) -> None:
    """The server has given the lease. Nobody knows it, and all others would wait until it ends."""
    async with Proxy(redis.port) as proxy, opened(proxy.url, timeout=0.2) as cache, opened(redis.url) as other:
        await put(cache, key_of("first"))
        proxy.drops_answers = True
        async with cache.lease(KEY) as has_lease:
            assert not has_lease
        waiting = asyncio.create_task(follow(other))
        await turns()
        proxy.drops_answers = False
        proxy.cut()

        assert await soon(waiting) is True
        await until(lambda: cache.available)


async def test_a_connection_that_is_dropped_costs_a_follower_a_second_only(redis: RedisServer) -> None:
    """Its messages are lost. It looks at the lease by itself, on another connection."""
    async with Proxy(redis.port) as proxy, opened(proxy.url) as cache, opened(redis.url) as other:
        async with other.lease(KEY):
            waiting = asyncio.create_task(follow(cache))
            [part] = cache._parts.values()
            await until(lambda: part.leases._listener is not None and part.leases._followers)
            async with redis.client() as client:
                await until_async(lambda: has_subscriber(client))
                await client.client_kill_filter(_type="pubsub")
            await other.store(KEY, issued(at=now()))
            begun = asyncio.get_running_loop().time()
            assert await soon(waiting) is False

        assert asyncio.get_running_loop().time() - begun < 2 * _redis_leases.LOOK_SECONDS


async def has_subscriber(client: Any) -> bool:
    return bool(await client.pubsub_numsub("sts-async:leases") == [(b"sts-async:leases", 1)])


# -- Event loops and processes ------------------------------------------------------------------------------------


async def test_nothing_is_left_after_the_last_fleet(redis: RedisServer) -> None:
    """Neither a connection, nor a task, nor a lease."""
    await put(cache_of(redis))
    leaks = Leaks()
    async with opened(redis.url) as cache, opened(redis.url) as other:
        await put(cache)
        async with cache.lease(KEY):
            waiting = asyncio.create_task(follow(other))
            await turns()
            waiting.cancel()
        lease = cache.lease(key_of("open"))
        await lease.__aenter__()
    await asyncio.gather(waiting, return_exceptions=True)
    found = await leaks.found()
    async with redis.client() as client:
        names = {name.decode().rpartition(":")[2] for name in await client.keys("*")}

    assert found == []
    assert names <= {"fence", "value", "shares"}
    await lease.__aexit__(None, None, None)


def test_each_event_loop_has_its_own_connections(shared_redis: RedisServer) -> None:
    """A program may call `asyncio.run` for each job. Connections are closed with their event loop, without warnings."""
    cache = cache_of(shared_redis)

    async def job(number: int) -> bool:
        await put(cache, key_of(str(number)))
        return await cache.load(key_of(str(number))) is not None

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert [asyncio.run(job(number)) for number in range(3)] == [True] * 3
        found: list[bool] = []
        threads = [threading.Thread(target=lambda n=n: found.append(asyncio.run(job(n)))) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        gc.collect()

    assert found == [True] * 3
    assert [str(warning.message) for warning in warned] == []
    assert cache._parts == {}


FORKING = """
import asyncio, os, sys
from datetime import UTC, datetime, timedelta
from redis.asyncio import Redis
from sts_async import AssumeRoleRequest, EncryptionKeys, RedisCache
from sts_async.fleet import CachedCredentials, CacheKey
from sts_async.shapes import TemporaryCredentials

request = AssumeRoleRequest(role_arn="arn:aws:iam::123456789012:role/demo", role_session_name="me")
key = CacheKey(request=request, source="AKIA", endpoint="https://sts.amazonaws.com/")
port, now = int(sys.argv[1]), datetime.now(UTC)
keys = EncryptionKeys({"k": b"1" * 32})
by_url = RedisCache(f"redis://127.0.0.1:{port}/0", keys=keys, timeout=60)
by_client = RedisCache(Redis(port=port), keys=keys, timeout=60)
stored = CachedCredentials(
    credentials=TemporaryCredentials(
        access_key_id="ASIA", secret_access_key="x", session_token="x", expiration=now + timedelta(hours=1)
    ),
    issued=now,
)

async def put(cache):
    async with cache.lease(key) as has_lease:
        await cache.store(key, stored)
    return has_lease, await cache.load(key) is not None

loop = asyncio.new_event_loop()
assert loop.run_until_complete(put(by_url)) == (True, True)
assert loop.run_until_complete(put(by_client)) == (True, True)
holding = by_url.lease(key)
assert loop.run_until_complete(holding.__aenter__())
child = os.fork()
if not child:
    status = 1
    try:
        assert asyncio.run(by_url.load(key)) is not None  # a connection of its own
        assert asyncio.run(put(by_client)) == (False, False)  # the connection is that of the parent
        status = 0
    finally:
        os._exit(status)
assert os.waitpid(child, 0)[1] == 0
assert not loop.run_until_complete(by_client.load(key)) is None
loop.run_until_complete(holding.__aexit__(None, None, None))
assert loop.run_until_complete(put(by_url)) == (True, True)
print("done")
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_child_has_connections_of_its_own() -> None:
    """G13: those of the parent are still used by the parent, and its lease is still its own."""
    with redis_server() as server:
        command = [sys.executable, "-c", FORKING, str(server.port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
    assert "Traceback" not in done.stderr


def test_tls_is_verified_by_default() -> None:
    """T24."""
    from sts_async.fleet.caches._redis_client import _Trust

    context = _Trust({})._read()

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
