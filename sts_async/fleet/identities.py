"""
Identities: the keys of the credentials in a fleet, and how each is described and checked.

An identity is a value that can be hashed. So it is the key of its credentials, and two requests with any different
member are two identities (T42).
"""

from collections.abc import Collection
from typing import Any

import attrs

from .. import operations
from .._protocol import arns
from .._shape.arguments import other_than
from .._shape.secret import kind_of, without_data
from ..credentials._sts_providers import check, check_arns
from ..credentials.source import name_of
from ..errors import ConfigurationError
from ..operations import BY_REQUEST, Operation
from ..protocols import CredentialsProvider
from ..shapes import AssumeRootRequest, GetFederationTokenRequest, Request

MAX_CHAIN = 16  # identities, one through the other

ISSUING = (
    operations.ASSUME_ROLE,
    operations.ASSUME_ROLE_WITH_SAML,
    operations.ASSUME_ROLE_WITH_WEB_IDENTITY,
    operations.ASSUME_ROOT,
    operations.GET_FEDERATION_TOKEN,
    operations.GET_SCOPED_CREDENTIALS,
    operations.GET_SESSION_TOKEN,
)
"""The operations whose requests are identities: each issues credentials."""

_IDENTITIES = frozenset(operation.request for operation in ISSUING)


def _shown(value: Any) -> str:
    """Return the text of a value that may be given by mistake, such as a dict with keys."""
    return repr(without_data(value))


@attrs.frozen
class ChainedRequest:
    """
    A request that is signed with the credentials of another identity of the fleet.

        hub = AssumeRoleRequest(role_arn="arn:aws:iam::123456789012:role/hub", role_session_name="me")
        customer = AssumeRoleRequest(role_arn="arn:aws:iam::210987654321:role/data", role_session_name="me")
        await fleet.get(ChainedRequest(customer, source=hub))

    The fleet holds the credentials of the source once, for all requests that are signed with them. AWS limits the
    session of a role that assumed a role to one hour.

    Args:
        request: A request that issues credentials and is signed, such as `AssumeRoleRequest`.
        source: The identity whose credentials sign it: a request, a provider, or a further `ChainedRequest`.

    Raises:
        ConfigurationError: More than 16 identities are chained.
    """

    request: Request[Any] = attrs.field(repr=_shown)
    source: "Identity" = attrs.field(repr=_shown)

    def __attrs_post_init__(self) -> None:
        # Here, because a chain that is too long could be neither hashed nor compared.
        length, source = 1, self.source
        while isinstance(source, ChainedRequest):
            length, source = length + 1, source.source
        if length >= MAX_CHAIN:
            raise ConfigurationError(f"more than {MAX_CHAIN} identities are chained")


Identity = Request[Any] | ChainedRequest | CredentialsProvider
"""
The key of credentials in a fleet: a request that issues credentials, a `ChainedRequest`, or a credentials provider.

The requests are `AssumeRoleRequest`, `AssumeRoleWithSAMLRequest`, `AssumeRoleWithWebIdentityRequest`,
`AssumeRootRequest`, `GetFederationTokenRequest`, `GetScopedCredentialsRequest` and `GetSessionTokenRequest`. Equal
requests are one identity. A provider is an identity of its own.
"""


def request_of(identity: object) -> Request[Any] | None:
    """Return the request of an identity; None for a provider."""
    if isinstance(identity, ChainedRequest):
        return without_data(identity.request)  # type: ignore[no-any-return]
    return identity if isinstance(identity, Request) else None


def source_of(identity: object) -> Any:
    """Return the identity that signs the request of *identity*; None for the credentials of the client."""
    return without_data(identity.source) if isinstance(identity, ChainedRequest) else None


def operation_of(request: Request[Any]) -> Operation[Any]:
    """Return the operation of the request of an identity."""
    return BY_REQUEST[type(request)]


def account_of(request: Request[Any] | None) -> str | None:
    """Return the account of the credentials that a request asks for, or None if the request does not say."""
    if isinstance(request, AssumeRootRequest):
        principal = request.target_principal
        return principal if arns.is_account_id(principal) else arns.account_of(principal)
    return arns.account_of(getattr(request, "role_arn", None))


def describe(identity: object) -> str:
    """Return the name of an identity, for people. It has no secret, and is not for labels of metrics."""
    request = request_of(identity)
    if request is None:
        return name_of(identity)  # type: ignore[arg-type]
    name = _describe_request(request)
    source = source_of(identity)
    return name if source is None else f"{name} through {describe(source)}"


