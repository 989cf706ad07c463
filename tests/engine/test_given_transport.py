"""A transport that the program gives: what a client expects of it, and which options have no effect on it."""

import logging
from typing import Any

import aiohttp
import attrs
import pytest
from support import ANSWER, KEYS, ROLE

from sts_async import Config, STSClient, errors
from sts_async._config.certificates import Trust
from sts_async._engine.build import transport_of
from sts_async._engine.given_transport import OPTIONS_OF_SESSIONS, OPTIONS_OF_TRANSPORTS
from sts_async.config import OPTIONS
from sts_async.protocols import HttpRequest, HttpResponse, SecretBytes
from sts_async.retries import NoRetries
from sts_async.testing import LocalSTS

CALL = {"role_arn": ROLE, "role_session_name": "me"}


class Answers:
    """A transport that gives what it was made with, whatever is asked; counts the requests."""

    def __init__(self, *outcomes: Any) -> None:
        self._outcomes = list(outcomes)
        self.sent: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> Any:
        request.headers  # noqa: B018 - reading them signs the request
        self.sent.append(request)
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def answer(body: bytes | str = ANSWER, **headers: str) -> HttpResponse:
    text = body.encode() if isinstance(body, str) else body
    return HttpResponse(status=200, headers=headers, body=SecretBytes(text))


def client(transport: Any, **options: Any) -> STSClient:
    usual: dict[str, Any] = {"region": "us-east-1", "credentials": KEYS, "retries": NoRetries()}
    return STSClient(transport=transport, **{**usual, **options})


async def test_requests_go_over_the_given_transport() -> None:
    transport = Answers(answer())
    async with client(transport) as sts:
        response = await sts.assume_role(**CALL)

    (request,) = transport.sent
    assert response.assumed_role_user is not None
    assert request.url == "https://sts.us-east-1.amazonaws.com/"
    assert "authorization" in request.headers


async def test_names_of_headers_may_be_written_in_any_case() -> None:
    """A transport hands on what its HTTP library gives."""
    transport = Answers(answer(**{"X-Amzn-RequestId": "of-the-header"}))
    async with client(transport) as sts:
        response = await sts.assume_role(**CALL)

    assert response.metadata.headers["x-amzn-requestid"] == "of-the-header"


async def test_plain_bytes_are_a_body() -> None:
    transport = Answers(HttpResponse(status=200, headers={}, body=ANSWER.encode()))  # type: ignore[arg-type]
    async with client(transport) as sts:
        assert (await sts.assume_role(**CALL)).credentials is not None


async def test_the_cap_of_a_body_holds_for_a_given_transport() -> None:
    """T9: the client parses no more than it would over its own connections."""
    transport = Answers(answer(ANSWER), answer(ANSWER))
    async with client(transport, config=Config(max_response_bytes=100)) as sts:
        with pytest.raises(errors.ResponseTooLarge, match="exceeds 100 bytes"):
            await sts.assume_role(**CALL)


@pytest.mark.parametrize("given", [None, b"SENTINEL", {"status": 200}], ids=["nothing", "bytes", "dict"])
async def test_what_is_no_response_is_named_and_not_shown(given: Any) -> None:
    async with client(Answers(given)) as sts:
        with pytest.raises(
            errors.ConfigurationError, match=r"Answers\.send returned .*, not an HttpResponse"
        ) as caught:
            await sts.assume_role(**CALL)

    assert "SENTINEL" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"status": "SENTINEL"}, "an HttpResponse whose status is a str, not int"),
        ({"headers": ["SENTINEL"]}, "an HttpResponse whose headers is a list, not Mapping"),
        ({"headers": {"content-encoding": 5}}, "an HttpResponse with headers that are not text"),
        ({"body": "SENTINEL"}, "an HttpResponse whose body is a str, not bytes"),
        ({"body": None}, "an HttpResponse whose body is None, not bytes"),
    ],
    ids=str,
)
async def test_a_response_with_values_of_other_types_is_named_and_not_shown(
    changed: dict[str, Any], problem: str
) -> None:
    """A raw TypeError of the library would not tell the program which of its classes is wrong."""
    async with client(Answers(attrs.evolve(answer(), **changed))) as sts:
        with pytest.raises(errors.ConfigurationError) as caught:
            await sts.get_caller_identity()

    assert str(caught.value) == f"Answers.send returned {problem}"


async def test_an_error_of_a_given_transport_is_tried_again_as_any_other() -> None:
    transport = Answers(errors.ConnectError("no route"), answer())
    async with client(transport, retries=None) as sts:
        assert (await sts.assume_role(**CALL)).metadata.attempts == 2


async def test_other_exceptions_of_a_given_transport_come_out_unchanged() -> None:
    async with client(Answers(KeyError("of the program"))) as sts:
        with pytest.raises(KeyError, match="of the program"):
            await sts.assume_role(**CALL)


async def test_a_given_transport_is_never_closed() -> None:
    """It may serve other clients. The client itself sends nothing more."""

    class Closable(Answers):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

        close = aclose

    transport = Closable(answer(), answer())
    async with client(transport) as first:
        await first.assume_role(**CALL)
    async with client(transport) as second:
        await second.assume_role(**CALL)
    with pytest.raises(errors.ClientClosedError):
        await first.assume_role(**CALL)

    assert not transport.closed
    assert len(transport.sent) == 2


