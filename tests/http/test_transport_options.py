"""The wire with options: by a proxy, with certificates, from an address, after a fork."""

import asyncio
import base64
import contextlib
import logging
import os
import pickle
import socket
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from patience import soon
from support import RawServer, http

from sts_async import Config, STSClient, errors
from sts_async._engine.build import transport_of
from sts_async._http import transport as _transport
from sts_async._http.transport import MAX_ROUTES, USER_AGENT, AiohttpTransport
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._runtime import forks
from sts_async._shape.secret import Secret, SecretBytes
from sts_async.config import SettingsSources
from sts_async.testing import LocalSTS

Start = Callable[..., Awaitable[RawServer]]
CREDENTIALS = base64.b64encode(b"user:SENTINEL-password").decode()
HOST = "sts.example"  # nobody looks it up: the proxy is told its name


def post(url: str) -> HttpRequest:
    return HttpRequest("POST", url, {"x-token": Secret("SENTINEL-token")}, SecretBytes(b"a=1"))


async def send(url: str, *, session: aiohttp.ClientSession | None = None, **options: Any) -> HttpResponse:
    """Send one request as a client with these options does."""
    transport = transport_of(await Config(**options).resolve({}), session=session)
    try:
        return await transport.send(post(url))
    finally:
        await transport.aclose()


def with_password(server: RawServer) -> str:
    return server.url.replace("http://", "http://user:SENTINEL-password@")


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction of a tunnel, and end the other with it."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


class Tls:
    """An HTTPS server for `HOST`, and files that prove who is who."""

    def __init__(self, directory: Path) -> None:
        self.requests: list[bytes] = []
        self.peers: list[object] = []
        self.authority = trustme.CA()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(HOST, "127.0.0.1").configure_cert(self.context)
        self.authority.configure_trust(self.context)
        client = self.authority.issue_cert("me@client.example")
        self.bundle, self.both, self.certificate, self.key = (
            str(directory / name) for name in ("ca.pem", "both.pem", "certificate.pem", "key.pem")
        )
        self.authority.cert_pem.write_to_path(self.bundle)
        key, both = client.private_key_pem.bytes(), client.private_key_and_cert_chain_pem.bytes()
        self.content = {self.both: both, self.certificate: client.cert_chain_pems[0].bytes(), self.key: key}
        client.private_key_and_cert_chain_pem.write_to_path(self.both)
        client.cert_chain_pems[0].write_to_path(self.certificate)
        client.private_key_pem.write_to_path(self.key)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}/"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(writer.get_extra_info("peercert"))
        self.requests.append(await reader.readuntil(b"\r\n\r\na=1"))
        writer.write(http("x", headers="Connection: close\r\n"))
        await writer.drain()
        writer.close()

    async def stop(self) -> None:
        self._server.close()


@pytest.fixture
async def tls(tmp_path: Path) -> Any:
    server = Tls(tmp_path)
    await server.start()
    yield server
    await server.stop()


async def tunnel(raw_server: Start, port: int) -> RawServer:
    """Start a proxy that connects to a port of this host, whatever it is asked for."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        there, here = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pipe(reader, here), pipe(there, writer))
        with contextlib.suppress(ConnectionError):
            await here.wait_closed()

    server = await raw_server(handler=handler)
    return server


# Proxies


@pytest.mark.parametrize("option", ["proxy", "https_proxy"])
async def test_a_request_with_tls_goes_through_a_tunnel(raw_server: Start, tls: Tls, option: str) -> None:
    """T26: the proxy gets its credentials and no headers of the request, the service gets none of the proxy's."""
    proxy = await tunnel(raw_server, tls.port)
    options: dict[str, Any] = {option: with_password(proxy)}

    response = await send(f"https://{HOST}/", ca_bundle=tls.bundle, **options)

    assert response.status == 200
    assert proxy.requests[0].startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\n".encode())
    assert f"Proxy-Authorization: Basic {CREDENTIALS}\r\n".encode() in proxy.requests[0]
    assert b"SENTINEL-token" not in proxy.requests[0]
    assert b"proxy-auth" not in tls.requests[0].lower()
    assert tls.requests[0].startswith(b"POST / HTTP/1.1\r\n")


