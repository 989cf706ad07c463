"""
The grammar of the shared files against botocore's reader, which is that of the AWS CLI.

The two read most files alike. `DIFFERENCES` lists where they do not, and why; everything else must be equal.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from botocore import configloader
from botocore.exceptions import ConfigParseError
from config.test_profile_grammar import plain
from hypothesis import example, given
from hypothesis import strategies as st

from sts_async._config.profile_grammar import parse
from sts_async.errors import InvalidConfigFile

REFUSED = "refused"
PREFIXES = ("profile", "sso-session", "services")


def ours(text: str) -> Any:
    """Return what a config file says here."""
    try:
        shared = parse(text, file="config", kind="config")
    except InvalidConfigFile:
        return REFUSED
    return {
        "profiles": plain(shared.profiles),
        "sso_sessions": plain(shared.sso_sessions),
        "services": plain(shared.services),
    }


def theirs(text: str, path: Path) -> Any:
    """Return what a config file says to botocore."""
    path.write_text(text, encoding="utf-8", newline="")
    try:
        found = configloader.load_config(str(path))
    except ConfigParseError:
        return REFUSED
    return {kind: found[kind] for kind in ("profiles", "sso_sessions", "services")}


def our_credentials(text: str) -> Any:
    """Return what a credentials file says here."""
    try:
        return plain(parse(text, file="credentials", kind="credentials").profiles)
    except InvalidConfigFile:
        return REFUSED


def their_credentials(text: str, path: Path) -> Any:
    """Return what a credentials file says to botocore."""
    path.write_text(text, encoding="utf-8", newline="")
    try:
        return configloader.raw_config_parse(str(path))
    except ConfigParseError:
        return REFUSED


# -- where the two differ on purpose --------------------------------------------------------------------------------


def settings(text: str) -> list[str]:
    """Return the lines of a text that count: neither blank nor comments."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    return [line for line in lines if line.strip() and line.strip()[0] not in "#;"]


def on_a_line(pattern: str) -> Callable[[str], bool]:
    """Return a function that returns True if a line with an effect begins with a pattern."""
    return lambda text: any(re.match(pattern, line) for line in settings(text))


def on_a_sub_property(pattern: str) -> Callable[[str], bool]:
    """Return a function that returns True if a sub-property begins with a pattern."""

    def applies(text: str) -> bool:
        below = False
        for line in settings(text):
            if not line[0].isspace():
                below = not line.partition("=")[2].strip()
            elif below and re.match(pattern, line.strip()):
                return True
        return False

    return applies


def has_blank_lines_inside(text: str) -> bool:
    """Return True if a blank line comes before a line that continues a value."""
    blank = False
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.strip():
            blank = True
        elif line.strip()[0] not in "#;":
            if blank and line[0].isspace():
                return True
            blank = False
    return False


def repeats_itself(text: str) -> bool:
    """Return True if a section, or a key of a section, occurs twice."""
    seen: set[tuple[str, str]] = set()
    section = ""
    for line in settings(text):
        if line[0].isspace():
            continue
        if line.startswith("["):
            section, key = re.sub(r"['\"]|\](?:\W.*)?$", "", line).strip(), ""
        else:
            key = line.partition("=")[0].strip().lower()
        if (section, key) in seen:
            return True
        seen.add((section, key))
    return False


def is_indented_at_first(text: str) -> bool:
    """Return True if a line is indented although no property is before it in its section."""
    before = "["
    for line in settings(text):
        if line[0].isspace() and before.startswith("["):
            return True
        before = before if line[0].isspace() else line
    return False


def has_two_defaults(text: str) -> bool:
    """Return True if the default profile occurs with and without its prefix."""
    return on_a_line(r"\[default\]")(text) and on_a_line(r"\[profile\s+['\"]?default")(text)


@attrs.frozen(kw_only=True)
class Difference:
    """
    A place where the two readers differ on purpose.

    Attributes:
        what: What botocore does.
        why: Why it is otherwise here.
        example: A config file that the two read differently.
        applies: Whether a file has it.
    """

    what: str
    why: str
    example: str
    applies: Callable[[str], bool]


SPECIFICATION = "the grammar that the SDKs share says so"

