"""A foreign client: boto3 works against LocalSTS, and is refused when it should be."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import attrs
import botocore.session
import pytest
import yarl
from botocore.exceptions import ClientError

from sts_async import Credentials
from sts_async.operations import OPERATIONS
from sts_async.shapes import ROOT_TASK_POLICIES
from sts_async.testing import ContextProvider, LocalSTS

Boto = Callable[..., Awaitable[Any]]

ROLE = "arn:aws:iam::123456789012:role/path/demo"
PROVIDER = "arn:aws:iam::123456789012:saml-provider/Corp"


def from_boto(found: dict[str, Any]) -> Credentials:
    return Credentials(
        access_key_id=found["AccessKeyId"],
        secret_access_key=found["SecretAccessKey"],
        session_token=found["SessionToken"],
        expiration=found["Expiration"],
    )


@pytest.mark.slow
async def test_boto3_calls_every_operation(
    boto: Boto, server: LocalSTS, saml: Callable[..., str], jwt: Callable[..., str]
) -> None:
    """Each answer is parsed by botocore against the API's own model."""
    await boto("get_caller_identity")
    await boto("get_session_token", DurationSeconds=900)
    await boto("get_federation_token", Name="bob", PolicyArns=[{"arn": "arn:aws:iam::aws:policy/Read"}])
    await boto("get_access_key_info", AccessKeyId=server.credentials.access_key_id)
    await boto("assume_root", TargetPrincipal="111122223333", TaskPolicyArn={"arn": ROOT_TASK_POLICIES[1]})
    message = server.encode_authorization_message({"a": "<&>"})
    assert (await boto("decode_authorization_message", EncodedMessage=message))["DecodedMessage"] == '{"a":"<&>"}'
    delegated = await boto("get_delegated_access_token", TradeInToken=server.trade_in_token(ROLE))
    assert delegated["AssumedPrincipal"].endswith(":assumed-role/demo/delegated")
    token = await boto("get_web_identity_token", Audience=["app"], SigningAlgorithm="ES384")
    assert token["Expiration"].tzinfo is not None
    with_saml = await boto("assume_role_with_saml", RoleArn=ROLE, PrincipalArn=PROVIDER, SAMLAssertion=saml())
    assert with_saml["Subject"] == "some&body"
    server.declare(ContextProvider("idp.test", claims={"team": "groups"}))
    with_token = await boto(
        "assume_role_with_web_identity", RoleArn=ROLE, RoleSessionName="me", WebIdentityToken=jwt(groups="<blue>")
    )
    assert with_token["Provider"] == "idp.test"
    context = with_token["TrustedIdentityPropagationContext"]
    assert context["OriginIdentity"]["Subject"] == "somebody"
    assert context["TransactionContext"] == {"IdentityProvider": {"team": "<blue>"}}
    assumed = await boto(
        "assume_role",
        RoleArn=ROLE,
        RoleSessionName="me",
        Policy='{"a": "b + c"}',
        Tags=[{"Key": "a b", "Value": "c+d"}],
        TransitiveTagKeys=[],
        MinimumSessionTokenSize=1000,
    )
    assert assumed["SessionTokenSize"] == 1000
    scoped = await boto(
        "get_scoped_credentials", credentials=from_boto(assumed["Credentials"]), Policy="{}", DurationSeconds=60
    )
    assert scoped["ScopedPoliciesCount"] == 1
    identity = await boto("get_caller_identity", credentials=from_boto(scoped["Credentials"]))

    assert identity["Arn"] == "arn:aws:sts::123456789012:assumed-role/demo/me"
    assert {record.operation for record in server.requests} == {operation.name for operation in OPERATIONS}


async def test_boto3_with_a_wrong_secret_is_refused(boto: Boto, server: LocalSTS) -> None:
    wrong = attrs.evolve(server.credentials, secret_access_key="wrong")  # type: ignore[misc]

    with pytest.raises(ClientError) as caught:
        await boto("get_caller_identity", credentials=wrong)
    assert caught.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert caught.value.response["Error"]["Type"] == "Sender"
    assert caught.value.response["ResponseMetadata"]["RequestId"] == server.requests[-1].request_id


@pytest.mark.usefixtures("foreign_logs_are_off")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_url_presigned_by_botocore_comes_in(server: LocalSTS, method: str) -> None:
    def presign() -> str:
        session = botocore.session.Session()
        client = session.create_client(
            "sts",
            region_name="eu-west-1",
            endpoint_url=server.url,
            aws_access_key_id=server.credentials.access_key_id,
            aws_secret_access_key=server.credentials.secret_access_key,
        )
        url: str = client.generate_presigned_url("get_caller_identity", HttpMethod=method)
        client.close()
        return url

    url = await asyncio.to_thread(presign)
    async with aiohttp.ClientSession() as session, session.request(method, yarl.URL(url, encoded=True)) as response:
        assert response.status == 200
        assert ":user/developer</Arn>" in await response.text()
