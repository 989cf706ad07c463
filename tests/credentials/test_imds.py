"""The instance metadata service: its requests, their order and token, and the handling of responses."""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from botocore.utils import InstanceMetadataFetcher
from hypothesis import given
from hypothesis import strategies as st
from support import Clocks, RawServer, http
from test_secrets import shown

from sts_async._engine.loop import Engine
from sts_async.credentials.imds import IMDSProvider, base_url, is_role_name
from sts_async.errors import ConfigurationError, CredentialsError, CredentialsNotFound, InvalidEndpoint, STSError
from sts_async.shapes import Credentials
from sts_async.testing import Answer, Delay, LocalIMDS, Reset, Unavailable

Lend = Callable[..., Engine]
Start = Callable[..., Awaitable[RawServer]]

TOKEN_PATH = "/latest/api/token"
ROLES = "/latest/meta-data/iam/security-credentials/"
EXTENDED = "/latest/meta-data/iam/security-credentials-extended/"

DOCUMENT = {
    "Code": "Success",
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "SENTINEL-secret",
    "Token": "SENTINEL-token",
    "Expiration": "2026-01-01T06:00:00Z",
}
TOKEN = http("SENTINEL-imds-token", headers="x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n")
NOTHING = http("<html>SENTINEL</html>", status=404)
GOOD = http(json.dumps(DOCUMENT))

GIVEN = Credentials(
    access_key_id="ASIAEXAMPLE",
    secret_access_key="SENTINEL-secret",
    session_token="SENTINEL-token",
    expiration=datetime(2099, 1, 1, tzinfo=UTC),
)


def asked(server: LocalIMDS) -> list[str]:
    """Return short descriptions of the requests since the last call."""
    short = {TOKEN_PATH: "token", ROLES: "roles", EXTENDED: "extended roles"}
    found = [
        f"{record.method} {short.get(record.path) or record.path.replace(EXTENDED, 'extended ').replace(ROLES, '')} "
        f"{record.status}"
        for record in server.requests
    ]
    server.requests.clear()
    return found


def gets(server: RawServer) -> list[bytes]:
    return [request for request in server.requests if request.startswith(b"GET")]


async def refusal_of(provider: IMDSProvider, context: Engine) -> STSError:
    with pytest.raises(STSError) as caught:
        await provider.fetch(context)
    return caught.value


@pytest.fixture
def foreign_logs_are_off() -> Iterator[None]:
    """Botocore logs secrets, and here it is only the oracle."""
    logger = logging.getLogger("botocore")
    logger.propagate = False
    yield
    logger.propagate = True


async def boto(url: str, *, attempts: int = 1, v1: bool = True) -> dict[str, Any]:
    """Return the credentials that botocore finds at the service at a URL."""

    def fetch() -> dict[str, Any]:
        config = {"ec2_metadata_service_endpoint": url, "ec2_metadata_v1_disabled": not v1}
        fetcher = InstanceMetadataFetcher(timeout=0.5, num_attempts=attempts, env={}, config=config)
        try:
            found: dict[str, Any] = fetcher.retrieve_iam_role_credentials()
            return found
        finally:
            fetcher._session.close()

    return await asyncio.to_thread(fetch)


# -- botocore as the oracle ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("foreign_logs_are_off")
@pytest.mark.parametrize("role", ["web", "Role_1+=,.@-x", "a/b"])
async def test_botocore_finds_the_same_credentials(context: Engine, role: str) -> None:
    async with LocalIMDS(role=role, credentials=GIVEN) as server:
        ours = await IMDSProvider(endpoint=server.url).fetch(context)
        seen = asked(server)
        theirs = await boto(server.url)

        assert [line for line in seen if "extended" not in line] == asked(server)
    assert (theirs["access_key"], theirs["secret_key"], theirs["token"]) == (
        ours.access_key_id,
        ours.secret_access_key,
        ours.session_token,
    )
    assert datetime.fromisoformat(theirs["expiry_time"]) == ours.expiration


