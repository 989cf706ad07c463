"""What a program can give where credentials are wanted."""

from collections.abc import Awaitable, Callable
from typing import Any

from .._shape.arguments import check_arguments, other_than
from .._shape.secret import without_data
from ..errors import ConfigurationError
from ..protocols import CredentialsProvider
from ..shapes import Credentials, Response
from .static import StaticProvider

Source = Credentials | CredentialsProvider | Callable[[], Awaitable[Credentials]]
"""`Credentials`, an object with a coroutine ``provide_credentials(context)``, or a coroutine function."""

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
            from .cache import CachingProvider  # here: credentials that are given need no cache

            check_arguments(source, what, number=0, called="without arguments")
            return CachingProvider(source)
    held = getattr(source, "credentials", None) if isinstance(source, Response) else None
    advice = ": pass response.credentials" if isinstance(held, Credentials) else ""
    raise ConfigurationError(
        f"{what} must be Credentials, an object with a coroutine provide_credentials(context) or a coroutine "
        f"function, not {other_than('Credentials', source)}{advice}"
    )


def name_of(source: CredentialsProvider) -> str:
    """Return what messages call a source."""
    return str(getattr(source, "name", type(source).__name__))
