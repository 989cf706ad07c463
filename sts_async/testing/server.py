"""LocalSTS: the socket, the clock and the faults around a `Service`."""

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs
from aiohttp import web

from .._core.endpoints import check_region, partition_of
from .._core.secret import Secret, SecretBytes
from ..shapes import Credentials
from .directory import ROLE_ARN, Account, Directory, Principal, Role, User
from .faults import Answer, Delay, Fault, Refuse, Reset, Script, Skew, Throttle, Truncate, Unavailable
from .handlers import TRADE_IN_TOKEN
from .refusals import Refusal
from .rules import AUTHORIZATION_MESSAGE
from .sealed import seal
from .service import Outcome, Served, Service
from .verify import Received
from .wire import CONTENT_TYPE

if TYPE_CHECKING:
    from ..client import STSClient

RECORDS_KEPT = 10_000
SHUTDOWN_TIMEOUT = 1.0  # s for requests under way; a `Delay` ends at once
DEFAULT_USER = "developer"

_NO_LINGER = struct.pack("ii", 1, 0)  # close with RST


class LocalSTS:
    """
    An STS on 127.0.0.1, with what it knows in memory.

        async with LocalSTS() as server, server.client() as sts:
            print(await sts.get_caller_identity())

    It verifies signatures, enforces the API's constraints, and recognises the credentials that it issues until they
    expire. SAML assertions and JWTs are read but NOT verified, and what it issues is good nowhere else.

    Args:
        account: The account of users that name none, by its id or as an `Account`.
        region: The region of `client`, and of requests that are not signed; its partition is that of the ARNs.
        regions: Regions that a request can be signed for; None for any.
        roles: The roles that exist. None: every role and every account exists, and trusts everybody, unless one is
            declared that says otherwise.
        users: Users, beside the one that `credentials` belong to.
        accounts: Further accounts.
        clock: Returns the time, in seconds since 1970. Signatures, lifetimes and the Date header follow it.
        honor_expires: Whether a presigned URL ends with its X-Amz-Expires. STS itself takes it for 15 minutes.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.

    Attributes:
        user: The user that `credentials` belong to. Its MFA device is ``arn:...:mfa/developer`` and shows 123456.
        faults: The script of faults: see `faults`.
        requests: Records of the last 10,000 requests, oldest first.
    """

    def __init__(
        self,
        *,
        account: str | Account = "123456789012",
        region: str = "us-east-1",
        regions: Collection[str] | None = None,
        roles: Iterable[Role] | None = None,
        users: Iterable[User] = (),
        accounts: Iterable[Account] = (),
        clock: Callable[[], float] = time.time,
        honor_expires: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        check_region(region)
        home = Account(account) if isinstance(account, str) else account
        partition = partition_of(region).name
        self.region = region
        self.user = User(DEFAULT_USER, mfa_serial=f"arn:{partition}:iam::{home.id}:mfa/{DEFAULT_USER}")
        self.faults = Script()
        self.requests: deque[Served] = deque(maxlen=RECORDS_KEPT)
        self._directory = Directory(partition=partition, account=home, trust_undeclared=roles is None)
        self._directory.declare(self.user, *users, *(roles or ()), *accounts)
        self._service = Service(self._directory, region=region, regions=regions, honor_expires=honor_expires)
        self._clock = clock
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None
        self._stopping = asyncio.Event()

    # -- what it knows --------------------------------------------------------------------------------------------

    @property
    def credentials(self) -> Credentials:
        """The long-term credentials of `user`."""
        return self.user.credentials

    def declare(self, *things: Account | User | Role) -> None:
        """Make accounts, users and roles known, or change those that are."""
        self._directory.declare(*things)

    def principal(self, credentials: Credentials) -> Principal | None:
        """Return who holds *credentials*, declared or issued here, or None."""
        return self._directory.holder(credentials.access_key_id)

    def expire(self, credentials: Credentials) -> None:
        """
        End the session of *credentials* now.

        Raises:
            KeyError: They were not issued here.
        """
        self._directory.expire(credentials.access_key_id)

    def encode_authorization_message(self, content: Mapping[str, Any]) -> Secret:
        """Return a message that DecodeAuthorizationMessage decodes to *content*, as JSON."""
        return Secret(seal(self._directory.sealing_key, AUTHORIZATION_MESSAGE, content))

    def trade_in_token(self, role_arn: str, *, seconds: float = 900) -> Secret:
        """
        Return a token that GetDelegatedAccessToken exchanges for a session of the role, for the next *seconds*.

        Raises:
            ValueError: *role_arn* is not the ARN of a role.
        """
        if not ROLE_ARN.fullmatch(role_arn):
            raise ValueError(f"not the ARN of a role: {role_arn!a}")
        content = {"role_arn": role_arn, "expires_at": self._clock() + seconds}
        return Secret(seal(self._directory.sealing_key, TRADE_IN_TOKEN, content))

    # -- the socket -----------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """
        The URL to send requests to.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._runner is None:
            raise RuntimeError("the server is not running: use `async with LocalSTS() as server`, or await start()")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def client(self, **options: Any) -> "STSClient":
        """Return a client of this server; *options* are those of `STSClient`, and come first."""
        from ..client import STSClient

        return STSClient(
            **{"endpoint_url": self.url, "region": self.region, "credentials": self.credentials, **options}
        )

    async def start(self) -> None:
        """
        Listen. Once it runs, starting does nothing.

        Raises:
            OSError: The address or port cannot be had.
        """
        if self._runner is not None:
            return
        self._stopping = asyncio.Event()  # anew: the next start may be in another event loop
        # handler_cancellation: a `Delay` whose client has gone is not waited for
        server = web.Server(self._handle, handler_cancellation=True, access_log=None, auto_decompress=False)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_TIMEOUT)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and stop listening. What is known stays; stopping again does nothing."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self._stopping.set()
            await runner.cleanup()
            await asyncio.sleep(0)  # the transports close at the loop's next turn

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"<LocalSTS {'stopped' if self._runner is None else self.url}>"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        received = _received(request, await request.read())
        fault = self.faults.take()
        if isinstance(fault, Delay):
            await self._pause(fault.seconds)
        now = self._clock() + (fault.seconds if isinstance(fault, Skew) else 0)
        outcome = self._service.answer(received, now=now, refusal=_refusal(fault))
        self.requests.append(_as_it_goes(outcome.served, fault))
        transport = request.transport
        if isinstance(fault, Reset | Truncate) and transport is not None:
            _break(transport, outcome, fault, now=now)
        if isinstance(fault, Answer):
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        return web.Response(
            status=outcome.served.status or 200, body=outcome.document.encode(), headers=_headers(outcome, now=now)
        )

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


