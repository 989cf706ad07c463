"""Credentials that the program passes itself."""

from datetime import UTC, datetime

from .._runtime.at_hand import REPLACEABLE, serves
from .._shape.arguments import other_than
from .._shape.secret import Unpicklable, without_data
from ..errors import ConfigurationError, CredentialsExpired
from ..protocols import ProviderContext
from ..shapes import Credentials
from ._account import check_account_id


class StaticProvider(Unpicklable):
    """
    Provide the same credentials until they expire.

    They count as expired if they have expired by the clock of this host and by the clock of the service, as far as it
    is known. If only one clock says so, requests are sent, and the service decides.

    Args:
        credentials: The credentials. Without an expiration, they never expire.

    Raises:
        ConfigurationError: *credentials* is not a `Credentials`, its expiration has no time zone, or its account is not
            12 digits.
    """

    name = "static"
    bounds_itself = True
    depends_on_client = False

    def __init__(self, credentials: Credentials) -> None:
        credentials = without_data(credentials)
        self._credentials: Credentials = credentials
        if not isinstance(credentials, Credentials):
            raise ConfigurationError(f"credentials must be Credentials, not {other_than('Credentials', credentials)}")
        if not has_valid_expiration(credentials):
            raise ConfigurationError("the expiration of credentials must be a datetime with a time zone, or None")
        check_account_id(credentials.account_id)

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        """
        Return the credentials. No request is sent.

        Raises:
            CredentialsExpired: The credentials have expired by both clocks.
        """
        if is_expired(self._credentials, context):
            raise CredentialsExpired(
                f"the static credentials expired {describe_expiry(self._credentials, context)}: "
                "pass new ones, or a provider that refreshes"
            )
        return self._credentials

    @serves(provide_credentials)
    def _at_hand(self, context: ProviderContext) -> Credentials | None:
        """Return the credentials, or None if they have expired."""
        credentials = self._credentials
        if REPLACEABLE in self.__dict__ or (credentials.expiration is not None and is_expired(credentials, context)):
            return None
        return credentials

    def __repr__(self) -> str:
        return f"StaticProvider({self._credentials!r})"


def has_valid_expiration(credentials: Credentials) -> bool:
    """Return True if the expiration is None or a datetime with a time zone."""
    expiration: object = credentials.expiration
    return expiration is None or (isinstance(expiration, datetime) and expiration.tzinfo is not None)


def is_expired(credentials: Credentials, context: ProviderContext) -> bool:
    """Return True if *credentials* have expired by both `clocks`."""
    end = credentials.expiration
    return end is not None and end.timestamp() <= context.wall_clock() and end <= context.now()


def clocks(context: ProviderContext) -> tuple[datetime, datetime]:
    """
    Return the time by the clock of the service, as far as it is known, and the time by the clock of this host.

    Each clock may be wrong: a proxy may send a wrong ``Date``, and the host may not be synchronized. So credentials are
    refused only if they have expired by both. Otherwise no request would be sent, and no response could correct the
    clock that is wrong.
    """
    return context.now(), datetime.fromtimestamp(context.wall_clock(), UTC)


def describe_expiry(credentials: Credentials, context: ProviderContext) -> str:
    """Return the age of the expiration and the current time for messages, both by the clock of this host."""
    # Imported here, because credentials that are passed need no schedule until they expire.
    from ._schedule import lifetime_of

    _, now = clocks(context)
    seconds = -lifetime_of(credentials, now)
    return f"{seconds:.0f} s ago (host clock: {now.isoformat(timespec='seconds')})"
