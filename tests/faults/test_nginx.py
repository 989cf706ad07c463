"""What a client makes of nginx: in front of an STS, of nothing, and of something that hangs."""

import asyncio
import gzip
import random
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from faults.servers import (
    Daemon,
    Ports,
    client_at,
    failures,
    failures_of_one_and_of_many,
    identities,
    mute,
    needs_nginx,
    nginx,
    ports_in,
    retries_in,
)
from patience import PATIENCE, until

from sts_async import StandardRetries, errors
from sts_async.events import CallFinished, Event
from sts_async.retries._policies import QUOTA, RETRY_COST
from sts_async.testing import Answer, LocalSTS, Reset, Truncate

pytestmark = needs_nginx

SOON = 5.0  # s of the loop's clock, far less than the usual time-outs
PAGE = "<html><head><title>Welcome</title></head><body><p>Sign in <br> SENTINEL-page</p></body></html>"
# As the page that nginx comes with: HTML 5, and XML as well.
WELCOME = (
    "<!DOCTYPE html>\n<html>\n<head><title>Welcome to nginx!</title></head>\n<body>SENTINEL-page</body>\n</html>\n"
)

HTTP = """
    limit_req_zone $request_uri zone=busy:64k rate=1r/m;
    limit_req_zone $request_uri zone=steady:64k rate=20r/s;
    server {{ listen 127.0.0.1:{front}; location / {{ proxy_pass http://127.0.0.1:{sts}; }} }}
    server {{ listen 127.0.0.1:{idle}; keepalive_timeout 40ms; location / {{ proxy_pass http://127.0.0.1:{sts}; }} }}
    server {{ listen 127.0.0.1:{few}; keepalive_requests 3; location / {{ proxy_pass http://127.0.0.1:{sts}; }} }}
    server {{
        listen 127.0.0.1:{closing};
        keepalive_timeout 0;
        chunked_transfer_encoding off;
        location / {{ proxy_pass http://127.0.0.1:{sts}; gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; }}
    }}
    server {{ listen 127.0.0.1:{dead}; location / {{ proxy_pass http://127.0.0.1:{nobody}; }} }}
    server {{
        listen 127.0.0.1:{slow};
        location / {{ proxy_pass http://127.0.0.1:{hanging}; proxy_read_timeout 150ms; }}
    }}
    server {{
        listen 127.0.0.1:{limited};
        location /busy {{ limit_req zone=busy; proxy_pass http://127.0.0.1:{sts}; }}
        location /throttled {{ limit_req zone=busy; limit_req_status 429; proxy_pass http://127.0.0.1:{sts}; }}
        location /steady {{ limit_req zone=steady; limit_req_status 429; proxy_pass http://127.0.0.1:{sts}; }}
    }}
    server {{
        listen 127.0.0.1:{odd};
        default_type text/html;
        location /page {{ return 200 '{page}'; }}
        location = /welcome {{ error_page 405 =200 /welcome.html; return 405; }}
        location = /welcome.html {{ internal; }}
        location /301 {{ return 301 http://127.0.0.1:{other}/; }}
        location /302 {{ return 302 http://127.0.0.1:{other}/; }}
        location /303 {{ return 303 http://127.0.0.1:{other}/; }}
        location /307 {{ return 307 http://127.0.0.1:{other}/; }}
        location /308 {{ return 308 http://127.0.0.1:{other}/; }}
        location /empty {{ return 204; }}
        location /long {{ set $part "SENTINEL{part}"; add_header X-Long $part$part$part always; return 200 x; }}
        location /many {{ {many} return 200 x; }}
    }}
    server {{ listen 127.0.0.1:{other}; return 200 other; }}
"""
SERVERS = "front idle few closing dead slow limited odd other sts nobody hanging".split()


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    with Ports(*SERVERS) as made:
        yield made


@pytest.fixture(scope="module")
def server(ports: Ports) -> Iterator[Daemon]:
    many = " ".join(f"add_header X-{number} SENTINEL always;" for number in range(130))
    http = HTTP.format(**{name: ports[name] for name in SERVERS}, page=PAGE, part="x" * 3000, many=many)
    with nginx(http, port=ports["front"], files={"welcome.html": WELCOME}) as daemon:
        yield daemon


@pytest.fixture
def front(server: Daemon) -> Daemon:
    """Return nginx, with empty logs."""
    server.forget()
    return server


