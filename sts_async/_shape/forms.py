"""
Accepted forms of members, their conversion, and their description in error messages.

The forms follow from the kind of a member, so a member that the API adds later has them too:

- a list: any collection except text; a list of key-value pairs also a mapping, such as ``{"team": "a"}``;
- a structure with one member: also the value of that member, such as the ARN of a policy;
- a number of seconds: also a `timedelta` of whole seconds;
- a document: also a mapping that JSON can express.

A generator is not accepted: it is empty after one iteration, for instance by a debugger. A value in another form stays
unchanged, and `violations` reports it. An error raised here would have the other members in its frames.
"""

import json
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from types import NoneType
from typing import Any, NamedTuple

from .frozen_map import FrozenMap

PAIR = {"key", "value"}
SECONDS = "s"  # the unit of a `Range`
DOCUMENT_RULE = "be JSON text or a mapping that JSON can express"
SECONDS_RULE = "be a whole number of seconds, such as 900 or timedelta(minutes=15)"

_RULES = {str: "be text", int: "be an integer", FrozenMap: "be a mapping"}
_MAPPINGS = (Mapping, FrozenMap)
_TEXTS = (str, bytes, bytearray)
_SECOND = timedelta(seconds=1)
_EMPTY: tuple[Any, ...] = ()  # CPython has only one empty tuple, so `is` works


class Form(NamedTuple):
    """
    The conversion of a member to its stored form.

    Attributes:
        name: Name of the member.
        stored: The class of values that need no conversion; `NoneType` if all values except None need it.
        convert: Returns a value in the stored form, or unchanged if it has no accepted form.
    """

    name: str
    stored: type
    convert: Callable[[Any], Any]


def form_of(member: Any) -> Form | None:
    """Return the conversion of a member, or None if it needs none."""
    if member.document:
        return Form(member.name, str, _as_document)
    if member.kind is list:
        kind, form = member.items.kind, form_of(member.items)
        make = kind if _is_pair(kind) else None
        stored = NoneType if make or form else tuple
        return Form(member.name, stored, lambda value: _as_tuple(value, make_pair=make, of=form))
    if _is_seconds(member):
        return Form(member.name, int, as_whole_seconds)
    if (only := _only_member(member.kind)) is not None:
        kind = member.kind
        return Form(member.name, kind, lambda value: kind(**{only: value}) if isinstance(value, str) else value)
    return None


def bring_into_form(shape: Any) -> None:
    """Convert the members of a new shape to their stored forms."""
    for value in shape._read_formed(shape):
        if value is not None and value is not _EMPTY and value.__class__ is not int:
            break
    else:
        return  # the usual case: no member needs a conversion
    for name, stored, convert in shape._forms:
        value = getattr(shape, name)
        if value is not None and value is not _EMPTY and value.__class__ is not stored:
            object.__setattr__(shape, name, convert(value))


def rule_of(member: Any) -> str:
    """Return the rule for a member, which follows "must" in messages, for a value in no accepted form."""
    if member.document:
        return DOCUMENT_RULE
    if _is_seconds(member):
        return SECONDS_RULE
    kind = member.kind
    if kind is not list:
        return _RULES.get(kind) or f"be {_either_or(kind, 'a ')}"
    item = member.items.kind
    if item is str:
        return 'be a list of text, such as ["a", "b"]'
    mapping = 'a mapping such as {"team": "a"} or ' if _is_pair(item) else ""
    return f"be {mapping}a list of {_either_or(item, '')}"


def advice_of(member: Any) -> str:
    """Return the part of a message after the rule for an item of a list: a shorter form of the list, or nothing."""
    item = member.items.kind
    if _is_pair(item):
        return f', or give {member.name}={{"a": "b"}}'
    return f', or give {member.name}=["arn:..."]' if _only_member(item) == "arn" else ""


def _either_or(kind: Any, article: str) -> str:
    if not _is_structure(kind):
        return f"{article}{kind.__name__}"
    shown = f"{kind.__name__}({', '.join(f'{member.name}=...' for member in kind.__members__)})"
    return f"{article}{shown}" if _only_member(kind) is None else f"text or {shown}"


def _is_structure(kind: Any) -> bool:
    return hasattr(kind, "__members__")


def _is_pair(kind: Any) -> bool:
    return _is_structure(kind) and {member.name for member in kind.__members__} == PAIR


def _only_member(kind: Any) -> str | None:
    """Return the name of the only member of a structure, if that member is text, else None."""
    members: tuple[Any, ...] = kind.__members__ if _is_structure(kind) else ()
    return members[0].name if len(members) == 1 and members[0].kind is str else None


def _is_seconds(member: Any) -> bool:
    return member.kind is int and any(getattr(rule, "unit", "") == SECONDS for rule in member.constraints)


def _as_tuple(value: Any, *, make_pair: Any, of: Form | None) -> Any:
    """Return a collection as a tuple, which is hashable and does not change when the caller changes the collection."""
    try:
        if isinstance(value, _MAPPINGS):
            return value if make_pair is None else tuple([make_pair(key=k, value=v) for k, v in value.items()])
        if isinstance(value, _TEXTS) or not isinstance(value, Collection):
            return value
        return tuple(value) if of is None else tuple(map(of.convert, value))
    except Exception:  # noqa: BLE001 - a collection class of the program can raise anything
        return value


def as_whole_seconds(value: Any) -> Any:
    """Return a `timedelta` of whole seconds as an integer, and other values unchanged."""
    return value // _SECOND if isinstance(value, timedelta) and not value % _SECOND else value


def _as_document(value: Any) -> Any:
    """Return a mapping as compact JSON text, and other values unchanged."""
    if not isinstance(value, Mapping):
        return value
    try:
        return json.dumps(value, separators=(",", ":"), default=_as_dict, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return value


def _as_dict(value: Any) -> Any:
    """Return a mapping as a dict, for JSON."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be a part of JSON")
