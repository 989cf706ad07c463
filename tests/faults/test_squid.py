"""F28, T25, T26: squid between a client and a service, which is an STS behind nginx."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import trustme
from faults.servers import (
    Daemon,
    Ports,
    black_hole,
    client_at,
    failures,
    failures_of_one_and_of_many,
    identities,
    needs_nginx,
    needs_squid,
    nginx,
    retries_in,
    squid,
)

from sts_async import STSClient, errors
from sts_async.credentials import IMDSProvider
from sts_async.testing import LocalIMDS, LocalSTS

By = Callable[..., STSClient]
pytestmark = [needs_squid, needs_nginx]

SOON = 5.0  # s of the loop's clock, far less than the usual time-outs
DOMAIN = "example.test"  # nobody but squid knows its names
USER, PASSWORD = "a b", "SENTINEL-p@ss:w/rd%"
NAMES = [f"{name}.{DOMAIN}" for name in ("sts", "other", "forbidden", "gateway", "page", "moved")]

HTTP = """
    server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate sts.pem; ssl_certificate_key sts.pem;
        location / {{ proxy_pass http://127.0.0.1:{sts}; }} }}
    server {{ listen 127.0.0.1:{plain}; location / {{ proxy_pass http://127.0.0.1:{sts}; proxy_pass_header Date; }} }}
"""
RULES = """
http_port 127.0.0.1:{open} name=open
http_port 127.0.0.1:{locked} name=locked
auth_param basic program /bin/sh {{directory}}/helper
auth_param basic children 4 startup=1
acl locked myportname locked
acl known proxy_auth REQUIRED
acl forbidden dstdomain forbidden.example.test
acl gateway dstdomain gateway.example.test
acl page dstdomain page.example.test
acl moved dstdomain moved.example.test
deny_info 502:ERR_CANNOT_FORWARD gateway
deny_info 200:ERR_ACCESS_DENIED page
deny_info 307:http://127.0.0.1:{plain}/ moved
http_access deny forbidden
http_access deny gateway
http_access deny page
http_access deny moved
http_access deny locked !known
http_access allow all
"""
# Says whether the user is known; squid writes both words with percent signs.
HELPER = """
while read -r user password; do
    case "$user $password" in "a%20b SENTINEL-p@ss:w/rd%25") echo OK ;; *) echo ERR ;; esac
done
"""


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    with Ports("tls", "plain", "sts", "open", "locked", "nobody") as made:
        yield made


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("authority") / "bundle.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def _service(ports: Ports, authority: trustme.CA) -> Iterator[Daemon]:
    pair = authority.issue_cert(f"sts.{DOMAIN}").private_key_and_cert_chain_pem.bytes()
    http = HTTP.format(tls=ports["tls"], plain=ports["plain"], sts=ports["sts"])
    with nginx(http, port=ports["tls"], files={"sts.pem": pair}) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def _proxy(ports: Ports) -> Iterator[Daemon]:
    rules = RULES.format(open=ports["open"], locked=ports["locked"], plain=ports["plain"])
    with squid(rules, port=ports["open"], hosts=NAMES, files={"helper": HELPER}) as daemon:
        yield daemon


@pytest.fixture
def service(_service: Daemon) -> Daemon:
    """Return nginx, with empty logs."""
    _service.forget()
    return _service


@pytest.fixture
def proxy(_proxy: Daemon) -> Daemon:
    """Return squid, with empty logs."""
    _proxy.forget()
    return _proxy


@pytest.fixture
async def sts(service: Daemon, ports: Ports) -> AsyncIterator[LocalSTS]:
    """Run the STS that is behind nginx."""
    async with LocalSTS(port=ports["sts"]) as running:
        yield running


@pytest.fixture
def by(proxy: Daemon, ports: Ports, bundle: str) -> By:
    """Return a function that makes clients of a host, by the open port of squid if nothing else is said."""

    def make(
        host: str = "sts", *, scheme: str = "https", to: str | None = None, name: str = "open", **options: Any
    ) -> Any:
        port = ports[to or ("tls" if scheme == "https" else "plain")]
        options = {"proxy": at(ports, name), "ca_bundle": bundle, "allow_http": True, **options}
        return client_at(f"{scheme}://{host}.{DOMAIN}:{port}/", **options)

    return make


def at(ports: Ports, name: str, *, user: str | None = None) -> str:
    """Return the URL of a port of squid, with ``user:password`` or without."""
    return f"http://{'' if user is None else f'{user}@'}127.0.0.1:{ports[name]}"


def known() -> str:
    return f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"


# A proxy that does what it should


@pytest.mark.parametrize("callers", [1, 50])
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_service_is_reached_by_a_proxy_that_wants_a_password(
    by: By, proxy: Daemon, service: Daemon, sts: LocalSTS, ports: Ports, scheme: str, callers: int
) -> None:
    """T26: which the service never sees, and squid gets as it was meant, with all its characters."""
    seen: list[Any] = []
    locked = at(ports, "locked", user=known())
    async with by(scheme=scheme, proxy=locked, credentials=sts.credentials, seen=seen) as client:
        assert "SENTINEL" not in f"{client!r} {vars(client)!r}"
        await identities(client, callers=callers, calls=2)

    assert retries_in(seen) == 0
    assert len(sts.requests) == 2 * callers
    assert {line.split('"')[1] for line in service.log(lines=2 * callers)} == {"-"}
    if scheme == "https":  # what goes through a tunnel is written down when that ends
        assert {line.split()[5] for line in proxy.log(lines=1)} == {"CONNECT"}
    assert {"/407" in line for line in proxy.log(lines=1)} == {False}


async def test_the_peer_behind_a_tunnel_must_prove_who_it_is(by: By, service: Daemon, sts: LocalSTS) -> None:
    """T24, F26: the certificate is for another name; the proxy vouches for nobody."""
    async with by("other") as client:
        caught = await failures_of_one_and_of_many(client)

    assert {(type(error), error.retryable, error.attempts) for error in caught} == {(errors.TLSError, False, 1)}
    assert {"Hostname mismatch" in str(error) for error in caught} == {True}
    assert service.log() == []


async def test_this_host_is_never_reached_by_a_proxy(
    by: By, proxy: Daemon, service: Daemon, sts: LocalSTS, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T25: neither STS nor the metadata service, whatever the environment says."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROY", "HTTPS_PROY", "ALL_PROY"):
        monkeypatch.setenv(name, at(ports, "open"))
    async with LocalIMDS(credentials=lambda: sts.issue("arn:aws:iam::123456789012:role/demo")) as imds:
        url = f"http://127.0.0.1:{ports['plain']}/"
        credentials = IMDSProvider(endpoint=imds.url)  # named here: its usual address is beyond this host
        async with client_at(url, proxy=at(ports, "open"), credentials=credentials) as client:
            await identities(client, callers=10)
    async with by(scheme="http", credentials=sts.credentials) as client:
        await client.get_caller_identity()

    assert len(imds.requests) > 0
    assert len(service.log(lines=11)) == 11
    assert [line.split()[6] for line in proxy.log(lines=1)] == [f"http://sts.{DOMAIN}:{ports['plain']}/"]


# A proxy that refuses


@pytest.mark.parametrize("user", [None, "nobody", "a%20b:SENTINEL-wrong", "a%0d%0a-Evil%3a1:SENTINEL-wrong"])
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_proxy_that_wants_another_password_is_an_error_at_once(
    by: By, service: Daemon, ports: Ports, scheme: str, user: str | None
) -> None:
    """F28, T26, T5: 407."""
    async with by(scheme=scheme, proxy=at(ports, "locked", user=user)) as client:
        caught = await failures_of_one_and_of_many(client)

    port = ports["tls" if scheme == "https" else "plain"]
    assert {(type(error), getattr(error, "status", None), error.retryable, error.attempts) for error in caught} == {
        (errors.ProxyError, 407, False, 1)
    }
    assert {str(error) for error in caught} == {
        f"no connection to sts.{DOMAIN}:{port} by the proxy 127.0.0.1:{ports['locked']}: it answered with HTTP 407"
    }
    assert {(error.__cause__, error.__context__) for error in caught} == {(None, None)}
    assert service.log() == []


@pytest.mark.parametrize(("host", "status"), [("forbidden", 403), ("moved", 307)])
async def test_a_proxy_that_refuses_a_tunnel_is_an_error_at_once(
    by: By, service: Daemon, host: str, status: int
) -> None:
    """F28, T4: also where it would have it go elsewhere."""
    async with by(host) as client:
        caught = await failures_of_one_and_of_many(client)

    assert {(type(error), getattr(error, "status", None), error.retryable, error.attempts) for error in caught} == {
        (errors.ProxyError, status, False, 1)
    }
    assert service.log() == []


@pytest.mark.parametrize("callers", [1, 50])
@pytest.mark.parametrize(
    ("host", "to", "status"), [("gateway", "tls", 502), ("sts", "nobody", 503), ("unknown", "tls", 500)]
)
async def test_a_proxy_that_cannot_reach_the_service_is_tried_again(
    by: By, host: str, to: str, status: int, callers: int
) -> None:
    """F28: a rule of squid, a service that is down, and a name that nobody knows."""
    async with by(host, to=to, max_attempts=2) as client:
        caught = await failures(client, callers=callers)

    assert {(type(error), getattr(error, "status", None), error.retryable) for error in caught} == {
        (errors.ProxyError, status, True)
    }
    assert max(error.attempts for error in caught) == 2


@pytest.mark.slow
async def test_a_service_that_is_silent_to_the_proxy_is_tried_again(by: By, ports: Ports) -> None:
    """F28: squid gives up after a second."""
    with black_hole("127.0.0.1", ports["nobody"]):
        async with by(to="nobody", max_attempts=1) as client:
            caught = await failures(client, callers=50)

    assert {type(error) for error in caught} == {errors.ProxyError}
    assert {getattr(error, "status", None) for error in caught} <= {503, 504}
    assert {error.retryable for error in caught} == {True}


async def test_a_page_in_place_of_a_tunnel_is_a_typed_error(by: By, service: Daemon) -> None:
    """F28: squid answers 200, and then the page; no word of the request is sent."""
    async with by("page", max_attempts=2) as client:
        caught = await failures_of_one_and_of_many(client)

    assert {isinstance(error, errors.TLSError | errors.ProxyError) for error in caught} == {True}
    assert {error.attempts for error in caught} == {1}
    assert service.log() == []


# Without TLS, where the proxy's answer cannot be told from the service's


@pytest.mark.parametrize("callers", [1, 50])
@pytest.mark.parametrize(
    ("host", "to", "status", "retryable"),
    [("forbidden", "plain", 403, False), ("gateway", "plain", 502, True), ("sts", "nobody", 503, True)],
)
async def test_a_page_of_a_proxy_with_an_error_is_that_error(
    by: By, host: str, to: str, status: int, retryable: bool, callers: int
) -> None:
    """F28, F12: type and length of the page are told."""
    async with by(host, scheme="http", to=to, max_attempts=2) as client:
        caught = await failures(client, callers=callers)

    assert {(type(error), getattr(error, "status", None), error.retryable) for error in caught} == {
        (errors.ServiceError, status, retryable)
    }
    assert {"the response contains no STS error ('text/html;charset=utf-8', " in str(error) for error in caught} == {
        True
    }
    assert max(error.attempts for error in caught) == (2 if retryable else 1)


@pytest.mark.parametrize("callers", [1, 50])
async def test_a_page_of_a_proxy_in_place_of_an_answer_is_tried_again(by: By, callers: int) -> None:
    """F7: squid's own page, with status 200."""
    async with by("page", scheme="http", max_attempts=2) as client:
        caught = await failures(client, callers=callers)

    assert {(type(error), error.retryable) for error in caught} == {(errors.ResponseParseError, True)}
    assert {"(HTTP 200, 'text/html;charset=utf-8', " in str(error) for error in caught} == {True}
    assert max(error.attempts for error in caught) == 2


async def test_the_clock_is_not_set_by_an_answer_without_tls(by: By, service: Daemon, ports: Ports) -> None:
    """T23: whoever is in between could have us sign for later."""
    ahead = LocalSTS(port=ports["sts"], clock=lambda: time.time() + 3600)
    async with ahead, by(scheme="http", credentials=ahead.credentials, max_attempts=2) as client:
        (caught,) = await failures(client, callers=1)

    assert isinstance(caught, errors.ServiceError)
    assert caught.code == "SignatureDoesNotMatch"


# A proxy that is away


@pytest.mark.parametrize("callers", [1, 50])
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_proxy_that_is_down_is_tried_again(by: By, ports: Ports, scheme: str, callers: int) -> None:
    """F28."""
    async with by(scheme=scheme, proxy=at(ports, "nobody", user=known()), max_attempts=2) as client:
        caught = await failures(client, callers=callers)

    assert {(type(error), getattr(error, "status", 0), error.retryable) for error in caught} == {
        (errors.ProxyError, None, True)
    }
    assert {str(error).endswith(f"by the proxy 127.0.0.1:{ports['nobody']}: ECONNREFUSED") for error in caught} == {
        True
    }
    assert max(error.attempts for error in caught) == 2


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_proxy_that_hangs_is_a_timeout(by: By, proxy: Daemon, ports: Ports, scheme: str) -> None:
    """F28: with TLS, nothing was sent by then."""
    locked = at(ports, "locked", user=known())
    with proxy.hanging():
        async with by(scheme=scheme, proxy=locked, attempt_timeout=0.5, max_attempts=1) as client:
            caught = await failures(client, callers=50, within=SOON)

    timeouts = errors.ConnectTimeout if scheme == "https" else errors.ConnectTimeout | errors.AttemptTimeout
    assert {isinstance(error, timeouts) for error in caught} == {True}
    assert {(error.retryable, error.attempts) for error in caught} == {(True, 1)}


@pytest.mark.slow
async def test_a_proxy_that_begins_anew_is_used_again(by: By, proxy: Daemon, sts: LocalSTS) -> None:
    """F3, F28: its tunnels are gone; while it is away there is an error, and afterwards all is well."""
    seen: list[Any] = []
    async with by(credentials=sts.credentials, seen=seen, max_attempts=1) as client:
        await identities(client, callers=10)
        proxy.stop()
        try:
            caught = await failures(client, callers=10)
        finally:
            proxy.start()
        await identities(client, callers=10)

    assert {(type(error), error.retryable) for error in caught} == {(errors.ProxyError, True)}
    assert retries_in(seen) == 0
    assert len(sts.requests) == 20
