"""The shared files: found, read in a thread, read again when they change, and refused by name when they are broken."""

import logging
import os
import threading
from pathlib import Path

import pytest
from patience import soon

from sts_async._config.shared_files import SharedFile, SharedFiles
from sts_async._runtime import files as _files
from sts_async.errors import InvalidConfigFile


def both(config: Path | None, credentials: Path | None, *, named: bool = True) -> SharedFiles:
    """Return the two files at these paths, named by variables or not at all."""
    names = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE") if named else (None, None)
    return SharedFiles(
        SharedFile("config", config, names[0]),
        SharedFile("credentials", credentials, names[1]),
    )


@pytest.fixture
def files(tmp_path: Path) -> SharedFiles:
    return both(tmp_path / "config", tmp_path / "credentials")


async def region(files: SharedFiles) -> str | None:
    section = (await files.load()).profiles.get("default")
    return None if section is None else str(section.get("region"))


async def test_missing_files_say_nothing(files: SharedFiles) -> None:
    assert await region(files) is None
    assert (await both(None, None, named=False).load()).profiles == {}


async def test_the_null_device_says_nothing(tmp_path: Path) -> None:
    """It is how programs switch the files off."""
    assert (await both(Path(os.devnull), Path(os.devnull)).load()).profiles == {}


async def test_the_credentials_file_wins_per_key(files: SharedFiles, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\nregion = eu-west-1\noutput = json\n")
    (tmp_path / "credentials").write_text("[default]\nregion = eu-west-2\n")
    section = (await files.load()).profiles["default"]

    assert (section.get("region"), section.get("output")) == ("eu-west-2", "json")


async def test_a_file_that_has_not_changed_is_not_read_again(
    files: SharedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, threads = [], set()
    real = _files.read

    def counting(path: Path) -> object:
        read.append(path.name)
        threads.add(threading.current_thread())
        return real(path)

    monkeypatch.setattr(_files, "read", counting)
    (tmp_path / "config").write_text("[default]\nregion = eu-west-1\n")
    first = await files.load()

    assert await files.load() is first
    assert read == ["config"]
    assert threading.current_thread() not in threads


@pytest.mark.parametrize("how", ["rewrite", "replace", "appear", "vanish"])
async def test_a_file_that_has_changed_is_read_again(files: SharedFiles, tmp_path: Path, how: str) -> None:
    path = tmp_path / "config"
    if how != "appear":
        path.write_text("[default]\nregion = eu-west-1\n")
    assert await region(files) == (None if how == "appear" else "eu-west-1")
    if how == "vanish":
        path.unlink()
    elif how == "replace":  # of the same size
        (tmp_path / "new").write_text("[default]\nregion = eu-west-2\n")
        (tmp_path / "new").replace(path)
    else:
        path.write_text("[default]\nregion = eu-central-2\n")

    assert (
        await region(files)
        == {
            "rewrite": "eu-central-2",
            "appear": "eu-central-2",
            "replace": "eu-west-2",
            "vanish": None,
        }[how]
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "regular file"),
        (os.mkfifo, "regular file"),
        (lambda path: path.write_bytes(b"[" * (1 << 20)), r"line 1"),
        (lambda path: path.write_bytes(b"x" * ((1 << 20) + 1)), "larger than"),
        (lambda path: path.write_bytes(b"[default]\nregion = \xff\xfe\n"), "UTF-8"),
        (lambda path: path.write_text("[default\n"), "line 1"),
        (lambda path: path.write_text("SENTINEL\n"), "line 1"),
        (lambda path: path.symlink_to(path), "symbolic link"),
    ],
    ids=["directory", "FIFO", "brackets", "too large", "latin-1", "bracket", "no key", "loop"],
)
async def test_an_unreadable_file_is_an_error_that_names_it(
    files: SharedFiles, tmp_path: Path, make: object, reason: str
) -> None:
    """T37, T38: and never waits for it."""
    make(tmp_path / "config")  # type: ignore[operator]

    with pytest.raises(InvalidConfigFile, match=rf"config\b.*{reason}"):
        await soon(files.load())


async def test_an_ignored_line_is_logged_once(
    files: SharedFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config").write_text("[other]\nregion = eu-west-1\n")
    with caplog.at_level(logging.WARNING, logger="sts_async"):
        await files.load()
        await files.load()

    first, second = [record.getMessage() for record in caplog.records]
    assert "config, line 1" in first
    assert (
        second == f"AWS_SHARED_CREDENTIALS_FILE: {str(tmp_path / 'credentials')!r} does not exist, and counts as empty"
    )
