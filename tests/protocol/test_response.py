import json
import logging
import traceback
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import product
from typing import Any
from urllib.parse import quote, quote_plus, unquote
from xml.sax.saxutils import escape

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from sts_async import shapes
from sts_async._protocol.http_messages import HttpResponse
from sts_async._protocol.response import read
from sts_async._shape.constraints import Member
from sts_async._shape.secret import SecretBytes
from sts_async._shape.shape import Shape
from sts_async.errors import (
    ExpiredTokenException,
    RedirectRefused,
    ResponseParseError,
    ServiceError,
    STSError,
    ThrottlingError,
)
from sts_async.operations import (
    ASSUME_ROLE,
    ASSUME_ROLE_WITH_WEB_IDENTITY,
    GET_CALLER_IDENTITY,
    GET_SESSION_TOKEN,
    GET_WEB_IDENTITY_TOKEN,
    OPERATIONS,
    Operation,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
SENTINEL = "SENTINEL-e07b"
ORACLE = create_parser("query")
MODEL = ServiceModel(Loader().load_service_model("sts", "service-2", api_version="2011-06-15"))


@pytest.fixture(autouse=True)
def _quiet_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore logs what it parses, keys included."""
    monkeypatch.setattr(logging.getLogger("botocore.parsers"), "disabled", True)


KEYS = (
    "<AccessKeyId>ASIAEXAMPLE</AccessKeyId>"
    f"<SecretAccessKey>{SENTINEL}-key</SecretAccessKey><SessionToken>{SENTINEL}-token</SessionToken>"
    "<Expiration>2026-01-01T01:00:00Z</Expiration>"
)
USER = (
    "<AssumedRoleUser><AssumedRoleId>AROA:me</AssumedRoleId>"
    "<Arn>arn:aws:sts::1:assumed-role/r/me</Arn></AssumedRoleUser>"
)
GOOD = {
    "AssumeRole": f"<Credentials>{KEYS}</Credentials>{USER}<PackedPolicySize>6</PackedPolicySize>",
    "AssumeRoleWithSAML": f"<Credentials>{KEYS}</Credentials>{USER}<Subject>me</Subject>",
    "AssumeRoleWithWebIdentity": f"<Credentials>{KEYS}</Credentials>{USER}<Provider>idp</Provider>",
    "AssumeRoot": f"<Credentials>{KEYS}</Credentials><SourceIdentity>me</SourceIdentity>",
    "DecodeAuthorizationMessage": f"<DecodedMessage>{{&quot;{SENTINEL}&quot;:1}}</DecodedMessage>",
    "GetAccessKeyInfo": "<Account>123456789012</Account>",
    "GetCallerIdentity": "<Arn>arn:aws:iam::1:user/me</Arn><UserId>AIDA</UserId><Account>123456789012</Account>",
    "GetDelegatedAccessToken": f"<Credentials>{KEYS}</Credentials><AssumedPrincipal>arn</AssumedPrincipal>",
    "GetFederationToken": f"<Credentials>{KEYS}</Credentials><FederatedUser><Arn>arn</Arn></FederatedUser>",
    "GetScopedCredentials": f"<Credentials>{KEYS}</Credentials><ScopedPoliciesCount>1</ScopedPoliciesCount>",
    "GetSessionToken": f"<Credentials>{KEYS}</Credentials><SessionTokenSize>900</SessionTokenSize>",
    "GetWebIdentityToken": (
        f"<WebIdentityToken>{SENTINEL}.jwt</WebIdentityToken><Expiration>2026-01-01T00:05:00Z</Expiration>"
    ),
}
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


def wrap(name: str, result: str, *, space: str = SPACE, after: str = "") -> str:
    after = after or "<ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata>"
    return f'<{name}Response xmlns="{space}"><{name}Result>{result}</{name}Result>{after}</{name}Response>'


def respond(body: str | bytes, status: int = 200, **headers: str) -> HttpResponse:
    names = {"content_type": "text/xml", **headers}
    sent = body.encode() if isinstance(body, str) else body
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in names.items()}, SecretBytes(sent))


def ask(operation: Operation[Any], body: str | bytes, status: int = 200, **headers: str) -> Any:
    return read(operation, respond(body, status, **headers), sent_at=NOW.timestamp())


def refusal(operation: Operation[Any], body: str | bytes, status: int = 200, **headers: str) -> ResponseParseError:
    found = ask(operation, body, status, **headers)
    assert isinstance(found, ResponseParseError)
    assert found.status == status
    return found


# Good answers --------------------------------------------------------------------------------------------------------


@each_operation
def test_a_good_answer_becomes_the_response_of_the_operation(operation: Operation[Any]) -> None:
    """With what the service said of the exchange beside it."""
    found = read(
        operation, respond(wrap(operation.name, GOOD[operation.name]), x_other="1"), sent_at=NOW.timestamp(), attempts=3
    )

    assert type(found) is operation.response
    assert found.metadata == shapes.ResponseMetadata(
        request_id="id-1", status=200, headers={"content-type": "text/xml", "x-other": "1"}, attempts=3
    )


def test_credentials_are_read_with_their_types() -> None:
    found = ask(ASSUME_ROLE, wrap("AssumeRole", GOOD["AssumeRole"]))

    assert found == shapes.AssumeRoleResponse(
        credentials=shapes.TemporaryCredentials(
            access_key_id="ASIAEXAMPLE",
            secret_access_key=f"{SENTINEL}-key",
            session_token=f"{SENTINEL}-token",
            expiration=NOW + timedelta(hours=1),
        ),
        assumed_role_user=shapes.AssumedRoleUser(assumed_role_id="AROA:me", arn="arn:aws:sts::1:assumed-role/r/me"),
        packed_policy_size=6,
    )
    assert SENTINEL not in repr(found)


TEXT = st.text(
    st.one_of(
        st.sampled_from("&<>\"' \t\n\r]]>"),
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"),
    ),
    max_size=8,
)
SOON = st.integers(-99, 36 * 3600).map(lambda seconds: NOW + timedelta(seconds=seconds))


def trees(cls: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Any answer that has what is required, its members in any order."""
    required = {m.wire: values(m).filter(lambda value: value != "") for m in cls.__members__ if m.required}
    optional = {m.wire: values(m) for m in cls.__members__ if not m.required}
    whole = st.fixed_dictionaries(required, optional=optional)
    return whole.flatmap(lambda tree: st.permutations([*tree.items()]).map(dict))


def values(member: Member) -> st.SearchStrategy[Any]:
    if member.kind is shapes.FrozenMap:
        return st.dictionaries(TEXT, values(member.items), max_size=3).map(shapes.FrozenMap)
    if issubclass(member.kind, Shape):
        return trees(member.kind)
    return {str: TEXT, int: st.integers(), datetime: SOON}[member.kind]


def render(tree: dict[str, Any]) -> str:
    return "".join(f"<{name}>{render_value(value)}</{name}>" for name, value in tree.items())


def render_value(value: Any) -> str:
    if isinstance(value, dict):
        return render(value)
    if isinstance(value, shapes.FrozenMap):
        return "".join(render({"entry": {"key": key, "value": item}}) for key, item in value.items())
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return escape(str(value), {"\r": "&#13;"})


def as_tree(shape: Shape) -> dict[str, Any]:
    given_members = {m.wire: getattr(shape, m.name) for m in shape.__members__}
    return {
        wire: as_tree(value) if isinstance(value, Shape) else value
        for wire, value in given_members.items()
        if value is not None
    }


@each_operation
@settings(max_examples=30)
@given(data=st.data())
def test_any_answer_says_what_botocore_says_that_it_says(operation: Operation[Any], data: st.DataObject) -> None:
    """Every member, present or absent, with any text; and it says what was written, too."""
    tree = data.draw(trees(operation.response))
    response = respond(wrap(operation.name, render(tree)))
    output = MODEL.operation_model(operation.name).output_shape
    theirs = ORACLE.parse({"status_code": 200, "headers": response.headers, "body": bytes(response.body)}, output)
    metadata = theirs.pop("ResponseMetadata")

    found = read(operation, response, sent_at=NOW.timestamp())

    assert as_tree(found) == tree == theirs
    assert found.metadata.request_id == metadata["RequestId"]


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "text/plain; charset=x", ""])
def test_the_document_decides_and_not_its_content_type(content_type: str) -> None:
    """F9: some servers send good XML under another name."""
    found = ask(GET_CALLER_IDENTITY, wrap("GetCallerIdentity", GOOD["GetCallerIdentity"]), content_type=content_type)

    assert type(found) is shapes.GetCallerIdentityResponse


