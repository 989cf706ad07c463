"""Who may come in: signatures in headers and in URLs, and what the service says of those that are wrong."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import attrs
import pytest
import yarl

from sts_async import Credentials, GetCallerIdentityRequest, ServiceError, STSClient
from sts_async._protocol.clock_skew import ServiceClock
from sts_async.sigv4 import presign, sign
from sts_async.testing import LocalSTS
from sts_async.testing.verify import Received, read_proof

BODY = b"Action=GetCallerIdentity&Version=2011-06-15"


async def fetch(url: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b"") -> str:
    """Return status and text, sent as given by a client that is not ours."""
    async with (
        aiohttp.ClientSession(skip_auto_headers=["content-type"]) as session,
        session.request(method, yarl.URL(url, encoded=True), headers=headers, data=body or None) as response,
    ):
        return f"{response.status} {await response.text()}"


async def post(server: LocalSTS, change: Callable[[dict[str, str]], Any] | None = None, **options: Any) -> str:
    """Sign a request, let *change* spoil its headers, send it and return status and text."""
    at = datetime.fromtimestamp(server._clock(), UTC)
    usual = {"service": "sts", "region": "us-east-1", "at": at, "headers": {"x-extra": "a"}}
    headers = sign(server.credentials, method="POST", url=f"{server.url}/", body=BODY, **{**usual, **options})
    if change is not None:
        change(headers)
    return await fetch(f"{server.url}/", method="POST", headers=headers, body=BODY)


async def test_a_signed_request_comes_in(server: LocalSTS) -> None:
    assert ":user/developer</Arn>" in await post(server)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda h: h.update({"x-extra": "b"}), "403 SignatureDoesNotMatch"),
        (lambda h: h.pop("x-extra"), "403 SignatureDoesNotMatch"),
        (lambda h: h.pop("authorization"), "403 MissingAuthenticationToken"),
        (lambda h: h.update(authorization="Bearer abc"), "400 IncompleteSignature"),
        (lambda h: h.update(authorization="AWS4-HMAC-SHA256 Credential=a"), "400 IncompleteSignature"),
        (lambda h: h.update(authorization=h["authorization"].replace("/sts/", "/")), "400 IncompleteSignature"),
        (lambda h: h.update(authorization=h["authorization"][:-1] + "é"), "400 IncompleteSignature"),
        (lambda h: h.update(authorization=h["authorization"].replace("host;", "")), "403 SignatureDoesNotMatch"),
        (lambda h: h.update({"x-extra": "é"}), "403 SignatureDoesNotMatch"),
        (lambda h: h.pop("x-amz-date"), "400 IncompleteSignature"),
        (lambda h: h.update({"x-amz-date": h["x-amz-date"][:-7] + "999999Z"}), "400 IncompleteSignature"),
        (lambda h: h.update({"x-amz-date": "20000101T000000Z"}), "403 SignatureDoesNotMatch"),
        (lambda h: h.update({"x-amz-security-token": "abc"}), "403 InvalidClientTokenId"),
    ],
)
async def test_a_spoilt_signature_is_refused(
    server: LocalSTS, change: Callable[[dict[str, str]], Any], expected: str
) -> None:
    """Each part of a signature counts, and the service's own code says which is wrong."""
    status, code = expected.split()
    answer = await post(server, change)

    assert answer.startswith(status)
    assert f"<Code>{code}</Code>" in answer
    assert server.requests[-1].principal is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"service": "s3"}, "correct service"),
        ({"region": "eu-west-1"}, "valid region"),
        ({"region": "mars-1"}, "valid region"),
    ],
)
async def test_a_signature_for_elsewhere_is_refused(options: dict[str, Any], message: str) -> None:
    async with LocalSTS(regions=["us-east-1"]) as server:
        assert message in await post(server, **options)


async def test_a_request_that_is_not_signed_lacks_its_token(server: LocalSTS) -> None:
    assert "<Code>MissingAuthenticationToken</Code>" in await fetch(f"{server.url}/?{BODY.decode()}")


@pytest.mark.parametrize(("seconds", "text"), [(901, "Signature expired: "), (-901, "Signature not yet current: ")])
async def test_a_signature_is_good_for_15_minutes(
    server: LocalSTS, sts: STSClient, clock: Any, seconds: float, text: str
) -> None:
    engine = await sts._life.ready()
    engine._shared.wall_clock = clock.stopped()
    engine._shared.clock = ServiceClock(corrects=False)
    clock.move(seconds - (1 if seconds > 0 else -1))
    await sts.get_caller_identity()
    clock.move(2 if seconds > 0 else -2)

    with pytest.raises(ServiceError) as caught:
        await sts.get_caller_identity()

    assert caught.value.code == "SignatureDoesNotMatch"
    assert caught.value.message.startswith(text)


async def test_a_wrong_secret_is_refused(client: Callable[..., STSClient], server: LocalSTS) -> None:
    wrong = attrs.evolve(server.credentials, secret_access_key="wrong")  # type: ignore[misc]

    with pytest.raises(ServiceError, match="SignatureDoesNotMatch"):
        await client(credentials=wrong).get_caller_identity()


async def test_an_unknown_key_is_refused(client: Callable[..., STSClient]) -> None:
    nobody = Credentials(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="x")

    with pytest.raises(ServiceError, match="InvalidClientTokenId"):
        await client(credentials=nobody).get_caller_identity()


