"""The private names of aiohttp that guards need: the installed version has them, and without one nothing is sent."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from support import ANSWER, KEYS, ROLE, RawServer, http

from sts_async import STSClient
from sts_async._http.aiohttp_names import CONNECTOR, PROTOCOL, SESSION
from sts_async._http.connector import Connector, Protocol
from sts_async._http.transport import AiohttpTransport
from sts_async._protocol.http_messages import HttpRequest
from sts_async.errors import ConfigurationError

Start = Callable[..., Awaitable[RawServer]]


async def test_the_installed_aiohttp_has_every_name() -> None:
    """The canary: it fails first when a new aiohttp lacks one, before any other test does in a way of its own."""
    async with aiohttp.ClientSession() as session:
        connector = session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        made = connector._factory()

        assert isinstance(made, ResponseHandler)
        assert [name for name in CONNECTOR if not hasattr(connector, name)] == []
        assert [name for name in PROTOCOL if not hasattr(ResponseHandler, name)] == []
        assert [name for name in SESSION if not hasattr(session, name)] == []
        assert hasattr(connector, "_ssl")  # without it, no session of a program counts as verified


async def test_connections_are_those_that_the_factory_makes(raw_server: Start) -> None:
    """A name can stay, and be used no more: then connections have no guard, and none is used."""
    server = await raw_server(http("x"))
    transport = AiohttpTransport()
    await transport.send(HttpRequest("GET", server.url, {}))
    (part,) = transport._parts.values()
    connector = part.session.connector
    assert isinstance(connector, Connector)
    (pooled,) = [protocol for waiting in connector._conns.values() for protocol, _ in waiting]

    assert isinstance(pooled, Protocol)
    connector._factory = functools.partial(ResponseHandler, loop=connector._loop)
    connector._conns.clear()
    with pytest.raises(ConfigurationError, match="is not supported: it connects with a ResponseHandler"):
        await transport.send(HttpRequest("GET", server.url, {}))
    assert len(server.requests) == 1
    pooled.close()
    await transport.aclose()


@pytest.mark.parametrize("name", CONNECTOR)
async def test_a_connector_without_a_name_stops_the_first_call(
    monkeypatch: pytest.MonkeyPatch, raw_server: Start, name: str
) -> None:
    """The error names the version of aiohttp, and its advice helps: an aiohttp that has the name works."""
    server = await raw_server(http(ANSWER))
    original = aiohttp.TCPConnector.__init__

    def without(self: Any, **options: Any) -> None:
        original(self, **options)
        delattr(self, name)

    monkeypatch.setattr(aiohttp.TCPConnector, "__init__", without)
    async with STSClient(region="eu-west-1", endpoint_url=server.url, credentials=KEYS) as sts:
        with pytest.raises(ConfigurationError) as caught:
            await sts.assume_role(role_arn=ROLE, role_session_name="me")

    assert str(caught.value) == (
        f"aiohttp {aiohttp.__version__} is not supported: Connector has no {name}. "
        "Install an older aiohttp, or a newer sts_async"
    )
    assert server.connections == 0
    monkeypatch.undo()  # an older aiohttp
    async with STSClient(region="eu-west-1", endpoint_url=server.url, credentials=KEYS) as sts:
        await sts.assume_role(role_arn=ROLE, role_session_name="me")


async def test_a_session_without_its_event_loop_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nothing would keep it out of other event loops."""
    async with aiohttp.ClientSession() as session:
        monkeypatch.delattr(session, "_loop")
        with pytest.raises(ConfigurationError, match="is not supported: ClientSession has no _loop"):
            AiohttpTransport(session=session)
        monkeypatch.undo()
