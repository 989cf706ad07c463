"""E12: what the wheel says of the library: a package index and `pip show` have nothing else."""

import email
import re
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from sts_async import __version__

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel, with the build backend that the project names, and without a network."""
    backend = pytest.importorskip("hatchling.builders.wheel", reason="the locks of the tests have it")
    (built,) = backend.WheelBuilder(str(ROOT)).build(
        directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"]
    )
    return zipfile.ZipFile(built)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


def test_the_usual_fields_are_there(metadata: Message) -> None:
    """E12: name, version, summary, authors, licence, keywords and Python versions."""
    assert (metadata["Name"], metadata["Version"]) == ("sts-async", __version__)
    assert "AWS Security Token Service" in metadata["Summary"]
    assert len(metadata["Summary"]) <= 512
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Author"] == metadata["Maintainer"] == "The authors of sts_async"
    assert {"aws", "sts", "asyncio", "credentials"} <= {*metadata["Keywords"].split(",")}
    assert {"login", "opentelemetry", "prometheus"} <= {*metadata.get_all("Provides-Extra", [])}


def test_the_classifiers_are_known_and_agree_with_the_rest(metadata: Message) -> None:
    """E12: an index refuses an upload with one that it does not know."""
    known = pytest.importorskip("trove_classifiers", reason="the locks of the tests have it")
    said = metadata.get_all("Classifier", [])
    versions = [one.rpartition(" ")[2] for one in said if re.search(r":: 3\.\d+$", one)]

    assert [one for one in said if one not in known.classifiers or one in known.deprecated_classifiers] == []
    assert len(said) == len({*said})
    assert {"Framework :: AsyncIO", "Typing :: Typed", "Intended Audience :: Developers"} <= {*said}
    assert versions
    assert [version for version in versions if version not in SpecifierSet(metadata["Requires-Python"])] == []


def test_the_long_description_is_the_readme(metadata: Message) -> None:
    """E12: as Markdown, or it would be shown as it is written."""
    payload = metadata.get_payload(decode=True)

    assert metadata["Description-Content-Type"] == "text/markdown"
    assert isinstance(payload, bytes)
    assert payload.decode("utf-8").strip() == README.strip()


def test_the_readme_can_be_read_outside_of_the_repository() -> None:
    """E12: where an index shows it, a relative link or image leads nowhere; a block that stays open hides the rest."""
    text = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)", text) + re.findall(r"(?:href|src)=[\"']([^\"']+)", text)
    targets += re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}

    assert [target for target in targets if not target.startswith("https://") and target not in anchors] == []
    assert len(re.findall("^```", README, re.MULTILINE)) % 2 == 0
    assert "```" not in text


def test_the_wheel_has_the_types_and_the_command_and_no_tests(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]

    assert "sts_async/py.typed" in names
    assert "sts-async = sts_async.__main__:main" in wheel.read(entry_points).decode()
    assert {name.partition("/")[0] for name in names} == {"sts_async", f"sts_async-{__version__}.dist-info"}
