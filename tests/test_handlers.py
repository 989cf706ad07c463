"""Request handlers: code of the user's in the path of every request."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from support import ANSWER, KEYS, ROLE, RawServer, http, shown_as

from sts_async import Config, NoRetries, OutgoingRequest, RequestHandler, Response, STSClient, STSError, errors
from sts_async.testing import LocalSTS

Start = Callable[..., Awaitable[RawServer]]
CALL: dict[str, Any] = {"role_arn": ROLE, "role_session_name": "me"}
THROTTLED = http(
    "<ErrorResponse><Error><Code>Throttling</Code><Message>Slow</Message></Error></ErrorResponse>", status=400
)


class Adding(RequestHandler):
    """Adds headers, and keeps what it is shown."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self.before: list[OutgoingRequest] = []
        self.after: list[tuple[OutgoingRequest, Response | STSError]] = []

    def before_signing(self, outgoing: OutgoingRequest) -> Mapping[str, str]:
        self.before.append(outgoing)
        return self.headers

    def after_attempt(self, outgoing: OutgoingRequest, outcome: Response | STSError) -> None:
        self.after.append((outgoing, outcome))


def client(url: str, *handlers: Any, **options: Any) -> STSClient:
    config = Config(handlers=handlers, **options)
    return STSClient(endpoint_url=url, region="eu-west-1", credentials=KEYS, config=config)


def signed_names(request: bytes) -> bytes:
    return request.partition(b"SignedHeaders=")[2].partition(b",")[0]


async def test_a_handler_adds_headers_which_are_signed(raw_server: Start) -> None:
    server, handler = await raw_server(http(ANSWER)), Adding({"X-Amz-Source-Account": "111111111111"})
    async with client(server.url, handler) as sts:
        await sts.assume_role(**CALL)
        handler.headers = {"x-amz-source-account": "222222222222"}
        await sts.assume_role(**CALL)
    first, second = server.requests

    assert b"x-amz-source-account: 111111111111\r\n" in first
    assert b"x-amz-source-account" in signed_names(first)
    assert b"x-amz-source-account: 222222222222\r\n" in second


async def test_the_service_takes_a_signature_over_what_a_handler_added() -> None:
    async with LocalSTS() as server, server.client() as sts:
        view = sts.with_options(handlers=[Adding({"x-amz-source-account": "123456789012"}), Adding({"x-b": "  two  "})])

        assert (await view.get_caller_identity()).account


async def test_a_later_handler_sees_what_an_earlier_one_added_and_wins(raw_server: Start) -> None:
    server = await raw_server(http(ANSWER))
    first, second, of_view = Adding({"X-A": "1", "X-B": "1"}), Adding({"x-b": "2"}), Adding({"x-b": "3"})
    async with client(server.url, first, second) as sts:
        await sts.with_options(headers={"x-c": "of the view"}, handlers=[of_view]).assume_role(**CALL)

    assert dict(second.before[0].headers).items() >= {"x-a": "1", "x-b": "1", "x-c": "of the view"}.items()
    assert dict(of_view.before[0].headers)["x-b"] == "2"
    assert b"x-b: 3\r\n" in server.requests[0]


async def test_a_handler_is_asked_for_each_attempt_and_told_how_it_ended(raw_server: Start) -> None:
    server, handler = await raw_server(THROTTLED, http(ANSWER)), Adding({})
    async with client(server.url, handler) as sts:
        (await sts._life.ready())._shared.jitter = lambda: 0.001
        await sts.assume_role(**CALL)

    assert [outgoing.attempt for outgoing in handler.before] == [1, 2]
    assert [type(outcome).__name__ for _, outcome in handler.after] == ["ThrottlingError", "AssumeRoleResponse"]
    outgoing = handler.before[0]
    assert (outgoing.operation, outgoing.endpoint, outgoing.region) == ("AssumeRole", server.url, "eu-west-1")


