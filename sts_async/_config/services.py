"""
Where the services are that are called: one order of settings and one set of host rules for all of them.

STS is one of these services. The others are asked by sources of credentials: the access portal, the OIDC service of
IAM Identity Center, and AWS sign-in. Every source finds its URL with `locate`, so no setting holds for one
service and is forgotten for another.

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

ANY_URL = "AWS_ENDPOINT_URL"  # of every service that has no variable of its own
URL_KEY = "endpoint_url"

# Options of a client that hold for every service. The first three can also stand in the environment and in a profile.
FIPS, DUALSTACK = "use_fips_endpoint", "use_dualstack_endpoint"
ALLOW_HTTP = "allow_http"
SWITCHES = (IGNORE, FIPS, DUALSTACK, ALLOW_HTTP)
PROFILE_KEYS = frozenset({"services", URL_KEY, IGNORE, FIPS, DUALSTACK})


class Service(NamedTuple):
    """
    A service of AWS.

    Attributes:
        name: Its id in ``[services X]``.
        variable: The environment variable with its URL.
        called: What messages call it.
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
        origin: In words where it stands.
        check: Raises why the value could not be read; None where it could.
    """

    value: Any
    origin: str
    check: Callable[[], None] | None = None


Given = Mapping[str, Found]
NOTHING: Given = MappingProxyType({})


class Location(NamedTuple):
    """
    Where a service is.

    Attributes:
        url: Its URL, without a slash at its end.
        hint: What to look at when no connection can be made, or the empty string.
    """

    url: str
    hint: str = ""


class _Options(Protocol):
    def origin_of(self, name: str, /) -> str: ...

    def fault(self, *names: str) -> object | None: ...

    def need(self, *names: str) -> None: ...


def said_by(config: _Options | None) -> Given:
    """Return what the options of a client (a `Config`, or None) say about every service."""
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
    What one profile says about every service. Two are equal when they say the same.

    Attributes:
        section: The profile, with the keys only that matter here.
        shared: The services section that it names, in shared files without anything else.
    """

    section: Section
    shared: SharedConfig

    @classmethod
    def from_section(cls, shared: SharedConfig, section: Section) -> "ProfileSettings":
        """Return what *section*, a profile of *shared*, says."""
        values = {key: value for key, value in section.values.items() if key in PROFILE_KEYS}
        name = section.get("services")
        named = {} if name is None or name not in shared.services else {str(name): shared.services[name]}
        return cls(section=attrs.evolve(section, values=values), shared=SharedConfig(services=named))


@attrs.frozen(kw_only=True)
class InProfile:
    """
    The profile that asks for a source of credentials. Two are equal when they say the same about services.

    Attributes:
        name: Its name, for messages; None for a source that no profile asks for.
        settings: What it says about every service, and after it the profile in force, whose source it is. Profiles
            that say nothing are left out.
    """

    name: str | None = attrs.field(default=None, eq=False)
    settings: tuple[ProfileSettings, ...] = ()

    @classmethod
    def from_section(cls, shared: SharedConfig, section: Section, *, in_force: Section) -> "InProfile":
        """Return *section*, a profile of *shared*, as the source of the profile *in_force*."""
        said = [ProfileSettings.from_section(shared, one) for one in (section, in_force)]
        return cls(name=section.name, settings=tuple(one for one in said if one.section.values))


NO_PROFILE = InProfile()


def configured_url(service: Service, environ: Mapping[str, str], profiles: Sequence[ProfileSettings]) -> Text | None:
    """
    Return the text of the URL that environment or profile have for a service, or None.

    The order is: the variable of the service, ``AWS_ENDPOINT_URL``, then for each profile its services section and
    its own ``endpoint_url``.

    Raises:
        InvalidConfigFile: The search comes to a profile whose services section is missing.
    """
    for variable in (service.variable, ANY_URL):
        if said := Text.from_variable(variable, environ):
            return said._replace(text=redact_userinfo(said.text))
    for profile in profiles:
        section = profile.section
        value = service_value(profile.shared, section, service=service.name, key=URL_KEY)
        if value is not None:
            origin = f"services of profile {section.name!r} ({value.file}, line {value.line})"
            return Text(value.text, origin, value.remark or quotes_remark(value.text))
        if said := Text.from_section(section, URL_KEY):
            return said
    return None


@attrs.frozen(kw_only=True)
class Settings:
    """
    All that decides where services are.

    Attributes:
        options: The options of a client, by name: what their text can be, and where it stands.
        given: What was given in code; the first says it.
        environ: The environment.
        profiles: The profiles that are looked at; the first says it.
        otherwise: What holds when nobody says anything else.
    """

    options: Mapping[str, Option] = attrs.field(repr=False)
    given: Sequence[Given]
    environ: HiddenMapping
    profiles: Sequence[ProfileSettings] = ()
    otherwise: Given = NOTHING

    def switch(self, name: str) -> Found:
        """
        Return the value of an option that is true or false.

        Raises:
            ConfigurationError: The variable or the key has another value, or the file that may have it cannot be read.
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
        """Whether somebody has allowed URLs without TLS. Only code can."""
        return any(given[ALLOW_HTTP].value for given in self.given if ALLOW_HTTP in given)


def locate(service: Service, *, region: str, settings: Settings) -> Location:
    """
    Return where a service is.

    Args:
        service: The service.
        region: Its region, for its host; a configured URL is used as it is.
        settings: What decides.

    Raises:
        InvalidRegion: *region* is not one host label.
        InvalidEndpoint: The URL that was configured cannot be used.
        InvalidConfigFile: A profile names a services section that does not exist.
        ConfigurationError: A setting is neither true nor false; or a URL is configured, and FIPS or dual-stack too.
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
        f"{flag.origin} has chosen this {kind} host: AWS may have none in {region}"
        for flag, kind in ((fips, "FIPS"), (dualstack, "dual-stack"))
        if flag.value
    ]
    return Location(f"https://{host}", "; ".join(hints))


def host_of(service: Service, region: str, *, fips: bool = False, dualstack: bool = False) -> str:
    """
    Return the host of a service in a region.

    Args:
        service: The service; of STS, its regional host.
        region: The region.
        fips: Whether it is the host with FIPS 140 validated cryptography.
        dualstack: Whether it is the host that speaks IPv6 too.

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
