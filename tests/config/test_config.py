"""Options: given in code, then the environment, then the profile, then a default; and the values that are refused."""

import inspect
import pickle
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from sts_async import Config
from sts_async._config.options import NUMBER, SECONDS, Option
from sts_async._engine.build import endpoint_of
from sts_async.config import OPTIONS, VARIABLES, SettingsSources
from sts_async.credentials import IMDSProvider, ProcessProvider
from sts_async.errors import ConfigurationError, InvalidConfigFile, InvalidEndpoint

WriteFile = Callable[[str, str], Path]

# A text that each option can be, another, and what they mean.
SAMPLES: dict[str, tuple[str, str, Any, Any]] = {
    "profile": ("one", "two", "one", "two"),
    "config_file": ("/nowhere/one", "/nowhere/two", "/nowhere/one", "/nowhere/two"),
    "credentials_file": ("/nowhere/one", "/nowhere/two", "/nowhere/one", "/nowhere/two"),
    "region": ("eu-west-1", "eu-west-2", "eu-west-1", "eu-west-2"),
    "endpoint_url": ("https://a.example/", "https://b.example/", "https://a.example/", "https://b.example/"),
    "ignore_configured_endpoint_urls": ("TRUE", "false", True, False),
    "use_fips_endpoint": ("true", "False", True, False),
    "use_dualstack_endpoint": ("true", "false", True, False),
    "sts_regional_endpoints": ("Legacy", "regional", "legacy", "regional"),
    "retry_mode": ("standard", "ADAPTIVE", "standard", "adaptive"),
    "max_attempts": ("7", "8", 7, 8),
    "defaults_mode": ("in-region", "mobile", "in-region", "mobile"),
    "disable_clock_skew_correction": ("true", "false", True, False),
    "tcp_keepalive": ("true", "false", True, False),
    "https_proxy": ("http://one.example", "two.example:3128", "http://one.example", "two.example:3128"),
    "http_proxy": ("https://u:p@one.example:1", "two.example", "https://u:p@one.example:1", "two.example"),
    "no_proxy": ("*", "a.example,10.0.0.0/8", "*", "a.example,10.0.0.0/8"),
    "ca_bundle": ("/etc/ca.pem", "/etc/other.pem", "/etc/ca.pem", "/etc/other.pem"),
    "app_id": ("shop", "till", "shop", "till"),
    "ec2_metadata_disabled": ("true", "false", True, False),
    "ec2_metadata_endpoint": ("http://[::1]/", "http://127.0.0.1/", "http://[::1]/", "http://127.0.0.1/"),
    "ec2_metadata_endpoint_mode": ("ipv6", "IPv4", "IPv6", "IPv4"),
    "ec2_metadata_timeout": ("2.5", "3", 2.5, 3.0),
    "ec2_metadata_attempts": ("4", "5", 4, 5),
    "ec2_instance_profile_name": ("role-a", "role-b", "role-a", "role-b"),
    "imds_v1_fallback": ("False", "true", True, False),  # they say whether it is disabled
    "trust_token_files": ("1", "0", True, False),
    "show_process_stderr": ("yes", "no", True, False),
}
NAMED = {name: known for name, known in OPTIONS.items() if known.variables}
IN_PROFILE = {name: known for name, known in OPTIONS.items() if known.key}
each_named = pytest.mark.parametrize(("name", "known"), NAMED.items(), ids=NAMED.keys())
each_in_profile = pytest.mark.parametrize(("name", "known"), IN_PROFILE.items(), ids=IN_PROFILE.keys())


@pytest.fixture
def config_file(write_file: WriteFile) -> Callable[[str], dict[str, str]]:
    """Return a function that writes a config file, and returns the variable that names it."""
    return lambda text: {"AWS_CONFIG_FILE": str(write_file("config", text))}


# Precedence


def test_there_is_a_sample_of_every_option_that_can_come_from_outside() -> None:
    """Without this test, the tests below could miss an option."""
    assert {name for name, known in OPTIONS.items() if known.variables or known.key} == SAMPLES.keys()


@each_named
async def test_a_variable_sets_an_option_that_code_does_not_set(name: str, known: Option) -> None:
    text, _, value, _ = SAMPLES[name]
    for variable in known.variables:
        if name == "profile":
            assert SettingsSources(Config(), {variable: text}).profile == (value, f"named by {variable}")
        else:
            assert getattr(await Config().resolve({variable: f" {text}\n"}), name) == value


