"""The client as a program sees it: made without I/O, shared, closed, and clear about what it was given wrong."""

import asyncio
import contextlib
import copy
import gc
import logging
import pickle
import re
import ssl
import subprocess
import sys
import weakref
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
import trustme
import yarl
from aioresponses import aioresponses
from support import ANSWER, KEYS, ROLE, RawServer, http, shown_as

from sts_async import AssumeRoleRequest, Config, Credentials, GetCallerIdentityRequest, NoRetries, STSClient, errors
from sts_async._engine.build import endpoint_of
from sts_async.testing import LocalSTS

Start = Callable[..., Awaitable[RawServer]]
CALL = {"role_arn": ROLE, "role_session_name": "me"}


def client(url: str, **options: Any) -> STSClient:
    return STSClient(**{"region": "eu-west-1", "credentials": KEYS, "endpoint_url": url, **options})


async def test_a_call_over_a_socket(raw_server: Start) -> None:
    server = await raw_server(http(ANSWER))

    async with client(server.url) as sts:
        response = await sts.assume_role(**CALL)

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert response.credentials.access_key_id == "ASIAIOSFODNN7EXAMPLE"
    assert body == (
        b"Action=AssumeRole&Version=2011-06-15"
        b"&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fdemo&RoleSessionName=me"
    )
    assert re.findall(rb"\r\n([\w-]+):", head) == [
        b"Host",
        b"accept",
        b"accept-encoding",
        b"user-agent",
        b"content-type",
        b"x-amz-security-token",
        b"x-amz-date",
        b"authorization",
        b"Content-Length",
    ]


async def test_a_prepared_request_does_the_same_as_the_coroutine(raw_server: Start) -> None:
    server = await raw_server(http(ANSWER))

    async with client(server.url) as sts:
        by_coroutine = await sts.assume_role(**CALL)
        by_request = await sts.send(AssumeRoleRequest(**CALL))

        assert by_request == by_coroutine
        assert sts.get_cached_response_metadata(AssumeRoleRequest(**CALL)) is by_request.metadata
        assert sts.get_cached_response_metadata(GetCallerIdentityRequest()) is None


async def test_parameters_cannot_be_smuggled_into_the_body(raw_server: Start) -> None:
    """T6: without validation, the encoding alone keeps one Action in the body."""
    server = await raw_server(http(ANSWER))

    async with client(server.url, config=Config(validate_parameters=False)) as sts:
        await sts.assume_role(role_arn=ROLE, role_session_name="a&Action=GetCallerIdentity&x= %0d%0a\r\n")

    assert server.requests[0].endswith(b"&RoleSessionName=a%26Action%3DGetCallerIdentity%26x%3D%20%250d%250a%0D%0A")
    assert server.requests[0].count(b"Action=") == 1


@pytest.mark.parametrize("name", ["a\r\nb", "a b", "x", "a" * 65, "\u0661\u0662", "ab\n", ""], ids=ascii)
async def test_a_session_name_with_markup_is_refused_before_anything_is_sent(raw_server: Start, name: str) -> None:
    """T7."""
    server = await raw_server(http(ANSWER))

    async with client(server.url) as sts:
        with pytest.raises(errors.ParamValidationError, match="role_session_name must"):
            await sts.assume_role(role_arn=ROLE, role_session_name=name)

    assert server.connections == 0


