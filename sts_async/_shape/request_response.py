"""Base classes of all requests and responses, and the metadata of a response."""

# Annotations are read at run time: no `from __future__ import annotations` here.
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import attrs

from .shape import Shape, extra, shape

R_co = TypeVar("R_co", bound="Response", covariant=True)


@attrs.frozen(kw_only=True)
class ResponseMetadata:
    """
    Metadata of a response.

    Attributes:
        request_id: The request id, for AWS support; None if the response has none.
        status: HTTP status.
        headers: The headers of the response; names are case-insensitive.
        attempts: Number of attempts, including the successful one.
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
    """
    Base class of all responses.

    Attributes:
        metadata: The metadata of the response. It is not compared or printed.
    """

    metadata: ResponseMetadata = extra(default=ResponseMetadata())


class Request(Shape, Generic[R_co]):
    """Base class of all requests. The type parameter is the class of the response."""

    __slots__ = ()
