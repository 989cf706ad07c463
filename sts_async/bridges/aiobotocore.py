"""
aiobotocore: a session whose clients sign with our credentials. aioboto3 and s3fs take it.

aiobotocore asks for the credentials once for each request, and gets them from memory. A session can be used in any
event loop, such as the one that s3fs runs in a thread.
"""

import functools
from typing import Any

from .._shape.secret import Unpicklable
from ._consumers import consumer
from ._view import BridgeCredentials, CredentialsView, view_of

MINIMUM = "2.21"  # `ReadOnlyCredentials` with an account id


def session(credentials: BridgeCredentials, *, region: str | None = None) -> Any:
    """
    Return an ``aiobotocore.session.AioSession`` whose clients use *credentials*.

        async with bridges.aiobotocore.session(sts).create_client("s3") as s3: ...

    Its other settings are those of aiobotocore.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        region: The region of the clients; None for that of *credentials*, then for the one that aiobotocore finds.

    Raises:
        ConfigurationError: aiobotocore is missing or too old, or *credentials* has another type.
    """
    view = view_of(credentials)
    made = consumer("aiobotocore.session", minimum=MINIMUM).AioSession()
    made.register_component("credential_provider", _Provider(_classes()(view)))
    region = region or view.region
    if region is not None:
        made.set_config_variable("region", region)
    return made


class _Provider:
    """The resolver of a session, with one source."""

    def __init__(self, found: Any) -> None:
        self._found = found

    async def load_credentials(self) -> Any:
        """Return the credentials. Nothing is fetched."""
        return self._found


@functools.cache
def _classes() -> Any:
    library = consumer("aiobotocore.credentials", minimum=MINIMUM)
    frozen = consumer("botocore.credentials", minimum="1.37").ReadOnlyCredentials
    base: Any = library.AioCredentials

    class ViewCredentials(Unpicklable, base):  # type: ignore[misc]
        """Credentials that read each value from a view. The properties read memory alone."""

        method = "sts-async"

        def __init__(self, view: CredentialsView) -> None:
            self._view = view

        async def get_frozen_credentials(self) -> Any:
            """Return one triple, and the account."""
            now = await self._view.get()
            return frozen(now.access_key_id, now.secret_access_key, now.session_token, now.account_id)

        async def get_access_key(self) -> str:
            return (await self._view.get()).access_key_id

        async def get_secret_key(self) -> str:
            return (await self._view.get()).secret_access_key

        async def get_token(self) -> str | None:
            return (await self._view.get()).session_token

        async def get_account_id(self) -> str | None:
            return (await self._view.get()).account_id

        @property
        def access_key(self) -> str | None:
            now = self._view.peek()
            return None if now is None else now.access_key_id

        @property
        def secret_key(self) -> str | None:
            now = self._view.peek()
            return None if now is None else now.secret_access_key

        @property
        def token(self) -> str | None:
            now = self._view.peek()
            return None if now is None else now.session_token

        @property
        def account_id(self) -> str | None:
            now = self._view.peek()
            return None if now is None else now.account_id

        def __repr__(self) -> str:
            return f"<aiobotocore credentials of {self._view!r}>"

    return ViewCredentials
