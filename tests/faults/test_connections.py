"""F1-F5, F63: connections that are refused, reset, closed or cut, fresh ones and those that had served before."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from faults.faulty import GOOD, HALF, Act, End, Faulty, Received, document
from faults.matrix import (
    AMPLE,
    BY_CALLERS,
    Fails,
    Row,
    Succeeds,
    assume_role,
    hold,
    matrix,
    names,
    play,
    played,
    recovers,
    serving,
)
from support import KEYS, http

from sts_async import STSClient, errors
from sts_async.retries import NoRetries, StandardRetries

RST, FIN = Act(end=End.RST), Act(end=End.FIN)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"
SHORT = HEAD + b"Content-Length: 2000\r\n\r\n" + HALF
SHORT_CHUNK = HEAD + b"Transfer-Encoding: chunked\r\n\r\n7d0\r\n" + HALF
NO_LAST_CHUNK = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + f"{len(HALF):x}\r\n".encode() + HALF + b"\r\n"
NO_LENGTH = HEAD + b"Connection: close\r\n\r\n"
HTTP_1_0 = b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n"
SHORT_ENDED = Act([SHORT_CHUNK], end=End.FIN)
LOST: dict[str, Any] = {"retryable": True, "throttled": False, "recoverable": True}
FATES = {
    "F2 RST before headers": RST,
    "F2 FIN before headers": FIN,
    "F4 RST within headers": Act([HEAD[:20]], end=End.RST),
    "F4 FIN within headers": Act([HEAD[:20]], end=End.FIN),
    "F4 RST within the body": Act([SHORT], end=End.RST),
    "F4 FIN before Content-Length is reached": Act([SHORT], end=End.FIN),
    "F4 RST within a chunk": Act([SHORT_CHUNK], end=End.RST),
    "F4 FIN within a chunk": SHORT_ENDED,
    "F4 FIN before the last chunk": Act([NO_LAST_CHUNK], end=End.FIN),
    "F4 FIN before the whole document, which is all there": Act([SHORT[:-300] + document().encode()], end=End.FIN),
}


@matrix(
    *(recovers(f"{name}, once", act) for name, act in FATES.items()),
    *(
        Row(
            f"{name}, and no other attempt",
            [act],
            Fails(errors.ConnectionLost, attempts=1, **LOST),
            options={"max_attempts": 1},
        )
        for name, act in FATES.items()
    ),
    Row("F2 RST before headers, three times", [RST], Fails(errors.ConnectionLost, attempts=3, **LOST)),
    Row("F4 FIN within a chunk, three times", [SHORT_ENDED], Fails(errors.ConnectionLost, attempts=3, **LOST)),
    Row(
        "F1 RST on accept",
        [],
        Fails(errors.ConnectionLost, attempts=3, **LOST),
        connected=RST,
    ),
    Row("F1 FIN on accept", [], Fails(errors.ConnectionLost, attempts=3, **LOST), connected=FIN),
    recovers("F2 RST before headers, and few connections", RST, options={"max_connections": 5}),
    Row(
        "F5 truncated XML, no length, clean close",
        [Act([NO_LENGTH + HALF], end=End.FIN)],
        Fails(errors.ResponseParseError, attempts=3, retryable=True, status=200),
        says=["not well-formed", "text/xml", "300 bytes"],
    ),
    recovers("F5 truncated XML, once", Act([NO_LENGTH + HALF], end=End.FIN)),
    Row("F63 no length", [Act([NO_LENGTH + document().encode()], end=End.FIN)], Succeeds(attempts=1)),
    Row("F63 HTTP/1.0", [Act([HTTP_1_0 + document().encode()], end=End.FIN)], Succeeds(attempts=1)),
    Row(
        "F63 Connection: close",
        [Act([http(document(), headers="Connection: close\r\n")], end=End.FIN)],
        Succeeds(attempts=1),
    ),
)
async def test_a_connection_that_ends_is_tried_again_or_told(row: Row, callers: int) -> None:
    """F1 to F5, F63."""
    await play(row, callers=callers)


@BY_CALLERS
async def test_nobody_listens(callers: int) -> None:
    """F1: nothing was sent, and it may be tried again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        options: dict[str, Any] = {"region": "us-east-1", "credentials": KEYS, "retries": StandardRetries(quota=AMPLE)}
        async with STSClient(endpoint_url=url, **options) as client:
            calls = await played(client, assume_role, names(callers))

    fate = Fails(errors.ConnectError, attempts=3, **LOST)
    hold(Row("F1 closed port", [], fate, says=["ECONNREFUSED"]), calls)