@pytest.mark.parametrize(
    "space",
    [
        *(SPACE, "", "none", "urn:x", SPACE.rstrip("/"), f"\n  {SPACE}\n", f"{SPACE} ", SPACE.replace("https", "http")),
        *("http://shop.test/amazonaws.com/", "http://notamazonaws.com/doc/"),
    ],
)
def test_the_name_space_is_that_of_the_service_or_one_that_aws_has_not(space: str) -> None:
    """B5, F11: servers that are not AWS leave it out, have one of their own, or cannot spell it."""
    body = wrap("GetCallerIdentity", GOOD["GetCallerIdentity"], space=space)

    assert type(ask(GET_CALLER_IDENTITY, body)) is shapes.GetCallerIdentityResponse


@pytest.mark.parametrize("space", ["none", SPACE, "urn:x"])
def test_a_prefix_on_the_root_alone_is_read(space: str) -> None:
    """B5: Dell ECS documents its answers so; errors of that form keep their code."""
    good = wrap("AssumeRole", GOOD["AssumeRole"], space="")
    good = good.replace('<AssumeRoleResponse xmlns=""', f'<p:AssumeRoleResponse xmlns:p="{space}"')
    good = good.replace("</AssumeRoleResponse>", "</p:AssumeRoleResponse>")
    error = FORMS["no name space"].replace("ErrorResponse>", "p:ErrorResponse>")
    error = error.replace("<p:ErrorResponse>", f'<p:ErrorResponse xmlns:p="{space}">')

    assert ask(ASSUME_ROLE, good) == ask(ASSUME_ROLE, wrap("AssumeRole", GOOD["AssumeRole"]))
    assert str(ask(ASSUME_ROLE, error, 400)) == str(ask(ASSUME_ROLE, FORMS["no name space"], 400))


@pytest.mark.parametrize(
    "space", ["http://s3.amazonaws.com/doc/2006-03-01/", f"{SPACE}x", "https://iam.amazonaws.com/doc/2010-05-08/"]
)
def test_a_name_space_that_is_refused_is_said_to_be_the_reason(space: str) -> None:
    """B5, T12: another API of AWS has answered."""
    found = refusal(GET_CALLER_IDENTITY, wrap("GetCallerIdentity", GOOD["GetCallerIdentity"], space=space))

    assert f"its namespace is that of another AWS API, not {SPACE} (HTTP 200" in str(found)
    assert not found.retryable


@pytest.mark.parametrize(
    ("document", "retryable"),
    [
        ("<!DOCTYPE r [<!ATTLIST r a ID #IMPLIED>]><r/>", False),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><AssumeRoleResponse/>", False),
        ("<AssumeRoleResponse/>".encode("utf-16"), False),
        ("<html><body>Log in</body></html>".encode("utf-16"), False),
        ("<r>" + "<a/>" * 9_999 + "</r>", False),
        (b"<r>" + b"x" * (1 << 19), False),
        ("<?xml version='1.0' encoding='iso-8859-1'?>\n<!DOCTYPE html PUBLIC '-//W3C'>\n<html/>", True),
        ("<!DOCTYPE html>" + "x" * (1 << 19), True),
        ("\n" * 99 + "<html>" + "<p>" * 9_999, True),
    ],
    ids=range(9),
)
def test_what_is_refused_by_its_bytes_is_refused_for_good(document: str | bytes, retryable: bool) -> None:
    """G2: the next attempt would bring the same; but for a page of a proxy, which goes away."""
    assert refusal(ASSUME_ROLE, document).retryable == retryable


def test_what_an_answer_may_lack_is_none() -> None:
    """F64: only keys, token and expiration are needed."""
    found = ask(
        ASSUME_ROLE,
        f"<AssumeRoleResponse><AssumeRoleResult><Credentials>{KEYS}</Credentials></AssumeRoleResult></AssumeRoleResponse>",
    )

    assert as_tree(found).keys() == {"Credentials"}
    assert found.metadata.request_id is None


