"""An HTTP request and its answer, as values that print neither headers nor bodies."""

from collections.abc import Mapping

import attrs

from .secret import SecretBytes

NOTHING = SecretBytes()


@attrs.frozen
class HttpRequest:
    """
    A request, ready to be sent.

    Attributes:
        method: ``POST`` and the like.
        url: Absolute, percent-encoded; sent as it is.
        headers: Names in any case; values that are secret are `Secret`.
        body: Sent as it is.
    """

    method: str
    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: SecretBytes = NOTHING


@attrs.frozen
class HttpResponse:
    """
    An answer, read whole.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
        body: As it came, not decompressed.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: SecretBytes
