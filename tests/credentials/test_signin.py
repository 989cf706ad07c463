"""Where the services of the two sources are that somebody signs in to, and how they are asked."""

from collections.abc import Awaitable, Callable

import attrs
import pytest
from support import Clocks, RawServer, http

from sts_async._core.message import HttpRequest
from sts_async._engine import Engine
from sts_async.credentials._signin import exchange, service_url
from sts_async.errors import (
    ConfigurationError,
    ConnectError,
    CredentialsError,
    InvalidEndpoint,
    RedirectRefused,
)

Start = Callable[..., Awaitable[RawServer]]


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "https://h"),
        ({"AWS_ENDPOINT_URL": "https://all/"}, "https://all"),
        (
            {"AWS_ENDPOINT_URL": "https://all", "AWS_ENDPOINT_URL_SSO": " http://127.0.0.1:8/a/ "},
            "http://127.0.0.1:8/a",
        ),
        ({"AWS_ENDPOINT_URL_SSO": " "}, "https://h"),
        ({"AWS_ENDPOINT_URL": "https://all", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "True"}, "https://h"),
        ({"AWS_ENDPOINT_URL": "https://all", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"}, "https://all"),
    ],
)
def test_the_environment_says_where_a_service_is(environ: dict[str, str], url: str) -> None:
    assert service_url("AWS_ENDPOINT_URL_SSO", host="h", environ=environ) == url


@pytest.mark.parametrize(
    "url", ["http://sso.example/", "https://u:SENTINEL@h/", "https://h/?SENTINEL", "ftp://h", "https://999.1.1.1"]
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    """T3, B8."""
    with pytest.raises(InvalidEndpoint, match=r"^AWS_ENDPOINT_URL_SSO(:| must)"):
        service_url("AWS_ENDPOINT_URL_SSO", host="h", environ={"AWS_ENDPOINT_URL_SSO": url})


def test_a_switch_is_true_or_false() -> None:
    with pytest.raises(ConfigurationError, match="AWS_IGNORE_CONFIGURED_ENDPOINT_URLS must be true or false"):
        service_url("X", host="h", environ={"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "never"})


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (http("", status=503), [0.025, 0.05]),
        (http("", status=429), [0.5, 1.0]),
        (http("", status=400, headers="x-amzn-ErrorType: SlowDownException\r\n"), [0.5, 1.0]),
    ],
)
async def test_a_service_that_is_not_there_is_asked_three_times(
    raw_server: Start, lender: Engine, clocks: Clocks, answer: bytes, waits: list[float]
) -> None:
    server = await raw_server(answer)
    with pytest.raises(CredentialsError, match=r"the service answered .*, 3 times") as caught:
        await exchange(lender, HttpRequest("GET", server.url, {}), who="the service")

    assert (len(server.requests), clocks.slept, caught.value.attempts) == (3, waits, 3)


async def test_a_service_that_comes_back_answers(raw_server: Start, lender: Engine) -> None:
    server = await raw_server(http("", status=500), http("hello"))

    assert (await exchange(lender, HttpRequest("GET", server.url, {}), who="it")).body == b"hello"


async def test_no_connection_is_an_error_of_the_transport(raw_server: Start, lender: Engine, clocks: Clocks) -> None:
    server = await raw_server(b"")
    await server.stop()
    with pytest.raises(ConnectError) as caught:
        await exchange(lender, HttpRequest("GET", server.url, {}), who="it")

    assert (caught.value.attempts, len(clocks.slept)) == (3, 2)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(raw_server: Start, lender: Engine, status: int) -> None:
    """T4."""
    other = await raw_server(http(""))
    server = await raw_server(http("", status=status, headers=f"Location: {other.url}?SENTINEL\r\n"))
    with pytest.raises(
        RedirectRefused, match=f"service answered HTTP {status} redirect to host '127.0.0.1': not followed"
    ):
        await exchange(lender, HttpRequest("GET", server.url, {}), who="the service")

    assert (len(server.requests), other.connections) == (1, 0)


async def test_each_attempt_is_prepared_anew(raw_server: Start, lender: Engine) -> None:
    """A proof is good for one request."""
    server = await raw_server(http("", status=500), http(""))
    made = iter("ab")

    async def prepare(request: HttpRequest) -> HttpRequest:
        return attrs.evolve(request, headers={"proof": next(made)})

    await exchange(lender, HttpRequest("GET", server.url, {}), who="it", prepare=prepare)

    assert [b"proof: a" in server.requests[0], b"proof: b" in server.requests[1]] == [True, True]
