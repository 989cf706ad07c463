"""obstore: a credential provider for stores on S3, with its synchronous and its asynchronous functions."""

from datetime import timedelta
from typing import Any

from .._shape.secret import Unpicklable
from ._consumers import consumer
from ._view import BridgeCredentials, CredentialsView, view_of

MINIMUM = "0.7"
THRESHOLD = timedelta(
    seconds=60
)  # before the end, where obstore asks again; its default of 5 min asks for each request


def credential_provider(credentials: BridgeCredentials, *, region: str | None = None) -> Any:
    """
    Return a credential provider for ``obstore.store.S3Store``.

        store = S3Store("bucket", credential_provider=bridges.obstore.credential_provider(sts))

    obstore caches the credentials until a minute before their end, and then asks in a thread of its own. Do not call
    its synchronous functions in the event loop of a fleet whose credentials these are: they block it, so credentials
    that are not in memory are an error after 30 s.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        region: The region of the store; None for that of *credentials*, if it is known.

    Raises:
        ConfigurationError: obstore is missing or too old, or *credentials* has another type.
    """
    consumer("obstore", minimum=MINIMUM)
    return _Provider(view_of(credentials), region=region)


class _Provider(Unpicklable):
    """
    A callable, with the attributes that obstore reads.

    Attributes:
        refresh_threshold: The life that credentials must have left. With less, obstore asks again.
        config: Options of the store.
    """

    def __init__(self, view: CredentialsView, *, region: str | None) -> None:
        self._view = view
        self.refresh_threshold = THRESHOLD
        region = region or view.region
        self.config = {} if region is None else {"region": region}

    def __call__(self) -> dict[str, Any]:
        """Return the credentials and their end."""
        now = self._view.get_sync(at_least=THRESHOLD.total_seconds())
        return {
            "access_key_id": now.access_key_id,
            "secret_access_key": now.secret_access_key,
            "token": now.session_token,
            "expires_at": now.expiration,
        }

    def __repr__(self) -> str:
        return f"<credential provider of obstore with {self._view!r}>"
