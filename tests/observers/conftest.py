"""Fixtures for tests of observers: a local STS, and clients of it that retry without a delay."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from sts_async import Observer, StandardRetries, STSClient
from sts_async.testing import LocalSTS

Connect = Callable[..., Awaitable[STSClient]]


@pytest.fixture
async def server() -> AsyncIterator[LocalSTS]:
    async with LocalSTS() as server:
        yield server


@pytest.fixture
async def connect(server: LocalSTS) -> AsyncIterator[Connect]:
    """Return a function that makes a client with an observer; the clients are closed in the end."""
    made: list[STSClient] = []

    async def connect(*observers: Observer, **options: Any) -> STSClient:
        client = server.client(**{"observers": observers, "retries": StandardRetries(), **options})
        made.append(client)
        engine = await client._life.ready()
        engine._shared.jitter = lambda: 0.001
        return client

    yield connect
    for client in made:
        await client.aclose()
