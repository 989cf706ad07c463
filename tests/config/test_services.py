"""Where services are: hosts and the order of settings, over whole grids, with botocore as the oracle."""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import pytest
from botocore.configloader import load_config
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import InvalidConfigError
from botocore.loaders import Loader
from protocol.test_endpoints import REFUSED_REGIONS, REGIONS

from sts_async._config import services
from sts_async._config.options import Text
from sts_async._config.profile_grammar import Section, SharedConfig, parse
from sts_async._config.services import (
    OIDC,
    PORTAL,
    SERVICES,
    SIGN_IN,
    STS,
    Found,
    Given,
    InProfile,
    ProfileSettings,
    Service,
    Settings,
    configured_url,
    host_of,
    locate,
    said_by,
)
from sts_async._engine.build import endpoint_of
from sts_async._protocol import endpoints
from sts_async._shape.secret import HiddenMapping
from sts_async.config import OPTIONS, Config
from sts_async.errors import ConfigurationError, InvalidConfigFile, InvalidEndpoint, InvalidRegion

# The name of each service at botocore, and the operation of it that we call.
CLIENTS = {
    STS: ("sts", "AssumeRole"),
    PORTAL: ("sso", "GetRoleCredentials"),
    OIDC: ("sso-oidc", "CreateToken"),
    SIGN_IN: ("signin", "CreateOAuth2Token"),
}
FLAGS = list(product((False, True), repeat=2))
BY_NAME = [pytest.param(service, id=service.name) for service in SERVICES]
PROFILE = "[profile x]\n"


# -- Hosts ----------------------------------------------------------------------------------------------------------


def rules_of(service: Service) -> tuple[EndpointProvider, dict[str, Any]]:
    """Return botocore's endpoint rules of a service, and what the operation that we call adds to their input."""
    client, operation = CLIENTS[service]
    loader = Loader()
    model = loader.load_service_model(client, "service-2")["operations"][operation]
    fixed = {name: one["value"] for name, one in model.get("staticContextParams", {}).items()}
    if service is STS:
        fixed["UseGlobalEndpoint"] = False
    rules = loader.load_service_model(client, "endpoint-rule-set-1")
    return EndpointProvider(rules, loader.load_data("partitions")), fixed


@pytest.mark.parametrize("service", BY_NAME)
def test_hosts_are_those_of_the_endpoint_rules(service: Service) -> None:
    """C16: for every region of every partition, with and without FIPS and dual-stack."""
    oracle, fixed = rules_of(service)
    for region, (fips, dualstack) in product(REGIONS, FLAGS):
        if service is STS and region == endpoints.GLOBAL_REGION:
            continue  # the global host is no regional one
        resolved = oracle.resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dualstack, **fixed)

        assert f"https://{host_of(service, region, fips=fips, dualstack=dualstack)}" == resolved.url, (region, fips)


@pytest.mark.parametrize("service", BY_NAME)
def test_a_flag_never_selects_the_plain_host(service: Service) -> None:
    """C16: GovCloud alone has FIPS hosts under the plain names, those of sign-in excepted."""
    for region, (fips, dualstack) in product(REGIONS, FLAGS[1:]):
        gov = endpoints.partition_of(region).name == "aws-us-gov" and service is not SIGN_IN
        same = host_of(service, region, fips=fips, dualstack=dualstack) == host_of(service, region)

        assert same == (gov and not dualstack), region


@pytest.mark.parametrize("service", BY_NAME)
@pytest.mark.parametrize("region", [*REFUSED_REGIONS, "evil.com#"])
def test_a_region_cannot_choose_a_host(service: Service, region: str) -> None:
    """T2."""
    with pytest.raises(InvalidRegion):
        host_of(service, region)


def test_the_client_of_sts_is_built_by_the_same_rules() -> None:
    for region, (fips, dualstack) in product(set(REGIONS) - {endpoints.GLOBAL_REGION}, FLAGS):
        found = endpoints.resolve(region=region, use_fips=fips, use_dualstack=dualstack)

        assert found.host == host_of(STS, region, fips=fips, dualstack=dualstack)


