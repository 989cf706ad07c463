"""Observer that creates traces and metrics of OpenTelemetry."""

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
    CacheStateChanged,
    CallFinished,
    CredentialsInvalidated,
    CredentialsRefreshed,
    CredentialsRefreshFailed,
    Event,
    IdentityStateChanged,
    RetryScheduled,
)
from ._words import AVAILABLE, BUCKETS, REMOVED, Names, error_type, known_code, known_operation, known_state, outcome

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Span, TracerProvider

ADVICE = "OpenTelemetryObserver needs the package opentelemetry-api: pip install 'sts-async[opentelemetry]'"
SCOPE = "sts_async"
SERVICE = "STS"
STATE = "sts_async.fleet.state"
SYSTEM = "aws-api"
REGION = r"(?:.+\.)?sts(?:-fips)?\.([a-z]{2,4}(?:-[a-z]+)+-\d{1,2})\..+"  # matches a host of STS
MAX_PENDING = 64  # attempts of one task whose call has not ended
PARTS = tuple(field.name for field in attrs.fields(AttemptFinished) if field.name.endswith("_seconds"))

Attributes = dict[str, str | bool | int | float]


class OpenTelemetryObserver:
    """
    Observer that traces and measures calls by the semantic conventions of OpenTelemetry.

        STSClient(observers=[OpenTelemetryObserver()])

    **One span for each call**, named ``STS.AssumeRole``, of kind CLIENT. Its parent is the caller's current span. The
    attributes are ``rpc.system`` (``aws-api``), ``rpc.service`` (``STS``), ``rpc.method``, ``aws.request_id``,
    ``cloud.region``, ``server.address``, ``server.port``, ``http.response.status_code`` and, after a retry,
    ``http.request.resend_count``. A failed call has the status ERROR and ``error.type``: the error code of the service,
    or the name of the error's class, never the error's text. A cancelled call has no span.

    **One event of the span for each attempt**, ``sts_async.attempt``, at the end of the attempt. The attributes are
    ``sts_async.attempt.number``, ``http.response.status_code``, ``aws.request_id``, ``error.type``,
    ``sts_async.attempt.connection_reused``, the seconds of its parts, such as ``sts_async.attempt.send_seconds``, and,
    before a retry, ``sts_async.retry.delay_seconds``.

    **Metrics**:

    ==========================================  =============  ==============  =========================================
    name                                        kind           unit            attributes
    ==========================================  =============  ==============  =========================================
    ``rpc.client.call.duration``                histogram      s               rpc.system.name,
                                                                               rpc.method (STS/AssumeRole),
                                                                               server.address, server.port, error.type
    ``sts_async.client.attempts``               counter        {attempt}       rpc.method, error.type
    ``sts_async.client.retries``                counter        {retry}         rpc.method, error.type
    ``sts_async.credentials.refresh.duration``  histogram      s               sts_async.credentials.source
    ``sts_async.credentials.refresh.failures``  counter        {refresh}       sts_async.credentials.source, error.type
    ``sts_async.credentials.invalidated``       counter        {invalidation}  rpc.method, error.type
    ``sts_async.fleet.identities``              UpDownCounter  {identity}      sts_async.fleet.state
    ``sts_async.fleet.state_changes``           counter        {change}        sts_async.fleet.state, error.type
    ``sts_async.cache.available``               gauge          1               sts_async.cache.name
    ``sts_async.cache.state_changes``           counter        {change}        sts_async.cache.name,
                                                                               sts_async.cache.state
    ==========================================  =============  ==============  =========================================

    In metrics, an unknown error code is replaced by ``http_4xx`` or similar, so a server cannot create metric series.
    A source and a cache have their names in the events; names after the first thousand are replaced by ``other``.

    ``sts_async.fleet.state`` is a value of `fleet.IdentityState`. For an identity that left the fleet,
    ``sts_async.fleet.state_changes`` has the state ``removed``. No attribute names an identity. A change of state has
    no span, because no call of the program is its parent; the refresh that caused it has the span of its call.

    Args:
        tracer_provider: The provider for spans; None for the global provider.
        meter_provider: The provider for metrics; None for the global provider.

    Raises:
        ConfigurationError: The package ``opentelemetry-api`` is not installed.

    Source: OpenTelemetry semantic conventions, "AWS SDK client spans", which have ``rpc.system`` and a short
    ``rpc.method``, and "RPC metrics", which have ``rpc.system.name`` and a long one.
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
        self._sources, self._caches = Names(), Names()
        self._attempts = _Attempts()

    def _make_metrics(self, meter: "Meter") -> None:
        self._durations = meter.create_histogram(
            "rpc.client.call.duration",
            unit="s",
            description="Duration of a call.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._attempted = meter.create_counter(
            "sts_async.client.attempts", unit="{attempt}", description="Attempts to send a request."
        )
        self._retried = meter.create_counter(
            "sts_async.client.retries", unit="{retry}", description="Retries of requests."
        )
        self._refreshes = meter.create_histogram(
            "sts_async.credentials.refresh.duration",
            unit="s",
            description="Duration of a fetch of credentials.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._refresh_failures = meter.create_counter(
            "sts_async.credentials.refresh.failures",
            unit="{refresh}",
            description="Failed refreshes while cached credentials stay in use.",
        )
        self._invalidated = meter.create_counter(
            "sts_async.credentials.invalidated",
            unit="{invalidation}",
            description="Credentials that the service rejected.",
        )
        self._identities = meter.create_up_down_counter(
            "sts_async.fleet.identities", unit="{identity}", description="Identities of fleets."
        )
        self._changes = meter.create_counter(
            "sts_async.fleet.state_changes", unit="{change}", description="Changes of state of identities."
        )
        self._available = meter.create_gauge(
            "sts_async.cache.available", unit="1", description="Whether a cache that processes share is available."
        )
        self._cache_changes = meter.create_counter(
            "sts_async.cache.state_changes", unit="{change}", description="Changes of state of caches."
        )

    def __call__(self, event: Event, /) -> None:
        """Record *event*. Unknown kinds of events are ignored."""
        match event:
            case AttemptFinished(operation=name, error=error):
                self._attempts.add(event)
                self._attempted.add(1, _method_and_error(name, error))
            case RetryScheduled(operation=name, error=error):
                self._attempts.retry(event)
                self._retried.add(1, _method_and_error(name, error))
            case CallFinished():
                self._call(event)
            case CredentialsRefreshed(source=source, seconds=seconds):
                self._refreshes.record(seconds, self._source(source))
            case CredentialsRefreshFailed(source=source, error=error):
                self._refresh_failures.add(1, {**self._source(source), "error.type": outcome(error)})
            case CredentialsInvalidated(operation=name, code=code):
                self._invalidated.add(1, {**_method(name), "error.type": known_code(code)})
            case IdentityStateChanged():
                self._change(event)
            case CacheStateChanged():
                cache: Attributes = {"sts_async.cache.name": self._caches.known(printable(event.cache))}
                self._available.set(int(event.available), cache)
                self._cache_changes.add(1, {**cache, "sts_async.cache.state": AVAILABLE[event.available]})

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
        server = {name: value for name, value in _of_endpoint(event.endpoint).items() if name.startswith("server.")}
        self._durations.record(
            event.seconds,
            {"rpc.system.name": SYSTEM, **_method_and_error(event.operation, event.error), **server},
            context=self._trace.set_span_in_context(span),  # so that an exemplar refers to the span
        )

    def _fill(self, span: "Span", event: CallFinished, attempts: "list[_Attempt]") -> None:
        for attempt in attempts:
            span.add_event("sts_async.attempt", attempt.attributes, timestamp=attempt.ended)
        if event.error is not None:
            span.set_status(self._trace.StatusCode.ERROR)

    def _change(self, event: IdentityStateChanged) -> None:
        if event.before is not None:
            self._identities.add(-1, _state(event.before))
        if event.state is not None:
            self._identities.add(1, _state(event.state))
        attributes: Attributes = {STATE: REMOVED} if event.state is None else _state(event.state)
        if event.error is not None:
            attributes = {**attributes, "error.type": outcome(event.error)}
        self._changes.add(1, attributes)

    def _source(self, name: str) -> Attributes:
        return {"sts_async.credentials.source": self._sources.known(name)}


@attrs.frozen(eq=False)
class _Attempt:
    """
    An attempt of a call that has not ended.

    Attributes:
        operation: Name of the operation.
        number: Number of the attempt; the first is 1.
        ended: The end of the attempt, in nanoseconds since 1970.
        request_id: The request id, or None.
        error: The error, or None. The reference is weak, because the frames of an error hold the request.
        attributes: The attributes of its event in the span.
    """

    operation: str
    number: int
    ended: int
    request_id: str | None
    error: weakref.ref[STSError] | None
    attributes: Attributes

    def is_last_of(self, call: CallFinished) -> bool:
        """Return True if this is the last finished attempt of *call*. The call can have ended in a later attempt."""
        if self.number == call.attempts - 1:
            return True
        error = None if self.error is None else self.error()
        same = error is call.error and (self.error is None) == (call.error is None)
        return same and self.number == call.attempts and self.request_id == call.request_id


class _Attempts:
    """
    Attempts of calls that have not ended, by the task of the call.

    A cancelled call has no final event. Its attempts are dropped with the task. A task that continues has at most 64,
    and `for_call` does not attribute them to a later call.
    """

    def __init__(self) -> None:
        self._by_task: weakref.WeakKeyDictionary[asyncio.Task[Any], list[_Attempt]] = weakref.WeakKeyDictionary()

    def add(self, event: AttemptFinished) -> None:
        """Store an attempt."""
        task = _task()
        if task is None:
            return
        pending = self._by_task.setdefault(task, [])
        pending.append(
            _Attempt(
                operation=event.operation,
                number=event.attempt,
                ended=time.time_ns(),
                request_id=event.request_id,
                error=None if event.error is None else weakref.ref(event.error),
                attributes=_of_attempt(event),
            )
        )
        del pending[:-MAX_PENDING]

    def retry(self, event: RetryScheduled) -> None:
        """Store the delay after the latest attempt."""
        for attempt in self._pending()[-1:]:
            attempt.attributes["sts_async.retry.delay_seconds"] = event.delay

    def for_call(self, call: CallFinished) -> list[_Attempt]:
        """
        Return the attempts of a call that has ended, in order, and remove them.

        Usually they are the latest of the task. After a cancelled call, or if a source of credentials calls in the same
        task, there are others. So the search begins at the end, and compares the numbers of the attempts.
        """
        pending, found, first = self._pending(), list[_Attempt](), 0
        for index in reversed(range(len(pending))):
            attempt = pending[index]
            if attempt.operation == call.operation and (
                attempt.number == found[-1].number - 1 if found else attempt.is_last_of(call)
            ):
                found.append(attempt)
                first = index
        if found:
            del pending[first:]
        return found[::-1]

    def _pending(self) -> list[_Attempt]:
        task = _task()
        return [] if task is None else self._by_task.get(task, [])


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs, for instance when a program replays events
        return None


def _state(state: str) -> Attributes:
    return {STATE: known_state(state)}


def _method(operation: str) -> Attributes:
    return {"rpc.method": f"{SERVICE}/{known_operation(operation)}"}


def _method_and_error(operation: str, error: STSError | None) -> Attributes:
    """Return the attributes of a metric."""
    return _method(operation) if error is None else {**_method(operation), "error.type": outcome(error)}


def _of_call(event: CallFinished) -> Attributes:
    found: Attributes = {"rpc.system": SYSTEM, "rpc.service": SERVICE, "rpc.method": event.operation}
    if event.attempts > 1:
        found["http.request.resend_count"] = event.attempts - 1
    return {**found, **_of_endpoint(event.endpoint), **_of_response(event)}


def _of_attempt(event: AttemptFinished) -> Attributes:
    found: Attributes = {"sts_async.attempt.number": event.attempt, **_of_response(event)}
    if event.connection_reused is not None:
        found["sts_async.attempt.connection_reused"] = event.connection_reused
    return {**found, **{f"sts_async.attempt.{part}": getattr(event, part) for part in PARTS}}


def _of_response(event: AttemptFinished | CallFinished) -> Attributes:
    found: Attributes = {}
    if event.status is not None:
        found["http.response.status_code"] = event.status
    if event.request_id is not None:
        found["aws.request_id"] = printable(event.request_id)  # a lone surrogate would stop an exporter
    if event.error is not None:
        found["error.type"] = error_type(event.error)
    return found


@lru_cache(maxsize=64)
def _of_endpoint(endpoint: str) -> Mapping[str, str | int]:
    """Return the attributes of an endpoint; empty if it is, as for a call that failed before it had an endpoint."""
    parts = urlsplit(endpoint)
    if not parts.hostname:
        return {}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found: dict[str, str | int] = {"server.address": parts.hostname, "server.port": port}
    region = re.fullmatch(REGION, parts.hostname)
    if region:
        found["cloud.region"] = region[1]
    return found
