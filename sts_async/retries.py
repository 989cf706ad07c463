"""
Retry policies: decisions, as values. Nothing here sleeps, reads a clock or draws a random number.

A policy is shared by all calls of a client, so that one failing caller cannot start a storm of retries.
"""

from .errors import ConfigurationError, STSError

# Source: AWS SDKs Reference Guide, "Retry behavior", standard mode, as of the 2.1 rules of May 2026.
BACKOFF_BASE = {False: 0.05, True: 1.0}  # s, by whether the error was throttling
MAX_BACKOFF = 20.0  # s
QUOTA = 500
RETRY_COST = {False: 14, True: 5}  # of the quota, by whether the error was throttling
SUCCESS_REFUND = 1


class NoRetries:
    """Send once; every error is final."""

    def admit(self, *, now: float) -> float:
        """Return 0: a request may be sent at once."""
        return 0.0

    def after_success(self, *, attempt: int) -> None:
        """Learn nothing."""

    def after_failure(self, error: STSError, *, attempt: int, jitter: float) -> float | None:
        """Return None: give up."""
        return None


class StandardRetries:
    """
    Retry what can succeed later, up to a number of attempts and within a quota that all calls share.

    Args:
        max_attempts: Attempts in total, the first included; at least 1.
        quota: Tokens that retries are paid with; successes bring some back.
    """

    def __init__(self, *, max_attempts: int = 3, quota: int = QUOTA) -> None:
        if max_attempts < 1:
            raise ConfigurationError("max_attempts counts the first attempt too: at least 1")
        self._max_attempts = max_attempts
        self._capacity = self._quota = quota
        self._last_cost: int = SUCCESS_REFUND

    def admit(self, *, now: float) -> float:
        """
        Return the seconds to wait before a request may be sent: 0.

        Args:
            now: Monotonic time in seconds.
        """
        return 0.0

    def after_success(self, *, attempt: int) -> None:
        """Take back what the last retry cost, or a single token when there was none."""
        refund = SUCCESS_REFUND if attempt == 1 else self._last_cost
        self._quota = min(self._capacity, self._quota + refund)

    def after_failure(self, error: STSError, *, attempt: int, jitter: float) -> float | None:
        """
        Return the delay before the next attempt.

        Args:
            error: What ended the attempt.
            attempt: Which attempt that was. The first is 1.
            jitter: A random number in [0, 1).

        Returns:
            Seconds in [0, 20], or None to give up and raise *error*.

        Source: AWS SDKs Reference Guide, "Retry behavior", standard mode.
        """
        cost = RETRY_COST[error.throttled]
        if not error.retryable or attempt >= self._max_attempts or cost > self._quota:
            return None
        self._quota -= cost
        self._last_cost = cost
        return jitter * min(MAX_BACKOFF, BACKOFF_BASE[error.throttled] * 2.0 ** min(attempt - 1, 10))
