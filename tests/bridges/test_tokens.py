"""redis-py, the Kubernetes clients, aiokafka and OpenAI over sockets: the token that arrives is one of valid keys."""

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from bridges.sources import ARN, HOUR, ROWS, Tokens, decoded, each_kind, for_hours
from patience import soon, until
from web_apps import serving

from sts_async import bridges
from sts_async.bridges import _consumers
from sts_async.errors import ConfigurationError
from sts_async.testing import LocalSTS, VirtualClock

# -- redis-py ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def redis_port(tokens: Tokens) -> AsyncIterator[int]:
    """Run a server that takes any password, and keeps it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            if b"AUTH" in words:
                user, password = words[words.index(b"AUTH") + 1 :][:2]
                assert user == b"app"
                tokens.add(f"https://{password.decode()}")
            replies = {b"HELLO": b"%1\r\n$5\r\nproto\r\n:3\r\n", b"PING": b"+PONG\r\n"}
            writer.write(replies.get(words[0], b"+OK\r\n"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@each_kind
async def test_connections_of_redis_have_passwords_of_valid_keys_while_they_are_replaced(
    server: LocalSTS, clock: VirtualClock, redis_port: int, tokens: Tokens, kind: Any
) -> None:
    redis = pytest.importorskip("redis", reason="redis is not installed")
    async with kind(server, clock) as credentials:
        provider = bridges.redis.elasticache(credentials, cache="My-Cache", user="app", serverless=True)

        async def call() -> None:
            async with redis.asyncio.Redis(port=redis_port, credential_provider=provider) as client:
                await client.ping()

        def call_in_a_thread() -> None:
            with redis.Redis(port=redis_port, credential_provider=provider) as client:
                client.ping()

        await for_hours(2, clock, call)
        await for_hours(2, clock, call_in_a_thread)

    assert tokens.expired == []
    assert len(tokens.urls) == 24
    assert len(tokens.keys) >= 4
    assert tokens.urls[0].startswith("https://my-cache/?Action=connect&User=app&ResourceType=ServerlessCache&")


async def test_memorydb_has_a_provider_of_its_own(
    server: LocalSTS, clock: VirtualClock, redis_port: int, tokens: Tokens
) -> None:
    redis = pytest.importorskip("redis", reason="redis is not installed")
    async with server.client(clock=clock) as sts:
        provider = bridges.redis.memorydb(sts.role(ARN), cluster="my-db", user="app", region="eu-west-1")
        async with redis.asyncio.Redis(port=redis_port, credential_provider=provider) as client:
            await client.ping()

    (url,) = tokens.urls
    assert url.startswith("https://my-db/?Action=connect&User=app&")
    assert "%2Feu-west-1%2Fmemorydb%2Faws4_request" in url


# -- Kubernetes ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def cluster(tokens: Tokens) -> AsyncIterator[str]:
    """Run an API server with no pods, that keeps the bearer tokens."""

    async def answer(request: web.Request) -> web.Response:
        scheme, _, token = request.headers["Authorization"].partition(" ")
        assert (scheme, token[:11]) == ("Bearer", "k8s-aws-v1.")
        tokens.add(decoded(token[11:]))
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []})

    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", answer)
    async with serving(app) as url:
        yield url


@each_kind
async def test_requests_of_the_synchronous_client_have_tokens_of_valid_keys(
    server: LocalSTS, clock: VirtualClock, cluster: str, tokens: Tokens, kind: Any
) -> None:
    """Each is signed again before its 14 minutes are over."""
    kubernetes = pytest.importorskip("kubernetes", reason="kubernetes is not installed")
    async with kind(server, clock) as credentials:
        configuration = kubernetes.client.Configuration(host=cluster)
        bridges.kubernetes.configure(credentials, configuration, cluster="production")
        with kubernetes.client.ApiClient(configuration) as api:
            pods = kubernetes.client.CoreV1Api(api)

            def call() -> None:
                for _ in range(2):
                    assert pods.list_namespaced_pod("default").items == []

            await for_hours(4, clock, call)

    assert tokens.expired == []
    assert len(tokens.urls) == 48
    assert len(tokens.keys) >= 4
    assert 12 <= len({*tokens.urls}) <= 24
    assert tokens.urls[0].startswith("https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&")


@each_kind
@pytest.mark.parametrize("library", ["kubernetes.aio", "kubernetes_asyncio"])
async def test_requests_of_the_asynchronous_clients_have_tokens_of_valid_keys(
    server: LocalSTS, clock: VirtualClock, cluster: str, tokens: Tokens, kind: Any, library: str
) -> None:
    client: Any = pytest.importorskip(f"{library}.client", reason=f"{library} is not installed")
    async with kind(server, clock) as credentials:
        configuration = client.Configuration(host=cluster)
        bridges.kubernetes.configure(credentials, configuration, cluster="production")
        async with client.ApiClient(configuration) as api:
            pods = client.CoreV1Api(api)

            async def call() -> None:
                assert (await pods.list_namespaced_pod("default")).items == []

            await for_hours(4, clock, call)

    assert tokens.expired == []
    assert len(tokens.urls) == 24
    assert len(tokens.keys) >= 4


async def test_another_configuration_is_refused() -> None:
    async with LocalSTS() as server, server.client() as sts:
        for other in (object(), {"refresh_api_key_hook": None}):
            with pytest.raises(ConfigurationError, match="Configuration of kubernetes, kubernetes"):
                bridges.kubernetes.configure(sts, other, cluster="production")


@pytest.mark.parametrize(("library", "oldest"), bridges.kubernetes.MINIMUM.items())
async def test_an_old_kubernetes_client_is_named(library: str, oldest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not await the hook would send requests without a token."""
    configuration = type("Configuration", (), {"__module__": f"{library}.client", "refresh_api_key_hook": None})
    monkeypatch.setattr(_consumers.importlib.metadata, "version", lambda package: "11.0.0")
    _consumers.consumer.cache_clear()
    async with LocalSTS() as server, server.client() as sts:
        with pytest.raises(ConfigurationError, match=rf"needs {library}>={oldest}, and 11\.0\.0 is installed"):
            bridges.kubernetes.configure(sts, configuration(), cluster="production")
    assert {(library, oldest)} <= {row[:2] for row in ROWS}


