"""Trusted identity propagation: context from an identity provider, and JWTs that name the end user."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from sts_async import shapes
from sts_async.client import STSClient
from sts_async.errors import ServiceError
from sts_async.testing import ContextProvider, LocalSTS

Client = Callable[..., STSClient]
Maker = Callable[..., str]

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/path/demo"
SAML = f"arn:aws:iam::{ACCOUNT}:saml-provider/Corp"
OIDC = f"arn:aws:iam::{ACCOUNT}:oidc-provider/idp.test"
ASK: dict[str, Any] = {"audience": ["api"], "signing_algorithm": "RS256"}


async def refusal(call: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


async def with_token(sts: STSClient, token: str, **more: Any) -> shapes.AssumeRoleWithWebIdentityResponse:
    return await sts.assume_role_with_web_identity(
        role_arn=ROLE, role_session_name="me", web_identity_token=token, **more
    )


def claims_of(response: shapes.GetWebIdentityTokenResponse) -> dict[str, Any]:
    payload = response.web_identity_token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


@pytest.mark.parametrize("provider", ["idp.test", "https://idp.test", OIDC])
async def test_a_web_identity_token_sets_the_context_of_its_session(
    sts: STSClient, server: LocalSTS, jwt: Maker, provider: str
) -> None:
    """A5: through the client's own reader, a map included; nothing of it is printed."""
    server.declare(ContextProvider(provider, subject="email", claims={"team": "groups", "device": "gone", "n": "n"}))
    response = await with_token(sts, jwt(email="somebody@example.com", groups="blue & <red>", n=1))

    assert response.trusted_identity_propagation_context == shapes.TrustedIdentityPropagationContext(
        origin_identity=shapes.OriginIdentity(
            subject="somebody@example.com", subject_type="user", issuer="idp.test", federated_provider_arn=OIDC
        ),
        transaction_context=shapes.TransactionContext(identity_provider=shapes.FrozenMap({"team": "blue & <red>"})),
    )
    assert "blue" not in repr(response)
    assert "email" not in repr(server.principal(response.credentials))


async def test_an_assertion_sets_the_context_of_its_session(sts: STSClient, server: LocalSTS, saml: Maker) -> None:
    """A5: of the key that signed the assertion nothing is known here, so the issuer is absent."""
    server.declare(ContextProvider(SAML, subject_type="workload", claims={"team": "PrincipalTag:team"}))
    response = await sts.assume_role_with_saml(
        role_arn=ROLE, principal_arn=SAML, saml_assertion=saml(attributes={"PrincipalTag:team": ["blue"]})
    )

    context = response.trusted_identity_propagation_context
    assert context is not None
    assert context.origin_identity == shapes.OriginIdentity(
        subject="some&body", subject_type="workload", federated_provider_arn=SAML
    )
    assert context.transaction_context is not None
    assert context.transaction_context.identity_provider == {"team": "blue"}
    assert response.subject_type == "persistent"


async def test_there_is_no_context_without_a_context_provider(
    sts: STSClient, server: LocalSTS, jwt: Maker, saml: Maker
) -> None:
    """It is absent where it was not set, and an access token says nothing that could be."""
    plain = await with_token(sts, jwt())
    server.declare(ContextProvider("other.test"), ContextProvider("www.amazon.com"))
    other = await with_token(sts, jwt())
    opaque = await with_token(sts, "opaque", provider_id="www.amazon.com")
    assertion = await sts.assume_role_with_saml(role_arn=ROLE, principal_arn=SAML, saml_assertion=saml())

    found = [response.trusted_identity_propagation_context for response in (plain, other, opaque, assertion)]
    assert found == [None] * 4


async def test_a_context_lacks_claims_that_the_token_does_not_have(
    sts: STSClient, server: LocalSTS, jwt: Maker
) -> None:
    server.declare(ContextProvider("idp.test", subject="email"))
    context = (await with_token(sts, jwt())).trusted_identity_propagation_context

    assert context is not None
    assert context.origin_identity is not None
    assert (context.origin_identity.subject, context.transaction_context) == (None, None)


