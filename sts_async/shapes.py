"""
Every request, response and nested shape of the STS API, version 2011-06-15, in operation order.

Requests are frozen, comparable and hashable; constraints are checked when a request is sent, not when it is made.
Responses carry what the service said of the exchange in `metadata`. Nothing here shows a secret when it is printed.

Source: the API model in botocore, compared member by member in ``tests/test_model.py``.
"""

# Annotations are read at run time: no `from __future__ import annotations` here.
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from ._core.constraints import Category, Length, OneOf, Pattern, Range
from ._core.exchange import Request as Request
from ._core.exchange import Response as Response
from ._core.exchange import ResponseMetadata as ResponseMetadata
from ._core.maps import FrozenMap as FrozenMap
from ._core.propagation import OriginIdentity as OriginIdentity
from ._core.propagation import TransactionContext as TransactionContext
from ._core.propagation import TrustedIdentityPropagationContext as TrustedIdentityPropagationContext
from ._core.shape import Shape, document, member, secret, shape

# The model writes the last range as \u10000-\u10FFFF, which most engines misread.
_ARN_CHARACTERS = r"[\t\n\r\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]+"
_POLICY_CHARACTERS = r"[\t\n\r\u0020-\u00FF]+"
_TAG_CHARACTERS = Category("LZN", "_.:/=+-@")
_SCOPE = r"[\x21\x23-\x2B\x2D-\x5B\x5D-\x7E]+"
_ROOT_TASKS = "arn:aws:iam::aws:policy/root-task/"

Arn = Annotated[str, Length(20, 2048), Pattern(_ARN_CHARACTERS)]
RoleSessionName = Annotated[str, Length(2, 64), Pattern(r"[\w+=,.@-]*")]
SourceIdentity = Annotated[str, Length(2, 256), Pattern(r"[\w+=,.@-]*")]
UserName = Annotated[str, Length(2, 32), Pattern(r"[\w+=,.@-]*")]
ExternalId = Annotated[str, Length(2, 1224), Pattern(r"[\w+=,.@:\/-]*")]
SerialNumber = Annotated[str, Length(9, 256), Pattern(r"[\w+=/:,.@-]*")]
TokenCode = Annotated[str, Length(6, 6), Pattern(r"[\d]*")]
AccessKeyId = Annotated[str, Length(16, 128), Pattern(r"[\w]*")]
ProviderId = Annotated[str, Length(4, 2048)]
EncodedMessage = Annotated[str, Length(1, 10_240)]
TargetPrincipal = Annotated[str, Length(12, 2048)]
SAMLAssertion = Annotated[str, Length(4, 100_000)]
WebIdentityToken = Annotated[str, Length(4, 20_000)]
ContextAssertion = Annotated[str, Length(4, 3072)]
SigningAlgorithm = Annotated[str, Length(5, 5), OneOf(("RS256", "ES384"))]
Scope = Annotated[str, Length(1, 256), Pattern(f"{_SCOPE}( {_SCOPE})*")]
SubjectMode = Annotated[str, OneOf(("AWSIdentity", "OriginIdentity"))]
SessionDescription = Annotated[str, Length(2, 256), Pattern(r"[\t\n\r\u0020-\u007E\u00A1-\u00FF]*")]
TagKey = Annotated[str, Length(1, 128), _TAG_CHARACTERS]
TagValue = Annotated[str, Length(0, 256), _TAG_CHARACTERS]
UnrestrictedPolicy = Annotated[str | Mapping[str, Any], Length(1), Pattern(_POLICY_CHARACTERS)]
Policy = Annotated[str | Mapping[str, Any], Length(1, 2048), Pattern(_POLICY_CHARACTERS)]
RoleDurationSeconds = Annotated[int, Range(900, 43_200, "s")]
DurationSeconds = Annotated[int, Range(900, 129_600, "s")]
ScopedDurationSeconds = Annotated[int, Range(1, 129_600, "s")]
RootDurationSeconds = Annotated[int, Range(0, 900, "s")]
TokenDurationSeconds = Annotated[int, Range(60, 3600, "s")]
MinimumSessionTokenSize = Annotated[int, Range(0, 4096, "bytes")]


# -- nested shapes ------------------------------------------------------------------------------------------------