@pytest.mark.parametrize("option", ["proxy", "http_proxy"])
async def test_a_request_without_tls_is_sent_to_the_proxy(raw_server: Start, option: str) -> None:
    """T26: there, the proxy takes its header out."""
    proxy = await raw_server(http("x"))
    options: dict[str, Any] = {option: with_password(proxy)}

    await send(f"http://{HOST}/a?b=%2F", **options)

    head = proxy.requests[0].partition(b"\r\n\r\n")[0]
    assert head.startswith(f"POST http://{HOST}/a?b=%2F HTTP/1.1\r\n".encode())
    assert f"proxy-authorization: basic {CREDENTIALS}".lower().encode() in head.lower()


async def test_a_connection_by_a_proxy_is_used_again(raw_server: Start) -> None:
    proxy = await raw_server(http("x"))
    transport = transport_of(await Config(proxy=with_password(proxy)).resolve({}))

    for _ in range(3):
        await transport.send(post(f"http://{HOST}/"))
    await transport.aclose()

    assert (proxy.connections, len(proxy.requests)) == (1, 3)


@pytest.mark.parametrize(
    ("name", "scheme"), [("HTTPS_PROXY", "https"), ("https_proxy", "https"), ("http_proxy", "http")]
)
async def test_the_environment_names_proxies_and_exceptions(name: str, scheme: str) -> None:
    environ = {name: "http://user:SENTINEL-password@127.0.0.1:9", "NO_PROXY": "direct.example"}
    config = await Config().resolve(environ)
    transport = transport_of(config)

    by = {host: transport._new_route(f"{scheme}://{host}/").by for host in (HOST, "direct.example", "127.0.0.1")}

    assert {host for host, proxy in by.items() if proxy is not None} == {HOST}
    assert "SENTINEL" not in f"{config!r} {by!r}"


async def test_under_cgi_a_request_cannot_name_the_proxy() -> None:
    """CVE-2016-1000110: its Proxy header is the variable HTTP_PROXY there."""
    environ = {"HTTP_PROXY": "http://evil.example", "REQUEST_METHOD": "GET"}

    assert (await Config().resolve(environ)).http_proxy is None
    assert (await Config().resolve({**environ, "http_proxy": "mine.example"})).http_proxy == "mine.example"


async def test_the_credentials_of_a_proxy_are_hidden_and_go_with_the_options() -> None:
    """T26: also in the local variables of a traceback."""
    url = "http://user:SENTINEL-password@proxy.example"
    config = await Config(proxy=url).resolve({"https_proxy": url})

    assert pickle.loads(pickle.dumps(config)) == config
    assert (config.proxy, config.https_proxy) == (url, url)
    assert "SENTINEL" not in repr(config)
    assert "SENTINEL" not in repr(SettingsSources(Config(), {"https_proxy": url}).variables)


SOCKS = "socks5h://user:SENTINEL-password@127.0.0.1:9"


async def fetch(url: str, environ: dict[str, str], **options: Any) -> HttpResponse:
    """Send one request as a client with these options and this environment does."""
    transport = transport_of(await Config(**options).resolve(environ))
    try:
        return await transport.send(post(url))
    finally:
        await transport.aclose()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "http_proxy", "HTTP_PROXY"])
async def test_a_proxy_that_is_not_used_stops_no_call(raw_server: Start, variable: str) -> None:
    """B7: others may have set it, for a program that can use it."""
    server, proxy = await raw_server(http("x")), await raw_server(http("x"))
    environ = {variable: SOCKS}

    assert (await fetch(server.url, environ)).status == 200  # of this host
    assert (await fetch(f"http://{HOST}/", environ, proxy=proxy.url)).status == 200
    other = "http://direct.example/" if variable.lower() == "https_proxy" else "https://direct.example/"
    transport = transport_of(await Config().resolve(environ))
    assert transport._new_route(other).by is None
    for exceptions in ("*", HOST):
        transport = transport_of(await Config().resolve({**environ, "no_proxy": exceptions}))
        assert transport._new_route(f"{variable[:-6].lower()}://{HOST}/").by is None


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "http_proxy", "HTTP_PROXY"])
async def test_a_proxy_that_would_be_used_and_cannot_be_is_an_error_that_names_it(variable: str) -> None:
    """B7, T26: the variable, the host, and what to do; not the password."""
    url = f"{variable[:-6].lower()}://{HOST}/"

    with pytest.raises(
        errors.ConfigurationError, match=rf"^{variable} must be an http:// or https:// URL such as"
    ) as caught:
        await fetch(url, {variable: SOCKS})

    assert f"Add {HOST} to NO_PROXY" in str(caught.value)
    assert "SENTINEL" not in str(caught.value)
    assert not caught.value.retryable


