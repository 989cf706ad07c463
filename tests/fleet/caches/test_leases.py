"""Leases: one process at a time fetches an identity, and no process waits for itself."""

import asyncio
import gc
import threading
from pathlib import Path

import attrs
import pytest
from patience import PATIENCE, soon, turns

from sts_async._runtime.clock import SystemClock
from sts_async._runtime.files import Lock, take_lock
from sts_async.fleet.caches import _leases
from sts_async.fleet.caches._leases import LEASE_SECONDS, MAX_PAUSE, Leases
from sts_async.protocols import Clock
from sts_async.testing import VirtualClock

ONE, OTHER = "abc1", "abc2"
"""Names of entries with the same lock file."""


@attrs.define
class Files:
    """The lock files of a directory, in the event loop, and the names that were locked."""

    directory: Path
    tried: list[str] = attrs.field(factory=list)

    async def lock(self, name: str) -> Lock | None:
        await asyncio.sleep(0)
        self.tried.append(name)
        return take_lock(self.directory / name)

    async def unlock(self, lock: Lock) -> None:
        await asyncio.sleep(0)
        lock.release()

    def leases(self, clock: Clock) -> Leases:
        return Leases(lock=self.lock, unlock=self.unlock, clock=clock)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(0.0)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "locks")


def is_free(files: Files, name: str) -> bool:
    lock = take_lock(files.directory / name)
    if lock is not None:
        lock.release()
    return lock is not None


async def test_a_lease_is_a_lock_of_the_system(files: Files, clock: VirtualClock) -> None:
    leases = files.leases(clock)
    assert await leases.take(ONE)
    assert not is_free(files, "abc")
    assert is_free(files, "def")
    await leases.give_back(ONE)

    assert is_free(files, "abc")


async def test_identities_of_one_process_share_a_lock_file(files: Files, clock: VirtualClock) -> None:
    """One of them may be the source of the other: waiting for itself, the process would lose 30 s."""
    leases = files.leases(clock)

    assert await leases.take(ONE)
    assert await leases.take(OTHER)
    assert clock.monotonic() == 0
    assert files.tried == ["abc"]
    for entry in (ONE, OTHER):
        await leases.give_back(entry)


async def test_the_lock_is_released_with_the_last_lease(files: Files, clock: VirtualClock) -> None:
    leases = files.leases(clock)
    await leases.take(ONE)
    await leases.take(OTHER)
    await leases.give_back(ONE)
    assert not is_free(files, "abc")
    await leases.give_back(OTHER)

    assert is_free(files, "abc")


async def test_one_identity_has_one_lease_at_a_time(files: Files, clock: VirtualClock) -> None:
    """Two event loops of a process, or two fleets with one cache, may want the same."""
    leases = files.leases(clock)
    await leases.take(ONE)
    second = asyncio.create_task(leases.take(ONE))
    await turns(5)
    assert not second.done()
    await leases.give_back(ONE)

    assert await soon(second)
    await leases.give_back(ONE)
    assert is_free(files, "abc")


async def test_a_lease_of_another_process_is_waited_for_in_growing_pauses(files: Files, clock: VirtualClock) -> None:
    """The other process makes one call of STS. Polling without a pause would occupy the threads."""
    mine, theirs = files.leases(clock), files.leases(clock)
    await theirs.take(ONE)

    assert await mine.take(ONE) is False
    assert round(clock.monotonic(), 3) == LEASE_SECONDS
    assert LEASE_SECONDS / MAX_PAUSE <= len(files.tried) < LEASE_SECONDS / MAX_PAUSE + 15
    await theirs.give_back(ONE)


async def test_a_lease_that_was_given_up_can_be_taken_later(files: Files, clock: VirtualClock) -> None:
    mine, theirs = files.leases(clock), files.leases(clock)
    await theirs.take(ONE)
    await mine.take(ONE)
    await theirs.give_back(ONE)

    assert await mine.take(ONE)
    await mine.give_back(ONE)


async def test_a_caller_that_is_cancelled_leaves_no_lock(files: Files, clock: VirtualClock) -> None:
    """F58: at every suspension until it has the lease."""
    for suspensions in range(6):
        leases = files.leases(clock)
        task = asyncio.create_task(leases.take(ONE))
        await turns(suspensions)
        if not task.done():
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            await leases.give_back(ONE)
        gc.collect()

        assert is_free(files, "abc"), suspensions


async def test_an_error_of_a_lock_is_raised(files: Files, clock: VirtualClock) -> None:
    """The cache logs it, and goes on without a lease."""

    async def fail(name: str) -> Lock | None:
        raise ZeroDivisionError

    leases = Leases(lock=fail, unlock=files.unlock, clock=clock)
    with pytest.raises(ZeroDivisionError):
        await leases.take(ONE)


async def test_a_forked_process_has_no_lease_of_its_parent(files: Files, clock: VirtualClock) -> None:
    """G13: it neither waits for its own copy nor releases the lock."""
    leases = files.leases(clock)
    await leases.take(ONE)
    held = leases._held["abc"].lock
    leases.reset_after_fork()
    await leases.give_back(ONE)

    assert held.held
    assert not is_free(files, "abc")
    held.release()


class Patient(SystemClock):
    """A clock that stands still, for several threads. A pause is one turn of the event loop; no wait is too long."""

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def test_event_loops_in_threads_share_the_leases_of_a_process(files: Files) -> None:
    """Each of 6 loops takes 12 leases; no two have the same one at a time."""
    leases = files.leases(Patient())
    inside: set[str] = set()
    overlaps: list[str] = []
    done: list[int] = []

    async def use(number: int) -> None:
        for turn in range(12):
            name = f"{turn % 2:03x}{(number + turn) % 3}"
            assert await leases.take(name)
            if name in inside:
                overlaps.append(name)
            inside.add(name)
            await asyncio.sleep(0)
            inside.discard(name)
            await leases.give_back(name)
            done.append(number)

    threads = [threading.Thread(target=lambda number=number: asyncio.run(use(number))) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert overlaps == []
    assert len(done) == 6 * 12
    assert leases._held == {}


def test_the_number_of_lock_files_is_bounded() -> None:
    """The docstring of FileCache states it."""
    assert 16**_leases.DIGITS == 4096
