"""What every test gets: an environment of its own, a bare server to script, and a watch over secrets."""

import asyncio
import itertools
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from faults.leaks import WATCHES, set_aside
from hypothesis import HealthCheck, settings
from patience import PatientLoop
from support import SEEN_SECRETS, Handler, RawServer, Watch

from sts_async import errors

pytest_plugins = ["pytester"]

# Each file is compiled once, and not by each process that a test starts, whatever the environment says.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Examples have no deadline, because a busy machine takes any time for one. In CI they are the same in each run, so that
# a red run is about the change. See "Speed" in tests/README.md.
settings.register_profile(
    "sts_async", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("sts_async")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], PatientLoop]]:
    """Have every test run in a loop whose clock does not go on while the machine is busy with something else."""
    return {"patient": PatientLoop}


def pytest_collection_finish() -> None:
    """
    Keep modules and collected tests out of all searches for garbage.

    A search takes a third of a second with them. Dozens of tests search, and those that look for leaks do so twice.
    """
    set_aside()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Do the same with what earlier tests have imported, before each test that looks for leaks."""
    if isinstance(item, pytest.Function) and not WATCHES.isdisjoint(item.fixturenames):
        set_aside()


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """
    Iterate over new, empty directories, one for the HOME of each test.

    `mktemp` with a number reads all the names that there are, for each new one: 11,000 tests would take 40 s for that.
    """
    root = tmp_path_factory.mktemp("homes")
    paths = (root / str(number) for number in itertools.count())
    return (path for path in paths if not path.mkdir(mode=0o700))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, _homes: Iterator[Path]) -> None:
    """
    Keep the tests from the real HOME, AWS variables and proxies, and from the metadata service of an instance.

    Coverage is measured in the process of the tests, and not in the processes that tests start.
    """
    for name in list(os.environ):
        if name.startswith(("AWS_", "COVERAGE_")) or name.lower().endswith("_proxy") or name == "NETRC":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(next(_homes)))


@pytest.fixture(autouse=True)
def _no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """T14, T15, T17: over the whole suite, no secret appears in a log record at DEBUG or in the text of an error."""
    SEEN_SECRETS.clear()
    watch = Watch()

    def recording_init(self: errors.STSError, *args: object) -> None:
        Exception.__init__(self, *args)
        watch.texts.append(" ".join(map(repr, args)))

    monkeypatch.setattr(errors.STSError, "__init__", recording_init)
    root = logging.getLogger()
    level = root.level
    root.addHandler(watch)
    root.setLevel(logging.DEBUG)
    yield
    root.removeHandler(watch)
    root.setLevel(level)
    everything = "\n".join(watch.texts)
    values = ["SENTINEL", *(value for value in SEEN_SECRETS if len(value) > 7)]
    found = [value for value in values if value in everything]
    assert not [text for text in watch.texts if any(value in text for value in found)]


@pytest.fixture
async def raw_server() -> AsyncIterator[Callable[..., Awaitable[RawServer]]]:
    """
    Return a function that starts a `RawServer`.

    It takes the answers to give, one for each request in turn and the last for ever, or a handler of its own.
    """
    started: list[RawServer] = []

    async def start(*answers: bytes, handler: Handler | None = None) -> RawServer:
        async def answer_in_turn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await server.read_request(reader)
                writer.write(answers[min(len(server.requests), len(answers)) - 1])
                await writer.drain()

        server = RawServer(handler or answer_in_turn)
        started.append(server)
        await server.start()
        return server

    yield start
    for server in started:
        await server.stop()


@pytest.fixture
def write_file(tmp_path: Path) -> Callable[[str, str], Path]:
    """Return a function that writes a file with a name and a text, and returns its path."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
