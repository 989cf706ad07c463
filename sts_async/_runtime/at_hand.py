"""
Credentials that a provider can return without a coroutine.

A provider that can return cached credentials at once has a method ``_at_hand(context)``. The method returns valid
credentials, or None if the caller must await `provide_credentials`. Every warm call uses it. So it saves one coroutine
for each provider between the client and the credentials.
"""

from collections.abc import Callable
from typing import Any

from ..shapes import Credentials

AtHand = Callable[[Any], Credentials | None]


def at_hand_of(provider: object) -> AtHand:
    """
    Return the method ``_at_hand`` of *provider*, or a function that returns None.

    The method is used only if the class that defines `provide_credentials` defines it as well. If a subclass overrides
    only the coroutine, the coroutine is always awaited, because the inherited method would bypass the override.
    """
    if "provide_credentials" not in getattr(provider, "__dict__", ()):
        for kind in type(provider).__mro__:
            if "provide_credentials" in vars(kind):
                if "_at_hand" in vars(kind):
                    found: AtHand = provider._at_hand  # type: ignore[attr-defined]
                    return found
                break
    return nothing_at_hand


def nothing_at_hand(context: object) -> None:
    """Return None: the provider must be awaited."""
