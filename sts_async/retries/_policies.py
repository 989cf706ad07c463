"""The three retry policies."""

from collections import OrderedDict
from collections.abc import MutableMapping
from weakref import WeakValueDictionary

from .._shape.arguments import check_whole
from ..errors import STSError
from ._rate_limiter import Limiter

# Source: AWS SDKs Reference Guide, "Retry behavior", standard mode, as of the 2.1 rules of May 2026.
BACKOFF_BASE = {False: 0.05, True: 1.0}  # s, by whether the error was throttling
MAX_BACKOFF = 20.0  # s
MAX_HINT = 5.0  # s that a hint of the service may add to a delay
QUOTA = 500
RETRY_COST = {False: 14, True: 5}  # of the quota, by whether the error was throttling
SUCCESS_REFUND = 1
SCOPES_KEPT = 100  # limiters that one policy remembers

_LIMITERS: MutableMapping[str, Limiter] = WeakValueDictionary()


class NoRetries:
    """Send once; every error is final."""

    def admit(self, *, scope: str, now: float) -> float:
        """Return 0: a request may be sent at once."""
        return 0.0

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        """Learn nothing."""

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """Return None: give up."""
        return None

    def after_unsent(self, error: STSError, *, scope: str, now: float) -> None:
        """Learn nothing."""


class StandardRetries:
    """
    Retry what can succeed later, up to a number of attempts and within a quota that all calls share.

    Args:
        max_attempts: Attempts in total, the first included; at least 1.
        quota: Tokens that retries are paid with; successes bring some back.
    """

    def __init__(self, *, max_attempts: int = 3, quota: int = QUOTA) -> None:
        check_whole("max_attempts", max_attempts)
        check_whole("quota", quota, least=0)
        self._max_attempts = max_attempts
        self._capacity = self._quota = quota

    @property
    def quota(self) -> int:
        """Tokens that are left."""
        return self._quota

    def admit(self, *, scope: str, now: float) -> float:
        """
        Return the seconds to wait before a request may be sent, and to ask again after: 0.

        Args:
            scope: Whose limit it counts against: the calling account and region, or "" for a call that is not signed.
            now: Monotonic time in seconds.
        """
        return 0.0

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        """
        Take back what the last retry of the call cost, or a single token when there was none.

        Args:
            scope: As in `admit`.
            attempt: Which attempt succeeded. The first is 1.
            after: What ended the attempt before, or None for the first.
            now: Monotonic time in seconds.
        """
        if self._quota < self._capacity:
            refund = SUCCESS_REFUND if after is None else _cost(after)
            self._quota = min(self._capacity, self._quota + refund)

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """
        Return the delay before the next attempt.

        Args:
            error: What ended the attempt.
            scope: As in `admit`.
            attempt: Which attempt that was. The first is 1.
            now: Monotonic time in seconds.
            jitter: A random number in [0, 1).

        Returns:
            Seconds in [0, 20], and up to 5 more where the service asked for them, or None to give up and raise *error*.

        Source: AWS SDKs Reference Guide, "Retry behavior", standard mode.
        """
        cost = _cost(error)
        if not error.retryable or attempt >= self._max_attempts or cost > self._quota:
            return None
        self._quota -= cost
        delay = jitter * min(MAX_BACKOFF, BACKOFF_BASE[error.throttled] * 2.0 ** min(attempt - 1, 10))
        if error.retry_after is None:
            return delay
        return min(max(error.retry_after, delay), delay + MAX_HINT)

    def after_unsent(self, error: STSError, *, scope: str, now: float) -> None:
        """
        Take back what a retry cost that was not sent: the call ended before.

        Args:
            error: What ended the attempt before it; see `after_failure`.
            scope: As in `admit`.
            now: Monotonic time in seconds.
        """
        self._quota = min(self._capacity, self._quota + _cost(error))


def _cost(error: STSError) -> int:
    """Return the tokens for a retry: none where only the time was wrong, as it is for every call until it is learnt."""
    return 0 if error.skewed else RETRY_COST[error.throttled]


class AdaptiveRetries(StandardRetries):
    """
    Retry as `StandardRetries` does, and send no faster than the service bears once it has throttled.

    Every request, a retry included, takes a token first. The rate at which tokens come falls when the service
    throttles, and recovers on a cubic curve. It is one rate for all clients in the process that send for one account in
    one region, because that is what the service counts.

    Args:
        max_attempts: Attempts in total, the first included; at least 1.
        quota: Tokens that retries are paid with; successes bring some back.
        limiters: Where the limiters are, by scope; None for those that the whole process shares.

    Source: AWS SDKs Reference Guide, "Retry behavior", adaptive mode.
    """

    def __init__(
        self, *, max_attempts: int = 3, quota: int = QUOTA, limiters: MutableMapping[str, Limiter] | None = None
    ) -> None:
        super().__init__(max_attempts=max_attempts, quota=quota)
        self._shared = _LIMITERS if limiters is None else limiters
        self._own: OrderedDict[str, Limiter] = OrderedDict()

    def admit(self, *, scope: str, now: float) -> float:
        """Return 0 and take a token, or return the seconds after which to ask again; see `StandardRetries.admit`."""
        limiter = self._own.get(scope) or self._limiter(scope, now)
        return limiter.admit(now=now) if limiter.enabled else 0.0

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        """Learn that the service bears the rate, beside what `StandardRetries.after_success` does."""
        (self._own.get(scope) or self._limiter(scope, now)).answer(now=now, throttled=False)
        if self._quota < self._capacity:
            super().after_success(scope=scope, attempt=attempt, after=after, now=now)

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """Learn whether the service bears the rate, beside what `StandardRetries.after_failure` does."""
        self._limiter(scope, now).answer(now=now, throttled=error.throttled)
        return super().after_failure(error, scope=scope, attempt=attempt, now=now, jitter=jitter)

    def _limiter(self, scope: str, now: float) -> Limiter:
        limiter = self._own.get(scope)
        if limiter is None:
            limiter = Limiter(now=now)
            if scope:  # calls that are not signed are nobody's: no other client counts them
                limiter = self._shared.setdefault(scope, limiter)
            self._own[scope] = limiter
            if len(self._own) > SCOPES_KEPT:
                self._own.pop(
                    next((known for known, one in self._own.items() if not one.enabled), next(iter(self._own)))
                )
        return limiter
