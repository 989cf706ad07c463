"""
The budget of requests: a rate for each calling account and region, because the service limits these.

The rate is a part of the quota of the account, which has other users too. It begins at a quarter of the limit and
doubles each second, so a restart does not take the whole quota at once. When the service throttles, the rate is halved.
Then it grows by a sixtieth of the limit each second, as in TCP: slow growth finds the rate that the service accepts.

Every request takes a token, also a retry: see `_budgeted_retries`.

Source: STS allows 600 requests per second for each account and region ("IAM and AWS STS quotas", IAM User Guide).
"""

from typing import Any

RAMP_START = 0.25  # share of the limit with which the rate begins
RAMP_SECONDS = 1.0  # s in which the rate doubles, until the service throttles for the first time
HALVED_AT_MOST_EVERY = 1.0  # s: the refusals of one second have one cause
RECOVERY_SECONDS = 60.0  # s in which the rate grows from 0 to the limit after throttling
MIN_RATE = 0.5  # requests per second
MIN_WAIT = 0.001  # s
BURST_SECONDS = 1.0  # s of the limit that may be saved up and sent at once


class Budget:
    """
    The requests per second that may be sent for one account in one region.

    Args:
        limit: Maximum rate in requests per second, greater than 0.
        now: Monotonic time in seconds.

    Attributes:
        scope: The account and the region, such as ``123456789012/eu-west-1``; "" until they are known.
        limit: The maximum rate.
        rate: The current rate.
        tokens: Requests that may be sent at once.
        sent: Number of requests that were sent.
        throttled: Number of requests that the service throttled.
    """

    __slots__ = ("_halved_at", "_updated", "limit", "rate", "scope", "sent", "throttled", "tokens")

    def __init__(self, limit: float, *, now: float, scope: str = "") -> None:
        self.scope = scope
        self.limit = limit
        self.rate = max(limit * RAMP_START, min(limit, MIN_RATE))
        self.tokens = max(1.0, limit * BURST_SECONDS)
        self.sent = 0
        self.throttled = 0
        self._updated = now
        self._halved_at: float | None = None

    def wait(self, *, now: float) -> float:
        """Return 0 if a request may be sent now, otherwise the seconds until one may be."""
        self._update(now)
        return 0.0 if self.tokens >= 1 else max((1 - self.tokens) / self.rate, MIN_WAIT)

    def take(self) -> None:
        """Take the token of one request, after `wait` returned 0."""
        self.tokens -= 1
        self.sent += 1

    def give_back(self) -> None:
        """Return the token of a request that was not sent."""
        self.tokens += 1
        self.sent -= 1

    def throttle(self, *, now: float) -> None:
        """Halve the rate, because the service throttled a request. Refusals within one second count as one."""
        self.throttled += 1
        self._update(now)
        if self._halved_at is None or now - self._halved_at >= HALVED_AT_MOST_EVERY:
            self._halved_at = now
            self.rate = max(self.rate / 2, min(self.limit, MIN_RATE))
            self.tokens = min(self.tokens, 0.0)

    def _update(self, now: float) -> None:
        passed = now - self._updated
        if passed <= 0:
            return
        self._updated = now
        if self.rate < self.limit:
            if self._halved_at is None:
                self.rate = min(self.limit, self.rate * 2 ** min(passed / RAMP_SECONDS, 60))
            else:
                self.rate = min(self.limit, self.rate + passed * self.limit / RECOVERY_SECONDS)
        # Until the service throttles, the tokens of a whole second may be saved up, as the service allows, too.
        capacity = max(1.0, BURST_SECONDS * (self.limit if self._halved_at is None else self.rate))
        self.tokens = min(capacity, self.tokens + passed * self.rate)


class Budgets:
    """
    The budgets of a fleet, by account and region.

    A scope is known only after its first request was signed, so a lane of identities begins with a budget of its own.

    Args:
        limit: Maximum rate of each in requests per second.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._by_scope: dict[str, Budget] = {}

    def new(self, *, now: float) -> Budget:
        """Return a budget for a scope that is not known yet."""
        return Budget(self.limit, now=now)

    def named(self, scope: str, budget: Budget, *, now: float) -> Budget:
        """
        Return the budget of *scope*.

        Args:
            scope: The account and the region of a request.
            budget: The budget that the request was admitted by. If the scope is new, this becomes its budget.
            now: Monotonic time in seconds.
        """
        if budget.scope == scope and scope:
            return budget
        found = self._by_scope.get(scope)
        if found is None:
            found = budget if not budget.scope else self.new(now=now)
            found.scope = scope
            self._by_scope[scope] = found
        return found

    def all(self) -> list[Budget]:
        """Return every budget that has sent requests."""
        return list(self._by_scope.values())


class Lane:
    """
    The identities that one source signs, which share one budget.

    Attributes:
        budget: The current budget; it changes once when the account of the source becomes known.
        paced: Whether the queue takes a token for each identity. Otherwise only the requests of a fetch take tokens.
        invoker: Sends the requests of the lane; None before the first.
        ready: The heaps of the identities that wait here, one for each rank; see `_queues`.
    """

    __slots__ = ("budget", "invoker", "paced", "ready")

    def __init__(self, budget: Budget, *, paced: bool = True) -> None:
        self.budget = budget
        self.paced = paced
        self.invoker: Any = None
        self.ready: tuple[list[tuple[float, int, Any]], ...] = ([], [])
