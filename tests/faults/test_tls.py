"""F26, T24: TLS of nginx and OpenSSL, with certificates that are good and with such as are not."""

import datetime
import shutil
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
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
from patience import PATIENCE

from sts_async import errors
from sts_async.testing import LocalSTS

pytestmark = needs_nginx

SOON = 5.0  # s of the loop's clock, far less than the usual time-outs
OPENSSL = shutil.which("openssl")
ADDRESS = "127.0.0.1"
YEAR = datetime.timedelta(days=365)

HTTP = """
    server {{ listen {address}:{good} ssl; {good_pair} location / {{ proxy_pass http://{address}:{sts}; }} }}
    server {{ listen {address}:{expired} ssl; {expired_pair} return 200 x; }}
    server {{ listen {address}:{future} ssl; {future_pair} return 200 x; }}
    server {{ listen {address}:{other} ssl; {other_pair} return 200 x; }}
    server {{ listen {address}:{stranger} ssl; {stranger_pair} return 200 x; }}
    server {{
        listen {address}:{old} ssl;
        ssl_protocols TLSv1 TLSv1.1;
        ssl_ciphers ALL:@SECLEVEL=0;
        {good_pair}
        return 200 x;
    }}
    server {{ listen {address}:{newest} ssl; ssl_protocols TLSv1.3; {good_pair}
        location / {{ proxy_pass http://{address}:{sts}; }} }}
    server {{ listen {address}:{least} ssl; ssl_protocols TLSv1.2; {good_pair}
        location / {{ proxy_pass http://{address}:{sts}; }} }}
    server {{
        listen {address}:{demanding} ssl;
        ssl_verify_client on;
        ssl_client_certificate bundle.pem;
        {good_pair}
        location / {{ proxy_pass http://{address}:{sts}; }}
    }}
    server {{ listen {address}:{plain}; return 200 x; }}
"""
PAIRS = ("good", "expired", "future", "other", "stranger")
SERVERS = (*PAIRS, "old", "newest", "least", "demanding", "plain", "sts", "mute", "-tls1_2", "-tls1_3")