@pytest.mark.parametrize(
    "user",
    [
        "<AssumedRoleUser><Arn>arn</Arn><AssumeRoleId>AROA:me</AssumeRoleId></AssumedRoleUser>",
        "<AssumedRoleUser><Arn>arn</Arn></AssumedRoleUser>",
        "<AssumedRoleUser>\n  <Arn>arn</Arn>\n</AssumedRoleUser>",
    ],
    ids=["misspelt", "absent", "indented"],
)
def test_a_user_without_an_id_is_read(user: str) -> None:
    """F64: one server sends AssumeRoleId in its place."""
    found = ask(ASSUME_ROLE, wrap("AssumeRole", f"<Credentials>{KEYS}</Credentials>{user}"))

    assert found.assumed_role_user == shapes.AssumedRoleUser(arn="arn")


@pytest.mark.parametrize("user", ["<AssumedRoleUser/>", "<AssumedRoleUser>\n </AssumedRoleUser>"])
def test_an_element_without_children_is_an_empty_shape(user: str) -> None:
    """F64: it has no members, which are all optional."""
    found = ask(ASSUME_ROLE, wrap("AssumeRole", f"<Credentials>{KEYS}</Credentials>{user}"))

    assert found.assumed_role_user == shapes.AssumedRoleUser()


@each_operation
def test_unknown_members_are_passed_over(operation: Operation[Any]) -> None:
    """The API grows; an older client must not break. Nor can a stranger's member set a field of ours."""
    more = "<New><member>1</member></New><New>2</New><metadata>x</metadata><headers/>"
    good = ask(operation, wrap(operation.name, GOOD[operation.name]))

    found = ask(
        operation, wrap(operation.name, more + GOOD[operation.name], after=f"{more}<RequestId>id-1</RequestId>")
    )

    assert found == good
    assert found.metadata == good.metadata


# Where the request id is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "headers", "request_id"),
    [
        ("<ResponseMetadata><RequestId>b</RequestId></ResponseMetadata>", {"x-amzn-requestid": "h"}, "b"),
        ("<RequestId>b</RequestId>", {}, "b"),
        ("<RequestID>b</RequestID>", {}, "b"),
        ("<Other/>", {"x-amzn-requestid": "h", "x-amz-request-id": "i"}, "h"),
        ("<Other/>", {"x-amz-request-id": "i"}, "i"),
        ("<ResponseMetadata><RequestId/></ResponseMetadata>", {"x-amz-request-id": "i"}, "i"),
        ("<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>" * 2, {}, None),
        ("<RequestId><x/></RequestId>", {}, None),
        ("<ResponseMetadata/>", {}, None),
    ],
)
def test_the_request_id_is_in_the_body_or_in_a_header(
    after: str, headers: dict[str, str], request_id: str | None
) -> None:
    """F11: it is what AWS support asks for."""
    body = wrap("GetAccessKeyInfo", GOOD["GetAccessKeyInfo"], after=after)
    found: Any = read(OPERATIONS[5], HttpResponse(200, headers, SecretBytes(body.encode())), sent_at=NOW.timestamp())

    assert found.metadata.request_id == request_id


# Errors --------------------------------------------------------------------------------------------------------------

