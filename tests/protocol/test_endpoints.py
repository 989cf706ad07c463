import re
import string
import traceback
from collections.abc import Callable
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import pytest
import yarl
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointResolutionError
from botocore.loaders import Loader
from hypothesis import example, given
from hypothesis import strategies as st
from support import KEYS

from sts_async import STSClient
from sts_async._protocol import endpoints
from sts_async._protocol.endpoints import (
    PARTITIONS,
    Endpoint,
    Partition,
    check_partition,
    check_region,
    is_loopback,
    partition_of,
    resolve,
)
from sts_async.errors import ConfigurationError, InvalidEndpoint, InvalidRegion

DATA = Loader().load_data("partitions")["partitions"]
ORACLE = EndpointProvider(
    Loader().load_service_model("sts", "endpoint-rule-set-1", api_version="2011-06-15"),
    Loader().load_data("partitions"),
)

KNOWN_REGIONS = sorted({region for partition in DATA for region in partition["regions"]})

# Two for each beginning that the patterns know, then names that are near a pattern, near a pseudo-region, near nothing.
MADE_UP_REGIONS = [
    f"{beginning}-{end}"
    for beginning in sorted({region.rsplit("-", 2)[0] for region in KNOWN_REGIONS})
    for end in ("moon-1", "northwest4-22")
]
MADE_UP_REGIONS += [
    "us-west-2a",
    "us-west",
    "us-gov-west",
    "xx-west-1",
    "eusc-fr-east-1",
    "us-isog-east-1",
    "us-east-1-x",
]
MADE_UP_REGIONS += ["aws-eusc-global", "aws-iso-g-global", "global", "fipsus-east-1", "local", "a", "1a", "x--y"]
# C21: the rule set makes hosts of these that do not exist. Here the error says what to write in their place: a region,
# and for some of them an option.
PSEUDO_REGIONS = {
    **{partition.pseudo_region: (partition.implicit_global_region, None) for partition in PARTITIONS[1:]},
    "us-west-2-fips": ("us-west-2", "use_fips"),
    "us-east-1-fips": ("us-east-1", "use_fips"),
    "fips-us-gov-west-1": ("us-gov-west-1", "use_fips"),
    "fips-aws-global": ("us-east-1", "use_fips"),
    "dualstack-eu-west-1": ("eu-west-1", "use_dualstack"),
    "eu-west-1-dualstack": ("eu-west-1", "use_dualstack"),
}
PSEUDO_REGIONS.pop(None)
REGIONS = [region for region in KNOWN_REGIONS + MADE_UP_REGIONS if region not in {*PSEUDO_REGIONS, "aws-global"}]

# The other deliberate difference in the grid: these become a part of a host name in the oracle, which is to check them
# before; here the check is at the place where the host is built (T1). "mx-far_side-0" even matches a pattern.
REFUSED_REGIONS = [
    "mx-far_side-0",
    "US-EAST-1",
    "-us-east-1",
    "us-east-1-",
    "us.east.1",
    "us east 1",
    "123",
    "",
    "a" * 64,
]

SWITCHES = ("use_fips", "use_dualstack", "use_global_endpoint")
CUSTOM = "https://vpce-0123.sts.eu-west-1.vpce.amazonaws.com/"
GRID = [
    {**dict(zip(SWITCHES, switches, strict=True)), "endpoint_url": endpoint_url}
    for endpoint_url in (None, CUSTOM)
    for switches in product((False, True), repeat=3)
]


Outcome = tuple[str, str | None] | None
"""URL and signing region, or None for a refusal."""


def ask_the_oracle(region: str | None, options: dict[str, Any]) -> Outcome:
    """Return what the rule set says."""
    try:
        found = ORACLE.resolve_endpoint(
            Region=region,
            UseFIPS=options["use_fips"],
            UseDualStack=options["use_dualstack"],
            UseGlobalEndpoint=options["use_global_endpoint"],
            Endpoint=options["endpoint_url"],
        )
    except EndpointResolutionError:
        return None
    schemes = found.properties.get("authSchemes", [{"name": "sigv4", "signingName": "sts", "signingRegion": region}])
    assert [(scheme["name"], scheme["signingName"]) for scheme in schemes] == [("sigv4", "sts")]
    # Our URLs have a path, because it is what is signed and sent; the rule set leaves the path to the request.
    return found.url if urlsplit(found.url).path else f"{found.url}/", schemes[0]["signingRegion"]


