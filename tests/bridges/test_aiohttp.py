"""The middleware of aiohttp over sockets. botocore computes each signature again, from the request that arrived."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import yarl
from aiohttp import web
from bridges.signed_server import Seen, SignedServer
from bridges.sources import ARN, each_kind, for_hours
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import soon

from sts_async import STSClient, bridges
from sts_async.errors import ConfigurationError
from sts_async.testing import LocalSTS, VirtualClock


def ok(seen: Seen) -> web.Response:
    return web.json_response({"bytes": len(seen.body)})


@pytest.fixture
def echo(server: LocalSTS) -> Any:
    with SignedServer(server, ok) as echo:
        yield echo


async def chunks() -> AsyncIterator[bytes]:
    yield b"some"
    yield b"thing"


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "none": dict,
    "bytes": lambda: {"data": b"\x00\xff"},
    "text": lambda: {"data": "größe"},
    "form": lambda: {"data": {"a": "b c", "ü": "1"}},
    "json": lambda: {"json": {"a": [1, None]}},
    "generator": lambda: {"data": chunks()},
    "file": lambda: {"data": io.BytesIO(b"content of a file")},
}


@each_kind
async def test_requests_are_signed_with_valid_keys_while_they_are_replaced(
    server: LocalSTS, echo: SignedServer, clock: VirtualClock, kind: Any
) -> None:
    async with kind(server, clock) as credentials:
        sign = bridges.aiohttp.middleware(credentials, service="execute-api", origins=echo.url)
        async with aiohttp.ClientSession(middlewares=[sign]) as session:

            async def call() -> None:
                for make in BODIES.values():
                    async with session.post(f"{echo.url}/a%20b/./c?x=1&y=%2F&x=0", **make()) as response:
                        response.raise_for_status()

            await for_hours(4, clock, call)

    assert echo.refused == []
    assert len(echo.seen) == 24 * len(BODIES)
    assert len(echo.keys) >= 4
    assert {len(seen.body) for seen in echo.seen} >= {0, 9, 17}


async def test_a_large_body_is_hashed_in_a_thread(server: LocalSTS, echo: SignedServer, clock: VirtualClock) -> None:
    async with server.client(clock=clock) as sts:
        sign = bridges.aiohttp.middleware(sts.role(ARN), service="sqs", origins=echo.url)
        async with aiohttp.ClientSession(middlewares=[sign]) as session:
            await session.post(echo.url, data=io.BytesIO(b"x" * (2 << 20)))

    assert [(seen.refusal, len(seen.body)) for seen in echo.seen] == [(None, 2 << 20)]


@pytest.mark.parametrize("service", ["s3", "sqs"])
async def test_paths_and_queries_follow_the_rules_of_the_service(
    server: LocalSTS, clock: VirtualClock, service: str
) -> None:
    """Property: any path and query, as aiohttp encodes them."""
    text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)
    async with server.client(clock=clock) as sts:
        with SignedServer(server, ok) as echo:
            sign = bridges.aiohttp.middleware(sts.role(ARN), service=service, origins=echo.url)
            urls: list[yarl.URL] = []

            @settings(max_examples=60)
            @given(st.lists(text, max_size=3), st.dictionaries(text, text, max_size=3))
            def collect(segments: list[str], query: dict[str, str]) -> None:
                path = "/".join(["", *segments])
                urls.append(yarl.URL.build(scheme="http", host="h", path=path or "/", query=query))

            collect()
            async with aiohttp.ClientSession(middlewares=[sign]) as session:
                for url in urls:
                    target = yarl.URL(f"{echo.url}{url.raw_path_qs}", encoded=True)
                    async with session.put(target, data=b"abc") as response:
                        assert response.status == 200, url
            assert echo.refused == []
            assert len(echo.seen) == len(urls)


async def test_headers_that_libraries_change_are_not_signed(
    server: LocalSTS, echo: SignedServer, clock: VirtualClock
) -> None:
    """Two values of one header are one line."""
    headers = [("X-Amz-Meta", "a"), ("x-amz-meta", " b  c"), ("X-Other", "1"), ("Accept", "text/plain")]
    async with server.client(clock=clock) as sts:
        sign = bridges.aiohttp.middleware(sts.role(ARN), service="sqs", origins=echo.url)
        async with aiohttp.ClientSession(middlewares=[sign]) as session:
            await session.post(echo.url, json={}, headers=headers[1:])

    (seen,) = echo.seen
    assert seen.refusal is None
    assert seen.signed == {"content-type", "host", "x-amz-date", "x-amz-meta", "x-amz-security-token"}


async def test_only_the_named_origins_are_signed_for(server: LocalSTS, echo: SignedServer, clock: VirtualClock) -> None:
    """Another port, another name for the same host, and a redirect are other origins: nothing of ours goes there."""
    with SignedServer(server) as other:

        def redirect(seen: Seen) -> web.Response:
            return web.Response(status=307, headers={"Location": f"{other.url}/elsewhere"})

        echo._answer = redirect
        async with server.client(clock=clock) as sts:
            sign = bridges.aiohttp.middleware(sts.role(ARN), service="sqs", origins=[echo.url, "https://example.com"])
            async with aiohttp.ClientSession(middlewares=[sign]) as session:
                await session.post(echo.url, data=b"abc")
                await session.get(other.url)
                await session.get(echo.url.replace("127.0.0.1", "localhost"), allow_redirects=False)

    assert echo.seen[0].refusal is None
    assert "authorization" not in echo.seen[1].headers
    assert len(other.seen) == 2
    for seen in (*other.seen, echo.seen[1]):
        assert not [name for name in seen.headers if name.startswith("x-amz-") or name == "authorization"]


async def test_a_redirect_within_the_origin_is_signed_again(
    server: LocalSTS, echo: SignedServer, clock: VirtualClock
) -> None:
    def redirect(seen: Seen) -> web.Response | None:
        return ok(seen) if seen.target == "/b" else web.Response(status=307, headers={"Location": "/b"})

    echo._answer = redirect
    async with server.client(clock=clock) as sts:
        sign = bridges.aiohttp.middleware(sts.role(ARN), service="sqs", origins=echo.url)
        async with aiohttp.ClientSession(middlewares=[sign]) as session, session.post(f"{echo.url}/a") as response:
            assert response.status == 200

    assert echo.refused == []
    assert [seen.target for seen in echo.seen] == ["/a", "/b"]


async def test_one_middleware_serves_several_event_loops(
    server: LocalSTS, echo: SignedServer, clock: VirtualClock
) -> None:
    async with server.client(clock=clock) as sts:
        sign = bridges.aiohttp.middleware(sts.role(ARN), service="sqs", origins=echo.url)

        async def call() -> int:
            async with aiohttp.ClientSession(middlewares=[sign]) as session, session.get(echo.url) as response:
                return response.status

        others = (asyncio.to_thread(lambda: asyncio.run(call())) for _ in range(3))
        assert await soon(asyncio.gather(call(), *others)) == [200] * 4


async def test_s3_over_tls_does_not_read_streams() -> None:
    """The hash of the body is left out, as S3 permits over TLS alone."""
    sent: list[aiohttp.ClientRequest] = []

    async def stop(request: aiohttp.ClientRequest, handler: Any) -> Any:
        sent.append(request)
        raise aiohttp.ClientConnectionError("not sent")

    async with LocalSTS() as server, server.client() as sts:
        sign = bridges.aiohttp.middleware(sts, service="s3", origins="https://bucket.s3.us-east-1.amazonaws.com")
        async with aiohttp.ClientSession(middlewares=[sign, stop]) as session:
            for data in (chunks(), b"abc"):
                with pytest.raises(aiohttp.ClientConnectionError):
                    await session.put("https://bucket.s3.us-east-1.amazonaws.com/key", data=data)

    assert sent[0].headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert len(sent[1].headers["x-amz-content-sha256"]) == 64


async def test_a_body_that_aiohttp_compresses_is_refused(
    server: LocalSTS, echo: SignedServer, clock: VirtualClock
) -> None:
    async with server.client(clock=clock) as sts:
        sign = bridges.aiohttp.middleware(sts, service="sqs", origins=echo.url)
        async with aiohttp.ClientSession(middlewares=[sign]) as session:
            with pytest.raises(ConfigurationError, match="compress"):
                await session.post(echo.url, data=b"abc" * 1000, compress=True)

    assert echo.seen == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"origins": []}, "origins must name"),
        ({"origins": "sqs.eu-west-1.amazonaws.com"}, "must begin with https"),
        ({"origins": "https://user:pass@example.com"}, "not carry a user name"),
        ({"origins": "http://example.com"}, "must be https"),
        ({"service": "SQS"}, "lower case"),
        ({"region": "eu west"}, "signing region"),
        ({"allow_http": 1}, "allow_http"),
        ({"credentials": "SENTINEL"}, "an STSClient"),
    ],
)
async def test_invalid_arguments_are_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    async with LocalSTS() as server, server.client() as sts:
        valid: dict[str, Any] = {"credentials": sts, "service": "sqs", "origins": "https://example.com"}
        with pytest.raises(ConfigurationError, match=message):
            bridges.aiohttp.middleware(**(valid | arguments))


async def test_a_region_can_be_given_to_the_bridge(server: LocalSTS, echo: SignedServer) -> None:
    """A client of a custom endpoint may know no region."""
    async with STSClient(endpoint_url=server.url, credentials=server.credentials) as sts:
        unknown = bridges.aiohttp.middleware(sts, service="execute-api", origins=echo.url)
        async with aiohttp.ClientSession(middlewares=[unknown]) as session:
            with pytest.raises(ConfigurationError, match="the signing region is not known: pass region="):
                await session.get(echo.url)
        given = bridges.aiohttp.middleware(sts, service="execute-api", origins=echo.url, region="eu-west-1")
        async with aiohttp.ClientSession(middlewares=[given]) as session, session.get(echo.url) as response:
            assert response.status == 200


async def test_plain_http_to_another_host_can_be_allowed() -> None:
    async with LocalSTS() as server, server.client() as sts:
        assert bridges.aiohttp.middleware(sts, service="s3", origins="http://minio:9000", allow_http=True)
