"""Plans of profiles as a table: text of the two files in, a plan or an error out."""

from typing import Any

import attrs
import pytest

from sts_async._config import profile_plans
from sts_async._config.profile_grammar import SharedConfig, merge, parse
from sts_async._config.profile_plans import (
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
from sts_async._shape.secret import Secret
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
    "a role comes before keys in the same profile": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = base\n{KEYS}[profile base]\ncredential_process = base\n",
        "",
        RolePlan(source=ProcessPlan(command=Secret("base")), role_arn=ROLE),
    ),
    "a role that names its own profile uses the keys in it": (
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
        r"profile 'x', key aws_access_key_id \(config, line 2\) also needs aws_secret_access_key",
    ),
    "the other half": (
        "[profile x]\naws_secret_access_key = SENTINEL\n",
        r"key aws_secret_access_key \(config, line 2\) also needs aws_access_key_id",
    ),
    "a role without a source": (
        f"[profile x]\nrole_arn = {ROLE}\n",
        r"key role_arn \(config, line 2\) also needs source_profile or credential_source",
    ),
    "a role with two": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = x\ncredential_source = Environment\n",
        r"key source_profile \(config, line 3\) cannot be combined with credential_source",
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
        r"profile 'y', key source_profile \(config, line 6\) completes a cycle of 2 profiles",
    ),
    "T37: a chain of 17": (
        "".join(f"[profile {'x' if n == 0 else n}]\nrole_arn = {ROLE}\nsource_profile = {n + 1}\n" for n in range(18))
        + f"[profile 18]\n{KEYS}",
        r"profile '16', key source_profile .* makes a chain of more than 16 roles",
    ),
    "a token file without a role": (
        "[profile x]\nweb_identity_token_file = /token\n",
        r"key web_identity_token_file \(config, line 2\) also needs role_arn",
    ),
    "half of SSO": (
        "[profile x]\nsso_role_name = ReadOnly\nsso_region = eu-west-1\nsso_start_url = https://corp.example\n",
        r"key sso_role_name \(config, line 2\) also needs sso_account_id",
    ),
    "SSO without a region": (
        f"{SSO}sso_start_url = https://corp.example\n",
        r"key sso_start_url \(config, line 4\) also needs sso_region",
    ),
    "SSO with a session that is missing": (
        f"{SSO}sso_session = other\n{SESSION}",
        r"key sso_session \(config, line 4\) names an sso-session that does not exist",
    ),
    "SSO that contradicts its session": (
        f"{SSO}sso_session = corp\nsso_region = eu-west-2\n{SESSION}",
        r"profile 'x', key sso_region \(config, line 5\) differs from sso-session 'corp', key sso_region",
    ),
    "SSO that asks for other scopes than its session": (
        f"{SSO}sso_session = corp\nsso_registration_scopes = a\n{SESSION}sso_registration_scopes = b\n",
        r"profile 'x', key sso_registration_scopes \(config, line 5\) differs from sso-session 'corp'",
    ),
    "a session without a region": (
        f"{SSO}sso_session = corp\n[sso-session corp]\nsso_start_url = https://corp.example\n",
        r"sso-session 'corp', key sso_start_url \(config, line 6\) also needs sso_region",
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
def test_conflicting_settings_are_an_error_with_their_place(case: str) -> None:
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
    assert profile_plans.MAX_CHAIN == 16


@pytest.mark.parametrize("role_arn", ["arn with blanks", "arn\x7f"])
def test_a_role_of_another_server_is_printable_too(role_arn: str) -> None:
    """G11: where the grammar of IAM does not count, what no header or log can hold is still refused."""
    with pytest.raises(InvalidConfigFile, match=r"key role_arn \(config, line 2\) must be printable ASCII"):
        plan(shared(f"[profile x]\nrole_arn = {role_arn}\nsource_profile = x\n{KEYS}"), "x", strict_arns=False)


# -- C6: each key with each kind of source --------------------------------------------------------------------------

OTHER = (
    f"[profile base]\n{KEYS}[sso-session corp]\nsso_start_url = https://corp.example/start\nsso_region = eu-west-1\n"
)
BESIDE: dict[type, str] = {
    WebIdentityPlan: f"role_arn = {ROLE}\nweb_identity_token_file = /token\n",
    RolePlan: f"role_arn = {ROLE}\nsource_profile = base\n",
    SSOPlan: "sso_account_id = 123456789012\nsso_role_name = ReadOnly\nsso_session = corp\n",
    KeysPlan: KEYS,
    LoginPlan: "login_session = arn:aws:iam::123456789012:user/me\n",
    ProcessPlan: "credential_process = x\n",
}
"""A profile of each kind."""

VALUES = {
    "web_identity_token_file": "/other",
    "role_arn": f"{ROLE}2",
    "source_profile": "base",
    "credential_source": "Environment",
    "role_session_name": "me",
    "external_id": "e-1",
    "duration_seconds": "900",
    "mfa_serial": "arn:aws:iam::123456789012:mfa/me",
    "aws_account_id": "210987654321",
    "sso_account_id": "210987654321",
    "sso_role_name": "Admin",
    "sso_session": "corp",
    "sso_start_url": "https://corp.example/start",
    "sso_region": "eu-west-1",
    "sso_registration_scopes": "sso:account:access",
    "aws_access_key_id": "AKIAOTHER",
    "aws_secret_access_key": "SENTINEL-other",
    "aws_session_token": "SENTINEL-token",
    "aws_security_token": "SENTINEL-older",
    "login_session": "arn:aws:iam::123456789012:user/you",
    "credential_process": "other",
}
"""A value for each key about credentials; it is added to a profile of each kind."""

USED, REFUSED, TOLD, BEARER = "used", "refused", "has no effect, and a warning says so", "for bearer tokens"
BEARER_KEYS = {"sso_session", "sso_start_url", "sso_region", "sso_registration_scopes"}
OF_KEYS = {
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_security_token",
    "aws_account_id",
}
HALF_A_ROLE = {"web_identity_token_file", "role_arn"}  # one without what it needs
HALF_OF_SSO = {"sso_account_id", "sso_role_name"}
HALF_OF_KEYS = {"aws_access_key_id", "aws_secret_access_key"}
USES: dict[type, set[str]] = {
    # botocore drops duration_seconds here: its sessions have the service's default, an hour.
    WebIdentityPlan: {"role_arn", "web_identity_token_file", "role_session_name", "duration_seconds"},
    # With a token file, it is a role for a web identity.
    RolePlan: {"role_arn", "source_profile", "role_session_name", "external_id", "duration_seconds", "mfa_serial"}
    | {"web_identity_token_file"},
    SSOPlan: HALF_OF_SSO | BEARER_KEYS,
    KeysPlan: OF_KEYS,
    LoginPlan: {"login_session"},
    ProcessPlan: {"credential_process", "aws_account_id", "login_session"},  # a login comes before a process
}
REFUSES: dict[type, set[str]] = {
    WebIdentityPlan: set(),
    RolePlan: {"credential_source"},
    SSOPlan: HALF_A_ROLE,
    KeysPlan: HALF_A_ROLE | HALF_OF_SSO,
    LoginPlan: HALF_A_ROLE | HALF_OF_SSO | HALF_OF_KEYS,
    ProcessPlan: HALF_A_ROLE | HALF_OF_SSO | HALF_OF_KEYS,
}
"""The result of a key in a profile of each kind. All other keys have no effect, and a warning says so."""


def outcome(kind: type, key: str) -> str:
    """Return the result of a further key in a profile of a kind."""
    files = shared(f"[profile x]\n{BESIDE[kind]}{key} = {VALUES[key]}\n{OTHER}")
    try:
        found = plan(files, "x")
    except InvalidConfigFile:
        return REFUSED
    sentences = [sentence for sentence in profile_plans.unused(files, "x", found) if f"key {key} (" in sentence]
    if sentences:
        assert "has no effect, because the credentials of this profile come from" in sentences[0]
        return TOLD
    return USED if key in profile_plans.USED[type(found)] else BEARER


@pytest.mark.parametrize("key", VALUES)
@pytest.mark.parametrize("kind", BESIDE, ids=lambda kind: kind.__name__)
def test_each_key_with_each_kind_of_source_is_used_refused_or_reported(kind: type, key: str) -> None:
    """C6: no key is ignored silently, except those of an sso-session, which other services use."""
    expected = BEARER if key in BEARER_KEYS else TOLD
    if key in USES[kind]:
        expected = USED
    elif key in REFUSES[kind]:
        expected = REFUSED

    assert outcome(kind, key) == expected


def test_the_table_has_every_key_of_every_plan() -> None:
    """C6."""
    assert {key for keys in profile_plans.USED.values() for key in keys} == VALUES.keys()
    assert profile_plans.USED.keys() == BESIDE.keys() == USES.keys() == REFUSES.keys()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (WebIdentityPlan, {"role_session_name": "me", "duration_seconds": 900}),
        (RolePlan, {"role_session_name": "me", "external_id": "e-1", "duration_seconds": 900}),
        (RolePlan, {"mfa_serial": "arn:aws:iam::123456789012:mfa/me"}),
    ],
)
def test_a_key_that_is_used_is_in_the_plan(kind: type, changes: dict[str, Any]) -> None:
    """C6: ``duration_seconds`` also works with ``web_identity_token_file``."""
    lines = "".join(f"{key} = {value}\n" for key, value in changes.items())
    bare, found = (plan(shared(f"[profile x]\n{BESIDE[kind]}{more}{OTHER}"), "x") for more in ("", lines))

    assert found == attrs.evolve(bare, **changes)


