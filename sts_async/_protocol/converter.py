"""
The one cattrs converter: elements of a response to shapes, and shapes to plain dicts.

Each hook reads its element directly, so that no copy of the document exists. A hook is made when its class is first
read. Shapes are written as plain dicts by wire names, maps as the AWS CLI prints them.

The reader accepts members that are missing or unknown, and refuses members that occur twice or that it cannot read. The
hooks of cattrs itself would make ``'None'`` of a null, and would quote what they cannot read.
"""

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_origin

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from .._shape.constraints import Member
from .._shape.frozen_map import FrozenMap
from .._shape.secret import Secret
from .._shape.shape import Shape
from .timestamps import timestamp
from .xml import children, tags

UNREADABLE = (ValueError, TypeError, OverflowError)
"""
What a reader raises if an element does not describe a shape.

The messages can quote the document: catch the errors, drop them, and call `explain`.
"""


@functools.cache
def reader(cls: Any) -> Callable[..., Any]:
    """
    Return the function that reads one class of shapes.

    Its arguments are an element, as `xml.parse` leaves it, the class, and by keyword the fields that are not members,
    such as ``metadata``; no document can set them. It raises one of `UNREADABLE` if a member is missing or unreadable.
    """
    return _converter().get_structure_hook(cls)


def unstructure(shape: Shape) -> dict[str, Any]:
    """Return *shape* as a dict by wire names, without absent members; times as ISO 8601 text in UTC."""
    given: dict[str, Any] = _given(_converter().unstructure(shape))
    return given


def explain(element: Any, cls: type[Shape], path: str) -> str:
    """Return in words which member keeps *element* from being a *cls*, without any value."""
    for member in cls.__members__:
        here = f"{path}.{member.wire}"
        found = [child for child in element if child.tag in tags(member.wire)]
        if not found:
            if member.required:
                return f"{here} is missing"
        elif not _reads(found, member):
            if len(found) == 1 and issubclass(member.kind, Shape):
                return explain(found[0], member.kind, here)
            empty = member.required and member.kind is str and len(found) == 1 and not len(found[0])
            return f"{here} is {'empty' if empty else 'unreadable'}"
    return f"{path} is unreadable"


def _reads(found: list[Any], member: Member) -> bool:
    try:
        if member.flattened:
            _read_entries(found, member.items)
        elif len(found) > 1:
            return False
        else:
            return _hook_of(member)(found[0], member.kind) != "" or not _is_needed_text(member)
    except UNREADABLE:
        return False
    return True


_Field = tuple[str, type, Callable[..., Any], bool, bool]
"""
How the reader of a shape reads one member: a plain tuple, which Python unpacks fastest.

It has the Python name and the class of the member, and a function. The function makes the value of the text of an
element, if the first flag is set, else of the element. The second flag says that empty text is refused.
"""


def _shape_reader(cls: type[Shape]) -> Callable[..., Shape]:
    """Return a reader for one class. It calls no function of Python for text, because it runs for each response."""
    flattened = [member for member in cls.__members__ if member.flattened]
    field_of = {
        tag: _field_of(member) for member in cls.__members__ if not member.flattened for tag in tags(member.wire)
    }.get

    # The values are hidden when they are read, so a constructor that hides them first (`secret.hiding`) is left out.
    initialize = getattr(cls.__init__, "__wrapped__", cls.__init__)

    def read_element(element: Any, _: Any, /, **given: Any) -> Shape:
        members = element[:]  # A list costs less than an iterator.
        if not members:
            _check_blank(element)
        for child in members:
            field = field_of(child.tag)
            if field is None:
                continue
            name, kind, read, is_text, needed = field
            if name in given:
                raise ValueError("a member occurs twice")
            if not is_text:
                given[name] = read(child, kind)
            elif len(child):
                raise TypeError("not text")
            else:
                given[name] = read(child.text or "")
                if needed and not given[name]:
                    raise ValueError("empty")
        for member in flattened:
            if entries := [child for child in members if child.tag in tags(member.wire)]:
                given[member.name] = _read_entries(entries, member.items)
        made = object.__new__(cls)
        initialize(made, **given)
        return made

    return read_element


def _field_of(member: Member) -> _Field:
    read = _READERS.get(member.kind)
    if read is None:
        return member.name, member.kind, _hook_of(member), False, False
    if member.secret and member.kind is str:
        read = Secret
    return member.name, member.kind, read, True, _is_needed_text(member)


def _is_needed_text(member: Member) -> bool:
    return member.required and member.kind is str


def _integer(text: str) -> int:
    """Return a decimal integer. `int` alone would also read ``1_0`` and digits of other scripts."""
    digits = text.strip()
    if not digits.isascii() or not digits.removeprefix("-").isdigit():
        raise ValueError("not an integer")
    return int(digits)


_READERS: dict[type, Callable[[str], Any]] = {str: str, int: _integer, datetime: timestamp}


def _text_reader(read: Callable[[str], Any]) -> Callable[[Any, Any], Any]:
    def read_element(element: Any, _: Any) -> Any:
        if len(element):
            raise TypeError("not text")
        return read(element.text or "")

    return read_element


def _hook_of(member: Member) -> Callable[..., Any]:
    """Return the function that reads a member from its element."""
    if member.kind is FrozenMap:
        return functools.partial(_read_map, items=member.items)
    return _converter().get_structure_hook(member.kind)


def _read_map(element: Any, _: Any, *, items: Member) -> FrozenMap[Any]:
    if not len(element):
        _check_blank(element)
    return _read_entries([child for child in element if child.tag in tags("entry")], items)


def _read_entries(entries: list[Any], items: Member) -> FrozenMap[Any]:
    read_key, read_value = _converter().get_structure_hook(str), _hook_of(items)
    found: dict[str, Any] = {}
    for entry in entries:
        parts = children(entry)
        if parts.get("key") is None or parts.get("value") is None:
            raise ValueError("not an entry with one key and one value")
        found[read_key(parts["key"], str)] = read_value(parts["value"], items.kind)
    return FrozenMap(found)


def _check_blank(element: Any) -> None:
    """Refuse an element that has text in place of children."""
    if (element.text or "").strip():
        raise TypeError("not an element with children")


def _unstructure_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _unstructure_map(value: FrozenMap[Any]) -> dict[str, Any]:
    return {key: _converter().unstructure(item) for key, item in value.items()}


def _is_map(cls: Any) -> bool:
    return cls is FrozenMap or get_origin(cls) is FrozenMap


def _shape_writer(cls: type[Shape]) -> Callable[[Shape], dict[str, Any]]:
    overrides: dict[str, Any] = {
        # The hook looks at the value: the annotation also has the other forms in which a program can give it.
        member.name: override(rename=member.wire, unstruct_hook=_written)
        for member in cls.__members__
    }
    # Fields that are not members stay out of every document.
    extra = {field.name for field in attrs.fields(cls)} - overrides.keys()  # type: ignore[arg-type]
    overrides |= {name: override(omit=True) for name in extra}
    return make_dict_unstructure_fn(cls, _converter(), **overrides)


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
def _converter() -> Converter:
    """Return the converter, made at first use: importing the library is not the time for it."""
    converter = Converter(detailed_validation=False)
    for kind, read in _READERS.items():
        converter.register_structure_hook(kind, _text_reader(read))
    converter.register_structure_hook_factory(_is_shape, _shape_reader)
    converter.register_unstructure_hook(datetime, _unstructure_time)
    converter.register_unstructure_hook_func(_is_map, _unstructure_map)
    converter.register_unstructure_hook_factory(_is_shape, _shape_writer)
    return converter


def _is_shape(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Shape)
