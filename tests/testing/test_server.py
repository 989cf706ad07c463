"""LocalSTS: how it starts, stops and answers; the script of faults in front of it."""

import asyncio
import gc
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict

import sts_async.testing
from sts_async import errors
from sts_async.client import STSClient
from sts_async.config import Config
from sts_async.sigv4 import sign
from sts_async.testing import (
    Answer,
    Delay,
    Fault,
    LocalSTS,
    Refuse,
    Reset,
    Role,
    Served,
    Skew,
    Throttle,
    Truncate,
    Unavailable,
    directory,
)
from sts_async.testing.refusals import modelled

ROLE = "arn:aws:iam::123456789012:role/demo"


def test_the_public_names_are_there_and_sorted() -> None:
    names = sts_async.testing.__all__

    assert names == sorted(names)
    assert all(getattr(sts_async.testing, name).__name__ == name for name in names)
    with pytest.raises(AttributeError):
        sts_async.testing.nothing  # noqa: B018


# -- the server ---------------------------------------------------------------------------------------------------


async def test_a_server_that_does_not_run_has_no_url() -> None:
    server = LocalSTS()

    assert repr(server) == "<LocalSTS stopped>"
    for use in (lambda: server.url, server.client):
        with pytest.raises(RuntimeError, match="not running"):
            use()


async def test_a_server_can_be_started_and_stopped_twice() -> None:
    """State and port survive a stop, as in an outage."""
    server = LocalSTS()
    await server.start()
    url = server.url
    await server.start()
    async with server.client(retries=None) as sts:
        await server.stop()
        await server.stop()
        with pytest.raises(errors.ConnectError):
            await sts.get_caller_identity()
        await server.start()

        assert server.url == url
        await sts.get_caller_identity()
    await server.stop()


def test_a_server_can_move_to_another_event_loop() -> None:
    server = LocalSTS()

    async def use() -> None:
        async with server, server.client() as sts:
            server.faults.add(Delay(0.001))
            await sts.get_caller_identity()

    for _ in range(2):
        asyncio.run(use())


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = LocalSTS(port=taken.getsockname()[1])

        with pytest.raises(OSError, match="in use"):
            await server.start()
    assert repr(server) == "<LocalSTS stopped>"


async def test_a_stop_leaves_no_task_and_no_socket() -> None:
    """Idle connections, and a delayed answer, are cut rather than waited for."""
    before = asyncio.all_tasks()
    server = LocalSTS()
    await server.start()
    async with server.client(retries=None) as sts:
        await sts.get_caller_identity()
        server.faults.add(Delay(3600))
        waiting = asyncio.create_task(sts.get_caller_identity())
        while server.faults:
            await asyncio.sleep(0)
        await server.stop()
        await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0)

    assert asyncio.all_tasks() - before == set()
    gc.collect()


async def test_a_client_that_leaves_ends_its_delay(server: LocalSTS, client: Callable[..., STSClient]) -> None:
    server.faults.add(Delay(3600))
    call = asyncio.create_task(client().get_caller_identity())
    while server.faults:
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

    await client().get_caller_identity()
    assert [record.status for record in server.requests] == [200]


async def test_requests_are_recorded_without_secrets(server: LocalSTS, sts: STSClient) -> None:
    issued = await sts.assume_role(role_arn=ROLE, role_session_name="me")
    with pytest.raises(errors.ServiceError):
        await sts.get_access_key_info(access_key_id="A" * 16)
    first, second = server.requests

    assert first == Served(
        operation="AssumeRole",
        principal="arn:aws:iam::123456789012:user/developer",
        region="us-east-1",
        status=200,
        request_id=issued.metadata.request_id or "",
    )
    assert (second.operation, second.status, second.code) == ("GetAccessKeyInfo", 400, "ValidationError")
    assert issued.credentials.session_token not in repr(server.requests)


@pytest.mark.parametrize("body", [b"Action=Fly&Version=2011-06-15", b"a=1&a=1", b"Action.a=1", b""])
async def test_malformed_requests_are_recorded_too(server: LocalSTS, body: bytes) -> None:
    async with aiohttp.ClientSession() as session, session.post(server.url, data=body) as response:
        assert response.status == 400
        assert response.content_type == "text/xml"

    assert server.requests[-1].operation is None


