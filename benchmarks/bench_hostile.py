"""
What hostile answers cost: memory, and time in which the event loop does nothing else.

    python benchmarks/bench_hostile.py [--calls 20]

Each answer is served by a process of its own to a fresh client process, which first makes some good calls, then some
that get the hostile answer, one after the other. Shown is how much the peak of its memory (RSS) grew meanwhile, how
long the event loop halted at most, above what it halts idle, and the error.

Then each document of `_hostile.py`, the worst of its class in every encoding, is read in a fresh process. Shown is the
CPU time of one reading, the longest of some, how much the peak of memory grew meanwhile, and the outcome; at last the
worst of each, whose goals are below 50 ms and 4 MB. Linux only.
"""

import argparse
import asyncio
import contextlib
import gc
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _hostile
import _loopback

from sts_async import Config, Credentials, NoRetries, STSClient, STSError
from sts_async._protocol import response as answer
from sts_async._protocol import xml
from sts_async._protocol.http_messages import HttpResponse
from sts_async._protocol.json_documents import read_object
from sts_async._shape.secret import SecretBytes
from sts_async.operations import GET_CALLER_IDENTITY

BEAT = 0.001  # s
WARM = 10  # good calls first
READINGS = 10  # of each document
ENDLESS = ("without end", "Content-Length of 1 TB")
MIB = 1 << 20


def head(length: int | None, more: str = "") -> bytes:
    size = "" if length is None else f"Content-Length: {length}\r\n"
    return f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n{size}{more}\r\n".encode()


def answers() -> dict[str, bytes]:
    """Return the hostile answers, by name. Those in `ENDLESS` are followed by more, for ever."""
    bomb = gzip.compress(b"<a>" + b"x" * 100 * MIB)
    deep = b"<a>" * 300_000
    wide = b"<r>" + b"<a/>" * 250_000 + b"</r>"
    attributes = b"<r " + b" ".join(b'a%d="x"' % number for number in range(80_000)) + b"/>"
    entities = b'<!DOCTYPE r [<!ENTITY a "xxxxxxxxxx">' + b"".join(
        b'<!ENTITY a%d "%s">' % (n, b"&a;" * 10) for n in range(1000)
    )
    return {
        "a good answer": _loopback.prepared_answer(),
        "gzip, 100 MiB in 100 kB": head(len(bomb), "Content-Encoding: gzip\r\n") + bomb,
        "the same, unsaid": head(len(bomb)) + bomb,
        "without end": head(None),
        "Content-Length of 1 TB": head(1 << 40),
        "XML 300,000 deep": head(len(deep)) + deep,
        "XML with 250,000 children": head(len(wide)) + wide,
        "80,000 attributes": head(len(attributes)) + attributes,
        "entities": head(len(entities)) + entities,
        "1 MiB of text": head(MIB) + b"x" * MIB,
    }


async def serve(name: str) -> None:
    """Answer the first `WARM` requests well and the others with hostility, until standard input ends."""
    good, hostile, ended = _loopback.prepared_answer(), answers()[name], asyncio.Event()
    served = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(request.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
                served += 1
                writer.write(good if served <= WARM else hostile)
                while served > WARM and name in ENDLESS:
                    writer.write(b"x" * 65_536)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    asyncio.get_running_loop().add_reader(0, ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.close()


async def halts(work: Any) -> float:
    """Return the longest time, in seconds, for which *work* kept the event loop from everything else."""
    loop, longest = asyncio.get_running_loop(), 0.0
    done = asyncio.ensure_future(work)
    last = loop.time()
    while not done.done():
        await asyncio.sleep(BEAT)
        now = loop.time()
        longest, last = max(longest, now - last - BEAT), now
    await done
    return longest


def count_afresh() -> None:
    """Forget the peak of memory so far."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(kind: str) -> int:
    """Return the resident memory of this process in KiB: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind))