ERROR = "<Type>Sender</Type><Code>ExpiredTokenException</Code><Message>The token has expired</Message>"
FORMS = {
    "AWS": f'<ErrorResponse xmlns="{SPACE}"><Error>{ERROR}</Error><RequestId>id-1</RequestId></ErrorResponse>',
    "plural": f"<ErrorResponse><Errors><Error>{ERROR}</Error></Errors><RequestID>id-1</RequestID></ErrorResponse>",
    "bare": f"<Error>{ERROR}<RequestId>id-1</RequestId></Error>",
    "no name space": f"<ErrorResponse><Error>{ERROR}</Error><RequestId>id-1</RequestId></ErrorResponse>",
    "strange name space": f'<ErrorResponse xmlns="urn:x"><Error>{ERROR}</Error>'
    "<RequestId>id-1</RequestId></ErrorResponse>",
    "prefix": f'<s:ErrorResponse xmlns:s="{SPACE}"><s:Error>{ERROR.replace("<", "<s:").replace("<s:/", "</s:")}'
    "</s:Error><s:RequestId>id-1</s:RequestId></s:ErrorResponse>",
    "id inside": f"<ErrorResponse><Error>{ERROR}<RequestId>id-1</RequestId></Error></ErrorResponse>",
    "id in metadata": f"<ErrorResponse><Error>{ERROR}</Error><ResponseMetadata><RequestId>id-1</RequestId>"
    "</ResponseMetadata></ErrorResponse>",
    "Response": f"<Response><Errors><Error>{ERROR}</Error></Errors><RequestID>id-1</RequestID></Response>",
    "lower-case message": f"<ErrorResponse><Error>{ERROR.replace('Message', 'message')}</Error>"
    "<RequestId>id-1</RequestId></ErrorResponse>",
    "header only": f"<ErrorResponse><Error>{ERROR}</Error></ErrorResponse>",
    "comment": f"<ErrorResponse><!-- x --><Error>{ERROR}</Error></ErrorResponse>",
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("content_type", ["text/xml", "text/html"])
def test_every_form_of_an_error_is_the_same_error(body: str, content_type: str) -> None:
    """F11: those of AWS, of its mocks and of other servers."""
    found = ask(ASSUME_ROLE, body, 400, content_type=content_type, x_amzn_requestid="id-1")

    assert type(found) is ExpiredTokenException
    assert str(found) == "ExpiredTokenException: The token has expired (HTTP 400, request id-1)"
    assert (found.fault, found.retryable, found.throttled) == ("client", False, False)


@pytest.mark.parametrize("root", ["ErrorResponse", "Error"])
def test_an_error_that_comes_with_status_200_is_an_error(root: str) -> None:
    """A proxy may rewrite the status; the document decides."""
    body = FORMS["bare"] if root == "Error" else FORMS["AWS"]

    assert type(ask(ASSUME_ROLE, body)) is ExpiredTokenException


@pytest.mark.parametrize("body", ["<ErrorResponse><Error>{}</Error></ErrorResponse>", "<Error>{}</Error>"])
def test_an_error_without_a_message_is_the_same_error_with_less_text(body: str) -> None:
    """F11, B14: and no colon before nothing."""
    for inner in ("<Code>AccessDenied</Code><Message/>", "<Code>AccessDenied</Code>"):
        found = ask(ASSUME_ROLE, body.format(inner), 403, x_amz_request_id="h")

        assert (type(found), str(found)) == (ServiceError, "AccessDenied (HTTP 403, request h)")


THROTTLED = ("Throttling", "Rate exceeded")
DENIED = ("AccessDenied", "not you")
FORBIDDEN = ("403", "Forbidden")
NOTHING = "the response contains no STS error ('text/xml', 17 bytes)"
JSON_ERRORS: dict[str, tuple[dict[str, str], str, tuple[str, str]]] = {
    "JSON 1.0": ({}, '{"__type": "com.amazonaws.sts#AccessDenied", "Message": "not you"}', DENIED),
    "JSON 1.1": ({}, '{"__type": "AccessDenied", "message": "not you"}', DENIED),
    "JSON with a URL": ({}, '{"__type": "aws#AccessDenied:http://a.test/x/", "message": "not you"}', DENIED),
    "REST": ({"x_amzn_errortype": "AccessDenied:http://x/"}, '{"message": "not you"}', DENIED),
    "REST with a code": ({}, '{"code": "AccessDenied", "message": "not you"}', DENIED),
    "a header alone": ({"x_amzn_errortype": "AccessDenied"}, "", ("AccessDenied", "")),
    "once of Query": ({"x_amzn_query_error": "AccessDenied;Sender"}, '{"__type": "X", "message": "not you"}', DENIED),
    "API Gateway": ({"x_amzn_errortype": "AccessDenied"}, '{"message":"not you"}', DENIED),
    "API Gateway without a type": ({}, '{"message": "Forbidden"}', FORBIDDEN),
    "API Gateway, null": ({}, '{"message": null}', ("403", NOTHING)),
    "the Query protocol in JSON": (
        {},
        '{"Error": {"Code": "Throttling", "Message": "Rate exceeded", "Type": "Sender"}}',
        THROTTLED,
    ),
    "wrapped": ({}, '{"ErrorResponse": {"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}}', THROTTLED),
    "Coral": ({}, '{"Output": {"__type": "com.amazon.coral#Throttling", "message": "Rate exceeded"}}', THROTTLED),
    "OAuth": ({}, '{"error": "invalid_grant", "error_description": "not you"}', ("invalid_grant", "not you")),
    "a Byte Order Mark and spaces": ({}, '\ufeff{"__type": "AccessDenied", "message": "not you"}', DENIED),
    "half a character": ({}, '{"__type": "AccessDenied", "message": "not\\ud800you"}', ("AccessDenied", "not?you")),
    "no text": ({}, '{"__type": ["AccessDenied"], "message": {"a": 1}}', ("403", NOTHING.replace("17", "49"))),
}


@pytest.mark.parametrize(("headers", "body", "said"), JSON_ERRORS.values(), ids=JSON_ERRORS)
@pytest.mark.parametrize("content_type", ["application/json", "text/xml"])
def test_an_error_in_json_is_the_same_error(
    headers: dict[str, str], body: str, said: tuple[str, str], content_type: str
) -> None:
    """B10: code and text are kept, whatever the name of the content."""
    found = ask(ASSUME_ROLE, body, 403, content_type=content_type, **headers)

    assert isinstance(found, ServiceError)
    assert (found.code, found.message.replace(content_type, "text/xml")) == said
    assert type(found) is (ThrottlingError if said == THROTTLED else ServiceError)


def test_the_request_id_and_the_fault_of_an_error_in_json_are_kept() -> None:
    """B10."""
    found = ask(ASSUME_ROLE, '{"Error": {"Code": "X", "Type": "Receiver"}, "RequestId": "id-1"}', 400)

    assert (found.request_id, found.fault) == ("id-1", "server")


@given(
    st.sampled_from(["com.amazonaws#", ""]),
    st.sampled_from(["__type", "code"]),
    st.sampled_from(["Message", "message"]),
)
def test_botocore_reads_the_code_of_an_error_in_json_alike(prefix: str, kind: str, text: str) -> None:
    """B10: its parsers of the two JSON protocols, each for its own form."""
    parser = create_parser("json" if kind == "__type" else "rest-json")
    body = json.dumps({kind: f"{prefix}AccessDenied", text: "not you"}).encode()
    theirs = parser.parse({"status_code": 403, "headers": {}, "body": body}, None)["Error"]

    found = ask(ASSUME_ROLE, body, 403)

    assert (found.code, found.message) == (theirs["Code"].rpartition("#")[2], theirs["Message"])


# What the service repeats of what was sent ---------------------------------------------------------------------------

KEYS_OF_CALLER = shapes.Credentials(
    access_key_id="AKIDEXAMPLE",
    secret_access_key=f"{SENTINEL}/secret+of/the+caller",
    session_token=f"{SENTINEL}+{'/'.join(f'part{number}of==token' for number in range(40))}",
)
JWT = f"{SENTINEL}.{'.'.join(f'claim{number}' for number in range(40))}"
WITH_MFA = shapes.AssumeRoleRequest(
    role_arn="arn:aws:iam::123456789012:role/demo",
    role_session_name="me",
    serial_number="GAHT12345678",
    token_code="123456",
)
WITH_JWT = shapes.AssumeRoleWithWebIdentityRequest(
    role_arn="arn:aws:iam::123456789012:role/demo", role_session_name="me", web_identity_token=JWT
)
SENT: tuple[Shape, ...] = (WITH_JWT, KEYS_OF_CALLER)
SPELLINGS: dict[str, Any] = {
    "as it is": lambda text: text,
    "percent-encoded": lambda text: quote(text, safe=""),
    "in a query": quote_plus,
    "encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "every character encoded": lambda text: "".join(f"%{ord(c):02x}" for c in text),
    "in JSON": lambda text: text.replace("/", "\\/").replace("=", "\\u003d").replace("+", "\\u002B"),
    "in HTML": lambda text: text.replace("/", "&#x2F;").replace("=", "&#61;"),
    "its beginning": lambda text: text[:29],
    "its end": lambda text: text[-20:],
    "its middle": lambda text: text[7:26],
    "broken off": lambda text: f"{text[:25]}... {text[9:]}",
}
repeated = pytest.mark.parametrize("secret", [KEYS_OF_CALLER.secret_access_key, KEYS_OF_CALLER.session_token, JWT])


def has_run_of(secret: str, text: str, *, length: int = 16) -> bool:
    """Say whether *text* has so many characters in a row as in *secret*, by the plain definition."""
    text = unquote(unquote(text)).replace("\\/", "/").replace("\\u003d", "=").replace("\\u002B", "+")
    text = unescape(text)
    return any(secret[start : start + length] in text for start in range(len(secret) - length + 1))


@repeated
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_message_that_repeats_a_secret_is_shown_without_it(secret: str, spelling: Any) -> None:
    """G12: the canonical request that AWS quotes has the session token in it; the rest of the message is kept."""
    said = f"The Canonical String should have been 'POST x-amz-security-token:{spelling(str(secret))}' for demo"
    bodies = [
        f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{escape(said)}</Message></Error></ErrorResponse>",
        json.dumps({"__type": "AccessDenied", "message": said}),
    ]
    for body in bodies:
        found = read(ASSUME_ROLE, respond(body, 403), sent_at=NOW.timestamp(), sent=SENT)

        assert isinstance(found, ServiceError)
        assert found.message.startswith("The Canonical String should have been 'POST x-amz-security-token:***")
        assert found.message.endswith("' for demo")
        for text in (str(found), repr(found), repr(vars(found)), *map(str, found.args)):
            assert not has_run_of(secret, text)


@repeated
def test_no_other_part_of_an_error_repeats_a_secret(secret: str) -> None:
    """G12: the code, the id, the kind of content, and the host of a redirect end up in logs, too."""
    secret = str(secret)
    error = f"<Error><Code>{secret}</Code><RequestId>{secret}</RequestId></Error>"
    page = f"<html>{secret}</html>"
    for found in (
        read(ASSUME_ROLE, respond(error, 400), sent_at=NOW.timestamp(), sent=SENT),
        read(
            ASSUME_ROLE,
            respond("", 400, x_amzn_errortype=secret, x_amzn_requestid=secret),
            sent_at=NOW.timestamp(),
            sent=SENT,
        ),
        read(ASSUME_ROLE, respond(page, 400, content_type=secret), sent_at=NOW.timestamp(), sent=SENT),
        read(ASSUME_ROLE, respond(page, 200, content_type=secret), sent_at=NOW.timestamp(), sent=SENT),
        read(
            ASSUME_ROLE,
            respond(page, 302, location=f"http://{quote(secret)[:60]}/"),
            sent_at=NOW.timestamp(),
            sent=SENT,
        ),
    ):
        assert isinstance(found, STSError)
        assert not has_run_of(secret, f"{found} {vars(found)!r} {found.args}")
        assert not has_run_of(secret.lower(), str(found).lower())


@repeated
def test_the_request_id_of_a_good_answer_repeats_no_secret(secret: str) -> None:
    """G12: it goes to logs and events."""
    after = f"<ResponseMetadata><RequestId>{secret}</RequestId></ResponseMetadata>"
    found: Any = read(
        ASSUME_ROLE, respond(wrap("AssumeRole", GOOD["AssumeRole"], after=after)), sent_at=NOW.timestamp(), sent=SENT
    )

    assert not has_run_of(secret, found.metadata.request_id)


@pytest.mark.parametrize("quoted", ["123456", "%31%32%33456", "'123456'", "code=123456&x"])
def test_a_message_that_repeats_an_mfa_code_is_shown_without_it(quoted: str) -> None:
    """G12: but the number of an account, which has the same digits in it, is shown."""
    body = (
        f"<Error><Code>AccessDenied</Code><Message>{escape(quoted)} is wrong for {WITH_MFA.role_arn}</Message></Error>"
    )
    found = read(ASSUME_ROLE, respond(body, 403), sent_at=NOW.timestamp(), sent=(WITH_MFA, None))

    assert "***" in str(found).split(" is wrong")[0]
    assert str(found).endswith(f" is wrong for {WITH_MFA.role_arn} (HTTP 403)")


def test_what_is_not_secret_is_shown() -> None:
    """G12: who may not do what is the point of the message."""
    said = (
        f"User: arn:aws:iam::123456789012:user/me is not authorized to perform: sts:AssumeRole on {WITH_JWT.role_arn}"
    )
    body = f"<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>"

    assert read(ASSUME_ROLE, respond(body, 403), sent_at=NOW.timestamp(), sent=SENT).message == said  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "status", "fault"),
    [
        ("Sender", 400, "client"),
        ("Receiver", 400, "server"),
        ("Sender", 500, "client"),
        ("Unknown", 503, "server"),
        ("", 400, "client"),
        ("", 200, "client"),
    ],
)
def test_the_fault_is_what_the_service_says_else_what_the_status_says(kind: str, status: int, fault: str) -> None:
    found = ask(ASSUME_ROLE, f"<Error><Type>{kind}</Type><Code>X</Code></Error>", status)

    assert (found.fault, found.code, found.status) == (fault, "X", status)