def ask_us(region: str | None, options: dict[str, Any]) -> Outcome:
    try:
        found = resolve(region=region, **options)
    except ConfigurationError:
        return None
    assert found.host == urlsplit(found.url).netloc
    return found.url, found.signing_region


def whole_grid(ask: Callable[..., Outcome], region: str | None) -> dict[tuple[Any, ...], Outcome]:
    return {tuple(options.values()): ask(region, options) for options in GRID}


@pytest.mark.parametrize("region", [*REGIONS, None])
def test_every_endpoint_is_that_of_the_rule_set(region: str | None) -> None:
    """Sixteen combinations for each region: URL and signing region, or no endpoint."""
    assert whole_grid(ask_us, region) == whole_grid(ask_the_oracle, region)


def test_the_grid_reaches_every_kind_of_outcome() -> None:
    """The comparison above is worth what its inputs reach."""
    outcomes = [ask_us(region, options) for region in [*REGIONS, None] for options in GRID]
    first_labels = {urlsplit(url).netloc.split(".")[0] for url, _ in filter(None, outcomes)}

    assert None in outcomes
    assert ("https://sts.amazonaws.com/", "us-east-1") in outcomes
    assert (CUSTOM, None) in outcomes
    assert first_labels == {"sts", "sts-fips", "vpce-0123"}
    assert {partition_of(region).name for region in REGIONS} == {partition["id"] for partition in DATA}


@pytest.mark.parametrize("region", REFUSED_REGIONS)
def test_the_rule_set_takes_regions_that_are_refused_here(region: str) -> None:
    """T1: should the rule set begin to check regions, this test says so."""
    no_option = GRID[0]

    assert ask_the_oracle(region, no_option) == (f"https://sts.{region}.amazonaws.com/", region)
    assert set(whole_grid(ask_us, region).values()) == {None}


@pytest.mark.parametrize(("region", "advice"), PSEUDO_REGIONS.items(), ids=PSEUDO_REGIONS)
def test_an_invalid_region_is_an_error_with_a_correction(region: str, advice: tuple[str, str | None]) -> None:
    """C21: the advice names the region, the option and the variable, and works. Otherwise DNS or TLS would fail."""
    real, switch = advice
    ours, theirs = whole_grid(ask_us, region), whole_grid(ask_the_oracle, region)

    assert {key: ours[key] for key in ours if key[-1]} == {key: theirs[key] for key in theirs if key[-1]}
    assert {ours[key] for key in ours if not key[-1]} == {None}
    for refused in (lambda: resolve(region=region), lambda: check_region(region)):
        with pytest.raises(InvalidRegion) as caught:
            refused()
        said = re.search(r"set the region to ([a-z0-9-]+) .* and set (use_\w+)_endpoint=True or ", str(caught.value))
        named = re.search(r"use a region such as ([a-z0-9-]+)$", str(caught.value))
        assert ((said[1], said[2]) if said else (named and named[1], None)) == (real, switch)
        if switch is not None:
            assert f"AWS_{switch.upper()}_ENDPOINT=true" in str(caught.value)
            assert "AWS_REGION" in str(caught.value)
    assert ask_us(real, GRID[0] | ({switch: True} if switch else {})) is not None


@pytest.mark.parametrize("switch", ["use_fips", "use_dualstack"])
def test_the_whole_partition_has_no_fips_or_dual_stack_host(switch: str) -> None:
    """C21: ``aws-global`` is the global host, and nothing else."""
    switches: dict[str, Any] = {switch: True}
    with pytest.raises(InvalidRegion, match=r"FIPS and dual-stack hosts there are regional: .* such as us-east-1$"):
        resolve(region="aws-global", **switches)
    for options in GRID:
        if options["endpoint_url"] or not (options["use_fips"] or options["use_dualstack"]):
            assert ask_us("aws-global", options) == ask_the_oracle("aws-global", options)


