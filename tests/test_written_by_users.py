"""
What programs can write for themselves, as they would: a transport, a provider, a retry policy, a clock and so on.

Each is written and tested with public names alone, which the last test here holds, and type checkers check this file.
"""

import ast
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from sts_async import Credentials, Response, STSClient, STSError, errors
from sts_async.credentials import AssumeRoleProvider, CachingProvider, ProviderChain, RefreshingProvider
from sts_async.events import AttemptFinished, CallFinished, CredentialsRefreshed, Event, RetryScheduled
from sts_async.operations import GET_SESSION_TOKEN
from sts_async.protocols import (
    Clock,
    CredentialsProvider,
    HttpRequest,
    HttpResponse,
    Observer,
    OutgoingRequest,
    ProviderContext,
    RequestHandler,
    RetryPolicy,
    Schedule,
    SecretBytes,
    Transport,
    invalidate,
    is_attended,
)
from sts_async.retries import StandardRetries
from sts_async.shapes import GetSessionTokenRequest
from sts_async.testing import LocalSTS, Refuse, Role, Throttle, Unavailable, VirtualClock

ROLE = "arn:aws:iam::123456789012:role/demo"
KEYS = Credentials(access_key_id="AKIAEXAMPLE", secret_access_key="an-example-of-a-secret")


# -- Transports ---------------------------------------------------------------------------------------------------


class Recorder:
    """A transport that sends with aiohttp, and keeps the status and body of each response."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.tape: list[tuple[int, SecretBytes]] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        try:
            async with self._session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=request.timeout),
            ) as response:
                body = SecretBytes(await response.read())
                self.tape.append((response.status, body))
                return HttpResponse(status=response.status, headers=response.headers, body=body)
        except aiohttp.ClientConnectorError as error:
            raise errors.ConnectError(f"no connection to {request.url}") from error
        except aiohttp.ClientError as error:
            raise errors.ConnectionLost(f"the connection to {request.url} ended") from error


class FromMemory:
    """A transport that answers with what was recorded, in order, and opens no connection."""

    def __init__(self, *tape: tuple[int, bytes]) -> None:
        self._tape = list(tape)
        self.urls: list[str] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.urls.append(request.url)
        if not self._tape:
            raise errors.ConnectError("the tape is at its end")
        status, body = self._tape.pop(0)
        return HttpResponse(status=status, headers={}, body=SecretBytes(body))


async def test_what_one_transport_records_another_plays() -> None:
    async with LocalSTS() as server, aiohttp.ClientSession() as session:
        recorder = Recorder(session)
        async with server.client(transport=recorder) as sts:
            recorded = await sts.get_caller_identity()
    player = FromMemory(*recorder.tape)
    async with STSClient(region="us-east-1", credentials=KEYS, transport=player) as sts:
        played = await sts.get_caller_identity()

    assert played.arn == recorded.arn
    assert player.urls == ["https://sts.us-east-1.amazonaws.com/"]


async def test_a_transport_says_what_went_wrong_in_terms_of_the_library() -> None:
    """Then retries, events and ``except`` clauses treat it as their own."""
    server = LocalSTS()
    async with server:
        url = server.url
    async with aiohttp.ClientSession() as session:
        sts = STSClient(
            region="us-east-1", endpoint_url=url, credentials=KEYS, transport=Recorder(session), clock=VirtualClock()
        )
        async with sts:
            with pytest.raises(errors.ConnectError) as caught:
                await sts.get_caller_identity()

    assert caught.value.attempts == 3


# -- Providers ----------------------------------------------------------------------------------------------------


class Vault(RefreshingProvider):
    """
    A provider that gets keys from a service of its own, over the client's connections.

    Keys live for ten minutes. In the last two, they are refreshed in the background. In the last 30 s, callers wait.
    """

    schedule = Schedule(advisory=120.0, mandatory=30.0)
    depends_on_client = False  # every client gets the same keys

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    async def fetch(self, context: ProviderContext) -> Credentials:
        response = await context.send(HttpRequest("GET", self._url, {"accept": "application/json"}, timeout=5.0))
        if response.status == 404:
            raise errors.CredentialsNotFound("the vault has no keys for this program")
        if response.status != 200:
            raise errors.CredentialsError(f"the vault answered with status {response.status}")
        keys = json.loads(response.body)
        return Credentials(
            access_key_id=keys["id"],
            secret_access_key=keys["secret"],
            session_token=keys["token"],
            expiration=context.now() + timedelta(minutes=10),
        )


class VaultInMemory:
    """A transport that stands for the vault, and hands out other keys each time."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.handed_out = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        status = self._statuses.pop(0) if self._statuses else 200
        self.handed_out += status == 200
        keys = {"id": f"ASIAVAULT{self.handed_out}", "secret": "an-example-of-a-secret", "token": "a-token"}
        return HttpResponse(status=status, headers={}, body=SecretBytes(json.dumps(keys).encode()))


