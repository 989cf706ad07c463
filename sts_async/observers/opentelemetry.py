"""What happens, as traces and metrics of OpenTelemetry."""

import asyncio
import re
import time
import weakref
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from .._version import VERSION
from .._wording.printable import printable
from ..errors import ConfigurationError, STSError
from ..events import (
    AttemptFinished,
    CallFinished,
    CredentialsInvalidated,
    CredentialsRefreshed,
    CredentialsRefreshFailed,
    Event,
    RetryScheduled,
)
from ._words import BUCKETS, Sources, error_type, known_code, known_operation, outcome

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Span, TracerProvider

ADVICE = "OpenTelemetryObserver needs the package opentelemetry-api: pip install 'sts-async[opentelemetry]'"
SCOPE = "sts_async"
SERVICE = "STS"
SYSTEM = "aws-api"
REGION = r"(?:.+\.)?sts(?:-fips)?\.([a-z]{2,4}(?:-[a-z]+)+-\d{1,2})\..+"  # of a host of STS
MAX_WAITING = 64  # attempts of a task that wait for the end of their call
PARTS = tuple(field.name for field in attrs.fields(AttemptFinished) if field.name.endswith("_seconds"))

Attributes = dict[str, str | bool | int | float]


class OpenTelemetryObserver:
    """
    Trace and measure what happens, by the semantic conventions of OpenTelemetry.

        STSClient(observers=[OpenTelemetryObserver()])

    **One span for each call**, named ``STS.AssumeRole``, of kind CLIENT, below the span that is current where the call
    is made: ``rpc.system`` (``aws-api``), ``rpc.service`` (``STS``), ``rpc.method``, ``aws.request_id``,
    ``cloud.region``, ``server.address``, ``server.port``, ``http.response.status_code`` and, when it was tried again,
    ``http.request.resend_count``. A call that fails has the status ERROR and ``error.type``: the error code of the
    service, or the name of the error's class; never the error's text. A call that is cancelled has no span.

    **An event for each attempt** in it, ``sts_async.attempt``, at the attempt's end, with ``sts_async.attempt.number``,
    ``http.response.status_code``, ``aws.request_id``, ``error.type``, ``sts_async.attempt.connection_reused``, the
    seconds of its parts, such as ``sts_async.attempt.send_seconds``, and ``sts_async.retry.delay_seconds`` when another
    follows.

    **Metrics**:

    ==========================================  =========  ==============  =============================================
    name                                        kind       unit            attributes
    ==========================================  =========  ==============  =============================================
    ``rpc.client.call.duration``                histogram  s               rpc.system.name, rpc.method (STS/AssumeRole),
                                                                           server.address, server.port, error.type
    ``sts_async.client.attempts``               counter    {attempt}       rpc.method, error.type
    ``sts_async.client.retries``                counter    {retry}         rpc.method, error.type
    ``sts_async.credentials.refresh.duration``  histogram  s               sts_async.credentials.source
    ``sts_async.credentials.kept``              counter    {refresh}       sts_async.credentials.source, error.type
    ``sts_async.credentials.invalidated``       counter    {invalidation}  rpc.method, error.type
    ==========================================  =========  ==============  =============================================

    In metrics, an error code that is not known is ``http_4xx`` or the like: a server cannot make new series. The
    source is its name in the events; those beyond the first thousand are ``other``.

    Args:
        tracer_provider: Where spans go; the global one when it is left out.
        meter_provider: Where metrics go; the global one when it is left out.

    Raises:
        ConfigurationError: The package ``opentelemetry-api`` is not installed.

    Source: OpenTelemetry semantic conventions, "AWS SDK client spans", which keep ``rpc.system`` and a short
    ``rpc.method``, and "RPC metrics", which do not.
    """

    def __init__(
        self, *, tracer_provider: "TracerProvider | None" = None, meter_provider: "MeterProvider | None" = None
    ) -> None:
        try:
            from opentelemetry import metrics, trace
        except ImportError:
            raise ConfigurationError(ADVICE) from None
        self._trace = trace
        self._tracer = trace.get_tracer(SCOPE, VERSION, tracer_provider)
        self._make_metrics(metrics.get_meter(SCOPE, VERSION, meter_provider))
        self._sources = Sources()
        self._attempts = _Attempts()

    def _make_metrics(self, meter: "Meter") -> None:
        self._durations = meter.create_histogram(
            "rpc.client.call.duration",
            unit="s",
            description="From a call to its end.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._attempted = meter.create_counter(
            "sts_async.client.attempts", unit="{attempt}", description="Attempts to send a request."
        )
        self._retried = meter.create_counter(
            "sts_async.client.retries", unit="{retry}", description="Requests that were sent again."
        )
        self._refreshes = meter.create_histogram(
            "sts_async.credentials.refresh.duration",
            unit="s",
            description="Fetching new credentials.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._kept = meter.create_counter(
            "sts_async.credentials.kept",
            unit="{refresh}",
            description="Failed refreshes after which credentials stay in use.",
        )
        self._invalidated = meter.create_counter(
            "sts_async.credentials.invalidated",
            unit="{invalidation}",
            description="Credentials that the service refused.",
        )

    def __call__(self, event: Event, /) -> None:
        """Record *event*. Of a kind that is not known, nothing."""
        match event:
            case AttemptFinished(operation=name, error=error):
                self._attempts.add(event)
                self._attempted.add(1, _ending(name, error))
            case RetryScheduled(operation=name, error=error):
                self._attempts.retry(event)
                self._retried.add(1, _ending(name, error))
            case CallFinished():
                self._call(event)
            case CredentialsRefreshed(source=source, seconds=seconds):
                self._refreshes.record(seconds, self._source(source))
            case CredentialsRefreshFailed(source=source, error=error):
                self._kept.add(1, {**self._source(source), "error.type": outcome(error)})
            case CredentialsInvalidated(operation=name, code=code):
                self._invalidated.add(1, {**_method(name), "error.type": known_code(code)})

    def _call(self, event: CallFinished) -> None:
        attempts = self._attempts.for_call(event)
        ended = time.time_ns()
        span = self._tracer.start_span(
            f"{SERVICE}.{event.operation}",
            kind=self._trace.SpanKind.CLIENT,
            attributes=_of_call(event),
            start_time=ended - round(event.seconds * 1e9),
        )
        if span.is_recording():
            self._fill(span, event, attempts)
        span.end(ended)
        where = {name: value for name, value in _where(event.endpoint).items() if name.startswith("server.")}
        self._durations.record(
            event.seconds,
            {"rpc.system.name": SYSTEM, **_ending(event.operation, event.error), **where},
            context=self._trace.set_span_in_context(span),  # so that an exemplar leads to it
        )

    def _fill(self, span: "Span", event: CallFinished, attempts: "list[_Attempt]") -> None:
        for attempt in attempts:
            span.add_event("sts_async.attempt", attempt.attributes, timestamp=attempt.ended)
        if event.error is not None:
            span.set_status(self._trace.StatusCode.ERROR)

    def _source(self, name: str) -> Attributes:
        return {"sts_async.credentials.source": self._sources.known(name)}


