"""
A world in one event loop: clocks that move from event to event, and an STS that answers without a socket.

Nothing waits. `Clock.run` moves the time to the next timer, calls it, and gives the event loop turns until no task can
go on. So a day takes as long as its requests need CPU, and has the same course on every machine.
"""

import asyncio
import email.utils
import functools
import heapq
import itertools
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs

from sts_async import AssumeRoleRequest, Credentials, STSClient
from sts_async.errors import ConnectError
from sts_async.protocols import HttpRequest, HttpResponse, SecretBytes
from sts_async.retries import AdaptiveRetries
from sts_async.testing.local_client import LocalClient

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
LATENCY = 0.02  # s that a request takes
MAX_SKEW = 300.0  # s by which the time of a signature may be wrong
ISOLATION = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE" * 33  # as long as those of the service

ANSWER = """\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><AssumedRoleUser>\
<AssumedRoleId>AROAEXAMPLE:me</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/r/me</Arn></AssumedRoleUser>\
<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>SENTINEL-issued</SecretAccessKey><SessionToken>%s\
</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult><ResponseMetadata><RequestId>\
c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata></AssumeRoleResponse>"""
ERROR = """\
<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code>\
<Message>%s</Message></Error><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ErrorResponse>"""


class Timer:
    """A call that is planned."""

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.callback: Callable[..., object] | None = callback
        self.arguments = arguments

    def cancel(self) -> None:
        self.callback = None


class Clock:
    """
    The clocks of a host and of the service. They move only in `run` and `suspend`.

    Attributes:
        true: The time of the service, in seconds since 1970.
        error: Seconds by which the wall clock of the host is ahead of it.
    """

    def __init__(self) -> None:
        self.true = START
        self.error = 0.0
        self._monotonic = 0.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.true + self.error

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, woken.set_result, None)
        try:
            await woken
        finally:
            timer.cancel()

    def call_later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        timer = Timer(callback, arguments)
        heapq.heappush(self._timers, (self._monotonic + max(seconds, 0.0), next(self._numbers), timer))
        return timer

    @property
    def timers(self) -> int:
        """The number of planned calls."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    def suspend(self, seconds: float) -> None:
        """Suspend the host for *seconds*. The time passes, but the monotonic clock of the host stands still."""
        self.true += seconds

    async def run(self, seconds: float) -> None:
        """Advance the monotonic clock by *seconds*, from timer to timer."""
        ends = self._monotonic + seconds
        await _no_task_can_go_on()
        while self._timers and self._timers[0][0] <= ends:
            self._move_to(self._timers[0][0])
            while self._timers and self._timers[0][0] <= self._monotonic:
                timer = heapq.heappop(self._timers)[2]
                if timer.callback is not None:
                    callback, timer.callback = timer.callback, None
                    callback(*timer.arguments)
            await _no_task_can_go_on()
        self._move_to(ends)

    def _move_to(self, moment: float) -> None:
        if moment > self._monotonic:
            self.true += moment - self._monotonic
            self._monotonic = moment


async def _no_task_can_go_on() -> None:
    ready: Any = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    while True:
        await asyncio.sleep(0)
        if not ready:
            return


@attrs.define
class Issued:
    """
    The credentials that the service issued last for a role.

    Attributes:
        at: When it issued them, by its own clock.
        ends: When they expire.
    """

    at: float
    ends: float


class StandIn:
    """
    An STS, as a transport of a client.

    Attributes:
        lifetime: Seconds for which credentials are valid.
        down: Whether no connection can be made.
        rate: Requests per second that it admits, with a burst of one second; None admits all.
        requests: The times of all requests, by its own clock.
        refused: The number of requests that it throttled.
        skewed: The number of requests whose signature had a wrong time.
        issued: The last credentials of each role, by its number.
        answers: The number of credentials that it has issued.
        on_issue: Called with the number of a role for which it has issued credentials.

    Args:
        clock: The clocks.
        lifetime: Seconds for which credentials are valid.
        remembers: Whether it keeps `requests` and `issued`, which grow.
    """

    def __init__(self, clock: Clock, *, lifetime: float = 3600.0, remembers: bool = True) -> None:
        self.clock = clock
        self.remembers = remembers
        self.lifetime = lifetime
        self.down = False
        self.rate: float | None = None
        self.requests: list[float] = []
        self.refused = 0
        self.skewed = 0
        self.issued: dict[int, Issued] = {}
        self.on_issue: Callable[[int], object] = lambda number: None
        self._tokens = 0.0
        self._refilled = 0.0
        self.answers = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        if self.remembers:
            self.requests.append(self.clock.true)
        signed = _signed_at(request.headers["x-amz-date"])
        down = self.down
        await self.clock.sleep(LATENCY)
        if down or self.down:
            raise ConnectError("refused")
        if not self._admits():
            self.refused += 1
            return self._answer(400, ERROR % ("Throttling", "Rate exceeded"))
        if abs(signed - self.clock.true) > MAX_SKEW:
            self.skewed += 1
            return self._answer(403, ERROR % ("SignatureDoesNotMatch", "Signature expired"))
        return self._issue(number_in(request.body))

    def _admits(self) -> bool:
        if self.rate is None:
            return True
        self._tokens = min(max(self.rate, 1.0), self._tokens + (self.clock.true - self._refilled) * self.rate)
        self._refilled = self.clock.true
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _issue(self, number: int) -> HttpResponse:
        self.answers += 1
        ends = int(self.clock.true + self.lifetime)
        if self.remembers:
            self.issued[number] = Issued(self.clock.true, ends)
        self.on_issue(number)
        return self._answer(200, ANSWER % (f"ASIA{self.answers:016}", TOKEN, _expiration(ends)))

    def _answer(self, status: int, body: str) -> HttpResponse:
        headers = {"content-type": "text/xml", "date": _date(int(self.clock.true))}
        return HttpResponse(status, headers, SecretBytes(body.encode()))


@functools.lru_cache
def _signed_at(text: str) -> float:
    # `strptime` would take a tenth of the time of a simulated day.
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    return datetime(year, month, day, int(text[9:11]), int(text[11:13]), int(text[13:15]), tzinfo=UTC).timestamp()


@functools.lru_cache
def _expiration(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@functools.lru_cache
def _date(second: int) -> str:
    return email.utils.formatdate(second, usegmt=True)


def request_for(number: int) -> AssumeRoleRequest:
    """Return the request for role *number*."""
    return AssumeRoleRequest(role_arn=f"arn:aws:iam::123456789012:role/r-{number:06}", role_session_name="soak")


def number_in(body: bytes) -> int:
    """Return the number of the role in the body of a request."""
    begins = body.index(b"role%2Fr-") + len(b"role%2Fr-")
    return int(bytes(body)[begins : begins + 6])


def client(clock: Clock, sts: StandIn, **options: Any) -> STSClient:
    """Return a client of *sts*. It reads no variables and no files of this host."""
    keys = Credentials(
        access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="SENTINEL-secret", account_id="123456789012"
    )
    # The limiters that the whole process shares would remember the clock of an earlier simulation.
    policy = AdaptiveRetries(limiters={})
    return LocalClient(
        ISOLATION, region="eu-west-1", credentials=keys, transport=sts, clock=clock, retries=policy, **options
    )