async def test_a_client_says_it_wherever_the_region_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """C21: in code when it is made, from the environment when it starts. Nothing is looked up."""
    with pytest.raises(InvalidRegion, match="set the region to us-west-2"):
        STSClient(region="us-west-2-fips")
    monkeypatch.setenv("AWS_REGION", "fips-us-gov-west-1")
    with pytest.raises(InvalidRegion, match="set the region to us-gov-west-1"):
        await STSClient(credentials=KEYS).get_caller_identity()


def row(partition: Partition) -> dict[str, Any]:
    """Our row, in the words of the oracle's data."""
    return {
        "pattern": partition.region_pattern,
        "dnsSuffix": partition.dns_suffix,
        "dualStackDnsSuffix": partition.dual_stack_dns_suffix,
        "implicitGlobalRegion": partition.implicit_global_region,
        "pseudo-regions": [partition.pseudo_region] if partition.pseudo_region else [],
        "name": partition.name,
        "supportsDualStack": True,
        "supportsFIPS": True,
    }


def test_the_partition_table_is_that_of_the_service() -> None:
    """Both ways and all of it, also that each partition supports FIPS and dual-stack, which the code relies on."""
    ours = {partition.name: row(partition) for partition in PARTITIONS}
    theirs = {
        partition["id"]: {
            "pattern": partition["regionRegex"].removeprefix("^").removesuffix("$").replace(r"\-", "-"),
            "pseudo-regions": [r for r in partition["regions"] if not re.match(partition["regionRegex"], r)],
            **partition["outputs"],
        }
        for partition in DATA
    }
    differing = {
        (name, key): (ours.get(name, {}).get(key), theirs.get(name, {}).get(key))
        for name in ours.keys() | theirs.keys()
        for key in ours.get(name, {}).keys() | theirs.get(name, {}).keys()
        if ours.get(name, {}).get(key) != theirs.get(name, {}).get(key)
    }

    assert differing == {}
    assert len(PARTITIONS) == len(ours)


@pytest.mark.parametrize("partition", DATA, ids=lambda partition: str(partition["id"]))
def test_each_known_region_and_pseudo_region_is_in_its_partition(partition: dict[str, Any]) -> None:
    """A role's ARN is compared with the partition, so a wrong one would refuse calls that can work."""
    assert {partition_of(region).name for region in partition["regions"]} == {partition["id"]}


@pytest.mark.parametrize("region", ["me-west-1", "sa-west-1"])
def test_the_regions_that_came_in_november_2026_have_their_own_hosts(region: str) -> None:
    """A8: they match the patterns of `aws`, are not legacy regions, and the rule set agrees."""
    options = dict.fromkeys(SWITCHES, False) | {"endpoint_url": None}

    assert region in KNOWN_REGIONS
    assert partition_of(region).name == "aws"
    for given_options in (options, options | {"use_global_endpoint": True}):
        assert ask_us(region, given_options) == (f"https://sts.{region}.amazonaws.com/", region)
    assert ask_us(region, options | {"use_dualstack": True}) == (f"https://sts.{region}.api.aws/", region)
    assert whole_grid(ask_us, region) == whole_grid(ask_the_oracle, region)


@pytest.mark.parametrize("region", ["made-up", "us-gov-west-1\n", "us-gov-west-\u0661", "aws-global ", ""])
def test_a_region_that_no_pattern_knows_is_in_aws(region: str) -> None:
    """A new region works before this table knows it; patterns match in ASCII and to the very end."""
    assert partition_of(region).name == "aws"


def test_aws_global_is_the_global_host_and_is_signed_for_us_east_1() -> None:
    """The signature's scope is a real region: the service does not know ``aws-global``."""
    assert resolve(region="aws-global") == Endpoint("https://sts.amazonaws.com/", "sts.amazonaws.com", "us-east-1")


def test_aws_global_with_a_custom_endpoint_is_the_signing_region() -> None:
    """The rule set gives a custom endpoint no signing region of its own, so the caller's decides."""
    assert resolve(region="aws-global", endpoint_url=CUSTOM).signing_region == "aws-global"


