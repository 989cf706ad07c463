"""What observers are told: of attempts, retries, calls and credentials, with timings, without secrets, at no risk."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
from patience import until
from support import ANSWER, KEYS, ROLE, RawServer, http

from sts_async import (
    AttemptFinished,
    CallFinished,
    Credentials,
    CredentialsInvalidated,
    CredentialsRefreshed,
    CredentialsRefreshFailed,
    Event,
    RefreshingProvider,
    RetryScheduled,
    STSClient,
    errors,
)
from sts_async.credentials.cache import CachingProvider

Start = Callable[..., Awaitable[RawServer]]
CALL = {"role_arn": ROLE, "role_session_name": "me"}
THROTTLED = http(
    "<ErrorResponse><Error><Code>Throttling</Code></Error><RequestId>r-1</RequestId></ErrorResponse>", status=400
)
EXPIRED = http(
    "<ErrorResponse><Error><Code>ExpiredToken</Code></Error><RequestId>r-2</RequestId></ErrorResponse>", status=403
)


def client(url: str, seen: list[Event], **options: Any) -> STSClient:
    defaults: dict[str, Any] = {"region": "eu-west-1", "credentials": KEYS, "endpoint_url": url}
    return STSClient(**{**defaults, "observers": [seen.append], **options})


def kinds(seen: list[Event]) -> list[type[Event]]:
    return [type(event) for event in seen]


async def test_a_call_that_succeeds_is_an_attempt_and_a_call(raw_server: Start) -> None:
    server, seen = await raw_server(http(ANSWER)), list[Event]()
    async with client(server.url, seen) as sts:
        await sts.assume_role(**CALL)
    attempt, call = seen

    assert isinstance(attempt, AttemptFinished)
    assert (attempt.operation, attempt.attempt, attempt.status) == ("AssumeRole", 1, 200)
    assert (attempt.endpoint, attempt.error, attempt.code) == (server.url, None, None)
    assert attempt.request_id == "c6104cbe-af31-11e0-8154-cbc7ccf896c7"
    assert isinstance(call, CallFinished)
    assert (call.operation, call.attempts, call.status, call.error, call.quota_left) == (
        "AssumeRole",
        1,
        200,
        None,
        500,
    )
    parts = [value for name, value in attrs.asdict(attempt).items() if name.endswith("_seconds")]
    assert attempt.connection_reused is False
    assert len(parts) == 7
    assert all(part > 0 for part in parts)
    assert sum(parts) + call.marshalling_seconds <= call.seconds


async def test_a_retry_is_told_with_its_delay_and_what_is_left_to_pay_with(raw_server: Start) -> None:
    server, seen = await raw_server(THROTTLED, http(ANSWER)), list[Event]()
    async with client(server.url, seen) as sts:
        engine = await sts._life.ready()
        engine._shared.jitter = lambda: 0.001
        await sts.assume_role(**CALL)
    failed, retry, attempt, call = seen

    assert isinstance(failed, AttemptFinished)
    assert (failed.status, failed.code, failed.request_id) == (400, "Throttling", "r-1")
    assert isinstance(retry, RetryScheduled)
    assert (retry.attempt, retry.delay, retry.quota_used, retry.quota_left) == (1, 0.001, 5, 495)
    assert isinstance(retry.error, errors.ThrottlingError)
    assert isinstance(attempt, AttemptFinished)
    assert attempt.attempt == 2
    assert isinstance(call, CallFinished)
    assert (call.attempts, call.pause_seconds, call.quota_used, call.quota_left) == (2, 0.001, 5, 500)
    assert attempt.connection_reused is True


async def test_a_call_that_fails_is_told_with_its_error() -> None:
    seen = list[Event]()
    async with client("http://127.0.0.1:9/", seen) as sts:
        with pytest.raises(errors.ConnectError) as caught:
            await sts.assume_role(**CALL)
    call = seen[-1]

    assert isinstance(call, CallFinished)
    assert call.error is caught.value
    assert (call.attempts, call.status, call.code, call.request_id) == (3, None, None, None)


async def test_a_call_that_is_not_sent_is_told_too() -> None:
    seen = list[Event]()
    async with client("http://127.0.0.1:9/", seen) as sts:
        with pytest.raises(errors.ParamValidationError):
            await sts.assume_role(role_arn="x", role_session_name="a b")
    (call,) = seen

    assert isinstance(call, CallFinished)
    assert (call.attempts, type(call.error)) == (0, errors.ParamValidationError)


async def test_credentials_that_are_refused_are_told(raw_server: Start) -> None:
    server, seen = await raw_server(EXPIRED, http(ANSWER)), list[Event]()
    given = iter(("AKIAOLD", "AKIANEW"))

    async def source() -> Credentials:
        return Credentials(access_key_id=next(given), secret_access_key="SENTINEL-key")

    async with client(server.url, seen, credentials=CachingProvider(source)) as sts:
        await sts.assume_role(**CALL)

    assert kinds(seen) == [
        CredentialsRefreshed,
        AttemptFinished,
        CredentialsInvalidated,
        CredentialsRefreshed,
        AttemptFinished,
        CallFinished,
    ]
    assert seen[2] == CredentialsInvalidated(operation="AssumeRole", access_key_id="AKIAOLD", code="ExpiredToken")
    assert isinstance(seen[3], CredentialsRefreshed)
    assert (seen[3].access_key_id, seen[3].source) == ("AKIANEW", repr(CachingProvider(source)))


async def test_credentials_that_stay_in_use_are_told(raw_server: Start) -> None:
    server, seen = await raw_server(http(ANSWER)), list[Event]()

    class Failing(RefreshingProvider):
        fetched = 0

        async def fetch(self, context: object) -> Credentials:
            self.fetched += 1
            if self.fetched > 1:
                raise errors.ConnectError("refused")
            return KEYS

    provider = Failing()
    async with client(server.url, seen, credentials=provider) as sts:
        await sts.assume_role(**CALL)
        provider.invalidate(KEYS.access_key_id)
        await sts.assume_role(**CALL)
    (kept,) = [event for event in seen if isinstance(event, CredentialsRefreshFailed)]

    assert (kept.source, kept.access_key_id, kept.expiration) == ("Failing", KEYS.access_key_id, None)
    assert isinstance(kept.error, errors.ConnectError)


async def test_an_observer_that_fails_breaks_nothing_and_is_logged(
    raw_server: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server, seen = await raw_server(http(ANSWER)), list[Event]()

    def broken(event: Event) -> None:
        raise LookupError

    async with client(server.url, seen, observers=[broken, seen.append]) as sts:
        with caplog.at_level(logging.ERROR, logger="sts_async"):
            await sts.assume_role(**CALL)

    assert kinds(seen) == [AttemptFinished, CallFinished]
    assert [record.getMessage() for record in caplog.records] == [
        f"observer {broken.__qualname__} failed on AttemptFinished",
        f"observer {broken.__qualname__} failed on CallFinished",
    ]


async def test_a_view_has_an_observer_beside_those_of_the_client(raw_server: Start) -> None:
    server, of_client, of_view = await raw_server(http(ANSWER)), list[Event](), list[Event]()
    async with client(server.url, of_client) as sts:
        await sts.with_options(observers=[of_view.append]).assume_role(**CALL)
        await sts.assume_role(**CALL)

    assert (len(of_client), len(of_view)) == (4, 2)


async def test_records_show_no_secret_and_cannot_be_changed(raw_server: Start) -> None:
    """T14."""
    server, seen = await raw_server(http(ANSWER)), list[Event]()
    async with client(server.url, seen) as sts:
        await sts.assume_role(**CALL)

    assert "SENTINEL" not in repr(seen)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        seen[0].operation = "x"  # type: ignore[misc,union-attr]


async def test_a_call_that_is_cancelled_tells_nothing_of_an_end(raw_server: Start) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server, seen = await raw_server(handler=never), list[Event]()
    async with client(server.url, seen) as sts:
        task = asyncio.create_task(sts.assume_role(**CALL))
        await until(lambda: server.connections)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert seen == []


@pytest.mark.parametrize("wrong", [print, [1], "x", None])
def test_what_cannot_observe_is_refused(wrong: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match="observers must be a list of functions"):
        STSClient(region="eu-west-1", observers=wrong)
