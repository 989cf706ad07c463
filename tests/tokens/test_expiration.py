"""A token never outlives the credentials that signed it, nor its own life."""

from datetime import timedelta

import attrs
import pytest
from tokens.cases import AT, LONG_TERM, TEMPORARY, Case, each_case, later

from sts_async import CredentialsExpired, tokens


@each_case
def test_a_token_has_its_own_life_if_the_credentials_live_longer(case: Case) -> None:
    for credentials in (LONG_TERM, TEMPORARY, later(case.seconds), later(case.seconds + 1)):
        assert case.sign(credentials, **case.arguments, at=AT).expiration == AT + timedelta(seconds=case.seconds)


@each_case
@pytest.mark.parametrize("seconds", [1, 60, 299])
def test_a_token_ends_with_the_credentials_that_signed_it(case: Case, seconds: int) -> None:
    """A service refuses a token whose credentials have ended, whatever the token says."""
    assert case.sign(later(seconds), **case.arguments, at=AT).expiration == AT + timedelta(seconds=seconds)


@each_case
@pytest.mark.parametrize("seconds", [0, -1, -3600])
def test_expired_credentials_sign_nothing(case: Case, seconds: int) -> None:
    """T48: the error is raised here, and not by a database that names no reason."""
    with pytest.raises(CredentialsExpired, match="before the time of signing"):
        case.sign(later(seconds), **case.arguments, at=AT)


def test_a_long_life_of_a_key_is_cut_as_well() -> None:
    """A key of twelve hours with credentials of one hour lives for one hour."""
    hour = tokens.sign_bedrock_api_key(later(3600), region="eu-west-1", at=AT)

    assert hour.expiration == AT + timedelta(hours=1)
    assert attrs.asdict(hour).keys() == {"value", "expiration"}
