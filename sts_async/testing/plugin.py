"""
The pytest fixtures ``sts_server``, ``sts_client`` and ``sts_environ``, new for each test.

They work in synchronous and asynchronous tests, with any plugin for event loops. The server has its own thread, and the
client connects in the loop of the caller. The server is imported on first use, because pytest loads this module in
every environment where the library is installed.

For one server for many tests, override the fixture. The other fixtures then use it:

    @pytest.fixture(scope="session")
    def sts_server():
        with LocalSTS() as server:
            yield server
"""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..client import STSClient
    from .server import LocalSTS


@pytest.fixture
def sts_server() -> "Iterator[LocalSTS]":
    """Yield a new local STS, for synchronous and asynchronous clients."""
    from .server import LocalSTS

    with LocalSTS() as server:
        yield server


@pytest.fixture
def sts_client(sts_server: "LocalSTS") -> "Iterator[STSClient]":
    """Yield a client of `sts_server` with the credentials of its default user, for any event loop."""
    client = sts_server.client()
    yield client
    # `aclose` runs in a separate event loop, because the loop of the test may have ended, or not have started.
    closing = threading.Thread(target=lambda: asyncio.run(client.aclose()))
    closing.start()
    closing.join()


@pytest.fixture
def sts_environ(sts_server: "LocalSTS", monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """
    Make all SDKs in this process and its child processes use `sts_server` during the test, and yield its variables.

    Other variables that begin with ``AWS_``, and variables of proxies, are removed. boto3 gets a new default session.
    """
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    environ = sts_server.environ
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    _forget_session_of_boto3()
    yield environ
    _forget_session_of_boto3()


def _forget_session_of_boto3() -> None:
    """Reset the default session of boto3, which caches the first credentials that it finds."""
    if "boto3" in sys.modules:
        sys.modules["boto3"].DEFAULT_SESSION = None  # type: ignore[attr-defined]
