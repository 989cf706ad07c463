"""URLs of the console, from a sign-in service on this host."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import botocore.loaders
import pytest
from patience import soon
from support import RawServer, http
from tokens.cases import AT, LONG_TERM, REGION, TEMPORARY, later, shown

from sts_async import (
    ConfigurationError,
    ConnectError,
    Credentials,
    CredentialsError,
    CredentialsExpired,
    InvalidEndpoint,
    InvalidRegion,
    RedirectRefused,
    StaticProvider,
    STSClient,
    tokens,
)
from sts_async._protocol.endpoints import PARTITIONS
from sts_async.testing import VirtualClock
from sts_async.tokens.console import place_of

Start = Callable[..., Awaitable[RawServer]]

SIGNIN_TOKEN = "SENTINEL-signin-token_1"
ANSWER = http(json.dumps({"SigninToken": SIGNIN_TOKEN}))


def client(keys: Credentials = TEMPORARY, **options: Any) -> STSClient:
    """Return a client at the time of the golden vectors."""
    provider, clock = StaticProvider(keys), VirtualClock(AT.timestamp())
    return STSClient(**{"credentials": provider, "region": REGION, "clock": clock, **options})


def sent_to(server: RawServer) -> tuple[str, dict[str, str]]:
    """Return the request line and the parameters of the one request."""
    (request,) = server.requests
    head, _, body = request.decode().partition("\r\n\r\n")
    return head.partition("\r\n")[0], {name: value for name, (value,) in parse_qs(body).items()}


async def test_credentials_become_a_url_of_the_console(raw_server: Start) -> None:
    """They are in the body of the request: URLs end up in the logs of proxies."""
    server = await raw_server(ANSWER)
    async with client() as sts:
        token = await tokens.console_url(sts, endpoint_url=f"{server.url}federation")

    line, form = sent_to(server)
    session = json.loads(form.pop("Session"))
    assert line == "POST /federation HTTP/1.1"
    assert form == {"Action": "getSigninToken"}
    assert session == {
        "sessionId": TEMPORARY.access_key_id,
        "sessionKey": TEMPORARY.secret_access_key,
        "sessionToken": TEMPORARY.session_token,
    }
    assert token.value == (
        f"{server.url}federation?Action=login&Destination=https%3A%2F%2Feu-west-1.console.aws.amazon.com%2F"
        f"&SigninToken={SIGNIN_TOKEN}"
    )
    assert SIGNIN_TOKEN not in repr(token)


async def test_all_that_is_given_is_in_the_request_or_the_url(raw_server: Start) -> None:
    server = await raw_server(ANSWER)
    page = "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#alarmsV2:alarm/a%20b"
    async with client() as sts:
        token = await tokens.console_url(
            sts,
            destination=page,
            issuer="https://login.example.com/again?team=a",
            session_duration=timedelta(hours=1),
            endpoint_url=server.url,
        )

    _, form = sent_to(server)
    query = parse_qs(urlsplit(token.value).query)
    assert form["SessionDuration"] == "3600"
    assert query == {
        "Action": ["login"],
        "Issuer": ["https://login.example.com/again?team=a"],
        "Destination": [page],
        "SigninToken": [SIGNIN_TOKEN],
    }


@pytest.mark.parametrize(("left", "life"), [(3600, 900), (60, 60)])
async def test_a_url_is_to_be_opened_within_a_quarter_of_an_hour(raw_server: Start, left: int, life: int) -> None:
    """And before the credentials end."""
    server = await raw_server(ANSWER)
    async with client(later(left)) as sts:
        token = await tokens.console_url(sts, endpoint_url=server.url)

    assert token.expiration == AT + timedelta(seconds=life)


HOSTS = {
    "eu-west-1": ("eu-west-1.signin.aws.amazon.com", "eu-west-1.console.aws.amazon.com"),
    "cn-north-1": ("cn-north-1.signin.amazonaws.cn", "cn-north-1.console.amazonaws.cn"),
    "us-gov-east-1": ("us-gov-east-1.signin.amazonaws-us-gov.com", "us-gov-east-1.console.amazonaws-us-gov.com"),
    "eusc-de-east-1": ("eusc-de-east-1.signin.amazonaws-eusc.eu", "eusc-de-east-1.console.amazonaws-eusc.eu"),
    "us-iso-east-1": ("us-iso-east-1.signin.c2shome.ic.gov", "us-iso-east-1.console.c2shome.ic.gov"),
    "us-isob-east-1": ("us-isob-east-1.signin.sc2shome.sgov.gov", "us-isob-east-1.console.sc2shome.sgov.gov"),
    "eu-isoe-west-1": ("eu-isoe-west-1.signin.csphome.adc-e.uk", "eu-isoe-west-1.console.csphome.adc-e.uk"),
    "us-isof-south-1": ("us-isof-south-1.signin.csphome.hci.ic.gov", "us-isof-south-1.console.csphome.hci.ic.gov"),
    None: ("signin.aws.amazon.com", "console.aws.amazon.com"),
    "aws-global": ("signin.aws.amazon.com", "console.aws.amazon.com"),
}


@pytest.mark.parametrize(("region", "hosts"), HOSTS.items(), ids=str)
def test_each_partition_has_its_hosts(region: str | None, hosts: tuple[str, str]) -> None:
    place = place_of(region)

    assert (place.signin, place.console) == (f"https://{hosts[0]}/federation", f"https://{hosts[1]}")


def test_the_hosts_of_the_sign_in_service_are_those_of_its_rule_set() -> None:
    """The endpoint rules of AWS, as botocore has them, name the host of each partition."""
    rules = json.dumps(botocore.loaders.create_loader().load_service_model("signin", "endpoint-rule-set-1"))

    for partition in PARTITIONS:
        region = partition.implicit_global_region
        host = place_of(region).signin.removesuffix("/federation").replace(region, "{Region}")
        assert f'"{host}"' in rules


async def test_the_sign_in_service_of_the_region_is_called() -> None:
    """By the connections of the client: here a transport that answers nothing."""

    class Nowhere:
        urls: list[str] = []

        async def send(self, request: Any) -> Any:
            self.urls.append(request.url)
            raise ConnectError("no network here")

    async with client(transport=Nowhere()) as sts:
        for options in ({}, {"region": "cn-north-1"}):
            with pytest.raises(ConnectError, match="no network here"):
                await tokens.console_url(sts, **options)

    assert list(dict.fromkeys(Nowhere.urls)) == [
        "https://eu-west-1.signin.aws.amazon.com/federation",
        "https://cn-north-1.signin.amazonaws.cn/federation",
    ]


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        (None, "https://eu-west-1.console.aws.amazon.com/"),
        ("/s3/buckets?region=eu-west-1", "https://eu-west-1.console.aws.amazon.com/s3/buckets?region=eu-west-1"),
        ("/ec2#Instances:", "https://eu-west-1.console.aws.amazon.com/ec2#Instances:"),
        ("https://console.aws.amazon.com/", "https://console.aws.amazon.com/"),
        ("https://aws.amazon.com/x", "https://aws.amazon.com/x"),
    ],
)
async def test_a_page_is_a_path_or_a_url(raw_server: Start, given: str | None, opened: str) -> None:
    server = await raw_server(ANSWER)
    async with client() as sts:
        token = await tokens.console_url(sts, destination=given, endpoint_url=server.url)

    assert parse_qs(urlsplit(token.value).query)["Destination"] == [opened]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"destination": "https://evil.example.com/"},
            ConfigurationError,
            "destination must be a path, or a URL",
        ),
        ({"destination": "https://evilaws.amazon.com/"}, ConfigurationError, "destination must be a path, or a URL"),
        ({"destination": "https://console.amazonaws.cn/"}, ConfigurationError, "destination must be a path, or a URL"),
        (
            {"destination": "//evil.example.com/"},
            ConfigurationError,
            "destination must be a path that begins with /, or a URL that begins",
        ),
        ({"destination": "https://aws.amazon.com@evil.example.com/"}, InvalidEndpoint, "user name"),
        (
            {"destination": "http://console.aws.amazon.com/"},
            ConfigurationError,
            "destination must be a path that begins with /, or a URL that begins",
        ),
        ({"destination": "/a b"}, InvalidEndpoint, "destination must have only printable ASCII"),
        ({"destination": "/a#b c"}, ConfigurationError, "destination must be percent-encoded"),
        (
            {"destination": "s3"},
            ConfigurationError,
            "destination must be a path that begins with /, or a URL that begins",
        ),
        ({"destination": 5}, ConfigurationError, "destination must be a path that begins with /, or a URL that begins"),
        ({"issuer": "login.example.com"}, ConfigurationError, "issuer must be a URL that begins with https"),
        ({"session_duration": 899}, ConfigurationError, "session_duration must be a whole number of seconds from 900"),
        ({"session_duration": 43_201}, ConfigurationError, "session_duration must be"),
        ({"session_duration": True}, ConfigurationError, "session_duration must be"),
        ({"session_duration": timedelta(seconds=900.5)}, ConfigurationError, "session_duration must be"),
        ({"region": "eu-west-1.evil"}, InvalidRegion, "region"),
        ({"region": "aws-cn-global"}, InvalidRegion, "partition"),
        ({"endpoint_url": "http://signin.example.com/"}, InvalidEndpoint, "endpoint_url must begin with https"),
        ({"endpoint_url": "https://signin.example.com/?x=1"}, InvalidEndpoint, "endpoint_url must have no query"),
        ({"endpoint_url": "https://a:SENTINEL@signin.example.com/"}, InvalidEndpoint, "endpoint_url must not carry"),
    ],
    ids=repr,
)
async def test_an_invalid_argument_sends_nothing(
    raw_server: Start, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """T3, T43: the keys go to no other host, and the browser to no other site."""
    server = await raw_server(ANSWER)
    async with client() as sts:
        with pytest.raises(error, match=message) as caught:
            await tokens.console_url(sts, **{"endpoint_url": server.url, **options})

    assert server.requests == []
    assert "SENTINEL" not in shown(caught)


async def test_keys_of_a_user_are_refused_with_what_to_do(raw_server: Start) -> None:
    """The service answers them with a bare 400."""
    server = await raw_server(ANSWER)
    async with client(LONG_TERM) as sts:
        with pytest.raises(CredentialsError, match=r"needs temporary credentials: assume a role with sts\.role"):
            await tokens.console_url(sts, endpoint_url=server.url)

    assert server.requests == []


async def test_expired_credentials_are_not_sent(raw_server: Start) -> None:
    server = await raw_server(ANSWER)

    class Expired:
        async def provide_credentials(self, context: Any) -> Credentials:
            return later(-1)

    async with client(credentials=Expired()) as sts:
        with pytest.raises(CredentialsExpired):
            await tokens.console_url(sts, endpoint_url=server.url)

    assert server.requests == []


@pytest.mark.parametrize(
    ("duration", "advice"),
    [(None, "must be those of an assumed role or of GetFederationToken"), (3600, "omit session_duration for chained")],
)
async def test_a_refusal_says_what_may_help(raw_server: Start, duration: int | None, advice: str) -> None:
    """T15: the page in the answer can repeat the request, and is not shown."""
    server = await raw_server(http("<html>SENTINEL-page</html>", status=400))
    async with client() as sts:
        with pytest.raises(CredentialsError, match=advice) as caught:
            await tokens.console_url(sts, session_duration=duration, endpoint_url=server.url)

    assert "the sign-in service of the AWS console answered HTTP 400" in str(caught.value)
    assert "SENTINEL" not in shown(caught)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"SigninToken": ""}',
        '{"SigninToken": 5}',
        '{"SigninToken": "SENTINEL\\r\\nx"}',
        "SENTINEL",
        "",
        '["SENTINEL"]',
        '{"SigninToken": "a", "SigninToken": "SENTINEL"}',
    ],
)
async def test_an_answer_without_a_token_is_an_error_that_does_not_quote_it(raw_server: Start, body: str) -> None:
    """T15, T16: it may contain half a token."""
    server = await raw_server(http(body))
    async with client() as sts:
        with pytest.raises(CredentialsError, match="the answer of the sign-in service") as caught:
            await tokens.console_url(sts, endpoint_url=server.url)

    assert "SENTINEL" not in shown(caught)


async def test_a_redirect_is_refused(raw_server: Start) -> None:
    """T4: it would send the keys to another host."""
    server = await raw_server(http("", status=302, headers="Location: https://evil.example.com/\r\n"))
    async with client() as sts:
        with pytest.raises(RedirectRefused, match=r"evil\.example\.com"):
            await tokens.console_url(sts, endpoint_url=server.url)

    assert len(server.requests) == 1


async def test_an_unavailable_service_is_asked_again(raw_server: Start) -> None:
    """F12: up to three times."""
    server = await raw_server(http("", status=503), ANSWER)
    async with client() as sts:
        token = await tokens.console_url(sts, endpoint_url=server.url)

    assert SIGNIN_TOKEN in token.value
    assert len(server.requests) == 2


async def test_a_cancelled_caller_leaves_nothing_behind(raw_server: Start) -> None:
    """F58: the cancellation is raised, and the client works on."""
    arrived = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()

    hanging, server = await raw_server(handler=silent), await raw_server(ANSWER)
    async with client() as sts:
        task = asyncio.create_task(tokens.console_url(sts, endpoint_url=hanging.url))
        await soon(arrived.wait())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await tokens.console_url(sts, endpoint_url=server.url)).value