def test_keys_without_effect_are_reported_along_a_chain() -> None:
    """C6: with the place of each. The keys of a profile that names itself as its source are used."""
    files = shared(
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = y\n{KEYS}"
        f"[profile y]\nrole_arn = {ROLE}2\nsource_profile = y\nlogin_session = me\n{KEYS}"
    )
    from_role = "has no effect, because the credentials of this profile come from role_arn"

    assert profile_plans.unused(files, "x", plan(files, "x")) == (
        f"profile 'x', key aws_access_key_id (config, line 4) {from_role}",
        f"profile 'x', key aws_secret_access_key (config, line 5) {from_role}",
        "profile 'y', key role_arn (config, line 7) has no effect, because the credentials of this profile come from "
        "aws_access_key_id",
        "profile 'y', key source_profile (config, line 8) has no effect, because the credentials of this profile come "
        "from aws_access_key_id",
        "profile 'y', key login_session (config, line 9) has no effect, because the credentials of this profile come "
        "from aws_access_key_id",
    )
    itself = shared(f"[profile x]\nrole_arn = {ROLE}\nsource_profile = x\n{KEYS}")
    assert profile_plans.unused(itself, "x", plan(itself, "x")) == ()


# -- C7: lines that were ignored ------------------------------------------------------------------------------------

