import enum
import traceback
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sts_async import shapes
from sts_async._protocol.query import encode
from sts_async._shape.constraints import Member
from sts_async._shape.secret import SecretBytes
from sts_async._shape.shape import Shape
from sts_async.errors import ParamValidationError
from sts_async.operations import ASSUME_ROLE, OPERATIONS, Operation

ORACLE = create_serializer("query", False)
MODEL = ServiceModel(Loader().load_service_model("sts", "service-2", api_version="2011-06-15"))
ARN = "arn:aws:iam::123456789012:role/demo"


def values_of(member: Member) -> st.SearchStrategy[Any]:
    if member.kind is str:
        return st.text(max_size=8) | st.text("&=+% /?#\r\n\0é\U0001f600.", max_size=6)
    if member.kind is int:
        return st.integers()
    if member.kind is list:
        return st.lists(values_of(member.items), max_size=2)
    return shapes_of(member.kind)


def shapes_of(cls: Any) -> st.SearchStrategy[Any]:
    """Any members at all: what is not valid has to be written correctly, too."""
    return st.builds(cls, **{m.name: values_of(m) if m.required else values_of(m) | st.none() for m in cls.__members__})


def as_parameters(shape: Shape) -> dict[str, Any]:
    """Return what botocore takes in place of *shape*."""
    given_members = {
        m.wire: getattr(shape, m.name) for m in shape.__members__ if getattr(shape, m.name) not in (None, ())
    }
    return {wire: plain(value) for wire, value in given_members.items()}


