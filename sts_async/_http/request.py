"""
A request of aiohttp without the work that a signed call never needs.

aiohttp prepares every request for cookies, forms, compression, chunks and redirects. It writes the body in a task of
its own, because a large body may have to wait for the peer. The body of a signed call is small and complete: head and
body leave in one write, from the coroutine of the call. This saves one task, one turn of the event loop and about a
third of aiohttp's own work for a request.

The class sets the attributes that aiohttp's own class sets, so it depends on the release of aiohttp. `request_class`
returns it only for the series of releases that it was tested with, and only if both classes have the same attributes.
With any other aiohttp, its own class is used: requests are slower and otherwise equal, so a new release breaks nothing.
"""

import asyncio
import functools
from typing import Any

import aiohttp
import yarl
from aiohttp import hdrs
from aiohttp.http import HttpVersion11, StreamWriter
from multidict import CIMultiDict

from .._runtime.requirements import numbers
from .._shape.secret import SecretBytes

TESTED_SERIES = (3, 14)  # releases of aiohttp
DEBUG = {"_source_traceback"}
MAX_BODY = 32 * 1024  # bytes: half of what asyncio buffers before a writer has to wait


class LeanRequest(aiohttp.ClientRequest):
    """
    A POST with a small body in `SecretBytes`, sent without a proxy. aiohttp prepares and sends any other request.

    Other methods are left to aiohttp, because it repeats them over a new connection and needs their body again.
    Requests with traces are left to it, too: programs that trace every aiohttp session see all events.
    """

    _small_body: SecretBytes | None = None

    def __init__(self, method: str, url: yarl.URL, *, headers: Any, data: Any, **options: Any) -> None:
        small = type(data) is SecretBytes and len(data) <= MAX_BODY and method == hdrs.METH_POST
        plain = hdrs.HOST not in headers and hdrs.TRANSFER_ENCODING not in headers
        if not small or not plain or options["proxy"] or options["traces"]:
            super().__init__(method, url, headers=headers, data=data, **options)
            return
        self._small_body = data
        self._body = None  # aiohttp finds no payload to write or to close
        self.method = method
        self.original_url = self.url = url
        self.headers = CIMultiDict({hdrs.HOST: url.host_port_subcomponent or ""})
        self.headers.extend(headers)
        self.headers[hdrs.CONTENT_LENGTH] = str(len(data))
        self.version = options["version"]
        self.loop = options["loop"]
        self.response_class = options["response_class"]
        self.server_hostname = options["server_hostname"]
        self._session = options["session"]
        self._timer = options["timer"]
        self._ssl = options["ssl"]
        self._traces = options["traces"]
        self.length = self.chunked = self.compress = None
        self.proxy = self.proxy_auth = self.proxy_headers = None

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        """Write head and body, and return the response that will read the answer."""
        body, protocol = self._small_body, conn.protocol
        if body is None:
            return await super().send(conn)
        if protocol.writing_paused:  # the peer has not read an earlier request yet: aiohttp waits for it in a task
            self._body = aiohttp.BytesPayload(body)
            return await super().send(conn)
        writer = StreamWriter(protocol, self.loop)
        await writer.write_headers(f"{self.method} {self.url.raw_path_qs} HTTP/1.1", self.headers)
        await writer.write(body, drain=False)
        response = self.response_class(
            self.method,
            self.original_url,
            writer=None,
            continue100=None,
            timer=self._timer,
            request_info=self.request_info,
            traces=self._traces,
            loop=self.loop,
            session=self._session,
            stream_writer=writer,
        )
        self.response = response  # type: ignore[assignment]  # aiohttp declares it as always None
        return response


@functools.cache
def request_class() -> type[aiohttp.ClientRequest]:
    """Return `LeanRequest`, or aiohttp's own class for a release that it was not tested with."""
    if numbers(aiohttp.__version__)[:2] != TESTED_SERIES:
        return aiohttp.ClientRequest
    try:
        plain, lean = (_example(kind) for kind in (aiohttp.ClientRequest, LeanRequest))
    except (AttributeError, TypeError, KeyError):
        return aiohttp.ClientRequest
    # In an event loop in debug mode, aiohttp's own request has one more attribute.
    return LeanRequest if vars(plain).keys() - DEBUG <= vars(lean).keys() else aiohttp.ClientRequest


def _example(kind: type[aiohttp.ClientRequest], *, header: str = hdrs.ACCEPT) -> aiohttp.ClientRequest:
    """Return a request as aiohttp's session makes it for a signed call."""
    made: Any = kind
    example: aiohttp.ClientRequest = made(
        hdrs.METH_POST,
        yarl.URL("http://localhost/"),
        headers=CIMultiDict({header: "text/xml"}),
        data=SecretBytes(b"a=1"),
        version=HttpVersion11,
        loop=asyncio.get_running_loop(),
        response_class=aiohttp.ClientResponse,
        server_hostname=None,
        timer=None,
        session=None,
        ssl=True,
        traces=[],
        proxy=None,
    )
    return example
