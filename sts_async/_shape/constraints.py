r"""
The constraints of the API model, as values inside `typing.Annotated`.

    RoleSessionName = Annotated[str, Length(2, 64), Pattern(r"[\w+=,.@-]*")]

`violations` checks a whole request against what its annotations say. No rule ever repeats the value it refuses.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

import attrs

from .._wording.printable import MAX_VIOLATIONS
from .forms import advice_of, rule_of
from .frozen_map import FrozenMap


class Constraint(Protocol):
    """A rule for one value of the right type."""

    def accepts(self, value: Any) -> bool:
        """Say whether *value* keeps the rule."""
        ...

    @property
    def rule(self) -> str:
        """The rule in words that complete "must ..."."""
        ...


class Length(NamedTuple):
    """Least and greatest length of a text (characters), a list or a map (members). `most` of None: no bound."""

    least: int
    most: int | None = None

    def accepts(self, value: Any) -> bool:
        return self.least <= len(value) and (self.most is None or len(value) <= self.most)

    @property
    def rule(self) -> str:
        if self.most is None:
            return f"have a length of at least {self.least}"
        if self.least == self.most:
            return f"have a length of {self.least}"
        return f"have a length of {self.least} to {self.most}"


class Range(NamedTuple):
    """Least and greatest value of an integer, and its unit."""

    least: int
    most: int
    unit: str = ""

    def accepts(self, value: Any) -> bool:
        return bool(self.least <= value <= self.most)

    @property
    def rule(self) -> str:
        return f"be {self.least} to {self.most} {self.unit}".rstrip()


class Pattern(NamedTuple):
    r"""
    What a text must match from its first to its last character.

    `\w` and `\d` mean ASCII, as they do for the service. The expression is compiled at first use: not every program
    calls every operation.
    """

    expression: str

    def accepts(self, value: Any) -> bool:
        return _compiled(self.expression).fullmatch(value) is not None

    @property
    def rule(self) -> str:
        return f"match {self.expression}"


@functools.cache
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.ASCII)


class Category(NamedTuple):
    r"""Text of characters in Unicode general categories (by first letter) and some others: `\p{L}` is not in `re`."""

    letters: str
    others: str

    def accepts(self, value: Any) -> bool:
        return all(c in self.others or unicodedata.category(c)[0] in self.letters for c in value)

    @property
    def rule(self) -> str:
        return f"have only characters of the Unicode categories {', '.join(self.letters)} or of {self.others}"


class OneOf(NamedTuple):
    """A text out of a fixed few."""

    choices: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        return value in self.choices

    @property
    def rule(self) -> str:
        return f"be one of {', '.join(self.choices)}"


@attrs.frozen
class Member:
    """
    What a request shape says of one member.

    Attributes:
        name: The Python name.
        wire: The name in the API.
        kind: `str`, `int`, `list`, `FrozenMap` or a nested shape class.
        required: Whether a request without it is refused.
        constraints: The rules for the value.
        items: For a list or a map, the `Member` that each of its own members or values is (its name is empty).
        secret: Whether the value must not be shown.
        flattened: For a map, whether its entries stand where the map would, without a name for each.
        document: Whether the value is JSON text, for which a program can give a mapping.
    """

    name: str
    wire: str
    kind: type
    required: bool = False
    constraints: tuple[Constraint, ...] = ()
    items: Any = None
    secret: bool = False
    flattened: bool = False
    document: bool = False


def first_violations(shape: Any, *, bounds: bool = True) -> tuple[str, ...]:
    """Return the `violations` of *shape*, at most 1,000."""
    return tuple(islice(violations(shape, bounds=bounds), MAX_VIOLATIONS))


def violations(shape: Any, prefix: str = "", *, bounds: bool = True) -> Iterator[str]:
    """
    Yield a line for each constraint that *shape* breaks: the member and the rule, never the value.

    Nested members are named as they are reached: ``tags[2].key``. Of a list or map that is too long, they are not.

    Args:
        shape: What is checked.
        prefix: What the names of members begin with.
        bounds: Whether the bounds of AWS count, too: lengths, ranges and patterns, which another server may not have.
            Without them only what can be no request is named: a missing member, or a value of another kind.
    """
    for member, value in zip(shape.__members__, shape._values(), strict=True):
        if value is None or value == ():
            if member.required:
                yield f"{prefix}{member.name} is required"
        elif not _plainly_valid(member, value):
            yield from _explain(member, value, prefix + member.name, bounds=bounds)


def _plainly_valid(member: Member, value: Any) -> bool:
    """Return True for a scalar that keeps every rule, the usual case; False asks for a closer look."""
    if member.kind is str:
        if not isinstance(value, str):
            return False
    elif member.kind is not int or value.__class__ is not int:
        return False
    for constraint in member.constraints:  # no generator: this runs for every member of every request
        if not constraint.accepts(value):
            return False
    return member.kind is int or _encodable(value)


def _explain(member: Member, value: Any, path: str, *, bounds: bool = True, advice: str = "") -> Iterator[str]:
    kind: Any = tuple if member.kind is list else member.kind
    if not isinstance(value, kind) or isinstance(value, bool):
        yield f"{path} must {rule_of(member)}{advice}"
        return
    for constraint in member.constraints if bounds else ():
        if not constraint.accepts(value):
            yield f"{path} must {constraint.rule}"
            if kind in (tuple, FrozenMap):
                return  # its items may be any number
    if kind is str:
        if not _encodable(value):
            yield f"{path} must be text that UTF-8 can encode"
    elif kind is tuple:
        advice = advice_of(member)
        for index, item in enumerate(value):
            yield from _explain(member.items, item, f"{path}[{index}]", bounds=bounds, advice=advice)
    elif kind is FrozenMap:
        for index, (key, item) in enumerate(value.items()):  # numbered: a key can be as secret as its value
            yield from _explain(_KEY, key, f"{path}.keys[{index}]", bounds=bounds)
            yield from _explain(member.items, item, f"{path}.values[{index}]", bounds=bounds)
    elif kind is not int:
        yield from violations(value, f"{path}.", bounds=bounds)


_KEY = Member("", "key", str)


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)
