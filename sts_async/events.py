"""
Events for observers: frozen records with timings in seconds and without secrets.

An observer is a function that takes one event. It is called in the event loop, so it must not block. An exception that
it raises is logged and has no other effect.

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
    An attempt ended: the request was sent once, or could not be sent.

    Attributes:
        operation: Name of the operation.
        attempt: Number of the attempt; the first is 1.
        endpoint: URL of the endpoint.
        status: HTTP status; None without a response.
        code: Error code of the service, or None.
        request_id: The request id, for AWS support, or None.
        error: The error that ended the attempt, or None.
        connection_reused: Whether an earlier request used the same connection; None without a response, or if the
            transport does not know.
        credentials_seconds: Time to get credentials.
        limiter_seconds: Time until the retry policy admitted the request.
        queue_seconds: Time in the queue for a connection.
        signing_seconds: Time to sign the request.
        send_seconds: Time from there to the head of the response or to the failure, including connecting.
        receive_seconds: Time from there to the end of the response.
        parse_seconds: Time to parse the response.
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
    An attempt failed, and a retry is scheduled.

    Attributes:
        operation: Name of the operation.
        attempt: Number of the attempt that failed.
        delay: Seconds until the retry.
        error: The error that ended the attempt.
        quota_used: Tokens that the retry takes from the quota of the retry policy.
        quota_left: Tokens left in the quota; None if the policy has no quota.
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
    A call ended.

    Attributes:
        operation: Name of the operation.
        endpoint: URL of the endpoint.
        attempts: Number of attempts.
        status: HTTP status of the last response, or None without a response.
        code: Error code of the service, or None.
        request_id: Request id of the last response, or None.
        error: The error that the call raised, or None.
        seconds: Duration of the call.
        marshalling_seconds: Time to validate the request and write its body.
        pause_seconds: Time waited between attempts.
        limiter_seconds: Time waited for the retry policy to admit attempts.
        quota_used: Tokens that the retries took from the quota of the retry policy.
        quota_left: Tokens left in the quota; None if the policy has no quota.
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
    A source fetched new credentials.

    Attributes:
        source: Name of the source.
        access_key_id: Access key id of the new credentials.
        expiration: When they expire, or None.
        seconds: Duration of the fetch.
        failing_seconds: Seconds since the first of the failed refreshes before this one; None if the last one
            succeeded.
        account_id: Account of the credentials, or None if the source does not know it.
        identity: Description of the identity, as in `IdentityStateChanged`, if a fleet refreshes it; else None.
    """

    source: str
    access_key_id: str
    expiration: datetime | None
    seconds: float
    failing_seconds: float | None = None
    account_id: str | None = None
    identity: str | None = None


@attrs.frozen(kw_only=True)
class CredentialsRefreshFailed:
    """
    A refresh failed, and the cached credentials stay in use. There is one event for each failed attempt.

    Attributes:
        source: Name of the source.
        access_key_id: Access key id of the cached credentials.
        expiration: When they expire or expired.
        error: The error of the refresh.
        changed: Whether the situation changed: the first failure since the last success, or the first failure after the
            credentials expired. An observer that writes for people can skip the others.
        failing_seconds: Seconds since the first of these failures; 0 for the first.
        account_id: Account of the cached credentials, or None if the source does not know it.
        identity: Description of the identity, as in `IdentityStateChanged`, if a fleet refreshes it; else None.
    """

    source: str
    access_key_id: str
    expiration: datetime | None
    error: STSError
    changed: bool = True
    failing_seconds: float = 0.0
    account_id: str | None = None
    identity: str | None = None


@attrs.frozen(kw_only=True)
class CredentialsInvalidated:
    """
    The service refused credentials, and the source will fetch new ones.

    Attributes:
        operation: Name of the refused operation.
        access_key_id: Access key id of the refused credentials.
        code: The error code of the service.
    """

    operation: str
    access_key_id: str
    code: str


@attrs.frozen(kw_only=True)
class IdentityStateChanged:
    """
    An identity of a `CredentialsFleet` entered the fleet, changed its state, or left the fleet.

    The states are the values of `fleet.IdentityState`: ``waiting``, ``fresh``, ``stale``, ``failing`` and ``paused``.
    There is one event for each change. Failures that do not change the state cause no event. An observer must not add,
    remove or pause identities while it is called; `asyncio.AbstractEventLoop.call_soon` does so afterwards.

    Attributes:
        identity: Description of the identity, such as ``role 'arn:aws:iam::123456789012:role/demo' (session 'me')``.
        account_id: Account of the identity, or None if it is not known.
        before: The state before; None if the identity was added.
        state: The state now; None if the identity was removed or evicted.
        error: The error of the refresh that caused the change, or None if no failure caused it.
        seconds: Time in the state before; 0 if the identity was added.
        kept: Whether the fleet keeps the identity fresh without being asked. False for an identity on demand.
    """

    identity: str
    account_id: str | None
    before: str | None
    state: str | None
    error: STSError | None = None
    seconds: float = 0.0
    kept: bool = False


@attrs.frozen(kw_only=True)
class CacheStateChanged:
    """
    A cache that processes share became available or unavailable to this process.

    While it is unavailable, the process serves what it has in memory and fetches the rest itself. There is one event
    for each change. Failures that do not change the state cause no event.

    Attributes:
        cache: The cache in words, such as ``RedisCache('rediss://cache.example:6379/0')``, without a password.
        available: Whether it is available now.
        reason: Why it is not available, in words of the library; None if it is available.
        seconds: Time in the state before; since the cache was made, for the first change.
    """

    cache: str
    available: bool
    reason: str | None = None
    seconds: float = 0.0


Event = (
    AttemptFinished
    | RetryScheduled
    | CallFinished
    | CredentialsRefreshed
    | CredentialsRefreshFailed
    | CredentialsInvalidated
    | IdentityStateChanged
    | CacheStateChanged
)


class Observer(Protocol):
    """A function that receives events. It must be synchronous."""

    def __call__(self, event: Event, /) -> None:
        """Handle one event."""
        ...
