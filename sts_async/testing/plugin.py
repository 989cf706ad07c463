"""
The pytest fixtures ``sts_server`` (a `LocalSTS`) and ``sts_client`` (an `STSClient` of it), new for each test.

They need pytest-asyncio, in its auto or strict mode. What the server is made of comes at first use: pytest loads this
module in every program that has the library installed.
"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..client import STSClient
    from .server import LocalSTS

try:
    import pytest_asyncio
except ImportError:
    pytest_asyncio = None  # type: ignore[assignment]

ADVICE = "the fixtures sts_server and sts_client need pytest-asyncio: pip install pytest-asyncio"


def _fixture(function: Any) -> Any:
    if pytest_asyncio is not None:
        return pytest_asyncio.fixture(function)

    @pytest.fixture(name=function.__name__)
    def missing() -> None:
        pytest.fail(ADVICE, pytrace=False)

    return missing


@_fixture
async def sts_server() -> "AsyncIterator[LocalSTS]":
    """Give the test an STS of its own on this host."""
    from .server import LocalSTS

    async with LocalSTS() as server:
        yield server


@_fixture
async def sts_client(sts_server: "LocalSTS") -> "AsyncIterator[STSClient]":
    """Give the test a client of `sts_server`, with the credentials of its default user."""
    async with sts_server.client() as client:
        yield client