@pytest.mark.parametrize("code", ["Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown", "Unknown"])
@pytest.mark.parametrize("status", [400, 403, 429, 503])
def test_throttling_is_known_by_its_code_or_by_429(code: str, status: int) -> None:
    """F13: STS throttles with status 400."""
    found = ask(ASSUME_ROLE, f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>", status)

    assert (type(found) is ThrottlingError) == (code != "Unknown" or status == 429)
    assert found.throttled == (type(found) is ThrottlingError)
    assert found.retryable == (found.throttled or status == 503)


PAGES = {
    "nothing": "",
    "space": " \n",
    "HTML": "<html><head><title>503</title><body><hr>nginx",
    "XHTML": "<html><body>Service unavailable</body></html>",
    "JSON": '{"Credentials": {"Code": "Throttling"}}',
    "a list": '[{"Code": "Throttling", "Message": "x"}]',
    "JSON without an end": '{"Code": "Throttling"',
    "text": "upstream connect error",
    "no error in it": "<ErrorResponse/>",
    "text in it": "<ErrorResponse>Throttling</ErrorResponse>",
    "two errors": "<ErrorResponse><Error><Code>A</Code></Error><Error><Code>B</Code></Error></ErrorResponse>",
    "a good answer": wrap("AssumeRole", GOOD["AssumeRole"]),
    "DOCTYPE": '<!DOCTYPE html><html><body>"x"</body></html>',
    "cut": FORMS["AWS"][:-9],
}


@pytest.mark.parametrize(("page", "status"), [*product(PAGES, [400, 403, 500, 503, 599])])
def test_an_error_page_of_somebody_else_has_the_status_as_its_code(page: str, status: int) -> None:
    """F12, T15: retried when the status says so; nothing of the page is in the text."""
    found = ask(ASSUME_ROLE, PAGES[page], status, content_type="text/html")
    length = len(PAGES[page])

    assert type(found) is ServiceError
    assert (found.code, found.status) == (str(status), status)
    assert found.retryable == (status in (500, 502, 503, 504))
    assert f"{status}: the response contains no STS error ('text/html', {length} bytes) (HTTP {status}" in str(found)
    assert SENTINEL not in str(found)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_compressed_error_page_is_as_transient_as_any(status: int) -> None:
    """F12, T10: a balancer that compresses its own pages unasked is still a balancer in trouble."""
    found = ask(ASSUME_ROLE, b"\x1f\x8b\x08\x00", status, content_encoding="gzip")

    assert isinstance(found, STSError)
    assert found.retryable


# What is not an answer -----------------------------------------------------------------------------------------------


@each_operation
def test_every_beginning_of_an_answer_is_a_cut_connection(operation: Operation[Any]) -> None:
    """F4, F5: without a length nothing but the parser sees the cut, and half an answer is never used."""
    body = ('<?xml version="1.0" encoding="UTF-8"?>\n' + wrap(operation.name, GOOD[operation.name])).encode()

    for length in range(len(body)):
        found = refusal(operation, body[:length])

        assert found.retryable, body[:length]
        assert SENTINEL not in str(found)
    assert type(ask(operation, body)) is operation.response


@each_operation
def test_an_answer_with_a_byte_gone_or_changed_is_never_a_crash(operation: Operation[Any]) -> None:
    """What comes out is a response or an error as a value, whatever comes in."""
    body = wrap(operation.name, GOOD[operation.name]).encode()

    for position in range(0, len(body), 3):
        for damaged in (body[:position] + body[position + 1 :], body[:position] + b"<" + body[position + 1 :]):
            found = ask(operation, damaged)

            assert isinstance(found, operation.response | ResponseParseError)


@pytest.mark.parametrize("status", [200, 201, 204])
def test_an_empty_answer_is_transient(status: int) -> None:
    """F6."""
    found = refusal(ASSUME_ROLE, "", status)

    assert found.retryable
    assert str(found) == f"not a valid STS response: it is empty (HTTP {status}, 'text/xml', 0 bytes)"


@pytest.mark.parametrize(
    "page",
    [
        "<html><body>Log in<br>to the network",
        "<html><body>Log in</body></html>",
        "<!DOCTYPE html>\n<html><body>Log in</body></html>",
        "\n<!doctype HTML><html><body>Log in</body></html>",
        "<HTML/>",
        "Log in",
        "\n <p>x</p></p>",
    ],
)
def test_a_page_of_a_captive_portal_is_transient(page: str) -> None:
    """F7: the error says content type, status and length, and nothing of the page."""
    found = refusal(ASSUME_ROLE, page, content_type="text/html; charset=utf-8")

    assert found.retryable
    assert str(found).endswith(f"(HTTP 200, 'text/html; charset=utf-8', {len(page)} bytes)")
    assert "Log in" not in str(found)


@pytest.mark.parametrize("body", ['{"AssumeRoleResponse": {}}', ' [{"a": 1}]', "\n{"], ids=repr)
def test_json_is_another_service(body: str) -> None:
    """F10: trying again brings the same."""
    found = refusal(ASSUME_ROLE, body, content_type="application/json")

    assert not found.retryable
    assert "not well-formed XML" in str(found)


BUCKETS = '<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Buckets/></ListAllMyBucketsResult>'
IDENTITY = GOOD["GetCallerIdentity"]
SPOOFS = {
    "another service": BUCKETS,
    "another action": wrap("GetCallerIdentity", IDENTITY),
    "another name space": wrap("AssumeRole", GOOD["AssumeRole"], space="http://s3.amazonaws.com/doc/2006-03-01/"),
    "a longer name space": wrap("AssumeRole", GOOD["AssumeRole"], space=f"{SPACE}x"),
    "result only": f"<AssumeRoleResult>{GOOD['AssumeRole']}</AssumeRoleResult>",
    "result of another action": f"<AssumeRoleResponse>{wrap('GetCallerIdentity', IDENTITY)}</AssumeRoleResponse>",
    "deeper": f"<AssumeRoleResponse><x>{wrap('AssumeRole', GOOD['AssumeRole'])}</x></AssumeRoleResponse>",
    "wrapped": f"<x>{wrap('AssumeRole', GOOD['AssumeRole'])}</x>",
    "no result": f'<AssumeRoleResponse xmlns="{SPACE}"/>',
    "text": f'<AssumeRoleResponse xmlns="{SPACE}">AssumeRoleResult</AssumeRoleResponse>',
    "two results": "<AssumeRoleResponse>"
    + f"<AssumeRoleResult>{GOOD['AssumeRole']}</AssumeRoleResult>" * 2
    + "</AssumeRoleResponse>",
    "result of a stranger": f'<AssumeRoleResponse xmlns="{SPACE}"><AssumeRoleResult xmlns="urn:x">{GOOD["AssumeRole"]}'
    "</AssumeRoleResult></AssumeRoleResponse>",
    "lower case": wrap("assumerole", GOOD["AssumeRole"]),
    "in a comment": f"<AssumeRoleResponse><!--{wrap('AssumeRole', GOOD['AssumeRole'])}--></AssumeRoleResponse>",
}


@pytest.mark.parametrize("body", SPOOFS.values(), ids=SPOOFS.keys())
def test_an_answer_of_somebody_else_is_refused_for_good(body: str) -> None:
    """F8, T12: what another service says must never become credentials, and says the same again when asked again."""
    found = refusal(ASSUME_ROLE, body)

    assert not found.retryable
    assert SENTINEL not in repr(found)


@pytest.mark.parametrize(
    "result",
    [
        f"<Credentials>{KEYS}</Credentials>" * 2,
        f"<Credentials>{KEYS}{KEYS}</Credentials>",
        f"<Credentials>{KEYS}<AccessKeyId>AKIA</AccessKeyId></Credentials>",
        f"<Credentials>{KEYS.replace('ASIAEXAMPLE', 'A<x/>B')}</Credentials>",
        f"<Credentials><Credentials>{KEYS}</Credentials></Credentials>",
        f"<Message><![CDATA[<Credentials>{KEYS}</Credentials>]]></Message>",
        f"<SourceIdentity>&lt;Credentials>{KEYS}&lt;/Credentials></SourceIdentity>",
        f"<Credentials xmlns='urn:x'>{KEYS}</Credentials>",
        f"<Credentials>{KEYS}</Credentials>{USER}{USER}",
        f"<Credentials>{KEYS}</Credentials><SourceIdentity>a</SourceIdentity><SourceIdentity>b</SourceIdentity>",
    ],
    ids=range(10),
)
def test_an_ambiguous_answer_is_refused(result: str) -> None:
    """T12: exactly one of each, at its one place; text that looks like elements is text."""
    found = refusal(ASSUME_ROLE, wrap("AssumeRole", result))

    assert not found.retryable
    assert SENTINEL not in repr(found)


MEMBERS = ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"]


@pytest.mark.parametrize("name", MEMBERS)
def test_credentials_without_one_of_four_are_refused_and_it_is_named(name: str) -> None:
    """F50, F64: keys, token and expiration are required; with less, every later call would fail."""
    less = KEYS[: KEYS.index(f"<{name}>")] + KEYS[KEYS.index(f"</{name}>") + len(name) + 3 :]
    found = refusal(ASSUME_ROLE, wrap("AssumeRole", f"<Credentials>{less}</Credentials>"))

    assert f": AssumeRoleResult.Credentials.{name} is missing (HTTP 200" in str(found)


def test_two_expirations_are_no_expiration() -> None:
    """T12: which of them counts is not ours to guess."""
    found = refusal(ASSUME_ROLE, wrap("AssumeRole", f"<Credentials>{KEYS}<Expiration>x</Expiration></Credentials>"))

    assert "AssumeRoleResult.Credentials.Expiration is unreadable" in str(found)


@pytest.mark.parametrize("name", MEMBERS[:3])
def test_an_empty_key_or_token_is_no_key(name: str) -> None:
    """F64: what is required is there to be used; an empty one would fail at the next call, far from the cause."""
    start = KEYS.index(f"<{name}>")
    empty = f"{KEYS[:start]}<{name}/>{KEYS[KEYS.index(f'</{name}>') + len(name) + 3 :]}"
    found = refusal(ASSUME_ROLE, wrap("AssumeRole", f"<Credentials>{empty}</Credentials>"))

    assert f"AssumeRoleResult.Credentials.{name}" in str(found)


@pytest.mark.parametrize(
    ("operation", "result", "where"),
    [
        (ASSUME_ROLE, "", "AssumeRoleResult.Credentials is missing"),
        (ASSUME_ROLE, "text", "AssumeRoleResult.Credentials is missing"),
        (ASSUME_ROLE, "<Credentials/>", "AssumeRoleResult.Credentials.AccessKeyId is missing"),
        (ASSUME_ROLE, f"<Credentials>{SENTINEL}</Credentials>", "AssumeRoleResult.Credentials.AccessKeyId is missing"),
        (
            ASSUME_ROLE,
            f"<Credentials>{KEYS}</Credentials>{USER}{USER}",
            "AssumeRoleResult.AssumedRoleUser is unreadable",
        ),
        (
            ASSUME_ROLE,
            f"<Credentials>{KEYS}</Credentials><PackedPolicySize>{SENTINEL}</PackedPolicySize>",
            "AssumeRoleResult.PackedPolicySize is unreadable",
        ),
        (
            ASSUME_ROLE,
            f"<Credentials>{KEYS.replace('2026-01-01T01:00:00Z', SENTINEL)}</Credentials>",
            "AssumeRoleResult.Credentials.Expiration is unreadable",
        ),
        (
            ASSUME_ROLE_WITH_WEB_IDENTITY,
            f"<Credentials>{KEYS}</Credentials><AssumedRoleUser><Arn><x/></Arn></AssumedRoleUser>",
            "AssumeRoleWithWebIdentityResult.AssumedRoleUser.Arn is unreadable",
        ),
        (GET_WEB_IDENTITY_TOKEN, f"<WebIdentityToken>{SENTINEL}</WebIdentityToken>", "Result.Expiration is missing"),
    ],
)
def test_what_cannot_be_read_is_named_and_not_quoted(operation: Operation[Any], result: str, where: str) -> None:
    """T15: the errors of the libraries below quote what they cannot read, and that may be a secret."""
    found = refusal(operation, wrap(operation.name, result))

    assert where in str(found)
    assert not found.retryable
    assert SENTINEL not in "".join(traceback.format_exception(found)) + repr(vars(found))
    assert (found.__cause__, found.__context__, found.__traceback__) == (None, None, None)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity", "x"])
def test_a_compressed_answer_is_refused(encoding: str) -> None:
    """T10: it was not asked for, and a small one can be a large one."""
    found = refusal(ASSUME_ROLE, wrap("AssumeRole", GOOD["AssumeRole"]), content_encoding=encoding)

    assert "compressed" in str(found)
    assert not found.retryable


@pytest.mark.parametrize("encoding", ["identity", "Identity"])
def test_an_answer_that_says_that_it_is_not_compressed_is_read(encoding: str) -> None:
    found = ask(ASSUME_ROLE, wrap("AssumeRole", GOOD["AssumeRole"]), content_encoding=encoding)

    assert type(found) is shapes.AssumeRoleResponse


@pytest.mark.parametrize("content_type", ["text/html\x1b[2J\r\nFAKE", "x" * 9000, "é", ""], ids=lambda t: ascii(t[:20]))
def test_a_content_type_is_shown_short_and_in_printable_ascii(content_type: str) -> None:
    """T45: it comes from the network, and goes to logs."""
    for found in (
        refusal(ASSUME_ROLE, "x", content_type=content_type),
        ask(ASSUME_ROLE, "", 503, content_type=content_type),
    ):
        assert str(found).isascii()
        assert str(found).isprintable()
        assert len(str(found)) < 300


def test_an_answer_without_a_content_type_says_so() -> None:
    for status in (200, 503):
        found = read(ASSUME_ROLE, HttpResponse(status, {}, SecretBytes(b"")), sent_at=NOW.timestamp())

        assert "no content type" in str(found)


# Redirects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_an_error_that_names_the_host_and_no_more(status: int) -> None:
    """T4: the rest of the location can carry a token, in its user info, path or query."""
    location = f"https://{SENTINEL}:{SENTINEL}@Evil.Example:8443/{SENTINEL}?token={SENTINEL}#{SENTINEL}"
    found = refusal(ASSUME_ROLE, wrap("AssumeRole", GOOD["AssumeRole"]), status, location=location)

    assert type(found) is RedirectRefused
    assert str(found) == f"HTTP {status} redirect to host 'evil.example': not followed"
    assert not found.retryable


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ({}, " to a relative URL: not followed"),
        ({"location": "/login?x"}, " to a relative URL: not followed"),
        ({"location": "https://[::1]:1/"}, " to host '::1': not followed"),
        ({"location": "https://[::1/"}, " to an invalid URL: not followed"),
        ({"location": "https://\uff21\u2100/"}, " to an invalid URL: not followed"),
        ({"location": "//h\x1b2J\u202e/"}, r" to host 'h\x1b2j\u202e': not followed"),
        ({"location": "http://é/"}, r" to host '\xe9': not followed"),
    ],
)
def test_a_location_that_cannot_be_shown_is_not_shown(location: dict[str, str], shown: str) -> None:
    """T45: it comes from the network, and goes to logs."""
    found = refusal(ASSUME_ROLE, "", 302, **location)

    assert str(found) == f"HTTP 302 redirect{shown}"