RULE = "a profile is [profile NAME] here; others are [default], [sso-session NAME] and [services NAME]; "
MEANT: dict[str, tuple[str, str, str]] = {
    "no prefix": ("x", "[x]\n", ""),
    "a prefix in upper case": ("x", "[Profile x]\n", ""),
    "a prefix that touches": ("x", "[profile-x]\n", ""),
    "a prefix in the plural": ("x", "[profiles x]\n", ""),
    "a blank in a name": ("my mac", "[profile my mac]\n", ""),
    "a name in upper case": ("my mac", "[profile My Mac]\n", ""),
    "a letter beyond ASCII": ("größe", "[profile größe]\n", ""),
    "a quotation without its end": ("x", '[profile "x]\n', ""),
    "a prefix in the credentials file": ("x", "", "[profile x]\n"),
}


@pytest.mark.parametrize("case", MEANT)
def test_a_missing_profile_names_the_ignored_line_that_may_mean_it(case: str) -> None:
    """C7: a warning said so once, long before; the error repeats it where a user looks."""
    name, config, credentials = MEANT[case]
    files = shared(f"[profile other]\n[preview]\n{config}", f"[other]\n{credentials}")
    place = "line 3 of config" if config else "line 2 of credentials"
    with pytest.raises(CredentialsNotFound) as caught:
        plan(files, name)

    assert str(caught.value).startswith(f"there is no profile {name!r} in the config or credentials file; {place} is")
    assert "preview" not in str(caught.value)
    assert "line 2 of config" not in str(caught.value)


def test_an_ignored_line_that_means_something_else_is_not_named() -> None:
    """C7: nor what is in it."""
    files = shared("[xy]\n[profile SENTINEL x y]\n[sso-session x y z]\n[profile]\n[services! x]\n")
    with pytest.raises(CredentialsNotFound) as caught:
        plan(files, "x")

    assert str(caught.value) == "there is no profile 'x' in the config or credentials file"