DIFFERENCES = (
    Difference(
        what="a byte order mark makes the first section invalid",
        why="C9: editors of Windows write one",
        example="\ufeff[default]\nk = v",
        applies=lambda text: text.startswith("\ufeff"),
    ),
    Difference(
        what="a comment after a value is part of the value",
        why=SPECIFICATION,
        example="[default]\nk = v # c",
        applies=on_a_line(r"[^\s\[].*\s[#;]"),
    ),
    Difference(
        what="blank lines inside of a value are kept",
        why=SPECIFICATION,
        example="[default]\nk = v\n\n w",
        applies=has_blank_lines_inside,
    ),
    Difference(
        what="a section or a key that comes twice makes the file invalid",
        why=SPECIFICATION + ": the last value counts",
        example="[default]\nk = v\nk = w",
        applies=repeats_itself,
    ),
    Difference(
        what="a section or a property may be indented where no property is before it",
        why=SPECIFICATION + ": the error names the line",
        example="[default]\n  k = v",
        applies=is_indented_at_first,
    ),
    Difference(
        what="a colon separates key and value",
        why=SPECIFICATION + ": the error names the line",
        example="[default]\nk: v",
        applies=on_a_line(r"[^\s\[=][^=]*:"),
    ),
    Difference(
        what="a key may have any character",
        why=SPECIFICATION + ": a warning names the line, and so does an error that follows from it",
        example="[default]\nmy key = v",
        applies=on_a_line(r"[^\s\[=:][^=:]*?(?:[^\w\-/.%@:+=\s]|\s[^\s=:]|é)|é"),
    ),
    Difference(
        what="a section ends at the last ] of its line, and any text may follow",
        why=SPECIFICATION + ": the error names the line",
        example="[default] k = v",
        applies=on_a_line(r"\[[^\]]*\](?:\s*[^\s#;]|.*\])"),
    ),
    Difference(
        what="a section that is not closed is read as a property",
        why=SPECIFICATION + ": the error names the line",
        example="[default]\n[k = v",
        applies=on_a_line(r"\[[^\]]*$"),
    ),
    Difference(
        what="blanks inside of the brackets are part of the name",
        why=SPECIFICATION,
        example="[ default ]\nk = v",
        applies=on_a_line(r"\[\s|\[[^\]]*\s\]"),
    ),
    Difference(
        what="a prefix with other text touching it is the prefix",
        why=SPECIFICATION,
        example="[profiles a]\nk = v",
        applies=on_a_line(r"\[(?:profile|services|sso-session)[^\s\]]"),
    ),
    Difference(
        what="a section without a name makes the file invalid",
        why=SPECIFICATION + ": such a section is ignored",
        example="[default]\n[]",
        applies=on_a_line(r"\[\]"),
    ),
    Difference(
        what="a name in quotes may be empty",
        why="an empty name in the environment counts as unset, so no profile can have it",
        example="[profile '']",
        applies=on_a_line(r"\[[\w-]+\s+(?:''|' +'|\"\"|\" +\")\s*\]"),
    ),
    Difference(
        what="a name without quotes has any character",
        why=SPECIFICATION + ": the error about the missing profile names the line, and quotes help",
        example="[profile é]",
        applies=on_a_line(r"\[[\w-]+\s+[^'\"\\\]]*?(?:[^\w\-/.%@:+\s'\"\\\]]|é).*\]"),
    ),
    Difference(
        what="the later of [default] and [profile default] counts",
        why=SPECIFICATION + ": [profile default] does",
        example="[profile default]\nk = v\n[default]\nl = w",
        applies=has_two_defaults,
    ),
    Difference(
        what="[DEFAULT] sets what all other sections lack",
        why="no SDK documents it, and profiles would share keys by accident",
        example="[DEFAULT]\nk = v\n[default]",
        applies=on_a_line(r"\[DEFAULT\]"),
    ),
    Difference(
        what="keys of sub-properties keep their case",
        why=SPECIFICATION,
        example="[services a]\nsts =\n  Endpoint_URL = u",
        applies=on_a_sub_property("[^=]*[A-Z][^=]*="),
    ),
    Difference(
        what="keys of sub-properties have any character, or none",
        why=SPECIFICATION,
        example="[default]\ns3 =\n my key = v",
        applies=on_a_sub_property(r"=|[^=]*?(?:[^\w\-/.%@:+=\s]|\s[^\s=]|é)[^=]*="),
    ),
    Difference(
        what="CR alone ends a line",
        why=SPECIFICATION,
        example="[default]\nk = v\rl = w",
        applies=lambda text: "\r" in text.replace("\r\n", "\n"),
    ),
)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.what)
def test_a_difference_from_botocore_that_is_listed_is_one(difference: Difference, tmp_path: Path) -> None:
    """So that an entry goes when botocore changes, or when this reader does."""
    assert difference.applies(difference.example)
    assert ours(difference.example) != theirs(difference.example, tmp_path / "config")
    assert [other.what for other in DIFFERENCES if other.applies(difference.example)] == [difference.what]


# -- everything else ------------------------------------------------------------------------------------------------