@pytest.fixture
async def sts(front: Daemon, ports: Ports) -> AsyncIterator[LocalSTS]:
    """Run the STS that is behind nginx."""
    async with LocalSTS(port=ports["sts"]) as running:
        yield running


def url(ports: Ports, name: str, path: str = "/") -> str:
    return f"http://127.0.0.1:{ports[name]}{path}"


def quick(*, attempts: int = 3) -> StandardRetries:
    """Return the standard retries, with pauses a hundredth as long."""

    class Quick(StandardRetries):
        def after_failure(self, error: errors.STSError, **now: Any) -> float | None:
            delay = super().after_failure(error, **now)
            return None if delay is None else delay / 100

    return Quick(max_attempts=attempts)


# In front of nothing, and of what hangs


@pytest.mark.parametrize(("name", "status"), [("dead", 502), ("slow", 504)])
async def test_a_gateway_without_a_service_is_tried_again(front: Daemon, ports: Ports, name: str, status: int) -> None:
    """F12, F7: nginx answers with a page of its own."""
    with mute(ports["hanging"]):
        async with client_at(url(ports, name), retries=quick()) as client:
            with pytest.raises(errors.ServiceError) as caught:
                await client.get_caller_identity()

    assert (caught.value.code, caught.value.status, caught.value.attempts) == (str(status), status, 3)
    assert (caught.value.retryable, caught.value.throttled, caught.value.fault) == (True, False, "server")
    assert re.fullmatch(r"the response contains no STS error \('text/html', \d+ bytes\)", caught.value.message)
    assert len(front.log(lines=3)) == 3


@pytest.mark.parametrize(("name", "status"), [("dead", 502), ("slow", 504)])
async def test_all_callers_of_a_gateway_without_a_service_share_what_retries_there_are(
    front: Daemon, ports: Ports, name: str, status: int
) -> None:
    """F12, F59: 50 callers do not send three times as much to a service that is down."""
    seen: list[Event] = []
    with mute(ports["hanging"]):
        async with client_at(url(ports, name), seen=seen) as client:
            caught = await failures(client, callers=50)

    assert Counter(type(error) for error in caught) == {errors.ServiceError: 50}
    assert {getattr(error, "status", None) for error in caught} == {status}
    assert retries_in(seen) == QUOTA // RETRY_COST[False]
    assert sum(error.attempts for error in caught) == len(front.log(lines=50)) == 50 + retries_in(seen)


async def test_a_service_that_comes_back_answers_the_next_attempt(front: Daemon, ports: Ports) -> None:
    """F12: 502 first, and then what was asked for."""
    seen: list[Event] = []
    upstream = LocalSTS(port=ports["nobody"])
    async with client_at(
        url(ports, "dead"), seen=seen, credentials=upstream.credentials, retries=StandardRetries(max_attempts=50)
    ) as client:
        asking = asyncio.create_task(client.get_caller_identity())
        await until(lambda: retries_in(seen))
        async with upstream:
            identity = await asking

    assert identity.arn == f"arn:aws:iam::{identity.account}:user/developer"
    assert identity.metadata.attempts == retries_in(seen) + 1 > 1


@pytest.mark.parametrize("callers", [1, 50])
async def test_what_breaks_off_behind_nginx_is_tried_again(sts: LocalSTS, ports: Ports, callers: int) -> None:
    """F2, F4: nginx makes a 502 of a reset, and passes a body that is cut short on as one."""
    seen: list[Event] = []
    faults = (Reset(), Reset(after="headers"), Truncate(at_bytes=100))
    for fault in faults[:: 1 if callers == 1 else 2]:
        sts.faults.add(fault)

    async with client_at(
        url(ports, "front"), seen=seen, credentials=sts.credentials, retries=quick(attempts=5)
    ) as client:
        await identities(client, callers=callers)

    assert not sts.faults
    assert retries_in(seen) == (3 if callers == 1 else 2)


# What limits


