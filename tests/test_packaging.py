"""What is installed: exact pins, locks with hashes, and ranges without versions that have known holes."""

import re
import tomllib
from pathlib import Path

import pytest
from documents import COMMANDS
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tests/locks").glob("*.txt")}
CI = (ROOT / ".ci/run").read_text(encoding="utf-8")


def locked(text: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Return each requirement of a lock by its name, with its hashes."""
    entries = [entry for entry in re.sub(r"\\\n\s*", "", text).splitlines() if entry and not entry.startswith("--")]
    found = {}
    for entry in entries:
        requirement, *hashes = entry.split("--hash=")
        parsed = Requirement(requirement)
        found[canonicalize_name(parsed.name)] = parsed, [digest.strip() for digest in hashes]
    return found


def version_of(requirement: Requirement) -> str:
    """Return the one version that a requirement allows."""
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is not an exact pin"
    assert "*" not in specifier.version, f"{requirement} is not an exact pin"
    return specifier.version


PINS = {name: {found: version_of(entry) for found, (entry, _) in locked(text).items()} for name, text in LOCKS.items()}


@pytest.mark.parametrize("extra", ["test", "lint"])
def test_what_the_suite_uses_directly_is_pinned_exactly_and_locked(extra: str) -> None:
    """A6: a release of botocore, or of any other oracle, must not change the outcome of the suite."""
    wanted = [Requirement(text) for text in EXTRAS[extra]]
    pinned = {canonicalize_name(one.name): version_of(one) for one in wanted if one.name != "sts-async"}

    assert {"test": {"botocore", "boto3", "moto", "awscrt", "aioresponses"}, "lint": {"ruff"}}[extra] <= {*pinned}
    assert {name: PINS[extra].get(name) for name in pinned} == pinned


def test_the_locks_hold_what_the_library_needs_and_what_builds_it() -> None:
    """G17: the second of the two install commands takes nothing from elsewhere."""
    needed = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]} | {
        "hatchling",
        "editables",
    }

    assert needed <= {*PINS["run"]}
    assert {*PINS["run"]} <= {*PINS["test"]}
    for name in PINS:
        outside = [
            text
            for text in PROJECT["dependencies"]
            if PINS[name][canonicalize_name(Requirement(text).name)] not in Requirement(text).specifier
        ]
        assert outside == []


def test_the_locks_agree_on_every_version() -> None:
    """CI installs one after the other into one environment."""
    versions = {(package, version) for pins in PINS.values() for package, version in pins.items()}

    assert len(versions) == len({package for package, _ in versions})


@pytest.mark.parametrize("name", sorted(LOCKS))
def test_a_lock_has_hashes_of_wheels_and_nothing_of_the_machine_that_made_it(name: str) -> None:
    """G17: T50."""
    options = [line for line in LOCKS[name].splitlines() if line.startswith("--")]

    assert options == ["--only-binary :all:"]
    assert [package for package, (_, hashes) in locked(LOCKS[name]).items() if not hashes] == []
    assert all(
        re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for _, hashes in locked(LOCKS[name]).values() for digest in hashes
    )
    assert not re.search(r"://|@|\.(org|com|net|io)\b|/", LOCKS[name])


def test_a_lock_without_an_exact_version_is_refused_here() -> None:
    """The rule itself can fail."""
    for text in ("a>=1", "a==1.*"):
        with pytest.raises(AssertionError, match="not an exact pin"):
            version_of(Requirement(text))


@pytest.mark.parametrize("text", [*COMMANDS[:2], CI], ids=["README 1", "README 2", "CI"])
def test_every_install_is_from_a_lock_or_without_dependencies(text: str) -> None:
    """A6, G17: nothing that a command installs changes by itself."""
    installs = re.findall(r"pip\"? install ([^&\n]*)", text.replace("\\\n", ""))

    assert len(installs) >= 2
    for arguments in installs:
        words = arguments.split()
        from_lock = "--require-hashes" in words and words[-1].startswith("tests/locks/") and (ROOT / words[-1]).exists()
        without = {"--no-deps", "--no-build-isolation"} <= {*words} and words[-1] == "."
        assert from_lock or without, arguments
