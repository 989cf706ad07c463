"""The reprs of providers show no secret, even if a constructor failed or the provider holds an environment."""

import asyncio
import inspect
import os
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support import KEYS, ROLE
from test_secrets import PACKAGE, shown

from sts_async import credentials
from sts_async.config import Config, SettingsSources
from sts_async.credentials import (
    AssumeRoleProvider,
    CachingProvider,
    ContainerProvider,
    DefaultChain,
    EnvironmentProvider,
    FederationTokenProvider,
    IMDSProvider,
    LoginProvider,
    ProcessProvider,
    ProfileProvider,
    ProviderChain,
    RefreshingProvider,
    SAMLProvider,
    SessionTokenProvider,
    SSOProvider,
    StaticProvider,
    WebIdentityProvider,
)
from sts_async.errors import STSError

ENVIRON = {"AWS_SECRET_ACCESS_KEY": "SENTINEL-secret"}
SSO = {"account_id": "123456789012", "role_name": "demo", "region": "us-east-1", "session_name": "corp"}
LOGIN = {"login_session": "arn:aws:iam::123456789012:user/me", "region": "us-east-1"}

HALF_MADE: list[tuple[type, dict[str, Any]]] = [
    (AssumeRoleProvider, {"role_arn": "x"}),
    (AssumeRoleProvider, {"role_arn": ROLE, "serial_number": "123456789"}),
    (AssumeRoleProvider, {"role_arn": ROLE, "source": 5}),
    (WebIdentityProvider, {"role_arn": ROLE}),
    (WebIdentityProvider, {"role_arn": "x", "token_file": "y"}),
    (WebIdentityProvider, {"role_arn": ROLE, "token_file": ""}),
    (SAMLProvider, {"role_arn": ROLE, "principal_arn": "y", "assertion": print}),
    (SAMLProvider, {"role_arn": ROLE, "principal_arn": "y", "assertion": 5}),
    (SessionTokenProvider, {"duration_seconds": "1"}),
    (FederationTokenProvider, {"name": 1}),
    (SSOProvider, {**SSO, "account_id": "1", "environ": ENVIRON}),
    (SSOProvider, {**SSO, "account_id": 5, "environ": ENVIRON}),
    (LoginProvider, {**LOGIN, "region": "us east", "environ": ENVIRON}),
    (LoginProvider, {**LOGIN, "login_session": 5}),
    (ProcessProvider, {"command": "SENTINEL\0"}),
    (IMDSProvider, {"attempts": "3"}),
    (ProfileProvider, {"settings_sources": 5}),
]
EACH = {getattr(credentials, name) for name in credentials.__all__ if name.endswith(("Provider", "Chain"))}


@pytest.mark.parametrize(("provider", "arguments"), HALF_MADE, ids=lambda value: getattr(value, "__name__", None))
def test_a_provider_whose_constructor_failed_has_a_repr(provider: type, arguments: dict[str, Any]) -> None:
    """T16: crash reporters call `repr` for the local variables of every frame, including ``self``."""
    with pytest.raises((STSError, TypeError, AttributeError)) as caught:
        provider(**arguments)

    error = caught.value
    assert isinstance(error, STSError) or 5 in arguments.values() or provider is IMDSProvider
    traceback.TracebackException(type(error), error, error.__traceback__, capture_locals=True)
    assert PACKAGE.rpartition("/")[2] in shown(error)
    assert "SENTINEL" not in shown(error)


@pytest.mark.parametrize(
    "make",
    [
        ProviderChain,
        partial(ProviderChain, 5),
        partial(CachingProvider, 5),
        partial(DefaultChain, settings_sources=5),
    ],
    ids=["chain of nothing", "chain", "cache", "default chain"],
)
def test_a_chain_or_cache_whose_constructor_failed_has_a_repr(make: Callable[[], object]) -> None:
    """T16."""
    with pytest.raises((STSError, AttributeError)) as caught:
        make()

    assert "__init__" in shown(caught.value)


def test_no_constructor_that_can_fail_is_left_out() -> None:
    """T16: the other constructors refuse nothing."""
    tried = {provider for provider, _ in HALF_MADE}

    without = {ContainerProvider, EnvironmentProvider, StaticProvider, RefreshingProvider}
    chains = {ProviderChain, DefaultChain, CachingProvider}

    assert EACH - tried == without | chains


# -- The environment ----------------------------------------------------------------------------------------------

IN_AN_ENVIRONMENT: dict[str, Callable[[], Any]] = {
    "environment": EnvironmentProvider,
    "container": ContainerProvider,
    "SSO": partial(SSOProvider, **SSO),  # type: ignore[arg-type]
    "login": partial(LoginProvider, **LOGIN),
    "web identity": WebIdentityProvider.from_environment,
    "profile": ProfileProvider,
    "chain": DefaultChain,
}


def test_the_table_lists_every_provider_with_an_environment() -> None:
    """T14: the arguments of the exported classes show which providers these are."""
    arguments = {"environ", "config", "settings_sources"}
    with_environment = {provider for provider in EACH if arguments & {*inspect.signature(provider).parameters}}
    listed = {getattr(make, "func", make) for make in IN_AN_ENVIRONMENT.values()}

    assert len(with_environment) > 4
    assert with_environment - listed == set()


@pytest.mark.parametrize("name", IN_AN_ENVIRONMENT)
def test_a_provider_does_not_show_the_environment_that_it_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """T14: debuggers and crash reporters show attributes as well as `repr`."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SENTINEL")
    pending: list[Any] = [IN_AN_ENVIRONMENT[name]()]
    for thing in pending:
        assert "SENTINEL" not in repr(vars(thing))
        pending += getattr(thing, "sources", ())


@pytest.mark.parametrize(
    "changes",
    [
        {"HOME": ""},
        {"AWS_ENDPOINT_URL": "http://h.example/"},
        {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "maybe"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent", "AWS_ROLE_ARN": "x y"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://h.example/"},
        {"AWS_LOGIN_CACHE_DIRECTORY": "/nonexistent\x1b[2J\udc80\udfff"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", sorted(IN_AN_ENVIRONMENT.keys() - {"chain", "profile"}))
async def test_a_source_that_fails_does_not_show_the_environment(
    name: str, changes: dict[str, str], context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T16: it is in the local variables of functions that read it. T45: messages escape its values."""
    environ = {"HOME": os.environ["HOME"], "AWS_SECRET_ACCESS_KEY": "SENTINEL", **changes}
    monkeypatch.setattr(os, "environ", environ)
    with pytest.raises(STSError) as caught:
        await IN_AN_ENVIRONMENT[name]().fetch(context) if name != "environment" else await EnvironmentProvider(
            environ
        ).provide_credentials(context)

    assert "SENTINEL" not in shown(caught.value)
    assert str(caught.value).isprintable()


async def test_a_profile_of_an_environment_does_not_show_it(context: Any) -> None:
    """T16."""
    here = SettingsSources(Config(), {**ENVIRON, "HOME": "/nonexistent", "AWS_PROFILE": "missing"})
    with pytest.raises(STSError) as caught:
        await ProfileProvider(settings_sources=here).provide_credentials(context)

    assert "SENTINEL" not in shown(caught.value)


def test_keys_are_hidden_in_a_chain() -> None:
    """T14."""
    chain = ProviderChain(KEYS, CachingProvider(lambda: asyncio.sleep(0, KEYS)))

    assert KEYS.secret_access_key not in repr([vars(source) for source in chain.sources])
