"""
Where a request goes: from a region and a few switches to a URL, a Host header and the region to sign for.

The order of the rules is that of the endpoint rule set of STS; the tests compare the two over the whole grid of inputs.
"""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

import attrs

from .._wording.option_names import option, setting
from ..errors import ConfigurationError, InvalidEndpoint, InvalidRegion
from .urls import DEFAULT_PORTS, LOOPBACK, address_of, parse_http_url


class Partition(NamedTuple):
    """
    A group of regions with accounts, domains and a global endpoint of their own.

    Attributes:
        name: As it stands in an ARN.
        region_pattern: What the whole of a region's name matches, in ASCII.
        dns_suffix: The domain of the regional hosts.
        dual_stack_dns_suffix: The domain of the hosts that speak IPv6 too.
        implicit_global_region: Where the partition's global services are.
        pseudo_region: The name that means the whole partition, or None.
    """

    name: str
    region_pattern: str
    dns_suffix: str
    dual_stack_dns_suffix: str
    implicit_global_region: str
    pseudo_region: str | None


# Every partition has FIPS and dual-stack hosts, so neither is a column.
# fmt: off
PARTITIONS = (
    Partition("aws", r"(us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+",
              "amazonaws.com", "api.aws", "us-east-1", "aws-global"),
    Partition("aws-cn", r"cn-\w+-\d+",
              "amazonaws.com.cn", "api.amazonwebservices.com.cn", "cn-northwest-1", "aws-cn-global"),
    Partition("aws-us-gov", r"us-gov-\w+-\d+",
              "amazonaws.com", "api.aws", "us-gov-west-1", "aws-us-gov-global"),
    Partition("aws-eusc", r"eusc-(de)-\w+-\d+",
              "amazonaws.eu", "api.amazonwebservices.eu", "eusc-de-east-1", None),
    Partition("aws-iso", r"us-iso-\w+-\d+",
              "c2s.ic.gov", "api.aws.ic.gov", "us-iso-east-1", "aws-iso-global"),
    Partition("aws-iso-b", r"us-isob-\w+-\d+",
              "sc2s.sgov.gov", "api.aws.scloud", "us-isob-east-1", "aws-iso-b-global"),
    Partition("aws-iso-e", r"eu-isoe-\w+-\d+",
              "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", "eu-isoe-west-1", "aws-iso-e-global"),
    Partition("aws-iso-f", r"us-isof-\w+-\d+",
              "csp.hci.ic.gov", "api.aws.hci.ic.gov", "us-isof-south-1", "aws-iso-f-global"),
)

GLOBAL_HOST = "sts.amazonaws.com"
GLOBAL_REGION = "aws-global"
GLOBAL_SIGNING_REGION = "us-east-1"

# The regions that `use_global_endpoint` sends to the global host. The list is closed.
LEGACY_GLOBAL_REGIONS = frozenset({
    "ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1", "eu-north-1",
    "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
})
# fmt: on

PARTITION_NAMES = frozenset(partition.name for partition in PARTITIONS)
AWS_DOMAINS = tuple(
    f".{suffix}" for partition in PARTITIONS for suffix in (partition.dns_suffix, partition.dual_stack_dns_suffix)
)

GIVEN_URL = "endpoint_url"  # what messages call a URL that was given in code
IGNORE = "ignore_configured_endpoint_urls"  # the option that passes over all others

REGION_MARKS = (
    ("fips", "use_fips_endpoint", "AWS_USE_FIPS_ENDPOINT"),
    ("dualstack", "use_dualstack_endpoint", "AWS_USE_DUALSTACK_ENDPOINT"),
)
"""What names of older SDKs begin or end with, and the option and the variable that it means."""

REGION_RULE = "lower-case letters, digits and hyphens, 1 to 63 of them, no hyphen at either end, not only digits"

# Expressions are text, which `re` compiles at first use and keeps: importing is not the time for it.
_REGION = r"(?!-)(?![0-9]+\Z)[a-z0-9-]{1,63}(?<!-)"

_PATH = r"(?i)(?:/(?:[a-z0-9._~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*)"


class Endpoint(NamedTuple):
    """
    Where requests go and what they are signed for.

    Attributes:
        url: What is connected to, with a path: ``https://sts.eu-west-1.amazonaws.com/``. A name keeps its final dot.
        host: The Host header as it is sent: without a default port or a final dot, an IPv6 address in brackets.
        signing_region: The region of the signature's scope; None when a custom endpoint came without a region.
        signing_name: The service of the signature's scope.
        secure: Whether nobody else can answer in its place: there is TLS, or it is on this host.
        no_region: Why there is no signing region, where that is known.
    """

    url: str
    host: str
    signing_region: str | None
    signing_name: str = "sts"
    secure: bool = True
    no_region: ConfigurationError | None = None