@pytest.mark.parametrize(
    ("name", "known"), [(n, known) for n, known in NAMED.items() if len(known.variables) == 2 and n != "profile"]
)
async def test_of_two_variables_the_first_that_is_not_blank_counts(name: str, known: Option) -> None:
    text, other, value, other_value = SAMPLES[name]
    first, second = known.variables

    assert getattr(await Config().resolve({first: text, second: other}), name) == value
    assert getattr(await Config().resolve({first: " ", second: other}), name) == other_value


@each_in_profile
async def test_the_profile_sets_an_option_that_the_environment_does_not_set(
    name: str, known: Option, config_file: Callable[[str], dict[str, str]]
) -> None:
    text, other, value, other_value = SAMPLES[name]
    environ = config_file(f"[default]\n{known.key} = {text}\n")

    assert getattr(await Config().resolve(environ), name) == value
    if known.variables:
        assert getattr(await Config().resolve({**environ, known.variables[0]: other}), name) == other_value
        assert getattr(await Config().resolve({**environ, known.variables[0]: " "}), name) == value


@each_named
async def test_an_option_in_code_overrides_the_environment_and_the_profile(
    name: str, known: Option, config_file: Callable[[str], dict[str, str]]
) -> None:
    text, _, _, other_value = SAMPLES[name]
    environ = config_file(f"[default]\n{known.key} = {text}\n[profile one]\n[profile two]\n")
    given: Any = Config(**{name: other_value})
    if name != "config_file":
        environ |= dict.fromkeys(known.variables, text)

    assert getattr(await given.resolve(environ), name) == other_value


async def test_without_any_there_are_defaults() -> None:
    resolved = await Config().resolve({})

    assert {name: getattr(resolved, name) for name in OPTIONS} == {
        "profile": None,
        "config_file": None,
        "credentials_file": None,
        "region": None,
        "endpoint_url": None,
        "ignore_configured_endpoint_urls": False,
        "use_fips_endpoint": False,
        "use_dualstack_endpoint": False,
        "sts_regional_endpoints": "regional",
        "signing_region": None,
        "signing_name": None,
        "allow_http": False,
        "validate_parameters": True,
        "retry_mode": "adaptive",
        "max_attempts": 3,
        "defaults_mode": "legacy",
        "connect_timeout": 3.1,
        "attempt_timeout": 10.0,
        "deadline": 30.0,
        "time_offset": None,
        "disable_clock_skew_correction": False,
        "handlers": (),
        "max_connections": 50,
        "max_response_bytes": 1 << 20,
        "keepalive_timeout": 15.0,
        "tcp_keepalive": False,
        "local_address": None,
        "dns_cache_ttl": 10.0,
        "proxy": None,
        "https_proxy": None,
        "http_proxy": None,
        "no_proxy": None,
        "ca_bundle": None,
        "verify": True,
        "client_certificate": None,
        "client_key": None,
        "app_id": None,
        "user_agent_suffix": None,
        "ec2_metadata_disabled": False,
        "ec2_metadata_endpoint": None,
        "ec2_metadata_endpoint_mode": "IPv4",
        "ec2_metadata_timeout": 1.0,
        "ec2_metadata_attempts": 1,
        "ec2_instance_profile_name": None,
        "imds_v1_fallback": False,
        "trust_token_files": False,
        "show_process_stderr": False,
    }


@pytest.mark.parametrize(("mode", "attempts"), [("legacy", 5), ("standard", 3), ("adaptive", 3)])
async def test_the_mode_of_retries_says_how_many_attempts_there_are(mode: str, attempts: int) -> None:
    assert (await Config().resolve({"AWS_RETRY_MODE": mode})).max_attempts == attempts
    assert (await Config(max_attempts=2).resolve({"AWS_RETRY_MODE": mode})).max_attempts == 2


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [("legacy", 3.1), ("standard", 3.1), ("cross-region", 3.1), ("in-region", 1.1), ("mobile", 30.0), ("auto", 3.1)],
)
async def test_the_mode_of_defaults_says_how_long_a_connection_may_take(mode: str, seconds: float) -> None:
    assert (await Config().resolve({"AWS_DEFAULTS_MODE": mode})).connect_timeout == seconds
    assert (await Config(connect_timeout=9).resolve({"AWS_DEFAULTS_MODE": mode})).connect_timeout == 9


# Endpoints

