import contextlib
import re
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import SEEN_SECRETS

from sts_async._config import profile_grammar
from sts_async._config.profile_grammar import EMPTY, Kind, Section, SharedConfig, decode, merge, parse, service_value
from sts_async._shape.secret import Secret
from sts_async.errors import InvalidConfigFile

FILE = "~/.aws/config"
SENTINEL = "SENTINEL-5d0e"
MIB = 1 << 20
NAME_CHARACTERS = "ABCXYZabcxyz0189_-/.%@:+"


def config(text: str) -> SharedConfig:
    return parse(text, file=FILE, kind="config")


def credentials(text: str) -> SharedConfig:
    return parse(text, file="~/.aws/credentials", kind="credentials")


def plain(sections: Mapping[str, Section]) -> dict[str, dict[str, Any]]:
    """Return what sections say: texts, and dicts where there are sub-properties."""
    return {
        name: {
            key: {inner: str(value.text) for inner, value in value.nested.items()} or str(value.text)
            for key, value in section.values.items()
        }
        for name, section in sections.items()
    }


def fault(text: str, *, kind: Kind = "config") -> str:
    """Return the message of the error that a text raises."""
    with pytest.raises(InvalidConfigFile) as caught:
        parse(text, file=FILE, kind=kind)
    return str(caught.value)


