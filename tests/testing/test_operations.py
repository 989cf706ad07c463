"""All signed operations, through our own client and a socket; each error that they can end with."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from sts_async import errors, shapes
from sts_async.client import STSClient
from sts_async.errors import ServiceError
from sts_async.testing import Account, LocalSTS, Role, User

Client = Callable[..., STSClient]

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/path/demo"
DEVICE = f"arn:aws:iam::{ACCOUNT}:mfa/developer"


async def refusal(call: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


async def assume(sts: STSClient, role: str = ROLE, **more: Any) -> shapes.AssumeRoleResponse:
    return await sts.assume_role(role_arn=role, role_session_name="me", **more)


# -- AssumeRole ---------------------------------------------------------------------------------------------------


async def test_the_session_of_a_role_is_recognised(sts: STSClient, client: Client, clock: Any) -> None:
    response = await assume(sts)
    issued = response.credentials

    assert issued.access_key_id.startswith("ASIA")
    assert len(issued.access_key_id) == 20
    assert len(issued.secret_access_key) == 40
    assert len(issued.session_token) == response.session_token_size
    assert response.session_token_utilization == 9
    assert response.packed_policy_size is None
    assert issued.expiration == datetime.fromtimestamp(clock() + 3600, UTC)
    assert response.assumed_role_user is not None
    identity = await client(credentials=issued).get_caller_identity()
    assert identity.arn == response.assumed_role_user.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/demo/me"
    assert identity.user_id == response.assumed_role_user.assumed_role_id
    assert identity.account == ACCOUNT


async def test_a_role_has_the_same_id_each_time(sts: STSClient) -> None:
    first, second = await assume(sts), await assume(sts)

    assert first.assumed_role_user == second.assumed_role_user
    assert first.credentials != second.credentials


async def test_sessions_end(sts: STSClient, client: Client, clock: Any) -> None:
    session = client(credentials=(await assume(sts, duration_seconds=900)).credentials)
    await session.get_caller_identity()
    clock.move(901)

    assert (await refusal(session.get_caller_identity())).code == "ExpiredToken"


async def test_a_session_can_be_ended(sts: STSClient, client: Client, server: LocalSTS) -> None:
    issued = (await assume(sts)).credentials
    server.expire(issued)

    assert (await refusal(client(credentials=issued).get_caller_identity())).status == 403
    with pytest.raises(KeyError):
        server.expire(server.credentials)


async def test_roles_chain(sts: STSClient, client: Client, server: LocalSTS) -> None:
    """Source identity and transitive tags stay with the session, other tags do not."""
    tags = [shapes.Tag(key="team", value="blue"), shapes.Tag(key="day", value="1")]
    first = await assume(sts, tags=tags, transitive_tag_keys=["team"], source_identity="alice")
    chained = client(credentials=first.credentials)
    second = await assume(chained, f"arn:aws:iam::{ACCOUNT}:role/next", tags=[shapes.Tag(key="hour", value="2")])

    assert first.source_identity == second.source_identity == "alice"
    holder = server.principal(second.credentials)
    assert holder is not None
    assert holder.tags == {"team": "blue", "hour": "2"}
    assert holder.transitive_tag_keys == {"team"}
    assert (await refusal(assume(chained, tags=tags))).code == "ValidationError"
    assert (await refusal(assume(chained, source_identity="bob"))).code == "AccessDenied"
    await assume(chained, source_identity="alice", duration_seconds=3600)
    assert "role chaining" in (await refusal(assume(chained, duration_seconds=3601))).message


async def test_transitive_tags_must_be_given(sts: STSClient) -> None:
    assert (await refusal(assume(sts, transitive_tag_keys=["a"]))).code == "ValidationError"


async def test_a_declared_role_has_its_rules(sts: STSClient, server: LocalSTS) -> None:
    server.declare(Role(ROLE, external_id="ext-1"))

    assert (await refusal(assume(sts))).code == "AccessDenied"
    assert (await refusal(assume(sts, external_id="ext-2"))).code == "AccessDenied"
    await assume(sts, external_id="ext-1", duration_seconds=3600)
    longer = await refusal(assume(sts, external_id="ext-1", duration_seconds=3601))
    assert longer.code == "ValidationError"
    assert "MaxSessionDuration" in longer.message


@pytest.mark.parametrize(
    ("trusts", "trusted"),
    [
        ("*", True),
        (ACCOUNT, True),
        (f"arn:aws:iam::{ACCOUNT}:root", True),
        ([f"arn:aws:iam::{ACCOUNT}:user/developer", "111122223333"], True),
        ([f"arn:aws:iam::{ACCOUNT}:user/other"], False),
        ([], False),
    ],
)
async def test_a_role_trusts_whom_it_names(sts: STSClient, server: LocalSTS, trusts: Any, trusted: bool) -> None:
    server.declare(Role(ROLE, trusts=trusts))

    if trusted:
        await assume(sts)
    else:
        assert (await refusal(assume(sts))).code == "AccessDenied"


async def test_a_role_trusts_the_sessions_of_a_role(sts: STSClient, client: Client, server: LocalSTS) -> None:
    server.declare(Role(ROLE, trusts=f"arn:aws:iam::{ACCOUNT}:role/first"))
    first = await assume(sts, f"arn:aws:iam::{ACCOUNT}:role/first")

    await assume(client(credentials=first.credentials))


async def test_an_access_denied_error_names_caller_and_action_and_can_be_decoded(
    sts: STSClient, server: LocalSTS
) -> None:
    server.declare(Role(ROLE, trusts=[]))
    error = await refusal(assume(sts))

    user = f"arn:aws:iam::{ACCOUNT}:user/developer"
    assert error.message.startswith(f"User: {user} is not authorized to perform: sts:AssumeRole on resource: {ROLE}")
    encoded = error.encoded_authorization_message
    assert encoded is not None
    decoded = await sts.decode_authorization_message(encoded_message=encoded)
    context = json.loads(decoded.decoded_message)["context"]
    assert context["principal"]["arn"] == user
    assert (context["action"], context["resource"]) == ("sts:AssumeRole", ROLE)


async def test_only_declared_roles_exist_when_they_are_given(clock: Any) -> None:
    async with LocalSTS(clock=clock, roles=[Role(ROLE)]) as server, server.client() as sts:
        await assume(sts)

        assert (await refusal(assume(sts, f"{ROLE}2"))).code == "AccessDenied"


@pytest.mark.parametrize("arn", [f"arn:aws:iam::{ACCOUNT}:user/x", "arn:aws:iam::1234:role/demo", "role/" + "x" * 20])
async def test_a_role_has_the_arn_of_a_role(sts: STSClient, arn: str) -> None:
    assert (await refusal(assume(sts, arn))).code == "ValidationError"


async def test_mfa_is_asked_for(sts: STSClient, client: Client, server: LocalSTS) -> None:
    server.declare(Role(ROLE, mfa_required=True))

    assert (await refusal(assume(sts))).code == "AccessDenied"
    await assume(sts, serial_number=DEVICE, token_code="123456")
    plain = (await sts.get_session_token()).credentials
    proved = (await sts.get_session_token(serial_number=DEVICE, token_code="123456")).credentials
    assert (await refusal(assume(client(credentials=plain)))).code == "AccessDenied"
    await assume(client(credentials=proved))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"token_code": "654321", "serial_number": DEVICE}, "invalid MFA one time pass code"),
        ({"token_code": "123456", "serial_number": f"{DEVICE}2"}, "unable to validate"),
        ({"serial_number": DEVICE}, "must provide both"),
        ({"token_code": "123456"}, "must provide both"),
    ],
)
async def test_an_mfa_code_must_be_right(sts: STSClient, given: dict[str, str], text: str) -> None:
    for call in (assume(sts, **given), sts.get_session_token(**given)):
        error = await refusal(call)

        assert error.code == "AccessDenied"
        assert text in error.message


async def test_the_root_user_assumes_no_role(client: Client, server: LocalSTS) -> None:
    root = User("root", root=True)
    server.declare(root)

    assert "root accounts" in (await refusal(assume(client(credentials=root.credentials)))).message


@pytest.mark.parametrize("policy", ["[1]", "{", "[" * 100_000])
async def test_a_policy_is_a_json_object(sts: STSClient, policy: str) -> None:
    error = await refusal(assume(sts, policy=policy))

    assert type(error) is errors.MalformedPolicyDocumentException


async def test_policies_and_tags_must_fit_into_the_token(sts: STSClient) -> None:
    policy = json.dumps({"Sid": "x" * 4000})

    assert type(await refusal(assume(sts, policy=policy))) is errors.PackedPolicyTooLargeException
    response = await assume(
        sts,
        policy={"Statement": []},
        policy_arns=[shapes.PolicyDescriptorType(arn="arn:aws:iam::aws:policy/Read"), shapes.PolicyDescriptorType()],
        tags=[shapes.Tag(key="a", value="b")],
    )
    assert response.packed_policy_size == 2
    assert response.session_token_size == 352 + 16 + 28 + 2


async def test_a_token_can_be_padded(sts: STSClient) -> None:
    response = await assume(sts, minimum_session_token_size=4096)

    assert len(response.credentials.session_token) == response.session_token_size == 4096
    assert response.session_token_utilization == 100


async def test_all_broken_constraints_come_back(sts: STSClient) -> None:
    error = await refusal(sts.assume_role(role_arn="x", role_session_name="a b", duration_seconds=1))

    assert error.code == "ValidationError"
    assert error.message.startswith("3 validation errors detected: Value 'x' at 'roleArn' failed to satisfy constraint")


# -- the others ---------------------------------------------------------------------------------------------------


async def test_a_member_account_is_entered_for_a_task(sts: STSClient, client: Client, clock: Any) -> None:
    policy = shapes.PolicyDescriptorType(arn=shapes.ROOT_TASK_POLICIES[0])
    issued = await sts.assume_root(target_principal="111122223333", task_policy_arn=policy)
    await sts.assume_root(target_principal="arn:aws:iam::111122223333:root", task_policy_arn=policy, duration_seconds=0)
    root = client(credentials=issued.credentials)

    assert issued.credentials.expiration == datetime.fromtimestamp(clock() + 900, UTC)
    assert (await root.get_caller_identity()).arn == "arn:aws:iam::111122223333:root"
    assert (await refusal(root.get_session_token())).code == "AccessDenied"


async def test_a_member_account_must_be_known_and_the_task_too(clock: Any) -> None:
    policy = shapes.PolicyDescriptorType(arn=shapes.ROOT_TASK_POLICIES[0])
    member = Account("111122223333")
    async with LocalSTS(clock=clock, roles=[], accounts=[member]) as server, server.client() as sts:
        await sts.assume_root(target_principal=member.id, task_policy_arn=policy)

        for target, task, code in [
            ("222233334444", policy, "AccessDenied"),
            ("not-an-account", policy, "ValidationError"),
            (member.id, shapes.PolicyDescriptorType(arn="arn:aws:iam::aws:policy/Other"), "ValidationError"),
        ]:
            assert (await refusal(sts.assume_root(target_principal=target, task_policy_arn=task))).code == code


async def test_a_message_is_decoded(sts: STSClient, server: LocalSTS) -> None:
    encoded = server.encode_authorization_message({"allowed": False})

    assert (await sts.decode_authorization_message(encoded_message=encoded)).decoded_message == '{"allowed":false}'


@pytest.mark.parametrize(
    "spoil", [lambda m: "é", lambda m: "?", lambda m: m[:-8], lambda m: ("B" if m[0] == "A" else "A") + m[1:]]
)
async def test_only_our_messages_are_decoded(sts: STSClient, server: LocalSTS, spoil: Callable[[str], str]) -> None:
    message = spoil(server.encode_authorization_message({"allowed": False}))

    error = await refusal(sts.decode_authorization_message(encoded_message=message))
    assert type(error) is errors.InvalidAuthorizationMessageException


async def test_the_account_of_a_key_is_known(sts: STSClient, server: LocalSTS) -> None:
    issued = (await assume(sts)).credentials

    for key in (issued.access_key_id, server.credentials.access_key_id):
        assert (await sts.get_access_key_info(access_key_id=key)).account == ACCOUNT
    unknown = await refusal(sts.get_access_key_info(access_key_id="AKIAIOSFODNN7EXAMPLE"))
    assert unknown.code == "ValidationError"


async def test_callers_have_the_arns_of_their_kind(client: Client, server: LocalSTS) -> None:
    bob, root = User("bob", account="111122223333"), User("", root=True)
    server.declare(bob, root)

    identity = await client(credentials=bob.credentials).get_caller_identity()
    assert (identity.arn, identity.account) == ("arn:aws:iam::111122223333:user/bob", "111122223333")
    assert identity.user_id.startswith("AIDA")
    identity = await client(credentials=root.credentials).get_caller_identity()
    assert (identity.arn, identity.user_id) == (f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)


async def test_arns_are_of_the_partition_of_the_region() -> None:
    async with LocalSTS(region="cn-north-1") as server, server.client() as sts:
        assert (await sts.get_caller_identity()).arn == f"arn:aws-cn:iam::{ACCOUNT}:user/developer"


async def test_a_trade_in_token_is_exchanged(sts: STSClient, client: Client, server: LocalSTS, clock: Any) -> None:
    token = server.trade_in_token(ROLE, seconds=60)
    response = await sts.get_delegated_access_token(trade_in_token=token)

    assert response.assumed_principal == f"arn:aws:sts::{ACCOUNT}:assumed-role/demo/delegated"
    identity = await client(credentials=response.credentials).get_caller_identity()
    assert identity.arn == response.assumed_principal
    clock.move(60)
    expired = await refusal(sts.get_delegated_access_token(trade_in_token=token))
    assert type(expired) is errors.ExpiredTradeInTokenException
    other = server.encode_authorization_message({"role_arn": ROLE, "expires_at": 1e10})
    assert (await refusal(sts.get_delegated_access_token(trade_in_token=other))).code == "AccessDenied"
    with pytest.raises(ValueError, match="not the ARN of a role"):
        server.trade_in_token("demo")


async def test_a_federated_user_is_recognised(sts: STSClient, client: Client, clock: Any) -> None:
    response = await sts.get_federation_token(name="bob", policy={}, tags=[shapes.Tag(key="a", value="b")])

    assert response.federated_user == shapes.FederatedUser(
        federated_user_id=f"{ACCOUNT}:bob", arn=f"arn:aws:sts::{ACCOUNT}:federated-user/bob"
    )
    assert response.credentials.expiration == datetime.fromtimestamp(clock() + 43_200, UTC)
    federated = client(credentials=response.credentials)
    assert (await federated.get_caller_identity()).arn == f"arn:aws:sts::{ACCOUNT}:federated-user/bob"
    assert (await refusal(assume(federated))).code == "AccessDenied"


async def test_sessions_may_not_call_everything(sts: STSClient, client: Client) -> None:
    """Source: IAM User Guide, "Compare AWS STS credentials"."""
    role = client(credentials=(await assume(sts)).credentials)
    session = client(credentials=(await sts.get_session_token()).credentials)
    await assume(session)

    for caller in (role, session):
        assert (await refusal(caller.get_session_token())).code == "AccessDenied"
        assert (await refusal(caller.get_federation_token(name="bob"))).code == "AccessDenied"
    assert (await refusal(session.get_access_key_info(access_key_id="A" * 16))).code == "AccessDenied"


async def test_the_sessions_of_a_root_user_are_short(client: Client, server: LocalSTS, clock: Any) -> None:
    root = User("root", root=True)
    server.declare(root)
    sts = client(credentials=root.credentials)
    issued = (await sts.get_session_token()).credentials

    assert issued.expiration == datetime.fromtimestamp(clock() + 3600, UTC)
    await sts.get_session_token(duration_seconds=900)
    assert (await refusal(sts.get_session_token(duration_seconds=3601))).code == "ValidationError"
    assert "root accounts" in (await refusal(assume(client(credentials=issued)))).message


@pytest.mark.parametrize(("algorithm", "size"), [("RS256", 256), ("ES384", 96)])
async def test_a_jwt_says_who_calls(sts: STSClient, clock: Any, algorithm: str, size: int) -> None:
    response = await sts.get_web_identity_token(
        audience=["app"], signing_algorithm=algorithm, tags=[shapes.Tag(key="a", value="b")]
    )
    header, payload, signature = [
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in response.web_identity_token.split(".")
    ]
    claims = json.loads(payload)

    assert json.loads(header)["alg"] == algorithm
    assert len(signature) == size
    assert claims["sub"] == f"arn:aws:iam::{ACCOUNT}:user/developer"
    assert claims["aud"] == "app"
    assert claims["exp"] - claims["iat"] == 300
    assert claims["https://sts.amazonaws.com/"]["request_tags"] == {"a": "b"}
    assert response.expiration == datetime.fromtimestamp(clock() + 300, UTC)


async def test_a_jwt_of_a_session_is_of_its_role_and_no_longer(sts: STSClient, client: Client) -> None:
    session = client(credentials=(await assume(sts, duration_seconds=900)).credentials)
    ask = {"audience": ["a", "b"], "signing_algorithm": "RS256"}
    token = (await session.get_web_identity_token(duration_seconds=900, **ask)).web_identity_token
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))

    assert claims["sub"] == ROLE
    assert claims["aud"] == ["a", "b"]
    error = await refusal(session.get_web_identity_token(duration_seconds=901, **ask))
    assert type(error) is errors.SessionDurationEscalationException


async def test_a_jwt_has_a_greatest_size(sts: STSClient) -> None:
    tags = [shapes.Tag(key=f"{n}", value="x" * 256) for n in range(50)]
    error = await refusal(sts.get_web_identity_token(audience=["a"], signing_algorithm="RS256", tags=tags))

    assert type(error) is errors.JWTPayloadSizeExceededException


async def test_an_account_can_have_switched_things_off(clock: Any) -> None:
    home = Account(ACCOUNT, outbound_web_identity=False, disabled_regions="eu-south-1")
    async with LocalSTS(clock=clock, account=home, region="eu-south-1") as server, server.client() as sts:
        policy = shapes.PolicyDescriptorType(arn=shapes.ROOT_TASK_POLICIES[0])
        for call in (
            assume(sts),
            sts.get_session_token(),
            sts.get_federation_token(name="bob"),
            sts.assume_root(target_principal=ACCOUNT, task_policy_arn=policy),
            sts.get_delegated_access_token(trade_in_token=server.trade_in_token(ROLE)),
        ):
            assert type(await refusal(call)) is errors.RegionDisabledException
        error = await refusal(sts.get_web_identity_token(audience=["a"], signing_algorithm="RS256"))
        assert type(error) is errors.OutboundWebIdentityFederationDisabledException
        await assume(sts, "arn:aws:iam::111122223333:role/elsewhere")
        async with server.client(region="eu-west-1") as elsewhere:
            await assume(elsewhere)


async def test_invalid_declarations_are_an_error() -> None:
    server = LocalSTS()

    with pytest.raises(TypeError, match="takes Account, User, Role and ContextProvider, not str"):
        server.declare("arn:aws:iam::123456789012:role/demo")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not twelve digits"):
        Account("1234")
    with pytest.raises(ValueError, match="not the ARN of a role"):
        Role("demo")


async def test_a_user_shows_no_secret() -> None:
    user = User("bob", mfa_code="SENT")
    server = LocalSTS(users=[user])
    holder = server.principal(user.credentials)

    for text in (repr(user), repr(holder), repr(server)):
        assert "SENT" not in text
        assert user.credentials.secret_access_key not in text
    assert holder is not None
    assert attrs.asdict(holder, recurse=False)["user"] is user
    assert server.principal(attrs.evolve(user.credentials, access_key_id="AKIA")) is None  # type: ignore[misc]