class Authorities:
    """Who vouches for whom here, in files of a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ours, theirs = trustme.CA(), trustme.CA()
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        self.pairs = {
            "good": self._ours.issue_cert(ADDRESS, not_after=now + YEAR),
            "expired": self._ours.issue_cert(ADDRESS, not_before=now - 2 * YEAR, not_after=now - YEAR),
            "future": self._ours.issue_cert(ADDRESS, not_before=now + YEAR, not_after=now + 2 * YEAR),
            "other": self._ours.issue_cert("sts.example.test", "127.0.0.2"),
            "stranger": theirs.issue_cert(ADDRESS),
            "me": self._ours.issue_cert("me@client.example.test"),
            "somebody": theirs.issue_cert("me@client.example.test"),
        }
        for name, content in self.files.items():
            (directory / name).write_bytes(content)

    @property
    def files(self) -> dict[str, bytes]:
        pems = {f"{name}.pem": pair.private_key_and_cert_chain_pem.bytes() for name, pair in self.pairs.items()}
        return {"bundle.pem": self._ours.cert_pem.bytes(), **pems}

    def path(self, name: str) -> str:
        return str(self.directory / f"{name}.pem")


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    with Ports(*SERVERS) as made:
        yield made


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    return Authorities(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(ports: Ports, authorities: Authorities) -> Iterator[Daemon]:
    pairs = {f"{name}_pair": f"ssl_certificate {name}.pem; ssl_certificate_key {name}.pem;" for name in PAIRS}
    http = HTTP.format(address=ADDRESS, **{name: ports[name] for name in SERVERS}, **pairs)
    with nginx(http, port=ports["good"], files=authorities.files) as daemon:
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


def url(ports: Ports, name: str) -> str:
    return f"https://{ADDRESS}:{ports[name]}/"


# Who the peer is


@pytest.mark.parametrize("callers", [1, 50])
@pytest.mark.parametrize(("name", "version"), [("good", None), ("newest", "TLSv1.3"), ("least", "TLSv1.2")])
async def test_a_peer_that_proves_who_it_is_is_served(
    front: Daemon, sts: LocalSTS, ports: Ports, authorities: Authorities, name: str, version: str | None, callers: int
) -> None:
    """T24: by TLS 1.2 and 1.3."""
    async with client_at(url(ports, name), credentials=sts.credentials, ca_bundle=authorities.path("bundle")) as client:
        await identities(client, callers=callers)

    assert len(sts.requests) == callers
    if version is not None:
        assert {line.split()[-2] for line in front.log(lines=callers)} == {version}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("expired", "certificate has expired"),
        ("future", "certificate is not yet valid"),
        ("other", "IP address mismatch, certificate is not valid for '127.0.0.1'."),
        ("stranger", "unable to get local issuer certificate"),
    ],
)
async def test_a_peer_that_does_not_is_refused_at_once(
    front: Daemon, ports: Ports, authorities: Authorities, name: str, reason: str
) -> None:
    """F26, T24: nothing is sent, nothing tried again; one line says why, and shows no certificate."""
    seen: list[Any] = []
    async with client_at(url(ports, name), seen=seen, ca_bundle=authorities.path("bundle")) as client:
        caught = await failures_of_one_and_of_many(client)

    assert {(type(error), error.retryable, error.attempts) for error in caught} == {(errors.TLSError, False, 1)}
    assert {str(error) for error in caught} == {f"TLS with {ADDRESS}:{ports[name]} failed: {reason}"}
    assert {(error.__cause__, error.__context__) for error in caught} == {(None, None)}
    assert (retries_in(seen), front.log()) == (0, [])


@pytest.mark.parametrize("name", ["good", "stranger"])
async def test_authorities_that_nobody_named_are_those_of_the_system(front: Daemon, ports: Ports, name: str) -> None:
    """F26, T24: they know neither of the two here."""
    async with client_at(url(ports, name)) as client:
        (caught,) = await failures(client, callers=1)

    assert isinstance(caught, errors.TLSError)
    assert "unable to get local issuer certificate" in str(caught)
    assert front.log() == []


async def test_the_environment_names_authorities(
    sts: LocalSTS, ports: Ports, authorities: Authorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T24."""
    monkeypatch.setenv("AWS_CA_BUNDLE", authorities.path("bundle"))

    async with client_at(url(ports, "good"), credentials=sts.credentials) as client:
        await client.get_caller_identity()

    assert len(sts.requests) == 1


# Which protocol it speaks


