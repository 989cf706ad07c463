"""The settings of a profile reach its source: paths, durations, flags; and errors mention the text of the profile."""

import json
import os
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from botocore.configloader import load_config
from botocore.credentials import AssumeRoleProvider, AssumeRoleWithWebIdentityProvider
from processes import shell
from support import ROLE, SEEN_SECRETS, Answering, Clocks, form_of

from sts_async import Config
from sts_async._config.certificates import trust_of
from sts_async._engine.loop import Engine
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._runtime.files import write_private
from sts_async._shape.secret import SecretBytes
from sts_async.config import SettingsSources
from sts_async.credentials import (
    ContainerProvider,
    DefaultChain,
    LoginProvider,
    ProfileProvider,
    SSOProvider,
    WebIdentityProvider,
)
from sts_async.credentials._tokens import login_file_name
from sts_async.errors import ConfigurationError, CredentialsError, InvalidConfigFile, LoginRequired
from sts_async.testing import LocalSSO

Lend = Callable[..., Engine]
Profile = Callable[..., ProfileProvider]

JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.SENTINEL-signature"
WEB_IDENTITY = f"[default]\nrole_arn = {ROLE}\n"
TRUSTED = {"STS_ASYNC_TRUST_TOKEN_FILES": "true"}
SHOWN = {"STS_ASYNC_SHOW_PROCESS_STDERR": "true"}


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """Return a function that creates the provider for the default profile of a config file, in a home directory."""

    async def code(_: str) -> str:
        return "123456"

    def make(text: str, *, config: Config | None = None, **environ: str) -> ProfileProvider:
        path = tmp_path / ".aws" / "config"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        here = SettingsSources(config or Config(), {"HOME": str(tmp_path), **environ})
        return ProfileProvider(mfa_code=code, settings_sources=here)

    return make


async def refusal_of(provider: Any, context: Engine) -> str:
    with pytest.raises(CredentialsError) as caught:
        await provider.provide_credentials(context)
    return str(caught.value)


# -- roles ----------------------------------------------------------------------------------------------------------


async def test_the_duration_of_a_web_identity_profile_is_sent(lend: Lend, profile: Profile, tmp_path: Path) -> None:
    """C6: botocore ignores it, and the session expires after an hour."""
    answering = Answering()
    (tmp_path / "token").write_text(JWT)
    text = f"{WEB_IDENTITY}web_identity_token_file = {tmp_path}/token\nduration_seconds = 7200\n"
    await profile(text).provide_credentials(lend(transport=answering))

    assert form_of(answering.sent[0])["DurationSeconds"] == "7200"


class TheirSTS:
    """A botocore client that records its parameters."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def _answer(self, **parameters: Any) -> dict[str, Any]:
        self.asked = parameters
        keys = {"AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "x", "SessionToken": "x"}
        return {"Credentials": {**keys, "Expiration": datetime(2099, 1, 1, tzinfo=UTC)}}

    assume_role = assume_role_with_web_identity = _answer


def asked_by_botocore(path: Path) -> dict[str, str]:
    """Return the parameters that botocore sends to STS for the role of a config file's default profile."""
    sts = TheirSTS()
    options: dict[str, Any] = {
        "load_config": lambda: load_config(str(path)),
        "client_creator": lambda *_, **__: sts,
        "profile_name": "default",
    }
    role = AssumeRoleProvider(cache={}, prompter=lambda _: "123456", **options)
    found = role.load() or AssumeRoleWithWebIdentityProvider(**options).load()
    found.get_frozen_credentials()
    return {name: str(value) for name, value in sts.asked.items()}


MORE = {
    "role_session_name": "me",
    "external_id": "e-1",
    "duration_seconds": "7200",
    "mfa_serial": "arn:aws:iam::123456789012:mfa/me",
}
DROPPED_BY_BOTOCORE = {("web identity", "duration_seconds")}
"""What is sent here and not by botocore: C6."""


