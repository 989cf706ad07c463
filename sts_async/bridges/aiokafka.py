"""aiokafka: a token provider for Amazon MSK with IAM authentication."""

import functools
from typing import Any

from ..tokens import sign_msk_token
from ..tokens._arguments import checked_region
from ._consumers import consumer
from ._view import BridgeCredentials, CredentialsView, view_of

MINIMUM = "0.8.1"


def token_provider(credentials: BridgeCredentials, *, region: str | None = None) -> Any:
    """
    Return a token provider for producers, consumers and the admin client of aiokafka.

        AIOKafkaProducer(
            security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", ssl_context=ssl.create_default_context(),
            sasl_oauth_token_provider=bridges.aiokafka.token_provider(sts), bootstrap_servers=...
        )

    aiokafka asks for each new connection, and gets a new token.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        region: The region of the cluster; None for that of *credentials*.

    Raises:
        ConfigurationError: aiokafka is missing or too old, or *credentials* has another type. Connections raise it if
            the region is invalid or not known.
    """
    return _classes()(view_of(credentials), region)


@functools.cache
def _classes() -> Any:
    base: Any = consumer("aiokafka.abc", minimum=MINIMUM).AbstractTokenProvider

    class MskTokenProvider(base):  # type: ignore[misc]
        """Signs a token for each connection."""

        def __init__(self, view: CredentialsView, region: str | None) -> None:
            self._view = view
            self._region = region

        async def token(self) -> str:
            """Return a token, in any event loop."""
            keys = await self._view.get()
            region = checked_region(self._region or self._view.region)
            return sign_msk_token(keys, region=region, at=self._view.now()).value

    return MskTokenProvider