async def test_a_source_that_is_under_way_sends_nothing_after_the_end() -> None:
    transport = Answers(answer())
    async with client(transport) as sts:
        engine = await sts._life.ready()
    with pytest.raises(errors.ClientClosedError):
        await engine.context.send(HttpRequest("GET", "https://sts.us-east-1.amazonaws.com/", {}))

    assert transport.sent == []


@pytest.mark.parametrize("given", [object(), Answers, aiohttp.ClientSession, "SENTINEL", 5])
def test_what_is_no_transport_is_refused(given: Any) -> None:
    with pytest.raises(
        errors.ConfigurationError, match=r"transport must be an object with a coroutine send\(request\), not"
    ) as caught:
        client(given)

    assert "SENTINEL" not in str(caught.value)


async def test_a_session_and_a_transport_exclude_each_other() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(errors.ConfigurationError, match="session and transport exclude each other"):
            client(Answers(), session=session)


# -- Options without effect ---------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "proxy": "http://user:SENTINEL@proxy.example:1/",
    "https_proxy": "http://user:SENTINEL@proxy.example:1/",
    "http_proxy": "http://user:SENTINEL@proxy.example:1/",
    "no_proxy": "example.com",
    "verify": False,
    "ca_bundle": "/gone",
    "client_certificate": "/gone",
    "client_key": "/gone",
    "keepalive_timeout": 3,
    "tcp_keepalive": True,
    "local_address": "127.0.0.1",
    "dns_cache_ttl": 3,
    "defaults_mode": "mobile",
    "connect_timeout": 3,
    "attempt_timeout": 3,
    "max_connections": 3,
    "app_id": "mine",
    "user_agent_suffix": "mine/1",
}


def test_each_option_without_effect_is_tried() -> None:
    assert sorted(VALUES) == sorted(OPTIONS_OF_TRANSPORTS)


async def test_the_options_without_effect_are_those_of_our_own_transport() -> None:
    """Found by watching which options it reads, so that a new option cannot be forgotten."""
    resolved = await Config(client_certificate="/gone", client_key="/gone", ca_bundle="/gone").resolve({})
    read: set[str] = set()

    class Watched:
        def __getattr__(self, name: str) -> Any:
            read.add(name)
            return getattr(resolved, name)

    watched: Any = Watched()
    transport_of(watched)
    Trust(watched)._paths()
    of_transports = {name for name in read if name in OPTIONS}

    assert of_transports - {"max_response_bytes"} == {*OPTIONS_OF_TRANSPORTS} - {"defaults_mode"}


@pytest.mark.parametrize("name", OPTIONS_OF_TRANSPORTS)
def test_an_option_that_a_given_transport_would_ignore_is_refused(name: str) -> None:
    """A program that gives a CA bundle expects that it decides about trust."""
    with pytest.raises(errors.ConfigurationError, match=f"^{name} has no effect with transport=") as caught:
        client(Answers(), config=Config(**{name: VALUES[name]}))

    assert "SENTINEL" not in str(caught.value)


@pytest.mark.parametrize("name", OPTIONS_OF_TRANSPORTS)
async def test_a_given_session_ignores_what_is_its_own(name: str) -> None:
    config = Config(**{name: VALUES[name]})
    async with aiohttp.ClientSession() as session:
        if name in OPTIONS_OF_SESSIONS:
            with pytest.raises(errors.ConfigurationError, match=f"^{name} has no effect with session="):
                client(None, session=session, config=config)
        else:
            assert client(None, session=session, config=config)


def test_several_options_without_effect_are_one_message() -> None:
    with pytest.raises(errors.ConfigurationError, match=r"^verify, max_connections have no effect with transport="):
        client(Answers(), config=Config(verify=False, max_connections=3))


async def test_options_that_were_resolved_before_are_not_taken_for_given() -> None:
    """Their values are defaults, or come from the environment."""
    resolved = await Config().resolve({"AWS_REGION": "us-east-1", "HTTPS_PROXY": "http://proxy.example:1"})

    assert client(Answers(), config=resolved)


async def test_what_the_environment_says_of_connections_is_ignored_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Other programs may need it. The warning names it, and shows no password of a proxy."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:SENTINEL@proxy.example:1")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/gone")
    caplog.set_level(logging.WARNING, "sts_async")
    transport = Answers(answer(), answer())
    async with client(transport) as sts:
        await sts.assume_role(**CALL)
        await sts.with_options(region="eu-west-1").assume_role(**CALL)

    (record,) = [one for one in caplog.records if "no effect" in one.getMessage()]
    assert record.getMessage() == "HTTPS_PROXY, AWS_CA_BUNDLE: no effect with transport=..."


async def test_nothing_is_said_of_an_environment_that_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    transport = Answers(answer())
    async with client(transport) as sts:
        await sts.assume_role(**CALL)

    assert "no effect" not in caplog.text


@attrs.frozen
class Recorder:
    """A transport over aiohttp, as a program may write it."""

    session: aiohttp.ClientSession
    seen: list[str] = attrs.field(factory=list)

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.seen.append(request.url)
        async with self.session.request(
            request.method, request.url, data=request.body, headers=request.headers, allow_redirects=False
        ) as response:
            return HttpResponse(response.status, response.headers, SecretBytes(await response.read()))


async def test_a_given_transport_serves_a_local_sts() -> None:
    """Over a real socket: the signature holds for what the transport sends."""
    async with LocalSTS() as server, aiohttp.ClientSession() as session:
        transport = Recorder(session)
        async with server.client(transport=transport) as sts:
            identity = await sts.get_caller_identity()

        assert identity.account
        assert transport.seen == [f"{server.url}/"]