@attrs.frozen(eq=False)
class _Attempt:
    """
    An attempt that waits for the end of its call.

    Attributes:
        ended: Nanoseconds since 1970.
        error: Weak, as the frames of an error hold what was sent.
        attributes: What its event in the span says.
    """

    operation: str
    number: int
    ended: int
    request_id: str | None
    error: weakref.ref[STSError] | None
    attributes: Attributes

    def is_last_of(self, call: CallFinished) -> bool:
        """Say whether *call* ended with it, or with one after it that was never over."""
        if self.number == call.attempts - 1:
            return True
        error = None if self.error is None else self.error()
        same = error is call.error and (self.error is None) == (call.error is None)
        return same and self.number == call.attempts and self.request_id == call.request_id


class _Attempts:
    """
    Attempts of calls that are not over, by the task that makes the call.

    A call that is cancelled is never said to be over. What it leaves ends with its task; a task that goes on keeps the
    latest few, and they are not taken for those of a later call.
    """

    def __init__(self) -> None:
        self._of: weakref.WeakKeyDictionary[asyncio.Task[Any], list[_Attempt]] = weakref.WeakKeyDictionary()

    def add(self, event: AttemptFinished) -> None:
        """Keep an attempt."""
        task = _task()
        if task is None:
            return
        waiting = self._of.setdefault(task, [])
        waiting.append(
            _Attempt(
                operation=event.operation,
                number=event.attempt,
                ended=time.time_ns(),
                request_id=event.request_id,
                error=None if event.error is None else weakref.ref(event.error),
                attributes=_of_attempt(event),
            )
        )
        del waiting[:-MAX_WAITING]

    def retry(self, event: RetryScheduled) -> None:
        """Keep the delay after an attempt, the latest."""
        for attempt in self._waiting()[-1:]:
            attempt.attributes["sts_async.retry.delay_seconds"] = event.delay

    def for_call(self, call: CallFinished) -> list[_Attempt]:
        """
        Return the attempts of a call that is over, in order, and forget them.

        They are the latest of the task, unless calls were cancelled, or a source of credentials calls in the same task:
        so they are looked for from their end, by their numbers.
        """
        waiting, found, first = self._waiting(), list[_Attempt](), 0
        for index in reversed(range(len(waiting))):
            attempt = waiting[index]
            if attempt.operation == call.operation and (
                attempt.number == found[-1].number - 1 if found else attempt.is_last_of(call)
            ):
                found.append(attempt)
                first = index
        if found:
            del waiting[first:]
        return found[::-1]

    def _waiting(self) -> list[_Attempt]:
        task = _task()
        return [] if task is None else self._of.get(task, [])


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs: somebody replays events
        return None


