"""
What happened, as records for an observer: frozen, with timings in seconds, and without secrets.

An observer is a function that takes one of these. It is called where the thing happened, in the event loop, so it must
not block; what it raises is logged and goes no further.

    def observer(event: Event) -> None:
        match event:
            case CallFinished(operation=name, seconds=seconds, error=None): ...
"""

from datetime import datetime
from typing import Protocol

import attrs

from .errors import STSError


@attrs.frozen(kw_only=True)
class AttemptFinished:
    """
    A request was sent once, or could not be.

    Attributes:
        operation: Name of the operation.
        attempt: Which attempt it was. The first is 1.
        endpoint: The URL that it was sent to.
        status: HTTP status, or None when no answer came.
        code: Error code of the service, or None.
        request_id: What AWS support asks for, or None.
        error: What ended the attempt, or None.
        connection_reused: Whether its connection had served before; None when no answer came, or the
            transport does not know.
        credentials_seconds: Until credentials were there.
        limiter_seconds: Until the retry policy admitted it.
        queue_seconds: Until the request's turn had come, when all connections were in use.
        signing_seconds: Signing.
        send_seconds: From there until the head of the answer had come, or the attempt had failed; making a connection
            included.
        receive_seconds: From there until the whole answer had come.
        parse_seconds: Reading the answer.
    """

    operation: str
    attempt: int
    endpoint: str
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    error: STSError | None = None
    connection_reused: bool | None = None
    credentials_seconds: float = 0.0
    limiter_seconds: float = 0.0
    queue_seconds: float = 0.0
    signing_seconds: float = 0.0
    send_seconds: float = 0.0
    receive_seconds: float = 0.0
    parse_seconds: float = 0.0


@attrs.frozen(kw_only=True)
class RetryScheduled:
    """
    A failed attempt will be followed by another.

    Attributes:
        operation: Name of the operation.
        attempt: Which attempt failed.
        delay: Seconds until the next.
        error: What ended it.
        quota_used: Tokens that it takes from the quota of the retry policy.
        quota_left: Tokens that are left for retries; None for a policy that has none.
    """

    operation: str
    attempt: int
    delay: float
    error: STSError
    quota_used: int = 0
    quota_left: int | None = None


@attrs.frozen(kw_only=True)
class CallFinished:
    """
    A call is over.

    Attributes:
        operation: Name of the operation.
        endpoint: The URL that it was sent to.
        attempts: How often it was tried.
        status: HTTP status of the last answer, or None when none came.
        code: Error code of the service, or None.
        request_id: Of the last answer, or None.
        error: What was raised, or None.
        seconds: From the call to its end.
        marshalling_seconds: Checking the request and writing its body.
        pause_seconds: Waiting between attempts.
        limiter_seconds: Waiting to be admitted.
        quota_used: Tokens that its retries took from the quota of the retry policy.
        quota_left: Tokens that are left for retries; None for a policy that has none.
    """

    operation: str
    endpoint: str
    attempts: int
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    error: STSError | None = None
    seconds: float = 0.0
    marshalling_seconds: float = 0.0
    pause_seconds: float = 0.0
    limiter_seconds: float = 0.0
    quota_used: int = 0
    quota_left: int | None = None


@attrs.frozen(kw_only=True)
class CredentialsRefreshed:
    """
    A source has new credentials.

    Attributes:
        source: Name of the source.
        access_key_id: Their id.
        expiration: When they end, or None.
        seconds: How long fetching them took.
        failing_seconds: How long ago the first of the fetches before it failed; None when the one before succeeded.
        account_id: The account that they belong to, or None when the source does not know it.
    """

    source: str
    access_key_id: str
    expiration: datetime | None
    seconds: float
    failing_seconds: float | None = None
    account_id: str | None = None


@attrs.frozen(kw_only=True)
class CredentialsRefreshFailed:
    """
    A refresh failed, and the cached credentials stay in use. There is one event for each failed attempt.

    Attributes:
        source: Name of the source.
        access_key_id: The id of the cached credentials.
        expiration: When they end, or ended.
        error: Why there are no others.
        changed: Whether this is news: the first failure since the last success, or the first after the credentials have
            ended. An observer that writes for people passes over the others.
        failing_seconds: How long ago the first of these failures was; 0 for the first.
        account_id: The account that the cached credentials belong to, or None when the source does not know it.
    """

    source: str
    access_key_id: str
    expiration: datetime | None
    error: STSError
    changed: bool = True
    failing_seconds: float = 0.0
    account_id: str | None = None


@attrs.frozen(kw_only=True)
class CredentialsInvalidated:
    """
    The service refused credentials, which are fetched again.

    Attributes:
        operation: Name of the operation that it refused.
        access_key_id: Their id.
        code: The error code of the service.
    """

    operation: str
    access_key_id: str
    code: str


Event = (
    AttemptFinished
    | RetryScheduled
    | CallFinished
    | CredentialsRefreshed
    | CredentialsRefreshFailed
    | CredentialsInvalidated
)


class Observer(Protocol):
    """A function that is told what happens."""

    def __call__(self, event: Event, /) -> None:
        """Learn of an event."""
        ...
