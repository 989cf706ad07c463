"""Records of requests, which a test reads while the thread of the server appends to them."""

from collections import deque
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class Records(deque[T]):
    """A deque that can be iterated while another thread appends. The iteration uses a snapshot."""

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(super().__iter__()))  # `tuple` runs without switching threads
