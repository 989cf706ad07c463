"""
The budget of requests: a rate for each calling account and region, because the service limits these.

The limit is a part of the quota of the account, which has other users too. A budget is a bucket of tokens; each request
takes one, also a retry: see `_budgeted_retries`.

- At the first request, the bucket holds the tokens of one second at the limit. Beyond these, the rate begins at a
  quarter of the limit and doubles each second. So a start takes the quota in steps. The steps are counted from the
  first request, because a budget may be idle for long before it.
- When the service throttles, the rate is halved, at most once a second, and the bucket is emptied.
- From then on, the rate grows by a sixtieth of the limit each second, as in TCP. Slow growth finds the rate that the
  service accepts. The bucket holds the tokens of one second at this rate.

So within any n seconds, requests take at most n + 1 times the limit. A request that was not sent gives its token back,
for example because the credentials were found in the shared cache. Such a token counts when it is given back.

If processes share the limit, each has a share of it, and all numbers here are those of its share. A bucket holds one
token at least, so within any n seconds, all processes together take at most n + 1 times the limit, and one for each.

Source: STS allows 600 requests per second for each account and region ("IAM and AWS STS quotas", IAM User Guide).
"""

import weakref
from collections.abc import Callable, Mapping
from typing import Any

RAMP_START = 0.25  # share of the limit with which the rate begins
RAMP_SECONDS = 1.0  # s in which the rate doubles, until the service throttles for the first time
HALVED_AT_MOST_EVERY = 1.0  # s: the refusals of one second have one cause
RECOVERY_SECONDS = 60.0  # s in which the rate grows from 0 to the limit after throttling
MIN_RATE = 0.5  # requests per second
MIN_WAIT = 0.001  # s
BURST_SECONDS = 1.0  # s of the limit that may be saved up and sent at once
IDLE_SECONDS = 3600.0  # s without use after which a budget is forgotten
MANY = 1000  # number of budgets from which idle ones are forgotten


class Budget:
    """
    The requests per second that may be sent for one account in one region.

    If the clock is set back, the budget continues from the new time. It loses no more than that difference.

    Args:
        limit: Maximum rate in requests per second, greater than 0, for all processes together.
        share: The share of this process in the limit, greater than 0 and at most 1.
        scope: The account and the region; "" until they are known.

    Attributes:
        scope: The account and the region, such as ``123456789012/eu-west-1``; "" until they are known.
        limit: The maximum rate of this process.
        share: The share of this process.
        rate: The current rate.
        tokens: Requests that may be sent at once.
        sent: Number of requests that were sent.
        throttled: Number of requests that the service throttled.
        updated: When it was last asked, as monotonic time; None if never.
    """

    __slots__ = (
        "__weakref__",
        "_halved_at",
        "_whole",
        "limit",
        "rate",
        "scope",
        "sent",
        "share",
        "throttled",
        "tokens",
        "updated",
    )

    def __init__(self, limit: float, *, share: float = 1.0, scope: str = "") -> None:
        self.scope = scope
        self._whole = limit
        self.share = share
        self.limit = limit * share
        self.sent = 0
        self.throttled = 0
        self.updated: float | None = None
        self._halved_at: float | None = None
        self.rate = max(self.limit * RAMP_START, self._min_rate)
        self.tokens = self._capacity

    @property
    def _min_rate(self) -> float:
        # Many processes that the service throttles become as slow together as one alone.
        return min(self.limit, MIN_RATE * self.share)

    @property
    def _capacity(self) -> float:
        # Until the service throttles, the tokens of a second at the limit may be saved up: the quota allows it.
        return max(1.0, BURST_SECONDS * (self.limit if self._halved_at is None else self.rate))

    def wait(self, *, now: float) -> float:
        """
        Return 0 if a request may be sent now, otherwise the seconds after which to ask again.

        Args:
            now: Monotonic time in seconds.
        """
        self._update(now)
        return 0.0 if self.tokens >= 1 else max((1 - self.tokens) / self.rate, MIN_WAIT)

    def take(self) -> None:
        """Take the token of one request, after `wait` returned 0."""
        self.tokens -= 1
        self.sent += 1

    def give_back(self) -> None:
        """Return the token of a request that was not sent."""
        self.tokens = min(self._capacity, self.tokens + 1)
        self.sent -= 1

    def set_share(self, share: float, *, now: float) -> None:
        """Set the share of this process. The rate changes with it, and so does the room for tokens."""
        if share == self.share:
            return
        self._update(now)
        self.rate *= share / self.share
        self.share, self.limit = share, self._whole * share
        self.rate = min(max(self.rate, self._min_rate), self.limit)
        self.tokens = min(self.tokens, self._capacity)

    def throttle(self, *, now: float) -> None:
        """Halve the rate, because the service throttled a request. Refusals within one second count as one."""
        self.throttled += 1
        self._update(now)
        if self._halved_at is None or now - self._halved_at >= HALVED_AT_MOST_EVERY:
            self._halved_at = now
            self.rate = max(self.rate / 2, self._min_rate)
            self.tokens = min(self.tokens, 0.0)

    def _update(self, now: float) -> None:
        before, self.updated = self.updated, now
        if before is None:
            return
        passed = now - before
        if passed < 0:
            if self._halved_at is not None:
                self._halved_at += passed
            return
        if self._halved_at is not None:
            self.rate = min(self.limit, self.rate + passed * self.limit / RECOVERY_SECONDS)
        elif self.sent:
            self.rate = min(self.limit, self.rate * 2 ** min(passed / RAMP_SECONDS, 60))
        self.tokens = min(self._capacity, self.tokens + passed * self.rate)


