"""
What a warm call costs in work of our own, counted: no clock is involved, so no machine is too slow for it.

A figure here grows when a change adds a function call, a module or memory to every call. Then find a cheaper way, or
raise the bound and say why in its comment. The bounds have little to spare on purpose.
"""

import asyncio
import logging
import sys
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import aiohttp
import pytest
from support import ANSWER, KEYS, ROLE, RawServer, http

import sts_async
from sts_async import STSClient

Start = Callable[..., Awaitable[RawServer]]

PACKAGE = str(Path(sts_async.__file__).parent)
AIOHTTP = str(Path(aiohttp.__file__).parent)
WARM_UP = 20  # calls: plans, parsers and the connection are made
COUNTED = 10  # calls

# Function calls in `sts_async`, resumptions of coroutines included: a call that waits once enters each of its three
# frames twice, which makes six. The rest of the 60: 22 for encoding, decoding and shapes, 7 for two deadlines, 9 for
# guards of the connection, 4 for one signature, 4 for retries, 2 each for the queue and aiohttp's request, and one each
# for credentials, clock, the state of the call and its steps.
MOST_CALLS = 60
# One subject, one file: a call passes encoder, decoder, signer, semaphore, deadlines, clock, retries and so on.
MOST_FILES = 24
FRAMES = ["Calls.assume_role", "Engine.invoke", "AiohttpTransport.send"]
MOST_BLOCKS = 45  # of memory in a call that waits: its request, body, headers and state, and two deadlines
MOST_BYTES = 5_000  # in those
MOST_KEPT = 40  # blocks after 100 calls, of caches in between: what leaks once a call keeps 100 or more


class Work(NamedTuple):
    """The functions that a call entered, by file and name, and the frames in which aiohttp was first called."""

    calls: Counter[tuple[str, str]]
    frames: list[str]


@pytest.fixture(autouse=True)
def no_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    """Log as a program does: at DEBUG each attempt has a line, which costs a call and memory."""
    caplog.set_level(logging.WARNING, "sts_async")


class Answering:
    """Answers every request, keeps none, and does something before it answers the next one, if it is told to."""

    def __init__(self) -> None:
        self.server: RawServer | None = None
        self.before_answering: Callable[[], None] | None = None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self.server is not None
        while True:
            await self.server.read_request(reader)
            self.server.requests.clear()
            if self.before_answering is not None:
                self.before_answering()
                self.before_answering = None
            writer.write(http(ANSWER))


@pytest.fixture
def answering() -> Answering:
    return Answering()


@pytest.fixture
async def sts(raw_server: Start, answering: Answering) -> AsyncIterator[STSClient]:
    """Return a warm client with everything on, of a server that is not of this library."""
    server = answering.server = await raw_server(handler=answering)
    async with STSClient(region="eu-west-1", endpoint_url=server.url, credentials=KEYS) as client:
        for _ in range(WARM_UP):
            await assume_role(client)
        yield client


async def assume_role(client: STSClient) -> None:
    await client.assume_role(role_arn=ROLE, role_session_name="me")


async def work_of(client: STSClient) -> Work:
    """Return the work of a warm call, the least of some: one that begins a second makes what its signatures share."""
    return min([await _work_of(client) for _ in range(COUNTED)], key=lambda work: work.calls.total())


async def _work_of(client: STSClient) -> Work:
    entered = Counter[tuple[str, str]]()
    frames = list[str]()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        name = frame.f_code.co_filename
        if name.startswith(PACKAGE):
            entered[(name.removeprefix(PACKAGE), frame.f_code.co_qualname)] += 1
        elif name.startswith(AIOHTTP) and not frames:
            frames.extend(callers_of(frame))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        await assume_role(client)
    finally:
        sys.setprofile(before)
    return Work(entered, frames)


def callers_of(frame: FrameType) -> list[str]:
    """Return the frames of this library that *frame* was called from, the outermost first."""
    found, caller = list[str](), frame.f_back
    while caller is not None and caller.f_code.co_filename.startswith(PACKAGE):
        found.insert(0, caller.f_code.co_qualname)
        caller = caller.f_back
    return found


async def test_a_warm_call_enters_few_functions_and_files(sts: STSClient) -> None:
    work = await work_of(sts)
    listing = "\n".join(f"{count:3} {file} {name}" for (file, name), count in work.calls.most_common())

    assert work.calls.total() <= MOST_CALLS, listing
    assert len({file for file, _ in work.calls}) <= MOST_FILES, listing


async def test_three_frames_are_between_a_caller_and_aiohttp(sts: STSClient) -> None:
    """Each frame is entered and left again for each time that the event loop is waited for."""
    assert (await work_of(sts)).frames == FRAMES


async def test_credentials_from_a_cache_are_not_awaited(raw_server: Start) -> None:
    """A chain of providers costs a warm call one function each, and no coroutine."""
    server = await raw_server(http(ANSWER))
    source = sts_async.ProviderChain(sts_async.credentials.CachingProvider(sts_async.StaticProvider(KEYS)))
    async with STSClient(region="eu-west-1", endpoint_url=server.url, credentials=source) as client:
        for _ in range(WARM_UP):
            await assume_role(client)
        work = await work_of(client)

    of_providers = {name for file, name in work.calls if file.startswith("/credentials/")}
    assert {"ProviderChain._at_hand", "RefreshingProvider._at_hand"} <= of_providers
    assert not {name for name in of_providers if name.endswith(("provide_credentials", "_provide", "fetch"))}


async def test_a_waiting_call_holds_little_memory(sts: STSClient, answering: Answering) -> None:
    """Of what this library itself has allocated, while the server has the request: 256 callers hold that 256 times."""
    snapshots = list[tracemalloc.Snapshot]()
    answering.before_answering = lambda: snapshots.append(tracemalloc.take_snapshot())
    tracemalloc.start()
    try:
        await assume_role(sts)
    finally:
        tracemalloc.stop()
    ours = snapshots[0].filter_traces([tracemalloc.Filter(True, f"{PACKAGE}/*")])
    listing = "\n".join(map(str, ours.statistics("lineno")))

    assert len(ours.traces) <= MOST_BLOCKS, listing
    assert sum(trace.size for trace in ours.traces) <= MOST_BYTES, listing


async def test_warm_calls_leave_nothing_behind(sts: STSClient) -> None:
    before = sys.getallocatedblocks()
    for _ in range(100):
        await assume_role(sts)

    assert sys.getallocatedblocks() - before <= MOST_KEPT
