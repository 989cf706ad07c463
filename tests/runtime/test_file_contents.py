"""The record of what was read; `test_files.py` has the tests of reading."""

from pathlib import Path

import pytest

from sts_async._runtime import files
from sts_async._runtime.file_contents import UNUSABLE, noting

Notes = list[tuple[str, bytes | None]]


def test_all_that_is_read_within_the_block_is_noted(tmp_path: Path) -> None:
    """T42: also what is not there, or cannot be read, because this decides a result as well."""
    path, notes, others = tmp_path / "config", Notes(), Notes()
    with noting(lambda *note: notes.append(note)):
        assert files.stamp(path) is None
        with pytest.raises(FileNotFoundError):
            files.read(path)
        path.write_text("a")
        with noting(lambda *note: others.append(note)):
            files.read(path)
        with pytest.raises(files.UnsuitableFile):
            files.read(tmp_path)
        files.read(path, noted=False)
    files.read(path)

    assert notes == [(str(path), None), (str(path), None), (str(path), b"a"), (str(tmp_path), UNUSABLE)]
    assert notes[-1][1] is UNUSABLE
    assert others == [(str(path), b"a")]


def test_no_content_passes_for_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path, notes = tmp_path / "config", Notes()
    path.write_bytes(UNUSABLE)
    with noting(lambda *note: notes.append(note)):
        files.read(path)

    assert notes == [(str(path), UNUSABLE)]
    assert notes[0][1] is not UNUSABLE


def test_a_relative_path_is_noted_as_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another directory, it is another file."""
    notes = Notes()
    monkeypatch.chdir(tmp_path)
    with noting(lambda *note: notes.append(note)):
        files.stamp("config")

    assert notes == [("config", None)]
