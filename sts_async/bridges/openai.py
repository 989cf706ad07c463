"""OpenAI: API keys of Amazon Bedrock, for ``BedrockOpenAI`` and ``AsyncBedrockOpenAI``."""

from collections.abc import Awaitable, Callable

from ..tokens import sign_bedrock_api_key
from ..tokens._arguments import checked_region
from ._derived import DerivedToken
from ._view import BridgeCredentials, view_of


def token_provider(credentials: BridgeCredentials, *, region: str | None = None) -> Callable[[], Awaitable[str]]:
    """
    Return a coroutine function that returns an API key, for ``AsyncBedrockOpenAI`` and ``AsyncOpenAI``.

        AsyncBedrockOpenAI(bedrock_token_provider=bridges.openai.token_provider(sts), aws_region="us-west-2")

    The client asks for each request, and gets the key from memory. It is signed again when the credentials are
    replaced, so it never outlives them. ``AsyncOpenAI`` takes the function as its ``api_key``. The module ``openai`` is
    not imported.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        region: The region of the models; None for that of *credentials*.

    Raises:
        ConfigurationError: *credentials* has another type. Requests raise it if the region is invalid or not known.
    """
    return _derived(credentials, region).get


def sync_token_provider(credentials: BridgeCredentials, *, region: str | None = None) -> Callable[[], str]:
    """
    Return a function that returns an API key, for ``BedrockOpenAI``: see `token_provider`.

    Args:
        credentials: As for `token_provider`.
        region: As for `token_provider`.

    Raises:
        ConfigurationError: As for `token_provider`.
    """
    return _derived(credentials, region).get_sync


def _derived(credentials: BridgeCredentials, region: str | None) -> DerivedToken:
    view = view_of(credentials)
    return DerivedToken(
        view, lambda keys, now: sign_bedrock_api_key(keys, region=checked_region(region or view.region), at=now)
    )
