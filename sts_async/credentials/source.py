"""What a program can give where credentials are wanted."""

from collections.abc import Awaitable, Callable
from typing import Any

from .._core.secret import kind_of, without_data
from .._seams import CredentialsProvider
from ..errors import ConfigurationError
from ..shapes import Credentials
from .cache import CachingProvider
from .static import StaticProvider

Source = Credentials | CredentialsProvider | Callable[[], Awaitable[Credentials]]
"""`Credentials`, an object with a coroutine ``provide_credentials(lender)``, or a coroutine function."""

MFACode = Callable[[str], Awaitable[str]]
"""A coroutine function that is given the serial number of an MFA device, and returns the code that it shows."""


def provider_of(source: Source, *, what: str = "credentials") -> CredentialsProvider:
    """
    Return the provider of whatever a program gives where credentials are wanted.

    Args:
        source: What was given.
        what: Name of the argument; messages begin with it.

    Raises:
        ConfigurationError: It is nothing that could provide credentials.
    """
    source = without_data(source)
    if isinstance(source, Credentials):
        return StaticProvider(source)
    if not isinstance(source, type):
        if hasattr(source, "provide_credentials"):
            provider: Any = source
            return provider  # type: ignore[no-any-return]
        if callable(source):
            return CachingProvider(source)
    raise ConfigurationError(
        f"{what} must be Credentials, an object with a coroutine provide_credentials(lender) or a coroutine "
        f"function, not {source.__name__ if isinstance(source, type) else f'a {kind_of(source)}'}"
    )


def name_of(source: CredentialsProvider) -> str:
    """Return what messages call a source."""
    return str(getattr(source, "name", type(source).__name__))