SERVICES = """
[default]
services = mine
endpoint_url = https://all.example/
[services mine]
s3 =
  endpoint_url = https://s3.example/
sts =
  endpoint_url = https://sts.example/
"""


async def test_the_endpoint_of_the_service_comes_before_that_of_all(
    config_file: Callable[[str], dict[str, str]],
) -> None:
    environ = config_file(SERVICES)

    assert (await Config().resolve(environ)).endpoint_url == "https://sts.example/"
    assert (await Config().resolve({**environ, "AWS_ENDPOINT_URL": "https://env.example/"})).endpoint_url == (
        "https://env.example/"
    )
    assert (await Config().resolve(config_file(SERVICES.replace("sts =", "iam =")))).endpoint_url == (
        "https://all.example/"
    )


async def test_a_services_section_that_is_missing_is_an_error(config_file: Callable[[str], dict[str, str]]) -> None:
    with pytest.raises(InvalidConfigFile, match=r"profile 'default', key services .*line 3"):
        await Config().resolve(config_file(SERVICES.replace("[services mine]", "[services other]")))


async def test_configured_endpoints_can_be_ignored_but_not_an_explicit_one(
    config_file: Callable[[str], dict[str, str]],
) -> None:
    environ = {**config_file(SERVICES), "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}

    assert (await Config().resolve(environ)).endpoint_url is None
    assert (await Config(endpoint_url="https://mine.example/").resolve(environ)).endpoint_url == "https://mine.example/"
    assert (await Config().resolve({"AWS_ENDPOINT_URL": "https://all.example/"})).endpoint_url == "https://all.example/"


# Profiles and files


async def test_a_profile_that_was_named_must_be_there(config_file: Callable[[str], dict[str, str]]) -> None:
    environ = config_file("[profile other]\nregion = eu-west-1\n")

    assert (await Config(profile="other").resolve(environ)).region == "eu-west-1"
    assert (await Config().resolve(environ)).region is None
    with pytest.raises(InvalidConfigFile, match="profile 'missing', given in code, is neither in the config nor"):
        await Config(profile="missing").resolve(environ)
    with pytest.raises(InvalidConfigFile, match="profile 'missing', named by AWS_PROFILE"):
        await Config().resolve({**environ, "AWS_PROFILE": "missing"})


async def test_aws_profile_comes_before_aws_default_profile(config_file: Callable[[str], dict[str, str]]) -> None:
    """As in every SDK but botocore."""
    environ = config_file("[profile a]\nregion = eu-west-1\n[profile b]\nregion = eu-west-2\n")

    assert (await Config().resolve({**environ, "AWS_PROFILE": "a", "AWS_DEFAULT_PROFILE": "b"})).region == "eu-west-1"
    assert (await Config().resolve({**environ, "AWS_DEFAULT_PROFILE": "b"})).region == "eu-west-2"


async def test_the_files_are_in_the_home_directory_unless_they_are_named(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = eu-west-1\n")
    (tmp_path / ".aws" / "credentials").write_text("[default]\nregion = eu-west-2\n")
    (tmp_path / "mine").write_text("[default]\nregion = eu-west-3\n")
    home = {"HOME": str(tmp_path)}

    assert (await Config().resolve(home)).region == "eu-west-2"  # the credentials file wins
    assert (await Config(credentials_file="~/missing").resolve(home)).region == "eu-west-1"
    assert (await Config().resolve({**home, "AWS_SHARED_CREDENTIALS_FILE": "~/mine"})).region == "eu-west-3"


async def test_without_a_home_directory_there_are_no_files_unless_they_are_named() -> None:
    assert (await Config().resolve({})).region is None
    with pytest.raises(ConfigurationError, match="HOME is not set"):
        await Config(config_file="~/mine").resolve({})


async def test_the_origin_of_a_value_is_known(config_file: Callable[[str], dict[str, str]]) -> None:
    environ = config_file(f"{SERVICES}[profile two]\nregion = eu-west-1\n")
    origins = (await SettingsSources(Config(profile="two"), {**environ, "AWS_MAX_ATTEMPTS": "2"}).look()).origins
    services = (await SettingsSources(Config(), environ).look()).origins
    ignored = (await SettingsSources(Config(ignore_configured_endpoint_urls=True), environ).look()).origins

    assert re.fullmatch(r"profile 'two', key region \(.*config, line 11\)", origins["region"])
    assert origins["max_attempts"] == "AWS_MAX_ATTEMPTS"
    assert origins["profile"] == "given in code"
    assert origins["use_fips_endpoint"] == "the default"
    assert re.fullmatch(r"services of profile 'default' \(.*config, line 9\)", services["endpoint_url"])
    assert ignored["endpoint_url"] == "ignored"


# Refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_USE_FIPS_ENDPOINT", "y"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "2"),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "enabled"),
        ("AWS_STS_REGIONAL_ENDPOINTS", "global"),
        ("AWS_RETRY_MODE", "never"),
        ("AWS_DEFAULTS_MODE", "fast"),
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_MAX_ATTEMPTS", "-1"),
        ("AWS_MAX_ATTEMPTS", "three"),
        ("AWS_MAX_ATTEMPTS", "٣"),
        ("AWS_MAX_ATTEMPTS", "9" * 5000),
        ("AWS_METADATA_SERVICE_TIMEOUT", "-1"),
        ("AWS_METADATA_SERVICE_TIMEOUT", "inf"),
        ("AWS_METADATA_SERVICE_TIMEOUT", "1e3"),
        ("AWS_METADATA_SERVICE_TIMEOUT", "9" * 400),
        ("AWS_CA_BUNDLE", "/etc/\x1b[2J"),
    ],
)
async def test_a_variable_with_a_value_that_makes_no_sense_is_an_error_that_names_it(name: str, value: str) -> None:
    """The value is not shown."""
    with pytest.raises(ConfigurationError, match=f"^{name} must be ") as caught:
        await Config().resolve({name: value})

    assert value not in str(caught.value).partition("must be")[0]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("PT/NO-OP/2.31.0/PTEnv/x", "PT-NO-OP-2.31.0-PTEnv-x"),
        ("my shop", "my-shop"),
        ("x" * 51, "x" * 50),
        ("caf\u00e9", "caf-"),
        ("a\r\nX-Evil: 1", "a--X-Evil--1"),
        ("a\udce9", "a-"),
        ("/" * 60, "-" * 50),
    ],
)
async def test_a_name_that_others_have_set_stops_no_call(
    given: str, read: str, caplog: pytest.LogCaptureFixture, config_file: Callable[[str], dict[str, str]]
) -> None:
    """B3, T51: one warning says what is sent in its place."""
    settings_sources = SettingsSources(Config(), {"AWS_SDK_UA_APP_ID": given})

    assert [(await settings_sources.resolve()).app_id for _ in range(2)] == [read, read]
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        f"AWS_SDK_UA_APP_ID is sent as {read!r}: invalid characters are replaced by '-' and the rest is truncated"
    ]
    with pytest.raises(ConfigurationError, match=r"^app_id must be at most 50"):
        Config(app_id=given)


