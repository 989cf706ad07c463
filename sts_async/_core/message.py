"""An HTTP request and its answer, as values that print neither headers nor bodies."""

from collections.abc import Mapping
from typing import NamedTuple

from .secret import SecretBytes

NOTHING = SecretBytes()


class HttpRequest(NamedTuple):
    """
    A request, ready to be sent.

    Attributes:
        method: ``POST`` and the like.
        url: Absolute, percent-encoded; sent as it is.
        headers: Names in any case; values that are secret are `Secret`.
        body: Sent as it is.
        timeout: Seconds for the whole attempt; None for as many as the transport gives.
        fresh: Whether it goes over a connection that has not served before.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: SecretBytes = NOTHING
    timeout: float | None = None
    fresh: bool = False

    def __repr__(self) -> str:
        return f"<HttpRequest {self.method} {self.url.partition('?')[0]}, {len(self.body)} bytes>"


class HttpResponse(NamedTuple):
    """
    An answer, read whole.

    Attributes:
        status: HTTP status.
        headers: Found by names in any case, or else names are in lower case.
        body: As it came, not decompressed.
        reused: Whether its connection had served before; None when the transport does not know.
        receive_seconds: Seconds from its head to its end.
    """

    status: int
    headers: Mapping[str, str]
    body: SecretBytes
    reused: bool | None = None
    receive_seconds: float = 0.0

    def __repr__(self) -> str:
        return f"<HttpResponse {self.status}, {len(self.body)} bytes>"
