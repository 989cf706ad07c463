"""Where requests go, and how: the third group of lines."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import botocore.httpsession
import botocore.session
import botocore.utils
import pytest
import trustme
from credentials.cases import Case
from differences.conftest import KEY_ID, SECRET, Boto
from differences.lines import given, line
from support import RawServer, http

from sts_async import Config, Credentials, GetCallerIdentityRequest, STSClient
from sts_async._config.certificates import trust_of
from sts_async._protocol.proxies import is_excepted
from sts_async.credentials import IMDSProvider
from sts_async.errors import (
    ConfigurationError,
    InvalidEndpoint,
    InvalidRegion,
    RedirectRefused,
    ResponseParseError,
    ResponseTooLarge,
)
from sts_async.testing import LocalIMDS, LocalSTS

KEYS = Credentials(access_key_id=KEY_ID, secret_access_key=SECRET)
Serve = Callable[..., Awaitable[RawServer]]
ANSWER = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    "<Arn>%s</Arn><UserId>x</UserId><Account>123456789012</Account></GetCallerIdentityResult>"
    "<ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
)


async def host_of(**options: Any) -> str:
    """Return the host that our client would send to."""
    async with STSClient(credentials=KEYS, **options) as sts:
        url = await sts.presign(GetCallerIdentityRequest(), expires=60)
        return url.reveal().split("/")[2]


def host(client: Any) -> str:
    """Return the host that botocore's client has sent to."""
    return str(client.sent[0].url).split("/")[2]


