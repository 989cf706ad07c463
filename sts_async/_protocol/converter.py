"""
The one cattrs converter: plain dicts and strings, by wire names, to shapes, and shapes to plain dicts.

A map is read in the form of the protocol, a list of entries, and written as a plain dict, as the AWS CLI prints it.

Liberal in what is missing or unknown, strict in what is there: cattrs' own hooks would make ``'None'`` of a null and
quote what they cannot read.
"""

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, get_origin

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from .._shape.constraints import Member
from .._shape.frozen_map import FrozenMap
from .._shape.shape import Shape
from ..shapes import ResponseMetadata
from .timestamps import timestamp

S = TypeVar("S", bound=Shape)


def structure(tree: Any, cls: type[S], *, metadata: ResponseMetadata | None = None) -> S:
    """
    Return the shape that *tree* describes.

    Raises:
        ValueError, KeyError, TypeError, OverflowError: A member is missing or unreadable. The messages can quote what
            was read: catch them, and ask `explain`.
    """
    if metadata is not None:
        tree = {**tree, "metadata": metadata} if isinstance(tree, dict) else {"metadata": metadata}
    read: Callable[[Any, type[S]], S] = _reader(cls)  # type: ignore[arg-type] # classes are hashable
    return read(tree, cls)


def unstructure(shape: Shape) -> dict[str, Any]:
    """Return *shape* as a dict by wire names, without what is absent; times as ISO 8601 text in UTC."""
    given: dict[str, Any] = _given(_converter().unstructure(shape))
    return given


def explain(tree: Any, cls: type[Shape], path: str) -> str:
    """Return in words which member of *tree* keeps it from being a *cls*, without any value."""
    for member in cls.__members__:
        here = f"{path}.{member.wire}"
        if not isinstance(tree, dict) or member.wire not in tree:
            if member.required:
                return f"{here} is missing"
        elif issubclass(member.kind, Shape):
            if not _reads(tree[member.wire], member):
                return explain(tree[member.wire], member.kind, here)
        elif member.required and member.kind is str and tree[member.wire] == "":
            return f"{here} is empty"
        elif not _reads(tree[member.wire], member):
            return f"{here} is unreadable"
    return f"{path} is unreadable"


def _reads(value: Any, member: Member) -> bool:
    try:
        _hook(member)(value, member.kind)
    except UNREADABLE:
        return False
    return True


UNREADABLE = (ValueError, KeyError, TypeError, OverflowError, AttributeError)
"""What `structure` raises when a tree does not fit."""


def _structure_text(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _structure_integer(value: Any, _: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, _DIGITS):
        raise TypeError("not an integer")
    return int(value)


def _structure_time(value: Any, _: Any) -> datetime:
    return timestamp(value)


_DIGITS = (str, int)
_SCALARS = {str: _structure_text, int: _structure_integer, datetime: _structure_time}


def _unstructure_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _shape_reader(cls: type[Shape]) -> Callable[[Any, Any], Shape]:
    overrides: dict[str, Any] = {}
    for member in cls.__members__:
        # Bound here, a hook is called without a search for it, also for a member that may be None.
        overrides[member.name] = override(rename=member.wire, struct_hook=_hook(member))
    overrides |= _omitted(cls, but="metadata")
    read: Any = make_dict_structure_fn(cls, _converter(), _cattrs_detailed_validation=False, **overrides)
    needed = [member.wire for member in cls.__members__ if member.required and member.kind is str]

    def read_element(tree: Any, _: Any) -> Shape:
        if isinstance(tree, str) and not tree.strip():
            tree = {}  # an element without children
        if not isinstance(tree, dict):
            raise TypeError("not an element with children")
        if needed and "" in map(tree.get, needed):
            raise ValueError("empty")
        made: Shape = read(tree, cls)
        return made

    return read_element


def _hook(member: Member) -> Callable[[Any, Any], Any]:
    """Return what reads a member from its tree."""
    if member.kind is FrozenMap:
        return _map_reader(member)
    return _SCALARS.get(member.kind) or _reader(member.kind)


def _map_reader(member: Member) -> Callable[[Any, Any], FrozenMap[Any]]:
    read_value = _hook(member.items)

    def read_map(tree: Any, _: Any) -> FrozenMap[Any]:
        if not member.flattened:
            if isinstance(tree, str) and not tree.strip():
                tree = {}  # an element without entries
            if not isinstance(tree, dict):
                raise TypeError("not an element with entries")
            tree = tree.get("entry", [])
        entries = tree if isinstance(tree, list) else [tree]
        return FrozenMap(
            (_structure_text(entry["key"], str), read_value(entry["value"], member.items.kind)) for entry in entries
        )

    return read_map


def _unstructure_map(value: FrozenMap[Any]) -> dict[str, Any]:
    return {key: _converter().unstructure(item) for key, item in value.items()}


def _is_map(cls: Any) -> bool:
    return cls is FrozenMap or get_origin(cls) is FrozenMap


def _shape_writer(cls: type[Shape]) -> Callable[[Shape], dict[str, Any]]:
    overrides: dict[str, Any] = {
        # By the value that is kept: the annotation also names the forms in which it can be given.
        member.name: override(rename=member.wire, unstruct_hook=_written)
        for member in cls.__members__
    }
    overrides |= _omitted(cls)
    return make_dict_unstructure_fn(cls, _converter(), **overrides)


def _omitted(cls: type[Shape], *, but: str | None = None) -> dict[str, Any]:
    """Return overrides for what is beside the members of a shape: no document may say it."""
    names = {field.name for field in attrs.fields(cls)} - {member.name for member in cls.__members__} - {but}  # type: ignore[arg-type]
    return {name: override(omit=True) for name in names}


def _written(value: Any) -> Any:
    write = _converter().unstructure
    return list(map(write, value)) if isinstance(value, tuple) else write(value)


def _given(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _given(item) for name, item in value.items() if item is not None and item not in ((), [])}
    if isinstance(value, list | tuple):
        return [_given(item) for item in value]
    return value


@functools.cache
def _reader(cls: type[Shape]) -> Callable[[Any, Any], Any]:
    return _converter().get_structure_hook(cls)


@functools.cache
def _converter() -> Converter:
    """Return the converter, made at first use: importing the library is not the time for it."""
    converter = Converter(detailed_validation=False)
    for kind, hook in _SCALARS.items():
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook(ResponseMetadata, lambda value, _: value)
    converter.register_unstructure_hook(datetime, _unstructure_time)
    converter.register_unstructure_hook_func(_is_map, _unstructure_map)
    converter.register_structure_hook_factory(_is_shape, _shape_reader)
    converter.register_unstructure_hook_factory(_is_shape, _shape_writer)
    return converter


def _is_shape(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Shape)
