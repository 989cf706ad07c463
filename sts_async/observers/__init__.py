"""
Ready-made observers: log records, traces and metrics of OpenTelemetry, and metrics for Prometheus.

    STSClient(observers=[LoggingObserver(), PrometheusObserver()])

An observer can be shared by any number of clients. Observers never show a secret or the text of an error.

log             LoggingObserver
opentelemetry   OpenTelemetryObserver, with sts-async[opentelemetry]
prometheus      PrometheusObserver, with sts-async[prometheus]
"""

from typing import TYPE_CHECKING

from .._runtime.lazy_imports import lazily

if TYPE_CHECKING:
    from .log import LoggingObserver
    from .opentelemetry import OpenTelemetryObserver
    from .prometheus import PrometheusObserver

__all__ = [
    "LoggingObserver",
    "OpenTelemetryObserver",
    "PrometheusObserver",
]

if not TYPE_CHECKING:  # else every misspelt name would be of type Any
    __getattr__, __dir__ = lazily(__name__, names=__all__, homes=("log", "opentelemetry", "prometheus"))
