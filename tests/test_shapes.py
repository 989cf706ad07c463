import copy
import pickle
import pprint
import re
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from sts_async import shapes
from sts_async._shape.constraints import Member
from sts_async._shape.secret import Secret
from sts_async._shape.shape import Shape
from sts_async.errors import ConfigurationError
from sts_async.operations import OPERATIONS
from sts_async.sigv4 import sign

SENTINEL = "SENTINEL-18f0"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ABSTRACT = (Shape, shapes.Request, shapes.Response)
SHAPES = [
    cls for cls in vars(shapes).values() if isinstance(cls, type) and issubclass(cls, Shape) and cls not in ABSTRACT
]
each_shape = pytest.mark.parametrize("cls", SHAPES, ids=lambda cls: cls.__name__)
KEYS = {"access_key_id": "AKID", "secret_access_key": f"{SENTINEL}-key", "session_token": f"{SENTINEL}-token"}


def full(cls: Any) -> Any:
    """Return a shape with every member given, secret ones with a text to look for."""
    return cls(**{member.name: a_value(member) for member in cls.__members__})


def a_value(member: Member) -> Any:
    if member.kind is list:
        return [a_value(member.items)]
    if member.kind is shapes.FrozenMap:
        prefix = f"{SENTINEL}-key" if member.secret else "plain-key"
        return {prefix: f"{SENTINEL}-value" if member.secret else a_value(member.items)}
    if issubclass(member.kind, Shape):
        return full(member.kind)
    return {str: f"{SENTINEL}-{member.name}" if member.secret else f"plain-{member.name}", int: 7, datetime: NOW}[
        member.kind
    ]


def secrets_in(shape: Shape) -> Iterator[Any]:
    for member in shape.__members__:
        value = getattr(shape, member.name)
        if member.secret and isinstance(value, shapes.FrozenMap):
            yield from [*value.keys(), *value.values()]
        elif member.secret and not isinstance(value, Shape):
            yield value
        for inner in value if isinstance(value, tuple) else [value]:
            if isinstance(inner, Shape):
                yield from secrets_in(inner)


# Secrets


@each_shape
def test_no_way_of_printing_a_shape_shows_a_secret(cls: type[Shape]) -> None:
    """T14: each of them ends in a log one day, those that walk through the fields included."""
    made = full(cls)
    fields = attrs.asdict(made)  # type: ignore[call-overload]
    shown = [repr(made), str(made), f"{made}", f"{made!r:>9}", "%s" % made, "%r" % (made,), format(made)]  # noqa: UP031
    shown += [pprint.pformat(made), pprint.pformat(fields), repr(fields), repr(attrs.astuple(made))]  # type: ignore[arg-type]
    shown += [repr([made]), repr({"response": made}), f"{(made,)}"]

    assert [text for text in shown if SENTINEL in text] == []
    assert [secret for secret in secrets_in(made) if type(secret) is not Secret] == []
    assert all(cls.__name__ in text for text in shown[:7])


@each_shape
def test_what_is_not_secret_is_printed(cls: type[Shape]) -> None:
    """A redaction of everything would pass the test above, and help nobody; the key's id may be shown."""
    made = full(cls)

    for member in cls.__members__:
        assert f"{member.name}=" in repr(made)
        if member.kind is str and not member.secret:
            assert f"{member.name}='plain-{member.name}'" in repr(made)


def test_some_shapes_have_secrets() -> None:
    """So the tests above have something to find."""
    found = {cls.__name__: len([*secrets_in(full(cls))]) for cls in SHAPES}

    assert found["TemporaryCredentials"] == found["Credentials"] == 2
    assert found["AssumeRoleResponse"] == 2
    assert found["AssumeRoleRequest"] == 2
    assert found["AssumeRoleWithSAMLRequest"] == found["AssumeRoleWithWebIdentityRequest"] == 1
    assert found["DecodeAuthorizationMessageRequest"] == found["DecodeAuthorizationMessageResponse"] == 1
    assert found["OriginIdentity"] == 4
    assert found["TransactionContext"] == 2
    assert found["AssumeRoleWithWebIdentityResponse"] == found["AssumeRoleWithSAMLResponse"] == 2 + 4 + 2
    assert found["GetDelegatedAccessTokenRequest"] == found["GetWebIdentityTokenResponse"] == 1


