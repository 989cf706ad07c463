"""Sessions of an IAM user, at a server that checks keys and MFA."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import KEYS, form_of, request_of

from sts_async import errors
from sts_async._engine.loop import Engine
from sts_async.credentials import _schedule
from sts_async.credentials.assume_role import AssumeRoleProvider
from sts_async.credentials.session_token import SessionTokenProvider
from sts_async.testing import LocalSTS, Role, Throttle


@pytest.fixture
async def server(clocks: Any) -> AsyncIterator[LocalSTS]:
    async with LocalSTS(clock=lambda: clocks.wall) as server:
        yield server


@pytest.fixture
def context(server: LocalSTS, lend: Callable[..., Engine]) -> Engine:
    return lend(f"{server.url}/")


async def code(serial_number: str) -> str:
    return "123456"


async def test_a_session_of_the_user_who_signs(server: LocalSTS, context: Engine, clocks: Any) -> None:
    """It lasts 12 hours by default, is cached, and is refreshed in the background."""
    provider = SessionTokenProvider(source=server.credentials)

    credentials = await provider.provide_credentials(context)

    holder = server.principal(credentials)
    assert holder is not None
    assert (holder.kind, holder.arn, holder.mfa) == ("session", "arn:aws:iam::123456789012:user/developer", False)
    assert credentials.expiration is not None
    assert credentials.expiration.timestamp() == clocks.wall + 43_200
    assert await provider.provide_credentials(context) is credentials
    assert provider.schedule is _schedule.STANDARD


async def test_a_session_with_mfa_assumes_a_role_that_requires_mfa(server: LocalSTS, context: Engine) -> None:
    """One code is enough for any number of roles."""
    arns = [f"arn:aws:iam::123456789012:role/{name}" for name in ("one", "two")]
    server.declare(*(Role(arn, mfa_required=True) for arn in arns))
    asked: list[str] = []

    async def asked_code(serial_number: str) -> str:
        asked.append(serial_number)
        return "123456"

    session = SessionTokenProvider(source=server.credentials, serial_number=server.user.mfa_serial, mfa_code=asked_code)
    for arn in arns:
        await AssumeRoleProvider(role_arn=arn, source=session).provide_credentials(context)

    assert asked == [server.user.mfa_serial]
    assert session.schedule is _schedule.ATTENDED


async def test_a_throttled_call_is_repeated_with_a_new_code(server: LocalSTS, context: Engine) -> None:
    """T46."""
    codes = ["123456", "654321"]

    async def next_code(serial_number: str) -> str:
        return codes.pop()

    server.faults.add(Throttle())
    provider = SessionTokenProvider(source=server.credentials, serial_number=server.user.mfa_serial, mfa_code=next_code)

    await provider.provide_credentials(context)

    assert codes == []
    assert [served.code for served in server.requests] == ["Throttling", None]


async def test_a_session_cannot_request_another_session(server: LocalSTS, context: Engine) -> None:
    """F18: a retry cannot help, so the error is raised at once."""
    session = SessionTokenProvider(source=server.credentials)

    with pytest.raises(errors.ServiceError, match="AccessDenied"):
        await SessionTokenProvider(source=session).provide_credentials(context)


@pytest.mark.parametrize("options", [{"serial_number": "GAHT12345678"}, {"mfa_code": code}], ids=["serial", "code"])
def test_a_device_requires_a_function_for_its_codes(options: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError, match="serial_number and mfa_code must be passed together"):
        SessionTokenProvider(source=KEYS, **options)


@given(
    seconds=st.none() | st.integers(900, 129_600),
    size=st.none() | st.integers(0, 4096),
    serial=st.none() | st.text("ab12=/:.@-", min_size=9, max_size=30),
)
async def test_every_member_reaches_the_wire(seconds: int | None, size: int | None, serial: str | None) -> None:
    """T42."""
    device: dict[str, Any] = {} if serial is None else {"serial_number": serial, "mfa_code": code}
    provider = SessionTokenProvider(source=KEYS, duration_seconds=seconds, minimum_session_token_size=size, **device)
    request = await request_of(provider)

    expected = {
        "DurationSeconds": seconds,
        "MinimumSessionTokenSize": size,
        "SerialNumber": serial,
        "TokenCode": serial and "123456",
    }
    assert form_of(request) == {
        "Action": "GetSessionToken",
        "Version": "2011-06-15",
        **{name: str(value) for name, value in expected.items() if value is not None},
    }
