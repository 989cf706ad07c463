"""
Every request, response and nested shape of the STS API, version 2011-06-15, in operation order.

Requests are frozen, comparable and hashable; constraints are checked when a request is sent, not when it is made.
Responses carry what the service said of the exchange in `metadata`. Nothing here shows a secret when it is printed.

Source: the API model in botocore, compared member by member in ``tests/test_model.py``.
"""

# Annotations are read at run time: no `from __future__ import annotations` here.
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Annotated

from ._shape import scalars
from ._shape.constraints import Length
from ._shape.frozen_map import FrozenMap as FrozenMap
from ._shape.identity_propagation import OriginIdentity as OriginIdentity
from ._shape.identity_propagation import TransactionContext as TransactionContext
from ._shape.identity_propagation import TrustedIdentityPropagationContext as TrustedIdentityPropagationContext
from ._shape.request_response import Request as Request
from ._shape.request_response import Response as Response
from ._shape.request_response import ResponseMetadata as ResponseMetadata
from ._shape.scalars import PolicyDocument as PolicyDocument
from ._shape.scalars import Seconds as Seconds
from ._shape.secret import Secret, Unshown, hiding, kind_of, redact
from ._shape.shape import Shape, document, extra, member, secret, shape
from .errors import ConfigurationError

_ROOT_TASKS = "arn:aws:iam::aws:policy/root-task/"


def _key(value: object) -> object:
    """Return a key or a token hidden, and of anything but text only what it is."""
    if value is None or type(value) is Secret:
        return value
    return redact(value) if isinstance(value, str) else Unshown(kind_of(value))


_with_hidden_keys = hiding(
    access_key_id=lambda value: value if isinstance(value, str) else _key(value),
    secret_access_key=_key,
    session_token=_key,
)


# -- nested shapes ------------------------------------------------------------------------------------------------


@_with_hidden_keys
@shape
class Credentials(Shape):
    """
    Credentials that sign requests: an access key, and a session token for temporary credentials.

    `expiration` is an aware datetime in UTC; None means that the credentials do not expire. `account_id` is the account
    of the keys, 12 digits, or None if the source does not know it. It is never sent, and not compared: two credentials
    are equal if their keys are. Instances can be pickled and copied, so that workers can pass them on.

    `secret_access_key` and `session_token` are kept as `Secret`: text whose repr is ``'***'``.

    Raises:
        ConfigurationError: A key is None or no text, or *session_token* is neither None nor text.
    """

    access_key_id: str
    secret_access_key: str = secret()
    session_token: str | None = secret(default=None)
    expiration: datetime | None = None
    account_id: str | None = extra(default=None)

    def __attrs_post_init__(self) -> None:
        for name in ("access_key_id", "secret_access_key", "session_token"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (value is None and name == "session_token"):
                given = "None: is the variable set that it comes from?" if value is None else f"a {kind_of(value)}"
                raise ConfigurationError(f"{name} of {type(self).__name__} must be text, not {given}")

    def is_expired(self, *, now: datetime) -> bool:
        """Return True if the credentials have expired at *now*, an aware datetime."""
        return self.expiration is not None and self.expiration <= now.astimezone(UTC)

    def __repr__(self) -> str:
        shown = Shape.__repr__(self)
        return shown if self.account_id is None else f"{shown[:-1]}, account_id={self.account_id!r})"


@_with_hidden_keys
@shape
class TemporaryCredentials(Credentials):
    """The credentials that STS returns. They can be handed to another client as they are."""

    session_token: str = secret()  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    expiration: datetime  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]


@shape
class AssumedRoleUser(Shape):
    """The session of a role: its id (``AROA...:session name``) and its ARN."""

    assumed_role_id: str | None = None
    arn: str | None = None


@shape
class FederatedUser(Shape):
    """The session of a federated user: its id (``account:name``) and its ARN."""

    federated_user_id: str | None = None
    arn: str | None = None


@shape
class ScopedSession(Shape):
    """A session with narrower permissions: its id and its ARN, which are those of the session that asked for it."""

    scoped_session_id: str | None = None
    arn: str | None = None


@shape
class PolicyDescriptorType(Shape):
    """A managed policy, by its ARN."""

    arn: scalars.Arn | None = member(default=None, wire="arn")


@shape
class Tag(Shape):
    """A session tag."""

    key: scalars.TagKey
    value: scalars.TagValue


@shape
class ProvidedContext(Shape):
    """A context assertion, and the provider that made it."""

    provider_arn: scalars.Arn | None = None
    context_assertion: scalars.ContextAssertion | None = secret(default=None)


Tags = Mapping[str, str] | Collection[Tag]
"""Tags as a mapping of keys to values, or as a list of `Tag`. They are kept as a tuple of `Tag`."""

Policies = Collection[str | PolicyDescriptorType]
"""Managed policies, each by its ARN or as a `PolicyDescriptorType`, in which form they are kept, in a tuple."""

