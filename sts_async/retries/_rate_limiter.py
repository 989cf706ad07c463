"""
How fast a client may send: a bucket of tokens whose rate of filling falls when the service throttles, and recovers.

Off until the first time that it throttles. The time is a parameter throughout, in seconds on one clock.

Source: AWS SDKs Reference Guide, "Retry behavior", adaptive mode; the numbers are those of botocore and smithy.
"""

import math

SMOOTHING = 0.8  # weight of the latest measurement
MEASURED_OVER = 0.5  # s
BETA = 0.7  # what is left of the rate after throttling
SCALE = 0.4  # of the cubic curve on which it recovers
MIN_WAIT = 0.001  # s: for the last bit of a token, which no clock could measure
LOWEST_RATE = 0.5  # tokens a second
LOWEST_CAPACITY = 1.0  # tokens
MAX_AHEAD = 2.0  # times the rate that was measured: what nobody asks for is not promised


class Measured:
    """
    The rate at which answers come, measured over half seconds and smoothed.

    Attributes:
        rate: Answers a second.
        answers: How many came in the half second under way, which whoever counts adds to.
        ends: When that is over.
    """

    __slots__ = ("_since", "answers", "ends", "rate")

    def __init__(self, *, now: float) -> None:
        self.rate = 0.0
        self.answers = 0
        self._since = float(math.floor(now))
        self.ends = self._since + MEASURED_OVER

    def update(self, now: float) -> float:
        """Begin another half second, and return the rate."""
        bucket = math.floor(now / MEASURED_OVER) * MEASURED_OVER
        latest = self.answers / (bucket - self._since)
        self.rate = SMOOTHING * latest + (1 - SMOOTHING) * self.rate
        self.answers, self._since, self.ends = 0, bucket, bucket + MEASURED_OVER
        return self.rate


class Limiter:
    """
    Admit requests at the rate that the service bears.

        while (wait := limiter.admit(now=...)) > 0:
            ...  # wait, and ask again

    Attributes:
        enabled: Whether the service has throttled yet.
        rate: Tokens a second.
        capacity: Tokens that the bucket can hold.
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
        self.rate = LOWEST_CAPACITY
        self.capacity = LOWEST_CAPACITY
        self._tokens = 0.0
        self._filled_at = now
        self._measured = Measured(now=now)
        self._w_max = 0.0
        self._turning_point = 0.0
        self._last_throttle = now

    @property
    def tokens(self) -> float:
        """Tokens in the bucket when it was last looked at: never less than none."""
        return self._tokens

    def admit(self, *, now: float) -> float:
        """Take a token and return 0, or return the seconds after which to ask again."""
        if not self.enabled:
            return 0.0
        self._fill(now)
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return max((1 - self._tokens) / self.rate, MIN_WAIT)

    def answer(self, *, now: float, throttled: bool) -> None:
        """Learn of an answer, from which the next rate follows."""
        # Every call passes here: written out, where `min`, `max` and a power would be shorter, and take twice as long.
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
        passed = now - self._filled_at  # `_fill`, written out
        if passed > 0:
            self._tokens += passed * self.rate
        if self._tokens > self.capacity:
            self._tokens = self.capacity
        self._filled_at = now
        self.rate = max(LOWEST_RATE, rate)
        self.capacity = max(LOWEST_CAPACITY, rate)
        if self._tokens > self.capacity:
            self._tokens = self.capacity

    def _fill(self, now: float) -> None:
        passed = now - self._filled_at
        tokens = self._tokens + passed * self.rate if passed > 0 else self._tokens
        self._tokens = min(self.capacity, tokens)
        self._filled_at = now