FAULTS = {
    "no role": (lambda server: setattr(server, "role", None), CredentialsNotFound),
    "no trust": (lambda server: setattr(server, "code", "AssumeRoleUnauthorizedAccess"), CredentialsError),
    "no token": (lambda server: server.faults.add(Answer(500, path=TOKEN_PATH, times=9)), CredentialsError),
    "no list": (lambda server: server.faults.add(Answer(500, path=ROLES, times=9)), CredentialsError),
    "not JSON": (lambda server: server.faults.add(Answer(200, "{", path=f"{ROLES}demo", times=9)), CredentialsError),
    "no member": (lambda server: server.faults.add(Answer(200, "{}", path=f"{ROLES}demo", times=9)), CredentialsError),
}


@pytest.mark.usefixtures("foreign_logs_are_off")
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_error_says_why_where_botocore_returns_nothing(context: Engine, fault: str) -> None:
    """F32: botocore returns {} in all these cases, so its chain continues even if the service failed."""
    break_it, kind = FAULTS[fault]
    async with LocalIMDS() as server:
        break_it(server)

        assert await boto(server.url) == {}
        assert type(await refusal_of(IMDSProvider(endpoint=server.url), context)) is kind


# -- the usual way ------------------------------------------------------------------------------------------------


async def test_token_path_and_role_name_are_kept(context: Engine, clocks: Clocks) -> None:
    """A refresh is therefore one request."""
    async with LocalIMDS(clock=lambda: clocks.wall) as server:
        provider = IMDSProvider(endpoint=server.url)
        await provider.fetch(context)

        assert asked(server) == ["PUT token 200", "GET extended roles 404", "GET roles 200", "GET demo 200"]

        await provider.fetch(context)

        assert asked(server) == ["GET demo 200"]


async def test_the_extended_paths_are_tried_first(context: Engine, clocks: Clocks) -> None:
    async with LocalIMDS(clock=lambda: clocks.wall, extended=True) as server:
        provider = IMDSProvider(endpoint=server.url)
        await provider.fetch(context)
        await provider.fetch(context)

        assert asked(server) == [
            "PUT token 200",
            "GET extended roles 200",
            "GET extended demo 200",
            "GET extended demo 200",
        ]


async def test_a_token_is_used_until_a_minute_before_its_end(context: Engine, clocks: Clocks) -> None:
    async with LocalIMDS(clock=lambda: clocks.wall, lifetime=10**6) as server:
        provider = IMDSProvider(endpoint=server.url)
        await provider.fetch(context)
        clocks.advance(21_539)
        await provider.fetch(context)
        asked(server)
        clocks.advance(2)
        await provider.fetch(context)

        assert asked(server) == ["PUT token 200", "GET demo 200"]


@pytest.mark.parametrize(
    ("said", "used"), [("100", 50), ("600", 540), ("99999", 21_540), ("x", 21_540), ("-1", 21_540)]
)
async def test_the_service_sets_the_lifetime_of_a_token(
    context: Engine, clocks: Clocks, raw_server: Start, said: str, used: float
) -> None:
    token = http("SENTINEL-imds-token", headers=f"x-aws-ec2-metadata-token-ttl-seconds: {said}\r\n")
    server = await raw_server(token, GOOD, GOOD, token, GOOD)
    provider = IMDSProvider(endpoint=server.url, role_name="demo")
    await provider.fetch(context)
    clocks.advance(used - 1)
    await provider.fetch(context)
    clocks.advance(1)
    await provider.fetch(context)

    assert [request[:3] for request in server.requests] == [b"PUT", b"GET", b"GET", b"PUT", b"GET"]


async def test_the_requests_are_those_of_imdsv2(context: Engine, raw_server: Start) -> None:
    server = await raw_server(TOKEN, NOTHING, http("demo"), GOOD)
    await IMDSProvider(endpoint=server.url).fetch(context)
    put, *others = (request.decode().lower() for request in server.requests)

    assert put.startswith(f"put {TOKEN_PATH} http/1.1\r\n")
    assert "\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\n" in put
    assert "\r\ncontent-length: 0\r\n" in put
    assert [other.split()[1] for other in others] == [EXTENDED, ROLES, f"{ROLES}demo"]
    assert all("\r\nx-aws-ec2-metadata-token: sentinel-imds-token\r\n" in other for other in others)


