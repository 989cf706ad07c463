"""Documents with credentials: their contents, and that errors about them show no contents."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.credentials import ContainerProvider, ProcessProvider
from botocore.utils import parse_timestamp
from hypothesis import example, given
from hypothesis import strategies as st
from test_secrets import shown

from sts_async._protocol.json_documents import MAX_BYTES, MAX_NESTED, Names, read_credentials, read_object
from sts_async._shape.secret import Secret
from sts_async.errors import CredentialsError
from sts_async.shapes import Credentials

ENDS = datetime(2026, 1, 1, 1, tzinfo=UTC)
INSTANCE = Names()
PROCESS = Names(session_token="SessionToken", temporary=False)
SSO = Names(
    access_key_id="accessKeyId",
    secret_access_key="secretAccessKey",
    session_token="sessionToken",
    expiration="expiration",
    milliseconds=True,
)
KIND = {"names": INSTANCE, "process": PROCESS, "sso": SSO}


def document(names: Names = INSTANCE, **changes: Any) -> dict[str, Any]:
    """Return a document with members changed, or left out where they are `...`."""
    whole = {
        names.access_key_id: "ASIAEXAMPLE",
        names.secret_access_key: "SENTINEL-secret",
        names.session_token: "SENTINEL-token",
        names.expiration: 1_767_229_200_000 if names.milliseconds else "2026-01-01T01:00:00Z",
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not ...}


def refused(body: bytes, names: Names = INSTANCE) -> CredentialsError:
    with pytest.raises(CredentialsError) as caught:
        read_credentials(read_object(body, what="it"), names, what="it")
    return caught.value


@pytest.mark.parametrize("names", KIND.values(), ids=KIND)
def test_the_four_members_are_read(names: Names) -> None:
    found = read_credentials(read_object(json.dumps(document(names)).encode(), what="it"), names, what="it")

    assert found == Credentials(
        access_key_id="ASIAEXAMPLE",
        secret_access_key="SENTINEL-secret",
        session_token="SENTINEL-token",
        expiration=ENDS,
    )
    assert type(found.secret_access_key) is Secret


@pytest.mark.parametrize("token", [..., None, ""])
def test_a_process_need_not_give_token_nor_expiration(token: Any) -> None:
    """Keys of a user have neither; some processes write an empty token for them."""
    found = read_credentials(document(PROCESS, SessionToken=token, Expiration=...), PROCESS, what="it")

    assert found.session_token is None
    assert found.expiration is None


BROKEN: dict[str, tuple[Names, dict[str, Any], str]] = {
    "no key": (INSTANCE, {"AccessKeyId": ...}, "it: AccessKeyId is missing"),
    "null secret": (INSTANCE, {"SecretAccessKey": None}, "it: SecretAccessKey is missing"),
    "no token": (INSTANCE, {"Token": ...}, "it: Token is missing"),
    "empty token": (INSTANCE, {"Token": ""}, "it: Token is empty"),
    "a list": (PROCESS, {"SecretAccessKey": ["SENTINEL"]}, "it: SecretAccessKey is not a text"),
    "a line break": (
        PROCESS,
        {"SecretAccessKey": "SENTINEL\r\nX: y"},
        "it: SecretAccessKey contains characters that are invalid in an HTTP header",
    ),
    "not ASCII": (
        INSTANCE,
        {"Token": "SENTINEL\u2028"},
        "it: Token contains characters that are invalid in an HTTP header",
    ),
    "no expiration": (INSTANCE, {"Expiration": ...}, "it: Expiration is missing"),
    "not a time": (PROCESS, {"Expiration": "SENTINEL"}, "it: Expiration is not a time such as 2026-01-01T00:00:00Z"),
    "no such time": (
        INSTANCE,
        {"Expiration": "2026-02-30T00:00:00Z"},
        "it: Expiration is not a time such as 2026-01-01T00:00:00Z",
    ),
    "a list of times": (
        INSTANCE,
        {"Expiration": [1_767_229_200]},
        "it: Expiration is not a time such as 2026-01-01T00:00:00Z",
    ),
    "not a number": (
        SSO,
        {"expiration": "SENTINEL"},
        "it: expiration is not a number of milliseconds since 1970",
    ),
    "true": (SSO, {"expiration": True}, "it: expiration is not a number of milliseconds since 1970"),
    "too late": (SSO, {"expiration": 10**30}, "it: expiration is not a number of milliseconds since 1970"),
    "null": (SSO, {"expiration": None}, "it: expiration is missing"),
}


@pytest.mark.parametrize(("names", "changes", "message"), BROKEN.values(), ids=BROKEN)
def test_an_error_names_the_member_and_shows_no_value(names: Names, changes: dict[str, Any], message: str) -> None:
    """T15, T16: bad Expiration, null key; a traceback with local variables has nothing of the document."""
    error = refused(json.dumps(document(names, **changes)).encode(), names)

    assert str(error) == message
    assert "SENTINEL" not in shown(error)


@pytest.mark.parametrize(
    "body",
    [b"", b"SENTINEL", b'{"SecretAccessKey": "SENTINEL"', b"[]", b'"SENTINEL"', b"null", b"\xff\xfeSENTINEL"],
)
def test_other_documents_than_an_object_are_an_error(body: bytes) -> None:
    """T15: the decoder's own error quotes what it read."""
    error = refused(body)

    assert str(error) == "it is not a JSON object"
    assert "SENTINEL" not in shown(error)


