"""Servers over https, for SDKs that send a secret over nothing else."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
import trustme

from sts_async.config import Config
from sts_async.errors import TransportError
from sts_async.testing import LocalContainer, LocalIMDS, LocalSignIn, LocalSSO, LocalSTS, Reset, Truncate
from sts_async.testing.base import LocalServer

ROLE = "arn:aws:iam::123456789012:role/demo"
AUTHORITY = trustme.CA()


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(made)
    return made


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "authority.pem")
    return str(tmp_path / "authority.pem")


@pytest.mark.parametrize("kind", [LocalContainer, LocalIMDS, LocalSSO, LocalSTS, LocalSignIn])
async def test_every_server_serves_https(kind: type[LocalServer[Any]], context: ssl.SSLContext) -> None:
    """D3."""
    async with kind(ssl_context=context) as server:
        trusted = ssl.create_default_context(cadata=AUTHORITY.cert_pem.bytes().decode())
        port = int(server.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted)
        writer.write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = await reader.read()
        writer.close()

        assert server.url.startswith("https://127.0.0.1:")
        assert answer.startswith(b"HTTP/1.0 ")
        assert len(server.requests) == 1


async def test_a_client_of_ours_calls_a_server_with_tls(context: ssl.SSLContext, bundle: str) -> None:
    """D3."""
    async with LocalSTS(ssl_context=context) as server, server.client(config=Config(ca_bundle=bundle)) as sts:
        assert (await sts.get_caller_identity()).account == "123456789012"
        server.faults.add(Reset(after="headers"), Truncate(at_bytes=5))
        assert (await sts.get_caller_identity()).account == "123456789012"
        assert len(server.requests) == 4


async def test_a_client_that_does_not_know_the_authority_refuses_the_server(context: ssl.SSLContext) -> None:
    """D3: the client of a server with TLS is no way around its certificate."""
    async with LocalSTS(ssl_context=context) as server, server.client() as sts:
        with pytest.raises(TransportError):
            await sts.get_caller_identity()
        assert not server.requests


async def test_boto3_sends_a_web_identity_token_over_https(
    context: ssl.SSLContext, bundle: str, jwt: Callable[..., str], foreign_logs_are_off: None
) -> None:
    """D3: as the SDKs do that refuse to send one over http."""

    def assume(server: LocalSTS) -> str:
        session = boto3.session.Session(botocore_session=botocore.session.Session())
        client = session.client("sts", endpoint_url=server.url, region_name=server.region, verify=bundle)
        answer = client.assume_role_with_web_identity(RoleArn=ROLE, RoleSessionName="me", WebIdentityToken=jwt())
        client.close()
        return str(answer["AssumedRoleUser"]["Arn"])

    async with LocalSTS(ssl_context=context) as server:
        assert (await asyncio.to_thread(assume, server)).endswith(":assumed-role/demo/me")


PROGRAM = """
import asyncio, logging, ssl
from sts_async import Config
from sts_async.testing import LocalSTS

logging.getLogger("asyncio").setLevel(logging.ERROR)  # not what takes long on a busy machine

async def call(sts):
    assert (await sts.get_caller_identity()).account == "123456789012"

async def many(sts):
    await asyncio.gather(*(call(sts) for _ in range(5)))

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)
for options, config in [({}, Config()), ({"ssl_context": context}, Config(ca_bundle=authority))]:
    with LocalSTS(**options) as server:
        sts = server.client(config=config)
        for _ in range(3):
            asyncio.run(call(sts))
            asyncio.run(many(sts))
        asyncio.run(sts.aclose())
        sts = server.client(config=config)
        asyncio.run(call(sts))
    asyncio.run(sts.aclose())
"""


def test_a_client_of_several_event_loops_leaves_nothing_open(tmp_path: Path, bundle: str) -> None:
    """D8: in development mode each connection that is left open is a warning; `asyncio.run` is not told of any."""
    certificate = tmp_path / "server.pem"
    AUTHORITY.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    program = f"certificate, authority = {str(certificate)!r}, {bundle!r}\n{PROGRAM}"
    path = f"import sys; sys.path[:0] = {sys.path!r}\n"
    command = [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-c", path + program]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.stderr == ""
    assert ended.returncode == 0
