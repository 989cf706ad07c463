"""Expressions of the API that compile faster in another form."""

import re
from typing import get_args

import pytest

from sts_async._shape import constraints, scalars
from sts_async._shape.constraints import Pattern


@pytest.mark.parametrize("expression", constraints._NARROW)
def test_an_expression_that_compiles_faster_matches_the_same(expression: str) -> None:
    """E13: at every character."""
    narrow, wide = Pattern(expression), re.compile(expression, re.ASCII)

    assert [one for one in map(chr, range(0x110000)) if narrow.accepts(one) != bool(wide.fullmatch(one))] == []
    assert not narrow.accepts("")
    assert narrow.accepts("ab" * 1000)


def test_the_expressions_that_compile_faster_are_those_of_the_api() -> None:
    """E13: an expression that changes in the API would bring back the slow one."""
    used = {rule.expression for kind in vars(scalars).values() for rule in get_args(kind) if isinstance(rule, Pattern)}

    assert used >= constraints._NARROW.keys()
