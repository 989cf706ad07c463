"""
The retry policy of a fleet's requests: the client's policy, and a token of the budget for each request.

So the budget holds for retries, too, and the limiter of the client holds for the fleet. The policy is made for one
fetch.
"""

from ..errors import STSError
from ..protocols import RetryPolicy
from ._budget import Budgets, Lane


class BudgetedRetries:
    """
    The retry policy of the fleet's requests: that of the client, with a token of the budget for each request.

    Args:
        policy: The retry policy of the client.
        budgets: The budgets of the fleet.
        lane: The lane of the identity.
        prepaid: Whether the token of the first request was taken already.
    """

    __slots__ = ("_budgets", "_lane", "_policy", "_prepaid")

    def __init__(self, policy: RetryPolicy, budgets: Budgets, lane: Lane, *, prepaid: bool) -> None:
        self._policy = policy
        self._budgets = budgets
        self._lane = lane
        self._prepaid = prepaid

    @property
    def quota(self) -> int | None:
        """The number of tokens for retries that the policy of the client has left, or None."""
        return getattr(self._policy, "quota", None)

    def admit(self, *, scope: str, now: float) -> float:
        """Return 0 if a request may be sent now, otherwise the seconds after which to ask again."""
        budget = self._lane.budget = self._budgets.named(scope, self._lane.budget, now=now)
        wait = 0.0 if self._prepaid else budget.wait(now=now)
        if wait == 0:
            wait = self._policy.admit(scope=scope, now=now)
            if wait == 0:
                if not self._prepaid:
                    budget.take()
                self._prepaid = False
        return wait

    def release(self) -> None:
        """Return the token that was taken in advance, if no request was sent."""
        if self._prepaid:
            self._prepaid = False
            self._lane.budget.give_back()

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        """Tell the policy of the client."""
        self._policy.after_success(scope=scope, attempt=attempt, after=after, now=now)

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """Tell the budget about throttling, and return the decision of the client's policy."""
        if error.throttled:
            self._lane.budget.throttle(now=now)
        return self._policy.after_failure(error, scope=scope, attempt=attempt, now=now, jitter=jitter)

    def after_unsent(self, error: STSError, *, scope: str, now: float) -> None:
        """Tell the policy of the client, if it has this method."""
        give_back = getattr(self._policy, "after_unsent", None)
        if give_back is not None:
            give_back(error, scope=scope, now=now)
