"""
The options of one call, as one frozen value.

A view of a client differs in some of them. Which ones, and how a view's value and that of its client become one, stands
with each field: `with_options` checks what it is given, and `CallOptions.changed` does the rest.
"""

from collections.abc import Callable, Mapping
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

COMBINE = "sts_async.combine"  # key of the metadata of a field that views may change

Combine = Callable[[Any, Any], Any]
"""Returns the value of a view, from the value of its client and the value that the view was given."""


def _replace(_: Any, given: Any) -> Any:
    return given


def _append(own: tuple[Any, ...], given: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*own, *given)


def _merge(own: Mapping[str, str], given: Mapping[str, str]) -> Mapping[str, str]:
    return {**own, **given}


def _views(combine: Combine) -> dict[str, Combine]:
    """Return the metadata of a field that views may change."""
    return {COMBINE: combine}


@attrs.frozen(kw_only=True)
class CallOptions:
    """
    What may differ between the calls of one client; those of the client itself count for its own work.

    Attributes:
        endpoint: Where requests go; None when that is not known. A view names it by its region.
        no_endpoint: Why it is not known.
        credentials: The provider whose credentials sign requests.
        retries: Decides about retries.
        deadline: Seconds for a whole call, or None.
        observers: Functions that are told what happens.
        handlers: Take part in each request.
        headers: Signed and sent with each request.
    """

    endpoint: Endpoint | None = attrs.field(metadata=_views(_replace))
    no_endpoint: STSError | None = None
    credentials: CredentialsProvider = attrs.field(metadata=_views(_replace))
    retries: RetryPolicy = attrs.field(metadata=_views(_replace))
    deadline: float | None = attrs.field(default=None, metadata=_views(_replace))
    observers: tuple[Observer, ...] = attrs.field(default=(), metadata=_views(_append))
    handlers: tuple[RequestHandler, ...] = attrs.field(default=(), metadata=_views(_append))
    headers: Mapping[str, str] = attrs.field(default=HEADERS, repr=False, metadata=_views(_merge))

    def replaced(self, **changed: Any) -> "CallOptions":
        """Return these options, with some replaced."""
        return attrs.evolve(self, **changed)

    def changed(self, **given: Any) -> "CallOptions":
        """Return the options of a view: these, with what the view was given."""
        return attrs.evolve(self, **{name: COMBINED[name](getattr(self, name), value) for name, value in given.items()})


COMBINED: dict[str, Combine] = {
    field.name: field.metadata[COMBINE] for field in attrs.fields(CallOptions) if COMBINE in field.metadata
}
"""How views change options, for each option that they may change."""
