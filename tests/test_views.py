"""A view is a client, a provider without a source takes the credentials of the client, and who forgets to close."""

import asyncio
import gc
import inspect
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from support import KEYS, ROLE

from sts_async import (
    Config,
    Credentials,
    GetCallerIdentityRequest,
    ProviderChain,
    STSClient,
    errors,
)
from sts_async.credentials import (
    AssumeRoleProvider,
    CachingProvider,
    DefaultChain,
    EnvironmentProvider,
    FederationTokenProvider,
    RefreshingProvider,
    SessionTokenProvider,
    StaticProvider,
    assume_role,
)
from sts_async.testing import LocalSTS, Role, User

SECOND = "arn:aws:iam::123456789012:role/second"
THIRD = "arn:aws:iam::123456789012:role/third"


@pytest.fixture
def other_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> User:
    """Return a user whose keys the default chain finds, and who is not the one that clients are given."""
    user = User("of-the-environment")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", user.credentials.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", user.credentials.secret_access_key)
    return user


def client_of(server: LocalSTS, **options: Any) -> STSClient:
    """Return a client of a server that has the environment of the process, unlike `LocalSTS.client`."""
    usual = {"endpoint_url": server.url, "region": server.region, "credentials": server.credentials}
    return STSClient(**{**usual, **options})


async def who(sts: STSClient) -> str:
    """Return the last part of the ARN that a client calls as."""
    return (await sts.get_caller_identity()).arn


def asked_by(server: LocalSTS, operation: str = "AssumeRole") -> list[str | None]:
    """Return who asked for an operation, the last part of each ARN."""
    return [(one.principal or "").rpartition(":")[2] for one in server.requests if one.operation == operation]


@attrs.frozen
class Wrapped:
    """A program's own provider around another."""

    inner: Any

    async def provide_credentials(self, context: Any) -> Credentials:
        credentials: Credentials = await self.inner.provide_credentials(context)
        return credentials


