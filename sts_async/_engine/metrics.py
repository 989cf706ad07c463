"""What a call tells: how long its parts take, measured only when somebody observes it, and a line in the log."""

import logging
import time
from collections.abc import Sequence

from .._protocol.http_messages import HttpResponse
from ..errors import ServiceError, STSError
from ..events import AttemptFinished, CallFinished, CredentialsInvalidated, Event, Observer, RetryScheduled
from ..shapes import Response

log = logging.getLogger("sts_async")


def notify(observers: Sequence[Observer], event: Event) -> None:
    """Tell each observer; what one raises is logged, and breaks nothing."""
    for observer in observers:
        try:
            observer(event)
        except Exception:
            name = getattr(observer, "__qualname__", type(observer).__qualname__)
            log.exception("observer %s failed on %s", name, type(event).__name__)


def log_attempt(operation: str, attempt: int, outcome: Response | STSError) -> None:
    """Log an attempt at DEBUG."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    if isinstance(outcome, STSError):
        log.debug("%s, attempt %d: %s", operation, attempt, outcome)
    else:
        metadata = outcome.metadata
        log.debug("%s, attempt %d: HTTP %d, request %s", operation, attempt, metadata.status, metadata.request_id)


class Meter:
    """Watches one call: each method is told when a part of it is over."""

    __slots__ = (
        "_announced",
        "_attempt",
        "_begun",
        "_endpoint",
        "_last",
        "_limiter",
        "_marshalling",
        "_observers",
        "_operation",
        "_parts",
        "_pause",
        "_quota_used",
        "_reused",
        "_status",
    )

    def __init__(self, observers: Sequence[Observer], *, operation: str) -> None:
        self._observers = observers
        self._operation = operation
        self._endpoint = ""
        self._begun = self._last = time.perf_counter()
        self._marshalling = self._limiter = self._pause = 0.0
        self._attempt = 0
        self._parts: dict[str, float] = {}
        self._status: int | None = None
        self._reused: bool | None = None
        self._quota_used = self._announced = 0

    def _lap(self) -> float:
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return passed

    def marshalled(self, endpoint: str) -> None:
        """Record that the body is written."""
        self._endpoint = endpoint
        self._marshalling = self._lap()

    def attempt_began(self, attempt: int) -> None:
        """Record that an attempt begins."""
        self._attempt, self._parts, self._status, self._reused = attempt, {}, None, None
        self._lap()

    def over(self, part: str) -> None:
        """Record that a part of the attempt is over: credentials, limiter, queue, signing, send or parse."""
        passed = self._parts[f"{part}_seconds"] = self._lap()
        if part == "limiter":
            self._limiter += passed

    def answered(self, response: HttpResponse) -> None:
        """Record that an answer has come."""
        self._status, self._reused = response.status, response.reused
        self.over("send")
        self._parts["receive_seconds"] = response.receive_seconds
        self._parts["send_seconds"] -= response.receive_seconds

    def attempt_finished(self, outcome: Response | STSError) -> None:
        """Record that the answer is read, if there is one, and tell of the attempt."""
        self._announced = 0
        if self._status is not None:
            self.over("parse")
        error = outcome if isinstance(outcome, STSError) else None
        notify(
            self._observers,
            AttemptFinished(
                operation=self._operation,
                attempt=self._attempt,
                endpoint=self._endpoint,
                status=self._status,
                code=getattr(error, "code", None),
                request_id=_request_id(outcome),
                error=error,
                connection_reused=self._reused,
                **self._parts,
            ),
        )

    def retry(self, error: STSError, *, delay: float, quota_before: int | None, quota_left: int | None) -> None:
        """Tell of a retry to come, and count its delay and its cost."""
        used = (quota_before or 0) - (quota_left or 0)
        self._pause += delay
        self._quota_used += used
        self._announced = used
        notify(
            self._observers,
            RetryScheduled(
                operation=self._operation,
                attempt=self._attempt,
                delay=delay,
                error=error,
                quota_used=used,
                quota_left=quota_left,
            ),
        )

    def given_back(self) -> None:
        """Record that the retry that was told of last is not sent, and costs nothing."""
        self._quota_used -= self._announced

    def invalidated(self, access_key_id: str, error: STSError) -> None:
        """Tell of credentials that the service refused."""
        code = str(getattr(error, "code", ""))
        notify(
            self._observers,
            CredentialsInvalidated(operation=self._operation, access_key_id=access_key_id, code=code),
        )

    def finished(self, outcome: Response | STSError, *, quota_left: int | None) -> None:
        """Tell of the call."""
        error = outcome if isinstance(outcome, STSError) else None
        notify(
            self._observers,
            CallFinished(
                operation=self._operation,
                endpoint=self._endpoint,
                attempts=self._attempt,
                status=self._status,
                code=getattr(error, "code", None),
                request_id=_request_id(outcome),
                error=error,
                seconds=time.perf_counter() - self._begun,
                marshalling_seconds=self._marshalling,
                pause_seconds=self._pause,
                limiter_seconds=self._limiter,
                quota_used=self._quota_used,
                quota_left=quota_left,
            ),
        )


def _request_id(outcome: Response | STSError) -> str | None:
    if isinstance(outcome, ServiceError):
        return outcome.request_id
    return None if isinstance(outcome, STSError) else outcome.metadata.request_id
