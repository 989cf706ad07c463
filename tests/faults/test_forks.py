"""G13: what a forked process does leaves its parent alone: connections, locks, files, processes, the event loop."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from faults.clients import keys_of
from patience import soon, until

from sts_async.testing import Delay, LocalSignIn, LocalSTS
from sts_async.testing.base import LocalServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

ARN = "arn:aws:iam::123456789012:user/me"
HEAD = """
import asyncio, json, os, sys, warnings
from pathlib import Path
warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)  # Python 3.12 and later
sys.stderr = open(os.devnull, "w")  # asyncio complains in the child: it has no running loop there

def fork(end):
    if os.fork() == 0:
        end()

async def done(*tasks):
    return await asyncio.wait_for(asyncio.gather(*tasks), 120)

async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)
"""
ENDS = {
    "sys.exit": "lambda: sys.exit(0)",
    "os._exit": "lambda: os._exit(0)",
    "an error": "lambda: 1 / 0",
}
each_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)


async def program(script: str, *arguments: str) -> tuple[int | None, str, str]:
    """Return how a Python program ended, what it printed, and what it complained of; nothing of it is left."""
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, *arguments), stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        out, err = await soon(process.communicate())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return process.returncode, out.decode(), err.decode()


def hold_back(server: LocalServer[Any], here: Path, monkeypatch: pytest.MonkeyPatch, *, times: int = 1) -> None:
    """Have the next answers wait for a file "go-on" in a folder, which has a file "held-..." for each that waits."""
    held = itertools.count()

    async def pause(_: float) -> None:
        (here / f"held-{next(held)}").touch()
        await until((here / "go-on").exists)

    monkeypatch.setattr(server._thread, "pause", pause)
    server.faults.add(Delay(0.0, times=times))


@pytest.fixture
async def sign_in() -> AsyncIterator[LocalSignIn]:
    pytest.importorskip("joserfc")
    async with LocalSignIn() as server:
        yield server


LOGIN = """
from sts_async import STSClient
from sts_async.credentials import LoginProvider

url, cache, arn, key, here = *sys.argv[1:5], Path(sys.argv[5])
login = LoginProvider(
    login_session=arn, region="eu-west-1", cache_directory=Path(cache), environ={"AWS_ENDPOINT_URL_SIGNIN": url}
)

async def main():
    async with STSClient(endpoint_url="http://127.0.0.1:1", region="eu-west-1", credentials=login) as sts:
        refresh = asyncio.create_task(sts.get_credentials())
        await until(lambda: list(here.glob("held-*")))
        fork(END_OF_CHILD)
        (here / "go-on").touch()
        (credentials,) = await done(refresh)
        os.wait()
        print(credentials.access_key_id != key)

asyncio.run(main())
"""


@each_end
async def test_a_login_is_refreshed_although_a_child_of_the_coroutine_ends(
    sign_in: LocalSignIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """G13: the child's copy of the loop closed the connection and the wake-up pipe of the parent's."""
    path = sign_in.login(tmp_path / "cache", login_session=ARN, seconds=-5)
    before = json.loads(path.read_bytes())
    hold_back(sign_in, tmp_path, monkeypatch)
    key = before["accessToken"]["accessKeyId"]
    script = (HEAD + LOGIN).replace("END_OF_CHILD", end)
    status, out, err = await program(script, sign_in.url, str(path.parent), ARN, key, str(tmp_path))
    after = json.loads(path.read_bytes())

    assert (status, out, err) == (0, "True\n", "")
    assert [(served.status, served.token) for served in sign_in.requests] == [(200, "valid")]
    assert after["refreshToken"] != before["refreshToken"]
    assert sorted(one.name for one in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


CALL = """
from sts_async import STSClient
from sts_async.shapes import Credentials

url, key, secret, here = *sys.argv[1:4], Path(sys.argv[4])

