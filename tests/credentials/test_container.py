"""The container endpoint: its URL and token, the number of attempts, and the handling of responses."""

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme
from botocore.credentials import ContainerProvider as BotoProvider
from botocore.exceptions import CredentialRetrievalError
from botocore.httpsession import URLLib3Session
from botocore.utils import ContainerMetadataFetcher
from support import Clocks, RawServer, http
from test_secrets import shown

from sts_async._engine.loop import Engine
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._runtime import name_lookups
from sts_async._shape.secret import SecretBytes
from sts_async.credentials.container import ContainerProvider
from sts_async.errors import CredentialsError, CredentialsNotFound, InvalidEndpoint, STSError, TLSError
from sts_async.shapes import Credentials
from sts_async.testing import Answer, Delay, LocalContainer, Reset, Throttle, Unavailable

Lend = Callable[..., Engine]
Start = Callable[..., Awaitable[RawServer]]

RELATIVE = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
FULL = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"

DOCUMENT = {
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "SENTINEL-secret",
    "Token": "SENTINEL-token",
    "Expiration": "2026-01-01T01:00:00Z",
}
GOOD = http(json.dumps(DOCUMENT))


@attrs.define
class Recorder:
    """A transport that records its requests, and returns the same response to each."""

    status: int = 200
    body: bytes = json.dumps(DOCUMENT).encode()
    requests: list[HttpRequest] = attrs.field(factory=list)

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        return HttpResponse(self.status, {}, SecretBytes(self.body))


