"""
The caches of one provider: one for all clients, or one for each client.

A provider may sign with the credentials of the client that uses it, directly or through its source. Then it obtains
different credentials for each client. Credentials obtained for one client must not reach another one (T42).
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

MAX_CACHES = 10_000  # per provider; beyond it, the oldest cache is dropped


class Cache:
    """
    The cached credentials of a provider, for one client or for all clients.

    Attributes:
        state: The cached credentials, and when to refresh them.
        flights: The running fetch of each event loop.
        schedule: The schedule, if it was found out in the first fetch; None for the schedule of the provider.
    """

    __slots__ = ("__weakref__", "flights", "schedule", "state")

    def __init__(self, make_timeout_error: Callable[[float], CredentialsError]) -> None:
        self.state: CacheState = _schedule.NOTHING
        self.flights: SingleFlight[Credentials] = SingleFlight(make_timeout_error=make_timeout_error)
        self.schedule: Schedule | None = None


class Caches:
    """
    The caches of one provider.

    There is no lock: a lock that is held during a fork stays locked in the child. Instead, each change is one operation
    on a dict, which is atomic.

    Args:
        make_timeout_error: Returns the error for a fetch that timed out; its argument is the limit in seconds.
    """

    def __init__(self, make_timeout_error: Callable[[float], CredentialsError]) -> None:
        self._make_timeout_error = make_timeout_error
        self.common = Cache(make_timeout_error)
        self._by_client: dict[tuple[Any, ...], tuple[weakref.ref[Any], Cache]] = {}
        # The result of the last search. The references are weak, so that it keeps no secrets alive.
        self._last: tuple[weakref.ref[ProviderContext], weakref.ref[Cache]] | None = None

    def for_context(self, context: ProviderContext) -> Cache:
        """Return the cache for the client of *context* and for its credentials. A new client gets a new cache."""
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
    Return True if the credentials of a source may depend on the client that uses it.

    The attribute ``depends_on_client`` of the source decides. Without it, a provider counts as dependent, because it
    may pass its context to another provider. A function counts as independent.
    """
    return bool(getattr(source, "depends_on_client", hasattr(source, "provide_credentials")))
