"""The lines of the tables in README.md, "Differences from botocore", as marks on the tests that show them."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from credentials import cases
from credentials.cases import Case

F = TypeVar("F", bound=Callable[..., Any])

_ROW = r"^[A-Z]\d+: "


def plain(name: str) -> str:
    """Return the name of a case without the number of a row at its start."""
    return re.sub(_ROW, "", name)


_CASES = {plain(case.name): case for case in cases.CASES}


def line(subject: str) -> Callable[[F], F]:
    """
    Mark a test that runs both libraries, and asserts what either does.

    Args:
        subject: The first cell of the line in README.md, in this folder. `test_differences` reads it from the source.
    """

    def marked(test: F) -> F:
        assert subject
        return test

    return marked


def given(*chosen: str | Case) -> pytest.MarkDecorator:
    """
    Return the cases of a line: names of the table in `credentials.cases`, without numbers of rows, or further ones.

    Raises:
        LookupError: There is no such case. It has another name now, or the line has gone with it.
    """
    unknown = [one for one in chosen if isinstance(one, str) and one not in _CASES]
    if unknown:
        raise LookupError(f"no cases of these names in credentials/cases.py: {unknown}")
    found = [_CASES[one] if isinstance(one, str) else one for one in chosen]
    return pytest.mark.parametrize("case", found, ids=lambda case: case.name)
