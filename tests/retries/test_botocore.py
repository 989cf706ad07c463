"""
The standard policy, step by step against botocore's: delays, quota, and what is retried.

From botocore 1.44.0 on its only rules are those of 2026. No switch is touched here, so none can be missed (A6).
"""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from botocore.retries import quota, standard
from hypothesis import given, settings
from hypothesis import strategies as st

from sts_async._protocol import response as answer
from sts_async._protocol.http_messages import HttpResponse
from sts_async._shape.secret import SecretBytes
from sts_async.errors import STSError
from sts_async.operations import BY_REQUEST
from sts_async.retries import StandardRetries
from sts_async.shapes import AssumeRoleWithWebIdentityRequest

NAME = "AssumeRoleWithWebIdentity"
OPERATION = BY_REQUEST[AssumeRoleWithWebIdentityRequest]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SUCCESS = f"""\
<{NAME}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{NAME}Result><Credentials>
<AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>x</SecretAccessKey><SessionToken>x</SessionToken>
<Expiration>2026-01-01T01:00:00Z</Expiration></Credentials></{NAME}Result></{NAME}Response>"""
MODEL = botocore.session.get_session().get_service_model("sts").operation_model(NAME)

CODES = [
    *("Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown", "EC2ThrottledException"),
    *("RequestTimeout", "PriorRequestNotComplete", "IDPCommunicationError"),
    *(
        "AccessDenied",
        "ExpiredTokenException",
        "InvalidIdentityToken",
        "MalformedPolicyDocument",
        "SignatureDoesNotMatch",
        "ValidationError",
    ),
]
answers = st.one_of(
    st.just((200, "", None)),
    st.tuples(
        st.sampled_from([400, 403, 429, 500, 502, 503, 504]),
        st.sampled_from(CODES),
        st.none() | st.integers(0, 60_000).map(str) | st.sampled_from(["-1", "soon", "1.5", "9e99", "9" * 400, ""]),
    ),
)
steps = st.tuples(st.integers(0, 9), answers, st.floats(0, 1, exclude_max=True))


class Botocores:
    """botocore's retry handler with a quota, without a client, sleeping or chance."""

    def __init__(self, *, max_attempts: int) -> None:
        self.jitter = 0.0
        adapter = standard.RetryEventAdapter()
        detector = standard.ThrottlingErrorDetector(adapter)
        self.quota = quota.RetryQuota()
        self._checker = standard.RetryQuotaChecker(self.quota, detector)
        backoff = standard.ExponentialBackoff(
            random=lambda: self.jitter, service_name="sts", throttling_detector=detector
        )
        policy = standard.RetryPolicy(standard.StandardRetryConditions(max_attempts), backoff)
        self._handler = standard.RetryHandler(policy, adapter, self._checker, service_name="sts")

    def answered(self, context: dict[str, Any], attempt: int, status: int, code: str, hint: str | None) -> float | None:
        """Return the delay before the next attempt, or None; *context* is that of the call."""
        headers = {} if hint is None else {"x-amz-retry-after": hint}
        response = SimpleNamespace(status_code=status, headers=headers)
        parsed = {"Error": {"Code": code}} if code else {}
        delay: float | None = self._handler.needs_retry(
            response=(response, parsed),
            attempts=attempt,
            operation=MODEL,
            caught_exception=None,
            request_dict={"context": context},
        )
        if delay is None:
            self._checker.release_retry_quota(context=context, http_response=response)
        return delay


def ours(status: int, code: str, hint: str | None) -> object:
    headers = {} if hint is None else {"x-amz-retry-after": hint}
    body = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>" if code else SUCCESS
    response = HttpResponse(status, headers, SecretBytes(body.encode()))
    return answer.read(OPERATION, response, sent_at=NOW.timestamp(), requested=None, attempts=1)


@settings(max_examples=200)
@given(max_attempts=st.integers(1, 6), script=st.lists(steps, min_size=1, max_size=120))
def test_delays_and_quota_are_botocores_step_by_step(max_attempts: int, script: list[Any]) -> None:
    """Ten calls at a time share one quota; a call that is over makes room for the next."""
    theirs, policy = Botocores(max_attempts=max_attempts), StandardRetries(max_attempts=max_attempts)
    calls: dict[int, tuple[int, dict[str, Any], STSError | None]] = {}
    for slot, (status, code, hint), jitter in script:
        attempt, context, before = calls.pop(slot, (1, {}, None))
        theirs.jitter = jitter
        expected = theirs.answered(context, attempt, status, code, hint)
        outcome = ours(status, code, hint)
        delay = None
        if isinstance(outcome, STSError):
            delay = policy.after_failure(outcome, scope="a", attempt=attempt, now=0.0, jitter=jitter)
            if delay is not None:
                calls[slot] = (attempt + 1, context, outcome)
        else:
            policy.after_success(scope="a", attempt=attempt, after=before, now=0.0)

        assert delay == pytest.approx(expected)
        assert policy.quota == theirs.quota.available_capacity


def test_the_quota_runs_out_at_the_same_call() -> None:
    theirs, policy = Botocores(max_attempts=2), StandardRetries(max_attempts=2)
    outcome = ours(503, "ServiceUnavailable", None)
    assert isinstance(outcome, STSError)
    pairs = [
        (
            theirs.answered({}, 1, 503, "ServiceUnavailable", None),
            policy.after_failure(outcome, scope="a", attempt=1, now=0.0, jitter=0.0),
        )
        for _ in range(40)
    ]

    assert [theirs for theirs, _ in pairs] == [ours for _, ours in pairs]
    assert [ours for _, ours in pairs].count(None) == 5