class Names:
    """A scripted resolver that replaces the library's own."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def addresses(self, host: str, port: int, *, seconds: float) -> list[name_lookups.Address]:
        self.asked.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "SENTINEL")
        return [name_lookups.Address(address, port, socket.AF_INET, 6) for address in found]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Names]:
    """Return a function that scripts name lookups: one list of addresses for each lookup; the last one is repeated."""

    def script(*answers: list[str]) -> Names:
        resolver = Names(*answers)
        monkeypatch.setattr(
            name_lookups.LookUps,
            "addresses",
            lambda _, host, port, **options: resolver.addresses(host, port, **options),
        )
        return resolver

    return script


@pytest.fixture
def foreign_logs_are_off() -> Iterator[None]:
    """Botocore logs secrets, and here it is only the oracle."""
    logger = logging.getLogger("botocore")
    logger.propagate = False
    yield
    logger.propagate = True


async def fetch(environ: dict[str, str], context: Engine) -> Credentials:
    return await ContainerProvider(environ=environ).fetch(context)


async def refusal_of(environ: dict[str, str], context: Engine) -> STSError:
    with pytest.raises(STSError) as caught:
        await fetch(environ, context)
    return caught.value


def boto(environ: dict[str, str]) -> Any:
    """Return the credentials that botocore finds with these variables."""
    session = URLLib3Session(timeout=5)
    try:
        fetcher = ContainerMetadataFetcher(session=session, sleep=lambda seconds: None)
        return BotoProvider(environ=environ, fetcher=fetcher).load()
    finally:
        session.close()


# -- botocore as the oracle ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("foreign_logs_are_off")
@pytest.mark.parametrize("how", ["no token", "variable", "file", "file and variable"])
async def test_botocore_finds_the_same_credentials(context: Engine, clocks: Clocks, tmp_path: Path, how: str) -> None:
    """T33: the token in the file takes precedence over the variable."""
    given = Credentials(
        access_key_id="ASIAEXAMPLE",
        secret_access_key="SENTINEL-secret",
        session_token="SENTINEL-token",
        expiration=datetime(2099, 1, 1, tzinfo=UTC),
    )
    token = None if how == "no token" else "SENTINEL authorization"
    async with LocalContainer(credentials=given, token=token, path="/v1/x?id=7%20") as server:
        environ = {FULL: server.environ[FULL]}
        if "variable" in how:
            environ[TOKEN] = "SENTINEL authorization" if how == "variable" else "SENTINEL another"
        if "file" in how:
            path = tmp_path / "token"
            path.write_text("SENTINEL authorization")
            environ[TOKEN_FILE] = str(path)
        ours = await fetch(environ, context)
        theirs = await asyncio.to_thread(boto, environ)

    assert (theirs.access_key, theirs.secret_key, theirs.token) == (
        ours.access_key_id,
        ours.secret_access_key,
        ours.session_token,
    )
    assert theirs._expiry_time == ours.expiration
    assert [record.token for record in server.requests] == [None if token is None else "valid"] * 2


@pytest.mark.usefixtures("foreign_logs_are_off")
@pytest.mark.parametrize("status", [500, 503, 429])
async def test_botocore_makes_as_many_attempts(context: Engine, clocks: Clocks, status: int) -> None:
    """F34: three, one second apart."""
    async with LocalContainer() as server:
        server.faults.add(Answer(status, body="SENTINEL", times=100))
        error = await refusal_of(server.environ, context)
        ours = len(server.requests)
        with pytest.raises(CredentialRetrievalError):
            await asyncio.to_thread(boto, server.environ)

    assert ours == len(server.requests) - ours == 3
    assert clocks.slept == [1.0, 1.0]
    assert str(error) == f"container endpoint: 3 attempts failed, the last one with: HTTP {status}"
    assert (error.throttled, error.attempts, error.retryable, error.recoverable) == (status == 429, 3, False, True)


# -- where it asks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environ", [{}, {RELATIVE: "", FULL: " "}, {TOKEN: "SENTINEL"}])
async def test_without_a_uri_the_source_is_not_configured(context: Engine, environ: dict[str, str]) -> None:
    with pytest.raises(CredentialsNotFound, match=f"^{RELATIVE} and {FULL} are not set$"):
        await fetch(environ, context)


async def test_the_process_environment_is_read_at_each_fetch(
    context: Engine, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = ContainerProvider()
    with pytest.raises(CredentialsNotFound):
        await provider.provide_credentials(context)
    async with LocalContainer(clock=lambda: clocks.wall) as server:
        monkeypatch.setenv(FULL, server.environ[FULL])
        first = await provider.provide_credentials(context)

        assert await provider.provide_credentials(context) is first
    assert repr(provider) == "ContainerProvider()"


async def test_the_relative_uri_is_on_the_ecs_agent_and_takes_precedence(lend: Lend) -> None:
    """Botocore builds the same URL. A blank variable counts as unset."""
    recorder = Recorder()
    await fetch({RELATIVE: "/v2/x?id=1", FULL: "https://elsewhere/"}, lend(transport=recorder))
    await fetch({RELATIVE: " ", FULL: "https://elsewhere/y"}, lend(transport=recorder))

    assert [request.url for request in recorder.requests] == [
        ContainerMetadataFetcher(session=object()).full_url("/v2/x?id=1"),
        "https://elsewhere/y",
    ]
    assert recorder.requests[0].method == "GET"
    assert recorder.requests[0].headers == {"accept": "application/json", "host": "169.254.170.2"}
    assert recorder.requests[0].timeout == 2.0


@pytest.mark.parametrize("path", ["//evil/x", "/\\evil", "@evil/", "http://evil", "x", "/a\r\nX: y", "/a b", "/#a"])
async def test_a_relative_uri_that_leaves_the_host_is_refused(lend: Lend, path: str) -> None:
    """T32: no request is sent."""
    recorder = Recorder()
    error = await refusal_of({RELATIVE: path}, lend(transport=recorder))

    assert isinstance(error, InvalidEndpoint)
    assert recorder.requests == []


EVIL = [
    "http://evil",
    "http://169.254.169.254",
    "http://0x7f000001",
    "http://127.1",
    "http://2130706433",
    "http://[::ffff:10.0.0.1]",
    "http://[::ffff:127.0.0.1]",
    "ftp://localhost",
    "http://evil.com\t@127.0.0.1",
    "http://127.0.0.1@evil.com",
    "http://10.0.0.1/",
    "http://0.0.0.0/",
    "http://[::]/",
    "http://[fd00:ec2::254]/",
    "//127.0.0.1",
]


@pytest.mark.parametrize("url", EVIL)
async def test_http_is_allowed_only_to_loopback_and_agents(lend: Lend, names: Callable[..., Names], url: str) -> None:
    """T31: no request is sent, even if the name cannot be resolved at once."""
    names(["10.0.0.1"])
    recorder = Recorder()
    error = await refusal_of({FULL: url, TOKEN: "SENTINEL"}, lend(transport=recorder))

    assert isinstance(error, InvalidEndpoint | CredentialsError)
    assert recorder.requests == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"]
)
async def test_http_is_allowed_to_addresses_of_the_agents(lend: Lend, host: str) -> None:
    """T31."""
    recorder = Recorder()
    await fetch({FULL: f"http://{host}:81/x"}, lend(transport=recorder))

    assert [request.url for request in recorder.requests] == [f"http://{host}:81/x"]


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1", "192.168.0.1"], ["192.168.0.1", "127.0.0.1"], ["::1", "::ffff:127.0.0.1"], ["fe80::1%lo"]],
)
async def test_every_address_of_a_name_must_be_allowed(
    lend: Lend, names: Callable[..., Names], addresses: list[str]
) -> None:
    """T31."""
    names(addresses)
    recorder = Recorder()
    error = await refusal_of({FULL: "http://agent/x"}, lend(transport=recorder))

    assert "agent has an address that is neither loopback nor" in str(error)
    assert error.recoverable
    assert recorder.requests == []


async def test_the_connection_goes_to_the_checked_address(
    context: Engine, names: Callable[..., Names], raw_server: Start
) -> None:
    """T31: the name is not looked up again, because the second result could be different."""
    server = await raw_server(GOOD)
    resolver = names(["127.0.0.1"], ["127.0.0.2"])
    await fetch({FULL: f"{server.url.replace('127.0.0.1', 'Agent.example')}x?y"}, context)
    head = server.requests[0].decode().lower()

    assert resolver.asked == ["agent.example"]
    assert head.startswith("get /x?y http/1.1\r\n")
    assert head.count("\r\nhost: ") == 1
    assert f"\r\nhost: agent.example:{server.url.split(':')[2].strip('/')}\r\n" in head


async def test_the_next_address_is_tried_after_a_refused_connection(
    context: Engine, clocks: Clocks, names: Callable[..., Names], raw_server: Start
) -> None:
    """localhost has two addresses, and an agent often listens on one."""
    server = await raw_server(GOOD)
    names(["127.0.0.2", "127.0.0.1", "127.0.0.1"])
    await fetch({FULL: server.url.replace("127.0.0.1", "localhost")}, context)

    assert clocks.slept == []


async def test_localhost_is_looked_up_by_the_system(context: Engine, clocks: Clocks) -> None:
    async with LocalContainer(clock=lambda: clocks.wall) as server:
        found = await fetch({FULL: server.environ[FULL].replace("127.0.0.1", "localhost")}, context)

    assert found.session_token


async def test_a_failed_lookup_is_retried(lend: Lend, clocks: Clocks, names: Callable[..., Names]) -> None:
    resolver = names([], ["127.0.0.1"])
    recorder = Recorder()
    await fetch({FULL: "http://agent:81/"}, lend(transport=recorder))

    assert resolver.asked == ["agent", "agent"]
    assert clocks.slept == [1.0]

    names([])
    error = await refusal_of({FULL: "http://agent:81/"}, lend(transport=recorder))

    assert str(error) == "container endpoint: 3 attempts failed, the last one with: no address is known for agent"
    assert "SENTINEL" not in shown(error)


async def test_https_is_allowed_to_any_host_with_a_valid_certificate(
    context: Engine, tmp_path: Path, clocks: Clocks
) -> None:
    """T31: the name is not looked up beforehand. A certificate error is not retried."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    error = await refusal_of({FULL: f"https://127.0.0.1:{port}/", TOKEN: "SENTINEL"}, context)
    server.close()

    assert isinstance(error, TLSError)
    assert connections == 0
    assert clocks.slept == []
    assert "SENTINEL" not in shown(error)


