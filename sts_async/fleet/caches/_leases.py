"""
Leases of a cache of files: one process at a time fetches the credentials of an identity.

A lease is a lock of the operating system, on one of 4,096 empty files. The first digits of the entry's name choose the
file. The files are never removed, because another process could then lock a new file of the same name. So with
one file for each identity, the number of files would grow without limit.

Two identities can have the same file. The consequences are:

- In one process, they share the lock: the process holds it until the last of them is done. So a process never waits for
  itself, and 50 identities that are fetched at once do not delay each other.
- In two processes, one identity waits although it could be fetched. With 400 leases at once, this happens to about one
  in ten. Fewer files would make it frequent: 400 leases cannot even fit into 256 files.

Each attempt to lock returns at once, and the coroutine waits in between. If threads waited, a few leases would occupy
all threads, and the holder of a lease would have none to write in.
"""

import threading
from collections.abc import Awaitable, Callable

import attrs

from ..._runtime import forks
from ..._runtime.files import Lock
from ...protocols import Clock

LEASE_SECONDS = 30.0  # s to wait for a lease: another process may need it for all its attempts
FIRST_PAUSE = 0.01  # s between the first two attempts
GROWTH = 1.5  # of the pause, after each attempt
MAX_PAUSE = 0.25  # s
DIGITS = 3  # hexadecimal digits of an entry's name that choose the lock file


@attrs.define(eq=False)
class _Held:
    """A lock that this process holds, and the entries that it is held for."""

    lock: Lock
    entries: set[str]


class Leases:
    """
    The leases of one cache in this process. They may be taken in several event loops at once.

    Args:
        lock: Tries to lock the file with a name, and returns at once: None if another process holds the lock.
        unlock: Releases a lock.
        clock: Measures the wait, and waits.
    """

    def __init__(
        self,
        *,
        lock: Callable[[str], Awaitable[Lock | None]],
        unlock: Callable[[Lock], Awaitable[object]],
        clock: Clock,
    ) -> None:
        self._lock = lock
        self._unlock = unlock
        self._clock = clock
        self.reset_after_fork()
        forks.register_after_fork(self, "reset_after_fork")

    def reset_after_fork(self) -> None:
        """Forget all leases. In a forked process, they belong to the parent."""
        self._mutex = threading.Lock()
        self._held: dict[str, _Held] = {}

    async def take(self, entry: str) -> bool:
        """
        Wait for the lease of an entry. Return False if another process holds it for 30 s.

        Args:
            entry: The name of the entry, in hexadecimal digits.

        Raises:
            Exception: The lock cannot be taken, for whatever reason *lock* raises.
        """
        file = entry[:DIGITS]
        ends = self._clock.monotonic() + LEASE_SECONDS
        pause = FIRST_PAUSE
        while True:
            if self._join(file, entry):
                return True
            if file not in self._held and (lock := await self._lock(file)) is not None:
                with self._mutex:
                    self._held[file] = _Held(lock, {entry})
                return True
            left = ends - self._clock.monotonic()
            if left <= 0:
                return False
            await self._clock.sleep(min(pause, left))
            pause = min(pause * GROWTH, MAX_PAUSE)

    def _join(self, file: str, entry: str) -> bool:
        """Share a lock that this process holds for other entries. Return False if it holds none, or for this entry."""
        with self._mutex:
            held = self._held.get(file)
            if held is None or entry in held.entries:
                return False
            held.entries.add(entry)
            return True

    async def give_back(self, entry: str) -> None:
        """End the lease of an entry. The lock is released with the last lease that shares it."""
        file = entry[:DIGITS]
        with self._mutex:
            held = self._held.get(file)
            if held is None:
                # This process was forked while its parent had the lease.
                return
            held.entries.discard(entry)
            if held.entries:
                return
            del self._held[file]
        await self._unlock(held.lock)
