"""The tables of `differences/README.md`: each line is a test in `differences/`, and each test is a line."""

import ast
import re
from pathlib import Path

import botocore
import pytest
from credentials import cases
from differences.lines import plain
from documents import README, section

HERE = Path(__file__).parent
TABLES = (HERE / "differences/README.md").read_text(encoding="utf-8")
GROUPS = {
    "Where credentials come from": "test_sources.py",
    "The shared files": "test_files.py",
    "Endpoints and connections": "test_network.py",
    "Retries, time and refreshed credentials": "test_calls.py",
    "Values": "test_values.py",
}
"""Headings of the tables, and the files with their tests."""


def tables() -> dict[str, list[str]]:
    """Return the first cells of the tables by heading, each with its head."""
    parts = re.split(r"^## (.+)\n", TABLES, flags=re.MULTILINE)
    return {
        heading: [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("|")]
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def marks(name: str, function: str) -> list[str]:
    """Return the texts that a function is called with in a file, in their order."""
    calls = [
        node
        for node in ast.walk(ast.parse((HERE / "differences" / name).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
    ]
    calls.sort(key=lambda call: call.lineno)
    return [arg.value for call in calls for arg in call.args if isinstance(arg, ast.Constant)]


def test_the_tables_are_those_that_have_tests() -> None:
    assert list(tables()) == list(GROUPS)
    assert {path.name for path in (HERE / "differences").glob("test_*.py")} == {*GROUPS.values()}


@pytest.mark.parametrize("heading", GROUPS)
def test_each_line_is_a_test_and_each_test_a_line_in_one_order(heading: str) -> None:
    """C23: a deliberate refusal or difference is in these tables, and not in docstrings alone."""
    head, rule, *lines = tables()[heading]

    assert lines == marks(GROUPS[heading], "line")
    assert len(set(lines)) == len(lines)
    assert (head, rule.strip("-|")) == ("|", "")


def test_the_tables_name_the_version_of_botocore_that_they_were_tested_with() -> None:
    heads = re.findall(r"^\| \| (.+?) \| sts_async \| why \|$", TABLES, re.MULTILINE)

    assert heads == [f"botocore {botocore.__version__}"] * len(GROUPS)
    assert f"moves from botocore {botocore.__version__} " in " ".join(TABLES.split())


def test_the_manual_names_the_most_frequent_ones_as_the_tables_do() -> None:
    """A reader of the short table finds the same line in the long ones."""
    subjects = re.findall(r"^\| ([^|]+) \| ", section(README, "Coming from boto3 or aiobotocore"), re.MULTILINE)
    known = {line for lines in tables().values() for line in lines}

    assert len(subjects) >= 5
    assert {*subjects} - known == set()


def test_each_known_difference_of_the_chain_is_in_a_table() -> None:
    """A difference that is added to the cases of the chain needs a line, too."""
    named = {name for file in GROUPS.values() for name in marks(file, "given")}
    told = {case.we_differ for case in cases.CASES if plain(case.name) in named}

    missing = {case.name: case.we_differ for case in cases.CASES if case.we_differ and case.we_differ not in told}
    assert missing == {}, "give these cases to a line of the tables in tests/differences/README.md"
