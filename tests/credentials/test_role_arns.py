"""Role ARNs: the sources refuse invalid ones before anything is sent, from all places."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import KEYS, ROLE, RawServer, http

from sts_async import Config, STSClient, errors
from sts_async._protocol.endpoints import Endpoint, resolve
from sts_async.config import SettingsSources
from sts_async.credentials import (
    AssumeRoleProvider,
    IMDSProvider,
    ProcessProvider,
    ProfileProvider,
    SAMLProvider,
    WebIdentityProvider,
)

HOSTILE = [
    "x" * 20,
    f"{ROLE}\n",
    f"{ROLE}\r\nX: y",
    "arn:aws:iam::123:role/x",
    "arn:aws:s3:::bucket-of-mine",
    ROLE + "\t",
]
FOREIGN = ["arn:aws:iam:::role/demo", "urn:ecs:iam::ns:role/demo", "arn:xxx:xxx:xxx:xxxx"]
IDP = "arn:aws:iam::123456789012:saml-provider/idp"
AWS = resolve(region="eu-west-1")
RGW = resolve(region="eu-west-1", endpoint_url="https://rgw.example")


async def proof() -> str:
    return "SENTINEL-proof"


def of_keys(role_arn: str, **options: Any) -> AssumeRoleProvider:
    return AssumeRoleProvider(role_arn=role_arn, source=KEYS, **options)


def of_a_token(role_arn: str, **options: Any) -> WebIdentityProvider:
    return WebIdentityProvider(role_arn=role_arn, token=proof, **options)


def of_an_assertion(role_arn: str, **options: Any) -> SAMLProvider:
    return SAMLProvider(role_arn=role_arn, principal_arn=IDP, assertion=proof, **options)


def of_an_idp(principal_arn: str, **options: Any) -> SAMLProvider:
    return SAMLProvider(role_arn=ROLE, principal_arn=principal_arn, assertion=proof, **options)


each_source = pytest.mark.parametrize("make", [of_keys, of_a_token, of_an_assertion, of_an_idp])


@each_source
@pytest.mark.parametrize("arn", [*HOSTILE, *FOREIGN], ids=ascii)
def test_an_arn_outside_the_grammar_of_iam_is_refused(make: Callable[..., Any], arn: str) -> None:
    """G11, T43: by the constructor. The message says what to write, and how to allow other ARNs."""
    with pytest.raises((errors.ConfigurationError, errors.ParamValidationError)) as caught:
        make(arn)

    if isinstance(caught.value, errors.ConfigurationError):
        assert "must be an ARN such as arn:aws:iam::123456789012:" in str(caught.value)
        assert "strict_arns=False" in str(caught.value)
    assert "\n" not in str(caught.value)


@each_source
@pytest.mark.parametrize("arn", FOREIGN)
def test_other_arns_can_be_allowed(make: Callable[..., Any], arn: str) -> None:
    """G11: the test follows the advice of the message."""
    assert make(arn, strict_arns=False)


@each_source
@pytest.mark.parametrize("arn", [f"{ROLE}\n", f"{ROLE} x", f"{ROLE}\t"], ids=ascii)
def test_blanks_and_line_breaks_are_always_refused(make: Callable[..., Any], arn: str) -> None:
    """G11: they could forge log lines, for every server."""
    with pytest.raises(errors.ConfigurationError, match="must be printable ASCII without spaces"):
        make(arn, strict_arns=False)


def test_allowed_accounts_need_an_arn_with_an_account() -> None:
    """T43: an ARN without an account is in no allowed account."""
    with pytest.raises(errors.ConfigurationError, match="where allowed_accounts is given"):
        of_keys(FOREIGN[0], strict_arns=False, allowed_accounts=["123456789012"])
    with pytest.raises(errors.ConfigurationError, match="strict_arns must be True or False"):
        of_keys(ROLE, strict_arns="no")


@pytest.mark.parametrize(
    "profile",
    [
        "[profile x]\nsource_profile = base\nrole_arn = {}\n",
        "[profile x]\nweb_identity_token_file = /nowhere\nrole_arn = {}\n",
        f"[profile x]\nsource_profile = y\nrole_arn = {ROLE}\n[profile y]\nsource_profile = base\nrole_arn = {{}}\n",
    ],
    ids=["role", "web identity", "chain"],
)
@pytest.mark.parametrize(("endpoint", "free"), [(AWS, False), (None, False), (RGW, True)], ids=["AWS", "none", "RGW"])
@pytest.mark.parametrize("arn", [FOREIGN[0], "arn:aws:iam::123:role/x"])
async def test_an_invalid_role_arn_in_a_profile_is_reported_with_its_place(
    write_file: Callable[[str, str], Path],
    lend: Callable[..., Any],
    profile: str,
    arn: str,
    endpoint: Endpoint | None,
    free: bool,
) -> None:
    """G11: file, profile and key. For an endpoint outside of AWS, the ARN is accepted."""
    text = profile.format(arn) + "[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n"
    settings_sources = SettingsSources(Config(profile="x", config_file=str(write_file("config", text))), {})
    provider = ProfileProvider("x", settings_sources=settings_sources)
    context = lend(endpoint=endpoint)

    if free:
        assert await provider._look(context)
        return
    with pytest.raises(
        errors.InvalidConfigFile, match=r"profile '[xy]', key role_arn \(.*config.*\) must be an ARN such as"
    ):
        await provider.provide_credentials(context)


async def test_the_error_names_the_variable_with_an_invalid_role_arn(lend: Callable[..., Any], tmp_path: Path) -> None:
    """G11."""
    environ = {"AWS_ROLE_ARN": FOREIGN[0], "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "missing")}

    with pytest.raises(errors.CredentialsError, match="AWS_ROLE_ARN must be an ARN such as"):
        await WebIdentityProvider.from_environment(environ).provide_credentials(lend(endpoint=AWS))
    with pytest.raises(errors.CredentialsError, match="does not exist"):
        await WebIdentityProvider.from_environment(environ).provide_credentials(lend(endpoint=RGW))


async def test_the_operation_accepts_every_arn_that_the_api_accepts(raw_server: Callable[..., Any]) -> None:
    """G11: a call is for one known server, so only the constraint of the API applies."""
    server: RawServer = await raw_server(http("<x/>", status=400))
    async with STSClient(region="eu-west-1", endpoint_url=server.url, credentials=KEYS) as sts:
        with pytest.raises(errors.STSError):
            await sts.assume_role(role_arn=FOREIGN[1], role_session_name="me")

    assert b"RoleArn=urn%3Aecs%3Aiam%3A%3Ans%3Arole%2Fdemo" in server.requests[0]


@pytest.mark.parametrize("value", [True, "1", None, 0, -1, float("inf")], ids=repr)
def test_seconds_must_be_numbers(value: Any) -> None:
    """B12."""
    for make in (lambda: IMDSProvider(seconds=value), lambda: ProcessProvider("true", seconds=value)):
        with pytest.raises(errors.ConfigurationError, match=r"^seconds must be a number of seconds greater than 0$"):
            make()


@pytest.mark.parametrize("value", [True, "1", None, 0, 1.0], ids=repr)
def test_attempts_must_be_whole_numbers(value: Any) -> None:
    """B12."""
    with pytest.raises(errors.ConfigurationError, match=r"^attempts must be a whole number of at least 1$"):
        IMDSProvider(attempts=value)


@pytest.mark.parametrize("name", ["disabled", "v1_fallback"])
def test_flags_must_be_booleans(name: str) -> None:
    """B12: the text "false" would count as true."""
    options: dict[str, Any] = {name: "false"}

    with pytest.raises(errors.ConfigurationError, match=f"^{name} must be True or False$"):
        IMDSProvider(**options)