async def test_a_client_of_this_host_works_whatever_the_proxy() -> None:
    """B7: the stand-ins, and servers that are being tested."""
    async with LocalSTS() as server:
        config = await Config(region=server.region, endpoint_url=server.url).resolve(
            {"HTTPS_PROXY": SOCKS, "HTTP_PROXY": SOCKS, "http_proxy": "nonsense://"}
        )
        async with STSClient(credentials=server.credentials, config=config) as sts:
            assert (await sts.get_caller_identity()).arn


@pytest.mark.parametrize("given", [False, True], ids=["own session", "given session"])
async def test_this_host_is_never_reached_by_a_proxy(
    raw_server: Start, monkeypatch: pytest.MonkeyPatch, *, given: bool
) -> None:
    """T25: aiohttp would read the environment for a session that was made with `trust_env`."""
    proxy, server = await raw_server(http("x")), await raw_server(http("x"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy.url)

    async with aiohttp.ClientSession(trust_env=True, proxy=proxy.url) as session:
        await send(server.url, proxy=proxy.url, session=session if given else None)

    assert (proxy.connections, server.connections) == (0, 1)


async def test_a_given_session_keeps_its_own_proxy(raw_server: Start) -> None:
    proxy, other = await raw_server(http("x")), await raw_server(http("x"))

    async with aiohttp.ClientSession(proxy=proxy.url) as session:
        await send(f"http://{HOST}/", proxy=other.url, session=session)

    assert (proxy.connections, other.connections) == (1, 0)
    assert USER_AGENT.encode() in proxy.requests[0]


@pytest.mark.parametrize(
    ("status", "retryable"), [(407, False), (403, False), (302, False), (502, True), (504, True), (429, True)]
)
async def test_a_proxy_that_refuses_to_connect_is_named_so(raw_server: Start, status: int, *, retryable: bool) -> None:
    """F28, T26: whatever HTML it sends; and its credentials are not shown."""
    proxy = await raw_server(http("<html>SENTINEL</html>", status=status))

    with pytest.raises(errors.ProxyError, match=rf"no connection to {HOST} by the proxy .* HTTP {status}$") as caught:
        await send(f"https://{HOST}/", proxy=with_password(proxy))

    assert (caught.value.status, caught.value.retryable) == (status, retryable)


async def test_a_proxy_that_wants_a_password_is_named_so_without_tls_too(raw_server: Start) -> None:
    """F28: any other answer may be the service's."""
    proxy = await raw_server(http("", status=407), http("", status=403))

    with pytest.raises(errors.ProxyError, match="HTTP 407"):
        await send(f"http://{HOST}/", proxy=proxy.url)
    assert (await send(f"http://{HOST}/", proxy=proxy.url)).status == 403


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_away_is_a_transient_error(scheme: str) -> None:
    """F28."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(errors.ProxyError, match=rf"{HOST} by the proxy 127\.0\.0\.1:{port}: ECONNREFUSED") as caught:
        await send(f"{scheme}://{HOST}/", proxy=f"http://user:SENTINEL@127.0.0.1:{port}")

    assert caught.value.retryable
    assert caught.value.status is None


async def test_a_proxy_that_nobody_knows_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*address: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)

    with pytest.raises(errors.ProxyError, match=r"by the proxy proxy\.invalid: no address is known for it"):
        await send(f"https://{HOST}/", proxy="http://user:SENTINEL@proxy.invalid")


async def test_a_proxy_that_hangs_is_a_timeout(raw_server: Start) -> None:
    """F28."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    proxy = await raw_server(handler=silent)

    with pytest.raises(errors.ConnectTimeout, match="by the proxy"):
        await send(f"https://{HOST}/", proxy=with_password(proxy), attempt_timeout=0.1)


async def test_a_proxy_that_is_not_one_ends_in_a_typed_error(raw_server: Start) -> None:
    """F28: it says that there is a tunnel, and answers the handshake itself."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await proxy.read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read(1)
        writer.write(b"<html>SENTINEL</html>")
        await writer.drain()

    proxy = await raw_server(handler=handler)

    with pytest.raises(errors.TLSError, match="by the proxy"):
        await send(f"https://{HOST}/", proxy=with_password(proxy))


# Certificates


async def test_a_peer_must_prove_who_it_is_unless_it_is_said_otherwise(
    tls: Tls, caplog: pytest.LogCaptureFixture
) -> None:
    """T24."""
    with pytest.raises(errors.TLSError):
        await send(tls.url)
    assert (await send(tls.url, ca_bundle=tls.bundle)).status == 200
    assert caplog.records == []

    assert (await send(tls.url, verify=False)).status == 200
    assert [(record.levelno, "verify=False" in record.message) for record in caplog.records] == [
        (logging.WARNING, True)
    ]


async def test_a_certificate_for_another_host_is_refused(raw_server: Start, tls: Tls) -> None:
    """T24: also when it comes through a proxy."""
    proxy = await tunnel(raw_server, tls.port)

    with pytest.raises(errors.TLSError):
        await send("https://other.example/", proxy=proxy.url, ca_bundle=tls.bundle)


@pytest.mark.parametrize("options", [{}, {"verify": False}, {"client_certificate": "both"}])
async def test_tls_is_at_least_1_2(tls: Tls, options: dict[str, Any]) -> None:
    """T24."""
    if "client_certificate" in options:
        options = {"client_certificate": tls.both}
    transport = transport_of(Config(**options))
    context = ssl.create_default_context() if transport._trust is None else await transport._trust.load()

    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("apart", [False, True], ids=["one file", "two files"])
async def test_a_client_shows_its_certificate(tls: Tls, *, apart: bool) -> None:
    tls.context.verify_mode = ssl.CERT_REQUIRED
    files: dict[str, Any] = {"client_certificate": tls.both}
    if apart:
        files = {"client_certificate": tls.certificate, "client_key": tls.key}

    with pytest.raises(errors.TransportError):
        await send(tls.url, ca_bundle=tls.bundle)
    response = await send(tls.url, ca_bundle=tls.bundle, **files)

    assert response.status == 200
    assert tls.peers[-1]


async def test_a_certificate_that_cannot_be_shown_is_an_error_that_says_which(tls: Tls, tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        r"client_certificate: '.*missing': No such file": {"client_certificate": str(tmp_path / "missing")},
        r"client_certificate: .*not a regular file": {"client_certificate": str(tmp_path)},
        r"client_key: '.*missing': No such file": {
            "client_certificate": tls.certificate,
            "client_key": str(tmp_path / "missing"),
        },
        r"client_key: '.*ca.pem': not a matching PEM certificate and": {
            "client_certificate": tls.certificate,
            "client_key": tls.bundle,
        },
        r"client_key needs client_certificate": {"client_key": tls.key},
    }
    for message, options in cases.items():
        with pytest.raises(errors.ConfigurationError, match=message):
            await send(tls.url, **options)


async def test_nobody_is_asked_for_the_password_of_a_key(tmp_path: Path) -> None:
    """OpenSSL would ask at the terminal, and hold the process until somebody answers."""
    from cryptography.hazmat.primitives import serialization as s

    pair = trustme.CA().issue_cert("me@client.example")
    key = s.load_pem_private_key(pair.private_key_pem.bytes(), None)
    locked = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"SENTINEL"))
    path = tmp_path / "locked.pem"
    path.write_bytes(locked + pair.cert_chain_pems[0].bytes())

    with pytest.raises(errors.ConfigurationError, match="the private key is encrypted"):
        await send("https://127.0.0.1:9/", client_certificate=str(path))


def trusted(certificate: bytes, *, reject: bool) -> bytes:
    """Return a certificate that says whether it is trusted for servers, as ``openssl x509 -addtrust`` writes it."""
    oid = bytes.fromhex("06082b06010505070301")  # serverAuth
    uses = bytes([0xA0 if reject else 0x30, len(oid)]) + oid
    data = ssl.PEM_cert_to_DER_cert(certificate.decode()) + bytes([0x30, len(uses)]) + uses
    lines = base64.encodebytes(data)
    return b"-----BEGIN TRUSTED CERTIFICATE-----\n" + lines + b"-----END TRUSTED CERTIFICATE-----\n"


BOM = b"\xef\xbb\xbf"
BUNDLES: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda pem: pem,
    "utf-8": lambda pem: "# F\u0151tan\u00fas\u00edtv\u00e1ny\n".encode() + pem + "\u20ac".encode(),
    "latin-1": lambda pem: b"# F\xf3tan\xfas\xedtv\xe1ny\n" + pem,
    "byte order mark": lambda pem: BOM + pem,
    "byte order mark and comment": lambda pem: BOM + b"# mine\n" + pem,
    "line ends": lambda pem: pem.replace(b"\n", b"\r\n"),
    "a long line": lambda pem: b"x" * 5000 + b"\n" + pem,
    "old name": lambda pem: pem.replace(b" CERTIFICATE", b" X509 CERTIFICATE"),
    "trusted": lambda pem: b"# caf\xe9\n" + trusted(pem, reject=False),
    "trusted, byte order mark": lambda pem: BOM + trusted(pem, reject=False),
    "trusted and another": lambda pem: trusted(trustme.CA().cert_pem.bytes(), reject=True) + pem,
    "among others": lambda pem: trustme.CA().cert_pem.bytes() + b"\xff\n" + pem,
    "beside a key": lambda pem: trustme.CA().private_key_pem.bytes() + pem,
}


@pytest.mark.parametrize("files", ["in memory", "on disk"])
@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
async def test_text_around_certificates_is_no_matter(
    tls: Tls, tmp_path: Path, bundle: Callable[[bytes], bytes], files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B1: Red Hat's bundle has comments beyond ASCII. Source: RFC 7468, section 2."""
    if files == "on disk":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    path = tmp_path / "bundle.pem"
    path.write_bytes(bundle(tls.authority.cert_pem.bytes()))

    assert (await send(tls.url, ca_bundle=str(path))).status == 200


async def test_a_certificate_that_is_not_trusted_for_servers_is_not(tls: Tls, tmp_path: Path) -> None:
    """B1: OpenSSL's own loader decides; reading the certificate alone would trust it."""
    path = tmp_path / "bundle.pem"
    path.write_bytes(trusted(tls.authority.cert_pem.bytes(), reject=True))

    with pytest.raises(errors.TLSError):
        await send(tls.url, ca_bundle=str(path))


EMPTY_BUNDLES = {
    "nothing": b"",
    "text": "# caf\u00e9\n".encode(),
    "a key": trustme.CA().private_key_pem.bytes(),
    "a list of revoked ones": b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
    "half a block": trustme.CA().cert_pem.bytes()[:200],
    "binary": bytes(range(256)),
    "another encoding": trustme.CA().cert_pem.bytes().decode().encode("utf-16"),
}


@pytest.mark.parametrize("variable", [False, True], ids=["option", "variable"])
@pytest.mark.parametrize("content", EMPTY_BUNDLES.values(), ids=EMPTY_BUNDLES)
async def test_a_bundle_without_a_certificate_is_an_error_that_names_it(
    tmp_path: Path, content: bytes, *, variable: bool
) -> None:
    """B1: whatever else it holds; nothing would be trusted."""
    path = tmp_path / "bundle.pem"
    path.write_bytes(content)
    name = "AWS_CA_BUNDLE" if variable else "ca_bundle"
    config = await (Config() if variable else Config(ca_bundle=str(path))).resolve({"AWS_CA_BUNDLE": str(path)})
    transport = transport_of(config)

    with pytest.raises(errors.ConfigurationError, match=rf"^{name}: '.*bundle\.pem': contains no PEM certificates$"):
        await transport.send(post("https://127.0.0.1:9/"))
    await transport.aclose()


@pytest.mark.parametrize("body", [b"!!!!", b"AAAA", b"MIIB", b"MI-B", b"-----BEGIN CERTIFICATE-----\nMIIB"])
async def test_a_bundle_with_a_broken_certificate_is_an_error_that_names_it(tmp_path: Path, body: bytes) -> None:
    """B1: leaving it out would show much later, as a peer that cannot be trusted."""
    path = tmp_path / "bundle.pem"
    broken = b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n"
    path.write_bytes(trustme.CA().cert_pem.bytes() + broken)

    with pytest.raises(errors.ConfigurationError, match=r"^ca_bundle: '.*bundle\.pem': contains an invalid cert"):
        await send("https://127.0.0.1:9/", ca_bundle=str(path))


@pytest.mark.skipif(ssl.OPENSSL_VERSION_INFO < (3,), reason="OpenSSL skips a byte order mark since 3.0")
@pytest.mark.parametrize("start", [BOM, b"# caf\xe9\n", "# caf\u00e9\n".encode(), BOM + b"# mine\n"], ids=ascii)
@pytest.mark.parametrize("apart", [False, True], ids=["one file", "two files"])
async def test_text_around_the_certificate_of_a_client_is_no_matter(
    tls: Tls, tmp_path: Path, start: bytes, *, apart: bool
) -> None:
    """B1."""
    tls.context.verify_mode = ssl.CERT_REQUIRED
    names = (
        {"client_certificate": tls.certificate, "client_key": tls.key} if apart else {"client_certificate": tls.both}
    )
    options: dict[str, Any] = {}
    for option, name in names.items():
        path = tmp_path / f"{option}-with-text.pem"
        path.write_bytes(start + tls.content[name])
        options[option] = str(path)

    assert (await send(tls.url, ca_bundle=tls.bundle, **options)).status == 200
    assert tls.peers[-1]


# Sockets


async def test_a_connection_begins_at_the_address_that_was_given(raw_server: Start) -> None:
    peers = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername")[0])
        await server.read_request(reader)
        writer.write(http("x"))

    server = await raw_server(handler=handler)

    await send(server.url, local_address="127.0.0.2")

    assert peers == ["127.0.0.2"]


@pytest.mark.parametrize("probed", [False, True])
async def test_the_system_probes_idle_connections_when_it_is_told_to(raw_server: Start, *, probed: bool) -> None:
    server = await raw_server(http("x"))
    transport = transport_of(Config(tcp_keepalive=probed))
    await transport.send(post(server.url))
    (part,) = transport._parts.values()
    ((protocol, _),) = next(iter(part.session.connector._conns.values()))  # type: ignore[union-attr]
    option = protocol.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)  # type: ignore[union-attr]
    await transport.aclose()

    assert bool(option) == probed


