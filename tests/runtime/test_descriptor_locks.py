"""
The locks of Windows, by a stand-in for `msvcrt` that does as its documentation says. POSIX: see `test_files.py`.

The stand-in shows that the right range is locked and that its errors are translated. Only Windows can show that the
system itself does as documented.
"""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from sts_async._runtime import descriptor_locks, files
from sts_async._runtime.descriptor_locks import lock_first_byte, unlock_first_byte
from sts_async._runtime.files import take_lock


@attrs.define
class Msvcrt:
    """
    Stands in for `msvcrt`: a table of locked bytes, by file and position, with the descriptor that locked each.

    Source: Microsoft C runtime library, `_locking`. ``_LK_NBLCK`` fails with EACCES if the bytes cannot be locked.
    ``_LK_UNLCK`` fails with EACCES if the range at the current position was not locked by this descriptor.
    """

    LK_NBLCK: int = 2
    LK_UNLCK: int = 0
    refusal: int = errno.EACCES
    locked: dict[tuple[int, int], int] = attrs.field(factory=dict)

    def locking(self, fd: int, mode: int, nbytes: int, /) -> None:
        start = os.lseek(fd, 0, os.SEEK_CUR)
        places = [(os.fstat(fd).st_ino, start + offset) for offset in range(nbytes)]
        if mode == self.LK_NBLCK:
            if any(place in self.locked for place in places):
                raise OSError(self.refusal, "Permission denied")
            self.locked.update(dict.fromkeys(places, fd))
        elif mode == self.LK_UNLCK:
            if any(self.locked.get(place) != fd for place in places):
                raise OSError(errno.EACCES, "Permission denied")
            for place in places:
                del self.locked[place]
        else:
            raise AssertionError(f"mode {mode} would wait")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[int]]:
    """Yield two descriptors of one empty file, as two processes have them."""
    found = [os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT, 0o600) for _ in range(2)]
    yield found
    for descriptor in found:
        os.close(descriptor)


@pytest.mark.parametrize("refusal", [errno.EACCES, errno.EDEADLK])
def test_a_locked_byte_cannot_be_locked_again(opened: list[int], refusal: int) -> None:
    """F39: the error is that of `flock`, which callers take for "another process holds the lock"."""
    system = Msvcrt(refusal=refusal)
    lock_first_byte(opened[0], using=system)
    with pytest.raises(BlockingIOError):
        lock_first_byte(opened[1], using=system)
    unlock_first_byte(opened[0], using=system)
    lock_first_byte(opened[1], using=system)

    assert [*system.locked.values()] == [opened[1]]


def test_the_first_byte_is_locked_wherever_the_position_is(opened: list[int]) -> None:
    """F39: `msvcrt` locks from the current position, and two processes must lock the same byte."""
    system = Msvcrt()
    os.write(opened[0], b"some text")
    lock_first_byte(opened[0], using=system)
    os.lseek(opened[0], 5, os.SEEK_SET)
    with pytest.raises(BlockingIOError):
        lock_first_byte(opened[1], using=system)
    unlock_first_byte(opened[0], using=system)

    assert system.locked == {}


def test_another_error_of_the_system_is_raised(opened: list[int]) -> None:
    """F38: it does not mean that another process holds the lock, so waiting would not help."""
    system = Msvcrt(refusal=errno.EBADF)
    lock_first_byte(opened[0], using=system)
    with pytest.raises(OSError) as caught:
        lock_first_byte(opened[1], using=system)

    assert caught.value.errno == errno.EBADF
    assert not isinstance(caught.value, BlockingIOError)


def test_a_file_is_locked_and_released_with_the_locks_of_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F39: `take_lock` works with both kinds of locks."""
    system = Msvcrt()
    monkeypatch.setattr(files, "_lock", lambda descriptor: lock_first_byte(descriptor, using=system))
    monkeypatch.setattr(files, "_unlock", lambda descriptor: unlock_first_byte(descriptor, using=system))
    held = take_lock(tmp_path / "x")

    assert held is not None
    assert take_lock(tmp_path / "x") is None
    held.release()
    again = take_lock(tmp_path / "x")
    assert again is not None
    again.release()
    assert system.locked == {}


WINDOWS = """
import sys, types

sys.platform = "win32"
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, LK_UNLCK=0, locking=lambda *given: print(*given))
from sts_async._runtime import descriptor_locks

descriptor_locks.lock(0)
descriptor_locks.unlock(0)
"""


def test_windows_takes_the_locks_of_msvcrt(tmp_path: Path) -> None:
    """F39: the module of Windows is imported there and nowhere else."""
    path = tmp_path / "x"
    path.touch()
    with path.open() as given:
        done = subprocess.run([sys.executable, "-c", WINDOWS], stdin=given, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("0 2 1\n0 0 1\n", "")
    assert not hasattr(descriptor_locks, "msvcrt") or sys.platform == "win32"
