"""
Sources of credentials, one file each. All borrow the client's connections; none has any of its own.

default         DefaultChain: what every AWS SDK looks at       chain           ProviderChain: several, in order
static          what the program was given                      environment     AWS_ACCESS_KEY_ID and its like
profile         the shared config and credentials files         web_identity    an OIDC token in a file, or called for
container       ECS and EKS Pod Identity                        imds            the EC2 instance metadata service
sso             IAM Identity Center                             login           aws login
process         credential_process                              assume_role     a role, with any source
saml            a role, with a SAML assertion                   session_token   GetSessionToken, usually with MFA
federation_token  GetFederationToken                            source          what a program can give
cache           what all share that fetch: a cache, and one refresh at a time

Credentials are refreshed when a call uses them, in the background while they are still valid. An idle program fetches
none.
"""

from typing import TYPE_CHECKING

from .._runtime.lazy_imports import lazily

if TYPE_CHECKING:
    from .assume_role import AssumeRoleProvider
    from .cache import CachingProvider, RefreshingProvider
    from .chain import Finding, ProviderChain
    from .container import ContainerProvider
    from .default import DefaultChain
    from .environment import EnvironmentProvider
    from .federation_token import FederationTokenProvider
    from .imds import IMDSProvider
    from .login import LoginProvider
    from .process import ProcessProvider
    from .profile import ProfileProvider
    from .saml import SAMLProvider
    from .session_token import SessionTokenProvider
    from .source import MFACode, Source
    from .sso import SSOProvider
    from .static import StaticProvider
    from .web_identity import WebIdentityProvider

__all__ = [
    "AssumeRoleProvider",
    "CachingProvider",
    "ContainerProvider",
    "DefaultChain",
    "EnvironmentProvider",
    "FederationTokenProvider",
    "Finding",
    "IMDSProvider",
    "LoginProvider",
    "MFACode",
    "ProcessProvider",
    "ProfileProvider",
    "ProviderChain",
    "RefreshingProvider",
    "SAMLProvider",
    "SSOProvider",
    "SessionTokenProvider",
    "Source",
    "StaticProvider",
    "WebIdentityProvider",
]

if not TYPE_CHECKING:  # else every misspelt name would be of type Any
    __getattr__, __dir__ = lazily(
        __name__,
        names=__all__,
        homes=(
            "static environment cache source chain default profile assume_role web_identity saml session_token "
            "federation_token sso login process container imds"
        ).split(),
    )
