"""Events and log lines of a call. Times are measured only for observers."""

import logging
import time
from collections.abc import Sequence

from .._protocol.http_messages import HttpResponse
from ..errors import ServiceError, STSError
from ..events import AttemptFinished, CallFinished, CredentialsInvalidated, Event, Observer, RetryScheduled
from ..shapes import Response

log = logging.getLogger("sts_async")


def notify(observers: Sequence[Observer], event: Event) -> None:
    """Call each observer with *event*. An exception of an observer is logged and has no other effect."""
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


class CallMetrics:
    """Measures the parts of one call, and emits its events. The loop calls a method at the end of each part."""

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

    def encoded(self, endpoint: str) -> None:
        """Record that the request is encoded."""
        self._endpoint = endpoint
        self._marshalling = self._lap()

    def attempt_began(self, attempt: int) -> None:
        """Record the start of an attempt."""
        self._attempt, self._parts, self._status, self._reused = attempt, {}, None, None
        self._lap()

    def end_of(self, part: str) -> None:
        """Record the end of a part of the attempt: credentials, limiter, queue, signing, send or parse."""
        passed = self._parts[f"{part}_seconds"] = self._lap()
        if part == "limiter":
            self._limiter += passed

    def response_received(self, response: HttpResponse) -> None:
        """Record that a response arrived."""
        self._status, self._reused = response.status, response.reused
        self.end_of("send")
        self._parts["receive_seconds"] = response.receive_seconds
        self._parts["send_seconds"] -= response.receive_seconds

    def attempt_finished(self, outcome: Response | STSError) -> None:
        """Record that the response is parsed, if there is one, and emit `AttemptFinished`."""
        self._announced = 0
        if self._status is not None:
            self.end_of("parse")
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

    def retry_scheduled(
        self, error: STSError, *, delay: float, quota_before: int | None, quota_left: int | None
    ) -> None:
        """Emit `RetryScheduled`, and add its delay and its cost."""
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

    def retry_not_sent(self) -> None:
        """Record that the last scheduled retry was not sent, so its cost does not count."""
        self._quota_used -= self._announced

    def credentials_refused(self, access_key_id: str, error: STSError) -> None:
        """Emit `CredentialsInvalidated`."""
        code = str(getattr(error, "code", ""))
        notify(
            self._observers,
            CredentialsInvalidated(operation=self._operation, access_key_id=access_key_id, code=code),
        )

    def finished(self, outcome: Response | STSError, *, quota_left: int | None) -> None:
        """Emit `CallFinished`."""
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