class Budgets:
    """
    The budgets of a fleet, by account and region.

    A scope is known only when its first request was signed, so a lane of identities begins with a budget of its own.

    Some access keys contain no account. Then the key is the scope, and each new key begins a new budget. So if there
    are many budgets, those that were not used for an hour are forgotten. By then, their rates have recovered.

    If several processes use one budget, each has a share of it, which `set_shares` changes.

    Args:
        limit: Maximum rate of each in requests per second, for all processes together.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._by_scope: dict[str, Budget] = {}
        self._many = MANY
        self._shares: Mapping[str, float] = {}
        self._other_shares = 1.0
        self._unnamed: weakref.WeakSet[Budget] = weakref.WeakSet()  # of lanes whose account is not known yet
        self._reported: dict[str, int] = {}  # requests of each budget that `take_demand` has returned

    def new(self) -> Budget:
        """Return a budget for a scope that is not known yet."""
        budget = Budget(self.limit, share=self._other_shares)
        self._unnamed.add(budget)
        return budget

    def _share_of(self, scope: str) -> float:
        return self._shares.get(scope, self._other_shares)

    def set_shares(self, shares: Mapping[str, float], *, others: float, now: float) -> None:
        """
        Set the share of this process in each budget.

        Args:
            shares: Shares, greater than 0 and at most 1, by scope.
            others: The share in any other budget.
            now: Monotonic time in seconds.
        """
        self._shares, self._other_shares = shares, others
        for scope, budget in self._by_scope.items():
            budget.set_share(self._share_of(scope), now=now)
        for budget in self._unnamed:
            budget.set_share(others, now=now)

    def take_demand(self, waiting: Callable[[Budget], int]) -> dict[str, float]:
        """
        Return for each scope how many requests were sent since the last call, plus those that wait now.

        Args:
            waiting: Returns the number of requests that wait for a budget.
        """
        demand = {
            scope: float(max(0, budget.sent - self._reported.get(scope, 0)) + waiting(budget))
            for scope, budget in self._by_scope.items()
        }
        self._reported = {scope: budget.sent for scope, budget in self._by_scope.items()}
        return demand

    def named(self, scope: str, budget: Budget, *, now: float) -> Budget:
        """
        Return the budget of *scope*.

        Args:
            scope: The account and the region of a request, not empty.
            budget: The budget of its lane. If the scope is new and this budget has none, it becomes that of the scope.
            now: Monotonic time in seconds.
        """
        found = self._by_scope.get(scope)
        if found is None:
            self._forget_idle(now)
            found = budget if budget.scope in ("", scope) else self.new()
            found.scope = scope
            self._by_scope[scope] = found
            self._unnamed.discard(found)
            found.set_share(self._share_of(scope), now=now)
        return found

    def _forget_idle(self, now: float) -> None:
        if len(self._by_scope) >= self._many:
            self._by_scope = {
                scope: budget
                for scope, budget in self._by_scope.items()
                if budget.updated is not None and now - budget.updated < IDLE_SECONDS
            }
            self._many = max(MANY, 2 * len(self._by_scope))

    def all(self) -> list[Budget]:
        """Return the budgets of all known scopes."""
        return list(self._by_scope.values())


class Lane:
    """
    The identities that one source signs, which share one budget.

    Attributes:
        budget: The current budget; it changes once when the account of the source becomes known.
        paced: Whether the queue takes a token for each identity. Otherwise only the requests of a fetch take tokens.
        invoker: Sends the requests of the lane; None before the first.
    """

    __slots__ = ("budget", "invoker", "paced")

    def __init__(self, budget: Budget, *, paced: bool = True) -> None:
        self.budget = budget
        self.paced = paced
        self.invoker: Any = None
