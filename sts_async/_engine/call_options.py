"""
The options of one call, as one frozen value.

A view of a client replaces some of them. The metadata of each field says whether views can change it, and how the value
of a view and the value of its client are combined. `with_options` validates its arguments, and `CallOptions.changed`
combines them.
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

# Headers that the engine signs. A proxy changes none of them.
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
    The options that may differ between the calls of one client.

    Shared work of the client, such as fetching credentials, uses the options of the client itself.

    Attributes:
        endpoint: The endpoint; None if it is not known. A view is given a region instead.
        no_endpoint: The error to raise if it is not known.
        credentials: The provider whose credentials sign requests.
        retries: Decides about retries.
        deadline: Seconds for a whole call, or None.
        observers: Functions that receive events.
        handlers: Request handlers.
        headers: Headers that are signed and sent with each request.
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
