"""
The contenders: each a context that gives a coroutine function, which makes one call and returns what it learned.

All send the same members with the same session credentials, and all reuse one client and its connections. What a
contender imports, it imports when it is entered: each runs in a process of its own.

aiobotocore pins an older botocore than the extra `test`. Install the extra `bench` into an environment of its own, and
give that one with ``--interpreter`` where a benchmark compares with more than one such client.
"""

import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

from _loopback import ACCESS_KEY_ID, REGION, ROLE_ARN, SECRET_ACCESS_KEY, SESSION_TOKEN

Call = Callable[[int], Awaitable[object]]
Contender = Callable[[str, int], AbstractAsyncContextManager[Call]]

PREFIX = "Action=AssumeRole&Version=2011-06-15&"
CONTENT_TYPE = "application/x-www-form-urlencoded; charset=utf-8"


def session_name(number: int) -> str:
    """Return the name of the session that call *number* asks for."""
    return f"session-{number:06d}"


def lean_session(connections: int) -> Any:
    """Return an aiohttp session with nothing switched on that a signed POST does not need."""
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(),
    )


class MinimalSigner:
    """The least that signs: the key derived once, and then one date, two digests and one proof for a request."""

    def __init__(self, host: str) -> None:
        self.scope = f"{datetime.now(UTC):%Y%m%d}/{REGION}/sts/aws4_request"
        key = b"AWS4" + SECRET_ACCESS_KEY.encode()
        for part in self.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        self.key = key
        self.names = "content-type;host;x-amz-date;x-amz-security-token"
        self.head = f"POST\n/\n\ncontent-type:{CONTENT_TYPE}\nhost:{host}\nx-amz-date:"
        self.tail = f"\nx-amz-security-token:{SESSION_TOKEN}\n\n{self.names}\n"
        self.credential = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{self.scope}, SignedHeaders={self.names}"

    def headers(self, body: bytes) -> dict[str, str]:
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        request = f"{self.head}{stamp}{self.tail}{hashlib.sha256(body).hexdigest()}".encode()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{self.scope}\n{hashlib.sha256(request).hexdigest()}"
        proof = hmac.digest(self.key, text.encode(), "sha256").hex()
        return {
            "content-type": CONTENT_TYPE,
            "x-amz-date": stamp,
            "x-amz-security-token": SESSION_TOKEN,
            "authorization": f"{self.credential}, Signature={proof}",
        }


@contextlib.asynccontextmanager
async def floor(endpoint: str, connections: int) -> AsyncIterator[Call]:
    """Bare aiohttp: the same bytes, prepared once; the answer is read and left as it is."""
    import yarl

    url = yarl.URL(endpoint)
    body = f"{PREFIX}RoleArn={ROLE_ARN}&RoleSessionName={session_name(0)}".replace(":", "%3A").encode()
    headers = MinimalSigner(endpoint.split("/")[2]).headers(body)
    async with lean_session(connections) as session:

        async def call(number: int) -> object:
            response = await session.post(url, data=body, headers=headers)
            return await response.read()

        yield call


@contextlib.asynccontextmanager
async def practical_floor(endpoint: str, connections: int) -> AsyncIterator[Call]:
    """Bare aiohttp with the least honest signing and parsing."""
    from urllib.parse import quote

    import yarl
    from lxml import etree

    url, signer = yarl.URL(endpoint), MinimalSigner(endpoint.split("/")[2])
    space = "{https://sts.amazonaws.com/doc/2011-06-15/}"
    path = f"{space}AssumeRoleResult/{space}Credentials"
    async with lean_session(connections) as session:

        async def call(number: int) -> object:
            role, name = quote(ROLE_ARN, safe=""), quote(session_name(number), safe="")
            body = f"{PREFIX}RoleArn={role}&RoleSessionName={name}".encode()
            response = await session.post(url, data=body, headers=signer.headers(body))
            root = etree.fromstring(await response.read())
            credentials = {child.tag[len(space) :]: child.text for child in root.find(path)}
            return credentials["AccessKeyId"]

        yield call


def sts_client(endpoint: str, connections: int, **options: Any) -> Any:
    """Return a client of this library with everything on. Options are those of `Config`."""
    from sts_async import Config, Credentials, STSClient

    credentials = Credentials(
        access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY, session_token=SESSION_TOKEN
    )
    config = Config(max_connections=connections, **options)
    return STSClient(region=REGION, endpoint_url=endpoint, credentials=credentials, config=config)


@contextlib.asynccontextmanager
async def sts_async(endpoint: str, connections: int) -> AsyncIterator[Call]:
    async with sts_client(endpoint, connections) as client:

        async def call(number: int) -> object:
            response = await client.assume_role(role_arn=ROLE_ARN, role_session_name=session_name(number))
            return response.credentials.access_key_id

        yield call


@contextlib.asynccontextmanager
async def aiobotocore(endpoint: str, connections: int) -> AsyncIterator[Call]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    async with get_session().create_client(
        "sts",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
        aws_session_token=SESSION_TOKEN,
        config=AioConfig(max_pool_connections=connections),
    ) as client:

        async def call(number: int) -> object:
            response = await client.assume_role(RoleArn=ROLE_ARN, RoleSessionName=session_name(number))
            return response["Credentials"]["AccessKeyId"]

        yield call


@contextlib.asynccontextmanager
async def capo_sts(endpoint: str, connections: int) -> AsyncIterator[Call]:
    from capo_sts import AsyncSTSClient, Credentials

    keys = {"access_key": ACCESS_KEY_ID, "secret_key": SECRET_ACCESS_KEY}
    credentials = Credentials(**keys, session_token=SESSION_TOKEN)
    async with AsyncSTSClient(region=REGION, endpoint=endpoint, credentials=credentials) as client:

        async def call(number: int) -> object:
            response = await client.assume_role(role_arn=ROLE_ARN, role_session_name=session_name(number))
            return response["credentials"]["access_key_id"]

        yield call


@contextlib.asynccontextmanager
async def aws_sdk_sts(endpoint: str, connections: int) -> AsyncIterator[Call]:
    from aws_sdk_sts.client import AsyncSTSClient
    from aws_sdk_sts.config import AsyncSTSConfig
    from aws_sdk_sts.models import AssumeRoleInput
    from smithy_aws_core.identity import AWSCredentialsIdentity, StaticCredentialsResolver

    identity = AWSCredentialsIdentity(
        access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY, session_token=SESSION_TOKEN
    )
    config = await AsyncSTSConfig.resolve(
        region=REGION,
        endpoint_uri=endpoint,
        aws_credentials_identity_resolver=StaticCredentialsResolver(identity),
    )
    async with AsyncSTSClient(config) as client:

        async def call(number: int) -> object:
            request = AssumeRoleInput(role_arn=ROLE_ARN, role_session_name=session_name(number))
            response = await client.assume_role(request)
            return response.credentials.access_key_id

        yield call


CONTENDERS: dict[str, Contender] = {
    "floor": floor,
    "practical-floor": practical_floor,
    "sts_async": sts_async,
    "aiobotocore": aiobotocore,
    "capo-sts": capo_sts,
    "aws-sdk-sts": aws_sdk_sts,
}
