"""Requests to the sign-in services, with their retries."""

from collections.abc import Awaitable, Callable

import attrs
import pytest
from support import Clocks, RawServer, http

from sts_async._engine.loop import Engine
from sts_async._protocol.http_messages import HttpRequest
from sts_async.credentials._sign_in_services import exchange
from sts_async.errors import ConnectError, CredentialsError, RedirectRefused

Start = Callable[..., Awaitable[RawServer]]


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (http("", status=503), [0.025, 0.05]),
        (http("", status=429), [0.5, 1.0]),
        (http("", status=400, headers="x-amzn-ErrorType: SlowDownException\r\n"), [0.5, 1.0]),
    ],
)
async def test_an_unavailable_service_gets_three_attempts(
    raw_server: Start, context: Engine, clocks: Clocks, answer: bytes, waits: list[float]
) -> None:
    server = await raw_server(answer)
    with pytest.raises(CredentialsError, match=r"the service answered .*, 3 times") as caught:
        await exchange(context, HttpRequest("GET", server.url, {}), who="the service")

    assert (len(server.requests), clocks.slept, caught.value.attempts) == (3, waits, 3)


async def test_a_service_that_recovers_is_used(raw_server: Start, context: Engine) -> None:
    server = await raw_server(http("", status=500), http("hello"))

    assert (await exchange(context, HttpRequest("GET", server.url, {}), who="it")).body == b"hello"


async def test_a_failed_connection_is_a_transport_error(raw_server: Start, context: Engine, clocks: Clocks) -> None:
    server = await raw_server(b"")
    await server.stop()
    with pytest.raises(ConnectError) as caught:
        await exchange(context, HttpRequest("GET", server.url, {}), who="it")

    assert (caught.value.attempts, len(clocks.slept)) == (3, 2)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(raw_server: Start, context: Engine, status: int) -> None:
    """T4."""
    other = await raw_server(http(""))
    server = await raw_server(http("", status=status, headers=f"Location: {other.url}?SENTINEL\r\n"))
    with pytest.raises(
        RedirectRefused, match=f"service answered HTTP {status} redirect to host '127.0.0.1': not followed"
    ):
        await exchange(context, HttpRequest("GET", server.url, {}), who="the service")

    assert (len(server.requests), other.connections) == (1, 0)


async def test_each_attempt_is_prepared_separately(raw_server: Start, context: Engine) -> None:
    """A proof is valid for one request."""
    server = await raw_server(http("", status=500), http(""))
    made = iter("ab")

    async def prepare(request: HttpRequest) -> HttpRequest:
        return attrs.evolve(request, headers={"proof": next(made)})

    await exchange(context, HttpRequest("GET", server.url, {}), who="it", prepare=prepare)

    assert [b"proof: a" in server.requests[0], b"proof: b" in server.requests[1]] == [True, True]
