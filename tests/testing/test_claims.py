"""SAML assertions and web identity tokens: read, not verified."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sts_async import errors
from sts_async.client import STSClient
from sts_async.errors import ServiceError
from sts_async.testing import LocalSTS, Role

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/path/demo"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:saml-provider/Corp"

Maker = Callable[..., str]


async def refusal(call: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


def with_saml(sts: STSClient, assertion: str, **more: Any) -> Any:
    given = {"role_arn": ROLE, "principal_arn": PROVIDER, **more}
    return sts.assume_role_with_saml(saml_assertion=assertion, **given)


def with_token(sts: STSClient, token: str, **more: Any) -> Any:
    return sts.assume_role_with_web_identity(role_arn=ROLE, role_session_name="me", web_identity_token=token, **more)


# -- SAML ---------------------------------------------------------------------------------------------------------


async def test_an_assertion_is_read(
    sts: STSClient, client: Callable[..., STSClient], server: LocalSTS, saml: Maker, clock: Any
) -> None:
    attributes = {
        "SourceIdentity": ["alice"],
        "PrincipalTag:team": ["blue"],
        "TransitiveTagKeys": ["team", "other"],
        "SessionDuration": ["7200"],
    }
    response = await with_saml(sts, saml(attributes=attributes))

    assert response.subject == "some&body"
    assert response.subject_type == "persistent"
    assert response.issuer == "https://idp.test/saml"
    assert response.audience == "https://signin.aws.amazon.com/saml"
    assert response.name_qualifier is not None
    assert len(base64.b64decode(response.name_qualifier)) == 20
    assert response.source_identity == "alice"
    assert response.credentials.expiration == datetime.fromtimestamp(clock() + 7200, UTC)
    identity = await client(credentials=response.credentials).get_caller_identity()
    assert identity.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/demo/somebody"
    holder = server.principal(response.credentials)
    assert holder is not None
    assert (holder.tags, holder.transitive_tag_keys) == ({"team": "blue"}, {"team"})
    assert server.requests[0].principal is None


async def test_the_session_ends_with_that_of_the_provider(sts: STSClient, saml: Maker, clock: Any) -> None:
    ends = datetime.fromtimestamp(clock() + 1000, UTC)
    statement = f"<AuthnStatement SessionNotOnOrAfter='{ends.isoformat()}'/>"

    assert (await with_saml(sts, saml(session_ends=statement))).credentials.expiration == ends


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"expires_in": 0}, errors.ExpiredTokenException),
        ({"begins_in": 60}, errors.IDPRejectedClaimException),
        ({"name": ""}, errors.InvalidIdentityTokenException),
        ({"attributes": {"Role": []}}, errors.InvalidIdentityTokenException),
        ({"attributes": {"RoleSessionName": ["a", "b"]}}, errors.InvalidIdentityTokenException),
        ({"attributes": {"RoleSessionName": ["a b"]}}, errors.InvalidIdentityTokenException),
        ({"attributes": {"SessionDuration": ["long"]}}, errors.InvalidIdentityTokenException),
        ({"session_ends": "<AuthnStatement SessionNotOnOrAfter='late'/>"}, errors.InvalidIdentityTokenException),
        ({"copies": 0}, errors.InvalidIdentityTokenException),
        ({"copies": 2}, errors.InvalidIdentityTokenException),
        ({"doctype": "<!DOCTYPE Response [<!ENTITY x 'y'>]>"}, errors.InvalidIdentityTokenException),
        ({"doctype": "<"}, errors.InvalidIdentityTokenException),
        ({"attributes": {"Role": [f"{ROLE}2,{PROVIDER}"]}}, ServiceError),
    ],
)
async def test_an_unfit_assertion_is_refused(
    sts: STSClient, saml: Maker, parts: dict[str, Any], error: type[ServiceError]
) -> None:
    assert type(await refusal(with_saml(sts, saml(**parts)))) is error


async def test_an_assertion_is_base64(sts: STSClient) -> None:
    assert type(await refusal(with_saml(sts, "not base64!"))) is errors.InvalidIdentityTokenException


async def test_a_role_can_trust_no_saml_provider_or_this_one(sts: STSClient, server: LocalSTS, saml: Maker) -> None:
    server.declare(Role(ROLE, trusts=["arn:aws:iam::123456789012:saml-provider/Other"]))
    assert (await refusal(with_saml(sts, saml()))).code == "AccessDenied"

    server.declare(Role(ROLE, trusts=[PROVIDER]))
    await with_saml(sts, saml())
    assert (await refusal(with_saml(sts, saml(), principal_arn=ROLE))).code == "ValidationError"


# -- web identity -------------------------------------------------------------------------------------------------


async def test_a_token_is_read(sts: STSClient, client: Callable[..., STSClient], server: LocalSTS, jwt: Maker) -> None:
    tags = {"principal_tags": {"team": ["blue"]}, "transitive_tag_keys": ["team"]}
    token = jwt(
        aud=["app", "other"],
        nbf=1,
        **{"https://aws.amazon.com/tags": tags, "https://aws.amazon.com/source_identity": "alice"},
    )
    response = await with_token(sts, token)

    assert response.subject_from_web_identity_token == "somebody"
    assert response.provider == "idp.test"
    assert response.audience == "app"
    assert response.source_identity == "alice"
    identity = await client(credentials=response.credentials).get_caller_identity()
    assert identity.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/demo/me"
    holder = server.principal(response.credentials)
    assert holder is not None
    assert (holder.tags, holder.transitive_tag_keys) == ({"team": "blue"}, {"team"})


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"exp": 1}, errors.ExpiredTokenException),
        ({"exp": float("nan")}, errors.ExpiredTokenException),
        ({"exp": "soon"}, errors.InvalidIdentityTokenException),
        ({"exp": True}, errors.InvalidIdentityTokenException),
        ({"exp": None}, errors.InvalidIdentityTokenException),
        ({"sub": None}, errors.InvalidIdentityTokenException),
        ({"aud": [1]}, errors.InvalidIdentityTokenException),
        ({"iss": {"a": 1}}, errors.InvalidIdentityTokenException),
        ({"nbf": 1e11}, errors.IDPRejectedClaimException),
    ],
)
async def test_an_unfit_token_is_refused(
    sts: STSClient, jwt: Maker, claims: dict[str, Any], error: type[ServiceError]
) -> None:
    assert type(await refusal(with_token(sts, jwt(**claims)))) is error


@pytest.mark.parametrize("token", ["abcd", "a.b.c", "e30.W10.x", "e30.é.x", "a." + "W1tb" * 4000 + ".c", ".e30.x"])
async def test_a_token_is_a_jwt(sts: STSClient, token: str) -> None:
    assert type(await refusal(with_token(sts, token))) is errors.InvalidIdentityTokenException


@pytest.mark.parametrize(
    "odd",
    [{"tags": 1}, {"tags": {"principal_tags": {"a": 1}, "transitive_tag_keys": 1}}, {"source_identity": 1}],
)
async def test_unknown_claims_are_ignored(sts: STSClient, jwt: Maker, odd: dict[str, Any]) -> None:
    claims = {f"https://aws.amazon.com/{name}": value for name, value in odd.items()}

    assert (await with_token(sts, jwt(**claims))).source_identity is None


async def test_characters_that_xml_does_not_have_do_not_break_the_answer(sts: STSClient, jwt: Maker) -> None:
    response = await with_token(sts, jwt(sub="a\x00\ud800<b"))

    assert response.subject_from_web_identity_token == "a\ufffd\ufffd<b"


async def test_an_access_token_is_opaque(sts: STSClient) -> None:
    first = await with_token(sts, "opaque", provider_id="www.amazon.com")
    second = await with_token(sts, "opaque", provider_id="www.amazon.com")

    assert first.provider == "www.amazon.com"
    assert first.subject_from_web_identity_token == second.subject_from_web_identity_token


@pytest.mark.parametrize(
    ("trusts", "trusted"),
    [
        ("idp.test", True),
        ("https://idp.test", True),
        (f"arn:aws:iam::{ACCOUNT}:oidc-provider/idp.test", True),
        ("*", True),
        (f"arn:aws:iam::{ACCOUNT}:oidc-provider/other.test", False),
    ],
)
async def test_a_role_trusts_the_providers_that_it_names(
    sts: STSClient, server: LocalSTS, jwt: Maker, trusts: str, trusted: bool
) -> None:
    server.declare(Role(ROLE, trusts=trusts))

    if trusted:
        await with_token(sts, jwt())
    else:
        assert (await refusal(with_token(sts, jwt()))).code == "AccessDenied"


async def test_calls_that_are_not_signed_are_of_the_region_of_the_server(jwt: Maker, saml: Maker) -> None:
    from sts_async.testing import Account

    home = Account(ACCOUNT, disabled_regions=["us-east-1"])
    async with LocalSTS(account=home) as server, server.client() as sts:
        for call in (with_token(sts, jwt()), with_saml(sts, saml())):
            assert type(await refusal(call)) is errors.RegionDisabledException
