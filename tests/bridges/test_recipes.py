"""
The recipes of `bridges/recipes.md`, each with its library, while credentials are replaced.

Databases are stand-ins that keep the passwords; botocore makes the same passwords. Services check each signature.
"""

import asyncio
import functools
import itertools
import logging
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.session
import pytest
import trustme
from aiohttp import web
from botocore.credentials import Credentials as Keys
from bridges.databases import USER, Database
from bridges.recipes import PAGE, RECIPES, TESTED, THROUGH_THE_ENDPOINT, of, run_recipe
from bridges.signed_server import Seen, SignedServer
from bridges.sources import ARN, Tokens, decoded, each_kind, for_hours, of_client, of_fleet
from documents import blocks
from patience import until
from tokens.cases import frozen
from tokens.conftest import _quiet_oracle
from tokens.test_on_the_wire import as_vault

from sts_async.testing import LocalSTS, VirtualClock

HOURS = 2
__all__ = ["_quiet_oracle"]


def test_recipes_are_short_and_each_is_run_by_a_test() -> None:
    """Imports and empty lines are not counted. `agent/test_consumers.py` runs those that use the endpoint."""
    for library, code in RECIPES.items():
        lines = [line for line in code.splitlines() if line and not re.match(r"import |from ", line)]
        assert 1 <= len(lines) <= 8, library
    assert {*RECIPES} == TESTED | {*THROUGH_THE_ENDPOINT}
    assert len(RECIPES) == len(blocks(PAGE, "python")) - 1  # and the block that serves


# -- databases -----------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Return a database; its certificate is in a file of the working directory, as that of RDS is in the recipes."""
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "global-bundle.pem")
    monkeypatch.chdir(tmp_path)
    return Database(keep=lambda password: tokens.add(f"https://{password}"), tls=context)


def of_place(database: Database, role: Any) -> dict[str, Any]:
    tls = ssl.create_default_context(cafile="global-bundle.pem")
    return {"role": role, "host": "localhost", "port": database.port, "tls": tls}


@functools.cache
def their_client() -> Any:
    session = botocore.session.Session()
    session.set_credentials("AKIDEXAMPLE", "replaced")
    return session.create_client("rds", region_name="us-east-1")


def check_passwords(server: LocalSTS, tokens: Tokens, port: int) -> None:
    """Check that each connection had a new password of valid keys, the one that botocore makes."""
    assert tokens.expired == []
    assert len(tokens.keys) >= HOURS
    assert len(tokens.urls) >= 6 * HOURS
    botocore_client = their_client()
    for url in tokens.urls:
        query = dict(parse_qsl(urlsplit(url).query))
        owner = server._directory.holder(query["X-Amz-Credential"].split("/")[0])
        assert owner is not None
        keys = owner.credentials
        botocore_client._request_signer._credentials = Keys(
            keys.access_key_id, str(keys.secret_access_key), str(keys.session_token)
        )
        with frozen(datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)):
            assert url == "https://" + botocore_client.generate_db_auth_token("localhost", port, USER)


@pytest.mark.slow
@of("asyncpg")
async def test_a_pool_of_asyncpg_has_a_new_password_for_each_connection(
    server: LocalSTS, clock: VirtualClock, tokens: Tokens, database: Database
) -> None:
    with database.serve(Database.postgresql):
        async with of_fleet(server, clock) as role:
            pool = (await run_recipe("asyncpg", **of_place(database, role)))["pool"]

            async def call() -> None:
                await pool.expire_connections()
                async with pool.acquire():
                    pass

            await for_hours(HOURS, clock, call)
            pool.terminate()

    check_passwords(server, tokens, database.port)


@pytest.mark.slow
@of("SQLAlchemy")
async def test_an_engine_of_sqlalchemy_has_a_new_password_for_each_connection(
    server: LocalSTS, clock: VirtualClock, tokens: Tokens, database: Database
) -> None:
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    database.refusing = True  # an engine would ask for more than the stand-in knows
    with database.serve(Database.postgresql):
        async with of_client(server, clock) as role:
            engine = (await run_recipe("SQLAlchemy", **of_place(database, role)))["engine"]

            async def call() -> None:
                with pytest.raises(Exception, match="refused"):
                    await engine.connect()

            await for_hours(HOURS, clock, call)
            await engine.dispose()

    check_passwords(server, tokens, database.port)


@pytest.mark.slow
@of("psycopg_pool")
async def test_a_pool_of_psycopg_has_a_new_password_for_each_connection(
    server: LocalSTS, clock: VirtualClock, tokens: Tokens, database: Database
) -> None:
    with database.serve(Database.postgresql):
        async with of_client(server, clock) as role:
            pool = (await run_recipe("psycopg_pool", **of_place(database, role)))["pool"]
            await pool.wait()

            async def call() -> None:
                before = len(tokens.urls)
                async with pool.connection() as connection:
                    await connection.close()
                await until(lambda: len(tokens.urls) > before)

            await for_hours(HOURS, clock, call)
            await pool.close()

    check_passwords(server, tokens, database.port)


@pytest.mark.slow
@of("asyncmy")
async def test_a_pool_of_asyncmy_has_a_new_password_for_each_connection(
    server: LocalSTS, clock: VirtualClock, tokens: Tokens, database: Database
) -> None:
    with database.serve(Database.mysql):
        async with of_client(server, clock) as role:
            pool = (await run_recipe("asyncmy", **of_place(database, role)))["pool"]

            async def call() -> None:
                async with pool.acquire() as connection:
                    await connection.ensure_closed()

            await for_hours(HOURS, clock, call)
            pool.close()
            await pool.wait_closed()

    check_passwords(server, tokens, database.port)