def partition_of(region: str) -> Partition:
    """Return the partition of a region or pseudo-region; of a region that no pattern knows, ``aws``."""
    return _known_partition(region) or PARTITIONS[0]


def is_known_region(region: str) -> bool:
    """Say whether a partition has regions with such a name. A new region has, but a misspelt one may have, too."""
    return _known_partition(region) is not None


def _known_partition(region: str) -> Partition | None:
    for partition in PARTITIONS:
        if region == partition.pseudo_region or re.fullmatch(partition.region_pattern, region, re.ASCII):
            return partition
    return None


def resolve(
    *,
    region: str | None,
    endpoint_url: str | None = None,
    use_fips: bool = False,
    use_dualstack: bool = False,
    use_global_endpoint: bool = False,
    allow_http: bool = False,
    what: str = GIVEN_URL,
    flags: tuple[str, str] = ("use_fips_endpoint", "use_dualstack_endpoint"),
    called: str = "STS",
) -> Endpoint:
    """
    Return where to send requests, and for which region to sign them.

    Args:
        region: Checked wherever it came from, also next to a custom endpoint: it is part of every signature.
        endpoint_url: A host of the caller's own, with a path if need be; signed for *region* as it is.
        use_fips: Choose the host with FIPS 140 validated cryptography.
        use_dualstack: Choose the host that speaks IPv6 too.
        use_global_endpoint: Use the global host for the regions in `LEGACY_GLOBAL_REGIONS`. FIPS, dual-stack and a
            custom endpoint win over it.
        allow_http: Let a custom endpoint that is not on this machine be unencrypted.
        what: Where *endpoint_url* comes from, for messages.
        flags: Where *use_fips* and *use_dualstack* come from, for messages.
        called: What messages call the service.

    Raises:
        InvalidRegion: *region* is not one host label, or there is no host of such a region.
        InvalidEndpoint: *endpoint_url* cannot be used; the message shows nothing of it that may be secret.
        ConfigurationError: Neither a region nor an endpoint is given, or options exclude each other.

    Source: endpoint rule set of the service STS, version 2011-06-15.
    """
    if region is not None and not is_region(region):
        raise _invalid_region(region)
    if endpoint_url is not None:
        for is_set, flag, kind in zip((use_fips, use_dualstack), flags, ("FIPS", "dual-stack"), strict=True):
            if is_set:
                raise ConfigurationError(_both(what, flag, kind=kind, called=called))
        return _custom(endpoint_url, region=region, allow_http=allow_http, what=what)
    if region is None:
        raise ConfigurationError(no_region())
    check_region(region, regional=use_fips or use_dualstack)
    if not (use_fips or use_dualstack) and (
        region == GLOBAL_REGION or (use_global_endpoint and region in LEGACY_GLOBAL_REGIONS)
    ):
        return Endpoint(f"https://{GLOBAL_HOST}/", GLOBAL_HOST, GLOBAL_SIGNING_REGION)

    host = regional_host("sts", region, fips=use_fips, dualstack=use_dualstack)
    url = f"https://{host}/"
    if urlsplit(url).hostname != host:  # a second fence: only a hole in the check of the region leads here
        raise _invalid_region(region)
    return Endpoint(url, host, region)


def no_region() -> str:
    """Return what an error says where a region is needed and none is known."""
    return f"no region: pass {setting('region')}, set AWS_REGION or AWS_DEFAULT_REGION, or set region in the profile"


def regional_host(stem: str, region: str, *, fips: bool, dualstack: bool) -> str:
    """
    Return the host of a service in a region, by the rules that the endpoint rule sets of most services share.

    Args:
        stem: First labels of the host: ``sts``.
        region: The region, which is not checked here.
        fips: Whether it is the host with FIPS 140 validated cryptography.
        dualstack: Whether it is the host that speaks IPv6 too.
    """
    partition = partition_of(region)
    # GovCloud's IPv4 hosts are FIPS hosts under their plain names.
    suffix = "-fips" if fips and (dualstack or partition.name != "aws-us-gov") else ""
    return f"{stem}{suffix}.{region}.{partition.dual_stack_dns_suffix if dualstack else partition.dns_suffix}"


