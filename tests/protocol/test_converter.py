import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async import shapes
from sts_async._protocol.converter import UNREADABLE, explain, structure, unstructure
from sts_async._protocol.timestamps import timestamp
from sts_async._shape.secret import Secret

ARN = "arn:aws:iam::123456789012:role/demo"
KEYS = {"AccessKeyId": "A", "SecretAccessKey": "k", "SessionToken": "t", "Expiration": "2026-01-01T00:00:00Z"}
CREDENTIALS = shapes.TemporaryCredentials(
    access_key_id="A", secret_access_key="k", session_token="t", expiration=datetime(2026, 1, 1, tzinfo=UTC)
)


# Times


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_that_is_written_reads_back(when: datetime) -> None:
    """To the second, as STS writes it; never later than it is."""
    written = unstructure(shapes.GetWebIdentityTokenResponse(web_identity_token="jwt", expiration=when))["Expiration"]

    assert timestamp(written) == when.replace(microsecond=0)
    assert written.endswith("Z")


# Reading


@given(
    st.none()
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.lists(st.text())
    | st.dictionaries(st.text(), st.text())
)
def test_what_is_not_text_does_not_become_text(value: Any) -> None:
    """A null would become a key named "None", and a list its own printed form."""
    with pytest.raises(UNREADABLE):
        structure({**KEYS, "AccessKeyId": value}, shapes.TemporaryCredentials)


@given(st.integers())
def test_an_integer_is_read_from_text_and_from_json(number: int) -> None:
    for value in (number, str(number)):
        found = structure({"Credentials": KEYS, "PackedPolicySize": value}, shapes.AssumeRoleResponse)

        assert found.packed_policy_size == number


@pytest.mark.parametrize(
    "value", [True, 1.5, "1.5", "", " ", "x", "1e3", [1], {"a": 1}, "9" * 5000], ids=lambda v: str(v)[:9]
)
def test_what_is_no_integer_is_refused(value: Any) -> None:
    with pytest.raises(UNREADABLE):
        structure({"Credentials": KEYS, "PackedPolicySize": value}, shapes.AssumeRoleResponse)


def test_secrets_are_wrapped_when_they_are_read() -> None:
    """T14: from the first moment on."""
    found = structure(KEYS, shapes.TemporaryCredentials)

    assert type(found.secret_access_key) is Secret
    assert type(found.session_token) is Secret
    assert found == CREDENTIALS


@pytest.mark.parametrize(
    "tree", [None, "", "text", [], [KEYS], 5, {"Credentials": None}, {"Credentials": [KEYS]}], ids=repr
)
def test_a_tree_that_does_not_fit_is_unreadable(tree: Any) -> None:
    """Every way in which it fails is one of those that the reader catches."""
    with pytest.raises(UNREADABLE):
        structure(tree, shapes.AssumeRoleResponse)


TREES = st.recursive(
    st.none() | st.text(max_size=3) | st.integers() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from([*KEYS, "Credentials", "AssumedRoleUser", "Arn", "PackedPolicySize"]), inner)
    ),
)


@given(TREES, st.booleans())
def test_any_tree_is_read_or_explained(tree: Any, with_metadata: bool) -> None:
    """No other exception can come out; and what cannot be read is explained by a member of the shape."""
    metadata = shapes.ResponseMetadata() if with_metadata else None
    try:
        structure(tree, shapes.AssumeRoleResponse, metadata=metadata)
    except UNREADABLE:
        reason = explain(tree, shapes.AssumeRoleResponse, "Result")
        path, _, fault = reason.partition(" is ")
        words = path.split(".")
        assert fault in ("missing", "unreadable", "empty")
        assert words[0] == "Result"
        assert {*words[1:]} <= {*KEYS, *(m.wire for m in shapes.AssumeRoleResponse.__members__), "AssumedRoleId", "Arn"}


def test_a_tree_without_a_fault_is_explained_in_general() -> None:
    """`explain` is asked only after a failure: it never says that there is none."""
    assert explain(KEYS, shapes.TemporaryCredentials, "Result") == "Result is unreadable"


# Writing


def test_a_shape_becomes_a_dict_by_wire_names() -> None:
    """Lists and nested shapes too, and nothing that is absent."""
    request = shapes.AssumeRoleRequest(
        role_arn=ARN,
        role_session_name="me",
        tags=[shapes.Tag(key="k", value="")],
        policy_arns=[shapes.PolicyDescriptorType(arn=ARN)],
        transitive_tag_keys=["k"],
        provided_contexts=[shapes.ProvidedContext(provider_arn=ARN)],
        duration_seconds=0,
    )

    assert unstructure(request) == {
        "RoleArn": ARN,
        "RoleSessionName": "me",
        "Tags": [{"Key": "k", "Value": ""}],
        "PolicyArns": [{"arn": ARN}],
        "TransitiveTagKeys": ["k"],
        "ProvidedContexts": [{"ProviderArn": ARN}],
        "DurationSeconds": 0,
    }


def test_a_response_is_written_without_what_stands_beside_it() -> None:
    """Metadata is no member of the API."""
    response = shapes.AssumeRoleResponse(credentials=CREDENTIALS, metadata=shapes.ResponseMetadata(request_id="x"))

    assert unstructure(response) == {"Credentials": KEYS}
    assert json.loads(json.dumps(unstructure(response))) == {"Credentials": KEYS}


def test_static_credentials_are_written_without_what_they_lack() -> None:
    written = unstructure(shapes.Credentials(access_key_id="A", secret_access_key="k"))

    assert written == {"AccessKeyId": "A", "SecretAccessKey": "k"}
    assert structure(written, shapes.Credentials) == shapes.Credentials(access_key_id="A", secret_access_key="k")


@given(
    st.builds(
        shapes.AssumeRoleResponse,
        credentials=st.just(CREDENTIALS),
        assumed_role_user=st.none() | st.builds(shapes.AssumedRoleUser, arn=st.text(), assumed_role_id=st.text()),
        packed_policy_size=st.none() | st.integers(),
        source_identity=st.none() | st.text(),
    )
)
def test_a_response_that_is_written_reads_back(response: shapes.AssumeRoleResponse) -> None:
    """Through JSON too, for caches and for other processes."""
    assert structure(unstructure(response), shapes.AssumeRoleResponse) == response
    assert structure(json.loads(json.dumps(unstructure(response))), shapes.AssumeRoleResponse) == response
