"""Token files and the responses that renew them, compared with botocore where it has the same function."""

import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.utils import LoginTokenLoader, SSOTokenLoader
from hypothesis import given
from hypothesis import strategies as st

from sts_async._shape.secret import SecretBytes
from sts_async.credentials import _tokens
from sts_async.errors import CredentialsError

AT = datetime(2026, 1, 1, tzinfo=UTC)
SSO = {
    "startUrl": "https://demo.awsapps.com/start",
    "region": "us-east-1",
    "accessToken": "SENTINEL-access",
    "expiresAt": "2026-01-01T01:00:00Z",
    "clientId": "SENTINEL-client",
    "clientSecret": "SENTINEL-client-secret",
    "registrationExpiresAt": "2026-03-01T00:00:00Z",
    "refreshToken": "SENTINEL-refresh",
}
ISSUED = {
    "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
    "secretAccessKey": "SENTINEL-secret",
    "sessionToken": "SENTINEL-session",
}
LOGIN = {
    "accessToken": {**ISSUED, "accountId": "123456789012", "expiresAt": "2026-01-01T00:15:00Z"},
    "tokenType": "aws_sigv4",
    "clientId": "arn:aws:signin:::devtools/same-device",
    "refreshToken": "SENTINEL-refresh",
    "idToken": "SENTINEL-id",
    "dpopKey": "SENTINEL-key",
}


def dumped(document: dict[str, Any], **changes: Any) -> SecretBytes:
    """Return a document with changes; a member whose value is None is left out."""
    merged = {name: value for name, value in {**document, **changes}.items() if value is not None}
    return SecretBytes(json.dumps(merged).encode())


def sso(**changes: Any) -> _tokens.SSOToken:
    return _tokens.read_sso_token(dumped(SSO, **changes), what="the file")


def login(**changes: Any) -> _tokens.LoginToken:
    return _tokens.read_login_token(dumped(LOGIN, **changes), what="the file")


# -- Names ----------------------------------------------------------------------------------------------------------


def test_token_files_have_the_names_that_every_sdk_gives_them() -> None:
    assert _tokens.sso_file_name(session_name="corp", start_url="https://other") == (
        "ee0bfd2552fbd840c02cc48b6e823320543c450f.json"
    )
    assert _tokens.sso_file_name(session_name=None, start_url="https://example.awsapps.com/start") == (
        "e8be5486177c5b5392bd9aa76563515b29358e6e.json"
    )
    assert _tokens.login_file_name(" arn:aws:iam::123456789012:user/alice\n") == (
        "b7d71d383b9557a9bad4c3346c50365819226484c6824a0fdef66637be339db0.json"
    )


@given(session=st.none() | st.text(min_size=1), url=st.text())
def test_botocore_uses_the_same_file_names(session: str | None, url: str) -> None:
    sso_cache: dict[str, Any] = {}
    login_cache: dict[str, Any] = {}
    SSOTokenLoader(sso_cache).save_token(url, {}, session_name=session)
    LoginTokenLoader(login_cache).save_token(url.strip(), {})

    assert [f"{key}.json" for key in sso_cache] == [_tokens.sso_file_name(session_name=session, start_url=url)]
    assert [f"{key}.json" for key in login_cache] == [_tokens.login_file_name(url)]


# -- Token files ----------------------------------------------------------------------------------------------------


def test_an_sso_token_is_read() -> None:
    token = sso()

    assert (token.access_token, token.expires_at) == ("SENTINEL-access", AT + timedelta(hours=1))
    assert token.hindrance(at=AT) is None
    assert json.loads(token.request()) == {
        "clientId": "SENTINEL-client",
        "clientSecret": "SENTINEL-client-secret",
        "grantType": "refresh_token",
        "refreshToken": "SENTINEL-refresh",
    }
    assert "SENTINEL" not in repr(token)


def test_a_login_token_is_read() -> None:
    token = login()

    assert token.credentials.secret_access_key == "SENTINEL-secret"
    assert token.credentials.expiration == token.expires_at == AT + timedelta(minutes=15)
    assert token.key == "SENTINEL-key"
    assert token.hindrance(at=AT) is None
    assert json.loads(token.request()) == {
        "clientId": "arn:aws:signin:::devtools/same-device",
        "grantType": "refresh_token",
        "refreshToken": "SENTINEL-refresh",
    }
    assert "SENTINEL" not in repr(token)


def test_the_time_format_of_older_sdks_is_read() -> None:
    assert sso(expiresAt="2026-01-01T01:00:00UTC").expires_at == AT + timedelta(hours=1)


@pytest.mark.parametrize(
    ("changes", "hindrance"),
    [
        ({"refreshToken": None}, "it has no refreshToken"),
        ({"clientId": None, "clientSecret": ""}, "it has no clientId and no clientSecret"),
        ({"registrationExpiresAt": None}, "it has no registrationExpiresAt"),
        ({"registrationExpiresAt": "SENTINEL"}, "it: registrationExpiresAt is not a time such as 2026-01-01T00:00:00Z"),
        ({"registrationExpiresAt": "2026-01-01T00:00:00Z"}, "the client registration has expired"),
    ],
)
def test_an_sso_token_that_cannot_be_refreshed_says_why(changes: dict[str, Any], hindrance: str) -> None:
    """F40."""
    assert sso(**changes).hindrance(at=AT) == hindrance