# -- services that check signatures --------------------------------------------------------------------------------


def answer(seen: Seen) -> web.Response:
    documents = {"appsync": {"data": {"__typename": "Query"}}, "bedrock": MESSAGE, "es": {"cluster_name": "demo"}}
    return web.json_response(documents[seen.service])


MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "demo",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


@asynccontextmanager
async def signed(server: LocalSTS, clock: VirtualClock) -> AsyncIterator[tuple[SignedServer, dict[str, Any]]]:
    """Open a service, and check after the use that each request had a valid signature, and keys were replaced."""
    with SignedServer(server, answer) as service:
        async with of_client(server, clock) as role:
            yield service, {"role": role, "url": service.url, "host": urlsplit(service.url).netloc}
    assert service.refused == []
    assert len(service.seen) >= 6 * HOURS
    assert len(service.keys) >= HOURS


@pytest.mark.slow
@of("gql")
async def test_requests_of_gql_are_signed(
    server: LocalSTS, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gql")  # as the recipe says
    import gql

    async with signed(server, clock) as (service, names):
        names["url"] += "/graphql"
        client = (await run_recipe("gql", **names))["client"]

        async def call() -> None:
            assert await client.execute_async(gql.gql("{ __typename }")) == {"__typename": "Query"}

        await for_hours(HOURS, clock, call)
    assert {seen.service for seen in service.seen} == {"appsync"}


@pytest.mark.slow
@of("opensearch-py")
async def test_requests_of_opensearch_are_signed(server: LocalSTS, clock: VirtualClock) -> None:
    async with signed(server, clock) as (service, names):
        client = (await run_recipe("opensearch-py", **names))["client"]

        async def call() -> None:
            assert (await client.info())["cluster_name"] == "demo"

        await for_hours(HOURS, clock, call)
        await client.close()
    assert {seen.service for seen in service.seen} == {"es"}


@pytest.mark.slow
@of("requests")
async def test_requests_of_requests_are_signed(server: LocalSTS, clock: VirtualClock) -> None:
    async with signed(server, clock) as (service, names):
        with (await run_recipe("requests", **names))["session"] as session:
            await for_hours(HOURS, clock, lambda: session.post(service.url, json={"a": 1}).raise_for_status())


@pytest.mark.slow
@of("Anthropic")
async def test_requests_of_anthropic_are_signed(server: LocalSTS, clock: VirtualClock) -> None:
    """With a model whose name must be encoded in the path, and nothing of the API key."""
    async with signed(server, clock) as (service, names):
        client = (await run_recipe("Anthropic", **names))["client"]

        async def call() -> None:
            message = await client.messages.create(
                model="anthropic.demo-v1:0", max_tokens=9, messages=[{"role": "user", "content": "hello"}]
            )
            assert message.content[0].text == "hello"

        await for_hours(HOURS, clock, call)
        await client.close()
    assert {seen.service for seen in service.seen} == {"bedrock"}
    assert not any("x-api-key" in seen.headers or "Bearer" in str(seen.headers) for seen in service.seen)


# -- Kafka and Vault -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@of("confluent-kafka")
@each_kind
async def test_confluent_kafka_calls_the_function_and_gets_tokens_of_valid_keys(
    server: LocalSTS, clock: VirtualClock, tokens: Tokens, kind: Any
) -> None:
    import confluent_kafka

    class Time(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromtimestamp(clock.time(), tz)

    ends: list[float] = []
    async with kind(server, clock) as role:
        names = await run_recipe("confluent-kafka", role=role)
        names["datetime"] = Time
        oauth_cb, settings = names["oauth_cb"], names["settings"]

        def kept(config: str) -> Any:
            token, end = oauth_cb(config)
            tokens.add(decoded(token))
            ends.append(end)
            return token, datetime.now(UTC).timestamp() + 900  # the end in the time of this machine

        await for_hours(HOURS, clock, lambda: kept(""))
        calls = len(ends)

        def start() -> None:
            producer = confluent_kafka.Producer(
                {**settings, "oauth_cb": kept, "bootstrap.servers": "127.0.0.1:1", "log_level": 0}
            )
            producer.poll(0)
            assert len(ends) > calls
            del producer

        await asyncio.to_thread(start)

    assert tokens.expired == []
    assert len(tokens.keys) >= HOURS
    assert all(0 < later - earlier <= 1200 for earlier, later in itertools.pairwise(ends[:calls]))


@pytest.mark.slow
@of("hvac")
async def test_vault_learns_from_the_login_of_hvac_who_signed_it() -> None:
    logins: list[dict[str, str]] = []

    async def login(request: web.Request) -> web.Response:
        logins.append(await request.json())
        return web.json_response({"auth": {"client_token": "of the test"}})

    app = web.Application()
    app.router.add_post("/v1/auth/aws/login", login)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with LocalSTS(region="us-east-1") as server, server.client() as sts:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        vault = (await run_recipe("hvac", role=sts.role(ARN), url=url))["vault"]
        (sent,) = logins
        status, text = await as_vault(server, sent)
    await runner.cleanup()

    assert vault.token == "of the test"
    assert (sent["role"], status) == ("app", 200)
    assert ":assumed-role/demo/" in text
