"""Observer that updates metrics for Prometheus."""

import math
import re
from typing import TYPE_CHECKING, Literal

from ..errors import ConfigurationError
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
from ._words import AVAILABLE, BUCKETS, REMOVED, Names, known_code, known_operation, known_state, outcome

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

ADVICE = "PrometheusObserver needs the package prometheus-client: pip install 'sts-async[prometheus]'"
NAMESPACE = r"[a-zA-Z][a-zA-Z0-9_]*"
MAX_BUCKET = 30.0  # s, the default deadline of a call: one more bucket than the OpenTelemetry conventions have


class PrometheusObserver:
    """
    Observer that counts and measures calls for Prometheus. All clients of a program share one observer.

        STSClient(observers=[PrometheusObserver()])

    ================================================  =========  =================  ====================================
    metric                                            kind       labels
    ================================================  =========  =================  ====================================
    ``sts_call_seconds``                              histogram  operation, code    duration of a call
    ``sts_attempts_total``                            counter    operation, code    requests, sent or not
    ``sts_retries_total``                             counter    operation, code    code of the previous attempt
    ``sts_limiter_wait_seconds_total``                counter    operation          wait for the retry policy
    ``sts_retry_quota_left``                          gauge                         tokens, after the latest call
    ``sts_credentials_refresh_seconds``               histogram  source             duration of a fetch
    ``sts_credentials_refresh_failures_total``        counter    source, code       failed refreshes while cached
                                                                                    credentials stay in use
    ``sts_credentials_invalidated_total``             counter    operation, code    rejected by the service
    ``sts_credentials_expiration_timestamp_seconds``  gauge      source             since 1970; +Inf for no expiry
    ``sts_fleet_identities``                          gauge      state              identities of fleets
    ``sts_fleet_state_changes_total``                 counter    state, code        new state; code of the error
    ``sts_cache_available``                           gauge      cache              1 or 0, after the latest change
    ``sts_cache_state_changes_total``                 counter    cache, state       ``available`` or ``unavailable``
    ================================================  =========  =================  ====================================

    ``code`` is ``success``, a known error code, ``http_4xx`` or similar for an unknown code, or the name of a class of
    `errors` if no service sent a code. So a server cannot create metric series. ``source`` is the name of the source in
    the events, and so is ``cache``; names after the first thousand are replaced by ``other``.

    All identities of a fleet have the source ``CredentialsFleet``. So their credentials do not set
    ``sts_credentials_expiration_timestamp_seconds``: thousands of identities would overwrite one series.
    `CredentialsFleet.snapshot` has the soonest end. ``state`` is a value of `fleet.IdentityState`. For an identity that
    left the fleet, ``sts_fleet_state_changes_total`` has the state ``removed``. No label names an identity.

    Args:
        registry: The registry for the metrics; None for the default registry of ``prometheus_client``.
        namespace: Prefix of the names: a letter, followed by letters, digits and underscores.

    Raises:
        ConfigurationError: The package ``prometheus-client`` is not installed, *namespace* is invalid, or the registry
            already has metrics with these names, such as those of another observer.
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

        def gauge(name: str, text: str, *labels: str, of_processes: Literal["livemin", "livesum"]) -> Gauge:
            # In multiprocess mode, the smallest value or the sum of all live processes.
            return Gauge(name, text, labels, namespace=namespace, registry=None, multiprocess_mode=of_processes)

        self._sources, self._caches = Names(), Names()
        self._calls = histogram("call_seconds", "Duration of a call to STS.", "operation", "code")
        self._attempts = counter("attempts", "Attempts to send a request to STS.", "operation", "code")
        self._retries = counter("retries", "Retries of requests.", "operation", "code")
        self._limited = counter("limiter_wait_seconds", "Wait for the retry policy.", "operation")
        self._quota = gauge("retry_quota_left", "Tokens that remain for retries.", of_processes="livemin")
        self._refreshes = histogram("credentials_refresh_seconds", "Duration of a fetch of credentials.", "source")
        self._refresh_failures = counter(
            "credentials_refresh_failures", "Failed refreshes while cached credentials stay in use.", "source", "code"
        )
        self._invalidated = counter("credentials_invalidated", "Credentials that STS rejected.", "operation", "code")
        self._expirations = gauge(
            "credentials_expiration_timestamp_seconds",
            "Expiry of the credentials, since 1970.",
            "source",
            of_processes="livemin",
        )
        self._identities = gauge("fleet_identities", "Identities of fleets.", "state", of_processes="livesum")
        self._changes = counter("fleet_state_changes", "Changes of state of identities.", "state", "code")
        self._available = gauge(
            "cache_available", "Whether a cache that processes share is available.", "cache", of_processes="livemin"
        )
        self._cache_changes = counter("cache_state_changes", "Changes of state of caches.", "cache", "state")
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
            self._refresh_failures,
            self._invalidated,
            self._expirations,
            self._identities,
            self._changes,
            self._available,
            self._cache_changes,
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
            "the registry already has metrics with these names: share one PrometheusObserver between all clients, "
            "or give each observer its own registry or namespace"
        )

    def __call__(self, event: Event, /) -> None:
        """Count *event*. Unknown kinds of events are ignored."""
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
                self._refresh_failures.labels(self._sources.known(source), outcome(error)).inc()
                self._expiration(event)
            case CredentialsInvalidated(operation=name, code=code):
                self._invalidated.labels(known_operation(name), known_code(code)).inc()
            case IdentityStateChanged():
                self._change(event)
            case CacheStateChanged():
                cache = self._caches.known(event.cache)
                self._available.labels(cache).set(event.available)
                self._cache_changes.labels(cache, AVAILABLE[event.available]).inc()

    def _call(self, event: CallFinished) -> None:
        name = known_operation(event.operation)
        self._calls.labels(name, outcome(event.error)).observe(event.seconds)
        self._limited.labels(name).inc(event.limiter_seconds)
        if event.quota_left is not None:
            self._quota.set(event.quota_left)

    def _change(self, event: IdentityStateChanged) -> None:
        if event.before is not None:
            self._identities.labels(known_state(event.before)).dec()
        if event.state is not None:
            self._identities.labels(known_state(event.state)).inc()
        state = REMOVED if event.state is None else known_state(event.state)
        self._changes.labels(state, outcome(event.error)).inc()

    def _expiration(self, event: CredentialsRefreshed | CredentialsRefreshFailed) -> None:
        if event.identity is not None:
            return
        expiration = math.inf if event.expiration is None else event.expiration.timestamp()
        self._expirations.labels(self._sources.known(event.source)).set(expiration)
