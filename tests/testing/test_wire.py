"""Forms in, XML out."""

from typing import Any
from urllib.parse import quote

import pytest
from lxml import etree

from sts_async import shapes
from sts_async._protocol import query
from sts_async._shape.secret import SecretBytes
from sts_async.operations import ASSUME_ROLE, ASSUME_ROOT
from sts_async.testing import wire
from sts_async.testing.refusals import Refusal
from sts_async.testing.verify import Received

ARN = "arn:aws:iam::123456789012:role/demo"


def form_of(body: str, *, query: str = "", path: str = "/") -> dict[str, Any]:
    return wire.read_form(Received("POST", path, query, {}, SecretBytes(body.encode())))


def assume_role(extra: str) -> Any:
    return wire.read_request(ASSUME_ROLE, form_of(f"RoleArn={ARN}&RoleSessionName=me&{extra}"))


def test_a_request_comes_back_as_it_was_sent() -> None:
    """The two sides of the protocol are inverse to each other, lists and odd characters included."""
    request = shapes.AssumeRoleRequest(
        role_arn=ARN,
        role_session_name="me",
        policy_arns=[shapes.PolicyDescriptorType(arn=f"{ARN}/{n}") for n in range(10)],
        policy={"a": "&=+% \u00ff"},
        duration_seconds=900,
        tags=[shapes.Tag(key="ключ", value="a b"), shapes.Tag(key="b", value="")],
        transitive_tag_keys=["b"],
        provided_contexts=[shapes.ProvidedContext(provider_arn=ARN, context_assertion="abcd")],
    )

    form = form_of(query.encode(ASSUME_ROLE, request, validate=False).decode())
    assert wire.read_request(ASSUME_ROLE, form) == request


def test_a_plus_and_a_percent_encoded_space_are_both_a_space() -> None:
    assert assume_role("Tags.member.1.Key=a+b&Tags.member.1.Value=c%20d").tags == (shapes.Tag(key="a b", value="c d"),)


def test_parameters_come_from_url_and_body() -> None:
    assert form_of("b=2", query="a=1") == {"a": "1", "b": "2"}


def test_an_empty_list_is_no_list() -> None:
    """That is how botocore sends an empty list."""
    assert assume_role("Tags=").tags == ()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("Action=GetCallerIdentity&Action=AssumeRole", "MalformedQueryString"),
        ("a=1&a=1", "MalformedQueryString"),
        ("a=1&a.b=1", "MalformedQueryString"),
        ("a.b=1&a=1", "MalformedQueryString"),
        ("a=%ff", "MalformedQueryString"),
    ],
)
def test_a_form_says_everything_once_and_in_utf8(body: str, code: str) -> None:
    """T6: what was smuggled into a value never becomes a second action."""
    with pytest.raises(Refusal) as caught:
        form_of(body)

    assert caught.value.code == code


def test_a_url_is_percent_encoded() -> None:
    with pytest.raises(Refusal, match="percent-encoded"):
        form_of("", query="a=\udcff")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "MissingAction"),
        ("Action.a=1", "MissingAction"),
        ("Action=GetCallerIdentity", "InvalidAction"),
        ("Action=GetCallerIdentity&Version=2012-01-01", "InvalidAction"),
        ("Action=Fly&Version=2011-06-15", "InvalidAction"),
    ],
)
def test_an_action_must_be_one_of_this_version(body: str, code: str) -> None:
    with pytest.raises(Refusal) as caught:
        wire.operation_of(form_of(body))

    assert (caught.value.code, caught.value.status) == (code, 400)


@pytest.mark.parametrize(
    "extra",
    ["Tags=x", "Tags.member=x", "Tags.member.2.Key=a", "Tags.member.1=a", "Policy.a=1", "DurationSeconds.member.1=1"],
)
def test_a_parameter_of_another_structure_is_malformed(extra: str) -> None:
    with pytest.raises(Refusal) as caught:
        assume_role(extra)

    assert caught.value.code == "MalformedInput"


def test_every_broken_constraint_is_named_as_the_service_does_it() -> None:
    """D5: the path is that of the service's model."""
    with pytest.raises(Refusal) as caught:
        wire.read_request(
            ASSUME_ROLE,
            form_of(f"RoleArn={ARN}&RoleSessionName=SENT+INEL&DurationSeconds=soon&Tags.member.1.Value=v"),
        )

    assert caught.value.code == "ValidationError"
    assert caught.value.message == (
        "3 validation errors detected: Value 'SENT INEL' at 'roleSessionName' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: [\w+=,.@-]*; Value 'soon' at 'durationSeconds' failed to "
        "satisfy constraint: Member must be an integer; Value null at 'tags.1.member.key' failed to satisfy "
        "constraint: Member must not be null"
    )


def test_a_missing_structure_is_a_broken_constraint() -> None:
    with pytest.raises(
        Refusal, match=r"1 validation error detected: Value null at 'taskPolicyArn' .* must not be null"
    ):
        wire.read_request(ASSUME_ROOT, form_of("TargetPrincipal=123456789012"))


def test_what_is_not_known_is_passed_over() -> None:
    assert assume_role(quote("Näme") + "=1") == shapes.AssumeRoleRequest(role_arn=ARN, role_session_name="me")


@pytest.mark.parametrize("text", ["a<b>&c", "line\r\nend\ttab", "ünï\U0001f600", "]]>", "&amp;"])
def test_escaped_text_is_read_back_unchanged(text: str) -> None:
    assert etree.fromstring(f"<a>{wire.escape(text)}</a>").text == text


def test_characters_that_xml_does_not_have_are_replaced() -> None:
    assert wire.escape("a\x00\x1b\ud800\uffffb") == "a" + "\ufffd" * 4 + "b"


@pytest.mark.parametrize(("status", "fault"), [(400, "Sender"), (503, "Receiver")])
def test_a_refusal_says_whose_fault_it_is(status: int, fault: str) -> None:
    document = wire.write_refusal(Refusal("C", "m", status=status), request_id="r")

    assert f"<Error><Type>{fault}</Type><Code>C</Code><Message>m</Message></Error><RequestId>r" in document
