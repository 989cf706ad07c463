"""C22: the account of credentials, which each source knows in its own way; `test_botocore` asks botocore as well."""

import copy
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from sts_async import Config, Credentials, TemporaryCredentials, shapes
from sts_async._config.profile_plans import KeysPlan
from sts_async._engine.loop import Engine
from sts_async._protocol.arns import account_of
from sts_async._protocol.converter import structure, unstructure
from sts_async.config import SettingsSources
from sts_async.credentials import (
    AssumeRoleProvider,
    CachingProvider,
    ContainerProvider,
    EnvironmentProvider,
    FederationTokenProvider,
    IMDSProvider,
    LoginProvider,
    ProcessProvider,
    ProfileProvider,
    ProviderChain,
    SessionTokenProvider,
    SSOProvider,
    StaticProvider,
)
from sts_async.errors import ConfigurationError
from sts_async.events import CredentialsRefreshed, Event
from sts_async.observers import LoggingObserver
from sts_async.sigv4 import sign
from sts_async.testing import LocalContainer, LocalIMDS, LocalSignIn, LocalSSO, LocalSTS

Lend = Callable[..., Engine]

ACCOUNT = "210987654321"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/demo"
KEYS = Credentials(access_key_id="AKIAEXAMPLE", secret_access_key="SENTINEL-secret")
IN_ACCOUNT = attrs.evolve(KEYS, account_id=ACCOUNT)
VARIABLES = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "SENTINEL-secret"}
NO_ACCOUNTS = ["1", "21098765432", "2109876543210", "21098765432a", "\u0661" * 12, "", "me@example.com", f"{ACCOUNT}\n"]
PROFILE = "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = SENTINEL-secret\n"