def test_a_custom_endpoint_without_a_region_has_no_signing_region() -> None:
    """Unsigned operations need no region; the signer reports a missing one."""
    assert resolve(region=None, endpoint_url=CUSTOM).signing_region is None


@pytest.mark.parametrize("options", [option for option in GRID if option["endpoint_url"] is None], ids=str)
def test_a_missing_region_and_endpoint_is_an_error_with_advice(options: dict[str, Any]) -> None:
    """The most common mistake in a new environment; a default region would send keys somewhere unasked."""
    with pytest.raises(ConfigurationError) as caught:
        resolve(region=None, **options)

    assert not isinstance(caught.value, (InvalidRegion, InvalidEndpoint))
    for advice in ("region=", "AWS_REGION", "AWS_DEFAULT_REGION"):
        assert advice in str(caught.value)


@pytest.mark.parametrize("flag", ["fips", "dualstack"])
def test_a_custom_endpoint_excludes_fips_and_dual_stack(flag: str) -> None:
    """C18: both choose the host, and so does the URL. Each piece of the advice is followed."""
    kind = {"fips": "FIPS", "dualstack": "dual-stack"}[flag]
    with pytest.raises(ConfigurationError) as caught:
        resolve(region="us-east-1", endpoint_url=CUSTOM, **{f"use_{flag}": True})  # type: ignore[arg-type]

    assert type(caught.value) is ConfigurationError
    assert str(caught.value) == (
        f"endpoint_url cannot be combined with FIPS or dual-stack for STS, and use_{flag}_endpoint is set: "
        f"to use AWS's {kind} host, give no endpoint_url; to use the URL unchanged, set use_{flag}_endpoint to false"
    )
    assert resolve(region="us-east-1", **{f"use_{flag}": True}).host != "sts.us-east-1.amazonaws.com"  # type: ignore[arg-type]
    assert resolve(region="us-east-1", endpoint_url=CUSTOM, **{f"use_{flag}": False}).url == CUSTOM  # type: ignore[arg-type]


# Regions


HOSTILE_REGIONS = ["evil.com#", "x@evil.com:443/", "evil.com/", "evil.com?", "us-east-1.evil.com", "us-east-1\n", ""]
HOSTILE_REGIONS += ["a" * 64, "-a", "\uff11", "\uff35\uff33", "..", "%2e", "[::1]"]  # row T1 ends here
HOSTILE_REGIONS += [
    "evil.com:443",
    "evil.com\\",
    "a-",
    "-",
    "US-EAST-1",
    "us_east_1",
    "\u0131",
    "\u0661",
    "0",
    "123456789012",
]
HOSTILE_REGIONS += ["\nus-east-1", "us-east-1\r\nX-Evil: 1", "us-east-1\0", "us east 1", " ", "xn--é", "\ud800"]


@pytest.mark.parametrize("endpoint_url", [None, CUSTOM], ids=["built", "custom"])
@pytest.mark.parametrize("region", HOSTILE_REGIONS, ids=ascii)
def test_a_region_that_is_not_a_host_label_is_an_error(region: str, endpoint_url: str | None) -> None:
    """T1: It would choose the host that gets the keys' signatures, or a part of the signature's scope."""
    with pytest.raises(InvalidRegion, match="is not a region"):
        resolve(region=region, endpoint_url=endpoint_url)
    with pytest.raises(InvalidRegion, match="is not a region"):
        check_region(region)


@pytest.mark.parametrize("region", ["a", "a" * 63, "1a", "a1", "0-0", "us-east-1", "x--y"])
def test_any_host_label_is_a_region(region: str) -> None:
    """T1: New regions need no new release."""
    check_region(region)

    assert resolve(region=region).host == f"sts.{region}.amazonaws.com"


@pytest.mark.parametrize("region", ["us-east-1\r\n\x1b[31m", "\uff35\uff33", "\ud800", "x." * 5000], ids=ascii)
def test_a_refused_region_is_shown_short_and_in_printable_ascii(region: str) -> None:
    """T1: The text may come from a file or the network: it must not forge log lines or fill them."""
    with pytest.raises(InvalidRegion) as caught:
        resolve(region=region)

    message = str(caught.value)
    assert message.startswith(ascii(region[:64]))
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 300