@pytest.mark.parametrize("key", MORE)
@pytest.mark.parametrize("kind", ["role", "web identity"])
async def test_a_role_is_requested_as_by_botocore(
    kind: str, key: str, lend: Lend, profile: Profile, tmp_path: Path
) -> None:
    """C6: each key about a role, for both kinds of roles."""
    (tmp_path / "token").write_text(JWT)
    source = {"role": "source_profile = base", "web identity": f"web_identity_token_file = {tmp_path}/token"}[kind]
    keys = "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = SENTINEL-base\n"
    provider = profile(f"{WEB_IDENTITY}{source}\n{key} = {MORE[key]}\n{keys}")
    answering = Answering()
    await provider.provide_credentials(lend(transport=answering))
    ours = form_of(answering.sent[0])
    theirs = asked_by_botocore(tmp_path / ".aws" / "config")

    assert (set(ours) - {"Action", "Version"}) - set(theirs) == (
        {"DurationSeconds"} if (kind, key) in DROPPED_BY_BOTOCORE else set()
    )
    assert {name: ours.get(name) for name in theirs if name != "RoleSessionName" or key == "role_session_name"} == {
        name: value for name, value in theirs.items() if name != "RoleSessionName" or key == "role_session_name"
    }


async def test_keys_without_effect_are_logged_once(
    lend: Lend, profile: Profile, tmp_path: Path, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    """C6: not at each check of the files."""
    (tmp_path / "token").write_text(JWT)
    text = f"{WEB_IDENTITY}web_identity_token_file = {tmp_path}/token\nmfa_serial = arn:aws:iam::123456789012:mfa/me\n"
    provider, context = profile(text), lend(transport=Answering())
    for _ in range(3):
        await provider.provide_credentials(context)
        clocks.advance(11)

    assert [record.getMessage() for record in caplog.records if "no effect" in record.getMessage()] == [
        f"profile 'default', key mfa_serial ({tmp_path}/.aws/config, line 4) has no effect, because the credentials of "
        "this profile come from web_identity_token_file"
    ]


# -- paths ----------------------------------------------------------------------------------------------------------


async def test_a_token_file_of_a_profile_is_found_in_the_home_directory(
    lend: Lend, profile: Profile, tmp_path: Path
) -> None:
    """C15."""
    answering = Answering()
    (tmp_path / "token").write_text(JWT)
    await profile(f"{WEB_IDENTITY}web_identity_token_file = ~/token\n").provide_credentials(lend(transport=answering))

    assert form_of(answering.sent[0])["WebIdentityToken"] == JWT


async def test_a_token_file_of_the_environment_is_found_in_the_home_directory(lend: Lend, tmp_path: Path) -> None:
    """C15: the home directory is that of the environment that names the file."""
    answering = Answering()
    (tmp_path / "token").write_text(JWT)
    environ = {"AWS_WEB_IDENTITY_TOKEN_FILE": "~/token", "AWS_ROLE_ARN": ROLE, "HOME": str(tmp_path)}
    await WebIdentityProvider.from_environment(environ).provide_credentials(lend(transport=answering))

    assert form_of(answering.sent[0])["WebIdentityToken"] == JWT


@pytest.mark.parametrize("make", [str, Path])
async def test_a_token_file_in_code_is_found_in_the_home_directory(
    make: Callable[[str], Any], lend: Lend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C15."""
    answering = Answering()
    (tmp_path / "token").write_text(JWT)
    monkeypatch.setenv("HOME", str(tmp_path))
    await WebIdentityProvider(role_arn=ROLE, token_file=make("~/token")).provide_credentials(lend(transport=answering))

    assert form_of(answering.sent[0])["WebIdentityToken"] == JWT


async def test_the_token_file_of_a_container_is_found_in_the_home_directory(lend: Lend, tmp_path: Path) -> None:
    """C15."""
    environ = {
        "HOME": str(tmp_path),
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "~/token",
    }
    (tmp_path / "token").write_text("SENTINEL-token\n")
    sent: list[HttpRequest] = []

    class Agent:
        async def send(self, request: HttpRequest) -> HttpResponse:
            sent.append(request)
            return HttpResponse(403, {}, SecretBytes())

    with pytest.raises(CredentialsError, match="HTTP 403"):
        await ContainerProvider(environ=environ).provide_credentials(lend(transport=Agent()))

    assert sent[0].headers["authorization"] == "SENTINEL-token"


@pytest.mark.parametrize(
    "make",
    [
        lambda environ: SSOProvider(
            account_id="123456789012",
            role_name="x",
            region="eu-west-1",
            session_name="corp",
            cache_directory=Path("~/cache"),
            environ=environ,
        ),
        lambda environ: LoginProvider(login_session="me", cache_directory=Path("~/cache"), environ=environ),
        lambda environ: LoginProvider(login_session="me", environ={**environ, "AWS_LOGIN_CACHE_DIRECTORY": "~/cache"}),
    ],
)
async def test_a_directory_of_token_files_is_found_in_the_home_directory(
    make: Callable[[dict[str, str]], Any], lend: Lend, tmp_path: Path
) -> None:
    """C15."""
    with pytest.raises(LoginRequired, match=f"there is no token file '{tmp_path}/cache/"):
        await make({"HOME": str(tmp_path)}).fetch(lend())


def test_certificates_are_found_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C15: certificates of authorities and of the client."""
    monkeypatch.setenv("HOME", str(tmp_path))
    authority = trustme.CA()
    shown = authority.issue_cert("client.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    shown.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    shown.private_key_pem.write_to_path(tmp_path / "key.pem")
    config = Config(ca_bundle="~/ca.pem", client_certificate="~/client.pem", client_key="~/key.pem")

    assert trust_of(config).get_ca_certs()


def test_without_a_home_directory_such_a_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """C15: otherwise it would be a directory named ``~``."""
    monkeypatch.delenv("HOME")
    with pytest.raises(ConfigurationError, match=r"'~/token' is in the home directory, which is not known: HOME is"):
        WebIdentityProvider(role_arn=ROLE, token_file="~/token")


# -- values that were cut or joined ----------------------------------------------------------------------------------


CUT = "the text after ' ;' in line 2 is a comment: without the space, it is part of the value"


@pytest.mark.skipif(sys.platform == "win32", reason="there a command is not split")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sh -c 'SENTINEL ; b'", "the command is empty, or has an unclosed quotation mark"),
        ("false ; SENTINEL", "ended with exit code 1"),
        ("/nonexistent/SENTINEL ; b", "the program cannot be run (ENOENT)"),
        ("true ; SENTINEL", "the output is not a JSON object"),
    ],
)
async def test_an_error_of_a_process_says_that_a_comment_has_cut_its_command(
    lend: Lend, profile: Profile, command: str, said: str
) -> None:
    """C8: an error about the quotation alone would mislead."""
    with pytest.raises((ConfigurationError, CredentialsError)) as caught:
        await profile(f"[default]\ncredential_process = {command}\n").provide_credentials(lend())

    assert str(caught.value) == f"credential_process of profile 'default': {said}; {CUT}"


async def test_without_the_blank_there_is_no_comment_in_a_command(lend: Lend, profile: Profile) -> None:
    """C8: the test follows the advice of the error: ``sh -c 'a; b'``."""
    document = '{"Version": 1, "AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "SENTINEL-secret"}'
    text = f"[default]\ncredential_process = {shell(f'true; echo {shlex.quote(document)}')}\n"

    assert (await profile(text).provide_credentials(lend())).access_key_id == "AKIAEXAMPLE"


async def test_an_error_of_a_token_file_says_that_a_comment_has_cut_its_path(
    lend: Lend, profile: Profile, tmp_path: Path
) -> None:
    """C8."""
    text = f"[default]\nweb_identity_token_file = {tmp_path}/a ;b\nrole_arn = {ROLE}\n"

    assert await refusal_of(profile(text), lend()) == f"no web identity token: '{tmp_path}/a' does not exist; {CUT}"
    SEEN_SECRETS.discard(f"{tmp_path}/a")  # hidden in the file, but such errors name the path


async def test_the_error_of_an_option_mentions_its_continuation_line(profile: Profile, tmp_path: Path) -> None:
    """C8: "must be text" alone does not help a reader who sees text in the first line."""
    profile("[default]\nca_bundle = /ca.pem\n  output = json\n")
    with pytest.raises(ConfigurationError) as caught:
        await Config().resolve({"HOME": str(tmp_path)})

    assert str(caught.value) == (
        f"profile 'default', key ca_bundle ({tmp_path}/.aws/config, line 2) must be text; the value has a line break, "
        "because indented lines up to line 3 continue it: write a separate setting without indentation"
    )

    profile("[default]\nregion = eu-west-1\noutput = json\n")
    assert (await Config().resolve({"HOME": str(tmp_path)})).region == "eu-west-1"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("max_attempts = 3x ; SENTINEL", "must be a whole number of at least 1"),
        ("region = eu_west ; SENTINEL", "is not a region: "),
        ("use_fips_endpoint = never ; SENTINEL", "must be true or false"),
    ],
)
async def test_the_error_of_an_option_mentions_the_comment_that_cut_it(
    profile: Profile, tmp_path: Path, line: str, rule: str
) -> None:
    """C8: this holds for each option."""
    profile(f"[default]\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        await Config().resolve({"HOME": str(tmp_path)})

    assert rule in str(caught.value)
    assert str(caught.value).endswith(f"; {CUT}")


async def test_the_error_of_a_service_endpoint_mentions_the_comment_that_cut_it(
    profile: Profile, tmp_path: Path
) -> None:
    """C8: sub-properties keep their comments, so the error names the line of the section name."""
    profile("[default]\nservices = mine ;too\n")
    with pytest.raises(InvalidConfigFile) as caught:
        await Config().resolve({"HOME": str(tmp_path)})

    assert str(caught.value).endswith(f"names a services section that does not exist; {CUT}")


async def test_the_error_of_a_missing_profile_names_the_ignored_line(profile: Profile, tmp_path: Path) -> None:
    """C7: this also holds when the region is searched."""
    profile("[mine]\nregion = eu-west-1\n")
    with pytest.raises(InvalidConfigFile) as caught:
        await Config(profile="mine").resolve({"HOME": str(tmp_path)})

    assert str(caught.value).startswith(
        f"profile 'mine', given in code, is neither in the config nor in the credentials file; line 1 of "
        f"{tmp_path}/.aws/config is ignored: write [profile mine] there"
    )


# -- what a process said ---------------------------------------------------------------------------------------------


FAILING = f"[default]\ncredential_process = {shell('echo no ticket >&2; exit 3')}\n"
WITH_STDERR = "credential_process of profile 'default': ended with exit code 3; it wrote to standard error: no ticket"


@pytest.mark.parametrize(
    ("config", "environ"),
    [(Config(), SHOWN), (Config(show_process_stderr=True), {"STS_ASYNC_SHOW_PROCESS_STDERR": "false"})],
    ids=["variable", "code"],
)
async def test_the_process_of_a_profile_can_be_diagnosed(
    lend: Lend, profile: Profile, config: Config, environ: dict[str, str]
) -> None:
    """C11: the test follows both ways that the error names."""
    silent = await refusal_of(profile(FAILING), lend())

    assert "no ticket" not in silent
    assert "set STS_ASYNC_SHOW_PROCESS_STDERR=true or show_process_stderr=True" in silent
    assert await refusal_of(profile(FAILING, config=config, **environ), lend()) == WITH_STDERR


# -- token files of others -------------------------------------------------------------------------------------------


SSO = (
    "[default]\nsso_account_id = 123456789012\nsso_role_name = ReadOnly\nsso_session = corp\n"
    "[sso-session corp]\nsso_start_url = https://demo.awsapps.com/start\nsso_region = us-east-1\n"
)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there modes and owners say nothing")
@pytest.mark.parametrize(
    ("config", "environ"),
    [(Config(), TRUSTED), (Config(trust_token_files=True), {"STS_ASYNC_TRUST_TOKEN_FILES": "0"})],
    ids=["variable", "code"],
)
async def test_a_token_file_of_a_profile_that_others_may_write_can_be_trusted(
    lend: Lend, profile: Profile, tmp_path: Path, config: Config, environ: dict[str, str]
) -> None:
    """C10: the test follows both ways that the error names. A mount under WSL always has mode 0777."""
    async with LocalSSO() as server:
        path = server.login(tmp_path / ".aws/sso/cache", session="corp")
        path.chmod(0o777)
        refusal = await refusal_of(profile(SSO, **server.environ), lend())

        assert refusal.endswith(
            "has mode 0777: others may write to it; if you trust it, set STS_ASYNC_TRUST_TOKEN_FILES=true or "
            "trust_token_files=True"
        )
        assert await profile(SSO, config=config, **{**server.environ, **environ}).provide_credentials(lend())


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there modes and owners say nothing")
async def test_a_login_that_others_may_write_can_be_trusted(lend: Lend, profile: Profile, tmp_path: Path) -> None:
    """C10: by the variable and in code, as for SSO."""
    keys = {"accessKeyId": "ASIAEXAMPLE", "secretAccessKey": "SENTINEL-secret", "sessionToken": "SENTINEL-token"}
    document = {"accessToken": {**keys, "accountId": "123456789012", "expiresAt": "2026-01-01T08:00:00Z"}}
    path = tmp_path / ".aws" / "login" / "cache" / login_file_name("me")
    write_private(path, json.dumps({**document, "clientId": "x", "refreshToken": "x", "dpopKey": "x"}).encode())
    path.chmod(0o777)
    text = "[default]\nlogin_session = me\nregion = eu-west-1\n"
    refusal = await refusal_of(profile(text), lend())
    for trusting in (profile(text, **TRUSTED), profile(text, config=Config(trust_token_files=True))):
        assert (await trusting.provide_credentials(lend())).access_key_id == "ASIAEXAMPLE"

    assert "set STS_ASYNC_TRUST_TOKEN_FILES=true or trust_token_files=True" in refusal


@pytest.mark.parametrize("make", [SSOProvider, LoginProvider])
def test_the_trust_option_must_be_true_or_false(make: Callable[..., Any]) -> None:
    """C10: in code and in the variable."""
    options = {"account_id": "123456789012", "role_name": "x", "region": "eu-west-1", "session_name": "corp"}
    options = options if make is SSOProvider else {"login_session": "me"}
    with pytest.raises(ConfigurationError, match="trust_token_files must be"):
        make(**options, trust_token_files="yes")
    with pytest.raises(ConfigurationError, match="STS_ASYNC_TRUST_TOKEN_FILES must be true or false"):
        make(**options, environ={"STS_ASYNC_TRUST_TOKEN_FILES": "me"})


async def test_the_findings_of_the_chain_show_stderr_of_a_process(lend: Lend, profile: Profile, tmp_path: Path) -> None:
    """C11: ``sts-async doctor`` prints it, and only the variable has to be set."""
    profile(FAILING)
    environ = {"HOME": str(tmp_path), "AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true"}
    found = [
        str(await DefaultChain(settings_sources=SettingsSources(Config(), {**environ, **more})).findings(lend()))
        for more in ({}, SHOWN)
    ]

    assert ["it wrote to standard error: no ticket" in text for text in found] == [False, True]
    assert "STS_ASYNC_SHOW_PROCESS_STDERR=true" in found[0]