async def test_making_a_client_does_no_input_or_output() -> None:
    """Nothing is opened, and no TLS context made, until the first call."""
    probe = (
        "import sys\n"
        "from sts_async import STSClient, Credentials\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, _: seen.append(event))\n"
        "STSClient(region='eu-west-1', credentials=Credentials(access_key_id='a', secret_access_key='b'))\n"
        "bad = [e for e in seen if e.split('.')[0] in ('open', 'socket', 'ssl', 'subprocess')]\n"
        "sys.exit(repr(bad) if bad else 0)\n"
    )
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", probe], check=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"region": "evil.com#"}, errors.InvalidRegion, "region"),
        ({"region": ""}, errors.InvalidRegion, "region"),
        ({"endpoint_url": "http://user:SENTINEL@h/"}, errors.InvalidEndpoint, "user name or password"),
        ({"endpoint_url": ""}, errors.InvalidEndpoint, "http"),
        ({"endpoint_url": "http://sts.example/"}, errors.InvalidEndpoint, "allow_http"),
        (
            {"endpoint_url": "https://h/", "config": Config(use_fips_endpoint=True)},
            errors.ConfigurationError,
            "FIPS",
        ),
        (
            {"region": "eu-west-1", "credentials": {"aws_access_key_id": "SENTINEL"}},
            errors.ConfigurationError,
            r"provide_credentials\(context\) or a coroutine function, not a dict",
        ),
        ({"region": "eu-west-1", "config": {}}, errors.ConfigurationError, "config must be a Config, not a dict"),
        ({"region": "eu-west-1", "retries": 3}, errors.ConfigurationError, "retries must be a policy such as"),
        ({"region": "eu-west-1", "retries": NoRetries}, errors.ConfigurationError, "retries must be a policy such as"),
        ({"region": "eu-west-1", "session": "x"}, errors.ConfigurationError, "session must be a ClientSession"),
    ],
    ids=str,
)
def test_a_mistake_in_the_options_is_a_typed_error_that_says_what_to_do(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """T1, T2, T3: and nothing was connected, for nothing is before the first call."""
    with pytest.raises(error, match=message):
        STSClient(**options)


async def test_a_region_that_is_nowhere_is_said_before_anything_is_sent() -> None:
    """By each call that needs one, and by no other."""
    async with STSClient(credentials=KEYS) as sts:
        for _ in range(2):
            with pytest.raises(errors.ConfigurationError, match="AWS_REGION"):
                await sts.get_caller_identity()
        with pytest.raises(errors.ConfigurationError, match="AWS_REGION"):
            await sts.presign(GetCallerIdentityRequest())


async def test_credentials_need_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """C19: neither those that were given nor those of the environment; nothing is sent for them."""
    assert await STSClient(credentials=KEYS).get_credentials() == KEYS
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_access_key)
    async with STSClient() as sts:
        assert (await sts.get_credentials()).access_key_id == KEYS.access_key_id


async def test_a_region_that_a_view_has_is_enough_for_its_calls() -> None:
    async with LocalSTS(region="eu-west-1") as server:
        endpoint = Config(ignore_configured_endpoint_urls=True)
        async with STSClient(credentials=server.credentials, config=endpoint) as sts:
            url = await sts.with_options(region="eu-west-3").presign(GetCallerIdentityRequest())
    assert url.reveal().startswith("https://sts.eu-west-3.amazonaws.com/")


async def test_region_and_endpoint_from_outside_are_checked_like_any_other(
    monkeypatch: pytest.MonkeyPatch, write_file: Callable[[str, str], Path]
) -> None:
    """T2: whatever the source."""
    monkeypatch.setenv("AWS_REGION", "evil.com#")
    with pytest.raises(errors.InvalidRegion):
        await STSClient().get_caller_identity()
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "https://h/#x")
    with pytest.raises(errors.InvalidEndpoint):
        await STSClient().get_caller_identity()
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(write_file("config", "[default]\nregion = evil.com#\n")))
    with pytest.raises(errors.InvalidRegion):
        await STSClient().get_caller_identity()


async def test_the_options_choose_the_endpoint(
    monkeypatch: pytest.MonkeyPatch, write_file: Callable[[str, str], Path]
) -> None:
    text = "[profile gov]\nregion = us-gov-west-1\nuse_fips_endpoint = true\n"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(write_file("config", text)))
    async with (
        STSClient(region="us-gov-west-1", config=Config(use_fips_endpoint=True)) as fips,
        STSClient(region="eu-west-1", config=Config(sts_regional_endpoints="legacy")) as legacy,
        STSClient(endpoint_url="http://sts.example:8080", config=Config(allow_http=True)) as far,
        STSClient(profile="gov") as gov,
    ):
        assert (fips.endpoint_url, fips.region) == ("https://sts.us-gov-west-1.amazonaws.com/", "us-gov-west-1")
        assert (legacy.endpoint_url, legacy.region) == ("https://sts.amazonaws.com/", "us-east-1")
        assert (far.endpoint_url, far.region) == ("http://sts.example:8080/", None)
        assert (gov.endpoint_url, gov.region) == (fips.endpoint_url, fips.region)
        assert repr(fips) == "STSClient('https://sts.us-gov-west-1.amazonaws.com/', region='us-gov-west-1')"


