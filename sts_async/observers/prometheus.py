"""What happens, as metrics for Prometheus."""

import math
import re
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..events import (
    AttemptFinished,
    CallFinished,
    CredentialsInvalidated,
    CredentialsRefreshed,
    CredentialsRefreshFailed,
    Event,
    RetryScheduled,
)
from ._words import BUCKETS, Sources, known_code, known_operation, outcome

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

ADVICE = "PrometheusObserver needs the package prometheus-client: pip install 'sts-async[prometheus]'"
NAMESPACE = r"[a-zA-Z][a-zA-Z0-9_]*"
MAX_BUCKET = 30.0  # s, the default deadline of a call: a bucket beyond the usual ones


class PrometheusObserver:
    """
    Count and measure what happens, for Prometheus. One observer serves all clients of a program.

        STSClient(observers=[PrometheusObserver()])

    ================================================  =========  =================  ====================================
    metric                                            kind       labels
    ================================================  =========  =================  ====================================
    ``sts_call_seconds``                              histogram  operation, code    from the call to its end
    ``sts_attempts_total``                            counter    operation, code    requests, sent or not
    ``sts_retries_total``                             counter    operation, code    by what ended the attempt before
    ``sts_limiter_wait_seconds_total``                counter    operation          waiting to be admitted
    ``sts_retry_quota_left``                          gauge                         tokens, after the latest call
    ``sts_credentials_refresh_seconds``               histogram  source             fetching new credentials
    ``sts_credentials_kept_total``                    counter    source, code       refreshes that failed, where those
                                                                                    of before stay in use
    ``sts_credentials_invalidated_total``             counter    operation, code    refused by the service
    ``sts_credentials_expiration_timestamp_seconds``  gauge      source             since 1970; +Inf for no end
    ================================================  =========  =================  ====================================

    ``code`` is ``success``, a known error code, the name of a class of `errors` where no service gave a code, or
    ``http_4xx`` and the like for codes that are not known: a server cannot make new series. ``source`` is the name of
    the source in the events; those beyond the first thousand are ``other``.

    Args:
        registry: Where the metrics are registered; the default registry of ``prometheus_client`` when it is left out.
        namespace: What their names begin with.

    Raises:
        ConfigurationError: The package ``prometheus-client`` is not installed, *namespace* cannot begin a name, or the
            registry has metrics of these names, such as those of another observer.
    """

    def __init__(self, registry: "CollectorRegistry | None" = None, *, namespace: str = "sts") -> None:
        try:
            from prometheus_client import REGISTRY, Counter, Gauge, Histogram
        except ImportError:
            raise ConfigurationError(ADVICE) from None
        if not isinstance(namespace, str) or not re.fullmatch(NAMESPACE, namespace):
            raise ConfigurationError("namespace must be a letter, followed by letters, digits and underscores")

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            buckets = (*BUCKETS, MAX_BUCKET)
            return Histogram(name, text, labels, namespace=namespace, registry=None, buckets=buckets)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace=namespace, registry=None)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            # Of several processes that share a directory, the one that is worst off.
            return Gauge(name, text, labels, namespace=namespace, registry=None, multiprocess_mode="livemin")

        self._sources = Sources()
        self._calls = histogram("call_seconds", "From a call to STS to its end.", "operation", "code")
        self._attempts = counter("attempts", "Attempts to send a request to STS.", "operation", "code")
        self._retries = counter("retries", "Requests that were sent again.", "operation", "code")
        self._limited = counter("limiter_wait_seconds", "Waiting to be admitted by the retry policy.", "operation")
        self._quota = gauge("retry_quota_left", "Tokens that are left for retries.")
        self._refreshes = histogram("credentials_refresh_seconds", "Fetching new credentials.", "source")
        self._kept = counter("credentials_kept", "Failed refreshes after which credentials stay.", "source", "code")
        self._refused = counter("credentials_invalidated", "Credentials that STS refused.", "operation", "code")
        self._ends = gauge("credentials_expiration_timestamp_seconds", "When credentials end, since 1970.", "source")
        self._register(registry or REGISTRY)

    def _register(self, registry: "CollectorRegistry") -> None:
        """Register all metrics, or none."""
        registered = []
        for metric in (
            self._calls,
            self._attempts,
            self._retries,
            self._limited,
            self._quota,
            self._refreshes,
            self._kept,
            self._refused,
            self._ends,
        ):
            try:
                registry.register(metric)
            except ValueError:
                break
            registered.append(metric)
        else:
            return
        for metric in registered:
            registry.unregister(metric)
        raise ConfigurationError(
            "the registry has metrics of these names already: give one PrometheusObserver to all clients, "
            "or each its own registry or namespace"
        )

    def __call__(self, event: Event, /) -> None:
        """Count *event*. Of a kind that is not known, nothing."""
        match event:
            case AttemptFinished(operation=name, error=error):
                self._attempts.labels(known_operation(name), outcome(error)).inc()
            case RetryScheduled(operation=name, error=error):
                self._retries.labels(known_operation(name), outcome(error)).inc()
            case CallFinished():
                self._call(event)
            case CredentialsRefreshed(source=source, seconds=seconds):
                self._refreshes.labels(self._sources.known(source)).observe(seconds)
                self._expiration(event)
            case CredentialsRefreshFailed(source=source, error=error):
                self._kept.labels(self._sources.known(source), outcome(error)).inc()
                self._expiration(event)
            case CredentialsInvalidated(operation=name, code=code):
                self._refused.labels(known_operation(name), known_code(code)).inc()

    def _call(self, event: CallFinished) -> None:
        name = known_operation(event.operation)
        self._calls.labels(name, outcome(event.error)).observe(event.seconds)
        self._limited.labels(name).inc(event.limiter_seconds)
        if event.quota_left is not None:
            self._quota.set(event.quota_left)

    def _expiration(self, event: CredentialsRefreshed | CredentialsRefreshFailed) -> None:
        ends = math.inf if event.expiration is None else event.expiration.timestamp()
        self._ends.labels(self._sources.known(event.source)).set(ends)
