"""Log records of what happens."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from support import ROLE

from sts_async import (
    AttemptFinished,
    CallFinished,
    ConfigurationError,
    CredentialsInvalidated,
    CredentialsKept,
    CredentialsRefreshed,
    Event,
    RetryScheduled,
    STSClient,
    errors,
)
from sts_async.observers import LoggingObserver
from sts_async.observers._words import MOST_SOURCES
from sts_async.testing import LocalSTS, Refuse, Throttle

Connect = Callable[..., Awaitable[STSClient]]
ENDS = datetime(2026, 1, 1, tzinfo=UTC)
DENIED = errors.ServiceError("no", code="AccessDenied", status=403, request_id="r-1")
LOST = errors.ConnectionLost("reset")


def kept(source: str = "vault") -> CredentialsKept:
    return CredentialsKept(source=source, access_key_id="AKIAOLD", expiration=None, error=LOST)


def refreshed(source: str = "vault") -> CredentialsRefreshed:
    return CredentialsRefreshed(source=source, access_key_id="AKIANEW", expiration=ENDS, seconds=0.25)


EVENTS: list[tuple[Event, int, str]] = [
    (
        AttemptFinished(
            operation="AssumeRole",
            attempt=2,
            endpoint="http://x/",
            status=403,
            code=DENIED.code,
            request_id="r-1",
            error=DENIED,
            send_seconds=0.5,
            parse_seconds=0.25,
        ),
        logging.DEBUG,
        "AssumeRole, attempt 2: HTTP 403 AccessDenied, request r-1, 0.750 s",
    ),
    (
        AttemptFinished(operation="AssumeRole", attempt=1, endpoint="http://x/", error=LOST),
        logging.DEBUG,
        "AssumeRole, attempt 1: ConnectionLost, request None, 0.000 s",
    ),
    (
        RetryScheduled(operation="AssumeRole", attempt=1, delay=0.125, error=LOST, quota_used=5, quota_left=495),
        logging.DEBUG,
        "AssumeRole, attempt 1: ConnectionLost, another follows in 0.125 s",
    ),
    (
        CallFinished(operation="AssumeRole", endpoint="http://x/", attempts=2, status=200, request_id="r", seconds=1.5),
        logging.DEBUG,
        "AssumeRole: HTTP 200, request r, attempts: 2, 1.500 s",
    ),
    (
        refreshed(),
        logging.DEBUG,
        "vault: has new credentials, AKIANEW, which end 2026-01-01T00:00:00+00:00; fetched in 0.250 s",
    ),
    (
        kept(),
        logging.WARNING,
        "vault: ConnectionLost; credentials AKIAOLD, which end never, stay in use",
    ),
    (
        CredentialsInvalidated(operation="AssumeRole", access_key_id="AKIAOLD", code="ExpiredToken"),
        logging.INFO,
        "AssumeRole: credentials AKIAOLD were refused: ExpiredToken",
    ),
]


class Records(logging.Handler):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """The records of the default logger, at DEBUG."""
    logger, handler = logging.getLogger("sts_async.calls"), Records()
    logger.addHandler(handler)
    yield handler.found
    logger.removeHandler(handler)


@pytest.mark.parametrize(("event", "level", "text"), EVENTS, ids=lambda value: type(value).__name__)
def test_an_event_is_a_record(records: list[logging.LogRecord], event: Event, level: int, text: str) -> None:
    LoggingObserver()(event)
    (record,) = records

    assert (record.name, record.levelno, record.getMessage()) == ("sts_async.calls", level, text)


@pytest.mark.parametrize(("event", "level", "text"), EVENTS, ids=lambda value: type(value).__name__)
def test_a_record_has_the_fields_of_its_event(
    records: list[logging.LogRecord], event: Event, level: int, text: str
) -> None:
    """For handlers that write JSON: numbers stay numbers, an error is its class, a time is text."""
    LoggingObserver()(event)
    (record,) = records
    fields = {name: value for name, value in vars(record).items() if name.startswith("sts_")}

    assert fields.pop("sts_event") == type(event).__name__
    assert {*fields} == {f"sts_{field.name}" for field in attrs.fields(type(event))}
    for field in attrs.fields(type(event)):
        value, logged = getattr(event, field.name), fields[f"sts_{field.name}"]
        if isinstance(value, errors.STSError):
            assert logged == type(value).__name__
        elif isinstance(value, datetime):
            assert logged == value.isoformat()
        else:
            assert logged == value


def test_the_fields_cannot_collide_with_those_of_a_record() -> None:
    """`logging` refuses those with a KeyError."""
    record = logging.makeLogRecord({})

    assert not [name for name in {*vars(record), *dir(record)} if name.startswith("sts_")]


def test_it_is_told_once_that_credentials_stay_in_use_and_once_that_there_are_others(
    records: list[logging.LogRecord],
) -> None:
    """A source that is away for an hour is one warning, not one for each attempt to reach it."""
    observer = LoggingObserver()
    for event in (kept(), kept(), kept("other"), refreshed(), refreshed(), kept()):
        observer(event)

    levels = [record.levelname for record in records]
    assert levels == ["WARNING", "DEBUG", "WARNING", "INFO", "DEBUG", "WARNING"]


def test_a_change_is_noticed_also_when_it_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    observer = LoggingObserver()
    with caplog.at_level(logging.CRITICAL, logger="sts_async.calls"):
        observer(kept())
    with caplog.at_level(logging.INFO, logger="sts_async.calls"):
        observer(kept())
        observer(refreshed())

    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_sources_that_never_recover_are_not_remembered_without_end(records: list[logging.LogRecord]) -> None:
    observer = LoggingObserver()
    for number in range(MOST_SOURCES + 5):
        observer(kept(f"source {number}"))

    assert len(observer._kept) == MOST_SOURCES
    assert f"source {MOST_SOURCES + 4}" in observer._kept


def test_what_is_off_is_not_even_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("tests.off")
    logger.setLevel(logging.INFO)
    monkeypatch.setattr("sts_async.observers.log._fields", None)
    monkeypatch.setattr("sts_async.observers.log._message", None)

    LoggingObserver(logger)(EVENTS[0][0])


def test_events_of_another_kind_are_ignored(records: list[logging.LogRecord]) -> None:
    """A later version may have more."""
    LoggingObserver()(object())  # type: ignore[arg-type]

    assert records == []


def test_a_server_cannot_forge_records(records: list[logging.LogRecord]) -> None:
    """T45: with control characters in what it chooses."""
    forged = errors.ServiceError("", code="A\nERROR forged", status=400, request_id="r\r\n1")
    observer = LoggingObserver()
    observer(
        AttemptFinished(
            operation="AssumeRole",
            attempt=1,
            endpoint="",
            status=400,
            code=forged.code,
            request_id=forged.request_id,
            error=forged,
        )
    )
    observer(CredentialsInvalidated(operation="AssumeRole", access_key_id="A\x1b", code="B\n"))

    for record in records:
        values = [value for name, value in vars(record).items() if name.startswith("sts_") and isinstance(value, str)]
        assert all(text.isprintable() for text in [record.getMessage(), *values])


@pytest.mark.parametrize("wrong", ["sts", 1, logging])
def test_what_is_no_logger_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="logger must be a logging"):
        LoggingObserver(wrong)


async def test_calls_are_logged_without_secrets(
    server: LocalSTS, connect: Connect, records: list[logging.LogRecord]
) -> None:
    """T14: the watch of the whole suite looks at what is logged here."""
    server.faults.add(Throttle(), Refuse("AccessDenied", status=403))
    sts = await connect(LoggingObserver())
    with pytest.raises(errors.ServiceError):
        await sts.assume_role(role_arn=ROLE, role_session_name="me", external_id="SENTINEL")
    await sts.assume_role(role_arn=ROLE, role_session_name="me")

    assert [vars(record)["sts_event"] for record in records] == [
        "AttemptFinished",
        "RetryScheduled",
        "AttemptFinished",
        "CallFinished",
        "AttemptFinished",
        "CallFinished",
    ]
    assert server.credentials.secret_access_key not in repr([vars(record) for record in records])
