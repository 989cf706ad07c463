"""Rules that several operations share: trust, MFA, durations, policies, sizes. A broken rule raises `Refusal`."""

import hmac
import json
import math
from collections.abc import Mapping
from typing import Any

import attrs

from ..errors import (
    ExpiredTokenException,
    IDPRejectedClaimException,
    InsufficientSessionLifetimeException,
    InvalidSubjectCredentialsException,
    MalformedPolicyDocumentException,
    PackedPolicyTooLargeException,
)
from ..shapes import TemporaryCredentials
from .claims import Claims
from .directory import (
    ACCOUNT_ID,
    ROLE_ARN,
    TOKEN_BASE,
    TOKEN_LIMIT,
    Directory,
    Principal,
    Role,
    new_session_credentials,
)
from .refusals import Refusal, access_denied, invalid, modelled
from .sealed import seal

CHAINED_SESSION = 3600  # s, the maximum if a session of a role assumes another role
ROOT_SESSION = 3600  # s, the maximum for sessions of a root user
MAX_SCOPE_POLICIES = 3  # policies of GetScopedCredentials in one session
AUTHORIZATION_MESSAGE = "authorization message"

# Operations that sessions cannot call. Source: IAM User Guide, "Compare AWS STS credentials".
_ONLY_WITH_KEYS = frozenset({"GetFederationToken", "GetSessionToken"})
_FORBIDDEN = {"assumed-role": _ONLY_WITH_KEYS}
_PERMITTED = {
    "session": frozenset({"AssumeRole", "GetCallerIdentity", "GetScopedCredentials"}),
    "federated-user": frozenset({"GetCallerIdentity", "GetScopedCredentials"}),
    "assumed-root": frozenset({"GetCallerIdentity"}),
}


def check_kind(caller: Principal, *, operation: str) -> None:
    """Check that a session of this kind can call *operation*, independent of its policies."""
    permitted = _PERMITTED.get(caller.kind)
    if operation in _FORBIDDEN.get(caller.kind, ()) or (permitted is not None and operation not in permitted):
        raise access_denied(f"Cannot call {operation} with session credentials")


def not_authorized(directory: Directory, caller: Principal, *, action: str, resource: str) -> Refusal:
    """Return the error with the service's text and an encoded message for DecodeAuthorizationMessage."""
    encoded = seal(
        directory.sealing_key,
        AUTHORIZATION_MESSAGE,
        {
            "allowed": False,
            "explicitDeny": False,
            "matchedStatements": {"items": []},
            "failures": {"items": []},
            "context": {
                "principal": {"id": caller.user_id, "arn": caller.arn},
                "action": action,
                "resource": resource,
                "conditions": {"items": []},
            },
        },
    )
    return access_denied(
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource} "
        f"Encoded authorization failure message: {encoded}"
    )


def existing_role(directory: Directory, arn: str) -> Role | None:
    """Return the role, or None if it does not exist. An invalid ARN is an error."""
    if not ROLE_ARN.fullmatch(arn):
        raise invalid("The role ARN is invalid")
    return directory.find_role(arn)


def federated_role(directory: Directory, arn: str, *, providers: set[str], action: str) -> Role:
    """Return a role that trusts one of *providers*."""
    role = existing_role(directory, arn)
    if role is None or not (role.trusts is None or role.trusts & {*providers, "*"}):
        raise access_denied(f"Not authorized to perform {action}")
    return role


def check_claims(claims: Claims, *, now: float) -> None:
    """Check that claims have not expired and are already valid."""
    if not claims.expires_at > now:
        raise modelled(ExpiredTokenException, "Token must be redeemed before it expires")
    if claims.not_before is not None and claims.not_before > now:
        raise modelled(IDPRejectedClaimException, "The claim is not valid yet")


def proves_mfa(caller: Principal, *, serial_number: str | None, token_code: str | None) -> bool:
    """Return True if the caller uses MFA now or used it at the start of the session. A wrong code is an error."""
    if serial_number is None and token_code is None:
        return caller.mfa
    if serial_number is None or token_code is None:
        raise access_denied(
            "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."
        )
    user = caller.user
    if user is None or user.mfa_serial != serial_number:
        raise access_denied("MultiFactorAuthentication failed, unable to validate MFA code.")
    if not hmac.compare_digest(user.mfa_code.encode(), token_code.encode()):
        raise access_denied("MultiFactorAuthentication failed with invalid MFA one time pass code.")
    return True


def seconds_of(request: Any) -> Any:
    """Return the requested lifetime: None or a number, because a decoded request has no other form."""
    return request.duration_seconds


