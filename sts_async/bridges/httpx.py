"""httpx: an authentication that signs the requests for some origins, in synchronous and asynchronous clients."""

from collections.abc import Collection
from typing import Any

from ._httpx_auth import signing_auth
from ._signing import OriginSigner
from ._view import BridgeCredentials


def auth(
    credentials: BridgeCredentials,
    *,
    service: str,
    origins: str | Collection[str],
    region: str | None = None,
    allow_http: bool = False,
) -> Any:
    """
    Return an ``httpx.Auth`` for ``httpx.AsyncClient(auth=...)`` or ``httpx.Client(auth=...)``.

        auth = bridges.httpx.auth(sts, service="execute-api", origins="https://abc123.execute-api.eu-west-1.amazonaws.com")

    It signs ``host``, ``content-type`` and all headers that begin with ``x-amz-``. Streamed bodies are read into memory
    first; those for S3 over TLS are not read and not hashed. Requests for other origins are sent as they are.

    With ``follow_redirects=True``, which is not the default, a redirect to another host takes the session token there:
    httpx removes only ``Authorization``. Use it only with services that you trust.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        service: Signing name of the service, in lower case, such as ``execute-api``.
        origins: The URLs whose scheme, host and port are signed for: one, or several.
        region: The signing region; None for that of *credentials*.
        allow_http: Whether an origin on another host can be ``http``. Then the network can read session tokens.

    Raises:
        ConfigurationError: httpx is missing or too old, or an argument is invalid. Requests raise it if the region is
            not known.
    """
    signer = OriginSigner(credentials, service=service, origins=origins, region=region, allow_http=allow_http)
    return signing_auth("httpx")(signer)
