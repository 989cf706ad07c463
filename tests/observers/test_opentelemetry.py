"""Traces and metrics of OpenTelemetry, as the SDK exports them."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from patience import until
from support import KEYS, ROLE

from sts_async import (
    AttemptFinished,
    CacheStateChanged,
    CallFinished,
    Credentials,
    CredentialsInvalidated,
    CredentialsRefreshed,
    CredentialsRefreshFailed,
    Event,
    RetryScheduled,
    STSClient,
    errors,
)
from sts_async.observers import OpenTelemetryObserver
from sts_async.observers._words import BUCKETS
from sts_async.observers.opentelemetry import MAX_PENDING, _of_endpoint
from sts_async.testing import Delay, LocalSTS, Refuse, Reset, Throttle, Unavailable

Connect = Callable[..., Awaitable[STSClient]]
CALL: dict[str, Any] = {"role_arn": ROLE, "role_session_name": "me"}
ATTEMPT = "sts_async.attempt"
LOST = errors.ConnectionLost("reset")


@attrs.frozen
class Exported:
    """An observer, and what it exports."""

    spans_in: InMemorySpanExporter
    metrics_in: InMemoryMetricReader
    tracers: TracerProvider
    observer: OpenTelemetryObserver

    @classmethod
    def make(cls, **options: Any) -> "Exported":
        spans, metrics = InMemorySpanExporter(), InMemoryMetricReader()
        tracers = TracerProvider(shutdown_on_exit=False, **options)
        tracers.add_span_processor(SimpleSpanProcessor(spans))
        meters = MeterProvider([metrics], shutdown_on_exit=False)
        return cls(spans, metrics, tracers, OpenTelemetryObserver(tracer_provider=tracers, meter_provider=meters))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.spans_in.get_finished_spans()

    def the_span(self) -> tuple[ReadableSpan, int, int]:
        """Return the only span, with its start and end in nanoseconds since 1970."""
        (span,) = self.spans
        assert span.start_time is not None
        assert span.end_time is not None
        return span, span.start_time, span.end_time

    def attempts(self) -> list[list[Any]]:
        """Return the numbers of the attempts of each span."""
        return [
            [dict(event.attributes or {})[f"{ATTEMPT}.number"] for event in span.events]
            for span in self.spans
            if span.kind is SpanKind.CLIENT
        ]

    def points(self) -> dict[str, list[Any]]:
        """Return the points of each metric."""
        data = self.metrics_in.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: [*metric.data.data_points]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def counts(self) -> dict[str, float]:
        """Return counters, and the counts of histograms, by name and the values of attributes."""
        return {
            " ".join([name, *sorted(map(str, point.attributes.values()))]): getattr(point, "count", None) or point.value
            for name, points in self.points().items()
            for point in points
        }


@pytest.fixture
def exported() -> Exported:
    return Exported.make()


async def test_a_call_is_a_span_by_the_conventions(server: LocalSTS, connect: Connect, exported: Exported) -> None:
    sts = await connect(exported.observer)
    response = await sts.assume_role(**CALL)
    (span,) = exported.spans

    assert (span.name, span.kind, span.status.status_code) == ("STS.AssumeRole", SpanKind.CLIENT, StatusCode.UNSET)
    assert span.attributes == {
        "rpc.system": "aws-api",
        "rpc.service": "STS",
        "rpc.method": "AssumeRole",
        "server.address": "127.0.0.1",
        "server.port": int(server.url.rpartition(":")[2].strip("/")),
        "http.response.status_code": 200,
        "aws.request_id": response.metadata.request_id,
    }
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "sts_async"


async def test_a_span_lasts_as_long_as_the_call(exported: Exported) -> None:
    exported.observer(CallFinished(operation="AssumeRole", endpoint="", attempts=1, seconds=1.5))
    _, start, end = exported.the_span()
    (point,) = exported.points()["rpc.client.call.duration"]

    assert end - start == 1_500_000_000
    assert (point.sum, point.explicit_bounds) == (1.5, BUCKETS)


async def test_a_retry_is_seen_in_the_span_of_its_call(server: LocalSTS, connect: Connect, exported: Exported) -> None:
    server.faults.add(Throttle())
    sts = await connect(exported.observer)
    await sts.assume_role(**CALL)
    span, start, end = exported.the_span()
    failed, succeeded = (dict(event.attributes or {}) for event in span.events)

    assert [event.name for event in span.events] == [ATTEMPT, ATTEMPT]
    assert span.attributes is not None
    assert span.attributes["http.request.resend_count"] == 1
    assert "error.type" not in span.attributes
    assert (failed[f"{ATTEMPT}.number"], failed["http.response.status_code"], failed["error.type"]) == (
        1,
        400,
        "Throttling",
    )
    assert failed["aws.request_id"] != succeeded["aws.request_id"]
    assert failed["sts_async.retry.delay_seconds"] == 0.001
    assert (succeeded[f"{ATTEMPT}.number"], succeeded["http.response.status_code"]) == (2, 200)
    assert "sts_async.retry.delay_seconds" not in succeeded
    assert {"signing_seconds", "send_seconds"} <= {name.removeprefix(f"{ATTEMPT}.") for name in succeeded}
    assert start < span.events[0].timestamp < span.events[1].timestamp <= end


async def test_a_call_that_is_denied_has_the_code_and_no_text(
    server: LocalSTS, connect: Connect, exported: Exported
) -> None:
    """T14: texts of errors hold ARNs and encoded messages."""
    server.faults.add(Refuse("AccessDenied", status=403))
    sts = await connect(exported.observer)
    with pytest.raises(errors.ServiceError):
        await sts.assume_role(**CALL)
    (span,) = exported.spans

    assert span.attributes is not None
    assert span.attributes["error.type"] == "AccessDenied"
    assert span.attributes["http.response.status_code"] == 403
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert "Refused by the script" not in span.to_json()


async def test_a_call_without_an_answer_has_the_class_of_its_error(
    server: LocalSTS, connect: Connect, exported: Exported
) -> None:
    server.faults.add(Reset(times=3))
    sts = await connect(exported.observer)
    with pytest.raises(errors.TransportError) as caught:
        await sts.assume_role(**CALL)
    (span,) = exported.spans

    assert span.attributes is not None
    assert span.attributes["error.type"] == type(caught.value).__name__
    assert "http.response.status_code" not in span.attributes
    assert exported.attempts() == [[1, 2, 3]]


async def test_a_call_without_a_request_is_a_span_without_attempts(connect: Connect, exported: Exported) -> None:
    sts = await connect(exported.observer)
    with pytest.raises(errors.ParamValidationError):
        await sts.assume_role(role_arn="x", role_session_name="a b")
    (span,) = exported.spans

    assert span.attributes is not None
    assert span.attributes["error.type"] == "ParamValidationError"
    assert "server.address" not in span.attributes
    assert exported.attempts() == [[]]


async def test_a_span_is_below_the_one_that_is_current(connect: Connect, exported: Exported) -> None:
    sts = await connect(exported.observer)
    with exported.tracers.get_tracer("tests").start_as_current_span("work"):
        await sts.get_caller_identity()
    call, work = exported.spans

    assert call.parent is not None
    assert call.parent.span_id == work.context.span_id
    assert call.context.trace_id == work.context.trace_id


async def test_concurrent_calls_keep_their_attempts_apart(
    server: LocalSTS, connect: Connect, exported: Exported
) -> None:
    """Fifty calls, of which some fail and are sent again, and which share one context."""
    server.faults.add(Unavailable(times=10))
    sts = await connect(exported.observer)
    await asyncio.gather(*(sts.assume_role(**CALL) for _ in range(50)), return_exceptions=True)
    ids = [
        (
            dict(span.attributes or {}).get("aws.request_id"),
            dict(span.events[-1].attributes or {}).get("aws.request_id"),
        )
        for span in exported.spans
    ]

    assert len(exported.spans) == 50
    assert sum(map(len, exported.attempts())) == len(server.requests) >= 60
    assert all(numbers == [*range(1, len(numbers) + 1)] for numbers in exported.attempts())
    assert all(of_call == of_attempt for of_call, of_attempt in ids)


async def test_a_call_that_is_cancelled_leaves_nothing_behind(
    server: LocalSTS, connect: Connect, exported: Exported
) -> None:
    """F58: no event reports its end."""
    server.faults.add(Throttle(), Delay(30))
    sts = await connect(exported.observer)
    task = asyncio.create_task(sts.assume_role(**CALL))
    await until(lambda: exported.observer._attempts._by_task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    await asyncio.sleep(0)
    gc.collect()

    assert len(exported.observer._attempts._by_task) == 0
    assert exported.spans == ()


async def test_attempts_of_a_cancelled_call_do_not_belong_to_the_next_call(exported: Exported) -> None:
    """A deadline around the call leaves them in a task that goes on."""
    observer = exported.observer
    for event in calling("AssumeRole", LOST, LOST)[:-1]:  # cancelled in the third attempt
        observer(event)
    for event in calling("AssumeRole", None):
        observer(event)
    observer(CallFinished(operation="AssumeRole", endpoint="", attempts=1, error=errors.CredentialsError("none")))

    assert exported.attempts() == [[1], []]


async def test_a_task_that_goes_on_keeps_few_attempts_of_cancelled_calls(exported: Exported) -> None:
    """Of a service that has every call cancelled by a deadline, in one task."""
    for _ in range(1000):
        exported.observer(AttemptFinished(operation="AssumeRole", attempt=1, endpoint="", error=LOST))
    (waiting,) = exported.observer._attempts._by_task.values()

    assert len(waiting) == MAX_PENDING


async def test_the_error_of_an_attempt_is_not_kept(exported: Exported) -> None:
    """Its frames hold what was sent."""
    error = errors.ConnectionLost("reset")
    known = weakref.ref(error)
    exported.observer(AttemptFinished(operation="AssumeRole", attempt=1, endpoint="", error=error))
    del error
    gc.collect()

    assert known() is None
    exported.observer(CallFinished(operation="AssumeRole", endpoint="", attempts=1))
    assert exported.attempts() == [[]]


def calling(operation: str, *errors_of_attempts: errors.STSError | None) -> list[Event]:
    """Return the events of a call whose attempts end so."""
    events: list[Event] = []
    for number, error in enumerate(errors_of_attempts, 1):
        if number > 1:
            previous = errors_of_attempts[number - 2]
            assert previous is not None
            events.append(RetryScheduled(operation=operation, attempt=number - 1, delay=1.0, error=previous))
        request_id = None if error else f"{operation}-{number}"
        events.append(
            AttemptFinished(operation=operation, attempt=number, endpoint="", error=error, request_id=request_id)
        )
    last = errors_of_attempts[-1]
    request_id = None if last else f"{operation}-{len(errors_of_attempts)}"
    attempts = len(errors_of_attempts)
    return [
        *events,
        CallFinished(operation=operation, endpoint="", attempts=attempts, error=last, request_id=request_id),
    ]


@pytest.mark.parametrize("inner", ["AssumeRole", "GetSessionToken"])
async def test_a_call_within_a_call_has_attempts_of_its_own(exported: Exported, inner: str) -> None:
    """A source of credentials that calls STS in the task of its caller, between two attempts."""
    other = errors.ConnectionLost("reset")
    outer = calling("AssumeRole", LOST, None)
    for event in [*outer[:2], *calling(inner, other, None), *outer[2:]]:
        exported.observer(event)

    assert exported.attempts() == [[1, 2], [1, 2]]


async def test_an_attempt_that_did_not_end_does_not_hide_those_before(exported: Exported) -> None:
    """The credentials failed, or the time was over, in the third."""
    for event in calling("AssumeRole", LOST, LOST)[:-1]:
        exported.observer(event)
    exported.observer(CallFinished(operation="AssumeRole", endpoint="", attempts=3, error=errors.CredentialsError("")))

    assert exported.attempts() == [[1, 2]]


async def test_nested_calls_with_a_source_that_calls_in_the_same_task(
    server: LocalSTS, connect: Connect, exported: Exported
) -> None:
    inner = await connect(exported.observer)

    class Source:
        async def provide_credentials(self, context: object) -> Credentials:
            return (await inner.assume_role(**CALL)).credentials

    sts = await connect(exported.observer, credentials=Source())
    server.faults.add(Throttle())
    await sts.assume_role(role_arn=ROLE, role_session_name="outer")

    assert exported.attempts() == [[1, 2], [1]]


async def test_spans_that_are_not_sampled_cost_no_events(connect: Connect) -> None:
    exported = Exported.make(sampler=ALWAYS_OFF)
    sts = await connect(exported.observer)
    await sts.get_caller_identity()

    assert exported.spans == ()
    assert exported.counts()["sts_async.client.attempts STS/GetCallerIdentity"] == 1


def test_events_can_be_replayed_without_a_loop(exported: Exported) -> None:
    """Then attempts belong to no call."""
    for event in calling("AssumeRole", LOST, None):
        exported.observer(event)

    assert exported.attempts() == [[]]


async def test_events_are_measured(server: LocalSTS, connect: Connect, exported: Exported) -> None:
    server.faults.add(Throttle(), Refuse("AccessDenied", status=403))
    sts = await connect(exported.observer)
    with pytest.raises(errors.ServiceError):
        await sts.assume_role(**CALL)
    await sts.get_caller_identity()
    counts = exported.counts()

    durations = [dict(point.attributes) for point in exported.points()["rpc.client.call.duration"]]

    assert [(found.get("error.type"), found["rpc.method"]) for found in durations] == [
        ("AccessDenied", "STS/AssumeRole"),
        (None, "STS/GetCallerIdentity"),
    ]
    assert all(found["server.address"] == "127.0.0.1" for found in durations)
    assert all(found["rpc.system.name"] == "aws-api" for found in durations)
    assert counts["sts_async.client.attempts STS/AssumeRole Throttling"] == 1
    assert counts["sts_async.client.attempts AccessDenied STS/AssumeRole"] == 1
    assert counts["sts_async.client.attempts STS/GetCallerIdentity"] == 1
    assert counts["sts_async.client.retries STS/AssumeRole Throttling"] == 1


def test_credentials_are_measured_by_source(exported: Exported) -> None:
    ends = datetime(2026, 1, 1, tzinfo=UTC)
    exported.observer(CredentialsRefreshed(source="vault", access_key_id="A", expiration=ends, seconds=0.25))
    exported.observer(CredentialsRefreshFailed(source="vault", access_key_id="A", expiration=ends, error=LOST))
    exported.observer(CredentialsInvalidated(operation="AssumeRole", access_key_id="A", code="ExpiredToken"))
    counts = exported.counts()

    assert counts["sts_async.credentials.refresh.duration vault"] == 1
    assert counts["sts_async.credentials.refresh.failures ConnectionLost vault"] == 1
    assert counts["sts_async.credentials.invalidated ExpiredToken STS/AssumeRole"] == 1


def test_the_state_of_a_cache_is_a_gauge_and_its_changes_are_counted(exported: Exported) -> None:
    for available in (False, True, False):
        exported.observer(CacheStateChanged(cache="RedisCache('x')", available=available, reason="text of a server"))
    exported.observer(CacheStateChanged(cache="RedisCache('y')", available=True))
    counts = exported.counts()

    assert {name: value for name, value in counts.items() if name.startswith("sts_async.cache.")} == {
        "sts_async.cache.available RedisCache('x')": 0,
        "sts_async.cache.available RedisCache('y')": 1,
        "sts_async.cache.state_changes RedisCache('x') unavailable": 2,
        "sts_async.cache.state_changes RedisCache('x') available": 1,
        "sts_async.cache.state_changes RedisCache('y') available": 1,
    }


def test_a_server_cannot_make_series(exported: Exported) -> None:
    """A server that answers with a new code each time would fill the memory of the program. Every metric is listed."""
    for number in range(500):
        error = errors.ServiceError("", code=f"Hostile{number}", status=400 + number % 2 * 100)
        name = f"Operation{number}"
        exported.observer(AttemptFinished(operation=name, attempt=1, endpoint="", error=error))
        exported.observer(RetryScheduled(operation=name, attempt=1, delay=0, error=error))
        exported.observer(CallFinished(operation=name, endpoint="", attempts=1, error=error))
        exported.observer(CredentialsRefreshFailed(source="vault", access_key_id="A", expiration=None, error=error))
        exported.observer(CredentialsInvalidated(operation=name, access_key_id="A", code=error.code))

    exported.observer(CredentialsRefreshed(source="vault", access_key_id="A", expiration=None, seconds=0.25))
    exported.observer(CacheStateChanged(cache="RedisCache('x')", available=False, reason="Hostile"))

    assert [name for name in exported.points() if f"``{name}``" not in (OpenTelemetryObserver.__doc__ or "")] == []
    assert max(len(points) for points in exported.points().values()) == 2
    assert "Hostile" not in str(exported.counts())


def test_whatever_a_server_sends_can_be_encoded(exported: Exported) -> None:
    """T45: headers may hold bytes that are no text; an exporter that fails on one drops what comes with it."""
    error = errors.ServiceError("", code="A\udc80\n", status=400, request_id="r\udc80\n")
    exported.observer(
        CallFinished(operation="AssumeRole", endpoint="", attempts=1, error=error, request_id=error.request_id)
    )
    (span,) = exported.spans

    assert span.attributes is not None
    assert span.attributes["aws.request_id"] == r"r\xdc80\x0a"
    assert span.attributes["error.type"] == r"A\xdc80\x0a"


async def test_no_secret_is_exported(server: LocalSTS, connect: Connect, exported: Exported) -> None:
    """T14."""
    sts = await connect(exported.observer)
    issued = (await sts.assume_role(**CALL, external_id="SENTINEL")).credentials
    with pytest.raises(errors.ServiceError):
        await (await connect(exported.observer, credentials=KEYS)).get_caller_identity()
    text = "".join(span.to_json() for span in exported.spans) + str(exported.points())

    assert len(exported.spans) == 2
    for secret in ("SENTINEL", issued.secret_access_key, issued.session_token, server.credentials.secret_access_key):
        assert secret not in text


def test_events_of_another_kind_are_ignored(exported: Exported) -> None:
    """A later version may have more."""
    exported.observer(object())  # type: ignore[arg-type]

    assert exported.spans == ()
    assert exported.points() == {}


def test_without_an_sdk_nothing_happens_and_nothing_fails() -> None:
    """The global providers do nothing with what they get."""
    OpenTelemetryObserver()(CallFinished(operation="AssumeRole", endpoint="", attempts=1))


@pytest.mark.parametrize(
    ("endpoint", "host", "port", "region"),
    [
        ("https://sts.eu-west-1.amazonaws.com/", "sts.eu-west-1.amazonaws.com", 443, "eu-west-1"),
        ("https://sts-fips.us-gov-west-1.api.aws/", "sts-fips.us-gov-west-1.api.aws", 443, "us-gov-west-1"),
        ("https://sts.cn-north-1.amazonaws.com.cn/", "sts.cn-north-1.amazonaws.com.cn", 443, "cn-north-1"),
        (
            "https://vpce-1-a.sts.us-east-1.vpce.amazonaws.com/",
            "vpce-1-a.sts.us-east-1.vpce.amazonaws.com",
            443,
            "us-east-1",
        ),
        ("https://sts.eusc-de-east-1.amazonaws.eu/", "sts.eusc-de-east-1.amazonaws.eu", 443, "eusc-de-east-1"),
        ("https://sts.amazonaws.com/", "sts.amazonaws.com", 443, None),
        ("http://localhost:4566/", "localhost", 4566, None),
        ("http://[::1]/", "::1", 80, None),
    ],
)
def test_an_endpoint_says_where_a_call_goes(endpoint: str, host: str, port: int, region: str | None) -> None:
    """The region of the legacy global endpoint is not in its name."""
    expected = {"server.address": host, "server.port": port}

    assert _of_endpoint(endpoint) == (expected if region is None else {**expected, "cloud.region": region})
