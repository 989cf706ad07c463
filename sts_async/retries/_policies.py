"""The three retry policies: none, standard and adaptive."""

from collections import OrderedDict
from collections.abc import MutableMapping
from weakref import WeakValueDictionary

from .._shape.arguments import check_whole
from ..errors import STSError
from ._rate_limiter import Limiter

# Source: AWS SDKs Reference Guide, "Retry behavior", standard mode, as of the 2.1 rules of May 2026.
BACKOFF_BASE = {False: 0.05, True: 1.0}  # s, by whether the error was throttling
MAX_BACKOFF = 20.0  # s
MAX_HINT = 5.0  # s that a hint of the service can add to a delay
QUOTA = 500  # tokens
RETRY_COST = {False: 14, True: 5}  # tokens, by whether the error was throttling
SUCCESS_REFUND = 1  # tokens
MAX_SCOPES = 100  # limiters that one policy holds

_LIMITERS: MutableMapping[str, Limiter] = WeakValueDictionary()


class NoRetries:
    """A policy without retries: every error is final."""

    def admit(self, *, scope: str, now: float) -> float:
        """Return 0: a request can be sent at once."""
        return 0.0

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        """Do nothing."""

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """Return None: no retry."""
        return None

    def after_unsent(self, error: STSError, *, scope: str, now: float) -> None:
        """Do nothing."""


class StandardRetries:
    """
    A policy that retries temporary errors, up to a number of attempts and within a quota that all calls share.

    Args:
        max_attempts: Attempts in total, including the first; at least 1.
        quota: Tokens for retries, at least 0. A retry costs tokens; a success returns some.
    """

    def __init__(self, *, max_attempts: int = 3, quota: int = QUOTA) -> None:
        check_whole("max_attempts", max_attempts)
        check_whole("quota", quota, least=0)
        self._max_attempts = max_attempts
        self._capacity = self._quota = quota

    @property
    def quota(self) -> int:
        """The number of tokens that remain."""
        return self._quota

    def admit(self, *, scope: str, now: float) -> float:
        """
        Return 0 if a request can be sent now, else the seconds after which to call this again. This policy returns 0.

        Args:
            scope: The rate limit that the request counts against: one for each account and region, or "" for a request
                that is not signed.
            now: Monotonic time in seconds.
        """
        return 0.0

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        """
        Return tokens to the quota: the cost of the call's last retry, or one token if there was no retry.

        Args:
            scope: As in `admit`.
            attempt: Number of the successful attempt; the first is 1.
            after: The error of the previous attempt, or None for the first.
            now: Monotonic time in seconds.
        """
        if self._quota < self._capacity:
            refund = SUCCESS_REFUND if after is None else _cost(after)
            self._quota = min(self._capacity, self._quota + refund)

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """
        Return the delay before the next attempt.

        Args:
            error: The error of the attempt.
            scope: As in `admit`.
            attempt: Number of the failed attempt; the first is 1.
            now: Monotonic time in seconds.
            jitter: A random number in [0, 1).

        Returns:
            Seconds in [0, 20], plus up to 5 if the service sent a hint; or None if the call raises *error*.

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
        Return the cost of a retry to the quota if the call ended before the retry was sent.

        Args:
            error: The error of the previous attempt; see `after_failure`.
            scope: As in `admit`.
            now: Monotonic time in seconds.
        """
        self._quota = min(self._capacity, self._quota + _cost(error))


def _cost(error: STSError) -> int:
    """Return the tokens for a retry. Errors of clock skew cost none: every call gets one until the skew is learnt."""
    return 0 if error.skewed else RETRY_COST[error.throttled]


class AdaptiveRetries(StandardRetries):
    """
    A policy like `StandardRetries` that also limits the rate of requests after the service has throttled one.

    Every request, including a retry, takes a token. The rate of tokens falls when the service throttles, and recovers
    on a cubic curve. All clients of the process share one rate for each account and region, because the service limits
    these.

    Args:
        max_attempts: Attempts in total, including the first; at least 1.
        quota: Tokens for retries, at least 0. A retry costs tokens; a success returns some.
        limiters: The rate limiters by scope; None for those that the whole process shares.

    Source: AWS SDKs Reference Guide, "Retry behavior", adaptive mode.
    """

    def __init__(
        self, *, max_attempts: int = 3, quota: int = QUOTA, limiters: MutableMapping[str, Limiter] | None = None
    ) -> None:
        super().__init__(max_attempts=max_attempts, quota=quota)
        self._shared = _LIMITERS if limiters is None else limiters
        self._own: OrderedDict[str, Limiter] = OrderedDict()

    def admit(self, *, scope: str, now: float) -> float:
        """Take a token and return 0, or return the seconds after which to call this again."""
        limiter = self._own.get(scope) or self._limiter(scope, now)
        return limiter.admit(now=now) if limiter.enabled else 0.0

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        """Update the rate after a success, and the quota as `StandardRetries.after_success` does."""
        (self._own.get(scope) or self._limiter(scope, now)).answer(now=now, throttled=False)
        if self._quota < self._capacity:
            super().after_success(scope=scope, attempt=attempt, after=after, now=now)

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """Update the rate after an error, and decide as `StandardRetries.after_failure` does."""
        self._limiter(scope, now).answer(now=now, throttled=error.throttled)
        return super().after_failure(error, scope=scope, attempt=attempt, now=now, jitter=jitter)

    def _limiter(self, scope: str, now: float) -> Limiter:
        limiter = self._own.get(scope)
        if limiter is None:
            limiter = Limiter(now=now)
            if scope:  # requests that are not signed belong to no account, so their limiter is not shared
                limiter = self._shared.setdefault(scope, limiter)
            self._own[scope] = limiter
            if len(self._own) > MAX_SCOPES:
                unused = (key for key, value in self._own.items() if not value.enabled)
                self._own.pop(next(unused, next(iter(self._own))))
        return limiter
