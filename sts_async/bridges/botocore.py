"""
botocore: a session whose clients sign with our credentials, and an object in the form of botocore's credentials.

botocore asks for the credentials once for each request, and gets them from memory. None of its own refresh windows
applies, and none of its threads fetches anything. Each answer is one triple, although botocore has no lock.
"""

import functools
from datetime import datetime
from typing import Any

from .._shape.secret import Unpicklable
from ..shapes import Credentials
from ._consumers import consumer
from ._view import BridgeCredentials, CredentialsView, view_of

MINIMUM = "1.37"  # `ReadOnlyCredentials` with an account id


def session(credentials: BridgeCredentials, *, region: str | None = None) -> Any:
    """
    Return a ``botocore.session.Session`` whose clients use *credentials*. Its other settings are those of botocore.

    The first request fetches the credentials if they are not in memory. It can be made in any thread, except in that of
    a fleet whose credentials these are.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        region: The region of the clients; None for that of *credentials*, then for the one that botocore finds.

    Raises:
        ConfigurationError: botocore is missing or too old, or *credentials* has another type.
    """
    view = view_of(credentials)
    made = consumer("botocore.session", minimum=MINIMUM).Session()
    made.register_component("credential_provider", _Provider(_classes()(view)))
    region = region or view.region
    if region is not None:
        made.set_config_variable("region", region)
    return made


def session_credentials(credentials: BridgeCredentials) -> Any:
    """
    Return an object in the form of botocore's credentials, for libraries that take one, such as opensearch-py.

    Its methods return from memory. If nothing is in memory, they block, except in the thread of the fleet whose
    credentials these are.

    Args:
        credentials: As for `session`.

    Raises:
        ConfigurationError: botocore is missing or too old, or *credentials* has another type.
    """
    return _classes()(view_of(credentials))


class _Provider:
    """The resolver of a session, with one source."""

    def __init__(self, found: Any) -> None:
        self._found = found

    def load_credentials(self) -> Any:
        """Return the credentials. Nothing is fetched."""
        return self._found


@functools.cache
def _classes() -> Any:
    botocore = consumer("botocore.credentials", package="botocore", minimum=MINIMUM)

    base: Any = botocore.Credentials

    class ViewCredentials(Unpicklable, base):  # type: ignore[misc]
        """Credentials that read each value from a view."""

        method = "sts-async"

        def __init__(self, view: CredentialsView) -> None:
            self._view = view

        def _now(self) -> Credentials:
            return self._view.get_sync()

        def get_frozen_credentials(self) -> Any:
            """Return one triple, and the account."""
            now = self._now()
            return botocore.ReadOnlyCredentials(
                now.access_key_id, now.secret_access_key, now.session_token, now.account_id
            )

        @property
        def access_key(self) -> str:
            return self._now().access_key_id

        @property
        def secret_key(self) -> str:
            return self._now().secret_access_key

        @property
        def token(self) -> str | None:
            return self._now().session_token

        @property
        def account_id(self) -> str | None:
            return self._now().account_id

        @property
        def _expiry_time(self) -> datetime | None:
            """The end of the credentials, which some libraries read."""
            return self._now().expiration

        def __repr__(self) -> str:
            return f"<botocore credentials of {self._view!r}>"

    return ViewCredentials
