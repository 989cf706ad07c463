"""The rule that keeps an MFA code from being sent twice. `tests/faults` proves over sockets that calls follow it."""

import attrs
import pytest

from sts_async._engine.mfa_sent_once import MFA_CODE, may_be_sent_again
from sts_async.errors import AttemptTimeout, ConnectError, ConnectionLost, ConnectTimeout, ProxyError, ThrottlingError
from sts_async.operations import OPERATIONS


def test_the_member_with_the_code_is_that_of_two_requests() -> None:
    """A renamed member would switch the rule off."""
    found = {one.name for one in OPERATIONS if MFA_CODE in attrs.fields_dict(one.request)}

    assert found == {"AssumeRole", "GetSessionToken"}


@pytest.mark.parametrize("failure", [ConnectError("x"), ConnectTimeout("x"), ProxyError("x")], ids=repr)
def test_after_a_failure_to_connect_every_request_may_be_sent_again(failure: ConnectError) -> None:
    """T46: nothing was sent."""
    assert may_be_sent_again(failure, only_once=True)


@pytest.mark.parametrize(
    "failure",
    [ConnectionLost("x"), AttemptTimeout("x"), ThrottlingError("x", code="Throttling", status=400)],
    ids=repr,
)
def test_a_request_that_was_sent_is_not_sent_again_with_its_code(failure: ConnectionLost) -> None:
    """T46: the service may have used the code, also if it refused the request."""
    assert not may_be_sent_again(failure, only_once=True)
    assert may_be_sent_again(failure, only_once=False)
