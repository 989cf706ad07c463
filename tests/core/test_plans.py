"""What a profile asks for, as a table: text of the two files in, a plan or an error out."""

from typing import Any

import pytest

from sts_async._core import plans
from sts_async._core.plans import (
    KeysPlan,
    LoginPlan,
    NamedPlan,
    Plan,
    ProcessPlan,
    RolePlan,
    SSOPlan,
    WebIdentityPlan,
    plan,
)
from sts_async._core.profile import SharedConfig, merge, parse
from sts_async._core.secret import Secret
from sts_async.errors import CredentialsNotFound, InvalidConfigFile
from sts_async.shapes import Credentials

ROLE = "arn:aws:iam::123456789012:role/demo"
KEYS = "aws_access_key_id = AKIAKEYS\naws_secret_access_key = SENTINEL-keys\n"
KEYS_PLAN = KeysPlan(credentials=Credentials(access_key_id="AKIAKEYS", secret_access_key="SENTINEL-keys"))
SESSION = "[sso-session corp]\nsso_start_url = https://corp.example/start\nsso_region = eu-west-1\n"
SSO = "[profile x]\nsso_account_id = 123456789012\nsso_role_name = ReadOnly\n"


def shared(config: str, credentials: str = "") -> SharedConfig:
    return merge(
        parse(config, file="config", kind="config"), parse(credentials, file="credentials", kind="credentials")
    )


CASES: dict[str, tuple[str, str, Plan]] = {
    "keys in the config file": (f"[profile x]\n{KEYS}", "", KEYS_PLAN),
    "keys in the credentials file": ("", f"[x]\n{KEYS}", KEYS_PLAN),
    "keys of both files are one profile": (
        "[profile x]\naws_secret_access_key = SENTINEL-keys\n",
        "[x]\naws_access_key_id = AKIAKEYS\n",
        KEYS_PLAN,
    ),
    "keys of a session": (
        "",
        f"[x]\n{KEYS}aws_session_token = SENTINEL-token\n",
        KeysPlan(
            credentials=Credentials(
                access_key_id="AKIAKEYS", secret_access_key="SENTINEL-keys", session_token="SENTINEL-token"
            )
        ),
    ),
    "the older name of the token": (
        "",
        f"[x]\n{KEYS}aws_security_token = SENTINEL-token\n",
        KeysPlan(
            credentials=Credentials(
                access_key_id="AKIAKEYS", secret_access_key="SENTINEL-keys", session_token="SENTINEL-token"
            )
        ),
    ),
    "a role with the keys of another profile": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = base\n",
        f"[base]\n{KEYS}",
        RolePlan(source=KEYS_PLAN, role_arn=ROLE),
    ),
    "a role with everything": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = base\nexternal_id = e-1\nduration_seconds = 900\n"
        f"role_session_name = me\nmfa_serial = arn:aws:iam::123456789012:mfa/me\n[profile base]\n{KEYS}",
        "",
        RolePlan(
            source=KEYS_PLAN,
            role_arn=ROLE,
            role_session_name="me",
            external_id="e-1",
            duration_seconds=900,
            mfa_serial="arn:aws:iam::123456789012:mfa/me",
        ),
    ),
    "a role comes before the keys beside it": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = base\n{KEYS}[profile base]\ncredential_process = base\n",
        "",
        RolePlan(source=ProcessPlan(command=Secret("base")), role_arn=ROLE),
    ),
    "a role that names its own profile takes the keys beside it": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = x\n{KEYS}",
        "",
        RolePlan(source=KEYS_PLAN, role_arn=ROLE),
    ),
    "a chain of roles": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = y\n[profile y]\nrole_arn = {ROLE}2\nsource_profile = z\n"
        f"[profile z]\n{KEYS}",
        "",
        RolePlan(source=RolePlan(source=KEYS_PLAN, role_arn=f"{ROLE}2"), role_arn=ROLE),
    ),
    "the keys of a source come before its role": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = y\n"
        f"[profile y]\nrole_arn = {ROLE}2\nsource_profile = z\n{KEYS}",
        "",
        RolePlan(source=KEYS_PLAN, role_arn=ROLE),
    ),
    "two roles with one source are no circle": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = base\n"
        f"[profile y]\nrole_arn = {ROLE}\nsource_profile = base\n"
        f"[profile base]\n{KEYS}",
        "",
        RolePlan(source=KEYS_PLAN, role_arn=ROLE),
    ),
    "a role with a named source": (
        f"[profile x]\nrole_arn = {ROLE}\ncredential_source = Ec2InstanceMetadata\n",
        "",
        RolePlan(source=NamedPlan(source="Ec2InstanceMetadata"), role_arn=ROLE),
    ),
    "a role with a token in a file": (
        f"[profile x]\nrole_arn = {ROLE}\nweb_identity_token_file = /token\n"
        "source_profile = y\nrole_session_name = me\n",
        "",
        WebIdentityPlan(role_arn=ROLE, token_file="/token", role_session_name="me"),
    ),
    "SSO with a session": (
        f"{SSO}sso_session = corp\n{SESSION}",
        "",
        SSOPlan(
            account_id="123456789012",
            role_name="ReadOnly",
            region="eu-west-1",
            session_name="corp",
            start_url="https://corp.example/start",
        ),
    ),
    "SSO with a session that is repeated in the profile": (
        f"{SSO}sso_session = corp\nsso_region = eu-west-1\n{SESSION}",
        "",
        SSOPlan(
            account_id="123456789012",
            role_name="ReadOnly",
            region="eu-west-1",
            session_name="corp",
            start_url="https://corp.example/start",
        ),
    ),
    "SSO without a session": (
        f"{SSO}sso_region = eu-west-2\nsso_start_url = https://corp.example/start\n{KEYS}",
        "",
        SSOPlan(
            account_id="123456789012",
            role_name="ReadOnly",
            region="eu-west-2",
            session_name=None,
            start_url="https://corp.example/start",
        ),
    ),
    "a login session": (
        "[profile x]\nlogin_session = arn:aws:iam::123456789012:user/me\ncredential_process = x\n",
        "",
        LoginPlan(login_session="arn:aws:iam::123456789012:user/me"),
    ),
    "a process": ("[profile x]\ncredential_process = /bin/x --y\n", "", ProcessPlan(command=Secret("/bin/x --y"))),
}