# The grammar, sentence by sentence: what stands in a config file, and the profiles that it has.
SENTENCES: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "an empty file has no profiles": ("", {}),
    "lines end in LF": ("[profile a]\nk = v\n", {"a": {"k": "v"}}),
    "lines end in CRLF": ("[profile a]\r\nk = v\r\n w\r\n\r\n", {"a": {"k": "v\nw"}}),
    "the last line needs no end": ("[profile a]\nk = v", {"a": {"k": "v"}}),
    "a line of white space is ignored": (
        "\t \n[profile a]\n\t\n \nk = v\n\t \n[profile b]\n \t",
        {"a": {"k": "v"}, "b": {}},
    ),
    "a line that begins with # is a comment": ("# c\n[profile a]\n#k = v\nl = w\n#", {"a": {"l": "w"}}),
    "a line that begins with ; is a comment": ("; c\n[profile a]\n;k = v\nl = w\n;", {"a": {"l": "w"}}),
    "a comment or a blank line does not end a property": ("[profile a]\nk = v\n# c\n\n w", {"a": {"k": "v\nw"}}),
    "a section may be empty": ("[profile a]", {"a": {}}),
    "several sections may be empty": ("[profile a]\n[profile b]", {"a": {}, "b": {}}),
    "a comment may follow a section": ("[profile a] # c\n[profile b]\t; ]", {"a": {}, "b": {}}),
    "a comment may touch the section": ("[profile a]; c\n[profile b]# c\n[profile c];", {"a": {}, "b": {}, "c": {}}),
    "blanks may follow a section": ("[profile a] \t\n", {"a": {}}),
    "a section is trimmed inside": ("[ \tprofile  \t a\t ]", {"a": {}}),
    "a tab separates the prefix": ("[profile\ta]", {"a": {}}),
    "the prefix needs a blank": ("[profilea]\nk = v\n[profile b]", {"b": {}}),
    "the prefix is in lower case": ("[Profile a]\n[PROFILE b]", {}),
    "the default profile needs no prefix": ("[default]\nk = v", {"default": {"k": "v"}}),
    "the default profile may have a prefix": ("[profile default]\nk = v", {"default": {"k": "v"}}),
    "the default profile is in lower case": ("[Default]\nk = v", {}),
    "other profiles need a prefix": ("[a]\nk = v", {}),
    "a prefix alone is no section": ("[profile]\nk = v\n[profile ]\nk = v\n[]\nk = v", {}),
    "sections of other kinds are no profiles": ("[sso-session a]\nk = v\n[services b]\nk = v\n[plugins]\nk = v", {}),
    "names have these characters": (f"[profile {NAME_CHARACTERS}]", {NAME_CHARACTERS: {}}),
    "names have no others": ("[profile a!b]\n[profile a*]\n[profile é]\n[profile a=b]\n[profile c]", {"c": {}}),
    "names are case-sensitive": ("[profile a]\n[profile A]", {"a": {}, "A": {}}),
    "an invalid section does not leak": (
        "[profile a]\nk = v\n[profile in valid]\nx = 1\n y\n[profile b]\nl = w",
        {"a": {"k": "v"}, "b": {"l": "w"}},
    ),
    "an ignored section does not leak": ("[profile a]\n[other]\nx =\n y = 1", {"a": {}}),
    "keys have these characters": (f"[profile a]\n{NAME_CHARACTERS} = v", {"a": {NAME_CHARACTERS.lower(): "v"}}),
    "an invalid key is ignored": ("[profile a]\nin valid = v\né = v\nk! = v\nk = v", {"a": {"k": "v"}}),
    "an invalid key is ignored with its lines": (
        "[profile a]\nk = v\nin valid = w\n x\nno! =\n y = z\n",
        {"a": {"k": "v"}},
    ),
    "keys are in lower case": ("[profile a]\nRole_ARN = V", {"a": {"role_arn": "V"}}),
    "key and value are trimmed": ("[profile a]\nk \t=  \tv w \t", {"a": {"k": "v w"}}),
    "no blanks are needed": ("[profile a]\nk=v", {"a": {"k": "v"}}),
    "a property is split at its first =": ("[profile a]\nk = v=w==", {"a": {"k": "v=w=="}}),
    "a value may be empty": ("[profile a]\nk =\nl=", {"a": {"k": "", "l": ""}}),
    "a value may have any character": ("[profile a]\nk = \U0001f602é[]\"'\\", {"a": {"k": "\U0001f602é[]\"'\\"}}),
    "blanks of any kind are trimmed": ("[profile a]\nk = \xa0v\x0b", {"a": {"k": "v"}}),
    "only LF ends a line": ("[profile a]\nk = v\x85w\u2028x\x0cy\rz", {"a": {"k": "v\x85w\u2028x\x0cy\rz"}}),
    "a value is not interpolated": ("[profile a]\nk = %(l)s $HOME ~/x", {"a": {"k": "%(l)s $HOME ~/x"}}),
    "a value is not unquoted": ("[profile a]\nk = \"v\" 'w'", {"a": {"k": "\"v\" 'w'"}}),
    "a comment in a value follows a blank": ("[profile a]\nk = v # c # d\nl = w ; c # d", {"a": {"k": "v", "l": "w"}}),
    "a comment in a value follows a tab": ("[profile a]\nk = v\t#c\nl = w\t;", {"a": {"k": "v", "l": "w"}}),
    "a comment that touches a value belongs to it": (
        "[profile a]\nk = v; c\nl = w# c",
        {"a": {"k": "v; c", "l": "w# c"}},
    ),
    "a comment may leave an empty value": ("[profile a]\nk = # c\nl =# c", {"a": {"k": "", "l": "# c"}}),
    "a value is continued": ("[profile a]\nk = v\n -w", {"a": {"k": "v\n-w"}}),
    "a value is continued often": ("[profile a]\nk = v\n w\n\tx\nl = y", {"a": {"k": "v\nw\nx", "l": "y"}}),
    "a continuation is trimmed": ("[profile a]\nk = v\n \t w x \t ", {"a": {"k": "v\nw x"}}),
    "a continuation keeps a comment that follows text": ("[profile a]\nk = v\n w # c", {"a": {"k": "v\nw # c"}}),
    "C2: an indented line that begins with # or ; is a comment": (
        "[profile a]\n  # mine\nk = v\n\t# rotated in May\n ;x\n w\n\xa0# c\nl = x\n  ; c",
        {"a": {"k": "v\nw", "l": "x"}},
    ),
    "C2: a comment may stand among sub-properties": (
        "[profile a]\ns3 =\n # c\n k = v\n ; c\n l = w",
        {"a": {"s3": {"k": "v", "l": "w"}}},
    ),
    "C2: a comment may be indented before the first section": ("  # mine\n[profile a]\nk = v", {"a": {"k": "v"}}),
    "C7: a name may stand in quotes": (
        "[profile 'a']\nk = v\n[profile \"b\"]\n[profile 'My Mac']\nk = w\n[ profile\t'é!' ] # c",
        {"a": {"k": "v"}, "b": {}, "My Mac": {"k": "w"}, "é!": {}},
    ),
    "C7: a blank in a name may follow a backslash": ("[profile My\\ Mac]\nk = v", {"My Mac": {"k": "v"}}),
    "C7: a name in quotes and one without are the same": (
        "[profile a]\nk = v\n[profile 'a']\nl = w",
        {"a": {"k": "v", "l": "w"}},
    ),
    "C7: quotes must end, and hold one printable name": (
        "[profile 'a]\n[profile '']\n[profile ' ']\n[profile 'a' 'b']\n[profile 'a\x07']\n[profile c]",
        {"c": {}},
    ),
    "C9: a byte order mark at the start is skipped": ("\ufeff[profile a]\nk = v", {"a": {"k": "v"}}),
    "C9: a line with only blanks of any kind is skipped": (
        "\xa0\n[profile a]\n\x0c\nk = v\n\u3000\u2003 \n\r\n\x0b\n w\n\x85\n\r\r\nl = x\n \xa0",
        {"a": {"k": "v\nw", "l": "x"}},
    ),
    "C9: a second CR at the end of a line is a blank": ("[profile a]\r\r\nk = v\r\r\n", {"a": {"k": "v"}}),
    "C9: any blank indents a line": ("[profile a]\nk = v\n\xa0w\n\u3000x", {"a": {"k": "v\nw\nx"}}),
    "a continuation is not a property": (
        "[profile a]\nk = v\n l = w\n [profile b]",
        {"a": {"k": "v\nl = w\n[profile b]"}},
    ),
    "an empty value has sub-properties": (
        "[profile a]\ns3 =\n k = v\n l=w\nm = x",
        {"a": {"s3": {"k": "v", "l": "w"}, "m": "x"}},
    ),
    "an empty value with a comment has, too": ("[profile a]\ns3 = # c\n k = v", {"a": {"s3": {"k": "v"}}}),
    "sub-properties may be empty": ("[profile a]\ns3 =\n k =\n l = v", {"a": {"s3": {"k": "", "l": "v"}}}),
    "sub-properties are trimmed": ("[profile a]\ns3 =\n \t k \t = \t v \t", {"a": {"s3": {"k": "v"}}}),
    "sub-properties are split at their first =": ("[profile a]\ns3 =\n k = v=w", {"a": {"s3": {"k": "v=w"}}}),
    "sub-properties keep their comments": (
        "[profile a]\ns3 =\n k = v # c\n l = w ; d",
        {"a": {"s3": {"k": "v # c", "l": "w ; d"}}},
    ),
    "sub-properties have keys in lower case": ("[profile a]\ns3 =\n K = V", {"a": {"s3": {"k": "V"}}}),
    "sub-properties may have blank lines between": (
        "[profile a]\ns3 =\n k = v\n\t \n\n l = w",
        {"a": {"s3": {"k": "v", "l": "w"}}},
    ),
    "sub-properties with an invalid key are ignored": (
        "[profile a]\ns3 =\n in valid = v\n k = v",
        {"a": {"s3": {"k": "v"}}},
    ),
    "the last of two sub-properties wins": ("[profile a]\ns3 =\n k = v\n K = w", {"a": {"s3": {"k": "w"}}}),
    "a section may come twice": (
        "[profile a]\nk = v\n[profile b]\n[profile a]\nl = w",
        {"a": {"k": "v", "l": "w"}, "b": {}},
    ),
    "the last of two values wins": ("[profile a]\nk = v\nK = w", {"a": {"k": "w"}}),
    "the last of two values wins over sections": ("[profile a]\nK = v\n[profile a]\nk = w", {"a": {"k": "w"}}),
    "the last value wins with all its lines": (
        "[profile a]\nk = v\n w\nk = x\nl = y\nl =\n m = z",
        {"a": {"k": "x", "l": {"m": "z"}}},
    ),
    "profile default beats default before it": ("[default]\nk = v\n[profile default]\nl = w", {"default": {"l": "w"}}),
    "profile default beats default after it": ("[profile default]\nl = w\n[default]\nk = v", {"default": {"l": "w"}}),
    "profile default beats default between": (
        "[profile default]\nk = v\n[default]\nl = w\n[profile default]\nm = x",
        {"default": {"k": "v", "m": "x"}},
    ),
}


