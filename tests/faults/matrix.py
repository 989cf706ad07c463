"""
The matrix: what a row of faults is, and how one is played, by one caller or by twenty at once.

Twenty are enough for callers that share connections and tokens; `test_connections.py` has tests with as many callers as
a client has connections.

The server knows callers by the names of their sessions, so that what happens to each is the same, whoever comes first.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import attrs
import pytest
from faults.faulty import GOOD, Act, Faulty, Received, Script
from patience import until
from support import KEYS, ROLE

from sts_async import Config, STSClient
from sts_async.errors import STSError
from sts_async.retries import StandardRetries

SLACK = 0.2  # s of the loop's clock beyond the bound of a row; it counts waiting alone, see `patience`
AMPLE = 100_000  # tokens: with the usual 500, twenty callers could not try again twice
BY_CALLERS = pytest.mark.parametrize("callers", [1, 20], ids=["alone", "twenty"])
TIMEOUT = 2.0  # s for an attempt, where a row is not about time
BASE = {False: 0.05, True: 1.0}  # s of the first pause at most, by whether the error is throttling


@attrs.frozen
class Succeeds:
    """
    The call returns the caller's own session.

    Attributes:
        attempts: How often the request was sent.
    """

    attempts: int


@attrs.frozen(init=False)
class Fails:
    """
    The call raises an error of just this class.

    Attributes:
        error: The class.
        attempts: How often the request was sent.
        attributes: Those of the error, and their values.
    """

    error: type[STSError]
    attempts: int
    attributes: Mapping[str, Any]

    def __init__(self, error: type[STSError], *, attempts: int, **attributes: Any) -> None:
        self.__attrs_init__(error, attempts, attributes)


Call = Callable[[STSClient, str], Awaitable[Any]]


async def assume_role(client: STSClient, caller: str) -> Any:
    return await client.assume_role(role_arn=ROLE, role_session_name=caller)


async def assume_role_with_web_identity(client: STSClient, caller: str) -> Any:
    return await client.assume_role_with_web_identity(
        role_arn=ROLE, role_session_name=caller, web_identity_token="SENTINEL.jwt.token"
    )


@attrs.frozen
class Row:
    """
    A fault, and what must come of it.

    Attributes:
        name: Its number in the catalogue of faults, and what it is.
        acts: What the server does with the first, the second ... request of each caller; the last for ever. A function
            returns what depends on the time.
        gives: What each call must give.
        connected: What the server does with each connection before anything is read.
        options: Options of the client.
        within: Seconds for each call; None for what the time-outs of all attempts and the longest pauses add up to.
        after: Seconds that each call takes at least.
        call: What each caller does.
        says: What the text of the error must have in it.
    """

    name: str
    acts: Sequence[Act | Callable[[], Act]]
    gives: Succeeds | Fails
    connected: Act | None = attrs.field(default=None, kw_only=True)
    options: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    within: float | None = attrs.field(default=None, kw_only=True)
    after: float = attrs.field(default=0.0, kw_only=True)
    call: Call = attrs.field(default=assume_role, kw_only=True)
    says: Sequence[str] = attrs.field(default=(), kw_only=True)

    def act(self, received: Received) -> Act:
        """Return what the server does with a request."""
        act = self.acts[min(received.number, len(self.acts)) - 1]
        return act if isinstance(act, Act) else act()

    def config(self) -> Config:
        """Return the options, with those that all rows share."""
        return Config(**{"connect_timeout": TIMEOUT, "attempt_timeout": TIMEOUT, **self.options})

    def bound(self) -> float:
        """Return the seconds for each call."""
        if self.within is not None:
            return self.within
        throttled = isinstance(self.gives, Fails) and self.gives.error.throttled
        return longest(self.gives.attempts, each=self.options.get("attempt_timeout", TIMEOUT), throttled=throttled)


def longest(attempts: int, *, each: float, throttled: bool = False) -> float:
    """Return how many seconds a call can take, with so many attempts of *each* seconds and the pauses between them."""
    return attempts * each + sum(BASE[throttled] * 2.0**number for number in range(attempts - 1))


class Played(NamedTuple):
    """
    What came of one call.

    Attributes:
        caller: Whose it was.
        outcome: What it returned or raised.
        seconds: How long it took on the clock of the loop.
    """

    caller: str
    outcome: Any
    seconds: float


def names(callers: int) -> list[str]:
    """Return the names of that many callers."""
    return [f"caller-{number:02}" for number in range(callers)]


async def played(client: STSClient, call: Call, callers: Iterable[str]) -> list[Played]:
    """Have all *callers* call at once, and return what came of it."""
    clock = asyncio.get_running_loop().time

    async def one(caller: str) -> Played:
        begun = clock()
        try:
            outcome = await call(client, caller)
        except STSError as error:
            outcome = error
        return Played(caller, outcome, clock() - begun)

    return list(await asyncio.gather(*map(one, callers)))


@asynccontextmanager
async def serving(
    script: Script, *, connected: Act | None = None, scheme: str = "http", **options: Any
) -> AsyncIterator[tuple[STSClient, Faulty]]:
    """Return a client with *options*, and its server; by the end, the client must have closed its connections."""
    server = Faulty(script, connected=connected)
    await server.start()
    url = server.url.replace("http", scheme)
    try:
        async with STSClient(**{"endpoint_url": url, "region": "us-east-1", "credentials": KEYS, **options}) as client:
            yield client, server
        await until(lambda: not server.open)
    finally:
        await server.stop()


async def play(row: Row, *, callers: int) -> Faulty:
    """Play a row, and hold what comes of it against what must; return the server, which has stopped."""
    retries = StandardRetries(max_attempts=row.options.get("max_attempts", 3), quota=AMPLE)
    async with serving(row.act, connected=row.connected, config=row.config(), retries=retries) as (client, server):
        calls = await played(client, row.call, names(callers))
    hold(row, calls)
    if row.connected is None:
        assert {caller: len(received) for caller, received in server.received.items()} == dict.fromkeys(
            names(callers), row.gives.attempts
        )
    return server


def hold(row: Row, calls: Sequence[Played]) -> None:
    """Hold what came of each call against what must."""
    for caller, outcome, seconds in calls:
        match row.gives:
            case Succeeds(attempts):
                assert not isinstance(outcome, STSError), f"{caller}: {outcome!r}"
                assert outcome.assumed_role_user.assumed_role_id == f"AROAEXAMPLE:{caller}"
                assert outcome.metadata.attempts == attempts
            case Fails(error, attempts, attributes):
                assert type(outcome) is error, f"{caller}: {outcome!r}"
                assert outcome.attempts == attempts
                assert {name: getattr(outcome, name) for name in attributes} == attributes
                assert [text for text in row.says if text not in str(outcome)] == []
        assert row.after <= seconds <= row.bound() + SLACK, f"{caller}: {seconds:.3f} s"


def matrix(*rows: Row) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that has a test play each row once by one caller, and once by twenty at once."""

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        return BY_CALLERS(pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])(test))  # type: ignore[no-any-return]

    return decorate


def recovers(name: str, act: Act, **more: Any) -> Row:
    """Return the row of a fault that hits the first attempt, and passes."""
    return Row(name, [act, GOOD], Succeeds(attempts=2), **more)
