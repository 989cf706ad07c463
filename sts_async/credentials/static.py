"""Credentials that the program was given."""

from datetime import datetime

from .._core.secret import Unpicklable
from .._seams import Lender
from ..errors import ConfigurationError, CredentialsExpired
from ..shapes import Credentials


class StaticProvider(Unpicklable):
    """
    Provide the same credentials until they end.

    Raises:
        ConfigurationError: Their expiration is no datetime with a time zone.
    """

    name = "static"

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        if not ends_at_some_time(credentials):
            raise ConfigurationError("the expiration of credentials must be a datetime with a time zone, or None")

    async def provide_credentials(self, lender: Lender) -> Credentials:
        """
        Return the credentials. Nothing is sent.

        Raises:
            CredentialsExpired: Their expiration is past.
        """
        if self._credentials.expiration is not None and self._credentials.expiration <= lender.now():
            raise CredentialsExpired("the credentials that were given have expired: give a source of new ones")
        return self._credentials

    def __repr__(self) -> str:
        return f"StaticProvider({self._credentials!r})"


def ends_at_some_time(credentials: Credentials) -> bool:
    """Say whether the expiration, if there is one, is a point in time."""
    expiration: object = credentials.expiration
    return expiration is None or (isinstance(expiration, datetime) and expiration.tzinfo is not None)