def test_of_a_trusted_identity_propagation_context_nothing_is_shown() -> None:
    """A5: the model marks it as a whole: not even which members it has, how many entries, or their keys."""
    response = full(shapes.AssumeRoleWithWebIdentityResponse)
    context = response.trusted_identity_propagation_context
    assert context.transaction_context.identity_provider == {f"{SENTINEL}-key": f"{SENTINEL}-value"}

    assert "trusted_identity_propagation_context='***'" in repr(response)
    assert repr(context) == "TrustedIdentityPropagationContext(origin_identity='***', transaction_context='***')"
    assert repr(context.transaction_context) == "TransactionContext(identity_provider='***')"
    assert {*re.findall(r"'(.*?)'", repr(context.origin_identity))} == {"***"}
    for found in (context.transaction_context.identity_provider, dict(context.transaction_context.identity_provider)):
        assert SENTINEL not in repr(found)
    assert not isinstance(context.transaction_context.identity_provider, Mapping)
    assert context._has_secret()


def test_a_traceback_with_local_variables_shows_no_secret() -> None:
    """T16: error trackers collect them."""
    made = [full(cls) for cls in SHAPES]

    def fail(held: list[Any]) -> None:
        inner = held[0]
        raise ValueError(type(inner))

    with pytest.raises(ValueError) as caught:
        fail(made)

    shown = "".join(traceback.TracebackException(caught.type, caught.value, caught.tb, capture_locals=True).format())
    assert "held = [" in shown
    assert SENTINEL not in "".join(line for line in shown.splitlines() if "SENTINEL = " not in line)


# Values


@each_shape
def test_shapes_pickle_and_copy_and_stay_redacted(cls: type[Shape]) -> None:
    """T18: workers pass credentials on."""
    made = full(cls)

    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(made, protocol)) == made
    for same in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert same == made
        assert hash(same) == hash(made)
        assert repr(same) == repr(made)
        assert [type(secret) for secret in secrets_in(same)] == [Secret for _ in secrets_in(made)]


@each_shape
def test_shapes_are_frozen_and_hashable(cls: type[Shape]) -> None:
    """Requests are keys; responses are shared by many waiting callers."""
    made: Any = full(cls)

    assert {made: 1}[full(cls)] == 1
    for name in [member.name for member in cls.__members__] + ["new"]:
        with pytest.raises(AttributeError):
            setattr(made, name, None)
    assert not hasattr(made, "__dict__")


@each_shape
def test_every_member_counts_when_shapes_are_compared(cls: Any) -> None:
    """T42: two requests that differ in anything are two requests."""
    made = full(cls)

    for member in cls.__members__:
        other = attrs.evolve(made, **{member.name: () if member.kind is list else "else"})

        assert other != made, member.name
        assert len({made, other}) == 2


def test_requests_of_different_operations_are_never_equal() -> None:
    """Even when they have the same members, or none."""
    requests = [full(operation.request) for operation in OPERATIONS]

    assert len({*requests}) == len(requests)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_metadata_is_not_compared_and_not_printed(operation: Any) -> None:
    """Two equal answers are equal, whenever they came; headers may hold anything."""
    plain = full(operation.response)
    metadata = shapes.ResponseMetadata(request_id=f"{SENTINEL}-id", headers={"x": f"{SENTINEL}-header"}, attempts=2)
    marked = attrs.evolve(plain, metadata=metadata)

    assert plain == marked
    assert hash(plain) == hash(marked)
    assert SENTINEL not in repr(marked)
    assert marked.metadata is metadata
    assert pickle.loads(pickle.dumps(marked)).metadata == metadata


def test_metadata_prints_no_headers() -> None:
    """They can carry tokens of proxies."""
    metadata = shapes.ResponseMetadata(request_id="id", headers={"x": SENTINEL})

    assert repr(metadata) == "ResponseMetadata(request_id='id', status=200, attempts=1)"
    assert hash(metadata) == hash(shapes.ResponseMetadata(request_id="id"))
    assert metadata != shapes.ResponseMetadata(request_id="id")


# Names on the wire


def test_wire_names_follow_one_rule_but_for_two() -> None:
    """``role_arn`` is RoleArn; the exceptions are written where they occur."""
    odd = {
        f"{cls.__name__}.{member.name}": member.wire
        for cls in SHAPES
        for member in cls.__members__
        if member.wire != member.name.title().replace("_", "")
    }

    assert odd == {"PolicyDescriptorType.arn": "arn", "AssumeRoleWithSAMLRequest.saml_assertion": "SAMLAssertion"}


def test_task_policies_are_under_one_path() -> None:
    """AssumeRoot takes these and no others, so far."""
    names = [arn.removeprefix("arn:aws:iam::aws:policy/root-task/") for arn in shapes.ROOT_TASK_POLICIES]

    assert names == [
        "IAMAuditRootUserCredentials",
        "IAMCreateRootUserPassword",
        "IAMDeleteRootUserCredentials",
        "S3UnlockBucketPolicy",
        "SQSUnlockQueuePolicy",
    ]


# Convenience


