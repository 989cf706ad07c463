"""C8: what files and variables say in quotes, or before a comment without a blank. Each advice is followed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import Answering, engine_of

from sts_async import Config
from sts_async._engine.build import endpoint_of
from sts_async.config import SettingsSources
from sts_async.credentials import EnvironmentProvider, ProfileProvider
from sts_async.errors import ConfigurationError, CredentialsError, InvalidConfigFile, InvalidRegion

SECRET = "SENTINEL-of-the-profile"
IN_PROFILE = f"aws_access_key_id = AKIAPROFILE\naws_secret_access_key = {SECRET}\n"
WITHOUT = "quotes are part of a value: write it without them"
Write = Callable[[str], dict[str, str]]


@pytest.fixture
def profile(tmp_path: Path) -> Write:
    """Return a function that writes the config file, and returns the environment with it."""

    def write(text: str) -> dict[str, str]:
        (tmp_path / ".aws").mkdir(exist_ok=True)
        (tmp_path / ".aws/config").write_text(f"[default]\n{text}")
        return {"HOME": str(tmp_path)}

    return write


async def destination(environ: dict[str, str]) -> Any:
    config = await SettingsSources(Config(), environ).resolve()
    config.need("max_attempts", "ca_bundle")
    endpoint = endpoint_of(config)
    if endpoint.no_region is not None:
        raise endpoint.no_region
    return config


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize(
    ("key", "variable", "value", "error"),
    [
        ("region", "AWS_REGION", "eu-west-1", InvalidRegion),
        ("endpoint_url", "AWS_ENDPOINT_URL", "https://sts.example/", ConfigurationError),
        ("max_attempts", "AWS_MAX_ATTEMPTS", "3", ConfigurationError),
        ("ca_bundle", "AWS_CA_BUNDLE", "/ca.pem", ConfigurationError),
        ("use_fips_endpoint", "AWS_USE_FIPS_ENDPOINT", "true", ConfigurationError),
    ],
)
async def test_an_option_in_quotes_is_an_error_with_a_correction(
    profile: Write, key: str, variable: str, value: str, error: type[ConfigurationError], quote: str
) -> None:
    region = {} if key == "region" else {"AWS_REGION": "eu-west-1"}
    quoted = f"{quote}{value}{quote}"
    for text, more in ((f"{key} = {quoted} # as in a shell\n", {}), ("", {variable: quoted})):
        with pytest.raises(error, match=rf"^({variable}|profile 'default', key {key} .*) .*; {WITHOUT}$"):
            await destination({**profile(text), **region, **more})

    for text, more in ((f"{key} = {value}\n", {}), ("", {variable: value})):
        config = await SettingsSources(Config(), {**profile(text), **region, **more}).resolve()
        assert str(getattr(config, key)).lower() == value
        config.need(key)


async def test_a_comment_without_a_space_is_an_error_with_a_correction(profile: Write) -> None:
    with pytest.raises(InvalidRegion, match=r"; a comment in line 2 needs a space before '#'; else it is part of the"):
        await destination(profile("region=eu-west-1#x\n"))

    assert (await destination(profile("region=eu-west-1 #x\n"))).region == "eu-west-1"


async def plan(environ: dict[str, str]) -> str:
    provider = ProfileProvider(settings_sources=SettingsSources(Config(), environ))
    return (await provider.provide_credentials(engine_of(Answering()).context)).access_key_id


@pytest.mark.parametrize("key", ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"])
async def test_keys_in_quotes_are_refused(profile: Write, key: str) -> None:
    """No key begins with a quote: STS would refuse it, and say nothing of quotes."""
    lines = {"aws_access_key_id": "AKIAPROFILE", "aws_secret_access_key": SECRET, "aws_session_token": SECRET}

    def text() -> str:
        return "".join(f"{name} = {value}\n" for name, value in lines.items())

    lines[key] = f'"{lines[key]}"'
    with pytest.raises(InvalidConfigFile, match=rf"key {key} .* must not be in quotes; {WITHOUT}$") as caught:
        await plan(profile(text()))
    assert SECRET not in str(caught.value)

    lines[key] = lines[key][1:-1]
    assert await plan(profile(text())) == "AKIAPROFILE"


async def test_keys_in_quotes_in_the_environment_are_refused() -> None:
    """As some programs that read a file of variables leave them."""
    keys = {"AWS_ACCESS_KEY_ID": "AKIAMINE", "AWS_SECRET_ACCESS_KEY": f'"{SECRET}"'}
    context = engine_of(Answering()).context
    with pytest.raises(CredentialsError, match=f"^AWS_SECRET_ACCESS_KEY must not be in quotes; {WITHOUT}$"):
        await EnvironmentProvider(keys).provide_credentials(context)

    keys["AWS_SECRET_ACCESS_KEY"] = SECRET
    assert (await EnvironmentProvider(keys).provide_credentials(context)).access_key_id == "AKIAMINE"


async def test_a_source_profile_in_quotes_is_an_error_that_mentions_the_quotes(profile: Write) -> None:
    text = 'role_arn = arn:aws:iam::123456789012:role/demo\nsource_profile = "q1"\n[profile q1]\n' + IN_PROFILE

    with pytest.raises(InvalidConfigFile, match=rf"that does not exist; {WITHOUT}; correct .* did you mean 'q1'\?$"):
        await plan(profile(text))


async def test_the_quotes_of_a_command_are_its_own(profile: Write) -> None:
    with pytest.raises(CredentialsError) as caught:
        await plan(profile('credential_process = "/gone#1"\n'))

    assert "quotes" not in str(caught.value)
    assert "needs a space" not in str(caught.value)


# -- names of profiles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wrok", '"work"'])
async def test_the_error_of_a_misspelt_profile_lists_the_existing_ones(profile: Write, name: str) -> None:
    """C7: the cure comes first, and what else could be done is an aside. Following it helps."""
    environ = profile("[profile work]\nregion = eu-west-1\n")
    with pytest.raises(InvalidConfigFile) as caught:
        await destination({**environ, "AWS_PROFILE": name})
    message = str(caught.value)
    cure = "; correct the name: the profiles there are 'default', 'work'; did you mean 'work'?"

    assert cure in message
    assert message.index(cure) < message.index("(endpoint_url could be set there")
    assert (await destination({**environ, "AWS_PROFILE": "work"})).region == "eu-west-1"


async def test_a_long_list_of_profiles_is_truncated_and_an_empty_one_is_mentioned(
    profile: Write, tmp_path: Path
) -> None:
    environ = profile("".join(f"[profile p{number:02}]\n" for number in range(30)))
    with pytest.raises(InvalidConfigFile, match="'p08' and 21 more; correct that first"):
        await destination({**environ, "AWS_PROFILE": "xxx"})

    with pytest.raises(InvalidConfigFile, match="; there is no profile in them; correct"):
        await destination({"HOME": str(tmp_path / "none"), "AWS_PROFILE": "xxx"})


@pytest.mark.parametrize(("file", "wrong", "right"), [
    ("config", "work2", "profile work2"), ("credentials", "profile work2", "work2")
])  # fmt: skip
async def test_a_section_with_the_other_files_spelling_is_an_error_with_a_correction(
    profile: Write, tmp_path: Path, file: str, wrong: str, right: str
) -> None:
    """C7."""
    environ = {**profile(""), "AWS_PROFILE": "work2"}
    path = tmp_path / ".aws" / file
    path.write_text(f"[{wrong}]\nregion = eu-west-1\n")
    with pytest.raises(InvalidConfigFile) as caught:
        await destination(environ)
    assert f"line 1 of {path} is ignored: write [{right}] there; correct that first" in str(caught.value)

    path.write_text(f"[{right}]\nregion = eu-west-1\n")
    assert (await destination(environ)).region == "eu-west-1"


async def test_the_text_of_an_error_is_not_logged_as_a_warning_too(
    profile: Write, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {**profile("region = eu-west-1\n"), "AWS_PROFILE": "gone"}
    with pytest.raises(InvalidConfigFile):
        await destination(environ)

    assert [record.getMessage() for record in caplog.records if "defaults apply" in record.getMessage()] == []