async def test_who_sends_too_much_is_tried_again_as_throttled(front: Daemon, sts: LocalSTS, ports: Ports) -> None:
    """F13: `limit_req_status 429`; the pauses are those of throttling."""
    seen: list[Event] = []
    async with client_at(
        url(ports, "limited", "/throttled"), seen=seen, credentials=sts.credentials, retries=quick()
    ) as client:
        await client.get_caller_identity()
        with pytest.raises(errors.ThrottlingError) as caught:
            await client.get_caller_identity()

    assert (caught.value.status, caught.value.attempts, caught.value.retryable) == (429, 3, True)
    assert [event.quota_used for event in seen if isinstance(event, CallFinished)] == [0, 2 * RETRY_COST[True]]
    assert len(sts.requests) == 1


@pytest.mark.parametrize("callers", [1, 50])
async def test_a_limit_of_nginx_as_it_comes_is_an_overloaded_service(sts: LocalSTS, ports: Ports, callers: int) -> None:
    """F12: `limit_req` answers 503."""
    async with client_at(
        url(ports, "limited", f"/busy/{callers}"), credentials=sts.credentials, retries=quick()
    ) as client:
        await client.get_caller_identity()
        caught = await failures(client, callers=callers)

    assert {(type(error), getattr(error, "status", None), error.retryable) for error in caught} == {
        (errors.ServiceError, 503, True)
    }
    assert max(error.attempts for error in caught) == (3 if callers == 1 else 2)  # the quota is for all of them
    assert len(sts.requests) == 1


async def test_callers_of_a_limited_service_are_all_served_in_the_end(sts: LocalSTS, ports: Ports) -> None:
    """F13: by retries alone, without pacing; nginx lets 20 a second through."""

    class Patient(StandardRetries):
        def after_failure(self, error: errors.STSError, *, jitter: float, **now: Any) -> float | None:
            return None if super().after_failure(error, jitter=jitter, **now) is None else 0.3 * jitter

    seen: list[Event] = []
    async with client_at(
        url(ports, "limited", "/steady"),
        seen=seen,
        credentials=sts.credentials,
        retries=Patient(max_attempts=100, quota=10_000),
    ) as client:
        await identities(client, callers=10)

    assert len(sts.requests) == 10
    assert retries_in(seen) > 0


# Connections


async def test_connections_that_nginx_closes_when_nobody_uses_them_cost_nothing(
    front: Daemon, sts: LocalSTS, ports: Ports
) -> None:
    """F3: the next request of such a connection goes by another at once, and takes nothing from the retries."""
    seen: list[Event] = []
    around = random.Random(4).uniform

    async with client_at(url(ports, "idle"), seen=seen, credentials=sts.credentials, deadline=PATIENCE) as client:
        await identities(client, callers=50, calls=4, pause=lambda: around(0.03, 0.055))

    assert len(sts.requests) == 200
    assert retries_in(seen) == 0
    assert {event.quota_used for event in seen if isinstance(event, CallFinished)} == {0}


@pytest.mark.parametrize("callers", [1, 50])
async def test_connections_that_end_after_some_answers_are_replaced(
    front: Daemon, sts: LocalSTS, ports: Ports, callers: int
) -> None:
    """F3, F63: the third answer of each says that it is the last."""
    seen: list[Event] = []
    async with client_at(url(ports, "few"), seen=seen, credentials=sts.credentials) as client:
        await identities(client, callers=callers, calls=4)

    used = Counter(int(line.split('"')[4].split()[0]) for line in front.log(lines=4 * callers))
    assert set(used) == {1, 2, 3}
    assert retries_in(seen) == 0


@pytest.mark.parametrize("callers", [1, 50])
async def test_a_server_that_closes_every_connection_is_served_correctly(
    front: Daemon, sts: LocalSTS, ports: Ports, callers: int
) -> None:
    """F63, T10: `Connection: close`; and gzip, which is on there, is not asked for."""
    seen: list[Event] = []
    async with client_at(url(ports, "closing"), seen=seen, credentials=sts.credentials) as client:
        await identities(client, callers=callers, calls=2)

    assert retries_in(seen) == 0
    assert {line.split('"')[4].split()[0] for line in front.log(lines=2 * callers)} == {"1"}


async def test_an_nginx_that_hangs_is_a_timeout(front: Daemon, ports: Ports) -> None:
    """F21: the system accepts connections for it, and requests; all end in time, and what comes later is served."""
    async with client_at(url(ports, "odd", "/page"), attempt_timeout=0.5, max_attempts=1) as client:
        with front.hanging():
            caught = await failures(client, callers=50, within=SOON)
        await failures(client, callers=1)

    assert {isinstance(error, errors.AttemptTimeout | errors.ConnectTimeout) for error in caught} == {True}
    assert {(error.retryable, error.attempts) for error in caught} == {(True, 1)}