@pytest.mark.parametrize(
    "region",
    ["evil.com#", "x@evil.com:443/", "evil.com/", "evil.com?", "x@y", "us-east-1\n", "\uff35\uff33", "US-EAST-1"],
    ids=ascii,
)
def test_a_built_url_with_another_host_than_expected_is_refused(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """T1: A second fence, which holds when the first has a hole."""
    monkeypatch.setattr(endpoints, "_REGION", "(?s).*")
    check_region(region)  # the first fence is open

    with pytest.raises(InvalidRegion):
        resolve(region=region)


LABEL_CHARACTERS = string.ascii_lowercase + string.digits + "-"
SUFFIXES = {suffix for p in PARTITIONS for suffix in (p.dns_suffix, p.dual_stack_dns_suffix)}


@given(
    region=st.one_of(
        st.text(),
        st.text(LABEL_CHARACTERS, max_size=66),
        st.text("a1-.@:/#?%\\[]\r\n\t _AÀ\uff11", max_size=8),
        st.sampled_from(KNOWN_REGIONS),
        st.from_regex(r"(us|cn|us-gov|eusc-de|us-isof)-\w+-\d+", fullmatch=True),
    ),
    fips=st.booleans(),
    dualstack=st.booleans(),
    everywhere=st.booleans(),
)
@example(region="us-east-1", fips=False, dualstack=False, everywhere=True)
@example(region="aws-global", fips=False, dualstack=False, everywhere=False)
def test_any_text_is_refused_or_one_label_of_an_aws_host(
    region: str, fips: bool, dualstack: bool, everywhere: bool
) -> None:
    """T1: The host ends in a domain of AWS and has the region as one label, whatever the region is, or is global."""
    is_label = (
        1 <= len(region) <= 63 and set(region) <= set(LABEL_CHARACTERS) and region[0] != "-" and region[-1] != "-"
    ) and not region.isdigit()
    try:
        found = resolve(region=region, use_fips=fips, use_dualstack=dualstack, use_global_endpoint=everywhere)
    except InvalidRegion:
        assert not is_label or region in {*PSEUDO_REGIONS, "aws-global"} or re.search("fips|dualstack", region)
        return

    assert is_label
    assert found.url == f"https://{found.host}/"
    assert yarl.URL(found.url).host == urlsplit(found.url).netloc == found.host
    if found.host == "sts.amazonaws.com":
        assert found.signing_region == "us-east-1"
        assert not fips
        assert not dualstack
        assert everywhere or region == "aws-global"
    else:
        service, label, suffix = found.host.split(".", 2)
        assert service in (("sts", "sts-fips") if fips else ("sts",))
        assert label == region == found.signing_region
        assert suffix in SUFFIXES


# Custom endpoints


@pytest.mark.parametrize(
    ("given_url", "url", "host"),
    [
        ("https://sts.example", "https://sts.example/", "sts.example"),
        ("HTTPS://STS.Example/Path/", "https://sts.example/Path/", "sts.example"),
        ("https://sts.example:443/", "https://sts.example/", "sts.example"),
        ("https://sts.example:0443", "https://sts.example/", "sts.example"),
        ("https://sts.example:80", "https://sts.example:80/", "sts.example:80"),
        ("https://sts.example:65535/a", "https://sts.example:65535/a", "sts.example:65535"),
        ("https://sts.example:1", "https://sts.example:1/", "sts.example:1"),
        ("https://sts.example//a@b/", "https://sts.example//a@b/", "sts.example"),
        ("https://sts.example./", "https://sts.example./", "sts.example"),
        ("https://sts.example.:8443", "https://sts.example.:8443/", "sts.example:8443"),
        ("https://sts.example/a%2Fb;c=@:$/", "https://sts.example/a%2Fb;c=@:$/", "sts.example"),
        ("http://localhost:80", "http://localhost/", "localhost"),
        ("http://localhost:4566/", "http://localhost:4566/", "localhost:4566"),
        ("http://LocalHost:443/", "http://localhost:443/", "localhost:443"),
        ("http://127.255.0.3:8080", "http://127.255.0.3:8080/", "127.255.0.3:8080"),
        ("http://[::1]", "http://[::1]/", "[::1]"),
        ("http://[0:0:0:0:0:0:0:1]:5000/sts", "http://[0:0:0:0:0:0:0:1]:5000/sts", "[0:0:0:0:0:0:0:1]:5000"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443/", "[2001:db8::1]:8443"),
        ("https://[::ffff:10.0.0.1]/", "https://[::ffff:10.0.0.1]/", "[::ffff:10.0.0.1]"),
    ],
)
def test_a_custom_endpoint_keeps_its_path_and_loses_a_default_port(given_url: str, url: str, host: str) -> None:
    """The Host header is signed, so it has to be known as it will be sent, and to be what the URL says."""
    found = resolve(region="us-east-1", endpoint_url=given_url)

    assert found == Endpoint(url, host, "us-east-1")


def test_a_container_name_with_an_underscore_is_a_host_of_a_custom_endpoint() -> None:
    """Compose files have such names; they can choose no other host, which is what the check is for."""
    assert resolve(region=None, endpoint_url="http://local_sts:4566", allow_http=True).host == "local_sts:4566"


CHARACTERS, SCHEME, USERINFO, QUERY = "printable ASCII", "begin with https", "user name", "query or a fragment"
PARTS, ADDRESS, PORT, PLAIN = (
    "https://host[:port][/path]",
    "IPv6 address",
    "port between 1 and 65535",
    "allow_http=True",
)
PATH, NUMBERS = "a path of percent-encoded characters", "an IPv4 address in dotted decimal form (such as 192.0.2.1)"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://u:p@h/", USERINFO),
        ("https://u@h/", USERINFO),
        ("https://@h/", USERINFO),
        ("https://:@h", USERINFO),
        ("https://good@evil@h/", USERINFO),
        ("https:////u@h/", PARTS),
        ("ftp://h/", SCHEME),
        ("ws://h/", SCHEME),
        ("file:///etc/passwd", SCHEME),
        ("//h/", SCHEME),
        ("h", SCHEME),
        ("h:443", SCHEME),
        ("https:h", SCHEME),
        ("https:/h", SCHEME),
        ("", SCHEME),
        ("https://", PARTS),
        ("https:///", PARTS),
        ("https:///path", PARTS),
        ("https://:443/", PARTS),
        ("https://h/#x", QUERY),
        ("https://h#", QUERY),
        ("https://h/?", QUERY),
        ("https://h?x=1", QUERY),
        ("https://h\r\nX:1/", CHARACTERS),
        ("https://h/\n", CHARACTERS),
        ("\thttps://h/", CHARACTERS),
        (" https://h/", CHARACTERS),
        ("https://h /", CHARACTERS),
        ("https://h/\x7f", CHARACTERS),
        ("https://h/\0", CHARACTERS),
        ("https://h/é", CHARACTERS),
        ("https://\uff48/", CHARACTERS),
        ("http\u017f://h/", CHARACTERS),
        ("https://h\\@evil/", CHARACTERS),
        ("https:\\\\h/", CHARACTERS),
        ("https://a..b/", PARTS),
        ("https://.a/", PARTS),
        ("https://-a/", PARTS),
        ("https://a-.b/", PARTS),
        (f"https://{'a' * 64}/", PARTS),
        (f"https://a.{'a' * 64}.b/", PARTS),
        ("https://%65vil/", PARTS),
        ("https://h;x/", PARTS),
        ("https://h/%", PATH),
        ("https://h/%2", PATH),
        ("https://h/<x>", PATH),
        ("https://::1/", PARTS),
        ("https://[::1/", PARTS),
        ("https://[h]/", PARTS),
        ("https://[127.0.0.1]/", PARTS),
        ("https://[]/", PARTS),
        ("https://[fe80::1%25eth0]/", PARTS),
        ("https://[::1]x/", PARTS),
        ("https://[1:2]/", ADDRESS),
        ("https://[::1::]/", ADDRESS),
        ("https://[::256.0.0.1]/", ADDRESS),
        ("https://h:/", PARTS),
        ("https://h:x/", PARTS),
        ("https://h:-1/", PARTS),
        ("https://h:1:2/", PARTS),
        ("https://h:123456/", PARTS),
        ("https://h:0/", PORT),
        ("https://h:65536/", PORT),
        ("http://localhost:99999/", PORT),
        ("https://999.1.1.1", NUMBERS),
        ("http://127.0.0.1.:1", NUMBERS),
        ("http://127.1", NUMBERS),
        ("http://2130706433", NUMBERS),
        ("http://0x7f000001", NUMBERS),
        ("http://0177.0.0.1", NUMBERS),
        ("http://127.0.0.01", NUMBERS),
        ("https://1.2.3.4.5", NUMBERS),
        ("https://sts.0x7f", NUMBERS),
        ("https://[::1].", ADDRESS),
        (f"https://{'.'.join(['a' * 50] * 5)}", PARTS),
        ("http://sts.example/", PLAIN),
    ],
    ids=ascii,
)
def test_an_endpoint_url_that_hides_something_is_refused(url: str, reason: str) -> None:
    """T3, B8: Each of these is read as another host by some parser, or would add to what is signed or sent."""
    with pytest.raises(InvalidEndpoint, match=re.escape(reason)):
        resolve(region="us-east-1", endpoint_url=url)