PolicyArns = Annotated[Policies, Length(0, 10)]  # 10: API reference, not in the model
SessionTags = Annotated[Tags, Length(0, 50)]
TransitiveTagKeys = Annotated[Collection[scalars.TagKey], Length(0, 50)]
ProvidedContexts = Annotated[Collection[ProvidedContext], Length(1, 5)]
Audience = Annotated[Collection[Annotated[str, Length(1, 1000)]], Length(1, 10)]


# -- AssumeRole ---------------------------------------------------------------------------------------------------


@shape
class AssumeRoleResponse(Response):
    """Temporary credentials of a role. Sizes are in bytes, utilization and packed size in percent of the limit."""

    credentials: TemporaryCredentials
    assumed_role_user: AssumedRoleUser | None = None
    packed_policy_size: int | None = None
    source_identity: str | None = None
    session_token_utilization: int | None = None
    session_token_size: int | None = None


@shape
class AssumeRoleRequest(Request[AssumeRoleResponse]):
    """Ask for temporary credentials of a role."""

    role_arn: scalars.Arn
    role_session_name: scalars.RoleSessionName
    policy_arns: PolicyArns = ()
    policy: scalars.UnrestrictedPolicy | None = document(default=None)
    duration_seconds: scalars.RoleDurationSeconds | None = None
    tags: SessionTags = ()
    transitive_tag_keys: TransitiveTagKeys = ()
    external_id: scalars.ExternalId | None = None
    serial_number: scalars.SerialNumber | None = None
    token_code: scalars.TokenCode | None = secret(default=None)
    source_identity: scalars.SourceIdentity | None = None
    provided_contexts: ProvidedContexts = ()
    minimum_session_token_size: scalars.MinimumSessionTokenSize | None = None


# -- AssumeRoleWithSAML -------------------------------------------------------------------------------------------


@shape
class AssumeRoleWithSAMLResponse(Response):
    """Temporary credentials of a role, and what the SAML assertion said."""

    credentials: TemporaryCredentials
    assumed_role_user: AssumedRoleUser | None = None
    packed_policy_size: int | None = None
    subject: str | None = None
    subject_type: str | None = None
    issuer: str | None = None
    audience: str | None = None
    name_qualifier: str | None = None
    source_identity: str | None = None
    session_token_utilization: int | None = None
    session_token_size: int | None = None
    trusted_identity_propagation_context: TrustedIdentityPropagationContext | None = secret(default=None)


@shape
class AssumeRoleWithSAMLRequest(Request[AssumeRoleWithSAMLResponse]):
    """Ask for temporary credentials of a role with a SAML assertion. The call is not signed."""

    role_arn: scalars.Arn
    principal_arn: scalars.Arn
    saml_assertion: scalars.SAMLAssertion = secret(wire="SAMLAssertion")
    policy_arns: PolicyArns = ()
    policy: scalars.Policy | None = document(default=None)
    duration_seconds: scalars.RoleDurationSeconds | None = None
    minimum_session_token_size: scalars.MinimumSessionTokenSize | None = None


# -- AssumeRoleWithWebIdentity ------------------------------------------------------------------------------------


@shape
class AssumeRoleWithWebIdentityResponse(Response):
    """Temporary credentials of a role, and what the web identity token said."""

    credentials: TemporaryCredentials
    subject_from_web_identity_token: str | None = None
    assumed_role_user: AssumedRoleUser | None = None
    packed_policy_size: int | None = None
    provider: str | None = None
    audience: str | None = None
    source_identity: str | None = None
    session_token_utilization: int | None = None
    session_token_size: int | None = None
    trusted_identity_propagation_context: TrustedIdentityPropagationContext | None = secret(default=None)


@shape
class AssumeRoleWithWebIdentityRequest(Request[AssumeRoleWithWebIdentityResponse]):
    """Ask for temporary credentials of a role with an OIDC or OAuth 2.0 token. The call is not signed."""

    role_arn: scalars.Arn
    role_session_name: scalars.RoleSessionName
    web_identity_token: scalars.WebIdentityToken = secret()
    provider_id: scalars.ProviderId | None = None
    policy_arns: PolicyArns = ()
    policy: scalars.Policy | None = document(default=None)
    duration_seconds: scalars.RoleDurationSeconds | None = None
    minimum_session_token_size: scalars.MinimumSessionTokenSize | None = None


# -- AssumeRoot ---------------------------------------------------------------------------------------------------


@shape
class AssumeRootResponse(Response):
    """Short-lived credentials for one task on a member account."""

    credentials: TemporaryCredentials
    source_identity: str | None = None
    session_token_utilization: int | None = None
    session_token_size: int | None = None


@shape
class AssumeRootRequest(Request[AssumeRootResponse]):
    """Ask for the root credentials of a member account, scoped to one task."""

    target_principal: scalars.TargetPrincipal
    task_policy_arn: str | PolicyDescriptorType
    duration_seconds: scalars.RootDurationSeconds | None = None
    minimum_session_token_size: scalars.MinimumSessionTokenSize | None = None


