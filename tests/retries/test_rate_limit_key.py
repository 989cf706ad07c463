"""Whose limit a request counts against: the account in an access key id, and the region."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async._protocol.endpoints import Endpoint, resolve
from sts_async.retries._rate_limit_key import account_of, rate_limit_key

HERE = Endpoint("http://127.0.0.1:9/", "127.0.0.1:9", None)


def key_id_of(account: int, rest: int, prefix: str = "ASIA") -> str:
    """Return a key id made as the accounts are read: one bit, forty of the account, and others."""
    bits = (account << 7 | rest & 0x7F).to_bytes(6, "big") + (rest >> 7).to_bytes(4, "big")
    return prefix + base64.b32encode(bits).decode()


@given(st.integers(1, 10**12 - 1), st.integers(0, 2**39 - 1), st.sampled_from(["AKIA", "ASIA"]))
def test_keys_of_one_account_are_one_scope(account: int, rest: int, prefix: str) -> None:
    """Whichever user or session they belong to."""
    assert account_of(key_id_of(account, rest, prefix)) == f"{account:012}"
    assert rate_limit_key(key_id_of(account, rest), resolve(region="eu-west-1")) == f"{account:012}/eu-west-1"


def test_a_known_id_has_its_known_account() -> None:
    """The example id of the IAM documentation for outdated keys has none; this is one that AWS has published since."""
    assert account_of("ASIAQNZGKIQY56JQ7WML") == "029608264753"


@pytest.mark.parametrize("text", ["", "AKIA", "AKIAIOSFODNN7EXAMPL!", "AKIAIOSFODNN7EXAMPLE1", "XXXXQNZGKIQY56JQ7WML"])
def test_an_id_without_an_account_is_itself_the_key(text: str) -> None:
    assert account_of(text) is None
    assert rate_limit_key(text, HERE) == f"{text}/127.0.0.1:9/"


@given(st.text(max_size=30))
def test_no_text_is_an_error(text: str) -> None:
    assert rate_limit_key(text, resolve(region="us-east-1")).endswith("/us-east-1")


def test_an_id_with_an_invalid_account_has_no_account() -> None:
    assert account_of(key_id_of(0, 5)) is None
    assert account_of("ASIA" + "7" * 16) is None


def test_a_host_outside_aws_has_its_own_limits() -> None:
    """Throttling by a local server or a proxy says nothing about the limits of AWS."""
    own = resolve(region="eu-west-1", endpoint_url="https://sts.example/")
    private = resolve(region="eu-west-1", endpoint_url="https://vpce-1.sts.eu-west-1.vpce.amazonaws.com/")

    assert rate_limit_key("AKIA", own) == "AKIA/sts.example/eu-west-1"
    assert rate_limit_key("AKIA", private) == rate_limit_key("AKIA", resolve(region="eu-west-1")) == "AKIA/eu-west-1"