AROUND: dict[str, Any] = {
    "itself": lambda provider: provider,
    "in a chain": lambda provider: ProviderChain(provider),
    "in a cache": CachingProvider,
    "in a provider of the program's own": Wrapped,
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
async def test_a_provider_without_a_source_takes_the_credentials_of_the_client(
    around: Any, other_keys_in_the_environment: User
) -> None:
    """E1: not those of the environment, wherever the provider is put in."""
    async with LocalSTS(users=[other_keys_in_the_environment]) as server, client_of(server) as deploy:
        view = deploy.with_options(credentials=around(AssumeRoleProvider(role_arn=ROLE, role_session_name="me")))

        assert (await who(view)).endswith("assumed-role/demo/me")
        assert asked_by(server) == ["user/developer"]


PROVIDERS: dict[str, Any] = {
    "AssumeRole": AssumeRoleProvider(role_arn=ROLE),
    "GetSessionToken": SessionTokenProvider(),
    "GetFederationToken": FederationTokenProvider(name="bob"),
}


@pytest.mark.parametrize(("operation", "provider"), PROVIDERS.items(), ids=PROVIDERS)
async def test_the_rule_holds_for_every_provider_that_signs(
    operation: str, provider: Any, other_keys_in_the_environment: User
) -> None:
    """E1."""
    async with LocalSTS(users=[other_keys_in_the_environment]) as server, client_of(server) as deploy:
        await deploy.with_options(credentials=provider).get_credentials()

        assert asked_by(server, operation) == ["user/developer"]


async def test_without_a_client_to_take_them_from_the_default_chain_is_asked(
    other_keys_in_the_environment: User,
) -> None:
    """E1: a client whose own credentials are the provider has no others."""
    async with LocalSTS(users=[other_keys_in_the_environment]) as server:
        async with client_of(server, credentials=AssumeRoleProvider(role_arn=ROLE)) as sts:
            await who(sts)
        chain = ProviderChain(server.credentials, AssumeRoleProvider(role_arn=ROLE))
        async with client_of(server, credentials=chain) as s:
            assert (await who(s)).endswith("user/developer")

        assert asked_by(server) == ["user/of-the-environment"]


async def test_a_source_that_was_given_is_never_replaced(other_keys_in_the_environment: User) -> None:
    """E1."""
    ann = User("ann")
    async with LocalSTS(users=[ann, other_keys_in_the_environment]) as server, client_of(server) as deploy:
        await who(deploy.with_options(credentials=AssumeRoleProvider(role_arn=ROLE, source=ann.credentials)))

        assert asked_by(server) == ["user/ann"]


async def test_one_provider_keeps_apart_what_it_has_for_each_client() -> None:
    """E1: what it obtained with the credentials of one client is never used by another."""
    ann, role = User("ann"), AssumeRoleProvider(role_arn=ROLE, role_session_name="me")
    async with (
        LocalSTS(users=[ann]) as server,
        client_of(server) as deploy,
        client_of(server, credentials=ann.credentials) as a,
    ):
        of_deploy, of_ann, of_both = (
            deploy.with_options(credentials=role),
            a.with_options(credentials=role),
            deploy.with_options(credentials=ann.credentials).with_options(credentials=role),
        )
        async with asyncio.TaskGroup() as group:
            fetched = [group.create_task(view.get_credentials()) for view in (of_deploy, of_ann, of_both) * 5]
        keys = {task.result().access_key_id for task in fetched}

        assert len(keys) == 3
        assert sorted(map(str, asked_by(server))) == ["user/ann", "user/ann", "user/developer"]


async def test_views_that_are_made_for_each_call_share_what_a_provider_has() -> None:
    """E1: also those of views: the credentials belong to the provider, for each client that it is used with."""
    first, second = AssumeRoleProvider(role_arn=ROLE), AssumeRoleProvider(role_arn=SECOND)
    async with LocalSTS() as server, server.client() as sts:
        for _ in range(5):
            await who(sts.with_options(credentials=first).with_options(credentials=second))
            await who(sts.with_options(credentials=first, deadline=20))

        assert len(asked_by(server)) == 2


async def test_refused_credentials_of_a_role_are_fetched_again_from_the_same_client() -> None:
    """E1, F16."""
    async with LocalSTS() as server, server.client() as sts:
        demo = sts.role(ROLE)
        before = await demo.get_credentials()
        server.expire(before)
        await who(demo)

        assert (await demo.get_credentials()).access_key_id != before.access_key_id
        assert asked_by(server) == ["user/developer"] * 2


async def test_a_cache_whose_client_has_gone_is_dropped() -> None:
    """T20: and with it the secrets in it."""
    role = AssumeRoleProvider(role_arn=ROLE)
    async with LocalSTS() as server:
        for _ in range(3):
            async with server.client() as sts:
                await sts.with_options(credentials=role).get_credentials()
        del sts
        gc.collect()

        assert len(role._caches.all()) == 1  # the common one, which is empty


async def test_the_caches_of_a_provider_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sts_async.credentials._cache_per_client.MAX_CACHES", 3)
    role = AssumeRoleProvider(role_arn=ROLE)
    users = [StaticProvider(User(f"user-{number}").credentials) for number in range(5)]
    async with LocalSTS() as server, server.client() as sts:
        for number, user in enumerate(users):
            server.declare(User(f"user-{number}", credentials=user._credentials))
            await sts.with_options(credentials=user).with_options(credentials=role).get_credentials()

        assert len(role._caches.all()) == 4


SHARED: dict[str, Any] = {
    "a role whose source takes them": lambda: AssumeRoleProvider(
        role_arn=SECOND, source=AssumeRoleProvider(role_arn=ROLE)
    ),
    "a cache": lambda: CachingProvider(AssumeRoleProvider(role_arn=ROLE)),
    "a chain as a source": lambda: AssumeRoleProvider(
        role_arn=SECOND, source=ProviderChain(AssumeRoleProvider(role_arn=ROLE))
    ),
    "a provider of the program's own as a source": lambda: AssumeRoleProvider(
        role_arn=SECOND, source=Wrapped(AssumeRoleProvider(role_arn=ROLE))
    ),
    "a subclass that hands on what it is lent": lambda: HandsOn(AssumeRoleProvider(role_arn=ROLE)),
}


class HandsOn(RefreshingProvider):
    """A program's own provider with a cache, and with another provider behind it."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    async def fetch(self, context: Any) -> Credentials:
        credentials: Credentials = await self.inner.provide_credentials(context)
        return credentials


@pytest.mark.parametrize("make", SHARED.values(), ids=SHARED)
async def test_what_depends_on_the_client_at_any_depth_is_kept_apart(make: Any) -> None:
    """T42: neither credentials nor errors of one client reach another, whatever holds the provider."""
    ann, shared = User("ann"), make()
    hub = Role(ROLE, trusts=["arn:aws:iam::123456789012:user/developer"])
    async with (
        LocalSTS(users=[ann], roles=[hub, Role(SECOND)]) as server,
        server.client() as deploy,
        server.client(credentials=ann.credentials) as other,
    ):
        trusted, refused = (sts.with_options(credentials=shared) for sts in (deploy, other))
        with pytest.raises(errors.STSError, match="AccessDenied"):
            await refused.get_credentials()
        keys = await trusted.get_credentials()
        with pytest.raises(errors.STSError, match="AccessDenied"):
            await refused.get_credentials()

        assert await trusted.get_credentials() is keys
        async with server.client() as another:
            assert await another.with_options(credentials=shared).get_credentials() is not keys


@pytest.mark.parametrize(
    ("provider", "depends"),
    [
        (AssumeRoleProvider(role_arn=ROLE, source=KEYS), False),
        (AssumeRoleProvider(role_arn=ROLE, source=AssumeRoleProvider(role_arn=SECOND, source=KEYS)), False),
        (ProviderChain(KEYS, EnvironmentProvider()), False),
        (CachingProvider(AssumeRoleProvider(role_arn=ROLE, source=KEYS)), False),
        (DefaultChain(), False),
        (AssumeRoleProvider(role_arn=ROLE), True),
        (ProviderChain(KEYS, AssumeRoleProvider(role_arn=ROLE)), True),
    ],
)
def test_what_depends_on_no_client_has_one_cache(provider: Any, *, depends: bool) -> None:
    assert provider.depends_on_client is depends


async def test_a_person_who_is_asked_for_one_client_is_not_asked_for_another() -> None:
    """T46: the other's credentials are refreshed in the background as ever."""
    role = AssumeRoleProvider(role_arn=ROLE)

    async def code(serial_number: str) -> str:
        return "123456"

    async with LocalSTS() as server, server.client() as deploy:
        attended = SessionTokenProvider(source=server.credentials, serial_number=server.user.mfa_serial, mfa_code=code)
        async with server.client(credentials=attended) as asked:
            views = [sts.with_options(credentials=role) for sts in (asked, deploy)]
            for view in views:
                await view.get_credentials()
            contexts = [(await view._ready())[0].context for view in views]

            assert [role.schedule_for(context).attended for context in contexts] == [True, False]


@pytest.fixture
def _threads_take_short_turns() -> Iterator[None]:
    """Have threads take turns a hundred times as often, so that they meet in the middle of what they do."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 100)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("_threads_take_short_turns")
def test_threads_can_share_a_provider_while_it_is_invalidated() -> None:
    """F16: forgetting refused keys goes through every cache, also while threads add some."""
    role = AssumeRoleProvider(role_arn=ROLE)
    failures: list[Exception] = []

    async def use(server: LocalSTS) -> None:
        for _ in range(20):
            async with server.client() as sts:
                await sts.with_options(credentials=role).get_credentials()

    def thread(server: LocalSTS) -> None:
        try:
            asyncio.run(use(server))
        except Exception as error:  # noqa: BLE001 - the assertion shows it
            failures.append(error)

    with LocalSTS() as server:
        threads = [threading.Thread(target=thread, args=[server]) for _ in range(3)]
        for one in threads:
            one.start()
        while any(one.is_alive() for one in threads):
            role.invalidate("AKIAOTHER")
        for one in threads:
            one.join()

    assert failures == []


async def test_a_role_in_one_line() -> None:
    """E1: and a role of a role."""
    async with LocalSTS() as server, server.client() as sts:
        demo = sts.role(ROLE, role_session_name="me", duration_seconds=900)

        assert (await who(demo)).endswith("assumed-role/demo/me")
        assert (await who(demo.role(SECOND, role_session_name="me").role(THIRD, role_session_name="you"))).endswith(
            "assumed-role/third/you"
        )
        assert asked_by(server) == ["user/developer", "assumed-role/demo/me", "assumed-role/second/me"]
        assert (await who(sts)).endswith("user/developer")


def test_a_role_takes_what_its_provider_takes() -> None:
    of_provider = dict(inspect.signature(AssumeRoleProvider).parameters)
    of_method = dict(inspect.signature(STSClient.role).parameters)
    del of_provider["source"], of_method["self"]
    kinds = {name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for name, parameter in of_method.items()}

    assert kinds == of_provider


async def test_a_role_passes_on_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each argument reaches the provider under its own name."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(assume_role, "AssumeRoleProvider", lambda **named: given.update(named) or StaticProvider(KEYS))
    names = [*inspect.signature(STSClient.role).parameters][1:]
    values: dict[str, Any] = {name: object() for name in names}
    STSClient(region="us-east-1", credentials=KEYS).role(values.pop("role_arn"), **values)

    assert {name for name in names if name != "role_arn" and given[name] is not values[name]} == set()
    assert {*given} == {*names}


async def test_a_view_is_a_client() -> None:
    """E2: for a function that takes one, with all that it has."""

    class Named(STSClient):
        name = ""

    async def helper(sts: STSClient) -> str:
        async with sts:
            await sts.with_options(deadline=5).presign(GetCallerIdentityRequest())
            return await who(sts)

    async with LocalSTS() as server:
        sts = Named(endpoint_url=server.url, region="us-east-1", credentials=server.credentials)
        sts.name = "of a subclass"
        view = sts.with_options(headers={"x-trace": "1"}).with_options(region="eu-west-1")

        assert isinstance(view, Named)
        assert view.name == sts.name
        assert (view.region, sts.region) == ("eu-west-1", "us-east-1")
        assert (await helper(view)).endswith("user/developer")
        assert view.get_cached_response_metadata(GetCallerIdentityRequest()) is not None
        await view.aclose()
        assert (await helper(view)).endswith("user/developer")  # it has nothing of its own to close
        await sts.aclose()
        with pytest.raises(errors.ClientClosedError):
            await view.get_caller_identity()


async def test_a_view_of_a_view_adds_to_its_options() -> None:
    """E2."""
    seen: list[str] = []
    async with LocalSTS() as server, server.client() as sts:
        view = sts.with_options(observers=[lambda _: seen.append("first")], deadline=7)
        inner = view.with_options(observers=[lambda _: seen.append("second")], headers={"x-trace": "1"})
        await inner.get_caller_identity()

        assert inner._deadline == 7
        assert repr(inner) == f"<<{sts!r} with other deadline, observers> with other headers, observers>"
    assert seen[:2] == ["first", "second"]


def made_and_forgotten(server: LocalSTS) -> STSClient:
    return server.client(config=Config(deadline=20))


async def test_a_client_that_was_not_closed_is_told_of_by_us(caplog: pytest.LogCaptureFixture) -> None:
    """E11: one warning, which names the client and the line that made it; and the connections are closed."""
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    line = made_and_forgotten.__code__.co_firstlineno + 1
    async with LocalSTS() as server:
        sts, url = made_and_forgotten(server), server.url
        await sts.get_caller_identity()
        assert sts._life.transport is not None
        (part,) = sts._life.transport._parts.values()
        del sts
        with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.WARNING, "sts_async"):
            warnings.simplefilter("always")
            gc.collect()
        while not part.session.closed:
            await asyncio.sleep(0)

    expected = (
        f"unclosed STSClient('{url}/', region='us-east-1'), made at {Path(__file__)}:{line}: "
        "use `async with STSClient(...) as sts`, or await sts.aclose()"
    )
    assert [str(one.message) for one in caught] == [expected]
    assert [one.category for one in caught] == [ResourceWarning]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [expected]
    assert told == []


@pytest.mark.filterwarnings("error")
async def test_a_client_that_was_closed_or_not_used_is_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """E11."""
    async with LocalSTS() as server:
        async with server.client() as used:
            await used.get_caller_identity()
        unused = STSClient(region="eu-west-1", credentials=StaticProvider(KEYS))
        await unused.get_credentials()
        del used, unused
        gc.collect()

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