@pytest.mark.parametrize(
    "url",
    [
        "https://u:{}@h/",
        "https://{}@h/",
        "http://{0}:{0}@sts.example/",
        "https://u:{}@h:port/",
        "https://u:{}@[::1/",
        "https:\\\\u:{}@h/",
        "https://u:{}\r\n@h/",
        "https://u:é{}@h/",
        "https://u:{}?x@h/",
        "https://u:{}/x@h/",
        "ftp://u:{}@h/",
        "u:{}@h",
        "https://h/?token={}",
        "https://h/#{}",
        "http://sts.example/{}?",
        "http://sts.example/{}",
        "https://h:{}/",
    ],
    ids=ascii,
)
def test_no_message_shows_a_possible_secret_in_an_endpoint_url(url: str) -> None:
    """T3: The message goes to logs and consoles, and so do chained causes."""
    secret = "SENTINEL-5b0c"

    with pytest.raises(InvalidEndpoint) as caught:
        resolve(region="us-east-1", endpoint_url=url.format(secret, secret))

    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
    assert secret not in shown
    assert secret.lower() not in shown
    assert "endpoint_url must" in str(caught.value) or "http://sts.example is unencrypted" in str(caught.value)


def test_plain_http_to_another_machine_needs_consent() -> None:
    """T3: Tokens would cross the network readable; the message names the host and both ways out."""
    with pytest.raises(
        InvalidEndpoint,
        match=r"^endpoint_url: http://sts\.example is unencrypted .* use https, or pass allow_http=True$",
    ):
        resolve(region="us-east-1", endpoint_url="http://sts.example:8080/x")

    allowed = resolve(region="us-east-1", endpoint_url="http://sts.example:8080/x", allow_http=True)
    assert allowed == Endpoint("http://sts.example:8080/x", "sts.example:8080", "us-east-1", secure=False)


