"""Operations on Redis take turns: how many are sent at a time, and what becomes of those that wait for their turn."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
from patience import soon, turns

from sts_async.fleet.caches._redis_access import AT_ONCE, RedisAccess, RedisAway
from sts_async.fleet.caches._redis_client import MAX_CONNECTIONS
from sts_async.fleet.caches._redis_commands import RedisFailed
from sts_async.testing import VirtualClock

COUNT = 50


@attrs.define(eq=False)
class Answers:
    """
    Answers of a server, which a test gives.

    Attributes:
        waiting: The operations that were sent and have no answer.
        sent: Number of operations that were sent.
    """

    waiting: list["asyncio.Future[int]"] = attrs.field(factory=list)
    sent: int = 0

    async def operation(self) -> int:
        self.sent += 1
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        try:
            return await answer
        finally:
            self.waiting.remove(answer)


@pytest.fixture
async def access() -> AsyncIterator[RedisAccess]:
    unused: Any = None
    opened = RedisAccess(unused, clock=VirtualClock(), changed=lambda change: None)
    yield opened
    await opened.aclose()


async def asking(access: RedisAccess, answers: Answers) -> list["asyncio.Task[int]"]:
    tasks = [asyncio.ensure_future(access.ask(answers.operation(), digest="d")) for _ in range(COUNT)]
    await turns()
    return tasks


def test_an_operation_that_is_sent_has_a_connection() -> None:
    assert AT_ONCE == MAX_CONNECTIONS - 1


async def test_operations_take_turns(access: RedisAccess) -> None:
    """So none waits for a connection in the time that it has for its answer."""
    answers = Answers()
    tasks = await asking(access, answers)
    while answers.sent < COUNT or answers.waiting:
        assert len(answers.waiting) == min(AT_ONCE, COUNT - answers.sent + len(answers.waiting))
        answers.waiting[0].set_result(answers.sent)
        await turns()

    assert len(await soon(asyncio.gather(*tasks))) == COUNT
    assert access.reason is None


async def test_after_a_failure_nothing_that_waits_is_sent(access: RedisAccess) -> None:
    answers = Answers()
    tasks = await asking(access, answers)
    answers.waiting[0].set_exception(RedisFailed("the connection was lost"))
    await turns()
    for answer in [*answers.waiting]:
        answer.set_result(0)
    outcomes = await soon(asyncio.gather(*tasks, return_exceptions=True))

    assert answers.sent == AT_ONCE
    assert outcomes.count(0) == AT_ONCE - 1
    assert sum(type(outcome) is RedisAway for outcome in outcomes) == COUNT - AT_ONCE


async def test_who_is_cancelled_leaves_the_queue(access: RedisAccess) -> None:
    answers = Answers()
    tasks = await asking(access, answers)
    for task in tasks[2:]:
        task.cancel()
    await turns()
    assert [task.cancelled() for task in tasks] == [False, False, *[True] * (COUNT - 2)]
    assert len(answers.waiting) == 2

    tasks += await asking(access, answers)
    assert len(answers.waiting) == AT_ONCE
    for task in tasks:
        task.cancel()
    await turns()
    assert not answers.waiting
