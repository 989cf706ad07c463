"""Log records of what happens."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from support import KEYS, ROLE, Clocks, put_into

from sts_async import (
    AttemptFinished,
    CacheStateChanged,
    CallFinished,
    ConfigurationError,
    CredentialsInvalidated,
    CredentialsRefreshed,
    CredentialsRefreshFailed,
    Event,
    IdentityStateChanged,
    RetryScheduled,
    STSClient,
    errors,
)
from sts_async.credentials import RefreshingProvider
from sts_async.fleet.reports import IdentityState
from sts_async.observers import LoggingObserver
from sts_async.protocols import ProviderContext
from sts_async.shapes import Credentials
from sts_async.testing import LocalSTS, Refuse, Throttle

Connect = Callable[..., Awaitable[STSClient]]
ENDS = datetime(2026, 1, 1, tzinfo=UTC)
DENIED = errors.ServiceError("no", code="AccessDenied", status=403, request_id="r-1")
LOST = errors.ConnectionLost("reset")


def kept(source: str = "vault") -> CredentialsRefreshFailed:
    return CredentialsRefreshFailed(source=source, access_key_id="AKIAOLD", expiration=None, error=LOST)


def refreshed(source: str = "vault") -> CredentialsRefreshed:
    return CredentialsRefreshed(source=source, access_key_id="AKIANEW", expiration=ENDS, seconds=0.25)


IDENTITY = f"role '{ROLE}' (session 'me')"


def changed(before: str | None, state: str | None, **more: Any) -> IdentityStateChanged:
    return IdentityStateChanged(identity=IDENTITY, account_id="123456789012", before=before, state=state, **more)


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
        "AssumeRole, attempt 1: ConnectionLost, next attempt in 0.125 s",
    ),
    (
        CallFinished(operation="AssumeRole", endpoint="http://x/", attempts=2, status=200, request_id="r", seconds=1.5),
        logging.DEBUG,
        "AssumeRole: HTTP 200, request r, attempts: 2, 1.500 s",
    ),
    (
        refreshed(),
        logging.DEBUG,
        "vault: fetched credentials AKIANEW, expiring 2026-01-01T00:00:00+00:00, in 0.250 s",
    ),
    (
        kept(),
        logging.WARNING,
        "vault: credential refresh failed (ConnectionLost) for 0 s; still serving AKIAOLD, expiration never",
    ),
    (
        attrs.evolve(kept(), changed=False, failing_seconds=600.0),
        logging.DEBUG,
        "vault: credential refresh failed (ConnectionLost) for 600 s; still serving AKIAOLD, expiration never",
    ),
    (
        attrs.evolve(refreshed(), failing_seconds=21_600.4),
        logging.INFO,
        "vault: fetched credentials AKIANEW, expiring 2026-01-01T00:00:00+00:00, in 0.250 s, after failing for 21600 s",
    ),
    (
        CredentialsInvalidated(operation="AssumeRole", access_key_id="AKIAOLD", code="ExpiredToken"),
        logging.INFO,
        "AssumeRole: the service rejected the credentials AKIAOLD: ExpiredToken",
    ),
    (changed(None, "waiting", kept=True), logging.DEBUG, f"{IDENTITY}: waiting, added"),
    (changed("waiting", "fresh", seconds=0.25), logging.DEBUG, f"{IDENTITY}: fresh, after 0 s waiting"),
    (
        changed("waiting", "failing", error=DENIED, seconds=2.0),
        logging.WARNING,
        f"{IDENTITY}: failing (AccessDenied), after 2 s waiting",
    ),
    (
        changed("fresh", "stale", error=LOST, seconds=2700.4),
        logging.WARNING,
        f"{IDENTITY}: stale (ConnectionLost), after 2700 s fresh",
    ),
    (
        changed("stale", "failing", error=LOST, seconds=900.0),
        logging.WARNING,
        f"{IDENTITY}: failing (ConnectionLost), after 900 s stale",
    ),
    (changed("stale", "fresh", seconds=60.0), logging.INFO, f"{IDENTITY}: fresh, after 60 s stale"),
    (changed("failing", "fresh", seconds=60.0), logging.INFO, f"{IDENTITY}: fresh, after 60 s failing"),
    (changed("failing", "waiting", seconds=60.0), logging.DEBUG, f"{IDENTITY}: waiting, after 60 s failing"),
    (changed("failing", "paused", seconds=60.0), logging.DEBUG, f"{IDENTITY}: paused, after 60 s failing"),
    (changed("paused", "fresh", seconds=60.0), logging.DEBUG, f"{IDENTITY}: fresh, after 60 s paused"),
    (changed("failing", None, seconds=60.0), logging.DEBUG, f"{IDENTITY}: removed, after 60 s failing"),
    (
        CacheStateChanged(cache="RedisCache('x')", available=False, reason="no answer within 0.25 s", seconds=7200.4),
        logging.WARNING,
        "RedisCache('x'): unavailable (no answer within 0.25 s), after 7200 s",
    ),
    (
        CacheStateChanged(cache="RedisCache('x')", available=True, seconds=600.0),
        logging.INFO,
        "RedisCache('x'): available, after 600 s",
    ),
    (
        attrs.evolve(kept("CredentialsFleet"), identity=IDENTITY),
        logging.DEBUG,
        f"CredentialsFleet, {IDENTITY}: credential refresh failed (ConnectionLost) for 0 s; "
        "still serving AKIAOLD, expiration never",
    ),
    (
        attrs.evolve(refreshed("CredentialsFleet"), identity=IDENTITY, failing_seconds=60.0),
        logging.DEBUG,
        f"CredentialsFleet, {IDENTITY}: fetched credentials AKIANEW, expiring 2026-01-01T00:00:00+00:00, in 0.250 s, "
        "after failing for 60 s",
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


def test_the_fields_do_not_collide_with_attributes_of_a_record() -> None:
    """`logging` refuses those with a KeyError."""
    record = logging.makeLogRecord({})

    assert not [name for name in {*vars(record), *dir(record)} if name.startswith("sts_")]


class Away(RefreshingProvider):
    """A source that gives credentials for an hour, and then nothing until it is back."""

    name = "role 'shared'"

    def __init__(self, clocks: Clocks) -> None:
        super().__init__()
        self.clocks, self.away = clocks, False

    async def fetch(self, context: ProviderContext) -> Credentials:
        if self.away:
            raise errors.ConnectError("refused")
        return attrs.evolve(KEYS, expiration=datetime.fromtimestamp(self.clocks.wall + 3600, UTC))


async def test_an_outage_is_one_line_when_it_begins_one_at_the_end_of_the_credentials_and_one_when_it_is_over(
    connect: Connect, records: list[logging.LogRecord]
) -> None:
    """G8: for each of two sources that have one name, whatever they do in turn."""
    observer, clocks = LoggingObserver(), Clocks()
    sources = [Away(clocks), Away(clocks)]
    clients = [await connect(observer, credentials=source) for source in sources]

    async def pass_by(seconds: float) -> None:
        for _ in range(int(seconds // 300)):
            clocks.advance(300)
            for client in clients:
                await client.get_credentials()
                while client._life._tasks._running:
                    await asyncio.sleep(0)

    for client in clients:
        await client._life.ready()
        put_into(client, wall_clock=lambda: clocks.wall, monotonic=lambda: clocks.monotonic)
        await client.get_credentials()
    for source in sources:
        source.away = True
    await pass_by(6 * 3600)
    for source in sources:
        source.away = False
    await pass_by(900)

    told = [record.levelname for record in records if record.levelno > logging.DEBUG]
    assert told == ["WARNING"] * 4 + ["INFO"] * 2
    assert len(records) > 50, "each attempt at DEBUG"


def test_an_outage_of_an_identity_of_a_fleet_is_one_line_for_each_change(records: list[logging.LogRecord]) -> None:
    """G8: the events of its refreshes, of which some say that the situation changed, add none."""
    observer = LoggingObserver()
    failed = attrs.evolve(kept("CredentialsFleet"), identity=IDENTITY)
    for before, state in [("fresh", "stale"), ("stale", "failing")]:
        observer(changed(before, state, error=LOST))
        observer(failed)
        for minutes in range(10, 360, 10):
            observer(attrs.evolve(failed, changed=False, failing_seconds=60.0 * minutes))
    observer(attrs.evolve(refreshed("CredentialsFleet"), identity=IDENTITY, failing_seconds=21_600.0))
    observer(changed("failing", "fresh"))

    assert [record.levelname for record in records if record.levelno > logging.DEBUG] == ["WARNING", "WARNING", "INFO"]


def test_the_states_in_a_record_are_plain_text(records: list[logging.LogRecord]) -> None:
    """A record may be pickled for a process that has no such class."""
    LoggingObserver()(changed(IdentityState.FRESH, IdentityState.STALE, error=LOST))
    (record,) = records

    assert record.getMessage() == f"{IDENTITY}: stale (ConnectionLost), after 0 s fresh"
    assert [type(vars(record)[name]) for name in ("sts_before", "sts_state")] == [str, str]


def test_a_disabled_record_is_not_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
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
    observer(attrs.evolve(changed("a\n", "b\n", error=forged), identity="of a user\nERROR forged"))
    observer(attrs.evolve(refreshed(), identity="of a user\nERROR forged"))
    observer(CacheStateChanged(cache="a\nERROR forged", available=False, reason="b\nERROR forged"))

    assert len(records) == 5
    for record in records:
        values = [value for name, value in vars(record).items() if name.startswith("sts_") and isinstance(value, str)]
        assert all(text.isprintable() for text in [record.getMessage(), *values])


@pytest.mark.parametrize("wrong", ["sts", 1, logging])
def test_an_invalid_logger_is_an_error(wrong: Any) -> None:
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