ERRORS: dict[str, tuple[str, str]] = {
    "half of the keys": (
        "[profile x]\naws_access_key_id = AKIAKEYS\n",
        r"profile 'x', key aws_access_key_id \(config, line 2\) needs aws_secret_access_key beside it",
    ),
    "the other half": (
        "[profile x]\naws_secret_access_key = SENTINEL\n",
        r"key aws_secret_access_key \(config, line 2\) needs aws_access_key_id beside it",
    ),
    "a role without a source": (
        f"[profile x]\nrole_arn = {ROLE}\n",
        r"key role_arn \(config, line 2\) needs source_profile or credential_source beside it",
    ),
    "a role with two": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = x\ncredential_source = Environment\n",
        r"key source_profile \(config, line 3\) excludes credential_source",
    ),
    "a source with another name": (
        f"[profile x]\nrole_arn = {ROLE}\ncredential_source = SENTINEL\n",
        r"key credential_source \(config, line 3\) must be Environment, EcsContainer or Ec2InstanceMetadata",
    ),
    "a source profile that is missing": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = SENTINEL\n",
        r"key source_profile \(config, line 3\) names a profile that does not exist",
    ),
    "a source profile without credentials": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = y\n[profile y]\nregion = eu-west-1\n",
        r"key source_profile \(config, line 3\) names a profile that has none of",
    ),
    "itself, without keys": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = x\n",
        r"key source_profile \(config, line 3\) names its own profile, which has no keys",
    ),
    "T37: a circle": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = y\n[profile y]\nrole_arn = {ROLE}\nsource_profile = x\n",
        r"profile 'y', key source_profile \(config, line 6\) closes a circle of 2 profiles",
    ),
    "T37: a chain of 17": (
        "".join(f"[profile {'x' if n == 0 else n}]\nrole_arn = {ROLE}\nsource_profile = {n + 1}\n" for n in range(18))
        + f"[profile 18]\n{KEYS}",
        r"profile '16', key source_profile .* makes a chain of more than 16 roles",
    ),
    "a token file without a role": (
        "[profile x]\nweb_identity_token_file = /token\n",
        r"key web_identity_token_file \(config, line 2\) needs role_arn beside it",
    ),
    "half of SSO": (
        "[profile x]\nsso_role_name = ReadOnly\nsso_region = eu-west-1\nsso_start_url = https://corp.example\n",
        r"key sso_role_name \(config, line 2\) needs sso_account_id beside it",
    ),
    "SSO without a region": (
        f"{SSO}sso_start_url = https://corp.example\n",
        r"key sso_start_url \(config, line 4\) needs sso_region beside it",
    ),
    "SSO with a session that is missing": (
        f"{SSO}sso_session = other\n{SESSION}",
        r"key sso_session \(config, line 4\) names an sso-session that does not exist",
    ),
    "SSO that contradicts its session": (
        f"{SSO}sso_session = corp\nsso_region = eu-west-2\n{SESSION}",
        r"profile 'x', key sso_region \(config, line 5\) contradicts sso-session 'corp', key sso_region",
    ),
    "SSO that asks for other scopes than its session": (
        f"{SSO}sso_session = corp\nsso_registration_scopes = a\n{SESSION}sso_registration_scopes = b\n",
        r"profile 'x', key sso_registration_scopes \(config, line 5\) contradicts sso-session 'corp'",
    ),
    "a session without a region": (
        f"{SSO}sso_session = corp\n[sso-session corp]\nsso_start_url = https://corp.example\n",
        r"sso-session 'corp', key sso_start_url \(config, line 6\) needs sso_region beside it",
    ),
    "a duration that is no number": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = x\nduration_seconds = SENTINEL\n{KEYS}",
        r"key duration_seconds \(config, line 4\) must be a whole number of seconds",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_profile_becomes_a_plan(case: str) -> None:
    config, credentials, expected = CASES[case]

    assert plan(shared(config, credentials), "x") == expected


