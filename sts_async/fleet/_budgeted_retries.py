"""
The retry policy of a fleet's requests: the client's policy, and a token of the budget for each request.

So the budget holds for retries, too, and the limiter of the client holds for the fleet.
"""

import asyncio

from ..errors import STSError
from ..protocols import RetryPolicy
from ._budget import Budget, Budgets, Lane


class BudgetedRetries:
    """
    The retry policy of all requests of one lane.

    Args:
        policy: The retry policy of the client.
        budgets: The budgets of the fleet.
        lane: The lane. Its budget becomes that of the account that signs, as soon as the account is known.
    """

    __slots__ = ("_budget", "_budgets", "_lane", "_policy", "_prepaid")

    def __init__(self, policy: RetryPolicy, budgets: Budgets, lane: Lane) -> None:
        self._policy = policy
        self._budgets = budgets
        self._lane = lane
        self._budget: Budget = lane.budget
        # The tasks whose first request has its token already.
        self._prepaid: set[asyncio.Task[object] | None] = set()

    @property
    def quota(self) -> int | None:
        """The number of tokens for retries that the policy of the client has left, or None."""
        return getattr(self._policy, "quota", None)

    def prepay(self) -> None:
        """Record that the queue has taken the token for the next request of the current task."""
        self._prepaid.add(asyncio.current_task())

    def settle(self) -> None:
        """Return the token that was taken for the current task, if it has sent no request."""
        task = asyncio.current_task()
        if task in self._prepaid:
            self._prepaid.discard(task)
            self._budget.give_back()

    def admit(self, *, scope: str, now: float) -> float:
        """Return 0 if a request may be sent now, otherwise the seconds after which to ask again."""
        budget = self._budget = self._budgets.named(scope, self._budget, now=now)
        if self._lane.paced:
            self._lane.budget = budget
        task = asyncio.current_task()
        is_prepaid = task in self._prepaid
        wait = 0.0 if is_prepaid else budget.wait(now=now)
        if wait == 0:
            wait = self._policy.admit(scope=scope, now=now)
            if wait == 0 and is_prepaid:
                self._prepaid.discard(task)
            elif wait == 0:
                budget.take()
        return wait

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        """Tell the policy of the client."""
        self._policy.after_success(scope=scope, attempt=attempt, after=after, now=now)

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """Tell the budget about throttling, and return the decision of the client's policy."""
        if error.throttled:
            self._budgets.named(scope, self._budget, now=now).throttle(now=now)
        return self._policy.after_failure(error, scope=scope, attempt=attempt, now=now, jitter=jitter)

    def after_unsent(self, error: STSError, *, scope: str, now: float) -> None:
        """Tell the policy of the client, if it has this method."""
        give_back = getattr(self._policy, "after_unsent", None)
        if give_back is not None:
            give_back(error, scope=scope, now=now)
