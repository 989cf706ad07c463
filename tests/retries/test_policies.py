import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async import RetryPolicy
from sts_async.errors import (
    ConfigurationError,
    ConnectError,
    IDPCommunicationErrorException,
    ServiceError,
    STSError,
    ThrottlingError,
)
from sts_async.retries import AdaptiveRetries, NoRetries, StandardRetries, _policies
from sts_async.retries._rate_limiter import Limiter

UNREACHABLE = ConnectError("no connection")
THROTTLED = ThrottlingError("Rate exceeded", code="Throttling", status=400)
FATAL = STSError("no")
ALMOST_ONE = 1 - 2**-53


def fail(policy: RetryPolicy, error: STSError, *, attempt: int, jitter: float, now: float = 0.0) -> float | None:
    return policy.after_failure(error, scope="a", attempt=attempt, now=now, jitter=jitter)


def succeed(policy: RetryPolicy, *, after: STSError | None = None, now: float = 0.0) -> None:
    policy.after_success(scope="a", attempt=1 if after is None else 2, after=after, now=now)


def delays(policy: StandardRetries, error: STSError, *, attempts: int, jitter: float = ALMOST_ONE) -> list[Any]:
    return [fail(policy, error, attempt=n, jitter=jitter) for n in range(1, attempts + 1)]


def rounded(values: list[Any]) -> list[Any]:
    return [value if value is None else round(value, 6) for value in values]


def test_delays_double_from_a_base_to_a_maximum() -> None:
    """50 ms, and 1 s when throttled; 20 s at most; the numbers of the standard mode."""
    generous = {"max_attempts": 99, "quota": 10_000}

    assert rounded(delays(StandardRetries(**generous), UNREACHABLE, attempts=12)) == [
        *(0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8),
        *(20.0, 20.0, 20.0),
    ]
    assert rounded(delays(StandardRetries(**generous), THROTTLED, attempts=7)) == [1, 2, 4, 8, 16, 20, 20]


@given(
    attempt=st.integers(1, 10**6),
    jitter=st.floats(0, 1, exclude_max=True),
    throttled=st.booleans(),
)
def test_a_delay_is_a_random_part_of_its_bound(attempt: int, jitter: float, throttled: bool) -> None:
    """Full jitter: callers that failed together do not come back together; a large attempt does not overflow."""
    policy = StandardRetries(max_attempts=10**7)
    error = THROTTLED if throttled else UNREACHABLE
    bound = fail(StandardRetries(max_attempts=10**7), error, attempt=attempt, jitter=1.0)
    delay = fail(policy, error, attempt=attempt, jitter=jitter)

    assert bound is not None
    assert 0 < bound <= 20
    assert delay == jitter * bound


@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_attempts_are_counted_with_the_first(most: int) -> None:
    """Trap 2: AWS_MAX_ATTEMPTS counts attempts, not retries."""
    found = delays(StandardRetries(max_attempts=most), UNREACHABLE, attempts=most)

    assert [delay is None for delay in found] == [False] * (most - 1) + [True]
    assert [delay is None for delay in delays(StandardRetries(), UNREACHABLE, attempts=3)] == [False, False, True]


@pytest.mark.parametrize("most", [0, -1])
def test_less_than_one_attempt_is_refused(most: int) -> None:
    """A user who wants no retries means 1."""
    with pytest.raises(ConfigurationError, match="at least 1"):
        StandardRetries(max_attempts=most)


def test_a_permanent_error_is_not_retried() -> None:
    """And costs nothing."""
    policy = StandardRetries(quota=14)

    assert fail(policy, FATAL, attempt=1, jitter=0.5) is None
    assert fail(policy, UNREACHABLE, attempt=1, jitter=0.5) is not None


def test_a_last_attempt_costs_nothing() -> None:
    """The quota pays for retries, not for failures."""
    policy = StandardRetries(quota=14)

    assert fail(policy, UNREACHABLE, attempt=3, jitter=0.5) is None
    assert fail(policy, UNREACHABLE, attempt=1, jitter=0.5) is not None


