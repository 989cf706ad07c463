"""Against moto, an independent server: what it implements answers, what it does not is a clear typed error."""

import base64
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from patience import PATIENCE, accepts, wait_until

from sts_async import Credentials, IMDSProvider, NoRetries, PolicyDescriptorType, STSClient, Tag, errors
from sts_async.shapes import ROOT_TASK_POLICIES

ROLE = "arn:aws:iam::123456789012:role/demo"
SAML = f"""\
<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol">
  <Assertion xmlns="urn:oasis:names:tc:SAML:2.0:assertion">
    <Subject><NameID>me</NameID></Subject>
    <AttributeStatement>
      <Attribute Name="https://aws.amazon.com/SAML/Attributes/RoleSessionName">
        <AttributeValue>me@example.com</AttributeValue>
      </Attribute>
      <Attribute Name="https://aws.amazon.com/SAML/Attributes/Role">
        <AttributeValue>{ROLE},arn:aws:iam::123456789012:saml-provider/idp</AttributeValue>
      </Attribute>
    </AttributeStatement>
  </Assertion>
</samlp:Response>
"""


@pytest.fixture(scope="module")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run moto's server on a free port, and return its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path_factory.mktemp("home")),
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-c", "import sys; from moto.server import main; main(sys.argv[1:])"]
    process = subprocess.Popen(
        [*command, "-H", "127.0.0.1", "-p", str(port)],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: process.poll() is not None or accepts(port))
    if process.poll() is not None or not accepts(port):
        process.kill()
        pytest.fail(f"moto's server did not start (exit status {process.wait()})")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(PATIENCE)


@pytest.fixture
async def sts(moto_url: str) -> AsyncIterator[STSClient]:
    keys = Credentials(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="SENTINEL-secret")
    async with STSClient(region="us-east-1", endpoint_url=moto_url, credentials=keys, retries=NoRetries()) as client:
        yield client


async def test_assume_role(sts: STSClient) -> None:
    """F63: moto closes each connection."""
    response = await sts.assume_role(
        role_arn=ROLE,
        role_session_name="me",
        duration_seconds=1800,
        policy={"Version": "2012-10-17", "Statement": []},
        tags=[Tag(key="team", value="a b")],
    )

    assert response.assumed_role_user is not None
    assert response.assumed_role_user.arn == "arn:aws:sts::123456789012:assumed-role/demo/me"
    assert 1700 < (response.credentials.expiration - datetime.now(UTC)).total_seconds() <= 1800
    assert response.metadata.request_id


async def test_issued_credentials_are_recognised(sts: STSClient, moto_url: str) -> None:
    issued = (await sts.assume_role(role_arn=ROLE, role_session_name="me")).credentials

    async with STSClient(region="us-east-1", endpoint_url=moto_url, credentials=issued) as session:
        identity = await session.get_caller_identity()

    assert identity.arn == "arn:aws:sts::123456789012:assumed-role/demo/me"


async def test_assume_role_with_saml(sts: STSClient) -> None:
    response = await sts.assume_role_with_saml(
        role_arn=ROLE,
        principal_arn="arn:aws:iam::123456789012:saml-provider/idp",
        saml_assertion=base64.b64encode(SAML.encode()).decode(),
    )

    assert response.assumed_role_user is not None
    assert response.assumed_role_user.arn == "arn:aws:sts::123456789012:assumed-role/demo/me@example.com"


async def test_assume_role_with_web_identity(sts: STSClient) -> None:
    response = await sts.assume_role_with_web_identity(
        role_arn=ROLE, role_session_name="me", web_identity_token="SENTINEL-jwt"
    )

    assert response.credentials.session_token


async def test_get_caller_identity(sts: STSClient) -> None:
    identity = await sts.get_caller_identity()

    assert identity.account == "123456789012"
    assert identity.arn.startswith("arn:aws:")


async def test_get_access_key_info(sts: STSClient) -> None:
    assert (await sts.get_access_key_info(access_key_id="AKIAIOSFODNN7EXAMPLE")).account == "123456789012"


async def test_get_session_token(sts: STSClient) -> None:
    """F50: moto writes the expiration with fractions of a second."""
    response = await sts.get_session_token(duration_seconds=900)

    assert 800 < (response.credentials.expiration - datetime.now(UTC)).total_seconds() <= 900


async def test_get_federation_token(sts: STSClient) -> None:
    response = await sts.get_federation_token(name="bob", policy={"Version": "2012-10-17", "Statement": []})

    assert response.federated_user is not None
    assert response.federated_user.arn == "arn:aws:sts::123456789012:federated-user/bob"


@pytest.mark.parametrize("name", ["root", "decode", "delegated", "scoped", "web identity"])
async def test_what_moto_does_not_implement_is_a_clear_typed_error(sts: STSClient, name: str) -> None:
    """It answers HTTP 500 with a page of HTML, which is no error of STS: the status is all there is to say."""
    call = {
        "root": lambda: sts.assume_root(
            target_principal="123456789012", task_policy_arn=PolicyDescriptorType(arn=ROOT_TASK_POLICIES[0])
        ),
        "decode": lambda: sts.decode_authorization_message(encoded_message="SENTINEL"),
        "delegated": lambda: sts.get_delegated_access_token(trade_in_token="SENTINEL"),
        "scoped": lambda: sts.get_scoped_credentials(duration_seconds=60),
        "web identity": lambda: sts.get_web_identity_token(audience=["a"], signing_algorithm="RS256"),
    }[name]

    with pytest.raises(errors.ServiceError, match=r"^500: the response contains no STS error \('text/html") as caught:
        await call()

    assert (caught.value.status, caught.value.fault, caught.value.retryable) == (500, "server", True)


async def test_the_metadata_service_of_moto_gives_credentials(moto_url: str) -> None:
    """C13: it answers HTTP 500 to the extended path."""
    provider = IMDSProvider(endpoint=moto_url)
    async with STSClient(region="us-east-1", endpoint_url=moto_url, credentials=provider) as sts:
        found = await sts.get_credentials()

    assert found.access_key_id == "test-key"
