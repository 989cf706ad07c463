"""Which requests the endpoint answers, and how it refuses the others."""

import asyncio
import hmac
import json
import logging

import pytest
from agent.endpoints import ask, exchange, open_endpoint, request
from fleet.fleets import Service, role
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import until

from sts_async.agent import _answers, _server
from sts_async.testing import LocalSTS, VirtualClock


async def test_an_answer_has_the_members_that_sdks_read(server: LocalSTS, clock: VirtualClock) -> None:
    """All of them are text, none is empty, and the time has whole seconds."""
    async with open_endpoint(server, clock) as (fleet, endpoint):
        answered = await ask(endpoint)
        credentials = await fleet.get(role())

    assert answered.status == 200
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answered.headers
    assert answered.document == {
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.session_token,
        "Expiration": "2026-01-01T01:00:00Z",
        "AccountId": "123456789012",
        "RoleArn": role().role_arn,
    }


async def test_the_token_is_sent_as_the_file_has_it(server: LocalSTS, clock: VirtualClock) -> None:
    """Go and object_store send the whole file: a line break at its end would make an invalid header."""
    async with open_endpoint(server, clock) as (_, endpoint):
        data = endpoint.token_file("demo").read_bytes()

        assert len(data) >= 43  # 256 bits in base64
        assert data.strip() == data
        assert (await ask(endpoint, token=data.decode())).status == 200


@pytest.mark.parametrize(
    ("lines", "parts", "status", "code"),
    [
        ((), {"token": None}, 401, "Unauthorized"),
        ((), {"token": "wrong"}, 403, "AccessDenied"),
        ((), {"token": "Bearer \u00e9\xff"}, 403, "AccessDenied"),
        (("Authorization: x",), {}, 401, "Unauthorized"),
        ((), {"path": "/role/other"}, 404, "NotFound"),
        ((), {"path": "/role/other", "token": None}, 401, "Unauthorized"),
        ((), {"path": "/role/other", "token": "wrong"}, 403, "AccessDenied"),
        ((), {"path": "/"}, 404, "NotFound"),
        ((), {"path": "/role/demo/"}, 404, "NotFound"),
        ((), {"path": "/role/../role/demo/x"}, 404, "NotFound"),
        ((), {"path": "/role/demo?x=1"}, 404, "NotFound"),
        ((), {"path": "/role/arn:aws:iam::123456789012:role/role-0"}, 404, "NotFound"),
        ((), {"host": "localhost:1"}, 403, "Forbidden"),
        ((), {"host": "attacker.example"}, 403, "Forbidden"),
        ((), {"host": "127.0.0.1"}, 403, "Forbidden"),
        (("Origin: http://127.0.0.1",), {}, 403, "Forbidden"),
        (("Sec-Fetch-Site: none",), {}, 403, "Forbidden"),
        (("X-Forwarded-For: 127.0.0.1",), {}, 403, "Forbidden"),
        (("Forwarded: for=127.0.0.1",), {}, 403, "Forbidden"),
        (("Via: 1.1 proxy",), {}, 403, "Forbidden"),
        ((), {"method": "POST"}, 405, "MethodNotAllowed"),
        ((), {"method": "HEAD"}, 405, ""),
        ((), {"method": "PUT"}, 405, "MethodNotAllowed"),
        ((), {"method": "OPTIONS"}, 405, "MethodNotAllowed"),
        ((), {"method": "DELETE"}, 405, "MethodNotAllowed"),
        (("Content-Length: 3",), {"body": "abc"}, 413, "RequestTooLarge"),
        (("Content-Length: 9999999999",), {"body": "abc"}, 413, "RequestTooLarge"),
        (("Transfer-Encoding: chunked",), {"body": "3\r\nabc\r\n0\r\n\r\n"}, 413, "RequestTooLarge"),
    ],
)
async def test_other_requests_are_refused(
    server: LocalSTS,
    clock: VirtualClock,
    lines: tuple[str, ...],
    parts: dict[str, str | None],
    status: int,
    code: str,
) -> None:
    """Each with its status, and with the two members that SDKs show."""
    async with open_endpoint(server, clock) as (_, endpoint):
        before = len(server.requests)
        answered = await ask(endpoint, *lines, **parts)

        assert answered.status == status
        if code:
            document = answered.document
            assert (document["Code"], document["code"]) == (code, code)
            assert document["Message"] == document["message"] != ""
        assert b"arn:" not in answered.body
        assert (answered.headers.get("allow") == "GET") == (status == 405)
        assert len(server.requests) == before


