"""What many callers share is the client's own work: no caller's options, deadline or cancellation reach it."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from patience import PATIENCE, turns, until
from support import KEYS, ROLE

from sts_async import Config, Credentials, GetCallerIdentityRequest, NoRetries, ProviderChain, STSClient, errors
from sts_async._engine.context import ClientContext
from sts_async._engine.loop import Engine
from sts_async._runtime.threads import FILES
from sts_async.credentials import AssumeRoleProvider, ProfileProvider, RefreshingProvider, cache, chain
from sts_async.events import AttemptFinished, CredentialsRefreshed, Event
from sts_async.handlers import OutgoingRequest
from sts_async.protocols import ProviderContext
from sts_async.testing import LocalSTS

TENANT: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="of no caller")


class Slow(RefreshingProvider):
    """A source that provides when it may, and counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.may_provide = asyncio.Event()
        self.fetched = 0
        self.contexts: list[ProviderContext] = []
        self.tenants: list[str] = []

    async def fetch(self, context: ProviderContext) -> Credentials:
        self.fetched += 1
        self.contexts.append(context)
        self.tenants.append(TENANT.get())
        await self.may_provide.wait()
        return KEYS


class HangsOnce(Slow):
    """A source whose first fetch never ends; where it is *deaf*, not even when it is cancelled."""

    fetch_seconds = 0.01

    def __init__(self, *, deaf: bool = False) -> None:
        super().__init__()
        self._deaf = deaf
        self.disown = asyncio.Event()

    async def fetch(self, context: ProviderContext) -> Credentials:
        self.fetched += 1
        while self.fetched == 1 and not self.disown.is_set():
            try:
                await self.disown.wait()
            except asyncio.CancelledError:
                if not self._deaf:
                    raise
        return KEYS


class Adding:
    """A handler that adds a header, and notes for which operations."""

    def __init__(self) -> None:
        self.operations: list[str] = []

    def before_signing(self, request: OutgoingRequest) -> dict[str, str]:
        self.operations.append(request.operation)
        return {"x-of-the-view": "1"}

    def after_attempt(self, request: OutgoingRequest, outcome: object) -> None:
        """Nothing."""


def client(source: Any, **options: Any) -> STSClient:
    return STSClient(region="eu-west-1", endpoint_url="http://127.0.0.1:9", credentials=source, **options)