@pytest.fixture
def acting_for(sts: STSClient, client: Client, server: LocalSTS, jwt: Maker) -> Callable[..., Any]:
    """Return a client of a session with an end user, also if its credentials are scoped."""
    server.declare(ContextProvider("idp.test"))

    async def act(subject: str = "somebody") -> STSClient:
        session = client(credentials=(await with_token(sts, jwt(sub=subject))).credentials)
        scoped = await session.get_scoped_credentials(duration_seconds=900)
        return client(credentials=scoped.credentials)

    return act


async def test_a_jwt_can_name_the_end_user(acting_for: Callable[..., Any]) -> None:
    """A4: the subject is the end user, the scope is unchanged, and the principal is still the role."""
    session = await acting_for()
    given = {**ASK, "scope": "read:all write", "subject_mode": "OriginIdentity"}
    claims = claims_of(await session.get_web_identity_token(**given))

    assert (claims["sub"], claims["scope"], claims["subject_mode"]) == ("somebody", "read:all write", "OriginIdentity")
    assert claims["https://sts.amazonaws.com/"]["principal_id"] == ROLE


@pytest.mark.parametrize("given", [{}, {"subject_mode": "AWSIdentity"}], ids=str)
async def test_a_jwt_names_the_caller_by_default(acting_for: Callable[..., Any], given: dict[str, str]) -> None:
    """A4: also where there is an end user."""
    claims = claims_of(await (await acting_for()).get_web_identity_token(**ASK, **given))

    assert claims["sub"] == ROLE
    assert not {"scope", "subject_mode"} & {*claims}


@pytest.mark.parametrize(
    "given",
    [
        {"scope": "read"},
        {"scope": "read", "subject_mode": "AWSIdentity"},
        {"scope": "read", "subject_mode": "OriginIdentity", "audience": ["a", "b"]},
        {"scope": "read write read", "subject_mode": "OriginIdentity"},
        *({"scope": scope, "subject_mode": "OriginIdentity"} for scope in (" a", "a ", "a  b", 'a"b', "a,b", "a\\b")),
        {"scope": "a" * 257, "subject_mode": "OriginIdentity"},
        {"subject_mode": "Somebody"},
    ],
    ids=str,
)
async def test_a_scope_that_cannot_be_is_refused(acting_for: Callable[..., Any], given: dict[str, Any]) -> None:
    """A4: words of certain characters with single spaces, without repetition; for an end user and one audience."""
    session = await acting_for()

    assert (await refusal(session.get_web_identity_token(**{**ASK, **given}))).code == "ValidationError"


async def test_scopes_differ_by_case(acting_for: Callable[..., Any]) -> None:
    given = {**ASK, "scope": "READ read", "subject_mode": "OriginIdentity"}

    assert claims_of(await (await acting_for()).get_web_identity_token(**given))["scope"] == "READ read"


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("ARN:aws:iam::123456789012:root", "AccessDenied"),
        (" somebody", "AccessDenied"),
        ("somebody ", "AccessDenied"),
        ("some\u200bbody", "AccessDenied"),
        ("some\u00a0body", "AccessDenied"),
        ("some\nbody", "AccessDenied"),
        ("  ", "ValidationError"),
    ],
    ids=ascii,
)
async def test_an_end_user_that_could_be_taken_for_another_is_refused(
    acting_for: Callable[..., Any], subject: str, code: str
) -> None:
    """A4: as the documentation of SubjectMode lists them."""
    session = await acting_for(subject)

    assert (await refusal(session.get_web_identity_token(**ASK, subject_mode="OriginIdentity"))).code == code


async def test_without_an_end_user_there_is_no_token_for_one(sts: STSClient, client: Client) -> None:
    """A4: keys of a user, and the session of a role that was assumed with them, act for themselves."""
    role = await sts.assume_role(role_arn=ROLE, role_session_name="me")

    for caller in (sts, client(credentials=role.credentials)):
        error = await refusal(caller.get_web_identity_token(**ASK, subject_mode="OriginIdentity"))
        assert error.code == "ValidationError"


async def test_an_end_user_with_a_space_inside_is_named(acting_for: Callable[..., Any]) -> None:
    session = await acting_for("Some Body")
    claims = claims_of(await session.get_web_identity_token(**ASK, subject_mode="OriginIdentity"))

    assert claims["sub"] == "Some Body"