async def test_a_configured_role_name_is_not_requested(context: Engine, clocks: Clocks) -> None:
    async with LocalIMDS(clock=lambda: clocks.wall, role="web") as server:
        provider = IMDSProvider(endpoint=server.url, role_name="web")
        await provider.fetch(context)
        await provider.fetch(context)

        assert asked(server) == ["PUT token 200", "GET extended web 404", "GET web 200", "GET web 200"]

        other = IMDSProvider(endpoint=server.url, role_name="other")
        with pytest.raises(CredentialsNotFound, match=r"^no role other is attached to the instance$"):
            await other.fetch(context)


async def test_a_new_role_of_the_instance_is_found(context: Engine, clocks: Clocks) -> None:
    """F32: the cached name is dropped when the service answers 404."""
    async with LocalIMDS(clock=lambda: clocks.wall, role="old", extended=True) as server:
        provider = IMDSProvider(endpoint=server.url)
        await provider.fetch(context)
        server.role = "new"
        asked(server)
        await provider.fetch(context)

        assert asked(server) == ["GET extended old 404", "GET extended roles 200", "GET extended new 200"]

        server.role = None
        with pytest.raises(CredentialsNotFound, match="no role is attached"):
            await provider.fetch(context)
        server.role, server.extended = "newer", False
        asked(server)
        await provider.fetch(context)

        assert asked(server) == ["GET extended roles 404", "GET roles 200", "GET newer 200"]


async def test_a_role_without_credentials_is_an_error(context: Engine, raw_server: Start) -> None:
    """F32: the role is attached, so the source is configured. There is no endless loop of requests."""
    server = await raw_server(TOKEN, http("demo"), NOTHING)
    error = await refusal_of(IMDSProvider(endpoint=server.url), context)

    assert str(error) == "EC2 instance metadata: the role demo is attached, but has no credentials (HTTP 404)"
    assert len(server.requests) == 3


# -- nothing there ------------------------------------------------------------------------------------------------


async def test_a_disabled_provider_sends_nothing(context: Engine, raw_server: Start) -> None:
    server = await raw_server(TOKEN)
    for endpoint in (server.url, "http://evil/"):
        with pytest.raises(
            CredentialsNotFound, match=r"^it is disabled: ec2_metadata_disabled, or AWS_EC2_METADATA_DISABLED$"
        ):
            await IMDSProvider(endpoint=endpoint, disabled=True).fetch(context)

    assert server.connections == 0


@pytest.mark.parametrize("v1", [False, True])
async def test_a_refused_connection_means_not_configured(context: Engine, v1: bool) -> None:
    """F29: the chain continues."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        error = await refusal_of(IMDSProvider(endpoint=url, v1_fallback=v1), context)

    assert isinstance(error, CredentialsNotFound)
    assert str(error).startswith(f"{url} does not answer (1 attempt of 1 s): no connection to ")


async def test_a_timeout_means_not_configured(context: Engine, clocks: Clocks, raw_server: Start) -> None:
    """F29, F30, T28: the token request has a time limit, and the error mentions the hop limit of containers."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        await asyncio.Event().wait()

    server = await raw_server(handler=silent)
    began = asyncio.get_running_loop().time()
    error = await refusal_of(IMDSProvider(endpoint=server.url, seconds=0.1, attempts=3), context)

    assert asyncio.get_running_loop().time() - began < 5
    assert isinstance(error, CredentialsNotFound)
    assert "does not answer (3 attempts of 0.1 s)" in str(error)
    assert "hop limit" in str(error)
    assert (len(server.requests), gets(server), clocks.slept) == (3, [], [0.5, 0.5])