def _describe_request(request: Request[Any]) -> str:
    role_arn = getattr(request, "role_arn", None)
    if role_arn is not None:
        session = getattr(request, "role_session_name", None)
        return f"role {role_arn!a}" if session is None else f"role {role_arn!a} (session {session!a})"
    if isinstance(request, GetFederationTokenRequest):
        return f"federated user {request.name!a}"
    if isinstance(request, AssumeRootRequest):
        return f"root of {request.target_principal!a}"
    return operation_of(request).name


def role_in(identity: object) -> str:
    """Return ``, role ARN`` for an identity that is a role; else nothing. Text that is no ARN may be a secret."""
    role_arn = getattr(request_of(identity), "role_arn", None)
    return f", role {role_arn}" if isinstance(role_arn, str) and arns.is_role(role_arn) else ""


def check_identity(
    identity: object,
    *,
    allowed_accounts: Collection[str] | None = None,
    strict_arns: bool = True,
    bounds: bool = False,
) -> None:
    """
    Check a value that a program passed as an identity.

    Args:
        identity: The value.
        allowed_accounts: Ids of the accounts that roles may belong to; None for any (T43).
        strict_arns: Whether ARNs must follow the grammar of IAM.
        bounds: Whether to check lengths, ranges and patterns of members as well.

    Raises:
        ConfigurationError: It is no identity, has an MFA code, is signed although its operation is not, or belongs to
            an account that is not allowed.
        ParamValidationError: Its request breaks constraints. The error lists all of them.
    """
    while True:
        check_kind(identity)
        request = request_of(identity)
        if request is None:
            return
        _check_request(request, chained=isinstance(identity, ChainedRequest), bounds=bounds)
        check_arns(request, strict=strict_arns)
        check_target(request, allowed_accounts)
        if not isinstance(identity, ChainedRequest):
            return
        identity = source_of(identity)


def _check_request(request: Request[Any], *, chained: bool, bounds: bool) -> None:
    if getattr(request, "token_code", None) is not None:
        raise ConfigurationError(
            "an identity with token_code cannot be refreshed, because an MFA code is valid once: pass a provider with "
            "mfa_code=..., such as AssumeRoleProvider"
        )
    if chained and not operation_of(request).signed:
        raise ConfigurationError(f"{type(request).__name__} is not signed, so it needs no source")
    check(request, bounds=bounds)
    if getattr(request, "serial_number", None) is not None:
        raise ConfigurationError(
            "an identity with serial_number needs an MFA code for each request: pass a provider with mfa_code=..., "
            "such as AssumeRoleProvider"
        )


def check_kind(identity: object) -> None:
    """
    Check that a value is an identity, and nothing else of it.

    Raises:
        ConfigurationError: It is neither a request that issues credentials, nor a chain of them, nor a provider.
    """
    request = request_of(identity)
    if request is not None and type(request) not in _IDENTITIES:
        raise ConfigurationError(f"{kind_of(request)} issues no credentials, so it is not an identity")
    if request is not None:
        return
    identity = without_data(identity)
    if isinstance(identity, type) or not hasattr(identity, "provide_credentials"):
        raise ConfigurationError(
            "an identity must be a request such as AssumeRoleRequest, a ChainedRequest or a credentials provider, not "
            f"{other_than('Identity', identity)}"
        )


def check_target(request: Request[Any] | None, allowed: Collection[str] | None) -> None:
    """
    Check that the role or principal of a request is in an allowed account, before the request is sent (T43).

    Raises:
        ConfigurationError: Its account is not one of *allowed*, or its ARN does not show an account.
    """
    account = account_of(request)
    if allowed is not None and account is None:
        target = getattr(request, "role_arn", None) or getattr(request, "target_principal", None)
        # A server that accepts other ARNs may read this one as a role of any account.
        account = None if target is None else ""
    check_account(account, allowed)


def check_account(account: str | None, allowed: Collection[str] | None) -> None:
    """
    Check that credentials of *account* are allowed. An unknown account passes, because no user chose it.

    Raises:
        ConfigurationError: *account* is not one of *allowed*.
    """
    if allowed is not None and account is not None and account not in allowed:
        raise ConfigurationError("the account of this identity is not one of allowed_accounts")


def checked_accounts(allowed: object) -> frozenset[str] | None:
    """
    Return the argument ``allowed_accounts`` as a set; None for any account.

    Raises:
        ConfigurationError: *allowed* is neither None nor a collection of account ids.
    """
    if allowed is None:
        return None
    # A str is a collection too, and would match any part of it.
    if isinstance(allowed, Collection) and not isinstance(allowed, str) and all(map(arns.is_account_id, allowed)):
        return frozenset(allowed)
    raise ConfigurationError("allowed_accounts must be a collection of account ids, of twelve digits each")
