"""The forms in which a program can pass credentials, and their conversion to a provider."""

from collections.abc import Awaitable, Callable
from typing import Any

from .._shape.arguments import check_arguments, other_than
from .._shape.secret import without_data
from ..errors import ConfigurationError
from ..protocols import CredentialsProvider
from ..shapes import Credentials, Response
from .static import StaticProvider

Source = Credentials | CredentialsProvider | Callable[[], Awaitable[Credentials]]
"""
`Credentials`, a provider, or a coroutine function without arguments that returns `Credentials`.

A provider is an object with a coroutine method ``provide_credentials(context)``.
"""

MFACode = Callable[[str], Awaitable[str]]
"""A coroutine function that takes the serial number of an MFA device, and returns the code that the device shows."""


def provider_of(source: Source, *, what: str = "credentials") -> CredentialsProvider:
    """
    Return a provider for any form of credentials that a program can pass.

    Args:
        source: See `Source`.
        what: Name of the argument. Messages begin with it.

    Raises:
        ConfigurationError: *source* has none of these forms.
    """
    source = without_data(source)
    if isinstance(source, Credentials):
        return StaticProvider(source)
    if not isinstance(source, type):
        if hasattr(source, "provide_credentials"):
            provider: Any = source
            return provider  # type: ignore[no-any-return]
        if callable(source):
            # Imported here, because credentials that are passed need no cache.
            from .cache import CachingProvider

            check_arguments(source, what, number=0, called="without arguments")
            return CachingProvider(source)
    held = getattr(source, "credentials", None) if isinstance(source, Response) else None
    advice = ": pass response.credentials" if isinstance(held, Credentials) else ""
    raise ConfigurationError(
        f"{what} must be Credentials, an object with a coroutine provide_credentials(context) or a coroutine "
        f"function, not {other_than('Credentials', source)}{advice}"
    )


def name_of(source: CredentialsProvider) -> str:
    """Return the name of a source in messages: its attribute ``name``, otherwise the name of its class."""
    return str(getattr(source, "name", type(source).__name__))
