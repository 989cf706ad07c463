"""The environment in which an SDK uses the endpoint, and no other source of credentials."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from agent.endpoints import open_endpoint
from fleet.fleets import Service
from hypothesis import given
from hypothesis import strategies as st
from patience import in_a_thread

from sts_async._config import profile_grammar
from sts_async._config.sections import EMPTY, SharedConfig, merge
from sts_async.agent import EndpointEnviron
from sts_async.agent.environ import CREDENTIAL_KEYS, UNSET, config_without_credentials, source_in_files
from sts_async.errors import ConfigurationError
from sts_async.testing import VirtualClock

KEYS = "aws_access_key_id = AKIASENTINEL\naws_secret_access_key = SENTINEL\n"
ROLE = "role_arn = arn:aws:iam::123456789012:role/x\nsource_profile = other\n"
SOURCES = {
    "keys": KEYS,
    "role": ROLE,
    "sso": "sso_account_id = 123456789012\nsso_role_name = x\nsso_session = s\n",
    "process": "credential_process = /bin/SENTINEL\n",
    "login": "login_session = arn:aws:iam::123456789012:user/x\n",
    "web identity": "role_arn = arn:aws:iam::123456789012:role/x\nweb_identity_token_file = /SENTINEL\n",
}


def write_files(*, config: str = "", credentials: str = "") -> None:
    folder = Path(os.environ["HOME"], ".aws")
    folder.mkdir()
    (folder / "config").write_text(config)
    (folder / "credentials").write_text(credentials)


def parsed(config: str, credentials: str = "") -> SharedConfig:
    first = profile_grammar.parse(config, file="config", kind="config") if config else EMPTY
    second = profile_grammar.parse(credentials, file="credentials", kind="credentials") if credentials else EMPTY
    return merge(first, second)


async def test_a_child_has_the_variables_of_the_endpoint_and_no_others(watched: None, clock: VirtualClock) -> None:
    """Variables with other sources are gone, and all others stay."""
    others = {"PATH": "/bin", "AWS_MAX_ATTEMPTS": "7", "LANG": "C"}
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        environ = endpoint.environ("demo")
        child = environ.for_child({**others, **dict.fromkeys(UNSET, "SENTINEL")})

        assert child == {
            **others,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint.url("demo"),
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(endpoint.token_file("demo")),
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "BOTO_CONFIG": os.devnull,
        }
        assert environ.warnings == ()
        with pytest.raises(ConfigurationError, match="serves no identity 'other'"):
            endpoint.environ("other")


async def test_the_region_of_the_program_is_used(watched: None, clock: VirtualClock) -> None:
    """An identity has no region of its own."""
    async with open_endpoint(Service(clock), clock, region="eu-west-3") as (_, endpoint):
        assert endpoint.environ("demo").variables["AWS_REGION"] == "eu-west-3"


def test_an_environment_is_changed_in_place() -> None:
    """For libraries of this process."""
    environ = {"AWS_PROFILE": "x", "AWS_ACCESS_KEY_ID": "x", "https_proxy": "http://p", "HTTP_PROXY": "http://p"}
    EndpointEnviron(variables={"A": "b"}).apply(environ)

    assert environ == {
        "A": "b",
        "https_proxy": "http://p",
        "HTTP_PROXY": "http://p",
        "no_proxy": "127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }


def test_the_endpoint_is_asked_without_a_proxy() -> None:
    """object_store and others send requests to this host through a proxy, unless a variable forbids it."""
    environ = EndpointEnviron(variables={})

    assert environ.for_child({"http_proxy": "p", "no_proxy": "a"})["NO_PROXY"] == "a,127.0.0.1"
    assert environ.for_child({"http_proxy": "p", "no_proxy": "a,127.0.0.1"})["no_proxy"] == "a,127.0.0.1"
    assert "no_proxy" not in environ.for_child({})


@pytest.mark.parametrize("where", ["config", "credentials"])
@pytest.mark.parametrize("source", SOURCES)
async def test_a_source_in_the_shared_files_is_a_warning(
    watched: None, clock: VirtualClock, source: str, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SDKs use it first. The warning names the file, the line and the key, and no value."""
    write_files(**{where: f"[default]\nregion = eu-west-1\n{SOURCES[source]}"})
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        caplog.clear()
        (warning,) = endpoint.environ("demo").warnings

        assert "before the credentials endpoint" in warning
        assert f".aws/{where}, line 3)" in warning
        assert "SENTINEL" not in warning
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [warning]


