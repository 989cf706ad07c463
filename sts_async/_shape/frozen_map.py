"""An immutable, hashable map, for the maps in shapes."""

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Generic, TypeVar, overload

V = TypeVar("V")
D = TypeVar("D")


class FrozenMap(Generic[V]):
    """
    An immutable map from text to values. It can be hashed, pickled, and converted to a `dict`.

    It is read like a dict, and equals a dict with the same items. It is not a `collections.abc.Mapping`: error trackers
    iterate over mappings and print their keys, which can be secrets, as plain text.
    """

    __slots__ = ("_items",)

    def __init__(self, items: "Mapping[str, V] | FrozenMap[V] | Iterable[tuple[str, V]]" = ()) -> None:
        self._items: dict[str, V] = dict(items)

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    @overload
    def get(self, key: str) -> V | None: ...

    @overload
    def get(self, key: str, default: D) -> V | D: ...

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of *key*, or *default* if it is missing."""
        return self._items.get(key, default)

    def keys(self) -> KeysView[str]:
        """Return the keys, in the order of the document."""
        return self._items.keys()

    def values(self) -> ValuesView[V]:
        """Return the values, in the order of the document."""
        return self._items.values()

    def items(self) -> ItemsView[str, V]:
        """Return pairs of key and value, in the order of the document."""
        return self._items.items()

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenMap):
            return self._items == other._items
        return self._items == other if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMap, (self._items,)