@pytest.mark.parametrize("status", [403, 404, 405])
async def test_a_refused_token_request_means_not_configured(context: Engine, raw_server: Start, status: int) -> None:
    """T28: no request is sent without a token."""
    server = await raw_server(http("SENTINEL", status=status), GOOD)
    error = await refusal_of(IMDSProvider(endpoint=server.url, attempts=3), context)

    assert isinstance(error, CredentialsNotFound)
    assert str(error) == (
        f"{server.url.rstrip('/')} returned no session token (HTTP {status}), and IMDSv1 is used only with "
        "imds_v1_fallback=True or AWS_EC2_METADATA_V1_DISABLED=false"
    )
    assert (len(server.requests), gets(server)) == (1, [])
    assert "SENTINEL" not in shown(error)


@pytest.mark.parametrize(("status", "sent"), [(400, 1), (401, 1), (204, 1), (429, 3), (500, 3), (503, 3)])
@pytest.mark.parametrize("v1", [False, True])
async def test_a_failed_token_request_is_an_error(
    context: Engine, raw_server: Start, status: int, sent: int, v1: bool
) -> None:
    """T28: even with the fallback, IMDSv1 is not used after these failures."""
    server = await raw_server(http("" if status == 204 else "SENTINEL", status=status))
    error = await refusal_of(IMDSProvider(endpoint=server.url, attempts=2, v1_fallback=v1), context)

    assert type(error) is CredentialsError
    assert str(error) == f"EC2 instance metadata: no session token: HTTP {status}"
    assert (len(server.requests), gets(server)) == (sent, [])
    assert "SENTINEL" not in shown(error)


async def test_a_connection_that_breaks_is_an_error(context: Engine) -> None:
    """The service exists, and does not work."""
    async with LocalIMDS() as server:
        server.faults.add(Reset(times=9))
        error = await refusal_of(IMDSProvider(endpoint=server.url), context)

        assert type(error) is CredentialsError
        assert all(record.path == TOKEN_PATH for record in server.requests)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_busy_service_is_retried(context: Engine, clocks: Clocks, status: int) -> None:
    """C20: this holds for the default of one attempt, which is meant for a service that does not answer."""
    async with LocalIMDS(clock=lambda: clocks.wall, credentials=GIVEN) as server:
        server.faults.add(
            Answer(status, path=TOKEN_PATH),
            Answer(status, path=ROLES, times=2),
            Answer(status, path=f"{ROLES}demo"),
        )
        assert await IMDSProvider(endpoint=server.url).fetch(context) == GIVEN

        assert [line for line in asked(server) if "extended" not in line] == [
            f"PUT token {status}",
            "PUT token 200",
            f"GET roles {status}",
            f"GET roles {status}",
            "GET roles 200",
            f"GET demo {status}",
            "GET demo 200",
        ]
    assert clocks.slept == [0.5] * 4


async def test_a_service_that_stays_busy_fails_after_three_attempts(context: Engine, clocks: Clocks) -> None:
    """C20: or after more attempts, if they are configured."""
    for attempts, sent in ((1, 3), (3, 3), (4, 4)):
        async with LocalIMDS(clock=lambda: clocks.wall) as server:
            server.faults.add(Unavailable(times=99))
            error = await refusal_of(IMDSProvider(endpoint=server.url, attempts=attempts), context)

            assert str(error) == "EC2 instance metadata: no session token: HTTP 503"
            assert asked(server) == ["PUT token 503"] * sent


@pytest.mark.parametrize(("status", "sent"), [(403, 1), (500, 1), (501, 1), (503, 3)])
async def test_the_legacy_path_is_used_where_the_extended_one_fails(
    context: Engine, clocks: Clocks, status: int, sent: int
) -> None:
    """C13: moto answers 500 to unknown paths, and proxies with a list of paths answer 403. The choice is kept."""
    async with LocalIMDS(clock=lambda: clocks.wall, credentials=GIVEN) as server:
        server.faults.add(Answer(status, path=EXTENDED, times=99))
        provider = IMDSProvider(endpoint=server.url)

        assert await provider.fetch(context) == GIVEN
        assert asked(server) == [
            "PUT token 200",
            *[f"GET extended roles {status}"] * sent,
            "GET roles 200",
            "GET demo 200",
        ]
        assert await provider.fetch(context) == GIVEN
        assert asked(server) == ["GET demo 200"]


