r"""
The constraints of the API model, as values inside `typing.Annotated`.

    RoleSessionName = Annotated[str, Length(2, 64), Pattern(r"[\w+=,.@-]*")]

`violations` checks a whole request against its annotations. No rule repeats the value that it refuses.
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

import attrs

from .._wording.printable import MAX_VIOLATIONS
from .forms import advice_of, rule_of
from .frozen_map import FrozenMap


class Constraint(Protocol):
    """A rule for one value of the right type."""

    def accepts(self, value: Any) -> bool:
        """Return True if *value* follows the rule."""
        ...

    @property
    def rule(self) -> str:
        """The rule in words that complete "must ..."."""
        ...


class Length(NamedTuple):
    """Minimum and maximum length of a text (characters), a list or a map (members). *most* is None for no maximum."""

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
    """Minimum and maximum value of an integer, and its unit."""

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
    A regular expression that a text must match from its first to its last character.

    `\w` and `\d` mean ASCII, as they do for the service. The expression is compiled at first use, because few programs
    call every operation.
    """

    expression: str

    def accepts(self, value: Any) -> bool:
        return _compiled(self.expression).fullmatch(value) is not None

    @property
    def rule(self) -> str:
        return f"match {self.expression}"


# Expressions of the model whose wide ranges take `re` 2 ms to compile, each with one that matches the same text.
_NARROW = {
    r"[\t\n\r\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]+": (
        r"[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x84\x86-\x9F\uD800-\uDFFF\uFFFE\uFFFF]+"
    ),
}


@functools.cache
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(_NARROW.get(expression, expression), re.ASCII)


class Category(NamedTuple):
    r"""Text of some Unicode general categories (by first letter) and some other characters: `re` has no `\p{L}`."""

    letters: str
    others: str

    def accepts(self, value: Any) -> bool:
        return all(c in self.others or unicodedata.category(c)[0] in self.letters for c in value)

    @property
    def rule(self) -> str:
        return f"have only characters of the Unicode categories {', '.join(self.letters)} or of {self.others}"


class OneOf(NamedTuple):
    """One of a few texts."""

    choices: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        return value in self.choices

    @property
    def rule(self) -> str:
        return f"be one of {', '.join(self.choices)}"


@attrs.frozen
class Member:
    """
    The declaration of one member of a shape.

    Attributes:
        name: The Python name.
        wire: The name in the API.
        kind: `str`, `int`, `list`, `FrozenMap` or a nested shape class.
        required: Whether a request without it is invalid.
        constraints: The rules for the value.
        items: For a list or a map, the `Member` for each item or value, with an empty name.
        secret: Whether the value is hidden.
        flattened: For a map, whether it is encoded as ``Name.1.key``, not as ``Name.entry.1.key``.
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


KEY = Member("", "key", str)
ABSENT: tuple[Any, ...] = ()
"""The value of a list that is not given: the empty tuple. Python has only one such object."""


def first_violations(shape: Any, *, bounds: bool = True) -> tuple[str, ...]:
    """Return the `violations` of *shape*, at most 1,000."""
    return tuple(islice(violations(shape, bounds=bounds), MAX_VIOLATIONS))


def violations(shape: Any, prefix: str = "", *, bounds: bool = True) -> Iterator[str]:
    """
    Yield a line for each constraint that *shape* breaks: the member and the rule, never the value.

    Nested members are named by their path: ``tags[2].key``. The items of a list or map that is too long are skipped.

    Args:
        shape: The shape that is checked.
        prefix: The text before the name of each member.
        bounds: Whether the bounds of AWS count: lengths, ranges and patterns, which another server may not have.
            Without them, only what no server accepts is named: a missing member, or a value of a wrong kind.
    """
    for member, value in zip(shape.__members__, shape._values(), strict=True):
        if value is None or value is ABSENT:
            if member.required:
                yield f"{prefix}{member.name} is required"
        else:
            yield from member_violations(member, value, prefix + member.name, bounds=bounds)


def quick_test(constraint: Constraint) -> Callable[[str], Any]:
    """
    Return a function that is true only for texts that *constraint* accepts, and false for few of them.

    It is a function in C where there is one. It need not accept text that is not ASCII.
    """
    if isinstance(constraint, Pattern):
        return _compiled(constraint.expression).fullmatch
    if isinstance(constraint, Category):
        return frozenset(filter(constraint.accepts, map(chr, range(128)))).issuperset
    return constraint.accepts


def member_violations(member: Member, value: Any, path: str, *, bounds: bool = True, advice: str = "") -> Iterator[str]:
    """Yield a line for each rule of *member* that a given *value* breaks. *path* is the name of the member in it."""
    kind: Any = tuple if member.kind is list else member.kind
    if not isinstance(value, kind) or isinstance(value, bool):
        yield f"{path} must {rule_of(member)}{advice}"
        return
    for constraint in member.constraints if bounds else ():
        if not constraint.accepts(value):
            yield f"{path} must {constraint.rule}"
            if kind in (tuple, FrozenMap):
                return  # The number of its items is unbounded.
    if kind is str:
        if not _encodable(value):
            yield f"{path} must be text that UTF-8 can encode"
    elif kind is tuple:
        advice = advice_of(member)
        for index, item in enumerate(value):
            yield from member_violations(member.items, item, f"{path}[{index}]", bounds=bounds, advice=advice)
    elif kind is FrozenMap:
        # Entries are numbered, because a key can be as secret as its value.
        for index, (key, item) in enumerate(value.items()):
            yield from member_violations(KEY, key, f"{path}.keys[{index}]", bounds=bounds)
            yield from member_violations(member.items, item, f"{path}.values[{index}]", bounds=bounds)
    elif kind is not int:
        yield from violations(value, f"{path}.", bounds=bounds)


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)
