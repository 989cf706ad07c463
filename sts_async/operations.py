"""The twelve operations of the API, as a table."""

from typing import Any, Generic, TypeVar

import attrs

from . import errors as e
from . import shapes

API_VERSION = "2011-06-15"
NAMESPACE = f"https://sts.amazonaws.com/doc/{API_VERSION}/"

R = TypeVar("R", bound=shapes.Response)


@attrs.frozen(eq=False)
class Operation(Generic[R]):
    """
    One operation of the API.

    Attributes:
        name: The name in the API.
        request: Shape of the request.
        response: Shape of the response.
        errors: The modelled errors of the operation; it can also fail with other codes.
        signed: Whether the request is signed and therefore needs credentials.
        default_duration: Default lifetime in seconds of the credentials or token that the operation issues. None if it
            issues nothing that expires, or if the lifetime is that of the caller's session.
    """

    name: str
    request: type[shapes.Request[R]]
    response: type[R]
    errors: tuple[type[e.ServiceError], ...] = ()
    signed: bool = True
    default_duration: int | None = None


ASSUME_ROLE = Operation(
    "AssumeRole",
    shapes.AssumeRoleRequest,
    shapes.AssumeRoleResponse,
    errors=(
        e.MalformedPolicyDocumentException,
        e.PackedPolicyTooLargeException,
        e.RegionDisabledException,
        e.ExpiredTokenException,
        e.InvalidContextAssertionException,
    ),
    default_duration=3600,
)
ASSUME_ROLE_WITH_SAML = Operation(
    "AssumeRoleWithSAML",
    shapes.AssumeRoleWithSAMLRequest,
    shapes.AssumeRoleWithSAMLResponse,
    errors=(
        e.MalformedPolicyDocumentException,
        e.PackedPolicyTooLargeException,
        e.IDPRejectedClaimException,
        e.InvalidIdentityTokenException,
        e.ExpiredTokenException,
        e.RegionDisabledException,
    ),
    signed=False,
    default_duration=3600,
)
ASSUME_ROLE_WITH_WEB_IDENTITY = Operation(
    "AssumeRoleWithWebIdentity",
    shapes.AssumeRoleWithWebIdentityRequest,
    shapes.AssumeRoleWithWebIdentityResponse,
    errors=(
        e.MalformedPolicyDocumentException,
        e.PackedPolicyTooLargeException,
        e.IDPRejectedClaimException,
        e.IDPCommunicationErrorException,
        e.InvalidIdentityTokenException,
        e.ExpiredTokenException,
        e.RegionDisabledException,
    ),
    signed=False,
    default_duration=3600,
)
ASSUME_ROOT = Operation(
    "AssumeRoot",
    shapes.AssumeRootRequest,
    shapes.AssumeRootResponse,
    errors=(e.RegionDisabledException, e.ExpiredTokenException),
    default_duration=900,
)
DECODE_AUTHORIZATION_MESSAGE = Operation(
    "DecodeAuthorizationMessage",
    shapes.DecodeAuthorizationMessageRequest,
    shapes.DecodeAuthorizationMessageResponse,
    errors=(e.InvalidAuthorizationMessageException,),
)
GET_ACCESS_KEY_INFO = Operation("GetAccessKeyInfo", shapes.GetAccessKeyInfoRequest, shapes.GetAccessKeyInfoResponse)
GET_CALLER_IDENTITY = Operation("GetCallerIdentity", shapes.GetCallerIdentityRequest, shapes.GetCallerIdentityResponse)
GET_DELEGATED_ACCESS_TOKEN = Operation(
    "GetDelegatedAccessToken",
    shapes.GetDelegatedAccessTokenRequest,
    shapes.GetDelegatedAccessTokenResponse,
    errors=(e.ExpiredTradeInTokenException, e.RegionDisabledException, e.PackedPolicyTooLargeException),
)
GET_FEDERATION_TOKEN = Operation(
    "GetFederationToken",
    shapes.GetFederationTokenRequest,
    shapes.GetFederationTokenResponse,
    errors=(e.MalformedPolicyDocumentException, e.PackedPolicyTooLargeException, e.RegionDisabledException),
    default_duration=43_200,
)
GET_SCOPED_CREDENTIALS = Operation(
    "GetScopedCredentials",
    shapes.GetScopedCredentialsRequest,
    shapes.GetScopedCredentialsResponse,
    errors=(
        e.MalformedPolicyDocumentException,
        e.PackedPolicyTooLargeException,
        e.InsufficientSessionLifetimeException,
        e.InvalidSubjectCredentialsException,
    ),
)
GET_SESSION_TOKEN = Operation(
    "GetSessionToken",
    shapes.GetSessionTokenRequest,
    shapes.GetSessionTokenResponse,
    errors=(e.RegionDisabledException,),
    default_duration=43_200,
)
GET_WEB_IDENTITY_TOKEN = Operation(
    "GetWebIdentityToken",
    shapes.GetWebIdentityTokenRequest,
    shapes.GetWebIdentityTokenResponse,
    errors=(
        e.SessionDurationEscalationException,
        e.OutboundWebIdentityFederationDisabledException,
        e.JWTPayloadSizeExceededException,
    ),
    default_duration=300,
)

OPERATIONS: tuple[Operation[Any], ...] = (
    ASSUME_ROLE,
    ASSUME_ROLE_WITH_SAML,
    ASSUME_ROLE_WITH_WEB_IDENTITY,
    ASSUME_ROOT,
    DECODE_AUTHORIZATION_MESSAGE,
    GET_ACCESS_KEY_INFO,
    GET_CALLER_IDENTITY,
    GET_DELEGATED_ACCESS_TOKEN,
    GET_FEDERATION_TOKEN,
    GET_SCOPED_CREDENTIALS,
    GET_SESSION_TOKEN,
    GET_WEB_IDENTITY_TOKEN,
)
BY_REQUEST: dict[type[shapes.Request[Any]], Operation[Any]] = {operation.request: operation for operation in OPERATIONS}
