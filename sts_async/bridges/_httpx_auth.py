"""
The signing authentication of httpx and httpx2. Each accepts only a subclass of its own `Auth`.

Both libraries run it outside of their loop for redirects. So a request that follows a redirect is not signed again. But
across origins they remove only ``Authorization`` and ``Cookie`` from it: the session token in ``X-Amz-Security-Token``
travels to the other host. They follow redirects only with ``follow_redirects=True``.
"""

import functools
import hashlib
from collections.abc import AsyncGenerator, Generator
from typing import Any

from .. import sigv4
from ._consumers import consumer
from ._signing import OriginSigner

MINIMUM = {"httpx": "0.25", "httpx2": "2.0"}


@functools.cache
def signing_auth(library: str) -> Any:
    """
    Return the subclass of the `Auth` of *library*. Its constructor takes an `OriginSigner`.

    Raises:
        ConfigurationError: The library is missing or too old.
    """
    httpx = consumer(library, minimum=MINIMUM[library])

    base: Any = httpx.Auth

    class SigningAuth(base):  # type: ignore[misc]
        """Signs the requests for some origins, in an `AsyncClient` and in a `Client`."""

        def __init__(self, signer: OriginSigner) -> None:
            self._signer = signer

        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
            """Sign *request*, and yield it. A streamed body is read first."""
            if self._covers(request):
                if self._skips_body(request):
                    payload_hash = sigv4.UNSIGNED_PAYLOAD
                else:
                    payload_hash = await self._signer.hash_of(await request.aread())
                self._sign(request, await self._signer.view.get(), payload_hash)
            yield request

        def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
            """Sign *request*, and yield it. Credentials that are not in memory are waited for."""
            if self._covers(request):
                if self._skips_body(request):
                    payload_hash = sigv4.UNSIGNED_PAYLOAD
                else:
                    payload_hash = hashlib.sha256(request.read()).hexdigest()
                self._sign(request, self._signer.view.get_sync(), payload_hash)
            yield request

        def _covers(self, request: Any) -> bool:
            url = request.url
            return self._signer.covers(url.scheme, url.raw_host.decode("ascii").strip("[]"), url.port)

        def _skips_body(self, request: Any) -> bool:
            if not self._signer.skips_body(request.url.scheme):
                return False
            try:
                return request.content is None
            except httpx.RequestNotRead:
                return True

        def _sign(self, request: Any, credentials: Any, payload_hash: str) -> None:
            url = request.url
            added = self._signer.sign(
                credentials,
                method=request.method,
                url=f"{url.scheme}://{url.netloc.decode('ascii')}{url.raw_path.decode('ascii')}",
                headers=request.headers.multi_items(),
                payload_hash=payload_hash,
            )
            for name, value in added.items():
                request.headers[name] = value

    return SigningAuth
