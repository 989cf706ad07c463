"""aiobotocore, aioboto3 and s3fs over sockets. They pin botocore, so they have a virtual environment of their own."""

import asyncio
from typing import Any

import pytest
from bridges.signed_server import SignedServer
from bridges.sources import ARN, ROLE, each_kind, for_hours
from patience import soon

from sts_async import bridges
from sts_async._runtime import other_loops
from sts_async.errors import CredentialsError
from sts_async.fleet import CredentialsFleet
from sts_async.testing import LocalSTS, VirtualClock

pytest.importorskip("aiobotocore", reason="aiobotocore is not installed: it pins botocore to another version")


@each_kind
async def test_a_session_of_aiobotocore_signs_with_valid_keys_while_they_are_replaced(
    server: LocalSTS, service: SignedServer, clock: VirtualClock, kind: Any
) -> None:
    async with kind(server, clock) as credentials:
        session = bridges.aiobotocore.session(credentials)
        async with session.create_client("s3", endpoint_url=service.url) as s3:

            async def call() -> None:
                await s3.put_object(Bucket="bucket", Key="a dir/space+plus.txt", Body=b"abc")
                found = await s3.get_object(Bucket="bucket", Key="a dir/space+plus.txt")
                async with found["Body"] as body:
                    assert await body.read() == b"abc"

            await for_hours(4, clock, call)

    assert service.refused == []
    assert len(service.seen) == 48
    assert len(service.keys) >= 4


async def test_a_session_of_aiobotocore_works_in_several_event_loops(
    server: LocalSTS, service: SignedServer, clock: VirtualClock
) -> None:
    async with server.client(clock=clock) as sts:
        session = bridges.aiobotocore.session(sts.role(ARN))

        async def call() -> None:
            async with session.create_client("s3", endpoint_url=service.url) as s3:
                await s3.put_object(Bucket="bucket", Key="key", Body=b"abc")

        await soon(asyncio.gather(call(), *(asyncio.to_thread(asyncio.run, call()) for _ in range(3))))

    assert service.refused == []
    assert len(service.seen) == 4


async def test_presigned_urls_and_the_account_are_of_the_same_credentials(
    server: LocalSTS, clock: VirtualClock
) -> None:
    async with server.client(clock=clock) as sts:
        role = sts.role(ARN)
        session = bridges.aiobotocore.session(role)
        found = await session.get_credentials()
        assert found.access_key is None
        frozen = await found.get_frozen_credentials()
        async with session.create_client("s3") as s3:
            url = await s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
            assert s3.meta.region_name == "us-east-1"
        issued = await role.get_credentials()
        members = [await found.get_access_key(), await found.get_secret_key(), await found.get_token()]

    assert issued.access_key_id in url
    assert (frozen.access_key, frozen.account_id) == (issued.access_key_id, "123456789012")
    assert members == [issued.access_key_id, issued.secret_access_key, issued.session_token]
    assert issued.secret_access_key not in repr(found)


@each_kind
async def test_a_session_of_aioboto3_signs_with_valid_keys(
    server: LocalSTS, service: SignedServer, clock: VirtualClock, kind: Any
) -> None:
    pytest.importorskip("aioboto3", reason="aioboto3 is not installed: it pins aiobotocore to another version")
    async with kind(server, clock) as credentials:
        session = bridges.aioboto3.session(credentials)
        async with session.client("s3", endpoint_url=service.url) as s3:

            async def call() -> None:
                await s3.put_object(Bucket="bucket", Key="key", Body=b"abc")

            await for_hours(2, clock, call)

    assert service.refused == []
    assert len(service.seen) == 12


@each_kind
async def test_a_file_system_of_s3fs_signs_with_valid_keys_while_they_are_replaced(
    server: LocalSTS, service: SignedServer, clock: VirtualClock, kind: Any
) -> None:
    """Its synchronous methods run in the event loop of its own thread."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    async with kind(server, clock) as credentials:
        files = bridges.s3fs.filesystem(credentials, client_kwargs={"endpoint_url": service.url})

        def call() -> None:
            with files.open("bucket/key.txt", "wb") as file:
                file.write(b"abc")
            assert files.cat("bucket/key.txt") == b"abc"

        await for_hours(4, clock, call)

    assert service.refused == []
    assert len(service.seen) >= 48
    assert len(service.keys) >= 4


async def test_an_asynchronous_file_system_uses_the_event_loop_of_the_caller(
    server: LocalSTS, service: SignedServer, clock: VirtualClock
) -> None:
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    async with server.client(clock=clock) as sts:
        files = bridges.s3fs.filesystem(sts.role(ARN), client_kwargs={"endpoint_url": service.url}, asynchronous=True)
        session = await files.set_session()
        await files._pipe_file("bucket/key", b"abc")
        assert await files._cat_file("bucket/key") == b"abc"
        await session.close()

    assert service.refused == []


async def test_a_blocked_event_loop_of_the_fleet_is_an_error_of_s3fs(
    server: LocalSTS, service: SignedServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A synchronous call in the fleet's own event loop: its credentials would never come."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    monkeypatch.setattr(other_loops, "BLOCKED_SECONDS", 0.1)
    monkeypatch.setattr(other_loops, "LOOK", 0.05)
    async with server.client(clock=clock) as sts, CredentialsFleet(sts) as fleet:
        files = bridges.s3fs.filesystem(fleet.provider(ROLE), client_kwargs={"endpoint_url": service.url})
        with pytest.raises(CredentialsError, match="the event loop of the fleet is blocked"):
            files.cat("bucket/key.txt")