# Pages and other answers that are none


@pytest.mark.parametrize("callers", [1, 50])
@pytest.mark.parametrize("path", ["/page", "/welcome"])
async def test_a_page_in_place_of_an_answer_is_tried_again(
    front: Daemon, ports: Ports, path: str, callers: int
) -> None:
    """F7: what is wrong is told by type, status and length; the watch over the suite looks for the text."""
    size = len(PAGE if path == "/page" else WELCOME)
    async with client_at(url(ports, "odd", path), retries=quick()) as client:
        caught = await failures(client, callers=callers)

    assert {(type(error), error.retryable) for error in caught} == {(errors.ResponseParseError, True)}
    assert max(error.attempts for error in caught) == (3 if callers == 1 else 2)  # the quota is for all of them
    assert {str(error).endswith(f"(HTTP 200, 'text/html', {size} bytes)") for error in caught} == {True}


async def test_an_answer_without_a_body_is_tried_again(front: Daemon, ports: Ports) -> None:
    """F6: 204."""
    async with client_at(url(ports, "odd", "/empty"), retries=quick()) as client:
        with pytest.raises(errors.ResponseParseError, match="it is empty") as caught:
            await client.get_caller_identity()

    assert (caught.value.status, caught.value.attempts, caught.value.retryable) == (204, 3, True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(front: Daemon, ports: Ports, status: int) -> None:
    """T4: it would take the signature, the token and the body elsewhere."""
    async with client_at(url(ports, "odd", f"/{status}")) as client:
        caught = await failures_of_one_and_of_many(client)
    await asyncio.to_thread(ask, ports["other"])

    assert {(type(error), error.retryable, error.attempts) for error in caught} == {(errors.RedirectRefused, False, 1)}
    assert {str(error) for error in caught} == {f"HTTP {status} redirect to host '127.0.0.1': not followed"}
    assert ports_in(front.log(lines=52)) == [ports["odd"]] * 51 + [ports["other"]]


@pytest.mark.parametrize("path", ["/long", "/many"])
async def test_headers_without_end_are_refused(front: Daemon, ports: Ports, path: str) -> None:
    """T11: one of more than 8,190 bytes, and more than 128; nothing of them is shown."""
    async with client_at(url(ports, "odd", path), retries=quick()) as client:
        for callers in (1, 50):
            caught = await failures(client, callers=callers)

            assert {(type(error), str(error)) for error in caught} == {
                (errors.ResponseParseError, f"the answer of 127.0.0.1:{ports['odd']} is not HTTP that can be read")
            }


async def test_what_is_compressed_all_the_same_is_refused_unread(sts: LocalSTS, ports: Ports) -> None:
    """T10: nginx passes on what its upstream has compressed."""
    bomb = gzip.compress(bytes(1 << 26), compresslevel=9)
    sts.faults.add(Answer(200, bomb, headers={"Content-Encoding": "gzip", "Content-Type": "text/xml"}))
    async with client_at(url(ports, "front"), credentials=sts.credentials, max_response_bytes=1 << 20) as client:
        with pytest.raises(errors.ResponseParseError, match="it is compressed, which was not asked for") as caught:
            await client.get_caller_identity()

    assert str(caught.value).endswith(f"(HTTP 200, 'text/xml', {len(bomb)} bytes)")
    assert not caught.value.retryable


@pytest.mark.parametrize("callers", [1, 50])
async def test_a_body_beyond_the_cap_is_not_read_to_its_end(sts: LocalSTS, ports: Ports, callers: int) -> None:
    """T11, F23."""
    sts.faults.add(Answer(200, bytes(1 << 20), times=callers))
    async with client_at(url(ports, "front"), credentials=sts.credentials, max_response_bytes=1 << 16) as client:
        caught = await failures(client, callers=callers)
        await client.get_caller_identity()

    assert {(type(error), error.retryable, error.attempts) for error in caught} == {(errors.ResponseTooLarge, False, 1)}


def ask(port: int) -> None:
    """Send a request of our own, after which the log of all before it is written."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as asking:
        asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while asking.recv(4096):
            pass