def test_a_policy_can_be_a_mapping() -> None:
    """Sent as compact text, so that it counts for as little as possible."""
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "é"}]}
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"\\u00e9"}]}'

    requests = [
        shapes.AssumeRoleRequest(role_arn="a", role_session_name="b", policy=policy),
        shapes.AssumeRoleWithSAMLRequest(role_arn="a", principal_arn="b", saml_assertion="c", policy=policy),
        shapes.AssumeRoleWithWebIdentityRequest(
            role_arn="a", role_session_name="b", web_identity_token="c", policy=policy
        ),
        shapes.GetFederationTokenRequest(name="a", policy=policy),
        shapes.GetScopedCredentialsRequest(policy=policy),
    ]
    assert [request.policy for request in requests] == [text] * 5
    assert len({*requests}) == 5


def test_lists_become_tuples() -> None:
    """The caller's list can change later; the request cannot."""
    tags, keys = [shapes.Tag(key="k", value="v")], {"k"}
    request = shapes.AssumeRoleRequest(role_arn="a", role_session_name="b", tags=tags, transitive_tag_keys=keys)  # type: ignore[arg-type]
    tags.clear()

    assert request.tags == (shapes.Tag(key="k", value="v"),)
    assert request.transitive_tag_keys == ("k",)
    assert request.policy_arns == ()


def test_a_missing_or_unknown_member_is_a_type_error() -> None:
    """At the place of the mistake."""
    with pytest.raises(TypeError, match="role_session_name"):
        shapes.AssumeRoleRequest(role_arn="a")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="rolearn"):
        shapes.AssumeRoleRequest(role_arn="a", role_session_name="b", rolearn="c")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        shapes.TemporaryCredentials(access_key_id="a", secret_access_key="b")  # type: ignore[call-arg]


# Credentials


def test_the_credentials_that_sts_returns_can_sign() -> None:
    """They are handed to another client as they are."""
    issued = shapes.TemporaryCredentials(**KEYS, expiration=NOW)
    written = shapes.Credentials(**KEYS, expiration=NOW)

    assert isinstance(issued, shapes.Credentials)
    signed = [
        sign(keys, method="GET", url="https://h/", headers={}, service="sts", region="r", at=NOW)
        for keys in (issued, written)
    ]
    assert signed[0] == signed[1]


@pytest.mark.parametrize(
    ("expiration", "expired"),
    [
        (None, False),
        (NOW, True),
        (NOW - timedelta(seconds=1), True),
        (NOW + timedelta(microseconds=1), False),
        (NOW.astimezone(timezone(timedelta(hours=9))), True),
    ],
)
def test_credentials_are_expired_from_their_expiration_on(expiration: datetime | None, expired: bool) -> None:
    """T48: whatever zone either time is in; without an expiration they never are."""
    credentials = shapes.Credentials(**KEYS, expiration=expiration)

    assert credentials.is_expired(now=NOW) is expired
    assert credentials.is_expired(now=NOW.astimezone(timezone(timedelta(hours=-5)))) is expired


@pytest.mark.parametrize("cls", [shapes.Credentials, shapes.TemporaryCredentials])
@pytest.mark.parametrize("name", ["access_key_id", "secret_access_key", "session_token"])
@pytest.mark.parametrize(
    "value", [5, b"SENTINEL", ["SENTINEL"], {"SENTINEL": 1}], ids=lambda value: type(value).__name__
)
def test_a_key_that_is_no_text_is_refused_at_once(cls: Any, name: str, value: Any) -> None:
    """E4: the member is named; neither it nor the others are shown, also not by the frames of the error."""
    keys = {"access_key_id": "SENTINEL-id", "secret_access_key": "SENTINEL-key", "session_token": "SENTINEL-token"}
    keys |= {name: value} | ({} if name == "access_key_id" else {"access_key_id": "AKID"})

    with pytest.raises(ConfigurationError) as caught:
        cls(expiration=datetime(2030, 1, 1, tzinfo=UTC), **keys)

    assert str(caught.value) == f"{name} of {cls.__name__} must be text, not a {type(value).__name__}"
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack[1:]
    assert frames
    assert not [frame for frame in frames if "SENTINEL" in str(frame.locals)]


@pytest.mark.parametrize("name", ["access_key_id", "secret_access_key"])
def test_a_key_of_an_unset_variable_is_refused_at_once(name: str) -> None:
    """E4: `os.environ.get` returns None, and a call would fail long after that."""
    keys: dict[str, Any] = {"access_key_id": "AKID", "secret_access_key": "k", name: None}

    with pytest.raises(ConfigurationError, match=f"^{name} of Credentials must be text, not None: is the variable set"):
        shapes.Credentials(**keys)
    assert shapes.Credentials(access_key_id="AKID", secret_access_key="k").session_token is None
