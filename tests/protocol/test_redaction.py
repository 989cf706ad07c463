"""Redaction of secrets in texts that a server returns, tested with properties over all secrets and texts."""

import string
import sys
from typing import Any
from urllib.parse import quote, unquote

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async import shapes
from sts_async._protocol.http_messages import HttpRequest
from sts_async._protocol.redaction import HIDDEN, MAX_TEXT, MIN_RUN, Redaction
from sts_async._shape.secret import Secret, SecretBytes

TOKEN_CHARACTERS = string.ascii_letters + string.digits + "+/=-_."
TOKENS = st.text(TOKEN_CHARACTERS, min_size=MIN_RUN, max_size=200)
WORDS = st.text(string.ascii_letters + " :'%&;\\\\", max_size=40)


def hides(token: str) -> Redaction:
    return Redaction(None, shapes.Credentials(access_key_id="AKID", secret_access_key="k" * 40, session_token=token))


@given(token=TOKENS, before=WORDS, after=WORDS, data=st.data())
def test_no_part_of_16_characters_is_left(token: str, before: str, after: str, data: st.DataObject) -> None:
    """G12: wherever a server cuts it, and however it encodes it."""
    start = data.draw(st.integers(0, len(token) - MIN_RUN))
    stop = data.draw(st.integers(start + MIN_RUN, len(token)))
    spelt = data.draw(
        st.sampled_from([str, lambda text: quote(text, safe=""), lambda text: quote(quote(text, safe=""))])
    )

    shown = hides(token)(f"{before} {spelt(token[start:stop])} {after}")

    read = unquote(unquote(shown))
    assert HIDDEN in shown
    assert not any(token[place : place + MIN_RUN] in read for place in range(len(token) - MIN_RUN + 1))


@given(st.text(max_size=100), TOKENS)
def test_a_text_without_a_secret_is_as_it_was(text: str, token: str) -> None:
    """G12: nothing else is hidden, and no escape is resolved."""
    read = unquote(unquote(text))
    if not any(token[place : place + 8] in read for place in range(len(token) - 7)) and "kkkk" not in read:
        assert hides(token)(text) == text


@given(st.lists(TOKENS, min_size=2, max_size=2, unique=True), WORDS)
def test_several_secrets_are_each_hidden_once(tokens: list[str], words: str) -> None:
    """G12: the words between them are kept."""
    hide = Redaction(
        shapes.AssumeRoleWithWebIdentityRequest(role_arn="arn", role_session_name="me", web_identity_token=tokens[0]),
        shapes.Credentials(access_key_id="AKID", secret_access_key=tokens[1]),
    )

    shown = hide(f"<{tokens[0]}|{tokens[1]}>")

    assert shown.startswith("<***")
    assert shown.endswith("***>")
    assert len(shown) <= len("<***|***>") + 2 * MIN_RUN


@pytest.mark.parametrize("text", ["A" * 50_000, "A" * 15 + "B", ("A" * 15 + "B") * 900, "%41" * 5000, "%2541" * 3000])
def test_a_text_made_to_be_like_the_secret_costs_a_bounded_number_of_steps(text: str) -> None:
    """G2, G12: where too much of it is like the secret, all of it is hidden."""
    shown = hides(("A" * 15 + "x") * 5000)(text)

    assert len(shown) <= MAX_TEXT
    assert "A" * MIN_RUN not in unquote(shown)


@pytest.mark.parametrize(
    "text",
    ["X-Amz-Signature={}", "Credential=AKID/20260101/us-east-1/sts/aws4_request, Signature={}", "signature%3D{}"],
)
def test_a_signature_is_hidden_and_its_scope_is_not(text: str) -> None:
    """G12: anyone who has the signature can send the request again; users need the scope to find the error."""
    assert Redaction()(text.format("0123456789abcdef" * 4)) == text.format(HIDDEN)


@pytest.mark.parametrize("secret", ["", "a", "abc"])
def test_very_short_secrets_are_not_hidden(secret: str) -> None:
    """G12: each text has an "a"."""
    assert hides(secret)("abc abc") == "abc abc"


def test_the_secrets_of_any_request_and_of_nested_shapes_are_known() -> None:
    """G12: by what the shapes declare, and for HTTP requests by what is a `Secret`."""
    nested = shapes.AssumeRoleRequest(
        role_arn="arn",
        role_session_name="me",
        provided_contexts=[shapes.ProvidedContext(provider_arn="arn", context_assertion="assertion-of-a-context")],
    )
    sent = HttpRequest("GET", "http://a/", {"x-token": Secret("token-in-a-header"), "x-other": "not-a-secret-at-all"})
    hide = Redaction(nested, sent, attrs.evolve(sent, body=SecretBytes(b"a secret body of a request")))

    assert hide("assertion-of-a-context") == hide("token-in-a-header") == hide("a secret body of a request") == HIDDEN
    assert hide("not-a-secret-at-all") == "not-a-secret-at-all"
    assert repr(hide) == "Redaction()"


PADDED = [*string.ascii_letters * 40, *"0" * 4_000]  # as a token that was asked to be large


@pytest.mark.parametrize(
    "secret", ["A" * 60_000, "QUFB" * 25_000, "0123456789abcdef" * 4_000, "".join(PADDED)], ids=len
)
def test_a_secret_that_repeats_itself_costs_no_more_than_another(secret: str) -> None:
    """G12, T9: an assertion of one letter, quoted by the service, stopped the event loop for seconds."""
    lines = 0

    def count(frame: Any, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    hide = Redaction(Secret(secret))
    before = sys.gettrace()  # that of a measurement of coverage
    sys.settrace(count)
    try:
        shown = hide(f"refused: {secret}")
    finally:
        sys.settrace(before)

    assert secret[:16] not in shown
    assert lines < 400_000


@pytest.mark.parametrize("plus", ["&#43;", "&#0043;", "&#x2b;", "&#x002B;", "%2B"])
def test_a_character_is_found_however_it_is_escaped(plus: str) -> None:
    """G12: in XML with leading zeros, too."""
    assert "SECRETSECRET" not in Redaction(Secret("SECRET+" * 6))(f"token {plus.join(['SECRET'] * 6)}{plus} end")


def test_escapes_within_escapes_are_resolved_twice_and_no_more() -> None:
    """G12: text that is escaped three times is not decoded a third time, and plain text next to it is hidden."""
    secret = "SECRET-of-some-length"
    thrice = "%25252541" * 3

    assert Redaction(Secret(secret))(f"{thrice} {secret}") == f"{thrice} ***"