def test_before_it_is_used_a_client_knows_what_it_was_given() -> None:
    assert (STSClient().endpoint_url, STSClient().region) == (None, None)
    assert STSClient(region="eu-west-1").region == "eu-west-1"
    assert STSClient(endpoint_url="https://h/").endpoint_url == "https://h/"


@pytest.mark.parametrize(
    "url",
    [
        "https://999.1.1.1",
        "http://127.0.0.1.:1",
        "http://127.0.0.1:0",
        "https://h:65536",
        "https://0x7f.1",
        "https://a..b",
    ],
)
def test_a_url_that_cannot_be_connected_to_is_refused_when_the_client_is_made(url: str) -> None:
    """B8: not after three attempts."""
    with pytest.raises(errors.InvalidEndpoint, match=r"^endpoint_url must"):
        STSClient(region="eu-west-1", endpoint_url=url)


async def test_the_application_names_itself_and_trusts_its_own_authorities(
    raw_server: Start, write_file: Callable[[str, str], Path]
) -> None:
    server = await raw_server(http(ANSWER))
    authority = trustme.CA()
    path = write_file("ca.pem", authority.cert_pem.bytes().decode())
    async with client(server.url, config=Config(app_id="shop", ca_bundle=str(path))) as sts:
        await sts.assume_role(**CALL)
    assert b" app/shop\r\n" in server.requests[0]
    write_file("broken.pem", "no certificate")
    for name in ("broken.pem", "missing.pem"):
        config = Config(ca_bundle=str(path.with_name(name)))
        async with client(server.url.replace("http:", "https:"), config=config) as sts:
            with pytest.raises(errors.ConfigurationError, match=rf"ca_bundle: .*{name}"):
                await sts.assume_role(**CALL)


async def test_an_engine_that_is_started_twice_at_once_is_one(raw_server: Start) -> None:
    server = await raw_server(http(ANSWER))
    sts = client(server.url)
    await asyncio.gather(*(sts.assume_role(**CALL) for _ in range(20)))
    await sts.aclose()

    assert len(server.requests) == 20
    assert server.connections <= 20


async def test_a_client_that_is_closed_before_it_was_used_stays_closed() -> None:
    """F56."""
    sts = STSClient(region="eu-west-1")
    await sts.aclose()

    with pytest.raises(errors.ClientClosedError):
        await sts.get_caller_identity()


async def test_an_argument_that_is_no_request_is_named() -> None:
    sts = client("http://127.0.0.1:9/")

    with pytest.raises(TypeError, match="not a dict"):
        await sts.send({"RoleArn": ROLE})  # type: ignore[arg-type]


async def test_a_client_works_without_async_with_and_not_after_it_is_closed(raw_server: Start) -> None:
    """F56."""
    server = await raw_server(http(ANSWER))
    sts = client(server.url)

    await sts.assume_role(**CALL)
    await sts.aclose()
    await sts.aclose()

    with pytest.raises(errors.ClientClosedError):
        await sts.assume_role(**CALL)


async def test_an_error_in_the_body_of_async_with_closes_the_client_and_passes(raw_server: Start) -> None:
    """F56."""
    server = await raw_server(http(ANSWER))
    with pytest.raises(LookupError):
        async with client(server.url) as sts:
            await sts.assume_role(**CALL)
            raise LookupError

    with pytest.raises(errors.ClientClosedError):
        await sts.assume_role(**CALL)


async def test_many_tasks_share_one_client(raw_server: Start) -> None:
    server = await raw_server(http(ANSWER))

    async with client(server.url, config=Config(max_connections=4)) as sts:
        responses = await asyncio.gather(*(sts.assume_role(**CALL) for _ in range(100)))

    assert {response.credentials.access_key_id for response in responses} == {"ASIAIOSFODNN7EXAMPLE"}
    assert server.connections <= 4