async def test_the_date_header_follows_the_clock(server: LocalSTS, sts: STSClient, clock: Any) -> None:
    """Clients correct their clocks by it."""
    clock.move(100)
    headers = (await sts.get_caller_identity()).metadata.headers

    assert parsedate_to_datetime(headers["date"]).timestamp() == clock()
    assert headers["x-amzn-requestid"] == server.requests[-1].request_id


async def test_the_oldest_sessions_are_forgotten(
    sts: STSClient, server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server in a benchmark issues millions."""
    monkeypatch.setattr(directory, "MAX_SESSIONS", 2)
    issued = [(await sts.assume_role(role_arn=ROLE, role_session_name="me")).credentials for _ in range(3)]

    assert [server.principal(one) is not None for one in issued] == [False, True, True]


async def test_repeated_headers_are_one(server: LocalSTS) -> None:
    """They are signed as one, joined by commas."""
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    signed = sign(
        server.credentials,
        method="POST",
        url=f"{server.url}/",
        headers={"content-type": "application/x-www-form-urlencoded", "x-list": "a,b"},
        body=body,
        service="sts",
        region="us-east-1",
        at=datetime.now(UTC),
    )
    headers = CIMultiDict(signed)
    headers.popone("x-list")
    headers.extend([("x-list", "a"), ("x-list", "b")])
    async with aiohttp.ClientSession() as session, session.post(server.url, data=body, headers=headers) as response:
        assert response.status == 200


# -- faults -------------------------------------------------------------------------------------------------------


async def test_faults_come_in_order_and_then_service_is_normal(server: LocalSTS, sts: STSClient) -> None:
    server.faults.add(Throttle(times=2), Unavailable())
    server.faults.add(Refuse(errors.IDPCommunicationErrorException), Refuse("Odd", message="m", status=418))

    assert len(server.faults) == 5
    seen = []
    for _ in range(5):
        with pytest.raises(errors.ServiceError) as caught:
            await sts.get_caller_identity()
        seen.append((type(caught.value), caught.value.code, caught.value.status))
    assert seen == [
        (errors.ThrottlingError, "Throttling", 400),
        (errors.ThrottlingError, "Throttling", 400),
        (errors.ServiceError, "ServiceUnavailable", 503),
        (errors.IDPCommunicationErrorException, "IDPCommunicationError", 400),
        (errors.ServiceError, "Odd", 418),
    ]
    assert not server.faults
    await sts.get_caller_identity()
    assert [record.code for record in server.requests][-2:] == ["Odd", None]


async def test_every_modelled_error_can_be_asked_for(server: LocalSTS, sts: STSClient) -> None:
    for error in errors.ServiceError.by_code.values():
        server.faults.add(Refuse(error))
        with pytest.raises(errors.ServiceError) as caught:
            await sts.get_caller_identity()

        assert type(caught.value) is error
        assert caught.value.status == error.modelled_status


@pytest.mark.parametrize("after", ["connect", "headers"])
async def test_a_reset_is_a_lost_connection(server: LocalSTS, sts: STSClient, after: Any) -> None:
    server.faults.add(Reset(after=after))

    with pytest.raises(errors.ConnectionLost):
        await sts.get_caller_identity()
    await sts.get_caller_identity()
    assert server.requests[0].status == (None if after == "connect" else 200)


async def test_after_a_reset_nothing_or_the_headers_have_come(server: LocalSTS) -> None:
    """The two differ on the wire, also for a client that is not ours."""

    async def received() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(b"GET /?Action=GetCallerIdentity&Version=2011-06-15 HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        try:
            while chunk := await reader.read(1000):
                got += chunk
        except ConnectionResetError:
            got += b"RST"
        writer.close()
        return got

    server.faults.add(Reset(), Reset(after="headers"), Truncate(5), Truncate(10_000))
    assert await received() == b"RST"
    head = await received()
    assert head.endswith((b"\r\n\r\nRST", b"RST"))
    assert b"Content-Length" in head or head == b"RST"
    head, _, body = (await received()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\nContent-Length: ")
    assert body == b"<Erro"
    head, _, body = (await received()).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body) + 1}\r\n".encode() in head


async def test_a_truncated_answer_is_a_lost_connection(server: LocalSTS, sts: STSClient) -> None:
    server.faults.add(Truncate(at_bytes=0), Truncate(at_bytes=20))

    for _ in range(2):
        with pytest.raises(errors.ConnectionLost):
            await sts.get_caller_identity()


async def test_anything_can_be_answered(server: LocalSTS, sts: STSClient) -> None:
    server.faults.add(
        Answer(302, headers={"Location": "http://127.0.0.2/"}), Answer(200, "<html/>"), Answer(502, b"\xff")
    )

    with pytest.raises(errors.RedirectRefused):
        await sts.get_caller_identity()
    with pytest.raises(errors.ResponseParseError):
        await sts.get_caller_identity()
    with pytest.raises(errors.ServiceError, match="502"):
        await sts.get_caller_identity()
    assert [(record.status, record.code) for record in server.requests] == [(302, None), (200, None), (502, None)]


async def test_a_server_with_a_skewed_clock_rejects_current_signatures(server: LocalSTS) -> None:
    """Unless the client learns the time from the answer, as it does by itself."""
    server.faults.add(Skew(-3600), Skew(3600))

    async with server.client(config=Config(disable_clock_skew_correction=True)) as sts:
        for text in ("not yet current", "Signature expired"):
            with pytest.raises(errors.ServiceError, match=text):
                await sts.get_caller_identity()
        await sts.get_caller_identity()
    server.faults.add(Skew(-3600, times=2))
    async with server.client() as sts:
        await sts.get_caller_identity()


async def test_a_delayed_answer_comes(server: LocalSTS, sts: STSClient) -> None:
    server.faults.add(Delay(0), Delay(0.001))

    await sts.get_caller_identity()
    await sts.get_caller_identity()


async def test_a_script_can_be_taken_back(server: LocalSTS, sts: STSClient) -> None:
    server.faults.add(Throttle(times=1000))
    server.faults.clear()

    await sts.get_caller_identity()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Throttle(times=0),
        lambda: Delay(-1),
        lambda: Delay(float("inf")),
        lambda: Delay(float("nan")),
        lambda: Reset(after="lunch"),  # type: ignore[arg-type]
        lambda: Truncate(-1),
        lambda: Answer(99),
        lambda: Refuse("A", status=99),
        lambda: Refuse(errors.ThrottlingError),
        lambda: modelled(errors.ServiceError, ""),
        lambda: LocalSTS().faults.add(Fault()),
        lambda: LocalSTS().faults.add("throttle"),  # type: ignore[arg-type]
    ],
)
async def test_an_invalid_fault_is_an_error(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError):
        make()


async def test_the_retries_of_the_client_get_through(server: LocalSTS) -> None:
    server.faults.add(Reset(), Unavailable())
    async with server.client() as sts:
        response = await sts.get_caller_identity()

    assert response.metadata.attempts == 3


async def test_roles_that_are_declared_later_are_known() -> None:
    async with LocalSTS(roles=[]) as server, server.client() as sts:
        server.declare(Role(ROLE))

        await sts.assume_role(role_arn=ROLE, role_session_name="me")


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
async def test_it_listens_on_the_other_loopback_address_too() -> None:
    """An IPv6 address is in brackets in a URL."""
    async with LocalSTS(host="::1") as server, server.client() as sts:
        assert server.url.startswith("http://[::1]:")
        assert (await sts.get_caller_identity()).arn == server.principal(server.credentials).arn  # type: ignore[union-attr]


async def test_a_role_can_be_declared_by_its_arn_alone() -> None:
    """E4: as `Role(arn)`, and no other role exists then."""
    arn = "arn:aws:iam::123456789012:role/demo"
    async with LocalSTS(roles=[arn]) as server, server.client() as sts:
        assert (await sts.assume_role(role_arn=arn, role_session_name="one")).assumed_role_user


@pytest.mark.parametrize("given", [Role("arn:aws:iam::123456789012:role/demo"), "arn", [1], 7])
@pytest.mark.parametrize(("name", "form"), [("roles", "Role"), ("users", "User"), ("accounts", "Account")])
def test_an_argument_that_must_be_a_list_shows_its_form(name: str, form: str, given: Any) -> None:
    """E4: a single role, a text, and a list of something else."""
    with pytest.raises(TypeError, match=rf"^{name} must be a list such as {name}=\[{form}\(\.\.\.\)\]$"):
        LocalSTS(**{name: given})
