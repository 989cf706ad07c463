"""A provider of the credentials of one identity of a fleet."""

from typing import Any, Protocol

from .._runtime.at_hand import REPLACEABLE, serves
from .._shape.secret import Unpicklable
from ..protocols import ProviderContext
from ..shapes import Credentials
from .identities import ChainedRequest, Identity, describe


class Fleet(Protocol):
    """The part of a `CredentialsFleet` that its providers use."""

    async def get(self, identity: Identity) -> Credentials:
        """Return the credentials of an identity."""
        ...

    def _fresh(self, identity: Identity) -> Credentials | None:
        """Return the credentials of an identity if they are fresh, otherwise None."""
        ...

    def _invalidate(self, identity: Identity, access_key_id: str) -> None:
        """Fetch the credentials of an identity again, because the service refused this key."""
        ...

    def _is_attended(self, identity: Identity) -> bool:
        """Return True if a fetch asks a person, as far as is known."""
        ...


class FleetProvider(Unpicklable):
    """
    Provide the credentials of one identity of a fleet.

    Every client that uses the provider gets the same credentials: those that the client of the fleet obtains.

    Args:
        fleet: The fleet.
        identity: The identity, which the fleet has checked.
    """

    bounds_itself = True
    depends_on_client = False

    def __init__(self, fleet: Fleet, identity: Identity) -> None:
        self.fleet = fleet
        self.identity = identity

    @property
    def name(self) -> str:
        """Name of the source in messages."""
        return describe(self.identity)

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        """
        Return the credentials of the identity; see `CredentialsFleet.get`.

        They do not depend on *context*. It only tells whether the fleet itself asks, for another identity.

        Raises:
            STSError: The fetch failed, and no cached credentials can be served.
        """
        return await self.fleet.get(self.identity)

    @serves(provide_credentials)
    def _at_hand(self, context: ProviderContext) -> Credentials | None:
        """Return the credentials in memory, or None if the fleet should refresh them."""
        return None if REPLACEABLE in self.__dict__ else self.fleet._fresh(self.identity)

    def invalidate(self, access_key_id: str) -> None:
        """Fetch the credentials again before their next use, if the service refused this key."""
        self.fleet._invalidate(self.identity, access_key_id)

    def is_attended(self, context: ProviderContext | None = None) -> bool:
        """Return True if a fetch asks a person, as far as is known."""
        return self.fleet._is_attended(self.identity)

    def __repr__(self) -> str:
        return f"<provider of {self.name}>"


def unwrapped(identity: Any, fleet: Fleet) -> Any:
    """
    Return the identity of a provider that *fleet* made, also where it is the source of a chain.

    Any other identity is returned unchanged, also the provider of another fleet: the client of that fleet obtains its
    credentials (T42).
    """
    if isinstance(identity, FleetProvider) and identity.fleet is fleet:
        return identity.identity
    if isinstance(identity, ChainedRequest):
        source = unwrapped(identity.source, fleet)
        if source is not identity.source:
            return ChainedRequest(identity.request, source=source)
    return identity
