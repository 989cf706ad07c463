"""Servers that repeat what they were sent, and errors in other forms than that of AWS, over real sockets."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from xml.sax.saxutils import escape

import pytest
from support import ROLE, RawServer, http

from sts_async import Credentials, NoRetries, STSClient
from sts_async.errors import ServiceError

Start = Callable[..., Awaitable[RawServer]]
TOKEN = f"SENTINEL+{'/'.join(f'part{number}of==token' for number in range(40))}"
JWT = f"SENTINEL.{'.'.join(f'claim{number}of-jwt' for number in range(40))}"
KEYS = Credentials(access_key_id="AKIDEXAMPLE", secret_access_key="SENTINEL-secret-key", session_token=TOKEN)


def in_xml(request: str) -> bytes:
    said = f"The request was: {escape(request)}"
    error = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{said}</Message></Error></ErrorResponse>"
    return http(error, status=403)


def in_json(request: str) -> bytes:
    return http(json.dumps({"__type": "x#AccessDenied", "message": f"The request was: {request}"}), status=403)


def in_headers(request: str) -> bytes:
    where = request.find("SENTINEL")
    repeated = request[where : where + 200].split("\r")[0]
    return http("", status=403, headers=f"x-amzn-errortype: {repeated}\r\nx-amzn-requestid: {repeated}\r\n")


@pytest.mark.parametrize("answer", [in_xml, in_json, in_headers])
@pytest.mark.parametrize("signed", [True, False])
async def test_a_server_that_repeats_the_request_shows_no_secret(
    raw_server: Start, caplog: pytest.LogCaptureFixture, answer: Callable[[str], bytes], signed: bool
) -> None:
    """G12: neither in the error nor in the log nor in an event. The token is raw in headers, and encoded in bodies."""

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await server.read_request(reader)
        writer.write(answer(request.decode()))
        await writer.drain()

    caplog.set_level(logging.DEBUG)
    server = await raw_server(handler=repeat)
    events: list[object] = []
    async with STSClient(
        region="us-east-1", endpoint_url=server.url, credentials=KEYS, retries=NoRetries(), observers=[events.append]
    ) as sts:
        with pytest.raises(ServiceError) as caught:
            if signed:
                await sts.assume_role(role_arn=ROLE, role_session_name="me")
            else:
                await sts.assume_role_with_web_identity(role_arn=ROLE, role_session_name="me", web_identity_token=JWT)

    everything = "\n".join([str(caught.value), repr(vars(caught.value)), repr(caught.value.args), *map(repr, events)])
    everything += "\n".join(record.getMessage() for record in caplog.records)
    assert "***" in str(caught.value)
    assert b"SENTINEL" in server.requests[0]
    for secret in (TOKEN, JWT):
        assert not [start for start in range(len(secret) - 15) if secret[start : start + 16] in everything]


ECS = (
    '<p:GetCallerIdentityResponse xmlns:p="none"><GetCallerIdentityResult><Arn>urn:ecs:iam::shop:user/me</Arn>'
    "<UserId>U</UserId><Account>shop</Account></GetCallerIdentityResult></p:GetCallerIdentityResponse>"
)
ERRORS: dict[str, tuple[bytes, str]] = {
    "a prefix on the root alone": (
        http('<p:ErrorResponse xmlns:p="none"><Error><Code>A</Code></Error></p:ErrorResponse>', status=403),
        "A (HTTP 403)",
    ),
    "API Gateway": (
        http('{"message":"Forbidden"}', status=403, headers="x-amzn-errortype: ForbiddenException\r\n"),
        "ForbiddenException: Forbidden (HTTP 403)",
    ),
    "JSON 1.1": (http('{"__type":"a#Denied","Message":"no"}', status=400), "Denied: no (HTTP 400)"),
}


async def test_an_answer_with_a_prefix_on_its_root_alone_is_read(raw_server: Start) -> None:
    """B5: as Dell ECS documents it."""
    server = await raw_server(http(ECS))
    async with STSClient(region="us-east-1", endpoint_url=server.url, credentials=KEYS) as sts:
        assert (await sts.get_caller_identity()).arn == "urn:ecs:iam::shop:user/me"


@pytest.mark.parametrize(("answer", "said"), ERRORS.values(), ids=ERRORS)
async def test_an_error_of_another_form_keeps_its_code_and_text(raw_server: Start, answer: bytes, said: str) -> None:
    """B5, B10, B14."""
    server = await raw_server(answer)
    options: dict[str, Any] = {"credentials": KEYS, "retries": NoRetries()}
    async with STSClient(region="us-east-1", endpoint_url=server.url, **options) as sts:
        with pytest.raises(ServiceError) as caught:
            await sts.get_caller_identity()

    assert str(caught.value) == said