def _received(request: web.BaseRequest, body: bytes) -> Received:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        name = name.lower()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    path, _, query = request.raw_path.partition("?")
    return Received(request.method, path, query, headers, SecretBytes(body))


def _refusal(fault: Fault | None) -> Refusal | None:
    if isinstance(fault, Refuse | Throttle | Unavailable):
        return Refusal(fault.code, fault.message, status=fault.status)
    return None


def _as_it_goes(served: Served, fault: Fault | None) -> Served:
    """Return the record of what the client gets to see."""
    match fault:
        case Answer():
            return attrs.evolve(served, status=fault.status, code=None)
        case Reset(after="connect"):
            return attrs.evolve(served, status=None, code=None)
        case _:
            return served


def _headers(outcome: Outcome, *, now: float) -> dict[str, str]:
    return {
        "Content-Type": CONTENT_TYPE,
        "Date": formatdate(now, usegmt=True),
        "x-amzn-RequestId": outcome.served.request_id,
    }


def _break(transport: asyncio.Transport, outcome: Outcome, fault: Reset | Truncate, *, now: float) -> None:
    """Send a part of the answer, or none, and end the connection. What aiohttp sends afterwards goes nowhere."""
    body = outcome.document.encode()
    status = HTTPStatus(outcome.served.status or 200)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in _headers(outcome, now=now).items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    if isinstance(fault, Truncate):
        transport.write(head + body[: min(fault.at_bytes, len(body) - 1)])
        transport.close()
        return
    if fault.after == "headers":
        transport.write(head)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