@line("`AWS_REGION`")
async def test_the_variable_of_the_region_that_every_sdk_reads(boto: Boto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    assert host(await boto.run(boto.identity)) == "sts.eu-central-1.amazonaws.com"
    assert await host_of() == "sts.eu-west-1.amazonaws.com"


@line("no region at all")
async def test_a_missing_region_is_an_error(boto: Boto) -> None:
    assert host(await boto.run(boto.identity)) == "sts.amazonaws.com"
    with pytest.raises(ConfigurationError, match="no region"):
        await host_of()


@line("a region in upper case")
async def test_a_region_in_upper_case_is_an_error(boto: Boto) -> None:
    assert host(await boto.run(boto.identity, region_name="EU-WEST-1")) == "sts.EU-WEST-1.amazonaws.com"
    with pytest.raises(InvalidRegion):
        await host_of(region="EU-WEST-1")


@line("`us-west-2-fips`, `aws-cn-global` and other names that are no regions")
@pytest.mark.parametrize(
    ("name", "sent_to"),
    [("us-west-2-fips", "sts-fips.us-west-2.amazonaws.com"), ("aws-cn-global", "sts.aws-cn-global.amazonaws.com.cn")],
)
async def test_a_name_that_is_no_region_is_an_error(boto: Boto, name: str, sent_to: str) -> None:
    assert host(await boto.run(boto.identity, region_name=name)) == sent_to
    with pytest.raises(InvalidRegion, match=f"'{name}' is "):
        await host_of(region=name)


@line("an endpoint with `http://` on another host")
async def test_plain_http_to_another_host_is_refused(boto: Boto) -> None:
    url = "http://sts.example.test"

    assert host(await boto.run(boto.identity, region_name="eu-west-1", endpoint_url=url)) == "sts.example.test"
    with pytest.raises(InvalidEndpoint, match="allow_http=True"):
        await host_of(region="eu-west-1", endpoint_url=url)
    allowed = Config(allow_http=True)
    assert await host_of(region="eu-west-1", endpoint_url=url, config=allowed) == "sts.example.test"


@line("an endpoint with a user name, a query, or a host such as `127.1`, `0x7f000001` or `999.1.1.1`")
@pytest.mark.parametrize(
    "url",
    [
        "https://me:pw@sts.example.test",
        "https://127.1",
        "https://0x7f000001",
        "https://999.1.1.1",
        "https://sts.example.test/?a=b",
    ],
)
async def test_an_endpoint_that_two_readers_read_differently_is_refused(boto: Boto, url: str) -> None:
    client = await boto.run(boto.identity, region_name="eu-west-1", endpoint_url=url)

    assert client.sent[0].url.rstrip("/") == url
    with pytest.raises(InvalidEndpoint):
        await host_of(region="eu-west-1", endpoint_url=url)


@line("an endpoint of the profile, together with FIPS or dual-stack")
@pytest.mark.parametrize("flag", ["use_fips_endpoint", "use_dualstack_endpoint"])
async def test_a_flag_is_not_dropped_for_an_endpoint(boto: Boto, flag: str) -> None:
    path = Path.home() / ".aws/config"
    path.parent.mkdir()
    path.write_text(f"[default]\nregion = us-west-2\nendpoint_url = https://sts.example.test\n{flag} = true\n")

    assert host(await boto.run(boto.identity)) == "sts.example.test"
    with pytest.raises(ConfigurationError, match="cannot be combined with"):
        await host_of()


@line("a metadata service with `http://` that is neither on this host nor on its link")
async def test_the_metadata_service_is_asked_on_this_host_and_its_link_only(
    boto: Boto, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def send(_: object, request: Any) -> None:
        asked.append(request.url)
        raise botocore.exceptions.EndpointConnectionError(endpoint_url=request.url)

    monkeypatch.setattr(botocore.httpsession.URLLib3Session, "send", send)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    url = "http://metadata.example.test"
    fetcher = botocore.utils.InstanceMetadataFetcher(config={"ec2_metadata_service_endpoint": url})

    await boto.run(fetcher.retrieve_iam_role_credentials)
    assert asked[0] == f"{url}/latest/api/token"
    async with STSClient(region="eu-west-1", credentials=IMDSProvider(endpoint=url)) as sts:
        with pytest.raises(InvalidEndpoint, match="must be https"):
            await sts.get_credentials()


@line("AWS_IMDS_USE_IPV6")
async def test_the_older_switch_for_ipv6_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_IMDS_USE_IPV6", "true")

    assert botocore.utils.resolve_imds_endpoint_mode(botocore.session.Session()) == "ipv6"
    assert (await Config().resolve()).ec2_metadata_endpoint_mode == "IPv4"


@line("a proxy of the environment, for this host, its link, and metadata services")
async def test_a_proxy_is_not_used_for_this_host(
    boto: Boto, server: LocalSTS, raw_server: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await raw_server(http("", status=503))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    async with LocalIMDS() as imds:
        fetcher = botocore.utils.InstanceMetadataFetcher(config={"ec2_metadata_service_endpoint": f"{imds.url}/"})
        await boto.run(fetcher.retrieve_iam_role_credentials)
        fetcher._session.close()
        await boto.run(boto.identity, server, config={"retries": {"total_max_attempts": 1}})
        by_proxy = [request.split(b"\r\n")[0].decode() for request in proxy.requests]

        assert any(imds.url in first for first in by_proxy)
        assert any(server.url in first for first in by_proxy)
        assert not imds.requests
        assert not server.requests

        async with server.client(credentials=IMDSProvider(endpoint=imds.url)) as sts:
            await sts.get_credentials()
        async with server.client() as sts:
            await sts.get_caller_identity()
    assert len(proxy.requests) == len(by_proxy)


@line("networks, `*.name` and ports in `NO_PROXY`")
@pytest.mark.parametrize("entry", ["10.0.0.0/8", "10.1.2.3:443", "*.example.test", "h.example.test:443"])
async def test_no_proxy_may_hold_networks_and_ports(monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    name = "10.1.2.3" if entry.startswith("10") else "h.example.test"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.test:3128")
    monkeypatch.setenv("NO_PROXY", entry)

    assert "https" in botocore.utils.get_environ_proxies(f"https://{name}/")
    assert is_excepted(name, port=443, exceptions=entry)


@line("`socks5h://` as the proxy")
async def test_a_socks_proxy_is_an_error_where_it_would_be_used(
    server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    socks = "socks5h://proxy.example.test:1080"
    taken = botocore.httpsession.ProxyConfiguration(proxies={"https": socks})
    monkeypatch.setenv("HTTPS_PROXY", socks)
    monkeypatch.setenv("HTTP_PROXY", socks)

    assert taken.proxy_url_for("https://sts.example.test/") == f"http://{socks}"
    async with STSClient(region="eu-west-1", credentials=KEYS) as sts:
        with pytest.raises(ConfigurationError, match="HTTPS_PROXY must be"):
            await sts.get_caller_identity()
    async with server.client() as sts:
        await sts.get_caller_identity()


@line("REQUESTS_CA_BUNDLE")
async def test_the_bundle_of_requests_is_not_read(boto: Boto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))

    client = await boto.run(boto.client, region_name="eu-west-1")
    assert client._endpoint.http_session._verify == str(bundle)
    assert len(trust_of(await Config().resolve()).get_ca_certs()) != 1
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    assert len(trust_of(await Config().resolve()).get_ca_certs()) == 1


@line("the authorities that are trusted")
async def test_the_authorities_of_the_system_are_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))  # in the place of the system's
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))

    theirs = Path(botocore.httpsession.get_cert_path(True))
    assert theirs.name == "cacert.pem"
    assert len(ssl.create_default_context(cafile=theirs).get_ca_certs()) > 1
    assert len(trust_of(await Config().resolve()).get_ca_certs()) == 1


