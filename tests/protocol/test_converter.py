import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import element_of, structure, tree_of

from sts_async import shapes
from sts_async._protocol.converter import UNREADABLE, explain, unstructure
from sts_async._protocol.timestamps import timestamp
from sts_async._shape.secret import Secret

ARN = "arn:aws:iam::123456789012:role/demo"
KEYS = {"AccessKeyId": "A", "SecretAccessKey": "k", "SessionToken": "t", "Expiration": "2026-01-01T00:00:00Z"}
CREDENTIALS = shapes.TemporaryCredentials(
    access_key_id="A", secret_access_key="k", session_token="t", expiration=datetime(2026, 1, 1, tzinfo=UTC)
)
LEGAL = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"], exclude_characters="\ufffe\uffff"), max_size=8
)


# Times


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_that_is_written_reads_back(when: datetime) -> None:
    """To the second, as STS writes it; never later than it is."""
    written = unstructure(shapes.GetWebIdentityTokenResponse(web_identity_token="jwt", expiration=when))["Expiration"]

    assert timestamp(written) == when.replace(microsecond=0)
    assert written.endswith("Z")


# Reading


@given(st.integers())
def test_an_integer_is_read(number: int) -> None:
    found = structure(element_of({"Credentials": KEYS, "PackedPolicySize": number}), shapes.AssumeRoleResponse)

    assert found.packed_policy_size == number


@pytest.mark.parametrize(
    "value", ["1.5", "", " ", "x", "1e3", "1_0", "\u0661", "True", {"a": "1"}, "9" * 5000], ids=lambda v: str(v)[:9]
)
def test_an_element_without_an_integer_is_refused(value: Any) -> None:
    with pytest.raises(UNREADABLE):
        structure(element_of({"Credentials": KEYS, "PackedPolicySize": value}), shapes.AssumeRoleResponse)


def test_secrets_are_wrapped_when_they_are_read() -> None:
    """T14: from the first moment on."""
    found = structure(element_of(KEYS), shapes.TemporaryCredentials)

    assert type(found.secret_access_key) is Secret
    assert type(found.session_token) is Secret
    assert type(found.access_key_id) is str
    assert found == CREDENTIALS


@pytest.mark.parametrize(
    "tree",
    [
        *("", "text", {}, {"Credentials": ""}, {"Credentials": "text"}, {"Credentials": [KEYS, KEYS]}),
        {"Credentials": {**KEYS, "AccessKeyId": ["A", "A"]}},
        {"Credentials": {**KEYS, "AccessKeyId": {"x": "A"}}},
        {"Credentials": {**KEYS, "AccessKeyId": ""}},
        {"Credentials": KEYS, "SourceIdentity": ["a", "a"]},
        {"Credentials": KEYS, "AssumedRoleUser": "text"},
    ],
    ids=repr,
)
def test_an_element_that_does_not_fit_is_unreadable(tree: Any) -> None:
    """Every way in which it fails is one of those that the caller catches."""
    with pytest.raises(UNREADABLE):
        structure(element_of(tree), shapes.AssumeRoleResponse)


NAMES = [*KEYS, "Credentials", "AssumedRoleUser", "Arn", "PackedPolicySize", "SourceIdentity", "metadata", "Other"]
TREES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["", " ", "1", "text", "2026-01-01T00:00:00Z"]) | st.just(KEYS),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner | st.lists(inner, min_size=2, max_size=2), min_size=1),
)


@given(TREES, st.booleans())
def test_any_element_is_read_or_explained(tree: Any, with_metadata: bool) -> None:
    """No other exception can come out; and what cannot be read is explained by a member of the shape."""
    metadata = {"metadata": shapes.ResponseMetadata(attempts=7)} if with_metadata else {}
    element = element_of(tree)
    try:
        found = structure(element, shapes.AssumeRoleResponse, **metadata)
    except UNREADABLE:
        reason = explain(element, shapes.AssumeRoleResponse, "Result")
        path, _, fault = reason.partition(" is ")
        words = path.split(".")
        assert fault in ("missing", "unreadable", "empty")
        assert words[0] == "Result"
        assert {*words[1:]} <= {*KEYS, *(m.wire for m in shapes.AssumeRoleResponse.__members__), "AssumedRoleId", "Arn"}
    else:
        assert found.metadata.attempts == (7 if with_metadata else 1)
        assert {*unstructure(found)} == {*tree_of(element)} & {m.wire for m in found.__members__}


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({}, "Result.Credentials is missing"),
        ({"Credentials": {**KEYS, "SessionToken": ""}}, "Result.Credentials.SessionToken is empty"),
        ({"Credentials": {**KEYS, "Expiration": ""}}, "Result.Credentials.Expiration is unreadable"),
        ({"Credentials": {**KEYS, "AccessKeyId": ["", ""]}}, "Result.Credentials.AccessKeyId is unreadable"),
        ({"Credentials": {**KEYS, "AccessKeyId": {"x": ""}}}, "Result.Credentials.AccessKeyId is unreadable"),
        ({"Credentials": [KEYS, KEYS]}, "Result.Credentials is unreadable"),
        ({"Credentials": KEYS, "AssumedRoleUser": "text"}, "Result.AssumedRoleUser is unreadable"),
        ({"Credentials": KEYS, "AssumedRoleUser": {"Arn": {"x": ""}}}, "Result.AssumedRoleUser.Arn is unreadable"),
        ({"Credentials": KEYS, "SourceIdentity": "", "PackedPolicySize": ""}, "Result.PackedPolicySize is unreadable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_explanation_names_the_member(tree: Any, reason: str) -> None:
    """The first that keeps the shape from being made, in the order of the API model."""
    assert explain(element_of(tree), shapes.AssumeRoleResponse, "Result") == reason


def test_an_element_without_a_fault_is_explained_in_general() -> None:
    """`explain` is asked only after a failure: it never says that there is none."""
    assert explain(element_of(KEYS), shapes.TemporaryCredentials, "Result") == "Result is unreadable"


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
    assert structure(element_of(written), shapes.Credentials) == shapes.Credentials(
        access_key_id="A", secret_access_key="k"
    )


@given(
    st.builds(
        shapes.AssumeRoleResponse,
        credentials=st.just(CREDENTIALS),
        assumed_role_user=st.none() | st.builds(shapes.AssumedRoleUser, arn=LEGAL, assumed_role_id=LEGAL),
        packed_policy_size=st.none() | st.integers(),
        source_identity=st.none() | LEGAL,
    )
)
def test_a_response_that_is_written_reads_back(response: shapes.AssumeRoleResponse) -> None:
    """What is written is JSON, and has the names of the API."""
    written = unstructure(response)

    assert structure(element_of(written), shapes.AssumeRoleResponse) == response
    assert json.loads(json.dumps(written)) == written
