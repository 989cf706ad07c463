"""The rate limit of a local server."""

TOLERANCE = 1e-6  # requests, because sums of fractions are not exact


class RateLimit:
    """
    A token bucket for requests. It is full at first, and holds the tokens of one second, at least one.

    Args:
        rate: Requests per second, greater than 0; None for no limit.

    Raises:
        ValueError: *rate* is outside its range.
    """

    def __init__(self, rate: float | None) -> None:
        if rate is not None and (
            isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float("inf")
        ):
            raise ValueError("rate must be a number of requests per second that is greater than 0, or None")
        self._rate = rate
        self._tokens = self._capacity = max(1.0, rate or 0.0)
        self._filled_at: float | None = None

    def admits(self, *, now: float) -> bool:
        """Take a token and return True, or return False if there is none at *now*, in seconds."""
        if self._rate is None:
            return True
        passed = 0.0 if self._filled_at is None else max(0.0, now - self._filled_at)
        self._tokens = min(self._capacity, self._tokens + passed * self._rate)
        self._filled_at = now
        if self._tokens < 1 - TOLERANCE:
            return False
        self._tokens = max(0.0, self._tokens - 1)
        return True
