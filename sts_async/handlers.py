"""
Request handlers: code of a program in the path of every request.

A handler can add headers before a request is signed, and sees the outcome. It is called in the event loop, once for
each attempt, and must not block. An exception that it raises ends the call and reaches the caller unchanged. To watch
calls without changing them, use an observer (`events`).
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
        attempt: Number of the attempt; the first is 1.
        endpoint: URL of the endpoint.
        region: The signing region; None if there is none.
        request: The request shape; ``repr`` hides its secret members.
        headers: The headers so far, by lower-case names. Those of the transport and of the signature are added later.
    """

    operation: str
    attempt: int
    endpoint: str
    region: str | None
    request: Request[Any]
    headers: Mapping[str, str] = attrs.field(repr=lambda headers: f"<{', '.join(headers)}>")


class RequestHandler:
    """
    Base class of request handlers: override one or both methods.

        class Tracing(RequestHandler):
            def before_signing(self, outgoing):
                return {"x-amzn-trace-id": current_trace()}
    """

    def before_signing(self, outgoing: OutgoingRequest) -> Mapping[str, str]:
        """
        Return headers to add to the request. If two handlers add the same name, the later one wins.

        The headers are signed, except those that SigV4 excludes because proxies change them, such as
        ``x-amzn-trace-id``. Names are tokens of RFC 9110, values printable ASCII. Headers that the library sets itself
        are refused with a `ConfigurationError`, which ends the call.
        """
        return EMPTY

    def after_attempt(self, outgoing: OutgoingRequest, outcome: Response | STSError) -> None:
        """Handle the outcome of an attempt: a response, or an error, after which a retry may follow."""
