"""
What a provider holds for the clients that use it: one cache for all of them, or one for each.

A provider that signs with the credentials of the client, itself or through its source, has other credentials for each
client. What it has obtained for one must not reach another (T42).
"""

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._runtime.single_flight import SingleFlight
from ..errors import CredentialsError
from ..protocols import ProviderContext
from . import _schedule

if TYPE_CHECKING:
    from ..shapes import Credentials
    from ._schedule import CacheState, Schedule

MAX_CACHES = 10_000  # of one provider; the oldest is dropped for another


class Cache:
    """
    What a provider has for one client, or for all.

    Attributes:
        held: The credentials, and when to refresh them.
        flights: The fetch under way.
        schedule: How they are refreshed, where that is known only since the first fetch; else None.
    """

    __slots__ = ("__weakref__", "flights", "held", "schedule")

    def __init__(self, make_timeout_error: Callable[[float], CredentialsError]) -> None:
        self.held: CacheState = _schedule.NOTHING
        self.flights: SingleFlight[Credentials] = SingleFlight(make_timeout_error=make_timeout_error)
        self.schedule: Schedule | None = None


class Caches:
    """
    The caches of one provider.

    There is no lock, because one that is held at a fork stays so in the child: every change is one operation of a dict.

    Args:
        late: Returns the error for a fetch that is given up.
    """

    def __init__(self, make_timeout_error: Callable[[float], CredentialsError]) -> None:
        self._make_timeout_error = make_timeout_error
        self.common = Cache(make_timeout_error)
        self._by_client: dict[tuple[Any, ...], tuple[weakref.ref[Any], Cache]] = {}
        self._last: tuple[weakref.ref[ProviderContext], weakref.ref[Cache]] | None = (
            None  # weakly: it keeps no secrets alive
        )

    def for_context(self, context: ProviderContext) -> Cache:
        """Return the cache of the client that lends, and of the credentials that it, or its view, has."""
        last = self._last
        if last is not None and last[0]() is context and (cache := last[1]()) is not None:
            return cache
        client = context.client
        key = (id(client), *context.credentials_key)
        found = self._by_client.get(key)
        if found is None or found[0]() is not client:
            forget = weakref.ref(client, lambda _: self._by_client.pop(key, None))
            found = self._by_client[key] = (forget, Cache(self._make_timeout_error))
            if len(self._by_client) > MAX_CACHES:
                self._by_client.pop(next(iter(list(self._by_client))), None)
        self._last = (weakref.ref(context), weakref.ref(found[1]))
        return found[1]

    def all(self) -> list[Cache]:
        """Return every cache."""
        return [self.common, *(cache for _, cache in list(self._by_client.values()))]


def depends_on_client(source: object) -> bool:
    """
    Say whether what a source provides may depend on the client that uses it.

    A provider of the program's own may hand what it is lent to another, so it counts as one that does unless its
    attribute ``depends_on_client`` says otherwise.
    """
    return bool(getattr(source, "depends_on_client", hasattr(source, "provide_credentials")))
