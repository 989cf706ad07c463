"""Signatures as a strict server checks them: from the bytes that came over a socket, by rules of its own."""

import asyncio
import hashlib
import hmac
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import trustme
import yarl
from support import RawServer, http

from sts_async import Config, STSClient, sigv4
from sts_async._engine.build import transport_of
from sts_async._protocol.http_messages import HttpRequest
from sts_async.errors import ConfigurationError
from sts_async.shapes import Credentials, GetCallerIdentityRequest
from sts_async.testing import LocalSTS

Start = Callable[..., Awaitable[RawServer]]
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEYS = Credentials(access_key_id="AKIDEXAMPLE", secret_access_key=SECRET, session_token="IQoJ+/token==")
ALIKE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
S3 = {"s3", "s3express", "s3-outposts", "s3-object-lambda"}


def decoded(text: str) -> bytes:
    """Return the bytes of a percent-encoded text."""
    data, made = text.encode("ascii"), bytearray()
    while data:
        if data[:1] == b"%":
            made.append(int(data[1:3], 16))
            data = data[3:]
        else:
            made += data[:1]
            data = data[1:]
    return bytes(made)


def encoded(data: bytes, *, also: bytes = b"") -> str:
    """Encode as the documents of AWS say: letters, digits and four marks stay, all else becomes %XY."""
    return "".join(chr(byte) if byte in ALIKE + also else f"%{byte:02X}" for byte in data)


def canonical_uri(path: str, *, service: str) -> str:
    if service in S3:  # the key of the object, encoded once
        return encoded(decoded(path), also=b"/")
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    slash = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return "/" + encoded("/".join(kept).encode(), also=b"/") + slash


def expected_signature(raw: bytes, *, payload: str | None = None) -> tuple[str, str]:
    """Return the signature that a request should have, and the one that it has."""
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *lines = head.decode("ascii").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
    path, _, query = target.partition("?")
    pairs = [tuple(map(decoded, pair.replace("+", " ").partition("=")[::2])) for pair in query.split("&") if pair]
    given = {name: value.decode() for name, value in pairs}
    if "authorization" in headers:
        parts = dict(part.strip().split("=", 1) for part in headers["authorization"].split(" ", 1)[1].split(","))
        stamp, token = headers["x-amz-date"], headers.get("x-amz-security-token")
        payload = payload or headers.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest()
    else:
        parts = {name: given[f"X-Amz-{name}".encode()] for name in ("Credential", "SignedHeaders", "Signature")}
        stamp, token = given[b"X-Amz-Date"], given.get(b"X-Amz-Security-Token")
        pairs = [pair for pair in pairs if pair[0] != b"X-Amz-Signature"]
        assert payload
    assert token == KEYS.session_token
    _, _, service, _ = scope = parts["Credential"].split("/")[1:]
    names = parts["SignedHeaders"].split(";")
    assert names == sorted(names)
    assert {"host", *(name for name in headers if name.startswith("x-amz-"))} <= {*names}
    if service in S3 and "authorization" in headers:  # S3 answers 400 to a request without it
        assert headers["x-amz-content-sha256"] == payload
    request = "\n".join(
        [
            method,
            canonical_uri(path, service=service),
            "&".join(map("=".join, sorted((encoded(name), encoded(value)) for name, value in pairs))),
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            ";".join(names),
            payload,
        ]
    )
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{'/'.join(scope)}\n{digest}"
    key = f"AWS4{SECRET}".encode()
    for part in scope:
        key = hmac.new(key, part.encode(), "sha256").digest()
    return hmac.new(key, text.encode(), "sha256").hexdigest(), parts["Signature"]


async def sent(url: str, **options: Any) -> None:
    """Send a request to a URL that is spelled as it is."""
    async with aiohttp.ClientSession() as session, session.request(url=yarl.URL(url, encoded=True), **options):
        pass


TARGETS = [
    "bucket/with%20space.txt",
    "bucket/a+b.txt",
    "bucket/a%2Bb.txt",
    "bucket/%e4%b8%ad/~tilde/%7e",
    "bucket//double//slash/",
    "bucket/a/../b/./c",
    "bucket/a:b@c$&'()*,;=!",
    "bucket/arn%3Aaws%3As3%2Fx",
    "bucket?prefix=a/b:c",
    "bucket?prefix=a%2fb%3ac&delimiter=/",
    "bucket?list-type=2&prefix=a%20b&a=b=c",
    "bucket?prefix=a+b&x=%2B",
    "bucket?acl",
    "bucket?b=1&a=2&a=1&A=3&a-b=1",
    "",
]


