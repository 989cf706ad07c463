"""The keys of an encrypted cache: their forms, the file that holds them, and that nothing shows them."""

import base64
import copy
import os
import pickle
import pprint
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sts_async
from sts_async import EncryptionKeys, Secret
from sts_async.errors import ConfigurationError
from sts_async.fleet import caches

NEW, OLD = b"SENTINEL-new-key-of-32-bytes-aaa", b"SENTINEL-old-key-of-32-bytes-bbb"


def in_text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def keys_of(keys: EncryptionKeys) -> dict[str, bytes]:
    return {name: bytes(key) for name, key in keys._secrets()}


BOTH = {"2026-11": NEW, "2026-08": OLD}
LINES = f"2026-11 {in_text(NEW)}\n2026-08 {in_text(OLD)}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(LINES)
    path.chmod(0o600)
    return path


# -- Forms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: EncryptionKeys(BOTH),
        lambda: EncryptionKeys({name: in_text(key) for name, key in BOTH.items()}),
        lambda: EncryptionKeys({name: in_text(key).rstrip("=") for name, key in BOTH.items()}),
        lambda: EncryptionKeys({name: base64.urlsafe_b64encode(key).decode() for name, key in BOTH.items()}),
        lambda: EncryptionKeys.from_text(LINES),
        lambda: EncryptionKeys.from_text(LINES.strip().replace("\n", ",")),
        lambda: EncryptionKeys.from_text(f"# keys\r\n\r\n\t{LINES}".replace("\n", "\r\n").replace(" ", " \t ") + " , "),
    ],
    ids=["bytes", "text", "without padding", "alphabet of URLs", "lines", "commas", "comments and white space"],
)
def test_keys_are_taken_in_each_form_with_the_newest_first(make: Any) -> None:
    keys = make()

    assert keys_of(keys) == BOTH
    assert keys.ids == ("2026-11", "2026-08")


@settings(max_examples=30)
@given(key=st.binary(min_size=32, max_size=32))
def test_any_32_bytes_are_a_key_in_both_alphabets(key: bytes) -> None:
    for text in (base64.b64encode(key), base64.urlsafe_b64encode(key)):
        assert keys_of(EncryptionKeys({"k": text.decode()})) == {"k": key}


PARTS = st.lists(st.sampled_from([" ", "\n", ",", "#", "id", "\0", in_text(NEW), in_text(OLD)]), max_size=12)


@settings(max_examples=50)
@given(text=PARTS.map("".join))
def test_any_other_text_is_one_error_without_its_contents(text: str) -> None:
    """T15: a text is the keys that it shows, or an error that names the line."""
    problem = ""
    try:
        found = keys_of(EncryptionKeys.from_text(text))
    except ConfigurationError as error:
        found, problem = {}, str(error)

    assert set(found.values()) <= {NEW, OLD}
    assert found or re.search(r", line \d+: |has no key", problem)
    assert not any(in_text(key)[:8] in problem for key in BOTH.values())


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33, 64])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    """A key of 16 bytes would be a valid key of AES-128."""
    for key in (bytes(size), in_text(bytes(size))):
        with pytest.raises(ConfigurationError, match="the key 'k' of EncryptionKeys must be 32 bytes, or the base64"):
            EncryptionKeys({"k": key})
        with pytest.raises(ConfigurationError, match=r"line 1: a key must be an id and the base64 text of 32 bytes"):
            EncryptionKeys.from_text(f"k {in_text(bytes(size))}")


@pytest.mark.parametrize("key_id", ["", "a" * 65, "a b", "ä", "a\n", "a/b", "a,b", "a:b", 5, None])
def test_an_invalid_id_is_refused(key_id: Any) -> None:
    with pytest.raises(ConfigurationError, match="must have 1 to 64 letters, digits, dots, underscores and hyphens"):
        EncryptionKeys({key_id: NEW})
    with pytest.raises(ConfigurationError, match="key_id must have 1 to 64 letters"):
        EncryptionKeys.generate(key_id)


def test_the_longest_id_is_accepted() -> None:
    assert EncryptionKeys({"a" * 64: NEW}).ids == ("a" * 64,)


@pytest.mark.parametrize("key", [5, None, bytearray(32), [0] * 32])
def test_a_key_of_another_type_is_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be 32 bytes"):
        EncryptionKeys({"k": key})


def test_an_id_that_occurs_twice_is_refused() -> None:
    """Otherwise a value could be encrypted with the one key and be unreadable with the other."""
    for text in (f"a {in_text(NEW)}\na {in_text(OLD)}", f"a {in_text(NEW)},a {in_text(NEW)}"):
        with pytest.raises(ConfigurationError, match=r"line [12]: the id 'a' occurs twice"):
            EncryptionKeys.from_text(text)


@pytest.mark.parametrize("make", [lambda: EncryptionKeys({}), lambda: EncryptionKeys.from_text("# none\n,\n")])
def test_at_least_one_key_is_needed(make: Any) -> None:
    """T41: without a key, nothing is stored."""
    with pytest.raises(ConfigurationError, match="has no key: make one with `sts-async cache-key`"):
        make()


