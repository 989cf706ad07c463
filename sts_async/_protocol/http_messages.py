"""
HTTP requests and responses with a ``repr`` that hides headers and bodies.

They are not tuples, because crash reporters iterate over tuples and would print the headers.
"""

from collections.abc import Callable, Mapping

import attrs

from .._shape.secret import SecretBytes

NOTHING = SecretBytes()

Headers = Mapping[str, str]


@attrs.define(repr=False, eq=False)
class HttpRequest:
    """
    A request that is ready to be sent.

    Attributes:
        method: The HTTP method, such as ``POST``.
        url: The absolute, percent-encoded URL; it is sent unchanged.
        headers: Names in any case; secret values are `Secret` objects. A function is called once, when the headers are
            first read, and returns them. A transport reads them after the wait for a connection, so that the signature
            is recent.
        body: The body; it is sent unchanged.
        timeout: Seconds for the whole attempt; None for the default of the transport.
        fresh: Whether the request needs a new connection. A body that the service accepts only once, such as an MFA
            code or a refresh token, would be lost if it were sent over a stale connection of the pool.
    """

    method: str
    url: str = attrs.field(repr=False)
    _headers: Headers | Callable[[], Headers] = attrs.field(alias="headers", repr=False)
    body: SecretBytes = attrs.field(default=NOTHING, repr=False)
    timeout: float | None = None
    fresh: bool = False

    @property
    def headers(self) -> Headers:
        """The headers to send. The first read signs the request, so a transport reads them when it is about to send."""
        if callable(self._headers):
            self._headers = self._headers()
        return self._headers

    def __repr__(self) -> str:
        return f"<HttpRequest {self.method} {self.url.partition('?')[0]}, {len(self.body)} bytes>"


@attrs.frozen(repr=False)
class HttpResponse:
    """
    A complete response.

    Attributes:
        status: HTTP status.
        headers: The headers, with lower-case names or a case-insensitive mapping.
        body: The body as received, not decompressed.
        reused: Whether an earlier request used the same connection; None if the transport does not know.
        receive_seconds: Seconds from the head to the end of the response.
    """

    status: int
    headers: Headers = attrs.field(repr=False)
    body: SecretBytes = attrs.field(repr=False)
    reused: bool | None = None
    receive_seconds: float = 0.0

    def __repr__(self) -> str:
        return f"<HttpResponse {self.status}, {len(self.body)} bytes>"