@pytest.mark.parametrize(("error", "retries"), [(UNREACHABLE, 35), (THROTTLED, 100)])
def test_an_empty_quota_stops_the_retries_of_every_call(error: STSError, retries: int) -> None:
    """F59: 500 tokens; 14 for a failure, 5 for throttling. One failing caller cannot start a storm."""
    policy = StandardRetries()
    found = [fail(policy, error, attempt=1, jitter=0.5) for _ in range(retries + 5)]

    assert [delay is None for delay in found] == [False] * retries + [True] * 5


@pytest.mark.parametrize(("error", "cost"), [(UNREACHABLE, 14), (THROTTLED, 5)])
def test_a_success_after_a_retry_returns_its_cost(error: STSError, cost: int) -> None:
    """A service that recovers at the second attempt empties no quota."""
    policy = StandardRetries(quota=cost)
    for _ in range(9):
        assert fail(policy, error, attempt=1, jitter=0.5) is not None
        assert fail(policy, error, attempt=1, jitter=0.5) is None
        succeed(policy, after=error)


def test_a_retry_because_of_the_time_costs_nothing_and_gives_nothing_back() -> None:
    """F20: the service is well, and every call before the first answer was signed for the wrong time."""
    error = ServiceError("Signature expired", code="SignatureDoesNotMatch", status=403)
    error.skewed = error.retryable = True
    policy = StandardRetries(quota=100)
    delays = [fail(policy, error, attempt=1, jitter=ALMOST_ONE) for _ in range(50)]

    assert rounded(delays) == [0.05] * 50
    assert policy.quota == 100
    assert fail(policy, UNREACHABLE, attempt=1, jitter=0.0) == 0
    succeed(policy, after=error)
    assert policy.quota == 86
    assert fail(policy, error, attempt=3, jitter=0.0) is None


def test_a_success_at_once_gives_back_one_token() -> None:
    """So an empty quota fills in time, and never beyond its capacity."""
    policy = StandardRetries(quota=5)
    assert fail(policy, THROTTLED, attempt=1, jitter=0.5) is not None

    for _ in range(4):
        succeed(policy)
        assert fail(policy, THROTTLED, attempt=1, jitter=0.5) is None
    for _ in range(99):
        succeed(policy)
    assert fail(policy, THROTTLED, attempt=1, jitter=0.5) is not None
    assert fail(policy, THROTTLED, attempt=1, jitter=0.5) is None


@given(st.lists(st.sampled_from(["throttled", "unreachable", "success", "late success"])))
def test_the_quota_stays_between_nothing_and_its_capacity(events: list[str]) -> None:
    """F59: whatever happens in whatever order."""
    policy = StandardRetries(quota=30)
    for event in events:
        match event:
            case "throttled":
                fail(policy, THROTTLED, attempt=1, jitter=0.5)
            case "unreachable":
                fail(policy, UNREACHABLE, attempt=1, jitter=0.5)
            case "success":
                succeed(policy)
            case _:
                succeed(policy, after=UNREACHABLE)

        assert 0 <= policy._quota <= 30


def test_an_identity_provider_that_cannot_be_reached_is_retried() -> None:
    """F15: its API text asks for it; generated clients miss it."""
    error = IDPCommunicationErrorException("later", code="IDPCommunicationError", status=400)

    assert fail(StandardRetries(), error, attempt=1, jitter=1.0) == 0.05


def test_a_request_is_admitted_at_once() -> None:
    """Only an adaptive policy makes a first attempt wait."""
    assert StandardRetries().admit(scope="a", now=1e9) == 0
    assert NoRetries().admit(scope="a", now=1e9) == 0


@pytest.mark.parametrize("error", [UNREACHABLE, THROTTLED, FATAL])
def test_without_retries_every_error_is_final(error: STSError) -> None:
    """Whatever came before."""
    policy = NoRetries()
    succeed(policy)

    assert fail(policy, error, attempt=1, jitter=0.5) is None


# Hints of the service


@pytest.mark.parametrize(("hint", "delay"), [(0.0, 0.025), (0.01, 0.025), (2.0, 2.0), (3600.0, 5.025)])
def test_a_hint_of_the_service_is_kept_within_bounds(hint: float, delay: float) -> None:
    """F14: never sooner than the delay of our own, never more than 5 s later."""
    error = ConnectError("refused")
    error.retry_after = hint

    assert fail(StandardRetries(), error, attempt=1, jitter=0.5) == pytest.approx(delay)


