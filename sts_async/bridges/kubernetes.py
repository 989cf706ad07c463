"""
The Kubernetes clients of Python: bearer tokens of EKS, for ``kubernetes``, ``kubernetes.aio`` and kubernetes_asyncio.

The clients call a hook before each request. It answers from memory: a token is signed again once in 13 minutes, and
whenever the credentials were replaced.
"""

from typing import Any

from .._shape.arguments import other_than
from ..errors import ConfigurationError
from ..tokens import sign_eks_token
from ..tokens._arguments import checked_region
from ._consumers import consumer
from ._derived import DerivedToken
from ._view import BridgeCredentials, view_of

NAMES = ("BearerToken", "authorization")
"""The keys of the token in a configuration: that of all clients, and that of old ones."""

MINIMUM = {"kubernetes": "28.1", "kubernetes_asyncio": "33.3"}  # the latter awaits the hook
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
        ConfigurationError: *configuration* is of another type or of a version that is too old, or *credentials* has
            another type. Requests raise it if another argument is invalid or the region is not known.
    """
    view = view_of(credentials)
    library, _, module = type(configuration).__module__.partition(".")
    if library not in MINIMUM or not hasattr(configuration, HOOK):
        raise ConfigurationError(
            "configuration must be a client.Configuration of kubernetes, kubernetes.aio or kubernetes_asyncio, not "
            f"{other_than('Configuration', configuration)}"
        )
    consumer(library, minimum=MINIMUM[library])
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
    is_asynchronous = library == "kubernetes_asyncio" or module.startswith("aio.")
    setattr(configuration, HOOK, refresh_async if is_asynchronous else refresh)