async def test_a_refreshing_provider_follows_its_schedule() -> None:
    clock, vault = VirtualClock(), VaultInMemory()
    source = Vault("http://vault.example/keys")
    async with STSClient(region="us-east-1", credentials=source, transport=vault, clock=clock) as sts:
        first = await sts.get_credentials()
        clock.advance(7 * 60)
        cached = await sts.get_credentials()
        clock.advance(60 + 1)  # into the last two minutes
        stale = await sts.get_credentials()  # at once, while a refresh begins
        clock.advance(60 + 30)  # into the last 30 s: a caller waits for the refresh, if it is still under way
        fresh = await sts.get_credentials()

    assert first.access_key_id == cached.access_key_id == stale.access_key_id == "ASIAVAULT1"
    assert fresh.access_key_id == "ASIAVAULT2"
    assert vault.handed_out == 2


async def test_a_vault_without_keys_is_passed_over_by_a_chain_and_a_broken_one_is_not() -> None:
    chain = ProviderChain(Vault("http://vault.example/keys"), KEYS)
    async with STSClient(region="us-east-1", credentials=chain, transport=VaultInMemory(404)) as sts:
        assert (await sts.get_credentials()).access_key_id == "AKIAEXAMPLE"
    chain = ProviderChain(Vault("http://vault.example/keys"), KEYS)
    async with STSClient(region="us-east-1", credentials=chain, transport=VaultInMemory(500)) as sts:
        with pytest.raises(errors.CredentialsError, match="the vault answered with status 500"):
            await sts.get_credentials()


class Audited:
    """A provider around another one that counts how often it is asked, and passes all the rest on."""

    def __init__(self, source: CredentialsProvider) -> None:
        self._source = source
        self.asked = 0

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        self.asked += 1
        return await self._source.provide_credentials(context)

    def invalidate(self, access_key_id: str) -> None:
        invalidate(self._source, access_key_id)

    def is_attended(self, context: ProviderContext | None = None) -> bool:
        return is_attended(self._source, context)


async def test_a_provider_around_another_passes_on_that_its_keys_were_refused() -> None:
    async with LocalSTS(roles=[Role(ROLE)]) as server:
        source = Audited(AssumeRoleProvider(role_arn=ROLE, source=server.credentials))
        async with server.client(credentials=source) as sts:
            first = await sts.get_credentials()
            server.faults.add(Refuse("ExpiredToken", operation="GetCallerIdentity", times=1))
            await sts.get_caller_identity()
            second = await sts.get_credentials()

    assert first.access_key_id != second.access_key_id
    assert source.asked >= 3


class SessionOfTheClient(RefreshingProvider):
    """A provider that calls STS with the client's own credentials, through what it is lent."""

    async def fetch(self, context: ProviderContext) -> Credentials:
        if context.client_credentials is None:
            raise errors.CredentialsNotFound("the client has no credentials to sign with")
        sts = context.signed_by(context.client_credentials)
        response = await sts.invoke(GET_SESSION_TOKEN, GetSessionTokenRequest(duration_seconds=900))
        assert response.credentials is not None
        return response.credentials


async def test_a_provider_can_call_sts_with_what_it_is_lent() -> None:
    async with LocalSTS() as server, server.client() as sts:
        view = sts.with_options(credentials=SessionOfTheClient())
        await view.get_caller_identity()

        assert [one.operation for one in server.requests] == ["GetSessionToken", "GetCallerIdentity"]


async def test_a_coroutine_function_is_a_source() -> None:
    """The least that a program can write; `CachingProvider` caches what it returns."""

    async def from_my_store() -> Credentials:
        return KEYS

    async with STSClient(region="us-east-1", credentials=CachingProvider(from_my_store)) as sts:
        assert await sts.get_credentials() is KEYS


# -- A retry policy -----------------------------------------------------------------------------------------------


