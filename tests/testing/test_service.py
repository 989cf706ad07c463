"""Whatever comes, the answer is XML: nothing that a client sends raises in the server."""

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from sts_async._shape.secret import SecretBytes
from sts_async.operations import OPERATIONS
from sts_async.sigv4 import sign
from sts_async.testing.directory import Account, Directory, User
from sts_async.testing.service import Service
from sts_async.testing.verify import Received

USER = User("developer", mfa_serial="arn:aws:iam::123456789012:mfa/developer")
DIRECTORY = Directory(partition="aws", account=Account("123456789012"), trust_undeclared=True)
DIRECTORY.declare(USER)
SERVICE = Service(DIRECTORY, region="us-east-1", regions=None, honor_expires=False)
URL = "http://127.0.0.1/"

ARN = "arn:aws:iam::123456789012:role/demo"
TEXTS = st.text(max_size=30) | st.sampled_from([ARN, "me", "900", "3600", "", "{}", "123456", "RS256", ARN[13:25]])
NAMES = sorted({member.wire for operation in OPERATIONS for member in operation.request.__members__})
ENDS = st.sampled_from(["", "", "", *(f".member.{end}" for end in ("1", "2", "1.Key", "1.Value", "1.arn")), ".arn"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def answer(form: dict[str, str], headers: dict[str, str] | None = None) -> Any:
    """Return the root of what the service answers to a form that is signed well."""
    body = "&".join(f"{quote(name)}={quote(value, errors='surrogatepass')}" for name, value in form.items()).encode()
    signed = sign(
        USER.credentials,
        method="POST",
        url=URL,
        headers={},
        body=body,
        service="sts",
        region="us-east-1",
        at=datetime.now(UTC),
    )
    received = Received("POST", "/", "", {"host": "127.0.0.1", **signed, **(headers or {})}, SecretBytes(body))
    return etree.fromstring(SERVICE.answer(received, now=time.time()).document.encode())


@given(st.sampled_from(OPERATIONS), st.dictionaries(st.tuples(st.sampled_from(NAMES), ENDS), TEXTS, max_size=12))
def test_every_form_is_answered(operation: Any, given: dict[tuple[str, str], str]) -> None:
    form = {name + end: value for (name, end), value in given.items()}
    root = answer({"Action": operation.name, "Version": "2011-06-15", **form})

    assert etree.QName(root).localname in (f"{operation.name}Response", "ErrorResponse")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["iss", "sub", "aud", "exp", "nbf"], JSON)), JSON, JSON)
def test_every_token_is_answered(claims: dict[str, Any], tags: Any, source: Any) -> None:
    sound = {"iss": "a", "sub": "b", "aud": "c", "exp": 1e11}
    beside = {"https://aws.amazon.com/tags": tags, "https://aws.amazon.com/source_identity": source}
    payload = base64.urlsafe_b64encode(json.dumps({**sound, **beside, **claims}).encode()).decode()
    form = {"RoleArn": ARN, "RoleSessionName": "me", "WebIdentityToken": f"e30.{payload}.x"}

    answer({"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", **form})


@given(st.dictionaries(st.sampled_from(["authorization", "x-amz-date", "x-amz-security-token", "host"]), st.text()))
def test_every_signature_is_answered(headers: dict[str, str]) -> None:
    answer({"Action": "GetCallerIdentity", "Version": "2011-06-15"}, headers)


@given(st.lists(st.text(), max_size=6))
def test_every_authorization_is_answered(parts: list[str]) -> None:
    names = ("Credential=", "/", "/", "/", "/aws4_request, SignedHeaders=", ", Signature=")
    header = "AWS4-HMAC-SHA256 " + "".join(name + part for name, part in zip(names, parts, strict=False))

    answer({"Action": "GetCallerIdentity", "Version": "2011-06-15"}, {"authorization": header})