@pytest.mark.parametrize(("text", "profiles"), SENTENCES.values(), ids=SENTENCES)
def test_the_grammar_holds_sentence_by_sentence(text: str, profiles: dict[str, dict[str, Any]]) -> None:
    """Source: the grammar that the SDKs share, with a case for each of its sentences."""
    assert plain(config(text).profiles) == profiles


@pytest.mark.parametrize(
    ("text", "profiles"),
    [
        ("[a]\nk = v", {"a": {"k": "v"}}),
        ("[ \ta\t ]# c\nk = v", {"a": {"k": "v"}}),
        ("[default]\nk = v", {"default": {"k": "v"}}),
        ("[profile a]\nk = v\n[b]", {"b": {}}),
        ("[profile default]\nk = v", {}),
        ("[sso-session a]\nk = v\n[services b]\nk = v", {}),
        ("[sso-sessiona]\nk = v", {"sso-sessiona": {"k": "v"}}),
        ("[profile]\nk = v", {"profile": {"k": "v"}}),
        ("[in! valid]\nk = v\n[]\nk = v", {}),
        ("[My Mac]\nk = v\n['é a']\nl = w", {"My Mac": {"k": "v"}, "é a": {"l": "w"}}),
        ("[profile 'My Mac']\nk = v\n[services 'b']\nk = v", {}),
    ],
)
def test_the_credentials_file_has_profiles_without_a_prefix(text: str, profiles: dict[str, dict[str, Any]]) -> None:
    """
    A section with a prefix is ignored there, and so are sso-sessions and services.

    C7: ``aws configure --profile 'My Mac'`` writes ``[My Mac]``, without quotes.
    """
    shared = credentials(text)

    assert plain(shared.profiles) == profiles
    assert shared.sso_sessions == shared.services == {}


