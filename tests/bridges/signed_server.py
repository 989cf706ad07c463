"""
A server for any service and a small S3, which accepts only requests that are signed with valid keys of a `LocalSTS`.

botocore computes each signature again, from the request that has arrived. So it is an oracle for signers of this
library, and for other libraries that are given credentials.
"""

import asyncio
import hashlib
import hmac
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import attrs
from aiohttp import web
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys
from patience import PATIENCE

from sts_async.testing import LocalSTS

NOT_HASHED = ("UNSIGNED-PAYLOAD", "STREAMING-")


@attrs.frozen
class Seen:
    """A request that has arrived, with its headers by lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    key: str
    refusal: str | None

    @property
    def service(self) -> str:
        return self.headers["authorization"].split("/")[3]

    @property
    def signed(self) -> set[str]:
        return set(self.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";"))


class SignedServer:
    """
    The server, in a thread of its own.

    Args:
        sts: The server that has issued the keys.
        answer: Returns the response to an accepted request, or None to serve it as S3 does.

    Attributes:
        seen: The requests that have arrived, oldest first.
    """

    def __init__(self, sts: LocalSTS, answer: Callable[[Seen], web.Response | None] = lambda seen: None) -> None:
        self._sts = sts
        self._answer = answer
        self._loop = asyncio.SelectorEventLoop()
        self._port: Future[int] = Future()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seen: list[Seen] = []
        self.objects: dict[str, bytes] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._port.result(PATIENCE)}"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE)

    @property
    def refused(self) -> list[str]:
        return [seen.refusal for seen in self.seen if seen.refusal]

    @property
    def keys(self) -> list[str]:
        """The access keys that were used, each once, in the order of their first use."""
        return list(dict.fromkeys(seen.key for seen in self.seen))

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{anything:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._port.set_result(runner.addresses[0][1])
            await self._stopping.wait()
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        key = headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
        refusal = self._refusal(request, headers, body, key)
        seen = Seen(request.method, request.raw_path, headers, body, key, refusal)
        self.seen.append(seen)
        if refusal is not None:
            text = f"<Error><Code>{refusal}</Code><Message>{refusal}</Message></Error>"
            return web.Response(status=403, text=text, content_type="application/xml")
        return self._answer(seen) or self._store(seen)

    def _refusal(self, request: web.Request, headers: dict[str, str], body: bytes, key: str) -> str | None:
        """Return the code of the error for a request, or None if it is accepted."""
        owner = self._sts._directory.holder(key)
        if owner is None:
            return "InvalidAccessKeyId"
        credentials = owner.credentials
        if headers.get("x-amz-security-token") != credentials.session_token:
            return "InvalidToken"
        if credentials.expiration is not None and credentials.expiration.timestamp() <= self._sts._clock():
            return "ExpiredToken"
        proof = headers["authorization"]
        scope = proof.split("Credential=")[1].split(",")[0].split("/")[1:]
        names = proof.split("SignedHeaders=")[1].split(",")[0].strip().split(";")
        if missing := {"host", "x-amz-date", *({"x-amz-security-token"} if credentials.session_token else ())} - {
            *names
        }:
            return f"NotSigned-{'-'.join(sorted(missing))}"
        declared = headers.get("x-amz-content-sha256", "")
        if declared and not declared.startswith(NOT_HASHED) and declared != hashlib.sha256(body).hexdigest():
            return "XAmzContentSHA256Mismatch"
        path, _, query = request.raw_path.partition("?")
        if scope[2] == "s3":
            path = quote(unquote(path), safe="/-_.~")  # the key of the object, encoded once
        signed = AWSRequest(
            method=request.method,
            url=f"http://{headers['host']}{path}",
            params=parse_qsl(query, keep_blank_values=True),  # a service decodes and encodes them
            data=body,
            headers={name: headers.get(name, "") for name in names} | {"x-amz-content-sha256": declared}
            if declared
            else {name: headers.get(name, "") for name in names},
        )
        signed.context["timestamp"] = headers["x-amz-date"]
        kind = S3SigV4Auth if scope[2] == "s3" else SigV4Auth
        auth = kind(Keys(key, credentials.secret_access_key, credentials.session_token), scope[2], scope[1])
        auth.headers_to_sign = lambda request: _Signed(names, headers)
        text = auth.string_to_sign(signed, auth.canonical_request(signed))
        expected = auth.signature(text, signed)
        return None if hmac.compare_digest(expected, proof.split("Signature=")[1]) else "SignatureDoesNotMatch"

    def _store(self, seen: Seen) -> web.Response:
        """Do what S3 does: put, get with a range, head, list."""
        path = urlsplit(seen.target)
        name = unquote(path.path)
        etag = {"ETag": '"1b2cf535f27731c974343645a3985328"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if seen.method in ("PUT", "POST"):
            self.objects[name] = seen.body
            return web.Response(headers=etag)
        if "list-type=2" in path.query:
            bucket = name.rstrip("/")
            found = "".join(
                f"<Contents><Key>{escape(key.removeprefix(bucket + '/'))}</Key><Size>{len(body)}</Size>"
                f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;1b&quot;</ETag>"
                f"<StorageClass>STANDARD</StorageClass></Contents>"
                for key, body in self.objects.items()
                if key.startswith(bucket)
            )
            text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
            return web.Response(text=text, content_type="application/xml")
        body = self.objects.get(name)
        if body is None:
            return web.Response(
                status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="application/xml"
            )
        if seen.method == "HEAD":
            return web.Response(headers=etag | {"Content-Length": str(len(body))})
        wanted = seen.headers.get("range")
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first) if first else len(body) - int(last)
            end = min(int(last), len(body) - 1) if first and last else len(body) - 1
            span = {"Content-Range": f"bytes {start}-{end}/{len(body)}"}
            return web.Response(status=206, body=body[start : end + 1], headers=etag | span)
        return web.Response(body=body, headers=etag)


class _Signed:
    """The signed headers, in the form that botocore reads: names, and the values of each."""

    def __init__(self, names: list[str], headers: dict[str, str]) -> None:
        self._names = names
        self._headers = headers

    def __iter__(self) -> Any:
        return iter(self._names)

    def get_all(self, name: str) -> list[str]:
        return [self._headers.get(name, "")]
