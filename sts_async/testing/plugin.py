"""
The pytest fixtures ``sts_server``, ``sts_client`` and ``sts_environ``, new for each test.

They serve synchronous and asynchronous tests, with any plugin and event loops of any scope. The server has a thread of
its own, and the client connects in the loop that uses it. The server is imported at first use, because pytest loads
this module in every program that has the library installed.

A server for many tests is a fixture of the program. The other fixtures here then use it:

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
    """Give the test an STS of its own on this host, for clients of every kind."""
    from .server import LocalSTS

    with LocalSTS() as server:
        yield server


@pytest.fixture
def sts_client(sts_server: "LocalSTS") -> "Iterator[STSClient]":
    """Give the test a client of `sts_server`, with the credentials of its default user, for any event loop."""
    client = sts_server.client()
    yield client
    # In an event loop of its own: that of the test may have ended, or may begin only with the next test.
    closing = threading.Thread(target=lambda: asyncio.run(client.aclose()))
    closing.start()
    closing.join()


@pytest.fixture
def sts_environ(sts_server: "LocalSTS", monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """
    Have all SDKs in this process, and in those that it starts, use `sts_server` during the test. Give its variables.

    Other variables that begin with ``AWS_``, and those of proxies, are removed. boto3 gets a new default session.
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
    """Have `boto3.client` look for credentials again: its default session keeps those that it found first."""
    if "boto3" in sys.modules:
        sys.modules["boto3"].DEFAULT_SESSION = None  # type: ignore[attr-defined]
