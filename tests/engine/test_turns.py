"""Requests that wait for a connection: signed when their turn has come, and not counted as sent before."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from patience import until
from support import ANSWER, KEYS, ROLE, START, Clocks, RawServer, http

from sts_async import Config, GetCallerIdentityRequest, STSClient, errors
from sts_async.events import AttemptFinished, Event

CALL = {"role_arn": ROLE, "role_session_name": "me"}
SECONDS = 2.0  # that the server takes for each answer
Start = Callable[..., Awaitable[RawServer]]


class Times:
    """A clock for a client, on clocks that the server moves."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks

    def time(self) -> float:
        return self._clocks.wall

    def monotonic(self) -> float:
        return self._clocks.monotonic

    async def sleep(self, seconds: float) -> None:
        await self._clocks.sleep(seconds)


def date_of(request: bytes) -> datetime:
    found = request.lower().partition(b"x-amz-date: ")[2][:16].decode()
    return datetime.strptime(found.upper(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@pytest.fixture
async def slow(raw_server: Start) -> tuple[RawServer, Clocks]:
    """A server that answers one request after the other, each 2 s later, with the date of that moment."""
    clocks = Clocks()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read_request(reader)
            clocks.advance(SECONDS)
            writer.write(http(ANSWER, headers=f"Date: {formatdate(clocks.wall, usegmt=True)}\r\n"))
            await writer.drain()

    server = await raw_server(handler=handle)
    return server, clocks


async def test_a_request_is_signed_when_its_turn_has_come(slow: tuple[RawServer, Clocks]) -> None:
    """B6: five callers and one connection; each signature is fresh on arrival, and the clock is not misled."""
    server, clocks = slow
    seen: list[Event] = []
    async with STSClient(
        endpoint_url=server.url,
        region="eu-west-1",
        credentials=KEYS,
        config=Config(max_connections=1),
        observers=[seen.append],
        clock=Times(clocks),
    ) as sts:
        await asyncio.gather(*(sts.assume_role(**CALL) for _ in range(5)))
        offset = (await sts._life.ready())._shared.clock.offset
        url = await sts.presign(GetCallerIdentityRequest())

    sent = [(date_of(request).timestamp() - START) for request in server.requests]
    assert sent == pytest.approx([0, 2, 4, 6, 8], abs=1.01)  # a clock that is learnt from whole seconds
    assert abs(offset) <= 1
    assert f"X-Amz-Date={datetime.fromtimestamp(clocks.wall, UTC):%Y%m%dT%H%M}" in url.reveal()
    assert all(event.queue_seconds > 0 for event in seen if isinstance(event, AttemptFinished))


async def test_what_has_not_left_the_queue_is_not_sent(raw_server: Start) -> None:
    """B6: its error says that there was no attempt."""
    answer_now = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        await answer_now.wait()
        writer.write(http(ANSWER))

    server = await raw_server(handler=handle)
    config = Config(max_connections=1)
    async with STSClient(endpoint_url=server.url, region="eu-west-1", credentials=KEYS, config=config) as sts:
        first = asyncio.create_task(sts.assume_role(**CALL))
        await until(lambda: server.requests)
        with pytest.raises(errors.DeadlineExceeded) as queued:
            await sts.with_options(deadline=0.01).assume_role(**CALL)
        answer_now.set()
        await first

    assert queued.value.attempts == 0
    assert len(server.requests) == 1
