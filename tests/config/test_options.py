"""Kinds of options: what they accept from code, and what they make of text."""

from typing import Any

import pytest
from botocore.useragent import sanitize_user_agent_string_component
from hypothesis import given
from hypothesis import strategies as st

from sts_async._config.options import (
    APP_ID,
    FLAG,
    HANDLERS,
    NUMBER,
    OPPOSITE_FLAG,
    SECONDS,
    TEXT,
    WHOLE,
    Kind,
    Option,
    flag,
    one_of,
)
from sts_async._shape.secret import Secret
from sts_async.errors import ConfigurationError

KINDS = {
    "text": TEXT,
    "flag": FLAG,
    "opposite": OPPOSITE_FLAG,
    "whole": WHOLE,
    "seconds": SECONDS,
    "number": NUMBER,
    "words": one_of("IPv4", "b"),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@given(text=st.text() | st.from_regex(r"[0-9.]{1,12}|true|FALSE|ipv4|B", fullmatch=True))
def test_the_value_of_a_text_is_valid_in_code(kind: Kind, text: str) -> None:
    """Text and code have one rule. An invalid text is an error that names its origin, not the text."""
    value, problem = None, None
    try:
        value = Option(kind=kind).read(text, origin="AWS_X")
    except ConfigurationError as error:
        problem = error

    if problem is None:
        assert kind.accepts(value)
    else:
        assert str(problem) == f"AWS_X must be {kind.rule}"
        assert problem.__context__ is None


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (FLAG, "True", True),
        (FLAG, "false", False),
        (WHOLE, "007", 7),
        (SECONDS, "0.5", 0.5),
        (SECONDS, "3", 3.0),
        (one_of("IPv4", "IPv6"), "IPV6", "IPv6"),
        (TEXT, "a b", "a b"),
        (NUMBER, "-1.5", -1.5),
        (NUMBER, "2", 2.0),
        (APP_ID, "shop+till", "shop+till"),
    ],
)
def test_text_is_read(kind: Kind, text: str, value: Any) -> None:
    assert Option(kind=kind).read(text, origin="AWS_X") == value


@given(text=st.text(min_size=1) | st.text("aB9/ #:\u00e9", min_size=1))
def test_the_name_of_an_application_is_read_as_botocore_sends_it(text: str) -> None:
    """B3: whatever others have set for another program, it can be sent, and stops no call."""
    value = Option(kind=APP_ID).read(text, origin="AWS_SDK_UA_APP_ID")

    # botocore lets commas through, which no word of a header has. Source: RFC 9110, 5.6.2.
    assert value == sanitize_user_agent_string_component(text, allow_hash=True)[:50].replace(",", "-")
    assert APP_ID.accepts(value)
    assert Option(kind=APP_ID).accepts(text) == (value == text)


def test_text_of_a_file_is_shown_once_it_is_an_option() -> None:
    """A region is no secret any more."""
    assert repr(Option(kind=TEXT).read(Secret("eu-west-1"), origin="x")) == "'eu-west-1'"


def test_only_options_with_further_sources_can_be_none() -> None:
    assert Option(kind=WHOLE).accepts(None)
    assert not Option(kind=WHOLE, optional=False).accepts(None)


def test_a_rule_reads_well() -> None:
    assert one_of("regional", "legacy").rule == "regional or legacy"
    assert one_of("a", "b", "c").rule == "one of a, b, c"


def test_an_option_that_only_code_can_set_has_no_text_form() -> None:
    with pytest.raises(ConfigurationError, match="X must be a list of objects"):
        Option(kind=HANDLERS).read("handler", origin="X")


@pytest.mark.parametrize(
    ("words", "value"), [("true True TRUE 1 yes YES on", True), ("false False FALSE 0 no No off", False)]
)
def test_a_flag_is_one_of_these_words(words: str, value: bool) -> None:
    """C15: each SDK takes others for true; what no SDK takes for the opposite is taken here."""
    for word in words.split():
        assert Option(kind=FLAG).read(word, origin="AWS_X") is value
        assert Option(kind=OPPOSITE_FLAG).read(word, origin="AWS_X") is not value


@pytest.mark.parametrize("word", ["2", "y", "t", "enabled", "01", "tru", "\u0661", "none"])
def test_no_other_word_is_a_flag(word: str) -> None:
    """C15: guessing wrong would leave FIPS or a metadata service on or off."""
    for kind in (FLAG, OPPOSITE_FLAG):
        with pytest.raises(ConfigurationError, match=r"^AWS_X must be true or false$"):
            Option(kind=kind).read(word, origin="AWS_X")


def test_a_flag_in_code_comes_before_its_variable() -> None:
    """C10, C11: and a blank variable says nothing."""
    assert flag("X", {"X": "no"}, given=True)
    assert not flag("X", {"X": "yes"}, given=False)
    assert flag("X", {"X": " yes\n"}, given=None)
    assert not flag("X", {"X": " "}, given=None)
    assert not flag("X", {}, given=None)
    with pytest.raises(ConfigurationError, match=r"^X must be true or false$"):
        flag("X", {"X": "?"}, given=None)
