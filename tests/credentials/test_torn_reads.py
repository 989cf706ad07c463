"""Several threads and event loops read one provider while it is refreshed."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import attrs
import pytest
from patience import wait_until
from support import START

from sts_async.credentials import RefreshingProvider, _schedule
from sts_async.credentials._schedule import CacheState, Moment
from sts_async.shapes import Credentials

SWAPS = 100_000
CHANGES_SEEN = 100  # by the readers; however slow the machine is, the test goes on until they have seen as many
THREADS = 8
LOOPS = 2
DIFFERENT = 1000


class Source(RefreshingProvider):
    """A source with a cache that the test fills."""

    depends_on_client = False

    async def fetch(self, context: Any) -> NoReturn:
        raise AssertionError("the cache is always full")

    def hold(self, state: CacheState) -> None:
        self._caches.common.state = state


def state_of(number: int) -> CacheState:
    """Return the state of a cache after the *number*-th refresh."""
    credentials = Credentials(
        access_key_id=f"ASIA-{number}",
        secret_access_key=f"SENTINEL-secret-{number}",
        session_token=f"SENTINEL-token-{number}",
    )
    return _schedule.after_success(credentials, lifetime=3600.0, now=Moment(START, 0.0))


@pytest.fixture
def _impatient_threads() -> Iterator[None]:
    """Switch threads far more often than usual, so that races occur."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@attrs.define
class ProviderContext:
    """The context for a provider with a full cache."""

    mixed: int = 0
    read: int = 0
    changes: int = 0
    last: str = ""

    def wall_clock(self) -> float:
        return START

    def monotonic(self) -> float:
        return 0.0

    def look_at(self, credentials: Credentials) -> None:
        assert credentials.session_token is not None
        texts = (credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
        numbers = {str(text).rpartition("-")[2] for text in texts}  # plain: the methods of a secret take longer
        self.read += 1
        self.changes += self.last != credentials.access_key_id
        self.last = credentials.access_key_id
        self.mixed += len(numbers) != 1


def by_hand(source: Source, context: Any, done: threading.Event) -> None:
    """Run a coroutine without an event loop. It must not wait, because the cache is full."""
    while not done.is_set():
        reading = source.provide_credentials(context)
        try:
            reading.send(None)
        except StopIteration as stop:
            context.look_at(stop.value)


async def in_a_loop(source: Source, context: Any, done: threading.Event) -> None:
    while not done.is_set():
        context.look_at(await source.provide_credentials(context))
        await asyncio.sleep(0)


@pytest.mark.usefixtures("_impatient_threads")
def test_no_reader_sees_the_key_of_one_and_the_secret_of_another() -> None:
    """T49: the cached state is one immutable value, which is replaced as a whole."""
    source, done = Source(), threading.Event()
    values = [state_of(number) for number in range(DIFFERENT)]
    source.hold(values[0])
    contexts = [ProviderContext() for _ in range(THREADS + LOOPS)]
    reading: list[Callable[[ProviderContext], Any]] = [lambda context: by_hand(source, context, done)] * THREADS
    reading += [lambda context: asyncio.run(in_a_loop(source, context, done))] * LOOPS
    threads = [threading.Thread(target=read, args=(context,)) for read, context in zip(reading, contexts, strict=True)]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(context.read for context in contexts))
    number = 0
    while number < SWAPS or sum(context.changes for context in contexts) <= CHANGES_SEEN:
        source.hold(values[number % DIFFERENT])
        number += 1
    done.set()
    for thread in threads:
        thread.join()

    assert [context.mixed for context in contexts] == [0] * (THREADS + LOOPS)
