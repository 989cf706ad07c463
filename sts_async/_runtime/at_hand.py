"""
Credentials that a provider can return without a coroutine.

A provider that can return cached credentials at once has a method ``_at_hand(context)``. The method returns valid
credentials, or None if the caller must await `provide_credentials`. Every warm call uses it. So it saves one coroutine
for each provider between the client and the credentials.

A test can replace the coroutine of one object while a client uses it. So each method looks for a replacement first.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from ..shapes import Credentials

AtHand = Callable[[Any], Credentials | None]
REPLACEABLE = "provide_credentials"  # the attribute of an object whose coroutine was replaced
Method = TypeVar("Method", bound=Callable[..., object])


def serves(coroutine: Callable[..., object]) -> Callable[[Method], Method]:
    """Mark a method ``_at_hand`` as the one for *coroutine*, the `provide_credentials` of the same class."""

    def mark(method: Method) -> Method:
        method.serves = coroutine  # type: ignore[attr-defined]
        return method

    return mark


def at_hand_of(provider: object) -> AtHand:
    """
    Return the method ``_at_hand`` of *provider*, or a function that returns None.

    The method is used only for the coroutine that it is marked for. If a subclass overrides the coroutine, or a test
    replaces it in the class or the object, the coroutine is always awaited: the method would bypass the override.
    """
    coroutine = getattr(type(provider), "provide_credentials", None)
    method = getattr(type(provider), "_at_hand", None)
    if coroutine is None or getattr(method, "serves", None) is not coroutine or is_replaced(provider):
        return nothing_at_hand
    found: AtHand = provider._at_hand  # type: ignore[attr-defined]
    return found


def is_replaced(provider: object) -> bool:
    """Return True if the coroutine of this one object was replaced, as tests do."""
    return REPLACEABLE in getattr(provider, "__dict__", ())


def nothing_at_hand(context: object) -> None:
    """Return None: the provider must be awaited."""
