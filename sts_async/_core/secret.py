"""Text and bytes that do not show themselves: keys, tokens, assertions, and bodies that carry them."""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn


class Secret(str):
    """
    A string that its ``repr`` hides.

    It *is* the string for everything that needs the value (signing, sending, ``==``), but a log line with ``%r``, a
    printed container or a traceback that shows local variables has three asterisks in its place.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class SecretBytes(bytes):
    """Bytes that their ``repr`` hides, for bodies that carry a secret somewhere."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"

    __str__ = __repr__


def conceal(value: Any) -> Any:
    """Return *value* hidden when it is text, or bytes by mistake, and unchanged when it is neither."""
    if isinstance(value, str):
        return Secret(value)
    return SecretBytes(value) if isinstance(value, bytes) else value


class HiddenDocument(dict[str, Any]):
    """A JSON object that its ``repr`` hides: it is in local variables while it is read."""

    def __repr__(self) -> str:
        return f"<a document of {len(self)} members>"

    def __or__(self, other: Mapping[str, Any]) -> "HiddenDocument":  # type: ignore[override]
        merged = HiddenDocument(self)
        merged.update(other)
        return merged


class HiddenMapping(Mapping[str, str]):
    """A view of a mapping, such as the environment, that its ``repr`` hides."""

    __slots__ = ("_hidden",)

    def __init__(self, hidden: Mapping[str, str]) -> None:
        self._hidden: Mapping[str, str] = hidden._hidden if isinstance(hidden, HiddenMapping) else hidden

    def __getitem__(self, name: str) -> str:
        return self._hidden[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return what is there under *name*, or *default*."""
        return self._hidden.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._hidden)

    def __len__(self) -> int:
        return len(self._hidden)

    def __repr__(self) -> str:
        return f"<{len(self)} hidden items>"


class Unpicklable:
    """What holds secrets or connections and does not go to another process; `Credentials` and `Config` do."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: pass its Credentials or Config, and make one there"
        )
