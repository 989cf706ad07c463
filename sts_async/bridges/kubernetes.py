"""
The Kubernetes clients of Python: bearer tokens of EKS, for ``kubernetes``, ``kubernetes.aio`` and kubernetes_asyncio.

The clients call a hook before each request. It answers from memory: a token is signed again once in 13 minutes, and
whenever the credentials were replaced.
"""

from typing import Any

from ..errors import ConfigurationError
from ..tokens import sign_eks_token
from ..tokens._arguments import checked_region
from ._derived import DerivedToken
from ._view import BridgeCredentials, view_of

NAMES = ("BearerToken", "authorization")
"""The keys of the token in a configuration: that of all clients, and that of old ones."""

ASYNCHRONOUS = ("kubernetes_asyncio", "kubernetes.aio")
HOOK = "refresh_api_key_hook"


def configure(credentials: BridgeCredentials, configuration: Any, *, cluster: str, region: str | None = None) -> None:
    """
    Have a configuration of a Kubernetes client use tokens of EKS.

        configuration = kubernetes.client.Configuration(host=endpoint)
        bridges.kubernetes.configure(sts, configuration, cluster="production")

    The host and the certificate of the cluster are yours to set. Only this configuration and its copies are changed.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        configuration: A ``client.Configuration`` of ``kubernetes``, ``kubernetes.aio`` or ``kubernetes_asyncio``.
        cluster: Name of the cluster.
        region: The region of the cluster; None for that of *credentials*.

    Raises:
        ConfigurationError: *configuration* is of another type or of a version without the hook, or *credentials* has
            another type. Requests raise it if another argument is invalid or the region is not known.
    """
    view = view_of(credentials)
    if not hasattr(configuration, HOOK) or not isinstance(getattr(configuration, "api_key", None), dict):
        raise ConfigurationError(
            f"configuration must be a Configuration of kubernetes>=28 or kubernetes_asyncio>=24, with a {HOOK}"
        )
    token = DerivedToken(
        view,
        lambda keys, now: sign_eks_token(keys, cluster=cluster, region=checked_region(region or view.region), at=now),
    )

    def set_token(target: Any, value: str) -> None:
        for name in NAMES:
            target.api_key[name] = value
            target.api_key_prefix[name] = "Bearer"

    def refresh(target: Any) -> None:
        set_token(target, token.get_sync())

    async def refresh_async(target: Any) -> None:
        set_token(target, await token.get())

    set_token(configuration, "")  # without one, the clients do not call the hook
    is_asynchronous = type(configuration).__module__.startswith(ASYNCHRONOUS)
    setattr(configuration, HOOK, refresh_async if is_asynchronous else refresh)
