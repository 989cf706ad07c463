"""C1, G5: reads of a file system that hangs time out, and leave threads for other reads."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from patience import PATIENCE, until

from sts_async._runtime import file_reads
from sts_async._runtime.file_reads import FileReads, FileTimeout
from sts_async._runtime.threads import NoThread, Workers
from sts_async.credentials import SSOProvider, WebIdentityProvider
from sts_async.errors import CredentialsError

FILE, SAME_DIRECTORY, OTHER_DIRECTORY = Path("/here/a"), Path("/here/b"), Path("/elsewhere/c")
ROLE = "arn:aws:iam::123456789012:role/demo"


class Hanging:
    """A file system that hangs until `back` is set, like a network file system without its server."""

    def __init__(self) -> None:
        self.back = threading.Event()
        self.begun: list[str] = []

    def read(self, name: str) -> str:
        self.begun.append(name)
        assert self.back.wait(PATIENCE)
        return name


@pytest.fixture
async def hanging() -> AsyncIterator[Hanging]:
    made = Hanging()
    yield made
    made.back.set()


@pytest.fixture
def workers() -> Workers:
    return Workers(threads=8, name="test")


@pytest.fixture
def reads(workers: Workers) -> FileReads:
    return FileReads(workers)


@pytest.fixture
def _short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_reads, "FILE_SECONDS", 0.01)


@pytest.mark.usefixtures("_short_limit")
async def test_a_read_that_hangs_times_out(hanging: Hanging, reads: FileReads) -> None:
    """C1."""
    with pytest.raises(FileTimeout, match=r"did not answer within 0\.01 s"):
        await reads.run(FILE, hanging.read, "x")


async def test_a_read_that_hangs_occupies_one_thread_even_after_many_attempts(
    hanging: Hanging, reads: FileReads, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1: later reads of the directory do not start, so eight attempts do not take eight threads."""
    first = asyncio.create_task(reads.run(FILE, hanging.read, "x"))
    await until(lambda: hanging.begun == ["x"])
    monkeypatch.setattr(file_reads, "FILE_SECONDS", 0.01)
    for path in [FILE, SAME_DIRECTORY] * 20:
        with pytest.raises(FileTimeout):
            await reads.run(path, hanging.read, "y")

    assert workers.running == 1
    hanging.back.set()
    assert await first == "x"
    assert hanging.begun == ["x"]


async def test_a_second_read_of_a_directory_that_hangs_fails_at_once(
    hanging: Hanging, reads: FileReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1: a client reads its files several times before its first call, and each read would take 5 s."""
    first = asyncio.create_task(reads.run(FILE, hanging.read, "x"))
    await until(lambda: hanging.begun == ["x"])
    monkeypatch.setattr(file_reads, "FILE_SECONDS", 0.0)  # they have passed
    second = reads.run(FILE, hanging.read, "y")

    with pytest.raises(FileTimeout):
        # At once: the coroutine does not suspend.
        second.send(None)
    hanging.back.set()
    assert await first == "x"


async def test_reads_that_hang_in_two_directories_leave_a_thread_for_a_third(
    hanging: Hanging, reads: FileReads, workers: Workers
) -> None:
    """C1: a home directory that hangs has config, credentials and token files in at most three directories."""
    waiting = [
        asyncio.create_task(reads.run(path, hanging.read, "x")) for path in [FILE, SAME_DIRECTORY, OTHER_DIRECTORY] * 9
    ]
    await until(lambda: len(hanging.begun) == 2)

    assert await reads.run("/third/d", str.upper, "a") == "A"
    assert workers.running <= 3
    hanging.back.set()
    assert await asyncio.gather(*waiting) == ["x"] * 27


@pytest.mark.usefixtures("_short_limit")
async def test_a_directory_that_hangs_blocks_no_other_and_is_read_again_after_it_recovers(
    hanging: Hanging, reads: FileReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1."""
    with pytest.raises(FileTimeout):
        await reads.run(FILE, hanging.read, "x")
    monkeypatch.setattr(file_reads, "FILE_SECONDS", 60.0)

    assert await reads.run(OTHER_DIRECTORY, str.upper, "a") == "A"
    hanging.back.set()
    await until(lambda: not reads._queues)
    assert await reads.run(FILE, hanging.read, "y") == "y"


async def test_reads_in_one_directory_take_turns(reads: FileReads) -> None:
    under_way: list[int] = []

    def read(number: int) -> int:
        under_way.append(number)
        assert len(under_way) == 1
        under_way.remove(number)
        return number

    assert await asyncio.gather(*(reads.run(FILE, read, number) for number in range(50))) == [*range(50)]
    await until(lambda: not reads._queues)


async def test_a_queued_read_of_a_cancelled_caller_never_starts(hanging: Hanging, reads: FileReads) -> None:
    first, second = (asyncio.create_task(reads.run(FILE, hanging.read, name)) for name in ("x", "y"))
    await until(lambda: hanging.begun == ["x"])
    second.cancel()
    await asyncio.wait([second])
    hanging.back.set()

    assert await first == "x"
    assert hanging.begun == ["x"]


async def test_a_timeout_error_of_the_system_is_raised_unchanged(reads: FileReads) -> None:
    """`OSError` with ETIMEDOUT is a `TimeoutError`."""

    def read() -> NoReturn:
        raise OSError(errno.ETIMEDOUT, "Connection timed out")

    with pytest.raises(TimeoutError, match="Connection timed out"):
        await reads.run(FILE, read)


async def test_a_read_without_a_thread_fails_and_the_next_read_tries_again(
    reads: FileReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        with pytest.raises(NoThread):
            await reads.run(FILE, str.upper, "a")

    assert await reads.run(FILE, str.upper, "a") == "A"


@pytest.mark.usefixtures("_short_limit")
async def test_a_forked_process_does_not_wait_for_threads_of_its_parent(hanging: Hanging, reads: FileReads) -> None:
    """F54: a forked process has none of its parent's threads."""
    with pytest.raises(FileTimeout):
        await reads.run(FILE, hanging.read, "x")
    reads.reset_after_fork()  # as after a fork

    assert reads._queues == {}


@pytest.mark.usefixtures("_short_limit")
@pytest.mark.parametrize(
    ("provider", "message"),
    [
        (
            lambda path: SSOProvider(
                account_id="1" * 12, role_name="r", region="us-east-1", session_name="s", cache_directory=path
            ),
            r"token file '.*\.json' cannot be used: did not answer within 0\.01 s",
        ),
        (
            lambda path: WebIdentityProvider(role_arn=ROLE, token_file=path / "token"),
            r"no web identity token: '.*token': did not answer within 0\.01 s",
        ),
    ],
    ids=["SSO", "web identity"],
)
async def test_a_token_file_that_hangs_is_an_error_that_names_it(
    hanging: Hanging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Callable[[Path], Any], message: str
) -> None:
    """C1: token files have the same time limit as other files."""
    monkeypatch.setattr("sts_async._runtime.files.read", lambda *_, **__: hanging.read("x"))

    with pytest.raises(CredentialsError, match=message):
        await provider(tmp_path).provide_credentials(_context())


def _context() -> Any:
    from support import Answering, engine_of

    return engine_of(Answering()).context
