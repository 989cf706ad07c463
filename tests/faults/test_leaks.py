"""The watch itself: what a test can leave behind is found."""

import asyncio
import gc
import logging
import socket
import threading
from collections.abc import Callable

import aiohttp
import pytest
from faults.leaks import Leaks


@pytest.fixture(autouse=True)
def _nothing_is_left() -> None:
    """No other watch, in place of the one over this folder: it would find what these tests leave."""


async def test_a_clean_test_is_clean() -> None:
    leaks = Leaks()
    async with aiohttp.ClientSession():
        await asyncio.sleep(0)

    assert await leaks.found() == []


async def test_a_task_that_is_left_is_found() -> None:
    leaks = Leaks()
    task = asyncio.create_task(asyncio.sleep(60))

    found = await leaks.found(settle=0.01)
    task.cancel()
    await asyncio.wait([task])

    assert [line.split(":")[0] for line in found] == ["task"]


async def test_a_socket_that_is_left_is_found() -> None:
    leaks = Leaks()
    with socket.socket():
        found = await leaks.found(settle=0.01)

    assert [line.split(":")[0] for line in found] == ["descriptor"]


async def test_a_thread_of_the_library_that_is_left_is_found() -> None:
    leaks = Leaks()
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="sts-async-test")
    thread.start()

    found = await leaks.found(settle=0.01)
    end.set()
    thread.join()

    assert found == ["thread: sts-async-test"]


async def an_error_that_nobody_looks_at() -> None:
    async def fail() -> None:
        raise OSError("lost")

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task


async def a_future_that_nobody_looks_at() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(OSError("lost"))
    del future


async def an_error_in_the_log() -> None:
    logging.getLogger("asyncio").error("it failed")


@pytest.mark.parametrize("leave", [an_error_that_nobody_looks_at, a_future_that_nobody_looks_at, an_error_in_the_log])
async def test_an_error_that_nobody_looks_at_is_found(leave: Callable[[], object]) -> None:
    leaks = Leaks()
    await leave()  # type: ignore[misc]
    gc.collect()

    found = await leaks.found(settle=0.01)

    assert len(found) == 1