@pytest.mark.parametrize("name", ["refreshToken", "clientId", "dpopKey"])
def test_a_login_token_that_cannot_be_refreshed_says_why(name: str) -> None:
    assert login(**{name: None}).hindrance(at=AT) == f"it has no {name}"
    assert login(**{name: 5}).hindrance(at=AT) == f"it has no {name}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"accessToken": None}, "accessToken is missing"),
        ({"accessToken": 5}, "accessToken is not a text"),
        ({"accessToken": ""}, "accessToken is empty"),
        ({"accessToken": "SENTINEL\r\nx: y"}, "accessToken contains characters that are invalid in an HTTP header"),
        ({"accessToken": "SENTINEL-é"}, "accessToken contains characters that are invalid in an HTTP header"),
        ({"expiresAt": None}, "expiresAt is missing"),
        ({"expiresAt": "SENTINEL"}, "expiresAt is not a time such as 2026-01-01T00:00:00Z"),
        ({"expiresAt": "2026-13-01T00:00:00Z"}, "expiresAt is not a time such as 2026-01-01T00:00:00Z"),
        ({"expiresAt": [5]}, "expiresAt is not a time such as 2026-01-01T00:00:00Z"),
    ],
)
def test_an_invalid_sso_token_file_is_refused(changes: dict[str, Any], reason: str) -> None:
    """F37, T15."""
    with pytest.raises(CredentialsError) as caught:
        sso(**changes)

    assert str(caught.value) == f"the file: {reason}"
    assert caught.value.__context__ is None


@pytest.mark.parametrize("access", [None, "SENTINEL", {}, {**ISSUED, "expiresAt": "SENTINEL"}])
def test_an_invalid_login_token_file_is_refused(access: Any) -> None:
    """F37, T15."""
    with pytest.raises(CredentialsError) as caught:
        login(accessToken=access)

    assert caught.value.__context__ is None


LEAVES = st.none() | st.text(max_size=5) | st.integers()
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=5
)


@given(data=st.binary(max_size=50) | DOCUMENTS.map(json.dumps).map(str.encode))
def test_any_contents_of_a_file_raise_only_credentials_errors(data: bytes) -> None:
    """F37."""
    for read in (_tokens.read_sso_token, _tokens.read_login_token, _tokens.read_role_credentials):
        with pytest.raises(CredentialsError):
            read(data, what="it")


# -- Renewal --------------------------------------------------------------------------------------------------------


def test_a_renewed_sso_token_keeps_unknown_members() -> None:
    """F39: other SDKs write members of their own."""
    answer = json.dumps({"accessToken": "SENTINEL-2", "expiresIn": 28800, "refreshToken": "SENTINEL-3"}).encode()
    content = sso(ofSomebodyElse=[1]).renewed(answer, at=AT, what="it")

    assert json.loads(content) == {
        **SSO,
        "ofSomebodyElse": [1],
        "accessToken": "SENTINEL-2",
        "refreshToken": "SENTINEL-3",
        "expiresAt": "2026-01-01T08:00:00Z",
    }
    assert repr(content) == f"<{len(content)} bytes>"


def test_a_refresh_token_that_is_not_rotated_is_kept() -> None:
    of_sso = json.dumps({"accessToken": "SENTINEL-2", "expiresIn": 60}).encode()
    of_login = json.dumps({"accessToken": ISSUED, "expiresIn": 60}).encode()

    assert json.loads(sso().renewed(of_sso, at=AT, what="it"))["refreshToken"] == "SENTINEL-refresh"
    assert json.loads(login().renewed(of_login, at=AT, what="it"))["refreshToken"] == "SENTINEL-refresh"


def test_a_renewed_login_token_keeps_unknown_members() -> None:
    """This includes the account, which the response does not have."""
    issued = {**ISSUED, "accessKeyId": "ASIA2"}
    answer = json.dumps({"accessToken": issued, "expiresIn": 900, "refreshToken": "SENTINEL-2"}).encode()
    content = login(ofSomebodyElse={"a": None}).renewed(answer, at=AT, what="it")

    assert json.loads(content) == {
        **LOGIN,
        "ofSomebodyElse": {"a": None},
        "accessToken": {**issued, "accountId": "123456789012", "expiresAt": "2026-01-01T00:15:00Z"},
        "refreshToken": "SENTINEL-2",
    }