def test_a_location_is_shown_short() -> None:
    """T45: a host name has at most 253 characters; a header has thousands."""
    assert len(str(refusal(ASSUME_ROLE, "", 302, location=f"https://{'h' * 8000}/"))) < 400


# Expirations ---------------------------------------------------------------------------------------------------------


def expiration(text: str, requested: int | None = None) -> Any:
    body = wrap("GetSessionToken", f"<Credentials>{KEYS.replace('2026-01-01T01:00:00Z', text)}</Credentials>")
    found = read(GET_SESSION_TOKEN, respond(body), sent_at=NOW.timestamp(), requested=requested)
    return found.credentials.expiration if isinstance(found, shapes.GetSessionTokenResponse) else found


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-01-01T01:00:00Z", NOW + timedelta(hours=1)),
        ("2026-01-01T01:00:00z", NOW + timedelta(hours=1)),
        ("2026-01-01T01:00:00", NOW + timedelta(hours=1)),
        ("2026-01-01T01:00:00.123456789Z", NOW + timedelta(hours=1, microseconds=123_456)),
        ("2026-01-01T03:00:00+02:00", NOW + timedelta(hours=1)),
        ("9999-12-31T23:59:59Z", NOW + timedelta(hours=12)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_an_expiration_is_read_in_all_its_forms(text: str, when: datetime) -> None:
    """F50: nanoseconds, a lower-case z, no zone; the year 9999 comes down to the 12 hours that are given unasked."""
    assert expiration(text) == when


@pytest.mark.parametrize(
    "text",
    ["2026-01-01T01:00:00+0000", "2026-01-01T02:00:00+01", "2026-01-01T01:00:00UTC", "20260101T010000Z", "1767229200"],
)
def test_an_expiration_is_read_in_every_form_that_is_in_use(text: str) -> None:
    """B11: the keys have been issued by then; to refuse their answer loses them."""
    assert expiration(text) == NOW + timedelta(hours=1)


def test_what_was_requested_and_granted_is_believed() -> None:
    """B15: a server may grant a week to a client that does not check its parameters."""
    assert expiration("2026-01-08T00:00:00Z", requested=604_800) == NOW + timedelta(days=7)
    assert expiration("9999-12-31T23:59:59Z", requested=604_800) == NOW + timedelta(days=7)


def test_an_absurd_expiration_comes_down_to_what_was_asked_for() -> None:
    """F50."""
    assert expiration("9999-12-31T23:59:59Z", requested=900) == NOW + timedelta(seconds=900)
    assert expiration("2026-01-01T01:15:00Z", requested=900) == NOW + timedelta(seconds=4500)
    assert expiration("2026-01-01T01:15:01Z", requested=900) == NOW + timedelta(seconds=900)


@pytest.mark.parametrize(
    "text", ["", "soon", "-", "17672292001767229200", "2026-01-01", "2026-01-01T24:00:01Z", "0001-01-01T00:00:00+09:00"]
)
def test_an_unreadable_expiration_is_an_error(text: str) -> None:
    """F50: credentials that seem to last for ever are never refreshed."""
    found = expiration(text)

    assert isinstance(found, ResponseParseError)
    assert "Credentials.Expiration is unreadable" in str(found)


@pytest.mark.parametrize("requested", ["3600", 10**30, 3600.0], ids=repr)
def test_a_lifetime_that_was_not_checked_cannot_spoil_a_good_answer(requested: Any) -> None:
    """With validation switched off the service judges the request; the answer that it gives must not be lost."""
    assert expiration("2026-01-01T01:00:00Z", requested=requested) == NOW + timedelta(hours=1)


def test_an_error_never_carries_the_answer() -> None:
    """T15: JSON of a mock, with keys in it, is refused without quoting it."""
    found = refusal(ASSUME_ROLE, json.dumps({"Credentials": {"SecretAccessKey": SENTINEL}}))

    assert SENTINEL not in repr(vars(found)) + repr(found) + str(found)


def test_a_request_id_is_short_and_on_one_line() -> None:
    """T15: it ends up in logs, and the answer may be somebody else's."""
    forged = f"<ResponseMetadata><RequestId>x\nCRITICAL forged{'x' * 900}</RequestId></ResponseMetadata>"
    found = ask(ASSUME_ROLE, wrap("AssumeRole", GOOD["AssumeRole"], after=forged))

    assert found.metadata.request_id.startswith("x\\x0aCRITICAL forged")
    assert len(found.metadata.request_id) < 300
