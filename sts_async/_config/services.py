"""
URLs of the AWS services that are called: one order of settings and one set of host rules for all of them.

The services are STS and those that providers of credentials call: the access portal and the OIDC service of IAM
Identity Center, and AWS sign-in. Every provider gets its URL from `locate`, so each setting applies to all services.

Source: botocore, `configprovider.ConfiguredEndpointProvider`, and the endpoint rule sets of these services.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import attrs

from .._protocol.endpoints import IGNORE, check_region, partition_of, regional_host, resolve
from .._shape.secret import HiddenMapping, redact_userinfo
from .options import Option, Text
from .sections import Section, SharedConfig, quotes_remark, service_value

ANY_URL = "AWS_ENDPOINT_URL"  # for each service whose own variable is not set
URL_KEY = "endpoint_url"

# Options of a client that apply to every service. The environment and a profile can also set the first three.
FIPS, DUALSTACK = "use_fips_endpoint", "use_dualstack_endpoint"
ALLOW_HTTP = "allow_http"
SWITCHES = (IGNORE, FIPS, DUALSTACK, ALLOW_HTTP)
PROFILE_KEYS = frozenset({"services", URL_KEY, IGNORE, FIPS, DUALSTACK})


class Service(NamedTuple):
    """
    A service of AWS.

    Attributes:
        name: Its id in ``[services X]``.
        variable: The environment variable for its URL.
        called: Its name in messages.
        stem: The first labels of its regional hosts.
    """

    name: str
    variable: str
    called: str
    stem: str


STS = Service("sts", "AWS_ENDPOINT_URL_STS", "STS", "sts")
PORTAL = Service("sso", "AWS_ENDPOINT_URL_SSO", "the access portal", "portal.sso")
OIDC = Service("sso_oidc", "AWS_ENDPOINT_URL_SSO_OIDC", "the OIDC service of IAM Identity Center", "oidc")
SIGN_IN = Service("signin", "AWS_ENDPOINT_URL_SIGNIN", "AWS sign-in", "signin")
SERVICES = (STS, PORTAL, OIDC, SIGN_IN)

# The domain of the regional sign-in hosts of each partition. Source: endpoint rule set of the service Signin.
SIGNIN_DOMAINS = {
    "aws": "signin.aws.amazon.com",
    "aws-cn": "signin.amazonaws.cn",
    "aws-us-gov": "signin.amazonaws-us-gov.com",
    "aws-eusc": "signin.amazonaws-eusc.eu",
    "aws-iso": "signin.c2shome.ic.gov",
    "aws-iso-b": "signin.sc2shome.sgov.gov",
    "aws-iso-e": "signin.csphome.adc-e.uk",
    "aws-iso-f": "signin.csphome.hci.ic.gov",
}
GOV_SIGNIN_FIPS = "signin-fips.amazonaws-us-gov.com"


class Found(NamedTuple):
    """
    The value of a setting.

    Attributes:
        value: The value.
        origin: The option, variable or profile key that sets it, for messages.
        check: Raises the error if the value could not be read; None if it could.
    """

    value: Any
    origin: str
    check: Callable[[], None] | None = None


Given = Mapping[str, Found]
NOTHING: Given = MappingProxyType({})


class Location(NamedTuple):
    """
    The URL of a service.

    Attributes:
        url: The URL, without a final slash.
        hint: Advice for the case that no connection can be made; can be empty.
    """

    url: str
    hint: str = ""


class _Options(Protocol):
    def origin_of(self, name: str, /) -> str: ...

    def fault(self, *names: str) -> object | None: ...

    def need(self, *names: str) -> None: ...


def said_by(config: _Options | None) -> Given:
    """Return the options of a client that apply to every service; none if *config* is None."""
    if config is None:
        return NOTHING
    found = {}
    for name in SWITCHES:
        value = getattr(config, name)
        if value is not None:
            check = None if config.fault(name) is None else partial(config.need, name)
            found[name] = Found(value, config.origin_of(name), check=check)
    return found


@attrs.frozen(kw_only=True)
class ProfileSettings:
    """
    The settings of one profile for services. Two are equal if the settings are equal.

    Attributes:
        section: The profile, with only the keys for services.
        shared: Shared files with only the services section that the profile names.
    """

    section: Section
    shared: SharedConfig

    @classmethod
    def from_section(cls, shared: SharedConfig, section: Section) -> "ProfileSettings":
        """Return the settings in *section*, a profile of *shared*."""
        values = {key: value for key, value in section.values.items() if key in PROFILE_KEYS}
        name = section.get("services")
        named = {} if name is None or name not in shared.services else {str(name): shared.services[name]}
        return cls(section=attrs.evolve(section, values=values), shared=SharedConfig(services=named))


@attrs.frozen(kw_only=True)
class InProfile:
    """
    The profile that defines a source of credentials. Two are equal if their settings for services are equal.

    Attributes:
        name: Name of the profile, for messages; None if the source is not defined by a profile.
        settings: The settings for services of this profile, then those of the selected profile. Profiles without such
            settings are omitted.
    """

    name: str | None = attrs.field(default=None, eq=False)
    settings: tuple[ProfileSettings, ...] = ()

    @classmethod
    def from_section(cls, shared: SharedConfig, section: Section, *, selected: Section) -> "InProfile":
        """Return *section*, a profile of *shared*, as a source of the *selected* profile."""
        both = [ProfileSettings.from_section(shared, profile) for profile in (section, selected)]
        return cls(name=section.name, settings=tuple(settings for settings in both if settings.section.values))


NO_PROFILE = InProfile()


def configured_url(service: Service, environ: Mapping[str, str], profiles: Sequence[ProfileSettings]) -> Text | None:
    """
    Return the URL of a service in the environment or the profiles, as text, or None.

    The order is: the variable of the service, ``AWS_ENDPOINT_URL``, then for each profile its services section and
    its own ``endpoint_url``.

    Raises:
        InvalidConfigFile: The search reaches a profile that names a missing services section.
    """
    for variable in (service.variable, ANY_URL):
        if found := Text.from_variable(variable, environ):
            return found._replace(text=redact_userinfo(found.text))
    for profile in profiles:
        section = profile.section
        value = service_value(profile.shared, section, service=service.name, key=URL_KEY)
        if value is not None:
            origin = f"services of profile {section.name!r} ({value.file}, line {value.line})"
            return Text(value.text, origin, value.remark or quotes_remark(value.text))
        if found := Text.from_section(section, URL_KEY):
            return found
    return None


@attrs.frozen(kw_only=True)
class Settings:
    """
    All settings that determine the URLs of services.

    Attributes:
        options: The definitions of a client's options, by name.
        given: The options that are given in code; the first that has a setting is used.
        environ: The environment.
        profiles: The profiles to search; the first that has a setting is used.
        otherwise: The settings that are used if no other source has them.
    """

    options: Mapping[str, Option] = attrs.field(repr=False)
    given: Sequence[Given]
    environ: HiddenMapping
    profiles: Sequence[ProfileSettings] = ()
    otherwise: Given = NOTHING

    def switch(self, name: str) -> Found:
        """
        Return the value of a boolean option.

        Raises:
            ConfigurationError: The value of the variable or the key is invalid, or a file that may have the key cannot
                be read.
        """
        found = next(self._search(name), Found(False, name))
        if found.check is not None:
            found.check()
        return found

    def _search(self, name: str) -> Iterator[Found]:
        for given in self.given:
            if name in given:
                yield given[name]
        known = self.options[name]
        for text, origin, remark in known.texts(self.environ, [profile.section for profile in self.profiles]):
            yield Found(known.read(text, origin=origin, remark=remark), origin)
        if name in self.otherwise:
            yield self.otherwise[name]

    @property
    def allow_http(self) -> bool:
        """Whether code allows URLs without TLS. The environment and profiles cannot allow them."""
        return any(given[ALLOW_HTTP].value for given in self.given if ALLOW_HTTP in given)


def locate(service: Service, *, region: str, settings: Settings) -> Location:
    """
    Return the URL of a service.

    Args:
        service: The service.
        region: The region of its host; a configured URL is used without it.
        settings: The settings that determine the URL.

    Raises:
        InvalidRegion: *region* is not one host label.
        InvalidEndpoint: The configured URL is invalid.
        InvalidConfigFile: A profile names a services section that does not exist.
        ConfigurationError: A boolean setting is invalid, or a URL is configured together with FIPS or dual-stack.
    """
    url = None if settings.switch(IGNORE).value else configured_url(service, settings.environ, settings.profiles)
    fips, dualstack = settings.switch(FIPS), settings.switch(DUALSTACK)
    if url is not None:
        found = resolve(
            region=None,
            endpoint_url=url.text,
            use_fips=fips.value,
            use_dualstack=dualstack.value,
            allow_http=settings.allow_http,
            what=url.origin,
            flags=(fips.origin, dualstack.origin),
            called=service.called,
        )
        return Location(found.url.rstrip("/"))
    host = host_of(service, region, fips=fips.value, dualstack=dualstack.value)
    hints = [
        f"{flag.origin} selects this {kind} host, which may not exist in {region}"
        for flag, kind in ((fips, "FIPS"), (dualstack, "dual-stack"))
        if flag.value
    ]
    return Location(f"https://{host}", "; ".join(hints))


def host_of(service: Service, region: str, *, fips: bool = False, dualstack: bool = False) -> str:
    """
    Return the host of a service in a region.

    Args:
        service: The service. For STS, the result is the regional host.
        region: The region.
        fips: Whether to return the host with FIPS 140 validated cryptography.
        dualstack: Whether to return the host that also supports IPv6.

    Raises:
        InvalidRegion: *region* is not one host label.

    Source: endpoint rule sets of the services.
    """
    check_region(region)
    if service is SIGN_IN and not dualstack:
        partition = partition_of(region)
        if not fips:
            return f"{region}.{SIGNIN_DOMAINS[partition.name]}"
        if partition.name == "aws-us-gov":
            return GOV_SIGNIN_FIPS if region == partition.implicit_global_region else f"{region}.{GOV_SIGNIN_FIPS}"
    return regional_host(service.stem, region, fips=fips, dualstack=dualstack)
