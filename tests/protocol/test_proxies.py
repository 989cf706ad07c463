"""Proxies: which request goes by one, by the rules of the environment variables; and that no password is shown."""

import base64
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

import pytest
import requests.utils
from hypothesis import given
from hypothesis import strategies as st

from sts_async._config.options import ADDRESS, PRODUCTS, Kind, Option
from sts_async._protocol.proxies import Proxies, Proxy, ProxySetting, bypasses_proxy, is_excepted, is_proxy
from sts_async._shape.secret import Secret
from sts_async.errors import ConfigurationError

BOTH = Proxies(https=Proxy.from_url("http://secure.example:1"), http=Proxy.from_url("http://plain.example:2"))

labels = st.sampled_from(["a", "b", "ab", "example", "Com", "x-1"])
names = st.lists(labels, min_size=1, max_size=4).map(".".join)
entries = st.builds(
    "{0}{1}{2}{3}".format,
    st.sampled_from(["", " ", "."]),
    names,
    st.sampled_from(["", ":443", ":80"]),
    st.sampled_from(["", " "]),
)


@given(host=names, port=st.sampled_from([443, 80, 8443]), entries=st.lists(entries, max_size=4))
def test_exceptions_match_names_as_in_the_standard_library(host: str, port: int, entries: list[str]) -> None:
    """Urllib is what botocore asks."""
    exceptions = ",".join(entries)

    assert is_excepted(host, port=port, exceptions=exceptions) == bool(
        proxy_bypass_environment(f"{host}:{port}", {"no": exceptions})
    )


octets = st.integers(0, 2) | st.just(255)
addresses = st.tuples(st.just(10), octets, octets, octets).map(lambda parts: ".".join(map(str, parts)))
networks = st.tuples(addresses, st.integers(1, 32)).map(lambda pair: f"{pair[0]}/{pair[1]}")


@given(address=addresses, entries=st.lists(addresses | networks, max_size=4))
def test_addresses_and_networks_are_excepted_as_requests_does(address: str, entries: list[str]) -> None:
    exceptions = ", ".join(entries)

    assert is_excepted(address, port=443, exceptions=exceptions) == requests.utils.should_bypass_proxies(
        f"https://{address}/", no_proxy=exceptions or "nothing.example"
    )


@pytest.mark.parametrize(
    ("host", "exceptions", "excepted"),
    [
        ("sts.example", "*", True),
        ("sts.example", "other.example, *", True),
        ("sts.example", "", False),
        ("sts.example", ". , ,:,[]", False),
        ("sts.example", "*.example", True),
        ("sts.example", "*ts.example", False),
        ("sts.example.", "STS.Example", True),
        ("sts.example", "sts.example.", True),
        ("mysts.example", "sts.example", False),
        ("sts.example", "sts.example:443", True),
        ("sts.example", "sts.example:80", False),
        ("sts.example", "sts.example:", True),
        ("2001:db8::1", "2001:DB8:0::1", True),
        ("2001:db8::1", "[2001:db8::1]", True),
        ("2001:db8::1", "[2001:db8::1]:443", True),
        ("2001:db8::1", "[2001:db8::1]:80", False),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db9::1", "2001:db8::/32", False),
        ("::ffff:10.0.0.1", "10.0.0.0/8", True),
        ("10.0.0.1", "10.0.0.0/33,10.0.0,.0.1", False),
        ("10.0.0.1", "10.0.0.1:443", True),
    ],
)
def test_an_exception_matches_its_hosts(host: str, exceptions: str, excepted: bool) -> None:
    assert is_excepted(host, port=443, exceptions=exceptions) is excepted


@given(text=st.text())
def test_no_list_of_exceptions_is_an_error(text: str) -> None:
    assert isinstance(is_excepted("sts.example", port=443, exceptions=text), bool)
    assert isinstance(is_excepted("10.0.0.1", port=443, exceptions=text), bool)


NEAR = """
    127.0.0.1 127.255.0.9 localhost LOCALHOST. a.localhost ::1 0.0.0.0 :: ::ffff:127.0.0.1
    169.254.169.254 169.254.170.2 169.254.170.23 fe80::1 fe80::1%eth0 fd00:ec2::254 fd00:ec2::23 ::ffff:169.254.169.254
""".split()


@pytest.mark.parametrize("host", NEAR)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_host_its_link_and_the_metadata_services_are_always_reached_directly(scheme: str, host: str) -> None:
    """T25: keys go there, or come from there."""
    netloc = f"[{host}]" if ":" in host else host

    assert bypasses_proxy(host)
    assert BOTH.for_url(f"{scheme}://{netloc}:8080/latest/meta-data?x=1") is None


@pytest.mark.parametrize(
    "host", ["sts.eu-west-1.amazonaws.com", "10.0.0.1", "notlocalhost", "2001:db8::1", "1.169.254.1"]
)
def test_everything_else_goes_by_the_proxy_of_its_scheme(host: str) -> None:
    netloc = f"[{host}]" if ":" in host else host

    assert not bypasses_proxy(host)
    assert BOTH.for_url(f"https://{netloc}/") is BOTH.https
    assert BOTH.for_url(f"http://{netloc}/") is BOTH.http
    assert Proxies(https=BOTH.https, exceptions="*").for_url(f"https://{netloc}/") is None
    assert Proxies(https=BOTH.https).for_url(f"http://{netloc}/") is None