def writes(**members: Any) -> str:
    """Return a command that writes credentials."""
    document = {"Version": 1, "AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "SENTINEL-secret", **members}
    return f"{sys.executable} -c 'print({json.dumps(json.dumps(document))})'"


def profile_of(home: Path, text: str) -> ProfileProvider:
    (home / ".aws").mkdir()
    (home / ".aws/config").write_text(text)
    return ProfileProvider(settings_sources=SettingsSources(Config(), {"HOME": str(home)}))


# Sources


async def test_the_environment_says_it(context: Engine) -> None:
    environ = {**VARIABLES, "AWS_ACCOUNT_ID": f" {ACCOUNT} "}
    provider = EnvironmentProvider(environ)

    assert (await provider.provide_credentials(context)).account_id == ACCOUNT
    environ["AWS_ACCOUNT_ID"] = "111122223333"
    assert (await provider.provide_credentials(context)).account_id == "111122223333"
    del environ["AWS_ACCOUNT_ID"]
    assert (await provider.provide_credentials(context)).account_id is None


async def test_a_profile_with_keys_says_it(context: Engine, tmp_path: Path) -> None:
    provider = profile_of(tmp_path, f"{PROFILE}aws_account_id = {ACCOUNT}\n")

    assert (await provider.provide_credentials(context)).account_id == ACCOUNT
    (tmp_path / ".aws/config").write_text(f"{PROFILE}aws_account_id = 111122223333\n")
    provider.invalidate("AKIAEXAMPLE")  # so that the files are read before the next use
    assert (await provider.provide_credentials(context)).account_id == "111122223333"


def test_a_plan_differs_by_the_account() -> None:
    """So that the files are seen to have changed, although the keys are the same."""
    assert KeysPlan(credentials=KEYS) == KeysPlan(credentials=IN_ACCOUNT)
    assert KeysPlan(credentials=KEYS) != KeysPlan(credentials=IN_ACCOUNT, account_id=ACCOUNT)


@pytest.mark.parametrize(
    ("written", "configured", "found"),
    [(ACCOUNT, None, ACCOUNT), (ACCOUNT, "111122223333", ACCOUNT), (None, ACCOUNT, ACCOUNT), (None, None, None)],
)
async def test_a_process_says_it_and_else_its_profile(
    context: Engine, tmp_path: Path, written: str | None, configured: str | None, found: str | None
) -> None:
    command = writes(**({} if written is None else {"AccountId": written}))
    key = "" if configured is None else f"aws_account_id = {configured}\n"
    provider = profile_of(tmp_path, f"[default]\ncredential_process = {command}\n{key}")

    assert (await provider.provide_credentials(context)).account_id == found


async def test_the_container_endpoint_says_it(context: Engine) -> None:
    async with LocalContainer(account_id=ACCOUNT) as server:
        found = await ContainerProvider(environ=server.environ).fetch(context)

    assert found.account_id == ACCOUNT


@pytest.mark.parametrize(("extended", "found"), [(True, ACCOUNT), (False, None)])
async def test_the_metadata_service_says_it_at_its_extended_path(
    context: Engine, extended: bool, found: str | None
) -> None:
    async with LocalIMDS(account_id=ACCOUNT, extended=extended) as server:
        assert (await IMDSProvider(endpoint=server.url).fetch(context)).account_id == found


async def test_identity_center_is_asked_for_it(context: Engine, tmp_path: Path, clocks: Any) -> None:
    async with LocalSSO(clock=lambda: clocks.wall) as server:
        server.login(tmp_path / ".aws/sso/cache", session="corp")
        provider = SSOProvider(
            account_id="123456789012",
            role_name="ReadOnly",
            region="us-east-1",
            session_name="corp",
            environ={"HOME": str(tmp_path), **server.environ},
        )

        assert (await provider.fetch(context)).account_id == "123456789012"


async def test_a_login_has_it_in_its_token_file(context: Engine, tmp_path: Path, clocks: Any) -> None:
    async with LocalSignIn(clock=lambda: clocks.wall) as server:
        server.login(tmp_path, login_session="arn:aws:iam::123456789012:user/me")
        provider = LoginProvider(
            login_session="arn:aws:iam::123456789012:user/me", cache_directory=tmp_path, environ=server.environ
        )

        assert (await provider.fetch(context)).account_id == "123456789012"


async def test_sts_says_it_in_the_arn_of_the_session() -> None:
    """And a session of a user is in the account of the keys that signed for it, as far as that is known."""
    async with LocalSTS() as server:
        user = attrs.evolve(server.credentials, account_id="123456789012")
        async with server.client() as sts:
            role = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)
            federated = FederationTokenProvider(name="bob", source=server.credentials)
            sources = [
                role,
                federated,
                SessionTokenProvider(source=user),
                SessionTokenProvider(source=server.credentials),
            ]
            found = [await sts.with_options(credentials=source).get_credentials() for source in sources]

    assert [one.account_id for one in found] == [ACCOUNT, "123456789012", "123456789012", None]


@pytest.mark.parametrize(
    ("arn", "account_id"),
    [
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/demo/me", ACCOUNT),
        (f"arn:aws-us-gov:iam::{ACCOUNT}:role/a:b/c", ACCOUNT),
        ("urn:ecs:iam::namespace:role/name", None),
        ("arn:aws:iam:::role/name", None),
        ("arn:aws:iam::1:role/name", None),
        (f"arn:aws:iam::{ACCOUNT}", None),
        ("", None),
        (None, None),
    ],
)
def test_the_account_of_an_arn_is_twelve_digits_or_none(arn: str | None, account_id: str | None) -> None:
    """Servers other than AWS name their roles otherwise; that is no reason to refuse what they issue."""
    assert account_of(arn) == account_id


# What is no account


@pytest.mark.parametrize("text", NO_ACCOUNTS, ids=ascii)
async def test_a_document_with_another_account_still_gives_its_keys(context: Engine, text: str) -> None:
    """It is a label; botocore takes any text. A wrong label stops no call, and is not passed on."""
    found = [
        await EnvironmentProvider({**VARIABLES, "AWS_ACCOUNT_ID": text.replace("\n", "")[:11]}).provide_credentials(
            context
        ),
        await ProcessProvider(writes(AccountId=text)).fetch(context),
        await ProcessProvider(writes(AccountId=5)).fetch(context),
    ]
    async with LocalContainer(account_id=text) as server:
        found.append(await ContainerProvider(environ=server.environ).fetch(context))

    assert [one.account_id for one in found] == [None] * 4
    assert found[0] == KEYS


