"""boto3 and botocore over sockets: every request is signed with keys that are valid, whatever time passes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bridges.signed_server import SignedServer
from bridges.sources import ARN, HOUR, ROLE, each_kind, for_hours
from patience import soon

from sts_async import bridges
from sts_async.bridges import _consumers
from sts_async.errors import ConfigurationError, CredentialsError, ServiceError
from sts_async.fleet import CredentialsFleet
from sts_async.testing import LocalSTS, Refuse, VirtualClock


@each_kind
async def test_a_session_of_boto3_signs_with_valid_keys_while_they_are_replaced(
    server: LocalSTS, service: SignedServer, clock: VirtualClock, kind: Any
) -> None:
    async with kind(server, clock) as credentials:
        s3 = bridges.boto3.session(credentials).client("s3", endpoint_url=service.url)

        def call() -> None:
            s3.put_object(Bucket="bucket", Key="a dir/with space+plus.txt", Body=b"abc")
            assert s3.get_object(Bucket="bucket", Key="a dir/with space+plus.txt")["Body"].read() == b"abc"

        await for_hours(4, clock, call)

    assert service.refused == []
    assert len(service.seen) == 48
    assert len(service.keys) >= 4


@each_kind
async def test_a_session_of_botocore_is_used_by_threads_at_once(
    server: LocalSTS, service: SignedServer, clock: VirtualClock, kind: Any
) -> None:
    """T49: a cold start, and a refresh in the middle."""
    async with kind(server, clock) as credentials:
        s3 = bridges.botocore.session(credentials).create_client("s3", endpoint_url=service.url)

        def call() -> None:
            for number in range(5):
                s3.put_object(Bucket="bucket", Key=f"{number}", Body=b"abc")

        await soon(asyncio.gather(*(asyncio.to_thread(call) for _ in range(4))))
        clock.advance(HOUR - 120)
        await soon(asyncio.gather(*(asyncio.to_thread(call) for _ in range(4))))

    assert service.refused == []
    assert len(service.seen) == 40
    assert len(service.keys) == 2


async def test_presigned_urls_and_the_account_are_of_the_same_credentials(
    server: LocalSTS, clock: VirtualClock
) -> None:
    async with server.client(clock=clock) as sts:
        role = sts.role(ARN)
        session = bridges.boto3.session(role)
        url = session.client("s3").generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
        frozen = session.get_credentials().get_frozen_credentials()
        issued = await role.get_credentials()

    assert f"AWSAccessKeyId={issued.access_key_id}" in url
    assert (frozen.access_key, frozen.account_id) == (issued.access_key_id, "123456789012")


async def test_the_object_in_the_form_of_botocore_has_every_property(server: LocalSTS, clock: VirtualClock) -> None:
    """Libraries read them one by one, or ask for a function that reads one."""
    async with server.client(clock=clock) as sts:
        role = sts.role(ARN)
        issued = await role.get_credentials()
        found = bridges.botocore.session_credentials(role)

        assert (found.access_key, found.secret_key, found.token) == (
            issued.access_key_id,
            issued.secret_access_key,
            issued.session_token,
        )
        assert found.get_deferred_property("account_id")() == "123456789012"
        assert (found.method, found._expiry_time) == ("sts-async", issued.expiration)
        assert issued.secret_access_key not in f"{found!r}{vars(found)!r}"


@pytest.mark.parametrize(
    ("given", "region"), [({}, "us-east-1"), ({"region": "eu-west-3"}, "eu-west-3")], ids=["client's", "given"]
)
async def test_the_region_is_that_of_the_client_unless_another_is_given(
    server: LocalSTS, clock: VirtualClock, given: dict[str, str], region: str
) -> None:
    async with server.client(clock=clock) as sts:
        assert bridges.boto3.session(sts, **given).client("s3").meta.region_name == region


async def test_other_settings_are_those_of_boto3(
    server: LocalSTS, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys in the environment are not used."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    async with server.client(clock=clock) as sts:
        session = bridges.boto3.session(sts)

        assert session.get_credentials().access_key == server.credentials.access_key_id
        assert session.client("s3").meta.config.retries["total_max_attempts"] == 7


async def test_the_error_of_a_fetch_comes_out_of_the_call(
    server: LocalSTS, service: SignedServer, clock: VirtualClock
) -> None:
    server.faults.add(Refuse("AccessDenied", operation="AssumeRole", times=None))
    async with server.client(clock=clock) as sts:
        s3 = bridges.boto3.session(sts.role(ARN)).client("s3", endpoint_url=service.url)
        with pytest.raises(ServiceError, match="AccessDenied"):
            await soon(asyncio.to_thread(s3.list_buckets))

    assert service.seen == []


async def test_a_call_in_the_thread_of_the_fleet_is_refused_at_once(
    server: LocalSTS, service: SignedServer, clock: VirtualClock
) -> None:
    """Nothing is in memory, and the event loop that must fetch it would be blocked."""
    async with server.client(clock=clock) as sts, CredentialsFleet(sts) as fleet:
        s3 = bridges.boto3.session(fleet.provider(ROLE)).client("s3", endpoint_url=service.url)
        with pytest.raises(CredentialsError, match="the event loop of the fleet"):
            s3.list_buckets()


# -- missing and old libraries -------------------------------------------------------------------------------------


def test_a_missing_library_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"needs no-such-thing>=1\.2, which is not installed; run: python -m"):
        _consumers.consumer("no_such_thing.part", package="no-such-thing", minimum="1.2")


def test_an_old_library_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_consumers.importlib.metadata, "version", lambda package: "1.35.99")
    _consumers.consumer.cache_clear()
    with pytest.raises(ConfigurationError, match=r"needs boto3>=1\.37, and 1\.35\.99 is installed; run: python -m pip"):
        bridges.boto3.session(None)  # type: ignore[arg-type]


def test_a_library_that_cannot_be_imported_says_what_it_misses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_library.py").write_text("import no_such_thing_either")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="importing it failed: no module 'no_such_thing_either'"):
        _consumers.consumer("broken_library", minimum="1")