@shape
class Credentials(Shape):
    """
    What signs a request: an access key, and a session token when it is temporary.

    `expiration` is an aware datetime in UTC; None means that the credentials do not expire. Pickles and copies, so
    that workers can pass it on.
    """

    access_key_id: str
    secret_access_key: str = secret()
    session_token: str | None = secret(default=None)
    expiration: datetime | None = None

    def is_expired(self, *, now: datetime) -> bool:
        """Say whether the credentials are past their expiration at *now*, an aware datetime."""
        return self.expiration is not None and self.expiration <= now.astimezone(UTC)


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

    arn: Arn | None = member(default=None, wire="arn")


@shape
class Tag(Shape):
    """A session tag."""

    key: TagKey
    value: TagValue


@shape
class ProvidedContext(Shape):
    """A context assertion, and the provider that made it."""

    provider_arn: Arn | None = None
    context_assertion: ContextAssertion | None = secret(default=None)


PolicyArns = Annotated[Sequence[PolicyDescriptorType], Length(0, 10)]  # 10: API reference, not in the model
Tags = Annotated[Sequence[Tag], Length(0, 50)]
TransitiveTagKeys = Annotated[Sequence[TagKey], Length(0, 50)]
ProvidedContexts = Annotated[Sequence[ProvidedContext], Length(1, 5)]
Audience = Annotated[Sequence[Annotated[str, Length(1, 1000)]], Length(1, 10)]


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

    role_arn: Arn
    role_session_name: RoleSessionName
    policy_arns: PolicyArns = ()
    policy: UnrestrictedPolicy | None = document(default=None)
    duration_seconds: RoleDurationSeconds | None = None
    tags: Tags = ()
    transitive_tag_keys: TransitiveTagKeys = ()
    external_id: ExternalId | None = None
    serial_number: SerialNumber | None = None
    token_code: TokenCode | None = secret(default=None)
    source_identity: SourceIdentity | None = None
    provided_contexts: ProvidedContexts = ()
    minimum_session_token_size: MinimumSessionTokenSize | None = None


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

    role_arn: Arn
    principal_arn: Arn
    saml_assertion: SAMLAssertion = secret(wire="SAMLAssertion")
    policy_arns: PolicyArns = ()
    policy: Policy | None = document(default=None)
    duration_seconds: RoleDurationSeconds | None = None
    minimum_session_token_size: MinimumSessionTokenSize | None = None


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

    role_arn: Arn
    role_session_name: RoleSessionName
    web_identity_token: WebIdentityToken = secret()
    provider_id: ProviderId | None = None
    policy_arns: PolicyArns = ()
    policy: Policy | None = document(default=None)
    duration_seconds: RoleDurationSeconds | None = None
    minimum_session_token_size: MinimumSessionTokenSize | None = None


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

    target_principal: TargetPrincipal
    task_policy_arn: PolicyDescriptorType
    duration_seconds: RootDurationSeconds | None = None
    minimum_session_token_size: MinimumSessionTokenSize | None = None


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

    encoded_message: EncodedMessage = secret()


# -- GetAccessKeyInfo ---------------------------------------------------------------------------------------------


@shape
class GetAccessKeyInfoResponse(Response):
    """The account that an access key belongs to."""

    account: str


@shape
class GetAccessKeyInfoRequest(Request[GetAccessKeyInfoResponse]):
    """Ask which account an access key belongs to."""

    access_key_id: AccessKeyId


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
    """Temporary credentials for what was delegated."""

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

    name: UserName
    policy: Policy | None = document(default=None)
    policy_arns: PolicyArns = ()
    duration_seconds: DurationSeconds | None = None
    tags: Tags = ()
    minimum_session_token_size: MinimumSessionTokenSize | None = None


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

    policy: Policy | None = document(default=None)
    duration_seconds: ScopedDurationSeconds | None = None
    minimum_session_token_size: MinimumSessionTokenSize | None = None
    scoped_session_description: SessionDescription | None = None


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

    duration_seconds: DurationSeconds | None = None
    serial_number: SerialNumber | None = None
    token_code: TokenCode | None = secret(default=None)
    minimum_session_token_size: MinimumSessionTokenSize | None = None


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
    duration_seconds: TokenDurationSeconds | None = None
    signing_algorithm: SigningAlgorithm
    scope: Scope | None = None
    subject_mode: SubjectMode | None = None
    tags: Tags = ()
