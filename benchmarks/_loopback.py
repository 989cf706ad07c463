"""
What the benchmarks share: a server on this host that is never the limit, and processes that end with their parent.

The server reads no more of a request than its end, and answers each with the same prepared AssumeRole answer.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
BEAT = 0.001  # s
ACCESS_KEY_ID = "ASIAIOSFODNN7EXAMPLE"
SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION_TOKEN = ("IQoJb3JpZ2luX2VjEXAMPLE/+aTWQ9kSu" * 23)[:748] + "=="
ACCOUNT = "123456789012"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/benchmark/demo"
REGION = "eu-west-1"

BODY = """\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <AssumedRoleId>AROAIOSFODNN7EXAMPLE:session-000001</AssumedRoleId>
      <Arn>arn:aws:sts::{account}:assumed-role/demo/session-000001</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>{key}</AccessKeyId>
      <SecretAccessKey>{secret}</SecretAccessKey>
      <SessionToken>{token}</SessionToken>
      <Expiration>{expiration:%Y-%m-%dT%H:%M:%SZ}</Expiration>
    </Credentials>
    <PackedPolicySize>6</PackedPolicySize>
  </AssumeRoleResult>
  <ResponseMetadata>
    <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>
  </ResponseMetadata>
</AssumeRoleResponse>
"""


def prepared_answer() -> bytes:
    """Return a whole HTTP answer of about 1.5 kB, with credentials that last an hour from now."""
    body = BODY.format(
        account=ACCOUNT,
        key=ACCESS_KEY_ID,
        secret=SECRET_ACCESS_KEY,
        token=SESSION_TOKEN,
        expiration=datetime.now(UTC) + timedelta(hours=1),
    ).encode()
    return (
        "HTTP/1.1 200 OK\r\nx-amzn-RequestId: 01234567-89ab-cdef-0123-456789abcdef\r\nContent-Type: text/xml\r\n"
        f"Content-Length: {len(body)}\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"
    ).encode() + body


class Answering(asyncio.Protocol):
    """Answers each request of one connection, after *delay* seconds."""

    def __init__(self, answer: bytes, delay: float) -> None:
        self._answer = answer
        self._delay = delay
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            _, found, rest = self._received[:end].lower().partition(b"\r\ncontent-length:")
            whole = end + 4 + (int(rest.split(b"\r\n", 1)[0]) if found else 0)
            if len(self._received) < whole:
                return
            self._received = self._received[whole:]
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._transport.write, self._answer)
            else:
                self._transport.write(self._answer)


async def serve(delay: float) -> None:
    """Print the port, then answer until standard input ends."""
    answer, ended = prepared_answer(), asyncio.Event()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(answer, delay), "127.0.0.1", 0, backlog=512)
    loop.add_reader(0, ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.close()


def cores() -> tuple[int, int] | None:
    """Return one core for the contender and one for the server, or None where there is no choice."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    able = sorted(os.sched_getaffinity(0))
    return (able[0], able[-1]) if len(able) > 1 else None


def pin(core: int | None) -> None:
    """Keep this process on *core*; None leaves it to the system."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def environment() -> dict[str, str]:
    """Return the environment for a contender: this checkout importable, nothing of AWS or of a proxy in it."""
    kept = {name: value for name, value in os.environ.items() if "AWS" not in name and "PROXY" not in name.upper()}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed library has its byte code
    path = [*filter(None, [os.environ.get("PYTHONPATH")]), str(HERE.parent)]
    quiet = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**kept, **quiet, "AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": os.pathsep.join(path)}


def run(*arguments: object, interpreter: str = sys.executable) -> str:
    """
    Return what a Python process printed.

    Raises:
        subprocess.CalledProcessError: It failed; what it said is on standard error.
    """
    command = [interpreter, *map(str, arguments)]
    return subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True).stdout


@contextlib.contextmanager
def server(*, core: int | None = None, delay: float = 0.0) -> Iterator[str]:
    """Run the server in a process of its own, and give its URL."""
    command = [sys.executable, __file__, "--delay", str(delay), *([] if core is None else ["--core", str(core)])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.stdin.close()  # it ends by itself then, also when this process is killed
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.asynccontextmanager
async def beating() -> AsyncIterator[list[float]]:
    """Give a list that fills with the seconds between two wake-ups of a task that sleeps `BEAT` at a time."""
    gaps: list[float] = []

    async def beat() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(BEAT)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    task = asyncio.create_task(beat())
    await asyncio.sleep(10 * BEAT)
    yield gaps
    await asyncio.sleep(2 * BEAT)
    task.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    pin(options.core)
    asyncio.run(serve(options.delay))