async def main():
    keys = Credentials(access_key_id=key, secret_access_key=secret)
    async with STSClient(endpoint_url=url, region="us-east-1", credentials=keys) as sts:
        calls = [asyncio.create_task(sts.get_caller_identity()) for _ in range(3)]
        await until(lambda: len(list(here.glob("held-*"))) == 3)
        fork(END_OF_CHILD)
        (here / "go-on").touch()
        answers = await done(*calls)
        os.wait()
        after = await done(sts.get_caller_identity(), asyncio.to_thread(len, "abc"))
        print(len({answer.arn for answer in [*answers, after[0]]}), [answer.metadata.attempts for answer in answers])

asyncio.run(main())
"""


@each_end
async def test_calls_under_way_are_answered_although_a_child_of_the_coroutine_ends(
    server: LocalSTS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """G13: each is sent once, and the event loop still hears of its threads afterwards."""
    hold_back(server, tmp_path, monkeypatch, times=3)
    script = (HEAD + CALL).replace("END_OF_CHILD", end)

    assert await program(script, server.url, *keys_of(server), str(tmp_path)) == (0, "1 [1, 1, 1]\n", "")
    assert len(server.requests) == 4


LOOP_OF_THE_PARENT = """
from sts_async import STSClient
from sts_async.shapes import Credentials

url, key, secret = sys.argv[1:]
keys = Credentials(access_key_id=key, secret_access_key=secret)
sts = STSClient(endpoint_url=url, region="us-east-1", credentials=keys)
loop = asyncio.new_event_loop()

def call():
    return loop.run_until_complete(sts.get_caller_identity()).arn

arns = [call()]
pids = []
for _ in range(2):
    pids.append(os.fork())
    if not pids[-1]:
        arns.append(call())
        arns.append(call())
        os.write(1, b"%d\\n" % len(set(arns)))  # one write: two children print at the same time
        os._exit(0)
arns.append(call())
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
arns.append(call())
print(len(set(arns)))
loop.run_until_complete(sts.aclose())
loop.close()
"""


async def test_a_loop_that_stands_still_at_the_fork_goes_on_in_parent_and_children(server: LocalSTS) -> None:
    """G13: as where workers are forked from a process that has made a call before."""
    status, out, _ = await program(HEAD + LOOP_OF_THE_PARENT, server.url, *keys_of(server))

    assert (status, out.split()) == (0, ["1"] * 3)
    assert len(server.requests) == 7


PROCESS = """
from sts_async._runtime import process

go_on, = sys.argv[1:]
wait = f"while [ ! -e {go_on} ]; do sleep 0.05; done; printf done"

async def main():
    running = [
        asyncio.create_task(process.run(["/bin/sh", "-c", wait], seconds=600, max_bytes=100))
        for _ in range(process.MAX_PROCESSES + 1)
    ]
    await until(lambda: process.PROCESSES.running == process.MAX_PROCESSES)
    fork(END_OF_CHILD)
    os.wait()
    Path(go_on).touch()
    print([bytes(ended.stdout) + str(ended.returncode).encode() for ended in await done(*running)] == [b"done0"] * 17)

asyncio.run(main())
"""


@each_end
async def test_no_process_of_the_parent_ends_with_a_child(tmp_path: Path, end: str) -> None:
    """G13: neither those that run nor those that are queued; and the child is not held up by them."""
    script = (HEAD + PROCESS).replace("END_OF_CHILD", end)

    assert await program(script, str(tmp_path / "go-on")) == (0, "True\n", "")


OWN_PROCESSES = """
from sts_async._runtime import process

async def main():
    tasks = [
        asyncio.create_task(process.run(["sleep", "1000"], seconds=600, max_bytes=100))
        for _ in range(process.MAX_PROCESSES + 1)
    ]
    await until(lambda: process.PROCESSES.running == process.MAX_PROCESSES)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            ended = asyncio.run(asyncio.wait_for(process.run(["printf", "x"], seconds=60, max_bytes=100), 120))
            status = ended.stdout != b"x"
        finally:
            os._exit(status)
    print(os.waitpid(pid, 0)[1])
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

asyncio.run(main())
"""


async def test_a_child_has_a_queue_of_its_own() -> None:
    """G13, G16: the parent's threads are not there to make room."""
    assert await program(HEAD + OWN_PROCESSES) == (0, "0\n", "")
