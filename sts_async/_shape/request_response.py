"""What all requests and all responses have in common, whatever the operation."""

# Annotations are read at run time: no `from __future__ import annotations` here.
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import attrs

from .shape import Shape, beside, shape

R_co = TypeVar("R_co", bound="Response", covariant=True)


@attrs.frozen(kw_only=True)
class ResponseMetadata:
    """
    What the service said of the exchange, beside the answer itself.

    Attributes:
        request_id: The id that AWS support asks for, or None when the answer had none.
        status: HTTP status.
        headers: The headers of the answer, found by names in any case.
        attempts: How many times the request was sent.
    """

    request_id: str | None = None
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False, hash=False)
    attempts: int = 1

    def __reduce__(self) -> tuple[Any, ...]:  # aiohttp's headers do not pickle
        headers = {name.lower(): value for name, value in self.headers.items()}
        return _metadata, (self.request_id, self.status, headers, self.attempts)


def _metadata(request_id: str | None, status: int, headers: dict[str, str], attempts: int) -> ResponseMetadata:
    return ResponseMetadata(request_id=request_id, status=status, headers=headers, attempts=attempts)


@shape
class Response(Shape):
    """What all responses have: `metadata`, which is not compared and not printed."""

    metadata: ResponseMetadata = beside(default=ResponseMetadata())


class Request(Shape, Generic[R_co]):
    """What all requests are, each typed by the response that it gets."""

    __slots__ = ()
