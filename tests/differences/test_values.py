"""What goes in and what comes out: the fifth group of lines."""

import io
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from differences.conftest import KEY_ID, SECRET, Boto
from differences.lines import line
from support import ROLE, RawServer, http

from sts_async import Config, Credentials, GetCallerIdentityRequest, OutgoingRequest, RequestHandler, STSClient, sigv4
from sts_async.errors import (
    CredentialsNotFound,
    MalformedPolicyDocumentException,
    ParamValidationError,
    ResponseParseError,
    ServiceError,
)
from sts_async.testing import LocalSTS, Refuse

Serve = Callable[..., Awaitable[RawServer]]
KEYS = Credentials(access_key_id=KEY_ID, secret_access_key=SECRET)


@line("the names of members")
async def test_members_have_names_of_python(boto: Boto, server: LocalSTS) -> None:
    theirs = await boto.run(boto.client(server).assume_role, RoleArn=ROLE, RoleSessionName="me")
    assert theirs["AssumedRoleUser"]["Arn"].endswith("/me")

    async with server.client() as sts:
        ours = await sts.assume_role(role_arn=ROLE, role_session_name="me")
    assert ours.assumed_role_user is not None
    assert ours.assumed_role_user.arn == theirs["AssumedRoleUser"]["Arn"]
    with pytest.raises(TypeError):
        ours["AssumedRoleUser"]  # type: ignore[index]


@line("an answer")
async def test_an_answer_is_a_frozen_value(boto: Boto, server: LocalSTS) -> None:
    theirs = await boto.run(boto.client(server).get_caller_identity)
    theirs["Arn"] = "changed"

    async with server.client() as sts:
        ours = await sts.get_caller_identity()
        assert ours == await sts.get_caller_identity()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ours.arn = "changed"  # type: ignore[misc]
    assert theirs["ResponseMetadata"]["HTTPStatusCode"] == ours.metadata.status == 200


@line("secrets in `repr`, in errors and in the log at DEBUG")
async def test_secrets_are_hidden(boto: Boto, server: LocalSTS) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    for name in ("botocore", "sts_async"):
        logging.getLogger(name).addHandler(handler)
    logging.getLogger("botocore.parsers").setLevel(logging.DEBUG)
    try:
        theirs = await boto.run(boto.client(server).assume_role, RoleArn=ROLE, RoleSessionName="me")
        of_botocore = written.getvalue()
        async with server.client() as sts:
            ours = await sts.assume_role(role_arn=ROLE, role_session_name="me")
        of_ours = written.getvalue().removeprefix(of_botocore)
    finally:
        logging.getLogger("botocore.parsers").setLevel(logging.NOTSET)
        for name in ("botocore", "sts_async"):
            logging.getLogger(name).removeHandler(handler)

    secret = theirs["Credentials"]["SecretAccessKey"]
    assert secret in of_botocore
    assert secret in repr(theirs)
    assert "AssumeRole" in of_ours
    for shown in (of_ours, repr(ours), repr(ours.credentials.secret_access_key)):
        assert str(ours.credentials.secret_access_key) not in shown


@line("an error that the API models")
async def test_modelled_errors_have_classes(boto: Boto, server: LocalSTS) -> None:
    server.faults.add(Refuse("MalformedPolicyDocument", times=2))

    error = await boto.run(boto.client(server).get_caller_identity)
    assert isinstance(error, ClientError)
    assert error.response["Error"]["Code"] == "MalformedPolicyDocument"
    async with server.client() as sts:
        with pytest.raises(MalformedPolicyDocumentException) as caught:
            await sts.get_caller_identity()
    assert caught.value.code == "MalformedPolicyDocument"


