"""Answers that refuse: what is said of them, and that the rest is not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async._protocol.http_errors import Refusal, is_transient, json_error, readable_code, refusal
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._protocol.redaction import Redaction
from sts_async._shape.secret import Secret, SecretBytes
from sts_async.errors import TRANSIENT_STATUSES


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (404, {"location": "http://a"}, "HTTP 404"),
        (
            302,
            {"location": "https://u:SENTINEL@Evil.com/SENTINEL?x"},
            "HTTP 302 redirect to host 'evil.com': not followed",
        ),
        (307, {}, "HTTP 307 redirect to a relative URL: not followed"),
        (301, {"location": "/SENTINEL"}, "HTTP 301 redirect to a relative URL: not followed"),
        (308, {"location": "http://[SENTINEL"}, "HTTP 308 redirect to an invalid URL: not followed"),
        (302, {"location": f"http://{'a' * 400}/"}, f"HTTP 302 redirect to host '{'a' * 253}': not followed"),
    ],
)
def test_a_refusal_names_a_status_and_a_host(status: int, headers: dict[str, str], said: str) -> None:
    """T4."""
    assert refusal(HttpResponse(status, headers, SecretBytes(b"SENTINEL"))) == said


@pytest.mark.parametrize(
    ("header", "body", "codes", "text"),
    [
        ("InvalidGrantException", b"", ("InvalidGrantException",), "InvalidGrantException (HTTP 400)"),
        ("a#B:http://c", b"{}", ("B",), "B (HTTP 400)"),
        (None, b'{"__type": "x#B", "error": "invalid_grant"}', ("B", "invalid_grant"), "B (HTTP 400)"),
        (None, b'{"code": "B", "error": "B"}', ("B",), "B (HTTP 400)"),
        (None, b'{"error": ["SENTINEL"], "__type": "SENTINEL-8"}', (), "HTTP 400"),
        (None, b"<html>SENTINEL", (), "HTTP 400"),
        ("A" * 65, b"", (), "HTTP 400"),
    ],
)
def test_a_refusal_is_known_by_its_codes(header: str | None, body: bytes, codes: tuple[str, ...], text: str) -> None:
    """T15: an error code has letters only; whatever else is in its place is not shown."""
    headers = {} if header is None else {"x-amzn-errortype": header}
    refused = Refusal.from_response(HttpResponse(400, headers, SecretBytes(body)))

    assert (refused.codes, str(refused)) == (codes, text)


SECRET = "SecretWithLettersAloneOfSomeLength"
SENT = HttpRequest(
    "POST",
    "http://a/",
    {"x-token": Secret(SECRET), "accept": "AccessDenied"},
    SecretBytes(b'{"refreshToken": "otherSecret"}'),
)


@pytest.mark.parametrize("secret", [SECRET, SECRET[:16], SECRET[9:], 'refreshToken": "otherSecret'[:20]])
def test_what_was_sent_in_secret_is_no_code(secret: str) -> None:
    """G12: a token may have letters only, as a code has."""
    body = json.dumps({"error": secret, "code": "AccessDenied"}).encode()
    refused = Refusal.from_response(HttpResponse(400, {"x-amzn-errortype": secret}, SecretBytes(body)), sent=SENT)

    assert refused.codes == ("AccessDenied",)


def test_a_host_that_repeats_what_was_sent_is_not_shown() -> None:
    """G12: in whatever case."""
    response = HttpResponse(302, {"location": f"http://{SECRET}.evil.test/"}, SecretBytes(b""))

    hidden = refusal(response, Redaction(SENT))
    assert hidden == "HTTP 302 redirect: not followed (its host is hidden because it repeats a secret)"
    assert refusal(response, Redaction(None)) == f"HTTP 302 redirect to host '{SECRET.lower()}.evil.test': not followed"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"a":',
        b"<html>",
        b" " * 2000 + b"{}",
        b'{"message": "' + b"x" * 70_000 + b'"}',
        b"{" * 9000,
    ],
    ids=range(8),
)
def test_what_is_no_error_in_json_has_nothing_of_one(body: bytes) -> None:
    """B10, G2."""
    assert json_error(body) == {}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("AccessDenied", "AccessDenied"),
        ("invalid_grant", "invalid_grant"),
        ("com.amazonaws#AccessDenied:http://x/", "AccessDenied"),
        ("A" * 64, "A" * 64),
        ("A" * 65, None),
        ("", None),
        ("_", None),
        ("SENTINEL-8", None),
        ("a code", None),
        ("caf\u00e9", None),
        (None, None),
        (5, None),
        (["AccessDenied"], None),
    ],
)
def test_a_code_is_read_without_its_namespace(value: Any, code: str | None) -> None:
    """T15."""
    assert readable_code(value) == code


@given(st.text())
def test_whatever_is_shown_as_a_code_is_short_and_plain(text: str) -> None:
    """T15, T45: it comes from the network, and goes to logs."""
    code = readable_code(text)

    assert code is None or (0 < len(code) <= 64 and code.isascii() and code.isprintable() and code in text)


def test_what_is_transient_of_sts_is_transient_of_others() -> None:
    """Of those also any other failure of the server, and too many requests."""
    transient = {status for status in range(100, 1000) if is_transient(status)}

    assert transient == {429, *range(500, 600)}
    assert transient > TRANSIENT_STATUSES