@pytest.mark.parametrize("seconds", [None, "60", 0, -1, True, 1.5, 10**12])
def test_a_response_without_a_lifetime_is_refused(seconds: Any) -> None:
    with pytest.raises(CredentialsError, match="it: expiresIn is not a number of seconds"):
        sso().renewed(dumped({"accessToken": "SENTINEL", "expiresIn": seconds}), at=AT, what="it")
    with pytest.raises(CredentialsError, match="it: expiresIn is not a number of seconds"):
        login().renewed(dumped({"accessToken": ISSUED, "expiresIn": seconds}), at=AT, what="it")


@pytest.mark.parametrize("changes", [{"accessToken": None}, {"accessToken": ""}, {"refreshToken": 5}])
def test_a_response_without_tokens_is_refused(changes: dict[str, Any]) -> None:
    for token, access in ((sso(), "SENTINEL"), (login(), ISSUED)):
        with pytest.raises(CredentialsError):
            token.renewed(dumped({"accessToken": access, "expiresIn": 60, **changes}), at=AT, what="it")


def test_role_credentials_have_an_expiration_in_milliseconds() -> None:
    answer = json.dumps({"roleCredentials": {**ISSUED, "expiration": 1_767_229_200_500}}).encode()
    credentials = _tokens.read_role_credentials(answer, what="it")

    assert credentials.access_key_id == "ASIAIOSFODNN7EXAMPLE"
    assert credentials.expiration == AT + timedelta(hours=1, milliseconds=500)


@pytest.mark.parametrize(
    "fail",
    [
        lambda: login().renewed(dumped({"accessToken": {**ISSUED, "sessionToken": 5}, "expiresIn": 9}), at=AT, what=""),
        lambda: login().renewed(dumped({"accessToken": "SENTINEL", "expiresIn": 9}), at=AT, what=""),
        lambda: login().renewed(dumped({"accessToken": ISSUED, "expiresIn": "SENTINEL"}), at=AT, what=""),
        lambda: login().renewed(dumped({"accessToken": ISSUED, "expiresIn": 9, "refreshToken": "é"}), at=AT, what=""),
        lambda: sso().renewed(dumped({"accessToken": "SENTINEL-é", "expiresIn": 9}), at=AT, what=""),
        lambda: sso(expiresAt="SENTINEL"),
        lambda: sso(accessToken=["SENTINEL"]),
    ],
)
def test_no_traceback_shows_the_contents_of_a_file(fail: Callable[[], Any]) -> None:
    """T16: this includes tracebacks with local variables."""
    with pytest.raises(CredentialsError) as caught:
        fail()
    captured = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in captured.stack if "/tests/" not in frame.filename]

    assert frames
    assert "SENTINEL" not in str([frame.locals for frame in frames])


# -- Whose file it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"startUrl": "https://other.awsapps.com/start"},
        {"startUrl": "https://demo.awsapps.com/"},
        {"startUrl": ["SENTINEL"]},
        {"region": "us-east-2"},
        {"region": ""},
    ],
    ids=str,
)
def test_a_token_of_another_portal_is_refused(changes: dict[str, Any]) -> None:
    """T40: another user may have exchanged the files."""
    (name,) = changes
    with pytest.raises(CredentialsError) as caught:
        _tokens.read_sso_token(dumped(SSO, **changes), what="x", start_url=SSO["startUrl"], region=SSO["region"])

    assert str(caught.value) == f"x: {name} is not the one that was asked for"
    assert _tokens.read_sso_token(dumped(SSO, **changes), what="x")


@pytest.mark.parametrize("tail", ["", "/", "#", "/#/", "#/"])
@pytest.mark.parametrize("start_url", ["https://demo.awsapps.com/start", "https://Demo.awsapps.com/start/", None])
def test_start_urls_are_compared_without_their_usual_endings(start_url: str | None, tail: str) -> None:
    """T40."""
    data = dumped(SSO, startUrl=SSO["startUrl"] + tail)

    assert _tokens.read_sso_token(data, what="x", start_url=start_url, region="us-east-1")


def test_a_file_without_portal_and_region_is_accepted() -> None:
    """T40: not every program writes them."""
    sparse = dumped(SSO, startUrl=None, region=None)
    login = dumped(LOGIN, accessToken={**LOGIN["accessToken"], "accountId": None})  # type: ignore[dict-item]

    assert _tokens.read_sso_token(sparse, what="x", start_url="https://h/start", region="us-east-1")
    assert _tokens.read_login_token(login, what="x", login_session="arn:aws:iam::210987654321:user/me")


@pytest.mark.parametrize("kind", ["iam::{}:user/me", "iam::{}:root", "sts::{}:assumed-role/demo/me"])
def test_a_login_of_another_account_is_refused(kind: str) -> None:
    """T40."""
    ours, other = (f"arn:aws:{kind.format(account)}" for account in ("123456789012", "210987654321"))

    assert _tokens.read_login_token(dumped(LOGIN), what="x", login_session=ours)
    assert _tokens.read_login_token(dumped(LOGIN), what="x", login_session="of some other form")
    with pytest.raises(CredentialsError, match=r"^x: accountId is not the one that was asked for$"):
        _tokens.read_login_token(dumped(LOGIN), what="x", login_session=other)