def plain(value: Any) -> Any:
    if isinstance(value, Shape):
        return as_parameters(value)
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def read_form(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@settings(max_examples=30)
@given(data=st.data())
def test_a_body_says_what_botocore_s_says(operation: Operation[Any], data: st.DataObject) -> None:
    """Same names, same values, in any combination; a strict parser reads back what was written."""
    request = data.draw(shapes_of(operation.request))
    body = encode(operation, request, validate=False)
    pairs = read_form(body)
    theirs = ORACLE.serialize_to_request(as_parameters(request), MODEL.operation_model(operation.name))["body"]

    assert dict(pairs) == {name: str(value) for name, value in theirs.items()}
    assert len(pairs) == len(theirs)
    assert pairs[:2] == [("Action", operation.name), ("Version", "2011-06-15")]


@settings(max_examples=60)
@given(shapes_of(shapes.AssumeRoleRequest))
def test_only_unreserved_characters_are_written_plainly(request: shapes.AssumeRoleRequest) -> None:
    """T6: RFC 3986; a plus would be a space to some parsers, so there is none, and a space is %20."""
    body = encode(ASSUME_ROLE, request, validate=False).decode()
    allowed = {*"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"}

    for pair in body.split("&"):
        name, _, value = pair.partition("=")
        assert {*name} <= allowed
        assert {*value} <= allowed | {"%"}
        assert unquote_to_bytes(value).decode() is not None
    written = " " in "".join(value for _, value in read_form(body.encode()))
    assert ("%20" in body) == written


@pytest.mark.parametrize(
    "name",
    [
        "a&Action=GetCallerIdentity&x=",
        "a\nAction=GetCallerIdentity",
        "a=b",
        "%0d%0a&Action=x",
        "a;Action=x",
        "a+b c",
        "\0",
        "&&&",
        "a\u2028&Action=x",
    ],
    ids=ascii,
)
def test_no_value_adds_a_parameter(name: str) -> None:
    """T6: one Action and one Version, whatever a value says."""
    body = encode(
        ASSUME_ROLE,
        shapes.AssumeRoleRequest(role_arn=name, role_session_name=name, tags=[shapes.Tag(key=name, value=name)]),
        validate=False,
    )

    assert read_form(body) == [
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", name),
        ("RoleSessionName", name),
        ("Tags.member.1.Key", name),
        ("Tags.member.1.Value", name),
    ]
    assert body.count(b"Action=") == 1


def test_the_body_of_a_usual_request() -> None:
    """An example for readers: members in the model's order, lists numbered from one."""
    request = shapes.AssumeRoleRequest(
        role_session_name="me",
        role_arn=ARN,
        tags=[shapes.Tag(key="a b", value="1"), shapes.Tag(key="c", value="")],
        policy={"Version": "2012-10-17"},
        policy_arns=[shapes.PolicyDescriptorType(arn=ARN)],
        duration_seconds=900,
    )
    role = "arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fdemo"

    assert encode(ASSUME_ROLE, request, validate=False).decode().split("&") == [
        "Action=AssumeRole",
        "Version=2011-06-15",
        f"RoleArn={role}",
        "RoleSessionName=me",
        f"PolicyArns.member.1.arn={role}",
        "Policy=%7B%22Version%22%3A%222012-10-17%22%7D",
        "DurationSeconds=900",
        "Tags.member.1.Key=a%20b",
        "Tags.member.1.Value=1",
        "Tags.member.2.Key=c",
        "Tags.member.2.Value=",
    ]


def test_an_absent_member_and_an_empty_list_are_not_written() -> None:
    """botocore writes ``Tags=`` for an empty list, which says that there is one."""
    request = shapes.AssumeRoleRequest(role_arn="a", role_session_name="b", tags=[], policy=None, duration_seconds=0)

    assert encode(ASSUME_ROLE, request, validate=False) == (
        b"Action=AssumeRole&Version=2011-06-15&RoleArn=a&RoleSessionName=b&DurationSeconds=0"
    )


def test_an_integer_is_written_in_digits_whatever_its_class() -> None:
    """An enumeration of durations passes the check as the integer that it is."""

    class Duration(int, enum.Enum):
        HOUR = 3600

    request = shapes.AssumeRoleRequest(role_arn="a", role_session_name="b", duration_seconds=Duration.HOUR)

    assert encode(ASSUME_ROLE, request, validate=False).endswith(b"&DurationSeconds=3600")


@pytest.mark.parametrize(("value", "text"), [(3600.5, "3600.5"), (b"a b", "b%27a%20b%27"), (True, "1")], ids=repr)
def test_a_value_of_a_wrong_type_is_written_for_the_service_to_judge(value: Any, text: str) -> None:
    """It gets here only when validation is switched off; whatever it is, it is encoded."""
    request = shapes.AssumeRoleRequest(role_arn="a", role_session_name="b", duration_seconds=value)

    assert encode(ASSUME_ROLE, request, validate=False).decode().endswith(f"&DurationSeconds={text}")


def test_a_body_does_not_print_itself() -> None:
    """T14: it carries assertions, tokens and MFA codes."""
    body = encode(
        ASSUME_ROLE, shapes.AssumeRoleRequest(role_arn="a", role_session_name="b", token_code="123456"), validate=False
    )

    assert type(body) is SecretBytes
    assert "123456" not in f"{body} {body!r}"


@given(before=st.text("SENTINEL"), surrogate=st.characters(categories=["Cs"]), after=st.text())
@example("", "\ud800", "\udc00")
def test_text_that_cannot_be_encoded_is_refused_without_showing_it(before: str, surrogate: str, after: str) -> None:
    """T15: the built-in error quotes the whole text; with validation switched off this is where it is found."""
    secret = f"SENTINEL-44bd{before}{surrogate}{after}"
    request = shapes.AssumeRoleWithSAMLRequest(role_arn="a", principal_arn="b", saml_assertion=secret)
    with pytest.raises(ParamValidationError, match="UTF-8") as caught:
        encode(OPERATIONS[1], request, validate=False)

    below = caught.tb.tb_next  # the frame of this test shows what it made
    shown = "".join(traceback.TracebackException(caught.type, caught.value, below, capture_locals=True).format())
    assert "request =" in shown
    assert caught.value.shape == "AssumeRoleWithSAMLRequest"
    assert caught.value.__context__ is None
    assert "SENTINEL-44bd" not in shown


def test_an_integer_of_thousands_of_digits_is_refused_like_other_text_that_cannot_be_written() -> None:
    """Python itself refuses to write it, with an error from where the other members are."""
    request = shapes.AssumeRoleRequest(role_arn=ARN, role_session_name="me", duration_seconds=10**5000)

    with pytest.raises(ParamValidationError, match="a member cannot be written") as caught:
        encode(ASSUME_ROLE, request, validate=False)
    assert caught.value.__context__ is None