# -- connections that had served before ---------------------------------------------------------------------------


@asynccontextmanager
async def warm(
    *acts: Act, callers: int, retries: NoRetries | StandardRetries
) -> AsyncIterator[tuple[STSClient, Faulty]]:
    """
    Return a client with that many connections that have served once, and their server, which does *acts* with the
    first, the second ... request of each caller after that.
    """
    everybody = asyncio.Barrier(callers)

    def script(received: Received) -> Act:
        if received.caller.startswith("warmup"):
            return attrs.evolve(GOOD, together=everybody)
        return acts[min(received.number, len(acts)) - 1]

    async with serving(script, retries=retries) as (client, server):
        calls = await played(client, assume_role, [f"warmup-{number:02}" for number in range(callers)])

        assert [call.outcome for call in calls if isinstance(call.outcome, errors.STSError)] == []
        assert server.connections == callers
        yield client, server


def sent(server: Faulty, callers: int) -> list[int]:
    """Return how many requests of each caller came."""
    return [len(server.received[name]) for name in names(callers)]


@BY_CALLERS
@pytest.mark.parametrize("act", [RST, FIN], ids=["RST", "FIN"])
async def test_a_connection_that_dies_when_it_is_used_again_costs_one_more_request_and_nothing_else(
    act: Act, callers: int
) -> None:
    """F3: by a policy that would neither wait nor pay for it."""
    async with warm(act, GOOD, callers=callers, retries=NoRetries()) as (client, server):
        calls = await played(client, assume_role, names(callers))

    hold(Row("F3", [act, GOOD], Succeeds(attempts=2)), calls)
    assert sent(server, callers) == [2] * callers
    assert [server.received[name][0].nth for name in names(callers)] == [2] * callers


@pytest.mark.parametrize("act", [RST, FIN], ids=["RST", "FIN"])
async def test_the_quota_does_not_pay_for_connections_that_died(act: Act) -> None:
    """F3: fifty at once would cost 700 of the 500 tokens."""
    policy = StandardRetries()
    async with warm(act, GOOD, callers=50, retries=policy) as (client, _):
        calls = await played(client, assume_role, names(50))

    hold(Row("F3", [act, GOOD], Succeeds(attempts=2)), calls)
    assert policy.quota == 500


@BY_CALLERS
@pytest.mark.parametrize("end", [End.RST, End.FIN], ids=["RST", "FIN"])
async def test_a_server_that_closes_after_each_answer_without_saying_so_is_no_fault(end: End, callers: int) -> None:
    """F3: whether the client sees it before it uses the connection again, or only then."""
    async with serving(lambda received: attrs.evolve(GOOD, end=end), retries=NoRetries()) as (client, _):
        for _round in range(4):
            for call in await played(client, assume_role, names(callers)):
                assert not isinstance(call.outcome, errors.STSError), call
                assert call.outcome.metadata.attempts <= 2


@pytest.mark.parametrize("act", [Act([SHORT], end=End.RST), Act([SHORT], end=End.FIN)], ids=["RST", "FIN"])
async def test_a_connection_that_ends_within_a_body_had_not_died_before(act: Act) -> None:
    """F3, F4: the service has answered; it is a retry like any other."""
    async with warm(act, GOOD, callers=1, retries=NoRetries()) as (client, _):
        calls = await played(client, assume_role, names(1))

    hold(Row("F4", [act], Fails(errors.ConnectionLost, attempts=1, stale=False)), calls)


@pytest.mark.parametrize("end", [End.RST, End.FIN], ids=["RST", "FIN"])
async def test_a_connection_that_ends_within_headers_had_not_died_before(end: End) -> None:
    """F3, F4: part of an answer had come, so the server had not closed the connection before the request came."""
    act = Act([HEAD[:20]], end=end)
    async with warm(act, GOOD, callers=1, retries=NoRetries()) as (client, _):
        calls = await played(client, assume_role, names(1))

    hold(Row("F4", [act], Fails(errors.ConnectionLost, attempts=1, stale=False)), calls)


async def test_fifty_failing_callers_share_one_quota_and_are_not_kept_waiting_without_it() -> None:
    """F59: 35 of them can try again, at 14 of 500 tokens each; the others fail at once, with their own error."""
    policy = StandardRetries()
    async with serving(lambda received: RST, retries=policy) as (client, server):
        calls = await played(client, assume_role, names(50))

    assert {type(call.outcome) for call in calls} == {errors.ConnectionLost}
    assert sum(call.outcome.attempts for call in calls) == sum(sent(server, 50)) == 50 + 500 // 14
    assert policy.quota == 500 % 14
