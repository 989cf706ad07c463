import copy
import pickle
import pprint
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async._core.secret import HiddenDocument, HiddenMapping, Secret, SecretBytes, conceal

SENTINEL = "SENTINEL-71aa"


@given(st.text())
def test_a_secret_is_its_text_for_everything_but_printing(text: str) -> None:
    """Signing, sending and comparing need no unwrapping, so none can be forgotten."""
    secret = Secret(text)

    assert secret == text
    assert hash(secret) == hash(text)
    assert secret + "x" == text + "x"
    assert {secret: 1} == {text: 1}
    assert repr(secret) == "'***'"


@given(st.binary())
def test_secret_bytes_print_their_length_only(content: bytes) -> None:
    """`str` too: there is no decoding that anybody wants by accident."""
    secret = SecretBytes(content)

    assert secret == content
    assert hash(secret) == hash(content)
    assert repr(secret) == str(secret) == f"{secret}" == f"{secret!s}" == f"<{len(content)} bytes>"


@pytest.mark.parametrize("secret", [Secret(SENTINEL), SecretBytes(SENTINEL.encode())], ids=["text", "bytes"])
def test_containers_and_tracebacks_show_asterisks(secret: object) -> None:
    """T14, T16: what holds a secret does not have to know."""

    def fail(held: object) -> None:
        raise ValueError

    with pytest.raises(ValueError) as caught:
        fail({"key": [secret]})

    shown = [f"{[secret]}", f"{secret!r}", pprint.pformat({"key": (secret,)}), pprint.pformat(secret)]
    shown += traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    assert any("held" in line for line in shown)
    assert not any(SENTINEL in line for line in shown)


@pytest.mark.parametrize("secret", [Secret(SENTINEL), SecretBytes(SENTINEL.encode())], ids=["text", "bytes"])
def test_a_secret_stays_one_when_it_is_copied_or_pickled(secret: object) -> None:
    """T18: workers get credentials through pipes."""
    for same in (copy.copy(secret), copy.deepcopy(secret), pickle.loads(pickle.dumps(secret))):
        assert same == secret
        assert type(same) is type(secret)


def test_concealing_changes_text_only() -> None:
    """What is of another kind is left for the check of the request to name."""
    assert type(conceal("a")) is Secret
    assert conceal("a") == "a"
    assert conceal(None) is None
    assert conceal(5) == 5


def test_a_mapping_is_hidden_and_can_be_read() -> None:
    hidden = HiddenMapping({"AWS_SECRET_ACCESS_KEY": "SENTINEL-secret"})

    assert "SENTINEL" not in f"{hidden!r} {hidden} {[hidden]}"
    assert dict(hidden) == {"AWS_SECRET_ACCESS_KEY": "SENTINEL-secret"}
    assert len(hidden) == 1


def test_a_document_is_hidden_and_stays_hidden_when_it_is_merged() -> None:
    merged = HiddenDocument(a="SENTINEL", b=1) | {"a": "SENTINEL-2"}

    assert merged == {"a": "SENTINEL-2", "b": 1}
    assert f"{merged!r} {merged}" == "<a document of 2 members> <a document of 2 members>"
