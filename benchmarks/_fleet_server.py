"""
An STS for the benchmarks of the fleet, in a process of its own. It issues credentials that end, and it counts.

It reads only the access key id, the role and the operation of a request. It checks no signature. The benchmark uses a
second port: ``GET /counts`` returns the counts as JSON, and ``GET /reset`` sets them to zero. The counts are:

    requests: requests that arrived, also from processes that did not live to get the answer
    answers, refusals: requests that were answered with 200, and that were throttled
    ended: requests that were signed with expired credentials of this server
    issued: the credentials that were issued; roles: the different roles for which they were issued
    connections, open: connections that were open or accepted, and their largest number at one time
    seconds: from the first request to the last answer
"""

import argparse
import asyncio
import contextlib
import functools
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

import _loopback

ROLE = "&RoleArn="
HEAD = (
    "HTTP/1.1 {status}\r\nx-amzn-RequestId: 01234567-89ab-cdef-0123-456789abcdef\r\nContent-Type: {type}\r\n"
    "Content-Length: {length}\r\nDate: {date}\r\n\r\n"
)
CALLER = """\
<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:sts::123456789012:assumed-role/demo/session</Arn><UserId>AROAIOSFODNN7EXAMPLE:session</UserId>
<Account>123456789012</Account></GetCallerIdentityResult><ResponseMetadata>
<RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId></ResponseMetadata></GetCallerIdentityResponse>
"""
ERROR = """\
<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code>
<Message>{message}</Message></Error><RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId></ErrorResponse>
"""


class Counting:
    """
    The behaviour and the counts of the server.

    Args:
        rate: Requests a second that it admits, with a burst of one second; 0 admits all.
        delay: Seconds before each answer.
        life: Seconds for which credentials are valid.
    """

    def __init__(self, *, rate: float, delay: float, life: float) -> None:
        self.rate = rate
        self.delay = delay
        self.life = life
        self.open = 0
        self._ends: dict[str, float] = {}
        self._number = 0
        self._burst = max(rate, 1.0)
        self._tokens = self._burst
        self._refilled = time.monotonic()
        self._second = 0
        self._date = ""
        self.reset()

    def reset(self) -> None:
        self.counts = dict.fromkeys(("requests", "answers", "refusals", "ended", "issued"), 0)
        self.counts["connections"] = self.open
        self.most_open = self.open
        self.roles: set[str] = set()
        self.first = self.last = 0.0

    def connected(self) -> None:
        self.counts["connections"] += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)

    def answer(self, head: str, body: str) -> bytes:
        """Return the whole answer to a request."""
        now = time.monotonic()
        self.first = self.first or now
        if not self._admits(now):
            self.counts["refusals"] += 1
            return self._error("400 Bad Request", "Throttling", "Rate exceeded")
        self.last = now
        _, _, rest = head.partition("Credential=")
        key, _, _ = rest.partition("/")
        if self._ends.get(key, now) < now:
            self.counts["ended"] += 1
            return self._error("403 Forbidden", "ExpiredToken", "The security token included in the request is expired")
        self.counts["answers"] += 1
        if "Action=GetCallerIdentity" in body:
            return self._whole("200 OK", CALLER)
        role = urllib.parse.unquote(body.partition(ROLE)[2].partition("&")[0])
        self.roles.add(role)
        return self._issue(now, account=role.split(":")[4])

    def control(self, head: str) -> bytes:
        """Return the counts, and set them to zero for ``/reset``."""
        taken = {"open": self.most_open, "roles": len(self.roles), "seconds": self.last - self.first}
        counts = json.dumps({**self.counts, **taken})
        if head.startswith("GET /reset"):
            self.reset()
        return self._whole("200 OK", counts, "application/json")

    def _admits(self, now: float) -> bool:
        if not self.rate:
            return True
        self._tokens = min(self._burst, self._tokens + (now - self._refilled) * self.rate)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _issue(self, now: float, *, account: str) -> bytes:
        self.counts["issued"] += 1
        self._number += 1
        # The text has whole seconds, and the credentials end exactly then.
        ends = int(time.time() + self.life)
        key = f"ASIA{self._number:016}"
        self._ends[key] = now + ends - time.time()
        body = _loopback.BODY.format(
            account=account,
            key=key,
            secret=_loopback.SECRET_ACCESS_KEY,
            token=_loopback.SESSION_TOKEN,
            expiration=datetime.fromtimestamp(ends, UTC),
        )
        return self._whole("200 OK", body)

    def _error(self, status: str, code: str, message: str) -> bytes:
        return self._whole(status, ERROR.format(code=code, message=message))

    def _whole(self, status: str, body: str, kind: str = "text/xml") -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, f"{datetime.fromtimestamp(second, UTC):%a, %d %b %Y %H:%M:%S GMT}"
        return (HEAD.format(status=status, type=kind, length=len(body), date=self._date) + body).encode()


class Answering(asyncio.Protocol):
    """Answers the requests of one connection, one after the other."""

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._counting.connected()

    def connection_lost(self, exc: Exception | None) -> None:
        self._counting.open -= 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].decode("latin-1")
            _, found, rest = head.lower().partition("\r\ncontent-length:")
            whole = end + 4 + (int(rest.partition("\r\n")[0]) if found else 0)
            if len(self._received) < whole:
                return
            body = self._received[end + 4 : whole].decode("latin-1")
            self._received = self._received[whole:]
            self._counting.counts["requests"] += 1
            if self._counting.delay:
                asyncio.get_running_loop().call_later(self._counting.delay, self._reply, head, body)
            else:
                self._reply(head, body)

    def _reply(self, head: str, body: str) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._counting.answer(head, body))


class Controlled(Answering):
    """Answers the requests of the benchmark."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._counting.control(data.decode("latin-1")))


async def serve(counting: Counting) -> None:
    """Print the two ports, then answer until standard input ends."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for protocol in (Answering, Controlled):
        server = await loop.create_server(functools.partial(protocol, counting), "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(0, ended.set)
    await ended.wait()


class Server:
    """The server, as the benchmark that started it sees it."""

    def __init__(self, port: int, control: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._control = f"http://127.0.0.1:{control}/"

    def counts(self) -> dict[str, float]:
        """Return the counts since the start or the last `reset`."""
        return self._get("counts")

    def reset(self) -> None:
        """Set the counts to zero."""
        self._get("reset")

    def _get(self, path: str) -> dict[str, float]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self._control + path) as response:
            found: dict[str, float] = json.load(response)
        return found


@contextlib.contextmanager
def server(*, rate: float = 0.0, delay: float = 0.0, life: float = 3600.0, pinned: bool = True) -> Iterator[Server]:
    """Run the server in a process of its own, and on a core of its own if the machine has several."""
    cores = _loopback.cores() if pinned else None
    command = [sys.executable, __file__, f"--rate={rate}", f"--delay={delay}", f"--life={life}"]
    command += [] if cores is None else [f"--core={cores[1]}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield Server(int(process.stdout.readline()), int(process.stdout.readline()))
        finally:
            process.stdin.close()  # the server then ends; it also ends if this process is killed
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--life", type=float, default=3600.0)
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    _loopback.pin(options.core)
    asyncio.run(serve(Counting(rate=options.rate, delay=options.delay, life=options.life)))