async def test_a_name_in_a_profile_stops_no_call(
    caplog: pytest.LogCaptureFixture, config_file: Callable[[str], dict[str, str]]
) -> None:
    """B3: the warning names the variable or the key; a valid value causes no warning."""
    environ = config_file("[default]\nsdk_ua_app_id = my/shop\n")

    assert (await Config().resolve(environ)).app_id == "my-shop"
    assert "profile 'default', key sdk_ua_app_id" in caplog.text
    caplog.clear()
    assert (await Config().resolve({**environ, "AWS_SDK_UA_APP_ID": "shop"})).app_id == "shop"
    assert caplog.records == []


@pytest.mark.parametrize("text", ["a.example\n b.example", "a\tb", "\x01", "\u00e9.example"])
async def test_a_list_of_exceptions_that_others_have_set_stops_no_call(text: str) -> None:
    """B7: an entry that makes no sense holds no host."""
    assert (await Config().resolve({"NO_PROXY": text})).no_proxy == text


@pytest.mark.parametrize(
    ("name", "variable", "value"),
    [
        ("https_proxy", "HTTPS_PROXY", "socks5h://proxy.example"),
        ("ca_bundle", "AWS_CA_BUNDLE", "/etc/ca.pem"),
        ("endpoint_url", "AWS_ENDPOINT_URL", "https://h/?x"),
    ],
)
async def test_options_know_which_variable_they_come_from(name: str, variable: str, value: str) -> None:
    """B1, B7: a message that comes later names it."""
    found = await Config(region="eu-west-1").resolve({variable: value})
    again = pickle.loads(pickle.dumps(attrs.evolve(found, attempt_timeout=1)))

    assert (found.origin_of(name), found.origin_of("region")) == (variable, "region")
    assert again.origin_of(name) == variable
    assert attrs.evolve(found, **{name: None}).origin_of(name) == name
    assert (await again.resolve({})).origin_of(name) == variable
    if name == "https_proxy":
        with pytest.raises(ConfigurationError, match=r"^https_proxy must be"):
            attrs.evolve(found, https_proxy="socks5://other.example")


