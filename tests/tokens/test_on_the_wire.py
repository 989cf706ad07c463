"""Tokens that a service replays to STS, as clusters of EKS and Vault do, over a socket."""

import base64
import json
from typing import Any

import pytest
from tokens.cases import AT, TEMPORARY
from tokens.replays import as_a_cluster, as_vault

from sts_async import Credentials, tokens
from sts_async.testing import LocalSTS

ROLE = "arn:aws:iam::123456789012:role/demo"
SESSION = "arn:aws:sts::123456789012:assumed-role/demo/"


async def test_a_cluster_learns_from_a_token_who_signed_it() -> None:
    """Also with a region of its own and a session token with special characters."""
    async with LocalSTS(region="eu-west-1") as server, server.client() as sts:
        token = await tokens.eks_token(sts.role(ROLE), cluster="production")
        status, answer = await as_a_cluster(server, token.value, "production")

    assert status == 200
    assert f"<Arn>{SESSION}" in answer


async def test_a_token_is_of_no_use_at_another_cluster() -> None:
    """The name of the cluster is signed, so a cluster cannot use the tokens that it gets elsewhere."""
    async with LocalSTS(region="eu-west-1") as server, server.client() as sts:
        token = await tokens.eks_token(sts, cluster="staging")
        status, answer = await as_a_cluster(server, token.value, "production")

    assert status == 403
    assert "SignatureDoesNotMatch" in answer


@pytest.mark.parametrize("server_id", [None, "vault.example.com"])
@pytest.mark.parametrize("region", [None, "us-east-1"])
async def test_vault_learns_from_a_login_who_signed_it(server_id: str | None, region: str | None) -> None:
    async with LocalSTS(region="us-east-1") as server, server.client() as sts:
        login = await tokens.vault_login(sts.role(ROLE), role="reader", server_id=server_id, region=region)
        status, answer = await as_vault(server, login.reveal())

    assert status == 200
    assert f"<Arn>{SESSION}" in answer


async def test_a_login_is_of_no_use_at_another_vault() -> None:
    """The id of the server is signed."""
    async with LocalSTS(region="us-east-1") as server, server.client() as sts:
        login = (await tokens.vault_login(sts, server_id="vault.example.com")).reveal()
        status, answer = await as_vault(server, login, **{tokens.vault.SERVER_ID_HEADER: "other.example.com"})

    assert status == 403
    assert "SignatureDoesNotMatch" in answer
    assert "role" not in login


def headers_of(login: tokens.VaultLogin) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(login.reveal()["iam_request_headers"]))
    return found


@pytest.mark.parametrize(
    ("region", "endpoint_url", "host", "scope"),
    [
        (None, None, "sts.amazonaws.com", "us-east-1"),
        ("eu-west-1", None, "sts.eu-west-1.amazonaws.com", "eu-west-1"),
        ("cn-north-1", None, "sts.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("eu-west-1", "https://sts.example.com:8443/", "sts.example.com:8443", "eu-west-1"),
    ],
)
def test_a_login_is_for_the_sts_that_vault_is_configured_for(
    region: str | None, endpoint_url: str | None, host: str, scope: str
) -> None:
    """Vault sends the request to its own STS, whatever the URL says, and the signature must be valid there."""
    login = tokens.sign_vault_login(TEMPORARY, region=region, endpoint_url=endpoint_url, at=AT)
    headers = headers_of(login)

    assert headers["Host"] == [host]
    assert f"/20260101/{scope}/sts/aws4_request" in headers["Authorization"][0]
    assert base64.b64decode(login.reveal()["iam_request_url"]).decode() == f"https://{host}/"


def test_keys_of_a_user_make_a_login_without_a_session_token() -> None:
    keys = Credentials(access_key_id="AKIDEXAMPLE", secret_access_key="SENTINEL-secret")
    headers = headers_of(tokens.sign_vault_login(keys, at=AT))

    assert {*headers} == {"Authorization", "Content-Type", "Host", "X-Amz-Date"}


def test_a_login_shows_no_part_of_it() -> None:
    """T14: its headers are a signature and a session token."""
    login = tokens.sign_vault_login(TEMPORARY, role="reader", at=AT)
    revealed = login.reveal()

    assert f"{login} {login!r}" == " ".join(["<VaultLogin until 2026-01-01T00:05:00Z>"] * 2)
    assert {repr(value) for value in revealed.values()} == {"'***'"}
    assert json.loads(json.dumps(revealed))["role"] == "reader"
    assert not hasattr(login, "__dict__")
