"""C22: the account of credentials, which each source finds in its own way. `test_botocore` compares with botocore."""

import copy
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from trees import element_of, structure

from sts_async import Config, Credentials, TemporaryCredentials, shapes
from sts_async._config.profile_plans import KeysPlan
from sts_async._engine.loop import Engine
from sts_async._protocol.arns import account_of
from sts_async._protocol.converter import unstructure
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
    """Return a command that writes credentials to its standard output."""
    document = {"Version": 1, "AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "SENTINEL-secret", **members}
    return f"{sys.executable} -c 'print({json.dumps(json.dumps(document))})'"


def profile_of(home: Path, text: str) -> ProfileProvider:
    (home / ".aws").mkdir()
    (home / ".aws/config").write_text(text)
    return ProfileProvider(settings_sources=SettingsSources(Config(), {"HOME": str(home)}))


# Sources


async def test_the_environment_has_the_account(context: Engine) -> None:
    environ = {**VARIABLES, "AWS_ACCOUNT_ID": f" {ACCOUNT} "}
    provider = EnvironmentProvider(environ)

    assert (await provider.provide_credentials(context)).account_id == ACCOUNT
    environ["AWS_ACCOUNT_ID"] = "111122223333"
    assert (await provider.provide_credentials(context)).account_id == "111122223333"
    del environ["AWS_ACCOUNT_ID"]
    assert (await provider.provide_credentials(context)).account_id is None


async def test_a_profile_with_keys_has_the_account(context: Engine, tmp_path: Path) -> None:
    provider = profile_of(tmp_path, f"{PROFILE}aws_account_id = {ACCOUNT}\n")

    assert (await provider.provide_credentials(context)).account_id == ACCOUNT
    (tmp_path / ".aws/config").write_text(f"{PROFILE}aws_account_id = 111122223333\n")
    provider.invalidate("AKIAEXAMPLE")  # so that the files are read before the next use
    assert (await provider.provide_credentials(context)).account_id == "111122223333"


def test_a_plan_differs_by_the_account() -> None:
    """Otherwise a change of the account alone would not be noticed."""
    assert KeysPlan(credentials=KEYS) == KeysPlan(credentials=IN_ACCOUNT)
    assert KeysPlan(credentials=KEYS) != KeysPlan(credentials=IN_ACCOUNT, account_id=ACCOUNT)


@pytest.mark.parametrize(
    ("written", "configured", "found"),
    [(ACCOUNT, None, ACCOUNT), (ACCOUNT, "111122223333", ACCOUNT), (None, ACCOUNT, ACCOUNT), (None, None, None)],
)
async def test_a_process_has_the_account_or_otherwise_its_profile(
    context: Engine, tmp_path: Path, written: str | None, configured: str | None, found: str | None
) -> None:
    command = writes(**({} if written is None else {"AccountId": written}))
    key = "" if configured is None else f"aws_account_id = {configured}\n"
    provider = profile_of(tmp_path, f"[default]\ncredential_process = {command}\n{key}")

    assert (await provider.provide_credentials(context)).account_id == found


async def test_the_container_endpoint_has_the_account(context: Engine) -> None:
    async with LocalContainer(account_id=ACCOUNT) as server:
        found = await ContainerProvider(environ=server.environ).fetch(context)

    assert found.account_id == ACCOUNT


@pytest.mark.parametrize(("extended", "found"), [(True, ACCOUNT), (False, None)])
async def test_the_extended_path_of_the_metadata_service_has_the_account(
    context: Engine, extended: bool, found: str | None
) -> None:
    async with LocalIMDS(account_id=ACCOUNT, extended=extended) as server:
        assert (await IMDSProvider(endpoint=server.url).fetch(context)).account_id == found


async def test_identity_center_credentials_have_the_requested_account(
    context: Engine, tmp_path: Path, clocks: Any
) -> None:
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


async def test_the_token_file_of_a_login_has_the_account(context: Engine, tmp_path: Path, clocks: Any) -> None:
    async with LocalSignIn(clock=lambda: clocks.wall) as server:
        server.login(tmp_path, login_session="arn:aws:iam::123456789012:user/me")
        provider = LoginProvider(
            login_session="arn:aws:iam::123456789012:user/me", cache_directory=tmp_path, environ=server.environ
        )

        assert (await provider.fetch(context)).account_id == "123456789012"


async def test_sts_has_the_account_in_the_arn_of_the_session() -> None:
    """A session of a user is in the account of the keys that signed the request, if it is known."""
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
    """Servers other than AWS name roles differently. Their credentials are still accepted."""
    assert account_of(arn) == account_id


# What is no account


@pytest.mark.parametrize("text", NO_ACCOUNTS, ids=ascii)
async def test_an_invalid_account_in_a_document_is_ignored(context: Engine, text: str) -> None:
    """The account is a label, and botocore accepts any text. A wrong label stops no call, and is not passed on."""
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
def test_an_invalid_account_in_code_is_refused(text: str) -> None:
    """In code it is a mistake, and the error comes at once."""
    with pytest.raises(ConfigurationError, match=r"^account_id must be 12 digits$"):
        StaticProvider(attrs.evolve(KEYS, account_id=text))
    with pytest.raises(ConfigurationError, match=r"^account_id must be 12 digits$"):
        ProcessProvider("true", account_id=text)


# The value


def test_credentials_with_and_without_account_are_equal() -> None:
    """Only the keys count: one source may know the account while another one does not."""
    assert IN_ACCOUNT == KEYS
    assert hash(IN_ACCOUNT) == hash(KEYS)


def test_copies_and_repr_include_the_account() -> None:
    """The account is not secret, and explains why two reprs differ."""
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


def test_the_account_is_not_a_member_of_sts_documents() -> None:
    """A server must not set it, and the command line prints exactly the members that STS sent."""
    tree = {
        "AccessKeyId": "A",
        "SecretAccessKey": "B",
        "SessionToken": "C",
        "Expiration": "2026-01-01T00:00:00Z",
        "account_id": ACCOUNT,
        "AccountId": ACCOUNT,
    }
    read = structure(element_of(tree), TemporaryCredentials)

    assert read.account_id is None
    assert unstructure(attrs.evolve(read, account_id=ACCOUNT)) == {
        name: value for name, value in tree.items() if "ccount" not in name
    }


def test_the_account_does_not_change_signatures(clocks: Any) -> None:
    at = shapes.datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    signed = [
        sign(keys, method="GET", url="https://h/", headers={}, service="sts", region="r", at=at)
        for keys in (KEYS, IN_ACCOUNT)
    ]

    assert signed[0] == signed[1]


# Who is told


async def test_events_logs_and_caches_include_the_account(caplog: pytest.LogCaptureFixture, lend: Lend) -> None:
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


async def test_the_findings_of_a_chain_include_the_account(context: Engine) -> None:
    """`sts-async doctor` prints them."""
    (finding,) = await ProviderChain(StaticProvider(IN_ACCOUNT)).findings(context)

    assert finding.detail == f"AKIAEXAMPLE, account {ACCOUNT}, does not expire"
