"""
Sources of credentials, one file each. They use the connections of the client and open none of their own.

default         DefaultChain: the search of every AWS SDK       chain           ProviderChain: several sources in order
static          credentials that the program passes             environment     AWS_ACCESS_KEY_ID and related variables
profile         the shared config and credentials files         web_identity    an OIDC token from a file or a function
container       ECS and EKS Pod Identity                        imds            the EC2 instance metadata service
sso             IAM Identity Center                             login           aws login
process         credential_process                              assume_role     a role, with any source
saml            a role, with a SAML assertion                   session_token   GetSessionToken, usually with MFA
federation_token  GetFederationToken                            source          the forms that a program can pass
cache           the cache of all sources that fetch, with one refresh at a time

Each file for a source belongs here. The rules of the wire, of config files and of the event loop are in `_protocol`,
`_config` and `_runtime`.

Calls trigger the refresh of credentials, which runs in the background while the old ones are valid. An idle program
fetches nothing.
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

if not TYPE_CHECKING:  # otherwise type checkers would accept any misspelled name
    __getattr__, __dir__ = lazily(
        __name__,
        names=__all__,
        homes=(
            "static environment cache source chain default profile assume_role web_identity saml session_token "
            "federation_token sso login process container imds"
        ).split(),
    )