@pytest.mark.parametrize(
    "host",
    [
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "localhost.",
        "0.0.0.0",
        "128.0.0.1",
        "126.255.255.255",
        "169.254.169.254",
        "[::]",
        "[::2]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
    ],
)
def test_hosts_that_only_look_like_loopback_need_allow_http(host: str) -> None:
    """T3: resolvers of different systems interpret unusual spellings differently, so these do not count as loopback."""
    assert not is_loopback(host)
    with pytest.raises(InvalidEndpoint, match="allow_http"):
        resolve(region="us-east-1", endpoint_url=f"http://{host}/")
    assert resolve(region="us-east-1", endpoint_url=f"http://{host}/", allow_http=True).host == host.rstrip(".")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.255.255.255", "::1", "[::1]", "[0::0:1]"])
def test_loopback_has_three_spellings(host: str) -> None:
    """With or without the brackets of a URL."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "::1%eth0", "::1%1", "127.0.0.1:80", "[::1]:80", "\uff11\uff12\uff17.0.0.1"])
def test_text_that_is_not_a_bare_host_is_not_loopback(host: str) -> None:
    """A helper that guesses would be asked about parts of URLs."""
    assert not is_loopback(host)


AUTHORITIES = st.one_of(
    st.from_regex(r"[a-zA-Z0-9_-]{1,5}(\.[a-zA-Z0-9-]{1,5}){0,2}\.?(:[0-9]{1,5})?", fullmatch=True),
    st.from_regex(r"\[[0-9a-fA-F:.]{2,9}\](:[0-9]{1,5})?", fullmatch=True),
    st.text("aA1.-_:@[]%é \\", max_size=10),
)


@given(
    scheme=st.sampled_from(["https://", "http://", "HTTPS://", "https:", "ftp://", "//", ""]),
    authority=AUTHORITIES,
    path=st.one_of(st.just(""), st.text("/aB.@%2?#\\ ~é", max_size=8).map("/".__add__)),
)
@example(scheme="https://", authority="a.b:443", path="/x")
@example(scheme="http://", authority="[::1]:443", path="")
def test_any_url_is_refused_or_the_same_to_every_parser(scheme: str, authority: str, path: str) -> None:
    """T3: the checked host is the one that the transport connects to: no parser below may see another host."""
    try:
        found = resolve(region=None, endpoint_url=scheme + authority + path, allow_http=True)
    except InvalidEndpoint:
        return

    parsed, below = urlsplit(found.url), yarl.URL(found.url, encoded=True)
    if parsed.hostname and parsed.hostname.endswith("."):  # B4: the Host header does not have the final dot
        parsed_host = parsed.netloc.replace(parsed.hostname, parsed.hostname[:-1])
    else:
        parsed_host = parsed.netloc
    assert parsed_host == found.host == found.host.lower()
    assert (parsed.username, parsed.password, parsed.query, parsed.fragment) == (None, None, "", "")
    assert parsed.path == (path or "/")
    assert f"{parsed.scheme}://" == scheme.lower()
    assert (below.scheme, below.host, below.raw_path) == (parsed.scheme, parsed.hostname, parsed.path)
    assert below.port == (parsed.port or {"http": 80, "https": 443}[parsed.scheme])
    assert resolve(region=None, endpoint_url=found.url, allow_http=True) == found


# Roles of other partitions


@pytest.mark.parametrize("options", [{}, {"use_dualstack": True}, {"use_fips": True}], ids=str)
@pytest.mark.parametrize("there", PARTITIONS, ids=lambda partition: partition.name)
@pytest.mark.parametrize("here", PARTITIONS, ids=lambda partition: partition.name)
def test_a_role_is_had_in_its_own_partition_only(here: Partition, there: Partition, options: dict[str, bool]) -> None:
    """Nothing reaches across partitions of AWS."""
    endpoint = resolve(region=here.implicit_global_region, **options)
    role_arn = f"arn:{there.name}:iam::123456789012:role/demo"

    if here == there:
        check_partition(endpoint, role_arn=role_arn)
    else:
        with pytest.raises(
            ConfigurationError, match=f"of the partition {there.name} cannot be assumed .* in {here.name}:"
        ):
            check_partition(endpoint, role_arn=role_arn)


@pytest.mark.parametrize(
    ("endpoint", "role_arn"),
    [
        (None, "arn:aws-cn:iam::123456789012:role/demo"),
        (resolve(region=None, endpoint_url="https://sts.us-east-1.amazonaws.com"), "arn:aws-cn:iam::1:role/demo"),
        (resolve(region="us-east-1", endpoint_url="https://minio.example"), "arn:aws-cn:iam::1:role/demo"),
        (resolve(region="us-east-1"), "arn:aws-new:iam::123456789012:role/demo"),
        (resolve(region="us-east-1"), "demo"),
    ],
    ids=["no endpoint", "no region", "another service", "a new partition", "no ARN"],
)
def test_a_role_that_may_be_valid_is_not_an_error(endpoint: Endpoint | None, role_arn: str) -> None:
    check_partition(endpoint, role_arn=role_arn)
