"""G17, T50: versions of the packages below us that have known holes are refused, at import."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sts_async._runtime.requirements import REQUIREMENTS, numbers, require

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECLARED = {Requirement(text).name: Requirement(text) for text in PROJECT["dependencies"]}

OLD = {
    "aiohttp": "import aiohttp; aiohttp.__version__ = '3.13.2'",
    "lxml": "from lxml import etree; etree.LXML_VERSION = (6, 0, 9, 0)",
}
FOUND = {"aiohttp": "3.13.2", "lxml": "6.0.9.0"}
USES = {
    "aiohttp": ["from sts_async import STSClient", "from sts_async.testing import LocalSTS"],
    "lxml": ["from sts_async import STSClient", "import sts_async.testing; sts_async.testing.LocalSTS"],
}


@pytest.mark.parametrize(("package", "use"), [(package, use) for package, uses in USES.items() for use in uses])
def test_a_version_with_known_holes_is_refused_at_import(package: str, use: str) -> None:
    """T50: lower aiohttp to 3.13.2, and the gate fails, with the advisories and what to run."""
    code = f"{OLD[package]}\n{use}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]

    assert done.returncode == 1
    assert last.startswith(f"ImportError: sts_async requires {package}>=")
    assert f", found {FOUND[package]}: older versions have known vulnerabilities (" in last
    assert all(advisory in last for advisory in REQUIREMENTS[package].advisories)


@pytest.mark.parametrize("package", OLD)
def test_the_command_in_the_message_asks_for_what_the_package_declares(package: str) -> None:
    """G17: one set of numbers. What the command installs is then accepted."""
    with pytest.raises(ImportError) as caught:
        require(package, "1.0")
    advised = Requirement(str(caught.value).rpartition("pip install ")[2].strip("'"))
    minimum = ".".join(map(str, REQUIREMENTS[package].minimum))

    assert advised == DECLARED[package]
    assert minimum in advised.specifier
    require(package, minimum)
    assert caught.value.name == package


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("3.14.0", False), ("3.14.1", True), ("3.14.10", True), ("3.9.9", False), ("4.0.0a2.dev1", True), ("", False)],
)
def test_versions_are_compared_as_numbers(version: str, accepted: bool) -> None:
    assert (numbers(version) >= REQUIREMENTS["aiohttp"].minimum) == accepted


def test_the_advisories_stand_where_the_range_is_declared() -> None:
    """G17: whoever lowers a minimum sees why it is there."""
    lines = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    for package, required in REQUIREMENTS.items():
        (line,) = [line for line in lines if line.strip().startswith(f'"{package}>=')]

        assert [advisory for advisory in required.advisories if advisory not in line] == []