async def test_the_legacy_path_is_used_where_only_the_extended_list_works(context: Engine, clocks: Clocks) -> None:
    """C13: the extended path may have a list of roles and no credentials."""
    async with LocalIMDS(clock=lambda: clocks.wall, credentials=GIVEN, extended=True) as server:
        server.faults.add(Answer(403, path=f"{EXTENDED}demo", times=99))
        provider = IMDSProvider(endpoint=server.url)

        assert await provider.fetch(context) == GIVEN
        assert asked(server) == ["PUT token 200", "GET extended roles 200", "GET extended demo 403", "GET demo 200"]


async def test_an_extended_path_that_fails_is_not_taken_for_an_instance_without_a_role(
    context: Engine, clocks: Clocks
) -> None:
    """C13, F32: "not configured" and "failed" are different results."""
    async with LocalIMDS(clock=lambda: clocks.wall, role=None) as server:
        server.faults.add(Answer(403, path=EXTENDED, times=99))
        error = await refusal_of(IMDSProvider(endpoint=server.url), context)

    assert type(error) is CredentialsError
    assert str(error) == f"EC2 instance metadata: HTTP 403, for {EXTENDED}"


async def test_attempts_end_with_success(context: Engine, clocks: Clocks) -> None:
    async with LocalIMDS(clock=lambda: clocks.wall) as server:
        server.faults.add(Unavailable(), Unavailable(path=f"{ROLES}demo", times=2))
        await IMDSProvider(endpoint=server.url, attempts=3).fetch(context)

        assert asked(server) == [
            "PUT token 503",
            "PUT token 200",
            "GET extended roles 404",
            "GET roles 200",
            "GET demo 503",
            "GET demo 503",
            "GET demo 200",
        ]


# -- IMDSv1 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 405])
async def test_imdsv1_is_used_if_enabled(context: Engine, clocks: Clocks, status: int) -> None:
    """T28: botocore does so by default."""
    async with LocalIMDS(clock=lambda: clocks.wall, v1=True) as server:
        server.faults.add(Answer(status, path=TOKEN_PATH))
        provider = IMDSProvider(endpoint=server.url, v1_fallback=True)
        await provider.fetch(context)

        assert [record.token for record in server.requests] == [None, "absent", "absent", "absent"]

        server.requests.clear()
        await provider.fetch(context)

        assert [record.token for record in server.requests] == [None, "valid"]


async def test_imdsv1_is_used_after_a_timeout(context: Engine, clocks: Clocks) -> None:
    """With a hop limit of 1, the response to PUT does not reach a container, but the response to GET does."""
    async with LocalIMDS(clock=lambda: clocks.wall, v1=True) as server:
        server.faults.add(Delay(60, path=TOKEN_PATH))
        found = await IMDSProvider(endpoint=server.url, seconds=0.2, v1_fallback=True).fetch(context)

    assert found.session_token


async def test_imdsv1_that_is_disabled_at_the_service_is_an_error(context: Engine, raw_server: Start) -> None:
    server = await raw_server(http("", status=404), http("", status=401))
    error = await refusal_of(IMDSProvider(endpoint=server.url, v1_fallback=True), context)

    assert str(error) == f"EC2 instance metadata: HTTP 401, for {EXTENDED}"
    assert len(server.requests) == 2


# -- tokens and names that are none -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token", ["", "SENTINEL\r\nX: y", "SENTINEL\n", "SENTINEL x", "SENTINELä", "\x00", "x" * 257], ids=repr
)
async def test_a_token_that_is_invalid_in_a_header_is_refused(context: Engine, raw_server: Start, token: str) -> None:
    """T29, T28."""
    server = await raw_server(http(token))
    error = await refusal_of(IMDSProvider(endpoint=server.url, v1_fallback=True), context)

    assert str(error) == "EC2 instance metadata: the session token has characters that a header cannot have"
    assert "SENTINEL" not in shown(error)
    assert gets(server) == []


