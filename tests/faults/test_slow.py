"""F21, F22, F24, F27: what comes late, drop by drop, or never; every attempt has an end."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.faulty import HALF, Act, End
from faults.matrix import (
    AMPLE,
    BY_CALLERS,
    Fails,
    Row,
    assume_role,
    hold,
    longest,
    matrix,
    names,
    play,
    played,
    recovers,
    serving,
)
from patience import PATIENCE
from support import KEYS

from sts_async import Config, STSClient, errors
from sts_async._runtime.name_lookups import LOOK_UPS, THREADS
from sts_async.retries import StandardRetries

SHORT = 0.2  # s for an attempt, on the loop's clock
LOOK_UP = 0.4  # s for an attempt whose end comes from a thread
ONCE = {"attempt_timeout": SHORT, "max_attempts": 1}
PATIENT = {"attempt_timeout": 0.8}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"
PACE = 0.02  # s between drops
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SLOW = {
    "F21 no headers": Act(end=End.OPEN),
    "F21 half of the headers": Act([HEAD], end=End.OPEN),
    "F21 headers by the byte": Act([bytes([byte]) for byte in HEAD], every=PACE, end=End.OPEN),
    "F21 headers without end": Act([HEAD, b"X-More: 1\r\n"], every=PACE, endless=True),
    "F21 no body": Act([HEAD + b"Content-Length: 2000\r\n\r\n"], end=End.OPEN),
    "F21 half of the body": Act([HEAD + b"Content-Length: 2000\r\n\r\n" + HALF], end=End.OPEN),
    "F21 a body by the byte": Act(
        [HEAD + b"Content-Length: 2000\r\n\r\n", *(bytes([byte]) for byte in HALF)], every=PACE, end=End.OPEN
    ),
    "F21 chunks without end": Act(
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"], every=PACE, endless=True
    ),
    "F22 100 Continue without end": Act([CONTINUE], every=PACE, endless=True),
}
LATE: dict[str, Any] = {"retryable": True, "throttled": False, "recoverable": True}


@matrix(
    *(
        Row(
            f"{name}, and no other attempt",
            [act],
            Fails(errors.AttemptTimeout, attempts=1, **LATE),
            options=ONCE,
            after=SHORT,
        )
        for name, act in SLOW.items()
    ),
    Row(
        "F21 no headers, three times",
        [SLOW["F21 no headers"]],
        Fails(errors.AttemptTimeout, attempts=3, **LATE),
        options={"attempt_timeout": SHORT},
        after=3 * SHORT,
    ),
    *(recovers(f"{name}, once", SLOW[name], options=PATIENT) for name in ("F21 no headers", "F21 half of the body")),
    Row(
        "F21 no headers, and few connections",
        [SLOW["F21 no headers"]],
        Fails(errors.AttemptTimeout, attempts=1, **LATE),
        options={**ONCE, "max_connections": 10},
        within=2 * SHORT,  # the first half of them, and then the second: the wait for a connection is not counted
    ),
    Row(
        "F21 no headers, and a deadline for the call",
        [SLOW["F21 no headers"]],
        Fails(errors.DeadlineExceeded, attempts=1),
        options={"deadline": SHORT},
        within=SHORT,
    ),
)
async def test_an_attempt_ends_in_its_time(row: Row, callers: int) -> None:
    """F21, F22."""
    await play(row, callers=callers)


@BY_CALLERS
async def test_a_handshake_that_hangs(callers: int) -> None:
    """F27: it is bounded by the seconds for a connection, not by those for an attempt."""
    options: dict[str, Any] = {
        "config": Config(connect_timeout=SHORT, attempt_timeout=5),
        "retries": StandardRetries(max_attempts=2, quota=AMPLE),
    }
    silent = Act(end=End.OPEN)
    async with serving(lambda received: silent, connected=silent, scheme="https", **options) as (client, _):
        calls = await played(client, assume_role, names(callers))

    fate = Fails(errors.ConnectTimeout, attempts=2, **LATE)
    hold(Row("F27", [], fate, within=longest(2, each=SHORT), after=2 * SHORT), calls)


# -- names ----------------------------------------------------------------------------------------------------------


class Names:
    """What stands in for the system's look-up of names."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.threads: set[threading.Thread] = set()

    def __call__(self, host: str, port: int, *more: object) -> list[Any]:
        self.threads.add(threading.current_thread())
        if host.startswith("hangs"):
            self.release.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture
def look_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names()
    monkeypatch.setattr("socket.getaddrinfo", made)
    yield made
    made.release.set()
    for thread in made.threads:
        thread.join(PATIENCE)


async def calls_to(host: str, *, callers: int, call: Callable[..., Any] = assume_role) -> list[Any]:
    """Have that many callers call at once, at a host that is not this one."""
    config = Config(attempt_timeout=LOOK_UP, allow_http=True)
    policy = StandardRetries(max_attempts=2, quota=AMPLE)
    options: dict[str, Any] = {"region": "us-east-1", "credentials": KEYS, "config": config, "retries": policy}
    async with STSClient(endpoint_url=f"http://{host}/", **options) as client:
        return await played(client, call, names(callers))


@BY_CALLERS
async def test_a_host_that_nobody_knows(look_up: Names, callers: int) -> None:
    """F24: nothing was sent, and it may be tried again."""
    calls = await calls_to("sts.invalid", callers=callers)

    fate = Fails(errors.ConnectError, attempts=2, **LATE)
    hold(Row("F24 DNS failure", [], fate, within=longest(2, each=LOOK_UP), says=["no address is known"]), calls)


@BY_CALLERS
async def test_a_look_up_that_hangs(look_up: Names, callers: int) -> None:
    """F24: it is bounded by the seconds for an attempt, and holds no thread but a few of our own."""
    calls = await calls_to("hangs.invalid", callers=callers)

    fate = Fails(errors.ConnectTimeout, attempts=2, **LATE)
    hold(Row("F24 DNS hang", [], fate, within=longest(2, each=LOOK_UP), says=["no connection to hangs.invalid"]), calls)
    assert {thread.name for thread in look_up.threads} == {"sts-async-resolver"}
    assert len(look_up.threads) <= THREADS
    assert LOOK_UPS.running <= THREADS
