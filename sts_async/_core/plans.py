"""
What the profiles of the shared files ask for: a profile becomes a plan, which says where its credentials come from.

Plans are values: two are equal when they ask for the same, so that whoever reads the files again sees what has changed.

Source: AWS SDKs and Tools Reference Guide, "Assume role credential provider" and its neighbours. Where a profile asks
for several things, the order is web identity, role, SSO, keys, login, process.
"""

from typing import Literal

import attrs

from ..errors import CredentialsNotFound, InvalidConfigFile, InvalidRegion
from ..shapes import Credentials
from . import arns
from .endpoints import REGION_RULE, is_region
from .profile import Section, SharedConfig
from .secret import Secret
from .services import NO_PROFILE, InProfile

LONGEST_CHAIN = 16  # profiles that name each other as their source
SSO_KEYS = ("sso_account_id", "sso_role_name")  # what makes it a profile with SSO credentials
KINDS = "role_arn, sso_account_id, aws_access_key_id, login_session or credential_process"


@attrs.frozen(kw_only=True)
class KeysPlan:
    """Keys that stand in the profile."""

    credentials: Credentials


@attrs.frozen(kw_only=True)
class NamedPlan:
    """A source by the name that ``credential_source`` has for it."""

    source: Literal["Environment", "EcsContainer", "Ec2InstanceMetadata"]


@attrs.frozen(kw_only=True)
class RolePlan:
    """A role, assumed with the credentials of another plan."""

    source: "Plan"
    role_arn: str
    role_session_name: str | None = None
    external_id: str | None = None
    duration_seconds: int | None = None
    mfa_serial: str | None = None


