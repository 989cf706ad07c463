"""Options: explicit, then the environment, then a default; and the values that are refused."""

from typing import Any

import pytest

from sts_async import Config
from sts_async.errors import ConfigurationError


def test_the_environment_fills_what_was_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-2",
        "AWS_ENDPOINT_URL_STS": "https://sts.example/",
        "AWS_ENDPOINT_URL": "https://all.example/",
        "AWS_USE_FIPS_ENDPOINT": "TRUE",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_STS_REGIONAL_ENDPOINTS": "Legacy",
        "AWS_MAX_ATTEMPTS": "7",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    found = Config().resolve()

    assert found == Config(
        region="eu-west-1",
        endpoint_url="https://sts.example/",
        ignore_configured_endpoint_urls=False,
        use_fips_endpoint=True,
        use_dualstack_endpoint=True,
        sts_regional_endpoints="legacy",
        max_attempts=7,
    )


def test_what_is_given_wins() -> None:
    given = Config(
        region="us-east-1",
        endpoint_url="https://mine.example/",
        ignore_configured_endpoint_urls=False,
        use_fips_endpoint=False,
        use_dualstack_endpoint=False,
        sts_regional_endpoints="regional",
        max_attempts=1,
    )
    environ = {
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "https://all.example/",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_STS_REGIONAL_ENDPOINTS": "legacy",
        "AWS_MAX_ATTEMPTS": "7",
    }

    assert given.resolve(environ) == given


def test_without_either_there_are_defaults() -> None:
    assert Config().resolve({}) == Config(
        ignore_configured_endpoint_urls=False,
        use_fips_endpoint=False,
        use_dualstack_endpoint=False,
        sts_regional_endpoints="regional",
        max_attempts=3,
    )


@pytest.mark.parametrize(
    ("environ", "region"),
    [
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": " ", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": " eu-west-1\n"}, "eu-west-1"),
        ({}, None),
    ],
)
def test_the_region_comes_from_the_first_variable_that_is_not_blank(
    environ: dict[str, str], region: str | None
) -> None:
    assert Config().resolve(environ).region == region


def test_endpoint_variables_can_be_ignored_but_not_an_explicit_endpoint() -> None:
    environ = {"AWS_ENDPOINT_URL": "https://all.example/", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}

    assert Config().resolve(environ).endpoint_url is None
    assert Config(endpoint_url="https://mine.example/").resolve(environ).endpoint_url == "https://mine.example/"
    assert Config().resolve({"AWS_ENDPOINT_URL": "https://all.example/"}).endpoint_url == "https://all.example/"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_USE_FIPS_ENDPOINT", "yes"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "1"),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "on"),
        ("AWS_STS_REGIONAL_ENDPOINTS", "global"),
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_MAX_ATTEMPTS", "-1"),
        ("AWS_MAX_ATTEMPTS", "three"),
        ("AWS_MAX_ATTEMPTS", "٣"),
        ("AWS_MAX_ATTEMPTS", "9" * 5000),
    ],
)
def test_a_variable_with_a_value_that_makes_no_sense_is_an_error_that_names_it(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Config().resolve({name: value})


@pytest.mark.parametrize(
    "option",
    [
        {"connect_timeout": 0},
        {"read_timeout": -1},
        {"read_timeout": float("nan")},
        {"max_connections": 0},
        {"max_response_bytes": 0},
        {"max_attempts": 0},
        {"max_attempts": "3"},
        {"max_connections": 0.5},
        {"max_connections": True},
        {"read_timeout": None},
        {"read_timeout": "10"},
        {"region": 1},
        {"endpoint_url": b"https://h/"},
        {"allow_http": "no"},
        {"validate_parameters": None},
        {"use_fips_endpoint": "true"},
        {"sts_regional_endpoints": "global"},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_an_error_that_names_it(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        Config(**option)
