"""The tables "Promised behaviours" in `tests/README.md`: each number that the tests cite, and where it is tested."""

import re
from collections import defaultdict
from pathlib import Path

from documents import DOCUMENTS, section

TESTS = Path(__file__).parent
ROWS = re.findall(
    r"^\| ([A-Z]\d+) \| (.+) \| (.+) \|$", section(DOCUMENTS["tests/README.md"], "Promised behaviours"), re.MULTILINE
)
CITED = re.compile(r"(?<![\w%:.\-/])([A-GT])([1-9]\d?)(?:-\1([1-9]\d?))?(?=[\s:,.;)\"']|$)", re.MULTILINE)
"""A number such as T9, F42 or B12, or a range such as F1-F5: in a docstring, a comment or the name of a case."""


def cited(text: str) -> set[str]:
    """Return the numbers that a text cites."""
    return {
        f"{letter}{number}"
        for letter, first, last in CITED.findall(text)
        for number in range(int(first), int(last or first) + 1)
    }


def citations() -> dict[str, set[str]]:
    """Return the files that cite each number, by their paths from the folder of the tests."""
    found = defaultdict(set)
    for path in {*TESTS.rglob("*.py")} - {Path(__file__)}:
        for number in cited(path.read_text(encoding="utf-8")):
            found[number].add(path.relative_to(TESTS).as_posix())
    return found


def test_a_number_is_found_where_it_is_cited_and_nowhere_else() -> None:
    """A rule that finds nothing would be satisfied by everything."""
    assert cited('"""T3, B8: text."""  # F1-F3, row G9.') == {"T3", "B8", "F1", "F2", "F3", "G9"}
    assert cited("a%C3%A9 SHA256 utf-F8 /E4 H1 B100 [2001:db8::A1]:1") == set()


def test_each_number_has_a_row_and_each_row_a_number() -> None:
    """A reader of a test looks up what it promises."""
    known = [number for number, _, _ in ROWS]

    assert len(known) == len({*known})
    assert {number: sorted(files) for number, files in citations().items() if number not in known} == {}, "add a row"
    assert {*known} - {*citations()} == set(), "no test cites these"


def test_each_row_names_a_file_that_cites_it() -> None:
    """A row that names another file is of no use; the message says which files cite the number."""
    found = citations()
    named = {number: set(re.findall(r"`([\w/]+\.py)`", where)) for number, _, where in ROWS}
    wrong = {number: sorted(found[number]) for number, files in named.items() if not files or files - found[number]}

    assert wrong == {}


def test_each_promise_is_one_sentence() -> None:
    """With the subject first; the details are in the tests."""
    assert [number for number, promise, _ in ROWS if not promise.endswith(".") or len(promise.split()) > 40] == []
