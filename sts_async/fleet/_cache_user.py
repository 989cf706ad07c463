"""The fleet as its cache sees it: the cache may divide the budgets of all processes that share it."""

import logging
from collections.abc import Mapping

from .._engine.context import ClientContext
from ..events import Event
from ._budget import Budgets
from ._refresher import Refresher
from .caches.protocol import CacheUser, CredentialsCache

log = logging.getLogger("sts_async")


class FleetAsCacheUser(CacheUser):
    """
    What a fleet offers to its cache.

    Args:
        budgets: The budgets of the fleet.
        refresher: The refresher of the fleet.
        context: The context of the client.
    """

    def __init__(self, budgets: Budgets, refresher: Refresher, context: ClientContext) -> None:
        self.requests_per_second = budgets.limit
        self._budgets = budgets
        self._refresher = refresher
        self._context = context

    def demand(self) -> Mapping[str, float]:
        """Return how many requests the fleet has sent since the last call, plus those that wait now."""
        return self._budgets.take_demand(
            lambda budget: sum(pool.ready.waiting_for(budget) for pool in self._refresher.pools)
        )

    def set_shares(self, shares: Mapping[str, float], *, others: float) -> None:
        """Set the share of this fleet in the budget of each calling account and region."""
        self._budgets.set_shares(shares, others=others, now=self._context.monotonic())
        self._refresher.ask_budgets_again()

    def notify(self, event: Event) -> None:
        """Pass an event to the observers of the fleet."""
        self._context.notify(event)


async def join(cache: CredentialsCache | None, user: CacheUser) -> bool:
    """Tell a cache that a fleet uses it, if the cache wants to know. Return True if the cache was told."""
    return await _tell(cache, "join", user)


async def leave(cache: CredentialsCache | None, user: CacheUser) -> None:
    """Tell a cache that a fleet has ended, after `join` returned True."""
    await _tell(cache, "leave", user)


async def _tell(cache: CredentialsCache | None, method: str, user: CacheUser) -> bool:
    tell = getattr(cache, method, None)
    if tell is None:
        return False
    try:
        await tell(user)
    except Exception as error:  # noqa: BLE001 - a cache of the program may raise anything
        log.warning("the cache of the fleet failed in %s with %s", method, type(error).__name__)
        return False
    return True
