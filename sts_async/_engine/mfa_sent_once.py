"""
Requests that are sent at most once: those with an MFA code, which the service accepts once.

Such a request is repeated only if it was certainly not sent. It goes over a new connection, because a pooled one may be
dead, and it would not be known whether the service has the code. Providers ask for a new code instead: see
`credentials._sts_providers`.
"""

from ..errors import ConnectError, STSError

MFA_CODE = "token_code"  # the member of a request with which the service accepts the request once


def may_be_sent_again(failure: STSError, *, only_once: bool) -> bool:
    """Return True if a request may be sent again after *failure*. *only_once* is True if it has an MFA code."""
    return isinstance(failure, ConnectError) or not only_once