async def test_an_idle_connection_is_kept_for_as_long_as_was_said(raw_server: Start) -> None:
    server = await raw_server(http("x"))
    transport = transport_of(Config(keepalive_timeout=0.001))

    await transport.send(post(server.url))
    await asyncio.sleep(0.05)
    await transport.send(post(server.url))
    await transport.aclose()

    assert server.connections == 2


async def test_addresses_are_looked_up_again_after_the_time_that_was_said(
    raw_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T52."""
    server = await raw_server(http("x", headers="Connection: close\r\n"))
    url = server.url.replace("127.0.0.1", HOST)
    asked = []

    def known(host: str, port: int, *more: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("socket.getaddrinfo", known)
    for seconds in (60, 0.001):
        transport = transport_of(Config(dns_cache_ttl=seconds, keepalive_timeout=0.001))
        for _ in range(2):
            await transport.send(post(url))
            await asyncio.sleep(0.05)
        await transport.aclose()

    assert asked == [HOST] * 3


async def test_what_is_kept_about_urls_is_bounded() -> None:
    """T52."""
    transport = AiohttpTransport()

    for number in range(2 * MAX_ROUTES + 1):
        url = f"https://{number}.example/"
        transport._keep(url, transport._new_route(url))

    assert 0 < len(transport._routes) <= MAX_ROUTES


async def test_the_user_agent_ends_with_what_was_given(raw_server: Start) -> None:
    """T51."""
    server = await raw_server(http("x"))

    await send(server.url, app_id="shop", user_agent_suffix="till/1.0 lib/2")

    assert f"user-agent: {USER_AGENT} app/shop till/1.0 lib/2\r\n".encode() in server.requests[0].lower()


@pytest.mark.parametrize(
    "option",
    [
        {"user_agent_suffix": "a\r\nX-Evil: 1"},
        {"user_agent_suffix": "a  b"},
        {"user_agent_suffix": ""},
        {"user_agent_suffix": "x" * 129},
        {"local_address": "localhost"},
        {"local_address": 1},
        {"proxy": "socks5://proxy.example"},
        {"proxy": "http://a\nb"},
        {"proxy": 1},
        {"https_proxy": "http://proxy.example/path"},
        {"keepalive_timeout": 0},
        {"dns_cache_ttl": -1},
        {"tcp_keepalive": "yes"},
        {"verify": None},
        {"client_key": 1},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_an_error_that_names_it(option: dict[str, Any]) -> None:
    """T51 for the User-Agent."""
    with pytest.raises(errors.ConfigurationError, match=f"^{next(iter(option))} must be "):
        Config(**option)


# Another process

FORK = """
import asyncio, os, sys
from sts_async._protocol.http_messages import HttpRequest
from sts_async._http.transport import AiohttpTransport

transport = AiohttpTransport(attempt_timeout=120)

async def once():
    return (await transport.send(HttpRequest("GET", sys.argv[1], {}))).status

async def of_the_child():
    assert await once() == 200
    await transport.aclose(grace=600)

async def main():
    assert await once() == 200
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.run(of_the_child())
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    assert await once() == 200
    await transport.aclose()

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
async def test_after_a_fork_both_processes_go_on(raw_server: Start) -> None:
    """F54: the child shares no connection with its parent, and closing there waits for nothing of the parent's."""
    server = await raw_server(http("x"))

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FORK, server.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, err = await soon(process.communicate())

    assert (process.returncode, err.decode()) == (0, "")
    assert (server.connections, len(server.requests)) == (2, 3)


async def test_what_a_forked_process_inherits_is_not_closed_in_it(raw_server: Start) -> None:
    """F54: closing would take the parent's connections from its event loop, which the two share."""
    server = await raw_server(http("x"))
    transport = AiohttpTransport()
    await transport.send(post(server.url))

    transport.reset_after_fork()
    await transport.send(post(server.url))
    await transport.aclose()
    connector: Any = _transport._INHERITED.pop()

    assert server.connections == 2
    assert connector._disowned
    assert not connector.closed
    await connector.close()


DESCRIPTORS = """
import asyncio, contextlib, os, resource, sys
from sts_async import errors
from sts_async._protocol.http_messages import HttpRequest
from sts_async._http.transport import AiohttpTransport

async def main():
    transport = AiohttpTransport()
    request = HttpRequest("GET", sys.argv[1], {})
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    try:
        await transport.send(request)
    except errors.ConnectError as error:
        assert error.retryable
        assert "EMFILE" in str(error)
    else:
        raise AssertionError
    for descriptor in taken:
        os.close(descriptor)
    assert (await transport.send(request)).status == 200
    await transport.aclose()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit")
async def test_without_descriptors_there_is_an_error_that_can_be_tried_again(raw_server: Start) -> None:
    """F62: and once there are some, all is well."""
    server = await raw_server(http("x"))

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DESCRIPTORS, server.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, err = await process.communicate()

    assert (process.returncode, err.decode()) == (0, "")


def test_a_transport_that_is_not_used_any_more_is_disowned() -> None:
    """It is known for forks, and no longer than it lives."""
    before = len(forks._REGISTERED)
    transport = AiohttpTransport()
    assert len(forks._REGISTERED) == before + 1
    del transport

    assert len(forks._REGISTERED) <= before