@pytest.mark.parametrize("case", ERRORS)
def test_a_profile_that_contradicts_itself_is_an_error_that_says_where(case: str) -> None:
    """The value, which may be a secret at the wrong place, is not shown."""
    config, message = ERRORS[case]

    with pytest.raises(InvalidConfigFile, match=message):
        plan(shared(config), "x")


def test_a_chain_of_sixteen_is_long_enough() -> None:
    config = "".join(f"[profile {n}]\nrole_arn = {ROLE}\nsource_profile = {n + 1}\n" for n in range(16))
    found: Any = plan(shared(f"{config}[profile 16]\n{KEYS}"), "0")
    for _ in range(16):
        found = found.source

    assert found == KEYS_PLAN


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "there is no profile 'x' in the config or credentials file"),
        ("[profile x]\nregion = eu-west-1\n", r"profile 'x' \(config, line 1\) has none of role_arn, sso_account_id"),
        ("[profile x]\nsso_session = corp\n", r"profile 'x' \(config, line 1\) has none of role_arn, sso_account_id"),
        (f"[profile x]\nrole_arn =\naws_access_key_id =\n[profile y]\n{KEYS}", "has none of"),
    ],
)
def test_a_profile_that_asks_for_nothing_lets_the_chain_go_on(config: str, message: str) -> None:
    """An sso-session alone is for bearer tokens of other services; a blank value counts as unset."""
    with pytest.raises(CredentialsNotFound, match=message):
        plan(shared(config), "x")


def test_plans_show_no_secret() -> None:
    assert "SENTINEL" not in repr(CASES["keys of a session"][2])
    assert "--y" not in repr(CASES["a process"][2])


def test_a_change_elsewhere_in_the_files_does_not_change_a_plan() -> None:
    """So that a role keeps its session when another profile is edited."""
    config = f"[profile x]\nrole_arn = {ROLE}\nsource_profile = x\n{KEYS}"

    assert plan(shared(config), "x") == plan(shared(f"# new\n[profile y]\nregion = x\n{config}"), "x")
    assert plan(shared(config), "x") != plan(shared(config.replace("AKIAKEYS", "AKIAOTHER")), "x")
    assert plans.LONGEST_CHAIN == 16


@pytest.mark.parametrize("role_arn", ["arn with blanks", "arn\x7f"])
def test_a_role_of_another_server_is_printable_too(role_arn: str) -> None:
    """G11: where the grammar of IAM does not count, what no header or log can hold is still refused."""
    with pytest.raises(InvalidConfigFile, match=r"key role_arn \(config, line 2\) must be printable ASCII"):
        plan(shared(f"[profile x]\nrole_arn = {role_arn}\nsource_profile = x\n{KEYS}"), "x", strict_arns=False)
