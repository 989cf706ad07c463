"""Records of requests, which a test reads while a server in another thread adds to them."""

from collections import deque
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class Records(deque[T]):
    """A deque that can be walked through while another thread appends: over what it held at the beginning."""

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(super().__iter__()))  # `tuple` takes one step: no other thread runs in between