async def test_an_endpoint_of_the_environment_that_cannot_be_used_is_named_by_its_variable() -> None:
    """B8."""
    config = await Config().resolve({"AWS_ENDPOINT_URL": "https://999.1.1.1"})

    with pytest.raises(
        InvalidEndpoint, match=r"^AWS_ENDPOINT_URL must have a host name or an IPv4 address in dotted decimal"
    ):
        endpoint_of(config)


async def test_a_key_with_a_value_that_makes_no_sense_is_an_error_that_says_where(
    config_file: Callable[[str], dict[str, str]],
) -> None:
    with pytest.raises(ConfigurationError, match=r"profile 'default', key max_attempts \(.*line 2\) must be a whole"):
        await Config().resolve(config_file("[default]\nmax_attempts = SENTINEL\n"))


@pytest.mark.parametrize(
    "option",
    [
        {"connect_timeout": 0},
        {"attempt_timeout": -1},
        {"attempt_timeout": float("nan")},
        {"attempt_timeout": float("inf")},
        {"max_connections": 0},
        {"max_response_bytes": 0},
        {"max_attempts": 0},
        {"max_attempts": "3"},
        {"max_connections": 0.5},
        {"max_connections": True},
        {"attempt_timeout": None},
        {"attempt_timeout": "10"},
        {"region": 1},
        {"endpoint_url": b"https://h/"},
        {"allow_http": "no"},
        {"validate_parameters": None},
        {"use_fips_endpoint": "true"},
        {"sts_regional_endpoints": "global"},
        {"retry_mode": "Standard"},
        {"deadline": 0},
        {"deadline": None},
        {"time_offset": float("nan")},
        {"app_id": "a b"},
        {"imds_v1_fallback": "true"},
        {"signing_region": "evil.com#"},
        {"signing_region": ""},
        {"signing_name": "sts/x"},
        {"signing_name": "STS"},
        {"signing_name": ""},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_an_error_that_names_it(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        Config(**option)


# Secrets and documentation


def test_the_rest_of_the_environment_is_not_kept_with_the_options() -> None:
    """T16: a traceback that shows local variables shows no keys."""
    environ = {"AWS_REGION": "eu-west-1", "AWS_SECRET_ACCESS_KEY": "SENTINEL-secret", "AWS_CA_BUNDLE": ""}

    assert SettingsSources(Config(), environ).variables == {"AWS_REGION": "eu-west-1"}
    assert "SENTINEL" not in repr(SettingsSources(Config(), environ))


def test_every_option_is_documented() -> None:
    section = (inspect.getdoc(Config) or "").partition("Attributes:\n")[2].partition("Raises:")[0]

    assert re.findall(r"^ {4}(\w+):", section, re.MULTILINE) == list(OPTIONS)
    assert len(VARIABLES) == len(set(VARIABLES)) > 15


DURATIONS = [name for name, known in OPTIONS.items() if known.kind in (SECONDS, NUMBER)]


@pytest.mark.parametrize("name", DURATIONS)
def test_all_seconds_can_be_a_timedelta(name: str) -> None:
    """E8: they are kept as a number; its range is that of a number."""
    assert len(DURATIONS) == 7
    given: dict[str, Any] = {name: timedelta(milliseconds=2500)}

    assert getattr(Config(**given), name) == 2.5
    assert Config(**given) == Config(**{name: 2.5})
    assert "timedelta" in str(inspect.signature(Config).parameters[name].annotation)
    if OPTIONS[name].kind is SECONDS:
        with pytest.raises(ConfigurationError, match="must be a number of seconds greater than 0"):
            Config(**{name: timedelta(0)})  # type: ignore[arg-type]


def test_the_seconds_of_a_source_can_be_a_timedelta() -> None:
    """E8."""
    assert ProcessProvider("true", seconds=timedelta(minutes=1))._seconds == 60
    assert IMDSProvider(seconds=timedelta(milliseconds=500))._seconds == 0.5
