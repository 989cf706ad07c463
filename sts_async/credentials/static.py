"""Credentials that the program was given."""

from datetime import UTC, datetime

from .._shape.arguments import other_than
from .._shape.secret import Unpicklable, without_data
from ..errors import ConfigurationError, CredentialsExpired
from ..protocols import ProviderContext
from ..shapes import Credentials
from ._account import check_account_id


class StaticProvider(Unpicklable):
    """
    Provide the same credentials until they end.

    They have ended when they have by the clock of this host and by that of the service, as far as that is known. When
    the two differ, requests are sent, and the service decides.

    Args:
        credentials: The credentials.

    Raises:
        ConfigurationError: They are no `Credentials`, their expiration is no datetime with a time zone, or their
            account is not 12 digits.
    """

    name = "static"
    bounds_itself = True
    depends_on_client = False

    def __init__(self, credentials: Credentials) -> None:
        credentials = without_data(credentials)
        self._credentials: Credentials = credentials
        if not isinstance(credentials, Credentials):
            raise ConfigurationError(f"credentials must be Credentials, not {other_than('Credentials', credentials)}")
        if not ends_at_some_time(credentials):
            raise ConfigurationError("the expiration of credentials must be a datetime with a time zone, or None")
        check_account_id(credentials.account_id)

    def _at_hand(self, context: ProviderContext) -> Credentials | None:
        credentials = self._credentials
        return credentials if credentials.expiration is None or not has_ended(credentials, context) else None

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        """
        Return the credentials. Nothing is sent.

        Raises:
            CredentialsExpired: Their expiration is past, by both clocks.
        """
        if has_ended(self._credentials, context):
            raise CredentialsExpired(
                f"the static credentials expired {ended_when(self._credentials, context)}: "
                "pass new ones, or a provider that refreshes"
            )
        return self._credentials

    def __repr__(self) -> str:
        return f"StaticProvider({self._credentials!r})"


def ends_at_some_time(credentials: Credentials) -> bool:
    """Say whether the expiration, if there is one, is a point in time."""
    expiration: object = credentials.expiration
    return expiration is None or (isinstance(expiration, datetime) and expiration.tzinfo is not None)


def has_ended(credentials: Credentials, context: ProviderContext) -> bool:
    """Return True if *credentials* have ended by both `clocks`."""
    end = credentials.expiration
    return end is not None and end.timestamp() <= context.wall_clock() and end <= context.now()


def clocks(context: ProviderContext) -> tuple[datetime, datetime]:
    """
    Return the times by the service's clock, as far as it is known, and by this host's.

    Either may be wrong: the one when a proxy or a server sends a wrong ``Date``, the other when nobody sets it. So
    credentials are refused only when they have ended by both. Else no request would be sent, and no answer could show
    which of the two is wrong.
    """
    return context.now(), datetime.fromtimestamp(context.wall_clock(), UTC)


def ended_when(credentials: Credentials, context: ProviderContext) -> str:
    """Return how long ago *credentials* expired by this host's clock, and the time of that clock, for messages."""
    from ._schedule import lifetime_of  # here: keys that are given need no schedule

    _, now = clocks(context)
    seconds = -lifetime_of(credentials, now)
    return f"{seconds:.0f} s ago (host clock: {now.isoformat(timespec='seconds')})"
