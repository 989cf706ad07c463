"""GetScopedCredentials: the same identity under new keys, with less of everything."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sts_async import errors, shapes
from sts_async.client import STSClient
from sts_async.errors import ServiceError
from sts_async.testing import LocalSTS, User

Client = Callable[..., STSClient]

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/path/demo"
POLICY = {"Version": "2012-10-17", "Statement": []}


async def refusal(call: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


@pytest.fixture
async def session(sts: STSClient, client: Client) -> STSClient:
    """A client as the session of a role, which ends after an hour."""
    issued = await sts.assume_role(
        role_arn=ROLE, role_session_name="me", source_identity="alice", tags=[shapes.Tag(key="team", value="blue")]
    )
    return client(credentials=issued.credentials)


async def test_the_identity_stays_that_of_the_caller(
    session: STSClient, client: Client, server: LocalSTS, clock: Any
) -> None:
    """A1: the same ARN and user id under new keys, the source identity and tags passed on."""
    caller = await session.get_caller_identity()
    response = await session.get_scoped_credentials(policy=POLICY, scoped_session_description="nightly\treport")

    assert response.session_info == shapes.ScopedSession(scoped_session_id=caller.user_id, arn=caller.arn)
    assert response.source_identity == "alice"
    assert response.scoped_policies_count == 1
    assert response.credentials.expiration == datetime.fromtimestamp(clock() + 3600, UTC)
    assert response.session_token_size == len(response.credentials.session_token)
    assert response.session_token_utilization == 10
    scoped = client(credentials=response.credentials)
    own = await scoped.get_caller_identity()
    assert own == caller
    holder = server.principal(response.credentials)
    assert holder is not None
    assert (holder.tags, holder.source_identity, holder.role_arn) == ({"team": "blue"}, "alice", ROLE)
    assert str(POLICY) not in repr(holder)
    info = await session.get_access_key_info(access_key_id=response.credentials.access_key_id)
    assert info.account == ACCOUNT
    assert await session.get_caller_identity() == caller


async def test_a_policy_or_a_duration_must_be_given(session: STSClient) -> None:
    """A1: both are optional, but one of them."""
    error = await refusal(session.get_scoped_credentials(minimum_session_token_size=0))

    assert error.code == "ValidationError"
    assert "At least one of Policy and DurationSeconds" in error.message


@pytest.mark.parametrize("root", [True, False])
async def test_long_term_keys_have_no_session_to_scope(client: Client, server: LocalSTS, root: bool) -> None:
    """A1: a user calls GetSessionToken first."""
    user = User("bob", root=root)
    server.declare(user)
    sts = client(credentials=user.credentials)

    for given in ({"policy": POLICY}, {"duration_seconds": 1}, {}):
        assert type(await refusal(sts.get_scoped_credentials(**given))) is errors.InvalidSubjectCredentialsException
    session = client(credentials=(await sts.get_session_token()).credentials)
    scoped = await session.get_scoped_credentials(policy=POLICY)
    assert scoped.session_info is not None
    assert scoped.session_info.arn == (await sts.get_caller_identity()).arn


async def test_a_federated_user_can_scope_its_session(sts: STSClient, client: Client) -> None:
    """Source: API reference, "credentials from an assumed role or a federated session"."""
    federated = client(credentials=(await sts.get_federation_token(name="bob")).credentials)
    scoped = client(credentials=(await federated.get_scoped_credentials(policy=POLICY)).credentials)

    assert (await scoped.get_caller_identity()).arn == f"arn:aws:sts::{ACCOUNT}:federated-user/bob"
    assert (await refusal(scoped.assume_role(role_arn=ROLE, role_session_name="me"))).code == "AccessDenied"


async def test_scoped_credentials_never_outlive_the_session(session: STSClient, client: Client, clock: Any) -> None:
    """A1: more than is left is refused; unasked, the expiration is inherited, also through two layers."""
    ends = datetime.fromtimestamp(clock() + 3600, UTC)
    clock.move(600)

    assert (await session.get_scoped_credentials(duration_seconds=3000)).credentials.expiration == ends
    for seconds in (3001, 129_600):
        error = await refusal(session.get_scoped_credentials(duration_seconds=seconds))
        assert type(error) is errors.InsufficientSessionLifetimeException
        assert (error.retryable, error.status) == (False, 400)
    short = (await session.get_scoped_credentials(policy=POLICY, duration_seconds=60)).credentials
    assert short.expiration == datetime.fromtimestamp(clock() + 60, UTC)
    scoped = client(credentials=short)
    assert (await scoped.get_scoped_credentials(policy=POLICY)).credentials.expiration == short.expiration
    error = await refusal(scoped.get_scoped_credentials(duration_seconds=61))
    assert type(error) is errors.InsufficientSessionLifetimeException
    clock.move(60)
    assert (await refusal(scoped.get_caller_identity())).code == "ExpiredToken"
    assert (await session.get_caller_identity()).account == ACCOUNT


async def test_at_most_three_policies_narrow_a_session(session: STSClient, client: Client) -> None:
    """A1: a fourth is denied; a shorter time without a policy counts for nothing, and is never too much."""
    counts: list[int | None] = []
    for given in ({"policy": POLICY}, {"duration_seconds": 60}, {"policy": POLICY}, {"policy": POLICY}):
        response = await session.get_scoped_credentials(**given)  # type: ignore[arg-type]
        counts.append(response.scoped_policies_count)
        session = client(credentials=response.credentials)

    assert counts == [1, 1, 2, 3]
    error = await refusal(session.get_scoped_credentials(policy=POLICY))
    assert (error.code, error.status) == ("AccessDenied", 403)
    assert "at most 3" in error.message
    assert (await session.get_scoped_credentials(duration_seconds=1)).scoped_policies_count == 3


async def test_all_policies_must_fit_into_the_token(session: STSClient, client: Client) -> None:
    """Each layer adds to it; a policy that is not one is refused as everywhere."""
    long = {"Sid": "x" * 2000}
    first = await session.get_scoped_credentials(policy=long)
    scoped = client(credentials=first.credentials)

    assert (first.session_token_size or 0) > 2000
    assert type(await refusal(scoped.get_scoped_credentials(policy=long))) is errors.PackedPolicyTooLargeException
    padded = await scoped.get_scoped_credentials(policy=POLICY, minimum_session_token_size=4096)
    assert (padded.session_token_size, padded.session_token_utilization) == (4096, 100)
    assert type(await refusal(session.get_scoped_credentials(policy="["))) is errors.MalformedPolicyDocumentException


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"policy": ""}, " at 'policy' failed to satisfy constraint"),
        ({"policy": "x" * 2049}, "1 validation error detected: Value 'xxx"),  # the client cuts long messages
        ({"duration_seconds": 0}, " at 'durationSeconds' failed to satisfy constraint"),
        ({"duration_seconds": 129_601}, " at 'durationSeconds' failed to satisfy constraint"),
        (
            {"duration_seconds": 1, "scoped_session_description": "x"},
            " at 'scopedSessionDescription' failed to satisfy constraint",
        ),
        (
            {"duration_seconds": 1, "scoped_session_description": "a\u00a0b"},
            " at 'scopedSessionDescription' failed to satisfy constraint",
        ),
        (
            {"duration_seconds": 1, "minimum_session_token_size": 4097},
            " at 'minimumSessionTokenSize' failed to satisfy constraint",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_the_constraints_of_the_model_are_kept(session: STSClient, given: dict[str, Any], rule: str) -> None:
    error = await refusal(session.get_scoped_credentials(**given))

    assert error.code == "ValidationError"
    assert rule in error.message


async def test_the_session_of_a_root_task_cannot_be_scoped(sts: STSClient, client: Client) -> None:
    """Source: API reference, "You cannot call it with IAM user credentials or root credentials"."""
    task = shapes.PolicyDescriptorType(arn=shapes.ROOT_TASK_POLICIES[0])
    issued = await sts.assume_root(target_principal="111122223333", task_policy_arn=task)
    root = client(credentials=issued.credentials)

    assert (await refusal(root.get_scoped_credentials(duration_seconds=1))).code == "AccessDenied"