async def test_a_token_of_256_bytes_is_accepted(context: Engine, raw_server: Start) -> None:
    server = await raw_server(http("x" * 256), GOOD)

    assert (await IMDSProvider(endpoint=server.url, role_name="r").fetch(context)).access_key_id == "ASIAEXAMPLE"


BAD_ROLES = [
    "../../user-data",
    "a\r\nb",
    "a?x",
    "a/../b",
    "..",
    "./x",
    "/a",
    "a/",
    "a b",
    "a%2e",
    "ä",
    "a" * 257,
    "a\\b",
    "a#b",
]


@pytest.mark.parametrize("role", BAD_ROLES, ids=repr)
async def test_a_role_name_that_leads_to_another_path_is_refused(context: Engine, raw_server: Start, role: str) -> None:
    """T29: no further request is sent. This holds for names from the service and from the configuration."""
    server = await raw_server(TOKEN, http(f"{role}\nSENTINEL"))
    error = await refusal_of(IMDSProvider(endpoint=server.url), context)

    assert type(error) is CredentialsError
    assert str(error) == "EC2 instance metadata: the name of the role is not valid in IAM"
    assert len(server.requests) == 2
    assert "SENTINEL" not in shown(error)

    error = await refusal_of(IMDSProvider(endpoint=server.url, role_name=role), context)

    assert isinstance(error, ConfigurationError)
    assert len(server.requests) == 2


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Z", "C"], include_characters="./%\\?#@"), max_size=12))
def test_a_role_name_stays_below_its_path(name: str) -> None:
    """T29."""
    if is_role_name(name):
        url = urljoin("http://169.254.169.254" + ROLES, f"./{name}")

        assert urlsplit(url).path == ROLES + name
        assert urlsplit(url).query == urlsplit(url).fragment == ""


async def test_the_first_line_is_the_role(context: Engine, raw_server: Start) -> None:
    server = await raw_server(TOKEN, http("demo\nother\n"), GOOD)
    await IMDSProvider(endpoint=server.url).fetch(context)

    assert server.requests[-1].split()[1].endswith(b"/demo")


@pytest.mark.parametrize("listed", ["", "\n", " "])
async def test_an_empty_list_means_that_no_role_is_attached(context: Engine, raw_server: Start, listed: str) -> None:
    server = await raw_server(TOKEN, http(listed))

    with pytest.raises(CredentialsNotFound, match="no role is attached"):
        await IMDSProvider(endpoint=server.url).fetch(context)


# -- what comes back ----------------------------------------------------------------------------------------------


async def test_a_token_that_is_refused_is_replaced_once(context: Engine, clocks: Clocks, raw_server: Start) -> None:
    """F31."""
    async with LocalIMDS(clock=lambda: clocks.wall) as server:
        provider = IMDSProvider(endpoint=server.url)
        await provider.fetch(context)
        server.revoke_tokens()
        asked(server)
        await provider.fetch(context)

        assert asked(server) == ["GET demo 401", "PUT token 200", "GET demo 200"]

    other = await raw_server(TOKEN, http("", status=401), TOKEN, http("", status=401))
    error = await refusal_of(IMDSProvider(endpoint=other.url, role_name="demo", attempts=5), context)

    assert str(error) == f"EC2 instance metadata: HTTP 401, for {EXTENDED}demo"
    assert len(other.requests) == 4