# -- aiokafka ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def broker(tokens: Tokens) -> AsyncIterator[str]:
    """Run a broker that takes any token, keeps it, and then ends the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while size := await reader.read(4):
            request = await reader.readexactly(struct.unpack(">i", size)[0])
            key, _, correlation = struct.unpack(">hhi", request[:8])
            body = b""
            if key == 18:  # ApiVersions: none but those for the handshake
                body = struct.pack(">hi", 0, 3) + b"".join(
                    struct.pack(">hhh", *api) for api in ((18, 0, 0), (17, 0, 1), (36, 0, 0))
                )
            elif key == 17:  # SaslHandshake
                mechanism = b"OAUTHBEARER"
                body = struct.pack(">hi", 0, 1) + struct.pack(">h", len(mechanism)) + mechanism
            elif key == 36:  # SaslAuthenticate
                token = request.split(b"auth=Bearer ")[1].split(b"\x01")[0]
                tokens.add(decoded(token.decode()))
                break
            writer.write(struct.pack(">ii", len(body) + 4, correlation) + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@each_kind
async def test_connections_of_aiokafka_have_tokens_of_valid_keys_while_they_are_replaced(
    server: LocalSTS, clock: VirtualClock, broker: str, tokens: Tokens, kind: Any
) -> None:
    """Over TLS in production; the mechanism is the same without."""
    aiokafka = pytest.importorskip("aiokafka", reason="aiokafka is not installed")
    async with kind(server, clock) as credentials:
        provider = bridges.aiokafka.token_provider(credentials, region="eu-west-1")

        async def call() -> None:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=broker,
                security_protocol="SASL_PLAINTEXT",
                sasl_mechanism="OAUTHBEARER",
                sasl_oauth_token_provider=provider,
            )
            with pytest.raises(aiokafka.errors.KafkaError):
                await producer.start()
            await producer.stop()

        await for_hours(3, clock, call)

    assert tokens.expired == []
    assert len(tokens.keys) >= 3
    url = tokens.urls[0]
    assert url.startswith("https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect&")
    assert "&User-Agent=sts-async%2F" in url


# -- OpenAI --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def models(tokens: Tokens) -> AsyncIterator[str]:
    """Run a service with no models, that keeps the API keys."""

    async def answer(request: web.Request) -> web.Response:
        key = request.headers["Authorization"].removeprefix("Bearer bedrock-api-key-")
        tokens.add(f"https://{base64.b64decode(key).decode()}")
        return web.json_response({"object": "list", "data": []})

    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", answer)
    async with serving(app) as url:
        yield f"{url}/openai/v1"


def asynchronous(openai: Any, url: str, credentials: Any) -> tuple[Any, Callable[[], Any]]:
    client = openai.AsyncBedrockOpenAI(
        base_url=url, aws_region="us-east-1", bedrock_token_provider=bridges.openai.token_provider(credentials)
    )

    async def call() -> None:
        assert [model async for model in client.models.list()] == []

    return client, call


def with_a_function_as_key(openai: Any, url: str, credentials: Any) -> tuple[Any, Callable[[], Any]]:
    client = openai.AsyncOpenAI(base_url=url, api_key=bridges.openai.token_provider(credentials))

    async def call() -> None:
        assert [model async for model in client.models.list()] == []

    return client, call


def synchronous(openai: Any, url: str, credentials: Any) -> tuple[Any, Callable[[], Any]]:
    client = openai.BedrockOpenAI(
        base_url=url, aws_region="us-east-1", bedrock_token_provider=bridges.openai.sync_token_provider(credentials)
    )
    return client, lambda: list(client.models.list())


@each_kind
@pytest.mark.parametrize("make", [asynchronous, with_a_function_as_key, synchronous])
async def test_requests_of_openai_have_keys_that_never_outlive_their_credentials(
    server: LocalSTS, clock: VirtualClock, models: str, tokens: Tokens, kind: Any, make: Any
) -> None:
    openai = pytest.importorskip("openai", reason="openai is not installed")
    if not hasattr(openai, "AsyncBedrockOpenAI"):
        pytest.skip("this version of openai has no client for Bedrock")
    async with kind(server, clock) as credentials:
        client, call = make(openai, models, credentials)
        await for_hours(4, clock, call)
        closed = client.close()
        if asyncio.iscoroutine(closed):
            await soon(closed)

    assert tokens.expired == []
    assert len(tokens.urls) == 24
    assert 4 <= len(tokens.keys) == len({*tokens.urls})
    assert tokens.urls[0].startswith("https://bedrock.amazonaws.com/?Action=CallWithBearerToken&")


# -- rules for all -------------------------------------------------------------------------------------------------


async def test_a_token_is_signed_once_while_its_credentials_stay(server: LocalSTS, clock: VirtualClock) -> None:
    """And again a minute before its end, and with new credentials."""
    async with server.client(clock=clock) as sts:
        role = sts.role(ARN)
        token = bridges.openai.sync_token_provider(role)
        first = token()
        assert token() is first
        clock.advance(HOUR - 120)
        assert token() is first
        await until(lambda: token() is not first)


async def test_a_region_that_is_not_known_is_an_error(server: LocalSTS, clock: VirtualClock) -> None:
    async with server.client(clock=clock) as sts:
        with pytest.raises(ConfigurationError, match="region"):
            bridges.openai.sync_token_provider(sts.role(ARN), region="aws-global")()
