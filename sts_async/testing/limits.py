"""How many requests a second a service answers."""

EXACTNESS = 1e-6  # of a request: a sum of parts is not exact


class RateLimit:
    """
    How many requests a service answers: a bucket that holds those of one second, at least one, and is full at first.

    Args:
        rate: Requests a second, greater than 0; None for any number.

    Raises:
        ValueError: *rate* is out of its range.
    """

    def __init__(self, rate: float | None) -> None:
        if rate is not None and (
            isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float("inf")
        ):
            raise ValueError("rate must be a number of requests a second that is greater than 0, or None")
        self._rate = rate
        self._left = self._most = max(1.0, rate or 0.0)
        self._filled_at: float | None = None

    def admits(self, *, now: float) -> bool:
        """Say whether a request that comes at *now*, in seconds, is answered, and count it if so."""
        if self._rate is None:
            return True
        passed = 0.0 if self._filled_at is None else max(0.0, now - self._filled_at)
        self._left = min(self._most, self._left + passed * self._rate)
        self._filled_at = now
        if self._left < 1 - EXACTNESS:
            return False
        self._left = max(0.0, self._left - 1)
        return True
