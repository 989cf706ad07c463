"""What programs can write for themselves: the optional methods of a provider."""

from typing import Any

import pytest
from support import KEYS

from sts_async import (
    AssumeRoleProvider,
    CachingProvider,
    ConfigurationError,
    Credentials,
    ProviderChain,
    StaticProvider,
    STSClient,
)
from sts_async.protocols import ProviderContext, invalidate, is_attended

ROLE = "arn:aws:iam::123456789012:role/demo"


class Plain:
    """The least that is a provider."""

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        return KEYS


class Full(Plain):
    """A provider with the optional methods; notes what they are given."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.contexts: list[ProviderContext | None] = []

    def invalidate(self, access_key_id: str) -> None:
        self.refused.append(access_key_id)

    def is_attended(self, context: ProviderContext | None = None) -> bool:
        self.contexts.append(context)
        return True


@pytest.mark.parametrize("provider", [Plain(), None, StaticProvider(KEYS)])
def test_a_provider_without_the_optional_methods_is_left_alone(provider: Any) -> None:
    """The library asks every provider, the program's own and the absent one included."""
    assert invalidate(provider, "AKIAREFUSED") is False
    assert is_attended(provider) is False


def test_a_provider_with_them_is_asked() -> None:
    provider, context = Full(), object()

    assert invalidate(provider, "AKIAREFUSED") is True
    assert is_attended(provider, context) is True  # type: ignore[arg-type]
    assert (provider.refused, provider.contexts) == (["AKIAREFUSED"], [context])


@pytest.mark.parametrize("around", [ProviderChain, CachingProvider])
async def test_what_wraps_a_provider_passes_both_on(around: Any) -> None:
    """F16, T46: a wrapper that swallows them would keep refused keys, or ask a person in the background."""
    inner = Full()
    provider = around(inner)
    if around is ProviderChain:
        await provider.provide_credentials(Anyone())

    assert is_attended(provider) is True
    assert invalidate(provider, "AKIAREFUSED") is True
    assert inner.refused == ["AKIAREFUSED"]


class Anyone:
    """As much of a client as a search of a chain takes."""

    credentials_key = ()

    def __init__(self) -> None:
        from sts_async.protocols import BackgroundTasks

        self.tasks = BackgroundTasks()
        self.client = self

    def monotonic(self) -> float:
        return 0.0


def test_a_provider_with_an_mfa_device_says_that_it_asks() -> None:
    """T46."""

    async def code(serial_number: str) -> str:
        return "123456"

    assert is_attended(AssumeRoleProvider(role_arn=ROLE, serial_number="arn:aws:iam::1:mfa/me", mfa_code=code))
    assert not is_attended(AssumeRoleProvider(role_arn=ROLE))


@pytest.mark.parametrize("missing", ["admit", "after_success", "after_failure"])
def test_a_policy_that_lacks_a_method_is_refused_when_it_is_given(missing: str) -> None:
    """Not in the first call that fails, which may come in the night."""
    methods = {name: (lambda *_, **__: None) for name in ("admit", "after_success", "after_failure") if name != missing}
    policy: Any = type("Incomplete", (), methods)()
    with pytest.raises(ConfigurationError, match="retries must be a policy such as"):
        STSClient(region="us-east-1", credentials=KEYS, retries=policy)
    with pytest.raises(ConfigurationError, match="retries must be a policy such as"):
        STSClient(region="us-east-1", credentials=KEYS).with_options(retries=policy)
