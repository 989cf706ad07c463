"""Observer that writes log records with fields."""

import logging
from datetime import datetime
from enum import Enum
from typing import Any

import attrs

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
from ._words import AVAILABLE, FAILURE_STATES, FRESH, error_type

LOGGER = "sts_async.calls"
PREFIX = "sts_"  # prefix of the fields, which no attribute of a LogRecord has


class LoggingObserver:
    """
    Observer that writes one log record for each event.

        logging.getLogger("sts_async.calls").setLevel(logging.DEBUG)
        STSClient(observers=[LoggingObserver()])

    ============================  =======  ===============================================================
    event                         level
    ============================  =======  ===============================================================
    `AttemptFinished`             DEBUG    one for each request
    `RetryScheduled`              DEBUG
    `CallFinished`                DEBUG
    `CredentialsRefreshFailed`    WARNING  at the first failure and when the credentials expire; DEBUG otherwise
    `CredentialsRefreshed`        INFO     after a failure; DEBUG otherwise
    `CredentialsInvalidated`      INFO
    `IdentityStateChanged`        WARNING  when the identity becomes stale or failing; INFO when it is fresh again;
                                           DEBUG otherwise
    `CacheStateChanged`           WARNING  when the cache becomes unavailable; INFO when it is available again
    ============================  =======  ===============================================================

    The refreshes of a fleet, which have an ``identity``, are logged at DEBUG. So each change of state is one line above
    DEBUG, however many refreshes fail.

    Each record has ``sts_event``, the name of the event's class, and the fields of the event with the prefix ``sts_``,
    such as ``sts_operation``, ``sts_status``, ``sts_request_id`` and ``sts_send_seconds``. Of an error, only the class
    (``sts_error``) and the code are logged, not the text. ``sts_expiration`` is ISO 8601 text.

    The library itself logs one line for each attempt at DEBUG to ``sts_async``. To get only the records of this
    observer, set ``sts_async`` to INFO and ``sts_async.calls`` to DEBUG.

    Args:
        logger: The logger; None for ``sts_async.calls``.

    Raises:
        ConfigurationError: *logger* is not a `logging.Logger`.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        if logger is not None and not isinstance(logger, logging.Logger):
            raise ConfigurationError(
                f"logger must be a logging.Logger, not a {type(logger).__name__}: logging.getLogger(name) returns one"
            )
        self._logger = logger or logging.getLogger(LOGGER)

    def __call__(self, event: Event, /) -> None:
        """Log *event*. Unknown kinds of events are ignored."""
        level = self._level(event)
        if level and self._logger.isEnabledFor(level):
            message, args = _message(event)
            self._logger.log(level, message, *args, extra=_fields(event))

    @staticmethod
    def _level(event: Event) -> int:
        match event:
            case AttemptFinished() | RetryScheduled() | CallFinished():
                return logging.DEBUG
            case CredentialsInvalidated():
                return logging.INFO
            case CredentialsRefreshFailed():
                return logging.WARNING if event.changed and event.identity is None else logging.DEBUG
            case CredentialsRefreshed():
                return logging.DEBUG if event.failing_seconds is None or event.identity is not None else logging.INFO
            case IdentityStateChanged():
                return _level_of_change(event)
            case CacheStateChanged():
                return logging.INFO if event.available else logging.WARNING
        return logging.NOTSET


def _level_of_change(event: IdentityStateChanged) -> int:
    if event.state in FAILURE_STATES:
        return logging.WARNING
    return logging.INFO if event.before in FAILURE_STATES and event.state == FRESH else logging.DEBUG


def _message(event: Event) -> tuple[str, tuple[object, ...]]:
    match event:
        case AttemptFinished():
            seconds = sum(getattr(event, name) for name in _names(event) if name.endswith("_seconds"))
            return "%s, attempt %d: %s, request %s, %.3f s", (
                event.operation,
                event.attempt,
                _ending(event),
                _shown(event.request_id),
                seconds,
            )
        case RetryScheduled():
            return "%s, attempt %d: %s, next attempt in %.3f s", (
                event.operation,
                event.attempt,
                error_type(event.error),
                event.delay,
            )
        case CallFinished():
            return "%s: %s, request %s, attempts: %d, %.3f s", (
                event.operation,
                _ending(event),
                _shown(event.request_id),
                event.attempts,
                event.seconds,
            )
        case CredentialsRefreshed():
            failing = "" if event.failing_seconds is None else f", after failing for {event.failing_seconds:.0f} s"
            return "%s: fetched credentials %s%s, expiring %s, in %.3f s%s", (
                _source(event),
                _shown(event.access_key_id),
                _account(event.account_id),
                _end(event.expiration),
                event.seconds,
                failing,
            )
        case CredentialsRefreshFailed():
            return "%s: credential refresh failed (%s) for %.0f s; still serving %s%s, expiration %s", (
                _source(event),
                error_type(event.error),
                event.failing_seconds,
                _shown(event.access_key_id),
                _account(event.account_id),
                _end(event.expiration),
            )
        case CredentialsInvalidated():
            return "%s: the service rejected the credentials %s: %s", (
                event.operation,
                _shown(event.access_key_id),
                _shown(event.code),
            )
        case IdentityStateChanged():
            return "%s: %s%s%s", (
                _shown(event.identity),
                "removed" if event.state is None else _shown(event.state),
                "" if event.error is None else f" ({error_type(event.error)})",
                ", added" if event.before is None else f", after {event.seconds:.0f} s {_shown(event.before)}",
            )
        case CacheStateChanged():
            return "%s: %s%s, after %.0f s", (
                _shown(event.cache),
                AVAILABLE[event.available],
                "" if event.reason is None else f" ({_shown(event.reason)})",
                event.seconds,
            )


def _source(event: CredentialsRefreshed | CredentialsRefreshFailed) -> str:
    return event.source if event.identity is None else f"{event.source}, {_shown(event.identity)}"


def _account(account_id: str | None) -> str:
    return "" if account_id is None else f" of account {_shown(account_id)}"


def _ending(event: AttemptFinished | CallFinished) -> str:
    words = [f"HTTP {event.status}"] if event.status is not None else []
    words += [error_type(event.error)] if event.error is not None else []
    return " ".join(words)


def _end(expiration: datetime | None) -> str:
    return "never" if expiration is None else expiration.isoformat()


def _fields(event: Event) -> dict[str, object]:
    fields: dict[str, object] = {f"{PREFIX}event": type(event).__name__}
    for name in _names(event):
        fields[PREFIX + name] = _shown(getattr(event, name))
    return fields


def _names(event: Event) -> list[str]:
    return [field.name for field in attrs.fields(type(event))]


def _shown(value: Any) -> Any:
    match value:
        case Enum():
            return value.value  # a process that receives pickled records may not have the class
        case str():
            return printable(value)
        case STSError():
            return type(value).__name__
        case datetime():
            return value.isoformat()
    return value
