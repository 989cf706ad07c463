"""
The forms in which a program can give a member, and the words that name them where a value is refused.

All of them follow from the kind of the member, so a member that the API adds has them as well:

- a list: any collection but text, and of pairs of key and value also a mapping, such as ``{"team": "a"}``;
- a structure with one member: also the value of that member, such as the ARN of a policy;
- a number of seconds: also a `timedelta` of whole seconds;
- a document: also a mapping that JSON can express.

A generator is no collection: it is empty once it has been read, for instance by a debugger. A value in none of these
forms is kept for `violations` to name. An error from here would have the other members in its frames.
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
_EMPTY: tuple[Any, ...] = ()  # one object, also where it is made elsewhere


class Form(NamedTuple):
    """
    How a member is brought into the form that is kept.

    Attributes:
        name: The member.
        kept: The class of values that are in that form already; `NoneType` for none but None.
        convert: Returns a value in that form, or unchanged when it is in none of the forms that are taken.
    """

    name: str
    kept: type
    convert: Callable[[Any], Any]


def form_of(member: Any) -> Form | None:
    """Return how the values of a member are converted, or None when they are kept as they are."""
    if member.document:
        return Form(member.name, str, _as_document)
    if member.kind is list:
        kind, form = member.items.kind, form_of(member.items)
        make = kind if _is_pair(kind) else None
        kept = NoneType if make or form else tuple
        return Form(member.name, kept, lambda value: _as_tuple(value, make_pair=make, of=form))
    if _is_seconds(member):
        return Form(member.name, int, as_whole_seconds)
    if (only := _only_member(member.kind)) is not None:
        kind = member.kind
        return Form(member.name, kind, lambda value: kind(**{only: value}) if isinstance(value, str) else value)
    return None


def bring_into_form(shape: Any) -> None:
    """Convert the members of a shape that has just been made."""
    for value in shape._read_formed(shape):
        if value is not None and value is not _EMPTY and value.__class__ is not int:
            break
    else:
        return  # the usual case: nothing was given but a lifetime, if that
    for name, kept, convert in shape._forms:
        value = getattr(shape, name)
        if value is not None and value is not _EMPTY and value.__class__ is not kept:
            object.__setattr__(shape, name, convert(value))


def rule_of(member: Any) -> str:
    """Return the words that complete "must ...", for a value in none of the forms that are taken."""
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
    """Return what follows the rule for an item of a list: the shortest form of the list, where there is one."""
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
    """Return the name of the only member of a structure, when that is text."""
    members: tuple[Any, ...] = kind.__members__ if _is_structure(kind) else ()
    return members[0].name if len(members) == 1 and members[0].kind is str else None


def _is_seconds(member: Any) -> bool:
    return member.kind is int and any(getattr(rule, "unit", "") == SECONDS for rule in member.constraints)


def _as_tuple(value: Any, *, make_pair: Any, of: Form | None) -> Any:
    """Return a collection as the tuple that makes a request hashable, and keeps what the caller changes out of it."""
    try:
        if isinstance(value, _MAPPINGS):
            return value if make_pair is None else tuple([make_pair(key=k, value=v) for k, v in value.items()])
        if isinstance(value, _TEXTS) or not isinstance(value, Collection):
            return value
        return tuple(value) if of is None else tuple(map(of.convert, value))
    except Exception:  # noqa: BLE001 - of a collection of the program's own
        return value


def as_whole_seconds(value: Any) -> Any:
    """Return a `timedelta` of whole seconds as their number, and anything else as it is."""
    return value // _SECOND if isinstance(value, timedelta) and not value % _SECOND else value


def _as_document(value: Any) -> Any:
    """Return a mapping as compact JSON text; text is sent as it is."""
    if not isinstance(value, Mapping):
        return value
    try:
        return json.dumps(value, separators=(",", ":"), default=_as_dict, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return value


def _as_dict(value: Any) -> Any:
    """Return a mapping that is no dict as one, for JSON."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be a part of JSON")