@attrs.frozen(kw_only=True)
class WebIdentityPlan:
    """A role, assumed with a token that stands in a file."""

    role_arn: str
    token_file: str
    role_session_name: str | None = None


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

    Its region is that of the profile that it stands in, which can be the source of a profile of another region: a
    login can be renewed where it was made only.
    """

    login_session: str
    region: str | None = None
    place: InProfile = NO_PROFILE


@attrs.frozen(kw_only=True)
class ProcessPlan:
    """A process that prints credentials."""

    command: Secret


Plan = KeysPlan | NamedPlan | RolePlan | WebIdentityPlan | SSOPlan | LoginPlan | ProcessPlan


def plan(shared: SharedConfig, name: str, *, strict_arns: bool = True) -> Plan:
    """
    Return what a profile asks for.

    Args:
        shared: What the files say.
        name: The profile.
        strict_arns: Whether the ARNs of roles must be of IAM's grammar, as AWS has them, or only printable.

    Raises:
        CredentialsNotFound: There is no such profile, or it says nothing of credentials.
        InvalidConfigFile: It contradicts itself or is incomplete; the message says file, line, profile and key.
        InvalidRegion: A login stands in a profile whose region is not one.
    """
    section = shared.profiles.get(name)
    if section is None:
        raise CredentialsNotFound(f"there is no profile {name!r} in the config or credentials file")
    found = _plan(shared, section, ())
    if found is None:
        raise CredentialsNotFound(f"{section.where()} has none of {KINDS}")
    _check_arns(shared, section, found, strict=strict_arns)
    return found


def _check_arns(shared: SharedConfig, section: Section, found: Plan, *, strict: bool) -> None:
    """Refuse roles that are none, along the profiles that a plan was made of."""
    while isinstance(found, RolePlan | WebIdentityPlan):
        if strict and not arns.is_role(found.role_arn):
            raise InvalidConfigFile(f"{section.where('role_arn')} must be {arns.ROLE_RULE}")
        if not arns.is_plain(found.role_arn):
            raise InvalidConfigFile(f"{section.where('role_arn')} must be {arns.PLAIN_RULE}")
        if isinstance(found, WebIdentityPlan):
            return
        found, section = found.source, shared.profiles.get(str(section.get("source_profile")), section)


def _plan(shared: SharedConfig, section: Section, visited: tuple[str, ...]) -> Plan | None:
    if section.get("web_identity_token_file"):
        return _web_identity(section)
    if section.get("role_arn"):
        return _role(shared, section, visited)
    if any(section.get(key) for key in SSO_KEYS):
        return _sso(shared, section, _place(shared, section, visited))
    if keys := _keys(section):
        return keys
    if session := section.get("login_session"):
        place = _place(shared, section, visited)
        return LoginPlan(login_session=str(session), region=_region(section), place=place)
    if command := section.get("credential_process"):
        return ProcessPlan(command=Secret(command))
    return None


def _web_identity(section: Section) -> WebIdentityPlan:
    return WebIdentityPlan(
        role_arn=_needed(section, "role_arn", because="web_identity_token_file"),
        token_file=_needed(section, "web_identity_token_file", because="role_arn"),
        role_session_name=_text(section, "role_session_name"),
    )


def _role(shared: SharedConfig, section: Section, visited: tuple[str, ...]) -> RolePlan:
    return RolePlan(
        source=_source(shared, section, visited),
        role_arn=_needed(section, "role_arn", because="source_profile"),
        role_session_name=_text(section, "role_session_name"),
        external_id=_text(section, "external_id"),
        duration_seconds=_duration(section),
        mfa_serial=_text(section, "mfa_serial"),
    )


def _source(shared: SharedConfig, section: Section, visited: tuple[str, ...]) -> Plan:
    source, named = section.get("source_profile"), section.get("credential_source")
    if bool(source) == bool(named):
        problem = "excludes credential_source" if source else "needs source_profile or credential_source beside it"
        raise InvalidConfigFile(f"{section.where('source_profile' if source else 'role_arn')} {problem}")
    if named:
        return _named(section, named)
    if source == section.name:
        keys = _keys(section)
        if keys is None:
            raise InvalidConfigFile(f"{section.where('source_profile')} names its own profile, which has no keys")
        return keys
    visited = (*visited, section.name)
    if source in visited:
        raise InvalidConfigFile(f"{section.where('source_profile')} closes a circle of {len(visited)} profiles")
    if len(visited) > LONGEST_CHAIN:
        raise InvalidConfigFile(f"{section.where('source_profile')} makes a chain of more than {LONGEST_CHAIN} roles")
    following = shared.profiles.get(str(source))
    if following is None:
        raise InvalidConfigFile(f"{section.where('source_profile')} names a profile that does not exist")
    # Keys end a chain, also beside a role: only the first profile of a chain is asked for its role before its keys.
    found = _keys(following) or _plan(shared, following, visited)
    if found is None:
        raise InvalidConfigFile(f"{section.where('source_profile')} names a profile that has none of {KINDS}")
    return found


def _named(section: Section, named: str) -> NamedPlan:
    match str(named):
        case "Environment" | "EcsContainer" | "Ec2InstanceMetadata" as source:
            return NamedPlan(source=source)
    raise InvalidConfigFile(
        f"{section.where('credential_source')} must be Environment, EcsContainer or Ec2InstanceMetadata"
    )


def _place(shared: SharedConfig, section: Section, visited: tuple[str, ...]) -> InProfile:
    return InProfile.of(shared, section, in_force=shared.profiles[visited[0]] if visited else section)


def _region(section: Section) -> str | None:
    region = _text(section, "region")
    if region is not None and not is_region(region):
        raise InvalidRegion(f"{section.where('region')} is not a region: {REGION_RULE}")
    return region


def _sso(shared: SharedConfig, section: Section, place: InProfile) -> SSOPlan:
    session_name = _text(section, "sso_session")
    settings: Section = section
    if session_name is not None:
        session = shared.sso_sessions.get(session_name)
        if session is None:
            raise InvalidConfigFile(f"{section.where('sso_session')} names an sso-session that does not exist")
        for key in session.values:
            if section.get(key) not in (None, session.get(key)):
                raise InvalidConfigFile(f"{section.where(key)} contradicts {session.where(key)}")
        settings = session
    return SSOPlan(
        account_id=_needed(section, "sso_account_id", because="sso_role_name"),
        role_name=_needed(section, "sso_role_name", because="sso_account_id"),
        region=_needed(settings, "sso_region", because="sso_start_url"),
        session_name=session_name,
        start_url=_needed(settings, "sso_start_url", because="sso_region"),
        place=place,
    )


def _keys(section: Section) -> KeysPlan | None:
    key_id, secret = section.get("aws_access_key_id"), section.get("aws_secret_access_key")
    if key_id is None and secret is None:
        return None
    if key_id is None or secret is None:
        present, absent = "aws_access_key_id", "aws_secret_access_key"
        if key_id is None:
            present, absent = absent, present
        raise InvalidConfigFile(f"{section.where(present)} needs {absent} beside it")
    token = section.get("aws_session_token") or section.get("aws_security_token")
    return KeysPlan(credentials=Credentials(access_key_id=str(key_id), secret_access_key=secret, session_token=token))


def _duration(section: Section) -> int | None:
    text = section.get("duration_seconds")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidConfigFile(f"{section.where('duration_seconds')} must be a whole number of seconds")
    return int(text)


def _needed(section: Section, key: str, *, because: str) -> str:
    text = section.get(key)
    if text is None:
        raise InvalidConfigFile(f"{section.where(because)} needs {key} beside it")
    return str(text)


def _text(section: Section, key: str) -> str | None:
    text = section.get(key)
    return None if text is None else str(text)
