"""A fleet leaves the event loop to others: it starts few requests in each turn."""

import asyncio
from collections import Counter

from fleet.simulation import Clock, StandIn, client, number_in, request_for
from patience import soon

from sts_async.fleet import CredentialsFleet
from sts_async.fleet._workers import STARTS_IN_A_TURN
from sts_async.protocols import HttpRequest, HttpResponse


class Turns(StandIn):
    """Answers in the next turn of the event loop, and counts the requests of each turn."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.turn = 0
        self.sent: Counter[int] = Counter()
        self.open = self.most_open = 0

    def next_turn(self) -> None:
        self.turn += 1
        asyncio.get_running_loop().call_soon(self.next_turn)

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.sent[self.turn] += 1
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        for _ in range(10):
            await asyncio.sleep(0)
        self.open -= 1
        return self._issue(number_in(request.body))


async def test_few_requests_start_in_one_turn_of_the_event_loop() -> None:
    """
    F46: signing fifty requests in one turn would delay everything else in the event loop by 20 ms or more.

    All connections are used nevertheless.
    """
    sts = Turns()
    async with client(sts.clock, sts) as sts_client, CredentialsFleet(sts_client, concurrency=30) as fleet:
        fleet.add(*map(request_for, range(150)))
        sts.next_turn()
        await soon(fleet.warm_up())

        assert fleet.snapshot().fresh == 150
        assert max(sts.sent.values()) <= STARTS_IN_A_TURN
        assert sts.most_open == 30