LINES: dict[str, tuple[str, str]] = {
    "a source profile": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = y\n[y]\n{KEYS}",
        "key source_profile (config, line 3) names a profile that does not exist; line 4 of config is ignored: write "
        "[profile y] there",
    ),
    "an sso-session": (
        f"{SSO}sso_session = my corp\n[sso-session my corp]\n",
        "key sso_session (config, line 4) names an sso-session that does not exist; line 5 of config is ignored: "
        + RULE,
    ),
    "a source profile without a source": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = y\n[profile y]\naws access key id = SENTINEL\n",
        f"names a profile that has none of {profile_plans.KINDS}; line 5 of config is ignored: keys consist of letters",
    ),
    "half of the keys": (
        "[profile x]\naws_access_key_id = A\naws secret access key = SENTINEL\nmy key = SENTINEL\n",
        "line 2) also needs aws_secret_access_key; line 3 of config is ignored: keys consist of letters, "
        "digits and _-/.%@:+",
    ),
    "a role without a source": (
        f"[profile x]\nrole_arn = {ROLE}\nsource profile = y\n",
        "line 2) also needs source_profile or credential_source; line 3 of config is ignored: keys consist of",
    ),
    "an empty value": (
        "[profile x]\nweb_identity_token_file = /token\nrole_arn = # mine\n",
        "line 2) also needs role_arn; role_arn in line 3 of config is empty; the text after ' #' in line 3 is a "
        "comment: without the space, it is part of the value",
    ),
    "properties below a value": (
        f"[profile x]\nweb_identity_token_file = /token\nrole_arn =\n  {ROLE}=\n",
        "line 2) also needs role_arn; role_arn in line 3 of config has indented properties below it",
    ),
    "itself": (
        f"[profile x]\nrole_arn = {ROLE}\nsource_profile = x\naws key = SENTINEL\n",
        "names its own profile, which has no keys; line 4 of config is ignored: keys consist of",
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_an_error_that_follows_from_an_ignored_line_names_it(case: str) -> None:
    """C7: sections and keys, and values that are blank."""
    config, message = LINES[case]
    with pytest.raises(InvalidConfigFile) as caught:
        plan(shared(config), "x")

    assert message in str(caught.value)


def test_a_profile_without_a_source_names_its_ignored_lines() -> None:
    """C7: three of them; how many more there are is said."""
    lines = "".join(f"key number {n} = SENTINEL\n" for n in range(5))
    with pytest.raises(CredentialsNotFound) as caught:
        plan(shared(f"[profile x]\n{lines}"), "x")

    rule = "is ignored: keys consist of letters, digits and _-/.%@:+"
    assert str(caught.value) == (
        f"profile 'x' (config, line 1) has none of {profile_plans.KINDS}; line 2 of config {rule}; "
        f"line 3 of config {rule}; line 4 of config {rule}; 2 more lines are ignored"
    )


# -- C8: values that were cut or joined -----------------------------------------------------------------------------

ONE_LINE = {
    WebIdentityPlan: ("role_arn", "web_identity_token_file", "role_session_name", "duration_seconds"),
    RolePlan: ("role_arn", "source_profile", "role_session_name", "external_id", "duration_seconds", "mfa_serial"),
    SSOPlan: ("sso_account_id", "sso_role_name", "sso_session"),
    KeysPlan: ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_security_token"),
    LoginPlan: ("login_session",),
}


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, keys in ONE_LINE.items() for key in keys])
def test_a_value_on_several_lines_is_an_error_where_one_line_is_required(kind: type, key: str) -> None:
    """C8: as a part of a secret it would only become SignatureDoesNotMatch."""
    lines = "".join(line + "\n" for line in BESIDE[kind].splitlines() if not line.startswith(f"{key} "))
    text = f"[profile x]\n{key} = {VALUES[key]}\n  # c\n  SENTINEL = 1\n{lines}{OTHER}"
    with pytest.raises(InvalidConfigFile) as caught:
        plan(shared(text), "x")

    assert str(caught.value) == (
        f"profile 'x', key {key} (config, line 2) must be on one line; the value has a line break, because "
        "indented lines up to line 4 continue it: write a separate setting without indentation"
    )


def test_an_error_about_a_value_says_that_a_comment_has_cut_it() -> None:
    """C8."""
    with pytest.raises(InvalidConfigFile) as caught:
        plan(shared(f"[profile x]\nrole_arn = {ROLE}\nsource_profile = SENTINEL ;other\n"), "x")

    assert str(caught.value) == (
        "profile 'x', key source_profile (config, line 3) names a profile that does not exist; the text after ' ;' in "
        "line 3 is a comment: without the space, it is part of the value; correct the name: the profiles there are 'x'"
    )


def test_a_plan_of_a_process_knows_that_its_command_was_cut() -> None:
    """C8: its errors come later. The command may go on in other lines, as a shell would read it."""
    found = plan(shared("[profile x]\ncredential_process = sh -c 'a ; b'\n  --more\n"), "x")

    assert found == ProcessPlan(command=Secret("sh -c 'a\n--more"))
    assert isinstance(found, ProcessPlan)
    assert found.remark == (
        "the text after ' ;' in line 2 is a comment: without the space, it is part of the value; the value has a line "
        "break, because indented lines up to line 3 continue it: write a separate setting without indentation"
    )
