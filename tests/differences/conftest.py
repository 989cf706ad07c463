"""What a comparison needs: a server, and botocore in the environment that our client has."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import attrs
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from credentials.cases import FAILS, Case, Fails
from credentials.conftest import clocks, lend
from credentials.test_botocore import Oracle, Place, of_botocore, of_ours, oracle, place

from sts_async.testing import LocalSTS

__all__ = ["clocks", "lend", "oracle", "place"]

KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@pytest.fixture
def compare(place: Place, oracle: Oracle, lend: Callable[..., Any]) -> Callable[[Case], Awaitable[None]]:
    """Return a function that runs a case of the chain on both sides, which must differ as the case says."""

    async def compare(case: Case) -> None:
        assert case.botocore is not None, f"{case.name}: both do the same"
        await place.start(case)
        theirs = await of_botocore(place, case, oracle)
        place.break_servers(case)
        ours = await of_ours(place, case, lend)

        assert (FAILS if isinstance(theirs, Fails) else theirs, ours) == (case.botocore, case.gives)

    return compare


@pytest.fixture
async def server() -> AsyncIterator[LocalSTS]:
    async with LocalSTS() as server:
        yield server


@attrs.define
class Boto:
    """Botocore in a thread of this process, in the environment of the test."""

    clients: list[Any] = attrs.field(factory=list)

    async def run(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Return what a function returns; or the error that it raises, if it is one of botocore."""

        def guarded() -> Any:
            try:
                return function(*args, **options)
            except (BotoCoreError, ClientError, ResponseParserError, ValueError) as error:
                return error

        return await asyncio.to_thread(guarded)

    def client(self, server: LocalSTS | None = None, **options: Any) -> Any:
        """
        Return a client with keys, those of a server where one is given.

        Requests are sent to 127.0.0.1 only. Others are answered with nothing; ``client.sent`` has all of them.
        """
        keys: dict[str, Any] = {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET}
        if server is not None:
            keys = {
                "aws_access_key_id": server.credentials.access_key_id,
                "aws_secret_access_key": server.credentials.secret_access_key,
                "endpoint_url": server.url,
                "region_name": server.region,
            }
        config = Config(**options.pop("config", {}))
        client = botocore.session.Session().create_client("sts", **{**keys, **options}, config=config)
        client.sent = []
        client.meta.events.register("before-send.sts", _Kept(client.sent))
        self.clients.append(client)
        return client

    def identity(self, server: LocalSTS | None = None, **options: Any) -> Any:
        """Make a client and a call; return the client."""
        client = self.client(server, **options)
        client.get_caller_identity()
        return client

    def close(self) -> None:
        for client in self.clients:
            client.close()


@attrs.frozen
class _Kept:
    """Keeps requests, and answers those that would leave this host."""

    sent: list[Any]

    def __call__(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        self.sent.append(request)
        if request.url.startswith("http://127.0.0.1:"):
            return None  # it is sent
        return AWSResponse(request.url, 200, {}, _Body(event_name.rpartition(".")[2]))


@attrs.frozen
class _Body:
    operation: str

    def stream(self) -> Iterator[bytes]:
        yield f"<{self.operation}Response><{self.operation}Result/></{self.operation}Response>".encode()


@pytest.fixture
def boto() -> Iterator[Boto]:
    logger = logging.getLogger("botocore")
    level = logger.level
    logger.setLevel(logging.INFO)  # at DEBUG it writes secrets, which is slow to search
    boto = Boto()
    yield boto
    boto.close()
    logger.setLevel(level)
