"""
Plans of profiles: a plan describes the source of the credentials of a profile.

Plans are values. A provider that reads the files again compares the plans, and sees whether the source has changed.

A profile can have the settings of several sources. The first source in this order is used: web identity, role, SSO,
keys, login, process. `unused` names the settings that have no effect then.

Source: AWS SDKs and Tools Reference Guide, "Standardized credential providers".
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

from .._protocol import arns
from .._protocol.endpoints import REGION_RULE, is_region
from .._shape.secret import Secret
from ..errors import CredentialsNotFound, InvalidConfigFile, InvalidRegion
from ..shapes import Credentials
from .sections import Section, SharedConfig, in_quotes, named
from .services import NO_PROFILE, InProfile

MAX_CHAIN = 16  # roles in a chain of source profiles
SSO_KEYS = ("sso_account_id", "sso_role_name")  # either of them makes the source SSO
SESSION_KEYS = ("sso_session", "sso_start_url", "sso_region", "sso_registration_scopes")
KINDS = "role_arn, sso_account_id, aws_access_key_id, login_session or credential_process"


@attrs.frozen(kw_only=True)
class KeysPlan:
    """
    Keys in the profile.

    Attributes:
        credentials: The keys.
        account_id: Their account. It is a separate attribute because the equality of credentials ignores it.
    """

    credentials: Credentials
    account_id: str | None = None


@attrs.frozen(kw_only=True)
class NamedPlan:
    """A source that ``credential_source`` names."""

    source: Literal["Environment", "EcsContainer", "Ec2InstanceMetadata"]


@attrs.frozen(kw_only=True)
class RolePlan:
    """A role that is assumed with the credentials of another plan."""

    source: "Plan"
    role_arn: str
    role_session_name: str | None = None
    external_id: str | None = None
    duration_seconds: int | None = None
    mfa_serial: str | None = None


@attrs.frozen(kw_only=True)
class WebIdentityPlan:
    """
    A role that is assumed with a web identity token in a file.

    Attributes:
        remark: The remark on the path in the profile, for errors about the file.
    """

    role_arn: str
    token_file: str
    role_session_name: str | None = None
    duration_seconds: int | None = None
    remark: str = attrs.field(default="", eq=False)


@attrs.frozen(kw_only=True)
class SSOPlan:
    """A role of IAM Identity Center."""

    account_id: str
    role_name: str
    region: str
    session_name: str | None
    start_url: str
    place: InProfile = NO_PROFILE


@attrs.frozen(kw_only=True)
class LoginPlan:
    """
    A session of ``aws login``.

    Attributes:
        region: The region of the profile with the ``login_session``. A login can be renewed only in the region where
            it was made, and the selected profile, which names this one as its source, can have another region.
    """

    login_session: str
    region: str | None = None
    place: InProfile = NO_PROFILE


@attrs.frozen(kw_only=True)
class ProcessPlan:
    """
    A process that prints credentials.

    Attributes:
        remark: The remark on the command in the profile, for errors about the process.
    """

    command: Secret
    account_id: str | None = None
    remark: str = attrs.field(default="", eq=False)


Plan = KeysPlan | NamedPlan | RolePlan | WebIdentityPlan | SSOPlan | LoginPlan | ProcessPlan

# The keys that each kind of plan uses; the first key selects the kind.
USED: Mapping[type, tuple[str, ...]] = {
    WebIdentityPlan: ("web_identity_token_file", "role_arn", "role_session_name", "duration_seconds"),
    RolePlan: (
        "role_arn",
        "source_profile",
        "credential_source",
        "role_session_name",
        "external_id",
        "duration_seconds",
        "mfa_serial",
    ),
    SSOPlan: SSO_KEYS + SESSION_KEYS,
    KeysPlan: (
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "aws_security_token",
        "aws_account_id",
    ),
    LoginPlan: ("login_session",),
    ProcessPlan: ("credential_process", "aws_account_id"),
}

_KNOWN = tuple(dict.fromkeys(key for keys in USED.values() for key in keys if key not in SESSION_KEYS))


def plan(shared: SharedConfig, name: str, *, strict_arns: bool = True) -> Plan:
    """
    Return the plan of a profile.

    Args:
        shared: The contents of the files.
        name: Name of the profile.
        strict_arns: Whether the ARNs of roles must match the grammar of IAM, or only be printable.

    Raises:
        CredentialsNotFound: The profile does not exist, or has no settings for credentials.
        InvalidConfigFile: The profile is incomplete or its settings conflict. The message names the file, the line,
            the profile and the key.
        InvalidRegion: The profile of a login has an invalid region.
    """
    section = shared.profiles.get(name)
    if section is None:
        problem = f"there is no profile {name!r} in the config or credentials file"
        raise CredentialsNotFound(shared.lacks(problem, "profile", name))
    found = _plan(shared, section, ())
    if found is None:
        raise CredentialsNotFound(section.lacks_all(f"has none of {KINDS}"))
    for part, its_section in _parts(shared, section, found):
        if isinstance(part, RolePlan | WebIdentityPlan):
            _check_arn(its_section, part.role_arn, strict=strict_arns)
    return found


def unused(shared: SharedConfig, name: str, found: Plan) -> tuple[str, ...]:
    """
    Return a sentence for each key of a profile that has no effect, because it belongs to another source.

    The sentence gives the place of the key and the key that selects the source. Keys of an sso-session are omitted:
    other services use them for bearer tokens.

    Args:
        shared: The contents of the files.
        name: Name of the profile.
        found: The plan of the profile.
    """
    sentences = []
    for part, section in _parts(shared, shared.profiles[name], found):
        used = USED[type(part)]
        if isinstance(part, RolePlan) and section.get("source_profile") == section.name:
            used += USED[KeysPlan]
        sentences += [
            f"{section.where(key)} has no effect, because the credentials of this profile come from {used[0]}"
            for key in _KNOWN
            if key in section.values and key not in used and section.get(key) is not None
        ]
    return tuple(sentences)


def _parts(shared: SharedConfig, section: Section, found: Plan) -> Iterator[tuple[Plan, Section]]:
    """Yield a plan and the plans of its source profiles, each with its profile."""
    while True:
        yield found, section
        source = section.get("source_profile")
        if not isinstance(found, RolePlan) or source is None or source == section.name:
            return
        found, section = found.source, shared.profiles[str(source)]


def _check_arn(section: Section, role_arn: str, *, strict: bool) -> None:
    if strict and not arns.is_role(role_arn):
        raise InvalidConfigFile(section.fault(f"must be {arns.ROLE_RULE}", "role_arn"))
    if not arns.is_plain(role_arn):
        raise InvalidConfigFile(section.fault(f"must be {arns.PLAIN_RULE}", "role_arn"))


def _plan(shared: SharedConfig, section: Section, visited: tuple[str, ...]) -> Plan | None:
    if section.get("web_identity_token_file"):
        return _web_identity(section)
    if section.get("role_arn"):
        return _role(shared, section, visited)
    if any(section.get(key) for key in SSO_KEYS):
        return _sso(shared, section, _in_profile(shared, section, visited))
    if keys := _keys(section):
        return keys
    if session := _text(section, "login_session"):
        place = _in_profile(shared, section, visited)
        return LoginPlan(login_session=session, region=_region(section), place=place)
    if command := section.get("credential_process"):
        remark = section.remark("credential_process")
        return ProcessPlan(command=Secret(command), account_id=_account_id(section), remark=remark)
    return None


def _web_identity(section: Section) -> WebIdentityPlan:
    return WebIdentityPlan(
        role_arn=_required(section, "role_arn", because="web_identity_token_file"),
        token_file=_required(section, "web_identity_token_file", because="role_arn"),
        role_session_name=_text(section, "role_session_name"),
        duration_seconds=_duration(section),
        remark=section.remark("web_identity_token_file"),
    )


def _role(shared: SharedConfig, section: Section, visited: tuple[str, ...]) -> RolePlan:
    return RolePlan(
        source=_source(shared, section, visited),
        role_arn=_required(section, "role_arn", because="source_profile"),
        role_session_name=_text(section, "role_session_name"),
        external_id=_text(section, "external_id"),
        duration_seconds=_duration(section),
        mfa_serial=_text(section, "mfa_serial"),
    )


def _source(shared: SharedConfig, section: Section, visited: tuple[str, ...]) -> Plan:
    source, source_name = _text(section, "source_profile"), _text(section, "credential_source")
    if source and source_name:
        raise InvalidConfigFile(section.fault("cannot be combined with credential_source", "source_profile"))
    if source_name:
        return _named(section, source_name)
    if not source:
        problem = "also needs source_profile or credential_source"
        raise InvalidConfigFile(section.lacks(problem, "source_profile", because="role_arn"))
    if source == section.name:
        keys = _keys(section)
        if keys is None:
            raise InvalidConfigFile(
                section.fault("names its own profile, which has no keys", "source_profile") + named(section.ignored)
            )
        return keys
    visited = (*visited, section.name)
    if source in visited:
        raise InvalidConfigFile(section.fault(f"completes a cycle of {len(visited)} profiles", "source_profile"))
    if len(visited) > MAX_CHAIN:
        raise InvalidConfigFile(section.fault(f"makes a chain of more than {MAX_CHAIN} roles", "source_profile"))
    following = shared.profiles.get(source)
    if following is None:
        problem = section.fault("names a profile that does not exist", "source_profile")
        raise InvalidConfigFile(shared.lacks(problem, "profile", source, others=True))
    # In a source profile, keys come before a role and end the chain. In the first profile, the role comes first.
    found = _keys(following) or _plan(shared, following, visited)
    if found is None:
        problem = section.fault(f"names a profile that has none of {KINDS}", "source_profile")
        raise InvalidConfigFile(problem + named(following.ignored))
    return found


def _named(section: Section, name: str) -> NamedPlan:
    match name:
        case "Environment" | "EcsContainer" | "Ec2InstanceMetadata" as source:
            return NamedPlan(source=source)
    problem = "must be Environment, EcsContainer or Ec2InstanceMetadata"
    raise InvalidConfigFile(section.fault(problem, "credential_source"))


def _in_profile(shared: SharedConfig, section: Section, visited: tuple[str, ...]) -> InProfile:
    return InProfile.from_section(shared, section, selected=shared.profiles[visited[0]] if visited else section)


def _region(section: Section) -> str | None:
    region = _text(section, "region")
    if region is not None and not is_region(region):
        raise InvalidRegion(section.fault(f"is not a region: {REGION_RULE}", "region"))
    return region


def _sso(shared: SharedConfig, section: Section, place: InProfile) -> SSOPlan:
    session_name = _text(section, "sso_session")
    settings: Section = section
    if session_name is not None:
        session = shared.sso_sessions.get(session_name)
        if session is None:
            problem = section.fault("names an sso-session that does not exist", "sso_session")
            raise InvalidConfigFile(shared.lacks(problem, "sso-session", session_name))
        for key in session.values:
            if key in section.values and section.get(key) not in (None, session.get(key)):
                raise InvalidConfigFile(section.fault(f"differs from {session.where(key)}", key))
        settings = session
    return SSOPlan(
        account_id=_required(section, "sso_account_id", because="sso_role_name"),
        role_name=_required(section, "sso_role_name", because="sso_account_id"),
        region=_required(settings, "sso_region", because="sso_start_url"),
        session_name=session_name,
        start_url=_required(settings, "sso_start_url", because="sso_region"),
        place=place,
    )


def _keys(section: Section) -> KeysPlan | None:
    key_id, secret = _line(section, "aws_access_key_id"), _line(section, "aws_secret_access_key")
    if key_id is None and secret is None:
        return None
    if key_id is None or secret is None:
        present, absent = "aws_access_key_id", "aws_secret_access_key"
        if key_id is None:
            present, absent = absent, present
        raise InvalidConfigFile(section.lacks(f"also needs {absent}", absent, because=present))
    for key in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_security_token"):
        if in_quotes(str.__str__(section.get(key) or "")):  # keys and tokens of AWS never begin with a quote
            raise InvalidConfigFile(section.fault("must not be in quotes", key))
    token = _line(section, "aws_session_token") or _line(section, "aws_security_token")
    account_id = _account_id(section)
    credentials = Credentials(
        access_key_id=str(key_id), secret_access_key=secret, session_token=token, account_id=account_id
    )
    return KeysPlan(credentials=credentials, account_id=account_id)


def _account_id(section: Section) -> str | None:
    """Return the account id in a profile. An invalid id is ignored, because the keys work without it."""
    text = section.get("aws_account_id")
    return str(text) if arns.is_account_id(text) else None


def _duration(section: Section) -> int | None:
    text = _text(section, "duration_seconds")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidConfigFile(section.fault("must be a whole number of seconds", "duration_seconds"))
    return int(text)


def _required(section: Section, key: str, *, because: str) -> str:
    text = _text(section, key)
    if text is None:
        raise InvalidConfigFile(section.lacks(f"also needs {key}", key, because=because))
    return text


def _text(section: Section, key: str) -> str | None:
    text = _line(section, key) if key in section.values else None
    return None if text is None else str(text)


def _line(section: Section, key: str) -> Secret | None:
    """
    Return the value of a key, or None if it is missing or blank.

    Raises:
        InvalidConfigFile: The value continues on other lines. The service would reject a secret or a name with line
            breaks, without a useful message.
    """
    text = section.get(key) if key in section.values else None
    if text is not None and "\n" in text:
        raise InvalidConfigFile(section.fault("must be on one line", key))
    return text