def _method(operation: str) -> Attributes:
    return {"rpc.method": f"{SERVICE}/{known_operation(operation)}"}


def _ending(operation: str, error: STSError | None) -> Attributes:
    """Return what tells series of a metric apart."""
    return _method(operation) if error is None else {**_method(operation), "error.type": outcome(error)}


def _of_call(event: CallFinished) -> Attributes:
    found: Attributes = {"rpc.system": SYSTEM, "rpc.service": SERVICE, "rpc.method": event.operation}
    if event.attempts > 1:
        found["http.request.resend_count"] = event.attempts - 1
    return {**found, **_where(event.endpoint), **_of_answer(event)}


def _of_attempt(event: AttemptFinished) -> Attributes:
    found: Attributes = {"sts_async.attempt.number": event.attempt, **_of_answer(event)}
    if event.connection_reused is not None:
        found["sts_async.attempt.connection_reused"] = event.connection_reused
    return {**found, **{f"sts_async.attempt.{part}": getattr(event, part) for part in PARTS}}


def _of_answer(event: AttemptFinished | CallFinished) -> Attributes:
    found: Attributes = {}
    if event.status is not None:
        found["http.response.status_code"] = event.status
    if event.request_id is not None:
        found["aws.request_id"] = printable(event.request_id)  # a lone surrogate would stop an exporter
    if event.error is not None:
        found["error.type"] = error_type(event.error)
    return found


@lru_cache(maxsize=64)
def _where(endpoint: str) -> Mapping[str, str | int]:
    """Return what an endpoint says: nothing when it is empty, as for a call that was refused before it had one."""
    parts = urlsplit(endpoint)
    if not parts.hostname:
        return {}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found: dict[str, str | int] = {"server.address": parts.hostname, "server.port": port}
    region = re.fullmatch(REGION, parts.hostname)
    if region:
        found["cloud.region"] = region[1]
    return found
