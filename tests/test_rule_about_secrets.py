"""The one rule about secrets, as `help(sts_async)` and the README say it: holders never show them, `Secret` is text."""

import inspect
import json
import pprint
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

import sts_async
from sts_async import AssumeRoleRequest, Credentials, DecodeAuthorizationMessageResponse, PresignedUrl, StaticProvider
from sts_async.tokens import Token, VaultLogin

TOKEN = "SENTINEL-of-the-rule"
HOLDERS: dict[str, Any] = {
    "credentials": Credentials(access_key_id="AKIA", secret_access_key=TOKEN, session_token=TOKEN),
    "a request": AssumeRoleRequest(role_arn="arn", role_session_name="me", token_code=TOKEN),
    "a response": DecodeAuthorizationMessageResponse(decoded_message=TOKEN),
    "a provider": StaticProvider(Credentials(access_key_id="AKIA", secret_access_key=TOKEN)),
    "a token": Token(value=TOKEN, expiration=datetime(2026, 1, 1, tzinfo=UTC)),  # type: ignore[arg-type]
    "a login": VaultLogin({"iam_request_headers": TOKEN}, expiration=datetime(2026, 1, 1, tzinfo=UTC)),
    "a presigned URL": PresignedUrl(f"https://h/?X-Amz-Security-Token={TOKEN}", expires=60),
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_what_holds_a_secret_never_shows_it(holder: Any) -> None:
    """E8: by no way of printing."""
    shown = [
        repr(holder),
        str(holder),
        f"{holder}",
        f"{holder!r}",
        pprint.pformat([holder]),
    ]

    assert [text for text in shown if TOKEN in text] == []


@pytest.mark.parametrize(
    "secret",
    [
        HOLDERS["credentials"].secret_access_key,
        HOLDERS["credentials"].session_token,
        HOLDERS["a request"].token_code,
        HOLDERS["a response"].decoded_message,
        HOLDERS["a token"].value,
        HOLDERS["a login"].reveal()["iam_request_headers"],
        HOLDERS["a presigned URL"].reveal(),
    ],
    ids=["key", "session token", "code", "message", "token", "login", "URL"],
)
def test_a_secret_is_text_that_hides_in_a_repr_only(secret: Any) -> None:
    """E8: so it can be passed to any library, which writes it into headers, JSON and forms."""
    assert type(secret) is sts_async.Secret
    assert isinstance(secret, str)
    assert {repr(secret), f"{secret!r}", repr([secret])[1:-1], repr({1: secret})[4:-1]} == {"'***'"}
    for text in (str(secret), f"{secret}", "".join([secret]), json.loads(json.dumps(secret))):
        assert TOKEN in text


def test_a_dict_of_credentials_hides_what_it_holds_and_json_of_it_has_the_values() -> None:
    """E8: `attrs.asdict` is a container of secrets; JSON is for other programs."""
    members = attrs.asdict(HOLDERS["credentials"])

    assert TOKEN not in repr(members)
    assert json.loads(json.dumps(members))["session_token"] == TOKEN


def test_help_says_the_rule_and_shows_the_types_that_are_declared() -> None:
    """E8: no constructor of a public class takes "anything" because of how it hides a secret."""
    assert "One rule for secrets." in (sts_async.__doc__ or "")
    assert "Secret" in (sts_async.Credentials.__doc__ or "")
    assert "Secret" in (sts_async.PresignedUrl.__doc__ or "")
    vague = [
        f"{name}.{parameter.name}"
        for name in sts_async.__all__
        if isinstance(cls := getattr(sts_async, name), type) and attrs.has(cls)
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.annotation is Any
    ]
    assert vague == []
    assert inspect.signature(sts_async.Credentials).parameters["secret_access_key"].annotation is str
