"""Credentials that the program was given."""

from typing import Any

from .._core.secret import Unpicklable
from ..shapes import Credentials


class StaticProvider(Unpicklable):
    """Provide the same credentials for ever."""

    name = "static"

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def provide_credentials(self, transport: Any) -> Credentials:
        """Return the credentials. Nothing is sent over *transport*."""
        return self._credentials

    def __repr__(self) -> str:
        return f"StaticProvider({self._credentials!r})"
