"""
An HTTP request and its answer, as values that print neither headers nor bodies.

They are no tuples: crash reporters walk through those, and through the headers in them.
"""

from collections.abc import Callable, Mapping

import attrs

from .._shape.secret import SecretBytes

NOTHING = SecretBytes()

Headers = Mapping[str, str]


@attrs.define(repr=False, eq=False)
class HttpRequest:
    """
    A request, ready to be sent.

    Attributes:
        method: ``POST`` and the like.
        url: Absolute, percent-encoded; sent as it is.
        headers: Names in any case; values that are secret are `Secret`. A function that returns them is called once,
            when they are first read. A transport reads them when the request's turn has come, so that a signature is
            not made before.
        body: Sent as it is.
        timeout: Seconds for the whole attempt; None for as many as the transport gives.
        fresh: Whether it goes over a connection that has not served before: for what is good for once, such as an MFA
            code or a refresh token, which would be lost with a connection of the pool that has died.
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
    An answer, read whole.

    Attributes:
        status: HTTP status.
        headers: Found by names in any case, or else names are in lower case.
        body: As it came, not decompressed.
        reused: Whether its connection had served before; None when the transport does not know.
        receive_seconds: Seconds from its head to its end.
    """

    status: int
    headers: Headers = attrs.field(repr=False)
    body: SecretBytes = attrs.field(repr=False)
    reused: bool | None = None
    receive_seconds: float = 0.0

    def __repr__(self) -> str:
        return f"<HttpResponse {self.status}, {len(self.body)} bytes>"
