"""Common behaviour of all servers: they start and stop, accept the same faults, and record without secrets."""

import asyncio
import subprocess
import sys
import time
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import soon

from sts_async import Credentials
from sts_async.testing import (
    Answer,
    Delay,
    Exchange,
    LocalContainer,
    LocalIMDS,
    LocalSignIn,
    LocalSSO,
    LocalSTS,
    Refuse,
    Reset,
    Skew,
    Throttle,
    Truncate,
    Unavailable,
)
from sts_async.testing.base import LocalServer
from sts_async.testing.directory import MAX_SESSION
from sts_async.testing.faults import Script

ROLE = "arn:aws:iam::123456789012:role/path/demo"
CREDENTIALS_SERVERS = [LocalContainer, LocalIMDS, LocalSSO, LocalSignIn]
each_server = pytest.mark.parametrize("kind", [LocalSTS, *CREDENTIALS_SERVERS])
each_credentials_server = pytest.mark.parametrize("kind", CREDENTIALS_SERVERS)


async def get(url: str, *, method: str = "GET", **options: Any) -> tuple[int, bytes, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, allow_redirects=False, **options) as response,
    ):
        return response.status, await response.read(), {name.lower(): value for name, value in response.headers.items()}


# -- start and stop -----------------------------------------------------------------------------------------------


@each_server
async def test_every_server_starts_and_stops_and_keeps_its_port(kind: type[LocalServer[Any]]) -> None:
    server = kind()

    assert repr(server) == f"<{kind.__name__} stopped>"
    made = rf"{kind.__name__}\(\) as server"
    with pytest.raises(RuntimeError, match=f"not running: use `with {made}` or `async with {made}`"):
        _ = server.url
    async with server:
        url = server.url
        assert repr(server) == f"<{kind.__name__} {url}>"
    with pytest.raises(aiohttp.ClientConnectionError):
        await get(url)
    async with server:
        assert server.url == url


@each_server
async def test_the_environment_needs_a_server_that_runs(kind: Any) -> None:
    with pytest.raises(RuntimeError):
        _ = kind().environ


@each_server
async def test_a_stop_ends_a_delay_at_once(kind: type[LocalServer[Any]]) -> None:
    """F30: a test of timeouts does not wait for the server."""
    server = kind()
    await server.start()
    server.faults.add(Delay(3600))
    waiting = asyncio.create_task(get(server.url))
    while server.faults:
        await asyncio.sleep(0)
    await soon(server.stop())
    await soon(asyncio.wait([waiting]))

    assert waiting.done()


# -- faults -------------------------------------------------------------------------------------------------------


@each_server
async def test_every_server_refuses_in_its_own_way(kind: type[LocalServer[Any]]) -> None:
    """T10, F34: the same script, and each service's own error document."""
    async with kind() as server:
        server.faults.add(Throttle(), Unavailable(), Refuse("Odd", status=418))
        found = [await get(server.url) for _ in range(3)]
        expected = {LocalSTS: "text/xml", LocalIMDS: "text/html"}.get(kind, "application/json")

    assert [status for status, *_ in found] == [400 if kind is LocalSTS else 429, 503, 418]
    assert all(headers["content-type"].startswith(expected) and body for _, body, headers in found)
    assert [record.status for record in server.requests] == [status for status, *_ in found]
    assert [record.code for record in server.requests][1:] == ["ServiceUnavailable", "Odd"]


@each_server
async def test_every_server_answers_anything(kind: type[LocalServer[Any]]) -> None:
    """T4: redirects; T10: encodings; F34: what is not JSON."""
    async with kind() as server:
        server.faults.add(Answer(302, headers={"Location": "http://127.0.0.2/"}), Answer(200, "{", {"X-A": "b"}))
        redirect, odd = [await get(server.url) for _ in range(2)]

    assert redirect[0] == 302
    assert redirect[2]["location"] == "http://127.0.0.2/"
    assert odd[:2] == (200, b"{")
    assert [(record.status, record.code) for record in server.requests] == [(302, None), (200, None)]


@each_server
@pytest.mark.parametrize("fault", [Reset(), Reset(after="headers"), Truncate(0), Truncate(5)], ids=repr)
async def test_every_server_loses_connections(kind: type[LocalServer[Any]], fault: Any) -> None:
    """By POST: aiohttp sends a GET again by itself when it was not answered."""
    async with kind() as server:
        server.faults.add(fault)
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await get(server.url, method="POST")
        status, _, _ = await get(server.url)

    assert status >= 400
    assert (server.requests[0].status is None) == (fault == Reset())
    assert len(server.requests) == 2


@each_server
async def test_every_server_uses_its_clock(kind: Any, clock: Any) -> None:
    clock.move(-1000)
    async with kind(clock=clock) as server:
        server.faults.add(Delay(0), Skew(60))
        found = [(await get(server.url))[2]["date"] for _ in range(2)]

    assert [parsedate_to_datetime(date).timestamp() - clock() for date in found] == [0, 60]


async def test_a_fault_can_wait_for_a_path() -> None:
    """T28, F30: the token comes, and then the credentials fail; or the other way round."""
    async with LocalIMDS(v1=True) as server:
        server.faults.add(Unavailable(path="/latest/meta-data/iam/", times=2), Refuse("Forbidden", path="/latest/api"))
        paths = ["placement/region", "iam/security-credentials/", "../api/token", "iam/x", "placement/region"]
        for path in paths:
            async with aiohttp.ClientSession() as session, session.get(f"{server.url}/latest/meta-data/{path}"):
                pass

    assert [record.status for record in server.requests] == [200, 503, 403, 503, 200]