async def test_the_error_explains_a_role_that_ec2_may_not_assume(context: Engine, clocks: Clocks) -> None:
    """F32: the HTTP status is 200."""
    async with LocalIMDS(clock=lambda: clocks.wall, code="AssumeRoleUnauthorizedAccess") as server:
        error = await refusal_of(IMDSProvider(endpoint=server.url), context)

    assert type(error) is CredentialsError
    assert "its trust policy must allow sts:AssumeRole to ec2.amazonaws.com" in str(error)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("InstanceProfileNotFound", "code InstanceProfileNotFound"),
        ("a code: SENTINEL", "unreadable code"),
        (["SENTINEL"], "unreadable code"),
        (None, "unreadable code"),
    ],
)
async def test_another_code_is_an_error(context: Engine, raw_server: Start, code: Any, said: str) -> None:
    server = await raw_server(TOKEN, http(json.dumps({**DOCUMENT, "Code": code, "Message": "SENTINEL"})))
    error = await refusal_of(IMDSProvider(endpoint=server.url, role_name="demo"), context)

    assert str(error) == f"EC2 instance metadata: IMDS returned no credentials ({said})"
    assert "SENTINEL" not in shown(error)


BAD_ANSWERS = {
    "not JSON": (http("SENTINEL{"), "is not a JSON object"),
    "null key": (http(json.dumps({**DOCUMENT, "AccessKeyId": None})), "AccessKeyId is missing"),
    "bad time": (
        http(json.dumps({**DOCUMENT, "Expiration": "SENTINEL"})),
        "Expiration is not a time such as 2026-01-01T00:00:00Z",
    ),
    "no token": (http(json.dumps({**DOCUMENT, "Token": ""})), "Token is empty"),
    "too large": (http(json.dumps(DOCUMENT).ljust(64 * 1024 + 1)), "is larger than 65536 bytes"),
    "500": (http("SENTINEL", status=500), "HTTP 500"),
    "403": (http("SENTINEL", status=403), "HTTP 403"),
    "compressed": (http(b"\x1f\x8bSENTINEL", headers="Content-Encoding: gzip\r\n"), "is not a JSON object"),
    "cut off": (http("SENTINEL", length=100), "ended before the whole answer had come"),
    "not HTTP": (b"SENTINEL\r\n\r\n", "is not HTTP that can be read"),
}