async def test_a_proxy_of_the_environment_is_not_used(
    context: Engine, raw_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T25."""
    proxy, server = await raw_server(GOOD), await raw_server(GOOD)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    await fetch({FULL: server.url}, context)

    assert (proxy.connections, server.connections) == (0, 1)


# -- the token ----------------------------------------------------------------------------------------------------


async def authorization(environ: dict[str, str], lend: Lend) -> str | None:
    recorder = Recorder()
    await fetch({RELATIVE: "/x", **environ}, lend(transport=recorder))
    return recorder.requests[0].headers.get("authorization")


async def test_the_token_file_is_read_at_each_fetch(lend: Lend, tmp_path: Path) -> None:
    """T33: EKS replaces it before it expires."""
    path = tmp_path / "token"
    environ = {TOKEN_FILE: str(path), TOKEN: "SENTINEL-variable"}
    seen = []
    for content in ("SENTINEL-1", "SENTINEL-2\n", "SENTINEL-3\r\n"):
        path.write_bytes(content.encode())
        seen.append(await authorization(environ, lend))

    assert seen == ["SENTINEL-1", "SENTINEL-2", "SENTINEL-3"]
    assert repr(seen) == "['***', '***', '***']"


async def test_a_blank_variable_counts_as_unset(lend: Lend) -> None:
    assert await authorization({TOKEN: " ", TOKEN_FILE: ""}, lend) is None
    assert await authorization({TOKEN: "SENTINEL", TOKEN_FILE: " "}, lend) == "SENTINEL"


TOKENS = {
    "a header": (b"SENTINEL\r\nX: 1", "contains characters that are invalid in an HTTP header"),
    "a line": (b"SENTINEL\nSENTINEL", "contains characters that are invalid in an HTTP header"),
    "two line breaks": (b"SENTINEL\n\n", "contains characters that are invalid in an HTTP header"),
    "not ASCII": ("SENTINELä".encode(), "contains characters that are invalid in an HTTP header"),
    "NUL": (b"SENTINEL\x00", "contains characters that are invalid in an HTTP header"),
    "empty": (b"", "is empty"),
    "a line break only": (b"\n", "is empty"),
}


@pytest.mark.parametrize(("content", "said"), TOKENS.values(), ids=TOKENS)
async def test_a_token_that_is_invalid_in_a_header_is_refused(
    lend: Lend, tmp_path: Path, content: bytes, said: str
) -> None:
    """T33, T16."""
    path = tmp_path / "token"
    path.write_bytes(content)
    recorder = Recorder()
    error = await refusal_of({RELATIVE: "/x", TOKEN_FILE: str(path)}, lend(transport=recorder))

    assert str(error) == f"container endpoint: the token of {TOKEN_FILE} {said}"
    assert "SENTINEL" not in shown(error)
    assert recorder.requests == []


@pytest.mark.parametrize("token", ["SENTINEL\r\nX: 1", "SENTINEL\n", "SENTINEL\u2028"])
async def test_an_invalid_token_in_the_variable_is_refused(lend: Lend, token: str) -> None:
    """T33."""
    error = await refusal_of({RELATIVE: "/x", TOKEN: token}, lend(transport=Recorder()))

    assert str(error) == f"container endpoint: the token of {TOKEN} {TOKENS['a header'][1]}"
    assert "SENTINEL" not in shown(error)


async def test_a_token_file_that_cannot_be_used_is_an_error(lend: Lend, tmp_path: Path) -> None:
    """T33: the variable does not replace a configured file, and at most 16 KiB are read."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * (16 * 1024 + 1))
    context = lend(transport=Recorder())
    said = [
        str(await refusal_of({RELATIVE: "/x", TOKEN: "SENTINEL", TOKEN_FILE: str(path)}, context))
        for path in (tmp_path / "missing", tmp_path, large, "a\x00b")
    ]

    assert said == [
        f"container endpoint: the file of {TOKEN_FILE} cannot be read: ENOENT",
        f"container endpoint: the file of {TOKEN_FILE} is a directory, not a regular file",
        f"container endpoint: the file of {TOKEN_FILE} is larger than 16,384 bytes",
        f"container endpoint: the file of {TOKEN_FILE} has characters that no path can have",
    ]


async def test_a_token_of_16_kib_is_accepted(lend: Lend, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"x" * 16 * 1024)

    assert await authorization({TOKEN_FILE: str(path)}, lend) == "x" * 16 * 1024


# -- what comes back ----------------------------------------------------------------------------------------------

PASSING = {
    "500": http("SENTINEL", status=500),
    "503": http(json.dumps({"code": "X", "message": "SENTINEL"}), status=503),
    "429": http("SENTINEL", status=429),
    "not JSON": http("SENTINEL{"),
    "no object": http('["SENTINEL"]'),
    "no secret": http(json.dumps({**DOCUMENT, "SecretAccessKey": None})),
    "too large": http(json.dumps(DOCUMENT).ljust(64 * 1024 + 1)),
    "compressed": http("SENTINEL", headers="Content-Encoding: gzip\r\n"),
    "cut off": http(json.dumps(DOCUMENT), length=5000)[:-20],
}


@pytest.mark.parametrize("answer", PASSING.values(), ids=PASSING)
async def test_temporary_failures_are_retried(
    context: Engine, clocks: Clocks, raw_server: Start, answer: bytes
) -> None:
    """F34, T10, T15."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        writer.write(answer if len(server.requests) != 3 else GOOD)
        await writer.drain()

    server = await raw_server(handler=serve)
    found = await fetch({FULL: server.url}, context)

    assert found.access_key_id == "ASIAEXAMPLE"
    assert clocks.slept == [1.0, 1.0]

    error = await refusal_of({FULL: server.url}, context)

    assert str(error).startswith("container endpoint: 3 attempts failed, the last one with: ")
    assert "SENTINEL" not in shown(error)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"code": "AccessDeniedException", "message": "SENTINEL"}, ", code AccessDeniedException"),
        ({"message": "SENTINEL"}, ""),
        ({"code": "no code: SENTINEL"}, ""),
        ({"code": ["SENTINEL"]}, ""),
        ("SENTINEL", ""),
    ],
    ids=repr,
)
@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refusal_is_final_and_shows_its_code_only(
    context: Engine, clocks: Clocks, raw_server: Start, status: int, body: Any, code: str
) -> None:
    """F34, T15: 4xx is not retried, and the body is not shown."""
    server = await raw_server(http(body if isinstance(body, str) else json.dumps(body), status=status))
    error = await refusal_of({FULL: server.url, TOKEN: "SENTINEL"}, context)

    assert type(error) is CredentialsError
    assert str(error) == f"container endpoint: HTTP {status}{code}"
    assert "SENTINEL" not in shown(error)
    assert (len(server.requests), clocks.slept) == (1, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(context: Engine, raw_server: Start, status: int) -> None:
    """T4."""
    other = await raw_server(GOOD)
    location = f"{other.url.replace('127.0.0.1', 'a:SENTINEL@localhost')}SENTINEL"
    server = await raw_server(http("SENTINEL", status=status, headers=f"Location: {location}\r\n"))
    error = await refusal_of({FULL: server.url, TOKEN: "SENTINEL"}, context)

    assert str(error) == f"container endpoint: HTTP {status} redirect to host 'localhost': not followed"
    assert "SENTINEL" not in shown(error)
    assert other.connections == 0


async def test_a_response_that_is_far_too_large_is_not_read(context: Engine, clocks: Clocks, raw_server: Start) -> None:
    server = await raw_server(http(b"x" * (3 << 20)))
    error = await refusal_of({FULL: server.url}, context)

    assert type(error).__name__ == "ResponseTooLarge"
    assert clocks.slept == []


async def test_refused_connections_are_an_error_after_three_attempts(context: Engine, clocks: Clocks) -> None:
    """The URI means that there is an agent, so the chain does not continue."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        error = await refusal_of({FULL: f"http://127.0.0.1:{closed.getsockname()[1]}/"}, context)

    assert "3 attempts failed, the last one with: no connection to 127.0.0.1" in str(error)
    assert not isinstance(error, CredentialsNotFound)
    assert clocks.slept == [1.0, 1.0]


async def test_an_agent_that_does_not_answer_times_out_after_2_s(
    context: Engine, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F30, for a container: each attempt has a time limit."""
    monkeypatch.setattr("sts_async.credentials.container.SECONDS", 0.05)
    async with LocalContainer() as server:
        server.faults.add(Delay(60, times=2), Reset(times=2))  # aiohttp itself sends a GET again, once
        error = await refusal_of(server.environ, context)
        server.faults.add(Delay(60))

        assert "the last one with: the connection to 127.0.0.1" in str(error)
        assert (await fetch(server.environ, context)).session_token


async def test_cached_credentials_are_served_while_the_agent_throttles(context: Engine, clocks: Clocks) -> None:
    """F34: the agent of Fargate throttles."""
    async with LocalContainer(clock=lambda: clocks.wall, lifetime=3600) as server:
        provider = ContainerProvider(environ=server.environ)
        first = await provider.provide_credentials(context)
        clocks.advance(3590)
        server.faults.add(Throttle(times=3))

        assert await provider.provide_credentials(context) is first

        clocks.advance(601)
        server.faults.add(Unavailable())

        assert await provider.provide_credentials(context) is not first