async def test_a_handler_takes_part_in_calls_that_are_not_signed(raw_server: Start) -> None:
    server, handler = await raw_server(http(ANSWER.replace("AssumeRole", "AssumeRoleWithSAML"))), Adding({"x-a": "1"})
    async with client(server.url, handler) as sts:
        await sts.assume_role_with_saml(role_arn=ROLE, principal_arn=ROLE, saml_assertion="SENTINEL" * 4)

    assert b"x-a: 1\r\n" in server.requests[0]
    assert "SENTINEL" not in repr(handler.before)


async def test_what_a_handler_raises_ends_the_call(raw_server: Start) -> None:
    class Refusing(RequestHandler):
        def before_signing(self, outgoing: OutgoingRequest) -> Mapping[str, str]:
            raise PermissionError("not this role")

    class Afterwards(RequestHandler):
        def after_attempt(self, outgoing: OutgoingRequest, outcome: Response | STSError) -> None:
            raise LookupError("too late")

    server = await raw_server(http(ANSWER))
    async with client(server.url) as sts:
        with pytest.raises(PermissionError, match="not this role"):
            await sts.with_options(handlers=[Refusing()]).assume_role(**CALL)
        assert server.requests == []
        with pytest.raises(LookupError, match="too late"):
            await sts.with_options(handlers=[Afterwards()]).assume_role(**CALL)
        await sts.assume_role(**CALL)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "SENTINEL"},
        {"x-a": "SENTINEL\r\nX-Evil: 1"},
        {"a b": "x"},
        {"x-amz-date": "x"},
        None,
        "SENTINEL",
    ],
    ids=str,
)
async def test_a_header_that_could_change_another_is_refused_before_anything_is_sent(
    raw_server: Start, headers: Any
) -> None:
    """T5: no value is shown."""
    server = await raw_server(http(ANSWER))
    async with client(server.url, Adding(headers)) as sts:
        with pytest.raises(errors.ConfigurationError, match="headers"):
            await sts.with_options(retries=NoRetries()).assume_role(**CALL)

    assert server.requests == []


class Waiting:
    """Would never be waited for."""

    async def before_signing(self, outgoing: OutgoingRequest) -> Mapping[str, str]:
        return {}

    async def after_attempt(self, outgoing: OutgoingRequest, outcome: Response | STSError) -> None:
        pass


@pytest.mark.parametrize(
    "handlers",
    [5, "x", RequestHandler(), [RequestHandler], [object()], [lambda request: {}], [Waiting()]],
    ids=shown_as,
)
def test_what_is_no_handler_is_refused(handlers: Any) -> None:
    """Of a client and of a view."""
    with pytest.raises(errors.ConfigurationError, match="handlers must be a list of objects"):
        Config(handlers=handlers)
    with pytest.raises(errors.ConfigurationError, match="handlers must be a list of objects"):
        client("http://127.0.0.1:9/").with_options(handlers=handlers)


async def test_a_handler_cannot_change_what_it_is_shown(raw_server: Start) -> None:
    """T5: nothing gets around the check, and nothing into the requests of another client."""

    class Changing(RequestHandler):
        def before_signing(self, outgoing: OutgoingRequest) -> Mapping[str, str]:
            headers: Any = outgoing.headers
            headers["connection"] = "close"
            return {}

    server = await raw_server(http(ANSWER))
    for first in ([], [Adding({"x-a": "1"})]):
        async with client(server.url, *first, Changing()) as sts:
            with pytest.raises(TypeError, match="does not support item assignment"):
                await sts.assume_role(**CALL)

    assert server.requests == []


async def test_the_values_of_headers_are_not_shown(raw_server: Start) -> None:
    """T16: an API key for a gateway is as secret as any."""
    server, handler = await raw_server(http(ANSWER)), Adding({"x-api-key": "SENTINEL"})
    async with client(server.url, handler, Adding({})) as sts:
        await sts.assume_role(**CALL)

    assert b"x-api-key: SENTINEL" in server.requests[0]
    assert "x-api-key" in repr(handler.after)
    assert "SENTINEL" not in repr(handler.after) + repr(handler.before)
