"""ARNs of IAM: what can be that of a role or a SAML provider, and what can add to a request or a log."""

import boto3
import pytest
from botocore.loaders import Loader
from hypothesis import given
from hypothesis import strategies as st

from sts_async._protocol import arns
from sts_async._protocol.endpoints import PARTITIONS

ROLE = "arn:aws:iam::123456789012:role/demo"


@pytest.mark.parametrize("partition", boto3.Session().get_available_partitions())
def test_every_partition_has_roles(partition: str) -> None:
    """G11: those that botocore knows, and those that the endpoints know."""
    assert arns.account_of_role(f"arn:{partition}:iam::123456789012:role/a/b/demo") == "123456789012"
    assert arns.is_saml_provider(f"arn:{partition}:iam::123456789012:saml-provider/My.IdP_1-x")
    assert {one.name for one in PARTITIONS} >= {"aws", "aws-cn"}


@pytest.mark.parametrize(
    "name",
    [
        "demo",
        "a",
        "x" * 64,
        "A_b+c=d,e.f@g-h",
        "aws-service-role/sts.amazonaws.com/AWSServiceRoleForX",
        'path/of/!some"~{}/demo',
        f"{'p' * 510}/demo",
    ],
)
def test_a_role_has_a_name_and_perhaps_a_path(name: str) -> None:
    assert arns.is_role(f"arn:aws:iam::123456789012:role/{name}")


REFUSED = [
    "",
    "x" * 20,
    "arn:aws:iam::123:role/x",
    "arn:aws:iam::1234567890123:role/x",
    "arn:aws:iam::\u0661\u0662\u0663456789012:role/demo",
    "arn:aws:s3:::b",
    "arn:aws:iam:::role/x",
    "arn:aws:iam:us-east-1:123456789012:role/x",
    "arn:aws:iam::123456789012:user/x",
    "arn:aws:iam::123456789012:role",
    "arn:aws:iam::123456789012:role/",
    "arn:aws:iam::123456789012:role//",
    "arn:aws:iam::123456789012:role/a/",
    "arn:aws:sts::123456789012:assumed-role/demo/me",
    "arn:evil:iam::123456789012:role/demo",
    "arn:aws-:iam::123456789012:role/demo",
    "ARN:aws:iam::123456789012:role/demo",
    "urn:ecs:iam::ns:role/demo",
    f"{ROLE}\n",
    f"\n{ROLE}",
    f" {ROLE}",
    f"{ROLE}\0",
    f"{ROLE}\r\nX: y",
    f"{ROLE} x",
    f"{ROLE}\u00e9",
    f"{ROLE}*",
    f"{ROLE}{'x' * 61}",
    f"arn:aws:iam::123456789012:role/{'p' * 511}/demo",
]


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
def test_other_arns_are_not_roles(text: str) -> None:
    """G11, T43."""
    assert not arns.is_role(text)
    assert arns.account_of_role(text) is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("arn:aws:iam:::role/demo", True),
        ("urn:ecs:iam::ns:role/demo", True),
        ("arn:xxx:xxx:xxx:xxxx", True),
        (f"{ROLE}\n", False),
        (f"{ROLE}\0", False),
        ("a b", False),
        ("\u00e9", False),
        ("", False),
    ],
    ids=ascii,
)
def test_other_servers_have_other_names(text: str, plain: bool) -> None:
    """G11: Ceph RGW, Dell ECS, MinIO; but nothing that could add to a log."""
    assert arns.is_plain(text) is plain


@pytest.mark.parametrize(
    "text",
    [
        ROLE,
        "arn:aws:iam::123456789012:saml-provider/",
        "arn:aws:iam::123456789012:saml-provider/a/b",
        f"arn:aws:iam::123456789012:saml-provider/{'x' * 129}",
        "arn:aws:iam::123456789012:saml-provider/x\n",
        "arn:aws:iam::123:saml-provider/x",
    ],
    ids=ascii,
)
def test_other_arns_are_not_saml_providers(text: str) -> None:
    """G11."""
    assert not arns.is_saml_provider(text)


MODEL = Loader().load_service_model("iam", "service-2")["shapes"]


@given(
    name=st.from_regex(MODEL["roleNameType"]["pattern"], fullmatch=True).filter(lambda name: name.isascii()),
    path=st.just("/")
    | st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)).map(
        lambda parts: "/".join(["", *parts, ""])
    ),
)
def test_every_role_that_iam_can_make_has_an_arn(name: str, path: str) -> None:
    """G11: names and paths by the patterns and lengths of IAM's own model."""
    if not 1 <= len(name) <= MODEL["roleNameType"]["max"] or not 1 <= len(path) <= MODEL["pathType"]["max"]:
        return
    assert arns.is_role(f"arn:aws:iam::123456789012:role{path}{name}")
