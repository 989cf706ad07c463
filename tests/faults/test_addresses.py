"""F25: a name has several addresses, and some of them are dead. Seconds are those of the loop's clock."""

import asyncio
import errno
import itertools
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from faults.servers import Ports, black_hole, client_at, failures, identities, retries_in

from sts_async import NoRetries, errors
from sts_async.testing import LocalSTS

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="needs Linux: all of 127.0.0.0/8 is this host, and full queues drop"
)

NAME = "sts.example.test"
LIVE = "127.0.0.1"
REFUSING = ("127.0.0.2", "127.0.0.4")  # nobody listens there
SILENT = ("127.0.0.3", "127.0.0.5", "::1")
MOST = 1.0  # s. Source: F25
SOON = 5.0  # s, far less than the usual time-outs
Know = Callable[..., None]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as made:
            made.bind(("::1", 0))
    except OSError:
        return False
    return True


def entry(address: str, port: int) -> tuple[Any, ...]:
    """Return an address as `socket.getaddrinfo` does."""
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))


@pytest.fixture
def port() -> Iterator[int]:
    with Ports("sts") as ports:
        yield ports["sts"]


@pytest.fixture
def know(monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[Know]:
    """Return a function that gives `NAME` its addresses, in this order, the silent ones a socket that they need."""
    with ExitStack() as stack:

        def known(*addresses: str) -> None:
            for address in addresses:
                if address in SILENT:
                    stack.enter_context(black_hole(address, port))
            monkeypatch.setattr("socket.getaddrinfo", lambda host, port, *_: [entry(one, port) for one in addresses])

        yield known


@pytest.fixture
async def sts(port: int) -> AsyncIterator[LocalSTS]:
    async with LocalSTS(port=port) as running:
        yield running


CASES: dict[str, Sequence[str]] = {
    "one refuses": (REFUSING[0], LIVE),
    "one is silent": (SILENT[0], LIVE),
    "the second is silent": (LIVE, SILENT[0]),
    "two are silent": (*SILENT[:2], LIVE),
    "IPv6 is silent": ("::1", LIVE),
    "IPv6 and IPv4 are silent": ("::1", SILENT[0], LIVE),
}


@pytest.mark.parametrize("addresses", CASES.values(), ids=CASES)
async def test_an_address_that_is_dead_costs_less_than_a_second(
    know: Know, sts: LocalSTS, port: int, addresses: Sequence[str]
) -> None:
    """F25: and no retry."""
    if "::1" in addresses and not has_ipv6():
        pytest.skip("no IPv6 on this host")
    know(*addresses)
    seen: list[Any] = []
    async with client_at(
        f"http://{NAME}:{port}", seen=seen, credentials=sts.credentials, allow_http=True, retries=NoRetries()
    ) as client:
        begun = asyncio.get_running_loop().time()
        await client.get_caller_identity()
        first = asyncio.get_running_loop().time() - begun
        await identities(client, callers=50)

    assert first < MOST
    assert len(sts.requests) == 51
    assert retries_in(seen) == 0


@pytest.mark.parametrize("options", [{"tcp_keepalive": True}, {"local_address": LIVE}], ids=str)
async def test_no_option_makes_a_dead_address_cost_more(
    know: Know, sts: LocalSTS, port: int, options: dict[str, Any]
) -> None:
    """F25: both options change how sockets are made."""
    know(SILENT[0], LIVE)
    async with client_at(
        f"http://{NAME}:{port}", credentials=sts.credentials, allow_http=True, retries=NoRetries(), **options
    ) as client:
        begun = asyncio.get_running_loop().time()
        await client.get_caller_identity()

    assert asyncio.get_running_loop().time() - begun < MOST


async def test_where_all_addresses_are_silent_the_wait_is_bounded(know: Know, port: int) -> None:
    """F1, F25: nothing was sent, and it can be tried again."""
    know(*SILENT[:2])
    async with client_at(f"http://{NAME}:{port}", allow_http=True, connect_timeout=0.3, max_attempts=1) as client:
        caught = await failures(client, callers=50, within=SOON)

    assert {(type(error), error.retryable, error.attempts) for error in caught} == {(errors.ConnectTimeout, True, 1)}


@pytest.mark.parametrize("addresses", list(itertools.permutations((REFUSING[0], SILENT[0]))), ids="-".join)
async def test_the_order_of_dead_addresses_does_not_matter(know: Know, port: int, addresses: Sequence[str]) -> None:
    """F25: the error is one of a connection, whichever address it is about."""
    know(*addresses)
    async with client_at(f"http://{NAME}:{port}", allow_http=True, connect_timeout=0.3, max_attempts=1) as client:
        (caught,) = await failures(client, callers=1)

    assert isinstance(caught, errors.ConnectError)
    assert caught.retryable


async def test_where_all_addresses_refuse_the_error_says_so(know: Know, port: int) -> None:
    """F1."""
    know(*REFUSING)
    async with client_at(f"http://{NAME}:{port}", allow_http=True, max_attempts=1) as client:
        (caught,) = await failures(client, callers=1)

    assert str(caught) == f"no connection to {NAME}:{port}: {errno.errorcode[errno.ECONNREFUSED]}"
