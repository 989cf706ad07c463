"""The options of one call, as one frozen value."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

from .._protocol import query
from .._protocol.endpoints import Endpoint
from ..errors import STSError
from ..events import Observer
from ..handlers import RequestHandler
from ..protocols import CredentialsProvider, RetryPolicy

# What the engine itself has signed: nothing that a proxy may change.
HEADERS: Mapping[str, str] = MappingProxyType({"content-type": query.CONTENT_TYPE})


@attrs.frozen(kw_only=True)
class CallOptions:
    """
    What may differ between the calls of one client; those of the client itself count for its own work.

    Attributes:
        endpoint: Where requests go; None when that is not known.
        no_endpoint: Why it is not known.
        credentials: The provider whose credentials sign requests.
        retries: Decides about retries.
        deadline: Seconds for a whole call, or None.
        observers: Functions that are told what happens.
        handlers: Take part in each request.
        headers: Signed and sent with each request.
    """

    endpoint: Endpoint | None
    no_endpoint: STSError | None = None
    credentials: CredentialsProvider
    retries: RetryPolicy
    deadline: float | None = None
    observers: tuple[Observer, ...] = ()
    handlers: tuple[RequestHandler, ...] = ()
    headers: Mapping[str, str] = attrs.field(default=HEADERS, repr=False)

    def replaced(self, **changed: Any) -> "CallOptions":
        """Return these options, with some replaced."""
        return attrs.evolve(self, **changed)