@line("`AWS_USE_FIPS_ENDPOINT` and other flags with another word than true or false")
@given("an instance that is off by another word", "an instance that is off by no word")
async def test_a_flag_that_is_no_flag_is_an_error(
    boto: Boto, monkeypatch: pytest.MonkeyPatch, case: Case, compare: Callable[[Case], Awaitable[None]]
) -> None:
    await compare(case)
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "perhaps")

    assert host(await boto.run(boto.identity, region_name="us-west-2")) == "sts.us-west-2.amazonaws.com"
    with pytest.raises(ConfigurationError, match="AWS_USE_FIPS_ENDPOINT must be true or false"):
        await host_of(region="us-west-2")


@line("more requests at once than connections")
async def test_requests_wait_for_a_connection(boto: Boto, raw_server: Serve) -> None:
    together = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await slow.read_request(reader)
            if len(slow.requests) == 3:
                together.set()
            await together.wait()
            writer.write(http(ANSWER % "x"))
            await writer.drain()

    slow = await raw_server(handler=handler)
    client = boto.client(region_name="eu-west-1", endpoint_url=slow.url, config={"max_pool_connections": 1})
    await asyncio.gather(*(boto.run(client.get_caller_identity) for _ in range(3)))
    assert slow.connections == 3

    config = Config(max_connections=1)
    async with STSClient(region="eu-west-1", credentials=KEYS, endpoint_url=slow.url, config=config) as sts:
        await asyncio.gather(*(sts.get_caller_identity() for _ in range(3)))
    assert slow.connections == 3 + 1
    assert (await boto.run(boto.client, region_name="eu-west-1")).meta.config.max_pool_connections == 10
    assert Config().max_connections == 50


@line("an answer of more than 1 MiB, or with a DOCTYPE")
@pytest.mark.parametrize(
    ("body", "error"),
    [(ANSWER % ("x" * (2 << 20)), ResponseTooLarge), ("<!DOCTYPE a>" + ANSWER % "x", ResponseParseError)],
    ids=["large", "DOCTYPE"],
)
async def test_answers_that_no_sts_gives_are_refused(
    boto: Boto, raw_server: Serve, body: str, error: type[Exception]
) -> None:
    server = await raw_server(http(body))
    client = boto.client(region_name="eu-west-1", endpoint_url=server.url)

    assert set((await boto.run(client.get_caller_identity))["Arn"]) == {"x"}
    async with STSClient(region="eu-west-1", credentials=KEYS, endpoint_url=server.url) as sts:
        with pytest.raises(error):
            await sts.get_caller_identity()


async def test_redirects_are_followed_by_neither(boto: Boto, raw_server: Serve) -> None:
    """README.md says this above the tables."""
    other = await raw_server(http(ANSWER % "x"))
    server = await raw_server(http("", status=307, headers=f"Location: {other.url}\r\n"))
    client = boto.client(region_name="eu-west-1", endpoint_url=server.url)
    await boto.run(client.get_caller_identity)

    async with STSClient(region="eu-west-1", credentials=KEYS, endpoint_url=server.url) as sts:
        with pytest.raises(RedirectRefused):
            await sts.get_caller_identity()
    assert len(server.requests) == 2
    assert not other.requests


async def test_a_request_to_a_cgi_script_sets_no_proxy_in_either(boto: Boto, monkeypatch: pytest.MonkeyPatch) -> None:
    """README.md says this above the tables."""
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    monkeypatch.setenv("HTTP_PROXY", "http://evil.example.test")

    assert botocore.utils.get_environ_proxies("http://sts.example.test/") == {}
    assert (await Config().resolve()).http_proxy is None
