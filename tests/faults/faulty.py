"""A server that does to each request of each caller what a table says, and the words such tables are made of."""

import asyncio
import enum
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import parse_qs

import attrs
from support import RawServer, http

NO_LINGER = struct.pack("ii", 1, 0)  # close with RST
CALLER = b"caller-NN"
"""In what is sent, the place of the caller's name, which has as many bytes."""
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
REQUEST_ID = "c6104cbe-af31-11e0-8154-cbc7ccf896c7"


class End(enum.Enum):
    """What becomes of the connection when all is sent that will be."""

    KEPT = "waits for the next request"
    FIN = "is closed"
    RST = "is reset"
    OPEN = "stays open, and nothing comes any more"


@attrs.frozen
class Act:
    """
    What the server does with a request, or with a connection before there is any.

    Attributes:
        parts: What is sent, in this order; in each, the name of the caller stands for `CALLER`.
        end: What becomes of the connection then.
        every: Seconds before each part.
        endless: Whether the last part is sent again and again, for as long as the client is there.
        together: Where this waits for others before anything is sent.
    """

    parts: Sequence[bytes] = ()
    end: End = attrs.field(default=End.KEPT, kw_only=True)
    every: float = attrs.field(default=0.0, kw_only=True)
    endless: bool = attrs.field(default=False, kw_only=True)
    together: asyncio.Barrier | None = attrs.field(default=None, kw_only=True)


class Received(NamedTuple):
    """
    A request.

    Attributes:
        caller: The name of the session that is asked for: each call has its own.
        number: Which of the caller's requests it is. The first is 1.
        nth: Which of its connection's requests it is. The first is 1.
        head: Request line and headers.
        form: The parameters.
    """

    caller: str
    number: int
    nth: int
    head: bytes
    form: dict[str, str]

    def header(self, name: str) -> str:
        """Return a header, or '' where there is none."""
        prefix = f"{name.lower()}:"
        lines = self.head.decode().split("\r\n")
        return next((line[len(prefix) :].strip() for line in lines if line.lower().startswith(prefix)), "")

    @property
    def signed_by(self) -> str:
        """The access key id of the signature, or ''."""
        return self.header("authorization").partition("Credential=")[2].partition("/")[0]


Script = Callable[[Received], Act]


class Faulty(RawServer):
    """
    A server on 127.0.0.1 that does what it is told.

    Args:
        script: Says what is done with a request.
        connected: What is done with each connection before anything is read; None lets requests come.
    """

    def __init__(self, script: Script, *, connected: Act | None = None) -> None:
        super().__init__(self._converse)
        self._script = script
        self._connected = connected
        self.received: defaultdict[str, list[Received]] = defaultdict(list)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._tasks)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connected is not None:
            await _perform(self._connected, reader, writer, caller="")
            return
        nth = 0
        end = End.KEPT
        while end is End.KEPT:
            nth += 1
            head, _, body = (await self.read_request(reader)).partition(b"\r\n\r\n")
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            caller = form.get("RoleSessionName", "")
            earlier = self.received[caller]
            received = Received(caller, len(earlier) + 1, nth, head, form)
            earlier.append(received)
            act = self._script(received)
            await _perform(act, reader, writer, caller=caller)
            end = act.end


async def _perform(act: Act, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, caller: str) -> None:
    if act.together is not None:
        await act.together.wait()
    for number, part in enumerate(act.parts, start=1):
        while True:
            if act.every:
                await asyncio.sleep(act.every)
            writer.write(part.replace(CALLER, caller.encode()))
            await writer.drain()
            if not (act.endless and number == len(act.parts)):
                break
    if act.end is End.RST:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        writer.transport.abort()
    elif act.end is End.OPEN:
        while await reader.read(1 << 16):
            pass


# -- answers --------------------------------------------------------------------------------------------------------


def document(operation: str = "AssumeRole") -> str:
    """Return what STS answers to an operation that gives credentials of a role; they live for an hour."""
    ends = datetime.now(UTC) + timedelta(hours=1)
    return f"""\
<{operation}Response xmlns="{NAMESPACE}">
  <{operation}Result>
    <AssumedRoleUser>
      <AssumedRoleId>AROAEXAMPLE:{CALLER.decode()}</AssumedRoleId>
      <Arn>arn:aws:sts::123456789012:assumed-role/demo/{CALLER.decode()}</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
      <SecretAccessKey>SENTINEL-issued-secret</SecretAccessKey>
      <SessionToken>SENTINEL-issued-token</SessionToken>
      <Expiration>{ends:%Y-%m-%dT%H:%M:%SZ}</Expiration>
    </Credentials>
  </{operation}Result>
  <ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>
</{operation}Response>
"""


def error_document(code: str, *, message: str = "Refused") -> str:
    """Return an error of STS."""
    return (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{message}</Message></Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    )


def says(body: bytes | str, *, status: int = 200, headers: str = "Content-Type: text/xml\r\n") -> Act:
    """Return the act of answering; each line of *headers* ends with CRLF."""
    return Act([http(body, status=status, headers=headers)])


def refuses(code: str, *, status: int = 400, headers: str = "", message: str = "Refused") -> Act:
    """Return the act of answering with an error of STS."""
    return says(error_document(code, message=message), status=status, headers=f"Content-Type: text/xml\r\n{headers}")


GOOD = says(document())
HALF = document()[:300].encode()
"""The first part of a good answer, which ends before its credentials do."""
