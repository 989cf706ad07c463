"""
Endpoints: the URL, the Host header and the signing region for a region and a few flags.

The order of the rules is that of the endpoint rule set of STS. The tests compare the two for all combinations of
inputs.
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
    A group of regions with its own accounts, domains and global endpoint.

    Attributes:
        name: Its name, as in an ARN.
        region_pattern: A pattern that matches the whole name of a region, in ASCII.
        dns_suffix: The domain of the regional hosts.
        dual_stack_dns_suffix: The domain of the hosts that also support IPv6.
        implicit_global_region: The region of the partition's global services.
        pseudo_region: The name that means the whole partition, or None.
    """

    name: str
    region_pattern: str
    dns_suffix: str
    dual_stack_dns_suffix: str
    implicit_global_region: str
    pseudo_region: str | None


# Every partition has FIPS and dual-stack hosts, so the table has no columns for them.
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

# The regions for which `use_global_endpoint` uses the global host. AWS adds no regions to this list.
LEGACY_GLOBAL_REGIONS = frozenset({
    "ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1", "eu-north-1",
    "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
})
# fmt: on

PARTITION_NAMES = frozenset(partition.name for partition in PARTITIONS)
AWS_DOMAINS = tuple(
    f".{suffix}" for partition in PARTITIONS for suffix in (partition.dns_suffix, partition.dual_stack_dns_suffix)
)

GIVEN_URL = "endpoint_url"  # name in messages of a URL that is given in code
IGNORE = "ignore_configured_endpoint_urls"  # the option that disables URLs of the environment and the profile

REGION_MARKS = (
    ("fips", "use_fips_endpoint", "AWS_USE_FIPS_ENDPOINT"),
    ("dualstack", "use_dualstack_endpoint", "AWS_USE_DUALSTACK_ENDPOINT"),
)
"""Prefixes or suffixes of region names in older SDKs, each with the option and the variable for it."""

REGION_RULE = "lower-case letters, digits and hyphens, 1 to 63 of them, no hyphen at either end, not only digits"

# Patterns are strings, which `re` compiles on first use and caches, because compiling them would slow down the import.
_REGION = r"(?!-)(?![0-9]+\Z)[a-z0-9-]{1,63}(?<!-)"

_PATH = r"(?i)(?:/(?:[a-z0-9._~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*)"


class Endpoint(NamedTuple):
    """
    The URL for requests, and the credential scope of their signatures.

    Attributes:
        url: The URL, with a path: ``https://sts.eu-west-1.amazonaws.com/``. A host name keeps its final dot.
        host: The Host header: without a default port or a final dot, and with an IPv6 address in brackets.
        signing_region: The region of the credential scope; None if a custom endpoint has no region.
        signing_name: The service of the credential scope.
        secure: Whether responses are authentic: the endpoint uses TLS, or is on this host.
        no_region: Why there is no signing region, if the reason is known.
    """

    url: str
    host: str
    signing_region: str | None
    signing_name: str = "sts"
    secure: bool = True
    no_region: ConfigurationError | None = None


def partition_of(region: str) -> Partition:
    """Return the partition of a region or pseudo-region; ``aws`` if no pattern matches."""
    return _known_partition(region) or PARTITIONS[0]


def is_known_region(region: str) -> bool:
    """Return True if the name matches the pattern of a partition: new regions match, and some misspelt names too."""
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
    Return the endpoint for requests.

    Args:
        region: The region. It is checked also with a custom endpoint, because it is part of every signature.
        endpoint_url: URL of a custom endpoint, which can have a path; None for AWS. The signing region is *region*.
        use_fips: Whether to use the host with FIPS 140 validated cryptography.
        use_dualstack: Whether to use the host that also supports IPv6.
        use_global_endpoint: Whether to use the global host for the regions in `LEGACY_GLOBAL_REGIONS`. FIPS,
            dual-stack and a custom endpoint override it.
        allow_http: Whether a custom endpoint on another host may be used without TLS.
        what: The option or variable that sets *endpoint_url*, for messages.
        flags: The options or variables that set *use_fips* and *use_dualstack*, for messages.
        called: The name of the service, for messages.

    Raises:
        InvalidRegion: *region* is not one host label, or no host exists for it.
        InvalidEndpoint: *endpoint_url* is invalid. The message shows no part of it that can be secret.
        ConfigurationError: Neither a region nor an endpoint is given, or options conflict.

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
    if urlsplit(url).hostname != host:  # a second check, in case the check of the region has a gap
        raise _invalid_region(region)
    return Endpoint(url, host, region)


def no_region() -> str:
    """Return the message of an error about a missing region."""
    return f"no region: pass {setting('region')}, set AWS_REGION or AWS_DEFAULT_REGION, or set region in the profile"