def test_the_port_of_an_exception_is_the_one_that_is_connected_to() -> None:
    """Also where the URL leaves it to the scheme."""
    proxies = Proxies(https=BOTH.https, http=BOTH.http, exceptions="sts.example:443")

    assert proxies.for_url("https://sts.example/") is None
    assert proxies.for_url("https://sts.example:8443/") is BOTH.https
    assert proxies.for_url("http://sts.example/") is BOTH.http


@pytest.mark.parametrize(
    ("url", "place", "authority", "pair"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128/", "proxy.example:3128", None),
        ("HTTPS://Proxy.example/", "https://proxy.example/", "proxy.example", None),
        ("proxy.example:3128", "http://proxy.example:3128/", "proxy.example:3128", None),
        ("http://u:p@proxy.example", "http://proxy.example/", "proxy.example", b"u:p"),
        ("http://user@proxy.example", "http://proxy.example/", "proxy.example", b"user:"),
        ("u:p%40%3a%C3%A9@[2001:db8::1]:1", "http://[2001:db8::1]:1/", "[2001:db8::1]:1", "u:p@:é".encode()),
        ("http://u:p@ss@proxy.example", "http://proxy.example/", "proxy.example", b"u:p@ss"),
        ("http://@proxy.example", "http://proxy.example/", "proxy.example", None),
    ],
)
def test_the_url_of_a_proxy_is_taken_apart(url: str, place: str, authority: str, pair: bytes | None) -> None:
    proxy = Proxy.from_url(url)
    authorization = proxy.authorization

    assert (proxy.url, proxy.authority) == (place, authority)
    assert (authorization and base64.b64decode(authorization.removeprefix("Basic "))) == pair
    assert is_proxy(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "socks5://SENTINEL:p@proxy.example",
        "http://SENTINEL:p@proxy.example/path",
        "http://SENTINEL:p@proxy.example?query",
        "http://SENTINEL:p@proxy.example:0",
        "http://SENTINEL:p@proxy.example:70000",
        "http://SENTINEL:p@proxy.exa mple",
        "http://SENTINEL:a\r\nb@proxy.example",
        "http://SENTINEL\x00@proxy.example",
        "http://SENTINEL:a/b@proxy.example",
        "http://SENTINEL:p@127.1",
        "http://proxy.example\\@SENTINEL",
    ],
)
def test_an_invalid_proxy_is_an_error_that_does_not_quote_it(url: str) -> None:
    """T26: control characters could add headers, and a password in a message gets into logs."""
    with pytest.raises(ConfigurationError, match=r"a proxy (must|has)") as caught:
        Proxy.from_url(url)

    frames, frame = [], caught.value.__traceback__
    while frame is not None:
        frames.append(frame.tb_frame)
        frame = frame.tb_next
    assert "SENTINEL" not in str([{**frame.f_locals} for frame in frames[1:]])
    assert not is_proxy(url)


def test_no_password_is_shown() -> None:
    """T26."""
    proxy = Proxy.from_url("http://user:SENTINEL@proxy.example")

    assert "SENTINEL" not in repr(proxy)
    assert (proxy.authorization or "").removeprefix("Basic ") not in repr(Proxies(http=proxy))


def test_a_setting_is_read_when_a_request_would_go_by_it() -> None:
    """B7: the message names the origin, and quotes no part of the URL."""
    socks = ProxySetting(url=Secret("socks5h://u:SENTINEL@proxy.example:1080"), origin="HTTPS_PROXY")
    proxies = Proxies(https=socks, http=BOTH.http, exceptions="direct.example")

    assert proxies.for_url("https://direct.example/") is None
    assert proxies.for_url("https://127.0.0.1/") is None
    assert proxies.for_url("http://sts.example/") is BOTH.http
    with pytest.raises(
        ConfigurationError,
        match=r"^HTTPS_PROXY must be an http:// or https:// URL .* requests for sts\.example\. SOCKS",
    ) as caught:
        proxies.for_url("https://sts.example/")
    assert "SENTINEL" not in f"{caught.value} {proxies!r}"
    assert str(caught.value).endswith("Add sts.example to NO_PROXY to connect directly.")
    assert Proxies(https=socks, exceptions="sts.example").for_url("https://sts.example/") is None


@pytest.mark.parametrize("kind", [ADDRESS, PRODUCTS], ids=["address", "products"])
@given(text=st.text() | st.sampled_from(["http://h:1", "::1", "10.0.0.1", "shop/1.0 till", "a\r\nb", "x" * 129]))
def test_the_value_of_a_text_is_valid_in_code(kind: Kind, text: str) -> None:
    """Text and code have one rule. An invalid text is an error that does not quote it."""
    value, problem = None, ""
    try:
        value = Option(kind=kind).read(text, origin="X")
    except ConfigurationError as error:
        problem = str(error)

    assert kind.accepts(text) == (not problem)
    assert problem in ("", f"X must be {kind.rule}")
    assert isinstance(value, Secret) == (kind.secret and not problem)