def speaks(port: int, version: ssl.TLSVersion) -> bool:
    """Say whether a server speaks *version* to one who asks for nothing better; OpenSSL may not know it any more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with socket.create_connection((ADDRESS, port), timeout=PATIENCE) as made, context.wrap_socket(made):
            return True
    except (OSError, ValueError):
        return False


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("options", [{"ca_bundle": True}, {"verify": False}, {}], ids=str)
async def test_tls_before_1_2_is_refused_at_once(
    front: Daemon, ports: Ports, authorities: Authorities, options: dict[str, Any]
) -> None:
    """T24, F26: also by those who do not ask for a proof."""
    if not speaks(ports["old"], ssl.TLSVersion.TLSv1_1):
        pytest.skip("this OpenSSL does not speak TLS 1.1 any more")
    if "ca_bundle" in options:
        options = {"ca_bundle": authorities.path("bundle")}
    async with client_at(url(ports, "old"), **options) as client:
        caught = await failures_of_one_and_of_many(client)

    assert {(type(error), error.retryable, error.attempts) for error in caught} == {(errors.TLSError, False, 1)}
    assert {str(error).rpartition(": ")[2] for error in caught} <= {
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "UNSUPPORTED_PROTOCOL",
    }
    assert front.log() == []


async def test_a_server_without_tls_where_tls_is_spoken_is_refused_at_once(front: Daemon, ports: Ports) -> None:
    """F26: nginx answers the handshake with a page."""
    async with client_at(url(ports, "plain")) as client:
        caught = await failures_of_one_and_of_many(client)

    assert {(type(error), error.retryable, error.attempts) for error in caught} == {(errors.TLSError, False, 1)}
    assert {str(error).rpartition(": ")[2] for error in caught} <= {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}


async def test_a_server_with_tls_where_none_is_spoken_is_a_bad_request(front: Daemon, ports: Ports) -> None:
    """F7: nginx has a page for that, which is final."""
    async with client_at(url(ports, "good").replace("https:", "http:")) as client:
        caught = await failures_of_one_and_of_many(client)

    assert {(type(error), getattr(error, "status", None), error.retryable, error.attempts) for error in caught} == {
        (errors.ServiceError, 400, False, 1)
    }


@pytest.mark.parametrize("callers", [1, 50])
async def test_a_handshake_that_nobody_answers_is_bounded(ports: Ports, callers: int) -> None:
    """F27."""
    with mute(ports["mute"]):
        async with client_at(url(ports, "mute"), connect_timeout=0.3, max_attempts=1) as client:
            caught = await failures(client, callers=callers, within=SOON)

    assert {(type(error), error.retryable) for error in caught} == {(errors.ConnectTimeout, True)}


# Who the client is


@pytest.mark.parametrize("callers", [1, 50])
async def test_a_client_shows_the_certificate_that_is_asked_for(
    front: Daemon, sts: LocalSTS, ports: Ports, authorities: Authorities, callers: int
) -> None:
    """F26."""
    async with client_at(
        url(ports, "demanding"),
        credentials=sts.credentials,
        ca_bundle=authorities.path("bundle"),
        client_certificate=authorities.path("me"),
    ) as client:
        await identities(client, callers=callers)

    assert {"trustme" in line.split('"')[-2] for line in front.log(lines=callers)} == {True}


@pytest.mark.parametrize("shown", [None, "somebody"])
async def test_a_client_without_the_certificate_that_is_asked_for_is_told_so(
    front: Daemon, sts: LocalSTS, ports: Ports, authorities: Authorities, shown: str | None
) -> None:
    """F26: nginx finishes the handshake, and answers with a page."""
    options: dict[str, Any] = {} if shown is None else {"client_certificate": authorities.path(shown)}
    async with client_at(url(ports, "demanding"), ca_bundle=authorities.path("bundle"), **options) as client:
        caught = await failures_of_one_and_of_many(client)

    assert {(type(error), getattr(error, "status", None), error.retryable, error.attempts) for error in caught} == {
        (errors.ServiceError, 400, False, 1)
    }
    assert not sts.requests


@pytest.mark.skipif(OPENSSL is None, reason="no openssl: install the Debian package openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_an_alert_about_a_missing_certificate_is_an_error_of_tls(
    ports: Ports, authorities: Authorities, tmp_path: Path, version: str
) -> None:
    """F26: in TLS 1.3 it comes when the client takes the handshake for finished, and has sent its request."""
    port, pair = ports[version], authorities.path("good")
    command = [OPENSSL or "", "s_server", "-accept", f"{ADDRESS}:{port}", version, "-quiet", "-Verify", "1"]
    command += ["-verify_return_error", "-cert", pair, "-key", pair, "-CAfile", authorities.path("bundle"), "-www"]
    daemon = Daemon(command, directory=tmp_path, port=port, ending=signal.SIGTERM)
    daemon.start()
    try:
        async with client_at(url(ports, version), ca_bundle=authorities.path("bundle")) as client:
            caught = await failures_of_one_and_of_many(client)
    finally:
        daemon.stop()

    assert {(type(error), error.retryable, error.attempts) for error in caught} == {(errors.TLSError, False, 1)}


# What is sent


async def test_netrc_is_not_read(
    front: Daemon,
    sts: LocalSTS,
    ports: Ports,
    authorities: Authorities,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """T27: the signature is ours, and the only Authorization."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password SENTINEL-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    async with client_at(
        url(ports, "good"), credentials=sts.credentials, ca_bundle=authorities.path("bundle")
    ) as client:
        await client.get_caller_identity()

    (line,) = front.log(lines=1)
    assert line.split('"')[3].startswith("AWS4-HMAC-SHA256 Credential=")
    assert ports_in([line]) == [ports["good"]]
