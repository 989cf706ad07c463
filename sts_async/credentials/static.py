"""Credentials that the program was given."""

from .._core.secret import Unpicklable
from .._engine import Lender
from ..shapes import Credentials


class StaticProvider(Unpicklable):
    """Provide the same credentials for ever."""

    name = "static"

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def provide_credentials(self, lender: Lender) -> Credentials:
        """Return the credentials. Nothing is sent."""
        return self._credentials

    def __repr__(self) -> str:
        return f"StaticProvider({self._credentials!r})"