@pytest.mark.parametrize(
    "expiration",
    ["2026-01-01T01:00:00+0000", "20260101T010000Z", "2026-01-01T01:00:00UTC", "1767229200", 1_767_229_200],
)
@pytest.mark.parametrize("names", [INSTANCE, PROCESS], ids=["instance", "process"])
def test_an_expiration_is_read_in_every_form_that_is_in_use(names: Names, expiration: Any) -> None:
    """B11: in each source's document."""
    body = json.dumps(document(names, Expiration=expiration)).encode()

    assert read_credentials(read_object(body, what="it"), names, what="it").expiration == ENDS


@pytest.mark.parametrize("expiration", [1_767_229_200_000, 1_767_229_200_000.0, "1767229200000", "20260101T010000Z"])
def test_an_expiration_of_the_access_portal_is_in_milliseconds(expiration: Any) -> None:
    """B11: a number there is never in seconds."""
    body = json.dumps(document(SSO, expiration=expiration)).encode()

    assert read_credentials(read_object(body, what="it"), SSO, what="it").expiration == ENDS


@pytest.mark.parametrize(
    "body",
    [
        *(b"[" * 60_000, b'{"a":' * 10_000),
        *(b'{"a":[' + b"{}," * 20_000 + b"{}]}", b'{"a":[' + b"[]," * 20_000 + b"[]]}"),
        *(b'{"a":' + b"[" * 999, b'{"a":' + b"[" * 998 + b"]" * 998 + b"}", b'{"a":' * 999 + b"1" + b"}" * 999),
    ],
    ids=range(7),
)
def test_a_document_that_would_cost_a_lot_is_refused_or_read(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """G2: an object costs 100 times the memory of its text, so that they are counted before anything is parsed."""
    counted = body.count(b"{") + body.count(b"[") > MAX_NESTED
    if counted:
        monkeypatch.setattr("sts_async._protocol.json_documents.json.loads", None)
    try:
        found = read_object(body, what="it")
    except CredentialsError as error:
        reason = str(error)
    else:
        reason = repr(found)

    assert reason in (
        ["it has more than 1000 objects and arrays"]
        if counted
        else ["it is not a JSON object", "<a document of 1 members>"]
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "cp037"])
def test_a_document_is_utf_8(encoding: str) -> None:
    """G2: the parser would guess the encoding, and what was counted in bytes would count for nothing."""
    assert str(refused(json.dumps(document()).encode(encoding))) == "it is not a JSON object"