# -- Configured URLs ------------------------------------------------------------------------------------------------


def parsed(text: str) -> SharedConfig:
    return parse(text, file="config", kind="config")


def settings_of(text: str) -> ProfileSettings:
    shared = parsed(text)
    return ProfileSettings.from_section(shared, shared.profiles["x"])


def grid(service: Service) -> Iterator[tuple[dict[str, str], str]]:
    """Return every mixture of variables and files, as an environment and the text of a config file."""
    name = service.name
    other = next(one for one in SERVICES if one is not service)
    own_section = {
        "none": "",
        "missing": "services = gone\n",
        "other keys": "services = s\n",
        "blank": "services = s\n",
        "other service": "services = s\n",
        "set": "services = s\n",
    }
    sections = {
        "none": "",
        "missing": "",
        "other keys": f"[services s]\n{name} =\n  max_attempts = 3\n",
        "blank": f"[services s]\n{name} =\n  endpoint_url =\n",
        "other service": f"[services s]\n{other.name} =\n  endpoint_url = https://other.example\n",
        "set": f"[services s]\n{name} =\n  endpoint_url = https://section.example\n",
    }
    for one, every, section, key in product(
        (None, "", "https://one.example"),
        (None, "", "https://every.example"),
        own_section,
        ("", "endpoint_url =\n", "endpoint_url = https://key.example\n"),
    ):
        variables = {service.variable: one, "AWS_ENDPOINT_URL": every, other.variable: "https://not.example"}
        environ = {name: value for name, value in variables.items() if value is not None}
        yield environ, f"{PROFILE}region = eu-west-1\n{own_section[section]}{key}{sections[section]}"


def asked_of_botocore(service: Service, environ: Mapping[str, str], file: Path) -> str | None:
    """Return the URL that botocore has for a client, or "refused"."""
    full = load_config(str(file))
    provider = ConfiguredEndpointProvider(full, full["profiles"]["x"], CLIENTS[service][0], environ)
    try:
        found: str | None = provider.provide()
    except InvalidConfigError:
        return "refused"
    return found or None


def asked_of_us(service: Service, environ: Mapping[str, str], text: str) -> str | None:
    try:
        found = configured_url(service, environ, [settings_of(text)])
    except InvalidConfigFile:
        return "refused"
    return None if found is None else str.__str__(found.text)


@pytest.mark.parametrize("service", BY_NAME)
def test_urls_are_looked_for_in_the_order_of_botocore(service: Service, tmp_path: Path) -> None:
    """C4: over every mixture of two variables, the services section and the key of the profile."""
    ours, theirs = {}, {}
    for number, (environ, text) in enumerate(grid(service)):
        file = tmp_path / str(number)
        file.write_text(text)
        case = f"{environ}\n{text}"
        ours[case], theirs[case] = asked_of_us(service, environ, text), asked_of_botocore(service, environ, file)

    assert ours == theirs
    assert {*ours.values()} == {
        None,
        "refused",
        "https://one.example",
        "https://every.example",
        "https://section.example",
        "https://key.example",
    }


def test_a_url_has_its_origin() -> None:
    services_section = f"{PROFILE}services = s\n[services s]\nsso =\n  endpoint_url = https://a\n"
    for environ, text, origin in (
        ({"AWS_ENDPOINT_URL_SSO": " https://a "}, PROFILE, "AWS_ENDPOINT_URL_SSO"),
        ({"AWS_ENDPOINT_URL_SSO": " ", "AWS_ENDPOINT_URL": "https://a"}, PROFILE, "AWS_ENDPOINT_URL"),
        ({}, services_section, "services of profile 'x' (config, line 5)"),
        ({}, f"{PROFILE}endpoint_url = https://a\n", "profile 'x', key endpoint_url (config, line 2)"),
    ):
        assert configured_url(PORTAL, environ, [settings_of(text)]) == Text("https://a", origin)