def tags_of(request: Any) -> dict[str, str]:
    """Return the tags of a request by key. Keys that differ only in case are an error."""
    found = {tag.key: tag.value for tag in request.tags}
    if len({key.casefold() for key in found}) < len(request.tags):
        raise Refusal(
            "InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive."
        )
    return found


def task_policy_of(request: Any) -> str | None:
    """Return the ARN of the task policy of a request for root credentials."""
    arn: str | None = request.task_policy_arn.arn
    return arn


def role_duration(role: Role, requested: int | None, *, chained: bool = False) -> int:
    """Return the lifetime of a session of a role, in seconds."""
    if requested is None:
        return min(3600, role.max_session_duration)
    if requested > role.max_session_duration:
        raise invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    if chained and requested > CHAINED_SESSION:
        raise invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        )
    return requested


def key_duration(caller: Principal, requested: int | None) -> int:
    """Return the lifetime of a session that is requested with long-term keys, in seconds."""
    if caller.kind != "root":
        return 43_200 if requested is None else requested
    if requested is not None and requested > ROOT_SESSION:
        raise invalid(f"DurationSeconds of a root user must be at most {ROOT_SESSION}")
    return ROOT_SESSION if requested is None else requested


def scope_policies(caller: Principal, policy: str | Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the policies that restrict a scoped session: those of the caller's session, and *policy*."""
    if policy is None:
        return caller.scope_policies
    if len(caller.scope_policies) >= MAX_SCOPE_POLICIES:
        raise access_denied(f"A session can have at most {MAX_SCOPE_POLICIES} scope-down policies.")
    return (*caller.scope_policies, str(policy))


def scoped_expiration(caller: Principal, requested: int | None, *, now: float) -> float:
    """Return the expiry of a scoped session, in seconds since 1970, at most that of the caller's session."""
    ends = caller.credentials.expiration
    if ends is None:
        raise modelled(
            InvalidSubjectCredentialsException,
            "GetScopedCredentials can only be called with temporary security credentials",
        )
    if requested is None:
        return ends.timestamp()
    if now + requested > ends.timestamp():
        raise modelled(
            InsufficientSessionLifetimeException,
            "The requested DurationSeconds exceeds the remaining lifetime of the calling session",
        )
    return now + requested


def account_of(target: str) -> str:
    """Return the account in the target of AssumeRoot, which is its id or the ARN of its root user."""
    arn = target.split(":")
    account = arn[4] if len(arn) == 6 and arn[:3:2] == ["arn", "iam"] and arn[5] == "root" else target
    if not ACCOUNT_ID.fullmatch(account):
        raise invalid("TargetPrincipal must be the id of an account or the ARN of its root user")
    return account


@attrs.frozen
class Issued:
    """
    New credentials, with their sizes for the response.

    Attributes:
        credentials: The credentials.
        packed_policy_size: Size of policies and tags, in percent of the limit; None without policies and tags.
        sizes: Size and utilization of the session token, by the names of the response's members.
    """

    credentials: TemporaryCredentials
    packed_policy_size: int | None
    sizes: dict[str, Any]


def issue(request: Any, *, account: str, expires_at: float, inherited: tuple[str, ...] = ()) -> Issued:
    """
    Return new credentials.

    Each byte of policies and tags makes the session token longer by one character. They are not compressed, so that a
    test can reach the limit.

    Args:
        request: The request, with its policies and tags.
        account: Account of the credentials.
        expires_at: Expiry, in seconds since 1970; it is rounded down to whole seconds.
        inherited: Policies of the caller's session, which count too.
    """
    packed = _packed_size(request) + sum(len(policy.encode()) for policy in inherited)
    size = max(TOKEN_BASE + packed, getattr(request, "minimum_session_token_size", None) or 0)
    if size > TOKEN_LIMIT:
        raise modelled(
            PackedPolicyTooLargeException,
            f"Packed policy consumes {_percent(size)}% of allotted space, please use smaller policy.",
        )
    return Issued(
        new_session_credentials(account=account, expires_at=int(expires_at), token_size=size),
        _percent(packed) if packed else None,
        {"session_token_size": size, "session_token_utilization": _percent(size)},
    )


def _percent(size: int) -> int:
    return math.ceil(size * 100 / TOKEN_LIMIT)


def _packed_size(request: Any) -> int:
    policy = getattr(request, "policy", None) or ""
    if policy:
        _check_policy(policy)
    arns = [descriptor.arn or "" for descriptor in getattr(request, "policy_arns", ())]
    tags = [tag.key + tag.value for tag in getattr(request, "tags", ())]
    return sum(len(text.encode()) for text in (policy, *arns, *tags))


def _check_policy(policy: str) -> None:
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise modelled(MalformedPolicyDocumentException, "This policy contains invalid Json")
