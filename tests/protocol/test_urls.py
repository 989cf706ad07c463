"""Where requests for credentials may go: URLs, paths and addresses, and nothing that two readers read differently."""

import ipaddress
from urllib.parse import urlsplit

import pytest
import yarl
from botocore.utils import ContainerMetadataFetcher
from hypothesis import given
from hypothesis import strategies as st

from sts_async._protocol import urls as hosts
from sts_async._protocol.urls import HttpURL, is_target, is_within, parse_http_url
from sts_async.errors import InvalidEndpoint


@pytest.mark.parametrize(
    ("url", "place", "again"),
    [
        ("http://127.0.0.1", HttpURL(scheme="http", host="127.0.0.1"), "http://127.0.0.1/"),
        (
            "http://LocalHost:8080/a/b?c=d@e",
            HttpURL(scheme="http", host="localhost", port=8080, target="/a/b?c=d@e"),
            "http://localhost:8080/a/b?c=d@e",
        ),
        (
            "HTTPS://[fd00:ec2::23]:1/x",
            HttpURL(scheme="https", host="fd00:ec2::23", port=1, target="/x"),
            "https://[fd00:ec2::23]:1/x",
        ),
        ("https://a.b?c", HttpURL(scheme="https", host="a.b", target="/?c"), "https://a.b/?c"),
    ],
)
def test_a_url_is_taken_apart(url: str, place: HttpURL, again: str) -> None:
    found = parse_http_url(url, what="it")

    assert found == place
    assert found.url == again
    assert f"//{found.authority}/" in again


def test_an_address_takes_the_place_of_the_host() -> None:
    place = parse_http_url("http://agent:81/x?y", what="it")

    assert place.with_address("127.0.0.1") == "http://127.0.0.1:81/x?y"
    assert place.with_address("::1") == "http://[::1]:81/x?y"


REFUSED = {
    "not a URL": ["", "localhost", "//localhost/x", "http:", "http://", "http:///x", "http:localhost"],
    "another scheme": ["ftp://localhost", "file:///etc/passwd", "gopher://127.0.0.1/", "unix://x"],
    "user information": ["http://evil.com@127.0.0.1/", "http://127.0.0.1@evil.com/", "http://a:b@127.0.0.1/"],
    "white space": [
        " http://127.0.0.1",
        "http://127.0.0.1 ",
        "http://evil.com\t@127.0.0.1",
        "http://127.0.0.1/\r\nX: y",
    ],
    "a backslash": ["http://127.0.0.1\\@evil.com/", "http://evil.com\\.127.0.0.1/", "http://127.0.0.1/\\x"],
    "a fragment": ["http://127.0.0.1/#x", "http://evil.com#@127.0.0.1/"],
    "not ASCII": ["http://ⓛocalhost/", "http://127。0。0。1/", "http://localhost/ä"],
    "percent": ["http://%31%32%37.0.0.1/", "http://[fe80::1%25eth0]/"],
    "an address in disguise": [
        "http://0x7f000001",
        "http://0x7f.1",
        "http://127.1",
        "http://2130706433",
        "http://0177.0.0.1",
        "http://127.0.0.01",
        "http://127.0.0.1.",
        "http://1.2.3.4.5",
        "http://evil.0x7f",
        "http://[127.0.0.1]",
        "http://[::1",
        "http://[:::1]",
    ],
    "a port": [
        "http://localhost:",
        "http://localhost:0",
        "http://localhost:65536",
        "http://localhost:8a",
        "http://a:1:2",
    ],
}


@pytest.mark.parametrize("url", [url for urls in REFUSED.values() for url in urls])
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    """T31: each of these has been a way around such a rule somewhere."""
    with pytest.raises(InvalidEndpoint, match=r"^it "):
        parse_http_url(url, what="it")


@given(st.text(st.sampled_from("htps:/@.\\[]#?%017fx-a\t\n ä"), max_size=30).map("http://".__add__))
def test_other_readers_agree_about_the_host(url: str) -> None:
    """T31: for each accepted URL, the standard library and the HTTP client see the same host."""
    try:
        place = parse_http_url(url, what="it")
    except InvalidEndpoint:
        return
    sent = yarl.URL(place.url, encoded=True)

    read = (urlsplit(url).hostname or "").removesuffix(".")  # a final dot says only that the name is whole
    assert read == place.host
    assert urlsplit(place.url).hostname == sent.raw_host == f"{place.host}{'.' * place.rooted}"
    assert urlsplit(url).username is None
    assert (sent.explicit_port, urlsplit(url).port) == (place.port, place.port)


@pytest.mark.parametrize("path", ["/", "/v2/credentials/x", "/a?id=1&b=%20", "/a//b", "/a:1"])
def test_a_path_is_a_target(path: str) -> None:
    assert is_target(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "//evil/x",
        "/\\evil",
        "\\evil",
        "@evil/",
        "/@evil",
        "http://evil",
        "/a b",
        "/a\r\nb",
        "/a#b",
        "/ä",
        " /a",
    ],
)
def test_a_path_cannot_name_a_host(path: str) -> None:
    """T32."""
    assert not is_target(path)


@given(st.text(st.sampled_from("/@.\\[]#?%:17x-a\t\n ä"), max_size=20))
def test_no_path_leaves_the_host(path: str) -> None:
    """T32: whatever is accepted, it stays at the host that it is put behind."""
    if is_target(path):
        url = ContainerMetadataFetcher(session=object()).full_url(path)

        assert yarl.URL(url, encoded=True).raw_host == urlsplit(url).hostname == "169.254.170.2"
        assert url == HttpURL(scheme="http", host="169.254.170.2", target=path).url


@pytest.mark.parametrize(
    ("address", "container", "instance"),
    [
        ("127.0.0.1", True, True),
        ("127.255.255.254", True, True),
        ("::1", True, True),
        ("169.254.170.2", True, True),
        ("169.254.170.23", True, True),
        ("fd00:ec2::23", True, False),
        ("169.254.169.254", False, True),
        ("fe80::1", False, True),
        ("fd00:ec2::254", False, True),
        ("10.0.0.1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("8.8.8.8", False, False),
        ("::ffff:127.0.0.1", False, False),
        ("::ffff:10.0.0.1", False, False),
        ("::1%lo", False, False),
        ("fe80::1%eth0", False, False),
    ],
)
def test_addresses_of_this_host_and_its_agents_are_within(address: str, container: bool, instance: bool) -> None:
    """T30, T31."""
    assert is_within(address, hosts.CONTAINER) == container
    assert is_within(address, hosts.INSTANCE) == instance


@given(st.ip_addresses().map(str))
def test_botocore_admits_the_same_addresses_of_a_container(address: str) -> None:
    """Apart from loopback addresses of IPv4 that are written as IPv6, which newer Pythons count as loopback."""
    if getattr(ipaddress.ip_address(address), "ipv4_mapped", None):
        return
    oracle = ContainerMetadataFetcher(session=object())
    theirs = oracle._is_loopback_address(address) or oracle._check_if_whitelisted_host(address)

    assert is_within(address, hosts.CONTAINER) == theirs