def test_the_advice_about_keys_that_are_no_mapping_helps(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"not a str: use EncryptionKeys\.from_text for text") as caught:
        EncryptionKeys(LINES)  # type: ignore[arg-type]

    assert "EncryptionKeys.from_file for a file" in str(caught.value)
    assert EncryptionKeys.from_text(LINES).ids == EncryptionKeys.from_file(path).ids == ("2026-11", "2026-08")
    with pytest.raises(ConfigurationError, match="must be of type str"):
        EncryptionKeys.from_text(LINES.encode())  # type: ignore[arg-type]


def test_a_new_key_is_a_line_for_a_file() -> None:
    lines = [EncryptionKeys.generate("2026-12") for _ in range(3)]

    assert {EncryptionKeys.from_text(line).ids for line in lines} == {("2026-12",)}
    assert len({key for line in lines for key in keys_of(EncryptionKeys.from_text(line)).values()}) == 3
    assert keys_of(EncryptionKeys.from_text(f"{lines[0]}\n{LINES}")).keys() == {"2026-12", *BOTH}


# -- The file -----------------------------------------------------------------------------------------------------


def test_a_file_is_read(path: Path) -> None:
    assert keys_of(EncryptionKeys.from_file(path)) == keys_of(EncryptionKeys.from_file(str(path))) == BOTH
    path.write_text("\ufeff" + LINES)  # as editors on Windows write it
    assert keys_of(EncryptionKeys.from_file(path)) == BOTH


@pytest.mark.skipif(sys.platform == "win32", reason="modes as POSIX has them")
@pytest.mark.parametrize(("mode", "allowed"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False)])
def test_only_the_user_may_read_the_file(path: Path, mode: int, allowed: bool) -> None:
    """T39."""
    path.chmod(mode)
    if allowed:
        assert EncryptionKeys.from_file(path).ids
        return
    with pytest.raises(ConfigurationError, match=rf"keys' has mode {mode:04o}: others may read it; it must") as caught:
        EncryptionKeys.from_file(path)

    path.chmod(int(re.findall("0[0-7]{3}", str(caught.value))[-1], 8))  # the mode that the message names
    assert EncryptionKeys.from_file(path).ids


@pytest.mark.skipif(sys.platform == "win32", reason="modes as POSIX has them")
def test_nobody_else_may_write_or_own_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T40: another user could make this process use a key that the user knows."""
    path.chmod(0o620)
    with pytest.raises(ConfigurationError, match="mode 0620: others may write to it; it must belong to this user"):
        EncryptionKeys.from_file(path)
    path.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match="belongs to user"):
        EncryptionKeys.from_file(path)


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (None, "cannot be read: No such file"),
        (b"k \xff", "is not text in UTF-8"),
        (b"#" * (64 * 1024 + 1), "is larger than 65,536 bytes"),
        (b"# none", "keys' has no key"),
        (b"\nk AAAA", "keys', line 2: a key must be an id and the base64 text of 32 bytes, with a space between them"),
    ],
    ids=["missing", "not UTF-8", "too large", "empty", "invalid"],
)
def test_a_file_that_cannot_be_used_is_named_in_the_error(path: Path, contents: bytes | None, reason: str) -> None:
    path.unlink()
    if contents is not None:
        path.write_bytes(contents)
        path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        EncryptionKeys.from_file(path)

    assert ascii(str(path)) in str(caught.value)


def test_a_directory_is_no_file_of_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"is a directory, not a regular file$"):
        EncryptionKeys.from_file(tmp_path)


# -- Secrets ------------------------------------------------------------------------------------------------------


def test_no_way_of_printing_shows_a_key() -> None:
    """T14: the ids are shown, because they are in plain text in each value."""
    keys = EncryptionKeys(BOTH)
    shown = [repr(keys), str(keys), f"{keys!r}", pprint.pformat([keys]), repr(dict(keys._secrets())), repr(keys.ids)]

    assert repr(keys) == "EncryptionKeys('2026-11', '2026-08')"
    assert [text for text in shown if "SENTINEL" in text or in_text(NEW)[:8] in text] == []
    assert not hasattr(keys, "__dict__")


def test_a_new_line_is_text_with_a_hidden_repr() -> None:
    """E8: it is printed on purpose only."""
    line = EncryptionKeys.generate("k")

    assert type(line) is Secret
    assert repr(line) == "'***'"
    assert f"{line}".startswith("k ")


def test_keys_are_not_pickled() -> None:
    """T18."""
    for use in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="a EncryptionKeys cannot be pickled: pass the file or the variable with"):
            use(EncryptionKeys(BOTH))


def test_the_class_is_public() -> None:
    assert sts_async.EncryptionKeys is sts_async.fleet.EncryptionKeys is caches.EncryptionKeys