# -- All settings together ------------------------------------------------------------------------------------------


def settings(
    environ: Mapping[str, str] | None = None,
    *texts: str,
    given: tuple[Given, ...] = (),
    otherwise: Given = services.NOTHING,
) -> Settings:
    return Settings(
        options=OPTIONS,
        given=given,
        environ=HiddenMapping(environ or {}),
        profiles=[settings_of(f"{PROFILE}{text}") for text in texts],
        otherwise=otherwise,
    )


def url_of(found: Settings, service: Service = PORTAL) -> str:
    return locate(service, region="us-east-1", settings=found).url


PLAIN, FIPS_HOST = "https://portal.sso.us-east-1.amazonaws.com", "https://portal.sso-fips.us-east-1.amazonaws.com"
FIPS_ON, FIPS_OFF = said_by(Config(use_fips_endpoint=True)), said_by(Config(use_fips_endpoint=False))
LEVELS: list[dict[bool, Any]] = [
    {on: {"given": given} for on, given in ((True, FIPS_ON), (False, FIPS_OFF))},
    {on: {"given": given} for on, given in ((True, FIPS_ON), (False, FIPS_OFF))},
    {on: {"environ": {"AWS_USE_FIPS_ENDPOINT": str(on).lower()}} for on in (True, False)},
    {on: {"text": f"use_fips_endpoint = {str(on).lower()}\n"} for on in (True, False)},
    {on: {"text": f"use_fips_endpoint = {str(on).lower()}\n"} for on in (True, False)},
    {on: {"otherwise": given} for on, given in ((True, FIPS_ON), (False, FIPS_OFF))},
]


def test_the_first_place_that_has_a_flag_decides() -> None:
    """
    C16: the source's own options, those of the client in code, variables, the profile with the keys, the profile in
    force, and what else the client has resolved.
    """
    for said in product((None, True, False), repeat=len(LEVELS)):
        places = [level[on] if on is not None else {} for level, on in zip(LEVELS, said, strict=True)]
        found = Settings(
            options=OPTIONS,
            given=[one["given"] for one in places if "given" in one],
            environ=HiddenMapping(next((one["environ"] for one in places if "environ" in one), {})),
            profiles=[settings_of(PROFILE + one["text"]) for one in places if "text" in one],
            otherwise=places[-1].get("otherwise", {}),
        )
        decides = next((on for on in said if on is not None), False)

        assert url_of(found) == (FIPS_HOST if decides else PLAIN), said


@pytest.mark.parametrize("name", ["use_fips_endpoint", "use_dualstack_endpoint", "ignore_configured_endpoint_urls"])
def test_a_switch_is_true_or_false(name: str) -> None:
    """A variable and a key alike; the message says where."""
    with pytest.raises(ConfigurationError, match=f"AWS_{name.upper()} must be true or false"):
        url_of(settings({f"AWS_{name.upper()}": "never"}))
    with pytest.raises(ConfigurationError, match=f"profile 'x', key {name} \\(config, line 2\\) must be true or false"):
        url_of(settings({}, f"{name} = never\n"))


