"""Shared parts of the fleet tests: identities, a service in this process, and time that passes for a fleet."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import attrs
from patience import PATIENCE, turns, until
from support import KEYS, form_of

from sts_async import AssumeRoleRequest, Credentials, STSClient
from sts_async.credentials import RefreshingProvider
from sts_async.errors import STSError
from sts_async.events import IdentityStateChanged
from sts_async.fleet import CredentialsFleet
from sts_async.fleet._entries import Entry
from sts_async.protocols import HttpRequest, HttpResponse, ProviderContext
from sts_async.testing import LocalSTS, VirtualClock
from sts_async.testing.keys import new_key_id

ACCOUNT = "123456789012"
HOUR = 3600.0
ANSWER = """\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><AssumedRoleUser>\
<AssumedRoleId>AROAEXAMPLE:me</AssumedRoleId><Arn>arn:aws:sts::{account}:assumed-role/{name}/{session}</Arn>\
</AssumedRoleUser><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>x</SecretAccessKey>\
<SessionToken>n{number}</SessionToken><Expiration>{ends}</Expiration></Credentials></AssumeRoleResult><ResponseMetadata>\
<RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>"""
REFUSAL = "<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"


def role(number: int = 0, *, account: str = ACCOUNT, session: str = "me", **members: Any) -> AssumeRoleRequest:
    """Return the request for one of many roles."""
    return AssumeRoleRequest(
        role_arn=f"arn:aws:iam::{account}:role/role-{number}", role_session_name=session, **members
    )


def roles(count: int) -> list[AssumeRoleRequest]:
    return [role(number) for number in range(count)]


class Source(RefreshingProvider):
    """
    A provider of the program.

    Attributes:
        fetched: Number of fetches that have begun.
        outcome: The exception that the next fetches raise; None for success.
        gate: If it is set, each fetch waits for this event.
        seconds: Lifetime of the credentials.
    """

    depends_on_client = False

    def __init__(self, clock: VirtualClock, number: int = 0, *, seconds: float = HOUR) -> None:
        super().__init__()
        self.clock = clock
        self.number = number
        self.name = f"source {number}"
        self.seconds = seconds
        self.fetched = 0
        self.outcome: BaseException | None = None
        self.gate: asyncio.Event | None = None

    async def fetch(self, context: ProviderContext) -> Credentials:
        self.fetched += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.outcome is not None:
            raise self.outcome
        return issued(self.clock, f"ASIA{self.number:08}{self.fetched:08}", seconds=self.seconds)


class Plain:
    """A provider that needs little memory, for tests with very many of them. All share one counter."""

    __slots__ = ("clock", "fetches", "number")

    def __init__(self, clock: VirtualClock, number: int, fetches: "Counter[int]") -> None:
        self.clock = clock
        self.number = number
        self.fetches = fetches

    async def provide_credentials(self, context: ProviderContext, /) -> Credentials:
        self.fetches[self.number] += 1
        return issued(self.clock, f"ASIA{self.number:016}")


def issued(clock: VirtualClock, access_key_id: str, *, seconds: float = HOUR) -> Credentials:
    """Return credentials that end after *seconds*."""
    # The secret is short, because the watch over secrets looks for each long one in every log line.
    return Credentials(
        access_key_id=access_key_id,
        secret_access_key="x",
        session_token="x",
        expiration=datetime.fromtimestamp(clock.time() + seconds, UTC),
    )


@attrs.define(eq=False)
class Service:
    """
    A transport that answers AssumeRole in this process, for tests with many requests.

    Attributes:
        clock: The clock of the answers.
        sent: Number of requests for each role, by its ARN.
        order: The ARNs in the order of the requests; see `number_of`.
        refusals: The error code for each role that is refused, by its ARN.
        running: Number of requests that are under way.
        most: The largest number of requests that were under way at the same time.
        gate: If it is set, each answer waits for this event.
    """

    clock: VirtualClock
    sent: Counter[str] = attrs.field(factory=Counter)
    order: list[str] = attrs.field(factory=list)
    refusals: dict[str, str] = attrs.field(factory=dict)
    running: int = 0
    most: int = 0
    gate: asyncio.Event | None = None

    async def send(self, request: HttpRequest) -> HttpResponse:
        _ = request.headers  # signed now
        form = form_of(request)
        arn = form["RoleArn"]
        self.sent[arn] += 1
        self.order.append(arn)
        number = len(self.order)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.running -= 1
        if arn in self.refusals:
            return _response(REFUSAL.format(code=self.refusals[arn]), status=403)
        ends = datetime.fromtimestamp(self.clock.time() + int(form.get("DurationSeconds", HOUR)), UTC)
        return _response(
            ANSWER.format(
                account=arn.split(":")[4],
                name=arn.rpartition("/")[2],
                session=form["RoleSessionName"],
                number=number,
                key=new_key_id("ASIA", arn.split(":")[4]),
                ends=ends.isoformat().replace("+00:00", "Z"),
            )
        )

    def client(self, **options: Any) -> STSClient:
        """Return a client that sends its requests to this service."""
        return STSClient(
            **{
                "endpoint_url": "http://127.0.0.1:9/",
                "region": "us-east-1",
                "credentials": KEYS,
                "transport": self,
                "clock": self.clock,
                **options,
            }
        )


def number_of(credentials: Credentials) -> int:
    """Return the number of the request that a `Service` answered with these credentials, from 0."""
    assert credentials.session_token is not None
    return int(str.__str__(credentials.session_token)[1:]) - 1


def _response(document: str, *, status: int = 200) -> HttpResponse:
    from sts_async._shape.secret import SecretBytes

    return HttpResponse(status, {"content-type": "text/xml"}, SecretBytes(document.encode()))


@asynccontextmanager
async def open_fleet(
    of: LocalSTS | Service, clock: VirtualClock, *, client: Any = None, **options: Any
) -> AsyncIterator[CredentialsFleet]:
    """Open a client of a server or service on the virtual clock, and a fleet. *client* has options of the client."""
    options_of_client = {"clock": clock, **(client or {})}
    async with of.client(**options_of_client) as sts, CredentialsFleet(sts, **options) as fleet:
        yield fleet


def is_busy(fleet: CredentialsFleet) -> bool:
    """Return True if the fleet fetches or is about to."""
    refresher = fleet._refresher
    assert refresher is not None
    return refresher._woken or any(pool.running for pool in refresher.pools)


async def settled(fleet: CredentialsFleet) -> None:
    """Wait until all fetches that the fleet can start have ended."""
    await turns(3)  # timers of the virtual clock run in the next turn
    for _ in range(100):
        if not is_busy(fleet):
            return
        await asyncio.sleep(0)
    await until(lambda: not is_busy(fleet))


async def pass_time(fleet: CredentialsFleet, clock: VirtualClock, seconds: float) -> None:
    """Advance the clock from timer to timer. All fetches that are due at a moment end at this moment."""
    ends = clock.monotonic() + seconds
    async with asyncio.timeout(PATIENCE):
        while True:
            await settled(fleet)
            due = clock.next_timer
            if due is None or due > ends:
                break
            clock.advance(max(due - clock.monotonic(), 0.0))
    clock.advance(max(ends - clock.monotonic(), 0.0))
    await settled(fleet)


def entry_of(fleet: CredentialsFleet, identity: Any) -> Entry:
    entry = fleet._entries.by_identity.get(identity)
    assert entry is not None, "it is not in the fleet"
    return entry


def operations_of(server: LocalSTS) -> list[str | None]:
    """Return the operations that a server has answered, in order."""
    return [served.operation for served in server.requests]


def changes(events: Iterable[object]) -> list[tuple[str | None, str | None]]:
    """Return the changes of state among *events*: before and after."""
    return [(event.before, event.state) for event in events if isinstance(event, IdentityStateChanged)]


async def outcome_of(work: Callable[[], Any]) -> Any:
    """Return the result of an awaitable, or its error."""
    try:
        return await work()
    except STSError as error:
        return error
