"""
obstore and polars over sockets: Rust libraries, which ask for credentials in threads of their own.

They compare the end of credentials with the time of this host. So the virtual clock begins a day ago: for obstore, all
credentials of these tests have ended, and it asks for each request. Other tests look at the ends that they get.
"""

import asyncio
import io
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from bridges.signed_server import SignedServer
from bridges.sources import ARN, HOUR, each_kind, for_hours
from patience import soon

from sts_async import bridges
from sts_async.errors import ConfigurationError
from sts_async.testing import LocalSTS, VirtualClock

DAY = 24 * 3600
KEPT: list[Any] = []
"""Functions that polars got: old versions take a new function at the same address for the one that they have cached."""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(time.time() - DAY)


def obstore_of(service: SignedServer, credentials: Any) -> Any:
    store = pytest.importorskip("obstore.store", reason="obstore is not installed")
    return store.S3Store(
        "bucket",
        endpoint=service.url,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
        credential_provider=bridges.obstore.credential_provider(credentials),
    )


def scan(service: SignedServer, credentials: Any) -> Any:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    provide = bridges.polars.credential_provider(credentials)
    KEPT.append(provide)
    return polars.scan_csv(
        "s3://bucket/key.csv",
        credential_provider=provide,
        storage_options={"aws_endpoint_url": service.url, "aws_region": "us-east-1", "aws_allow_http": "true"},
    )


@each_kind
async def test_the_functions_of_obstore_sign_with_valid_keys_while_they_are_replaced(
    server: LocalSTS, service: SignedServer, clock: VirtualClock, kind: Any
) -> None:
    async with kind(server, clock) as credentials:
        store = obstore_of(service, credentials)

        def call() -> None:
            store.put("a dir/space+plus.txt", b"abc")
            assert bytes(store.get("a dir/space+plus.txt").bytes()) == b"abc"

        await for_hours(4, clock, call)

    assert service.refused == []
    assert len(service.seen) == 48
    assert len(service.keys) >= 4


@each_kind
async def test_the_coroutines_of_obstore_sign_with_valid_keys_while_they_are_replaced(
    server: LocalSTS, service: SignedServer, clock: VirtualClock, kind: Any
) -> None:
    """obstore asks in a thread of its own, and not in that of the event loop."""
    async with kind(server, clock) as credentials:
        store = obstore_of(service, credentials)

        async def call() -> None:
            await store.put_async("key", b"abc")
            assert bytes(await (await store.get_async("key")).bytes_async()) == b"abc"

        await for_hours(4, clock, call)

    assert service.refused == []
    assert len(service.seen) == 48
    assert len(service.keys) >= 4


async def test_obstore_asks_once_while_the_credentials_live() -> None:
    """With more than a minute left. With its default threshold, it would ask for each request from 5 min on."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    clock = VirtualClock(time.time() - HOUR + 240)  # so credentials have 240 s left for obstore
    async with LocalSTS(clock=clock) as server, server.client(clock=clock) as sts:
        with SignedServer(server) as service:
            view = bridges.CredentialsView(sts.role(ARN))
            asked = []
            get_sync = view.get_sync
            view.get_sync = lambda **given: asked.append(given) or get_sync(**given)  # type: ignore[method-assign]
            store = obstore_of(service, view)
            for _ in range(5):
                await soon(store.put_async("key", b"abc"))

    assert (len(asked), service.refused) == (1, [])


async def test_obstore_gets_the_true_end_and_a_threshold_of_a_minute() -> None:
    pytest.importorskip("obstore", reason="obstore is not installed")
    async with LocalSTS() as server, server.client() as sts:
        provider = bridges.obstore.credential_provider(sts.role(ARN))
        given = provider()

    assert given["expires_at"] > datetime.now(UTC) + timedelta(minutes=55)
    assert given["token"]
    assert provider.refresh_threshold == timedelta(seconds=60)
    assert provider.config == {"region": "us-east-1"}
    assert given["secret_access_key"] not in repr(provider)


@each_kind
async def test_a_scan_of_polars_signs_with_valid_keys_while_they_are_replaced(
    server: LocalSTS, service: SignedServer, clock: VirtualClock, kind: Any
) -> None:
    service.objects["/bucket/key.csv"] = b"a,b\n1,2\n3,4\n"
    clock.advance(DAY)  # polars refuses credentials that have ended for it
    async with kind(server, clock) as credentials:

        def call() -> None:
            assert scan(service, credentials).collect().rows() == [(1, 2), (3, 4)]

        await for_hours(3, clock, call)

    assert service.refused == []
    assert len(service.seen) >= 18
    assert len(service.keys) >= 3


async def test_polars_writes_with_valid_keys(server: LocalSTS, service: SignedServer, clock: VirtualClock) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    clock.advance(DAY)
    async with server.client(clock=clock) as sts:
        provider = bridges.polars.credential_provider(sts.role(ARN))
        options = {"aws_endpoint_url": service.url, "aws_region": "us-east-1", "aws_allow_http": "true"}
        frame = polars.DataFrame({"a": [1, 3]})
        await soon(
            asyncio.to_thread(
                frame.write_parquet, "s3://bucket/out.parquet", credential_provider=provider, storage_options=options
            )
        )

    assert service.refused == []
    assert polars.read_parquet(io.BytesIO(service.objects["/bucket/out.parquet"])).rows() == [(1,), (3,)]


async def test_polars_gets_the_end_a_minute_early() -> None:
    """It asks again with 7 s left: without the minute, a long request would outlive its credentials."""
    pytest.importorskip("polars", reason="polars is not installed")
    async with LocalSTS() as server, server.client() as sts:
        role = sts.role(ARN)
        keys, end = bridges.polars.credential_provider(role)()
        issued = await role.get_credentials()
        forever, never = bridges.polars.credential_provider(sts)()

    assert {*keys} == {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}
    assert end is not None
    assert issued.expiration is not None
    assert end + 60 == issued.expiration.timestamp()
    assert (len(forever), never) == (2, None)


async def test_the_last_minutes_are_waited_for(server: LocalSTS, clock: VirtualClock) -> None:
    """Polars would ask again for each request until there are better ones."""
    pytest.importorskip("polars", reason="polars is not installed")
    async with server.client(clock=clock) as sts:
        provide = bridges.polars.credential_provider(sts.role(ARN))
        before = provide()
        clock.advance(HOUR - 59)

        assert (await soon(asyncio.to_thread(provide)))[1] > (before[1] or 0)


async def test_in_its_last_minute_polars_gets_the_true_end() -> None:
    """STS cannot be reached: requests still work until then."""
    pytest.importorskip("polars", reason="polars is not installed")
    clock = VirtualClock(time.time())
    async with LocalSTS(clock=clock) as server:
        ends = datetime.now(UTC) + timedelta(seconds=50)
        last = attrs.evolve(server.issue(ARN), expiration=ends)
        async with server.client(credentials=last) as sts:
            _, end = bridges.polars.credential_provider(sts)()

    assert end == int(ends.timestamp())


@pytest.mark.parametrize("library", ["obstore", "polars"])
def test_other_forms_of_credentials_are_refused(library: str) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed")
    bridge: Any = getattr(bridges, library)
    with pytest.raises(ConfigurationError, match="an STSClient"):
        bridge.credential_provider(None)