some = st.sampled_from
words = some(["v", "w x", "a=b", "%(k)s", "'q'", '"q" r', "é", "[x]", "v;w", "v#w", "~/x", "\\", "u:v", "$HOME"])
rare_words = some(["v # c", "v ;c", "x\x0by", "v\rw"])
indents = some(["  ", "\t", " ", "\xa0", "\u3000 "])
ends = some(["", "", "", " ", "\t", "\xa0"])
plain_names = some(["a", "b-1", "c.d", "X", "corp/dev", "e@f", "default"])
quoted_names = some(
    ["'a'", '"b"', "'My Mac'", '"FOO BAR"', "'it''s'", "My\\ Mac", "'é'", "'not", 'x"y z"', "'a' 'b'", "''", "é", "a b"]
)
tails = some(["", "", "", " ", " # c", "; c", "# [x]", " x"])
sections = st.one_of(
    st.just("[default]"),
    st.builds("[{} {}]{}".format, some(PREFIXES), plain_names, tails),
    st.builds("[{}{}{}]".format, some(PREFIXES), some([" ", "\t", "  "]), quoted_names),
    some(
        [
            "[other]",
            "[preview]",
            "[profile]",
            "[plugins x]",
            "[DEFAULT]",
            "[]",
            "[ default]",
            "[profile a",
            "[Profile a]",
        ]
    ),
)
numbers = st.integers(0, 40)
keys = st.builds("{}{}".format, some(["k", "Role_ARN", "x-y", "s3."]), numbers) | some(["my key", "é", "k!", ""])
properties = st.builds(
    "{}{}{}{}{}".format,
    keys,
    some(["=", " = ", " =", "\t=\t"]),
    some(["", " "]),
    st.just("") | words | rare_words,
    ends,
) | some(["k: v", "k", "= v", "k:l = v"])
indented = st.builds("{}{}{}".format, indents, words | st.builds("k{} = {}".format, numbers, words), ends)
comments = st.builds(
    "{}{}{}".format, some(["", "  ", "\t", "\xa0"]), some(["#", ";"]), some(["", " c", "[x]", "k = v"])
)
blanks = some(["", "", " ", "\t ", "\xa0", "\x0c", "\u3000", "\x85", "\u2028"])
bodies = st.lists(st.one_of(properties, properties, indented, comments, blanks), max_size=6).map("\n".join)
texts = st.builds(
    "{}{}".format,
    some(["", "", "", "", "\ufeff", "# c\n", "  ; c\n", " \n"]),
    st.lists(st.builds("{}\n{}".format, sections, bodies), max_size=4).map("\n".join),
)


@given(texts, st.booleans())
@example("[default]\n  # mine\nk = v\n  # rotated in May\n  ;\nl = w", False)
@example(
    "[profile 'My Mac']\nk = v\n[sso-session 'FOO BAR']\nl = w\n[services \"x\"]\nsts =\n # c\n endpoint_url = u", True
)
@example("[profile a]\n\n[profile a] \n", False)
@example("[default]\n\xa0\n\x0c\nk = v\n\u3000\n", False)
def test_all_other_results_equal_those_of_botocore(
    tmp_path_factory: pytest.TempPathFactory, text: str, windows: bool
) -> None:
    """C2, C7, C9: comments, names in quotes and blank lines of every kind are read as the AWS CLI reads them."""
    text = text.replace("\n", "\r\n") if windows else text
    path = tmp_path_factory.getbasetemp() / "a-config-file"

    if ours(text) != theirs(text, path):
        assert [difference.what for difference in DIFFERENCES if difference.applies(text)], (
            ours(text),
            theirs(text, path),
        )


credential_sections = st.builds("[{}]".format, plain_names | some(["My Mac", "a  b", "in.valid", "default"]))
credential_texts = st.lists(st.builds("{}\n{}".format, credential_sections, bodies), max_size=4).map("\n".join)


@given(credential_texts)
@example("[My Mac]\naws_access_key_id = A\n  # rotated in May\naws_secret_access_key = b\n  ; c")
def test_the_credentials_file_is_read_as_botocore_reads_it(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """C2, C7: also names with blanks, which ``aws configure`` writes there without quotes."""
    path = tmp_path_factory.getbasetemp() / "a-credentials-file"

    if our_credentials(text) != their_credentials(text, path):
        assert [difference.what for difference in DIFFERENCES if difference.applies(text)]


@pytest.mark.parametrize("name", ["profile a", "sso-session a", "services a", "'a'", '"My Mac"', "é"])
def test_a_credentials_file_differs_where_a_name_belongs_into_the_config_file(name: str, tmp_path: Path) -> None:
    """botocore has a profile called "profile a", or one with quotes in its name; here the first is ignored."""
    text = f"[{name}]\nk = v"

    assert their_credentials(text, tmp_path / "credentials") == {name: {"k": "v"}}
    assert our_credentials(text) == ({name[1:-1]: {"k": "v"}} if name[0] in "'\"" else {})
