"""
Whether a cache that machines share is available, and when it is tried again. Nothing here waits or reads a clock.

After a failure that concerns all identities, the cache is not asked for a pause. So an outage costs a few waits, and
not one for each identity. At the end of the pause one probe decides. The pauses are short, because all processes fetch
alone meanwhile: a cache that is available again is used within 5 s.

One answer that does not come in time is no outage: a busy machine or network delays some. After three in a row, the
cache is not available. Operations that were under way at the same time count as one, because one delay concerns all.

A cache that is available for a moment only, such as one that is too slow, would change its state every second. So the
pauses continue to grow until it has been available for some time.
"""

import attrs

FIRST_PAUSE = 1.0  # s
GROWTH = 2.0  # of the pause, after each probe that fails
MAX_PAUSE = 4.0  # s
MAX_TIMEOUTS = 3  # in a row
STABLE = 10.0  # s of availability after which the next failure is a new one


@attrs.frozen
class Change:
    """
    A change of the state.

    Attributes:
        reason: Why the cache is not available; None if it is.
        seconds: Time in the state before.
    """

    reason: str | None
    seconds: float


class Availability:
    """
    The state of one cache in one process.

    Args:
        now: The monotonic time.

    Attributes:
        reason: Why the cache is not available; None if it is.
        next_probe: When to probe, as a monotonic time; only if it is not available.
    """

    __slots__ = ("_last_timeout", "_pause", "_since", "_timeouts", "next_probe", "reason")

    def __init__(self, now: float) -> None:
        self.reason: str | None = None
        self.next_probe = now
        self._since = now
        self._pause = 0.0
        self._timeouts = 0
        self._last_timeout = now

    def failed(self, reason: str, now: float) -> Change | None:
        """
        Record that an operation has failed. Return the change of the state.

        Operations that were under way at the first failure fail as well, and change nothing.
        """
        if self.reason is not None:
            return None
        is_new = now - self._since >= STABLE
        return self._change(reason, now, pause=FIRST_PAUSE if is_new else self._longer())

    def timed_out(self, reason: str, *, started: float, now: float) -> Change | None:
        """
        Record that an operation was not answered in time. Return the change of the state.

        Args:
            reason: Why the cache is not available, if this is one too many.
            started: When the operation started, as a monotonic time.
            now: The monotonic time.
        """
        if self.reason is not None or started < self._last_timeout:
            return None
        self._last_timeout = now
        self._timeouts += 1
        return self.failed(reason, now) if self._timeouts >= MAX_TIMEOUTS else None

    def succeeded(self) -> None:
        """Record that an operation was answered."""
        self._timeouts = 0

    def probe_failed(self, reason: str, now: float) -> None:
        """Record that a probe has failed. The reason may be another one than before."""
        self.reason = reason
        self._pause = self._longer()
        self.next_probe = now + self._pause

    def recovered(self, now: float) -> Change:
        """Record that a probe has succeeded. Return the change of the state."""
        return self._change(None, now, pause=self._pause)

    def _longer(self) -> float:
        return min(max(self._pause * GROWTH, FIRST_PAUSE), MAX_PAUSE)

    def _change(self, reason: str | None, now: float, *, pause: float) -> Change:
        change = Change(reason, max(now - self._since, 0.0))
        self.reason, self._since, self._pause, self._timeouts = reason, now, pause, 0
        self.next_probe = now + pause
        return change