def test_the_three_kinds_of_sections_have_name_spaces_of_their_own() -> None:
    """A profile and the sso-session that it names are usually called the same."""
    shared = config("[profile x]\nk = 1\n[sso-session x]\nk = 2\n[services\tx]\nk = 3\n[sso-session x]\nl = 4")

    assert plain(shared.profiles) == {"x": {"k": "1"}}
    assert plain(shared.sso_sessions) == {"x": {"k": "2", "l": "4"}}
    assert plain(shared.services) == {"x": {"k": "3"}}
    assert [s["x"].kind for s in (shared.profiles, shared.sso_sessions, shared.services)] == [
        "profile",
        "sso-session",
        "services",
    ]


FAULTS = {
    "no ]": ("[profile a]\n[profile b", f"{FILE}, line 2: a section without its"),
    "text after ]": ("[profile a] b", f"{FILE}, line 1: something other than a comment"),
    "two ]": ("[profile a]]", f"{FILE}, line 1: something other than a comment"),
    "no section": ("\nk = v", f"{FILE}, line 2: a property before any section"),
    "no section, no =": ("key", f"{FILE}, line 1: a property before any section"),
    "no =": ("[profile a]\nk = v\nkey : v", f"profile 'a' ({FILE}, line 3): a line without"),
    "no key": ("[profile a]\n= v", f"profile 'a' ({FILE}, line 2): a property without a key"),
    "indented first": (" k = v", f"{FILE}, line 1: an indented line without a property"),
    "indented after a section": ("[default]\n k = v", f"profile 'default' ({FILE}, line 2): an indented line"),
    "indented after the section came again": ("[profile a]\nk = v\n[profile a]\n w", "'a' (~/.aws/config, line 4): an"),
    "no = below": ("[profile a]\ns3 =\n key", f"profile 'a', key s3 ({FILE}, line 3): a sub-property without"),
    "no key below": ("[sso-session a]\ns3 =\n = v", f"sso-session 'a', key s3 ({FILE}, line 3): a sub-property"),
    "no = in an ignored section": ("[a]\nkey", f"{FILE}, line 2: a line without"),
    "no = below an ignored key": ("[profile a]\nin valid =\n key", f"profile 'a' ({FILE}, line 3): a sub-property"),
    "a second byte order mark": ("\ufeff\ufeff[profile a]\nk = v", f"{FILE}, line 1: a property before"),
    "a NUL": ("[profile a]\nk = v\0", f"{FILE}, line 2: a NUL"),
    "a long line": ("[profile a]\nk = " + "x" * (1 << 16), f"profile 'a' ({FILE}, line 2): longer than 65,536"),
    "only CR ends lines": ("[profile a]\rk = v\r", f"{FILE}, line 1: something other than a comment"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_an_error_names_the_file_the_line_and_the_profile(text: str, message: str) -> None:
    """The error also names the key if the line is below one."""
    assert message in fault(text)


def frames(error: BaseException) -> str:
    """Return an error as a tool shows it that prints local variables, without those of the tests."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.TracebackException(type(error), error, trace, capture_locals=True).format())


TORN = {
    "no ]": f"[profile {SENTINEL}",
    "text after ]": f"[profile a] {SENTINEL}",
    "no section": f"k = {SENTINEL}",
    "no =": f"[profile a]\nk = {SENTINEL}\n{SENTINEL}",
    "no key": f"[profile a]\n= {SENTINEL}",
    "no property": f"[profile a]\n {SENTINEL}",
    "no = below": f"[profile a]\nk =\n {SENTINEL}",
    "no = below a torn line": f"[profile a]\n{SENTINEL}=\n {SENTINEL}",
    "no key below": f"[profile a]\nk =\n = {SENTINEL}",
    "no = below an ignored key": f"[profile a]\n{SENTINEL} k =\n {SENTINEL}",
    "a second byte order mark": f"\ufeff\ufeff{SENTINEL}",
    "a NUL": f"[profile a]\nk = {SENTINEL}\0",
    "a long line": f"[profile a]\nk = {SENTINEL}" + "x" * (1 << 16),
    "a long file": f"[profile a]\nk = {SENTINEL}" + "\n# x" * (MIB // 4),
    "many lines": f"[profile a]\nk = {SENTINEL}" + "\n" * 60_000,
    "many profiles": f"[default]\nk = {SENTINEL}" + "".join(f"\n[profile p{n}]" for n in range(10_001)),
}


@pytest.mark.parametrize("text", TORN.values(), ids=TORN)
def test_an_error_does_not_show_the_contents_of_the_file(text: str) -> None:
    """T14, T16: not in its message, not in what it comes from, not in a local variable of a frame."""
    with pytest.raises(InvalidConfigFile) as caught:
        config(text)

    shown = frames(caught.value)
    assert "in parse" in shown
    assert SENTINEL.lower() not in shown.lower()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "data",
    [b"k = %b\xff", b"k = %b\0", b"# %b" + b"x" * MIB],
    ids=["latin-1", "a NUL", "a long file"],
)
def test_a_decoding_error_does_not_show_the_contents_of_the_file(data: bytes) -> None:
    """A UnicodeDecodeError holds the whole content."""
    with pytest.raises(InvalidConfigFile) as caught:
        decode(data.replace(b"%b", SENTINEL.encode()), file=FILE)

    shown = frames(caught.value)
    assert "in decode" in shown
    assert SENTINEL not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_file_is_decoded_as_utf_8() -> None:
    text = decode("[profile a]\r\nk = é".encode(), file=FILE)

    assert text == "[profile a]\r\nk = é"
    assert type(text) is Secret


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\n\n\xe9", "line 3: not UTF-8"),
        (b"\xed\xa0\x80", "line 1: not UTF-8"),
        ("[default]".encode("utf-16"), "line 1: not UTF-8"),
        ("[default]".encode("utf-16-le"), "line 1: a NUL"),
        (b"\n" * MIB + b"\xff", "larger than 1,048,576 bytes"),
    ],
)
def test_a_file_that_is_not_utf_8_is_an_error_with_the_line(data: bytes, message: str) -> None:
    """T37."""
    with pytest.raises(InvalidConfigFile, match=f"{FILE}.*{message}"):
        decode(data, file=FILE)


def test_no_repr_shows_the_contents_of_a_file() -> None:
    """T14: users print profiles to debug a chain; even a key can be a part of a token."""
    shared = config(f"[profile a]\naws_secret_access_key = {SENTINEL}\n{SENTINEL}x ==\ns3 =\n k = {SENTINEL}")
    section = shared.profiles["a"]

    assert section.get("aws_secret_access_key") == SENTINEL
    assert type(section.get("aws_secret_access_key")) is Secret
    for shown in (repr(shared), repr(section), repr(dict(section.values)["s3"]), section.where()):
        assert SENTINEL.lower() not in shown.lower()


def test_ignored_parts_give_warnings_without_their_text() -> None:
    """A space in a key is a mistake that users would not find without the warning."""
    shared = merge(
        config(
            f"[other]\nk = v\n[profile in valid]\n[profile a]\n{SENTINEL} x = {SENTINEL}\ns3 =\n {SENTINEL}! = 1\n"
            "[default]\n[profile default]"
        ),
        credentials("[profile a]"),
    )

    assert [text.partition(":")[0] for text in shared.warnings] == [
        "~/.aws/config, line 1",
        "~/.aws/config, line 3",
        "profile 'a' (~/.aws/config, line 5)",
        "profile 'a', key s3 (~/.aws/config, line 7)",
        "~/.aws/config, line 8",
        "~/.aws/credentials, line 1",
    ]
    assert not [text for text in shared.warnings if SENTINEL in text]


def test_warnings_are_limited() -> None:
    """T37: a file of another program is not answered with a megabyte of log."""
    warnings = config("[a]\n" * 1000).warnings

    assert len(warnings) == profile_grammar.MAX_WARNINGS + 1
    assert warnings[-1] == f"{FILE}: {1000 - profile_grammar.MAX_WARNINGS} more sections or properties are ignored"


def test_a_sound_file_gives_no_warnings() -> None:
    assert config("[default]\nk = v\n[profile a]\n[sso-session a]\n[services a]\nsts =\n k = v").warnings == ()


# A section and what it says.


def test_a_blank_value_counts_as_unset() -> None:
    section = config("[profile a]\nk = v\nblank =\ns3 =\n k = v\nl = v\n w").profiles["a"]

    assert section.get("k") == "v"
    assert section.get("l") == "v\nw"
    assert section.get("blank") is None
    assert section.get("s3") is None
    assert section.get("missing") is None


def test_a_section_knows_its_file_and_line() -> None:
    """With the file and the line of the very key, which may be another file than that of the profile."""
    shared = merge(
        config("\n[profile a]\nregion = x\n[sso-session b]\n[profile a]\nregion = y"),
        credentials("[a]\naws_access_key_id = x\n[" + "n" * 200 + "]"),
    )
    section = shared.profiles["a"]

    assert section.where() == "profile 'a' (~/.aws/config, line 2)"
    assert section.where("region") == "profile 'a', key region (~/.aws/config, line 6)"
    assert section.where("aws_access_key_id") == "profile 'a', key aws_access_key_id (~/.aws/credentials, line 2)"
    assert section.where("missing") == "profile 'a', key missing (~/.aws/config, line 2)"
    assert shared.sso_sessions["b"].where() == "sso-session 'b' (~/.aws/config, line 4)"
    assert shared.profiles["n" * 200].where() == f"profile '{'n' * 128}...' (~/.aws/credentials, line 3)"


def test_sections_are_equal_when_they_say_the_same() -> None:
    """A profile that only moved has not changed, so nothing that was made from it is thrown away."""
    first = config("[profile a]\nk = v\ns3 =\n l = w").profiles["a"]
    moved = credentials("# new\n\n[a]\n\ns3 = \n  l=w\n\nk=v").profiles["a"]

    assert first == moved
    assert first != config("[profile a]\nk = v2\ns3 =\n l = w").profiles["a"]
    assert first != config("[profile a]\nk = v\ns3 =\n l = w2").profiles["a"]
    assert first != config("[profile a]\nk = v").profiles["a"]
    assert first != config("[profile b]\nk = v\ns3 =\n l = w").profiles["b"]
    assert first != config("[services a]\nk = v\ns3 =\n l = w").services["a"]


def test_parsed_contents_are_immutable() -> None:
    """It is shared by every client that reads the same files."""
    shared = config("[profile a]\ns3 =\n k = v")

    for mapping in (
        shared.profiles,
        shared.services,
        shared.profiles["a"].values,
        shared.profiles["a"].values["s3"].nested,
    ):
        with pytest.raises(TypeError):
            mapping["x"] = None  # type: ignore[index]


# Both files together.


def test_the_credentials_file_wins_key_by_key() -> None:
    both = merge(
        config("[profile a]\nregion = x\naws_access_key_id = old\ns3 =\n k = v\n l = w\n[profile b]\n[services s]"),
        credentials("[a]\naws_access_key_id = new\ns3 =\n k = u\n[c]\nk = v"),
    )

    assert plain(both.profiles) == {
        "a": {"region": "x", "aws_access_key_id": "new", "s3": {"k": "u"}},
        "b": {},
        "c": {"k": "v"},
    }
    assert plain(both.services) == {"s": {}}


def test_default_merges_after_profile_default_has_won() -> None:
    both = merge(config("[profile default]\nk = v\n[default]\nl = w"), credentials("[default]\nm = x"))

    assert plain(both.profiles) == {"default": {"k": "v", "m": "x"}}


keys = st.text("abcxyz_-.0", min_size=1, max_size=4)
simple_profiles = st.dictionaries(
    keys, st.dictionaries(keys, st.text("uvw", min_size=1, max_size=4), max_size=4), max_size=4
)


def rendered(profiles: dict[str, dict[str, str]], *, prefix: str) -> str:
    return "".join(
        f"[{prefix}{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
        for name, values in profiles.items()
    )


@given(simple_profiles, simple_profiles)
def test_merging_is_a_union_of_dicts(first: dict[str, dict[str, str]], second: dict[str, dict[str, str]]) -> None:
    both = merge(config(rendered(first, prefix="profile ")), credentials(rendered(second, prefix="")))

    assert plain(both.profiles) == {name: first.get(name, {}) | second.get(name, {}) for name in {**first, **second}}


@given(simple_profiles)
def test_merging_with_nothing_changes_nothing(profiles: dict[str, dict[str, str]]) -> None:
    shared = config(rendered(profiles, prefix="profile "))

    assert merge(shared, EMPTY) == merge(EMPTY, shared) == shared


# Settings of one service.


def test_the_setting_of_a_service_is_found_through_the_profile() -> None:
    shared = config("[profile a]\nservices = local\n[services local]\nsts =\n  Endpoint_URL = http://localhost:1\n")
    value = service_value(shared, shared.profiles["a"])

    assert value is not None
    assert value.text == "http://localhost:1"
    assert (value.file, value.line) == (FILE, 5)


@pytest.mark.parametrize(
    "text",
    [
        "[profile a]",
        "[profile a]\nservices =",
        "[profile a]\nservices = x\n[services x]",
        "[profile a]\nservices = x\n[services x]\nsts = http://localhost",
        "[profile a]\nservices = x\n[services x]\nsts =\n endpoint_url =",
        "[profile a]\nservices = x\n[services x]\nsts =\n other = 1",
        "[profile a]\nservices = x\n[services x]\ns3 =\n endpoint_url = http://localhost",
    ],
)
def test_the_setting_of_a_service_may_be_missing(text: str) -> None:
    shared = config(text)

    assert service_value(shared, shared.profiles["a"]) is None


def test_other_services_and_keys_are_found_as_well() -> None:
    shared = config("[profile a]\nservices = x\n[services x]\nsso =\n endpoint_url = u\nsts =\n other = w")

    assert getattr(service_value(shared, shared.profiles["a"], service="sso"), "text", None) == "u"
    assert getattr(service_value(shared, shared.profiles["a"], key="other"), "text", None) == "w"


def test_a_services_section_that_is_named_and_missing_is_an_error() -> None:
    """Requests would go to AWS that were meant for another endpoint. The name is a value, and not shown."""
    shared = config(f"[profile a]\nservices = {SENTINEL}\n[services x]")

    with pytest.raises(InvalidConfigFile) as caught:
        service_value(shared, shared.profiles["a"])

    problem = "names a services section that does not exist"
    assert str(caught.value) == f"profile 'a', key services ({FILE}, line 2) {problem}"
    assert SENTINEL not in frames(caught.value)


# Any file.

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), max_size=12)
lines = texts.map(str.strip).filter(lambda text: bool(text) and text[0] not in "#;")
values = lines.filter(lambda text: not re.search(r"\s[#;]", text))
names = st.text(NAME_CHARACTERS, min_size=1, max_size=8)
properties = st.one_of(
    values.map(str),
    st.just(""),
    st.tuples(values, st.lists(lines, min_size=1, max_size=3)).map(lambda both: "\n".join([both[0], *both[1]])),
    st.dictionaries(names.map(str.lower), st.one_of(lines, st.just("")), min_size=1, max_size=3),
)
models = st.dictionaries(names, st.dictionaries(names.map(str.lower), properties, max_size=4), max_size=4)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return a config file, with every freedom that the grammar leaves, and the profiles that it has."""
    model = draw(models)
    blanks = st.text(" \t", max_size=2)
    some_blanks = st.text(" \t", min_size=1, max_size=2)
    written: list[str] = []

    def write(*parts: str | st.SearchStrategy[str]) -> None:
        written.append("".join(part if isinstance(part, str) else draw(part) for part in parts))
        if draw(st.booleans()):
            written.append(
                draw(st.one_of(blanks, texts.map(lambda text: "#" + text), texts.map(lambda text: ";" + text)))
            )

    for name, section in model.items():
        write("[", blanks, "profile", some_blanks, name, blanks, "]", blanks)
        for key, value in section.items():
            spelled = draw(st.sampled_from([key, key.upper()]))
            first, *rest = value.split("\n") if isinstance(value, str) else [""]
            comment = draw(st.one_of(st.just(""), texts.map(lambda text: " #" + text)))
            write(spelled, blanks, "=", blanks, first, comment, blanks)
            for line in rest:
                write(some_blanks, line, blanks)
            if isinstance(value, dict):
                for inner, text in value.items():
                    write(some_blanks, inner, blanks, "=", blanks, text, blanks)
    return draw(st.sampled_from(["\n", "\r\n"])).join(written), model


@given(files())
def test_a_generated_file_is_parsed_to_its_contents(written: tuple[str, dict[str, dict[str, Any]]]) -> None:
    text, model = written

    assert plain(config(text).profiles) == model
    assert config(text).warnings == ()


pieces = st.sampled_from(
    ["[", "]", "=", "#", ";", " ", "\t", "\r", "\n", "\0", "\ufeff", "profile", "default", "k", "é"]
)


@given(st.one_of(st.text(), st.lists(pieces).map("".join)), st.sampled_from(["config", "credentials"]))
@example("\r", "config")
def test_any_text_is_parsed_or_refused(text: str, kind: Kind) -> None:
    """T37: whatever it is, there is one error to catch."""
    try:
        outcome: object = parse(text, file=FILE, kind=kind)
    except InvalidConfigFile as error:
        outcome = str(error)
    SEEN_SECRETS.clear()  # made of so few pieces, a value of one text is a name of another, and names are shown

    assert isinstance(outcome, SharedConfig) or FILE in str(outcome)


@given(st.binary())
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        outcome = decode(data, file=FILE).encode()
    except InvalidConfigFile as error:
        outcome = str(error).encode()

    assert outcome == data or outcome.startswith(FILE.encode())


# Limits.


def full(unit: str, *, head: str = "[default]\nk = v\n") -> str:
    """Return a file of a MiB: a beginning, and then the same over and over."""
    return head + unit * ((MIB - len(head)) // len(unit))


BOMBS: dict[str, Callable[[], str]] = {
    "brackets": lambda: "[" * MIB,
    "lines of brackets": lambda: full("[\n"),
    "NULs": lambda: "\0" * MIB,
    "byte order marks": lambda: "\ufeff" * MIB,
    "CRLF": lambda: "\r\n" * (MIB // 2),
    "CR": lambda: "\r" * MIB,
    "blank lines": lambda: "\n" * MIB,
    "lines of blanks": lambda: full(" " * 30 + "\n"),
    "short properties": lambda: full("a=b\n"),
    "properties": lambda: full("aaaaaaaaaaaa = bbbbbbbbbbbb\n"),
    "short continuations": lambda: full(" a\n"),
    "continuations": lambda: full(" aaaaaaaaaaaaaaaaaaaaaaaaaaa\n"),
    "sub-properties": lambda: full(" aaaaaaaaaaaa = bbbbbbbbbbbb\n", head="[default]\nk =\n"),
    "ignored properties": lambda: full("aaaaaa aaaaa = bbbbbbbbbbbb\n"),
    "ignored sections": lambda: full("[aaaaaaaaaaaaaaaaaaaaaaaaaa]\n"),
    "one profile": lambda: full("[profile aaaaaaaaaaaaaaaaaa]\n"),
    "many profiles": lambda: "".join(f"[profile {n:018}]\n" for n in range(30_000)),
    "long lines": lambda: full("k=" + "x" * 65_000 + "\n"),
    "long lines of blanks": lambda: full("k=v" + " " * 65_000 + "\n"),
    "long lines of comments": lambda: full("k=v" + "# " * 32_000 + "\n"),
    "long keys": lambda: full("k" * 65_000 + "=\n"),
    "long names": lambda: full("[profile " + "p" * 65_000 + "]\n"),
    "a line": lambda: full("x"),
}


def seconds_for(text: str) -> float:
    """Return the seconds of CPU time for reading a file."""
    start = time.thread_time()
    for reader in (config, credentials):
        with contextlib.suppress(InvalidConfigFile):
            reader(text)
    return time.thread_time() - start


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_the_time_for_a_hostile_file_is_bounded(bomb: Callable[[], str]) -> None:
    """
    T37: it grows with the length, and not with its square, which would make it 64 times as long here.

    One of five tries must show it: a busy machine may make any of them longer, and none shorter.
    """
    text = bomb()
    part = text[: len(text) // 8]

    assert len(text) <= MIB
    assert any(seconds_for(text) < 24 * max(seconds_for(part), 0.005) for _ in range(5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#" * (MIB + 1), f"{FILE}: larger than 1,048,576"),
        ("\n" * profile_grammar.MAX_LINES, f"{FILE}: more than 50,000 lines"),
        ("".join(f"[profile {n}]\n" for n in range(10_001)), "line 10001): more than 10,000 sections"),
        ("".join(f"[services {n}]\n" for n in range(10_001)), "line 10001): more than 10,000 sections"),
    ],
    ids=["characters", "lines", "profiles", "services"],
)
def test_a_file_beyond_a_limit_is_an_error(text: str, message: str) -> None:
    """T37."""
    assert message in fault(text)


def test_a_file_at_a_limit_is_read() -> None:
    """T37: ten thousand profiles of five lines, and a line that is as long as one may be."""
    many = "".join(f"[profile {n}]\na = v\nb = v\nc = v\n\n" for n in range(10_000)).removesuffix("\n")

    assert len(config(many).profiles) == 10_000
    assert config("[default]\nk=" + "x" * ((1 << 16) - 2)).profiles["default"].get("k") == "x" * ((1 << 16) - 2)
