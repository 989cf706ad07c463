"""
Client-side rate limiter: a token bucket. Its rate falls when the service throttles, and recovers on a cubic curve.

It is disabled until the service throttles for the first time. Times are parameters, in seconds on one clock.

The algorithm is CUBIC, as in TCP. When the service throttles, the rate becomes 0.7 times the smaller of the measured
rate and the rate of the bucket, which becomes the maximum of the curve. From there, the rate returns to this maximum,
slowly at the turning point, and then grows faster to probe for a new maximum. It never exceeds twice the measured rate,
so a client that sends little cannot save up a burst.

Source: AWS SDKs Reference Guide, "Retry behavior", adaptive mode; the numbers are those of botocore and smithy.
"""

import math

SMOOTHING = 0.8  # weight of the latest measurement
BUCKET_SECONDS = 0.5  # s, the period of a measurement
BETA = 0.7  # factor of the rate after throttling
SCALE = 0.4  # scale of the cubic curve
MIN_WAIT = 0.001  # s: the wait for a small part of a token would be shorter than a clock can measure
MIN_RATE = 0.5  # tokens per second
MIN_CAPACITY = 1.0  # tokens
MAX_AHEAD = 2.0  # maximum of the rate, as a multiple of the measured rate


class MeasuredRate:
    """
    The rate of responses, measured in periods of half a second and smoothed.

    Attributes:
        rate: Responses per second.
        answers: Number of responses in the current period. The limiter increments it.
        ends: End of the current period.
    """

    __slots__ = ("_since", "answers", "ends", "rate")

    def __init__(self, *, now: float) -> None:
        self.rate = 0.0
        self.answers = 0
        self._since = float(math.floor(now))
        self.ends = self._since + BUCKET_SECONDS

    def update(self, now: float) -> float:
        """Start a new period, and return the rate in responses per second."""
        bucket = math.floor(now / BUCKET_SECONDS) * BUCKET_SECONDS
        latest = self.answers / (bucket - self._since)
        self.rate = SMOOTHING * latest + (1 - SMOOTHING) * self.rate
        self.answers, self._since, self.ends = 0, bucket, bucket + BUCKET_SECONDS
        return self.rate


class Limiter:
    """
    Token bucket that admits requests at the rate that the service accepts.

        while (wait := limiter.admit(now=...)) > 0:
            ...  # wait, then try again

    Attributes:
        enabled: Whether the service has throttled a request.
        rate: Tokens per second.
        capacity: Maximum number of tokens in the bucket.
    """

    __slots__ = (
        "__weakref__",
        "_filled_at",
        "_last_throttle",
        "_measured",
        "_tokens",
        "_turning_point",
        "_w_max",
        "capacity",
        "enabled",
        "rate",
    )

    def __init__(self, *, now: float) -> None:
        self.enabled = False
        self.rate = MIN_CAPACITY
        self.capacity = MIN_CAPACITY
        self._tokens = 0.0
        self._filled_at = now
        self._measured = MeasuredRate(now=now)
        self._w_max = 0.0
        self._turning_point = 0.0
        self._last_throttle = now

    @property
    def tokens(self) -> float:
        """Number of tokens at the last update, at least 0."""
        return self._tokens

    def admit(self, *, now: float) -> float:
        """Take a token and return 0, or return the seconds after which to try again."""
        if not self.enabled:
            return 0.0
        self._fill(now)
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return max((1 - self._tokens) / self.rate, MIN_WAIT)

    def answer(self, *, now: float, throttled: bool) -> None:
        """Update the rate after a response."""
        # Every call runs this code. Calls of `min`, `max` and `pow` would be shorter, but take twice as long.
        counted = self._measured
        counted.answers += 1
        measured = counted.update(now) if now >= counted.ends else counted.rate
        if throttled:
            self._w_max = min(measured, self.rate) if self.enabled else measured
            self._turning_point = math.cbrt(self._w_max * (1 - BETA) / SCALE)
            self._last_throttle = now
            self.enabled = True
            rate = self._w_max * BETA
        else:
            since = now - self._last_throttle - self._turning_point
            rate = SCALE * since * since * since + self._w_max
        if rate > MAX_AHEAD * measured:
            rate = MAX_AHEAD * measured
        passed = now - self._filled_at  # `_fill`, without the call
        if passed > 0:
            self._tokens += passed * self.rate
        if self._tokens > self.capacity:
            self._tokens = self.capacity
        self._filled_at = now
        self.rate = max(MIN_RATE, rate)
        self.capacity = max(MIN_CAPACITY, rate)
        if self._tokens > self.capacity:
            self._tokens = self.capacity

    def _fill(self, now: float) -> None:
        passed = now - self._filled_at
        tokens = self._tokens + passed * self.rate if passed > 0 else self._tokens
        self._tokens = min(self.capacity, tokens)
        self._filled_at = now