class OnlyThrottling:
    """A policy that tries again when the service asks to slow down, after as long as the service says, else 2 s."""

    def __init__(self, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self.unsent: list[str] = []

    def admit(self, *, scope: str, now: float) -> float:
        return 0.0

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        pass

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        if not error.throttled or attempt >= self._max_attempts:
            return None
        return 2.0 if error.retry_after is None else error.retry_after

    def after_unsent(self, error: STSError, *, scope: str, now: float) -> None:
        self.unsent.append(scope)


async def test_a_policy_decides_what_is_tried_again() -> None:
    clock = VirtualClock()
    async with LocalSTS(clock=clock) as server:
        async with server.client(retries=OnlyThrottling(max_attempts=4), clock=clock) as sts:
            server.faults.add(Throttle(times=3))
            began = clock.monotonic()
            await sts.get_caller_identity()
            took = clock.monotonic() - began
            server.faults.add(Unavailable(times=1))
            with pytest.raises(errors.ServiceError) as caught:
                await sts.get_caller_identity()

        assert took == 3 * 2.0
        assert caught.value.attempts == 1


async def test_a_policy_learns_of_a_retry_that_is_not_sent() -> None:
    """So that a policy with a budget can take it back."""
    policy = OnlyThrottling(max_attempts=4)
    clock = VirtualClock()
    async with LocalSTS(clock=clock) as server, server.client(retries=policy, clock=clock) as sts:
        server.faults.add(Throttle(times=1))
        with pytest.raises(errors.ThrottlingError):
            await sts.with_options(deadline=1.0).get_caller_identity()

    assert len(policy.unsent) == 1


# -- An observer and a handler ------------------------------------------------------------------------------------


class Tally:
    """An observer that counts calls, attempts and retries, by operation."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case CallFinished(operation=operation, error=None):
                self._count(f"{operation} succeeded")
            case CallFinished(operation=operation):
                self._count(f"{operation} failed")
            case AttemptFinished(operation=operation) | RetryScheduled(operation=operation):
                self._count(f"{operation} {type(event).__name__}")
            case CredentialsRefreshed(source=source):
                self._count(f"refreshed by {source}")

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1


async def test_an_observer_counts_what_happens() -> None:
    tally, clock = Tally(), VirtualClock()
    async with LocalSTS(clock=clock) as server, server.client(observers=[tally], clock=clock) as sts:
        server.faults.add(Throttle(times=1))
        await sts.get_caller_identity()

    assert tally.counts == {
        "GetCallerIdentity AttemptFinished": 2,
        "GetCallerIdentity RetryScheduled": 1,
        "GetCallerIdentity succeeded": 1,
    }


class Correlated(RequestHandler):
    """A handler that sends a correlation id with each attempt, and notes what became of it."""

    def __init__(self, correlation_id: str) -> None:
        self._correlation_id = correlation_id
        self.outcomes: list[str] = []

    def before_signing(self, outgoing: OutgoingRequest) -> Mapping[str, str]:
        return {"x-correlation-id": f"{self._correlation_id}-{outgoing.attempt}"}

    def after_attempt(self, outgoing: OutgoingRequest, outcome: Response | STSError) -> None:
        sent = outgoing.headers["x-correlation-id"]
        self.outcomes.append(f"{sent}: {'failed' if isinstance(outcome, STSError) else 'succeeded'}")


async def test_a_handler_adds_headers_that_are_signed() -> None:
    """The server refuses a request whose signature does not hold."""
    handler, clock = Correlated("order-7"), VirtualClock()
    async with LocalSTS(clock=clock) as server, server.client(clock=clock) as sts:
        server.faults.add(Throttle(times=1))
        await sts.with_options(handlers=[handler]).get_caller_identity()

    assert handler.outcomes == ["order-7-1: failed", "order-7-2: succeeded"]


# -- A clock ------------------------------------------------------------------------------------------------------


class Impatient:
    """A clock on which every pause is over at once, and that notes how long each was."""

    def __init__(self, start: datetime) -> None:
        self._seconds = start.timestamp()
        self.pauses: list[float] = []

    def time(self) -> float:
        return self._seconds

    def monotonic(self) -> float:
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._seconds += seconds


async def test_a_clock_shows_the_pauses_of_a_client() -> None:
    clock = Impatient(datetime(2030, 1, 1, tzinfo=UTC))
    policy = OnlyThrottling(max_attempts=3)
    async with LocalSTS(clock=clock) as server, server.client(clock=clock, retries=policy) as sts:
        server.faults.add(Throttle(times=2))
        await sts.get_caller_identity()

    assert clock.pauses == [2.0, 2.0]


# -- The types ----------------------------------------------------------------------------------------------------


def test_each_example_is_what_its_protocol_asks_for() -> None:
    """Checked by mypy and pyright, which read the annotations; at run time the methods are there."""
    transports: list[Transport] = [FromMemory(), VaultInMemory()]
    providers: list[CredentialsProvider] = [Vault("http://vault.example/"), Audited(CachingProvider(_keys))]
    policies: list[RetryPolicy] = [OnlyThrottling(3), StandardRetries()]
    observers: list[Observer] = [Tally()]
    handlers: list[RequestHandler] = [Correlated("a")]
    clocks: list[Clock] = [Impatient(datetime(2030, 1, 1, tzinfo=UTC)), VirtualClock()]
    kinds: dict[type, Sequence[object]] = {
        Transport: transports,
        CredentialsProvider: providers,
        RetryPolicy: policies,
        Clock: clocks,
    }

    for protocol, examples in kinds.items():
        methods = [name for name in vars(protocol) if not name.startswith("_") and callable(vars(protocol)[name])]
        assert methods
        assert [(example, name) for example in examples for name in methods if not hasattr(example, name)] == []
    assert all(map(callable, observers))
    assert all(isinstance(handler, RequestHandler) for handler in handlers)


async def _keys() -> Credentials:
    return KEYS


def private_names(source: str) -> list[str]:
    """Return what a program takes that is private: modules, names, and attributes of others."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module, *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            names = [node.attr]
        else:
            continue
        parts = [part for name in names for part in name.split(".")]
        found += [part for part in parts if part.startswith("_") and not part.endswith("__")]
    return found


@pytest.mark.parametrize(
    "source",
    [
        "from sts_async._engine import loop",
        "from sts_async.client import _operation",
        "import sts_async._shape",
        "sts._life",
    ],
)
def test_a_private_name_is_seen(source: str) -> None:
    """A rule that sees nothing would be satisfied with everything."""
    assert private_names(source)


def test_nothing_here_is_private_to_the_library() -> None:
    assert private_names(Path(__file__).read_text()) == []
