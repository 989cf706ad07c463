"""
Request handlers: code of yours in the path of every request.

A handler can add headers before a request is signed, and sees what became of it. It is called in the event loop, once
for each attempt, and must not block. What it raises ends the call, and comes out of it as it is; to learn what happens
without taking part, use an observer (`events`).
"""

from collections.abc import Mapping
from typing import Any

import attrs

from .errors import STSError
from .shapes import Request, Response

EMPTY: Mapping[str, str] = {}


@attrs.frozen(kw_only=True)
class OutgoingRequest:
    """
    A request that is about to be signed and sent.

    Attributes:
        operation: Name of the operation.
        attempt: Which attempt it is. The first is 1.
        endpoint: The URL that it will be sent to.
        region: The region that it will be signed for; None for one that was not given.
        request: Its members; ``repr`` hides those that are secret.
        headers: Those that it has so far, by lower-case names; what the transport and the signature add is missing.
    """

    operation: str
    attempt: int
    endpoint: str
    region: str | None
    request: Request[Any]
    headers: Mapping[str, str] = attrs.field(repr=lambda headers: f"<{', '.join(headers)}>")


class RequestHandler:
    """
    Takes part in requests: override one of its methods, or both.

        class Tracing(RequestHandler):
            def before_signing(self, outgoing):
                return {"x-amzn-trace-id": current_trace()}
    """

    def before_signing(self, outgoing: OutgoingRequest) -> Mapping[str, str]:
        """
        Return headers to add to the request; of two of one name the later wins.

        They are signed, but for those that SigV4 leaves to what is on the way, such as ``x-amzn-trace-id``. Names are
        words of RFC 9110, values printable ASCII; those that the library makes itself cannot be added.
        """
        return EMPTY

    def after_attempt(self, outgoing: OutgoingRequest, outcome: Response | STSError) -> None:
        """Learn what an attempt ended with: a response, or an error that may yet be followed by another attempt."""