async def test_credentials_come_from_the_environment_when_none_are_given(
    raw_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await raw_server(http(ANSWER))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT00000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SENTINEL-env")

    async with client(server.url, credentials=None) as sts:
        await sts.assume_role(**CALL)

    assert b"Credential=AKIAENVIRONMENT00000/" in server.requests[0]


async def test_no_credentials_anywhere_is_a_typed_error() -> None:
    async with client("http://127.0.0.1:9/", credentials=None) as sts:
        with pytest.raises(errors.CredentialsNotFound, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
            await sts.get_caller_identity()


async def test_a_retry_policy_of_ones_own_is_asked(raw_server: Start) -> None:
    server = await raw_server(http("", status=503))

    async with client(server.url, retries=NoRetries()) as sts:
        with pytest.raises(errors.ServiceError) as caught:
            await sts.assume_role(**CALL)

    assert (caught.value.attempts, len(server.requests)) == (1, 1)


async def test_credentials_that_were_returned_sign_the_next_call(raw_server: Start) -> None:
    server = await raw_server(http(ANSWER.replace("2026-01-01", "2099-01-01")))

    async with client(server.url) as sts:
        first = await sts.assume_role(**CALL)
    async with client(server.url, credentials=first.credentials) as sts:
        await sts.assume_role(**CALL)

    assert b"x-amz-security-token: SENTINEL-issued-token" in server.requests[1]


def closing_after(answers: int, server: list[RawServer]) -> Callable[..., Awaitable[None]]:
    """Return a handler that ends each connection when one more request has come than it answers."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(answers):
            await server[0].read_request(reader)
            writer.write(http(ANSWER))
            await writer.drain()
        await server[0].read_request(reader)
        writer.transport.abort()

    return handle


async def test_a_connection_that_died_while_nobody_used_it_costs_no_retry(raw_server: Start) -> None:
    """F3: also where nothing is retried; it is signed again all the same."""
    holder: list[RawServer] = []
    server = await raw_server(handler=closing_after(1, holder))
    holder.append(server)

    async with client(server.url, retries=NoRetries()) as sts:
        responses = [await sts.assume_role(**CALL) for _ in range(4)]

    assert [response.metadata.attempts for response in responses] == [1, 2, 2, 2]
    assert server.connections == 4


async def test_many_connections_that_died_together_are_all_replaced(raw_server: Start) -> None:
    """F3: a server that was restarted."""
    holder: list[RawServer] = []
    server = await raw_server(handler=closing_after(1, holder))
    holder.append(server)

    async with client(server.url, retries=NoRetries()) as sts:
        await asyncio.gather(*(sts.assume_role(**CALL) for _ in range(10)))
        responses = await asyncio.gather(*(sts.assume_role(**CALL) for _ in range(10)))

    assert len(responses) == 10


async def test_a_fresh_connection_that_dies_is_a_failure(raw_server: Start) -> None:
    """F2: it counts, and a policy decides."""
    holder: list[RawServer] = []
    server = await raw_server(handler=closing_after(0, holder))
    holder.append(server)

    async with client(server.url, retries=NoRetries()) as sts:
        with pytest.raises(errors.ConnectionLost):
            await sts.assume_role(**CALL)
    assert len(server.requests) == 1


async def test_a_code_goes_over_a_connection_that_has_not_served_before(raw_server: Start) -> None:
    """B16: one of the pool may die as the request is sent, and the code with it. The pool is kept."""
    holder: list[RawServer] = []
    server = await raw_server(handler=closing_after(2, holder))
    holder.append(server)

    async with client(server.url) as sts:
        await sts.assume_role(**CALL)
        await sts.assume_role(**CALL)
        await sts.assume_role(**CALL, serial_number="arn:aws:iam::123456789012:mfa/me", token_code="123456")
    assert server.connections == 2
    assert [b"TokenCode=123456" in request for request in server.requests] == [False, False, True]


async def test_a_code_is_not_sent_again_over_another_connection(raw_server: Start) -> None:
    """T46: the service may have had it."""
    holder: list[RawServer] = []
    server = await raw_server(handler=closing_after(0, holder))
    holder.append(server)

    async with client(server.url) as sts:
        with pytest.raises(errors.ConnectionLost):
            await sts.assume_role(**CALL, serial_number="arn:aws:iam::123456789012:mfa/me", token_code="123456")
    assert len(server.requests) == 1


async def test_a_view_has_other_options_and_shares_the_rest(raw_server: Start) -> None:
    server = await raw_server(http(ANSWER))
    other = Credentials(access_key_id="AKIAOTHER", secret_access_key="SENTINEL-other")

    async with client(server.url) as sts:
        view = sts.with_options(credentials=other, headers={"X-Amz-Source-Account": "123456789012"}, region="eu-west-3")
        await view.assume_role(**CALL)
        await sts.assume_role(**CALL)
        assert sts.get_cached_response_metadata(AssumeRoleRequest(**CALL)) is not None
        assert repr(view) == f"<{sts!r} with other credentials, headers, region>"
    first, second = server.requests

    assert server.connections == 1
    assert b"Credential=AKIAOTHER/" in first
    assert b"/eu-west-3/sts/" in first
    assert b"x-amz-source-account: 123456789012" in first
    assert b"x-amz-source-account" in first.partition(b"SignedHeaders=")[2].partition(b",")[0]
    assert b"/eu-west-1/sts/" in second
    assert b"x-amz-source-account" not in second


@pytest.mark.parametrize(
    ("options", "scope"),
    [
        ({}, b"/eu-west-1/sts/aws4_request"),
        ({"signing_region": "us-gov-west-1"}, b"/us-gov-west-1/sts/aws4_request"),
        ({"signing_name": "execute-api"}, b"/eu-west-1/execute-api/aws4_request"),
    ],
    ids=str,
)
async def test_what_requests_are_signed_for_can_be_given(
    raw_server: Start, options: dict[str, Any], scope: bytes
) -> None:
    server = await raw_server(http(ANSWER))
    async with client(server.url, config=Config(**options)) as sts:
        await sts.assume_role(**CALL)
        url = await sts.presign(GetCallerIdentityRequest())

    assert scope + b"," in server.requests[0]
    assert scope.replace(b"/", b"%2F").decode() in url.reveal()


async def test_a_region_to_sign_for_stands_in_for_that_of_an_endpoint_without_one(raw_server: Start) -> None:
    server = await raw_server(http(ANSWER))
    async with client(server.url, region=None, config=Config(signing_region="eu-west-9")) as sts:
        await sts.assume_role(**CALL)

    assert b"/eu-west-9/sts/aws4_request" in server.requests[0]


async def test_a_view_of_a_client_that_was_not_used_yet_starts_it_and_ends_with_it(raw_server: Start) -> None:
    server = await raw_server(http(ANSWER))
    sts = client(server.url)
    view = sts.with_options(retries=NoRetries(), deadline=5)
    await view.assume_role(**CALL)
    await view.assume_role(**CALL)
    await sts.aclose()

    assert len(server.requests) == 2
    with pytest.raises(errors.ClientClosedError):
        await view.assume_role(**CALL)


async def test_a_view_ends_a_call_by_its_own_deadline(raw_server: Start) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await raw_server(handler=never)
    async with client(server.url) as sts:
        with pytest.raises(errors.DeadlineExceeded):
            await sts.with_options(deadline=0.05).assume_role(**CALL)


async def test_a_view_of_another_region_calls_that_region() -> None:
    async with STSClient(region="eu-west-1", credentials=KEYS) as sts:
        view = sts.with_options(region="eu-west-3")

        assert view.endpoint_url == "https://sts.eu-west-3.amazonaws.com/"
        assert sts.endpoint_url == "https://sts.eu-west-1.amazonaws.com/"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"headers": {"a b": "x"}}, "'a b' is not the name of a header"),
        ({"headers": {"Host": "evil"}}, "'Host' is reserved for the library"),
        ({"headers": {"x-amz-security-token": "SENTINEL"}}, "x-amz-security-token"),
        (
            {"headers": {"x-a": "SENTINEL\r\nX-Evil: 1"}},
            "the value of x-a contains characters that are invalid",
        ),
        ({"headers": {"x-a": "SENTINEL\0"}}, "the value of x-a contains characters that are invalid"),
        ({"headers": {"x-a": "\xe9"}}, "the value of x-a contains characters that are invalid"),
        ({"headers": {"x-a": 1}}, "the value of x-a contains characters that are invalid"),
        ({"deadline": 0}, "deadline must be a number of seconds greater than 0"),
        ({"deadline": float("inf")}, "deadline must be"),
        ({"retries": 3}, "retries must be a policy"),
        ({"region": "evil.com#"}, "is not a region"),
        ({"credentials": "AKIA"}, "credentials must be"),
    ],
    ids=str,
)
def test_an_option_of_a_view_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    """T5: no value is shown, and nothing was sent."""
    with pytest.raises(errors.ConfigurationError, match=message):
        client("http://127.0.0.1:9/").with_options(**options)


async def test_the_credentials_of_a_client_can_be_had(raw_server: Start) -> None:
    async with client("http://127.0.0.1:9/") as sts:
        assert await sts.get_credentials() is KEYS


async def test_credentials_that_have_ended_sign_nothing(raw_server: Start) -> None:
    """T48: the program is told before the service is asked."""
    server = await raw_server(http(ANSWER))
    ended = Credentials(
        access_key_id="ASIAENDED", secret_access_key="SENTINEL", expiration=datetime(2020, 1, 1, tzinfo=UTC)
    )
    async with client(server.url, credentials=ended) as sts:
        with pytest.raises(errors.CredentialsExpired):
            await sts.assume_role(**CALL)

    assert server.requests == []


@pytest.mark.parametrize("expiration", [datetime(2030, 1, 1), "2030-01-01T00:00:00Z"])
def test_an_expiration_that_is_no_point_in_time_is_refused(expiration: Any) -> None:
    keys = Credentials(access_key_id="ASIA", secret_access_key="SENTINEL", expiration=expiration)

    with pytest.raises(errors.ConfigurationError, match="time zone"):
        client("http://127.0.0.1:9/", credentials=keys)


def test_with_instead_of_async_with_says_so() -> None:
    with pytest.raises(TypeError, match="async with"), STSClient():
        pass


def test_a_client_does_not_pickle_and_says_what_does() -> None:
    """T18."""
    sts = client("http://127.0.0.1:9/")

    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="pass its Credentials or Config"):
            copier(sts)
    assert pickle.loads(pickle.dumps(KEYS)) == KEYS
    assert pickle.loads(pickle.dumps(Config(region="eu-west-1"))) == Config(region="eu-west-1")


async def test_a_scripted_answer_of_aioresponses_is_enough_for_users_tests() -> None:
    """Its newest release needs a small response class under aiohttp 3.14."""

    class Response(aiohttp.ClientResponse):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{"stream_writer": Mock(output_size=0), **kwargs})

    with aioresponses() as scripted:
        scripted.post("https://sts.eu-west-1.amazonaws.com/", body=ANSWER, response_class=Response)
        async with STSClient(region="eu-west-1", credentials=KEYS) as sts:
            response = await sts.assume_role(**CALL)

    assert response.credentials.access_key_id == "ASIAIOSFODNN7EXAMPLE"


async def test_the_secret_of_a_superseded_credential_is_let_go(raw_server: Start) -> None:
    """T20: derived keys live with the credentials that they come from."""
    server = await raw_server(http(ANSWER))

    class Rotating:
        current = Credentials(access_key_id="AKIA0000000000000001", secret_access_key="SENTINEL-old")

        async def provide_credentials(self, transport: object) -> Credentials:
            return self.current

    provider = Rotating()
    async with client(server.url, credentials=provider) as sts:
        await sts.assume_role(**CALL)
        old = weakref.ref(provider.current)
        Rotating.current = KEYS
        await sts.assume_role(**CALL)
        gc.collect()

        assert old() is None


@pytest.mark.parametrize(
    ("options", "secure"),
    [
        ({"region": "eu-west-1"}, True),
        ({"endpoint_url": "https://sts.example/"}, True),
        ({"endpoint_url": "https://sts.example/", "verify": False}, False),
        ({"endpoint_url": "http://sts.example/", "allow_http": True}, False),
        ({"endpoint_url": "http://127.0.0.1:9/", "verify": False}, True),
    ],
    ids=str,
)
def test_only_an_endpoint_that_nobody_else_can_answer_for_is_secure(options: dict[str, Any], *, secure: bool) -> None:
    """T23: from such alone the time is learnt."""
    assert endpoint_of(Config(**options)).secure is secure


def known_errors() -> list[errors.STSError]:
    return [thing for thing in gc.get_objects() if isinstance(thing, errors.STSError)]


@pytest.mark.parametrize("answer", [http("<ErrorResponse/>", status=403), http("SENTINEL" * 9), b"", b"HTTP/1.1 2"])
async def test_an_error_that_nobody_keeps_is_gone_at_once(
    raw_server: Start, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    """And with it the answer: a flood of large ones does not wait in memory for the garbage collector."""
    caplog.set_level(logging.INFO, "sts_async")  # pytest keeps what is logged

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        writer.write(answer)
        writer.close()

    server = await raw_server(handler=handler)
    async with client(server.url, retries=NoRetries()) as sts:
        gc.collect()
        gc.disable()
        before = {id(error) for error in known_errors()}
        try:
            with contextlib.suppress(errors.STSError):
                await sts.assume_role(**CALL)
            found = [error for error in known_errors() if id(error) not in before]
        finally:
            gc.enable()

    assert found == []


@pytest.mark.parametrize(("trusted", "secure"), [(True, True), (False, False), (ssl.create_default_context(), True)])
async def test_a_session_that_trusts_everybody_is_not_believed_about_the_time(trusted: Any, *, secure: bool) -> None:
    """T23."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as session,
        client("https://sts.example/", session=session) as sts,
    ):
        engine = await sts._life.ready()
        view, _ = await sts.with_options(region="eu-west-2")._ready()

        assert [part.endpoint is not None and part.endpoint.secure for part in (engine, view)] == [secure] * 2


async def test_a_view_presigns_with_its_headers_and_credentials() -> None:
    """As EKS wants it: the name of the cluster is signed."""
    async with LocalSTS() as server, server.client() as sts:
        view = sts.with_options(headers={"x-k8s-aws-id": "cluster"})
        url = (await view.presign(GetCallerIdentityRequest(), expires=60)).reveal()
        async with aiohttp.ClientSession() as session:
            statuses = []
            for headers in ({"x-k8s-aws-id": "cluster"}, {"x-k8s-aws-id": "another"}):
                async with session.get(yarl.URL(url, encoded=True), headers=headers) as response:
                    statuses.append(response.status)

        assert "X-Amz-SignedHeaders=host%3Bx-k8s-aws-id" in url
        assert statuses == [200, 403]
        assert await view.get_credentials() is server.credentials


@pytest.mark.parametrize("expires", [0, -1, 604_801, "60", 1.5, None])
async def test_a_url_is_good_for_some_seconds(expires: Any) -> None:
    async with client("http://127.0.0.1:9/") as sts:
        with pytest.raises(errors.ConfigurationError, match="expires must be an integer from 1 to 604800"):
            await sts.presign(GetCallerIdentityRequest(), expires=expires)


async def test_a_url_is_good_for_a_timedelta() -> None:
    """E8: of whole seconds, as a lifetime is anywhere else."""
    request = GetCallerIdentityRequest()
    keys = Credentials(access_key_id="AKID", secret_access_key="key")
    async with client("http://127.0.0.1:9/", credentials=keys) as sts:
        made = await sts.presign(request, expires=timedelta(minutes=1))
        with pytest.raises(errors.ConfigurationError, match="expires must be an integer from 1 to 604800"):
            await sts.presign(request, expires=timedelta(seconds=1.5))

    assert made.expires == 60
    assert "X-Amz-Expires=60&" in made.reveal()


def test_a_deadline_can_be_a_timedelta() -> None:
    """E8: for a client and for a view."""
    sts = STSClient(region="eu-west-1", config=Config(deadline=timedelta(seconds=2)))

    assert sts._deadline == 2
    assert sts.with_options(deadline=timedelta(milliseconds=1500))._deadline == 1.5
    with pytest.raises(errors.ConfigurationError, match="deadline must be a number of seconds greater than 0"):
        sts.with_options(deadline=timedelta())


async def an_observer_that_waits(event: object) -> None:
    """Nobody would wait for it."""


@pytest.mark.parametrize("observers", [[an_observer_that_waits], [1], print, "x"], ids=shown_as)
def test_what_is_no_observer_is_refused(observers: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match="observers must be a list of functions"):
        client("http://127.0.0.1:9/", observers=observers)


async def test_a_source_can_close_its_own_client(raw_server: Start) -> None:
    """F55: closing does not end whoever closes."""
    server = await raw_server(http(ANSWER))

    class Closing:
        async def provide_credentials(self, context: object) -> Credentials:
            await sts.aclose()
            return KEYS

    async with client(server.url) as sts:
        await sts.assume_role(**CALL)
        with pytest.raises(errors.ClientClosedError):
            await sts.with_options(credentials=Closing()).assume_role(**CALL)
        assert sts._life.transport is not None
        assert sts._life.transport._parts == {}