paths = st.sampled_from(["/", "/a", "/a/b", "/b"])


@given(
    faults=st.lists(st.tuples(st.integers(1, 3), st.none() | paths), max_size=6),
    requests=st.lists(paths, max_size=20),
)
def test_each_request_takes_the_first_fault_that_concerns_it(
    faults: list[tuple[int, str | None]], requests: list[str]
) -> None:
    """Compared with a plain list of faults, each for one request."""
    script = Script()
    script.add(*(Delay(number, times=times, path=path) for number, (times, path) in enumerate(faults)))
    singles = [(number, path) for number, (times, path) in enumerate(faults) for _ in range(times)]
    for request in requests:
        expected = next((one for one in singles if one[1] is None or request.startswith(one[1])), None)
        if expected is not None:
            singles.remove(expected)
        taken = script.take(request)

        assert (None if taken is None else taken.seconds) == (None if expected is None else expected[0])  # type: ignore[attr-defined]
        assert len(script) == len(singles)


# -- what is handed out -------------------------------------------------------------------------------------------


async def fetch(server: LocalContainer) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(server.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]) as response,
    ):
        found: dict[str, Any] = await response.json()
        return found


async def test_credentials_are_random_or_given_or_asked_for(clock: Any) -> None:
    """A refresh that is not seen to change anything is not tested."""
    numbers = iter(range(9))

    def next_one() -> Credentials:
        return Credentials(access_key_id=f"A{next(numbers)}", secret_access_key="s")

    async with LocalContainer(clock=clock, lifetime=-5) as server:
        first, second = [await fetch(server) for _ in range(2)]
        server.credentials = next_one
        asked = [await fetch(server) for _ in range(2)]
        server.credentials = next_one()
        given = [await fetch(server) for _ in range(2)]

    assert first["AccessKeyId"] != second["AccessKeyId"]
    assert first["Expiration"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock() - 5))
    assert asked == [{"AccessKeyId": f"A{n}", "SecretAccessKey": "s"} for n in (0, 1)]
    assert [one["AccessKeyId"] for one in given] == ["A2", "A2"]


async def test_credentials_of_a_local_sts_sign_real_calls(clock: Any) -> None:
    """From the metadata of the instance to a signed call."""
    async with (
        LocalSTS(clock=clock) as sts,
        LocalContainer(credentials=lambda: sts.issue(ROLE, session_name="i-0123")) as endpoint,
    ):
        found = await fetch(endpoint)
        credentials = Credentials(
            access_key_id=found["AccessKeyId"],
            secret_access_key=found["SecretAccessKey"],
            session_token=found["Token"],
        )
        async with sts.client(credentials=credentials) as client:
            identity = await client.get_caller_identity()
            again = await client.assume_role(role_arn=ROLE, role_session_name="next")

    assert identity.arn == "arn:aws:sts::123456789012:assumed-role/demo/i-0123"
    assert identity.account == "123456789012"
    assert again.assumed_role_user is not None
    assert again.assumed_role_user.assumed_role_id == (identity.user_id or "").replace("i-0123", "next")


@pytest.mark.parametrize("seconds", [-1, 0, 1, MAX_SESSION])
async def test_issued_credentials_end_by_the_clock(clock: Any, seconds: int) -> None:
    async with LocalSTS(clock=clock) as sts:
        issued = sts.issue(ROLE, seconds=seconds)
        holder = sts.principal(issued)

    assert issued.expiration.timestamp() == clock() + seconds
    assert holder is not None
    assert holder.is_expired(now=clock()) == (seconds <= 0)
    assert holder.credentials == issued


def test_only_the_role_of_an_arn_can_be_issued() -> None:
    with pytest.raises(ValueError, match="not the ARN of a role"):
        LocalSTS().issue("arn:aws:iam::123456789012:user/demo")


# -- nothing is shown ---------------------------------------------------------------------------------------------


async def test_no_server_shows_secrets() -> None:
    """T33: neither a printed environment nor the records have the token."""
    secret = "SENTINEL-authorization"
    async with LocalContainer(token=secret) as server:
        found = await get(f"{server.url}/credentials?{secret}", headers={"Authorization": secret})

    assert found[0] == 404
    assert secret not in repr([server, server.requests, server.token])
    assert server.requests[0] == Exchange(method="GET", path="/credentials", token="valid", status=404, code="NotFound")


async def test_a_printed_environment_has_no_token() -> None:
    async with LocalContainer(token="SENTINEL-authorization") as server:
        environ = server.environ

    assert "SENTINEL" not in repr(environ)
    assert environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] == "SENTINEL-authorization"


@pytest.mark.parametrize("name", ["LocalContainer", "LocalIMDS", "LocalSSO", "LocalSignIn"])
def test_a_stand_in_imports_no_more_than_it_needs(name: str) -> None:
    """Only LocalSTS reads XML, and only a LocalSignIn that is made verifies elliptic curves."""
    heavy = "{'lxml', 'cattrs', 'cryptography', 'joserfc'} & set(sys.modules)"
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}; from sts_async.testing import {name}; sys.exit(str({heavy} or ''))"
    )

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).stderr.strip() == b""
