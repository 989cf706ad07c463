"""Roles for SAML assertions, at a server that reads the assertions."""

import base64
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROLE, form_of, request_of

from sts_async import errors
from sts_async._engine.loop import Engine
from sts_async.credentials.saml import SAMLProvider
from sts_async.shapes import PolicyDescriptorType
from sts_async.testing import LocalSTS, Unavailable

PROVIDER = "arn:aws:iam::123456789012:saml-provider/Corp"


def saml(*, expires_at: float) -> str:
    """Return a SAML response with the attributes that AWS requires."""
    until = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    attributes = "".join(
        f"<Attribute Name='https://aws.amazon.com/SAML/Attributes/{name}'>"
        f"<AttributeValue>{value}</AttributeValue></Attribute>"
        for name, value in {"Role": f"{ROLE},{PROVIDER}", "RoleSessionName": "somebody"}.items()
    )
    document = (
        "<Response><Assertion xmlns='urn:oasis:names:tc:SAML:2.0:assertion'><Issuer>https://idp.test</Issuer>"
        "<Subject><NameID>somebody</NameID><SubjectConfirmation>"
        f"<SubjectConfirmationData NotOnOrAfter='{until}' Recipient='https://signin.aws.amazon.com/saml'/>"
        f"</SubjectConfirmation></Subject><AttributeStatement>{attributes}</AttributeStatement></Assertion></Response>"
    )
    return base64.b64encode(document.encode()).decode()


class IdentityProvider:
    """Returns a new assertion for each call, valid for 5 minutes."""

    def __init__(self, clocks: Any, *, seconds: float = 300) -> None:
        self._clocks = clocks
        self._seconds = seconds
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        return saml(expires_at=self._clocks.wall + self._seconds)


@pytest.fixture
async def server(clocks: Any) -> AsyncIterator[LocalSTS]:
    async with LocalSTS(clock=lambda: clocks.wall) as server:
        yield server


@pytest.fixture
def context(server: LocalSTS, lend: Callable[..., Engine]) -> Engine:
    return lend(f"{server.url}/")


async def test_a_role_for_an_assertion(server: LocalSTS, context: Engine, clocks: Any) -> None:
    """No credentials are needed, and the assertion is asked for once per session."""
    idp = IdentityProvider(clocks)
    provider = SAMLProvider(role_arn=ROLE, principal_arn=PROVIDER, assertion=idp)

    credentials = [await provider.provide_credentials(context) for _ in range(3)]

    holder = server.principal(credentials[0])
    assert holder is not None
    assert holder.arn == "arn:aws:sts::123456789012:assumed-role/demo/somebody"
    assert [(served.operation, served.principal) for served in server.requests] == [("AssumeRoleWithSAML", None)]
    assert idp.asked == 1


async def test_each_fetch_has_a_new_assertion(server: LocalSTS, context: Engine, clocks: Any) -> None:
    """T44: an assertion is valid for minutes and a session for an hour, so no assertion is kept."""
    idp = IdentityProvider(clocks)
    provider = SAMLProvider(role_arn=ROLE, principal_arn=PROVIDER, assertion=idp)
    await provider.provide_credentials(context)
    clocks.advance(3600 - 30)
    await provider.provide_credentials(context)

    assert idp.asked == 2
    assert [served.code for served in server.requests] == [None, None]


async def test_an_expired_assertion_is_an_expired_token_error(context: Engine, clocks: Any) -> None:
    """T44: the error does not contain the assertion."""
    provider = SAMLProvider(role_arn=ROLE, principal_arn=PROVIDER, assertion=IdentityProvider(clocks, seconds=-1))

    with pytest.raises(errors.ExpiredTokenException):
        await provider.provide_credentials(context)


async def test_cached_credentials_are_served_during_an_outage(server: LocalSTS, context: Engine, clocks: Any) -> None:
    """The identity provider, which may involve a person, is not asked for each call."""
    idp = IdentityProvider(clocks)
    provider = SAMLProvider(role_arn=ROLE, principal_arn=PROVIDER, assertion=idp)
    first = await provider.provide_credentials(context)
    clocks.advance(3600 - 30)
    server.faults.add(Unavailable(times=99))

    assert [await provider.provide_credentials(context) for _ in range(5)] == [first] * 5
    assert idp.asked == 2


async def test_an_invalid_assertion_is_not_sent(server: LocalSTS, context: Engine) -> None:
    async def assertion() -> str:
        return ""

    with pytest.raises(errors.ParamValidationError, match="saml_assertion must have a length of 4 to 100000"):
        await SAMLProvider(role_arn=ROLE, principal_arn=PROVIDER, assertion=assertion).provide_credentials(context)

    assert not server.requests


@given(
    policy=st.none() | st.text("{}ab", min_size=1, max_size=9),
    arns=st.lists(st.builds("arn:aws:iam::aws:policy/{:05d}".format, st.integers(0, 99_999)), max_size=3),
    seconds=st.none() | st.integers(900, 43_200),
    size=st.none() | st.integers(0, 4096),
    text=st.text("ab=/+", min_size=4, max_size=9),
)
async def test_every_member_reaches_the_wire(
    policy: str | None, arns: list[str], seconds: int | None, size: int | None, text: str
) -> None:
    """T42."""

    async def assertion() -> str:
        return text

    provider = SAMLProvider(
        role_arn=ROLE,
        principal_arn=PROVIDER,
        assertion=assertion,
        policy=policy,
        policy_arns=[PolicyDescriptorType(arn=arn) for arn in arns],
        duration_seconds=seconds,
        minimum_session_token_size=size,
    )
    request = await request_of(provider)

    expected: dict[str, Any] = {
        "RoleArn": ROLE,
        "PrincipalArn": PROVIDER,
        "SAMLAssertion": text,
        "Policy": policy,
        "DurationSeconds": seconds,
        "MinimumSessionTokenSize": size,
        **{f"PolicyArns.member.{number}.arn": arn for number, arn in enumerate(arns, 1)},
    }
    assert form_of(request) == {
        "Action": "AssumeRoleWithSAML",
        "Version": "2011-06-15",
        **{key: str(value) for key, value in expected.items() if value is not None},
    }
    assert "authorization" not in request.headers