async def test_a_second_host_header_is_refused(server: LocalSTS, clock: VirtualClock) -> None:
    """One of the two would be checked, and a proxy could have used the other."""
    async with open_endpoint(server, clock) as (_, endpoint):
        answered = await ask(endpoint, "Host: attacker.example")

    assert answered.status in (400, 403)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03SENTINEL",
        b"GET /role/SENTINEL\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization SENTINEL\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: " + b"SENTINEL" * 2000 + b"\r\n\r\n",
        b"GET /" + b"SENTINEL" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: SENTINEL\r\n" % number for number in range(500)) + b"\r\n",
    ],
    ids=["TLS", "no version", "no colon", "long header", "long path", "many headers"],
)
async def test_malformed_requests_are_not_repeated(
    server: LocalSTS, clock: VirtualClock, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """T14: neither in the answer nor in the log, because they can contain a token."""
    caplog.set_level(logging.DEBUG)
    async with open_endpoint(server, clock) as (_, endpoint):
        answers = await exchange(endpoint.port, data)

        assert {answered.status for answered in answers} <= {400, 403}
        assert all(b"SENTINEL" not in answered.body for answered in answers)
        assert (await ask(endpoint)).status == 200
    assert "SENTINEL" not in caplog.text


async def test_the_token_of_another_identity_is_refused(server: LocalSTS, clock: VirtualClock) -> None:
    """T42: a program with one token cannot read the credentials of another program."""
    async with open_endpoint(server, clock, {"demo": role(1), "other": role(2)}) as (_, endpoint):
        tokens = {name: endpoint.token_file(name).read_text() for name in endpoint.names}

        assert len(set(tokens.values())) == 2
        assert (await ask(endpoint, path="/role/demo", token=tokens["other"])).status == 403
        assert (await ask(endpoint, path="/role/other", token=tokens["other"])).document["RoleArn"] == role(2).role_arn


async def test_tokens_are_compared_in_constant_time(
    server: LocalSTS, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T19: a guess that is right at its beginning must not take longer."""
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    async with open_endpoint(server, clock) as (_, endpoint):
        monkeypatch.setattr(_answers, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
        await ask(endpoint, token="guess")

    assert compared == [(5, 43)]


async def test_requests_of_one_connection_are_answered_in_order(server: LocalSTS, clock: VirtualClock) -> None:
    """SDKs keep connections."""
    async with open_endpoint(server, clock) as (_, endpoint):
        answers = await exchange(endpoint.port, request(endpoint, close=False) * 3 + request(endpoint, path="/role/x"))

    assert [answered.status for answered in answers] == [200, 200, 200, 404]


async def test_connections_are_bounded(server: LocalSTS, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user of the host cannot exhaust the descriptors of the process."""
    monkeypatch.setattr(_server, "MAX_CONNECTIONS", 3)
    async with open_endpoint(server, clock) as (_, endpoint):
        held = [await asyncio.open_connection("127.0.0.1", endpoint.port) for _ in range(3)]
        assert endpoint._server is not None
        counted = endpoint._server._transports
        await until(lambda: len(counted) == 3)
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)

        assert await _ends(reader)
        for _, one in [*held, (reader, writer)]:
            one.close()
            await one.wait_closed()
        await until(lambda: not counted)
        assert (await ask(endpoint)).status == 200


async def _ends(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_a_connection_without_a_request_is_closed(
    server: LocalSTS, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it says nothing, or sends a part of a request."""
    monkeypatch.setattr(_server, "REQUEST_SECONDS", 0.05)
    async with open_endpoint(server, clock) as (_, endpoint):
        for data in (b"", b"GET /role/demo HTTP/1.1\r\nHo"):
            reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
            writer.write(data)

            assert await _ends(reader)
            writer.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
async def test_no_bytes_get_credentials(data: bytes) -> None:
    """Anything but a request with the token is refused or ignored, and the endpoint goes on."""
    clock = VirtualClock(start=1_767_225_600.0)
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        answers = await exchange(endpoint.port, data, end=True)

        assert all(answered.status >= 400 for answered in answers)
        assert (await ask(endpoint)).status == 200


async def test_an_unexpected_error_is_an_answer_without_its_text(
    server: LocalSTS, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It can quote anything."""

    def broken(*_: object, **__: object) -> bytes:
        raise RuntimeError("SENTINEL")

    async with open_endpoint(server, clock) as (_, endpoint):
        monkeypatch.setattr(_answers, "answer", broken)
        answered = await ask(endpoint)

    assert answered.status == 500
    assert json.loads(answered.body)["Code"] == "InternalFailure"
    assert b"SENTINEL" not in answered.body
    assert "SENTINEL" not in caplog.text
    assert "RuntimeError" in caplog.text
