"""Name lookups have a time limit and a limited number of threads of their own."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from patience import PATIENCE, until

from sts_async import errors
from sts_async._http.transport import AiohttpTransport
from sts_async._protocol.http_messages import HttpRequest
from sts_async._runtime.name_lookups import LOOK_UPS, THREADS, Address, LookUps

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]


class Names:
    """A stand-in for `socket.getaddrinfo`. Lookups of hosts that begin with "slow" hang until `release` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked: list[str] = []
        self.threads: set[threading.Thread] = set()

    def __call__(self, host: str, port: int, *more: object) -> list[Any]:
        self.asked.append(host)
        self.threads.add(threading.current_thread())
        if host.startswith("slow"):
            self.release.wait(PATIENCE)
        if host.endswith("invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host.endswith("strange"):
            raise UnicodeError("label too long")
        return FOUND


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names()
    monkeypatch.setattr("socket.getaddrinfo", made)
    yield made
    made.release.set()
    for thread in made.threads:
        thread.join(PATIENCE)


async def until_idle(look_ups: LookUps) -> None:
    await until(lambda: not look_ups.running)


async def test_names_are_looked_up_in_a_daemon_thread(names: Names) -> None:
    """F24: a daemon thread, because a lookup that hangs must not keep the process from ending."""
    look_ups = LookUps()

    found = await look_ups.addresses("sts.example", 443, seconds=PATIENCE)
    await until_idle(look_ups)

    assert found == [Address("127.0.0.1", 443, socket.AF_INET, 6)]
    assert [(thread.name, thread.daemon) for thread in names.threads] == [("sts-async-resolver", True)]


@pytest.mark.parametrize(("host", "error"), [("sts.invalid", socket.gaierror), ("strange", UnicodeError)])
async def test_an_error_of_the_system_is_raised_unchanged(names: Names, host: str, error: type[Exception]) -> None:
    look_ups = LookUps()

    with pytest.raises(error):
        await look_ups.addresses(host, 443, seconds=PATIENCE)
    await until_idle(look_ups)


async def test_look_ups_that_hang_are_bounded_in_time_and_threads(names: Names) -> None:
    """F24: 10,000 callers use four threads at most, get an error in time, and leave nothing queued."""
    look_ups = LookUps(threads=4)

    outcomes = await asyncio.gather(
        *(look_ups.addresses(f"slow-{number}", 443, seconds=0.2) for number in range(10_000)), return_exceptions=True
    )

    assert all(isinstance(outcome, socket.gaierror) for outcome in outcomes)
    assert len(names.asked) == look_ups.running == 4
    assert not look_ups._waiting

    names.release.set()
    await until_idle(look_ups)
    assert await look_ups.addresses("sts.example", 443, seconds=PATIENCE)
    # The lookups of callers that timed out were never started.
    assert len(names.asked) == 5


async def test_queued_lookups_run_in_order_in_the_next_free_thread(names: Names) -> None:
    look_ups = LookUps(threads=1)
    waiting = [asyncio.create_task(look_ups.addresses(host, 1, seconds=PATIENCE)) for host in ("slow", "a", "b")]
    await until(lambda: len(look_ups._waiting) == 2)

    names.release.set()
    await asyncio.gather(*waiting)
    await until_idle(look_ups)

    assert names.asked == ["slow", "a", "b"]
    assert len(names.threads) == 1


async def test_a_queued_lookup_of_a_cancelled_caller_never_starts(names: Names) -> None:
    """F58."""
    look_ups = LookUps(threads=1)
    first, second = (asyncio.create_task(look_ups.addresses(host, 1, seconds=PATIENCE)) for host in ("slow", "a"))
    await until(lambda: look_ups._waiting)

    second.cancel()
    await asyncio.wait([second])
    names.release.set()
    await first
    await until_idle(look_ups)

    assert second.cancelled()
    assert names.asked == ["slow"]


def test_a_lookup_that_outlives_its_event_loop_is_harmless(names: Names) -> None:
    look_ups = LookUps()

    async def time_out() -> None:
        with pytest.raises(socket.gaierror):
            await look_ups.addresses("slow", 1, seconds=0.01)

    asyncio.run(time_out())
    names.release.set()
    for thread in names.threads:
        thread.join(PATIENCE)

    assert look_ups.running == 0


async def test_without_threads_a_lookup_fails_with_a_retryable_error(monkeypatch: pytest.MonkeyPatch) -> None:
    look_ups = LookUps()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    with pytest.raises(socket.gaierror):
        await look_ups.addresses("sts.example", 1, seconds=PATIENCE)
    assert look_ups.running == 0


async def test_a_forked_process_starts_its_own_threads(names: Names) -> None:
    """F54."""
    look_ups = LookUps(threads=1)
    first = asyncio.create_task(look_ups.addresses("slow", 1, seconds=PATIENCE))
    await until(lambda: names.asked)

    look_ups.reset_after_fork()

    assert await look_ups.addresses("sts.example", 1, seconds=PATIENCE)
    names.release.set()
    await first


@pytest.mark.parametrize(
    ("found", "address"),
    [
        ((socket.AF_INET6, 1, 6, "", ("2001:db8::1", 1, 0, 0)), [Address("2001:db8::1", 1, socket.AF_INET6, 6)]),
        ((socket.AF_INET6, 1, 6, "", ("::1", 1, 0, 1)), [Address("::1%lo", 1, socket.AF_INET6, 6)]),
        ((socket.AF_INET6, 1, 6, "", (10, b"no IPv6")), []),
        ((socket.AF_UNIX, 1, 0, "", "/path"), []),
    ],
)
async def test_addresses_are_numeric(
    monkeypatch: pytest.MonkeyPatch, found: tuple[Any, ...], address: list[Address]
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: [found])
    monkeypatch.setattr("socket.getnameinfo", lambda where, _: (f"{where[0]}%lo", "1"))
    look_ups = LookUps()

    assert await look_ups.addresses("sts.example", 1, seconds=PATIENCE) == address
    await until_idle(look_ups)


async def test_localhost_is_known_without_a_configured_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container without a network, the system finds it only without AI_ADDRCONFIG."""

    def found(host: str, port: int, family: int, kind: int, protocol: int = 0, flags: int = 0) -> list[Any]:
        if flags & socket.AI_ADDRCONFIG:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return FOUND

    monkeypatch.setattr("socket.getaddrinfo", found)
    look_ups = LookUps()

    assert await look_ups.addresses("localhost", 443, seconds=PATIENCE)
    with pytest.raises(socket.gaierror):
        await look_ups.addresses("sts.example", 443, seconds=PATIENCE)
    await until_idle(look_ups)


async def test_a_name_that_is_not_looked_up_in_time_is_a_connect_error(names: Names) -> None:
    """F24: nothing was sent, and the default threads of the event loop are not used."""
    transport = AiohttpTransport(attempt_timeout=1)
    try:
        async with asyncio.TaskGroup() as group:
            calls = [
                group.create_task(refused(transport, f"http://slow-{number}.example/")) for number in range(2 * THREADS)
            ]
    finally:
        await transport.aclose()
        names.release.set()
    loop: Any = asyncio.get_running_loop()
    await until_idle(LOOK_UPS)

    assert [type(call.result()) for call in calls] == [errors.ConnectTimeout] * 2 * THREADS
    assert loop._default_executor is None


async def refused(transport: AiohttpTransport, url: str) -> errors.ConnectError:
    with pytest.raises(errors.ConnectError) as caught:
        await transport.send(HttpRequest("GET", url, {}))
    return caught.value
