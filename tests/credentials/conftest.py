"""Fixtures of the tests of sources: a context with clocks that the test sets, and the watchdog."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from credentials.watchdog import _the_loop_is_watched, pytest_runtest_protocol
from support import KEYS, Clocks

from sts_async._engine.context import ClientContext
from sts_async._engine.loop import Engine, new_engine
from sts_async._http.transport import AiohttpTransport
from sts_async._protocol.clock_skew import ServiceClock
from sts_async._protocol.endpoints import Endpoint
from sts_async.credentials import DefaultChain, StaticProvider
from sts_async.retries import NoRetries

__all__ = ["_the_loop_is_watched", "pytest_runtest_protocol"]  # the watchdog checks every test of this folder


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
async def lend(clocks: Clocks) -> AsyncIterator[Callable[..., ClientContext]]:
    """Return a function that creates the context of a client, for an STS at a URL, with the clocks of the test."""
    made: list[tuple[Engine, AiohttpTransport]] = []

    def make(url: str = "http://127.0.0.1:9/", *, region: str | None = "us-east-1", **options: Any) -> ClientContext:
        transport = options.pop("transport", None) or AiohttpTransport()
        defaults: dict[str, Any] = {
            "endpoint": Endpoint(url, url.split("/")[2], region),
            "transport": transport,
            "credentials": StaticProvider(KEYS),
            "retries": NoRetries(),
            "wall_clock": lambda: clocks.wall,
            "monotonic": lambda: clocks.monotonic,
            "sleep": clocks.sleep,
            "jitter": lambda: 0.5,
            "default_credentials": DefaultChain,
            "clock": ServiceClock(corrects=False),  # the wall clock is not this host's
        }
        engine = new_engine(**{**defaults, **options})
        made.append((engine, transport))
        return engine.context

    yield make
    for engine, transport in made:
        if isinstance(transport, AiohttpTransport):
            await transport.aclose()
        await engine.context.tasks.aclose()


@pytest.fixture
def context(lend: Callable[..., ClientContext]) -> ClientContext:
    return lend()