@pytest.mark.parametrize("service", ["s3", "s3express", "s3-outposts", "s3-object-lambda", "execute-api"])
@pytest.mark.parametrize("target", TARGETS)
async def test_a_strict_server_finds_the_signature_of_a_request_right(
    raw_server: Start, target: str, service: str
) -> None:
    """B13: path and query rules follow from the service, for the bytes that were sent."""
    server = await raw_server(http("x"))
    url, at = f"{server.url}{target}", datetime.now(UTC)

    headers = sigv4.sign(KEYS, method="GET", url=url, headers={}, service=service, region="eu-west-1", at=at)
    await sent(url, method="GET", headers=headers)

    wanted, found = expected_signature(server.requests[0])
    assert found == wanted
    assert server.requests[0].startswith(f"GET /{target} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("service", ["s3", "s3-outposts", "execute-api"])
@pytest.mark.parametrize("target", TARGETS)
async def test_a_strict_server_finds_the_signature_of_a_presigned_url_right(
    raw_server: Start, target: str, service: str
) -> None:
    """B13: services of S3 take a presigned URL for any body, all others for an empty one."""
    server = await raw_server(http("x"))
    payload = "UNSIGNED-PAYLOAD" if service in S3 else hashlib.sha256(b"").hexdigest()

    presigned = sigv4.presign(
        KEYS, url=f"{server.url}{target}", service=service, region="eu-west-1", at=datetime.now(UTC)
    )
    await sent(presigned.reveal(), method="GET")

    wanted, found = expected_signature(server.requests[0], payload=payload)
    assert found == wanted


@pytest.mark.parametrize("change", [b"GET /bucket/other", b"GET /bucket/a?prefix=x"])
async def test_the_strict_server_is_strict(raw_server: Start, change: bytes) -> None:
    """A verifier that takes everything would be satisfied by everything."""
    server = await raw_server(http("x"))
    url = f"{server.url}bucket/a"
    headers = sigv4.sign(
        KEYS, method="GET", url=url, headers={}, service="s3", region="eu-west-1", at=datetime.now(UTC)
    )
    await sent(url, method="GET", headers=headers)

    wanted, found = expected_signature(server.requests[0].replace(b"GET /bucket/a", change))

    assert found != wanted


@pytest.mark.parametrize("spelling", ["a/b:c", "a%2Fb%3Ac", "a%2fb%3ac"])
async def test_local_sts_finds_a_query_right_however_it_is_spelled(spelling: str) -> None:
    """D2: a GET whose query has raw ``:`` and ``/``, with the signature that AWS documents for it."""
    async with LocalSTS() as server:
        url = f"{server.url.rstrip('/')}/?Action=GetCallerIdentity&Version=2011-06-15&X=a%2Fb%3Ac"
        presigned = sigv4.presign(
            server.credentials, url=url, service="sts", region=server.region, at=datetime.now(UTC)
        )
        respelled = presigned.reveal().replace("a%2Fb%3Ac", spelling)
        async with aiohttp.ClientSession() as session:
            answer = await session.get(yarl.URL(respelled, encoded=True))
            assert answer.status == 200, await answer.text()
            answer = await session.get(yarl.URL(respelled.replace(spelling, "a%2Fb%3AC"), encoded=True))
            assert answer.status == 403


# B4: a final dot


@pytest.fixture
def dotted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Resolve every name to 127.0.0.1, and return the resolved names."""
    asked: list[str] = []

    def known(host: str, port: int, *more: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("socket.getaddrinfo", known)
    return asked


async def test_a_host_with_a_final_dot_is_signed_as_it_is_sent(dotted: list[str]) -> None:
    """B4: looked up with the dot, signed and sent without it."""
    async with LocalSTS() as server:
        port = yarl.URL(server.url).port
        async with STSClient(
            credentials=server.credentials,
            config=Config(
                region=server.region,
                endpoint_url=f"http://sts.shop.test.:{port}",
                allow_http=True,
                config_file="/dev/null",
                credentials_file="/dev/null",
            ),
        ) as sts:
            await sts.get_caller_identity()
            presigned = await sts.presign(GetCallerIdentityRequest())
            with pytest.raises(ConfigurationError, match="expires must be an integer from 1 to 604800"):  # B12
                await sts.presign(GetCallerIdentityRequest(), expires=True)
        assert {*dotted} == {"sts.shop.test."}

        async with aiohttp.ClientSession() as session:
            answer = await session.get(yarl.URL(presigned.reveal(), encoded=True))
            assert answer.status == 200, await answer.text()
        assert presigned.reveal().startswith(f"http://sts.shop.test:{port}/?")


async def test_a_host_with_a_final_dot_is_named_without_it_on_the_wire(raw_server: Start, dotted: list[str]) -> None:
    """B4: that is what aiohttp sends; should it change, this and the signature must change with it."""
    server = await raw_server(http("x"))
    port = yarl.URL(server.url).port
    url = f"http://sts.shop.test.:{port}/a"
    headers = sigv4.sign(
        KEYS, method="POST", url=url, headers={}, body=b"a=1", service="sts", region="r", at=datetime.now(UTC)
    )

    await sent(url, method="POST", headers=headers, data=b"a=1")

    wanted, found = expected_signature(server.requests[0])
    assert f"\r\nHost: sts.shop.test:{port}\r\n".encode() in server.requests[0]
    assert found == wanted
    assert {*dotted} == {"sts.shop.test."}


async def test_tls_names_the_host_without_its_final_dot(tmp_path: Any, dotted: list[str]) -> None:
    """B4: certificates and server names have no final dot. Source: RFC 6066, section 3."""
    names: list[str] = []
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("sts.shop.test").configure_cert(context)
    context.sni_callback = lambda _, name, __: names.append(name)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http("x", headers="Connection: close\r\n"))
        await writer.drain()
        writer.close()

    requests: list[bytes] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    transport = transport_of(await Config(ca_bundle=str(bundle)).resolve({}))
    answer = await transport.send(HttpRequest("GET", f"https://sts.shop.test.:{port}/", {}))
    await transport.aclose()
    server.close()

    assert (answer.status, names) == (200, ["sts.shop.test"])
    assert f"\r\nHost: sts.shop.test:{port}\r\n".encode() in requests[0]
