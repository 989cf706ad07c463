"""
An asyncio client library for the AWS Security Token Service.

    async with STSClient(region="eu-west-1") as sts:
        response = await sts.assume_role(role_arn="arn:aws:iam::123456789012:role/demo", role_session_name="me")

client        STSClient: how it is made and closed       calls       its eleven coroutines
config        Config: every option                       operations  the table behind them
shapes        requests, responses, Credentials           errors      everything that is raised, as a tree
credentials   where credentials come from                retries     when a call is sent again
sigv4         signing for any service                    testing     LocalSTS, an STS on this host, and fixtures
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import VERSION as __version__

if TYPE_CHECKING:
    from ._engine import CredentialsProvider, RetryPolicy, Transport
    from .client import STSClient
    from .config import Config
    from .credentials import EnvironmentProvider, StaticProvider
    from .errors import (
        AttemptTimeout,
        ClientClosedError,
        ConfigurationError,
        ConnectError,
        ConnectionLost,
        ConnectTimeout,
        CredentialsError,
        CredentialsExpired,
        CredentialsNotFound,
        ExpiredTokenException,
        ExpiredTradeInTokenException,
        IDPCommunicationErrorException,
        IDPRejectedClaimException,
        InvalidAuthorizationMessageException,
        InvalidConfigFile,
        InvalidEndpoint,
        InvalidIdentityTokenException,
        InvalidRegion,
        JWTPayloadSizeExceededException,
        LoginRequired,
        MalformedPolicyDocumentException,
        OutboundWebIdentityFederationDisabledException,
        PackedPolicyTooLargeException,
        ParamValidationError,
        RedirectRefused,
        RegionDisabledException,
        ResponseParseError,
        ResponseTooLarge,
        ServiceError,
        SessionDurationEscalationException,
        STSError,
        ThrottlingError,
        TLSError,
        TransportError,
    )
    from .retries import NoRetries, StandardRetries
    from .shapes import (
        AssumedRoleUser,
        AssumeRoleRequest,
        AssumeRoleResponse,
        AssumeRoleWithSAMLRequest,
        AssumeRoleWithSAMLResponse,
        AssumeRoleWithWebIdentityRequest,
        AssumeRoleWithWebIdentityResponse,
        AssumeRootRequest,
        AssumeRootResponse,
        Credentials,
        DecodeAuthorizationMessageRequest,
        DecodeAuthorizationMessageResponse,
        FederatedUser,
        GetAccessKeyInfoRequest,
        GetAccessKeyInfoResponse,
        GetCallerIdentityRequest,
        GetCallerIdentityResponse,
        GetDelegatedAccessTokenRequest,
        GetDelegatedAccessTokenResponse,
        GetFederationTokenRequest,
        GetFederationTokenResponse,
        GetSessionTokenRequest,
        GetSessionTokenResponse,
        GetWebIdentityTokenRequest,
        GetWebIdentityTokenResponse,
        PolicyDescriptorType,
        ProvidedContext,
        Request,
        Response,
        ResponseMetadata,
        Tag,
        TemporaryCredentials,
    )
    from .sigv4 import PresignedUrl

_HOMES = ("errors", "shapes", "retries", "sigv4", "config", "credentials", "_engine", "client")

__all__ = [
    "AssumeRoleRequest",
    "AssumeRoleResponse",
    "AssumeRoleWithSAMLRequest",
    "AssumeRoleWithSAMLResponse",
    "AssumeRoleWithWebIdentityRequest",
    "AssumeRoleWithWebIdentityResponse",
    "AssumeRootRequest",
    "AssumeRootResponse",
    "AssumedRoleUser",
    "AttemptTimeout",
    "ClientClosedError",
    "Config",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionLost",
    "Credentials",
    "CredentialsError",
    "CredentialsExpired",
    "CredentialsNotFound",
    "CredentialsProvider",
    "DecodeAuthorizationMessageRequest",
    "DecodeAuthorizationMessageResponse",
    "EnvironmentProvider",
    "ExpiredTokenException",
    "ExpiredTradeInTokenException",
    "FederatedUser",
    "GetAccessKeyInfoRequest",
    "GetAccessKeyInfoResponse",
    "GetCallerIdentityRequest",
    "GetCallerIdentityResponse",
    "GetDelegatedAccessTokenRequest",
    "GetDelegatedAccessTokenResponse",
    "GetFederationTokenRequest",
    "GetFederationTokenResponse",
    "GetSessionTokenRequest",
    "GetSessionTokenResponse",
    "GetWebIdentityTokenRequest",
    "GetWebIdentityTokenResponse",
    "IDPCommunicationErrorException",
    "IDPRejectedClaimException",
    "InvalidAuthorizationMessageException",
    "InvalidConfigFile",
    "InvalidEndpoint",
    "InvalidIdentityTokenException",
    "InvalidRegion",
    "JWTPayloadSizeExceededException",
    "LoginRequired",
    "MalformedPolicyDocumentException",
    "NoRetries",
    "OutboundWebIdentityFederationDisabledException",
    "PackedPolicyTooLargeException",
    "ParamValidationError",
    "PolicyDescriptorType",
    "PresignedUrl",
    "ProvidedContext",
    "RedirectRefused",
    "RegionDisabledException",
    "Request",
    "Response",
    "ResponseMetadata",
    "ResponseParseError",
    "ResponseTooLarge",
    "RetryPolicy",
    "STSClient",
    "STSError",
    "ServiceError",
    "SessionDurationEscalationException",
    "StandardRetries",
    "StaticProvider",
    "TLSError",
    "Tag",
    "TemporaryCredentials",
    "ThrottlingError",
    "Transport",
    "TransportError",
    "__version__",
]


if not TYPE_CHECKING:  # else every misspelt name would be of type Any

    def __getattr__(name: str) -> Any:
        """Import what is asked for when it is asked for: the command line's help needs neither aiohttp nor lxml."""
        if name in __all__:
            for home in _HOMES:
                module = import_module(f".{home}", __name__)
                if hasattr(module, name):
                    return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return [*globals(), *__all__]