def test_a_document_may_begin_with_the_mark_of_utf_8() -> None:
    """G2: some editors and shells write one."""
    assert read_object(json.dumps(document()).encode("utf-8-sig"), what="it").reveal() == document()


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "-Infinity", "1" * 10_000, '1, "a": 2', '{"b": 1, "b": 1}', "01", "+1", "'x'", '"\\x"'],
    ids=lambda value: value[:20],
)
def test_extensions_of_json_are_an_error(value: str) -> None:
    """G2, T12: of two members with one name, which one counts is not ours to guess."""
    assert str(refused(f'{{"a": {value}}}'.encode())) == "it is not a JSON object"


@pytest.mark.parametrize("value", ["1e999", "-1e999", "1" * 4000, '"\\ud800"'], ids=lambda value: value[:20])
def test_a_value_of_another_type_is_an_error(value: str) -> None:
    """G2: infinite, huge or half a character."""
    for name in ("SecretAccessKey", "Expiration"):
        body = json.dumps(document(**{name: "@"})).replace('"@"', value).encode()

        assert str(refused(body)).startswith(f"it: {name} ")


def test_a_document_is_at_most_64_kib() -> None:
    whole = json.dumps(document()).encode()

    assert read_object(whole.ljust(MAX_BYTES), what="it").reveal() == document()
    assert str(refused(whole.ljust(MAX_BYTES + 1))) == "it is larger than 65536 bytes"


def test_a_document_does_not_show_itself() -> None:
    """T16: it is in local variables while it is read."""
    found = read_object(json.dumps({"outer": document()}).encode(), what="it")

    assert repr(found) == "<a document of 1 members>"
    assert repr(found["outer"]) == "<a document of 4 members>"


# -- botocore as the oracle ---------------------------------------------------------------------------------------

VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40)
MEMBER = st.one_of(VISIBLE, st.none(), st.just(...))
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)).map(
    lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ")
)


def by_botocore(read: Callable[[], dict[str, Any]]) -> tuple[Any, ...] | None:
    try:
        found = read()
        ends = found["expiry_time"]
        return found["access_key"], found["secret_key"], found["token"], ends and parse_timestamp(ends)
    except Exception:  # noqa: BLE001 - whatever it is that botocore raises
        return None


def by_us(body: bytes, names: Names) -> tuple[Any, ...] | None:
    try:
        found = read_credentials(read_object(body, what="it"), names, what="it")
    except CredentialsError:
        return None
    return found.access_key_id, found.secret_access_key, found.session_token, found.expiration


@given(key=MEMBER, secret=MEMBER, token=MEMBER, ends=st.one_of(TIMES, st.just(...)))
@example(key="k", secret="s", token=..., ends=...)
def test_botocore_reads_a_process_alike(key: Any, secret: Any, token: Any, ends: Any) -> None:
    """But botocore takes null for a key, which can sign nothing."""
    body = json.dumps(
        document(PROCESS, AccessKeyId=key, SecretAccessKey=secret, SessionToken=token, Expiration=ends, Version=1)
    ).encode()

    class Process:
        returncode = 0

        def communicate(self) -> tuple[bytes, bytes]:
            return body, b""

    oracle = ProcessProvider("p", dict, popen=lambda *_, **__: Process())
    theirs = by_botocore(lambda: oracle._retrieve_credentials_using("x"))

    assert by_us(body, PROCESS) == (None if None in (key, secret) else theirs)


@given(key=MEMBER, secret=MEMBER, token=MEMBER, ends=st.one_of(TIMES, st.just(...)))
def test_botocore_reads_a_container_alike(key: Any, secret: Any, token: Any, ends: Any) -> None:
    """But botocore takes null for a key or a token."""
    whole = document(AccessKeyId=key, SecretAccessKey=secret, Token=token, Expiration=ends)

    class Fetcher:
        def retrieve_full_uri(self, *_: Any, **__: Any) -> dict[str, Any]:
            return whole

    oracle = ContainerProvider({}, Fetcher())._create_fetcher("x")

    ours = by_us(json.dumps(whole).encode(), INSTANCE)

    assert ours == (None if None in (key, secret, token) else by_botocore(oracle))
