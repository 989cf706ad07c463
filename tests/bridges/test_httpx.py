"""The authentication of httpx and httpx2 over sockets, in synchronous and asynchronous clients."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from bridges.signed_server import SignedServer
from bridges.sources import ARN, each_kind, for_hours
from patience import soon

from sts_async import bridges
from sts_async.testing import LocalSTS, VirtualClock


@pytest.fixture(params=["httpx", "httpx2"])
def httpx(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param, reason=f"{request.param} is not installed")


@pytest.fixture
def auth(httpx: Any) -> Callable[..., Any]:
    bridge: Any = getattr(bridges, httpx.__name__)
    made: Callable[..., Any] = bridge.auth
    return made


@pytest.fixture
def echo(server: LocalSTS) -> Iterator[SignedServer]:
    with SignedServer(server, lambda seen: web.json_response({"bytes": len(seen.body)})) as echo:
        yield echo


def parts() -> Iterator[bytes]:
    yield b"some"
    yield b"thing"


async def chunks() -> AsyncIterator[bytes]:
    for part in parts():
        yield part


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "none": dict,
    "bytes": lambda: {"content": b"\x00\xff"},
    "form": lambda: {"data": {"a": "b c", "ü": "1"}},
    "json": lambda: {"json": {"a": [1, None]}},
    "multipart": lambda: {"files": {"file": b"content"}},
}
PATH = "/a%20b/./c?x=1&y=%2F&x=0&ü=1"


@each_kind
async def test_an_asynchronous_client_signs_with_valid_keys_while_they_are_replaced(
    server: LocalSTS, echo: SignedServer, clock: VirtualClock, kind: Any, httpx: Any, auth: Any
) -> None:
    async with kind(server, clock) as credentials:
        signing = auth(credentials, service="execute-api", origins=echo.url)
        async with httpx.AsyncClient(auth=signing, trust_env=False) as client:

            async def call() -> None:
                for body in (*(make() for make in BODIES.values()), {"content": chunks()}):
                    (await client.post(f"{echo.url}{PATH}", **body)).raise_for_status()

            await for_hours(4, clock, call)

    assert echo.refused == []
    assert len(echo.seen) == 24 * 6
    assert len(echo.keys) >= 4


@each_kind
async def test_a_synchronous_client_signs_with_valid_keys_while_they_are_replaced(
    server: LocalSTS, echo: SignedServer, clock: VirtualClock, kind: Any, httpx: Any, auth: Any
) -> None:
    async with kind(server, clock) as credentials:
        with httpx.Client(auth=auth(credentials, service="sqs", origins=echo.url), trust_env=False) as client:

            def call() -> None:
                for body in (*(make() for make in BODIES.values()), {"content": parts()}):
                    client.post(f"{echo.url}{PATH}", **body).raise_for_status()

            await for_hours(4, clock, call)

    assert echo.refused == []
    assert len(echo.seen) == 24 * 6
    assert len(echo.keys) >= 4


async def test_the_signed_headers_are_those_that_reach_the_service_unchanged(
    server: LocalSTS, echo: SignedServer, clock: VirtualClock, httpx: Any, auth: Any
) -> None:
    async with (
        server.client(clock=clock) as sts,
        httpx.AsyncClient(auth=auth(sts.role(ARN), service="s3", origins=echo.url), trust_env=False) as client,
    ):
        await client.put(f"{echo.url}/key", json={}, headers={"X-Amz-Meta-A": "1", "X-Other": "2"})

    (seen,) = echo.seen
    assert seen.refusal is None
    names = {"content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-meta-a", "x-amz-security-token"}
    assert seen.signed == names


async def test_only_the_named_origins_are_signed_for(
    server: LocalSTS, echo: SignedServer, clock: VirtualClock, httpx: Any, auth: Any
) -> None:
    """A redirect is not followed unless the program says so; see the next test."""
    with SignedServer(server) as other:
        echo._answer = lambda seen: web.Response(status=307, headers={"Location": other.url})
        async with server.client(clock=clock) as sts:
            signing = auth(sts.role(ARN), service="sqs", origins=echo.url)
            async with httpx.AsyncClient(auth=signing, trust_env=False) as client:
                assert (await client.post(echo.url)).status_code == 307
                await client.get(other.url)

    (seen,) = other.seen
    assert not [name for name in seen.headers if name.startswith("x-amz-") or name == "authorization"]


async def test_the_documented_weakness_of_redirects_is_that_of_the_library(
    server: LocalSTS, echo: SignedServer, clock: VirtualClock, httpx: Any, auth: Any
) -> None:
    """No signature reaches the other host. If the token does not either, the warning in the docstring can go."""
    with SignedServer(server) as other:
        echo._answer = lambda seen: web.Response(status=307, headers={"Location": other.url})
        async with server.client(clock=clock) as sts:
            signing = auth(sts.role(ARN), service="sqs", origins=echo.url)
            async with httpx.AsyncClient(auth=signing, trust_env=False, follow_redirects=True) as client:
                await client.post(echo.url)

    (seen,) = other.seen
    assert "authorization" not in seen.headers
    assert "x-amz-security-token" in seen.headers
    assert "session token" in (auth.__doc__ or "")


async def test_s3_over_tls_does_not_read_streams(server: LocalSTS, clock: VirtualClock, httpx: Any, auth: Any) -> None:
    async with server.client(clock=clock) as sts:
        signing = auth(sts, service="s3", origins="https://bucket.s3.us-east-1.amazonaws.com")
        sent = []
        for content in (parts(), b"abc"):
            request = httpx.Request("PUT", "https://bucket.s3.us-east-1.amazonaws.com/key", content=content)
            sent.append(await soon(asyncio.to_thread(lambda request=request: next(signing.sync_auth_flow(request)))))
        streamed = httpx.Request("PUT", "https://bucket.s3.us-east-1.amazonaws.com/key", content=chunks())
        sent.append(await anext(signing.async_auth_flow(streamed)))

    hashes = [request.headers["x-amz-content-sha256"] for request in sent]
    assert (hashes[0], hashes[2]) == ("UNSIGNED-PAYLOAD", "UNSIGNED-PAYLOAD")
    assert len(hashes[1]) == 64


def test_each_library_gets_a_class_of_its_own(httpx: Any, auth: Any) -> None:
    with LocalSTS() as server:
        assert isinstance(auth(server.client(), service="s3", origins="https://example.com"), httpx.Auth)