@pytest.mark.parametrize(("answer", "said"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
async def test_an_invalid_response_is_reported_and_not_shown(
    context: Engine, raw_server: Start, answer: bytes, said: str
) -> None:
    """F30, T10, T15, T16."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await server.read_request(reader)
        writer.write(TOKEN if first.startswith(b"PUT") else answer)
        if first.startswith(b"PUT"):
            await server.read_request(reader)
            writer.write(answer)
        await writer.drain()

    server = await raw_server(handler=serve)
    error = await refusal_of(IMDSProvider(endpoint=server.url, role_name="demo"), context)

    assert said in str(error)
    assert not isinstance(error, CredentialsNotFound)
    assert "SENTINEL" not in shown(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("step", [0, 1])
async def test_a_redirect_is_not_followed(context: Engine, raw_server: Start, status: int, step: int) -> None:
    """T4: this holds for the token request and for all others."""
    other = await raw_server(TOKEN, GOOD)
    redirect = http("SENTINEL", status=status, headers=f"Location: {other.url}SENTINEL\r\n")
    server = await raw_server(*[TOKEN][:step], redirect)
    error = await refusal_of(IMDSProvider(endpoint=server.url, role_name="demo"), context)

    assert f"HTTP {status} redirect to host '127.0.0.1': not followed" in str(error)
    assert "SENTINEL" not in shown(error)
    assert other.connections == 0


async def test_a_proxy_of_the_environment_is_not_used(
    context: Engine, clocks: Clocks, raw_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T25."""
    proxy = await raw_server(TOKEN)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    async with LocalIMDS(clock=lambda: clocks.wall) as server:
        await IMDSProvider(endpoint=server.url).fetch(context)

    assert proxy.connections == 0


# -- in front of it, the cache ------------------------------------------------------------------------------------


async def test_cached_credentials_stay_in_use_while_the_service_hangs(context: Engine, clocks: Clocks) -> None:
    """F30: the request has a time limit, and IMDSv1 is not tried."""
    async with LocalIMDS(clock=lambda: clocks.wall, lifetime=3600) as server:
        provider = IMDSProvider(endpoint=server.url, seconds=0.1)
        first = await provider.provide_credentials(context)
        server.faults.add(Delay(60, path=ROLES, times=9))
        clocks.advance(3590)

        assert await provider.provide_credentials(context) is first
        assert all(record.token in (None, "valid") for record in server.requests)


async def test_expired_credentials_are_used_when_there_are_no_others(
    context: Engine, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    """F33: with a warning, and without another request for 5 to 10 minutes."""
    async with LocalIMDS(clock=lambda: clocks.wall, lifetime=-60) as server:
        provider = IMDSProvider(endpoint=server.url)
        first = await provider.provide_credentials(context)
        asked(server)
        clocks.advance(299)

        assert await provider.provide_credentials(context) is first
        assert asked(server) == []
        assert "returned expired credentials; serving them" in caplog.text

        server.lifetime = 3600
        clocks.advance(301)

        assert (await provider.provide_credentials(context)).expiration != first.expiration


async def test_expired_credentials_do_not_replace_cached_ones(context: Engine, clocks: Clocks) -> None:
    """F49."""
    async with LocalIMDS(clock=lambda: clocks.wall, lifetime=3600) as server:
        provider = IMDSProvider(endpoint=server.url)
        first = await provider.provide_credentials(context)
        server.lifetime = -60
        clocks.advance(3590)

        assert await provider.provide_credentials(context) is first


# -- the endpoint -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "mode", "url"),
    [
        (None, "IPv4", "http://169.254.169.254"),
        ("", "ipv4", "http://169.254.169.254"),
        (" ", "IPv6", "http://[fd00:ec2::254]"),
        ("http://127.0.0.1:1338/", "IPv4", "http://127.0.0.1:1338"),
        ("http://127.0.0.1:1338/below/", "nonsense", "http://127.0.0.1:1338/below"),
        ("http://[fd00:ec2::254]", "IPv4", "http://[fd00:ec2::254]"),
        ("http://[fe80::1]/", "IPv4", "http://[fe80::1]"),
        ("http://169.254.1.2", "IPv4", "http://169.254.1.2"),
        ("http://LOCALHOST:81", "IPv4", "http://127.0.0.1:81"),
        ("https://anywhere.example/", "IPv4", "https://anywhere.example"),
    ],
)
def test_the_endpoint_is_chosen_as_by_botocore(endpoint: str | None, mode: str, url: str) -> None:
    """The exception is ``localhost``, which here means an address."""
    assert base_url(endpoint, mode=mode) == url
    if (endpoint or "").strip() and "LOCALHOST" not in str(endpoint):
        config = {"ec2_metadata_service_endpoint": endpoint, "ec2_metadata_service_endpoint_mode": mode.lower()}
        oracle = InstanceMetadataFetcher(env={}, config=config)

        assert oracle._construct_url("x") == f"{url}/x"


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://evil/",
        "http://8.8.8.8",
        "http://10.0.0.1",
        "http://[fd00:ec2::23]",
        "http://[::ffff:169.254.169.254]",
        "http://0x7f000001",
        "http://localhost.evil/",
        "http://127.0.0.1@evil/",
        "ftp://127.0.0.1",
        "http://127.0.0.1/?x",
        "169.254.169.254",
    ],
)
async def test_an_endpoint_outside_of_the_host_is_refused(lend: Lend, endpoint: str) -> None:
    """T30: token and credentials would be sent unencrypted, so no request is sent."""
    error = await refusal_of(IMDSProvider(endpoint=endpoint), lend(transport=None))

    assert isinstance(error, InvalidEndpoint)
    assert str(error).startswith("the endpoint of the instance metadata service")


async def test_an_invalid_mode_is_refused(context: Engine) -> None:
    error = await refusal_of(IMDSProvider(endpoint_mode="IPv5"), context)

    assert isinstance(error, ConfigurationError)
    assert str(error) == "the endpoint mode of the instance metadata service must be IPv4 or IPv6"


def test_the_repr_names_the_provider() -> None:
    assert repr(IMDSProvider()) == "IMDSProvider()"
    assert IMDSProvider.name == "EC2 instance metadata"
