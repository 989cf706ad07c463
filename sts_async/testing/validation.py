"""Validation of requests by the constraints of the API, with messages in the words of the service."""

from collections.abc import Iterator
from typing import Any

from .._shape.constraints import Category, Constraint, Length, Member, OneOf, Pattern, Range
from .._shape.shape import Shape


def broken_constraints(shape: Any, prefix: str = "") -> Iterator[str]:
    """
    Yield a sentence for each constraint that *shape* breaks.

    The sentence contains the value, as in the service, unless it is secret or a structure. Members have the names of
    the service: ``tags.3.member.key``.
    """
    for member, value in zip(shape.__members__, shape._values(), strict=True):
        path = f"{prefix}{member.wire[0].lower()}{member.wire[1:]}"
        if value is not None and value != ():
            yield from _of_member(member, value, path)
        elif member.required:
            yield f"Value null at '{path}' failed to satisfy constraint: Member must not be null"


def _of_member(member: Member, value: Any, path: str) -> Iterator[str]:
    if member.kind is int and not isinstance(value, int):
        yield _sentence(member, value, path, "must be an integer")
        return
    for constraint in member.constraints:
        if not constraint.accepts(value):
            yield _sentence(member, value, path, _rule(constraint, value, member))
    if isinstance(value, tuple):
        for number, item in enumerate(value, start=1):
            yield from _of_member(member.items, item, f"{path}.{number}.member")
    elif isinstance(value, Shape):
        yield from broken_constraints(value, f"{path}.")


def _sentence(member: Member, value: Any, path: str, rule: str) -> str:
    shown = f"'{value}' " if isinstance(value, str | int) and not member.secret else ""
    return f"Value {shown}at '{path}' failed to satisfy constraint: Member {rule}"


def _rule(constraint: Constraint, value: Any, member: Member) -> str:
    match constraint:
        case Length(least, most):
            side = f"greater than or equal to {least}" if len(value) < least else f"less than or equal to {most}"
            return f"must have length {side}"
        case Range(least, most):
            side = f"greater than or equal to {least}" if value < least else f"less than or equal to {most}"
            return f"must have value {side}"
        case Pattern(expression):
            return f"must satisfy regular expression pattern: {expression}"
        case Category(letters, others):
            classes = "".join(rf"\p{{{letter}}}" for letter in letters)
            some = any(isinstance(other, Length) and other.least > 0 for other in member.constraints)
            characters = others.replace("-", r"\-")
            return f"must satisfy regular expression pattern: [{classes}{characters}]{'+' if some else '*'}"
        case OneOf(choices):
            return f"must satisfy enum value set: [{', '.join(choices)}]"
        case _:
            return f"must {constraint.rule}"