def test_a_hint_alone_does_not_make_an_error_retryable() -> None:
    error = STSError("no")
    error.retry_after = 1.0

    assert fail(StandardRetries(), error, attempt=1, jitter=0.5) is None


# Adaptive


def adaptive(limiters: dict[str, Limiter] | None = None) -> AdaptiveRetries:
    return AdaptiveRetries(limiters={} if limiters is None else limiters)


def test_an_adaptive_policy_retries_like_the_standard_one() -> None:
    """The limiter is independent of the quota."""
    for error in (UNREACHABLE, THROTTLED, FATAL):
        assert [fail(adaptive(), error, attempt=n, jitter=0.5) for n in (1, 2, 3)] == [
            fail(StandardRetries(), error, attempt=n, jitter=0.5) for n in (1, 2, 3)
        ]


def test_an_adaptive_policy_holds_requests_back_once_the_service_has_throttled() -> None:
    policy = adaptive()
    assert [policy.admit(scope="a", now=0.0) for _ in range(50)] == [0.0] * 50
    fail(policy, THROTTLED, attempt=1, jitter=0.5, now=1.0)
    policy.admit(scope="a", now=1.0)

    assert policy.admit(scope="a", now=1.0) > 0
    assert policy.admit(scope="b", now=1.0) == 0


def test_an_adaptive_policy_learns_from_successes_too() -> None:
    policy = adaptive()
    fail(policy, THROTTLED, attempt=1, jitter=0.5, now=1.0)
    waits = []
    for second in range(2, 200):
        waits.append(policy.admit(scope="a", now=float(second)))
        succeed(policy, now=float(second))

    assert waits[-1] == 0


def test_two_policies_share_the_limiter_of_a_scope() -> None:
    """STS counts what an account sends in a region, from whichever client it comes."""
    limiters: dict[str, Limiter] = {}
    one, other = adaptive(limiters), adaptive(limiters)
    fail(one, THROTTLED, attempt=1, jitter=0.5, now=1.0)
    one.admit(scope="a", now=1.0)

    assert other.admit(scope="a", now=1.0) > 0
    assert list(limiters) == ["a"]


def test_each_policy_has_its_own_limiter_for_unsigned_requests() -> None:
    limiters: dict[str, Limiter] = {}
    one, other = adaptive(limiters), adaptive(limiters)
    one.after_failure(THROTTLED, scope="", attempt=1, now=1.0, jitter=0.5)
    one.admit(scope="", now=1.0)

    assert one.admit(scope="", now=1.0) > 0
    assert other.admit(scope="", now=1.0) == 0
    assert limiters == {}


def test_the_limiters_of_the_process_go_with_the_policies_that_use_them() -> None:
    scope = "test-of-the-process/us-east-1"
    policy = AdaptiveRetries()
    policy.admit(scope=scope, now=0.0)
    assert scope in _policies._LIMITERS
    del policy
    gc.collect()

    assert scope not in _policies._LIMITERS


def test_a_policy_remembers_a_bounded_number_of_scopes() -> None:
    policy = adaptive()
    for number in range(1000):
        policy.admit(scope=str(number), now=0.0)

    assert len(policy._own) == _policies.MAX_SCOPES


def test_an_enabled_limiter_is_not_removed_before_a_disabled_one() -> None:
    policy = adaptive()
    policy.admit(scope="held back", now=0.0)
    policy.after_failure(THROTTLED, scope="held back", attempt=1, now=0.0, jitter=0.0)
    for number in range(1000):
        policy.admit(scope=str(number), now=0.0)

    assert policy.admit(scope="held back", now=0.0) > 0


@pytest.mark.parametrize("policy", [StandardRetries, AdaptiveRetries])
@pytest.mark.parametrize("argument", ["max_attempts", "quota"])
@pytest.mark.parametrize("value", [True, False, 2.0, "3", None, -1], ids=repr)
def test_numbers_of_attempts_and_tokens_are_whole_numbers(policy: Any, argument: str, value: Any) -> None:
    """B12: True is no number of attempts."""
    with pytest.raises(ConfigurationError, match=f"^{argument} must be a whole number of at least [01]$"):
        policy(**{argument: value})


def test_one_attempt_and_no_tokens_are_whole_numbers() -> None:
    assert StandardRetries(max_attempts=1, quota=0).quota == 0
