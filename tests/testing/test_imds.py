"""LocalIMDS, with botocore's fetchers as clients, and by hand where they do not reach."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from botocore.utils import InstanceMetadataFetcher, InstanceMetadataRegionFetcher

from sts_async import Credentials
from sts_async.testing import Answer, Delay, LocalIMDS, LocalSTS, Refuse, Reset, Throttle, Unavailable

ROLES = "/latest/meta-data/iam/security-credentials"
Call = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
async def imds(clock: Any) -> AsyncIterator[LocalIMDS]:
    async with LocalIMDS(clock=clock) as server:
        yield server


@pytest.fixture
async def call(imds: LocalIMDS) -> AsyncIterator[Call]:
    async with aiohttp.ClientSession() as session:

        async def send(path: str, *, method: str = "GET", token: str | None = None, **headers: str) -> tuple[int, str]:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            if token is not None:
                given["x-aws-ec2-metadata-token"] = token
            async with session.request(method, imds.url + path, headers=given) as response:
                return response.status, await response.text()

        yield send


async def new_token(call: Call, *, seconds: int = 21_600) -> str:
    path = "/latest/api/token"
    status, token = await call(path, method="PUT", x_aws_ec2_metadata_token_ttl_seconds=str(seconds))

    assert status == 200
    return token


async def boto(imds: LocalIMDS, *, v1: bool = True) -> dict[str, Any]:
    """Return what botocore makes of the server, from the variables that it gives."""

    def fetch() -> dict[str, Any]:
        fetcher = InstanceMetadataFetcher(
            timeout=5,
            env={},
            config={
                "ec2_metadata_service_endpoint": imds.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"],
                "ec2_metadata_v1_disabled": not v1,
            },
        )
        try:
            found: dict[str, Any] = fetcher.retrieve_iam_role_credentials()
            return found
        finally:
            fetcher._session.close()

    return await asyncio.to_thread(fetch)


# -- botocore -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("foreign_logs_are_off")
async def test_botocore_fetches_the_credentials_of_the_role(imds: LocalIMDS, server: LocalSTS) -> None:
    imds.credentials = lambda: server.issue("arn:aws:iam::123456789012:role/web")
    imds.role = "web"
    found = await boto(imds, v1=False)
    credentials = Credentials(
        access_key_id=found["access_key"], secret_access_key=found["secret_key"], session_token=found["token"]
    )
    async with server.client(credentials=credentials) as sts:
        identity = await sts.get_caller_identity()

    assert found["role_name"] == "web"
    assert identity.arn == "arn:aws:sts::123456789012:assumed-role/web/local"
    assert [(record.method, record.token, record.status) for record in imds.requests] == [
        ("PUT", None, 200),
        ("GET", "valid", 200),
        ("GET", "valid", 200),
    ]


@pytest.mark.usefixtures("foreign_logs_are_off")
async def test_botocore_finds_the_region(imds: LocalIMDS) -> None:
    imds.region = "eu-central-1"

    def fetch() -> Any:
        fetcher = InstanceMetadataRegionFetcher(timeout=5, env={}, base_url=imds.url)
        try:
            return fetcher.retrieve_region()
        finally:
            fetcher._session.close()

    assert await asyncio.to_thread(fetch) == "eu-central-1"


@pytest.mark.usefixtures("foreign_logs_are_off")
@pytest.mark.parametrize("status", [403, 404, 405])
async def test_a_downgrade_shows_in_the_records(imds: LocalIMDS, status: int) -> None:
    """T28: botocore does it, so it is seen here; a server of version 2 refuses it."""
    imds.faults.add(Refuse("NoToken", status=status, path="/latest/api/token", times=2))
    refused = await boto(imds)
    imds.v1 = True
    served = await boto(imds)

    assert refused == {}
    assert served["role_name"] == "demo"
    assert [(record.token, record.status) for record in imds.requests] == [
        (None, status),
        ("absent", 401),
        (None, status),
        ("absent", 200),
        ("absent", 200),
    ]


@pytest.mark.usefixtures("foreign_logs_are_off")
@pytest.mark.parametrize(
    "fault",
    [
        Reset(path=f"{ROLES}/demo"),
        Answer(200, "{", path=f"{ROLES}/demo"),
        Answer(200, "", path=ROLES),
        Unavailable(path=ROLES),
        Throttle(path=ROLES),
        Refuse("BadRequest"),
    ],
    ids=repr,
)
async def test_botocore_gets_nothing_through_a_fault(imds: LocalIMDS, fault: Any) -> None:
    imds.faults.add(fault)

    assert await boto(imds) == {}
    assert not imds.faults
    assert (await boto(imds))["role_name"] == "demo"


@pytest.mark.usefixtures("foreign_logs_are_off")
async def test_an_instance_without_a_role_is_not_one_that_may_not_have_it(imds: LocalIMDS, call: Call) -> None:
    """F32: 404, or 200 with a code in the body."""
    token = await new_token(call)
    imds.role = None
    without = await call(f"{ROLES}/", token=token)
    nothing = await boto(imds)
    imds.role, imds.code = "web", "AssumeRoleUnauthorizedAccess"
    status, body = await call(f"{ROLES}/web", token=token)

    assert without[0] == 404
    assert nothing == await boto(imds) == {}
    assert status == 200
    assert json.loads(body).keys() == {"Code", "Message", "LastUpdated"}
    assert json.loads(body)["Code"] == "AssumeRoleUnauthorizedAccess"


async def test_expired_credentials_can_be_served(imds: LocalIMDS, call: Call, clock: Any) -> None:
    """F33, F49: static stability begins there."""
    imds.lifetime = -3600
    _, body = await call(f"{ROLES}/demo", token=await new_token(call))

    assert json.loads(body)["Code"] == "Success"
    assert json.loads(body)["Expiration"] < json.loads(body)["LastUpdated"]


# -- tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl", ["1", "60", "21600"])
async def test_a_token_lasts_as_long_as_was_asked(imds: LocalIMDS, call: Call, clock: Any, ttl: str) -> None:
    token = await new_token(call, seconds=int(ttl))
    clock.move(int(ttl) - 0.5)
    before = await call(ROLES, token=token)
    clock.move(0.5)
    after = await call(ROLES, token=token)

    assert len(token) <= 256
    assert before == (200, "demo")
    assert after[0] == 401
    assert [record.token for record in imds.requests] == [None, "valid", "expired"]


@pytest.mark.parametrize("ttl", ["", "0", "21601", "-1", "1.5", "x", "999999", "\u00b2"])
async def test_another_lifetime_is_a_bad_request(call: Call, ttl: str) -> None:
    found = await call("/latest/api/token", method="PUT", x_aws_ec2_metadata_token_ttl_seconds=ttl)

    assert found[0] == 400


async def test_a_token_is_put_and_not_through_a_proxy(call: Call) -> None:
    ttl = {"x_aws_ec2_metadata_token_ttl_seconds": "60"}

    assert (await call("/latest/api/token", method="PUT"))[0] == 400
    assert (await call("/latest/api/token", **ttl))[0] == 405
    assert (await call("/latest/api/token", method="PUT", x_forwarded_for="10.0.0.1", **ttl))[0] == 403


async def test_a_token_can_end_early(imds: LocalIMDS, call: Call) -> None:
    """F31: the client fetches a new one, once."""
    first = await new_token(call)
    imds.revoke_tokens()
    revoked = await call(ROLES, token=first)
    renewed = await call(ROLES, token=await new_token(call))

    assert (revoked[0], renewed[0]) == (401, 200)
    assert first not in repr(imds.requests)


async def test_a_wrong_token_is_refused_even_in_version_1(imds: LocalIMDS, call: Call) -> None:
    imds.v1 = True

    assert (await call(ROLES))[0] == 200
    assert (await call(ROLES, token="a" * 56))[0] == 401
    assert [record.token for record in imds.requests] == ["absent", "invalid"]


async def test_a_token_of_another_instance_is_refused(imds: LocalIMDS, call: Call) -> None:
    token = await new_token(call)
    async with LocalIMDS() as other, aiohttp.ClientSession() as session:
        headers = {"x-aws-ec2-metadata-token": token}
        async with session.get(other.url + ROLES, headers=headers) as response:
            assert response.status == 401


# -- paths --------------------------------------------------------------------------------------------------------


async def test_the_extended_paths_are_there_when_asked_for(imds: LocalIMDS, call: Call) -> None:
    """Newer SDKs try them first, and fall back on 404."""
    token = await new_token(call)
    missing = [await call(f"{ROLES}-extended/{name}", token=token) for name in ("", "demo")]
    imds.extended = True
    listed = await call(f"{ROLES}-extended/", token=token)
    _, extended = await call(f"{ROLES}-extended/demo", token=token)
    _, plain = await call(f"{ROLES}/demo", token=token)

    assert [status for status, _ in missing] == [404, 404]
    assert listed == (200, "demo")
    assert json.loads(extended).keys() - json.loads(plain).keys() == {"AccountId"}
    assert json.loads(plain).keys() == {
        "Code",
        "LastUpdated",
        "Type",
        "AccessKeyId",
        "SecretAccessKey",
        "Token",
        "Expiration",
    }


async def test_a_role_can_be_taken_away_and_replaced(imds: LocalIMDS, call: Call) -> None:
    """A name that was cached suddenly gives 404."""
    token = await new_token(call)
    imds.role = "another"

    assert (await call(f"{ROLES}/demo", token=token))[0] == 404
    assert (await call(f"{ROLES}/another", token=token))[0] == 200


@pytest.mark.parametrize("role", ["../../user-data", "a\r\nb", "a?x", "a b", "\u00e4", ""])
async def test_an_invalid_role_name_is_sent_unchanged(imds: LocalIMDS, call: Call, role: str) -> None:
    """T29: it is the client that has to refuse it."""
    imds.role = role

    assert await call(ROLES, token=await new_token(call)) == (200, role)


@pytest.mark.parametrize("path", ["/", "/latest/meta-data/", "/latest/user-data", f"{ROLES}/x", "//latest/api/token"])
async def test_other_paths_are_not_there(call: Call, path: str) -> None:
    status, page = await call(path, token=await new_token(call))

    assert status == 404
    assert "<h1>404 - Not Found</h1>" in page


async def test_the_zone_is_that_of_the_region_unless_it_is_given(imds: LocalIMDS, call: Call) -> None:
    token = await new_token(call)
    first = await call("/latest/meta-data/placement/availability-zone", token=token)
    imds.availability_zone = "us-west-2-lax-1a"
    second = await call("/latest/meta-data/placement/availability-zone/", token=token)

    assert (first, second) == ((200, "us-east-1a"), (200, "us-west-2-lax-1a"))
    assert await call("/latest/meta-data/placement/region", token=token) == (200, "us-east-1")
    assert (await call(ROLES, token=token, method="POST"))[0] == 405


async def test_a_late_token_comes_late(imds: LocalIMDS, call: Call) -> None:
    """F30: half open, for a client with a timeout."""
    imds.faults.add(Delay(3600, path="/latest/api/token"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await new_token(call)

    assert (await call(ROLES))[0] == 401
