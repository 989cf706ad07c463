"""Credentials in environment variables: complete, incomplete, expired, rotated."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from support import KEYS

from sts_async.credentials import EnvironmentProvider
from sts_async.errors import CredentialsError, CredentialsExpired, CredentialsNotFound
from sts_async.shapes import Credentials

SET = {"AWS_ACCESS_KEY_ID": KEYS.access_key_id, "AWS_SECRET_ACCESS_KEY": KEYS.secret_access_key}


LENDER: Any = SimpleNamespace(wall_clock=time.time, now=lambda: datetime.now(UTC))


async def provide(environ: Mapping[str, str]) -> Credentials:
    return await EnvironmentProvider(environ).provide_credentials(LENDER)


async def test_keys_and_token_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SET, "AWS_SESSION_TOKEN": KEYS.session_token}.items():
        monkeypatch.setenv(name, value or "")

    assert await EnvironmentProvider().provide_credentials(LENDER) == KEYS


@pytest.mark.parametrize("blank", ["", "  "])
async def test_a_blank_variable_counts_as_unset(blank: str) -> None:
    """Shells and container definitions often leave blank variables."""
    found = await provide({**SET, "AWS_SESSION_TOKEN": blank, "AWS_CREDENTIAL_EXPIRATION": blank})

    assert found.session_token is None
    assert found.expiration is None
    with pytest.raises(CredentialsNotFound, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"):
        await provide({"AWS_ACCESS_KEY_ID": blank})


@pytest.mark.parametrize(("present", "absent"), [tuple(SET), tuple(reversed(SET))])
async def test_one_key_variable_without_the_other_is_an_error(present: str, absent: str) -> None:
    """T47: continuing the search would silently use another identity."""
    with pytest.raises(CredentialsError, match=f"{present} is set and {absent} is not") as caught:
        await provide({present: SET[present]})

    assert not isinstance(caught.value, CredentialsNotFound)


async def test_an_expiration_makes_them_temporary() -> None:
    found = await provide({**SET, "AWS_CREDENTIAL_EXPIRATION": "2999-01-01T00:00:00Z"})

    assert found.expiration is not None
    assert found.expiration.year == 2999


async def test_expired_credentials_are_not_provided() -> None:
    """T48."""
    with pytest.raises(
        CredentialsExpired,
        match=r"in the environment expired \d+ s ago \(host clock: \S+\): set new ones, and their AWS_CREDENTIAL_EXP",
    ):
        await provide({**SET, "AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"})


@pytest.mark.parametrize("text", ["tomorrow", "SENTINEL", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59"])
async def test_an_invalid_expiration_is_an_error_without_its_value(text: str) -> None:
    with pytest.raises(CredentialsError, match="not a time such as") as caught:
        await provide({**SET, "AWS_CREDENTIAL_EXPIRATION": text})

    assert caught.value.__context__ is None


async def test_changed_variables_are_used_and_unchanged_ones_return_the_same_object() -> None:
    """The derived signing key is cached by object."""
    environ = dict(SET)
    provider = EnvironmentProvider(environ)

    first, again = [await provider.provide_credentials(LENDER) for _ in range(2)]
    environ["AWS_SECRET_ACCESS_KEY"] = "SENTINEL-another"
    changed = await provider.provide_credentials(LENDER)

    assert first is again
    assert changed.secret_access_key == "SENTINEL-another"


def test_printing_the_provider_shows_nothing() -> None:
    assert repr(EnvironmentProvider(SET)) == "EnvironmentProvider()"