@pytest.mark.parametrize("token", [None, "another"])
async def test_a_session_needs_its_own_token(client: Callable[..., STSClient], token: str | None) -> None:
    issued = (await client().get_session_token()).credentials
    stolen = Credentials(
        access_key_id=issued.access_key_id, secret_access_key=issued.secret_access_key, session_token=token
    )

    with pytest.raises(ServiceError, match="InvalidClientTokenId"):
        await client(credentials=stolen).get_caller_identity()


async def test_a_presigned_url_comes_in_until_15_minutes_have_passed(
    server: LocalSTS, sts: STSClient, clock: Any
) -> None:
    """STS passes over X-Amz-Expires, which is 60 s here."""
    (await sts._life.ready())._shared.wall_clock = clock.stopped()
    url = (await sts.presign(GetCallerIdentityRequest(), expires=60)).reveal()

    clock.move(899)
    assert ":user/developer</Arn>" in await fetch(url)
    clock.move(2)
    assert "Signature expired: " in await fetch(url)


async def test_a_presigned_url_ends_when_it_says_if_that_is_asked_for(clock: Any) -> None:
    async with LocalSTS(clock=clock, honor_expires=True) as server, server.client() as sts:
        (await sts._life.ready())._shared.wall_clock = clock.stopped()
        url = (await sts.presign(GetCallerIdentityRequest(), expires=60)).reveal()
        clock.move(59)

        assert ":user/developer</Arn>" in await fetch(url)
        clock.move(2)
        assert "Signature expired: " in await fetch(url)


async def test_the_presigned_url_of_a_session_comes_in(client: Callable[..., STSClient]) -> None:
    session = client(credentials=(await client().get_session_token()).credentials)

    assert ":user/developer</Arn>" in await fetch((await session.presign(GetCallerIdentityRequest())).reveal())


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("Action=GetCallerIdentity", "Action=GetSessionToken", "SignatureDoesNotMatch"),
        ("X-Amz-Expires=60", "X-Amz-Expires=61", "SignatureDoesNotMatch"),
        ("X-Amz-Expires=60", "X-Amz-Expires=0", "IncompleteSignature"),
        ("X-Amz-Expires=60", "X-Amz-Expires=604801", "IncompleteSignature"),
        ("&X-Amz-Expires=60", "", "SignatureDoesNotMatch"),
        ("X-Amz-Expires=60", "X-Amz-Expires=", "IncompleteSignature"),
        ("X-Amz-Signature=", "X-Amz-Signatur=", "IncompleteSignature"),
        ("SHA256", "SHA512", "IncompleteSignature"),
    ],
)
async def test_a_presigned_url_that_was_changed_is_refused(sts: STSClient, old: str, new: str, code: str) -> None:
    url = (await sts.presign(GetCallerIdentityRequest())).reveal()

    assert f"<Code>{code}</Code>" in await fetch(url.replace(old, new, 1))


async def test_the_date_of_the_scope_is_that_of_the_signature(server: LocalSTS) -> None:
    """A key of another day would sign as well, were the two not compared."""

    def change(headers: dict[str, str]) -> None:
        scope = headers["authorization"].split("/")
        headers["authorization"] = "/".join([scope[0], "20000101", *scope[2:]])

    assert "Date in Credential scope" in await post(server, change)


async def test_a_presigned_url_can_ask_for_further_headers(server: LocalSTS) -> None:
    """That is how a Kubernetes token names its cluster."""
    url = presign(
        server.credentials,
        url=f"{server.url}/?{BODY.decode()}",
        headers={"x-k8s-aws-id": "blue"},
        service="sts",
        region="eu-west-1",
        at=datetime.now(UTC),
    ).reveal()

    assert ":user/developer</Arn>" in await fetch(url, headers={"x-k8s-aws-id": "blue"})
    assert "SignatureDoesNotMatch" in await fetch(url, headers={"x-k8s-aws-id": "green"})
    assert server.requests[-2].region == "eu-west-1"


def test_nothing_that_was_received_is_printed() -> None:
    received = Received(
        "GET",
        "/",
        "X-Amz-Signature=SENT&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k/a/b/c/d&X-Amz-Date=d"
        "&X-Amz-SignedHeaders=host&X-Amz-Expires=1&X-Amz-Security-Token=SENT",
        {"authorization-not": "SENT"},
        b"SENT",  # type: ignore[arg-type]
    )
    proof = read_proof(received)

    assert "SENT" not in repr(proof)
    assert "SENT" not in repr(attrs.evolve(received, body=b""))


async def test_a_signed_header_that_is_no_utf8_is_a_mismatch_and_not_a_crash() -> None:
    """aiohttp hands such bytes on as lone surrogates."""
    async with LocalSTS() as server:
        signed = sign(
            server.credentials,
            method="POST",
            url=f"{server.url}/",
            headers={"x-mine": "a"},
            body=b"Action=GetCallerIdentity&Version=2011-06-15",
            service="sts",
            region="us-east-1",
            at=datetime.now(UTC),
        )
        lines = [f"{name}: {value}" for name, value in signed.items() if name != "x-mine"]
        head = "\r\n".join(["POST / HTTP/1.1", f"Host: {server.url[7:]}", "Content-Length: 43", *lines]).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(head + b"\r\nx-mine: \xff\r\n\r\nAction=GetCallerIdentity&Version=2011-06-15")
        answer = await reader.readuntil(b"</ErrorResponse>")
        writer.close()
        await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"<Code>SignatureDoesNotMatch</Code>" in answer
