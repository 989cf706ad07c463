"""The words for how something ended: few enough to tell series of metrics apart, whatever a server sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async import errors
from sts_async.errors import ServiceError
from sts_async.fleet.reports import IdentityState
from sts_async.observers import _words


class OfTheProgram(errors.TransportError):
    """An error class of the program's own."""


BOUNDED = {_words.SUCCESS, _words.OTHER, *_words.STATUSES.values(), *_words.KNOWN_CODES} | {
    name for name, value in vars(errors).items() if isinstance(value, type)
}


@given(st.text(), st.integers(100, 999))
def test_whatever_code_a_server_sends_the_words_are_bounded(code: str, status: int) -> None:
    """A label that a server chooses makes series without end."""
    assert _words.outcome(ServiceError("", code=code, status=status)) in BOUNDED
    assert _words.known_code(code) in BOUNDED
    assert _words.known_operation(code) in {*_words.KNOWN_OPERATIONS, _words.OTHER}
    assert _words.known_state(code) in {*_words.KNOWN_STATES, _words.OTHER}


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (None, "success"),
        (ServiceError("", code="AccessDenied", status=403), "AccessDenied"),
        (errors.ThrottlingError("", code="Throttling", status=400), "Throttling"),
        (errors.PackedPolicyTooLargeException("", code="PackedPolicyTooLarge", status=400), "PackedPolicyTooLarge"),
        (ServiceError("", code="502", status=502), "http_5xx"),
        (ServiceError("", code="x1", status=418), "http_4xx"),
        (ServiceError("", code="x1", status=199), "other"),
        (errors.ConnectTimeout(), "ConnectTimeout"),
        (OfTheProgram(), "TransportError"),
    ],
)
def test_an_outcome_has_a_word(error: errors.STSError | None, word: str) -> None:
    assert _words.outcome(error) == word


def test_every_code_with_a_class_of_its_own_is_known() -> None:
    modelled = {code for code, cls in ServiceError.by_code.items() if cls.__module__ == errors.__name__}

    assert modelled <= _words.KNOWN_CODES


def test_every_state_of_an_identity_is_known() -> None:
    """The observers do not import the fleet, so the states stand in both."""
    assert {*_words.KNOWN_STATES} == {*IdentityState}
    assert {_words.FRESH, *_words.FAILURE_STATES} == {IdentityState.FRESH, IdentityState.STALE, IdentityState.FAILING}


@given(st.text())
def test_text_of_a_server_stays_on_one_line(code: str) -> None:
    """T45: control characters forge records."""
    shown = _words.error_type(ServiceError("", code=code, status=400))

    assert shown.isprintable()
    assert len((shown + "x").splitlines()) == 1


def test_names_after_the_first_thousand_are_not_distinguished() -> None:
    """A program may have a source of credentials for each of its customers."""
    sources = _words.Names()
    names = [sources.known(f"source {n}") for n in range(1002)]

    assert names[999:] == ["source 999", "other", "other"]
    assert sources.known("source 0") == "source 0"
