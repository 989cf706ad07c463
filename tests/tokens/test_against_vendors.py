"""Tokens compared with those of the packages that the vendors publish."""

import base64
import importlib.metadata
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.credentials import CredentialProvider
from botocore.credentials import Credentials as TheirCredentials
from hypothesis import given
from hypothesis import strategies as st
from tokens.cases import TEMPORARY, frozen

from sts_async import tokens

THEIRS = TheirCredentials(TEMPORARY.access_key_id, str(TEMPORARY.secret_access_key), TEMPORARY.session_token)
REGIONS = st.sampled_from(["eu-west-1", "us-east-1", "cn-north-1", "us-gov-west-1", "ap-southeast-7"])
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(lambda at: at.replace(tzinfo=UTC))


class Fixed(CredentialProvider):
    """A provider of botocore that has the keys."""

    def load(self) -> TheirCredentials:
        return THEIRS


@given(region=REGIONS, at=TIMES)
def test_a_token_of_msk_is_that_of_the_signer_of_aws(region: str, at: datetime) -> None:
    name = "aws-msk-iam-sasl-signer-python"
    vendor = pytest.importorskip("aws_msk_iam_sasl_signer.MSKAuthTokenProvider", reason=f"needs {name}")

    with frozen(at):
        expected, end = vendor.generate_auth_token_from_credentials_provider(region, Fixed())
    token = tokens.sign_msk_token(
        TEMPORARY, region=region, at=at, user_agent=f"{name}/{importlib.metadata.version(name)}"
    )

    assert token.value == expected
    assert int(token.expiration.timestamp()) * 1000 == end


@given(region=REGIONS, at=TIMES)
def test_a_key_of_bedrock_is_that_of_the_generator_of_aws(region: str, at: datetime) -> None:
    vendor = pytest.importorskip("aws_bedrock_token_generator", reason="needs aws-bedrock-token-generator")

    with frozen(at):
        expected = vendor.BedrockTokenGenerator().get_token(THEIRS, region)

    assert tokens.sign_bedrock_api_key(TEMPORARY, region=region, at=at).value == expected


class Adapter:
    """Keeps what a client of Vault would send."""

    sent: dict[str, Any]

    def login(self, *, url: str, use_token: bool, json: dict[str, Any]) -> None:
        self.sent = json


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
@pytest.mark.parametrize("server_id", [None, "vault.example.com"])
def test_a_login_of_vault_has_the_members_of_hvac(server_id: str | None) -> None:
    """The client signs its Content-Length, too; otherwise the two are alike."""
    vendor = pytest.importorskip("hvac.api.auth_methods.aws", reason="needs hvac")
    adapter = Adapter()
    vendor.Aws(adapter).iam_login(
        THEIRS.access_key, THEIRS.secret_key, THEIRS.token, header_value=server_id, role="reader"
    )

    ours = tokens.sign_vault_login(TEMPORARY, role="reader", server_id=server_id, at=datetime.now(UTC)).reveal()

    plain = {"role", "iam_http_request_method", "iam_request_url", "iam_request_body"}
    assert {name: ours[name] for name in plain} == {name: adapter.sent[name] for name in plain}
    assert {*ours} == {*adapter.sent}
    headers, theirs = (json.loads(base64.b64decode(one["iam_request_headers"])) for one in (ours, adapter.sent))
    assert {*theirs} - {*headers} == {"Content-Length"}
    assert {*headers} - {*theirs} == set()
    same = {"Content-Type", "Host", "X-Amz-Security-Token"} | ({tokens.vault.SERVER_ID_HEADER} if server_id else set())
    assert {name: headers[name] for name in same} == {name: theirs[name] for name in same}
