"""
The contenders that keep the credentials of many roles.

Each is a context manager that yields a coroutine function. The function obtains and keeps the credentials of a role,
and returns their access key id.

A contender imports its libraries when it is entered, because each contender runs in a process of its own. Programs use
aiobotocore in two ways. `AioAssumeRoleCredentialFetcher` makes a client for each fetch. A program that knows this
passes a function to `AioRefreshableCredentials` that uses one client for all roles.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any

import _contenders
from _loopback import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN

Get = Callable[[int], Awaitable[str]]
Peer = Callable[[str, int], AbstractAsyncContextManager[Get]]
KEYS = {
    "aws_access_key_id": ACCESS_KEY_ID,
    "aws_secret_access_key": SECRET_ACCESS_KEY,
    "aws_session_token": SESSION_TOKEN,
}
ADVISORY, MANDATORY = 15 * 60, 10 * 60  # s before the end, as in botocore


def role_arn(number: int) -> str:
    """Return the ARN of role *number*, which no other number has."""
    return f"arn:aws:iam::{100_000_000_000 + number}:role/fleet/r-{number:06}"


def request(number: int) -> Any:
    """Return the request for role *number*."""
    from sts_async import AssumeRoleRequest

    return AssumeRoleRequest(role_arn=role_arn(number), role_session_name="benchmark")


def keys_of(response: dict[str, Any]) -> dict[str, str]:
    """Return the credentials of a response in the form of botocore's refreshable credentials."""
    found = response["Credentials"]
    return {
        "access_key": found["AccessKeyId"],
        "secret_key": found["SecretAccessKey"],
        "token": found["SessionToken"],
        "expiry_time": found["Expiration"].isoformat(),
    }


@contextlib.asynccontextmanager
async def fleet(endpoint: str, at_once: int) -> AsyncIterator[Get]:
    """`CredentialsFleet`."""
    from sts_async.fleet import CredentialsFleet

    async with (
        _contenders.sts_client(endpoint, at_once) as sts,
        CredentialsFleet(sts, concurrency=at_once, requests_per_second=100_000) as kept,
    ):

        async def get(number: int) -> str:
            return (await kept.get(request(number))).access_key_id

        yield get


@contextlib.asynccontextmanager
async def providers(endpoint: str, at_once: int) -> AsyncIterator[Get]:
    """An `AssumeRoleProvider` for each role, each used through a view of one client."""
    from sts_async.credentials import AssumeRoleProvider

    views: dict[int, Any] = {}
    async with _contenders.sts_client(endpoint, at_once) as sts:

        async def get(number: int) -> str:
            if number not in views:
                role = AssumeRoleProvider(role_arn=role_arn(number), role_session_name="benchmark")
                views[number] = sts.with_options(credentials=role)
            key: str = (await views[number].get_credentials()).access_key_id
            return key

        yield get


@contextlib.asynccontextmanager
async def aiobotocore(endpoint: str, at_once: int) -> AsyncIterator[Get]:
    """An `AioSession` for each role, with the fetcher of aiobotocore."""
    from aiobotocore.credentials import AioAssumeRoleCredentialFetcher, AioCredentials, AioRefreshableCredentials
    from aiobotocore.session import get_session

    source = get_session()
    signing = AioCredentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN)
    sessions: dict[int, Any] = {}

    def create_client(*arguments: object, **options: object) -> object:
        return source.create_client(*arguments, endpoint_url=endpoint, region_name=REGION, **options)

    async def get(number: int) -> str:
        if number not in sessions:
            fetcher = AioAssumeRoleCredentialFetcher(
                create_client, signing, role_arn(number), extra_args={"RoleSessionName": "benchmark"}
            )
            session = get_session()
            session._credentials = AioRefreshableCredentials.create_from_metadata(
                await fetcher.fetch_credentials(),
                refresh_using=fetcher.fetch_credentials,
                method="assume-role",
                advisory_timeout=ADVISORY,
                mandatory_timeout=MANDATORY,
            )
            sessions[number] = session
        credentials = await sessions[number].get_credentials()
        key: str = (await credentials.get_frozen_credentials()).access_key
        return key

    yield get


@contextlib.asynccontextmanager
async def aiobotocore_one_client(endpoint: str, at_once: int) -> AsyncIterator[Get]:
    """`AioRefreshableCredentials` for each role, without a session, whose fetches share one client."""
    from aiobotocore.config import AioConfig
    from aiobotocore.credentials import AioRefreshableCredentials
    from aiobotocore.session import get_session

    kept: dict[int, Any] = {}
    config = AioConfig(max_pool_connections=at_once)
    options: dict[str, Any] = {"endpoint_url": endpoint, "region_name": REGION, "config": config, **KEYS}
    async with get_session().create_client("sts", **options) as sts:

        async def get(number: int) -> str:
            async def fetch() -> dict[str, str]:
                return keys_of(await sts.assume_role(RoleArn=role_arn(number), RoleSessionName="benchmark"))

            if number not in kept:
                kept[number] = AioRefreshableCredentials.create_from_metadata(
                    await fetch(),
                    refresh_using=fetch,
                    method="assume-role",
                    advisory_timeout=ADVISORY,
                    mandatory_timeout=MANDATORY,
                )
            key: str = (await kept[number].get_frozen_credentials()).access_key
            return key

        yield get


@contextlib.asynccontextmanager
async def boto3(endpoint: str, at_once: int) -> AsyncIterator[Get]:
    """A boto3 session with refreshable credentials for each role, and a client of it, in threads."""
    import boto3
    import botocore.session
    from botocore.credentials import AssumeRoleCredentialFetcher, Credentials, RefreshableCredentials

    where = {"endpoint_url": endpoint, "region_name": REGION}
    source = botocore.session.get_session()
    signing = Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN)
    kept: dict[int, tuple[Any, Any]] = {}

    def create_client(*arguments: object, **options: object) -> object:
        return source.create_client(*arguments, **where, **options)

    def obtain(number: int) -> str:
        if number not in kept:
            fetcher = AssumeRoleCredentialFetcher(
                create_client, signing, role_arn(number), extra_args={"RoleSessionName": "benchmark"}
            )
            inner = botocore.session.get_session()
            inner._credentials = RefreshableCredentials.create_from_metadata(
                fetcher.fetch_credentials(),
                refresh_using=fetcher.fetch_credentials,
                method="assume-role",
                advisory_timeout=ADVISORY,
                mandatory_timeout=MANDATORY,
            )
            session = boto3.Session(botocore_session=inner)
            kept[number] = session, session.client("sts", **where)
        key: str = kept[number][0].get_credentials().get_frozen_credentials().access_key
        return key

    with ThreadPoolExecutor(at_once) as threads:
        loop = asyncio.get_running_loop()

        async def get(number: int) -> str:
            return await loop.run_in_executor(threads, obtain, number)

        yield get


PEERS: dict[str, Peer] = {
    "fleet": fleet,
    "providers": providers,
    "aiobotocore": aiobotocore,
    "aiobotocore-1": aiobotocore_one_client,
    "boto3": boto3,
}