@line("no credentials anywhere")
async def test_missing_credentials_are_an_error_that_says_where_was_looked(boto: Boto) -> None:
    assert await boto.run(botocore.session.Session().get_credentials) is None
    async with STSClient(region="eu-west-1") as sts:
        with pytest.raises(CredentialsNotFound, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"):
            await sts.get_credentials()


@line("members that break patterns or upper bounds of the API model")
async def test_all_constraints_of_the_model_are_checked_before_sending(boto: Boto, server: LocalSTS) -> None:
    error = await boto.run(
        boto.client(server).assume_role, RoleArn=ROLE, RoleSessionName="no spaces", DurationSeconds=999_999
    )
    assert error.response["Error"]["Code"] == "ValidationError"
    assert len(server.requests) == 1

    async with server.client() as sts:
        with pytest.raises(ParamValidationError) as caught:
            await sts.assume_role(role_arn=ROLE, role_session_name="no spaces", duration_seconds=999_999)
    assert len(caught.value.violations) == 2
    assert len(server.requests) == 1


@line("`None` as the value of a member")
async def test_none_means_not_given(boto: Boto, server: LocalSTS) -> None:
    error = await boto.run(boto.client(server).assume_role, RoleArn=ROLE, RoleSessionName="me", ExternalId=None)

    assert type(error).__name__ == "ParamValidationError"
    async with server.client() as sts:
        assert (await sts.assume_role(role_arn=ROLE, role_session_name="me", external_id=None)).metadata.status == 200


@line("a member that does not exist")
async def test_a_member_that_does_not_exist_is_a_wrong_call(boto: Boto, server: LocalSTS) -> None:
    error = await boto.run(boto.client(server).assume_role, RoleArn=ROLE, RoleSessionName="me", Colour="red")

    assert type(error).__name__ == "ParamValidationError"
    async with server.client() as sts:
        with pytest.raises(TypeError, match="colour"):
            await sts.assume_role(role_arn=ROLE, role_session_name="me", colour="red")  # type: ignore[call-arg]


@line("an empty list")
async def test_an_empty_list_is_not_sent(boto: Boto, raw_server: Serve) -> None:
    server = await raw_server(http("", status=400))
    client = boto.client(region_name="eu-west-1", endpoint_url=server.url)
    await boto.run(client.assume_role, RoleArn=ROLE, RoleSessionName="me", Tags=[])
    async with STSClient(region="eu-west-1", credentials=KEYS, endpoint_url=server.url) as sts:
        with pytest.raises(ServiceError):
            await sts.assume_role(role_arn=ROLE, role_session_name="me", tags=[])

    theirs, ours = server.requests
    assert b"&Tags=&" in theirs + b"&"
    assert b"Tags" not in ours


@line("a policy, tags, ARNs of policies, a number of seconds")
async def test_members_may_be_given_in_the_usual_forms_of_python(boto: Boto, server: LocalSTS) -> None:
    policy = {"Version": "2012-10-17", "Statement": []}
    client = boto.client(server)

    error = await boto.run(client.assume_role, RoleArn=ROLE, RoleSessionName="me", Policy=policy)
    assert type(error).__name__ == "ParamValidationError"
    async with server.client() as sts:
        response = await sts.assume_role(
            role_arn=ROLE,
            role_session_name="me",
            policy=policy,
            tags={"team": "blue"},
            policy_arns=["arn:aws:iam::aws:policy/ReadOnlyAccess"],
            duration_seconds=timedelta(hours=1),
        )
    assert response.metadata.status == 200


@line("an answer that is not XML, such as a page of a proxy")
async def test_an_answer_of_a_proxy_is_an_error_with_its_status(boto: Boto, raw_server: Serve) -> None:
    proxy = await raw_server(http("<html><br>Forbidden</html>", status=403))
    client = boto.client(region_name="eu-west-1", endpoint_url=proxy.url)

    error = await boto.run(client.get_caller_identity)
    assert isinstance(error, ResponseParserError)
    assert not isinstance(error, ClientError)
    async with STSClient(region="eu-west-1", credentials=KEYS, endpoint_url=proxy.url) as sts:
        with pytest.raises(ServiceError) as caught:
            await sts.get_caller_identity()
    assert caught.value.status == 403


@line("an answer that lacks a member")
async def test_an_answer_must_be_whole(boto: Boto, raw_server: Serve) -> None:
    text = "<GetCallerIdentityResponse><GetCallerIdentityResult/></GetCallerIdentityResponse>"
    server = await raw_server(http(text))
    client = boto.client(region_name="eu-west-1", endpoint_url=server.url)

    assert "Arn" not in await boto.run(client.get_caller_identity)
    async with STSClient(region="eu-west-1", credentials=KEYS, endpoint_url=server.url) as sts:
        with pytest.raises(ResponseParseError, match="is missing"):
            await sts.get_caller_identity()


@line("code of the program in the path of a request")
async def test_handlers_are_objects(boto: Boto, raw_server: Serve) -> None:
    class Tracing(RequestHandler):
        def before_signing(self, outgoing: OutgoingRequest) -> dict[str, str]:
            return {"x-trace": "ours"}

    def trace(request: Any, **_: Any) -> None:
        request.headers["x-trace"] = "theirs"

    server = await raw_server(http("", status=400))
    client = boto.client(region_name="eu-west-1", endpoint_url=server.url)
    client.meta.events.register("before-sign.sts", trace)
    await boto.run(client.get_caller_identity)
    config = Config(handlers=[Tracing()])
    async with STSClient(region="eu-west-1", credentials=KEYS, endpoint_url=server.url, config=config) as sts:
        with pytest.raises(ServiceError):
            await sts.get_caller_identity()

    theirs, ours = server.requests
    assert b"x-trace: theirs" in theirs.lower()
    assert b"x-trace: ours" in ours.lower()


@line("presigned URLs")
async def test_presigned_urls_hide_their_signature_and_live_a_minute(boto: Boto) -> None:
    client = await boto.run(boto.client, region_name="eu-west-1")
    theirs = await boto.run(client.generate_presigned_url, "get_caller_identity")
    assert "X-Amz-Signature" in f"{theirs}"
    assert "X-Amz-Expires=3600" in theirs

    async with STSClient(region="eu-west-1", credentials=KEYS) as sts:
        ours = await sts.presign(GetCallerIdentityRequest())
    assert "X-Amz-Signature" not in f"{ours}"
    assert "X-Amz-Expires=60" in ours.reveal()


@line("SigV4a")
async def test_requests_are_signed_with_sigv4_alone(
    boto: Boto, server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("awscrt", reason="botocore signs with SigV4a by the means of awscrt")
    monkeypatch.setenv("AWS_AUTH_SCHEME_PREFERENCE", "sigv4a")

    client = await boto.run(boto.identity, region_name="eu-west-1")
    assert client.sent[0].headers["Authorization"].startswith(b"AWS4-ECDSA-P256-SHA256 ")
    async with server.client() as sts:  # whose server knows no other
        await sts.get_caller_identity()


async def test_signatures_are_the_same_in_both(boto: Boto) -> None:
    """README.md says this above the tables."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    url, body = "https://sts.eu-west-1.amazonaws.com/", b"Action=GetCallerIdentity&Version=2011-06-15"
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    request = AWSRequest("POST", url, headers={**headers, "X-Amz-Date": "20260101T000000Z"}, data=body)
    request.context["timestamp"] = "20260101T000000Z"
    signer = SigV4Auth(BotoCredentials(KEY_ID, SECRET), "sts", "eu-west-1")
    canonical = signer.string_to_sign(request, signer.canonical_request(request))

    ours = sigv4.sign(
        KEYS, method="POST", url=url, headers=headers, body=body, service="sts", region="eu-west-1", at=at
    )
    assert str(ours["authorization"]).endswith(f"Signature={signer.signature(canonical, request)}")
