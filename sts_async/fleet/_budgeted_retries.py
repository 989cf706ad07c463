"""
The retry policy of a fleet's requests: the client's policy, and a token of the budget for each request.

So the budget holds for retries, too, and the limiter of the client holds for the fleet.
"""

import asyncio

from ..errors import STSError
from ..protocols import RetryPolicy
from ._budget import Budget, Budgets, Lane
from ._queues import Queued

ASK_AGAIN = 1.0  # s after which a request asks for a token again: the share of this process may have grown


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
        # The tasks whose first request has its token already, and the entries for which the queue took these.
        self._prepaid: dict[asyncio.Task[object] | None, Queued] = {}

    @property
    def quota(self) -> int | None:
        """The number of tokens for retries that the policy of the client has left, or None."""
        return getattr(self._policy, "quota", None)

    def prepay(self, entry: Queued) -> None:
        """Record that the next request of the current task is that of *entry*, whose token the queue has taken."""
        self._prepaid[asyncio.current_task()] = entry

    def settle(self) -> None:
        """Return the token that was taken for the current task, if it has sent no request."""
        entry = self._prepaid.pop(asyncio.current_task(), None)
        if entry is not None:
            entry.refund()

    def admit(self, *, scope: str, now: float) -> float:
        """Return 0 if a request may be sent now, otherwise the seconds after which to ask again."""
        budget = self._budget = self._budgets.named(scope, self._budget, now=now)
        if self._lane.paced:
            self._lane.budget = budget
        entry = self._prepaid.get(asyncio.current_task())
        if entry is not None and entry.paid is not budget:
            # The account became known after the queue took the token, so this is not a token of the account.
            entry.refund()
        paid = None if entry is None else entry.paid
        wait = budget.wait(now=now) if paid is None else 0.0
        if budget.share < 1:
            wait = min(wait, ASK_AGAIN)
        if wait == 0:
            wait = self._policy.admit(scope=scope, now=now)
            if wait == 0:
                if entry is None or paid is None:
                    budget.take()
                else:
                    entry.paid = None
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