ROOT_TASK_POLICIES = (
    f"{_ROOT_TASKS}IAMAuditRootUserCredentials",
    f"{_ROOT_TASKS}IAMCreateRootUserPassword",
    f"{_ROOT_TASKS}IAMDeleteRootUserCredentials",
    f"{_ROOT_TASKS}S3UnlockBucketPolicy",
    f"{_ROOT_TASKS}SQSUnlockQueuePolicy",
)
"""The task policies that AssumeRoot takes. Judged by the service, which may learn more of them."""


# -- DecodeAuthorizationMessage -----------------------------------------------------------------------------------


@shape
class DecodeAuthorizationMessageResponse(Response):
    """Why a request was refused, as JSON text."""

    decoded_message: str = secret()


@shape
class DecodeAuthorizationMessageRequest(Request[DecodeAuthorizationMessageResponse]):
    """Ask what an encoded authorization message says."""

    encoded_message: scalars.EncodedMessage = secret()


# -- GetAccessKeyInfo ---------------------------------------------------------------------------------------------


@shape
class GetAccessKeyInfoResponse(Response):
    """The account that an access key belongs to."""

    account: str


@shape
class GetAccessKeyInfoRequest(Request[GetAccessKeyInfoResponse]):
    """Ask which account an access key belongs to."""

    access_key_id: scalars.AccessKeyId


# -- GetCallerIdentity --------------------------------------------------------------------------------------------


@shape
class GetCallerIdentityResponse(Response):
    """Who signed the request."""

    user_id: str
    account: str
    arn: str


@shape
class GetCallerIdentityRequest(Request[GetCallerIdentityResponse]):
    """Ask who signs the requests. Needs no permission."""


# -- GetDelegatedAccessToken --------------------------------------------------------------------------------------


@shape
class GetDelegatedAccessTokenResponse(Response):
    """Temporary credentials for the delegated permissions."""

    credentials: TemporaryCredentials
    packed_policy_size: int | None = None
    assumed_principal: str | None = None


@shape
class GetDelegatedAccessTokenRequest(Request[GetDelegatedAccessTokenResponse]):
    """Exchange a trade-in token for temporary credentials."""

    trade_in_token: str = secret()


# -- GetFederationToken -------------------------------------------------------------------------------------------


@shape
class GetFederationTokenResponse(Response):
    """Temporary credentials of a federated user."""

    credentials: TemporaryCredentials
    federated_user: FederatedUser | None = None
    packed_policy_size: int | None = None
    session_token_utilization: int | None = None
    session_token_size: int | None = None


@shape
class GetFederationTokenRequest(Request[GetFederationTokenResponse]):
    """Ask for temporary credentials of a federated user."""

    name: scalars.UserName
    policy: scalars.Policy | None = document(default=None)
    policy_arns: PolicyArns = ()
    duration_seconds: scalars.DurationSeconds | None = None
    tags: SessionTags = ()
    minimum_session_token_size: scalars.MinimumSessionTokenSize | None = None


# -- GetScopedCredentials -----------------------------------------------------------------------------------------


@shape
class GetScopedCredentialsResponse(Response):
    """Temporary credentials of the caller with narrower permissions, and how many policies narrow them by now."""

    credentials: TemporaryCredentials
    session_info: ScopedSession | None = None
    session_token_utilization: int | None = None
    session_token_size: int | None = None
    scoped_policies_count: int | None = None
    source_identity: str | None = None


@shape
class GetScopedCredentialsRequest(Request[GetScopedCredentialsResponse]):
    """Ask for the caller's own session with narrower permissions, or for a shorter time."""

    policy: scalars.Policy | None = document(default=None)
    duration_seconds: scalars.ScopedDurationSeconds | None = None
    minimum_session_token_size: scalars.MinimumSessionTokenSize | None = None
    scoped_session_description: scalars.SessionDescription | None = None


# -- GetSessionToken ----------------------------------------------------------------------------------------------


@shape
class GetSessionTokenResponse(Response):
    """Temporary credentials of the caller."""

    credentials: TemporaryCredentials
    session_token_utilization: int | None = None
    session_token_size: int | None = None


@shape
class GetSessionTokenRequest(Request[GetSessionTokenResponse]):
    """Ask for temporary credentials of the caller, usually with an MFA code."""

    duration_seconds: scalars.DurationSeconds | None = None
    serial_number: scalars.SerialNumber | None = None
    token_code: scalars.TokenCode | None = secret(default=None)
    minimum_session_token_size: scalars.MinimumSessionTokenSize | None = None


# -- GetWebIdentityToken ------------------------------------------------------------------------------------------


@shape
class GetWebIdentityTokenResponse(Response):
    """A signed JWT that says who the caller is, and when it expires."""

    web_identity_token: str = secret()
    expiration: datetime


@shape
class GetWebIdentityTokenRequest(Request[GetWebIdentityTokenResponse]):
    """Ask for a JWT, signed by AWS, for services outside AWS."""

    audience: Audience
    duration_seconds: scalars.TokenDurationSeconds | None = None
    signing_algorithm: scalars.SigningAlgorithm
    scope: scalars.Scope | None = None
    subject_mode: scalars.SubjectMode | None = None
    tags: SessionTags = ()
