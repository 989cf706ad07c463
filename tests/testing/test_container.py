"""LocalContainer, with botocore's fetcher and provider as clients, and by hand where they do not reach."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from botocore.credentials import ContainerProvider
from botocore.exceptions import CredentialRetrievalError, MetadataRetrievalError
from botocore.httpsession import URLLib3Session
from botocore.utils import ContainerMetadataFetcher

from sts_async import Credentials
from sts_async.testing import Answer, LocalContainer, LocalSTS, Refuse, Throttle, Unavailable

TOKEN = "SENTINEL-authorization-token"


@pytest.fixture
async def endpoint(clock: Any) -> AsyncIterator[LocalContainer]:
    async with LocalContainer(token=TOKEN, clock=clock) as server:
        yield server


async def boto(environ: dict[str, str]) -> Any:
    """Return the credentials that botocore's provider finds with these environment variables."""

    def fetch() -> Any:
        session = URLLib3Session(timeout=5)
        try:
            fetcher = ContainerMetadataFetcher(session=session, sleep=lambda seconds: None)
            return ContainerProvider(environ=environ, fetcher=fetcher).load()
        finally:
            session.close()

    return await asyncio.to_thread(fetch)


async def get(server: LocalContainer, path: str = "/credentials", **options: Any) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(options.pop("method", "GET"), server.url + path, **options) as response,
    ):
        return response.status, await response.json()


@pytest.mark.usefixtures("foreign_logs_are_off")
async def test_botocore_fetches_with_the_token(endpoint: LocalContainer, server: LocalSTS) -> None:
    endpoint.credentials = lambda: server.issue("arn:aws:iam::123456789012:role/task")
    endpoint.account_id = "123456789012"
    found = await boto(endpoint.environ)
    credentials = Credentials(
        access_key_id=found.access_key, secret_access_key=found.secret_key, session_token=found.token
    )
    async with server.client(credentials=credentials) as sts:
        identity = await sts.get_caller_identity()

    assert found.account_id == "123456789012"
    assert identity.arn == "arn:aws:sts::123456789012:assumed-role/task/local"
    assert [record.token for record in endpoint.requests] == ["valid"]


@pytest.mark.usefixtures("foreign_logs_are_off")
@pytest.mark.parametrize(("token", "state"), [("wrong", "invalid"), ("", "absent"), (f"{TOKEN}x", "invalid")])
async def test_botocore_without_the_token_is_refused(endpoint: LocalContainer, token: str, state: str) -> None:
    environ = {**endpoint.environ, "AWS_CONTAINER_AUTHORIZATION_TOKEN": token}
    if not token:
        del environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]

    with pytest.raises((MetadataRetrievalError, CredentialRetrievalError), match="401"):
        await boto(environ)
    assert {(record.token, record.code) for record in endpoint.requests} == {(state, "Unauthorized")}


@pytest.mark.usefixtures("foreign_logs_are_off")
async def test_the_token_is_read_at_each_fetch(endpoint: LocalContainer, tmp_path: Any) -> None:
    """T33: the file is the client's; the server can change what it asks for."""
    file = tmp_path / "token"
    file.write_text("second")
    environ = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
    }
    endpoint.token = "second"
    found = await boto(environ)
    endpoint.token = None
    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN" not in endpoint.environ
    unasked = await get(endpoint)

    assert found.access_key.startswith("ASIA")
    assert unasked[0] == 200
    assert [record.token for record in endpoint.requests] == ["valid", None]


@pytest.mark.usefixtures("foreign_logs_are_off")
async def test_botocore_gets_through_faults_that_pass(endpoint: LocalContainer) -> None:
    """F34: two failures, and the third attempt."""
    endpoint.faults.add(Unavailable(), Answer(200, "not JSON"))

    assert (await boto(endpoint.environ)).access_key.startswith("ASIA")
    assert [record.status for record in endpoint.requests] == [503, 200, 200]


async def test_errors_are_a_code_and_a_message(endpoint: LocalContainer) -> None:
    endpoint.faults.add(Throttle(), Refuse("InvalidIdInRequest", message="m"), Refuse("Unauthorized"))

    assert await get(endpoint) == (429, {"code": "ThrottlingException", "message": "Rate exceeded"})
    assert await get(endpoint) == (400, {"code": "InvalidIdInRequest", "message": "m"})
    assert (await get(endpoint))[0] == 401


async def test_all_members_are_there(clock: Any) -> None:
    """`AccountId` and `RoleArn` are optional, and so is an end."""
    role_arn = "arn:aws:iam::123456789012:role/task"
    path = "/v2/credentials?id=1"
    async with LocalContainer(path=path, account_id="123456789012", role_arn=role_arn, clock=clock) as endpoint:
        status, whole = await get(endpoint, path)
        endpoint.credentials = Credentials(access_key_id="A", secret_access_key="s")
        _, least = await get(endpoint, path)
        elsewhere = [await get(endpoint, other) for other in ("/v2/credentials", "/v2/credentials?id=2", "/")]
        posted = await get(endpoint, path, method="POST")

    assert status == 200
    assert whole.keys() == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration", "AccountId", "RoleArn"}
    assert least.keys() == {"AccessKeyId", "SecretAccessKey", "AccountId", "RoleArn"}
    assert [one[0] for one in elsewhere] == [404, 404, 404]
    assert posted[0] == 405


async def test_a_token_that_is_not_ascii_is_wrong(endpoint: LocalContainer) -> None:
    assert (await get(endpoint, headers={"Authorization": "\u00e9\u00ff"}))[0] == 401


def test_a_path_begins_with_a_slash() -> None:
    """T32: else it would be a part of the host."""
    with pytest.raises(ValueError, match="slash"):
        LocalContainer(path="@evil/")