def regional_host(stem: str, region: str, *, fips: bool, dualstack: bool) -> str:
    """
    Return the host of a service in a region, by the rules that most endpoint rule sets share.

    Args:
        stem: First labels of the host, such as ``sts``.
        region: The region, which is not checked here.
        fips: Whether to return the host with FIPS 140 validated cryptography.
        dualstack: Whether to return the host that also supports IPv6.
    """
    partition = partition_of(region)
    # The IPv4 hosts of GovCloud are FIPS hosts without a suffix in their names.
    suffix = "-fips" if fips and (dualstack or partition.name != "aws-us-gov") else ""
    return f"{stem}{suffix}.{region}.{partition.dual_stack_dns_suffix if dualstack else partition.dns_suffix}"


def check_region(region: str, *, regional: bool = False) -> None:
    """
    Check that a region is safe as a part of a host, and that AWS can have a host for it.

    Some names mean an option or a whole partition: older SDKs accepted ``fips-us-gov-west-1`` and ``us-west-2-fips``
    as regions. A request to the host with such a name would fail with an error of DNS or TLS. The real region without
    the option would not be FIPS.

    Args:
        region: The region. ``aws-global`` has the global host.
        regional: Whether the host must be regional, as FIPS and dual-stack hosts are.

    Raises:
        InvalidRegion: The region is not one host label, is only digits, or has no host; in the last case, the message
            names the region to use instead.
    """
    if not is_region(region):
        raise _invalid_region(region)
    for mark, flag, variable in REGION_MARKS:
        real = region.removeprefix(f"{mark}-").removesuffix(f"-{mark}")
        if real != region:
            real = next((item.implicit_global_region for item in PARTITIONS if item.pseudo_region == real), real)
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
    """Return True if a text is valid as the name of a region: one host label that is not only digits."""
    return re.fullmatch(_REGION, text) is not None


def check_partition(endpoint: Endpoint | None, *, role_arn: str) -> None:
    """
    Check that a role and an endpoint of AWS are in the same partition. A role cannot be assumed from another one.

    Args:
        endpoint: The endpoint of the call. The check passes without an endpoint, without a region, and for hosts
            outside AWS, which have their own kinds of ARNs.
        role_arn: The role. The check passes for an unknown partition, which may be a new one.

    Raises:
        ConfigurationError: The role is in another partition.
    """
    if endpoint is None or endpoint.signing_region is None or not is_of_aws(endpoint):
        return
    actual, wanted = partition_of(endpoint.signing_region).name, role_arn.partition(":")[2].partition(":")[0]
    if wanted != actual and wanted in PARTITION_NAMES:
        raise ConfigurationError(
            f"a role of the partition {wanted} cannot be assumed at {endpoint.host}, which is in {actual}: "
            "use a region of the role's partition"
        )


def is_of_aws(endpoint: Endpoint) -> bool:
    """Return True if an endpoint is a host of AWS, so that its ARNs are those of IAM."""
    return endpoint.host.partition(":")[0].endswith(AWS_DOMAINS)


def is_loopback(host: str) -> bool:
    """
    Return True for ``localhost``, 127.0.0.0/8 and ::1 (with or without brackets): their traffic stays on this host.

    Addresses in other spellings (``127.1``, ``::ffff:127.0.0.1``) are not recognised.
    """
    address = address_of(host.removeprefix("[").removesuffix("]"))
    if address is None:
        return host.lower() == "localhost"
    return "%" not in host and any(address in network for network in LOOPBACK)  # loopback addresses have no zone


def _both(url: str, flag: str, *, kind: str, called: str) -> str:
    """
    Return the message of an error about a custom endpoint together with FIPS or dual-stack.

    Args:
        url: The option or variable that sets the URL.
        flag: The option or variable that sets FIPS or dual-stack.
        kind: ``FIPS`` or ``dual-stack``.
        called: The name of the service.
    """
    given = option(GIVEN_URL)
    leave_out = f"give no {given}" if url == given else f"set {setting(IGNORE, 'True')} or AWS_{IGNORE.upper()}=true"
    return (
        f"{url} cannot be combined with FIPS or dual-stack for {called}, and {flag} is set: to use AWS's {kind} host, "
        f"{leave_out}; to use the URL unchanged, set {flag} to false"
    )


def _custom(url: str, *, region: str | None, allow_http: bool, what: str) -> Endpoint:
    if isinstance(url, str) and re.search("[?#]", url):
        raise InvalidEndpoint(f"{what} must not have a query or a fragment")
    parsed = parse_http_url(url, what=what)
    if not re.fullmatch(_PATH, parsed.target):
        raise InvalidEndpoint(f"{what} must have a path of percent-encoded characters")
    secure = parsed.scheme == "https" or is_loopback(parsed.lookup_name)
    if not secure and not allow_http:
        raise InvalidEndpoint(
            f"{what}: http://{parsed.host} is unencrypted and would expose credentials: "
            f"use https, or pass {setting('allow_http', 'True')}"
        )
    if parsed.port == DEFAULT_PORTS[parsed.scheme]:
        parsed = attrs.evolve(parsed, port=None)
    return Endpoint(parsed.url, parsed.authority, region, secure=secure)


def _invalid_region(region: str) -> InvalidRegion:
    return InvalidRegion(f"{region[:64]!a} is not a region: {REGION_RULE}")