def check_region(region: str, *, regional: bool = False) -> None:
    """
    Refuse a region that could choose the host it becomes a part of, and one of which AWS has no host.

    Some names stand for an option, or for a whole partition: older SDKs took ``fips-us-gov-west-1`` and
    ``us-west-2-fips`` for regions. A request to the host that such a name would give ends in an error of DNS or TLS.
    Using the real region without the option would leave FIPS out.

    Args:
        region: The region. ``aws-global`` has a host, the global one.
        regional: Whether the host must be that of a region: FIPS and dual-stack hosts are.

    Raises:
        InvalidRegion: It is not one host label, is only digits, or has no host; then the message says what to write.
    """
    if not is_region(region):
        raise _invalid_region(region)
    for mark, flag, variable in REGION_MARKS:
        real = region.removeprefix(f"{mark}-").removesuffix(f"-{mark}")
        if real != region:
            real = next((one.implicit_global_region for one in PARTITIONS if one.pseudo_region == real), real)
            raise InvalidRegion(
                f"{region!a} is not a region: set the region to {real} ({setting('region')}, AWS_REGION, or region in "
                f"the profile), and set {setting(flag, 'True')} or {variable}=true"
            )
    if region == GLOBAL_REGION and not regional:
        return
    partition = next((partition for partition in PARTITIONS if partition.pseudo_region == region), None)
    if partition is not None:
        hosts = "FIPS and dual-stack hosts" if region == GLOBAL_REGION else "the hosts of STS"
        raise InvalidRegion(
            f"{region!a} is a whole partition, and {hosts} there are regional: "
            f"use a region such as {partition.implicit_global_region}"
        )


def is_region(text: str) -> bool:
    """Say whether a text could be the name of a region: one host label, and not only digits."""
    return re.fullmatch(_REGION, text) is not None


def check_partition(endpoint: Endpoint | None, *, role_arn: str) -> None:
    """
    Refuse a role of another partition than that of an endpoint of AWS: nothing reaches across.

    Args:
        endpoint: Where the role would be assumed. None, one without a region, and hosts that are not of AWS, whose
            ARNs are their own, are for any role.
        role_arn: The role. A partition that is not known is not refused: there may be a new one.

    Raises:
        ConfigurationError: The role is of another partition.
    """
    if endpoint is None or endpoint.signing_region is None or not is_of_aws(endpoint):
        return
    here, there = partition_of(endpoint.signing_region).name, role_arn.partition(":")[2].partition(":")[0]
    if there != here and there in PARTITION_NAMES:
        raise ConfigurationError(
            f"a role of the partition {there} cannot be had from {endpoint.host}, which is in {here}: "
            "use a region of the role's partition"
        )


def is_of_aws(endpoint: Endpoint) -> bool:
    """Say whether an endpoint is one of AWS, whose ARNs are those of IAM."""
    return endpoint.host.partition(":")[0].endswith(AWS_DOMAINS)


def is_loopback(host: str) -> bool:
    """
    Return True for ``localhost``, 127.0.0.0/8 and ::1 (in brackets or not): what is sent there stays on this machine.

    Addresses in other spellings (``127.1``, ``::ffff:127.0.0.1``) are not recognised.
    """
    address = address_of(host.removeprefix("[").removesuffix("]"))
    if address is None:
        return host.lower() == "localhost"
    return "%" not in host and any(address in network for network in LOOPBACK)  # a zone is of a link


def _both(url: str, flag: str, *, kind: str, called: str) -> str:
    """Return what is wrong with a custom endpoint and a flag, which is where the messages say, and what to do."""
    given = option(GIVEN_URL)
    leave_out = f"give no {given}" if url == given else f"set {setting(IGNORE, 'True')} or AWS_{IGNORE.upper()}=true"
    return (
        f"{url} excludes FIPS and dual-stack for {called}, and {flag} is set: to use AWS's {kind} host, {leave_out}; "
        f"to use the URL as it is, set {flag} to false"
    )


def _custom(url: str, *, region: str | None, allow_http: bool, what: str) -> Endpoint:
    if isinstance(url, str) and re.search("[?#]", url):
        raise InvalidEndpoint(f"{what} must not have a query or a fragment")
    place = parse_http_url(url, what=what)
    if not re.fullmatch(_PATH, place.target):
        raise InvalidEndpoint(f"{what} must have a path of percent-encoded characters")
    secure = place.scheme == "https" or is_loopback(place.lookup_name)
    if not secure and not allow_http:
        raise InvalidEndpoint(
            f"{what}: http://{place.host} is unencrypted and would expose credentials: "
            f"use https, or pass {setting('allow_http', 'True')}"
        )
    if place.port == DEFAULT_PORTS[place.scheme]:
        place = attrs.evolve(place, port=None)
    return Endpoint(place.url, place.authority, region, secure=secure)


def _invalid_region(region: str) -> InvalidRegion:
    return InvalidRegion(f"{region[:64]!a} is not a region: {REGION_RULE}")