@pytest.mark.parametrize(
    "found",
    [
        settings({"AWS_ENDPOINT_URL": "https://a", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "True"}),
        settings({"AWS_ENDPOINT_URL_SSO": "https://a"}, "ignore_configured_endpoint_urls = true\n"),
        settings(
            {"AWS_ENDPOINT_URL_SSO": "https://a", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"},
            given=(said_by(Config(ignore_configured_endpoint_urls=True)),),
        ),
        settings({}, "services = gone\nendpoint_url = https://a\nignore_configured_endpoint_urls = true\n"),
    ],
    ids=["variable", "key", "code", "a services section that is not there"],
)
def test_urls_can_be_passed_over(found: Settings) -> None:
    """C4."""
    assert url_of(found) == PLAIN


def test_the_profile_with_the_keys_comes_before_the_selected_profile() -> None:
    """C4: each of them whole."""
    both = settings({}, "endpoint_url = https://source/\n", "endpoint_url = https://force/\n")
    assert url_of(both) == "https://source"
    assert url_of(settings({}, "", "endpoint_url = https://force/\n")) == "https://force"


@pytest.mark.parametrize("flag", ["use_fips_endpoint", "use_dualstack_endpoint"])
@pytest.mark.parametrize("place", ["code", "variable", "key"])
def test_a_configured_url_with_a_flag_is_an_error_and_the_advice_helps(flag: str, place: str) -> None:
    """C16, C18: each of the three pieces of advice is followed."""
    variable = f"AWS_{flag.upper()}"
    said: dict[str, dict[str, Any]] = {
        "code": {"given": said_by(Config(**{flag: True})), "origin": flag},  # type: ignore[arg-type]
        "variable": {"environ": {variable: "true"}, "origin": variable},
        "key": {"text": f"{flag} = true\n", "origin": f"profile 'x', key {flag} (config, line 2)"},
    }
    one = said[place]
    environ = {"AWS_ENDPOINT_URL_SSO": "https://a.example", **one.get("environ", {})}
    texts, given = (one.get("text", ""),), (one.get("given", {}),)
    with pytest.raises(ConfigurationError) as caught:
        url_of(settings(environ, *texts, given=given))
    kind, host = {
        "use_fips_endpoint": ("FIPS", FIPS_HOST),
        "use_dualstack_endpoint": ("dual-stack", "https://portal.sso.us-east-1.api.aws"),
    }[flag]

    assert str(caught.value) == (
        "AWS_ENDPOINT_URL_SSO cannot be combined with FIPS or dual-stack for the access portal, and "
        f"{one['origin']} is set: to use AWS's {kind} host, set "
        "ignore_configured_endpoint_urls=True or AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true; to use the URL unchanged, "
        f"set {one['origin']} to false"
    )
    ignoring = {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    assert url_of(settings({**environ, **ignoring}, *texts, given=given)) == host
    in_code = {**given[0], **said_by(Config(ignore_configured_endpoint_urls=True))}
    assert url_of(settings(environ, *texts, given=(in_code,))) == host
    undone: dict[str, Settings] = {
        "code": settings(environ, given=(said_by(Config(**{flag: False})),)),  # type: ignore[arg-type]
        "variable": settings({**environ, variable: "false"}),
        "key": settings(environ, f"{flag} = false\n"),
    }
    assert url_of(undone[place]) == "https://a.example"


async def test_the_advice_helps_if_environment_and_profile_set_a_url_and_a_flag(tmp_path: Path) -> None:
    """C18: the client's own endpoint is refused in the same words, and by the same rule."""
    file = tmp_path / "config"
    file.write_text("[default]\nuse_fips_endpoint = true\n")
    environ = {"AWS_CONFIG_FILE": str(file), "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "https://a.example/"}

    async def url(**more: str) -> str:
        return endpoint_of(await Config().resolve({**environ, **more})).url

    with pytest.raises(ConfigurationError) as caught:
        await url()
    key = f"profile 'default', key use_fips_endpoint ({file}, line 2)"
    assert str(caught.value) == (
        f"AWS_ENDPOINT_URL cannot be combined with FIPS or dual-stack for STS, and {key} is set: to use AWS's FIPS "
        "host, set ignore_configured_endpoint_urls=True or AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true; to use the URL "
        f"unchanged, set {key} to false"
    )
    assert await url(AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true") == "https://sts-fips.us-east-1.amazonaws.com/"
    file.write_text("[default]\nuse_fips_endpoint = false\n")
    assert await url() == "https://a.example/"


@pytest.mark.parametrize(
    "url", ["http://sso.example/", "https://u:SENTINEL@h/", "https://h/?SENTINEL", "ftp://h", "https://999.1.1.1"]
)
@pytest.mark.parametrize("key", [False, True])
def test_a_url_that_cannot_be_used_is_refused(url: str, key: bool) -> None:
    """T3, B8: the message names the origin, and shows no part of the URL that can be secret."""
    origin = r"profile 'x', key endpoint_url \(config, line 2\)" if key else "AWS_ENDPOINT_URL_SSO"
    found = settings({}, f"endpoint_url = {url}\n") if key else settings({"AWS_ENDPOINT_URL_SSO": url})
    with pytest.raises(InvalidEndpoint, match=rf"^{origin}(:| must)") as caught:
        url_of(found)

    assert "SENTINEL" not in str(caught.value)


@pytest.mark.parametrize("who", [0, 1])
def test_the_advice_to_allow_http_helps(who: int) -> None:
    """C18: given to the source or to its client, whatever the other says."""
    environ = {"AWS_ENDPOINT_URL": "http://host.example:4566/"}
    with pytest.raises(InvalidEndpoint, match="use https, or pass allow_http=True"):
        url_of(settings(environ, given=(said_by(Config()), {})))
    given = [said_by(Config()), said_by(Config())]
    given[who] = said_by(Config(allow_http=True))

    assert url_of(settings(environ, given=tuple(given))) == "http://host.example:4566"


def test_a_host_that_a_flag_selects_has_a_hint_that_it_may_not_exist() -> None:
    """C16."""
    one = locate(SIGN_IN, region="us-east-1", settings=settings({"AWS_USE_FIPS_ENDPOINT": "true"}))
    both = settings({"AWS_USE_FIPS_ENDPOINT": "true"}, "use_dualstack_endpoint = true\n")

    assert one == (
        "https://signin-fips.us-east-1.amazonaws.com",
        "AWS_USE_FIPS_ENDPOINT selects this FIPS host, which may not exist in us-east-1",
    )
    assert locate(SIGN_IN, region="us-east-1", settings=both).hint.count("selects this") == 2
    assert locate(SIGN_IN, region="us-east-1", settings=settings()).hint == ""


def test_the_settings_of_a_client_have_the_names_of_its_options() -> None:
    found = said_by(Config(use_fips_endpoint=True, endpoint_url="https://sts.example"))

    assert said_by(None) == {}
    assert found == {"use_fips_endpoint": Found(True, "use_fips_endpoint"), "allow_http": Found(False, "allow_http")}
    assert {*services.SWITCHES} <= {field.name for field in attrs.fields(Config)}


# -- What of a profile counts ---------------------------------------------------------------------------------------


def test_a_profile_that_says_the_same_of_services_has_not_changed() -> None:
    """File, line, name and other settings do not count; a source with new keys is different."""

    def place(text: str, name: str = "x") -> InProfile:
        shared = parsed(f"[profile {name}]\n{text}")
        section: Section = shared.profiles[name]
        return InProfile.from_section(shared, section, selected=section)

    services_section = "services = s\n[services s]\nsso =\n  endpoint_url = https://a\n"

    assert place("region = eu-west-1\n") == place("\n\noutput = json\n", "y") == services.NO_PROFILE
    assert place(services_section) == place(f"output = json\n\n{services_section}")
    assert place(services_section) != place(services_section.replace("//a", "//b"))
    assert place("use_fips_endpoint = true\n") != place("use_fips_endpoint = false\n")
    assert place("", "y").name == "y"


@pytest.mark.parametrize("name", ["use_fips_endpoint", "use_dualstack_endpoint", "ignore_configured_endpoint_urls"])
def test_a_switch_in_quotes_is_refused_with_what_to_write(name: str) -> None:
    """C8: for a source of credentials, as for the client itself."""
    known = OPTIONS[name]
    in_profile = settings_of(f"{PROFILE}{known.key} = 'true'\n")
    for environ, profiles in (({known.variables[0]: '"true"'}, []), ({}, [in_profile])):
        settings = Settings(options=OPTIONS, given=[], environ=HiddenMapping(environ), profiles=profiles)
        with pytest.raises(ConfigurationError, match="must be true or false; quotes are part of a value: write it"):
            settings.switch(name)