@pytest.mark.parametrize(
    "config",
    ["", "[default]\nregion = eu-west-1\n", f"[profile other]\n{KEYS}", "[profile default]\nretry_mode = standard"],
)
async def test_other_settings_in_the_shared_files_are_no_warning(
    watched: None, clock: VirtualClock, config: str
) -> None:
    """The default profile alone decides, because the variables that select another are removed."""
    write_files(config=config)
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        assert endpoint.environ("demo").warnings == ()


async def test_files_that_cannot_be_read_are_a_warning(watched: None, clock: VirtualClock) -> None:
    """SDKs may fail because of them."""
    write_files(config="[default\n")
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        (warning,) = endpoint.environ("demo").warnings

        assert "SDKs could ignore the credentials endpoint: " in warning


async def test_the_advice_of_the_warning_helps(
    watched: None, clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the two variables, botocore asks nothing before the endpoint, and there is no warning any more."""
    write_files(config=f"[default]\n{ROLE}", credentials=f"[default]\n{KEYS}")
    assert sources_with_credentials(botocore.session.Session()) != []
    (tmp_path / "config").write_text("[default]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        assert endpoint.environ("demo").warnings == ()
    assert sources_with_credentials(botocore.session.Session()) == []


@pytest.mark.parametrize("source", SOURCES)
def test_the_warnings_are_those_that_botocore_gives_reason_for(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle: botocore asks none of its other sources if, and only if, there is no warning and no variable."""
    path = tmp_path / "config"
    text = f"[default]\nregion = eu-west-1\n{SOURCES[source]}[profile other]\n{KEYS}"
    text += "[sso-session s]\nsso_region = eu-west-1\nsso_start_url = https://x.awsapps.com/start\n"
    for config, expected in (
        (text, True),
        (str.__str__(config_without_credentials(parsed(text), profile="default")), False),
    ):
        path.write_text(config)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        asked = sources_with_credentials(botocore.session.Session())

        assert bool(asked) is expected
        assert (source_in_files(parsed(config)) is not None) is expected


def sources_with_credentials(session: Any) -> list[str]:
    """Return the sources of botocore before the endpoint that would be used, or that fail because of a setting."""
    found = []
    for provider in session.get_component("credential_provider").providers:
        if provider.METHOD == "container-role":
            break
        try:
            if in_a_thread(provider.load) is not None:
                found.append(provider.METHOD)
        except Exception:  # noqa: BLE001 - a setting that it does not ignore
            found.append(provider.METHOD)
    return found


NAMES = st.text("abcxyz-_.", min_size=1, max_size=6)
VALUES = st.text("abc1 :/=,;#\u00e9", max_size=12)
SETTINGS = st.dictionaries(
    st.sampled_from([*sorted(CREDENTIAL_KEYS), "region", "retry_mode", "endpoint_url", "max_attempts", "output"]),
    VALUES,
)
NESTED = st.dictionaries(st.sampled_from(["max_concurrent_requests", "addressing_style"]), VALUES, max_size=2)


@given(profiles=st.dictionaries(NAMES, st.tuples(SETTINGS, NESTED), max_size=3), default=SETTINGS)
def test_a_copy_has_all_settings_but_no_credentials(
    profiles: dict[str, tuple[dict[str, str], dict[str, str]]], default: dict[str, str]
) -> None:
    """Whatever the file has: written, and read again."""
    lines = ["[default]", *(f"{key} = {value}" for key, value in default.items())]
    for name, (values, nested) in profiles.items():
        lines += [f"[profile {name}]", *(f"{key} = {value}" for key, value in values.items())]
        lines += ["s3 =", *(f"  {key} = {value}" for key, value in nested.items())] if nested else []
    shared = parsed("\n".join(lines))
    again = parsed(str.__str__(config_without_credentials(shared, profile="default")))

    assert set(again.profiles) == set(shared.profiles)
    for name, section in shared.profiles.items():
        kept = {key: value for key, value in section.values.items() if key not in CREDENTIAL_KEYS}
        assert again.profiles[name].values == kept
    assert source_in_files(again) is None


def test_the_selected_profile_becomes_the_default_profile() -> None:
    """The variable that selects it is removed, but its region and its retries stay."""
    text = f"[default]\nregion = eu-west-1\n[profile dev]\nregion = us-west-2\n{ROLE}services = s\n"
    text += "[services s]\nsts =\n  x = y"
    again = parsed(str.__str__(config_without_credentials(parsed(text), profile="dev")))

    assert {key: value.text for key, value in again.profiles["default"].values.items()} == {
        "region": "us-west-2",
        "services": "s",
    }
    assert again.services["s"].values["sts"].nested["x"].text == "y"


def test_the_oracle_is_installed() -> None:
    """The tests above compare with it."""
    assert shutil.which("sh")
    assert botocore.session.Session().get_component("credential_provider").providers