async def suffer(url: str, calls: int) -> None:
    """Call, and print what it cost."""
    keys = Credentials(access_key_id=_loopback.ACCESS_KEY_ID, secret_access_key=_loopback.SECRET_ACCESS_KEY)
    outcome = "no error"
    config = Config(attempt_timeout=5)
    options: dict[str, Any] = {"credentials": keys, "config": config, "retries": NoRetries()}

    async def call(times: int) -> None:
        nonlocal outcome
        for _ in range(times):
            try:
                await sts.assume_role(role_arn=_loopback.ROLE_ARN, role_session_name="me")
            except STSError as error:
                outcome = type(error).__name__

    async with STSClient(region=_loopback.REGION, endpoint_url=url, **options) as sts:
        await call(WARM)
        idle = await halts(asyncio.sleep(0.5))
        gc.collect()
        count_afresh()
        before = memory("VmRSS")
        halted = await halts(call(calls))
        after = memory("VmHWM")
    print(json.dumps({"grown": (after - before) / 1024, "halted": (halted - idle) * 1e3, "outcome": outcome}))


def read(kind: str, body: SecretBytes) -> str:
    """Read a document as the library does, and return what became of it."""
    if kind == "json":
        read_object(body, what="it")
        return "read"
    if kind == "error":
        keys = Credentials(access_key_id="AKID", secret_access_key="A" * 40, session_token=("A" * 15 + "y") * 256)
        found = answer.read(GET_CALLER_IDENTITY, HttpResponse(400, {}, body), sent_at=time.time(), sent=(keys,))
        return type(found).__name__
    xml.parse(body)
    return "read"


def measure(kind: str, file: Path) -> None:
    """Read the document in a file some times, and print what it cost. No other: freed memory would be used again."""
    body = SecretBytes(file.read_bytes())
    for good in (b"<r><a>1</a></r>", b"<?xml version='1.0'?><r/>", b"x" * 9):  # what is made at first use
        for warm in ("xml", "error"):
            with contextlib.suppress(ValueError):
                read(warm, SecretBytes(good))
    read("json", SecretBytes(b"{}"))
    gc.collect()
    count_afresh()
    before, longest, outcome = memory("VmRSS"), 0.0, ""
    for _ in range(READINGS):
        begun = time.process_time()
        try:
            outcome = read(kind, body)
        except (xml.XMLRefused, STSError) as error:
            outcome = str(error)
        longest = max(longest, time.process_time() - begun)
    print(json.dumps({"grown": (memory("VmHWM") - before) * 1024 / 1e6, "cpu": longest * 1e3, "outcome": outcome}))


def compare() -> None:
    print(f"\n{'document':40}{'CPU, ms':>10}{'RSS, MB':>10}   outcome")
    worst = {"cpu": 0.0, "grown": 0.0}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "document")
        for kind, name, body in _hostile.documents():
            file.write_bytes(body)
            cost = json.loads(_loopback.run(__file__, "--kind", kind, "--read", file))
            worst = {what: max(value, cost[what]) for what, value in worst.items()}
            print(f"{name:40}{cost['cpu']:>10.1f}{cost['grown']:>10.1f}   {cost['outcome'][:60]}", flush=True)
    print(f"{'the worst':40}{worst['cpu']:>10.1f}{worst['grown']:>10.1f}   goals: 50 ms, 4 MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--documents", action="store_true", help="only the documents, without a network")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
    elif options.url:
        asyncio.run(suffer(options.url, options.calls))
    elif options.read:
        measure(options.kind, options.read)
    else:
        if not options.documents:
            compete(options)
        compare()


def compete(options: argparse.Namespace) -> None:
    print(f"{'':28}{'RSS, MiB':>10}{'loop, ms':>10}   outcome")
    for name in answers():
        command = [sys.executable, __file__, "--serve", name]
        with subprocess.Popen(
            command, env=_loopback.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdin
            assert server.stdout
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/"
            cost = json.loads(_loopback.run(__file__, "--url", url, "--calls", options.calls))
            server.stdin.close()
        print(f"{name:28}{cost['grown']:>10.1f}{cost['halted']:>10.1f}   {cost['outcome']}", flush=True)


if __name__ == "__main__":
    main()