@pytest.mark.parametrize("text", NO_ACCOUNTS, ids=ascii)
def test_an_account_that_a_program_gives_must_be_one(text: str) -> None:
    """In code it is a mistake, and said at once."""
    with pytest.raises(ConfigurationError, match=r"^account_id must be 12 digits$"):
        StaticProvider(attrs.evolve(KEYS, account_id=text))
    with pytest.raises(ConfigurationError, match=r"^account_id must be 12 digits$"):
        ProcessProvider("true", account_id=text)


# The value


def test_credentials_are_the_same_whoever_knows_their_account() -> None:
    """The keys decide: one source knows the account, another that gives the same keys does not."""
    assert IN_ACCOUNT == KEYS
    assert hash(IN_ACCOUNT) == hash(KEYS)


def test_it_is_kept_by_copies_and_shown() -> None:
    """It is no secret; two reprs that differ say why."""
    for same in (
        copy.deepcopy(IN_ACCOUNT),
        pickle.loads(pickle.dumps(IN_ACCOUNT)),
        attrs.evolve(IN_ACCOUNT, access_key_id="AKIAOTHER"),
    ):
        assert same.account_id == ACCOUNT
    assert repr(IN_ACCOUNT) == (
        f"Credentials(access_key_id='AKIAEXAMPLE', secret_access_key='***', account_id='{ACCOUNT}')"
    )
    assert "account_id" not in repr(KEYS)
    assert "account_id" not in {member.name for member in Credentials.__members__}


def test_it_is_neither_read_from_nor_written_to_documents_of_sts() -> None:
    """It is ours: a server that sends such a member does not choose it, and the command line prints what STS sent."""
    tree = {
        "AccessKeyId": "A",
        "SecretAccessKey": "B",
        "SessionToken": "C",
        "Expiration": "2026-01-01T00:00:00Z",
        "account_id": ACCOUNT,
        "AccountId": ACCOUNT,
    }
    read = structure(tree, TemporaryCredentials)

    assert read.account_id is None
    assert unstructure(attrs.evolve(read, account_id=ACCOUNT)) == {
        name: value for name, value in tree.items() if "ccount" not in name
    }


def test_it_changes_no_signature(clocks: Any) -> None:
    at = shapes.datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    signed = [
        sign(keys, method="GET", url="https://h/", headers={}, service="sts", region="r", at=at)
        for keys in (KEYS, IN_ACCOUNT)
    ]

    assert signed[0] == signed[1]


# Who is told


async def test_observers_and_logs_are_told_it_and_caches_keep_it(caplog: pytest.LogCaptureFixture, lend: Lend) -> None:
    events: list[Event] = []

    async def vault() -> Credentials:
        return IN_ACCOUNT

    provider = CachingProvider(vault)
    caplog.set_level("DEBUG", "sts_async")
    context = lend(observers=[events.append, LoggingObserver()])

    assert (await provider.provide_credentials(context)).account_id == ACCOUNT
    assert (await provider.provide_credentials(context)).account_id == ACCOUNT
    assert [event.account_id for event in events if isinstance(event, CredentialsRefreshed)] == [ACCOUNT]
    assert f"credentials AKIAEXAMPLE of account {ACCOUNT}" in caplog.text


async def test_the_findings_of_a_chain_say_it(context: Engine) -> None:
    """And so does `sts-async doctor`, which prints them."""
    (finding,) = await ProviderChain(StaticProvider(IN_ACCOUNT)).findings(context)

    assert finding.detail == f"AKIAEXAMPLE, account {ACCOUNT}, does not expire"