async def outcomes(calls: list[Coroutine[Any, Any, Any]]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_an_impatient_leader_fails_alone() -> None:
    """G1: a thousand callers with 30 s are served by the fetch that one with 0.01 s began."""
    source = Slow()
    async with client(source) as sts:
        leader = asyncio.create_task(sts.with_options(deadline=0.01).get_credentials())
        await turns()
        others = [asyncio.create_task(sts.with_options(deadline=30).get_credentials()) for _ in range(1000)]
        with pytest.raises(errors.DeadlineExceeded):
            await leader
        source.may_provide.set()

        assert {*await asyncio.gather(*others)} == {KEYS}
    assert source.fetched == 1


async def test_callers_with_too_little_time_are_served_later_by_their_own_fetch() -> None:
    """F44: twenty give up before the fetch is done; the next twenty need no other."""
    source = Slow()
    async with client(source) as sts:
        impatient = await outcomes([sts.with_options(deadline=0.01).get_credentials() for _ in range(20)])
        source.may_provide.set()
        later = await outcomes([sts.with_options(deadline=5).get_credentials() for _ in range(20)])

    assert {type(outcome) for outcome in impatient} == {errors.DeadlineExceeded}
    assert later == [KEYS] * 20
    assert source.fetched == 1


async def test_a_fetch_has_the_options_of_the_client_and_not_of_the_caller_that_came_first() -> None:
    """G1: region, headers, handlers, observers, retries and deadline."""
    handler, seen, own = Adding(), list[Event](), list[Event]()
    async with LocalSTS() as server:
        config = Config(endpoint_url=server.url, region="eu-west-1")
        async with STSClient(
            config=config,
            credentials=AssumeRoleProvider(role_arn=ROLE, source=server.credentials),
            observers=[own.append],
        ) as sts:
            view = sts.with_options(
                region="eu-west-3",
                headers={"x-of-the-view": "2"},
                handlers=[handler],
                observers=[seen.append],
                retries=NoRetries(),
                deadline=25,
            )
            await view.get_caller_identity()
        fetch, call = server.requests

    assert [fetch.operation, call.operation] == ["AssumeRole", "GetCallerIdentity"]
    assert handler.operations == ["GetCallerIdentity"]
    assert {event.operation for event in seen if isinstance(event, AttemptFinished)} == {"GetCallerIdentity"}
    assert [type(event) for event in own if isinstance(event, CredentialsRefreshed)] == [CredentialsRefreshed]
    assert [event.operation for event in own if isinstance(event, AttemptFinished)] == [
        "AssumeRole",
        "GetCallerIdentity",
    ]


async def test_sources_are_lent_the_client_and_never_a_view() -> None:
    """G1: whoever asks first, by whatever view."""
    source = Slow()
    source.may_provide.set()
    async with client(source) as sts:
        await sts.with_options(region="eu-west-3", deadline=3).get_credentials()
        engine = await sts._life.ready()

    assert source.contexts == [engine.context]


def test_an_engine_cannot_be_lent() -> None:
    """G1: it has none of what sources take, so that a call's options cannot reach them by mistake."""
    lent = {*ProviderContext.__annotations__, "notify", "now", "send", "signed_by"} - {"endpoint"}

    assert lent <= {*dir(ClientContext)}
    assert not lent & {*dir(Engine)}


async def test_a_fetch_sees_no_context_variable_of_a_caller() -> None:
    """G1: what a web framework sets for one request does not reach what all requests share."""
    source = Slow()
    source.may_provide.set()
    TENANT.set("first caller")
    async with client(source) as sts:
        await sts.get_credentials()

    assert source.tenants == ["of no caller"]


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_source_that_hangs_once_is_asked_again(monkeypatch: pytest.MonkeyPatch, *, deaf: bool) -> None:
    """G5, F43: a fetch has a bound of its own, also one that does not let itself be cancelled."""
    monkeypatch.setattr(cache, "GIVE_UP_SECONDS", 0.01)
    source = HangsOnce(deaf=deaf)
    async with client(source) as sts:
        with pytest.raises(errors.CredentialsError, match=r"HangsOnce did not provide credentials within 0\.0\d+ s"):
            await sts.get_credentials()

        assert await sts.get_credentials() == KEYS
        source.disown.set()
    assert source.fetched == 2


class HangsOnceItself:
    """A provider of the program's own, with no bound."""

    def __init__(self) -> None:
        self.asked = 0

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        self.asked += 1
        if self.asked == 1:
            await asyncio.Event().wait()
        return KEYS


async def test_a_chain_gives_up_a_provider_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """G5: its search is shared, and must not wait for ever."""
    monkeypatch.setattr(chain, "FETCH_SECONDS", 0.01)
    source = HangsOnceItself()
    async with client(ProviderChain(source)) as sts:
        with pytest.raises(errors.CredentialsError, match="HangsOnceItself did not provide credentials within"):
            await sts.get_credentials()

        assert await sts.get_credentials() == KEYS


@pytest.mark.parametrize("ask", ["get_credentials", "presign"])
async def test_credentials_and_presigned_urls_have_the_deadline_of_a_call(ask: str) -> None:
    """G5: the client's own, and that of a view."""
    request = [GetCallerIdentityRequest()] if ask == "presign" else []
    async with client(HangsOnceItself(), config=Config(deadline=0.01)) as sts:
        with pytest.raises(errors.DeadlineExceeded, match=r"exceeded its deadline of 0\.01 s"):
            await getattr(sts, ask)(*request)
    async with client(HangsOnceItself()) as sts:
        with pytest.raises(errors.DeadlineExceeded, match=r"exceeded its deadline of 0\.02 s"):
            await getattr(sts.with_options(deadline=0.02), ask)(*request)


class Files:
    """Shared files that are read when they may be, or never the first time."""

    def __init__(self, sts: Any, *, hang: bool = False) -> None:
        self.may_be_read = asyncio.Event()
        self.loads = 0
        self._files = sts._life.settings_sources.files if isinstance(sts, STSClient) else sts._surroundings.files
        self._hang = hang
        self._files.load, self._load = self.load, self._files.load

    async def load(self) -> Any:
        self.loads += 1
        if self._hang and self.loads == 1:
            await asyncio.Event().wait()
        if not self._hang:
            await self.may_be_read.wait()
        return await self._load()


ASK: list[Callable[[Any], Coroutine[Any, Any, Any]]] = [
    lambda sts: sts.get_credentials(),
    lambda sts: sts.presign(GetCallerIdentityRequest()),
    lambda sts: sts.get_caller_identity(),
]


@pytest.mark.parametrize("ask", ASK)
async def test_an_impatient_caller_does_not_wait_for_the_client_to_start(ask: Any) -> None:
    """G1, G5: its deadline covers the start, which goes on for the others."""
    sts = client(Slow(), config=Config(deadline=0.02))
    files = Files(sts)
    with pytest.raises(
        errors.DeadlineExceeded, match=r"did not start within 0\.01 s: it is still reading its configuration"
    ):
        await ask(sts.with_options(deadline=0.01))
    with pytest.raises(errors.DeadlineExceeded, match=r"did not start within 0\.02 s"):
        await ask(sts)
    others = asyncio.create_task(sts.with_options(deadline=30)._ready())
    await turns()
    files.may_be_read.set()

    engine, _ = await others
    assert engine.context is (await sts._life.ready()).context
    assert files.loads == 1
    await sts.aclose()


async def test_a_start_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """G5: the next call starts the client again."""
    monkeypatch.setattr("sts_async._engine.lifecycle.START_SECONDS", 0.01)
    sts = client(KEYS)
    files = Files(sts, hang=True)
    with pytest.raises(errors.DeadlineExceeded, match=r"background work timed out after 0\.01 s"):
        await sts.get_credentials()

    assert await sts.get_credentials() == KEYS
    assert files.loads == 2
    await sts.aclose()


async def test_a_profile_whose_files_hang_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """G5: also where the files of a client could be read, and those of its provider cannot."""
    monkeypatch.setattr("sts_async.credentials.profile.FETCH_SECONDS", 0.01)
    provider = ProfileProvider("of-nobody")
    async with client(provider) as sts:
        files = Files(provider, hang=True)
        with pytest.raises(errors.CredentialsError, match=r"profile 'of-nobody': the shared files .* within 0\.01 s"):
            await sts.get_credentials()
        with pytest.raises(errors.STSError, match="of-nobody") as caught:
            await sts.get_credentials()

    assert "within" not in str(caught.value)
    assert files.loads == 2


async def test_closing_ends_callers_that_wait_for_the_start() -> None:
    """F55: none of them waits for its deadline."""
    sts = client(KEYS)
    Files(sts)
    waiting = asyncio.create_task(sts.with_options(deadline=30).get_credentials())
    await turns()
    await sts.aclose()

    with pytest.raises(errors.ClientClosedError):
        await waiting


@pytest.mark.parametrize("fails", [False, True])
async def test_a_fetch_that_was_given_up_replaces_nothing_newer(
    monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    """G5: what a source brings that did not let itself be cancelled comes too late, be it keys or an error."""
    monkeypatch.setattr(cache, "GIVE_UP_SECONDS", 0.01)

    class Late(HangsOnce):
        async def fetch(self, context: ProviderContext) -> Credentials:
            number = self.fetched + 1
            newer = await super().fetch(context)
            if number > 1:
                return newer
            if fails:
                raise errors.CredentialsError("too late")
            return Credentials(access_key_id="ASIAOLD", secret_access_key="SENTINEL-old")

    source = Late(deaf=True)
    async with client(source) as sts:
        with pytest.raises(errors.CredentialsError, match="did not provide credentials"):
            await sts.get_credentials()
        assert await sts.get_credentials() == KEYS
        source.disown.set()
        await turns()

        assert await sts.get_credentials() == KEYS
    assert source.fetched == 2
    assert source._caches.all()[-1].state.error is None


async def test_each_caller_gets_an_error_of_its_own_from_a_source_of_the_program() -> None:
    """F45: its traceback, and what is noted on it, are of one caller."""

    class Broken(Slow):
        async def fetch(self, context: ProviderContext) -> Credentials:
            await super().fetch(context)
            raise KeyError("vault")

    source = Broken()
    async with client(source) as sts:
        calls = [asyncio.create_task(sts.get_credentials()) for _ in range(3)]
        await turns()
        source.may_provide.set()
        raised = await asyncio.gather(*calls, return_exceptions=True)

    assert [repr(error) for error in raised] == ["KeyError('vault')"] * 3
    assert len({id(error) for error in raised}) == 3


async def test_files_that_hang_take_no_thread_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """G5, F24: the event loop's own threads stay free, however many starts were given up."""
    monkeypatch.setattr("sts_async._engine.lifecycle.START_SECONDS", 0.01)
    hanging = threading.Event()
    monkeypatch.setattr("sts_async._runtime.files.stamp", lambda path: hanging.wait(PATIENCE) and None)
    for _ in range(3):
        with pytest.raises(errors.DeadlineExceeded):
            await client(KEYS, config=Config(config_file="/somewhere/that/hangs")).get_credentials()
    loop: Any = asyncio.get_running_loop()

    assert loop._default_executor is None
    assert {thread.name for thread in threading.enumerate() if thread.daemon} >= {"sts-async-files"}
    hanging.set()
    await until(lambda: not FILES.running)
