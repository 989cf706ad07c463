"""Sessions of federated users."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import KEYS, form_of, request_of

from sts_async import errors
from sts_async._engine.loop import Engine
from sts_async.credentials.assume_role import AssumeRoleProvider
from sts_async.credentials.federation_token import FederationTokenProvider
from sts_async.shapes import PolicyDescriptorType, Tag
from sts_async.testing import LocalSTS

NAMES = st.text("abcXYZ09_+=,.@-", min_size=2, max_size=20)
TAG_TEXT = st.text("ab \u00e9\u4e2d_.:/=+-@", min_size=1, max_size=8)


@pytest.fixture
async def server(clocks: Any) -> AsyncIterator[LocalSTS]:
    async with LocalSTS(clock=lambda: clocks.wall) as server:
        yield server


@pytest.fixture
def context(server: LocalSTS, lend: Callable[..., Engine]) -> Engine:
    return lend(f"{server.url}/")


async def test_a_session_of_a_federated_user(server: LocalSTS, context: Engine) -> None:
    """It is requested once, and cached."""
    provider = FederationTokenProvider(
        name="bob", source=server.credentials, tags=[Tag(key="team", value="blue")], policy={"Version": "2012-10-17"}
    )

    credentials = await provider.provide_credentials(context)

    holder = server.principal(credentials)
    assert holder is not None
    assert holder.arn == "arn:aws:sts::123456789012:federated-user/bob"
    assert holder.tags == {"team": "blue"}
    assert await provider.provide_credentials(context) is credentials
    assert len(server.requests) == 1


async def test_a_session_cannot_request_a_federation_token(server: LocalSTS, context: Engine) -> None:
    """GetFederationToken accepts only the long-term keys of a user, and the error of the service says so."""
    role = AssumeRoleProvider(role_arn="arn:aws:iam::123456789012:role/demo", source=server.credentials)

    with pytest.raises(errors.ServiceError, match="AccessDenied"):
        await FederationTokenProvider(name="bob", source=role).provide_credentials(context)


@given(
    name=NAMES,
    policy=st.none() | st.text("{}ab", min_size=1, max_size=9),
    arns=st.lists(st.builds("arn:aws:iam::aws:policy/{}".format, NAMES), max_size=3),
    tags=st.lists(st.tuples(TAG_TEXT, TAG_TEXT), max_size=3),
    seconds=st.none() | st.integers(900, 129_600),
    size=st.none() | st.integers(0, 4096),
)
async def test_every_member_reaches_the_wire(
    name: str, policy: str | None, arns: list[str], tags: list[tuple[str, str]], seconds: int | None, size: int | None
) -> None:
    """T42."""
    provider = FederationTokenProvider(
        name=name,
        source=KEYS,
        policy=policy,
        policy_arns=[PolicyDescriptorType(arn=arn) for arn in arns],
        tags=[Tag(key=key, value=value) for key, value in tags],
        duration_seconds=seconds,
        minimum_session_token_size=size,
    )
    request = await request_of(provider)

    expected: dict[str, Any] = {
        "Name": name,
        "Policy": policy,
        "DurationSeconds": seconds,
        "MinimumSessionTokenSize": size,
        **{f"PolicyArns.member.{number}.arn": arn for number, arn in enumerate(arns, 1)},
        **{f"Tags.member.{number}.Key": key for number, (key, _) in enumerate(tags, 1)},
        **{f"Tags.member.{number}.Value": value for number, (_, value) in enumerate(tags, 1)},
    }
    assert form_of(request) == {
        "Action": "GetFederationToken",
        "Version": "2011-06-15",
        **{key: str(value) for key, value in expected.items() if value is not None},
    }
