"""T42: what a command printed before is printed again only while everything that decided it is the same."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sts_async import Config
from sts_async._cli.export import _encode, _Noted
from sts_async._cli.export_quick_path import (
    EXPORT,
    Exported,
    decides,
    digest_of,
    directory_of,
    load,
    path_of,
    printed_before,
)
from sts_async._runtime import files
from sts_async._runtime.file_contents import noting
from sts_async._shape.secret import HiddenDocument
from sts_async.config import OPTIONS

ROLE = ["--role-arn", "arn:aws:iam::123456789012:role/demo"]

# Each with values that decide, and None for a variable that is not set or a file that does not exist.
ARGUMENTS = [[], ["--profile", "a"], ["--profile", "b"], [*ROLE], [*ROLE, "--external-id", "x1"]]
VARIABLES = {
    "AWS_PROFILE": [None, "a", "b"],
    "AWS_ACCESS_KEY_ID": [None, "", "AKIA1"],
    "https_proxy": [None, "http://p"],
}
NOISE = {"TERM": ["dumb", "xterm"], "SHLVL": ["1", "2"], "XAWS_PROFILE": [None, "a"]}
CONTENTS = {"config": [None, "", "a token", "b token", "a"], "credentials": [None, "c", "d"], "token": [None, "1", "2"]}


@attrs.define
class World:
    """A command, its variables and its files, and a search that reads them as the library does: some, and in turn."""

    root: Path
    arguments: list[str] = attrs.field(factory=list)
    environ: dict[str, str] = attrs.field(factory=dict)
    searches: int = 0

    def change(self, name: str, value: Any) -> None:
        if name == "arguments":
            self.arguments = value
        elif name in CONTENTS:
            path = self.root / name
            path.unlink(missing_ok=True)
            if value is not None:
                path.write_text(value)
        elif value is None:
            self.environ.pop(name, None)
        else:
            self.environ[name] = value

    def identity(self, read: Callable[[Path], str | None]) -> str:
        """Return the identity that a search finds. Only a config file that mentions it leads to the token file."""
        config, credentials = read(self.root / "config"), read(self.root / "credentials")
        token = read(self.root / "token") if config is not None and "token" in config else None
        variables = [(name, self.environ.get(name)) for name in VARIABLES]
        return json.dumps([self.arguments, variables, config, credentials, token])

    def run(self) -> str:
        """Run the command, and return the identity that it prints."""
        arguments, environ = [EXPORT, *self.arguments], {**self.environ, "XDG_CACHE_HOME": str(self.root)}
        text = printed_before(arguments, environ)
        if text is None:
            self.searches += 1
            noted = _Noted()
            with noting(noted):
                found = self.identity(read_noted)
            assert noted.complete
            keep(arguments, environ, access_key_id=found, files=noted.files)
            return found
        return str(json.loads(text)["AccessKeyId"])


def read_noted(path: Path) -> str | None:
    try:
        return files.read(path)[0].decode()
    except FileNotFoundError:
        return None


def read_plainly(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def keep(
    arguments: list[str],
    environ: Mapping[str, str],
    *,
    access_key_id: str = "ASIA",
    files: Mapping[str, str | None] | None = None,
    issued: float = 0.0,
    refresh_at: float = 2400.0,
) -> Path:
    """Write the entry of a command; times count from now. Return its path."""
    digest, directory = digest_of(arguments, environ), directory_of(arguments, environ)
    assert digest is not None
    assert directory is not None
    members = {"AccessKeyId": access_key_id, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2030"}
    now = time.time()
    entry = Exported(
        form="process",
        members=HiddenDocument(members),
        issued=now + issued,
        refresh_at=now + refresh_at,
        ends=now + 3600,
        files=files or {},
    )
    Path(directory).mkdir(mode=0o700, exist_ok=True, parents=True)
    path = Path(path_of(directory, digest))
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(_encode(digest, entry))
    path.chmod(0o600)
    return path


CHANGES = st.sampled_from(
    [("arguments", value) for value in ARGUMENTS]
    + [(name, value) for table in (VARIABLES, CONTENTS) for name, values in table.items() for value in values]
)


@pytest.mark.slow
@settings(max_examples=60)
@given(steps=st.lists(st.lists(CHANGES, max_size=3), max_size=12))
def test_no_sequence_of_changes_prints_another_identity(steps: list[list[tuple[str, Any]]]) -> None:
    """T42: also if a change is undone, or a file is replaced by another one of the same size and time."""
    with TemporaryDirectory() as root:
        world = World(Path(root))
        for changes in steps:
            for name, value in changes:
                world.change(name, value)
            assert world.run() == world.identity(read_plainly)
            searches = world.searches
            assert world.run() == world.identity(read_plainly)
            assert world.searches == searches, "nothing has changed, so nothing is searched again"


def test_other_variables_and_files_do_not_matter(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.change("config", "a")
    world.run()
    for name, values in NOISE.items():
        for value in values:
            world.change(name, value)
            world.run()
    world.change("token", "2")
    world.run()

    assert world.searches == 1


def test_a_file_of_the_same_size_and_time_is_another_file(tmp_path: Path) -> None:
    world, path = World(tmp_path), tmp_path / "config"
    world.change("config", "a")
    before, status = world.run(), path.stat()
    path.write_text("b")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert world.run() != before


def test_every_variable_of_an_option_decides() -> None:
    """T42: a variable of a new option is among them by its prefix, or this test fails."""
    variables = {variable for option in OPTIONS.values() for variable in option.variables}

    assert {"AWS_PROFILE", "https_proxy", "BOTOCORE_TCP_KEEPALIVE"} <= variables
    assert [name for name in variables if not decides(name)] == []
    assert Config(profile="a").profile == "a"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--profile", "a", "--mfa-code", "123456"],
        ["--mfa-code=123456"],
        ["--local"],
        ["--no-cache"],
        ["--help"],
        [*ROLE, "--external-id", "-"],
        [*ROLE, "--external-id=-"],
        [*ROLE, "--policy", "file://policy.json"],
        [*ROLE, "--tags", "Key=a,Value=file://x"],
        [*ROLE, "--policy=fileb://policy.json"],
    ],
)
def test_a_command_with_other_inputs_is_not_kept(arguments: list[str]) -> None:
    assert digest_of([EXPORT, *arguments], {}) is None
    assert digest_of(["--region", "x", EXPORT], {}) is None
    assert digest_of(["--profile", "a"], {}) is None


@settings(max_examples=50)
@given(
    first=st.tuples(st.lists(st.text(max_size=3)), st.dictionaries(st.text(max_size=3), st.text(max_size=3))),
    second=st.tuples(st.lists(st.text(max_size=3)), st.dictionaries(st.text(max_size=3), st.text(max_size=3))),
)
def test_different_commands_have_different_names(first: Any, second: Any) -> None:
    """T42: no text can pass for the end of another one."""

    def name(command: Any) -> str | None:
        arguments, variables = command
        try:
            return digest_of([EXPORT, *arguments], {f"AWS_{name}": value for name, value in variables.items()})
        except UnicodeEncodeError:  # the system has no such arguments
            return None

    names = name(first), name(second)
    assert None in names or (names[0] == names[1]) == (first == second)


# -- Entries ---------------------------------------------------------------------------------------------------------

ENTRY = [EXPORT, "--profile", "a"]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("issued", "refresh_at", "printed"),
    [
        (-60.0, 2400.0, True),
        (-3000.0, 1.0e9, True),
        (-3000.0, -1.0, False),
        (30.0, 2400.0, True),
        (90.0, 2400.0, False),
    ],
    ids=["new", "old", "due", "a clock a little behind", "a clock that was set back"],
)
def test_the_time_decides_whether_an_entry_is_printed(
    environ: dict[str, str], issued: float, refresh_at: float, *, printed: bool
) -> None:
    keep(ENTRY, environ, issued=issued, refresh_at=refresh_at)

    assert (printed_before(ENTRY, environ) is not None) == printed


def _replaced(name: str, value: object) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps({**json.loads(data), name: value}).encode()


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[:-9],
    "not text": lambda _: b"\xff\xfe{",
    "deep": lambda _: b"[" * 100_000,
    "a list": lambda _: b"[]",
    "another version": _replaced("Version", 2),
    "of another command": _replaced("Inputs", "0" * 64),
    "of an unknown form": _replaced("Form", "config"),
    "no credentials": _replaced("Credentials", None),
    "keys that never expire": _replaced("Credentials", {"AccessKeyId": "AKIA", "SecretAccessKey": "s"}),
    "a number as a key": _replaced(
        "Credentials", {"AccessKeyId": 1, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2030"}
    ),
    "no files": _replaced("Files", None),
    "a list of files": _replaced("Files", ["/x"]),
    "a number as a digest": _replaced("Files", {"/x": 1}),
    "a file that is not there": _replaced("Files", {"/nonexistent": "0" * 64}),
    "a directory": _replaced("Files", {"/": None}),
    "a path that no file has": _replaced("Files", {"/x\0": None}),
    "no time": _replaced("RefreshAt", None),
    "not a number": _replaced("RefreshAt", float("nan")),
    "larger than any": lambda data: data + b" " * (1 << 20),
}


@pytest.mark.parametrize("breaks", BROKEN.values(), ids=BROKEN)
def test_an_invalid_entry_counts_as_missing(environ: dict[str, str], breaks: Callable[[bytes], bytes]) -> None:
    path = keep(ENTRY, environ)
    before = printed_before(ENTRY, environ)
    path.write_bytes(breaks(path.read_bytes()))

    assert before is not None
    assert printed_before(ENTRY, environ) is None


@pytest.mark.parametrize("place", ["the entry", "the directory"])
def test_an_entry_that_others_may_write_to_counts_as_missing(environ: dict[str, str], place: str) -> None:
    """T40."""
    path = keep(ENTRY, environ)
    (path if place == "the entry" else path.parents[1]).chmod(0o770)

    assert printed_before(ENTRY, environ) is None


def test_an_entry_of_another_user_counts_as_missing(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """T40."""
    keep(ENTRY, environ)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    assert printed_before(ENTRY, environ) is None


def test_the_directory_is_that_of_the_option_or_the_default(tmp_path: Path) -> None:
    home = {"HOME": "/home/me"}

    assert directory_of([EXPORT], home) == "/home/me/.cache/sts-async/credentials/exported"
    assert directory_of([EXPORT, "--cache", "~/x"], home) == "/home/me/x/exported"
    assert directory_of([EXPORT, "--cache=/x"], home) == "/x/exported"
    assert directory_of([EXPORT], {**home, "XDG_CACHE_HOME": "relative"}) == directory_of([EXPORT], home)
    assert directory_of([EXPORT], {}) is None
    assert printed_before([EXPORT], {}) is None


def test_an_entry_shows_no_secret(environ: dict[str, str]) -> None:
    """T14."""
    path = keep(ENTRY, environ, access_key_id="ASIASENTINEL")
    found = load(str(path.parents[1]), path.stem)

    assert found is not None
    assert "SENTINEL" not in repr(found) + repr(found.members)
