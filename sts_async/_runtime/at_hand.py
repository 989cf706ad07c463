"""
Credentials that a provider has at hand, without a coroutine.

A provider that can answer at once has a method ``_at_hand(context)``. It returns valid credentials, or None if
`provide_credentials` has to be awaited. Each warm call uses it, and saves a coroutine for each provider in between.
"""

from collections.abc import Callable
from typing import Any

from ..shapes import Credentials

AtHand = Callable[[Any], Credentials | None]


def at_hand_of(provider: object) -> AtHand:
    """
    Return the method ``_at_hand`` of *provider*, or a function that returns None.

    The method counts only if its class also defines `provide_credentials`. A subclass that overrides the coroutine
    alone is always awaited: the inherited method would pass its override by.
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
